"""`smets1 run`: its options, its output, and what it says to everything that a person can get wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smets1.tools.cli import main

MAX = ("--speed", "max", "--for", "1m")
REAL = ("--speed", "60", "--for", "1m", "--http", "127.0.0.1:0")
Write = Callable[[str, str], Path]


def run(*words: object) -> int:
    try:
        return main(["run", *map(str, words)])
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """`write("home.toml", text)` into an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def put(name: str, text: str) -> Path:
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return put


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


# --- what it says ----------------------------------------------------------------------------------


def test_events_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--speed", "max", "--for", "5m", "--seed", "3") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *events, when, esme, gsme = captured.out.splitlines()
    assert sum(line.endswith(" keyed") for line in events) == 4
    assert all(line.startswith("2023-01-16T00:0") for line in events)
    assert not [line for line in events if line != line.rstrip()]
    assert when == "2023-01-16T00:05:00Z  seed 3"
    assert "00-DB-12-34-56-78-90-A0" in esme
    assert "kWh" in esme
    assert gsme.split()[3] == "m3"


def test_the_summary_counts_whole_pennies_as_the_displays_do(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("home.toml", "seed = 3\n[prepayment]\nbalance_pounds = 1.0099\n")
    words = ("home.toml", "--speed", "max", "--for", "10s", "--quiet")
    assert run(*words) == 0
    _, esme, gsme = capsys.readouterr().out.splitlines()
    assert run(*words, "--json") == 0
    assert [meter["balance_mp"] > 100_500 for meter in json.loads(capsys.readouterr().out)["meters"]] == [
        True
    ] * 2
    assert esme.endswith("balance    £1.00  supply on")
    assert gsme.endswith("0.000 m3   balance    £1.00  supply on")


@pytest.mark.parametrize("seconds", [56, 57])
def test_the_summary_is_of_its_own_second(
    seconds: int, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """A meter counts when somebody looks, or something happens."""
    write("home.toml", '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 3600\n')
    words = ("home.toml", "--speed", "max", "--for", f"{seconds}s", "--quiet")
    assert run(*words) == 0
    assert f"   0.0{seconds} kWh" in capsys.readouterr().out
    assert run(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["meters"][0]["energy_wh"] == seconds


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*MAX, "--seed", "3", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {*rows[0]} == {"utc", "level", "source", "text"}
    assert rows[-1]["seed"] == 3
    assert [meter["eui64"][-2:] for meter in rows[-1]["meters"]] == ["A0", "A1"]
    assert run(*MAX, "--json", "--quiet") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_memory_goes_on_in_the_next_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--speed", "max", "--for", "20m", "--nvm", tmp_path / "nvm", "--json", "--quiet")
    meters = []
    for _ in range(2):
        assert run(*words) == 0
        summary = json.loads(capsys.readouterr().out)
        meters.append(summary["meters"][0])
    assert summary["utc"].startswith("2023-01-16T00:40:0")
    assert 0 < meters[0]["energy_wh"] < meters[1]["energy_wh"]
    assert meters[0]["balance_mp"] > meters[1]["balance_mp"]
    assert {path.suffix for path in (tmp_path / "nvm").iterdir()} <= {".nvm", ".sqlite"}, (
        "closed in good order"
    )


def test_a_speed_that_the_machine_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """All that suffers is the speed: nothing on the air comes too late."""
    assert run("--speed", "50000", "--for", "1h", "--http", "127.0.0.1:0", "--json") == 0
    texts = [json.loads(line).get("text", "") for line in capsys.readouterr().out.splitlines()]
    assert sum(text.endswith(" keyed") for text in texts) == 4
    assert not [text for text in texts if "failed" in text or "no answer" in text]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_an_end_in_good_order(number: signal.Signals, repository: Path) -> None:
    command = [sys.executable, "-m", "smets1.tools.cli", "run", "--http", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = iter(process.stdout)
        assert any(line.startswith("listening on http://127.0.0.1:") for line in lines)
        process.send_signal(number)
        rest = list(lines)
        assert (process.wait(30), process.stderr.read()) == (0, "")
    assert rest[-2].split()[1] == "Esme"


# --- what it refuses -------------------------------------------------------------------------------

_USER = (
    '[headend]\nsignatures = "require"\n[[headend.user]]\neui64 = "90-B3-D5-1F-30-01-00-00"\n'
    'roles = ["IS"]\ncertificate_file = "home.toml"\n'
)
_MQTT = '[wan]\nlink = "mqtt://127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("words", "toml", "code", "said"),
    [
        (MAX, "sede = 1\n", 1, "home.toml:1: unknown key 'sede': did you mean 'seed'?"),
        (MAX, "\n[wan]\nlinc = 1\n", 1, "home.toml:3: unknown key 'linc' in [wan]: did you mean 'link'?"),
        (MAX, "seed = \n", 1, "home.toml:1: "),
        (MAX, '[[load]]\nfuel="electricity"\nkind="csv"\nfile="no.csv"\n', 1, "home.toml:4: file: no such file: no.csv"),
        (MAX, _MQTT, 1, 'needs a finite speed: at speed max time runs ahead of the broker; take --speed 60, or link = "memory:"'),
        (REAL, _MQTT, 1, "WAN broker 127.0.0.1:1 cannot be reached: Connection refused"),
        (MAX, '[headend]\ndatabase = "sqlite:////nonexistent/x"\n', 1, "unable to open database file"),
        (MAX, '[headend]\ndatabase = "mysql://me:secret@h/x"\n', 1, "store mysql://me:***@h/x: write sqlite:///FILE or"),
        (MAX, _USER, 1, "certificate_file home.toml: not a PEM certificate (`smets1 keys make` makes some)"),
        ((*MAX, "--http", "127.0.0.1:0"), "", 1, "--http needs a finite speed: at speed max time runs ahead of who asks"),
        ((*MAX, "--speed", "0"), "", 2, """'0' is not a speed: a number above 0, at most 1000000, as 60, or "max\""""),
        ((*MAX, "--speed", "nan"), "", 2, "'nan' is not a speed"),
        ((*MAX, "--for", "1"), "", 2, "argument --for: '1' is no duration"),
        ((*MAX, "--seed", "-1"), "", 2, "argument --seed: '-1' is no whole number"),
        ((*REAL, "--http", "nonsense"), "", 2, "'nonsense' is no address: write HOST:PORT, as 127.0.0.1:8079"),
        ((*REAL, "--http", "0.0.0.0:0"), "", 1, "is not loopback, demands"),
        ((*MAX, "--capture", "/nonexistent/x.pcapng"), "", 1, "capture /nonexistent/x.pcapng: there is no folder /nonexistent"),
        ((*MAX, "--capture", "."), "", 1, "capture .: is a folder"),
        ((*MAX, "--capture", "x", "--keys", "./x"), "", 1, "keys x: is the file of the capture: give another"),
        ((*MAX, "--keys", "/nonexistent/k"), "", 1, "keys /nonexistent/k: there is no folder /nonexistent"),
        ((*MAX, "--keys", "."), "", 1, "keys .: is a folder"),
        ((*MAX, "--nvm", "home.toml"), "", 1, "NVM home.toml: is a file: give a folder"),
        ((*MAX, "--nvm", "/proc/x"), "", 1, "NVM /proc/x: cannot be made"),
    ],
)  # fmt: skip
def test_one_line_and_nothing_half_written(
    words: tuple[str, ...], toml: str, code: int, said: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("home.toml", toml)
    older = write("older.pcapng", "an older capture")
    files = (
        [] if "--capture" in words or "--keys" in words else ["--capture", "older.pcapng", "--keys", "k.txt"]
    )
    assert run("home.toml", *words, *files) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("smets1 run: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["home.toml", "older.pcapng"]
    assert older.read_text(encoding="utf-8") == "an older capture"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.toml", "none.toml: no such file (`smets1 init` writes one)"),
        (".", ".: cannot be read: Is a directory"),
        ("octets.toml", "octets.toml:1: not UTF-8 text"),
        ("picture.toml", "picture.toml:1: "),
    ],
)
def test_no_home_file(name: str, said: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("picture.toml", "%PDF-1.4\n")
    Path("octets.toml").write_bytes(b"\xff\xfe\x00")
    assert run(name, *MAX) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_broken_csv_row(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["local_time,elec_import_kwh", "2023-01-16 00:00,0.1", "2023-01-16 01:00,banana"]
    write("bad.csv", "\n".join(rows) + "\n")
    write("home.toml", '[[load]]\nfuel = "electricity"\nkind = "csv"\nfile = "bad.csv"\n')
    assert run("home.toml", *MAX, "--capture", "c.pcapng", "--keys", "k.txt") == 1
    expected = "smets1 run: bad.csv:3: elec_import_kwh is not a number: 'banana': write kWh or NA\n"
    assert capsys.readouterr() == ("", expected)
    assert sorted(path.name for path in Path().iterdir()) == ["bad.csv", "home.toml"]


@pytest.mark.parametrize("where", ["option", "file"])
def test_a_port_in_use(where: str, taken_port: int, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{taken_port}"
    write("home.toml", f'[headend]\nhttp = "{address}"\n')
    words = ("home.toml",) if where == "file" else ("--http", address)
    assert run(*words, "--speed", "60", "--for", "1m", "--capture", "c.pcapng", "--keys", "k.txt") == 1
    assert capsys.readouterr() == (
        "",
        f"smets1 run: HTTP: cannot listen on {address}: address already in use; choose another with --http HOST:PORT\n",
    )
    assert [path.name for path in Path().iterdir()] == ["home.toml"]


def test_hands_and_eyes_are_served_where_the_head_end_runs_elsewhere(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("home.toml", "[headend]\nruns_here = false\n")
    assert run("home.toml", "--speed", "50000", "--for", "1h", "--http", "127.0.0.1:0", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["listening"].startswith("http://127.0.0.1:")


def test_two_runs_on_one_memory(write: Write, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "smets1.tools.cli", "run", "--http", "127.0.0.1:0", "--nvm", "nvm"]
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    write("home.toml", "")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert any(line.startswith("listening") for line in first.stdout)
        assert run(*MAX, "--nvm", "nvm", "--capture", "c.pcapng") == 1
        assert (
            "NVM nvm/home.nvm is in use by another running process: stop that one" in capsys.readouterr().err
        )
        assert not Path("c.pcapng").exists()
        first.kill()
    assert run(*MAX, "--nvm", "nvm") == 0  # a dead process holds nothing


def test_a_capture_replaces_an_older_one_and_can_be_a_pipe(write: Write) -> None:
    older = write("c.pcapng", "older")
    assert run(*MAX, "--quiet", "--capture", "c.pcapng", "--keys", "k.txt") == 0
    assert older.read_bytes().startswith(b"\n\r\r\n")
    assert sorted(path.name for path in Path().iterdir()) == ["c.pcapng", "k.txt"]
    assert run(*MAX, "--quiet", "--capture", "/dev/null") == 0
    assert Path("/dev/null").is_char_device()
