"""Every named scenario ends as it says, quickly; each says enough for a person to follow."""

from __future__ import annotations

import json

import pytest

from smets1.tools.cli import main
from smets1.tools.scenarios import CATALOGUE, play
from smets1.tools.scenarios.base import Scenario, Set


@pytest.mark.parametrize("name", CATALOGUE)
def test_scenario(name: str) -> None:
    lines: list[str] = []
    verdict = play(name, on_line=lines.append)
    assert verdict.is_passed, "\n".join([*lines, verdict.reason])
    assert verdict.held >= 2
    assert len(lines) > verdict.held  # what happened, besides what was found


def test_a_scenario_that_is_not_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def liar(stage: Set) -> None:
        await stage.start()
        stage.expect(False, "pigs fly")

    entry = Scenario(name="liar", title="pigs", source="none", play=liar)
    monkeypatch.setitem(CATALOGUE, "liar", entry)
    assert main(["scenario", "liar"]) == 1
    assert "not so: pigs fly" in capsys.readouterr().out


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == set(CATALOGUE)
    assert len(rows) > 70, "as README.md, CHANGES.md and docs/migration.md say"
    assert all(row["title"] and row["source"] for row in rows)


def test_no_such_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "row-6"]) == 1
    assert "there is no scenario row-6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "name a scenario"),
        (("--json",), "name a scenario"),
        (("row-2-gsme-refuses", "--all"), "name a scenario"),
        (("--list", "--all"), "name a scenario"),
        (("row-2-gsme-refuses", "--strict"), "for the FILE.toml of a script"),
        (("row-2-gsme-refuses", "--speed", "1"), "for the FILE.toml of a script"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str) -> None:
    assert main(["scenario", *words]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.endswith("(see smets1 scenario --help)\n")
    assert told.count("\n") == 1
