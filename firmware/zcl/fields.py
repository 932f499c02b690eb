"""Command payloads: a one-line notation, compiled to a struct-based codec.

A payload is written as blank-separated fields `name:type`, in the order of the air:

    provider_id:u32 label:octstr        fixed and variable fields; types as in `types.BY_NAME`
    [alternative_cost:u32 unit:e8]      optional tail: a sender may stop before any field in brackets
    samples:u24*number_of_samples       repeated as often as an earlier field says
    flags:bm32*                         repeated to the end of the frame
    top_ups:{code:octstr amount:i32}*   repeated records, each a dict
    identity:octets                     all octets that are left; `octets16`: exactly so many, bare
    when:status=0x00                    the fields behind it (up to the next `when:`) are there only
    when:field_control&0x01             if an earlier field has this value, or any of these bits

Runs of fixed-size fields become one `struct.Struct`; that is most of a Smart Energy command, and
costs about one microsecond. A count field that the caller leaves out is filled in from the list.
Octets behind the last known field are ignored when decoding: later revisions append fields.

Source: ZCL 07-5123 rev 7, 2.4.2 (payloads), 2.6.2 (types).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from struct import error as struct_error
from typing import Any, Final, Protocol, TypeAlias

from smets1.errors import MisuseError
from smets1.firmware.zcl.status import malformed
from smets1.firmware.zcl.types import BY_NAME, Value, ZclType

__all__ = ["Field", "Payload", "Values"]

Values: TypeAlias = dict[str, Value]
"""Field name to value, in the order of the air."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a payload, as declared."""

    name: str
    type: ZclType | None  # None: records, or bare octets
    records: Payload | None = None
    octets: int | None = None  # bare octets: how many; -1: all that are left
    is_optional: bool = False
    is_repeated: bool = False
    count: str | None = None  # the field that holds the number of repeats; None: to the end
    when: tuple[str, str, int] | None = None  # field, "=" or "&", value

    @property
    def is_plain(self) -> bool:
        """May be part of a run of fixed-size fields."""
        return (
            self.type is not None
            and self.type.format != ""
            and not (self.is_optional or self.is_repeated or self.when)
        )


class _Step(Protocol):
    """One compiled piece of a payload."""

    def decode(self, octets: bytes, offset: int, values: Values) -> int: ...
    def encode(self, values: Mapping[str, Value], out: bytearray) -> bool:
        """False: an optional field is absent, nothing may follow."""


class _Run:
    """Fixed-size fields in a row: one struct."""

    __slots__ = ("_fields", "_fixups", "_names", "_struct")

    def __init__(self, fields: list[Field]) -> None:
        types = [field.type for field in fields if field.type is not None]
        self._fields = list(zip([field.name for field in fields], types, strict=True))
        self._names = tuple(field.name for field in fields)
        self._struct = Struct("<" + "".join(zcl_type.format for zcl_type in types))
        # struct has no 3-, 5-, 6- or 7-octet integers: those come out as octets
        self._fixups = tuple(
            (name, zcl_type.is_signed) for name, zcl_type in self._fields if zcl_type.format[-1] == "s"
        )

    def decode(self, octets: bytes, offset: int, values: Values) -> int:
        try:
            unpacked = self._struct.unpack_from(octets, offset)
        except struct_error:
            raise malformed(len(octets), f"ends before {self._names[-1]}") from None
        values.update(zip(self._names, unpacked, strict=True))
        for name, is_signed in self._fixups:
            values[name] = int.from_bytes(values[name], "little", signed=is_signed)
        return offset + self._struct.size

    def encode(self, values: Mapping[str, Value], out: bytearray) -> bool:
        if not self._fixups:
            try:
                out += self._struct.pack(*[values[name] for name in self._names])
            except (struct_error, KeyError):
                pass  # None, or a mistake: the slow way below tells which
            else:
                return True
        for name, zcl_type in self._fields:
            out += _encode_one(name, zcl_type, _get(values, name))
        return True


class _Single:
    """One field of any type, possibly optional."""

    __slots__ = ("_is_optional", "_name", "_type")

    def __init__(self, field: Field, zcl_type: ZclType) -> None:
        self._name, self._type, self._is_optional = field.name, zcl_type, field.is_optional

    def decode(self, octets: bytes, offset: int, values: Values) -> int:
        if self._is_optional and offset >= len(octets):
            return offset
        values[self._name], offset = self._type.decode(octets, offset)
        return offset

    def encode(self, values: Mapping[str, Value], out: bytearray) -> bool:
        if self._is_optional and self._name not in values:
            return False
        out += _encode_one(self._name, self._type, _get(values, self._name))
        return True


class _Octets:
    """Bare octets: a fixed number, or all that are left."""

    __slots__ = ("_is_optional", "_name", "_size")

    def __init__(self, field: Field, size: int) -> None:
        self._name, self._size, self._is_optional = field.name, size, field.is_optional

    def decode(self, octets: bytes, offset: int, values: Values) -> int:
        if self._is_optional and offset >= len(octets):
            return offset
        end = len(octets) if self._size < 0 else offset + self._size
        if end > len(octets):
            raise malformed(len(octets), f"ends inside {self._name}")
        values[self._name] = bytes(octets[offset:end])
        return end

    def encode(self, values: Mapping[str, Value], out: bytearray) -> bool:
        if self._is_optional and self._name not in values:
            return False
        content = _get(values, self._name)
        if not isinstance(content, bytes | bytearray) or self._size not in (-1, len(content)):
            raise MisuseError(f"{self._name} must be {'' if self._size < 0 else self._size} octets")
        out += content
        return True


class _Repeated:
    """A list of values or of records, counted by an earlier field or running to the end."""

    __slots__ = ("_count", "_is_optional", "_name", "_records", "_type")

    def __init__(self, field: Field) -> None:
        self._name, self._type, self._records = field.name, field.type, field.records
        self._count, self._is_optional = field.count, field.is_optional

    def decode(self, octets: bytes, offset: int, values: Values) -> int:
        if self._is_optional and offset >= len(octets):
            return offset
        items: list[Value] = []
        values[self._name] = items
        left = values[self._count] if self._count is not None else -1
        while left != 0 and (left > 0 or offset < len(octets)):
            if self._records is not None:
                item, offset = self._records.decode_from(octets, offset)
            else:
                assert self._type is not None
                item, offset = self._type.decode(octets, offset)
            items.append(item)
            left -= 1
        return offset

    def encode(self, values: Mapping[str, Value], out: bytearray) -> bool:
        if self._is_optional and self._name not in values:
            return False
        for item in _get(values, self._name):
            if self._records is not None:
                out += self._records.encode(item)
            else:
                assert self._type is not None
                out += _encode_one(self._name, self._type, item)
        return True


class _Conditional:
    """A step that is there only if an earlier field says so."""

    __slots__ = ("_field", "_is_mask", "_operand", "_step")

    def __init__(self, condition: tuple[str, str, int], step: _Step) -> None:
        self._field, operator, self._operand = condition
        self._is_mask = operator == "&"
        self._step = step

    def _holds(self, values: Mapping[str, Value]) -> bool:
        value = values[self._field]
        return bool(value & self._operand) if self._is_mask else bool(value == self._operand)

    def decode(self, octets: bytes, offset: int, values: Values) -> int:
        return self._step.decode(octets, offset, values) if self._holds(values) else offset

    def encode(self, values: Mapping[str, Value], out: bytearray) -> bool:
        return self._step.encode(values, out) if self._holds(values) else True


def _get(values: Mapping[str, Value], name: str) -> Value:
    try:
        return values[name]
    except KeyError:
        raise MisuseError(f"field {name} is missing") from None


def _encode_one(name: str, zcl_type: ZclType, value: Value) -> bytes:
    try:
        return zcl_type.encode(value)
    except MisuseError as error:
        raise MisuseError(f"{name}: {error}") from None


_BLANKS: Final[dict[str, Value]] = {"octstr": b"", "octstr16": b"", "string": "", "string16": ""}


# --- the notation -------------------------------------------------------------------------------------

_FIELD: Final = re.compile(r"(?P<name>\w+):(?P<type>\w+)(?P<repeat>\*(?P<count>\w*))?")
_WHEN: Final = re.compile(r"when:(?P<field>\w+)(?P<operator>[=&])(?P<operand>\w+)")
_RECORDS: Final = re.compile(r"(?P<name>\w+):\{(?P<fields>[^}]*)\}\*(?P<count>\w*)")
_PIECE: Final = re.compile(r"\w+:\{[^}]*\}\*\w*|[\[\]]|[^\s\[\]]+")


def _parse(notation: str) -> Iterator[Field]:
    """Read the notation above. Raises MisuseError for a table written wrongly."""
    is_optional = False
    when: tuple[str, str, int] | None = None
    for piece in _PIECE.findall(notation):
        if piece in "[]":
            is_optional = piece == "["
        elif match := _WHEN.fullmatch(piece):
            when = (match["field"], match["operator"], int(match["operand"], 0))
        elif match := _RECORDS.fullmatch(piece):
            yield Field(
                name=match["name"], type=None, records=Payload(match["fields"]), is_optional=is_optional,
                is_repeated=True, count=match["count"] or None, when=when,
            )  # fmt: skip
        elif match := _FIELD.fullmatch(piece):
            bare = re.fullmatch(r"octets(\d*)", match["type"])
            if bare is None and match["type"] not in BY_NAME:
                raise MisuseError(f"no data type {match['type']!r} in {notation!r}")
            yield Field(
                name=match["name"],
                type=None if bare else BY_NAME[match["type"]],
                octets=int(bare[1] or -1) if bare else None,
                is_optional=is_optional,
                is_repeated=match["repeat"] is not None,
                count=match["count"] or None,
                when=when,
            )
        else:
            raise MisuseError(f"cannot read {piece!r} in {notation!r}")


def _compile(fields: tuple[Field, ...]) -> list[_Step]:
    steps: list[_Step] = []
    run: list[Field] = []
    for field in fields:
        if field.is_plain:
            run.append(field)
            continue
        if run:
            steps.append(_Run(run))
            run = []
        step: _Step
        if field.is_repeated:
            step = _Repeated(field)
        elif field.octets is not None:
            step = _Octets(field, field.octets)
        else:
            assert field.type is not None
            step = _Single(field, field.type)
        steps.append(step if field.when is None else _Conditional(field.when, step))
    if run:
        steps.append(_Run(run))
    return steps


def _is_textual(field: Field) -> bool:
    return field.records is not None or (field.type is not None and field.type.name in _BLANKS)


def _blank(field: Field) -> tuple[str, Value, Payload | None]:
    return field.name, None if field.type is None else _BLANKS[field.type.name], field.records


class Payload:
    """A compiled payload. `decode(encode(values)) == values`; both sides use plain dicts."""

    __slots__ = ("_blanks", "_decoders", "_notation", "_steps", "counts", "fields")

    fields: tuple[Field, ...]

    def __init__(self, notation: str) -> None:
        self._notation = notation
        self.fields = tuple(_parse(notation))
        self._steps: list[_Step] = _compile(self.fields)
        self._decoders: list[Callable[[bytes, int, Values], int]] = [step.decode for step in self._steps]
        self._blanks = tuple(_blank(field) for field in self.fields if _is_textual(field))
        self.counts = tuple((field.count, field.name) for field in self.fields if field.count is not None)

    def __repr__(self) -> str:
        return f"Payload({self._notation!r})"

    def decode_from(self, octets: bytes, offset: int) -> tuple[Values, int]:
        """(values, offset behind the last field). Raises DecodeError for octets that end too early."""
        values: Values = {}
        for decode in self._decoders:
            offset = decode(octets, offset, values)
        return values, offset

    def decode(self, octets: bytes) -> Values:
        """The values of a whole payload off the air. Raises DecodeError, and no other exception."""
        return self.decode_from(octets, 0)[0]

    def without_blanks(self, values: Values) -> Values:
        """For who obeys: a string that the sender marks as not available is an empty one. In place."""
        for name, blank, records in self._blanks:
            value = values.get(name, blank)
            if value is None:
                values[name] = blank
            elif isinstance(value, list):
                for at, item in enumerate(value):
                    if records is not None:
                        records.without_blanks(item)
                    elif item is None:
                        value[at] = blank
        return values

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """Raises MisuseError where a field is missing, unknown, or does not fit its type."""
        if self.counts:
            filled = dict(values)
            for count, name in self.counts:
                if count not in filled and name in filled:
                    filled[count] = len(filled[name])
            values = filled
        out = bytearray()
        for step in self._steps:
            if not step.encode(values, out):
                break
        if len(values) > len(self.fields) or not values.keys() <= {field.name for field in self.fields}:
            unknown = sorted(values.keys() - {field.name for field in self.fields})
            raise MisuseError(f"no field {', '.join(unknown)}: this payload has {self._notation!r}")
        return bytes(out)
