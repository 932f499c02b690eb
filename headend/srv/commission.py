"""SRV 8.1.1 Commission Device: the S1SP answers, and the inventory changes; see `effects`.

A SMETS1 meter runs and keeps time before it is ever commissioned, so nothing has to reach it (migration
guide, 7.2.1). Source: MMC-5.4.xsd, CommissionDeviceSynchroniseClockRsp.
"""

from __future__ import annotations

from typing import Final

from smets1.headend.srv.content import utc_us
from smets1.headend.srv.meter import METERS
from smets1.headend.srv.steps import Plan, PlanRun, Task, succeed

__all__ = ["PLANS"]


def _commission(task: Task) -> PlanRun:
    utc_us(task.body.value("CurrentDateTime"))
    yield from ()  # a plan that asks no device
    return succeed("CommissionDeviceSynchroniseClockRsp", answer=None)


PLANS: Final = (
    Plan(
        srv="8.1.1",
        body_name="CommissionDeviceSynchroniseClock",
        response_name="CommissionDeviceSynchroniseClockRsp",
        devices=METERS,
        run=_commission,
    ),
)
