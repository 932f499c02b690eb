"""`smets1 utrn` and the codes that are more than a top-up: made, explained, obeyed by a meter."""

from __future__ import annotations

import json

import pytest
from tests.devices.test_panel import ESME, START, SUPPLIER, TARIFF, Identity, Panel, Person

from smets1.devices.load import ConstantLoad
from smets1.devices.meter import ElectricityMeterCore
from smets1.devices.prepayment import PaymentMode
from smets1.devices.tokens import TopUpDesk
from smets1.tools.cli import main
from smets1.tools.commands.utrn import _KINDS
from smets1.tools.trial_keys import prepayment_key
from smets1.tools.utrn_codes import KINDS

AMOUNTS = {"top-up": ["--pounds", "5"], "deduct": ["--pounds", "3"], "set": ["--pounds", "7"]}
RATES = ["--pounds", "10", "--unit-rate", "30.125", "--standing-charge", "61.64"]
NIGHT = ["--second-rate", "9.5", "--hours", "00:30-07:30"]


def run(*words: str) -> int:
    return main(["utrn", *words])


def person() -> Person:
    """At a meter of a home with seed 7."""
    meter = ElectricityMeterCore(
        load=ConstantLoad(watts=0),
        now_us=START,
        tariff=TARIFF,
        mode=PaymentMode.PREPAYMENT,
        balance_mp=1_000_000,
    )
    desk = TopUpDesk(key=prepayment_key(7, ESME), originator=SUPPLIER, target=ESME)
    return Person(Panel(meter, desk, identity=Identity()))


def test_the_kinds_are_those_that_can_be_made() -> None:
    assert _KINDS == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_is_explained_and_obeyed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = AMOUNTS.get(kind, RATES + NIGHT if kind == "tariff" else [])
    assert run("make", "--kind", kind, *words, "--seed", "7") == 0
    code = capsys.readouterr().out.strip()
    assert run("check", code, "--seed", "7") == 0
    assert "accepted by 00-DB-12-34-56-78-90-A0" in capsys.readouterr().out
    assert run("check", code, "--key", "00" * 16) == 1
    assert "refused by" in capsys.readouterr().out
    assert run("check", code, "--seed", "7", "--accepted", "1", "--json") == 1
    assert "accepted before" in " ".join(json.loads(capsys.readouterr().out)["reasons"])
    assert run("check", code) == 0
    assert "not judged" in capsys.readouterr().out
    subject = person()
    (result,) = subject.press("A" + code.replace("-", "") + "B")
    assert result.is_accepted


def test_what_a_tariff_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make", "--kind", "tariff", *RATES, *NIGHT, "--seed", "7") == 0
    code = capsys.readouterr().out.strip()
    assert run("check", code, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["amount_mp"], found["unit_rate_mp_per_kwh"], found["standing_charge_mp"]) == (
        1_000_000,
        30_125,
        61_640,
    )
    assert found["second"] == [9_500, 30, 450]
    spoilt = code[:-1] + str((int(code[-1]) + 1) % 10)
    assert run("check", spoilt) == 1
    assert "mistyped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["make"], "needs --pounds or --pence"),
        (["make", "--kind", "supply-off", "--pounds", "3"], "has no amount"),
        (["make", "--kind", "set", "--pence", "150"], "whole pounds"),
        (["make", "--kind", "set", "--pounds", "2048"], "0 to 2047"),
        (["make", "--pounds", "5", "--unit-rate", "30"], "no rates"),
        (["make", "--kind", "tariff", "--pounds", "5"], "--unit-rate"),
        (["make", "--kind", "tariff", *RATES, "--second-rate", "9"], "go together"),
        (
            ["make", "--kind", "tariff", *RATES[:2], "--unit-rate", "3000", "--standing-charge", "1"],
            "carries",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    is_of_value = complaint in ("whole pounds", "0 to 2047", "carries")
    assert run(*words) == (1 if is_of_value else 2)
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("hours", ["7-8", "24:00-01:00", "00:60-01:00"])
def test_hours_that_are_none(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("make", "--kind", "tariff", *RATES, "--second-rate", "9", "--hours", hours)
    assert "write 00:30-07:30" in capsys.readouterr().err
