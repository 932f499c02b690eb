"""4.13 Read Prepayment Configuration, asked of the meter itself: a gas meter answers when it wakes.

Whether debts are suspended shows in PaymentControlConfiguration in prepayment mode only; in credit mode the
answer leaves it out. Electricity rates come with the scale that makes them shortest.
Source: MMC-5.4.xsd, ReadPrepaymentConfigurationRsp.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT, PaymentControl
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.status import Status
from smets1.firmware.zcl.types import ZclDate
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.calendars import GAS_NON_DISABLEMENT, date_node, read_calendar, time_text
from smets1.headend.srv.content import fuel_node
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS_AND_PROXY, Place, command, place_to_command, read
from smets1.headend.srv.prepayment import WEEKDAYS
from smets1.headend.srv.steps import Answer, Plan, PlanRun, RefusedByDeviceError, Step, Task, succeed

__all__ = ["PLANS"]

_NO_CAP: Final = 0x7FFFFFFF
_ANY_YEAR: Final = 0xFF

_LIMITS: Final = {
    "DebtRecoveryPerPayment": "debt_recovery_top_up_percentage_3",
    "DebtRecoveryRateCap": "overall_debt_cap",
    "DisablementThreshold": "cut_off_value",
    "EmergencyCreditLimit": "emergency_credit_limit_allowance",
    "EmergencyCreditThreshold": "emergency_credit_threshold",
    "LowCreditThreshold": "low_credit_warning_level",
    "CreditMaxCreditThreshold": "max_credit_per_top_up",
    "MaxCreditMaxMeterBalance": "max_credit_limit",
}
_OTHERS: Final = (
    "payment_control_configuration",
    "debt_recovery_amount_1",
    "debt_recovery_frequency_1",
    "debt_recovery_amount_2",
    "debt_recovery_frequency_2",
)


def _read_configuration(task: Task) -> PlanRun:
    place = place_to_command(task)
    values, answer = yield from read(place, PREPAYMENT.cluster_id, *_LIMITS.values(), *_OTHERS)
    try:
        calendar = yield from (_gas_calendar if task.is_gas else _electricity_calendar)(place)
    except RefusedByDeviceError as error:
        if error.status != Status.NOT_FOUND:
            raise
        calendar = None
    control = values.get("payment_control_configuration") or 0
    is_prepayment = bool(control & PaymentControl.PREPAYMENT)
    limits = [node(name, values.get(attribute)) for name, attribute in _LIMITS.items()]
    rates = [_rate(values, place_number, is_gas=task.is_gas) for place_number in (1, 2)]
    mode = None if task.is_gas else node("PaymentMode", "Prepayment" if is_prepayment else "Credit")
    return succeed(
        "ReadPrepaymentConfigurationRsp",
        *(row for row in limits if row != node("DebtRecoveryRateCap", _NO_CAP)),
        node("SuspendDebtDisabled", bool(control & PaymentControl.SUSPEND_DEBT_DISABLED))
        if is_prepayment
        else None,
        node("SuspendDebtEmergency", not control & PaymentControl.COLLECT_DEBT_IN_EMERGENCY)
        if is_prepayment
        else None,
        fuel_node(task, mode, calendar, *rates),
        answer=answer,
    )


def _rate(values: dict[str, Value], place_number: int, *, is_gas: bool) -> XmlNode | None:
    amount = values.get(f"debt_recovery_amount_{place_number}")
    if amount is None:
        return None
    scale = None
    if not is_gas:
        amount, scale = _shortest(amount)
    is_hourly = values.get(f"debt_recovery_frequency_{place_number}") == 0
    return node(
        f"DebtRecovery{place_number}",
        [
            node("DebtRecoveryRate", amount),
            node("DebtRecoveryRatePriceScale", scale),
            node("DebtRecoveryRatePeriod", "HOURLY" if is_hourly else "DAILY"),
        ],
    )


def _shortest(amount_mp: int) -> tuple[int, int]:
    """30 000 -> (3, -1): 3 x 10^-1 pounds."""
    scale = -5
    while amount_mp and amount_mp % 10 == 0:
        amount_mp, scale = amount_mp // 10, scale + 1
    return amount_mp, scale


def _gas_calendar(place: Place) -> Generator[Step, Answer, XmlNode | None]:
    calendar = yield from read_calendar(GAS_NON_DISABLEMENT, place)
    days = node("SpecialDays", calendar.special_days)
    days_first, *others = calendar.table
    profiles = node("DayProfiles", list(days_first.children) if days_first else [])
    return node("NonDisablementCalendar", [profiles, *others, days])


def _electricity_calendar(place: Place) -> Generator[Step, Answer, XmlNode | None]:
    published, _ = yield from command(
        place, DEVICE_INFORMATION.cluster_id, "get_disablement_rules", "disablement_rules"
    )
    special = []
    for index, row in enumerate(published["days"], start=1):
        date = date_node("SpecialDay", row["date"], is_gas=False)
        special.append(node("SpecialDay", list(date.children), index=index))
    rules = [_rule(row) for row in published["rules"]]
    return node("NonDisablementCalendar", [node("ElectricitySpecialDays", special), *rules])


def _rule(row: dict[str, Value]) -> XmlNode | None:
    special = [
        node("SpecialDayApplicability", [node("SpecialDayID", bit + 1)])
        for bit in range(24)
        if row["special_days"] >> bit & 1
    ]
    weekdays = [
        node("DayOfWeekApplicability", [node("DayOfWeekID", day)])
        for bit, day in enumerate(WEEKDAYS)
        if row["weekdays"] >> bit & 1
    ]
    dates = [
        node("SwitchTime", time_text(row["minute"])),
        node("StartDate", _date(row["start_date"])),
        node("EndDate", _date(row["end_date"])),
    ]
    return node(
        "ElectricityNonDisablementSchedule",
        [
            node("NonDisablementScript", "START" if row["is_start"] else "STOP"),
            node("SpecialDaysApplicability", special),
            node("DaysOfWeekApplicability", weekdays),
            node("ScheduleDatesAndTime", dates),
        ],
    )


def _date(date: ZclDate) -> str:
    year = 65535 if date.year_1900 == _ANY_YEAR else date.year_1900 + 1900
    return f"{year:04d}-{date.month:02d}-{date.day:02d}Z"


PLANS: Final = (
    Plan(
        srv="4.13",
        body_name="ReadPrepaymentConfiguration",
        response_name="ReadPrepaymentConfigurationRsp",
        devices=METERS_AND_PROXY,
        run=_read_configuration,
    ),
)
