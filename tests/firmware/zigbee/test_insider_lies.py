"""What a device with the network key says of others, and is not believed. What it made be believed heals."""

from __future__ import annotations

import asyncio

import pytest
from han import HUB, Han, establish, message, play

from smets1.errors import NoAnswerError
from smets1.firmware.zigbee.mac_frames import AssociationStatus
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_frames import (
    NetworkStatus,
    NetworkStatusCode,
    NwkFrameType,
    NwkHeader,
    RejoinRequest,
    RejoinResponse,
)
from smets1.firmware.zigbee.nwk_tables import Neighbour, Relationship
from smets1.firmware.zigbee.security_header import seal_link, seal_network
from smets1.firmware.zigbee.zdp_frames import DeviceAnnce, ZdpCluster
from smets1.hardware.radio import BROADCAST_RX_ON, KeyOrigin, NodeRole

ESME, GSME, PPMID, IHD = (0x00DB1234567890A0 + n for n in (0, 1, 4, 5))
ROUTER = 0x8E


def short(node: HanNode) -> int:
    assert node.network is not None
    return node.network.short_address


def frame(attacker: HanNode, victim: HanNode, header: NwkHeader, payload: bytes, source: int) -> None:
    """Straight into the victim's radio, sealed as the attacker can."""
    keys = attacker.stack.keys
    assert keys.active is not None
    sealed = seal_network(
        keys.active.cipher,
        header.encode(),
        payload,
        attacker.eui64,
        keys.nwk_out.next(),
        keys.active.sequence,
    )
    mac = b"\x41\x88\x01" + b"".join(
        part.to_bytes(2, "little") for part in (victim.stack.mac.pan_id, short(victim), source)
    )
    victim.on_frame(mac + sealed, 255, -40)


def command(attacker: HanNode, victim: HanNode, octets: bytes, *, source: int, claims: int | None) -> None:
    header = NwkHeader(
        frame_type=NwkFrameType.NWK_COMMAND, destination=short(victim), source=source, radius=1, sequence=9,
        source_eui64=claims, destination_eui64=victim.eui64,
    )  # fmt: skip
    frame(attacker, victim, header, octets, source)


@pytest.mark.parametrize("claims", [ESME, HUB, GSME])
def test_a_rejoin_under_the_name_of_another_is_ignored(claims: int) -> None:
    """Of the router itself, of the coordinator, and of a third: none becomes a child."""

    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, NodeRole.END_DEVICE)
        ihd = await han.joined(hub, IHD, NodeRole.END_DEVICE)
        before = dict(esme.stack.nwk.shorts), sorted(esme.stack.nwk.neighbours)
        lie = RejoinRequest(capability=ROUTER).encode()
        for source in (short(ihd), short(gsme), 0x7777):
            command(ihd, esme, lie, source=source, claims=claims)
        await asyncio.sleep(2)
        assert (dict(esme.stack.nwk.shorts), sorted(esme.stack.nwk.neighbours)) == before
        await gsme.send(message(0, b"still a child of the hub"))

    play(main())


@pytest.mark.parametrize("address", [0x0000, 0xFFF8, 0xFFFD, 0xFFFF])
def test_an_address_that_no_device_can_have_is_not_taken(address: int) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, NodeRole.END_DEVICE)
        ihd = await han.joined(hub, IHD, NodeRole.END_DEVICE)
        before = short(gsme)
        lie = RejoinResponse(short_address=address, status=AssociationStatus.SUCCESSFUL)
        header = NwkHeader(
            frame_type=NwkFrameType.NWK_COMMAND, destination=before, source=0, radius=1, sequence=9,
            destination_eui64=GSME,
        )  # fmt: skip
        frame(ihd, gsme, header, lie.encode(), 0)
        await asyncio.sleep(2)
        assert (short(gsme), gsme.stack.nwk.short_address) == (before, before)
        await gsme.send(message(0, b"still here"))

    play(main())


def test_a_link_key_of_ones_own_makes_nobody_the_coordinator() -> None:
    """The IHD shares a key with the meter, and writes 0 as the source of what it seals under it."""

    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme, ihd = await han.joined(hub, ESME), await han.joined(hub, IHD, NodeRole.END_DEVICE)
        establish(esme, ihd, KeyOrigin.PARTNER)
        entry = ihd.stack.keys.links[ESME]
        data = b"\x20\x01\x02\x07\x09\x01\x01\x55"
        sealed = seal_link(entry.cipher(0), 0, data, b"I am the hub", IHD, entry.out.next())
        header = NwkHeader(
            frame_type=NwkFrameType.DATA, destination=short(esme), source=0, radius=1, sequence=9
        )
        frame(ihd, esme, header, sealed, short(ihd))
        await asyncio.sleep(1)
        assert esme.known_short(HUB) == 0
        assert esme.known_eui64(0) == HUB
        (heard,) = han.ear(esme).messages
        assert heard.source_eui64 == IHD, "the key tells who it was"
        await esme.send(message(0, b"to the real one"))

    play(main())


def test_a_router_that_claims_to_sleep_is_not_kept_waiting_for() -> None:
    child = Neighbour(0x1234, GSME, Relationship.CHILD, ROUTER & ~0x08)
    assert child.is_router
    assert not child.is_sleepy


def test_what_a_child_says_of_itself_when_it_announces_itself_replaces_what_was_believed() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, NodeRole.END_DEVICE)
        child = hub.stack.nwk.neighbours[short(gsme)]
        true = child.capability
        child.set_capability(ROUTER)
        annce = DeviceAnnce(short_address=short(gsme), eui64=GSME, capability=true)
        gsme.stack.zdo.tell(BROADCAST_RX_ON, ZdpCluster.DEVICE_ANNCE, annce.encode())
        gsme.stack.settle(han.scheduler.now_us())
        gsme._drain()
        await asyncio.sleep(2)
        assert hub.stack.nwk.neighbours[short(gsme)].capability == true
        assert not hub.stack.nwk.neighbours[short(gsme)].is_router

    play(main())


def announce(attacker: HanNode, victim: HanNode, eui64: int, address: int) -> None:
    """A Device_annce, from the address itself: nothing in it is proved."""
    body = DeviceAnnce(short_address=address, eui64=eui64, capability=ROUTER).encode()
    data = b"\x08\x00\x13\x00\x00\x00\x00\x21" + b"\x01" + body
    header = NwkHeader(
        frame_type=NwkFrameType.DATA, destination=BROADCAST_RX_ON, source=address, radius=1, sequence=9
    )  # fmt: skip
    frame(attacker, victim, header, data, address)


def test_two_who_were_made_to_lose_each_other_find_each_other_when_one_asks_anew() -> None:
    """The display is told that the meter has moved, the meter that the display's address is another's."""

    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        ppmid = await han.joined(hub, PPMID, NodeRole.END_DEVICE)
        ihd = await han.joined(hub, IHD, NodeRole.END_DEVICE)
        establish(esme, ppmid, KeyOrigin.PARTNER)
        assert await ppmid.find_short(ESME) == short(esme)
        await ppmid.send(message(short(esme), b"we know each other"))
        announce(ihd, ppmid, ESME, 0x7436)
        lie = NetworkStatus(status=NetworkStatusCode.ADDRESS_CONFLICT, destination=short(ppmid)).encode()
        command(ihd, esme, lie, source=short(hub), claims=None)
        await asyncio.sleep(60)
        assert await ppmid.find_short(ESME) == 0x7436
        assert esme.known_short(PPMID) is None
        with pytest.raises(NoAnswerError):
            await ppmid.send(message(0x7436, b"is anybody there"))

        assert await ppmid.find_short(ESME, anew=True) == short(esme)
        await ppmid.send(message(short(esme), b"here you are"))
        assert han.ear(esme).messages[-1].payload == b"here you are"
        assert esme.known_short(PPMID) == short(ppmid), "the link key has proved who it is"
        assert await ppmid.find_short(ESME) == short(esme)

    play(main())
