"""Calendars of DUIS and MMC as frames of the Calendar cluster, and back: tariffs, and gas non-disablement.

Source: DUIS-5.4.xsd (ElecSwitchingTablePrimary, GasSwitchingTable, GasNonDisablementCalendar), MMC-5.4.xsd
(the same of the answers, whose element names differ); SE 1.2 07-5356-19, D.9.2.3.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from smets1.firmware.zcl.clusters.calendar import CALENDAR, CalendarType
from smets1.firmware.zcl.types import ZclDate
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import element, node
from smets1.headend.srv.content import index_of, number, require, required
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import Place, command
from smets1.headend.srv.steps import Answer, Step

__all__ = [
    "ELECTRICITY_TARIFF",
    "GAS_NON_DISABLEMENT",
    "GAS_TARIFF",
    "CalendarForm",
    "Published",
    "calendar_frames",
    "date_node",
    "minute_of",
    "read_calendar",
    "time_text",
    "zcl_date",
]

_ANY: Final = 0xFF
_LAST_DAYS: Final = {"LastDayOfMonth": 32, "SecondLastDayOfMonth": 33}
_TIME: Final = re.compile(r"(\d\d):(\d\d):00(\.0+)?(Z|[+-]00:00)?")
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SEPARATOR: Final = "\x1f"
_BLOCK_ACTION: Final = 0x70  # and 16 for each block register
_ACTIONS: Final = {"STOP": 0, "START": 1}

Published = tuple[str, dict[str, Value]]
"""A publish command and its values."""


def minute_of(text: str | None) -> int:
    """'07:30:00.00Z' -> 450; meters switch at whole minutes UTC. 24:00:00 is midnight too."""
    match = required(_TIME.fullmatch(text or ""), f"{text} is no whole minute of a UTC day")
    minute = int(match[1]) * 60 + int(match[2])
    require(minute <= 1440 and int(match[2]) < 60, f"{text} is no time of day")
    return minute % 1440


def time_text(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}:00.00Z"


def zcl_date(date: XmlNode) -> ZclDate:
    """Year, month, day, weekday, each specified or not. Raises RefusedByDeviceError."""
    parts = [_date_part(child) for child in date.children]
    require(len(parts) == 4, f"{date.name} is no date")
    year, month, day, weekday = parts
    if year != _ANY:
        require(1900 <= year < 1900 + _ANY, f"the year {year} is beyond a calendar's")
        year -= 1900
    return ZclDate(year, month, day, weekday)


def _date_part(part: XmlNode) -> int:
    chosen = part.children[0] if part.children else part
    if chosen.name.startswith("Specified"):
        return number(chosen)
    return _LAST_DAYS.get(chosen.name, _ANY)


def date_node(name: str, date: ZclDate, *, is_gas: bool) -> XmlNode:
    """As MMC writes it."""
    return element(name, _date_parts(date, is_gas=is_gas))


def _date_parts(date: ZclDate, *, is_gas: bool) -> list[XmlNode | None]:
    year = date.year_1900 + 1900 if date.year_1900 != _ANY else _ANY
    prefix, suffix = ("Gas", "WithWildcards") if is_gas else ("", "")
    parts: list[XmlNode | None] = []
    for name, value in zip(("Year", "Month", "DayOfMonth", "DayOfWeek"), (year, *date[1:]), strict=True):
        if name == "DayOfMonth" and value in _LAST_DAYS.values():
            chosen = node(next(text for text, day in _LAST_DAYS.items() if day == value), "")
        elif value == _ANY:
            is_odd_one = is_gas and name == "DayOfMonth"  # as the schema has it
            chosen = node(f"{'Gas' if is_odd_one else ''}NonSpecified{name}", "")
        else:
            chosen = node(f"Specified{name}", value)
        parts.append(node(prefix + name + suffix, [chosen]))
    return parts


# --- what a calendar is called ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarForm:
    """Names of one kind of calendar, where the kinds differ."""

    calendar_type: CalendarType
    is_gas: bool = True
    day: str = "DayProfile"
    day_name: str = "DayName"
    seasons: str = "Seasons"
    read_day_name: str = "DayName"
    read_week_day: str = "ReferencedDay"
    read_special_day: str = "ReferencedDay"


GAS_TARIFF: Final = CalendarForm(calendar_type=CalendarType.DELIVERED_CALENDAR)
ELECTRICITY_TARIFF: Final = CalendarForm(
    calendar_type=CalendarType.DELIVERED_CALENDAR,
    is_gas=False,
    read_day_name="Day",
    read_week_day="ReferencedElecDay",
)
GAS_NON_DISABLEMENT: Final = CalendarForm(
    calendar_type=CalendarType.FRIENDLY_CREDIT_CALENDAR,
    day="GasNonDisablementDayProfile",
    day_name="GasDayName",
    read_day_name="GasDayName",
    seasons="SeasonProfiles",
    read_week_day="ReferencedDayName",
    read_special_day="ReferencedDayName",
)


# --- written ------------------------------------------------------------------------------------------------


def calendar_frames(
    form: CalendarForm, table: XmlNode, special_days: XmlNode | None, ids: dict[str, Value]
) -> Iterator[Published]:
    """The publish commands of one calendar, its announcement first. `ids`: the three that each bears."""
    days = _children(table, "DayProfiles", form.day)
    weeks = _children(table, "WeekProfiles", "WeekProfile")
    seasons = _children(table, form.seasons, "Season")
    once = {"command_index": 0, "total_number_of_commands": 1}
    names = _SEPARATOR.join(season.value("SeasonName") or "" for season in seasons)
    yield (
        "publish_calendar",
        {
            **ids,
            "start_time": 0,
            "calendar_type": form.calendar_type,
            "calendar_time_reference": 0,  # UTC
            "calendar_name": names.encode(),
            "number_of_seasons": len(seasons),
            "number_of_week_profiles": len(weeks),
            "number_of_day_profiles": len(days),
        },
    )
    for day in days:
        entries = [{"start_time": minute, "action": action} for minute, action in _switches(form, day)]
        yield (
            "publish_day_profile",
            {
                **ids,
                **once,
                "day_id": number(day, form.day_name),
                "total_number_of_schedule_entries": len(entries),
                "calendar_type": form.calendar_type,
                "entries": entries,
            },
        )
    for week in weeks:
        yield "publish_week_profile", {**ids, "week_id": number(week, "WeekName"), **_week_days(week)}
    rows = [
        {
            "season_start_date": zcl_date(season.find("SeasonStartDate") or season),
            "week_id_ref": number(season, "ReferencedWeekName"),
        }
        for season in seasons
    ]
    yield "publish_seasons", {**ids, **once, "entries": rows}
    special = [
        {
            "special_day_date": zcl_date(day.find("Date") or day),
            "day_id_ref": number(day, "ReferencedDayName"),
        }
        for day in (special_days.children if special_days else ())
    ]
    head = {
        "start_time": 0,
        "calendar_type": form.calendar_type,
        "total_number_of_special_days": len(special),
    }
    yield "publish_special_days", {**ids, **once, **head, "entries": special}


def _children(table: XmlNode, *path: str) -> list[XmlNode]:
    parent = table.find(*path[:-1])
    found = [child for child in (parent.children if parent else ()) if child.name == path[-1]]
    require(bool(found), f"no {path[-1]}")
    return found


def _switches(form: CalendarForm, day: XmlNode) -> Iterator[tuple[int, int]]:
    if form is GAS_TARIFF:
        yield 0, _action(day)
    for child in day.children:
        if child.name == "ProfileSchedule":
            yield minute_of(child.value("StartTime")), _action(child)
        elif child.name == "TimeStartAction":
            yield (
                minute_of(child.value("StartTime")),
                _ACTIONS.get(child.value("NonDisablementAction") or "", _ANY),
            )


def _action(switch: XmlNode) -> int:
    if switch.find("TOUTariffAction") is not None:
        return number(switch, "TOUTariffAction")
    register = 1 if switch.find("BlockTariff") is not None else number(switch, "BlockTariffAction")
    return _BLOCK_ACTION + 16 * register


def _week_days(week: XmlNode) -> dict[str, Value]:
    """By their index, Monday first."""
    days = {index_of(child): number(child) for child in week.children if child.name == "ReferencedDayName"}
    require(sorted(days) == list(range(1, 8)), "a week has not its seven days")
    return {f"day_id_ref_{name}": days[index] for index, name in enumerate(_WEEKDAYS, start=1)}


# --- read ---------------------------------------------------------------------------------------------------

_Rows = list[dict[str, Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCalendar:
    """What a meter has: its elements for the answer."""

    table: tuple[XmlNode | None, ...]  # DayProfiles, WeekProfiles, Seasons
    special_days: list[XmlNode | None]


def read_calendar(form: CalendarForm, place: Place) -> Generator[Step, Answer, ReadCalendar]:
    """Ask for each part. Raises RefusedByDeviceError, with NOT_FOUND where the meter has none."""
    cluster = CALENDAR.cluster_id
    calendar, _ = yield from command(
        place,
        cluster,
        "get_calendar",
        "publish_calendar",
        earliest_start_time=0,
        min_issuer_event_id=0,
        number_of_calendars=1,
        calendar_type=form.calendar_type,
        provider_id=0xFFFFFFFF,
    )
    ids = {"provider_id": calendar["provider_id"], "issuer_calendar_id": calendar["issuer_calendar_id"]}
    days = yield from _read_each(place, ids, "day", calendar["number_of_day_profiles"])
    weeks = yield from _read_each(place, ids, "week", calendar["number_of_week_profiles"])
    seasons, _ = yield from command(place, cluster, "get_seasons", "publish_seasons", **ids)
    special, _ = yield from command(
        place,
        cluster,
        "get_special_days",
        "publish_special_days",
        start_time=0,
        number_of_events=0,
        calendar_type=form.calendar_type,
        **ids,
    )
    names = bytes(calendar["calendar_name"]).decode("utf-8", "replace").split(_SEPARATOR)
    return ReadCalendar(
        table=(
            node("DayProfiles", [_day_node(form, day) for day in days]),
            node("WeekProfiles", [_week_node(form, week) for week in weeks]),
            node(form.seasons, _season_nodes(form, seasons["entries"], names)),
        ),
        special_days=[
            node(
                "SpecialDay",
                [
                    date_node("Date", row["special_day_date"], is_gas=form.is_gas),
                    node(form.read_special_day, row["day_id_ref"]),
                ],
            )
            for row in special["entries"]
        ],
    )


def _read_each(place: Place, ids: dict[str, Value], what: str, count: int) -> Generator[Step, Answer, _Rows]:
    """Day or week profiles come one at a time, in the order of their ids."""
    rows: _Rows = []
    first = 0
    for _ in range(count):
        asked = {**ids, f"start_{what}_id": first, f"number_of_{what}s": 1}
        row, _ = yield from command(
            place, CALENDAR.cluster_id, f"get_{what}_profiles", f"publish_{what}_profile", **asked
        )
        rows.append(row)
        first = row[f"{what}_id"] + 1
    return rows


def _day_node(form: CalendarForm, day: dict[str, Value]) -> XmlNode | None:
    name = node(form.read_day_name, day["day_id"])
    if form is GAS_TARIFF:
        action = day["entries"][0]["action"] if day["entries"] else 1
        return node(form.day, [name, _action_node(form, action)])
    if form is ELECTRICITY_TARIFF:
        schedules = [
            node(
                "ProfileSchedule",
                [node("StartTime", time_text(row["start_time"])), _action_node(form, row["action"])],
            )
            for row in day["entries"]
        ]
        return node(form.day, [name, *schedules])
    starts = [
        node(
            "TimeStartAction",
            [
                node("StartTime", time_text(row["start_time"])),
                node("NonDisablementAction", "START" if row["action"] else "STOP"),
            ],
            index=index,
        )
        for index, row in enumerate(day["entries"], start=1)
    ]
    return node(form.day, [*starts, name])


def _action_node(form: CalendarForm, action: int) -> XmlNode | None:
    if action <= _BLOCK_ACTION:
        return node("TOUTariffAction", action)
    return node("BlockTariff", "") if form.is_gas else node("BlockTariffAction", (action >> 4) - 7)


def _week_node(form: CalendarForm, week: dict[str, Value]) -> XmlNode | None:
    days = [
        node(form.read_week_day, week[f"day_id_ref_{name}"], index=index)
        for index, name in enumerate(_WEEKDAYS, start=1)
    ]
    return node("WeekProfile", [node("WeekName", week["week_id"]), *days])


def _season_nodes(form: CalendarForm, rows: _Rows, names: list[str]) -> list[XmlNode | None]:
    return [
        node(
            "Season",
            [
                None if form.is_gas else node("SeasonName", names[index] if index < len(names) else ""),
                date_node("SeasonStartDate", row["season_start_date"], is_gas=form.is_gas),
                node("ReferencedWeekName", row["week_id_ref"]),
            ],
        )
        for index, row in enumerate(rows)
    ]
