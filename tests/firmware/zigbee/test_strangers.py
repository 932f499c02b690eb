"""Forged frames, each of a kind that needs no key: what we know of a proven device stays as it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from han import HUB, INSTALL_KEY, Han, message, play
from test_fuzz import state

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.mac_frames import (
    AddressMode,
    AssociationRequest,
    CoordinatorRealignment,
    MacCommand,
    MacFrame,
    MacFrameType,
    data_frame,
)
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_frames import (
    Leave,
    LinkStatus,
    NetworkStatus,
    NetworkUpdate,
    NwkCommand,
    NwkFrameType,
    NwkHeader,
    RejoinRequest,
    RejoinResponse,
    RouteReply,
)
from smets1.hardware.radio import KeyOrigin, LinkKey, NodeRole

ESME, GSME, PPMID, IHD = (0x00DB1234567890A0 + n for n in (0, 1, 4, 5))
SLEEPY = NodeRole.SLEEPY_END_DEVICE
NEVER_SEEN = 0x00DB1234567890FF


def octets_of(short_address: int) -> bytes:
    return short_address.to_bytes(2, "little")


class Stranger:
    """Sends what needs no key, under anybody's name."""

    def __init__(self, han: Han, hub: HanNode) -> None:
        assert hub.network is not None
        self.han = han
        self.network = hub.network
        self.sequence = 0

    def put(self, psdu: bytes) -> None:
        self.han.air.inject(self.network.channel, psdu)

    def next(self) -> int:
        self.sequence = (self.sequence + 1) & 0xFF
        return self.sequence

    def command(self, octets: bytes, *, eui64: int | None = None, source: int = 0, to: int = 0) -> None:
        """A MAC command; by EUI-64 or from a short address."""
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self.next(),
            destination_mode=AddressMode.SHORT,
            destination_pan=self.network.pan_id,
            destination=to,
            source_mode=AddressMode.SHORT if eui64 is None else AddressMode.EXTENDED,
            source_pan=self.network.pan_id,
            source=source if eui64 is None else eui64,
            payload=octets,
            wants_ack=True,
        )
        self.put(frame.encode())

    def associate(self, eui64: int, to: int = 0, capability: int = 0x8E) -> None:
        self.command(AssociationRequest(capability=capability).encode(), eui64=eui64, to=to)

    def nwk(self, command: NwkCommand, *, eui64: int, source: int, to: int = 0) -> None:
        header = NwkHeader(
            frame_type=NwkFrameType.NWK_COMMAND,
            destination=to,
            source=source,
            radius=1,
            sequence=self.next(),
            is_secured=False,
            source_eui64=eui64,
        ).encode()
        self.put(
            data_frame(
                self.network.pan_id, to, source, self.next(), header + command.encode(), wants_ack=True
            )
        )

    def rejoin(self, eui64: int, source: int, to: int = 0, capability: int = 0x80) -> None:
        self.nwk(RejoinRequest(capability=capability), eui64=eui64, source=source, to=to)


def trusted(node: HanNode) -> object:
    """The state without guests, which an unproven device may become for 20 s."""
    links, networks, children, *rest = state(node)  # type: ignore[misc]
    guests = [short for short, (_, relationship) in children.items() if relationship == 5]
    assert len(guests) <= 16
    return links, networks, {k: v for k, v in children.items() if k not in guests}, rest


class Home:
    """A hub, a router below it, a sleeper below the hub and one below the router."""

    async def build(self) -> None:
        self.han = han = Han()
        self.hub = await han.hub(link_status_period_us=0)
        self.esme = await han.joined(self.hub, ESME, link_status_period_us=0)
        self.gsme = await han.joined(self.hub, GSME, SLEEPY)
        for one, other in ((HUB, IHD), (IHD, HUB)):
            han.air.faults.cut(one, other)
        self.ihd = await han.joined(self.hub, IHD, SLEEPY)
        self.hub.set_link_key(LinkKey(partner=PPMID, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await self.hub.permit_join(254)
        for node in (self.gsme, self.ihd):
            node.set_poll_interval(1_000_000)
        await self.talk()
        await asyncio.sleep(5)

    @property
    def nodes(self) -> tuple[HanNode, ...]:
        return (self.hub, self.esme, self.gsme, self.ihd)

    def short(self, node: HanNode) -> int:
        assert node.network is not None
        return node.network.short_address

    async def talk(self) -> None:
        for node in self.nodes[1:]:
            await node.send(message(0, b"up"))
            await self.hub.send(message(self.short(node), b"down"))


def check(act: Callable[[Home, Stranger], Awaitable[None]]) -> None:
    async def main() -> None:
        home = Home()
        await home.build()
        before = [trusted(node) for node in home.nodes]
        left, ups = list(home.han.ear(home.hub).left), [len(home.han.ear(node).ups) for node in home.nodes]
        joined = list(home.han.ear(home.hub).joined)
        quiet = (home.gsme, home.ihd)
        for node in quiet:
            node.set_poll_interval(None)
        await act(home, Stranger(home.han, home.hub))
        await asyncio.sleep(1)
        after = [trusted(node) for node in home.nodes]
        for number in range(len(before)):
            # polls of our own sleepers may go on: counters move only forwards, everything else stays
            assert after[number] == before[number], f"node {number}"
        await asyncio.sleep(60)  # guests have gone, and nobody is told that anybody left
        assert not any(n.relationship == 5 for node in home.nodes for n in node.stack.nwk.neighbours.values())
        assert home.han.ear(home.hub).left == left
        assert home.han.ear(home.hub).joined == joined
        assert [len(home.han.ear(node).ups) for node in home.nodes] == ups
        for node in quiet:
            node.set_poll_interval(1_000_000)
        await home.talk()

    play(main())


@pytest.mark.parametrize("capability", [0x8E, 0x80])
@pytest.mark.parametrize("eui64", [ESME, GSME, IHD, PPMID, NEVER_SEEN])
def test_an_association_under_the_name_of_another(eui64: int, capability: int) -> None:
    async def act(home: Home, stranger: Stranger) -> None:
        for to in (0, home.short(home.esme)):
            for _ in range(3):
                stranger.associate(eui64, to, capability)
                await asyncio.sleep(0.3)
                stranger.command(bytes((MacCommand.DATA_REQUEST,)), eui64=eui64, to=to)
                await asyncio.sleep(0.3)

    check(act)


@pytest.mark.parametrize("eui64", [ESME, GSME, IHD, PPMID, NEVER_SEEN])
def test_an_unsecured_rejoin_under_the_name_of_another(eui64: int) -> None:
    async def act(home: Home, stranger: Stranger) -> None:
        for to in (0, home.short(home.esme)):
            for source in (0x4321, *(home.short(node) for node in home.nodes)):
                stranger.rejoin(eui64, source, to)
                await asyncio.sleep(0.3)

    check(act)


def test_unsecured_rejoins_under_many_names_fill_no_table() -> None:
    async def act(home: Home, stranger: Stranger) -> None:
        for number in range(200):
            stranger.rejoin(NEVER_SEEN + number, 0x1000 + number, home.short(home.esme))
            await asyncio.sleep(0.02)

    check(act)


def test_every_other_command_that_needs_no_key() -> None:
    async def act(home: Home, stranger: Stranger) -> None:
        pan_id, channel = stranger.network.pan_id, stranger.network.channel
        realignment = CoordinatorRealignment(
            pan_id=pan_id ^ 1, coordinator_short=0x1234, channel=channel, short_address=0x2222
        )
        for node in home.nodes:
            to = home.short(node)
            for other in home.nodes:
                eui64, source = other.eui64, home.short(other)
                stranger.command(bytes((MacCommand.ORPHAN_NOTIFICATION,)), eui64=eui64, to=to)
                stranger.command(bytes((MacCommand.BEACON_REQUEST,)), eui64=eui64, to=0xFFFF)
                stranger.command(realignment.encode(), eui64=eui64, to=to)
                stranger.command(b"\x02" + b"\x22\x22\x00", eui64=eui64, to=to)
                stranger.command(b"\x03\x02", eui64=eui64, to=to)  # disassociation
                for command in (
                    Leave(is_request=True),
                    Leave(is_request=False),
                    RejoinResponse(short_address=0x2222, status=0),
                    NetworkStatus(status=0x0D, destination=source),
                    NetworkUpdate(extended_pan_id=stranger.network.extended_pan_id, update_id=9, pan_id=1),
                    LinkStatus(),
                    RouteReply(identifier=1, originator=0, responder=source, path_cost=0),
                ):
                    stranger.nwk(command, eui64=eui64, source=source, to=to)
                    await asyncio.sleep(0.01)

    check(act)


def test_a_device_with_an_empty_memory_joins_again() -> None:
    """Its counters start again from 0: its first frame from its new address proves that it is no recording."""

    async def main() -> None:
        home = Home()
        await home.build()
        han = home.han
        for old, role in ((home.esme, NodeRole.ROUTER), (home.gsme, SLEEPY)):
            former, count = home.short(old), len(han.ear(home.hub).joined)
            old.power_off()
            new = await han.joined(home.hub, old.eui64, role, nvm=MemoryNvm())
            new.set_poll_interval(1_000_000)
            await new.send(message(0, b"up"))
            await home.hub.send(message(home.short(new), b"down"))
            assert home.hub.stack.nwk.shorts[new.eui64] == home.short(new) != former
            assert former not in home.hub.stack.nwk.neighbours
            assert new.eui64 in [device.eui64 for device in han.ear(home.hub).joined[count:]]

    play(main())


def test_a_recorded_life_does_not_prove_a_forged_association() -> None:
    async def main() -> None:
        home = Home()
        await home.build()
        recorded = [psdu for _, psdu in home.han.frames if len(psdu) > 20]
        stranger = Stranger(home.han, home.hub)
        before = trusted(home.hub)
        for eui64 in (ESME, GSME):
            stranger.associate(eui64)
            await asyncio.sleep(0.1)
        (guest, *_) = home.hub.stack.nwk.guests.values()
        for psdu in recorded[-300:]:
            stranger.put(psdu)
            # the same with the new address in the MAC header, which no MIC covers
            stranger.put(psdu[:7] + guest.short_address.to_bytes(2, "little") + psdu[9:])
            await asyncio.sleep(0.02)
        assert trusted(home.hub) == before
        assert len(home.hub.stack.nwk.guests) == 2

    play(main())


def test_a_forged_frame_does_not_hide_the_real_one() -> None:
    """The same sequence number with other octets is another frame, not a repeat of it."""

    async def main() -> None:
        home = Home()
        await home.build()
        assert home.esme.network is not None
        stranger = Stranger(home.han, home.hub)
        sequence = (home.esme.stack.mac.sequence + 1) & 0xFF
        stranger.put(
            data_frame(stranger.network.pan_id, 0, home.short(home.esme), sequence, b"junk", wants_ack=False)
        )
        await asyncio.sleep(0.01)
        count = len(home.han.frames)
        await home.esme.send(message(0, b"real"))
        assert home.han.ear(home.hub).messages[-1].payload == b"real"
        assert home.han.frames[count][1][2] == sequence
        ours = [psdu for _, psdu in home.han.frames[count:] if psdu[7:9] == octets_of(home.short(home.esme))]
        assert [psdu[2] for psdu in ours] == [sequence]  # delivered at the first attempt

    play(main())


def run_forgeries(count: int) -> None:
    """Random frames of every kind that needs no key, with the names and addresses of this very home."""

    async def main() -> None:
        home = Home()
        await home.build()
        rng = random.Random(5)
        stranger = Stranger(home.han, home.hub)
        names = [node.eui64 for node in home.nodes] + [PPMID, NEVER_SEEN]
        shorts = [home.short(node) for node in home.nodes] + [0x1234, 0xFFFF, 0xFFFC]
        before = [trusted(node) for node in home.nodes]
        for node in (home.gsme, home.ihd):
            node.set_poll_interval(None)
        octets: list[bytes] = []
        stranger.put = octets.append  # type: ignore[method-assign]
        kinds: tuple[Callable[[], None], ...] = (
            lambda: stranger.associate(rng.choice(names), rng.choice(shorts), rng.randrange(256)),
            lambda: stranger.rejoin(rng.choice(names), rng.choice(shorts), rng.choice(shorts), rng.randrange(256)),
            lambda: stranger.command(
                bytes((rng.randrange(1, 10),)) + rng.randbytes(rng.randrange(9)),
                eui64=rng.choice([*names, None]),
                source=rng.choice(shorts),
                to=rng.choice(shorts),
            ),
            lambda: stranger.nwk(
                rng.choice((Leave(is_request=rng.random() < 0.5), RejoinResponse(short_address=7, status=0))),
                eui64=rng.choice(names),
                source=rng.choice(shorts),
                to=rng.choice(shorts),
            ),
            lambda: stranger.put(
                data_frame(
                    stranger.network.pan_id, rng.choice(shorts), rng.choice(shorts), rng.randrange(256),
                    b"\x08\x00" + rng.randbytes(rng.randrange(40)), wants_ack=False,
                )
            ),
        )  # fmt: skip
        now_us = home.han.scheduler.now_us()
        for number in range(count):
            rng.choice(kinds)()
            node = home.nodes[number % len(home.nodes)]
            node.stack.receive(octets.pop(), rng.randrange(256), now_us=now_us)
            node.stack.mac.actions.clear()
            node.stack.mac._queue.clear()
            node.stack.mac._in_flight, node.stack.mac._busy = None, False
        assert [trusted(node) for node in home.nodes] == before
        for node in home.nodes:
            assert not node.stack.events

    play(main())


def test_forgeries_quick() -> None:
    run_forgeries(5_000)


@pytest.mark.slow
def test_forgeries_slow() -> None:
    run_forgeries(300_000)
