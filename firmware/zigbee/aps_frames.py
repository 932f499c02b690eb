"""APS frames and commands. Source: Zigbee 05-3474-21, 2.2.5 (frames), 4.4.10 (commands)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final, Self

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.light_init import light_init

__all__ = [
    "ApsCommand",
    "ApsCommandId",
    "ApsFrameType",
    "ApsHeader",
    "DeliveryMode",
    "Fragment",
    "KeyType",
    "RemoveDevice",
    "RequestKey",
    "SwitchKey",
    "TransportKey",
    "Tunnel",
    "UpdateDevice",
    "UpdateStatus",
    "command_header",
    "decode_aps_command",
]


@unique
class ApsFrameType(IntEnum):
    """Source: Table 2.20."""

    DATA = 0
    COMMAND = 1
    ACKNOWLEDGEMENT = 2
    INTER_PAN = 3


@unique
class DeliveryMode(IntEnum):
    """Source: Table 2.21."""

    UNICAST = 0
    BROADCAST = 2
    GROUP = 3


@unique
class Fragment(IntEnum):
    """Fragmentation sub-field of the extended frame control. Source: Table 2.22."""

    NONE = 0
    FIRST = 1
    PART = 2


@unique
class ApsCommandId(IntEnum):
    """Source: Table 4.28."""

    TRANSPORT_KEY = 0x05
    UPDATE_DEVICE = 0x06
    REMOVE_DEVICE = 0x07
    REQUEST_KEY = 0x08
    SWITCH_KEY = 0x09
    TUNNEL = 0x0E
    VERIFY_KEY = 0x0F
    CONFIRM_KEY = 0x10


@unique
class KeyType(IntEnum):
    """Source: Table 4.9 (Transport-Key); 4.4.6 (Request-Key uses 2 for an application key)."""

    TRUST_CENTRE_MASTER = 0x00
    STANDARD_NETWORK = 0x01
    APPLICATION_MASTER = 0x02
    APPLICATION_LINK = 0x03
    TRUST_CENTRE_LINK = 0x04


@unique
class UpdateStatus(IntEnum):
    """Source: Table 4.14."""

    STANDARD_SECURED_REJOIN = 0
    STANDARD_UNSECURED_JOIN = 1
    DEVICE_LEFT = 2
    STANDARD_TRUST_CENTRE_REJOIN = 3


_ACK_FORMAT: Final = 0x10
_SECURITY: Final = 0x20
_ACK_REQUEST: Final = 0x40
_EXTENDED: Final = 0x80
_FRAME_TYPES: Final = tuple(ApsFrameType)
_DELIVERY: Final = {0: DeliveryMode.UNICAST, 2: DeliveryMode.BROADCAST, 3: DeliveryMode.GROUP}
_UNICAST: Final = struct.Struct("<BBHHBB")
_GROUP: Final = struct.Struct("<BHHHBB")


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class ApsHeader:
    """APS header without the auxiliary security header; 2 to 12 octets. Source: 2.2.5.1."""

    frame_type: ApsFrameType
    counter: int  # 0..255
    delivery: DeliveryMode = DeliveryMode.UNICAST
    is_secured: bool = False
    wants_ack: bool = False
    is_command_ack: bool = False  # acknowledgement of a command: no endpoints
    destination_endpoint: int = 0
    group: int | None = None  # with GROUP delivery, in place of the destination endpoint
    cluster_id: int = 0
    profile_id: int = 0
    source_endpoint: int = 0
    fragment: Fragment = Fragment.NONE
    block: int = 0  # FIRST in a data frame: how many blocks there are; else the block's number
    ack_bits: int = 0  # acknowledgement of a fragment: the blocks of its window that arrived

    @classmethod
    def decode(cls, octets: bytes) -> tuple[Self, int]:
        """Foreign octets -> header and the offset of what follows. Raises DecodeError."""
        if len(octets) < 2:
            raise DecodeError("APS", len(octets), "shorter than a header")
        control = octets[0]
        frame_type = _FRAME_TYPES[control & 3]
        if frame_type is ApsFrameType.INTER_PAN:
            raise DecodeError("APS", 0, "inter-PAN frame")
        delivery = _DELIVERY.get(control >> 2 & 3)
        if delivery is None:
            raise DecodeError("APS", 0, "reserved delivery mode")
        is_secured, wants_ack = control & _SECURITY != 0, control & _ACK_REQUEST != 0
        if frame_type is ApsFrameType.COMMAND or (
            frame_type is ApsFrameType.ACKNOWLEDGEMENT and control & _ACK_FORMAT
        ):
            header = cls(
                frame_type=frame_type,
                counter=octets[1],
                delivery=delivery,
                is_secured=is_secured,
                wants_ack=wants_ack,
                is_command_ack=frame_type is ApsFrameType.ACKNOWLEDGEMENT,
            )
            return header, 2
        is_group = delivery is DeliveryMode.GROUP
        codec = _GROUP if is_group else _UNICAST
        if len(octets) < codec.size:
            raise DecodeError("APS", len(octets), "ends inside the addresses")
        _, destination, cluster_id, profile_id, source_endpoint, counter = codec.unpack_from(octets)
        offset = codec.size
        fragment, block, ack_bits = Fragment.NONE, 0, 0
        if control & _EXTENDED:
            is_ack = frame_type is ApsFrameType.ACKNOWLEDGEMENT
            fragment, block, ack_bits, offset = _decode_extended(octets, offset, is_ack)
        header = cls(
            frame_type=frame_type,
            counter=counter,
            delivery=delivery,
            is_secured=is_secured,
            wants_ack=wants_ack,
            destination_endpoint=0 if is_group else destination,
            group=destination if is_group else None,
            cluster_id=cluster_id,
            profile_id=profile_id,
            source_endpoint=source_endpoint,
            fragment=fragment,
            block=block,
            ack_bits=ack_bits,
        )
        return header, offset

    def encode(self) -> bytes:
        control = self.frame_type | self.delivery << 2
        control |= _SECURITY if self.is_secured else 0
        control |= _ACK_REQUEST if self.wants_ack else 0
        if self.frame_type is ApsFrameType.COMMAND:
            return bytes((control, self.counter))
        if self.is_command_ack:
            return bytes((control | _ACK_FORMAT, self.counter))
        tail = b""
        if self.fragment is not Fragment.NONE:
            control |= _EXTENDED
            tail = bytes((self.fragment, self.block))
            if self.frame_type is ApsFrameType.ACKNOWLEDGEMENT:
                tail += bytes((self.ack_bits,))
        codec = _UNICAST if self.group is None else _GROUP
        destination = self.destination_endpoint if self.group is None else self.group
        head = codec.pack(
            control, destination, self.cluster_id, self.profile_id, self.source_endpoint, self.counter
        )
        return head + tail


def _decode_extended(octets: bytes, offset: int, is_ack: bool) -> tuple[Fragment, int, int, int]:
    if len(octets) <= offset:
        raise DecodeError("APS", len(octets), "ends before the extended header")
    kind = octets[offset] & 3
    if kind == 3:
        raise DecodeError("APS", offset, "reserved fragmentation value")
    if kind == Fragment.NONE:
        return Fragment.NONE, 0, 0, offset + 1
    end = offset + (3 if is_ack else 2)
    if len(octets) < end:
        raise DecodeError("APS", len(octets), "ends inside the extended header")
    return Fragment(kind), octets[offset + 1], octets[offset + 2] if is_ack else 0, end


def command_header(counter: int, *, is_secured: bool) -> bytes:
    return bytes((ApsFrameType.COMMAND | (_SECURITY if is_secured else 0), counter))


# --- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportKey:
    """Source: 4.4.10.1. What follows the key depends on its type."""

    key_type: KeyType
    key: bytes = field(repr=False)  # 16 octets
    key_sequence: int = 0  # network key
    destination: Eui64 = 0  # network key and trust-centre link key
    source: Eui64 = 0  # network key and trust-centre link key: the trust centre
    partner: Eui64 = 0  # application key
    is_initiator: bool = False  # application key: the receiver asked for it

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 18, "transport key")
        kind, key = octets[1], octets[2:18]
        if kind == KeyType.STANDARD_NETWORK:
            _need(octets, 35, "transport key")
            sequence, destination, source = struct.unpack_from("<BQQ", octets, 18)
            return cls(
                key_type=KeyType(kind), key=key, key_sequence=sequence, destination=destination, source=source
            )
        if kind == KeyType.TRUST_CENTRE_LINK:
            _need(octets, 34, "transport key")
            destination, source = struct.unpack_from("<QQ", octets, 18)
            return cls(key_type=KeyType(kind), key=key, destination=destination, source=source)
        if kind == KeyType.APPLICATION_LINK:
            _need(octets, 27, "transport key")
            partner, initiator = struct.unpack_from("<QB", octets, 18)
            return cls(key_type=KeyType(kind), key=key, partner=partner, is_initiator=initiator == 1)
        raise DecodeError("transport key", 1, f"key type 0x{kind:02X}")

    def encode(self) -> bytes:
        head = bytes((ApsCommandId.TRANSPORT_KEY, self.key_type)) + self.key
        if self.key_type is KeyType.APPLICATION_LINK:
            return head + struct.pack("<QB", self.partner, self.is_initiator)
        addresses = struct.pack("<QQ", self.destination, self.source)
        if self.key_type is KeyType.STANDARD_NETWORK:
            return head + bytes((self.key_sequence,)) + addresses
        return head + addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateDevice:
    """Source: 4.4.10.2."""

    device: Eui64
    short_address: int
    status: int  # UpdateStatus, or a code not known here

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 12, "update device")
        _, device, short_address, status = struct.unpack_from("<BQHB", octets)
        return cls(device=device, short_address=short_address, status=status)

    def encode(self) -> bytes:
        return struct.pack("<BQHB", ApsCommandId.UPDATE_DEVICE, self.device, self.short_address, self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDevice:
    """Source: 4.4.10.3."""

    target: Eui64

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 9, "remove device")
        return cls(target=int.from_bytes(octets[1:9], "little"))

    def encode(self) -> bytes:
        return struct.pack("<BQ", ApsCommandId.REMOVE_DEVICE, self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """Source: 4.4.10.4. Key type 2: application link key with `partner`; 4: trust-centre link key."""

    key_type: int
    partner: Eui64 | None

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 2, "request key")
        if octets[1] == KeyType.TRUST_CENTRE_LINK:
            return cls(key_type=octets[1], partner=None)
        if octets[1] != KeyType.APPLICATION_MASTER:
            raise DecodeError("request key", 1, f"key type 0x{octets[1]:02X}")
        _need(octets, 10, "request key")
        return cls(key_type=octets[1], partner=int.from_bytes(octets[2:10], "little"))

    def encode(self) -> bytes:
        partner = b"" if self.partner is None else self.partner.to_bytes(8, "little")
        return bytes((ApsCommandId.REQUEST_KEY, self.key_type)) + partner


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchKey:
    """Source: 4.4.10.5."""

    key_sequence: int

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 2, "switch key")
        return cls(key_sequence=octets[1])

    def encode(self) -> bytes:
        return bytes((ApsCommandId.SWITCH_KEY, self.key_sequence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """Source: 4.4.10.6. `frame`: a whole protected APS frame for a device that has no network key yet."""

    destination: Eui64
    frame: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        _need(octets, 10, "tunnel")
        return cls(destination=int.from_bytes(octets[1:9], "little"), frame=octets[9:])

    def encode(self) -> bytes:
        return struct.pack("<BQ", ApsCommandId.TUNNEL, self.destination) + self.frame


ApsCommand = TransportKey | UpdateDevice | RemoveDevice | RequestKey | SwitchKey | Tunnel

_DECODERS: Final[dict[int, Callable[[bytes], ApsCommand]]] = {
    ApsCommandId.TRANSPORT_KEY: TransportKey.decode,
    ApsCommandId.UPDATE_DEVICE: UpdateDevice.decode,
    ApsCommandId.REMOVE_DEVICE: RemoveDevice.decode,
    ApsCommandId.REQUEST_KEY: RequestKey.decode,
    ApsCommandId.SWITCH_KEY: SwitchKey.decode,
    ApsCommandId.TUNNEL: Tunnel.decode,
}


def decode_aps_command(octets: bytes) -> ApsCommand:
    """Decrypted APS command payload, command identifier first. Raises DecodeError."""
    decoder = _DECODERS.get(octets[0]) if octets else None
    if decoder is None:
        raise DecodeError("APS command", 0, "no or an unknown command identifier")
    return decoder(octets)


def _need(octets: bytes, size: int, what: str) -> None:
    if len(octets) < size:
        raise DecodeError(what, len(octets), "ends too early")
