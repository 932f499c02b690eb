"""A home watched over HTTP: its clock, its events as they happen, its figures."""

from __future__ import annotations

import asyncio
import json
import logging
import re

from aiohttp import ClientSession
from tests.tools.test_http import play

from smets1.tools.home import Home
from smets1.tools.http import HttpServer
from smets1.tools.http_watch import _MOST_WAITING, _Stream

ESME = "00-DB-12-34-56-78-90-A0"


def test_the_clock() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        async with session.get(f"{server.url}/api/v1/clock") as answer:
            clock = await answer.json()
        assert clock["speed"] == 60
        assert clock["utc"].startswith("2023-01-16T00:0")
        assert clock["local"].startswith("2023-01-16T00:0")

    play(story)


def test_events_come_as_they_happen_and_end_with_the_server() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        level = logging.getLogger("smets1").level
        async with session.get(f"{server.url}/api/v1/events") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            await session.post(
                f"{server.url}/api/v1/devices/{ESME}/sensors", json={"sensor": "magnet", "open": True}
            )
            told = []
            while "8F75" not in "".join(told):
                line = (await stream.content.readline()).decode()
                if line.strip():
                    event = json.loads(line.removeprefix("data: "))
                    assert event.keys() == {"utc", "level", "source", "text"}
                    told.append(event["text"])
            assert any("event 8F3F MAGNET" in text for text in told)
            closing = asyncio.get_running_loop().create_task(server.close())
            rest = await stream.content.read()
            assert rest.endswith(b"\n"), "no event is cut in two"
        await closing
        assert logging.getLogger("smets1").level == level
        assert not logging.getLogger("smets1").handlers

    play(story)


def test_who_does_not_read_is_left_behind() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        stream, level = _Stream(home), logging.getLogger("smets1").getEffectiveLevel()
        with stream, _Stream(home):
            for number in range(2 * _MOST_WAITING):
                logging.getLogger("smets1.test").info("event %d", number)
        assert stream.queue.qsize() == _MOST_WAITING + 1
        events = [stream.queue.get_nowait() for _ in range(_MOST_WAITING + 1)]
        assert events[-1] is None
        assert events[0] is not None
        assert None not in events[:-1]
        assert not logging.getLogger("smets1").isEnabledFor(logging.INFO) or level <= logging.INFO

    play(story)


def test_figures_for_prometheus() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        home.esme.meter.disable_supply(utc_us=home.esme.civil.utc_us())
        async with session.get(f"{server.url}/api/v1/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await answer.text()
        figures = {}
        for line in text.splitlines():
            if line.startswith("# "):
                assert re.fullmatch(r"# (HELP smets1_[a-z0-9_]+ .+|TYPE smets1_[a-z0-9_]+ gauge)", line)
                continue
            found = re.fullmatch(
                r'(smets1_[a-z0-9_]+(?:\{eui64="[0-9A-F-]{23}",kind="[a-z]+"\})?) (-?\d+)', line
            )
            assert found, line
            figures[found[1]] = int(found[2])
        meter = f'{{eui64="{ESME}",kind="esme"}}'
        assert figures[f"smets1_supply_state{meter}"] == 0
        assert figures[f"smets1_power_w{meter}"] == 0
        assert figures[f"smets1_import_wh{meter}"] == home.esme.meter.reading
        assert 1_980_000 < figures[f"smets1_balance_mp{meter}"] <= 2_000_000
        assert figures['smets1_gas_commands_waiting{eui64="00-DB-12-34-56-78-90-A2",kind="chf"}'] == 0
        assert abs(figures["smets1_clock_seconds"] - home.clock.utc_us // 1_000_000) < 120

    play(story)
