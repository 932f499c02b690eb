"""The catalogue against the published facts, row by row."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from smets1.headend.catalogue import CATALOGUE, Smets1Support, find_variant
from smets1.headend.duis.codes import CommandVariant


def test_every_column_agrees_with_the_facts(shared_dir: Path) -> None:
    with (shared_dir / "facts" / "srv-catalogue.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["srv"] for row in rows] == list(CATALOGUE)
    for row in rows:
        variant = CATALOGUE[row["srv"]]
        # The table lost a zero: every known request writes 6.20, as the schema does.
        reference = "6.20" if row["srv"].startswith("6.20.") else row["service_reference"]
        assert variant.service_reference == reference
        assert variant.name == row["name"]
        assert variant.smets1.value == row["smets1"]
        assert variant.critical == (row["critical"] == "yes")
        assert variant.on_demand == (row["on_demand"] == "yes")
        assert variant.future_dated.value == row["future_dated"]
        assert variant.dcc_scheduled == (row["dcc_scheduled"] == "yes")
        assert variant.non_device == (row["non_device"] == "yes")
        assert " ".join(variant.roles) == row["roles"]


def test_counts() -> None:
    support = Counter(variant.smets1 for variant in CATALOGUE.values())
    assert support == {Smets1Support.YES: 72, Smets1Support.NO: 51, Smets1Support.AFTER_DUIS_3: 6}
    roles = Counter(
        role.value
        for variant in CATALOGUE.values()
        if variant.smets1 is Smets1Support.YES
        for role in variant.roles
    )
    assert roles == {"IS": 64, "ES": 11, "GS": 57, "ED": 25, "GT": 17, "RSA": 12, "OU": 16}


def test_command_variants() -> None:
    assert CATALOGUE["4.1.1"].command_variants == {CommandVariant.NON_CRITICAL}
    assert CATALOGUE["8.2"].command_variants == {CommandVariant.NON_DEVICE}
    assert CATALOGUE["7.2"].command_variants == {
        CommandVariant.NON_CRITICAL,
        CommandVariant.TRANSFORM,
        CommandVariant.SIGNED_PRE_COMMAND,
    }
    assert find_variant("99.9") is None
