"""Equivalent Steps: from a service request to the ZCL frames that do the same on a SMETS1 device.

In: a `steps.Task`. Out: WAN steps, one after the other, and in the end an `Outcome` whose payload is the
`...Rsp` element of MMC-5.4.xsd. One module per service family; `PLANS` says what is built.
Service variants that are in the catalogue but not here are answered with DCC alert N60.
"""

from __future__ import annotations

from typing import Final

from smets1.headend.srv import (
    activation,
    billing,
    billing_logs,
    clock,
    commission,
    configuration,
    credentials,
    device_log,
    event_logs,
    firmware,
    prepayment,
    prepayment_read,
    profiles,
    reads,
    registers,
    supply,
    tariff,
    tariff_read,
    top_up,
)
from smets1.headend.srv.steps import Plan

__all__ = ["PLANS", "Plan"]

_FAMILIES: Final = (
    *(activation, clock, commission, configuration, credentials, device_log, firmware, reads, supply),
    *(top_up, tariff, tariff_read, prepayment, prepayment_read, billing),
    *(billing_logs, event_logs, profiles, registers),
)
PLANS: Final[dict[str, Plan]] = {plan.srv: plan for family in _FAMILIES for plan in family.PLANS}
