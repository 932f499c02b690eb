"""The command line: exit codes, one line for errors, quick help, and each command that needs no home."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from smets1 import __version__
from smets1.headend.catalogue import CATALOGUE
from smets1.tools.cli import main
from smets1.tools.commands.request import service_path
from smets1.tools.commands.srv import ready_request
from smets1.tools.home_file import read_home

COMMANDS = (
    "demo", "doctor", "dongle", "init", "keys", "migrate", "parameters", "request", "run", "scenario", "srv", "utrn"
)  # fmt: skip


def run(*words: str) -> int:
    """The exit code, also where argparse exits by itself."""
    try:
        return main(words)
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    return captured.err.rstrip("\n")


# --- all commands ----------------------------------------------------------------------------------


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"smets1 {__version__}\n"
    assert run() == 2
    assert "required" in error_line(capsys)
    assert run("runn") == 2
    assert "invalid choice: 'runn'" in error_line(capsys)


def test_an_option_that_is_none_names_the_command_whose_help_helps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("run", "home.toml", "--nope") == 2
    assert error_line(capsys) == "smets1 run: unrecognized arguments: --nope (see smets1 run --help)"


def test_a_story_is_read_in_a_pipe_while_it_goes_on(repository: Path) -> None:
    """A script at speed 1 takes an hour, and whoever pipes it into a file or `tee` looks on."""
    code = "import sys; from smets1.tools.cli import main\nmain(['srv', '1.1.1'])\nprint(sys.stdout.line_buffering)"
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    assert done.stdout.endswith("True\n")


@pytest.mark.parametrize(
    "words",
    [
        ("init", "file"),
        ("keys", "make", "file"),
        ("migrate", "--out", "file"),
        ("scenario", "script.toml", "--out", "file"),
        ("scenario", "row-1-both-rotated", "--out", "."),
    ],
)
def test_a_file_is_no_folder(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("file", "row-1-both-rotated"):
        Path(name).touch()
    Path("script.toml").write_text('[[step]]\ndo = "join"\n', encoding="utf-8")
    assert run(*words) == 1
    assert error_line(capsys).endswith(": is a file: give a folder")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_slow(command: str, repository: Path) -> None:
    """What makes a start slow is imports; a clock in a test would only measure the machine."""
    words = [command, "--help"] if command else ["--help"]
    code = (
        "import sys; from smets1.tools.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit as stop: assert stop.code == 0\n"
        "slow = {'aiohttp', 'lxml', 'cryptography', 'sqlalchemy', 'asyncio', 'cbor2', 'aiomqtt', 'zigpy'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith("usage: smets1")


@pytest.mark.parametrize(
    "words", ["srv 1.1.1", "run --speed max --for 1h", "run --speed max --for 1h --json"]
)
def test_a_closed_pipe_is_no_error(words: str, repository: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    command = f"{sys.executable} -m smets1.tools.cli {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- init ------------------------------------------------------------------------------------------


def test_init_writes_a_home_that_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", str(tmp_path / "new")) == 0
    path = tmp_path / "new" / "home.toml"
    assert str(path) in capsys.readouterr().out
    assert len(read_home(path).devices) == 6
    assert [file.name for file in path.parent.iterdir()] == ["home.toml"]


def test_init_never_overwrites_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "home.toml"
    path.write_text("mine", encoding="utf-8")
    assert run("init", str(tmp_path)) == 1
    assert error_line(capsys) == f"smets1 init: {path} is there already: --force replaces it"
    assert path.read_text(encoding="utf-8") == "mine"
    assert run("init", str(tmp_path), "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"written": str(path)}
    assert path.read_text(encoding="utf-8").startswith("# A SMETS1 home")


def test_init_where_nothing_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run("init", str(tmp_path / "file" / "sub")) == 1
    assert "Not a directory" in error_line(capsys)


# --- srv -------------------------------------------------------------------------------------------


def test_srv_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("srv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 129
    assert run("srv", "--smets1", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 72
    assert {row["smets1"] for row in rows} == {"yes"}


def test_srv_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("srv", "4.1.9") == 1
    assert error_line(capsys).startswith(
        "smets1 srv: '4.1.9' is no service reference variant: did you mean '4.1."
    )
    assert run("srv", "2.2", "--token", "1234") == 1
    assert "is no UTRN" in error_line(capsys)
    assert run("srv", "2.2", "--target", "1234") == 2
    assert "is not an EUI-64" in error_line(capsys)


def test_srv_request_fields(capsys: pytest.CaptureFixture[str]) -> None:
    target = "00-00-00-00-00-00-00-01"
    assert run("srv", "4.1.1", "--target", target, "--originator", target, "--counter", "7") == 0
    assert f"<sr:RequestID>{target}:{target}:7</sr:RequestID>" in capsys.readouterr().out
    top_up = ready_request(CATALOGUE["2.2"], token="1" * 20)
    assert "<sr:UTRN>11111111111111111111</sr:UTRN>" in top_up
    counter = int(top_up.partition("A0:")[2].partition("<")[0])
    assert counter & 0xFFFFFFFF == 0  # the form a top-up uses: the high half is the token's counter


@pytest.mark.parametrize("srv", CATALOGUE)
def test_each_ready_request_is_valid(srv: str, duis_schema: etree.XMLSchema) -> None:
    duis_schema.assertValid(etree.fromstring(ready_request(CATALOGUE[srv]).encode()))


# --- utrn ------------------------------------------------------------------------------------------


def test_utrn_make_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home.toml").write_text("seed = 9\n", encoding="utf-8")
    home = str(tmp_path / "home.toml")
    assert run("utrn", "make", "--pounds", "12.34", "--counter", "5", "--home", home) == 0
    digits = capsys.readouterr().out.strip()
    assert run("utrn", "check", digits, "--seed", "9", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["is_accepted"], answer["counter"], answer["amount_mp"]) == (True, 5, 1_234_000)
    assert run("utrn", "check", digits, "--home", home, "--accepted", "5") == 1
    assert "accepted before" in capsys.readouterr().out
    assert run("utrn", "check", *digits.split("-")) == 0
    assert "not judged" in capsys.readouterr().out


def test_utrn_reference_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("utrn", "check", "73946144332040217315", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["counter_low"], answer["amount_mp"], answer["is_accepted"]) == (3, 1_000_000, None)
    assert run("utrn", "check", "74398485906172833313", "--json") == 1
    assert json.loads(capsys.readouterr().out)["is_token"] is False


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("make",), 2, "a code top-up needs --pounds or --pence"),
        (("make", "--pounds", "1.234"), 2, "whole pence only"),
        (("make", "--pounds", "nan"), 2, "is no amount"),
        (("make", "--pence", "8193"), 1, "a token cannot carry 81.93 pounds"),
        (("make", "--pence", "1", "--counter", "-1"), 2, "is no whole number"),
        (("make", "--pence", "1", "--key", "abcd"), 2, "32 hex digits"),
        (("make", "--pence", "1", "--home", "/nonexistent/home.toml"), 1, "no such file"),
    ],
)
def test_utrn_refusals(
    words: tuple[str, ...], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("utrn", *words) == code
    assert expected in error_line(capsys)


# --- request ---------------------------------------------------------------------------------------


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Answers every POST with what the test put into `answer`, and notes what came."""

    answer = (200, b"<x:ResponseCode>I0</x:ResponseCode>")
    seen: list[tuple[str, str | None, bytes]] = []  # noqa: RUF012 # one server, one list

    def do_POST(self) -> None:
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers.get("Authorization"), octets))
        assert self.headers["Content-Type"] == "application/xml"
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Recorder.seen.clear()
    with http.server.HTTPServer(("127.0.0.1", 0), _Recorder) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, b"<ResponseCode>I0</ResponseCode>", 0, None),
        (200, b"<sr:ResponseCode> I99 </sr:ResponseCode>", 0, None),
        (200, b"<sr:ResponseCode>E11</sr:ResponseCode>", 1, "refused with response code E11"),
        (200, b"<R><ResponseCode>I0</ResponseCode><DCCAlertCode>N60</DCCAlertCode></R>", 1, "DCC alert N60"),
        (200, b"<R><ResponseCode>I0</ResponseCode><MessageSuccess>false</MessageSuccess></R>", 1, "did not do it"),
        (413, b"too large", 1, "HTTP status 413"),
        (200, b"hello", 1, "no DUIS head end"),
    ],
)  # fmt: skip
def test_request_prints_the_answer(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, code: int, said: str | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(_Recorder, "answer", (status, body))
    xml = ready_request(CATALOGUE["4.1.1"]).encode()
    (tmp_path / "r.xml").write_bytes(xml)
    assert run("request", str(tmp_path / "r.xml"), "--url", server, "--wait", "2.5", "--token", "t") == code
    captured = capsys.readouterr()
    assert captured.out == body.decode() + "\n"
    assert (said or "") in captured.err
    assert captured.err.count("\n") == (1 if said else 0)
    assert _Recorder.seen == [("/api/v1/serviceS?wait=2.5", "Bearer t", xml)]


def test_request_json(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.xml").write_text(ready_request(CATALOGUE["8.2"]), encoding="utf-8")
    assert run("request", str(tmp_path / "r.xml"), "--url", server + "/", "--wait", "0", "--json") == 0
    assert json.loads(capsys.readouterr().out)["response_code"] == "I0"
    assert _Recorder.seen[0][0] == "/api/v1/serviceD"


def test_the_command_variant_chooses_the_path() -> None:
    for variant, path in ((1, "S"), (4, "T"), (5, "S"), (8, "D")):
        octets = f"<sr:CommandVariant>{variant}</sr:CommandVariant>".encode()
        assert service_path(octets) == f"/api/v1/service{path}"
    assert service_path(b"\xff not xml") == "/api/v1/serviceS"


def test_request_to_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.xml").write_bytes(b"<x/>")
    begin = time.monotonic()
    assert run("request", str(tmp_path / "r.xml"), "--url", "http://127.0.0.1:1") == 1
    assert time.monotonic() - begin < 10
    assert error_line(capsys) == (
        "smets1 request: no head end at http://127.0.0.1:1 (connection refused): start one with `smets1 run`"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8079", "ftp://x", "http://", "http://x:y"])
def test_request_unusable_url(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.xml").write_bytes(b"<x/>")
    assert run("request", str(tmp_path / "r.xml"), "--url", url) == 2
    assert "is no address" in error_line(capsys)


def test_request_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("request", str(tmp_path / "none.xml")) == 1
    assert "No such file" in error_line(capsys)
    (tmp_path / "r.xml").touch()
    assert run("request", str(tmp_path / "r.xml")) == 1
    assert "is empty" in error_line(capsys)
    assert run("request", str(tmp_path / "r.xml"), "--wait", "-1") == 2
    assert "--wait" in error_line(capsys)
