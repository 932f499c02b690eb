"""Spinel, as far as a radio co-processor speaks it: frames, properties, their packing.

    header (1 octet: flag 10, interface 2 bits, transaction 4 bits) | command (packed) | payload

For the property commands the payload is the property's number (packed) and its value. A packed unsigned
integer has 7 bits an octet, least significant first. Multi-octet integers are little-endian, EUI-64s
big-endian. PSDUs in `STREAM_RAW` have their two FCS octets, which the stick ignores and the host too:
our interface towards the radio has none.

Source: draft-rquattle-spinel-unified-00, 2 (frames), 3 (packing), 4 (commands), 5 (properties);
OpenThread spinel.h for the numbers behind a property and the metadata of STREAM_RAW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, unique
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, Self

from smets1.errors import DecodeError

__all__ = [
    "FCS_OCTETS",
    "MAX_PSDU_OCTETS",
    "Capability",
    "Command",
    "Property",
    "RawReceived",
    "RawTransmit",
    "ScanState",
    "SpinelFrame",
    "Status",
    "TransmitDone",
    "decode_value",
    "encode_value",
    "packed",
    "unpack",
]

_LAYER: Final = "Spinel"
_FLAG: Final = 0b10
FCS_OCTETS: Final = 2
MAX_PSDU_OCTETS: Final = 127
_MAX_PACKED: Final = 0x1F_FFFF  # three octets; spinel.h takes five, of which the draft knows nothing


@unique
class Command(IntEnum):
    """Source: draft 4; spinel.h SPINEL_CMD_*."""

    NOOP = 0
    RESET = 1
    PROP_VALUE_GET = 2
    PROP_VALUE_SET = 3
    PROP_VALUE_INSERT = 4
    PROP_VALUE_REMOVE = 5
    PROP_VALUE_IS = 6
    PROP_VALUE_INSERTED = 7
    PROP_VALUE_REMOVED = 8


@unique
class Status(IntEnum):
    """Values of LAST_STATUS. Source: draft 6; spinel.h SPINEL_STATUS_*."""

    OK = 0
    FAILURE = 1
    UNIMPLEMENTED = 2
    INVALID_ARGUMENT = 3
    INVALID_STATE = 4
    INVALID_COMMAND = 5
    INVALID_INTERFACE = 6
    INTERNAL_ERROR = 7
    SECURITY_ERROR = 8
    PARSE_ERROR = 9
    IN_PROGRESS = 10
    NOMEM = 11
    BUSY = 12
    PROP_NOT_FOUND = 13
    DROPPED = 14
    EMPTY = 15
    CMD_TOO_BIG = 16
    NO_ACK = 17
    CCA_FAILURE = 18
    ALREADY = 19
    ITEM_NOT_FOUND = 20
    INVALID_COMMAND_FOR_PROP = 21
    RESET_POWER_ON = 112
    RESET_EXTERNAL = 113
    RESET_SOFTWARE = 114
    RESET_FAULT = 115
    RESET_CRASH = 116
    RESET_ASSERT = 117
    RESET_OTHER = 118
    RESET_UNKNOWN = 119
    RESET_WATCHDOG = 120

    @staticmethod
    def is_reset(value: int) -> bool:
        """112..127 say that the stick has started again."""
        return 112 <= value < 128


@unique
class Property(IntEnum):
    """Source: draft 5; spinel.h SPINEL_PROP_*."""

    LAST_STATUS = 0
    PROTOCOL_VERSION = 1
    NCP_VERSION = 2
    INTERFACE_TYPE = 3
    VENDOR_ID = 4
    CAPS = 5
    INTERFACE_COUNT = 6
    HWADDR = 8
    PHY_ENABLED = 32
    PHY_CHAN = 33
    PHY_CHAN_SUPPORTED = 34
    PHY_FREQ = 35
    PHY_CCA_THRESHOLD = 36
    PHY_TX_POWER = 37
    PHY_RSSI = 38
    PHY_RX_SENSITIVITY = 39
    MAC_SCAN_STATE = 48
    MAC_SCAN_MASK = 49
    MAC_SCAN_PERIOD = 50
    MAC_15_4_LADDR = 52
    MAC_15_4_SADDR = 53
    MAC_15_4_PANID = 54
    MAC_RAW_STREAM_ENABLED = 55
    MAC_PROMISCUOUS_MODE = 56
    MAC_ENERGY_SCAN_RESULT = 57
    MAC_RX_ON_WHEN_IDLE_MODE = 59
    STREAM_RAW = 113
    RCP_API_VERSION = 176
    RCP_MIN_HOST_API_VERSION = 177
    RADIO_CAPS = 4619
    MAC_SRC_MATCH_ENABLED = 4867
    MAC_SRC_MATCH_SHORT_ADDRESSES = 4868
    MAC_SRC_MATCH_EXTENDED_ADDRESSES = 4869


@unique
class ScanState(IntEnum):
    """Values of MAC_SCAN_STATE."""

    IDLE = 0
    BEACON = 1
    ENERGY = 2
    DISCOVER = 3


@unique
class Capability(IntEnum):
    """Members of CAPS. Source: spinel.h SPINEL_CAP_*."""

    BAND_802_15_4_2450MHZ_OQPSK = 24
    CONFIG_RADIO = 34
    RCP_API_VERSION = 64
    RCP_MIN_HOST_API_VERSION = 65
    MAC_RAW = 513


# --- packing ------------------------------------------------------------------------------------------


def packed(value: int) -> bytes:
    """0..2 097 151 in one to three octets; `packed(1337) == b"\\xb9\\x0a"`."""
    assert 0 <= value <= _MAX_PACKED
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def unpack(octets: bytes, offset: int = 0) -> tuple[int, int]:
    """Off the line: (value, offset behind it). Raises DecodeError."""
    value = 0
    for index in range(3):
        if offset + index >= len(octets):
            raise DecodeError(_LAYER, offset + index, "ends inside a packed integer", Status.PARSE_ERROR)
        octet = octets[offset + index]
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return value, offset + index + 1
    raise DecodeError(_LAYER, offset, "a packed integer of more than three octets", Status.PARSE_ERROR)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a value of a property is packed; the letter is the draft's."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _fixed(code: str) -> _Kind:
    struct = Struct(code)

    def decode(octets: bytes) -> Any:
        try:
            return struct.unpack_from(octets)[0]  # more may follow: fields are only ever appended
        except StructError:
            raise DecodeError(_LAYER, len(octets), "ends inside a value", Status.PARSE_ERROR) from None

    return _Kind(struct.pack, decode)


def _decode_bool(octets: bytes) -> bool:
    if not octets or octets[0] > 1:
        raise DecodeError(_LAYER, 0, "no boolean", Status.PARSE_ERROR)
    return octets[0] == 1


def _decode_packed(octets: bytes) -> int:
    return unpack(octets)[0]


def _decode_all_packed(octets: bytes) -> tuple[int, ...]:
    values, offset = [], 0
    while offset < len(octets):
        value, offset = unpack(octets, offset)
        values.append(value)
    return tuple(values)


def _decode_text(octets: bytes) -> str:
    return octets.partition(b"\0")[0].decode("utf-8", errors="replace")


def _array(code: str) -> _Kind:
    struct = Struct(code)

    def encode(values: Iterable[int]) -> bytes:
        return b"".join(map(struct.pack, values))

    def decode(octets: bytes) -> tuple[int, ...]:
        if len(octets) % struct.size:
            raise DecodeError(_LAYER, len(octets), "ends inside an item of a list", Status.PARSE_ERROR)
        return tuple(value for (value,) in struct.iter_unpack(octets))

    return _Kind(encode, decode)


_BOOL: Final = _Kind(lambda value: bytes((bool(value),)), _decode_bool)
_UINT8: Final = _fixed("<B")
_INT8: Final = _fixed("<b")
_UINT16: Final = _fixed("<H")
_UINT32: Final = _fixed("<L")
_EUI64: Final = _fixed(">Q")
_PACKED: Final = _Kind(packed, _decode_packed)
_ALL_PACKED: Final = _Kind(lambda values: b"".join(map(packed, values)), _decode_all_packed)
_TEXT: Final = _Kind(lambda text: text.encode() + b"\0", _decode_text)
_OCTETS: Final = _Kind(bytes, bytes)

_KINDS: Final[dict[Property, _Kind]] = {
    Property.LAST_STATUS: _PACKED,
    Property.PROTOCOL_VERSION: _ALL_PACKED,
    Property.NCP_VERSION: _TEXT,
    Property.INTERFACE_TYPE: _PACKED,
    Property.VENDOR_ID: _PACKED,
    Property.CAPS: _ALL_PACKED,
    Property.INTERFACE_COUNT: _UINT8,
    Property.HWADDR: _EUI64,
    Property.PHY_ENABLED: _BOOL,
    Property.PHY_CHAN: _UINT8,
    Property.PHY_CHAN_SUPPORTED: _array("<B"),
    Property.PHY_FREQ: _UINT32,
    Property.PHY_CCA_THRESHOLD: _INT8,
    Property.PHY_TX_POWER: _INT8,
    Property.PHY_RSSI: _INT8,
    Property.PHY_RX_SENSITIVITY: _INT8,
    Property.MAC_SCAN_STATE: _UINT8,
    Property.MAC_SCAN_MASK: _array("<B"),
    Property.MAC_SCAN_PERIOD: _UINT16,
    Property.MAC_15_4_LADDR: _EUI64,
    Property.MAC_15_4_SADDR: _UINT16,
    Property.MAC_15_4_PANID: _UINT16,
    Property.MAC_RAW_STREAM_ENABLED: _BOOL,
    Property.MAC_PROMISCUOUS_MODE: _UINT8,
    Property.MAC_ENERGY_SCAN_RESULT: _OCTETS,
    Property.MAC_RX_ON_WHEN_IDLE_MODE: _BOOL,
    Property.STREAM_RAW: _OCTETS,
    Property.RCP_API_VERSION: _PACKED,
    Property.RCP_MIN_HOST_API_VERSION: _PACKED,
    Property.RADIO_CAPS: _PACKED,
    Property.MAC_SRC_MATCH_ENABLED: _BOOL,
    Property.MAC_SRC_MATCH_SHORT_ADDRESSES: _array("<H"),
    Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES: _array(">Q"),
}


def encode_value(prop: Property, value: Any) -> bytes:
    return _KINDS[prop].encode(value)


def decode_value(prop: Property, octets: bytes) -> Any:
    """A property's value off the line. Raises DecodeError."""
    return _KINDS[prop].decode(octets)


# --- frames -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SpinelFrame:
    """One command. For the property commands `prop` is a number and `payload` its value."""

    transaction: int  # 0..15; 0: no answer is expected, or none was asked
    command: int
    prop: int | None = None  # None for commands that name none
    payload: bytes = b""
    interface: int = 0

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """A whole frame off the line, without HDLC. Raises DecodeError."""
        if not octets or octets[0] >> 6 != _FLAG:
            raise DecodeError(_LAYER, 0, "not a Spinel frame")
        command, offset = unpack(octets, 1)
        prop = None
        if Command.PROP_VALUE_GET <= command <= Command.PROP_VALUE_REMOVED:
            prop, offset = unpack(octets, offset)
        return cls(
            transaction=octets[0] & 0x0F,
            interface=octets[0] >> 4 & 0b11,
            command=command,
            prop=prop,
            payload=octets[offset:],
        )

    def encode(self) -> bytes:
        head = bytes((_FLAG << 6 | self.interface << 4 | self.transaction,)) + packed(self.command)
        return head + (b"" if self.prop is None else packed(self.prop)) + self.payload


_TX_META: Final = Struct("<BBB???xLLB")  # the pad is security-processed: neither end secures MAC frames
_RX_META: Final = Struct("<bbHHBBQ")  # rssi, noise floor, flags, length of what follows, channel, lqi, time
_VENDOR_AND_MAC: Final = bytes.fromhex("01000005000000000000")  # receive error 0; ack key 0, counter 0
_PHY_OCTETS: Final = 10
_NO_NOISE_FLOOR: Final = -128
_ACKED_PENDING: Final = 0x0010


def _take_psdu(octets: bytes) -> tuple[bytes, bytes]:
    """A length of two octets and a PSDU with its FCS -> (PSDU without FCS, metadata)."""
    if len(octets) < 2:
        raise DecodeError(_LAYER, len(octets), "ends inside a length", Status.PARSE_ERROR)
    size = int.from_bytes(octets[:2], "little")
    psdu = octets[2 : 2 + size]
    if len(psdu) < size or not FCS_OCTETS < size <= MAX_PSDU_OCTETS:
        raise DecodeError(_LAYER, 2, f"no PSDU of {size} octets", Status.PARSE_ERROR)
    return psdu[:-FCS_OCTETS], octets[2 + size :]


def _put_psdu(psdu: bytes) -> bytes:
    return (len(psdu) + FCS_OCTETS).to_bytes(2, "little") + psdu + bytes(FCS_OCTETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTransmit:
    """Value of STREAM_RAW towards the stick. `psdu`: MAC header and payload, no FCS."""

    psdu: bytes
    channel: int
    backoffs: int = 4
    retries: int = 3
    is_csma: bool = True
    after_channel: int | None = None  # to receive on afterwards; None: the same

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Off the line. All but the channel may be missing. Raises DecodeError."""
        psdu, meta = _take_psdu(octets)
        if not meta:
            raise DecodeError(_LAYER, len(octets), "no channel", Status.PARSE_ERROR)
        return cls(
            psdu=psdu,
            channel=meta[0],
            backoffs=meta[1] if len(meta) > 1 else 4,
            retries=meta[2] if len(meta) > 2 else 3,
            is_csma=meta[3] != 0 if len(meta) > 3 else True,
            after_channel=meta[15] if len(meta) > 15 else None,
        )

    def encode(self) -> bytes:
        after = self.channel if self.after_channel is None else self.after_channel
        meta = _TX_META.pack(
            self.channel, self.backoffs, self.retries, self.is_csma, False, False, 0, 0, after
        )
        return _put_psdu(self.psdu) + meta


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReceived:
    """Value of STREAM_RAW from the stick, and what follows the status of a transmission."""

    psdu: bytes
    rssi_dbm: int
    channel: int
    lqi: int | None  # None where the firmware does not say
    timestamp_us: int = 0
    is_acked_pending: bool = False

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Off the line; firmware that sends less metadata is understood. Raises DecodeError."""
        psdu, meta = _take_psdu(octets)
        rssi_dbm = int.from_bytes(meta[:1], "little", signed=True) if meta else _NO_NOISE_FLOOR
        flags = int.from_bytes(meta[2:4], "little")
        has_phy = len(meta) >= 8
        return cls(
            psdu=psdu,
            rssi_dbm=rssi_dbm,
            channel=meta[6] if has_phy else 0,
            lqi=meta[7] if has_phy else None,
            timestamp_us=int.from_bytes(meta[8:16], "little"),
            is_acked_pending=flags & _ACKED_PENDING != 0,
        )

    def encode(self) -> bytes:
        flags = _ACKED_PENDING if self.is_acked_pending else 0
        meta = _RX_META.pack(
            self.rssi_dbm, _NO_NOISE_FLOOR, flags, _PHY_OCTETS, self.channel, self.lqi or 0, self.timestamp_us
        )
        return _put_psdu(self.psdu) + meta + _VENDOR_AND_MAC


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmitDone:
    """Value of LAST_STATUS that answers a STREAM_RAW: how the transmission ended."""

    status: int
    is_pending: bool = False  # the acknowledgement had its frame-pending bit set

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Off the line; an error may come as the bare status. Raises DecodeError."""
        status, offset = unpack(octets)
        return cls(status=status, is_pending=octets[offset : offset + 1] == b"\1")

    def encode(self) -> bytes:
        """As the firmware does: status, frame pending, header updated, and an acknowledgement, empty here."""
        head = packed(self.status) + bytes((self.is_pending, 0))
        if self.status != Status.OK:
            return head
        no_frame = _RX_META.pack(0, _NO_NOISE_FLOOR, 0, _PHY_OCTETS, 0, 0, 0) + _VENDOR_AND_MAC
        return head + b"\0\0" + no_frame
