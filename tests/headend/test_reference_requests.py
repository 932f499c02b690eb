"""DCC's 297 reference requests, and DCC's own parser as second reader of what we answer."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import Rig, code_of
from tests.headend.reference_scenes import REFUSED, why_refused
from tests.headend.reference_table import (
    DOCUMENT,
    Row,
    read_back,
    reference_requests,
    run_all,
    table,
    validity,
)

from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.catalogue import CATALOGUE, Smets1Support
from smets1.headend.duis.codes import ServicePath
from smets1.headend.non_device import BODIES
from smets1.headend.srv import PLANS

pytestmark = pytest.mark.outsider

_DEMANDED = ("CS01a_2.2", "ECS17b_4.1.1_SINGLE", "8.2_READ_INVENTORY")


def test_all_297_are_read(duis_templates: Path) -> None:
    found = reference_requests(duis_templates)
    variants = Counter(request.command_variant for _, request in found)
    assert variants == {1: 170, 4: 110, 8: 16, 2: 1}
    support = Counter(CATALOGUE[request.srv].smets1 for _, request in found)
    assert support == {Smets1Support.YES: 204, Smets1Support.NO: 79, Smets1Support.AFTER_DUIS_3: 14}
    for name, request in found:
        assert request.service_reference == CATALOGUE[request.srv].service_reference, name
        plan = PLANS.get(request.srv)
        assert plan is None or plan.body_name == request.body.name, name


@pytest.fixture(scope="module")
def rows(duis_templates: Path) -> list[Row]:
    """In a loop of their own: the homes are many, and no test needs them alive."""
    return run(run_all(duis_templates), speed=MAX_SPEED)


def test_every_one_gets_its_proper_answer(rows: list[Row]) -> None:
    """What is built answers as it should; what is not says N60."""
    for row in rows:
        is_built = row.srv in PLANS or row.srv in BODIES or row.expected == "E11"
        assert row.got == (row.expected if is_built else "N60"), (row.name, row.reason)


def test_what_is_refused_has_its_reason(rows: list[Row]) -> None:
    """Everything else was done: a home refuses only what no SMETS1 home can do."""
    refused = [row.name for row in rows if row.success == "false"]
    assert [name for name in refused if why_refused(name) is None] == []
    assert [start for start in REFUSED if not any(name.startswith(start) for name in refused)] == []


def test_the_table_in_the_documentation_is_true(rows: list[Row], shared_dir: Path, duis_parser: Path) -> None:
    valid = validity(shared_dir / "schemas" / "DUIS-5.4.xsd", rows)
    assert not any(valid), [fault for fault in valid if fault]
    text = table(rows, valid, read_back(duis_parser, [row.octets for row in rows]))
    assert "**no**" not in text
    assert text == DOCUMENT.read_text(), "run: python tests/headend/reference_table.py"


async def test_the_three_of_the_main_job(make_rig: Any, duis_templates: Path, duis_parser: Path) -> None:
    rig: Rig = await make_rig()
    answers = []
    for start in _DEMANDED:
        (file,) = duis_templates.glob(f"{start}*")
        path = ServicePath.NON_DEVICE if start.startswith("8.2") else ServicePath.SEND_COMMAND
        answers.append(await rig.head_end.submit(file.read_bytes(), path, wait_s=5))
    assert [code_of(etree.fromstring(answer)) for answer in answers] == ["I0", "I0", "I0"]
    assert b"<ra:Value>1234567</ra:Value>" in answers[1]
    assert len(re.findall(b"<sr:DeviceID>", answers[2])) == 6
    parsed = read_back(duis_parser, answers)
    inventory = parsed[2]["body"]["ResponseMessage"]["DSPInventory"]["Device"]
    assert [device["DeviceType"] for device in inventory] == ["ESME", "GSME", "CHF", "GPF", "PPMID", "IHD"]
