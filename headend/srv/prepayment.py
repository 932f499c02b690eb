"""What a supplier writes to an account: 1.5 balance, 1.6 mode, 2.1 configuration, 2.3 debt, 2.5 emergency.

Amounts are 1/1000 pence; an electricity debt rate is value x 10^PriceScale pounds, a gas one 1/1000 pence. Of
services with several commands the last makes all of them count (`devices/prepayment_clusters.py`).

Source: DUIS-5.4.xsd, the types of the bodies named below; SE 1.2 07-5356-19, D.7.2.3.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

from smets1.firmware.zcl.clusters.calendar import CALENDAR
from smets1.firmware.zcl.clusters.prepayment import (
    CREDIT_CONTROL,
    PREPAYMENT,
    PREPAYMENT_CONTROL,
    CreditAdjustmentType,
    OriginatingDevice,
    PaymentControl,
)
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.status import Status
from smets1.firmware.zcl.types import ZclDate
from smets1.headend.duis.request import XmlNode
from smets1.headend.srv.calendars import (
    GAS_NON_DISABLEMENT,
    calendar_frames,
    minute_of,
    zcl_date,
)
from smets1.headend.srv.content import index_of, number, require, required
from smets1.headend.srv.dated import NOW_S, WITHDRAW_S, set_id, start_s
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS, Place, command, place_to_command, read
from smets1.headend.srv.steps import Answer, Plan, PlanRun, RefusedByDeviceError, Step, Task, succeed
from smets1.headend.srv.tariff import publish

__all__ = ["PLANS", "WEEKDAYS"]

_KEEP_CUT_OFF: Final = 0x7FFFFFFF
_INT32_MAX: Final = 2**31 - 1
_MP_DIGITS: Final = 5
_PERIODS: Final = {"HOURLY": 0, "DAILY": 1}
_BY_TIME, _BY_PERCENTAGE = 0, 1
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DATE: Final = re.compile(r"(\d{4,5})-(\d\d)-(\d\d)(Z|[+-]\d\d:\d\d)?")
_EACH_YEAR: Final = 65535

_Ordered = Generator[Step, Answer, Answer]


def _order(task: Task, place: Place, name: str, *, is_last: bool, **values: Value) -> _Ordered:
    """One Critical Instruction of the Prepayment cluster; those before the last only gather."""
    _, answer = yield from command(
        place, PREPAYMENT.cluster_id, name, None, is_critical=True, is_repeatable=not is_last, **values
    )
    return answer


def _flag(element: XmlNode, name: str) -> bool:
    return element.value(name) in ("true", "1")


# --- 1.5 and 1.6 --------------------------------------------------------------------------------------------


def _update_balance(task: Task) -> PlanRun:
    """The body says for which mode the supplier means it; in the other nothing is changed."""
    wanted = task.body.find("PrepaymentMode")
    change = required(wanted or task.body.find("CreditMode"), "neither CreditMode nor PrepaymentMode")
    place = place_to_command(task)
    values, _ = yield from read(place, PREPAYMENT.cluster_id, "payment_control_configuration")
    is_prepayment = bool((values.get("payment_control_configuration") or 0) & PaymentControl.PREPAYMENT)
    if is_prepayment != (wanted is not None):
        mode = "prepayment" if is_prepayment else "credit"
        raise RefusedByDeviceError(f"the meter is in {mode} mode", Status.ACTION_DENIED)
    is_reset = change.find("ResetMeterBalance") is not None
    kinds = CreditAdjustmentType
    answer = yield from _order(
        task,
        place,
        "credit_adjustment",
        is_last=True,
        issuer_event_id=task.issuer_event_id,
        start_time=NOW_S,
        credit_adjustment_type=kinds.CREDIT_ABSOLUTE if is_reset else kinds.CREDIT_INCREMENTAL,
        credit_adjustment_value=0 if is_reset else number(change, "AdjustMeterBalance"),
    )
    return succeed("UpdateMeterBalanceRsp", answer=answer)


def _update_mode(task: Task) -> PlanRun:
    prepayment = task.body.find("Prepayment")
    control, cut_off_mp = CREDIT_CONTROL, _KEEP_CUT_OFF
    if prepayment is not None:
        suspensions = (_flag(prepayment, "SuspendDebtEmergency"), _flag(prepayment, "SuspendDebtDisabled"))
        control, cut_off_mp = PREPAYMENT_CONTROL[suspensions], number(prepayment, "DisablementThreshold")
        require(abs(cut_off_mp) < _INT32_MAX, "DisablementThreshold is out of range")
    _, answer = yield from command(
        place_to_command(task),
        PREPAYMENT.cluster_id,
        "change_payment_mode",
        "change_payment_mode_response",
        is_critical=True,
        is_repeatable=False,
        provider_id=task.provider_id,
        issuer_event_id=task.issuer_event_id,
        implementation_date_time=start_s(task),
        proposed_payment_control_configuration=control,
        cut_off_value=cut_off_mp,
    )
    return succeed("UpdatePaymentModeRsp", answer=answer)


# --- 2.1 ----------------------------------------------------------------------------------------------------


def _amount(element: XmlNode, name: str) -> int:
    amount = number(element, name)
    require(0 <= amount <= _INT32_MAX, f"{name} {amount} is out of range")
    return amount


def _configure(task: Task) -> PlanRun:
    name = "UpdatePrepayConfigGas" if task.is_gas else "UpdatePrepayConfigElectricity"
    config = required(task.body.find(name), "the configuration is that of the other fuel")
    place, start = place_to_command(task), start_s(task)
    ids = {
        "provider_id": task.provider_id,
        "issuer_event_id": set_id(task),
        "implementation_date_time": start,
    }
    limits = {
        "emergency_credit_limit": _amount(config, "EmergencyCreditLimit"),
        "emergency_credit_threshold": _amount(config, "EmergencyCreditThreshold"),
    }
    most = {
        "maximum_credit_level": _amount(config, "MaxMeterBalance"),
        "maximum_credit_per_top_up": _amount(config, "MaxCreditThreshold"),
    }
    cap, low = _amount(config, "DebtRecoveryRateCap"), _amount(config, "LowCreditThreshold")
    if start != WITHDRAW_S:
        yield from (_gas_calendar if task.is_gas else _electricity_calendar)(task, place, config)
        yield from _order(task, place, "set_maximum_credit_limit", is_last=False, **ids, **most)
        yield from _order(task, place, "set_overall_debt_cap", is_last=False, **ids, overall_debt_cap=cap)
        yield from _order(
            task, place, "set_low_credit_warning_level", is_last=False, low_credit_warning_level=low
        )
    answer = yield from _order(
        task,
        place,
        "emergency_credit_setup",
        is_last=True,
        issuer_event_id=ids["issuer_event_id"],
        start_time=start,
        **limits,
    )
    return succeed("UpdatePrepayConfigurationRsp", answer=answer)


def _gas_calendar(task: Task, place: Place, config: XmlNode) -> Generator[Step, Answer, None]:
    calendar = config.find("GasNonDisablementCalendar") or config
    ids = {
        "provider_id": task.provider_id,
        "issuer_event_id": task.issuer_event_id,
        "issuer_calendar_id": set_id(task),
    }
    for frame in list(calendar_frames(GAS_NON_DISABLEMENT, calendar, calendar.find("SpecialDays"), ids)):
        yield from publish(place, CALENDAR.cluster_id, frame)


def _electricity_calendar(task: Task, place: Place, config: XmlNode) -> Generator[Step, Answer, None]:
    calendar = config.find("ElectricityNonDisablementCalendar") or config
    special = calendar.find("ElectricitySpecialDays")
    days = {index_of(day): zcl_date(day.find("Date") or day) for day in (special.children if special else ())}
    require(sorted(days) == list(range(1, len(days) + 1)), "the special days are not numbered from 1 on")
    rules = [
        _rule(child, len(days))
        for child in calendar.children
        if child.name == "ElectricityNonDisablementSchedule"
    ]
    yield from command(
        place,
        DEVICE_INFORMATION.cluster_id,
        "publish_disablement_rules",
        None,
        is_critical=True,
        day_count=len(days),
        days=[{"date": days[index]} for index in sorted(days)],
        rule_count=len(rules),
        rules=rules,
    )


def _rule(schedule: XmlNode, day_count: int) -> dict[str, Value]:
    weekdays = _all(schedule.find("DaysOfWeekApplicability"), "DayOfWeekID")
    special = [int(text) for text in _all(schedule.find("SpecialDaysApplicability"), "SpecialDayID")]
    require(all(1 <= day <= day_count for day in special), "a schedule names a special day that is not there")
    dates = schedule.find("ScheduleDatesAndTime") or schedule
    return {
        "minute": minute_of(dates.value("SwitchTime")),
        "is_start": schedule.value("NonDisablementScript") == "START",
        "weekdays": sum(1 << index for index, day in enumerate(WEEKDAYS) if day in weekdays),
        "special_days": sum(1 << (day - 1) for day in set(special)),
        "start_date": _date(dates.value("StartDate")),
        "end_date": _date(dates.value("EndDate")),
    }


def _all(parent: XmlNode | None, name: str) -> list[str]:
    return [child.value(name) or "" for child in (parent.children if parent else ())]


def _date(text: str | None) -> ZclDate:
    """An xs:date; the year 65535 is each year."""
    match = required(_DATE.fullmatch(text or ""), f"{text} is no date")
    year = int(match[1])
    require(year == _EACH_YEAR or 1900 <= year < 2155, f"the year {year} is beyond a calendar's")
    return ZclDate(0xFF if year == _EACH_YEAR else year - 1900, int(match[2]), int(match[3]), 0xFF)


# --- 2.3 and 2.5 --------------------------------------------------------------------------------------------


def _update_debt(task: Task) -> PlanRun:
    place, body = place_to_command(task), task.body
    share = number(body, "DebtRecoveryPerPayment")
    require(0 <= share <= 10_000, "DebtRecoveryPerPayment is out of range")
    common = {
        "issuer_event_id": set_id(task),
        "debt_recovery_start_time": NOW_S,
        "debt_recovery_collection_time": 0,
    }
    debts: list[dict[str, Value]] = [
        {
            **common,
            "debt_label": f"Debt {place_number}".encode(),
            "debt_amount": _amount(body, f"TimeDebtRegister{place_number}"),
            "debt_amount_type": 2 * (place_number - 1),
            "debt_recovery_method": _BY_TIME,
            **_recovery(task, place_number),
            "debt_recovery_balance_percentage": 0,
        }
        for place_number in (1, 2)
    ]
    debts.append(
        {
            **common,
            "debt_label": b"Debt 3",
            "debt_amount": _amount(body, "PaymentDebtRegister"),
            "debt_amount_type": 4,
            "debt_recovery_method": _BY_PERCENTAGE,
            "debt_recovery_frequency": 0,
            "debt_recovery_amount": 0,
            "debt_recovery_balance_percentage": share,
        }
    )
    for debt in debts[:-1]:
        yield from _order(task, place, "change_debt", is_last=False, **debt)
    answer = yield from _order(task, place, "change_debt", is_last=True, **debts[-1])
    return succeed("UpdateDebtRsp", answer=answer)


def _recovery(task: Task, place_number: int) -> dict[str, Value]:
    """How fast one time-based debt is recovered; 1/1000 pence each period."""
    name = f"{'Gas' if task.is_gas else 'Elec'}DebtRecovery{place_number}"
    rate = required(task.body.find(name), "the debt recovery is that of the other fuel")
    amount = number(rate, "DebtRecoveryRate")
    if not task.is_gas:
        scale = number(rate, "DebtRecoveryRatePriceScale") + _MP_DIGITS
        require(scale <= 2 * _MP_DIGITS, "DebtRecoveryRatePriceScale is out of range")
        amount, rest = divmod(amount * 10 ** max(scale, 0), 10 ** max(-scale, 0))
        require(rest == 0, "DebtRecoveryRate is finer than 1/1000 penny")
    require(0 <= amount <= _INT32_MAX, "DebtRecoveryRate is out of range")
    period = required(
        _PERIODS.get(rate.value("DebtRecoveryRatePeriod") or ""),
        "DebtRecoveryRatePeriod is neither HOURLY nor DAILY",
    )
    return {"debt_recovery_amount": amount, "debt_recovery_frequency": period}


def _activate_emergency(task: Task) -> PlanRun:
    answer = yield from _order(
        task,
        place_to_command(task),
        "select_available_emergency_credit",
        is_last=True,
        command_issue_date_time=task.accepted_zigbee_s,
        originating_device=OriginatingDevice.ENERGY_SERVICE_INTERFACE,
    )
    return succeed("ActivateEmergencyCreditRsp", answer=answer)


PLANS: Final = tuple(
    Plan(srv=srv, body_name=name, response_name=f"{name}Rsp", devices=METERS, run=run, is_whole=is_whole)
    for srv, name, run, is_whole in (
        ("1.5", "UpdateMeterBalance", _update_balance, True),
        ("1.6", "UpdatePaymentMode", _update_mode, False),
        ("2.1", "UpdatePrepayConfiguration", _configure, True),
        ("2.3", "UpdateDebt", _update_debt, True),
        ("2.5", "ActivateEmergencyCredit", _activate_emergency, False),
    )
)
