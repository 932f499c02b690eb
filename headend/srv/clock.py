"""SRV 6.11 Synchronise Clock: the time and the tolerance go to the meter, which looks at the hub's clock.

A gas meter hears of it when it wakes, half an hour late perhaps, so nothing is set from the request's own
time. The meter judges whether it trusts the time that it has from the hub (`firmware/time_keeper.py`), says
so, and then compares its clock with the Time cluster of the hub. **Assumption**: beyond the tolerance the
request has still been carried out, and the answer's status says what came of it.
Source: DUIS-5.4.xsd, SynchroniseClock; MMC-5.4.xsd, SynchroniseClockRsp, StatusASN1.
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.civil import format_utc, from_zigbee_s, zigbee_s
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.headend.duis.response import node
from smets1.headend.srv.content import require, utc_us
from smets1.headend.srv.meter import METERS, command, place_to_command
from smets1.headend.srv.steps import Plan, PlanRun, Task, succeed

__all__ = ["PLANS"]

_MAX_TOLERANCE_S: Final = 86_400
_MAX_S: Final = 0xFFFFFFFE

# ClockStatus of the device's cluster -> the word of the schema.
_STATUSES: Final = {0: "invalid", 1: "reliable", 2: "unreliable"}


def _synchronise(task: Task) -> PlanRun:
    current_s, tolerance_s = _current_s(task), task.body.value("TolerancePeriod") or ""
    is_tolerance = tolerance_s.isdecimal() and int(tolerance_s) <= _MAX_TOLERANCE_S
    require(is_tolerance, f"TolerancePeriod is 0 to {_MAX_TOLERANCE_S} s")
    values, answer = yield from command(
        place_to_command(task),
        DEVICE_INFORMATION.cluster_id,
        "synchronise_clock",
        "clock_state",
        is_critical=True,
        current_time=current_s,
        tolerance_s=int(tolerance_s),
    )
    code = values["clock_status"]
    status = _STATUSES.get(code, "invalid")
    if task.is_gas:
        told = node("Gas", [node("GasClockTimeStatus", [node("ASN1Status", status)], ResponseCode=code)])
    else:
        told = node(
            "Electricity", [node("ElecClockTimeStatus", [node("TimeStatus", status)], TimeStatusCode=code)]
        )
    time_s = values["device_time"]
    shown = None if time_s is None else format_utc(from_zigbee_s(time_s))
    return succeed("SynchroniseClockRsp", node("DeviceTime", shown), told, answer=answer)


def _current_s(task: Task) -> int:
    text = task.body.value("CurrentDateTime")
    seconds = zigbee_s(utc_us(text))
    require(0 < seconds <= _MAX_S, f"CurrentDateTime cannot be {text}")
    return seconds


PLANS: Final = (
    Plan(
        srv="6.11",
        body_name="SynchroniseClock",
        response_name="SynchroniseClockRsp",
        devices=METERS,
        run=_synchronise,
    ),
)
