"""kill -9 of the head end under load, over a real broker: one response to each request, none executed twice."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.headend.children import Process, post
from tests.headend.conftest import CHF, ESME, FakeHub, LoopScheduler, request_xml

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings

pytestmark = [pytest.mark.outsider, pytest.mark.slow]

REQUESTS, KILLS, LIMIT_S = 120, 4, 150


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def broker(program: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    process = subprocess.Popen(
        [program("mosquitto"), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    yield f"mqtt://127.0.0.1:{port}"
    process.terminate()
    process.wait()


async def start_hub(url: str, hub: FakeHub) -> HubWanEnd:
    async def execute(request: WanRequest) -> WanResponse:
        """Done at once and told late: so each kill meets an instruction that is executed and not answered."""
        response = hub._execute(request)
        await asyncio.sleep(0.05)
        return response

    scheduler = LoopScheduler()
    civil = CivilClock(scheduler, time.time_ns() // 1000 - scheduler.now_us())  # type: ignore[arg-type]
    link = MqttLink(MqttSettings.parse(url), "kill-hub", random.Random(5))
    end = HubWanEnd(link, CHF, MemoryNvm(), civil, execute, rng=random.Random(6))
    await end.start()
    return end


def xml_of(number: int) -> bytes:
    if number % 4 == 0:
        return request_xml("7.2", "<sr:DisableSupply/>", counter=number)
    utrn = f"<sr:TopUpDevice><sr:UTRN>{number:020d}</sr:UTRN></sr:TopUpDevice>"
    return request_xml("2.2", utrn, counter=number)


async def read_responses(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with session.get(f"{url}/responses", params={"limit": "1000"}) as answer:
        found: list[dict[str, Any]] = (await answer.json())["responses"]
        return found


async def count_responses(session: aiohttp.ClientSession, url: str) -> int:
    """Waits until the head end serves."""
    while True:
        try:
            return len(await read_responses(session, url))
        except (aiohttp.ClientError, ConnectionError):
            await asyncio.sleep(0.05)


async def test_kill_9_under_load(broker: str, tmp_path: Path) -> None:
    fake, port = FakeHub(), free_port()
    victim = Process("kill_child.py", str(tmp_path), str(port), broker)
    url = f"http://127.0.0.1:{port}/api/v1"
    hub = await start_hub(broker, fake)
    victim.start()
    rng = random.Random(7)

    async def kill_and_restart(session: aiohttp.ClientSession) -> None:
        for _ in range(KILLS):
            done = await count_responses(session, url)
            while await count_responses(session, url) == done:  # noqa: ASYNC110 - a process, which tells by HTTP only
                await asyncio.sleep(0.02)
            await asyncio.sleep(rng.random() * 0.5)
            victim.kill()
            victim.start()

    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(LIMIT_S), aiohttp.ClientSession() as session:
            killer = asyncio.create_task(kill_and_restart(session))
            posts = []
            for number in range(REQUESTS):
                posts.append(asyncio.create_task(post(session, xml_of(number), url)))
                await asyncio.sleep(0.04)
            codes = Counter(await asyncio.gather(*posts))
            await killer
            while await count_responses(session, url) < REQUESTS:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            await asyncio.sleep(1)
            found = await read_responses(session, url)
    finally:
        victim.kill()
        await hub.close()
    assert set(codes) <= {"I99", "E40"}
    assert Counter(response["request"].split(":")[2] for response in found) == {
        str(number): 1 for number in range(REQUESTS)
    }
    refused = [response["xml"] for response in found if 'MessageSuccess="true"' not in response["xml"]]
    assert refused == [], "a top-up or a Critical Instruction that came twice is refused by the meter"
    meter = fake.meters[ESME]
    assert sorted(meter.top_ups) == [f"{number:020d}" for number in range(REQUESTS) if number % 4]
    assert meter.executed.count("change_supply") == len(range(0, REQUESTS, 4))
