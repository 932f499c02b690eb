"""Scripts: what is refused, what a step does, what is said where something is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from smets1.errors import InputError
from smets1.tools.cli import main
from smets1.tools.script.player import World, play_script, read_script

SMALL = "".join(f'[[device]]\nrole = "{role}"\n' for role in ("chf", "esme"))
JOIN = '[[step]]\ndo = "join"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "script.toml"
    path.write_text(text)
    return path


def played(folder: Path, text: str, radios: str = "air:") -> tuple[World, list[str]]:
    lines: list[str] = []
    script = read_script(written(folder, text))
    return play_script(script, radios, folder / "x.pcapng", say=lines.append), lines


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("seed = 1\n", "a script has at least one [[step]]"),
        ("sede = 1\n" + JOIN, ":1: unknown key 'sede'"),
        ('[[step]]\ndo = "fly"\n', ":2: do = 'fly' is none of join, wait,"),
        ('[[step]]\ndo = "join"\ndevice = "ihd"\n', ":3: unknown key 'device' in [step]"),
        ('[[step]]\ndo = "wait"\n', "wait takes one of minutes, seconds, until_minutes"),
        ('[[step]]\ndo = "wait"\nminutes = 1\nseconds = 1\n', "wait takes one of"),
        ('[[step]]\ndo = "rotate"\ndevice = "ihd"\n', ":3: that is for esme or gsme, and this is ihd"),
        ('[[step]]\ndo = "rotate"\ndevice = "cad"\n', ":3: no cad runs in this home"),
        ('[[step]]\ndo = "top-up"\ndevice = "esme"\n', "top-up takes pounds, or again = true"),
        ('[[step]]\ndo = "expect"\ndevice = "ihd"\nsupply = "ON"\n', "supply is of esme or gsme, and this is ihd"),
        ('[[step]]\ndo = "expect"\ndevice = "esme"\nscreen = "x"\n', "screen is of ppmid or ihd, and this is esme"),
        ('[[step]]\ndo = "top-up"\ndevice = "esme"\nat = "gsme"\npounds = 5\n', ":4: a token is typed at the ppmid or at its own meter"),
        ('[[step]]\ndo = "top-up"\ndevice = "esme"\npounds = 0\n', ":4: pounds = 0 is out of range: 1 to 100"),
        (SMALL + '[[step]]\ndo = "top-up"\ndevice = "esme"\npounds = 5\n', ":6: no ppmid runs in this home"),
        (SMALL + '[[step]]\ndo = "confirm"\n', ":6: no ppmid runs in this home"),
        ('[[step]]\ndo = "power-off"\ndevice = "gpf"\n', ", and this is gpf"),
        ('[[step]]\ndo = "expect"\ndevice = "gpf"\nfirmware = "00000001"\n', ", and this is gpf"),
        ('[[step]]\ndo = "request"\ndevice = "esme"\nsrv = "99.1"\n', ":4: srv: '99.1' is no service reference variant"),
        ('[[step]]\ndo = "expect"\ndevice = "esme"\nsupply = "on"\n', ":4: supply = 'on' is none of OFF, ARMED, ON"),
        ('[[step]]\ndo = "expect"\ndevice = "esme"\nfirmware = "2"\n', ":4: firmware = '2' must be 8 hex digits"),
        ('[[step]]\ndo = "expect"\ndevice = "esme"\nbalance_pounds = 1.000001\n', ":4: balance_pounds is finer"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, refusal: str) -> None:
    with pytest.raises(InputError) as error:
        read_script(written(tmp_path, text))
    assert refusal in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_so_is_named_with_its_step(tmp_path: Path) -> None:
    text = JOIN + '[[step]]\ndo = "expect"\ndevice = "esme"\nsupply = "OFF"\n' + JOIN
    world, lines = played(tmp_path, text)
    assert not world.is_passed
    assert world.reason == "step 2 (expect): not so: supply of the ESME is ON, not OFF"
    assert lines[-1] == world.reason
    assert (world.held, len(world.step_starts)) == (1, 2), "the third was not tried"


def test_a_token_of_either_fuel_at_the_ppmid_and_at_its_meter(tmp_path: Path) -> None:
    text = "[prepayment]\nbalance_pounds = 1\n" + JOIN + '[[step]]\ndo = "wait"\nminutes = 40\n'
    for device in ("esme", "gsme"):
        for at in ("", f'at = "{device}"\n'):
            text += f'[[step]]\ndo = "top-up"\ndevice = "{device}"\n{at}pounds = 5\n'
            text += f'[[step]]\ndo = "top-up"\ndevice = "{device}"\n{at}again = true\n'
    text += '[[step]]\ndo = "expect"\ndevice = "gsme"\nbalance_pounds = 11\n'
    world, lines = played(tmp_path, text)
    assert world.is_passed, lines


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ('do = "top-up"\ndevice = "esme"\nagain = true\n', "step 2 (top-up): no token was made before"),
        (
            'do = "power-off"\ndevice = "ppmid"\n[[step]]\ndo = "confirm"\n',
            "step 3 (confirm): {ppmid} has no power",
        ),
        (
            'do = "power-off"\ndevice = "ppmid"\n[[step]]\ndo = "top-up"\ndevice = "esme"\npounds = 1\n',
            "step 3 (top-up): {ppmid} has no power",
        ),
    ],
)
def test_what_cannot_be_done_now_is_named(tmp_path: Path, steps: str, why: str) -> None:
    world, _ = played(tmp_path, JOIN + "[[step]]\n" + steps)
    assert world.reason.startswith(why.format(ppmid="00-DB-12-34-56-78-90-A4"))


def test_power_and_sticks_off_and_on(tmp_path: Path) -> None:
    text = "[prepayment]\nbalance_pounds = 1\n" + JOIN
    for do, rest in (
        ("unplug", 'device = "esme"\n'),
        ("wait", "seconds = 5\n"),
        ("plug", 'device = "esme"\n'),
        ("power-off", 'device = "ihd"\n'),
        ("wait", "minutes = 2\n"),
        ("power-on", 'device = "ihd"\n'),
        ("wait", "minutes = 2\n"),
        ("top-up", 'device = "esme"\npounds = 5\n'),
        ("top-up", 'device = "gsme"\nat = "gsme"\npounds = 5\n'),
        ("expect", 'device = "gsme"\nbalance_pounds = 6\n'),
        ("expect", 'device = "ihd"\nscreen = "connected"\n'),
        ("request", 'device = "esme"\nsrv = "4.18"\ncode = "I0"\nvalue = "MeterBalance"\n'),
    ):
        text += f'[[step]]\ndo = "{do}"\n{rest}'
    world, lines = played(tmp_path, text, "rcp:simulated")
    assert world.is_passed, world.reason
    assert world.held == 7
    assert any("stick of the ESME is pulled out" in line for line in lines)


def test_a_failed_expectation_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, JOIN + '[[step]]\ndo = "expect"\ndevice = "esme"\ngeneration = 5\n')
    assert main(["scenario", str(path)]) == 1
    assert "NOT as it should be" in capsys.readouterr().out


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, JOIN)
    assert main(["scenario", str(path), "row-1"]) == 2
    assert "one script at a time" in capsys.readouterr().err
    assert main(["scenario", "row-1", "--on", "air:"]) == 2
    assert "are for the FILE.toml of a script" in capsys.readouterr().err
    assert main(["scenario", str(path), "--on", "air:", "--on", "air:"]) == 2
    assert "twice" in capsys.readouterr().err
    for option, text, why in (
        ("--speed", "fast", "'fast' is not a speed"),
        ("--on", "wifi:", "'wifi:' is no radio"),
        ("--on", "air:,wifi:", "'wifi:' is no radio"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["scenario", str(path), option, text])
        assert stop.value.code == 2
        assert why in capsys.readouterr().err
