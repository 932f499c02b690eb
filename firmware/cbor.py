"""Strict CBOR for octets from outside: one meaning for each octet string, nothing built unasked.

Encoding is `cbor2.dumps`; decoding is our own, since a peer may write tags (regular expressions, dates,
shared references, big numbers), endless lengths and duplicate keys, and which of those cbor2 lets through
differs from version to version. Accepted: integers, byte and text strings, arrays, maps with text keys,
false, true, null, and floats; definite lengths only, one item, nothing after it.

Source: RFC 8949, 3 and 4.
"""

from __future__ import annotations

import struct
from typing import Final

from smets1.errors import DecodeError

__all__ = ["MAX_DEPTH", "load_strict"]

MAX_DEPTH: Final = 8

_WIDTH: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_SIMPLE: Final[dict[int, object]] = {20: False, 21: True, 22: None}
_FLOAT: Final = {25: ">e", 26: ">f", 27: ">d"}


def load_strict(octets: bytes) -> object:
    """Octets of a peer -> int, bytes, str, bool, None, float, list or dict with str keys.

    Raises DecodeError, with the offset, and nothing else.
    """
    value, end = _item(octets, 0, 0)
    if end != len(octets):
        raise DecodeError("CBOR", end, "octets after the item")
    return value


def _item(octets: bytes, at: int, depth: int) -> tuple[object, int]:
    if at >= len(octets):
        raise DecodeError("CBOR", at, "ends too early")
    major, info = octets[at] >> 5, octets[at] & 0x1F
    if major == 7:
        return _simple(octets, at, info)
    count, body = _argument(octets, at, info)
    if major == 0:
        return count, body
    if major == 1:
        return -1 - count, body
    if major <= 3:
        return _string(octets, body, count, is_text=major == 3)
    if major <= 5 and depth < MAX_DEPTH:
        read = _array if major == 4 else _map
        return read(octets, body, count, depth + 1)
    raise DecodeError("CBOR", at, "a tag" if major == 6 else "nested too deep")


def _argument(octets: bytes, at: int, info: int) -> tuple[int, int]:
    """Value or length of the item head at `at`, and the offset after the head."""
    if info < 24:
        return info, at + 1
    width = _WIDTH.get(info)
    if width is None:
        raise DecodeError("CBOR", at, "an indefinite or reserved length")
    end = at + 1 + width
    if end > len(octets):
        raise DecodeError("CBOR", len(octets), "ends too early")
    return int.from_bytes(octets[at + 1 : end], "big"), end


def _string(octets: bytes, at: int, count: int, *, is_text: bool) -> tuple[object, int]:
    end = at + count
    if end > len(octets):
        raise DecodeError("CBOR", len(octets), "ends too early")
    part = octets[at:end]
    if not is_text:
        return part, end
    try:
        return part.decode(), end
    except UnicodeDecodeError as error:
        raise DecodeError("CBOR", at + error.start, "text is not UTF-8") from None


def _array(octets: bytes, at: int, count: int, depth: int) -> tuple[object, int]:
    if count > len(octets) - at:  # every item has an octet at least: say so before looping 2^64 times
        raise DecodeError("CBOR", len(octets), "ends too early")
    items = []
    for _ in range(count):
        value, at = _item(octets, at, depth)
        items.append(value)
    return items, at


def _map(octets: bytes, at: int, count: int, depth: int) -> tuple[object, int]:
    if 2 * count > len(octets) - at:
        raise DecodeError("CBOR", len(octets), "ends too early")
    fields: dict[str, object] = {}
    for _ in range(count):
        start = at
        key, at = _item(octets, at, depth)
        if not isinstance(key, str):
            raise DecodeError("CBOR", start, "a map key is not text")
        if key in fields:
            raise DecodeError("CBOR", start, "a map key comes twice")
        fields[key], at = _item(octets, at, depth)
    return fields, at


def _simple(octets: bytes, at: int, info: int) -> tuple[object, int]:
    if info in _SIMPLE:
        return _SIMPLE[info], at + 1
    form = _FLOAT.get(info)
    if form is None:
        raise DecodeError("CBOR", at, "a simple value that has no meaning here")
    end = at + 1 + struct.calcsize(form)
    if end > len(octets):
        raise DecodeError("CBOR", len(octets), "ends too early")
    return struct.unpack_from(form, octets, at + 1)[0], end
