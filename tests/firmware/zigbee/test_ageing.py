"""End devices that fall silent, and routers that come back from a power cut."""

from __future__ import annotations

import asyncio

import pytest
from han import HUB, Han, message, play

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.nwk_ageing import timeout_us
from smets1.firmware.zigbee.nwk_frames import (
    EndDeviceTimeoutRequest,
    EndDeviceTimeoutResponse,
    decode_nwk_command,
)
from smets1.hardware.radio import NodeRole

ESME, GSME = 0x00DB1234567890A0, 0x00DB1234567890A1
SLEEPY = NodeRole.SLEEPY_END_DEVICE
MINUTES = 60


def test_the_table_of_timeouts() -> None:
    assert [timeout_us(n) for n in (0, 1, 8, 14)] == [
        10_000_000,
        120_000_000,
        15_360_000_000,
        983_040_000_000,
    ]
    request = EndDeviceTimeoutRequest(timeout=8)
    assert request.encode() == b"\x0b\x08\x00"
    assert decode_nwk_command(b"\x0c\x00\x01") == EndDeviceTimeoutResponse(status=0, parent_information=1)


@pytest.mark.parametrize("role", [SLEEPY, NodeRole.END_DEVICE])
def test_a_child_keeps_itself_alive_and_a_silent_one_is_struck_off(role: NodeRole) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        node = await han.joined(hub, GSME, role, end_device_timeout=3)  # 8 minutes
        child = hub.stack.nwk.find_child(GSME)
        assert child is not None
        assert child.timeout == 3
        await asyncio.sleep(120 * MINUTES)  # nothing to say, yet it is there
        assert hub.stack.nwk.find_child(GSME) is child
        han.air.faults.move_away(GSME)
        await asyncio.sleep(7 * MINUTES)
        assert hub.stack.nwk.find_child(GSME) is child or child.heard_us > 0
        await asyncio.sleep(9 * MINUTES)
        assert hub.stack.nwk.find_child(GSME) is None
        assert han.ear(hub).left == []  # it has not left: nobody knows where it is
        han.air.faults.bring_back(GSME)
        await asyncio.sleep(40 * MINUTES)
        await node.send(message(0, b"back"))
        assert han.ear(hub).messages[-1].payload == b"back"
        assert hub.stack.nwk.find_child(GSME) is not None

    play(main())


def test_a_child_that_polls_often_enough_wakes_for_nothing_else() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        gsme = await han.joined(hub, GSME, SLEEPY)  # 256 minutes, a third of which is 85
        gsme.set_poll_interval(30 * MINUTES * 1_000_000)
        await asyncio.sleep(10)
        polls: list[int] = []

        def count(time_us: int, psdu: bytes, sender: int, _fate: object) -> None:
            if sender == GSME and psdu[0] & 7 == 3 and psdu[-1] == 0x04:
                polls.append(time_us)

        han.air.tap(count)
        await asyncio.sleep(600 * MINUTES)
        assert len(polls) == 20
        gsme.set_poll_interval(None)  # asks for nothing by itself: then once in each third
        polls.clear()
        await asyncio.sleep(256 * MINUTES)
        assert len(polls) == 3
        assert hub.stack.nwk.find_child(GSME) is not None

    play(main())


def test_a_struck_off_child_that_polls_is_told_to_rejoin() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        gsme = await han.joined(hub, GSME, SLEEPY, end_device_timeout=0)  # 10 s
        gsme.stack.nwk.stop_keep_alive()  # one that promises more than it keeps
        await asyncio.sleep(60)
        assert hub.stack.nwk.find_child(GSME) is None
        await gsme.poll()
        gsme.set_poll_interval(1_000_000)
        await asyncio.sleep(10)
        assert len(han.ear(gsme).ups) == 2
        assert hub.stack.nwk.find_child(GSME) is not None
        await hub.send(message(gsme.network.short_address, b"down"))  # type: ignore[union-attr]

    play(main())


def test_a_timeout_that_no_device_may_ask_for_is_refused() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        gsme = await han.joined(hub, GSME, SLEEPY, end_device_timeout=8)
        child = hub.stack.nwk.find_child(GSME)
        assert child is not None
        now_us = han.scheduler.now_us()
        gsme.stack.nwk.send_command(0, EndDeviceTimeoutRequest(timeout=15), now_us=now_us)
        gsme.set_poll_interval(100_000)
        await asyncio.sleep(2)
        assert child.timeout == 8

    play(main())


def test_the_timeout_outlives_a_power_cut_of_the_parent() -> None:
    async def main() -> None:
        han = Han()
        nvm = MemoryNvm()
        hub = await han.hub(nvm=nvm, link_status_period_us=0)
        await han.joined(hub, GSME, SLEEPY, end_device_timeout=10)
        hub.stack.flush()
        hub.power_off()
        hub = han.node(HUB, NodeRole.COORDINATOR, nvm.after_power_cut())
        await hub.start()
        child = hub.stack.nwk.find_child(GSME)
        assert child is not None
        assert child.timeout == 10
        assert not child.is_heard

    play(main())


def test_device_records_of_the_first_release_still_load() -> None:
    async def main() -> None:
        han = Han()
        nvm = MemoryNvm()
        hub = await han.hub(nvm=nvm, link_status_period_us=0)
        gsme = await han.joined(hub, GSME, SLEEPY)
        hub.stack.flush()
        hub.power_off()
        nvm = nvm.after_power_cut()
        name = f"net/dev/{GSME:016x}"
        nvm.put(name, nvm.get(name)[:4])  # type: ignore[index]
        nvm.commit()
        hub = han.node(HUB, NodeRole.COORDINATOR, nvm)
        await hub.start()
        gsme.set_poll_interval(1_000_000)
        await hub.send(message(gsme.network.short_address, b"down"))  # type: ignore[union-attr]

    play(main())


def test_a_router_back_from_a_power_cut_lets_go_of_a_child_that_has_another_parent() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        nvm = MemoryNvm()
        for end, other in ((HUB, GSME), (GSME, HUB)):
            han.air.faults.cut(end, other)
        esme = await han.joined(hub, ESME, nvm=nvm)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(2_000_000)
        await gsme.send(message(0, b"by the router"))
        assert esme.stack.nwk.find_child(GSME) is not None
        esme.stack.flush()
        esme.power_off()
        han.air.faults.clear()
        await asyncio.sleep(20 * MINUTES)
        assert hub.stack.nwk.find_child(GSME) is not None
        for end, other in ((ESME, GSME), (GSME, ESME)):  # they do not hear each other any more
            han.air.faults.cut(end, other)
        esme = han.node(ESME, NodeRole.ROUTER, nvm.after_power_cut())
        await esme.start()
        assert esme.stack.nwk.find_child(GSME) is not None
        await asyncio.sleep(30)
        assert esme.stack.nwk.find_child(GSME) is None
        assert hub.stack.nwk.find_child(GSME) is not None
        await hub.send(message(gsme.network.short_address, b"down"))  # type: ignore[union-attr]

    play(main())


def test_a_child_that_stayed_is_kept_by_its_router() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        nvm = MemoryNvm()
        for end, other in ((HUB, GSME), (GSME, HUB)):
            han.air.faults.cut(end, other)
        esme = await han.joined(hub, ESME, nvm=nvm)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(2_000_000)
        esme.stack.flush()
        esme.power_off()
        esme = han.node(ESME, NodeRole.ROUTER, nvm.after_power_cut())
        await esme.start()
        await asyncio.sleep(60)
        await hub.send(message(gsme.network.short_address, b"down"))  # type: ignore[union-attr]
        assert esme.stack.nwk.find_child(GSME) is not None

    play(main())


def test_messages_of_a_new_life_are_no_repeats_of_the_old_one() -> None:
    """APS counters start at random: some restart meets one that the hub has heard a moment ago."""

    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        nvm = MemoryNvm()
        esme = await han.joined(hub, ESME, nvm=nvm)
        for life in range(8):
            for number in range(40):
                await esme.send(message(0, bytes((life, number))))
            esme.power_off()
            nvm = nvm.after_power_cut()
            esme = han.node(ESME, NodeRole.ROUTER, nvm)
            await esme.start()
        heard = [indication.payload for indication in han.ear(hub).messages]
        assert heard == [bytes((life, number)) for life in range(8) for number in range(40)]

    play(main())
