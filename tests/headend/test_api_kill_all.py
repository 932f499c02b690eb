"""kill -9 of head end, broker and hub in turn, under 100 requests a second, with mosquitto and PostgreSQL.

No accepted request is without its response, and none is executed twice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.firmware.wan.test_mqtt import Mosquitto
from tests.headend.children import Process, post
from tests.headend.conftest import request_xml
from tests.headend.test_api_kill import free_port
from tests.headend.test_postgresql import cluster  # a fixture

from smets1.firmware.nvm import NvmStore

__all__ = ["cluster"]

pytestmark = [pytest.mark.outsider, pytest.mark.slow]

REQUESTS, A_SECOND, LIMIT_S = 600, 100, 150


def xml_of(number: int) -> bytes:
    utrn = f"<sr:TopUpDevice><sr:UTRN>{number:020d}</sr:UTRN></sr:TopUpDevice>"
    return request_xml("2.2", utrn, counter=number)


async def read_responses(session: aiohttp.ClientSession, url: str, after: int) -> list[dict[str, Any]] | None:
    """None while the head end is not there."""
    try:
        async with session.get(f"{url}/responses", params={"limit": "1000", "after": str(after)}) as answer:
            found: list[dict[str, Any]] = (await answer.json())["responses"]
            return found
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        return None


async def more_answers(session: aiohttp.ClientSession, url: str, than: int) -> int:
    """Waits for a response beyond that number, or for the last of all; the highest number."""
    while True:
        found = await read_responses(session, url, than)
        if found:
            return int(found[-1]["number"])
        if found is not None and than >= REQUESTS:
            return than
        await asyncio.sleep(0.05)


@pytest.fixture
def mosquitto(program: Callable[[str], str], tmp_path: Path) -> Mosquitto:
    program("mosquitto")
    return Mosquitto(tmp_path, "max_queued_messages 0")


async def test_kill_9_in_turn(mosquitto: Mosquitto, cluster: str, tmp_path: Path) -> None:
    port = free_port()
    head_end = Process("kill_child.py", str(tmp_path), str(port), mosquitto.url, cluster)
    hub = Process("kill_hub_child.py", str(tmp_path), mosquitto.url)
    victims: list[Process | Mosquitto] = [mosquitto, hub, head_end]
    for victim in victims:
        victim.start()
    url, rng = f"http://127.0.0.1:{port}/api/v1", random.Random(11)
    try:
        async with asyncio.timeout(LIMIT_S), aiohttp.ClientSession() as session:

            async def kill_in_turn() -> int:
                done = await more_answers(session, url, 0)
                for victim in [*victims[::-1], *victims]:
                    await asyncio.sleep(rng.random() * 0.5)
                    victim.kill()
                    victim.start()
                    done = await more_answers(session, url, done)
                return done

            while await read_responses(session, url, 0) is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
            killer = asyncio.create_task(kill_in_turn())
            posts = []
            for number in range(REQUESTS):
                posts.append(asyncio.create_task(post(session, xml_of(number), url)))
                await asyncio.sleep(1 / A_SECOND)
            codes = Counter(await asyncio.gather(*posts))
            highest = await killer
            while highest < REQUESTS:
                highest = await more_answers(session, url, highest)
            await asyncio.sleep(1)
            found = await read_responses(session, url, 0)
    finally:
        for victim in victims:
            victim.kill()
    assert found is not None
    assert set(codes) <= {"I99", "E40"}
    numbers = Counter(response["request"].split(":")[2] for response in found)
    assert numbers == {str(number): 1 for number in range(REQUESTS)}
    assert [r["xml"] for r in found if 'MessageSuccess="true"' not in r["xml"]] == []
    store = NvmStore.open(tmp_path / "hub.nvm")
    nvm = store.device("hub")
    effects = {key: int.from_bytes(nvm.get(key) or b"", "big") for key in nvm.keys("effect/")}
    store.close()
    assert effects == {f"effect/{number:020d}": 1 for number in range(REQUESTS)}
