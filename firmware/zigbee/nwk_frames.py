"""NWK frames and commands. Source: Zigbee 05-3474-21, 3.3 (general format), 3.4 (commands)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import lru_cache
from typing import Final, Self

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.light_init import light_init

__all__ = [
    "EndDeviceTimeoutRequest",
    "EndDeviceTimeoutResponse",
    "Leave",
    "LinkStatus",
    "LinkStatusEntry",
    "NetworkReport",
    "NetworkStatus",
    "NetworkStatusCode",
    "NetworkUpdate",
    "NwkCommand",
    "NwkCommandId",
    "NwkFrameType",
    "NwkHeader",
    "RejoinRequest",
    "RejoinResponse",
    "RouteRecord",
    "RouteReply",
    "RouteRequest",
    "decode_nwk_command",
]


@unique
class NwkFrameType(IntEnum):
    """Source: Table 3.42."""

    DATA = 0
    NWK_COMMAND = 1
    INTER_PAN = 3


@unique
class NwkCommandId(IntEnum):
    """Source: Table 3.43."""

    ROUTE_REQUEST = 0x01
    ROUTE_REPLY = 0x02
    NETWORK_STATUS = 0x03
    LEAVE = 0x04
    ROUTE_RECORD = 0x05
    REJOIN_REQUEST = 0x06
    REJOIN_RESPONSE = 0x07
    LINK_STATUS = 0x08
    NETWORK_REPORT = 0x09
    NETWORK_UPDATE = 0x0A
    END_DEVICE_TIMEOUT_REQUEST = 0x0B
    END_DEVICE_TIMEOUT_RESPONSE = 0x0C


@unique
class NetworkStatusCode(IntEnum):
    """Source: Table 3.44."""

    NO_ROUTE_AVAILABLE = 0x00
    TREE_LINK_FAILURE = 0x01
    NON_TREE_LINK_FAILURE = 0x02
    LOW_BATTERY_LEVEL = 0x03
    NO_ROUTING_CAPACITY = 0x04
    NO_INDIRECT_CAPACITY = 0x05
    INDIRECT_TRANSACTION_EXPIRY = 0x06
    TARGET_DEVICE_UNAVAILABLE = 0x07
    TARGET_ADDRESS_UNALLOCATED = 0x08
    PARENT_LINK_FAILURE = 0x09
    VALIDATE_ROUTE = 0x0A
    SOURCE_ROUTE_FAILURE = 0x0B
    MANY_TO_ONE_ROUTE_FAILURE = 0x0C
    ADDRESS_CONFLICT = 0x0D
    VERIFY_ADDRESSES = 0x0E
    PAN_IDENTIFIER_UPDATE = 0x0F
    NETWORK_ADDRESS_UPDATE = 0x10
    BAD_FRAME_COUNTER = 0x11
    BAD_KEY_SEQUENCE_NUMBER = 0x12


_PROTOCOL_VERSION: Final = 2 << 2
_HEADER: Final = struct.Struct("<HHHBB")
_EUI64: Final = struct.Struct("<Q")
_MULTICAST: Final = 0x0100
_SECURITY: Final = 0x0200
_SOURCE_ROUTE: Final = 0x0400
_DESTINATION_IEEE: Final = 0x0800
_SOURCE_IEEE: Final = 0x1000
_END_DEVICE_INITIATOR: Final = 0x2000
_EXTRAS: Final = _MULTICAST | _SOURCE_ROUTE | _DESTINATION_IEEE | _SOURCE_IEEE
_FRAME_TYPES: Final = {member.value: member for member in NwkFrameType}


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class NwkHeader:
    """NWK header without the auxiliary security header; 8 octets and more. Source: 3.3.1."""

    frame_type: NwkFrameType
    destination: int
    source: int
    radius: int
    sequence: int
    is_secured: bool = True
    discover_route: int = 0  # 0 suppress, 1 enable
    destination_eui64: Eui64 | None = None
    source_eui64: Eui64 | None = None
    relays: tuple[int, ...] | None = None  # source route, nearest to the destination first
    relay_index: int = 0
    is_end_device_initiator: bool = False

    @classmethod
    def decode(cls, octets: bytes) -> tuple[Self, int]:
        """A NWK frame off the air -> header and the offset of what follows. Raises DecodeError."""
        if len(octets) < 8:
            raise DecodeError("NWK", len(octets), "shorter than a header")
        control, destination, source, radius, sequence = _HEADER.unpack_from(octets)
        frame_type = _FRAME_TYPES.get(control & 3)
        if frame_type is None or control & 0x3C != _PROTOCOL_VERSION:
            raise DecodeError("NWK", 0, f"type or version of frame control 0x{control:04X}")
        if not control & _EXTRAS:
            header = cls(
                frame_type=frame_type,
                destination=destination,
                source=source,
                radius=radius,
                sequence=sequence,
                is_secured=control & _SECURITY != 0,
                discover_route=control >> 6 & 3,
                is_end_device_initiator=control & _END_DEVICE_INITIATOR != 0,
            )
            return header, 8
        if control & _EXTRAS == _SOURCE_IEEE and len(octets) >= 16:  # link status, for one
            destination_eui64, source_eui64, relays, relay_index = (
                None,
                _EUI64.unpack_from(octets, 8)[0],
                None,
                0,
            )
            offset = 16
        else:
            extras, offset = _decode_extras(control, octets)
            destination_eui64, source_eui64, relays, relay_index = extras
        header = cls(
            frame_type=frame_type,
            destination=destination,
            source=source,
            radius=radius,
            sequence=sequence,
            is_secured=control & _SECURITY != 0,
            discover_route=control >> 6 & 3,
            destination_eui64=destination_eui64,
            source_eui64=source_eui64,
            relays=relays,
            relay_index=relay_index,
            is_end_device_initiator=control & _END_DEVICE_INITIATOR != 0,
        )
        return header, offset

    def encode(self) -> bytes:
        control = self.frame_type | _PROTOCOL_VERSION | self.discover_route << 6
        control |= _SECURITY if self.is_secured else 0
        control |= _END_DEVICE_INITIATOR if self.is_end_device_initiator else 0
        tail = b""
        if self.destination_eui64 is not None:
            control |= _DESTINATION_IEEE
            tail += _EUI64.pack(self.destination_eui64)
        if self.source_eui64 is not None:
            control |= _SOURCE_IEEE
            tail += _EUI64.pack(self.source_eui64)
        if self.relays is not None:
            control |= _SOURCE_ROUTE
            tail += struct.pack(f"<BB{len(self.relays)}H", len(self.relays), self.relay_index, *self.relays)
        return _HEADER.pack(control, self.destination, self.source, self.radius, self.sequence) + tail


def _decode_extras(
    control: int, octets: bytes
) -> tuple[tuple[int | None, int | None, tuple[int, ...] | None, int], int]:
    if control & _MULTICAST:
        raise DecodeError("NWK", 0, "multicast mode is not used by Smart Energy")
    offset = 8
    addresses: list[int | None] = []
    for bit in (_DESTINATION_IEEE, _SOURCE_IEEE):
        if not control & bit:
            addresses.append(None)
            continue
        if len(octets) < offset + 8:
            raise DecodeError("NWK", len(octets), "ends inside an IEEE address")
        addresses.append(_EUI64.unpack_from(octets, offset)[0])
        offset += 8
    relays: tuple[int, ...] | None = None
    relay_index = 0
    if control & _SOURCE_ROUTE:
        if len(octets) < offset + 2 or len(octets) < offset + 2 + 2 * octets[offset]:
            raise DecodeError("NWK", len(octets), "ends inside the source route")
        count, relay_index = octets[offset], octets[offset + 1]
        relays = struct.unpack_from(f"<{count}H", octets, offset + 2)
        offset += 2 + 2 * count
    return (addresses[0], addresses[1], relays, relay_index), offset


# --- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRequest:
    """Source: 3.4.1."""

    identifier: int
    destination: int
    path_cost: int
    many_to_one: int = 0  # 0 no, 1 with route record, 2 without
    destination_eui64: Eui64 | None = None

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 6, "route request")
        _, options, identifier, destination, cost = struct.unpack_from("<BBBHB", octets)
        eui64 = None
        if options & 0x20:
            _need(octets, 14, "route request")
            (eui64,) = _EUI64.unpack_from(octets, 6)
        return cls(
            identifier=identifier,
            destination=destination,
            path_cost=cost,
            many_to_one=options >> 3 & 3,
            destination_eui64=eui64,
        )

    def encode(self) -> bytes:
        options = self.many_to_one << 3 | (0 if self.destination_eui64 is None else 0x20)
        tail = b"" if self.destination_eui64 is None else _EUI64.pack(self.destination_eui64)
        head = struct.pack(
            "<BBBHB",
            NwkCommandId.ROUTE_REQUEST,
            options,
            self.identifier,
            self.destination,
            self.path_cost,
        )
        return head + tail


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReply:
    """Source: 3.4.2."""

    identifier: int
    originator: int
    responder: int
    path_cost: int
    originator_eui64: Eui64 | None = None
    responder_eui64: Eui64 | None = None

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 8, "route reply")
        _, options, identifier, originator, responder, cost = struct.unpack_from("<BBBHHB", octets)
        offset = 8
        addresses: list[int | None] = []
        for bit in (0x10, 0x20):
            if options & bit:
                _need(octets, offset + 8, "route reply")
                addresses.append(_EUI64.unpack_from(octets, offset)[0])
                offset += 8
            else:
                addresses.append(None)
        return cls(
            identifier=identifier,
            originator=originator,
            responder=responder,
            path_cost=cost,
            originator_eui64=addresses[0],
            responder_eui64=addresses[1],
        )

    def encode(self) -> bytes:
        options = 0
        tail = b""
        for bit, eui64 in ((0x10, self.originator_eui64), (0x20, self.responder_eui64)):
            if eui64 is not None:
                options |= bit
                tail += _EUI64.pack(eui64)
        head = struct.pack(
            "<BBBHHB",
            NwkCommandId.ROUTE_REPLY,
            options,
            self.identifier,
            self.originator,
            self.responder,
            self.path_cost,
        )
        return head + tail


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStatus:
    """Source: 3.4.3."""

    status: int  # NetworkStatusCode, or a code not known here
    destination: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 4, "network status")
        return cls(status=octets[1], destination=octets[2] | octets[3] << 8)

    def encode(self) -> bytes:
        return struct.pack("<BBH", NwkCommandId.NETWORK_STATUS, self.status, self.destination)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Source: 3.4.4."""

    is_rejoin: bool = False
    is_request: bool  # True: "you leave"; False: "I have left"
    removes_children: bool = False

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 2, "leave")
        options = octets[1]
        return cls(
            is_rejoin=options & 0x20 != 0,
            is_request=options & 0x40 != 0,
            removes_children=options & 0x80 != 0,
        )

    def encode(self) -> bytes:
        options = (0x20 if self.is_rejoin else 0) | (0x40 if self.is_request else 0)
        return bytes((NwkCommandId.LEAVE, options | (0x80 if self.removes_children else 0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """Source: 3.4.5. `relays`: nearest to the originator first."""

    relays: tuple[int, ...]

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 2, "route record")
        _need(octets, 2 + 2 * octets[1], "route record")
        return cls(relays=struct.unpack_from(f"<{octets[1]}H", octets, 2))

    def encode(self) -> bytes:
        count = len(self.relays)
        return struct.pack(f"<BB{count}H", NwkCommandId.ROUTE_RECORD, count, *self.relays)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejoinRequest:
    """Source: 3.4.6."""

    capability: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 2, "rejoin request")
        return cls(capability=octets[1])

    def encode(self) -> bytes:
        return bytes((NwkCommandId.REJOIN_REQUEST, self.capability))


@dataclass(frozen=True, slots=True, kw_only=True)
class RejoinResponse:
    """Source: 3.4.7; `status` is an association status."""

    short_address: int
    status: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 4, "rejoin response")
        return cls(short_address=octets[1] | octets[2] << 8, status=octets[3])

    def encode(self) -> bytes:
        return struct.pack("<BHB", NwkCommandId.REJOIN_RESPONSE, self.short_address, self.status)


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatusEntry:
    neighbour: int
    incoming_cost: int  # 0..7
    outgoing_cost: int  # 0..7; 0: not known


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """Source: 3.4.8."""

    entries: tuple[LinkStatusEntry, ...] = field(default=())
    is_first: bool = True
    is_last: bool = True

    @classmethod
    @lru_cache(maxsize=128)  # four a minute from each router, and most say what the last one said
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 2, "link status")
        count = octets[1] & 0x1F
        _need(octets, 2 + 3 * count, "link status")
        entries = []
        for offset in range(2, 2 + 3 * count, 3):
            costs = octets[offset + 2]
            short = octets[offset] | octets[offset + 1] << 8
            entries.append(
                LinkStatusEntry(neighbour=short, incoming_cost=costs & 7, outgoing_cost=costs >> 4 & 7)
            )
        return cls(entries=tuple(entries), is_first=octets[1] & 0x20 != 0, is_last=octets[1] & 0x40 != 0)

    def encode(self) -> bytes:
        options = len(self.entries) | (0x20 if self.is_first else 0) | (0x40 if self.is_last else 0)
        body = b"".join(
            struct.pack("<HB", entry.neighbour, entry.incoming_cost | entry.outgoing_cost << 4)
            for entry in self.entries
        )
        return bytes((NwkCommandId.LINK_STATUS, options)) + body


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """PAN identifier conflict, the only report there is. Source: 3.4.9."""

    extended_pan_id: int
    pan_ids: tuple[int, ...]

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 10, "network report")
        if octets[1] >> 5 != 0:
            raise DecodeError("network report", 1, "unknown report")
        count = octets[1] & 0x1F
        _need(octets, 10 + 2 * count, "network report")
        (extended_pan_id,) = _EUI64.unpack_from(octets, 2)
        return cls(extended_pan_id=extended_pan_id, pan_ids=struct.unpack_from(f"<{count}H", octets, 10))

    def encode(self) -> bytes:
        count = len(self.pan_ids)
        return struct.pack(
            f"<BBQ{count}H", NwkCommandId.NETWORK_REPORT, count, self.extended_pan_id, *self.pan_ids
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUpdate:
    """A new PAN identifier. Source: 3.4.10."""

    extended_pan_id: int
    update_id: int
    pan_id: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 13, "network update")
        if octets[1] != 1:  # type 0 (PAN identifier update), one value
            raise DecodeError("network update", 1, "unknown update")
        _, _, extended_pan_id, update_id, pan_id = struct.unpack_from("<BBQBH", octets)
        return cls(extended_pan_id=extended_pan_id, update_id=update_id, pan_id=pan_id)

    def encode(self) -> bytes:
        return struct.pack(
            "<BBQBH", NwkCommandId.NETWORK_UPDATE, 1, self.extended_pan_id, self.update_id, self.pan_id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDeviceTimeoutRequest:
    """Source: 3.4.11. The time is 10 s for 0, else 2^timeout minutes."""

    timeout: int  # 0..14
    configuration: int = 0

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 3, "end device timeout request")
        return cls(timeout=octets[1], configuration=octets[2])

    def encode(self) -> bytes:
        return bytes((NwkCommandId.END_DEVICE_TIMEOUT_REQUEST, self.timeout, self.configuration))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDeviceTimeoutResponse:
    """Source: 3.4.12."""

    status: int  # 0 success, 1 incorrect value
    parent_information: int  # bit 0: MAC data poll keep-alive, bit 1: timeout request keep-alive

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 3, "end device timeout response")
        return cls(status=octets[1], parent_information=octets[2])

    def encode(self) -> bytes:
        return bytes((NwkCommandId.END_DEVICE_TIMEOUT_RESPONSE, self.status, self.parent_information))


NwkCommand = (
    RouteRequest
    | RouteReply
    | NetworkStatus
    | Leave
    | RouteRecord
    | RejoinRequest
    | RejoinResponse
    | LinkStatus
    | NetworkReport
    | NetworkUpdate
    | EndDeviceTimeoutRequest
    | EndDeviceTimeoutResponse
)

_DECODERS: Final[dict[int, Callable[[bytes], NwkCommand]]] = {
    NwkCommandId.ROUTE_REQUEST: RouteRequest.decode,
    NwkCommandId.ROUTE_REPLY: RouteReply.decode,
    NwkCommandId.NETWORK_STATUS: NetworkStatus.decode,
    NwkCommandId.LEAVE: Leave.decode,
    NwkCommandId.ROUTE_RECORD: RouteRecord.decode,
    NwkCommandId.REJOIN_REQUEST: RejoinRequest.decode,
    NwkCommandId.REJOIN_RESPONSE: RejoinResponse.decode,
    NwkCommandId.LINK_STATUS: LinkStatus.decode,
    NwkCommandId.NETWORK_REPORT: NetworkReport.decode,
    NwkCommandId.NETWORK_UPDATE: NetworkUpdate.decode,
    NwkCommandId.END_DEVICE_TIMEOUT_REQUEST: EndDeviceTimeoutRequest.decode,
    NwkCommandId.END_DEVICE_TIMEOUT_RESPONSE: EndDeviceTimeoutResponse.decode,
}


def decode_nwk_command(octets: bytes) -> NwkCommand:
    """Decrypted NWK command payload, command identifier first. Raises DecodeError."""
    decoder = _DECODERS.get(octets[0]) if octets else None
    if decoder is None:
        raise DecodeError("NWK command", 0, "no or an unknown command identifier")
    return decoder(octets)


def _need(octets: bytes, size: int, what: str) -> None:
    if len(octets) < size:
        raise DecodeError(what, len(octets), "ends too early")
