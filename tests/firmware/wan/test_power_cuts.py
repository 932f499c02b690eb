"""Each end loses its power at any commit and any moment: one effect, one answer, no event lost."""

from __future__ import annotations

import asyncio

import pytest
from tests.firmware.wan.world import HUB, METER, World, virtual

from smets1.errors import LostError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.messages import (
    WanEvent,
    WanRequest,
    WanResponse,
    WanStatus,
)


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
@virtual
async def test_hub_loses_power_at_any_commit(at: int, is_written: bool) -> None:
    """Effect and answer are in one commit: never twice, never lost."""
    world = World()
    world.hub_nvm = MemoryNvm(cut_at_commit=at, is_written=is_written)
    await world.start_head()
    try:
        await world.start_hub()
    except LostError:
        assert at == 1
    names = ["a", "b", "c"]
    asking = [asyncio.create_task(world.head.ask(HUB, world.request(name))) for name in names]
    await asyncio.sleep(60)
    await world.kill_hub()
    await world.start_hub()
    answers = await asyncio.gather(*asking)
    assert [answer.status for answer in answers] == 3 * [WanStatus.DONE]
    assert world.effect_count == 3
    await world.close()


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
@virtual
async def test_record_lets_the_device_commit(at: int, is_written: bool) -> None:
    """The other form of the hook: the device calls `record` and commits by itself, then still has work to do."""
    world = World()

    async def execute(request: WanRequest) -> WanResponse:
        response = await world.count(request)
        world.hub.record(request, response)
        world.hub_nvm.commit()
        await asyncio.sleep(1)
        return response

    world.execute = execute
    world.hub_nvm = MemoryNvm(cut_at_commit=at, is_written=is_written)
    await world.start_head()
    try:
        await world.start_hub()
    except LostError:
        assert at == 1
    asking = [asyncio.create_task(world.head.ask(HUB, world.request(name))) for name in ("a", "b")]
    await asyncio.sleep(60)
    await world.kill_hub()
    await world.start_hub()
    assert [answer.status for answer in await asyncio.gather(*asking)] == 2 * [WanStatus.DONE]
    assert world.effect_count == 2
    await world.close()


# Around every step of a request: two latencies of 20 ms, half a second of work, two latencies, receipt.
_MOMENTS_S = (0.0, 0.01, 0.03, 0.05, 0.3, 0.53, 0.545, 0.555, 0.57, 0.59, 0.61, 0.63, 1.0)


@pytest.mark.parametrize("moment_s", _MOMENTS_S)
@virtual
async def test_hub_is_killed_at_any_moment(moment_s: float) -> None:
    world = World()
    await world.start()
    event = world.hub.report(METER, 1, 0xFC01, b"alert")
    await asyncio.sleep(0.01)
    asking = asyncio.create_task(world.head.ask(HUB, world.request("a")))
    await asyncio.sleep(moment_s)
    await world.kill_hub()
    await asyncio.sleep(5)
    await world.start_hub()
    assert (await asking).status == WanStatus.DONE
    await asyncio.sleep(60)
    assert world.effect_count == 1
    assert world.events == [event]
    assert world.hub.unanswered_count == 0
    await world.close()


@pytest.mark.parametrize("moment_s", _MOMENTS_S)
@virtual
async def test_head_end_is_killed_at_any_moment(moment_s: float) -> None:
    world = World()
    await world.start()
    request = world.request("a", frame=b"x")
    asking = asyncio.create_task(world.head.ask(HUB, request))
    event = world.hub.report(METER, 1, 0xFC01, b"alert")
    await asyncio.sleep(moment_s)
    await world.kill_head()
    asking.cancel()
    await asyncio.sleep(5)
    await world.start_head()
    assert world.head.pending() in ([], [(HUB, request)])
    assert (await world.head.ask(HUB, request)).frame == b"x"
    await asyncio.sleep(60)
    assert world.effect_count == 1
    assert world.events[:1] == [event]  # twice only where the kill fell between the listener and the commit
    assert world.hub.unanswered_count == 0
    world.head.forget("a")
    await asyncio.sleep(1)
    assert world.head_nvm.keys("ask/") == []
    await world.close()


@virtual
async def test_event_mark_is_committed_with_the_listeners_own_record() -> None:
    """A power cut at any commit of the head end: what the listener has put is there exactly once."""
    for at in range(1, 4):
        for is_written in (False, True):
            world = World()
            world.head_nvm = MemoryNvm(cut_at_commit=at, is_written=is_written)

            def put(_: int, event: WanEvent, world: World = world) -> None:
                log = world.head_nvm.get("log") or b""
                world.head_nvm.put("log", log + event.frame)

            await world.start()
            world.head.on_event = put
            world.hub.report(METER, 1, 0xFC01, b"1")
            await asyncio.sleep(5)
            world.hub.report(METER, 1, 0xFC01, b"2")
            await asyncio.sleep(5)
            await world.kill_head()
            await world.start_head()
            world.head.on_event = put
            await asyncio.sleep(600)
            assert world.head_nvm.get("log") == b"12"
            await world.close()


@virtual
async def test_nvm_failure_of_the_head_end_reaches_who_asks() -> None:
    world = World()
    world.head_nvm = MemoryNvm(cut_at_commit=1)
    await world.start()
    with pytest.raises(LostError):
        await world.head.ask(HUB, world.request("a"))
    with pytest.raises(LostError):
        await world.head.ask(HUB, world.request("b"))
    assert world.executed == []
    await world.close()
