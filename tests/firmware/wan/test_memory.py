"""The broker in memory behaves as MQTT does where the ends rely on it."""

from __future__ import annotations

import random

import pytest

from smets1.errors import ClosedError, LostError, MisuseError
from smets1.firmware.wan.link import BackOff, Will, topic_matches
from smets1.firmware.wan.memory import Fault, MemoryBroker, MemoryLink
from smets1.hardware.clock import HeapScheduler


class Ear:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.ups = 0
        self.downs: list[str] = []

    def on_message(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic, payload))

    def on_up(self) -> None:
        self.ups += 1

    def on_down(self, reason: str) -> None:
        self.downs.append(reason)


@pytest.fixture
def scheduler() -> HeapScheduler:
    return HeapScheduler()


@pytest.fixture
def broker(scheduler: HeapScheduler) -> MemoryBroker:
    return MemoryBroker(scheduler, latency_us=1000)


async def _client(
    broker: MemoryBroker, name: str, *filters: str, will: Will | None = None
) -> tuple[MemoryLink, Ear]:
    link, ear = broker.link(name, random.Random(name)), Ear()
    link.attach(ear)
    for topic_filter in filters:
        link.subscribe(topic_filter)
    await link.connect(will)
    return link, ear


async def test_message_takes_two_latencies(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    _, ear = await _client(broker, "a", "hub/+/event")
    link, own = await _client(broker, "b")
    link.publish("hub/1/event", b"1")
    link.publish("hub/1/other", b"2")
    link.publish("hub/2/event", b"3")
    scheduler.run_until(1999)
    assert ear.heard == []
    scheduler.run_until(2000)
    assert ear.heard == [("hub/1/event", b"1"), ("hub/2/event", b"3")]
    assert own.heard == []


async def test_retained_is_heard_later(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    link, _ = await _client(broker, "b")
    link.publish("s", b"1", retain=True)
    link.publish("s", b"2", retain=True)
    scheduler.run_until(10_000)
    _, ear = await _client(broker, "a", "#")
    scheduler.run_until(20_000)
    assert ear.heard == [("s", b"2")]


async def test_will_on_a_cut_and_on_a_good_bye(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    _, ear = await _client(broker, "a", "w")
    link, own = await _client(broker, "b", will=Will(topic="w", payload=b"gone"))
    await link.close()
    scheduler.run_until(10_000)
    assert ear.heard == []
    link, own = await _client(broker, "b", will=Will(topic="w", payload=b"gone"))
    broker.cut("b")
    scheduler.run_until(20_000)
    assert ear.heard == [("w", b"gone")]
    assert own.downs == ["connection lost"]
    scheduler.run_until(5_000_000)
    assert own.ups == 2
    assert link.is_up


async def test_session_keeps_what_came_meanwhile(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    link, ear = await _client(broker, "a", "t")
    sender, _ = await _client(broker, "b")
    await link.close()
    for number in range(3):
        sender.publish("t", bytes([number]))
    scheduler.run_until(10_000)
    assert ear.heard == []
    _, ear = await _client(broker, "a", "t")
    scheduler.run_until(20_000)
    assert ear.heard == [("t", b"\x00"), ("t", b"\x01"), ("t", b"\x02")]


async def test_in_flight_to_the_client_comes_again(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    _, ear = await _client(broker, "a", "t")
    sender, _ = await _client(broker, "b")
    sender.publish("t", b"1")
    scheduler.run_until(1500)
    broker.cut("a")
    scheduler.run_until(5_000_000)
    assert ear.heard == [("t", b"1")]


async def test_in_flight_to_the_broker_is_lost(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    _, ear = await _client(broker, "a", "t")
    sender, _ = await _client(broker, "b")
    sender.publish("t", b"1")
    broker.cut("b")
    sender.publish("t", b"2")
    scheduler.run_until(5_000_000)
    assert ear.heard == []


async def test_last_words_before_a_good_bye_arrive(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    _, ear = await _client(broker, "a", "t")
    sender, _ = await _client(broker, "b")
    sender.publish("t", b"bye")
    await sender.close()
    scheduler.run_until(10_000)
    assert ear.heard == [("t", b"bye")]


@pytest.mark.parametrize(
    ("fault", "at", "count"),
    [
        (Fault.LOST, 0, 0),
        (Fault.UNACKNOWLEDGED, 0, 1),
        (Fault.TWICE, 0, 2),
        (Fault.LOST, 1, 1),
        (Fault.UNACKNOWLEDGED, 1, 2),
        (Fault.TWICE, 1, 2),
    ],
)
async def test_faults(
    broker: MemoryBroker, scheduler: HeapScheduler, fault: Fault, at: int, count: int
) -> None:
    broker.fault = lambda transfer: fault if transfer.index == at else Fault.NONE
    _, ear = await _client(broker, "a", "t")
    sender, _ = await _client(broker, "b")
    sender.publish("t", b"1")
    scheduler.run_until(5_000_000)
    assert ear.heard == count * [("t", b"1")]


@pytest.mark.parametrize("forget", [False, True])
async def test_broker_dies_and_returns(broker: MemoryBroker, scheduler: HeapScheduler, forget: bool) -> None:
    link, ear = await _client(broker, "a", "t")
    other, _ = await _client(broker, "b")
    await link.close()
    other.publish("t", b"kept by the session")
    scheduler.run_until(10_000)
    broker.stop(forget=forget)
    assert not other.is_up
    with pytest.raises(LostError):
        await _client(broker, "c")
    scheduler.run_until(10_000_000)
    broker.start()
    scheduler.run_until(100_000_000)
    assert other.is_up
    _, ear = await _client(broker, "a", "t")
    scheduler.run_until(200_000_000)
    assert ear.heard == ([] if forget else [("t", b"kept by the session")])


async def test_take_over(broker: MemoryBroker, scheduler: HeapScheduler) -> None:
    first, ear = await _client(broker, "a", will=Will(topic="w", payload=b"gone"))
    await _client(broker, "a")
    assert "taken over" in ear.downs[0]
    assert not first.is_up


async def test_misuse(broker: MemoryBroker) -> None:
    link = broker.link("a", random.Random(1))
    with pytest.raises(MisuseError):
        await link.connect()
    link.attach(Ear())
    await link.close()
    with pytest.raises(ClosedError):
        await link.connect()


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a", True),
        ("+/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_topic_filters(topic_filter: str, topic: str, matches: bool) -> None:
    assert topic_matches(topic_filter, topic) is matches


def test_back_off() -> None:
    back_off = BackOff(random.Random(1), first_us=100, longest_us=1000)
    waits_us = [back_off.next_us() for _ in range(8)]
    for wait_us, full_us in zip(waits_us, [100, 200, 400, 800, 1000, 1000, 1000, 1000], strict=True):
        assert full_us // 2 <= wait_us <= full_us
    back_off.reset()
    assert back_off.next_us() <= 100
