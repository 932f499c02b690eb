"""Both ends over the broker in memory, in virtual time: whatever breaks, each request has one effect, one answer."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.firmware.wan.world import EPOCH_UTC_US, GAS, HOUR_US, HUB, METER, World, virtual

from smets1.errors import ClosedError, LostError, NoAnswerError, RefusedError, SecurityError
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.head_end import HeadEndWan, worker_of
from smets1.firmware.wan.hub_end import MAX_WAITING, RETENTION_US, HubWanEnd
from smets1.firmware.wan.memory import Fault, MemoryBroker, Transfer
from smets1.firmware.wan.messages import (
    WanEvent,
    WanRequest,
    WanResponse,
    WanStatus,
    WanTopic,
    topic,
)
from smets1.hardware.clock import EmulatorLoop

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


@virtual
async def test_a_busy_hub_makes_room_by_its_oldest_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests within a day than answers are kept: those that were receipted first go first."""
    monkeypatch.setattr("smets1.firmware.wan.hub_end.MAX_ANSWERS", 20)
    world = World()
    await world.start()
    for number in range(60):
        await world.head.ask(HUB, world.request(f"r{number}"))
        await asyncio.sleep(1)
    kept = {key.rpartition("/")[2] for key in world.hub_nvm.keys("wan/answer/")}
    assert world.hub.dropped_count == 0
    assert len(world.executed) == 60
    assert kept == {f"r{number}" for number in range(40, 60)}
    await world.close()


@virtual
async def test_a_full_store_that_nobody_receipts_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smets1.firmware.wan.hub_end.MAX_ANSWERS", 5)
    world = World()
    await world.start_hub()
    for number in range(8):
        world.hub.on_message(topic(HUB, WanTopic.REQUEST), world.request(f"r{number}").encode())
        await asyncio.sleep(1)
    assert (len(world.executed), world.hub.dropped_count) == (5, 3)
    await world.hub.close()


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
async def test_a_hub_goes_from_one_worker_to_another_and_back() -> None:
    """What is under way goes along; the broker's memory of the first one's subscriptions does no harm."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    civil, broker = CivilClock(loop, EPOCH_UTC_US), MemoryBroker(loop)
    executed: list[str] = []
    heard: list[tuple[int, bytes]] = []

    def worker(index: int) -> HeadEndWan:
        return HeadEndWan(
            broker.link(f"worker-{index}", random.Random(index)),
            None,
            civil,
            rng=random.Random(index),
            hubs=(),
            on_event=lambda _, event: heard.append((index, event.frame)),
        )

    async def execute(request: WanRequest) -> WanResponse:
        executed.append(request.request_id)
        await asyncio.sleep(100)
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE)

    workers = [worker(0), worker(1)]
    hub = HubWanEnd(
        broker.link("hub", random.Random(7)), HUB, MemoryNvm(), civil, execute, rng=random.Random(8)
    )
    await hub.start()
    for one in workers:
        await one.start()
    request = WanRequest(
        request_id="r",
        expires_utc_us=civil.utc_us() + HOUR_US,
        target=METER,
        endpoint=1,
        cluster_id=0,
        frame=b"",
    )
    workers[0].serve([HUB])
    asking = asyncio.create_task(workers[0].ask(HUB, request))
    await asyncio.sleep(10)
    workers[0].serve([])
    with pytest.raises(LostError, match="another worker"):
        await asking
    workers[1].serve([HUB])
    assert (await workers[1].ask(HUB, request)).status == WanStatus.DONE
    assert executed == ["r"]
    hub.report(METER, 1, 0xFC01, b"one")
    await asyncio.sleep(10)
    # The first one is killed and comes back: it has asked for nothing, whatever its session had.
    workers[1].serve([])
    workers[0].link.cut_power()  # type: ignore[attr-defined]
    workers[0] = worker(0)
    await workers[0].start()
    hub.report(METER, 1, 0xFC01, b"two")
    await asyncio.sleep(10)
    assert heard == [(1, b"one")]
    workers[0].serve([HUB])
    await asyncio.sleep(100)
    assert heard == [(1, b"one"), (0, b"two")]
    assert hub.unanswered_count == 0
    for closing in (*workers, hub):
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
