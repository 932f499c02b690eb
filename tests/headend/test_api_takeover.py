"""kill -9 of one head-end worker and then of the other, or one that hangs, under load, with mosquitto and PostgreSQL.

While one is dead or hangs the other serves its hubs; no accepted request is without its response, and none is
executed twice.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.firmware.wan.test_mqtt import Mosquitto
from tests.headend.children import Process, post
from tests.headend.conftest import CHF, ESME, request_xml
from tests.headend.kill_child import HOME_STEP, HOMES
from tests.headend.test_api_kill import free_port
from tests.headend.test_api_kill_all import mosquitto, read_responses
from tests.headend.test_postgresql import cluster, new_database

from smets1.eui64 import format_eui64
from smets1.firmware.nvm import NvmStore
from smets1.firmware.wan.head_end import worker_of

__all__ = ["cluster", "mosquitto"]

pytestmark = [pytest.mark.outsider, pytest.mark.slow]

REQUESTS, A_SECOND, LIMIT_S = 300, 40, 150
HOMES_OF = [[home for home in range(HOMES) if worker_of(CHF + home * HOME_STEP, 2) == n] for n in (0, 1)]


def xml_of(number: int) -> bytes:
    target = format_eui64(ESME + number % HOMES * HOME_STEP)
    if number // HOMES % 4 == 0:
        return request_xml("7.2", "<sr:DisableSupply/>", counter=number, target=target)
    utrn = f"<sr:TopUpDevice><sr:UTRN>{number:020d}</sr:UTRN></sr:TopUpDevice>"
    return request_xml("2.2", utrn, counter=number, target=target)


async def answered(session: aiohttp.ClientSession, url: str, after: int) -> list[tuple[int, int]]:
    """(number of the response, home) of what was answered after that one, as soon as this head end is there."""
    while await read_responses(session, url, after) is None:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)
    found = await all_responses(session, url, after)
    counters = ((int(one["number"]), int(one["request"].split(":")[2])) for one in found)
    return [(number, counter % HOMES) for number, counter in counters]


async def wait_until_served(session: aiohttp.ClientSession, url: str, homes: list[int]) -> None:
    """Every one of these homes has answered something new."""
    old = await answered(session, url, 0)
    after = max((number for number, _ in old), default=0)
    while not set(homes) <= {home for _, home in await answered(session, url, after)}:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


_databases = count()


@dataclass
class Cast:
    """Two workers, all hubs, and the workers' doors."""

    workers: list[Process]
    hubs: Process
    urls: list[str]


@pytest.fixture
def cast(mosquitto: Mosquitto, cluster: str, tmp_path: Path) -> Iterator[Cast]:
    """Running."""
    assert all(HOMES_OF), "each worker has homes"
    database = new_database(cluster, f"takeover{next(_databases)}")
    ports = [free_port(), free_port()]
    workers = [
        Process("kill_child.py", str(tmp_path), str(port), mosquitto.url, database, str(number), "2")
        for number, port in enumerate(ports)
    ]
    hubs = Process("kill_hub_child.py", str(tmp_path), mosquitto.url, str(HOMES))
    for process in (mosquitto, hubs, *workers):
        process.start()
    yield Cast(workers, hubs, [f"http://127.0.0.1:{port}/api/v1" for port in ports])
    for process in (*workers, hubs, mosquitto):
        process.kill()


Trouble = Callable[[aiohttp.ClientSession, Cast], Coroutine[Any, Any, None]]


async def kill_in_turn(session: aiohttp.ClientSession, cast: Cast) -> None:
    workers, urls = cast.workers, cast.urls
    for dead, living in ((0, 1), (1, 0)):
        await wait_until_served(session, urls[living], list(range(HOMES)))
        workers[dead].kill()
        await wait_until_served(session, urls[living], HOMES_OF[dead])
        workers[dead].start()
        await answered(session, urls[dead], 0)


async def hang_and_wake(session: aiohttp.ClientSession, cast: Cast) -> None:
    """The database cuts it off; when it wakes it finds that, and may not go on with what it had in hand."""
    workers, urls = cast.workers, cast.urls
    await wait_until_served(session, urls[1], list(range(HOMES)))
    workers[0].signal(signal.SIGSTOP)
    await wait_until_served(session, urls[1], HOMES_OF[0])
    workers[0].signal(signal.SIGCONT)
    await wait_until_served(session, urls[1], HOMES_OF[1])


@pytest.mark.parametrize("trouble", [kill_in_turn, hang_and_wake])
async def test_one_worker_after_the_other(cast: Cast, tmp_path: Path, trouble: Trouble) -> None:
    urls = cast.urls
    timeout = aiohttp.ClientTimeout(total=4)  # one that hangs takes connections still
    async with asyncio.timeout(LIMIT_S), aiohttp.ClientSession(timeout=timeout) as session:
        for url in urls:
            await answered(session, url, 0)
        troubling = asyncio.create_task(trouble(session, cast))
        posts = []
        number = 0
        while number < REQUESTS or not troubling.done():
            doors = urls if number % 2 == 0 else urls[::-1]
            posts.append(asyncio.create_task(post(session, xml_of(number), *doors)))
            await asyncio.sleep(1 / A_SECOND if number < REQUESTS else 0.25)  # a busy machine must keep up
            number += 1
        await troubling
        codes = Counter(await asyncio.gather(*posts))
        while len(await all_responses(session, urls[1])) < number:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)
        found = await all_responses(session, urls[1])
    assert set(codes) <= {"I99", "E40"}
    numbers = Counter(response["request"].split(":")[2] for response in found)
    assert numbers == {str(each): 1 for each in range(number)}
    assert [r["xml"] for r in found if 'MessageSuccess="true"' not in r["xml"]] == []
    cast.hubs.kill()
    effects = count_effects(tmp_path)
    assert len(effects) == number
    assert set(effects.values()) == {1}


async def all_responses(session: aiohttp.ClientSession, url: str, after: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while more := await read_responses(session, url, int(found[-1]["number"]) if found else after):
        found += more
    return found


def count_effects(folder: Path) -> dict[str, int]:
    counts = {}
    with NvmStore.open(folder / "hub.nvm") as store:
        for name in store.device_names():
            nvm = store.device(name)
            for key in nvm.keys("effect/"):
                counts[f"{name}/{key}"] = int.from_bytes(nvm.get(key) or b"", "big")
    return counts
