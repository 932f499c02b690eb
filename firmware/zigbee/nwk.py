"""NWK layer: a node's place in its network, and the way of a frame through it.

Theory. Every frame is secured hop by hop with the network key: whoever forwards seals anew under its own
EUI-64 and counter, so a counter table per *neighbour* refuses replays. A frame to a child goes to it
directly, to a sleeping one by the MAC's indirect queue; an end device gives everything to its parent; a
router sends to a neighbour directly, else along a route, else it asks for one (`nwk_routing`). Broadcasts are
in `nwk_broadcast`, what a parent does in `nwk_parent`, how a node comes and goes in `nwk_membership`: all are
parts of this layer, an idea each.

Source: Zigbee 05-3474-21, 3.6 (functional description), 4.3 (security).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import ClassVar, Final

from smets1.errors import DecodeError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import MacConfirm, MacData, MacEvent, MacStatus
from smets1.firmware.zigbee.nwk_events import NwkConfirm, NwkCounters, NwkData, NwkStatus
from smets1.firmware.zigbee.nwk_frames import (
    NwkCommand,
    NwkCommandId,
    NwkFrameType,
    NwkHeader,
    decode_nwk_command,
)
from smets1.firmware.zigbee.nwk_tables import BroadcastEntry, Neighbour, Relationship
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.security_header import NETWORK_AUX_OCTETS, open_network, seal_network
from smets1.firmware.zigbee.timers import TimerQueue
from smets1.hardware.radio import (
    BROADCAST_ALL,
    COORDINATOR,
    NodeRole,
)

__all__ = ["FIRST_BROADCAST", "MAX_RADIUS", "NOBODY", "STALE_AFTER_FAILURES", "Handlers", "NwkCore"]

FIRST_BROADCAST: Final = 0xFFF8
_TO_ROUTERS: Final = b"\xfc\xff"  # a destination of 0xFFFC
MAX_RADIUS: Final = 30  # twice nwkMaxDepth
_LATE_US: Final = 9_000_000  # about nwkBroadcastDeliveryTime: nothing is longer on its way
SIBLING_LIMIT: Final = 32
FLOODED: Final = (bytes((NwkCommandId.NETWORK_STATUS,)), bytes((NwkCommandId.NETWORK_UPDATE,)))
NOBODY: Final = -1  # no short address
STALE_AFTER_FAILURES: Final = 3
Handlers = dict[type, Callable[..., None]]
"""Methods by the message that they take. One table a class, not a node: a fleet has thousands of nodes."""
_HEADER: Final = struct.Struct("<HHHBB")
_AUX: Final = struct.Struct("<BIQB")
_DATA_CONTROL: Final = 0x0248  # data, version 2, discover route, security
_AUX_CONTROL: Final = 0x28


_MAC_TO_NWK: Final = {
    MacStatus.NO_ACK: NwkStatus.FRAME_NOT_SENT,
    MacStatus.CHANNEL_ACCESS_FAILURE: NwkStatus.FRAME_NOT_SENT,
    MacStatus.TRANSACTION_EXPIRED: NwkStatus.EXPIRED,
    MacStatus.TRANSACTION_OVERFLOW: NwkStatus.EXPIRED,
}


class NwkCore:
    """Data path, security, broadcasts. `NwkLayer` adds routing and membership."""

    __slots__ = (
        "_broadcast_due_us",
        "_broadcasts",
        "_mac_handle",
        "_rng",
        "_sent",
        "_sequence",
        "_timers",
        "_waits",
        "accepts_unsecured",
        "addresses",
        "counters",
        "dirty_devices",
        "eui64",
        "events",
        "guests",
        "is_dirty",
        "is_router",
        "keys",
        "mac",
        "neighbours",
        "parent",
        "parent_failures",
        "role",
        "short_address",
        "shorts",
    )

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        self.mac = mac
        self.keys = keys
        self.role = role
        self.eui64 = mac.eui64
        self.events: list[object] = []
        self.counters = NwkCounters()
        self.short_address = 0xFFFF
        self.parent: int | None = None
        self.parent_failures = 0  # in a row
        self.neighbours: dict[int, Neighbour] = {}
        self.addresses: dict[int, Eui64] = {}
        self.shorts: dict[Eui64, int] = {}
        self.guests: dict[Eui64, Neighbour] = {}
        """Children let in but not yet proven, each at an address that nobody had before; see `nwk_parent`."""
        self.is_dirty = False  # the network record in NVM is old
        self.dirty_devices: dict[Eui64, None] = {}  # so are these devices' records
        self.accepts_unsecured = False  # while joining: the network key comes in an unsecured NWK frame
        self.is_router = role in (NodeRole.COORDINATOR, NodeRole.ROUTER)
        if not self.is_router:  # mostly link status, four times a minute from each router: not for us to read
            mac.deaf_to = _TO_ROUTERS
        self._rng = rng
        self._timers = timers
        self._sequence = rng.randrange(256)
        self._broadcasts: dict[int, BroadcastEntry] = {}
        self._broadcast_due_us = 0
        self._mac_handle = 0
        self._sent: dict[int, tuple[int, int, bytes, bytes]] = {}
        self._waits: dict[int, Callable[[MacStatus, int], None]] = {}

    # --- addresses ----------------------------------------------------------------------------------

    def learn_address(self, short_address: int, eui64: Eui64) -> None:
        """A device is at this address now; older knowledge about either is wrong."""
        if self.addresses.get(short_address) == eui64 or not self._may_be_at(short_address, eui64):
            return
        old_short = self.shorts.get(eui64)
        if old_short is not None:
            self.addresses.pop(old_short, None)
            stale = self.neighbours.get(old_short)
            if stale is not None and stale.eui64 == eui64 and not stale.is_child:
                self._remove_neighbour(old_short)
        old_eui64 = self.addresses.get(short_address)
        if old_eui64 is not None:
            self.shorts.pop(old_eui64, None)
            self.dirty_devices[old_eui64] = None
        self.addresses[short_address] = eui64
        self.shorts[eui64] = short_address
        self.dirty_devices[eui64] = None

    def _may_be_at(self, short_address: int, eui64: Eui64) -> bool:
        """Whoever has the network key can say anything: who we are and who the coordinator is, we know."""
        if short_address >= FIRST_BROADCAST or (short_address == self.short_address) != (eui64 == self.eui64):
            return False
        coordinator = self.addresses.get(COORDINATOR)
        return coordinator is None or (short_address == COORDINATOR) == (eui64 == coordinator)

    def learn_coordinator(self, eui64: Eui64) -> None:
        """The trust centre has proved who it is: the same as ever, or another after a swap-out."""
        if self.addresses.get(COORDINATOR) not in (None, eui64):
            self.shorts.pop(self.addresses.pop(COORDINATOR), None)
        self.learn_address(COORDINATOR, eui64)

    def forget_device(self, eui64: Eui64) -> None:
        short_address = self.shorts.pop(eui64, None)
        if short_address is not None:
            self.addresses.pop(short_address, None)
            self._remove_neighbour(short_address)
            self.mac.cancel_indirect(short_address)
        self.drop_guest(eui64)
        self.keys.forget_neighbour(eui64)
        self.dirty_devices[eui64] = None

    def drop_guest(self, eui64: Eui64) -> None:
        """Whoever asked to be let in under this EUI-64 has not proven itself."""
        guest = self.guests.pop(eui64, None)
        if guest is not None:
            self._remove_neighbour(guest.short_address)
            self.mac.cancel_indirect(guest.short_address)

    def find_child(self, eui64: Eui64) -> Neighbour | None:
        short_address = self.shorts.get(eui64)
        neighbour = None if short_address is None else self.neighbours.get(short_address)
        return neighbour if neighbour is not None and neighbour.is_child else None

    def _remove_neighbour(self, short_address: int) -> None:
        neighbour = self.neighbours.pop(short_address, None)
        if neighbour is not None and neighbour.deadline is not None:
            neighbour.deadline.cancel()

    def _note_router(self, short_address: int, eui64: Eui64, lqi: int) -> Neighbour | None:
        """A router is in range: it sent link status, or passed a broadcast on."""
        if short_address in self.neighbours or len(self.neighbours) >= SIBLING_LIMIT:
            return self.neighbours.get(short_address)
        self.learn_address(short_address, eui64)
        neighbour = Neighbour(short_address, eui64, Relationship.SIBLING, 0x0E)
        neighbour.lqi = lqi
        self.neighbours[short_address] = neighbour
        return neighbour

    # --- sending ------------------------------------------------------------------------------------

    def send(
        self, destination: int, payload: bytes, handle: int, *, now_us: int, radius: int = MAX_RADIUS
    ) -> None:
        """A data frame, secured; ends in a NwkConfirm if `handle` is not 0."""
        self._sequence = sequence = (self._sequence + 1) & 0xFF
        header = _HEADER.pack(_DATA_CONTROL, destination, self.short_address, radius, sequence)
        if destination >= FIRST_BROADCAST:
            header = _HEADER.pack(_DATA_CONTROL & ~0x40, destination, self.short_address, radius, sequence)
            self._broadcast(header, payload, destination, sequence, now_us)
            if handle:
                self.events.append(NwkConfirm(handle, NwkStatus.SUCCESS))
            return
        self._route(destination, header, payload, handle, now_us)

    def send_unsecured(self, destination: int, payload: bytes, handle: int, *, now_us: int) -> None:
        """A data frame to a child that has no network key yet."""
        header = self._header(NwkFrameType.DATA, destination, is_secured=False).encode()
        self._transmit(destination, header, payload, handle, now_us, is_secured=False)

    def send_command(
        self,
        destination: int,
        command: NwkCommand,
        *,
        now_us: int,
        radius: int = 1,
        next_hop: int | None = None,
        source: int | None = None,
        sequence: int | None = None,
        has_source_eui64: bool = True,
        destination_eui64: Eui64 | None = None,
        is_secured: bool = True,
        is_indirect: bool | None = None,
        on_sent: Callable[[MacStatus, int], None] | None = None,
    ) -> None:
        """A NWK command to `next_hop` (the destination, where None); broadcasts go out once, untracked."""
        header = NwkHeader(
            frame_type=NwkFrameType.NWK_COMMAND,
            destination=destination,
            source=self.short_address if source is None else source,
            radius=radius,
            sequence=self._next_sequence() if sequence is None else sequence,
            is_secured=is_secured,
            source_eui64=self.eui64 if has_source_eui64 else None,
            destination_eui64=destination_eui64,
        ).encode()
        hop = destination if next_hop is None else next_hop
        if destination >= FIRST_BROADCAST:
            hop = BROADCAST_ALL
        self._transmit(
            hop,
            header,
            command.encode(),
            0,
            now_us,
            is_secured=is_secured,
            is_indirect=is_indirect,
            on_sent=on_sent,
        )

    def _header(self, frame_type: NwkFrameType, destination: int, *, is_secured: bool) -> NwkHeader:
        return NwkHeader(
            frame_type=frame_type,
            destination=destination,
            source=self.short_address,
            radius=MAX_RADIUS,
            sequence=self._next_sequence(),
            is_secured=is_secured,
        )

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def _route(self, destination: int, header: bytes, payload: bytes, handle: int, now_us: int) -> None:
        hop = self.next_hop(destination)
        if hop is None:
            self._discover(destination, header, payload, handle, now_us)
        else:
            self._transmit(hop, header, payload, handle, now_us)

    def next_hop(self, destination: int) -> int | None:
        """The neighbour to give a frame to; None: not known."""
        if not self.is_router:
            return self.parent
        neighbour = self.neighbours.get(destination)
        if neighbour is not None:
            # an end device of ours has no other way, however long it has not answered
            is_own = neighbour.is_child and not neighbour.is_router
            if is_own or neighbour.failures < STALE_AFTER_FAILURES:
                return destination
        return self._next_hop_by_route(destination)

    def _transmit(
        self,
        hop: int,
        header: bytes,
        payload: bytes,
        handle: int,
        now_us: int,
        *,
        is_secured: bool = True,
        is_indirect: bool | None = None,
        on_sent: Callable[[MacStatus, int], None] | None = None,
    ) -> None:
        """`is_indirect` None: as the neighbour table says. Else the answer to somebody who may not be in it,

        and how it goes says nothing about the neighbour that has this address.
        """
        if is_secured:
            active = self.keys.active
            if active is None:
                if handle:
                    self.events.append(NwkConfirm(handle, NwkStatus.NO_KEY))
                return
            counter = self.keys.nwk_out.next()
            frame = seal_network(active.cipher, header, payload, self.eui64, counter, active.sequence)
        else:
            frame = header + payload
        if hop >= FIRST_BROADCAST and on_sent is None:
            self.mac.send(hop, frame)
            return
        self._mac_handle = mac_handle = self._mac_handle + 1
        if on_sent is not None:
            self._waits[mac_handle] = on_sent
        if is_indirect is None:
            self._sent[mac_handle] = (handle, hop, header, payload)
            neighbour = self.neighbours.get(hop)
            is_indirect = neighbour is not None and neighbour.is_sleepy and hop != self.parent
        else:
            self._sent[mac_handle] = (handle, NOBODY, b"", b"")
        if is_indirect:
            self.mac.send_indirect(hop, frame, mac_handle, now_us=now_us)
        else:
            self.mac.send(hop, frame, mac_handle)

    def _on_confirm(self, confirm: MacConfirm, now_us: int) -> None:
        sent = self._sent.pop(confirm.handle, None)
        if sent is None:
            return  # from before a reset
        handle, hop, header, payload = sent
        self.counters.transmissions += 1
        waiter = self._waits.pop(confirm.handle, None) if self._waits else None
        if waiter is not None:
            waiter(confirm.status, now_us)
        neighbour = self.neighbours.get(hop)
        if confirm.status is MacStatus.SUCCESS:
            if neighbour is not None:
                neighbour.failures = 0
                if hop == self.parent:
                    self.parent_failures = 0
            if handle:
                self.events.append(NwkConfirm(handle, NwkStatus.SUCCESS))
            return
        self.counters.failures += 1
        if neighbour is not None and confirm.status is MacStatus.NO_ACK and not neighbour.is_sleepy:
            neighbour.failures += 1
        if self._on_link_failure(hop, header, payload, handle, confirm.status, now_us):
            return
        if handle:
            self.events.append(NwkConfirm(handle, _MAC_TO_NWK[confirm.status]))

    # --- receiving ----------------------------------------------------------------------------------

    def on_mac_event(self, event: MacEvent, now_us: int) -> None:
        handler = self._mac_handlers.get(type(event))
        if handler is not None:
            handler(self, event, now_us)

    def _on_data(self, data: MacData, now_us: int) -> None:
        try:
            header, offset = NwkHeader.decode(data.payload)
            if header.is_secured:
                eui64, payload = self._unprotect(data, header.source, offset)
            else:
                eui64, payload = None, data.payload[offset:]
                if not self._takes_unsecured(header, payload):
                    self.counters.unsecured += 1
                    return
        except DecodeError:
            self.counters.malformed += 1
            return
        except SecurityError:
            self.counters.bad_mic += 1
            return
        if eui64 is not None:
            if header.source == data.source and header.source_eui64 not in (None, eui64):
                self.counters.malformed += 1
                return  # it speaks for itself, under the name of another
            neighbour = self.neighbours.get(data.source)
            if neighbour is None:
                is_relayed = header.source != data.source and header.destination >= FIRST_BROADCAST
                if is_relayed and self.is_router:  # an end device needs to know its parent only
                    self._note_router(data.source, eui64, data.lqi)
            else:
                self._heard_neighbour(neighbour, eui64, header, data, now_us)
        self._dispatch(header, eui64, payload, data, now_us)

    def _unprotect(self, data: MacData, originator: int, offset: int) -> tuple[Eui64, bytes]:
        """The sender (one hop away) and the payload. Raises DecodeError and SecurityError."""
        frame = data.payload
        if len(frame) < offset + NETWORK_AUX_OCTETS:
            raise DecodeError("NWK security", len(frame), "ends inside the auxiliary header")
        control, counter, eui64, sequence = _AUX.unpack_from(frame, offset)
        if control & 0xF8 != _AUX_CONTROL:
            raise DecodeError("NWK security", offset, "not the network key, or no extended nonce")
        key = self.keys.networks.get(sequence)
        if key is None:
            raise SecurityError("network key of another sequence number")
        received = key.rx_counters
        is_old = counter <= received.get(eui64, -1) and not self._is_new_life(eui64, originator, data.source)
        if is_old or eui64 == self.eui64:
            self.counters.replayed += 1
            raise SecurityError("frame counter is not new")
        payload = open_network(key.cipher, frame, offset, eui64, counter)
        received[eui64] = counter
        self.keys.note_network_rx()
        if key is not self.keys.active:
            self._on_newer_key(sequence)
        return eui64, payload

    def _is_new_life(self, eui64: Eui64, originator: int, sender: int) -> bool:
        """A guest speaks for itself: its counters may have started again, as a device from the factory does.

        The address is one that was made for this guest, and the MIC covers it: no old frame can bear it.
        """
        guest = self.guests.get(eui64)
        return guest is not None and guest.short_address == originator == sender

    def _on_newer_key(self, sequence: int) -> None:
        """Someone already uses the key that we hold in reserve: the switch was missed. Source: 4.3.1.2."""
        active = self.keys.active
        if active is not None and 0 < (sequence - active.sequence) & 0xFF < 0x80:
            self.keys.switch_network_key(sequence)

    def _heard_neighbour(
        self, neighbour: Neighbour, eui64: Eui64, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        neighbour.lqi = data.lqi
        neighbour.heard_us = now_us
        is_its_own = header.source == data.source
        if is_its_own:
            neighbour.sequence = header.sequence
        if neighbour.eui64 != eui64:
            is_family = neighbour.is_child or neighbour.relationship is Relationship.PARENT
            if is_family and neighbour.eui64 is not None:
                return  # two devices with one address; the announcement of either will settle it
            neighbour.eui64 = eui64
            self.learn_address(data.source, eui64)
        neighbour.is_heard = True
        if neighbour.relationship is Relationship.UNAUTHENTICATED_CHILD and is_its_own:
            self._accept_guest(neighbour, eui64, now_us)

    def _accept_guest(self, guest: Neighbour, eui64: Eui64, now_us: int) -> None:
        """It has the network key: only now does it replace whatever we knew of this device."""
        if self.guests.get(eui64) is guest:
            del self.guests[eui64]
        former = self.shorts.get(eui64)
        if former is not None and former != guest.short_address:
            known = self.neighbours.get(former)
            if known is not None and known.eui64 == eui64:
                self._remove_neighbour(former)
                self.mac.cancel_indirect(former)
        self.learn_address(guest.short_address, eui64)
        guest.relationship = Relationship.CHILD
        if guest.deadline is not None:
            guest.deadline.cancel()
            guest.deadline = None
        self.dirty_devices[eui64] = None
        self._on_child_accepted(guest, now_us)

    def _takes_unsecured(self, header: NwkHeader, payload: bytes) -> bool:
        """Unsecured are: the network key on its way to us, and rejoin commands."""
        if header.frame_type is NwkFrameType.DATA:
            return self.accepts_unsecured and header.destination == self.short_address
        return bool(payload) and payload[0] in (0x06, 0x07)

    def _dispatch(
        self, header: NwkHeader, eui64: Eui64 | None, payload: bytes, data: MacData, now_us: int
    ) -> None:
        destination = header.destination
        is_broadcast = destination >= FIRST_BROADCAST
        if header.frame_type is NwkFrameType.NWK_COMMAND and (
            is_broadcast or destination == self.short_address
        ):
            is_flooded = is_broadcast and header.is_secured and payload[:1] in FLOODED
            if not is_flooded or self._is_new_broadcast(header, data, payload, now_us):
                self._on_command(header, payload, data, now_us)
            return
        if is_broadcast:
            if not self._is_new_broadcast(header, data, payload, now_us) or not self._is_for_us(destination):
                return
        elif destination != self.short_address:
            self._forward(header, payload, data, now_us)
            return
        if header.source != data.source:
            self._note_far(header, now_us)
        self.events.append(
            NwkData(header.source, is_broadcast, payload, header.is_secured, data.lqi, data.source, eui64)
        )

    def _note_far(self, header: NwkHeader, now_us: int) -> None:
        """A frame came by way of somebody else: an end device of ours has found another parent.

        Unless the frame is older than what we have just heard from itself: a former parent passes it on late.
        """
        neighbour = self.neighbours.get(header.source)
        if neighbour is None or not neighbour.is_child or neighbour.is_router:
            return
        is_fresh = neighbour.sequence is not None and now_us - neighbour.heard_us < _LATE_US
        if is_fresh and (header.sequence - (neighbour.sequence or 0)) & 0xFF >= 0x80:
            return
        self._remove_neighbour(header.source)
        self.mac.cancel_indirect(header.source)
        if neighbour.eui64 is not None:
            self.dirty_devices[neighbour.eui64] = None

    def _forward(self, header: NwkHeader, payload: bytes, data: MacData, now_us: int) -> None:
        if not self.is_router or not header.is_secured or data.is_broadcast:
            return
        if header.radius <= 1:
            self.counters.unroutable += 1
            return
        relays, index = header.relays, header.relay_index
        hop: int | None = None
        if relays is not None:
            if not index < len(relays) or relays[index] != self.short_address:
                self.counters.unroutable += 1
                return
            hop = relays[index - 1] if index else header.destination
            index = max(0, index - 1)
        head = NwkHeader(
            frame_type=header.frame_type,
            destination=header.destination,
            source=header.source,
            radius=header.radius - 1,
            sequence=header.sequence,
            discover_route=header.discover_route,
            destination_eui64=header.destination_eui64,
            source_eui64=header.source_eui64,
            relays=relays,
            relay_index=index,
            is_end_device_initiator=header.is_end_device_initiator,
        ).encode()
        if hop is not None:
            self._transmit(hop, head, payload, 0, now_us)
        else:
            self._route(header.destination, head, payload, 0, now_us)

    def _on_command(self, header: NwkHeader, payload: bytes, data: MacData, now_us: int) -> None:
        try:
            command = decode_nwk_command(payload)
        except DecodeError:
            self.counters.malformed += 1
            return
        handler = self._command_handlers.get(type(command))
        if handler is not None:
            handler(self, command, header, data, now_us)

    # --- what the rest of the layer supplies ----------------------------------------------------------

    def _on_child_accepted(self, child: Neighbour, now_us: int) -> None:
        raise NotImplementedError

    def _broadcast(self, header: bytes, payload: bytes, destination: int, sequence: int, now_us: int) -> None:
        raise NotImplementedError

    def _is_new_broadcast(self, header: NwkHeader, data: MacData, payload: bytes, now_us: int) -> bool:
        """Note a broadcast heard; pass it on if that is our part. False: known already."""
        raise NotImplementedError

    def _is_for_us(self, broadcast: int) -> bool:
        raise NotImplementedError

    def _next_hop_by_route(self, destination: int) -> int | None:
        raise NotImplementedError

    def _discover(self, destination: int, header: bytes, payload: bytes, handle: int, now_us: int) -> None:
        raise NotImplementedError

    def _on_link_failure(
        self, hop: int, header: bytes, payload: bytes, handle: int, status: MacStatus, now_us: int
    ) -> bool:
        """True where the frame is taken care of, and its confirm comes later."""
        raise NotImplementedError

    # --- who takes what -------------------------------------------------------------------------------

    _mac_handlers: ClassVar[Handlers] = {MacData: _on_data, MacConfirm: _on_confirm}
    _command_handlers: ClassVar[Handlers] = {}
