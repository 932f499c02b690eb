"""ZigBee device profile messages (profile 0, endpoint 0): transaction number, then fields.

A response's cluster is the request's with bit 15 set. Source: Zigbee 05-3474-21, 2.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Self

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.hardware.radio import SimpleDescriptor

__all__ = [
    "AddressResponse",
    "BindRequest",
    "DeviceAnnce",
    "MatchDescRequest",
    "MgmtLqiResponse",
    "NeighbourRecord",
    "NodeDescriptor",
    "ParentAnnce",
    "ZdpCluster",
    "ZdpReader",
    "ZdpStatus",
    "decode_simple_descriptor",
    "encode_simple_descriptor",
]


@unique
class ZdpCluster(IntEnum):
    """Source: Tables 2.45, 2.72 and 2.91 (requests and announcements)."""

    NWK_ADDR_REQ = 0x0000
    IEEE_ADDR_REQ = 0x0001
    NODE_DESC_REQ = 0x0002
    POWER_DESC_REQ = 0x0003
    SIMPLE_DESC_REQ = 0x0004
    ACTIVE_EP_REQ = 0x0005
    MATCH_DESC_REQ = 0x0006
    DEVICE_ANNCE = 0x0013
    PARENT_ANNCE = 0x001F
    BIND_REQ = 0x0021
    UNBIND_REQ = 0x0022
    MGMT_LQI_REQ = 0x0031
    MGMT_RTG_REQ = 0x0032
    MGMT_BIND_REQ = 0x0033
    MGMT_LEAVE_REQ = 0x0034
    MGMT_PERMIT_JOINING_REQ = 0x0036
    MGMT_NWK_UPDATE_REQ = 0x0038


@unique
class ZdpStatus(IntEnum):
    """Source: Table 2.137."""

    SUCCESS = 0x00
    INV_REQUESTTYPE = 0x80
    DEVICE_NOT_FOUND = 0x81
    INVALID_EP = 0x82
    NOT_ACTIVE = 0x83
    NOT_SUPPORTED = 0x84
    TIMEOUT = 0x85
    NO_MATCH = 0x86
    NO_ENTRY = 0x88
    NO_DESCRIPTOR = 0x89
    INSUFFICIENT_SPACE = 0x8A
    NOT_PERMITTED = 0x8B
    TABLE_FULL = 0x8C
    NOT_AUTHORIZED = 0x8D


class ZdpReader:
    """Reads fields off foreign octets in turn; every read may raise DecodeError, and nothing else."""

    __slots__ = ("octets", "offset", "what")

    def __init__(self, octets: bytes, what: str = "ZDP") -> None:
        self.octets = octets
        self.offset = 0
        self.what = what

    def uint(self, size_octets: int) -> int:
        return int.from_bytes(self.take(size_octets), "little")

    def take(self, size_octets: int) -> bytes:
        end = self.offset + size_octets
        if end > len(self.octets):
            raise DecodeError(self.what, len(self.octets), "ends too early")
        part = self.octets[self.offset : end]
        self.offset = end
        return part

    def clusters(self) -> tuple[int, ...]:
        """A count and as many cluster identifiers."""
        return tuple(self.uint(2) for _ in range(self.uint(1)))


def _cluster_list(clusters: tuple[int, ...]) -> bytes:
    return struct.pack(f"<B{len(clusters)}H", len(clusters), *clusters)


def decode_simple_descriptor(octets: bytes) -> SimpleDescriptor:
    """Octets off the air, length octet not included. Raises DecodeError. Source: 2.3.2.5."""
    reader = ZdpReader(octets, "simple descriptor")
    endpoint, profile, device, version = reader.uint(1), reader.uint(2), reader.uint(2), reader.uint(1)
    return SimpleDescriptor(
        endpoint=endpoint,
        profile_id=profile,
        device_id=device,
        device_version=version & 15,
        input_clusters=reader.clusters(),
        output_clusters=reader.clusters(),
    )


def encode_simple_descriptor(descriptor: SimpleDescriptor) -> bytes:
    head = struct.pack(
        "<BHHB",
        descriptor.endpoint,
        descriptor.profile_id,
        descriptor.device_id,
        descriptor.device_version,
    )
    return head + _cluster_list(descriptor.input_clusters) + _cluster_list(descriptor.output_clusters)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDescriptor:
    """13 octets. Source: 2.3.2.3."""

    logical_type: int  # 0 coordinator, 1 router, 2 end device
    capability: int
    manufacturer_code: int
    maximum_buffer_octets: int = 82
    maximum_incoming_octets: int = 512
    server_mask: int = 0  # bit 0: primary trust centre
    maximum_outgoing_octets: int = 512
    descriptor_capability: int = 0

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        if len(octets) < _NODE_DESCRIPTOR.size:
            raise DecodeError("node descriptor", len(octets), "ends too early")
        kind, _, capability, code, buffer, incoming, servers, outgoing, descriptor = (
            _NODE_DESCRIPTOR.unpack_from(octets)
        )
        return cls(
            logical_type=kind & 7,
            capability=capability,
            manufacturer_code=code,
            maximum_buffer_octets=buffer,
            maximum_incoming_octets=incoming,
            server_mask=servers & 0x7F,
            maximum_outgoing_octets=outgoing,
            descriptor_capability=descriptor,
        )

    def encode(self) -> bytes:
        return _NODE_DESCRIPTOR.pack(
            self.logical_type,
            0x40,  # frequency band 2400 MHz
            self.capability,
            self.manufacturer_code,
            self.maximum_buffer_octets,
            self.maximum_incoming_octets,
            self.server_mask | 21 << 9,  # stack compliance revision 21
            self.maximum_outgoing_octets,
            self.descriptor_capability,
        )


_NODE_DESCRIPTOR: Final = struct.Struct("<BBBHBHHHB")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAnnce:
    """Source: 2.4.3.1.11."""

    short_address: int
    eui64: Eui64
    capability: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        reader = ZdpReader(octets, "device announce")
        return cls(short_address=reader.uint(2), eui64=reader.uint(8), capability=reader.uint(1))

    def encode(self) -> bytes:
        return struct.pack("<HQB", self.short_address, self.eui64, self.capability)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentAnnce:
    """The children that a router believes it has. Source: 2.4.3.1.12."""

    children: tuple[Eui64, ...]

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        reader = ZdpReader(octets, "parent announce")
        return cls(children=tuple(reader.uint(8) for _ in range(reader.uint(1))))

    def encode(self) -> bytes:
        return struct.pack(f"<B{len(self.children)}Q", len(self.children), *self.children)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressResponse:
    """NWK_addr_rsp and IEEE_addr_rsp. Source: 2.4.4.2.1. `associated` None: a single-device response."""

    status: int
    eui64: Eui64
    short_address: int
    start_index: int = 0
    associated: tuple[int, ...] | None = None

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        reader = ZdpReader(octets, "address response")
        status, eui64, short = reader.uint(1), reader.uint(8), reader.uint(2)
        if reader.offset == len(octets):
            return cls(status=status, eui64=eui64, short_address=short)
        count = reader.uint(1)
        start = reader.uint(1) if count else 0
        associated = tuple(reader.uint(2) for _ in range(count))
        return cls(status=status, eui64=eui64, short_address=short, start_index=start, associated=associated)

    def encode(self) -> bytes:
        head = struct.pack("<BQH", self.status, self.eui64, self.short_address)
        if self.associated is None:
            return head
        count = len(self.associated)
        if not count:
            return head + b"\0"
        return head + struct.pack(f"<BB{count}H", count, self.start_index, *self.associated)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchDescRequest:
    """Source: 2.4.3.1.7."""

    short_address: int
    profile_id: int
    input_clusters: tuple[int, ...]
    output_clusters: tuple[int, ...]

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        reader = ZdpReader(octets, "match descriptor request")
        return cls(
            short_address=reader.uint(2),
            profile_id=reader.uint(2),
            input_clusters=reader.clusters(),
            output_clusters=reader.clusters(),
        )

    def encode(self) -> bytes:
        head = struct.pack("<HH", self.short_address, self.profile_id)
        return head + _cluster_list(self.input_clusters) + _cluster_list(self.output_clusters)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindRequest:
    """Bind_req and Unbind_req, and a binding itself. Source: 2.4.3.2.2. One of group and eui64 is None."""

    source: Eui64
    source_endpoint: int
    cluster_id: int
    group: int | None = None
    destination: Eui64 | None = None
    destination_endpoint: int = 0

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        reader = ZdpReader(octets, "bind request")
        source, endpoint, cluster, mode = reader.uint(8), reader.uint(1), reader.uint(2), reader.uint(1)
        if mode == 1:
            group = reader.uint(2)
            return cls(source=source, source_endpoint=endpoint, cluster_id=cluster, group=group)
        if mode != 3:
            raise DecodeError("bind request", reader.offset - 1, "destination address mode")
        return cls(
            source=source,
            source_endpoint=endpoint,
            cluster_id=cluster,
            destination=reader.uint(8),
            destination_endpoint=reader.uint(1),
        )

    def encode(self) -> bytes:
        head = struct.pack("<QBH", self.source, self.source_endpoint, self.cluster_id)
        if self.destination is None:
            return head + struct.pack("<BH", 1, self.group)
        return head + struct.pack("<BQB", 3, self.destination, self.destination_endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourRecord:
    """22 octets. Source: 2.4.4.3.2, Table 2.126."""

    extended_pan_id: int
    eui64: Eui64
    short_address: int
    device_type: int  # 0 coordinator, 1 router, 2 end device, 3 unknown
    rx_on_when_idle: int  # 0, 1; 2 unknown
    relationship: int  # 0 parent, 1 child, 2 sibling, 3 none, 4 previous child
    permit_joining: int  # 0, 1; 2 unknown
    depth: int
    lqi: int

    @classmethod
    def read(cls, reader: ZdpReader) -> Self:
        extended_pan_id, eui64, short = reader.uint(8), reader.uint(8), reader.uint(2)
        kind, permit, depth, lqi = reader.uint(1), reader.uint(1), reader.uint(1), reader.uint(1)
        return cls(
            extended_pan_id=extended_pan_id,
            eui64=eui64,
            short_address=short,
            device_type=kind & 3,
            rx_on_when_idle=kind >> 2 & 3,
            relationship=kind >> 4 & 7,
            permit_joining=permit & 3,
            depth=depth,
            lqi=lqi,
        )

    def encode(self) -> bytes:
        kind = self.device_type | self.rx_on_when_idle << 2 | self.relationship << 4
        return struct.pack(
            "<QQHBBBB",
            self.extended_pan_id,
            self.eui64,
            self.short_address,
            kind,
            self.permit_joining,
            self.depth,
            self.lqi,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MgmtLqiResponse:
    """Source: 2.4.4.3.2."""

    status: int
    total: int
    start_index: int
    neighbours: tuple[NeighbourRecord, ...]

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        reader = ZdpReader(octets, "mgmt LQI response")
        status = reader.uint(1)
        if status:
            return cls(status=status, total=0, start_index=0, neighbours=())
        total, start, count = reader.uint(1), reader.uint(1), reader.uint(1)
        neighbours = tuple(NeighbourRecord.read(reader) for _ in range(count))
        return cls(status=status, total=total, start_index=start, neighbours=neighbours)

    def encode(self) -> bytes:
        if self.status:
            return bytes((self.status,))
        head = bytes((self.status, self.total, self.start_index, len(self.neighbours)))
        return head + b"".join(record.encode() for record in self.neighbours)
