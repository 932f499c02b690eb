"""6.8 Update Billing Calendar and 6.2.3, which reads it: PublishBillingPeriod.

An electricity calendar names a time, and a weekday or a date; a gas calendar the start of its first period.
Either becomes the start of a period and its length; of electricity's the latest before the request was
accepted, in the month that the calendar names.

Source: DUIS-5.4.xsd, BillingCalendar; MMC-5.4.xsd; SE 1.2 07-5356-19, D.4.2.4.10 (PublishBillingPeriod).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from smets1.firmware.civil import format_utc, from_datetime, from_zigbee_s, parse_utc, to_datetime, zigbee_s
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.calendars import minute_of, time_text
from smets1.headend.srv.content import number, require, required
from smets1.headend.srv.meter import METERS, METERS_AND_PROXY, command, place_to_command
from smets1.headend.srv.steps import Plan, PlanRun, RefusedByDeviceError, Task, succeed
from smets1.headend.srv.tariff import publish

__all__ = ["PLANS"]

# Duration, and its type: 1 days, 2 weeks, 3 months.
_LENGTHS: Final = {
    "Daily": (1, 1),
    "Weekly": (1, 2),
    "Monthly": (1, 3),
    "Quarterly": (3, 3),
    "SixMonthly": (6, 3),
    "Yearly": (12, 3),
}
_NAMES: Final = {length: name for name, length in _LENGTHS.items()}


def _update_calendar(task: Task) -> PlanRun:
    element = "GasBillingCalendar" if task.is_gas else "ElectricityBillingCalendar"
    calendar = required(task.body.find(element), "the calendar is that of the other fuel")
    name, start = _gas_start(calendar) if task.is_gas else _electricity_start(calendar, task)
    duration, kind = _LENGTHS[name]
    require(start.day <= 28 or (duration == 1 and kind < 3), "a period of months cannot start after the 28th")
    require(start.second == 0, "a period starts at a whole minute")
    values = {
        "provider_id": task.provider_id,
        "issuer_event_id": task.issuer_event_id,
        "billing_period_start_time": zigbee_s(from_datetime(start)),
        "billing_period_duration": duration,
        "billing_period_duration_type": kind,
        "tariff_type": 0,
    }
    frame = ("publish_billing_period", values)
    answer = yield from publish(place_to_command(task), PRICE.cluster_id, frame, is_last=True)
    return succeed("UpdateDeviceConfigurationBillingCalendarRsp", answer=answer)


def _gas_start(calendar: XmlNode) -> tuple[str, datetime]:
    start = to_datetime(parse_utc(calendar.value("BillingPeriodStart") or ""))
    require(2000 <= start.year < 2136, "BillingPeriodStart is beyond a meter's time")
    name = calendar.value("Periodicity") or ""
    require(name in _LENGTHS, f"no periodicity {name}")
    return name, start


def _electricity_start(calendar: XmlNode, task: Task) -> tuple[str, datetime]:
    named = (child for child in calendar.children if child.name in _LENGTHS)
    chosen = required(next(named, None), "the calendar has no period")
    hour, minute = divmod(minute_of(calendar.value("BillingTime")), 60)
    now = to_datetime(task.accepted_utc_us)
    start = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if chosen.name == "Weekly":
        start -= timedelta(days=(start.isoweekday() - number(chosen)) % 7)
        back = timedelta(days=7)
    elif chosen.name == "Daily":
        back = timedelta(days=1)
    else:
        day = number(chosen) if chosen.name == "Monthly" else number(chosen, "DayOfMonth")
        month = start.month if chosen.name == "Monthly" else number(chosen, "BillingPeriodStartMonth")
        require(1 <= day <= 28 and 1 <= month <= 12, "the calendar's day or month is out of range")
        start = start.replace(month=month, day=day)
        if start <= now:
            return chosen.name, start
        year, month = start.year, start.month
        if chosen.name == "Monthly":
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        else:
            year -= 1
        return chosen.name, start.replace(year=year, month=month)
    return chosen.name, start if start <= now else start - back


def _read_calendar(task: Task) -> PlanRun:
    try:
        values, answer = yield from command(
            place_to_command(task),
            PRICE.cluster_id,
            "get_billing_period",
            "publish_billing_period",
            earliest_start_time=0,
            min_issuer_event_id=0,
            number_of_commands=1,
            tariff_type=0,
        )
    except RefusedByDeviceError as error:
        if error.status != Status.NOT_FOUND:
            raise
        return succeed("ReadDeviceConfigurationDataBillingCalendarRsp", answer=None)
    start = to_datetime(from_zigbee_s(values["billing_period_start_time"])).astimezone(UTC)
    length = (values["billing_period_duration"], values["billing_period_duration_type"] & 0xF)
    require(length in _NAMES, "the meter's billing period is none that DUIS has")
    element = (_gas_node if task.is_gas else _electricity_node)(_NAMES[length], start)
    calendar = node("BillingCalendar", [element])
    return succeed("ReadDeviceConfigurationDataBillingCalendarRsp", calendar, answer=answer)


def _gas_node(name: str, start: datetime) -> XmlNode | None:
    begins = node("BillingPeriodStart", format_utc(from_datetime(start)))
    return node("GasBillingCalendar", [begins, node("Periodicity", name)])


def _electricity_node(name: str, start: datetime) -> XmlNode | None:
    period: dict[str, object] = {"Daily": "", "Weekly": start.isoweekday(), "Monthly": start.day}
    content = period.get(name)
    if content is None:
        content = [node("DayOfMonth", start.day), node("BillingPeriodStartMonth", start.month)]
    time = node("BillingTime", time_text(start.hour * 60 + start.minute))
    return node("ElectricityBillingCalendar", [time, node(name, content)])


PLANS: Final = (
    Plan(
        srv="6.8",
        body_name="UpdateDeviceConfigurationBillingCalendar",
        response_name="UpdateDeviceConfigurationBillingCalendarRsp",
        devices=METERS,
        run=_update_calendar,
    ),
    Plan(
        srv="6.2.3",
        body_name="ReadDeviceConfigurationBillingCalendar",
        response_name="ReadDeviceConfigurationDataBillingCalendarRsp",
        devices=METERS_AND_PROXY,
        run=_read_calendar,
    ),
)
