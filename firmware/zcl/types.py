"""ZCL data types: identifier, width, "not available" value, octets.

Numbers, enumerations, bitmaps, general data, times and identifiers are plain ints, kept as they
stand on the air: the "not available" value (`ZclType.invalid`) is *not* turned into None by a
decoder, because many Smart Energy fields give all-ones a meaning of their own (a start time of
0xFFFFFFFF, "until further notice"). Strings, arrays and booleans, which have a length or octet that can
mean nothing else, do decode to None. Every encoder writes "not available" for None.

| kind                                   | value in Python                                  |
|----------------------------------------|--------------------------------------------------|
| data, bitmap, uint, int, enum, id, UTC | int                                              |
| boolean                                | bool, None                                       |
| octet string, long octet string        | bytes, None                                      |
| character string, long one             | str, None (UTF-8; foreign octets kept, escaped)  |
| semi, single, double precision         | float (NaN: not available)                       |
| date, time of day                      | ZclDate, ZclTimeOfDay                            |
| array, set, bag                        | ZclArray, None                                   |
| structure                              | ZclStruct, None                                  |
| 128-bit security key                   | bytes (16)                                       |

Source: ZCL 07-5123 rev 7, 2.6.2, table 2-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from struct import Struct
from struct import error as struct_error
from typing import Any, Final, NamedTuple, TypeAlias

from smets1.errors import DecodeError, MisuseError
from smets1.firmware.zcl.status import Status, malformed

__all__ = [
    "BY_ID",
    "BY_NAME",
    "MAX_DEPTH",
    "Kind",
    "Value",
    "ZclArray",
    "ZclDate",
    "ZclStruct",
    "ZclTimeOfDay",
    "ZclType",
    "type_of",
]

Value: TypeAlias = Any
"""What one of the types above decodes to."""

MAX_DEPTH: Final = 15  # nesting of arrays and structures. Source: 2.6.2.16


@unique
class Kind(IntEnum):
    """How a change of value is judged when reporting. Source: table 2-10, column "Analog/Discrete"."""

    DISCRETE = 0
    ANALOG = 1  # a reportable change is a difference
    COMPOSITE = 2  # not reportable


class ZclDate(NamedTuple):
    """0xFF in any part: not specified. Source: 2.6.2.18."""

    year_1900: int  # years since 1900
    month: int
    day: int
    weekday: int  # 1 Monday .. 7 Sunday


class ZclTimeOfDay(NamedTuple):
    """0xFF in any part: not specified. Source: 2.6.2.17."""

    hour: int
    minute: int
    second: int
    hundredth: int


class ZclArray(NamedTuple):
    """Array, set or bag."""

    element_type: int
    elements: tuple[Value, ...]


class ZclStruct(NamedTuple):
    """Members as (type identifier, value)."""

    members: tuple[tuple[int, Value], ...]


Decoder: TypeAlias = Callable[[bytes, int], tuple[Value, int]]
Encoder: TypeAlias = Callable[[Value], bytes]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZclType:
    """One row of table 2-10. There is one object a type, so `is` compares."""

    type_id: int
    name: str  # short form used in our tables: u48, bm8, octstr
    size: int | None  # octets; None: variable
    kind: Kind
    invalid: Value  # "not available" as decoded; None where the type has none or decodes it to None
    minimum: int | None = None  # of integer types
    maximum: int | None = None
    format: str = ""  # struct code of fixed types ("3s" where struct has none of that width)
    is_signed: bool = False
    decode: Decoder = field(repr=False)
    """(octets, offset) -> (value, offset behind it). Raises DecodeError for octets it cannot accept."""
    encode: Encoder = field(repr=False)
    """Value -> octets. Raises MisuseError for a value that the type cannot hold."""

    def __repr__(self) -> str:
        return f"<ZclType {self.name} 0x{self.type_id:02X}>"


# --- fixed-size integers ------------------------------------------------------------------------------


def _short(offset: int, name: str) -> DecodeError:
    return malformed(offset, f"{name}: octets end too early")


def _int_codec(name: str, size: int, signed: bool, invalid: int | None) -> tuple[Decoder, Encoder]:
    """Little-endian integer of `size` octets; struct where it has the width, from_bytes where not."""
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(size)
    low, high = (-(1 << size * 8 - 1), (1 << size * 8 - 1) - 1) if signed else (0, (1 << size * 8) - 1)
    packer = Struct("<" + (code.lower() if signed else code)) if code else None

    if packer is not None:
        unpack = packer.unpack_from

        def decode(octets: bytes, offset: int) -> tuple[Value, int]:
            try:
                return unpack(octets, offset)[0], offset + size
            except struct_error:
                raise _short(offset, name) from None
    else:
        from_bytes = int.from_bytes

        def decode(octets: bytes, offset: int) -> tuple[Value, int]:
            end = offset + size
            if end > len(octets):
                raise _short(offset, name)
            return from_bytes(octets[offset:end], "little", signed=signed), end

    def encode(value: Value) -> bytes:
        if value is None:
            value = invalid
        if not isinstance(value, int) or not low <= value <= high:
            raise MisuseError(f"{name} cannot hold {value!r}")
        return value.to_bytes(size, "little", signed=signed)

    return decode, encode


def _integer(
    type_id: int, name: str, size: int, kind: Kind, *, signed: bool = False, has_invalid: bool
) -> ZclType:
    bits = size * 8
    # all ones for unsigned, the one negative number without a positive twin for signed ones
    invalid = None if not has_invalid else -(1 << bits - 1) if signed else (1 << bits) - 1
    decode, encode = _int_codec(name, size, signed, invalid)
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(size)
    return ZclType(
        type_id=type_id,
        name=name,
        size=size,
        kind=kind,
        invalid=invalid,
        minimum=-(1 << bits - 1) if signed else 0,
        maximum=(1 << bits - 1) - 1 if signed else (1 << bits) - 1,
        format=f"{size}s" if code is None else code.lower() if signed else code,
        is_signed=signed,
        decode=decode,
        encode=encode,
    )


# --- other fixed-size types ---------------------------------------------------------------------------


def _decode_nothing(octets: bytes, offset: int) -> tuple[Value, int]:
    return None, offset


def _encode_nothing(value: Value) -> bytes:
    return b""


def _decode_bool(octets: bytes, offset: int) -> tuple[Value, int]:
    if offset >= len(octets):
        raise _short(offset, "bool")
    octet = octets[offset]
    if octet == 0xFF:
        return None, offset + 1
    if octet > 1:
        raise malformed(offset, f"boolean 0x{octet:02X}", Status.INVALID_VALUE)
    return octet == 1, offset + 1


def _encode_bool(value: Value) -> bytes:
    return b"\xff" if value is None else b"\x01" if value else b"\x00"


def _float_codec(name: str, code: str) -> tuple[Decoder, Encoder]:
    packer = Struct("<" + code)

    def decode(octets: bytes, offset: int) -> tuple[Value, int]:
        try:
            return packer.unpack_from(octets, offset)[0], offset + packer.size
        except struct_error:
            raise _short(offset, name) from None

    def encode(value: Value) -> bytes:
        try:
            return packer.pack(math.nan if value is None else value)
        except (struct_error, OverflowError) as error:
            raise MisuseError(f"{name} cannot hold {value!r}: {error}") from None

    return decode, encode


def _quad_codec(name: str, form: type[ZclDate] | type[ZclTimeOfDay]) -> tuple[Decoder, Encoder]:
    def decode(octets: bytes, offset: int) -> tuple[Value, int]:
        if offset + 4 > len(octets):
            raise _short(offset, name)
        return form(*octets[offset : offset + 4]), offset + 4

    def encode(value: Value) -> bytes:
        try:
            return b"\xff\xff\xff\xff" if value is None else bytes(form(*value))
        except (TypeError, ValueError) as error:
            raise MisuseError(f"{name} cannot hold {value!r}: {error}") from None

    return decode, encode


def _decode_key(octets: bytes, offset: int) -> tuple[Value, int]:
    if offset + 16 > len(octets):
        raise _short(offset, "key128")
    return bytes(octets[offset : offset + 16]), offset + 16


def _encode_key(value: Value) -> bytes:
    if not isinstance(value, bytes | bytearray) or len(value) != 16:
        raise MisuseError("a security key has 16 octets")  # never prints the value
    return bytes(value)


# --- strings ------------------------------------------------------------------------------------------


def _string_codec(name: str, prefix_size: int, is_text: bool) -> tuple[Decoder, Encoder]:
    """A length of all ones means "not available" (None)."""
    unset = (1 << prefix_size * 8) - 1

    def decode(octets: bytes, offset: int) -> tuple[Value, int]:
        start = offset + prefix_size
        if start > len(octets):
            raise _short(offset, name)
        size = octets[offset] if prefix_size == 1 else octets[offset] | octets[offset + 1] << 8
        if size == unset:
            return None, start
        end = start + size
        if end > len(octets):
            raise _short(start, name)
        content = octets[start:end]
        return content.decode("utf-8", "surrogateescape") if is_text else bytes(content), end

    def encode(value: Value) -> bytes:
        if value is None:
            return unset.to_bytes(prefix_size, "little")
        if isinstance(value, str) and is_text:
            content = value.encode("utf-8", "surrogateescape")
        elif isinstance(value, bytes | bytearray) and not is_text:
            content = bytes(value)
        else:
            raise MisuseError(f"{name} cannot hold {type(value).__name__}")
        if len(content) >= unset:
            raise MisuseError(f"{name} cannot hold {len(content)} octets")
        return len(content).to_bytes(prefix_size, "little") + content

    return decode, encode


# --- composites ---------------------------------------------------------------------------------------

_COUNT = Struct("<H")


def _decode_member(octets: bytes, offset: int, type_id: int, depth: int) -> tuple[Value, int]:
    if type_id == 0x4C:
        return _decode_struct(octets, offset, depth + 1)
    if type_id in (0x48, 0x50, 0x51):
        return _decode_array(octets, offset, depth + 1)
    zcl_type = BY_ID.get(type_id)
    if zcl_type is None or zcl_type.size == 0:
        raise malformed(offset, f"member of type 0x{type_id:02X}", Status.INVALID_DATA_TYPE)
    return zcl_type.decode(octets, offset)


def _decode_array(octets: bytes, offset: int, depth: int = 0) -> tuple[Value, int]:
    if depth > MAX_DEPTH:
        raise malformed(offset, "nested too deeply")
    if offset + 3 > len(octets):
        raise _short(offset, "array")
    element_type, count = octets[offset], octets[offset + 1] | octets[offset + 2] << 8
    offset += 3
    if count == 0xFFFF:
        return None, offset
    elements = []
    for _ in range(count):
        element, offset = _decode_member(octets, offset, element_type, depth)
        elements.append(element)
    return ZclArray(element_type, tuple(elements)), offset


def _encode_array(value: Value) -> bytes:
    if value is None:
        return b"\xff\xff\xff"
    if not isinstance(value, ZclArray) or len(value.elements) >= 0xFFFF:
        raise MisuseError("an array is a ZclArray of less than 65535 elements")
    element_type = type_of(value.element_type)
    head = bytes((value.element_type,)) + _COUNT.pack(len(value.elements))
    return head + b"".join(element_type.encode(element) for element in value.elements)


def _decode_struct(octets: bytes, offset: int, depth: int = 0) -> tuple[Value, int]:
    if depth > MAX_DEPTH:
        raise malformed(offset, "nested too deeply")
    if offset + 2 > len(octets):
        raise _short(offset, "struct")
    count = octets[offset] | octets[offset + 1] << 8
    offset += 2
    if count == 0xFFFF:
        return None, offset
    members = []
    for _ in range(count):
        if offset >= len(octets):
            raise _short(offset, "struct")
        type_id = octets[offset]
        member, offset = _decode_member(octets, offset + 1, type_id, depth)
        members.append((type_id, member))
    return ZclStruct(tuple(members)), offset


def _encode_struct(value: Value) -> bytes:
    if value is None:
        return b"\xff\xff"
    if not isinstance(value, ZclStruct) or len(value.members) >= 0xFFFF:
        raise MisuseError("a structure is a ZclStruct of less than 65535 members")
    parts = [bytes((type_id,)) + type_of(type_id).encode(member) for type_id, member in value.members]
    return _COUNT.pack(len(value.members)) + b"".join(parts)


# --- the table ----------------------------------------------------------------------------------------


def _table() -> dict[int, ZclType]:
    """Table 2-10, in its order."""
    rows: list[ZclType] = []

    def family(
        first_id: int, stem: str, sizes: range, kind: Kind, *, signed: bool = False, invalid: bool
    ) -> None:
        for index, size in enumerate(sizes):
            name = f"{stem}{size * 8}"
            rows.append(_integer(first_id + index, name, size, kind, signed=signed, has_invalid=invalid))

    def other(
        type_id: int,
        name: str,
        size: int | None,
        codec: tuple[Decoder, Encoder],
        kind: Kind = Kind.DISCRETE,
        invalid: Value = None,
    ) -> None:
        decode, encode = codec
        rows.append(
            ZclType(
                type_id=type_id,
                name=name,
                size=size,
                kind=kind,
                invalid=invalid,
                decode=decode,
                encode=encode,
            )
        )

    other(0x00, "nodata", 0, (_decode_nothing, _encode_nothing))
    family(0x08, "data", range(1, 9), Kind.DISCRETE, invalid=False)
    other(0x10, "bool", 1, (_decode_bool, _encode_bool))
    family(0x18, "bm", range(1, 9), Kind.DISCRETE, invalid=False)
    family(0x20, "u", range(1, 9), Kind.ANALOG, invalid=True)
    family(0x28, "i", range(1, 9), Kind.ANALOG, signed=True, invalid=True)
    family(0x30, "e", range(1, 3), Kind.DISCRETE, invalid=True)
    other(0x38, "semi", 2, _float_codec("semi", "e"), Kind.ANALOG, math.nan)
    other(0x39, "single", 4, _float_codec("single", "f"), Kind.ANALOG, math.nan)
    other(0x3A, "double", 8, _float_codec("double", "d"), Kind.ANALOG, math.nan)
    other(0x41, "octstr", None, _string_codec("octstr", 1, False))
    other(0x42, "string", None, _string_codec("string", 1, True))
    other(0x43, "octstr16", None, _string_codec("octstr16", 2, False))
    other(0x44, "string16", None, _string_codec("string16", 2, True))
    other(0x48, "array", None, (_decode_array, _encode_array), Kind.COMPOSITE)
    other(0x4C, "struct", None, (_decode_struct, _encode_struct), Kind.COMPOSITE)
    other(0x50, "set", None, (_decode_array, _encode_array), Kind.COMPOSITE)
    other(0x51, "bag", None, (_decode_array, _encode_array), Kind.COMPOSITE)
    unset = (0xFF, 0xFF, 0xFF, 0xFF)
    other(0xE0, "tod", 4, _quad_codec("tod", ZclTimeOfDay), Kind.ANALOG, ZclTimeOfDay(*unset))
    other(0xE1, "date", 4, _quad_codec("date", ZclDate), Kind.ANALOG, ZclDate(*unset))
    rows.append(_integer(0xE2, "utc", 4, Kind.ANALOG, has_invalid=True))
    rows.append(_integer(0xE8, "cluster_id", 2, Kind.DISCRETE, has_invalid=True))
    rows.append(_integer(0xE9, "attribute_id", 2, Kind.DISCRETE, has_invalid=True))
    rows.append(_integer(0xEA, "bacnet_oid", 4, Kind.DISCRETE, has_invalid=True))
    rows.append(_integer(0xF0, "eui64", 8, Kind.DISCRETE, has_invalid=True))
    other(0xF1, "key128", 16, (_decode_key, _encode_key))
    other(0xFF, "unknown", 0, (_decode_nothing, _encode_nothing))
    return {row.type_id: row for row in rows}


BY_ID: Final[dict[int, ZclType]] = _table()
BY_NAME: Final[dict[str, ZclType]] = {row.name: row for row in BY_ID.values()}


def type_of(type_id: int) -> ZclType:
    """The type with this identifier, off the air. Raises DecodeError for one that does not exist."""
    try:
        return BY_ID[type_id]
    except KeyError:
        raise malformed(0, f"no data type 0x{type_id:02X}", Status.INVALID_DATA_TYPE) from None
