"""The 18 checks that the S1SP makes of every home in a Migration Common File (TMAD table 5.10).

That there are 18 is public (guide, table 5, step 9); what they are is not, so the list is an **assumption**:
each stands for a rule that the documents do state. All are made, and every failure is listed in the MVF.
A laboratory that has table 5.10 replaces `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from smets1.eui64 import Eui64, format_eui64
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.files import (
    CommissionedBy,
    Installation,
    Supply,
    SupplyStatus,
    ValidationFailure,
)
from smets1.headend.migration.registry import EligibleProducts, Registry, is_mpan

__all__ = ["CHECKS", "Check", "CheckContext", "validate"]

_SMETS1_TYPES: Final = frozenset(DeviceType) - {DeviceType.HCALCS}
_SINGLE: Final = (DeviceType.PPMID, DeviceType.IHD, DeviceType.CAD)


class CheckContext(Protocol):
    """What the checks may know besides the file."""

    group_id: str
    registry: Registry
    products: EligibleProducts
    makers: frozenset[str]  # whose devices belong to the cohort; others are third-party (2.5)

    def is_enrolled(self, device: Eui64) -> bool:
        """In the Smart Metering Inventory already, in a status that counts."""

    def is_point_enrolled(self, mpxn: str) -> bool: ...
    def seen_elsewhere(self, device: Eui64, hub: Eui64) -> bool:
        """Another home of the same file, or one under migration, has the device."""

    def is_authorised(self, mpxn: str) -> bool:
        """A Migration Authorisation of the present week, or deemed to be given (4.27)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    number: int  # 1..18
    clause: str
    title: str
    find: Callable[[Installation, CheckContext], str | None]  # the reason of a failure


def validate(home: Installation, context: CheckContext) -> tuple[ValidationFailure, ...]:
    """Every check that fails, in order; empty: the home is valid."""
    found = []
    for check in CHECKS:
        reason = check.find(home, context)
        if reason is not None:
            found.append(
                ValidationFailure(
                    check=check.number, clause=check.clause, reason=f"{check.title}: {reason}"[:200]
                )
            )
    return tuple(found)


# --- devices ------------------------------------------------------------------------------------------


def _hub_is_device(home: Installation, context: CheckContext) -> str | None:
    hubs = [entry.device for entry in home.of_type(DeviceType.CHF)]
    return None if hubs == [home.hub] else "the CHFIdentifier is not that of the one CHF listed"


def _hub_is_new(home: Installation, context: CheckContext) -> str | None:
    return "it is enrolled already" if context.is_enrolled(home.hub) else None


def _one_esme(home: Installation, context: CheckContext) -> str | None:
    count = len(home.of_type(DeviceType.ESME))
    return None if count == 1 else f"{count} are listed"


def _one_gsme(home: Installation, context: CheckContext) -> str | None:
    count = len(home.of_type(DeviceType.GSME))
    return None if count <= 1 else f"{count} are listed"


def _one_gpf(home: Installation, context: CheckContext) -> str | None:
    count, wanted = len(home.of_type(DeviceType.GPF)), len(home.of_type(DeviceType.GSME))
    if count > 1 or count < wanted:
        return f"{count} are listed for {wanted} gas meters"
    return None


def _single_displays(home: Installation, context: CheckContext) -> str | None:
    double = [kind.value for kind in _SINGLE if len(home.of_type(kind)) > 1]
    return f"more than one {', '.join(double)}" if double else None


def _known_types(home: Installation, context: CheckContext) -> str | None:
    strange = sorted({e.device_type.value for e in home.devices if e.device_type not in _SMETS1_TYPES})
    return f"{', '.join(strange)} is no SMETS1 device type" if strange else None


def _cohort_devices(home: Installation, context: CheckContext) -> str | None:
    strange = [e for e in home.devices if e.manufacturer not in context.makers]
    return (
        f"{format_eui64(strange[0].device)} is of {strange[0].manufacturer or 'nobody'}" if strange else None
    )


def _distinct_devices(home: Installation, context: CheckContext) -> str | None:
    devices = [entry.device for entry in home.devices]
    return "one is listed twice" if len(set(devices)) != len(devices) else None


def _devices_elsewhere(home: Installation, context: CheckContext) -> str | None:
    for entry in home.devices:
        if context.is_enrolled(entry.device) or context.seen_elsewhere(entry.device, home.hub):
            return f"{format_eui64(entry.device)} belongs to another home"
    return None


def _eligible(home: Installation, context: CheckContext) -> str | None:
    if context.products.is_eligible(context.group_id, home.combination):
        return None
    shown = ", ".join(f"{kind} {model} {firmware}" for kind, model, firmware in sorted(home.combination))
    return f"not on the EPCL: {shown}"


# --- meter points -------------------------------------------------------------------------------------


def _points_fit_meters(home: Installation, context: CheckContext) -> str | None:
    wanted = (home.first(DeviceType.ESME) is not None, home.first(DeviceType.GSME) is not None)
    given = (home.electricity is not None, home.gas is not None)
    return None if wanted == given else "each meter needs its ImportMPxN, and no other may be given"


def _mpan(home: Installation, context: CheckContext) -> str | None:
    if home.electricity is None or is_mpan(home.electricity.mpxn):
        return None
    return f"{home.electricity.mpxn} is not 13 digits with a true check digit"


def _mprn(home: Installation, context: CheckContext) -> str | None:
    if home.gas is None or 6 <= len(home.gas.mpxn.lstrip("0")) <= 10:
        return None
    return f"{home.gas.mpxn} has not 6 to 10 digits, leading zeros apart"


def _points_are_new(home: Installation, context: CheckContext) -> str | None:
    known = [s.mpxn for s in home.supplies if context.is_point_enrolled(s.mpxn)]
    return f"{known[0]} is enrolled already" if known else None


def _registered(home: Installation, context: CheckContext) -> str | None:
    for supply in home.supplies:
        registration = context.registry.find(supply.mpxn)
        if registration is None:
            return f"{supply.mpxn} is not registered"
        if (registration.supplier, registration.status) != (supply.supplier, supply.status):
            return f"{supply.mpxn} is registered to another supplier, or in another status"
    return None


def _authorised(home: Installation, context: CheckContext) -> str | None:
    missing = [s.mpxn for s in home.supplies if not context.is_authorised(s.mpxn)]
    return f"no Migration Authorisation for {', '.join(missing)}" if missing else None


def _certificates(home: Installation, context: CheckContext) -> str | None:
    """The suppliers' and network operators', and who may commission (guide, 4.5.5)."""
    for supply in home.supplies:
        reason = _supply_certificates(supply, context.registry)
        if reason is not None:
            return reason
    if home.commissioned_by is CommissionedBy.SUPPLIER:
        suppliers = {supply.supplier for supply in home.supplies}
        if len(suppliers) > 1 or any(s.status is SupplyStatus.DORMANT for s in home.supplies):
            return (
                "a split supply, or a home with a dormant meter, is commissioned by the Commissioning Party"
            )
    return None


def _supply_certificates(supply: Supply, registry: Registry) -> str | None:
    if supply.certificate is not None and registry.owner_of(supply.certificate) != supply.supplier:
        return f"{supply.mpxn}: SupplierCertificate is not the supplier's"
    registration, network = registry.find(supply.mpxn), supply.network
    if network is None or registration is None:
        return None
    owner = registry.owner_of(network.certificate)
    if owner == network.network_operator == registration.network_operator:
        return None
    return f"{supply.mpxn}: NetworkOperatorCertificate is not the network operator's"


CHECKS: Final = tuple(
    Check(number=number, clause=f"5.10.{number}", title=title, find=find)
    for number, (title, find) in enumerate(
        (
            ("CHFIdentifier", _hub_is_device),
            ("CHF not enrolled", _hub_is_new),
            ("one ESME", _one_esme),
            ("at most one GSME", _one_gsme),
            ("one GPF for a GSME", _one_gpf),
            ("one PPMID, IHD and CAD at most", _single_displays),
            ("SMETS1 device types only", _known_types),
            ("no third-party devices", _cohort_devices),
            ("every device once", _distinct_devices),
            ("devices of no other home", _devices_elsewhere),
            ("Device Model Combination", _eligible),
            ("meter points and meters", _points_fit_meters),
            ("MPAN", _mpan),
            ("MPRN", _mprn),
            ("meter points not enrolled", _points_are_new),
            ("registration", _registered),
            ("authorisation", _authorised),
            ("certificates and commissioning", _certificates),
        ),
        start=1,
    )
)
"""Numbered from 1, as 5.10.1 to 5.10.18."""
