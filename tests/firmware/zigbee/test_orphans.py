"""An end device that has lost its parent asks for it by orphan notification."""

from __future__ import annotations

import asyncio
import random

from han import HUB, Han, message, play

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.mac_frames import (
    AddressMode,
    CoordinatorRealignment,
    MacCommand,
    MacFrame,
    MacFrameType,
)
from smets1.firmware.zigbee.node import HanNode
from smets1.hardware.radio import NodeRole

ESME, GSME = (0x00DB1234567890A0 + n for n in (0, 1))
SLEEPY = NodeRole.SLEEPY_END_DEVICE


def commands(han: Han, kind: MacCommand) -> list[MacFrame]:
    frames = [MacFrame.decode(psdu) for _, psdu in han.frames if psdu[0] & 7 == MacFrameType.MAC_COMMAND]
    return [frame for frame in frames if frame.payload[0] == kind]


async def lose_parent_for_a_while(han: Han, node: HanNode) -> None:
    """Three polls fail; the parent is in range again as the node gives it up."""
    lost = asyncio.Event()

    def on_network_down(_reason: str) -> None:
        han.air.faults.mend(node.eui64, HUB)
        lost.set()

    han.ear(node).on_network_down = on_network_down  # type: ignore[method-assign]
    han.air.faults.cut(node.eui64, HUB)
    node.set_poll_interval(500_000)
    await lost.wait()


async def home(han: Han) -> tuple[HanNode, HanNode]:
    hub = await han.hub()
    gsme = await han.joined(hub, GSME, SLEEPY)
    return hub, gsme


def test_the_parent_answers_and_takes_it_back_without_a_scan_of_beacons() -> None:
    async def main() -> None:
        han = Han()
        hub, gsme = await home(han)
        asked = len(commands(han, MacCommand.BEACON_REQUEST))
        await lose_parent_for_a_while(han, gsme)
        await asyncio.sleep(2)
        assert len(commands(han, MacCommand.BEACON_REQUEST)) == asked
        (notice,) = commands(han, MacCommand.ORPHAN_NOTIFICATION)
        assert notice.source == GSME
        (answer,) = [commands(han, MacCommand.COORDINATOR_REALIGNMENT)[0]]
        assert answer.destination == GSME
        told = CoordinatorRealignment.decode(answer.payload)
        assert hub.network is not None
        assert (told.channel, told.pan_id, told.coordinator_short) == (
            hub.network.channel,
            hub.network.pan_id,
            0,
        )
        assert gsme.network is not None
        assert told.short_address == gsme.network.short_address
        await gsme.send(message(0, b"back"))

    play(main())


def test_without_an_answer_it_looks_for_any_parent() -> None:
    async def main() -> None:
        han = Han()
        hub, gsme = await home(han)
        esme = await han.joined(hub, ESME)
        gsme.set_poll_interval(500_000)
        han.air.faults.cut(HUB, GSME)
        await asyncio.sleep(30)
        assert len(commands(han, MacCommand.ORPHAN_NOTIFICATION)) == 1
        assert gsme.network is not None
        assert esme.network is not None
        assert gsme.stack.nwk.parent == esme.network.short_address
        await gsme.send(message(0, b"by way of the meter"))

    play(main())


def test_a_parent_that_moved_while_the_device_was_off_is_found_on_another_channel() -> None:
    async def main() -> None:
        han = Han(channels=(11, 15, 20, 25))
        hub = await han.hub()
        nvm = MemoryNvm()
        gsme = await han.joined(hub, GSME, SLEEPY, nvm=nvm)
        assert hub.network is not None
        old = hub.network.channel
        gsme.power_off()
        new = next(channel for channel in han.channels if channel != old)
        hub.change_channel(new)
        await asyncio.sleep(60)
        before = len(commands(han, MacCommand.BEACON_REQUEST))
        again = han.node(GSME, SLEEPY, nvm.after_power_cut())
        assert await again.start()
        again.set_poll_interval(500_000)
        await asyncio.sleep(30)
        assert again.network is not None
        assert again.network.channel == new
        assert again.stack.nwk.update_id == hub.stack.nwk.update_id == 1
        assert len(commands(han, MacCommand.ORPHAN_NOTIFICATION)) in (2, 3, 4), "where it was, then elsewhere"
        assert len(commands(han, MacCommand.BEACON_REQUEST)) == before + 2, "where it was, where it is"
        await again.send(message(0, b"found"))

    play(main())


def test_a_router_that_was_off_while_the_network_moved_finds_it() -> None:
    """It has no parent to miss: that the trust centre is silent tells it."""

    async def main() -> None:
        han = Han(channels=(11, 15, 20, 25))
        hub = await han.hub()
        nvm = MemoryNvm()
        esme = await han.joined(hub, ESME, nvm=nvm)
        assert hub.network is not None
        new = next(channel for channel in han.channels if channel != hub.network.channel)
        esme.power_off()
        hub.change_channel(new)
        await asyncio.sleep(60)
        again = han.node(ESME, NodeRole.ROUTER, nvm.after_power_cut())
        assert await again.start()
        await asyncio.sleep(60)
        again.rejoin()
        await asyncio.sleep(60)
        assert again.network is not None
        assert again.network.channel == new
        assert again.stack.nwk.update_id == hub.stack.nwk.update_id == 1
        await again.send(message(0, b"found"))

    play(main())


def test_a_stranger_who_answers_leads_nowhere() -> None:
    """It names another channel and PAN; nobody there has the network key, so the device looks further."""

    async def main() -> None:
        han = Han()
        hub, gsme = await home(han)
        assert gsme.network is not None
        before = gsme.network
        lie = CoordinatorRealignment(pan_id=0x6666, coordinator_short=7, channel=26, short_address=0x1111)

        def answer(_time_us: int, psdu: bytes, sender: int, _fate: object) -> None:
            if sender == GSME and psdu[0] & 7 == 3 and psdu[-1] == MacCommand.ORPHAN_NOTIFICATION:
                frame = MacFrame(
                    frame_type=MacFrameType.MAC_COMMAND, sequence=random.Random(1).randrange(256),
                    destination_mode=AddressMode.EXTENDED, destination_pan=0xFFFF, destination=GSME,
                    source_mode=AddressMode.EXTENDED, source_pan=0x6666, source=0x66, payload=lie.encode(),
                )  # fmt: skip
                han.air.inject(before.channel, frame.encode())

        han.air.tap(answer)
        han.air.faults.set_node(HUB, None)
        await lose_parent_for_a_while(han, gsme)
        await asyncio.sleep(300)
        assert gsme.network == before
        await gsme.send(message(0, b"home again"))
        assert hub.known_short(GSME) == before.short_address

    play(main())


def test_a_realignment_that_nobody_asked_for_changes_nothing() -> None:
    async def main() -> None:
        han = Han()
        _, gsme = await home(han)
        before = gsme.network, gsme.stack.mac.channel
        lie = CoordinatorRealignment(pan_id=0x6666, coordinator_short=7, channel=26, short_address=0x1111)
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND, sequence=9, destination_mode=AddressMode.EXTENDED,
            destination_pan=0xFFFF, destination=GSME, source_mode=AddressMode.EXTENDED, source_pan=0x6666,
            source=0x66, payload=lie.encode(),
        )  # fmt: skip
        gsme.on_frame(frame.encode(), 255, -40)
        await asyncio.sleep(5)
        assert (gsme.network, gsme.stack.mac.channel) == before
        await gsme.send(message(0, b"still here"))

    play(main())
