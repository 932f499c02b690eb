"""kill -9 of one head-end worker and then of the other, under load, with mosquitto and PostgreSQL.

While one is dead the other serves its hubs; no accepted request is without its response, and none is
executed twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from lxml import etree
from tests.firmware.wan.test_mqtt import Mosquitto
from tests.headend.conftest import CHF, ESME, code_of, request_xml
from tests.headend.kill_child import HOME_STEP, HOMES
from tests.headend.test_api_kill import free_port
from tests.headend.test_api_kill_all import Process, mosquitto, read_responses
from tests.headend.test_postgresql import cluster  # a fixture

from smets1.eui64 import format_eui64
from smets1.firmware.nvm import NvmStore
from smets1.firmware.wan.head_end import worker_of

__all__ = ["cluster", "mosquitto"]

pytestmark = [pytest.mark.outsider, pytest.mark.slow]

REQUESTS, A_SECOND, LIMIT_S = 600, 60, 150
HOMES_OF = [[home for home in range(HOMES) if worker_of(CHF + home * HOME_STEP, 2) == n] for n in (0, 1)]


def xml_of(number: int) -> bytes:
    target = format_eui64(ESME + number % HOMES * HOME_STEP)
    if number // HOMES % 4 == 0:
        return request_xml("7.2", "<sr:DisableSupply/>", counter=number, target=target)
    utrn = f"<sr:TopUpDevice><sr:UTRN>{number:020d}</sr:UTRN></sr:TopUpDevice>"
    return request_xml("2.2", utrn, counter=number, target=target)


async def post(session: aiohttp.ClientSession, urls: list[str], number: int) -> str:
    """At one door or the other, until a head end says that it has it: at once (I99), or before (E40)."""
    attempt = number
    while True:
        try:
            async with session.post(f"{urls[attempt % 2]}/serviceS", data=xml_of(number)) as answer:
                body = await answer.read()
                if answer.status == 200:
                    return code_of(etree.fromstring(body))
        except (aiohttp.ClientError, ConnectionError):
            pass
        attempt += 1
        await asyncio.sleep(0.05)


async def answered(session: aiohttp.ClientSession, url: str, after: int) -> list[tuple[int, int]]:
    """(number of the response, home) of what was answered after that one, as soon as this head end is there."""
    while True:
        found = await read_responses(session, url, after)
        if found is not None:
            counters = ((int(one["number"]), int(one["request"].split(":")[2])) for one in found)
            return [(number, counter % HOMES) for number, counter in counters]
        await asyncio.sleep(0.05)


async def wait_until_served(session: aiohttp.ClientSession, url: str, homes: list[int]) -> None:
    """Every one of these homes has answered something new."""
    old = await answered(session, url, 0)
    after = max((number for number, _ in old), default=0)
    while not set(homes) <= {home for _, home in await answered(session, url, after)}:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def test_kill_9_of_one_worker_and_then_of_the_other(
    mosquitto: Mosquitto, cluster: str, tmp_path: Path, program: Callable[[str], str]
) -> None:
    assert all(HOMES_OF), "each worker has homes"
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}/api/v1" for port in ports]
    workers = [
        Process("kill_child.py", str(tmp_path), str(port), mosquitto.url, cluster, str(number), "2")
        for number, port in enumerate(ports)
    ]
    hubs = Process("kill_hub_child.py", str(tmp_path), mosquitto.url, str(HOMES))
    mosquitto.start()
    hubs.start()
    for worker in workers:
        worker.start()
    try:
        async with asyncio.timeout(LIMIT_S), aiohttp.ClientSession() as session:

            async def kill_in_turn() -> None:
                for dead, living in ((0, 1), (1, 0)):
                    await wait_until_served(session, urls[living], list(range(HOMES)))
                    workers[dead].kill()
                    await wait_until_served(session, urls[living], HOMES_OF[dead])
                    workers[dead].start()
                    await answered(session, urls[dead], 0)

            for url in urls:
                await answered(session, url, 0)
            killer = asyncio.create_task(kill_in_turn())
            posts = []
            for number in range(REQUESTS):
                posts.append(asyncio.create_task(post(session, urls, number)))
                await asyncio.sleep(1 / A_SECOND)
            codes = Counter(await asyncio.gather(*posts))
            await killer
            while len(await answered(session, urls[0], 0)) < REQUESTS:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
            await asyncio.sleep(1)
            found = await read_responses(session, urls[1], 0)
    finally:
        for process in (*workers, hubs, mosquitto):
            process.kill()
    assert found is not None
    assert set(codes) <= {"I99", "E40"}
    numbers = Counter(response["request"].split(":")[2] for response in found)
    assert numbers == {str(number): 1 for number in range(REQUESTS)}
    assert [r["xml"] for r in found if 'MessageSuccess="true"' not in r["xml"]] == []
    assert sum(count_effects(tmp_path).values()) == REQUESTS
    assert set(count_effects(tmp_path).values()) == {1}


def count_effects(folder: Path) -> dict[str, int]:
    counts = {}
    with NvmStore.open(folder / "hub.nvm") as store:
        for name in store.device_names():
            nvm = store.device(name)
            for key in nvm.keys("effect/"):
                counts[f"{name}/{key}"] = int.from_bytes(nvm.get(key) or b"", "big")
    return counts
