"""The shell of every device, on a port that is made for the test: order of power-up, NVM before answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from smets1.errors import ClosedError, DecodeError, LostError, NoAnswerError, RefusedError
from smets1.firmware.civil import CivilClock
from smets1.firmware.crypto.cbke import CbkeSuite, TestCa
from smets1.firmware.device import Board, Device, Factory
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.tasks import together
from smets1.firmware.zcl.clusters.key_establishment import KEY_ESTABLISHMENT, TerminateStatus
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.status import Side
from smets1.firmware.zigbee.binding_tables import GroupTable
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.radio import (
    ApsIndication,
    ApsMessage,
    ApsSecurity,
    BoundTarget,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    SimpleDescriptor,
)

TRUST_CENTRE = 0xA2
NETWORK = NetworkInfo(
    pan_id=0x1234,
    extended_pan_id=1,
    channel=11,
    short_address=0x55,
    parent_short=0,
    trust_centre=TRUST_CENTRE,
)
MESSAGE = ApsMessage(
    destination=0,
    destination_endpoint=1,
    source_endpoint=1,
    cluster_id=0,
    profile_id=0x0109,
    payload=b"\x08\x01\x0b",
)


class FakePort:
    """A HAN port that does what the test says; every join outcome is an exception or None."""

    role = NodeRole.END_DEVICE
    network_key = None

    def __init__(self, *joins: Exception | None, is_known: bool = False) -> None:
        self.eui64 = 0xA5
        self.network: NetworkInfo | None = None
        self.joins = list(joins)
        self.is_known = is_known
        self.join_times_us: list[int] = []
        self.sent: list[ApsMessage] = []
        self.before_send: Callable[[], None] = lambda: None
        self.keys: dict[int, LinkKey] = {}
        self.is_off = False
        self.group_members = GroupTable(MemoryNvm())

    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]:
        return []

    def attach(self, listener: Any) -> None:
        self.listener = listener

    def set_endpoints(self, endpoints: tuple[SimpleDescriptor, ...]) -> None:
        self.endpoints = endpoints

    async def start(self) -> bool:
        if self.is_known:
            self.network = NETWORK
        return self.is_known

    async def join(self, link_key: LinkKey) -> NetworkInfo:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.join_times_us.append(loop.now_us())
        outcome = self.joins.pop(0) if self.joins else None
        if outcome is not None:
            raise outcome
        self.network = NETWORK
        return NETWORK

    def link_key(self, partner: int) -> LinkKey | None:
        return self.keys.get(partner)

    def set_link_key(self, key: LinkKey) -> None:
        self.keys[key.partner] = key

    def known_eui64(self, short_address: int) -> int | None:
        return None

    async def send(self, message: ApsMessage) -> None:
        self.before_send()
        self.sent.append(message)

    async def close(self) -> None:
        self.is_off = True

    def power_off(self) -> None:
        self.is_off = True


class Toy(Device):
    """Counts how often it has begun to behave."""

    begun = 0
    trouble: Exception | None = None

    async def behave(self) -> None:
        self.begun += 1
        if self.trouble is not None:
            raise self.trouble
        await asyncio.Event().wait()


def factory(*, key: bytes = bytes(16)) -> Factory:
    ca = TestCa(CbkeSuite.SUITE_1, random.Random(1))
    return Factory(
        eui64=0xA5,
        model="Toy",
        manufacturer="1057",
        firmware_version=1,
        device_type=6,
        install_key=key,
        identity=ca.issue(0xA5, rng=random.Random(2)),
    )


def keyed(port: FakePort) -> FakePort:
    port.keys[TRUST_CENTRE] = LinkKey(partner=TRUST_CENTRE, key=bytes(16), origin=KeyOrigin.ESTABLISHED)
    return port


def play(story: Any, port: FakePort, *, nvm: MemoryNvm | None = None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        board = Board(
            port=port,  # type: ignore[arg-type]
            scheduler=loop,
            civil=CivilClock(loop, 0),
            nvm=nvm or MemoryNvm(),
            rng=random.Random(3),
        )
        toy = Toy(factory(), board)
        before = asyncio.all_tasks()
        await story(toy, port)
        if not port.is_off:
            await toy.close()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before, "no task is left"

    run(main(), speed=MAX_SPEED)


# --- joining ---------------------------------------------------------------------------------------


def test_three_attempts_at_once_then_longer_and_longer() -> None:
    async def story(toy: Toy, port: FakePort) -> None:
        toy.start()
        await asyncio.wait_for(toy.keyed.wait(), 20_000)
        await asyncio.sleep(0)  # from Python 3.12 on, wait_for returns a turn of the loop earlier
        times_s = [us / 1e6 for us in port.join_times_us]
        gaps = [b - a for a, b in pairwise(times_s)]
        assert all(gap < 2 for gap in gaps[:2])
        for gap, base_s in zip(gaps[2:], (10, 30, 60, 300, 900, 1800, 3600, 3600), strict=True):
            assert 0.75 * base_s <= gap <= 1.25 * base_s
        assert toy.begun == 1

    play(story, keyed(FakePort(*[NoAnswerError("nobody")] * 10)))


@pytest.mark.parametrize(
    "error", [NoAnswerError("x"), RefusedError(1), LostError("disk"), DecodeError("NWK", 0, "odd")]
)
def test_no_trouble_in_joining_ends_it(error: Exception) -> None:
    async def story(toy: Toy, port: FakePort) -> None:
        toy.start()
        await asyncio.wait_for(toy.keyed.wait(), 120)

    play(story, keyed(FakePort(error)))


def test_back_on_the_network_it_knows() -> None:
    async def story(toy: Toy, port: FakePort) -> None:
        toy.start()
        await toy.keyed.wait()
        assert port.join_times_us == []

    play(story, keyed(FakePort(is_known=True)))


def test_off_the_network_it_begins_again() -> None:
    async def story(toy: Toy, port: FakePort) -> None:
        toy.start()
        await toy.keyed.wait()
        await asyncio.sleep(1)
        port.network = None
        toy.on_network_down("removed")
        assert not toy.keyed.is_set()
        await asyncio.wait_for(toy.keyed.wait(), 120)
        await asyncio.sleep(1)
        assert toy.begun == 2
        assert len(port.join_times_us) == 2

    play(story, keyed(FakePort()))


# --- key establishment -----------------------------------------------------------------------------


class RefusingPort(FakePort):
    """Its trust centre terminates each key establishment, and tells how long to wait."""

    def __init__(self, wait_s: int) -> None:
        super().__init__()
        self.wait_s = wait_s
        self.asked_us: list[int] = []

    async def send(self, message: ApsMessage) -> None:
        await super().send(message)
        if message.cluster_id != KEY_ESTABLISHMENT.cluster_id or message.payload[2] != 0:
            return
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.asked_us.append(loop.now_us())
        values = {"status": TerminateStatus.NO_RESOURCES, "wait_time": self.wait_s, "suite": 1}
        frame = command_frame(
            KEY_ESTABLISHMENT, "terminate_key_establishment", values, sender=Side.SERVER, sequence=1,
            disable_default_response=True,
        )  # fmt: skip
        answer = ApsIndication(
            source=0, source_eui64=TRUST_CENTRE, source_endpoint=1, destination_endpoint=1,
            cluster_id=message.cluster_id, profile_id=message.profile_id, payload=frame,
            security=ApsSecurity.NETWORK_KEY, is_broadcast=False, lqi=255,
        )  # fmt: skip
        loop.call_soon(self.listener.on_message, answer)


@pytest.mark.parametrize(("wait_s", "least_s"), [(0, 5), (60, 60), (255, 255)])
def test_a_refused_key_establishment_waits_as_told_and_after_ten_a_quarter_of_an_hour(
    wait_s: int, least_s: int
) -> None:
    port = RefusingPort(wait_s)

    async def story(toy: Toy, _port: FakePort) -> None:
        toy.start()
        await asyncio.sleep(2 * 3600)
        gaps_s = [(later - earlier) / 1e6 for earlier, later in pairwise(port.asked_us)]
        assert len(gaps_s) > 10
        assert all(least_s <= gap <= 1.6 * least_s for gap in gaps_s[:9])
        assert 900 <= gaps_s[9] <= 1400
        assert gaps_s[10] <= 1.6 * least_s
        assert toy.begun == 0

    play(story, port)


# --- behaving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [NoAnswerError("x"), DecodeError("ZCL", 0, "odd"), ValueError("a bug")])
def test_what_breaks_down_is_begun_again(trouble: Exception) -> None:
    async def story(toy: Toy, port: FakePort) -> None:
        toy.trouble = trouble
        toy.start()
        await asyncio.sleep(600)
        assert 3 <= toy.begun <= 60, "again and again, but not in a frenzy"
        toy.trouble = None
        await asyncio.sleep(600)
        begun = toy.begun
        await asyncio.sleep(600)
        assert toy.begun == begun

    play(story, keyed(FakePort()))


@pytest.mark.parametrize("stop", ["power_off", "close"])
def test_switched_off_it_stays_off_though_its_work_answers_a_cancellation_with_an_error(stop: str) -> None:
    """A task group whose part fails while it is cancelled raises that failure, and the cancellation is lost."""
    begun = 0

    async def part() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ClosedError("this node is closed")

    async def work() -> None:
        nonlocal begun
        begun += 1
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(part())

    async def story(toy: Toy, port: FakePort) -> None:
        task = toy.spawn(toy.persevere(work))
        await asyncio.sleep(1)
        if stop == "close":
            await toy.close()
        else:
            toy.power_off()
        await asyncio.sleep(600)
        assert (begun, task.done()) == (1, True)

    play(story, keyed(FakePort()))


def test_work_in_several_parts_begins_again_when_one_breaks_down() -> None:
    begun = 0

    async def part() -> None:
        await asyncio.sleep(60)
        raise ValueError("a bug of ours")

    async def work() -> None:
        nonlocal begun
        begun += 1
        await together(part(), asyncio.sleep(1e6))

    async def story(toy: Toy, port: FakePort) -> None:
        toy.spawn(toy.persevere(work))
        await asyncio.sleep(600)
        assert begun == 7  # every minute and a half

    play(story, keyed(FakePort()))


def test_work_of_a_lost_network_does_not_go_on_beside_that_of_the_next() -> None:
    async def story(toy: Toy, port: FakePort) -> None:
        running = 0

        async def part() -> None:
            try:
                await asyncio.sleep(1e6)
            finally:
                raise ClosedError("lost while it was asking")

        async def behave() -> None:
            nonlocal running
            running += 1
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(part())
            finally:
                running -= 1

        toy.behave = behave  # type: ignore[method-assign]
        toy.start()
        await toy.keyed.wait()
        for _ in range(3):
            await asyncio.sleep(100)
            assert running == 1
            toy.on_network_down("test")
            toy.on_network_up(NETWORK)

    play(story, keyed(FakePort()))


# --- answers after commits -------------------------------------------------------------------------


def test_nothing_is_sent_before_it_is_stored() -> None:
    nvm = MemoryNvm()

    async def story(toy: Toy, port: FakePort) -> None:
        port.before_send = lambda: seen.append(nvm.after_power_cut().get("x"))  # type: ignore[func-returns-value]
        seen: list[bytes | None] = []
        nvm.put("x", b"1")
        toy.post(MESSAGE)
        nvm.put("x", b"2")  # later in the same turn
        toy.post(MESSAGE)
        await asyncio.sleep(1)
        assert seen == [b"2", b"2"]
        assert nvm.commit_count == 1, "one commit a turn"

    play(story, keyed(FakePort()), nvm=nvm)


def test_what_cannot_be_stored_is_not_answered() -> None:
    nvm = MemoryNvm(cut_at_commit=1)

    async def story(toy: Toy, port: FakePort) -> None:
        toy.post(MESSAGE)
        await asyncio.sleep(1)
        assert port.sent == []
        toy.power_off()

    play(story, keyed(FakePort()), nvm=nvm)


def test_switched_off_it_sends_nothing() -> None:
    nvm = MemoryNvm()

    async def story(toy: Toy, port: FakePort) -> None:
        toy.start()
        await toy.keyed.wait()
        nvm.put("x", b"1")
        toy.post(MESSAGE)
        toy.power_off()
        await asyncio.sleep(1)
        assert port.sent == []
        assert nvm.after_power_cut().get("x") is None

    play(story, keyed(FakePort()), nvm=nvm)


def test_closed_in_good_order_it_has_stored_all() -> None:
    nvm = MemoryNvm()

    async def story(toy: Toy, port: FakePort) -> None:
        nvm.put("x", b"1")
        await toy.close()
        assert nvm.after_power_cut().get("x") == b"1"
        assert port.is_off

    play(story, keyed(FakePort()), nvm=nvm)


def test_secrets_are_not_shown() -> None:
    shown = repr(factory(key=bytes(range(16))))
    assert bytes(range(16)).hex() not in shown
    assert repr(bytes(range(16))) not in shown
