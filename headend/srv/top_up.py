"""SRV 2.2 Top Up Device: the UTRN goes to the meter as a Consumer Top Up; the meter judges it.

Source: SE 1.2 07-5356-19, D.7.2.3.6 (Consumer Top Up) and its response.
"""

from __future__ import annotations

import re
from typing import Final

from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT, OriginatingDevice, ResultType
from smets1.headend.srv.meter import METERS, command, place_to_command
from smets1.headend.srv.steps import Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS"]

_UTRN: Final = re.compile(r"[0-9]{20}")
_MALFORMED: Final = 0x01  # as ResultType REJECTED_INVALID_TOP_UP
_ACCEPTED: Final = frozenset(
    {
        ResultType.ACCEPTED,
        ResultType.ACCEPTED_SUPPLY_ENABLED,
        ResultType.ACCEPTED_SUPPLY_DISABLED,
        ResultType.ACCEPTED_SUPPLY_ARMED,
    }
)


def _top_up(task: Task) -> PlanRun:
    utrn = task.body.value("UTRN") or ""
    if not _UTRN.fullmatch(utrn):
        raise RefusedByDeviceError("UTRN must be 20 digits", _MALFORMED)
    values, answer = yield from command(
        place_to_command(task),
        PREPAYMENT.cluster_id,
        "consumer_top_up",
        "consumer_top_up_response",
        is_repeatable=False,  # a repeat of one that was accepted would be refused as a duplicate
        originating_device=OriginatingDevice.ENERGY_SERVICE_INTERFACE,
        top_up_code=utrn.encode(),
    )
    result = values["result_type"]
    if result not in _ACCEPTED:
        raise RefusedByDeviceError(f"top-up refused: {_name(result)}", result)
    return succeed("TopUpDeviceRsp", answer=answer)


def _name(result: int) -> str:
    try:
        return ResultType(result).name.lower().replace("_", " ")
    except ValueError:
        return f"result 0x{result:02X}"


PLANS: Final = (
    Plan(
        srv="2.2", body_name="TopUpDevice", response_name="TopUpDeviceRsp", devices=METERS, run=_top_up
    ),
)  # fmt: skip
