"""What plans have in common where they read a request's body and write an answer."""

from __future__ import annotations

from typing import TypeVar

from smets1.errors import InputError
from smets1.firmware.civil import parse_utc
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import element
from smets1.headend.srv.steps import RefusedByDeviceError, Task

__all__ = ["fuel_node", "index_of", "invalid", "number", "require", "required", "utc_us"]

_T = TypeVar("_T")


def invalid(reason: str) -> RefusedByDeviceError:
    """For a request that no device can carry out: raise it."""
    return RefusedByDeviceError(reason, Status.INVALID_FIELD)


def require(is_so: bool, reason: str) -> None:
    """Raises RefusedByDeviceError where it is not."""
    if not is_so:
        raise invalid(reason)


def required(value: _T | None, reason: str) -> _T:
    """What must be there. Raises RefusedByDeviceError for None."""
    if value is None:
        raise invalid(reason)
    return value


def number(element: XmlNode, *path: str) -> int:
    """Of an element that the schema wants to be there. Raises RefusedByDeviceError."""
    text = element.value(*path)
    try:
        return int(text or "")
    except ValueError:
        raise invalid(f"{path[-1] if path else element.name} is no number") from None


def index_of(element: XmlNode) -> int:
    """Its attribute `index`, which the schema wants to be there. Raises RefusedByDeviceError."""
    try:
        return int(dict(element.attributes)["index"])
    except (KeyError, ValueError):
        raise invalid(f"{element.name} has no index") from None


def utc_us(text: str | None) -> int:
    """Microseconds since 1970. Raises RefusedByDeviceError for what is no time."""
    try:
        return parse_utc(text or "")
    except InputError as error:
        raise invalid(str(error)) from None


def fuel_node(task: Task, *content: XmlNode | None) -> XmlNode:
    """The element of an answer that says of which fuel the meter is."""
    return element("Gas" if task.is_gas else "Electricity", content)
