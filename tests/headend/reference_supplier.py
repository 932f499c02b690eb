"""A supplier who sends DCC's reference requests to one whole home and reads back what it wrote.

What is changed in a request (a date, a device, an amount) is changed in its text, so that everything else is
DCC's own. `shape` makes one what DUIS and MMC call by two names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree
from tests.headend.reference_table import NS, signed_precommand

from smets1.headend.duis.codes import CommandVariant, ServicePath
from smets1.headend.duis.request import DuisRequest, XmlNode, parse_request, read_node
from smets1.tools.home import Home

__all__ = ["Change", "Supplier", "deep", "rows", "shape", "texts"]

Change = tuple[str, str]
"""A text of the request, and what stands in its place."""

_DATE: Final = re.compile(rb"<sr:ExecutionDateTime>[^<]*</sr:ExecutionDateTime>")
_COUNTER: Final = re.compile(rb"(<sr:RequestID>[^:]+:[^:]+:)\d+")
_WAIT_S: Final = 7200
_SAME: Final = {
    "Day": "DayName",
    "GasDayName": "DayName",
    "ReferencedElecDay": "ReferencedDayName",
    "ReferencedDay": "ReferencedDayName",
    "TariffTOUPrice": "TOUPrice",
    "TariffBlockPrices": "BlockPrices",
    "ElecTariffThresholds": "Thresholds",
}


@dataclass
class Supplier:
    """Every answer is valid by the schema, and is kept."""

    home: Home
    templates: dict[str, DuisRequest]
    schema: etree.XMLSchema
    octets: list[bytes] = field(default_factory=list)

    def has(self, start: str, text: str) -> bool:
        return any(
            text.encode() in found.xml for name, found in self.templates.items() if name.startswith(start)
        )

    def request(self, start: str, *changes: Change, at_once: bool = True) -> DuisRequest:
        """The reference request whose name begins so, under an id of its own; `at_once`: without its date."""
        (xml,) = (found.xml for name, found in self.templates.items() if name.startswith(start))
        xml = _DATE.sub(b"", xml) if at_once else xml
        for old, new in changes:
            assert old.encode() in xml, old
            xml = xml.replace(old.encode(), new.encode())
        counter = str(self.home.next_request_counter()).encode()
        return parse_request(_COUNTER.sub(rb"\g<1>" + counter, xml))

    async def send(self, request: DuisRequest, *, may_fail: bool = False) -> XmlNode:
        """Through Transform and back where the request asks for it; the `...Rsp` element.

        Of what no device is asked: the ResponseMessage, or a node `refused` with the code where it `may_fail`.
        """
        is_device = request.command_variant is not CommandVariant.NON_DEVICE
        octets = await self._submit(request)
        root = etree.fromstring(octets)
        self.schema.assertValid(root)
        self.octets.append(octets)
        code = root.findtext("sr:Header/sr:ResponseCode", namespaces=NS)
        if not is_device:
            assert code == "I0" or may_fail, octets.decode()
            message = root.find("sr:Body/sr:ResponseMessage", NS)
            return read_node(message) if code == "I0" else XmlNode("refused", code or "")
        assert code == "I0", octets.decode()
        answer = read_node(root.find(".//ra:SMETSData", NS)[0])
        assert may_fail or dict(answer.attributes)["MessageSuccess"] == "true", octets.decode()
        return answer

    async def _submit(self, request: DuisRequest) -> bytes:
        submit = self.home.headend.submit
        if request.command_variant is CommandVariant.NON_DEVICE:
            return await submit(request.xml, ServicePath.NON_DEVICE, wait_s=_WAIT_S)
        if request.command_variant is not CommandVariant.TRANSFORM:
            return await submit(request.xml, ServicePath.SEND_COMMAND, wait_s=_WAIT_S)
        root = etree.fromstring(await submit(request.xml, ServicePath.TRANSFORM, wait_s=_WAIT_S))
        payload = root.findtext(".//sr:PreCommand/sr:GBCSPayload", namespaces=NS)
        return await submit(signed_precommand(request, payload), ServicePath.SEND_COMMAND, wait_s=_WAIT_S)

    async def template(self, start: str, *changes: Change, at_once: bool = True) -> XmlNode:
        """Send one, which is done; its body as sent."""
        request = self.request(start, *changes, at_once=at_once)
        await self.send(request)
        return request.body

    async def read(self, start: str, *changes: Change, may_fail: bool = False) -> XmlNode:
        return await self.send(self.request(start, *changes), may_fail=may_fail)


# --- comparing ---------------------------------------------------------------------------------------------


def shape(element: XmlNode | None) -> Any:
    """Name, index, text and children, with the names that DUIS and MMC do not share made one."""
    assert element is not None
    children = element.children
    if len(children) == 1 and children[0].name == "Date" and element.name == "SpecialDay":
        children = children[0].children  # as MMC writes electricity's non-disablement days
    text = element.text
    if re.fullmatch(r"-?\d+", text):
        text = str(int(text))
    if re.fullmatch(r"\d\d:\d\d:00(\.0+)?Z?", text):
        text = text[:5]
    text = re.sub(r"\.0+Z$", "Z", text)
    index = dict(element.attributes).get("index", "")
    return _SAME.get(element.name, element.name), index, text, [shape(child) for child in children]


def rows(element: XmlNode | None) -> list[Any]:
    """The children's shapes; those in no order that matters are sorted."""
    return sorted(shape(element)[3], key=repr) if element else []


def deep(element: XmlNode, name: str) -> Iterator[XmlNode]:
    """All elements of a name, however deep, in their order."""
    for child in element.children:
        if child.name == name:
            yield child
        else:
            yield from deep(child, name)


def texts(element: XmlNode, name: str) -> list[str]:
    """What all elements of a name say; numbers and times as one would write them."""
    return [_plain(found.text) for found in deep(element, name)]


def _plain(text: str) -> str:
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text.rstrip("0").rstrip(".") if "." in text else text
    return re.sub(r"\.0+Z$", "Z", text)
