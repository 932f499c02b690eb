"""Both ends over the broker in memory, in virtual time: whatever breaks, each request has one effect, one answer.

The device is a counter in NVM; its own commit is the effect. It is either in the hub's store (effect and answer
in one commit) or idempotent by itself, as a meter with a SUA counter is.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from smets1.errors import ClosedError, LostError, NoAnswerError, RefusedError, SecurityError
from smets1.firmware.civil import CivilClock, parse_utc
from smets1.firmware.nvm import MemoryNvm, NvmView
from smets1.firmware.wan.head_end import HeadEndWan, worker_of
from smets1.firmware.wan.hub_end import MAX_WAITING, RETENTION_US, Execute, HubWanEnd
from smets1.firmware.wan.memory import Fault, MemoryBroker, MemoryLink, Transfer
from smets1.firmware.wan.messages import (
    HubStatus,
    WanEvent,
    WanRequest,
    WanResponse,
    WanStatus,
    WanTopic,
    topic,
)
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run

HUB = 0x00DB1234567890A2
METER = 0x00DB1234567890A0
GAS = 0x00DB1234567890A1
EPOCH_UTC_US = parse_utc("2024-01-01T00:00:00Z")
HOUR_US = 3_600_000_000


class World:
    """A broker, a hub with a counting device, a head end; each end may lose its power and start again."""

    def __init__(self, fault: Callable[[Transfer], Fault] | None = None) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.civil = CivilClock(loop, EPOCH_UTC_US)
        self.broker = MemoryBroker(loop, fault=fault)
        self.hub_nvm = MemoryNvm()
        self.head_nvm = MemoryNvm()
        self.events: list[WanEvent] = []
        self.statuses: list[HubStatus] = []
        self.executed: list[str] = []
        self.execute: Execute = self.count
        self.hub: HubWanEnd
        self.head: HeadEndWan

    def request(
        self, request_id: str, *, target: int = METER, frame: bytes = b"", ttl_us: int = HOUR_US
    ) -> WanRequest:
        return WanRequest(
            request_id=request_id,
            expires_utc_us=self.civil.utc_us() + ttl_us,
            target=target,
            endpoint=1,
            cluster_id=0x0702,
            frame=frame,
        )

    async def count(self, request: WanRequest) -> WanResponse:
        """The device: leaves its effect uncommitted, so that the answer's commit carries both."""
        await asyncio.sleep(0.5)
        self.executed.append(request.request_id)
        value = int(self.hub_nvm.get("count") or b"0") + 1
        self.hub_nvm.put("count", str(value).encode())
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE, frame=request.frame)

    @property
    def effect_count(self) -> int:
        return int(self.hub_nvm.get("count") or b"0")

    async def start_hub(self) -> None:
        link = self.broker.link(f"hub-{HUB:016x}", random.Random(1))

        async def execute(request: WanRequest) -> WanResponse:
            return await self.execute(request)

        self.hub = HubWanEnd(
            link,
            HUB,
            NvmView(self.hub_nvm, "wan/"),
            self.civil,
            execute,
            rng=random.Random(2),
            on_lost=_ignore,
        )
        await self.hub.start()

    async def start_head(self) -> None:
        self.head = HeadEndWan(
            self.broker.link("head-end", random.Random(3)),
            self.head_nvm,
            self.civil,
            rng=random.Random(4),
            on_event=lambda hub, event: self.events.append(event),
            on_status=lambda hub, status: self.statuses.append(status),
            on_lost=_ignore,
        )
        await self.head.start()

    async def start(self) -> None:
        await self.start_hub()
        await self.start_head()

    async def kill_hub(self, *, cut_at_commit: int | None = None, is_written: bool = False) -> None:
        """Power off between two instructions; NVM keeps what was committed."""
        self.hub_nvm.cut_power()
        _cut_power(self.hub.link)
        await self.hub.close()
        self.hub_nvm = self.hub_nvm.after_power_cut(cut_at_commit=cut_at_commit, is_written=is_written)

    async def kill_head(self) -> None:
        self.head_nvm.cut_power()
        _cut_power(self.head.link)
        await self.head.close()
        self.head_nvm = self.head_nvm.after_power_cut()

    async def close(self) -> None:
        await self.hub.close()
        await self.head.close()


def _ignore(_: LostError) -> None:
    pass


def _cut_power(link: object) -> None:
    assert isinstance(link, MemoryLink)
    link.cut_power()


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test coroutine in virtual time."""

    @functools.wraps(test)
    def wrapped(**fixtures: Any) -> None:
        run(test(**fixtures), speed=MAX_SPEED)

    return wrapped


# --- the plain way -----------------------------------------------------------------------------------


@virtual
async def test_ask_and_answer() -> None:
    world = World()
    await world.start()
    response = await world.head.ask(HUB, world.request("a", frame=b"\x01\x02"))
    assert response == WanResponse(request_id="a", status=WanStatus.DONE, frame=b"\x01\x02")
    assert world.effect_count == 1
    await asyncio.sleep(1)
    assert world.hub.unanswered_count == 0
    assert world.head.unanswered_count == 0
    assert world.head.is_online(HUB)
    await world.close()


@virtual
async def test_status_follows_the_hub() -> None:
    world = World()
    await world.start()
    await asyncio.sleep(1)
    await world.hub.close()
    await asyncio.sleep(1)
    assert [(s.online, s.boot_count) for s in world.statuses] == [(True, 1), (False, 1)]
    await world.start_hub()
    await asyncio.sleep(1)
    await world.kill_hub()
    await asyncio.sleep(1)
    assert [(s.online, s.boot_count) for s in world.statuses[2:]] == [(True, 2), (False, 2)]
    assert not world.head.is_online(HUB)
    assert not world.head.is_online(GAS)
    await world.close()


@virtual
async def test_one_device_in_order_several_together() -> None:
    world = World()
    running: list[int] = []
    most = 0

    async def execute(request: WanRequest) -> WanResponse:
        nonlocal most
        assert request.target not in running
        running.append(request.target)
        most = max(most, len(running))
        await asyncio.sleep(10 if request.request_id.endswith("0") else 1)
        running.remove(request.target)
        world.executed.append(request.request_id)
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE)

    world.execute = execute
    await world.start()
    requests = [
        world.request(f"{kind}{n}", target=target)
        for n in range(5)
        for kind, target in (("m", METER), ("g", GAS))
    ]
    await asyncio.gather(*(world.head.ask(HUB, request) for request in requests))
    assert most == 2
    assert [name for name in world.executed if name[0] == "m"] == ["m0", "m1", "m2", "m3", "m4"]
    assert [name for name in world.executed if name[0] == "g"] == ["g0", "g1", "g2", "g3", "g4"]
    await world.close()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoAnswerError("meter"), WanStatus.UNREACHABLE),
        (RefusedError(0x86), WanStatus.REFUSED),
        (SecurityError("bad SUA"), WanStatus.REFUSED),
        (KeyError("a bug"), WanStatus.FAILED),
    ],
)
@virtual
async def test_errors_become_statuses(error: Exception, status: WanStatus) -> None:
    world = World()

    async def execute(_: WanRequest) -> WanResponse:
        raise error

    world.execute = execute
    await world.start()
    assert (await world.head.ask(HUB, world.request("a"))).status == status
    await world.close()


@virtual
async def test_events_reach_the_head_end_once_and_in_order() -> None:
    world = World(fault=lambda transfer: Fault.TWICE)
    await world.start()
    sent = [world.hub.report(METER, 1, 0xFC01, bytes([n])) for n in range(20)]
    await asyncio.sleep(5)
    assert world.events == sent
    assert world.hub.unanswered_count == 0
    assert world.hub_nvm.keys("wan/event/") == []
    await world.close()


@virtual
async def test_event_listener_that_fails_is_told_again() -> None:
    world = World()
    await world.start()
    failures = iter([True, True, False])

    def on_event(_: int, event: WanEvent) -> None:
        if next(failures):
            raise ValueError
        world.events.append(event)

    world.head.on_event = on_event
    sent = world.hub.report(METER, 1, 0xFC01, b"alert")
    await asyncio.sleep(600)
    assert world.events == [sent]
    await world.close()


# --- expiry --------------------------------------------------------------------------------------------


@virtual
async def test_expired_on_arrival_is_not_executed() -> None:
    world = World()
    await world.start()
    response = await world.head.ask(HUB, world.request("a", ttl_us=10_000))
    assert response.status == WanStatus.EXPIRED
    assert world.executed == []
    await world.close()


@virtual
async def test_expired_in_the_queue_is_not_executed() -> None:
    world = World()
    await world.start()
    first = asyncio.create_task(world.head.ask(HUB, world.request("a")))
    await asyncio.sleep(0.01)
    second = await world.head.ask(HUB, world.request("b", ttl_us=300_000))
    assert second.status == WanStatus.EXPIRED
    assert (await first).status == WanStatus.DONE
    assert world.executed == ["a"]
    await world.close()


@virtual
async def test_hub_that_stays_away() -> None:
    world = World()
    await world.start_head()
    with pytest.raises(NoAnswerError):
        await world.head.ask(HUB, world.request("a"))
    assert world.civil.utc_us() == EPOCH_UTC_US + HOUR_US + 30_000_000
    assert world.head.pending() == []
    await asyncio.sleep(1)
    assert world.head_nvm.keys() == []
    await world.start_hub()
    await asyncio.sleep(10)
    assert world.executed == []
    await world.close()


@virtual
async def test_hub_that_comes_late() -> None:
    world = World()
    await world.start_head()
    asking = asyncio.create_task(world.head.ask(HUB, world.request("a")))
    await asyncio.sleep(1800)
    await world.start_hub()
    assert (await asking).status == WanStatus.DONE
    assert world.civil.utc_us() < EPOCH_UTC_US + 1_802_000_000
    await world.close()


# --- repeats -------------------------------------------------------------------------------------------


@virtual
async def test_same_request_again_gets_the_stored_answer() -> None:
    world = World()
    await world.start()
    request = world.request("a", frame=b"x")
    first = await world.head.ask(HUB, request)
    assert await world.head.ask(HUB, request) == first
    world.head.forget("a")
    assert await world.head.ask(HUB, request) == first  # now from the hub's store
    assert world.effect_count == 1
    await asyncio.sleep(1)
    await world.kill_hub()
    await world.start_hub()
    world.head.forget("a")
    assert await world.head.ask(HUB, request) == first
    assert world.effect_count == 1
    await world.close()


@virtual
async def test_two_callers_of_one_request() -> None:
    world = World()
    await world.start()
    request = world.request("a")
    first, second = await asyncio.gather(world.head.ask(HUB, request), world.head.ask(HUB, request))
    assert first == second
    assert world.effect_count == 1
    await world.close()


@virtual
async def test_answers_are_forgotten_after_expiry_and_receipt() -> None:
    world = World()
    await world.start()
    await world.head.ask(HUB, world.request("a"))
    await asyncio.sleep((HOUR_US + RETENTION_US) / 1e6 + 10)
    assert world.hub_nvm.keys("wan/answer/") == ["wan/answer/a"]
    await world.head.ask(HUB, world.request("b"))
    await asyncio.sleep(1)
    assert world.hub_nvm.keys("wan/answer/") == ["wan/answer/b"]
    await world.close()


# --- faults of the link, at every message -----------------------------------------------------------------

_TRANSFERS = 18


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNACKNOWLEDGED, Fault.TWICE])
@pytest.mark.parametrize("at", range(_TRANSFERS))
@virtual
async def test_one_fault_at_any_transfer(fault: Fault, at: int) -> None:
    world = World(fault=lambda transfer: fault if transfer.index == at else Fault.NONE)
    await world.start()
    names = ["a", "b", "c"]
    answers = await asyncio.gather(*(world.head.ask(HUB, world.request(n, frame=n.encode())) for n in names))
    event = world.hub.report(METER, 1, 0xFC01, b"alert")
    await asyncio.sleep(300)
    assert [(a.status, a.frame) for a in answers] == [(WanStatus.DONE, n.encode()) for n in names]
    assert world.effect_count == 3
    assert world.events == [event]
    assert world.hub.unanswered_count == 0
    assert world.broker.transfer_count >= _TRANSFERS
    await world.close()


@pytest.mark.parametrize("seed", range(12))
@virtual
async def test_a_bad_line(seed: int) -> None:
    dice = random.Random(seed)

    def fault(_: Transfer) -> Fault:
        return dice.choice([Fault.NONE] * 6 + [Fault.LOST, Fault.UNACKNOWLEDGED, Fault.TWICE])

    world = World(fault=fault)
    await world.start()
    names = [f"r{number}" for number in range(20)]
    asking = [
        asyncio.create_task(
            world.head.ask(HUB, world.request(name, target=dice.choice([METER, GAS]), ttl_us=100 * HOUR_US))
        )
        for name in names
    ]
    sent = []
    for number in range(10):
        await asyncio.sleep(dice.random() * 20)
        sent.append(world.hub.report(METER, 1, 0xFC01, bytes([number])))
        if dice.random() < 0.2:
            world.broker.stop(forget=dice.random() < 0.5)
            await asyncio.sleep(dice.random() * 30)
            world.broker.start()
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {WanStatus.DONE}
    assert sorted(world.executed) == sorted(names)
    await asyncio.sleep(10 * 3600)
    assert sorted(event.event_id for event in world.events) == sorted(event.event_id for event in sent)
    world.broker.fault = None
    await asyncio.sleep(10 * 3600)
    assert world.hub.unanswered_count == 0
    await world.close()


# --- power cuts ---------------------------------------------------------------------------------------------


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


# --- peers that misbehave -----------------------------------------------------------------------------------


@virtual
async def test_hostile_octets_are_counted_and_dropped() -> None:
    world = World()
    await world.start()
    dice = random.Random(5)
    link = world.broker.link("stranger", random.Random(6))
    link.attach(world.hub)  # any listener; nothing is subscribed
    await link.connect()
    for kind in WanTopic:
        for _ in range(200):
            link.publish(topic(HUB, kind), dice.randbytes(dice.randrange(80)))
    link.publish("hub/zz/response", b"\xa0")
    await asyncio.sleep(5)
    assert world.hub.malformed_count == 400
    assert world.head.malformed_count == 601
    assert (await world.head.ask(HUB, world.request("a"))).status == WanStatus.DONE
    await link.close()
    await world.close()


@virtual
async def test_malformed_request_with_an_id_is_answered() -> None:
    world = World()
    await world.start()
    request = world.request("a")
    asking = asyncio.create_task(world.head.ask(HUB, request))
    world.broker.stop(forget=False)
    broken = request.encode().replace(b"endpoint", b"endpoinT")
    world.hub.on_message(topic(HUB, WanTopic.REQUEST), broken)
    assert world.hub.malformed_count == 1
    world.broker.start()
    await asyncio.sleep(20)
    world.hub.on_message(topic(HUB, WanTopic.REQUEST), broken)  # answered already: the stored answer stands
    assert (await asking).status == WanStatus.DONE
    await world.close()


@virtual
async def test_answer_from_another_hub_is_not_taken() -> None:
    world = World()
    await world.start()
    asking = asyncio.create_task(world.head.ask(HUB, world.request("a")))
    await asyncio.sleep(0.01)
    forged = WanResponse(request_id="a", status=WanStatus.REFUSED)
    world.head.on_message(topic(GAS, WanTopic.RESPONSE), forged.encode())
    assert (await asking).status == WanStatus.DONE
    await world.close()


@virtual
async def test_flood_of_requests_is_bounded() -> None:
    world = World()

    async def never(_: WanRequest) -> WanResponse:
        await asyncio.sleep(10**6)
        raise AssertionError

    world.execute = never
    await world.start()
    for number in range(MAX_WAITING + 50):
        world.hub.on_message(topic(HUB, WanTopic.REQUEST), world.request(f"r{number}").encode())
    assert world.hub.dropped_count == 50
    await world.close()


# --- housekeeping --------------------------------------------------------------------------------------------


@virtual
async def test_forget_cancels_who_waits() -> None:
    world = World()
    await world.start_head()
    asking = asyncio.create_task(world.head.ask(HUB, world.request("a")))
    await asyncio.sleep(1)
    world.head.forget("a")
    with pytest.raises(asyncio.CancelledError):
        await asking
    await world.head.close()
    with pytest.raises(ClosedError):
        await world.head.ask(HUB, world.request("b"))


@virtual
async def test_workers_share_the_hubs() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    civil, broker = CivilClock(loop, EPOCH_UTC_US), MemoryBroker(loop)
    hubs = [HUB + 0x100 * number for number in range(16)]
    heard: list[tuple[int, int]] = []
    workers = []
    for index in range(3):
        worker = HeadEndWan(
            broker.link(f"worker-{index}", random.Random(index)),
            MemoryNvm(),
            civil,
            rng=random.Random(index),
            hubs=[hub for hub in hubs if worker_of(hub, 3) == index],
            on_event=lambda hub, event, index=index: heard.append((index, hub)),  # type: ignore[misc]
        )
        await worker.start()
        workers.append(worker)
    ends = []
    for hub in hubs:

        async def execute(request: WanRequest) -> WanResponse:
            return WanResponse(request_id=request.request_id, status=WanStatus.DONE)

        link = broker.link(f"hub-{hub:x}", random.Random(hub))
        end = HubWanEnd(link, hub, MemoryNvm(), civil, execute, rng=random.Random(hub))
        await end.start()
        end.report(METER, 1, 0xFC01, b"")
        ends.append(end)
    for hub in hubs:
        request = WanRequest(
            request_id=f"{hub:x}",
            expires_utc_us=civil.utc_us() + HOUR_US,
            target=METER,
            endpoint=1,
            cluster_id=0,
            frame=b"",
        )
        assert (await workers[worker_of(hub, 3)].ask(hub, request)).status == WanStatus.DONE
    assert sorted(heard) == sorted((worker_of(hub, 3), hub) for hub in hubs)
    assert {index for index, _ in heard} == {0, 1, 2}
    workers[0].add_hub(0x1234)
    for closing in (*workers, *ends):
        await closing.close()


@virtual
async def test_same_seed_same_octets() -> None:
    """Two runs of a bad line send the same messages at the same times."""

    async def record() -> list[tuple[int, int, str, bool]]:
        dice = random.Random(9)
        trace: list[tuple[int, int, str, bool]] = []

        def fault(transfer: Transfer) -> Fault:
            trace.append(
                (world.civil.utc_us() - start_utc_us, transfer.index, transfer.topic, transfer.to_broker)
            )
            return dice.choice([Fault.NONE] * 5 + [Fault.LOST, Fault.UNACKNOWLEDGED, Fault.TWICE])

        world = World(fault=fault)
        start_utc_us = world.civil.utc_us()
        await world.start()
        await asyncio.gather(*(world.head.ask(HUB, world.request(f"{n}")) for n in range(10)))
        await world.close()
        return trace

    assert await record() == await record()
