"""IEEE 802.15.4 MAC frames as ZigBee uses them: no MAC security, beaconless. FCS is the radio's affair.

Source: IEEE 802.15.4-2006, 7.2 (frames), 7.3 (commands); beacon payload: Zigbee 05-3474-21, 3.6.7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Self

from smets1.errors import DecodeError

__all__ = [
    "AddressMode",
    "AssociationRequest",
    "AssociationResponse",
    "AssociationStatus",
    "Beacon",
    "CoordinatorRealignment",
    "MacCommand",
    "MacFrame",
    "MacFrameType",
    "ZigbeeBeacon",
    "data_frame",
    "split_data_frame",
]


@unique
class MacFrameType(IntEnum):
    """Source: IEEE 802.15.4-2006, Table 79."""

    BEACON = 0
    DATA = 1
    ACKNOWLEDGMENT = 2
    MAC_COMMAND = 3


@unique
class AddressMode(IntEnum):
    """Source: IEEE 802.15.4-2006, Table 80."""

    NONE = 0
    SHORT = 2
    EXTENDED = 3


@unique
class MacCommand(IntEnum):
    """Source: IEEE 802.15.4-2006, Table 82."""

    ASSOCIATION_REQUEST = 0x01
    ASSOCIATION_RESPONSE = 0x02
    DISASSOCIATION_NOTIFICATION = 0x03
    DATA_REQUEST = 0x04
    PAN_ID_CONFLICT_NOTIFICATION = 0x05
    ORPHAN_NOTIFICATION = 0x06
    BEACON_REQUEST = 0x07
    COORDINATOR_REALIGNMENT = 0x08
    GTS_REQUEST = 0x09


@unique
class AssociationStatus(IntEnum):
    """Source: IEEE 802.15.4-2006, Table 83."""

    SUCCESSFUL = 0x00
    PAN_AT_CAPACITY = 0x01
    PAN_ACCESS_DENIED = 0x02


_SECURITY: Final = 0x0008
_PENDING: Final = 0x0010
_ACK_REQUEST: Final = 0x0020
_COMPRESSION: Final = 0x0040
_LAYOUT_BITS: Final = 0xCC40
_SHORT_TO_SHORT: Final = 0x8840

_MODE_CODE: Final = {AddressMode.NONE: "", AddressMode.SHORT: "H", AddressMode.EXTENDED: "Q"}


def _layouts() -> dict[int, tuple[AddressMode, AddressMode, bool, struct.Struct]]:
    layouts = {}
    for dst in AddressMode:
        for src in AddressMode:
            for is_intra_pan in (False, True):
                if is_intra_pan and not (dst and src):
                    continue  # compression needs two addresses: such a frame is foreign
                code = "<HB" + ("H" + _MODE_CODE[dst] if dst else "")
                code += ("" if is_intra_pan else "H") + _MODE_CODE[src] if src else ""
                bits = dst << 10 | src << 14 | (_COMPRESSION if is_intra_pan else 0)
                layouts[bits] = (dst, src, is_intra_pan, struct.Struct(code))
    return layouts


_LAYOUTS: Final = _layouts()
_FRAME_TYPES: Final = tuple(MacFrameType)
_DATA_HEADER: Final = struct.Struct("<HBHHH")


@dataclass(frozen=True, slots=True, kw_only=True)
class MacFrame:
    """MAC header and payload; 3 to 23 octets of header. Source: IEEE 802.15.4-2006, 7.2.1."""

    frame_type: MacFrameType
    sequence: int  # 0..255
    destination_mode: AddressMode = AddressMode.NONE
    destination_pan: int | None = None
    destination: int | None = None  # 16 or 64 bits, as the mode says
    source_mode: AddressMode = AddressMode.NONE
    source_pan: int | None = None
    source: int | None = None
    payload: bytes = b""
    wants_ack: bool = False
    is_pending: bool = False

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """A frame off the air, no FCS. Raises DecodeError, and no other exception."""
        if len(octets) < 3:
            raise DecodeError("MAC", len(octets), "shorter than a frame control field and a sequence number")
        control = octets[0] | octets[1] << 8
        layout = _LAYOUTS.get(control & _LAYOUT_BITS)
        if layout is None:
            raise DecodeError("MAC", 0, f"addressing of frame control 0x{control:04X}")
        if control & 7 > 3 or control & _SECURITY or control & 0x2000:
            raise DecodeError("MAC", 0, f"type, security or version of frame control 0x{control:04X}")
        destination_mode, source_mode, is_intra_pan, codec = layout
        if len(octets) < codec.size:
            raise DecodeError("MAC", len(octets), "ends inside the addresses")
        fields = codec.unpack_from(octets)
        destination_pan = destination = source_pan = source = None
        if destination_mode:
            destination_pan, destination = fields[2], fields[3]
        if source_mode:
            source_pan, source = (destination_pan if is_intra_pan else fields[-2]), fields[-1]
        return cls(
            frame_type=_FRAME_TYPES[control & 7],
            sequence=fields[1],
            destination_mode=destination_mode,
            destination_pan=destination_pan,
            destination=destination,
            source_mode=source_mode,
            source_pan=source_pan,
            source=source,
            payload=octets[codec.size :],
            wants_ack=control & _ACK_REQUEST != 0,
            is_pending=control & _PENDING != 0,
        )

    def encode(self) -> bytes:
        dst, src = self.destination_mode, self.source_mode
        is_intra_pan = bool(dst and src and self.destination_pan == self.source_pan)
        control = self.frame_type | dst << 10 | src << 14
        control |= _PENDING if self.is_pending else 0
        control |= _ACK_REQUEST if self.wants_ack else 0
        control |= _COMPRESSION if is_intra_pan else 0
        fields: list[int | None] = [control, self.sequence]
        if dst:
            fields += [self.destination_pan, self.destination]
        if src:
            fields += [self.source] if is_intra_pan else [self.source_pan, self.source]
        return _LAYOUTS[control & _LAYOUT_BITS][3].pack(*fields) + self.payload


def data_frame(
    pan_id: int, destination: int, source: int, sequence: int, payload: bytes, *, wants_ack: bool
) -> bytes:
    """The one frame that matters for speed: data, short to short inside a PAN."""
    control = 0x8861 if wants_ack else 0x8841
    return _DATA_HEADER.pack(control, sequence, pan_id, destination, source) + payload


def split_data_frame(octets: bytes) -> tuple[int, int, int, bytes] | None:
    """(PAN, destination, source, payload) of such a frame off the air, whatever its acknowledgement and

    pending bits; None for any other octets. A short address without PAN compression is `MacFrame`'s affair.
    """
    if len(octets) < _DATA_HEADER.size or octets[1] & 0xEC != 0x88 or octets[0] & 0x4F != 0x41:
        return None
    _, _, pan_id, destination, source = _DATA_HEADER.unpack_from(octets)
    return pan_id, destination, source, octets[_DATA_HEADER.size :]


# --- payloads -----------------------------------------------------------------------------------

_ZIGBEE_BEACON: Final = struct.Struct("<BBBQ3sB")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZigbeeBeacon:
    """Beacon payload, 15 octets. Source: Zigbee 05-3474-21, Table 3.56."""

    stack_profile: int = 2
    protocol_version: int = 2
    has_router_capacity: bool
    depth: int  # 0..15
    has_end_device_capacity: bool
    extended_pan_id: int
    update_id: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Beacon payload off the air; more octets may follow (later revisions add some)."""
        if len(octets) < _ZIGBEE_BEACON.size:
            raise DecodeError("beacon payload", len(octets), "ends too early")
        protocol, versions, capacity, extended_pan_id, _, update_id = _ZIGBEE_BEACON.unpack_from(octets)
        if protocol != 0:
            raise DecodeError("beacon payload", 0, "not ZigBee")
        return cls(
            stack_profile=versions & 15,
            protocol_version=versions >> 4,
            has_router_capacity=capacity & 0x04 != 0,
            depth=(capacity >> 3) & 15,
            has_end_device_capacity=capacity & 0x80 != 0,
            extended_pan_id=extended_pan_id,
            update_id=update_id,
        )

    def encode(self) -> bytes:
        capacity = (0x04 if self.has_router_capacity else 0) | self.depth << 3
        capacity |= 0x80 if self.has_end_device_capacity else 0
        versions = self.protocol_version << 4 | self.stack_profile
        # transmission offset FFFFFF: a beaconless network has none
        return _ZIGBEE_BEACON.pack(
            0, versions, capacity, self.extended_pan_id, b"\xff\xff\xff", self.update_id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """Payload of a beacon frame of a beaconless PAN. Source: IEEE 802.15.4-2006, 7.2.2.1."""

    is_pan_coordinator: bool
    permits_association: bool
    payload: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        if len(octets) < 4:
            raise DecodeError("beacon", len(octets), "ends too early")
        superframe = octets[0] | octets[1] << 8
        gts_count = octets[2] & 7
        offset = 3 + (1 + 3 * gts_count if gts_count else 0)
        if len(octets) <= offset:
            raise DecodeError("beacon", len(octets), "ends inside the GTS fields")
        pending = octets[offset]
        offset += 1 + 2 * (pending & 7) + 8 * (pending >> 4 & 7)
        if len(octets) < offset:
            raise DecodeError("beacon", len(octets), "ends inside the pending addresses")
        return cls(
            is_pan_coordinator=superframe & 0x4000 != 0,
            permits_association=superframe & 0x8000 != 0,
            payload=octets[offset:],
        )

    def encode(self) -> bytes:
        superframe = 0x0FFF | (0x4000 if self.is_pan_coordinator else 0)
        superframe |= 0x8000 if self.permits_association else 0
        return superframe.to_bytes(2, "little") + b"\0\0" + self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    capability: int  # capability information, 7.3.1.2

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """The whole command payload, command identifier first."""
        _need(octets, 2, "association request")
        return cls(capability=octets[1])

    def encode(self) -> bytes:
        return bytes((MacCommand.ASSOCIATION_REQUEST, self.capability))


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationResponse:
    short_address: int
    status: int  # AssociationStatus, or a code not known here

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 4, "association response")
        return cls(short_address=octets[1] | octets[2] << 8, status=octets[3])

    def encode(self) -> bytes:
        return struct.pack("<BHB", MacCommand.ASSOCIATION_RESPONSE, self.short_address, self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorRealignment:
    pan_id: int
    coordinator_short: int
    channel: int
    short_address: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 8, "coordinator realignment")
        _, pan_id, coordinator, channel, short = struct.unpack_from("<BHHBH", octets)
        return cls(pan_id=pan_id, coordinator_short=coordinator, channel=channel, short_address=short)

    def encode(self) -> bytes:
        return struct.pack(
            "<BHHBH",
            MacCommand.COORDINATOR_REALIGNMENT,
            self.pan_id,
            self.coordinator_short,
            self.channel,
            self.short_address,
        )


def _need(octets: bytes, size: int, what: str) -> None:
    if len(octets) < size:
        raise DecodeError(what, len(octets), "ends too early")
