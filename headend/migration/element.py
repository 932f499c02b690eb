"""Frozen dataclasses as XML elements and back, and the schema that says so: one declaration each.

A field is declared with its element name and kind; the class is then encoded, decoded strictly (order, number
and form of every element) and described as an XSD complex type from that one line. Forms are the schema's
regular expressions, so a file that decodes is one that the schema accepts.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Authorisation:
        mpxn: str = text("ImportMPxN", r"[0-9]{1,13}")
        suppliers: tuple[Supplier, ...] = many("Supplier", Supplier)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, TypeVar
from xml.sax.saxutils import escape

from smets1.errors import DecodeError, InputError
from smets1.eui64 import format_eui64, parse_eui64
from smets1.firmware.civil import format_utc, parse_utc
from smets1.headend.duis.request import XmlNode

__all__ = [
    "choice",
    "eui",
    "flag",
    "many",
    "node_of",
    "number",
    "octets",
    "one",
    "read",
    "text",
    "types",
    "when",
]

_T = TypeVar("_T")
_LAYER: Final = "migration file"
_EUI_FORM: Final = "([0-9A-F]{2}-){7}[0-9A-F]{2}"
_TIME_FORM: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
_MANY: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How one field is written."""

    name: str
    form: str = ""  # regular expression of the text; empty for a child with parts
    write: Callable[[Any], str] = str
    read: Callable[[str], Any] = str
    child: type[Any] | None = None
    least: int = 1
    most: int = 1


def _field(kind: _Kind) -> Any:
    if kind.most > 1:
        return field(default=(), metadata={"kind": kind})
    if kind.least == 0:
        return field(default=None, metadata={"kind": kind})
    return field(metadata={"kind": kind})


def _simple(name: str, optional: bool, form: str, write: Any = str, read: Any = str) -> Any:
    return _field(_Kind(name=name, form=form, write=write, read=read, least=0 if optional else 1))


def text(name: str, form: str, *, optional: bool = False) -> Any:
    return _simple(name, optional, form)


def eui(name: str, *, optional: bool = False) -> Any:
    return _simple(name, optional, _EUI_FORM, format_eui64, parse_eui64)


def number(name: str, *, digits: int = 18, optional: bool = False) -> Any:
    """A whole number from 0, without leading zeros."""
    return _simple(name, optional, f"0|[1-9][0-9]{{0,{digits - 1}}}", str, int)


def flag(name: str, *, optional: bool = False) -> Any:
    return _simple(
        name, optional, "true|false", lambda value: str(value).lower(), lambda said: said == "true"
    )


def when(name: str, *, optional: bool = False) -> Any:
    """Microseconds since 1970 UTC, as xs:dateTime with Z."""
    return _simple(name, optional, _TIME_FORM, format_utc, parse_utc)


def octets(name: str, *, most: int = 4096, optional: bool = False) -> Any:
    """base64; `most` octets."""
    form = f"[A-Za-z0-9+/]{{4,{(most + 2) // 3 * 4}}}={{0,2}}"
    return _simple(name, optional, form, lambda value: base64.b64encode(value).decode(), _from_base64)


def choice(name: str, members: type[StrEnum], *, optional: bool = False) -> Any:
    return _simple(name, optional, "|".join(re.escape(member) for member in members), str, members)


def one(name: str, child: type[Any], *, optional: bool = False) -> Any:
    return _field(_Kind(name=name, child=child, least=0 if optional else 1))


def many(name: str, child: type[Any], *, least: int = 0, most: int = _MANY) -> Any:
    """A tuple of children, each an element of that name."""
    return _field(_Kind(name=name, child=child, least=least, most=most))


def _from_base64(said: str) -> bytes:
    try:
        return base64.b64decode(said, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("not base64") from None


def _kinds(of: type[Any]) -> Iterator[tuple[str, _Kind]]:
    for item in fields(of):
        yield item.name, item.metadata["kind"]


# --- values -> elements ------------------------------------------------------------------------------


def node_of(name: str, value: Any) -> XmlNode:
    """A declared value as an element."""
    children: list[XmlNode] = []
    for attribute, kind in _kinds(type(value)):
        held = getattr(value, attribute)
        items = held if kind.most > 1 else () if held is None else (held,)
        children.extend(
            node_of(kind.name, item) if kind.child else XmlNode(kind.name, text=kind.write(item))
            for item in items
        )
    return XmlNode(name, children=tuple(children))


# --- elements -> values ------------------------------------------------------------------------------


def read(node: XmlNode, of: type[_T]) -> _T:
    """Foreign content -> a value. Raises DecodeError naming the element that does not fit."""
    rest = list(node.children)
    values: dict[str, Any] = {}
    if node.attributes:
        raise DecodeError(_LAYER, 0, f"{node.name}: attribute {node.attributes[0][0][:40]} is not allowed")
    if node.text:
        raise DecodeError(_LAYER, 0, f"{node.name}: text is not allowed here")
    for attribute, kind in _kinds(of):
        found: list[Any] = []
        while rest and rest[0].name == kind.name and len(found) < kind.most:
            found.append(_read_one(rest.pop(0), kind))
        if len(found) < kind.least:
            raise DecodeError(_LAYER, 0, f"{node.name}: {kind.name} is missing")
        values[attribute] = tuple(found) if kind.most > 1 else found[0] if found else None
    if rest:
        raise DecodeError(_LAYER, 0, f"{node.name}: {rest[0].name[:60]} is not allowed here")
    return of(**values)


def _read_one(node: XmlNode, kind: _Kind) -> Any:
    if kind.child is not None:
        return read(node, kind.child)
    if node.children or node.attributes or not re.fullmatch(kind.form, node.text):
        raise DecodeError(_LAYER, 0, f"{kind.name}: {node.text[:40]!r} has not the form {kind.form}")
    try:
        return kind.read(node.text)
    except (InputError, ValueError):
        raise DecodeError(_LAYER, 0, f"{kind.name}: {node.text[:40]!r} is no such value") from None


# --- the schema --------------------------------------------------------------------------------------


def types(roots: list[type[Any]]) -> Iterator[str]:
    """XSD complex types of these classes and all that they hold, each once."""
    waiting, done = list(roots), set[str]()
    while waiting:
        of = waiting.pop(0)
        if of.__name__ in done:
            continue
        done.add(of.__name__)
        yield f'  <xs:complexType name="{of.__name__}">'
        yield "    <xs:sequence>"
        for _, kind in _kinds(of):
            yield from _particle(kind)
            if kind.child is not None:
                waiting.append(kind.child)
        yield "    </xs:sequence>"
        yield "  </xs:complexType>"


def _particle(kind: _Kind) -> Iterator[str]:
    bounds = f'minOccurs="{kind.least}" maxOccurs="{kind.most}"'
    if kind.child is not None:
        yield f'      <xs:element name="{kind.name}" type="m:{kind.child.__name__}" {bounds}/>'
        return
    form = escape(kind.form, {'"': "&quot;"})
    yield f'      <xs:element name="{kind.name}" {bounds}><xs:simpleType><xs:restriction base="xs:token">'
    yield f'        <xs:pattern value="{form}"/>'
    yield "      </xs:restriction></xs:simpleType></xs:element>"
