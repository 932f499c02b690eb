"""The HTTP shell, over real sockets on the loopback address."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree
from tests.headend.conftest import ESME, SUPPLIER, Rig, code_of, request_xml

from smets1.errors import LostError
from smets1.headend.api import make_app
from smets1.headend.callbacks import CallbackPoster
from smets1.headend.duis.request import MAX_REQUEST_OCTETS
from smets1.headend.store import Store
from smets1.headend.users import DEFAULT_USERS

Client = TestClient[web.Request, web.Application]
BALANCE = request_xml("4.18", "<sr:ReadMeterBalance/>")


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(rig.head_end))) as made:
        yield made


async def post(client: Client, xml: bytes | io.BytesIO, path: str = "serviceS") -> tuple[int, bytes]:
    headers = {"Content-Type": "application/xml"}
    async with client.post(f"/api/v1/{path}", data=xml, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_waiting_and_not(client: Client) -> None:
    status, body = await post(client, BALANCE)
    assert (status, code_of(etree.fromstring(body))) == (200, "I99")
    status, body = await post(client, BALANCE.replace(b":1000<", b":1001<"), "serviceS?wait=5")
    assert (status, code_of(etree.fromstring(body))) == (200, "I0")
    assert b"<ra:MeterBalance>1250000<" in body
    async with client.get("/api/v1/responses") as answer:
        listed = (await answer.json())["responses"]
    assert [(entry["number"], entry["delivered"]) for entry in listed] == [(1, False), (2, True)]
    assert "<ra:MeterBalance>" in listed[0]["xml"]
    async with client.get("/api/v1/responses", params={"after": "1", "limit": "5", "user": "90-B3-D5-1F-30-01-00-00"}) as answer:  # fmt: skip
        assert len((await answer.json())["responses"]) == 1


async def test_the_answer_is_quick_with_a_silent_hub(rig: Rig, client: Client) -> None:
    rig.hub.is_silent = True
    status, body = await asyncio.wait_for(post(client, BALANCE), 3)
    assert (status, code_of(etree.fromstring(body))) == (200, "I99")


async def test_what_is_no_request(client: Client) -> None:
    for xml in (b"", BALANCE[:-10], b"<!DOCTYPE a><a/>"):
        status, body = await post(client, xml)
        assert status == 400
        assert body.count(b"\n") == 1
    status, body = await post(client, io.BytesIO(b" " * (MAX_REQUEST_OCTETS + 1)))
    assert (status, body.count(b"\n")) == (413, 1)
    for query in ("wait=soon", "wait=-1", "wait=nan", "wait=1e9"):
        assert (await post(client, BALANCE, f"serviceS?{query}"))[0] == 400
    assert (await post(client, BALANCE, "serviceX"))[0] == 404
    for query in ("after=x", "user=x", "limit=-1"):
        async with client.get(f"/api/v1/responses?{query}") as answer:
            assert answer.status == 400
    async with client.post("/api/v1/serviceS", data=b"", headers={"Accept": "application/json"}) as answer:
        assert "not well-formed" in (await answer.json())["error"]


async def test_callbacks_are_repeated_until_taken(make_rig: Any) -> None:
    taken: list[bytes] = []
    all_taken = asyncio.Event()
    refusals = 2

    async def take(request: web.Request) -> web.Response:
        nonlocal refusals
        if refusals:
            refusals -= 1
            return web.Response(status=500)
        assert request.content_type == "application/xml"
        taken.append(await request.read())
        if len(taken) == 3:
            all_taken.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/here", take)
    async with TestServer(app) as server:
        users = tuple(
            replace(user, callback_url=str(server.make_url("/here"))) if user.eui64 == SUPPLIER else user
            for user in DEFAULT_USERS
        )
        rig: Rig = await make_rig(users=users)
        poster = asyncio.create_task(CallbackPoster(rig.head_end, first_pause_s=0.01).run())
        for counter in range(3):
            await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=counter), wait_s=None)
        await asyncio.wait_for(all_taken.wait(), 5)
        poster.cancel()
        await asyncio.gather(poster, return_exceptions=True)
        assert len({etree.fromstring(xml).findtext(".//{*}ResponseID") for xml in taken}) == 3
        delivered = [response.is_delivered for response in rig.head_end.responses()]
        # The last one may be cancelled between the user's 200 and our mark: it would come twice, not never.
        assert delivered[:2] == [True, True]
    assert rig.hub.meters[ESME].executed == []


async def test_a_user_who_comes_back_is_not_flooded(make_rig: Any) -> None:
    at_s: list[float] = []
    all_taken = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        at_s.append(asyncio.get_running_loop().time())
        if len(at_s) == 4:
            all_taken.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/here", take)
    async with TestServer(app) as server:
        users = tuple(replace(user, callback_url=str(server.make_url("/here"))) for user in DEFAULT_USERS)
        rig: Rig = await make_rig(users=users)
        for counter in range(4):
            await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=counter), wait_s=None)
        poster = asyncio.create_task(CallbackPoster(rig.head_end, most_a_second=20).run())
        await asyncio.wait_for(all_taken.wait(), 5)
        poster.cancel()
        await asyncio.gather(poster, return_exceptions=True)
    assert at_s[-1] - at_s[0] >= 2 / 20, "three times 1/20 s, less what the first took to connect"


async def take_with(
    make_rig: Any, handler: Any, count: int, counters: range, **settings: Any
) -> tuple[list[int], Rig]:
    """Counters of the responses that `handler(counter, attempt)` -> HTTP status has taken, until `count`."""
    taken: list[int] = []
    attempts: Counter[int] = Counter()
    enough = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        number = int(
            (etree.fromstring(await request.read()).findtext(".//{*}ResponseID") or "").split(":")[2]
        )
        attempts[number] += 1
        status = handler(number, attempts[number])
        if status is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if status // 100 == 2:
            taken.append(number)
            if len(taken) >= count:
                enough.set()
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/here", take)
    async with TestServer(app) as server:
        users = tuple(replace(user, callback_url=str(server.make_url("/here"))) for user in DEFAULT_USERS)
        rig: Rig = await make_rig(users=users)
        poster = asyncio.create_task(CallbackPoster(rig.head_end, first_pause_s=0.01, **settings).run())
        for counter in counters:
            await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=counter), wait_s=None)
        await asyncio.wait_for(enough.wait(), 10)
        await asyncio.sleep(0.1)
        poster.cancel()
        await asyncio.gather(poster, return_exceptions=True)
    return taken, rig


async def test_what_is_refused_for_good_holds_up_nothing(make_rig: Any) -> None:
    """As a client does whose parser stops at 100 kB: 413, however often it is told."""
    taken, rig = await take_with(make_rig, lambda number, _: 413 if number < 8 else 204, 12, range(20))
    assert taken == list(range(8, 20))
    waiting = [int((r.key or "").split(":")[2]) for r in rig.head_end.responses() if not r.is_delivered]
    assert waiting == list(range(8))


async def test_each_is_taken_once_however_they_fail(make_rig: Any) -> None:
    """500, 400, a connection that breaks before the answer and one that is refused at first."""
    failures: list[list[int | None]] = [[], [500], [None], [400, None, 503], [None, None]]

    def handler(number: int, attempt: int) -> int | None:
        plan = failures[number % len(failures)]
        return plan[attempt - 1] if attempt <= len(plan) else 200

    taken, rig = await take_with(make_rig, handler, 30, range(30))
    assert sorted(taken) == list(range(30))
    assert all(response.is_delivered for response in rig.head_end.responses())


async def test_a_store_that_fails_for_a_moment_loses_no_response(
    make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smets1.headend.callbacks._LOOK_EVERY_S", 0.01)
    genuine, failures = Store.undelivered, iter((True, True))

    def undelivered(store: Store, **which: Any) -> Any:
        if next(failures, False):
            raise LostError("the disk is full")
        return genuine(store, **which)

    monkeypatch.setattr(Store, "undelivered", undelivered)
    taken, _ = await take_with(make_rig, lambda *_: 200, 3, range(3))
    assert taken == [0, 1, 2]
