"""`smets1 parameters` on a home that runs: lists, writes, and says what is not as it must be."""

from __future__ import annotations

import asyncio
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from smets1.hardware.clock import run
from smets1.tools.cli import main as cli
from smets1.tools.home import open_home
from smets1.tools.home_file import parse_home
from smets1.tools.http import HttpServer

Ask = Callable[..., Awaitable[tuple[int, str, str]]]
ESME = "00-DB-12-34-56-78-90-A0"


def play(story: Callable[[Any, Ask], Awaitable[None]]) -> None:
    async def main() -> None:
        config = parse_home("speed = 60\n[han]\nreport_interval_s = 600\n", Path("home.toml"))
        home = await open_home(seed=1, config=config)
        server = HttpServer(home, host="127.0.0.1", port=0)

        async def ask(*words: str) -> tuple[int, str, str]:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "smets1.tools.cli", "parameters", "--url", server.url, *words,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            assert process.returncode is not None
            return process.returncode, out.decode(), err.decode()

        try:
            await server.start()
            await story(home, ask)
        finally:
            await server.close()
            await home.close()

    run(main(), speed=60)


def test_a_home_is_listed_changed_and_compared() -> None:
    async def story(home: Any, ask: Ask) -> None:
        code, out, _ = await ask()
        assert code == 0
        for each in ("A0 esme", "A1 gsme", "load_limit_period", "calorific_value", "30 to 3600", "part 1"):
            assert each in out, each
        assert (await ask("--differences")) == (0, "", "")
        told = await ask("esme", "--set", "currency=EUR", "--set", "privacy_pin=4711", "--differences", "DA")
        lines = ["privacy_pin: is '(set)', must be ''", "currency: is 'EUR', must be 'GBP'"]
        assert told == (1, "".join(f"{ESME} esme part 1 {line}\n" for line in lines), "")
        assert home.esme.parameters.book.value("privacy_pin") == "4711"
        code, out, _ = await ask(ESME.lower(), "--set", "load_limit_period=60", "--json")
        rows = {row["name"]: row for row in json.loads(out)[ESME]}
        assert rows["load_limit_period"]["value"] == home.esme.meter.limiter.limit.period_s == 60
        assert rows["load_limit_period"]["writers"] == ["supplier", "SMSO"]
        assert rows["payment_mode"]["choices"] == {"CREDIT": 0, "PREPAYMENT": 1}
        assert rows["privacy_pin"]["value"] is True
        assert "4711" not in out
        code, out, _ = await ask("--differences", "--json")
        assert (code, len(json.loads(out))) == (1, 2)

    play(story)


def test_mistakes_are_one_line() -> None:
    async def story(home: Any, ask: Ask) -> None:
        for words, told in (
            (("gpf",), "no device 'gpf' runs there"),
            (("esme", "--set", "no_such=1"), "no parameter 'no_such'"),
            (("esme", "--set", "load_limit_period=long"), "is a number"),
            (
                ("esme", "--set", "load_limit_period=5"),
                "load_limit_period does not take 5: it takes whole numbers from 30 to 3600 s",
            ),
            (("esme", "--set", "alerts_enabled=yes"), "is true or false"),
            (("esme", "--differences", "Z Z"), "no table for Group ID 'Z Z'"),
        ):
            code, out, err = await ask(*words)
            assert (code, out, err.count("\n")) == (1, "", 1), err
            assert told in err

    play(story)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["parameters", "--set", "currency=EUR"]) == 2
    assert "name the device" in capsys.readouterr().err
    for words, told in (
        (("esme", "--set", "currency"), "write NAME=VALUE"),
        (("--url", "nonsense"), "is no address"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli(["parameters", *words])
        assert stop.value.code == 2
        assert told in capsys.readouterr().err


def test_a_home_without_meters_and_displays() -> None:
    async def story(home: Any, ask: Ask) -> None:
        await home.power_off()
        home.devices.clear()
        told = "smets1 parameters: no meter or display runs there\n"
        assert await ask() == await ask("esme") == (1, "", told)

    play(story)


def test_a_server_that_is_no_home(capsys: pytest.CaptureFixture[str]) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert cli(["parameters", "--url", url]) == 1
        assert (
            capsys.readouterr().err == f"smets1 parameters: what answers at {url} is no home: check --url\n"
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
