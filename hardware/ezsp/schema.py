"""The parameters of EZSP frames as data: a short text a list, compiled to a codec.

A text names fields in order, `name:kind`. Kinds: `u8 u16 u32 i8 bool` little-endian numbers; `eui` an EUI-64
(int); `key` 16 octets; `o8` 8 raw octets; `lv` octets behind a length octet, `lv32` behind a length of four;
`u16[name]` as many as that field says; `u16s` behind a count octet; `u16*` all that follow; `status` and
`error` one octet in version 13 and four from 14 on, `sl` always four; a name of `STRUCTS` a record.

    schema("status:status sequence:u8", 13).encode({"status": 0, "sequence": 7}) == b"\\x00\\x07"

Source: Silicon Labs UG100, 3 (protocol format), EmberZNet 7.4 (version 13) and 8.0 (version 14).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from smets1.errors import DecodeError
from smets1.hardware.ezsp.statuses import Status, from_sl_status, to_sl_status

__all__ = ["STRUCTS", "Schema", "Values", "schema"]

Values = dict[str, Any]
"""Field values by name; records are dicts again."""

STRUCTS: Final = {
    "aps": "profile_id:u16 cluster_id:u16 source_endpoint:u8 destination_endpoint:u8 options:u16"
    " group_id:u16 sequence:u8",
    "network": "extended_pan_id:eui pan_id:u16 power_dbm:i8 channel:u8 join_method:u8 manager:u16"
    " update_id:u8 channels:u32",
    "found": "channel:u8 pan_id:u16 extended_pan_id:eui allows_join:bool stack_profile:u8 update_id:u8",
    "initial_security": "bitmask:u16 preconfigured_key:key network_key:key key_sequence:u8 trust_centre:eui",
    "current_security": "bitmask:u16 trust_centre:eui",
    "context": "kind:u8 key_index:u8 derived:u16 eui64:eui multi_network_index:u8 flags:u8 algorithm:u32",
    "key_data": "bitmask:u16 outgoing_counter:u32 incoming_counter:u32 ttl_s:u16",
    "network_key": "is_set:bool has_alternate:bool sequence:u8 alternate_sequence:u8 frame_counter:u32",
    "child": "eui64:eui node_type:u8 short_address:u16 phy:u8 power:u8 timeout:u8 remaining:u32",
    "neighbour": "short_address:u16 average_lqi:u8 in_cost:u8 out_cost:u8 age:u8 eui64:eui",
    "route": "destination:u16 next_hop:u16 route_status:u8 age:u8 concentrator:u8 record_state:u8",
    "multicast": "group:u16 endpoint:u8 network_index:u8",
    "binding": "kind:u8 local_endpoint:u8 cluster_id:u16 remote_endpoint:u8 identifier:eui network_index:u8",
    "phy": "power_dbm:i8 page:u8 channel:u8",
    "token_info": "token:u32 is_counter:bool is_indexed:bool size_octets:u8 array_size:u8",
}

_NUMBERS: Final = {"u8": "B", "u16": "H", "u32": "I", "i8": "b", "bool": "?", "eui": "Q"}
_OCTETS: Final = {"key": 16, "o8": 8}
_STATUSES: Final = ("status", "error")
FIRST_WIDE_VERSION: Final = 14


@dataclass(frozen=True, slots=True)
class Schema:
    """A list of fields, as one version has it."""

    fields: tuple[tuple[str, str], ...]
    version: int

    def encode(self, values: Values) -> bytes:
        """Raises KeyError for a field that is missing, struct.error for a number out of range."""
        octets = bytearray()
        for name, kind in self.fields:
            octets += self._encode(kind, values[name], values)
        return bytes(octets)

    def decode(self, octets: bytes) -> tuple[Values, bytes]:
        """Foreign octets -> values, and what is left over. Raises DecodeError."""
        values: Values = {}
        offset = 0
        for name, kind in self.fields:
            values[name], offset = self._decode(kind, octets, offset, values)
        return values, octets[offset:]

    def _encode(self, kind: str, value: Any, values: Values) -> bytes:
        if kind in _NUMBERS:
            return struct.pack("<" + _NUMBERS[kind], value)
        if kind in _STATUSES:
            if self.version < FIRST_WIDE_VERSION:
                return struct.pack("<B", value)
            if kind == "error" and value:
                return struct.pack("<I", to_sl_status(Status.BAD_ARGUMENT))
            return struct.pack("<I", to_sl_status(value))
        if kind == "sl":
            return struct.pack("<I", to_sl_status(value))
        if kind in _OCTETS:
            if len(value) != _OCTETS[kind]:
                raise struct.error(f"{len(value)} octets, not {_OCTETS[kind]}")
            return bytes(value)
        if kind == "lv":
            return struct.pack("<B", len(value)) + bytes(value)
        if kind == "lv32":
            return struct.pack("<I", len(value)) + bytes(value)
        if kind.startswith("u16"):
            head = struct.pack("<B", len(value)) if kind == "u16s" else b""
            return head + struct.pack(f"<{len(value)}H", *value)
        return schema(STRUCTS[kind], self.version).encode(value)

    def _decode(self, kind: str, octets: bytes, offset: int, values: Values) -> tuple[Any, int]:
        if kind in _NUMBERS:
            return _unpack(_NUMBERS[kind], octets, offset)
        if kind in _STATUSES or kind == "sl":
            if kind == "sl" or self.version >= FIRST_WIDE_VERSION:
                value, offset = _unpack("I", octets, offset)
                return from_sl_status(value), offset
            return _unpack("B", octets, offset)
        if kind in _OCTETS:
            return _take(octets, offset, _OCTETS[kind])
        if kind in ("lv", "lv32"):
            length, offset = _unpack("B" if kind == "lv" else "I", octets, offset)
            return _take(octets, offset, length)
        if kind.startswith("u16"):
            if kind == "u16s":
                count, offset = _unpack("B", octets, offset)
            elif kind == "u16*":
                count = (len(octets) - offset) // 2
            else:
                count = values[kind[4:-1]]
            part, offset = _take(octets, offset, 2 * count)
            return list(struct.unpack(f"<{count}H", part)), offset
        record, rest = schema(STRUCTS[kind], self.version).decode(octets[offset:])
        return record, len(octets) - len(rest)


def _take(octets: bytes, offset: int, length: int) -> tuple[bytes, int]:
    if offset + length > len(octets):
        raise DecodeError("EZSP", offset, "truncated")
    return octets[offset : offset + length], offset + length


def _unpack(code: str, octets: bytes, offset: int) -> tuple[Any, int]:
    part, end = _take(octets, offset, struct.calcsize("<" + code))
    return struct.unpack("<" + code, part)[0], end


@cache
def schema(text: str, version: int) -> Schema:
    """Compile a text. Raises KeyError or ValueError for one that is wrong."""
    fields = []
    for word in text.split():
        name, kind = word.split(":")
        is_known = kind in _NUMBERS or kind in _OCTETS or kind in (*_STATUSES, "sl", "lv", "lv32")
        if not is_known and not kind.startswith("u16"):
            STRUCTS[kind]  # a misspelt kind shows when the table is compiled
        fields.append((name, kind))
    return Schema(tuple(fields), version)
