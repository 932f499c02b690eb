"""Two networks under one PAN identifier, two devices at one short address."""

from __future__ import annotations

import asyncio
import random
from typing import ClassVar

from han import HUB, INSTALL_KEY, Han, establish, message, play

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.mac_frames import AddressMode, Beacon, MacFrame, MacFrameType, ZigbeeBeacon
from smets1.firmware.zigbee.node import HanConfig, HanNode
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.hardware.radio import KeyOrigin, LinkKey, NodeRole

ESME, GSME, PPMID = (0x00DB1234567890A0 + n for n in (0, 1, 4))
NEIGHBOUR = 0x00DB9999999999A2
SLEEPY = NodeRole.SLEEPY_END_DEVICE


def beacon(pan_id: int, extended_pan_id: int) -> bytes:
    payload = ZigbeeBeacon(
        has_router_capacity=True,
        depth=0,
        has_end_device_capacity=True,
        extended_pan_id=extended_pan_id,
        update_id=0,
    ).encode()
    return MacFrame(
        frame_type=MacFrameType.BEACON,
        sequence=1,
        source_mode=AddressMode.SHORT,
        source_pan=pan_id,
        source=0,
        payload=Beacon(is_pan_coordinator=True, permits_association=False, payload=payload).encode(),
    ).encode()


class StubbornLayer(NwkLayer):
    """Keeps its PAN identifier whoever else has it."""

    __slots__ = ()

    def _look_again(self, now_us: int) -> None: ...
    def _on_pan_conflict(self, now_us: int) -> None: ...


class RepeatingLayer(NwkLayer):
    """The first address that it gives away is taken already."""

    __slots__ = ()
    first: ClassVar[list[int]] = []

    def _fresh_address(self) -> int:
        return self.first.pop() if self.first else super()._fresh_address()


async def neighbours_hub(han: Han, pan_id: int, channel: int) -> HanNode:
    """Another house's hub, which has taken our PAN identifier."""
    config = HanConfig(channels=(channel,), pan_id=pan_id, link_status_period_us=0)
    radio = han.air.radio(NEIGHBOUR)
    node = HanNode(radio, han.scheduler, MemoryNvm(), random.Random(99), NodeRole.COORDINATOR, config)
    await node.form()
    node.stack.nwk.__class__ = StubbornLayer
    return node


def test_a_home_gives_up_a_pan_identifier_that_the_neighbours_have() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme, gsme = await han.joined(hub, ESME), await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(1_000_000)
        assert hub.network is not None
        old = hub.network.pan_id
        for device in (ESME, GSME):  # else two parents at address 0 acknowledge their polls
            for end, other in ((device, NEIGHBOUR), (NEIGHBOUR, device)):
                han.air.faults.cut(end, other)
        await neighbours_hub(han, old, hub.network.channel)
        hub.stack.mac.ask_beacons()
        han.node(PPMID, NodeRole.ROUTER).stack.mac.scan_active((hub.network.channel,), 3)
        await asyncio.sleep(30)
        assert hub.network.pan_id == old  # not on one sighting
        hub.stack.nwk._look_again(han.scheduler.now_us())
        await asyncio.sleep(300)
        for node in (hub, esme, gsme):
            assert node.network is not None
            assert node.network.pan_id == node.stack.mac.pan_id != old
            assert node.network.pan_id == hub.network.pan_id
            assert node.stack.nwk.update_id == 1
        assert len(han.ear(gsme).downs) == 0  # it was told, and did not lose anybody
        for node in (esme, gsme):
            await node.send(message(0, b"up"))
            await hub.send(message(node.network.short_address, b"down"))  # type: ignore[union-attr]

    play(main())


def test_a_router_reports_what_the_hub_cannot_hear() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert hub.network is not None
        old = hub.network.pan_id
        for end, other in ((HUB, NEIGHBOUR), (NEIGHBOUR, HUB)):
            han.air.faults.cut(end, other)
        await neighbours_hub(han, old, hub.network.channel)
        esme.stack.mac.ask_beacons()
        await asyncio.sleep(1)
        esme.stack.nwk._look_again(han.scheduler.now_us())
        await asyncio.sleep(400)
        assert hub.network.pan_id != old
        assert esme.network is not None
        assert esme.network.pan_id == hub.network.pan_id
        await esme.send(message(0, b"up"))

    play(main())


def test_a_sleeper_that_missed_the_change_finds_its_network_again() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(10_000_000)
        han.air.faults.move_away(GSME)
        hub.stack.nwk.change_pan_id(han.scheduler.now_us())
        hub.stack.settle(han.scheduler.now_us())
        hub._drain()
        await asyncio.sleep(60)
        han.air.faults.bring_back(GSME)
        await asyncio.sleep(300)
        assert hub.network is not None
        assert gsme.network is not None
        assert gsme.network.pan_id == hub.network.pan_id
        await gsme.send(message(0, b"up"))

    play(main())


def test_the_new_pan_identifier_outlives_a_power_cut() -> None:
    async def main() -> None:
        han = Han()
        nvm = MemoryNvm()
        hub = await han.hub(nvm=nvm, link_status_period_us=0)
        esme = await han.joined(hub, ESME, link_status_period_us=0)
        hub.stack.nwk.change_pan_id(han.scheduler.now_us())
        hub._drain()
        await asyncio.sleep(15)
        assert hub.network is not None
        pan_id = hub.network.pan_id
        hub.power_off()
        hub = han.node(HUB, NodeRole.COORDINATOR, nvm.after_power_cut())
        await hub.start()
        assert hub.network is not None
        assert hub.network.pan_id == pan_id
        await esme.send(message(0, b"up"))

    play(main())


def test_a_few_forged_beacons_do_not_move_a_home() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(link_status_period_us=0)
        await han.joined(hub, ESME, link_status_period_us=0)
        assert hub.network is not None
        old = hub.network.pan_id
        for _ in range(100):
            han.air.inject(hub.network.channel, beacon(old, 0x1234))
            await asyncio.sleep(0.5)
        await asyncio.sleep(600)
        assert hub.network.pan_id == old

    play(main())


def test_two_end_devices_at_one_address_are_told_apart() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(500_000)
        assert gsme.network is not None
        taken = gsme.network.short_address
        for end, other in ((HUB, PPMID), (PPMID, HUB)):
            han.air.faults.cut(end, other)
        esme.stack.nwk.addresses.pop(taken, None)
        esme.stack.nwk.__class__ = RepeatingLayer
        RepeatingLayer.first.append(taken)
        hub.set_link_key(LinkKey(partner=PPMID, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await hub.permit_join(254)
        ppmid = han.node(PPMID, NodeRole.END_DEVICE)
        try:
            await ppmid.join(LinkKey(partner=HUB, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        except Exception:  # the hub knows whose address that is, and refuses: the next attempt gets another
            await asyncio.sleep(30)
            await ppmid.join(LinkKey(partner=HUB, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await asyncio.sleep(2)
        establish(hub, ppmid)
        assert ppmid.network is not None
        assert ppmid.network.short_address != gsme.network.short_address
        for node in (gsme, ppmid):
            await node.send(message(0, b"up"))
            await hub.send(message(node.network.short_address, b"down"))  # type: ignore[union-attr]

    play(main())


def test_an_announced_conflict_renumbers_router_and_end_device() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(500_000)
        for node in (esme, gsme):
            assert node.network is not None
            old = node.network.short_address
            hub.stack.nwk.on_address_conflict(old, han.scheduler.now_us())
            hub.stack.settle(han.scheduler.now_us())
            hub._drain()
            await asyncio.sleep(5)
            assert node.network.short_address != old
            assert hub.stack.nwk.shorts[node.eui64] == node.network.short_address
            await node.send(message(0, b"up"))
            await hub.send(message(node.network.short_address, b"down"))
            assert han.ear(node).messages[-1].payload == b"down"

    play(main())
