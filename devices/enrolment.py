"""What a device's configuration must be before its home is enrolled.

ASSUMPTION. The list is in an unpublished appendix; only three entries are known: privacy PIN removed,
supplier name and contact removed, currency GBP. The others are our guess at "features that DUIS cannot
reach, at benign values". One table for each Group ID; a lab with the real list swaps this module.

Source: migration guide, 4.3.7; TMAD consultation, 2.4 (two verification points; part 1 seen by the consumer,
part 2 operation).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from smets1.devices.parameters import Value

__all__ = ["PRE_ENROLMENT", "DeviceKind", "Requirement", "required_of"]


@unique
class DeviceKind(Enum):
    ESME = "ESME"
    GSME = "GSME"
    PPMID = "PPMID"
    IHD = "IHD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    parameter: str
    value: Value
    part: int
    source: str
    devices: tuple[DeviceKind, ...] = tuple(DeviceKind)


_METERS: Final = (DeviceKind.ESME, DeviceKind.GSME)

_DA: Final = (
    Requirement(parameter="privacy_pin", value="", part=1, source="guide 4.3.7"),
    Requirement(parameter="supplier_name", value="", part=1, source="guide 4.3.7"),
    Requirement(parameter="supplier_contact", value="", part=1, source="guide 4.3.7"),
    Requirement(parameter="currency", value="GBP", part=1, source="guide 4.3.7"),
    Requirement(parameter="keypad_lock", value=600, part=2, source="assumption", devices=_METERS),
    Requirement(parameter="alerts_enabled", value=True, part=2, source="assumption", devices=_METERS),
)

PRE_ENROLMENT: Final = {"DA": _DA}
"""By Group ID. Other groups have tables of their own, which nobody has made yet."""


def required_of(group: str, device: DeviceKind) -> dict[str, tuple[int, Value]]:
    """For `ParameterBook.diff`. Raises KeyError for a Group ID without a table."""
    rows = (row for row in PRE_ENROLMENT[group] if device in row.devices)
    return {row.parameter: (row.part, row.value) for row in rows}
