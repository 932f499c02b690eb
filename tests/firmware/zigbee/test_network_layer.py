"""Of the network layer by itself: where a hub forms, what a broadcast does, policy of rejoins, link status."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from han import HUB, Han, message, play

from smets1.firmware.zigbee.mac_frames import MacFrame
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_frames import LinkStatus, NwkFrameType, NwkHeader, decode_nwk_command
from smets1.firmware.zigbee.nwk_tables import Neighbour, Relationship
from smets1.firmware.zigbee.security_header import AuxiliaryHeader, open_network
from smets1.hardware.radio import BROADCAST_ALL, BROADCAST_RX_ON, NodeRole

ESME, GSME, PPMID, IHD = (0x00DB1234567890A0 + n for n in (0, 1, 4, 5))
OTHER_HUB = 0x00DB123456789FF2
SLEEPY = NodeRole.SLEEPY_END_DEVICE


def short(node: HanNode) -> int:
    assert node.network is not None
    return node.network.short_address


def broadcasts(han: Han, source: int, since: int) -> list[tuple[int, int]]:
    """(who sent it at MAC, to whom at MAC) of each data frame that `source` has for many."""
    found = []
    for _, psdu in han.frames[since:]:
        if psdu[0] & 7 != 1 or len(psdu) < 20:
            continue
        frame = MacFrame.decode(psdu)
        header, _ = NwkHeader.decode(frame.payload)
        is_data = header.frame_type is NwkFrameType.DATA
        if is_data and header.source == source and header.destination >= 0xFFF8:
            assert frame.source is not None
            assert frame.destination is not None
            found.append((frame.source, frame.destination))
    return found


# --- forming -----------------------------------------------------------------------------------------------


def test_a_hub_takes_the_quiet_channel_without_a_neighbour() -> None:
    async def main() -> None:
        for seed in range(6):
            han = Han(seed=seed, channels=(11, 15, 20))
            other = han.node(OTHER_HUB, NodeRole.COORDINATOR, channels=(15,))
            await other.form()
            han.air.interfere(60_000_000, channels=(11,), rssi_dbm=-40)
            hub = await han.hub()
            assert hub.network is not None
            assert hub.network.channel == 20

    play(main())


def test_a_hub_among_neighbours_takes_a_pan_identifier_that_none_has() -> None:
    async def main() -> None:
        han = Han(channels=(11,))
        hub = await han.hub()
        taken, drawn = hub.stack.mac.pan_id, []

        class Unlucky(random.Random):
            def randrange(self, *arguments: int) -> int:  # type: ignore[override]
                drawn.append(super().randrange(*arguments) if drawn else taken)
                return drawn[-1]

        other = han.node(OTHER_HUB, NodeRole.COORDINATOR, channels=(11,))
        other.stack._rng = Unlucky(1)
        info = await other.form()
        assert drawn[0] == taken
        assert info.pan_id == drawn[1] != taken

    play(main())


# --- broadcasts --------------------------------------------------------------------------------------------


def test_each_router_passes_a_broadcast_on_once_and_everybody_hears_it_once() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        routers = [await han.joined(hub, eui64) for eui64 in (ESME, PPMID, IHD)]
        await asyncio.sleep(60)  # link status: they know each other
        since = len(han.frames)
        await hub.send(message(BROADCAST_RX_ON, b"to all", is_secured=False))
        await asyncio.sleep(10)
        assert Counter(sender for sender, _ in broadcasts(han, 0, since)) == Counter(
            [0, *(short(router) for router in routers)]
        )
        for router in routers:
            assert [heard.payload for heard in han.ear(router).messages] == [b"to all"]

    play(main())


def test_a_broadcast_is_repeated_while_a_neighbouring_router_is_not_heard_passing_it_on() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        await asyncio.sleep(60)
        han.air.faults.cut(ESME, HUB)  # the hub cannot hear the passive acknowledgement
        since = len(han.frames)
        await hub.send(message(BROADCAST_RX_ON, b"to all", is_secured=False))
        await asyncio.sleep(5)
        assert [sender for sender, _ in broadcasts(han, 0, since)].count(0) == 3
        assert len(han.ear(esme).messages) == 1, "each repeat is the same transaction"

    play(main())


@pytest.mark.parametrize(("destination", "is_heard"), [(BROADCAST_ALL, True), (BROADCAST_RX_ON, False)])
def test_a_sleeping_child_gets_what_is_for_all_from_the_indirect_queue(
    destination: int, is_heard: bool
) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(2_000_000)
        await asyncio.sleep(5)
        await hub.send(message(destination, b"wake up", is_secured=False))
        await asyncio.sleep(5)
        assert [heard.payload for heard in han.ear(gsme).messages] == ([b"wake up"] if is_heard else [])

    play(main())


def test_an_end_device_lets_its_parent_broadcast() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        ihd = await han.joined(hub, IHD, NodeRole.END_DEVICE)
        since = len(han.frames)
        await ihd.send(message(BROADCAST_RX_ON, b"from below", is_secured=False))
        await asyncio.sleep(10)
        sent = broadcasts(han, short(ihd), since)
        assert sent[0] == (short(ihd), 0), "to its parent, and acknowledged by it"
        assert {sender for sender, to in sent if to == 0xFFFF} == {0, short(esme)}
        assert [heard.payload for heard in han.ear(esme).messages] == [b"from below"]

    play(main())


# --- parents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [SLEEPY, NodeRole.ROUTER])
def test_the_hub_removes_a_device_that_is_the_child_of_a_router(role: NodeRole) -> None:
    """Remove-Device to the parent, which tells the child to go, and reports that it has."""

    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        for pair in ((HUB, GSME), (GSME, HUB)):
            han.air.faults.cut(*pair)
        gsme = await han.joined(hub, GSME, role)
        gsme.set_poll_interval(1_000_000)
        assert gsme.network is not None
        assert gsme.network.parent_short == short(esme)
        await hub.remove_device(GSME)
        await asyncio.sleep(5)
        assert han.ear(gsme).downs == ["removed"]
        assert han.ear(hub).left == [GSME]
        assert esme.stack.nwk.find_child(GSME) is None
        assert hub.link_key(GSME) is None

    play(main())


@pytest.mark.parametrize("allows", [True, False])
def test_a_rejoin_without_the_network_key_is_the_trust_centres_to_allow(allows: bool) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, NodeRole.END_DEVICE)
        hub.stack.nwk.allows_unsecured_rejoin = allows
        han.air.faults.move_away(GSME)
        for _ in range(2):
            await hub.update_network_key()
            await asyncio.sleep(60)
        han.air.faults.bring_back(GSME)
        gsme.rejoin()
        await asyncio.sleep(1800)
        assert (gsme.network_key == hub.network_key) is allows

    play(main())


# --- link status -------------------------------------------------------------------------------------------


def test_the_link_status_of_many_neighbours_goes_in_several_frames_that_overlap() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        stack = hub.stack
        numbers = [0x1000 + number for number in range(45)]
        for number in numbers:
            stack.nwk.neighbours[number] = Neighbour(number, None, Relationship.SIBLING, 0x8E)
        since = len(han.frames)
        await asyncio.sleep(20)
        key = stack.keys.active
        assert key is not None
        told: list[LinkStatus] = []
        for _, psdu in han.frames[since:]:
            frame = MacFrame.decode(psdu).payload
            header, offset = NwkHeader.decode(frame)
            if header.frame_type is NwkFrameType.NWK_COMMAND:
                aux, _ = AuxiliaryHeader.decode(frame, offset)
                assert aux.source is not None
                plain = open_network(key.cipher, frame, offset, aux.source, aux.frame_counter)
                command = decode_nwk_command(plain)
                if isinstance(command, LinkStatus):
                    told.append(command)
        told = told[: 1 + next(at for at, part in enumerate(told) if part.is_last)]  # of one time
        assert [(part.is_first, part.is_last) for part in told] == [
            (True, False), (False, False), (False, True),
        ]  # fmt: skip
        parts = [[entry.neighbour for entry in part.entries] for part in told]
        assert [part[-1] for part in parts[:-1]] == [part[0] for part in parts[1:]]
        assert sorted({number for part in parts for number in part}) == numbers

    play(main())
