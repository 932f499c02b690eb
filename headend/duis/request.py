"""Strict reading of DUIS requests.

A request comes from outside, so it is bounded before a parser looks at it: octets, encoding, how many
elements and attributes there can be; and after that: depth, elements, no DOCTYPE, no entities, no processing
instructions, no network. Comments are dropped before text is read, so a comment inside a value cannot make a
signature and a reader see different texts.

Source: DUIS-5.4.xsd, Request, RequestIDType; XML 1.0; OWASP XML external entity list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

from lxml import etree

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64, parse_eui64
from smets1.headend.duis.codes import DS, SCHEMA_VERSION, SR, CommandVariant

__all__ = [
    "MAX_REQUEST_OCTETS",
    "DuisError",
    "DuisRequest",
    "RequestId",
    "XmlNode",
    "append_tree",
    "parse_document",
    "parse_request",
    "read_node",
    "read_request",
    "request_document",
]

MAX_REQUEST_OCTETS: Final = 2 * 1024 * 1024  # a firmware image of 750 kB in base64 fits
_MAX_DEPTH: Final = 32
_MAX_ELEMENTS: Final = 20_000
_MAX_ATTRIBUTES: Final = 20_000
_COUNTER_LIMIT: Final = 1 << 64

_REQUEST_ID: Final = re.compile(
    r"((?:[0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2}):((?:[0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2}):(0|[1-9][0-9]{0,19})"
)
_REFERENCE: Final = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2}){1,2}")
_ENCODING: Final = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([^\"']{0,40})")
_ENCODINGS: Final = (b"UTF-8", b"UTF8", b"US-ASCII", b"ASCII")
_DECIMAL: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")


class DuisError(InputError):
    """Not a DUIS request: there is no header that a DUIS response could answer. One line.

    The text may quote what came: nothing of that begins a line of a log, or moves a terminal's cursor.
    """

    def __init__(self, text: str) -> None:
        super().__init__("".join(c if c.isprintable() else "?" for c in text)[:300])


@dataclass(frozen=True, slots=True, order=True)
class RequestId:
    """Who asks, of what, and the asker's own count. Source: DUIS-5.4.xsd, RequestIDType."""

    originator: Eui64
    target: Eui64
    counter: int  # 0..2^64-1

    @classmethod
    def parse(cls, text: str) -> Self:
        """`90-B3-...:00-DB-...:1000`. Raises DuisError."""
        match = _REQUEST_ID.fullmatch(text)
        if match is None or int(match[3]) >= _COUNTER_LIMIT:
            raise DuisError(f"RequestID {text[:80]!r} is not 'originator:target:counter'")
        return cls(parse_eui64(match[1]), parse_eui64(match[2]), int(match[3]))

    def reversed(self) -> RequestId:
        """The ResponseID that answers it: the target answers the originator."""
        return RequestId(self.target, self.originator, self.counter)

    def __str__(self) -> str:
        return f"{format_eui64(self.originator)}:{format_eui64(self.target)}:{self.counter}"


@dataclass(frozen=True, slots=True)
class XmlNode:
    """An element without its namespaces and comments: local name, text (stripped), attributes, children."""

    name: str
    text: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    children: tuple[XmlNode, ...] = ()

    def find(self, *path: str) -> XmlNode | None:
        """The first child of that name, and of that its child, and so on."""
        node: XmlNode | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def value(self, *path: str) -> str | None:
        """The text of `find(*path)`."""
        node = self.find(*path)
        return node.text if node else None

    def walk(self) -> Iterator[XmlNode]:
        """Itself and all below it, in the document's order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def below(self, name: str) -> Iterator[XmlNode]:
        """All of that name anywhere below it, in the document's order."""
        return (node for child in self.children for node in child.walk() if node.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuisRequest:
    """One request. `body` is the single element inside Body."""

    request_id: RequestId
    command_variant: CommandVariant
    service_reference: str
    srv: str  # ServiceReferenceVariant
    body: XmlNode
    is_first_in_sequence: bool | None
    preceding: RequestId | None
    schema_version: str
    body_xml: bytes = field(repr=False)  # the body element alone, in exclusive C14N
    xml: bytes = field(repr=False)  # the document as it came

    @property
    def originator(self) -> Eui64:
        return self.request_id.originator

    @property
    def target(self) -> Eui64:
        return self.request_id.target


def parse_document(octets: bytes, *, max_octets: int = MAX_REQUEST_OCTETS) -> etree._Element:
    """Octets from outside -> root element, comments removed. Raises DuisError only."""
    _check_octets(octets, max_octets)
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=False,
        collect_ids=False,
    )
    try:
        root = etree.fromstring(octets, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise DuisError(f"not well-formed XML: {' '.join(str(error).split())[:160]}") from None
    info: Any = root.getroottree().docinfo  # the type stubs leave half of it out
    if info.doctype or info.internalDTD is not None:
        raise DuisError("a document type or entity declaration is not allowed")
    if (info.encoding or "UTF-8").upper().encode() not in _ENCODINGS:
        raise DuisError(f"the encoding is {info.encoding}; DUIS documents are UTF-8")
    _check_bounds(root)
    return root


def _check_octets(octets: bytes, max_octets: int) -> None:
    """What can be seen without a parser, so that it costs no memory. Raises DuisError."""
    if len(octets) > max_octets:
        raise DuisError(f"the document has {len(octets)} octets; {max_octets} are allowed")
    # In UTF-16 and the like tags hide from the searches below.
    encoding = _ENCODING.match(octets.removeprefix(b"\xef\xbb\xbf"))
    is_named = encoding is None or encoding[1].upper() in _ENCODINGS
    if not is_named or b"\0" in octets or octets.startswith((b"\xfe\xff", b"\xff\xfe")):
        raise DuisError("the encoding is another one; DUIS documents are UTF-8")
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:
        raise DuisError("a document type or entity declaration is not allowed")
    if octets.count(b"<") > 2 * _MAX_ELEMENTS or octets.count(b"=") > _MAX_ATTRIBUTES:
        raise DuisError(f"more than {_MAX_ELEMENTS} elements or {_MAX_ATTRIBUTES} attributes")


def _check_bounds(root: etree._Element) -> None:
    if root.getprevious() is not None or root.getnext() is not None:
        raise DuisError("processing instructions are not allowed")
    depth = count = 0
    for event, element in etree.iterwalk(root, events=("start", "end", "pi")):
        if event == "pi" or not isinstance(element.tag, str):
            raise DuisError("processing instructions and entity references are not allowed")
        depth += 1 if event == "start" else -1
        count += event == "start"
        if depth > _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise DuisError(f"more than {_MAX_DEPTH} levels or {_MAX_ELEMENTS} elements")
    # iterwalk does not show entity references (`&x;` kept unresolved); they are children without a text tag.
    for child in root.iter(etree.Entity):
        raise DuisError(f"the entity reference {(child.text or '')[:20]!r} is not allowed")


def parse_request(octets: bytes) -> DuisRequest:
    """Octets from outside -> a request whose header is sound. Raises DuisError only."""
    return read_request(parse_document(octets), octets)


def read_request(root: etree._Element, octets: bytes, *, is_signature_removed: bool = False) -> DuisRequest:
    """A bounded root element -> request. Raises DuisError where it is not a `sr:Request`.

    What a verifier gives back is the document without the signature that it has verified.
    """
    if root.tag != f"{{{SR}}}Request":
        raise DuisError(f"the root element is {str(root.tag)[:80]}, not a DUIS Request")
    schema_version = root.get("schemaVersion", "")
    if not _DECIMAL.fullmatch(schema_version):
        raise DuisError("schemaVersion is missing or not a decimal")
    parts = list(root)
    names = [str(part.tag) for part in parts]
    expected = [f"{{{SR}}}Header", f"{{{SR}}}Body", f"{{{DS}}}Signature"]
    if names != expected[:2] and (is_signature_removed or names != expected):
        raise DuisError("a Request is made of Header, Body and Signature, in this order")
    body = list(parts[1])
    if len(body) != 1 or etree.QName(body[0]).namespace != SR:
        raise DuisError("Body must hold exactly one service request")
    return _assemble(dict(_header_fields(parts[0])), body[0], schema_version, octets)


_HEADER_ORDER: Final = (
    "RequestID",
    "FirstInSequence",
    "PrecedingServiceRequestID",
    "CommandVariant",
    "ServiceReference",
    "ServiceReferenceVariant",
)


def _header_fields(header: etree._Element) -> Iterator[tuple[str, str]]:
    """Name and text of each field, proven to be known, single and in the schema's order."""
    last = -1
    for child in header:
        name = etree.QName(child)
        at = _HEADER_ORDER.index(name.localname) if name.localname in _HEADER_ORDER else -1
        if name.namespace != SR or at <= last or len(child):
            raise DuisError(f"Header: {name.localname[:40]} is unknown, repeated or out of order")
        last = at
        yield name.localname, (child.text or "").strip()


def _assemble(
    header: dict[str, str], body: etree._Element, schema_version: str, octets: bytes
) -> DuisRequest:
    for name in ("RequestID", "CommandVariant", "ServiceReference", "ServiceReferenceVariant"):
        if not header.get(name):
            raise DuisError(f"Header: {name} is missing")
    try:
        variant = CommandVariant(int(header["CommandVariant"]))
    except ValueError:
        raise DuisError(f"CommandVariant {header['CommandVariant'][:20]!r} is not 1 to 9") from None
    for name in ("ServiceReference", "ServiceReferenceVariant"):
        if not _REFERENCE.fullmatch(header[name]):
            raise DuisError(f"{name} {header[name][:20]!r} is not a number like 4.1.1")
    first = header.get("FirstInSequence")
    if first not in (None, "true", "false", "1", "0"):
        raise DuisError("FirstInSequence is not true or false")
    preceding = header.get("PrecedingServiceRequestID")
    return DuisRequest(
        request_id=RequestId.parse(header["RequestID"]),
        command_variant=variant,
        service_reference=header["ServiceReference"],
        srv=header["ServiceReferenceVariant"],
        body=read_node(body),
        is_first_in_sequence=None if first is None else first in ("true", "1"),
        preceding=RequestId.parse(preceding) if preceding else None,
        schema_version=schema_version,
        body_xml=etree.tostring(body, method="c14n", exclusive=True),
        xml=octets,
    )


def read_node(element: etree._Element) -> XmlNode:
    """A bounded element -> plain values."""
    attributes: Any = element.attrib.items()
    return XmlNode(
        name=etree.QName(element).localname,
        text=(element.text or "").strip(),
        attributes=tuple((etree.QName(name).localname, value) for name, value in attributes),
        children=tuple(read_node(child) for child in element),
    )


def append_tree(parent: etree._Element, namespace: str, tree: XmlNode) -> None:
    """A tree as the last child, all of it in one namespace."""
    element = etree.SubElement(parent, f"{{{namespace}}}{tree.name}")
    if tree.text:
        element.text = tree.text
    for name, value in tree.attributes:
        element.set(name, value)
    for child in tree.children:
        append_tree(element, namespace, child)


def request_document(
    request_id: RequestId, variant: CommandVariant, *, service_reference: str, srv: str, body: XmlNode
) -> bytes:
    """A request without signature; `body`: the single element inside Body."""
    root = etree.Element(f"{{{SR}}}Request", nsmap={"sr": SR}, schemaVersion=SCHEMA_VERSION)
    header = (
        XmlNode("RequestID", str(request_id)),
        XmlNode("CommandVariant", str(int(variant))),
        XmlNode("ServiceReference", service_reference),
        XmlNode("ServiceReferenceVariant", srv),
    )
    append_tree(root, SR, XmlNode("Header", children=header))
    append_tree(root, SR, XmlNode("Body", children=(body,)))
    return bytes(etree.tostring(root))
