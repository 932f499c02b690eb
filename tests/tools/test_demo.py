"""`smets1 demo`: the story is told to its end, on the built-in profile and on measured data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smets1.tools.cli import main

pytestmark = pytest.mark.slow  # each is a whole day

TOLD = (
    "A SMETS1 home: 6 devices, seed 7",
    "joined by install code, keyed by CBKE",
    "DUIS 4.18 to the ESME: balance £",
    "typed at the PPMID: ",
    "the meter: accepted, £10.00 added",
    "the same token again: rejected duplicate top up",
    "DUIS 7.2 Disable, authorised by the DCO: supply OFF",
    "DUIS 7.3 Arm: supply ARMED",
    "a person presses OK at the PPMID: supply ON",
    "DUIS 7.4: Enabled",
    "SUA key of the GSME rotated",
    "SUA key of the ESME rotated",
    "the IHD shows",
    "Electricity today",
    "DUIS 4.1.1 to the ESME: ",
    "DUIS 4.1.1 to the GSME, answered by the GPF: ",
    "One day of a home in ",
)


def judge(text: str) -> None:
    """Everything was told, in this order, and the register is the load to 1 Wh."""
    at = 0
    for part in TOLD:
        assert part in text[at:], part
        at = text.index(part, at)
    found = re.search(r"ESME: (\S+) kWh; the load was (\S+) kWh, of which (\S+) fell", text)
    assert found is not None
    read, load, off = (round(float(number) * 1000) for number in found.groups())
    assert read > 1000
    assert abs(load - off - read) <= 1
    volume = re.search(r"answered by the GPF: (\S+) m3", text)
    assert volume is not None
    assert float(volume[1]) > 0


def test_on_the_built_in_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["demo", "--data", str(tmp_path / "nothing here")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "the built-in GB profile" in captured.out
    judge(captured.out)


def test_on_measured_data(shared_dir: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--data", str(shared_dir / "data")]) == 0
    text = capsys.readouterr().out
    assert "measured electricity" in text
    judge(text)
    readme = (repository / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- demo output: begin -->\n```\n")[2].partition("\n```\n")[0]
    told = text.partition("\n\nOne day of a home")[0]
    assert shown == told, "the README shows what the demo prints: put it there anew"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_other_seeds(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seed", str(seed)]) == 0
    judge(capsys.readouterr().out.replace(f"seed {seed}", "seed 7"))
