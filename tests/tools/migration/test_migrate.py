"""`smets1 migrate`: home files, lists, populations; every file is written, and mistakes are told in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smets1.headend.migration.envelope import read_kept
from smets1.headend.migration.files import CommissioningOutcomeFile, FileKind
from smets1.tools.cli import main

LIST = """\
electricity, gas, gas_supplier, fault
active, none, same, none
dormant, dormant, same, gsme-key
active, active, other, privacy-pin
"""
MORE = """\
active, active, same, none
active, active, same, esme-key
active, active, same, not-eligible
active, active, same, gsme-away
"""


def test_one_home_with_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "files"
    assert main(["migrate", "--out", str(out), "--captures"]) == 0
    told = capsys.readouterr().out
    assert "00-DB-12-34-56-78-90-A2  Commissioned, row 1 of the SUA table" in told
    names = sorted(path.name for path in out.glob("*.xml"))
    kinds = ("COF", "MA", "MCF", "MEF", "MVF", "S1MIG", "SCF")
    assert [name.split("-")[0] for name in names] == sorted([*kinds, "S1MIG"])
    cof = read_kept((out / "COF-001.xml").read_bytes(), FileKind.COF)
    assert isinstance(cof, CommissioningOutcomeFile)
    assert len(cof.installations) == 1
    assert (out / "00db1234567890a2.pcapng").stat().st_size > 10_000
    assert (out / "00db1234567890a2.keys").read_text()
    assert main(["migrate", "--out", str(out)]) == 1
    assert "files of an earlier run" in capsys.readouterr().err


def migrate_list(
    path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> list[tuple[str, int, str, str]]:
    path.write_text(text)
    assert main(["migrate", "--list", str(path), "--json"]) == 1, "not every home is commissioned"
    results = json.loads(capsys.readouterr().out)
    return [(r["outcome"], r["row"], r["account"], r["reason"]) for r in results]


def test_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = migrate_list(tmp_path / "homes.csv", LIST, capsys)
    assert [each[:3] for each in found] == [
        ("Commissioned", 0, "DCC"),
        ("RolledBack", 2, "supplier"),
        ("Rejected", 0, "supplier"),
    ]
    assert "privacy_pin" in found[2][3]


@pytest.mark.slow
def test_a_longer_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = migrate_list(tmp_path / "homes.csv", LIST + MORE, capsys)
    assert [each[:3] for each in found[3:]] == [
        ("Commissioned", 1, "DCC"),
        ("Stranded", 5, "DCC"),
        ("Rejected", 0, "supplier"),
        ("Stranded", 3, "DCC"),
    ]
    assert "5.10.11" in found[5][3]


def test_home_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "mine.toml"
    devices = [("chf", "C2"), ("esme", "C0"), ("ppmid", "C4")]
    home.write_text(
        "".join(f'[[device]]\nrole = "{role}"\neui64 = "00-DB-12-34-56-78-90-{at}"\n' for role, at in devices)
    )
    assert main(["migrate", str(home), "--by-supplier", "--dco-process", "--quiet"]) == 0
    assert "00-DB-12-34-56-78-90-C2  Commissioned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "lists no home"),
        ("gass\nactive\n", "did you mean gas?"),
        ("gas\nasleep\n", ":2: gas: 'asleep' is none of active, dormant"),
        ("fault\nfire\n", ":2: fault: 'fire' is none of none, gsme-key"),
        ("gas,fault\nnone,gsme-key\n", "needs a gas meter"),
        ("gas\nactive,dormant\n", ":2: more values than columns"),
        ("home\nnowhere.toml\n", "nowhere.toml"),
    ],
)
def test_a_list_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    path = tmp_path / "homes.csv"
    path.write_text(text)
    assert main(["migrate", "--list", str(path)]) == 1
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1


def test_homes_that_cannot_be_migrated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("")
    other.write_text('[[device]]\nrole = "chf"\n[[device]]\nrole = "ppmid"\n')
    for files, why in (
        ([one, one], "each home needs its own"),
        ([other], "has no esme"),
        ([tmp_path / "none.toml"], "none.toml"),
    ):
        assert main(["migrate", *map(str, files)]) == 1
        assert why in capsys.readouterr().err
    one.write_text('[wan]\nlink = "mqtt://localhost"\n')
    assert main(["migrate", str(one)]) == 1
    assert "[wan] must be memory:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("one.toml", "--list", "homes.csv"), "one of them"),
        (("one.toml", "--population", "3"), "one of them"),
        (("--list", "homes.csv", "--population", "3"), "one of them"),
        (("--captures",), "--captures needs --out"),
        (("--captures", "--out", "files", "--population", "3"), "--captures needs --out"),
        (("--list", "homes.csv", "--dormant"), "--dormant"),
        (("--population", "3", "--by-supplier"), "--by-supplier"),
    ],
)
def test_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["migrate", *words]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.endswith("(see smets1 migrate --help)\n")
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir()), "a line that is refused leaves nothing behind"


def test_a_population(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--population", "6", "--json", "--out", str(tmp_path)]) == 0
    tally = json.loads(capsys.readouterr().out)
    assert tally["homes"] == tally["in_reports"] == 6
    assert tally["faults"] == []
    assert (tmp_path / "MEF-001.xml").exists()
