"""How a core's state becomes octets for NVM and back: one CBOR map with its kind and version.

Whole numbers beyond 64 bits (money in fine units) are written as text, since the strict CBOR reader
takes no big-number tags. What NVM holds may be damaged or come from another version: every reader
here raises DecodeError and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import cbor2

from smets1.errors import DecodeError
from smets1.firmware.cbor import load_strict

__all__ = ["StateReader", "is_record_of", "pack_state"]

_DECIMAL: Final = re.compile(r"-?\d{1,60}")
_NARROW: Final = 1 << 63


def pack_state(kind: str, version: int, fields: Mapping[str, object]) -> bytes:
    """Values: int, str, bytes, bool, None, and lists of those. Equal states give equal octets."""
    return cbor2.dumps({"kind": kind, "version": version, **{k: _wide(v) for k, v in fields.items()}})


def _wide(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_wide(item) for item in value]
    is_wide = isinstance(value, int) and not -_NARROW <= value < _NARROW
    return str(value) if is_wide else value


def is_record_of(kind: str, octets: bytes) -> bool:
    """Whether a record says that it is of that kind. Raises DecodeError for octets that are no CBOR."""
    fields = load_strict(octets)
    return isinstance(fields, dict) and fields.get("kind") == kind


class StateReader:
    """Octets of `pack_state`, field by field, each checked for its type."""

    __slots__ = ("_fields", "kind", "version")

    def __init__(self, octets: bytes, *, kind: str, versions: Collection[int]) -> None:
        fields = load_strict(octets)
        if not isinstance(fields, dict) or fields.get("kind") != kind:
            raise DecodeError("NVM", 0, f"not a record of kind {kind}")
        version = fields.get("version")
        if not isinstance(version, int) or version not in versions:
            raise DecodeError("NVM", 0, f"{kind} has version {version}, known is up to {max(versions)}")
        self._fields: dict[str, object] = fields
        self.kind = kind
        self.version = version

    def bad(self, name: str, what: str) -> DecodeError:
        return DecodeError("NVM", 0, f"{self.kind}.{name} {what}")

    def _get(self, name: str) -> object:
        if name not in self._fields:
            raise self.bad(name, "is missing")
        return self._fields[name]

    def _as_int(self, name: str, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            return int(value)
        raise self.bad(name, "is not a whole number")

    def whole(self, name: str, low: int | None = None, high: int | None = None) -> int:
        value = self._as_int(name, self._get(name))
        if (low is not None and value < low) or (high is not None and value > high):
            raise self.bad(name, "is out of range")
        return value

    def whole_or_none(self, name: str) -> int | None:
        return None if self._get(name) is None else self.whole(name)

    def flag(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise self.bad(name, "is not true or false")
        return value

    def octets(self, name: str) -> bytes:
        value = self._get(name)
        if not isinstance(value, bytes):
            raise self.bad(name, "is not octets")
        return value

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            raise self.bad(name, "is not text")
        return value

    def items(self, name: str) -> list[object]:
        value = self._get(name)
        if not isinstance(value, list):
            raise self.bad(name, "is not a list")
        return value

    def wholes(self, name: str, count: int | None = None) -> list[int]:
        values = [self._as_int(name, item) for item in self.items(name)]
        if count is not None and len(values) != count:
            raise self.bad(name, f"has not {count} numbers")
        return values

    def rows(self, name: str, width: int | None = None) -> list[list[int]]:
        """A list of lists of whole numbers, each `width` long where that is given."""
        found: list[list[int]] = []
        for row in self.items(name):
            if not isinstance(row, list) or (width is not None and len(row) != width):
                raise self.bad(name, "is not a table")
            found.append([self._as_int(name, item) for item in row])
        return found
