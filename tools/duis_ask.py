"""One DUIS request to a running home and its answer, for scripts and tests.

answer = await ask(home, "4.1.1", home.esme.eui64)
assert answer.code == "I0"
wh = int(answer.value("ActiveImportRegister", "Value"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

from smets1.errors import InputError
from smets1.eui64 import Eui64
from smets1.headend.catalogue import ServiceVariant, find_variant
from smets1.headend.duis.codes import ServicePath
from smets1.headend.duis.request import XmlNode, read_node
from smets1.headend.store import StoredResponse
from smets1.tools.commands.srv import ready_request
from smets1.tools.home import Home

__all__ = ["DuisAnswer", "answers", "ask", "require_variant"]

_WAIT_S: Final = 3700.0  # a gas answer comes with the meter's next waking


@dataclass(frozen=True, slots=True)
class DuisAnswer:
    """A DUIS response: `xml` as it went out, `root` as read."""

    xml: bytes
    root: XmlNode

    @classmethod
    def of(cls, octets: bytes) -> DuisAnswer:
        """From the home's own head end; a year of half hours is longer than a foreign document may be."""
        return cls(octets, read_node(etree.fromstring(octets)))

    @property
    def code(self) -> str:
        """The ResponseCode; empty for a device alert, which has none."""
        return self.value("ResponseCode") or ""

    def value(self, *path: str) -> str | None:
        """The text of the first element at the end of this path of names, anywhere below; None: not there."""
        node: XmlNode | None = self.root
        for name in path:
            node = None if node is None else next(node.below(name), None)
        return None if node is None else node.text

    def values(self, name: str) -> list[str]:
        """The texts of all elements of that name, in order."""
        return [node.text for node in self.root.below(name)]


def require_variant(srv: str) -> ServiceVariant:
    """Raises InputError where DUIS has none of that number."""
    variant = find_variant(srv)
    if variant is None:
        raise InputError(f"{srv!r} is no service reference variant: `smets1 srv` lists them")
    return variant


async def ask(
    home: Home,
    srv: str,
    target: Eui64,
    *,
    wait_s: float = _WAIT_S,
    token: str | None = None,
    change: Callable[[str], str] = lambda xml: xml,
) -> DuisAnswer:
    """Submit the ready request of a service reference variant and wait for its final answer.

    `token` for a top-up; `change` makes another request of the ready one. Raises InputError: unknown SRV.
    """
    variant = require_variant(srv)
    options: dict[str, Any] = {} if token is None else {"token": token}
    if srv != "2.2":  # whose counter is made from the time: its low half must be zero
        options["counter"] = home.next_request_counter()
    xml = ready_request(variant, target=target, now=home.clock.utc, **options)
    path = ServicePath.NON_DEVICE if variant.non_device else ServicePath.SEND_COMMAND
    octets = await home.headend.submit(change(xml).encode(), path, wait_s=wait_s)
    return DuisAnswer.of(octets)


def answers(home: Home) -> list[StoredResponse]:
    """The final responses that the head end has given, without the alerts, oldest first."""
    return [each for each in home.headend.responses() if each.key is not None]
