"""From the published frames of a tariff to the tariff that a meter charges by, and back.

Prices are numbers of 10^-n of the currency's unit (PriceTrailingDigit, high nibble); a pound is 10^8 of the
micro-pence of `tariff.py`. Thresholds are Wh. The following is not in the documents (**assumption**):

* The low nibble of PriceTrailingDigit, reserved there, has the digits of the standing charge, since DUIS
  gives it a scale of its own. Prices and the standing charge may be negative: two's complement.
* Tier ids: 1 to 48 are the TOU registers; 0x80 to 0xFF the eight block registers of a hybrid tariff, high
  nibble 7 + register, low nibble block - 1. As an action of a day profile the low nibble is 0.
* CalendarName holds the names of the seasons, separated by octet 0x1F.
* The year of a season's start is kept and given back, but a season begins each year.
* A register that a tariff names is one of the meter's 48: TOU registers first, then block registers.

Source: SE 1.2 07-5356-19, D.4.2.4.5 to 7 (tariff), D.9.2.3 (calendar); DUIS 5.4, service 1.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from smets1.devices.publication import Publication
from smets1.devices.tariff import (
    MAX_TOU,
    SECOND_LAST_DAY,
    UNREACHABLE_WH,
    BlockPeriod,
    DayProfile,
    Season,
    SpecialDay,
    SwitchingTable,
    Tariff,
)
from smets1.errors import InputError
from smets1.firmware.zcl.clusters.price import signed_amount
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.tariff_server import BLOCK_THRESHOLDS, PRICE_MATRIX, TARIFF_INFORMATION
from smets1.firmware.zcl.types import Value, ZclDate

__all__ = [
    "INFORMATION",
    "MATRIX",
    "THRESHOLDS",
    "publication_of",
    "renewed",
    "special_day",
    "switching_of",
    "tariff_of",
]

_STERLING: Final = 826
_UP_DIGITS: Final = 8  # a pound is 10^8 micro-pence
_MP_DIGITS: Final = 5
_BLOCK_TIER: Final = 0x80
_ANY: Final = 0xFF
_YEAR_0: Final = 1900
_POWERS: Final[tuple[int, ...]] = tuple(10**n for n in range(16))  # digits are a nibble

INFORMATION: Final = TARIFF_INFORMATION
MATRIX: Final = PRICE_MATRIX
THRESHOLDS: Final = BLOCK_THRESHOLDS


def renewed(change: Publication, present: Publication) -> Publication:
    """The publication in force after a change. Raises InputError.

    A change with a calendar is a whole tariff. One without renews the prices that it gives: the others, the
    calendar and the thresholds stay, and so do a currency of 0xFFFF and a number of thresholds of 0xFF.
    """
    matrix, information = change.values(MATRIX), change.values(INFORMATION)
    old_matrix, old = present.values(MATRIX), present.values(INFORMATION)
    if change.values("publish_calendar") is not None or matrix is None or information is None:
        return change
    if old_matrix is None or old is None:
        return change
    digits, old_digits = information["price_trailing_digit"] >> 4, old["price_trailing_digit"] >> 4
    renewed_ids = {row["tier_block_id"] for row in matrix["prices"]}
    kept = [
        {**row, "price": _rescaled(row["price"], digits - old_digits)}
        for row in old_matrix["prices"]
        if row["tier_block_id"] not in renewed_ids
    ]
    for name, unchanged in (("currency", 0xFFFF), ("number_of_block_thresholds_in_use", 0xFF)):
        if information[name] == unchanged:
            information[name] = old[name]
    prices = sorted([*kept, *matrix["prices"]], key=lambda row: row["tier_block_id"])
    change = change.put(MATRIX, {**matrix, "prices": prices}).put(INFORMATION, information)
    thresholds = present.values(THRESHOLDS)
    if thresholds is not None:  # theirs is the new tariff's id from now on
        change = change.put(THRESHOLDS, {**thresholds, "issuer_tariff_id": information["issuer_tariff_id"]})
    return change.over(present)


def _rescaled(price: int, more_digits: int) -> int:
    whole, rest = divmod(signed_amount(price) * _POWERS[max(more_digits, 0)], _POWERS[max(-more_digits, 0)])
    if rest or not -(1 << 31) <= whole < 1 << 31:
        raise InputError("tariff: the prices that stay cannot be given at the new scale")
    return whole & 0xFFFFFFFF


def tariff_of(publication: Publication, *, block_period: BlockPeriod = BlockPeriod.NEVER) -> Tariff:
    """Raises InputError where a part is missing or the parts do not fit together."""
    information, matrix = publication.values(INFORMATION), publication.values(MATRIX)
    if information is None or matrix is None:
        raise InputError("tariff: its information or its prices are missing")
    digits = information["price_trailing_digit"]
    tous, registers = _prices(matrix, digits >> 4)
    blocks = _columns(registers, information["number_of_block_thresholds_in_use"])
    if not 0 < len(tous) + len(blocks) <= MAX_TOU:
        raise InputError(f"tariff: {len(tous)} TOU and {len(blocks)} block registers; a meter has {MAX_TOU}")
    block_count = max((len(column) for column in blocks), default=1)
    columns = [[price] * block_count for price in tous]
    columns += [column + column[-1:] * (block_count - len(column)) for column in blocks]
    steps = _steps(publication)
    thresholds = [(UNREACHABLE_WH,) * (block_count - 1)] * len(tous)
    for register, column in enumerate(blocks, start=1):
        own = steps.get(register, {})
        reached = [own.get(block, UNREACHABLE_WH) for block in range(1, len(column))]
        thresholds.append((*reached, *(UNREACHABLE_WH,) * (block_count - len(column))))
    return Tariff(
        prices_up_per_kwh=tuple(tuple(column[block] for column in columns) for block in range(block_count)),
        standing_charge_up=_micro_pence(information["standing_charge"], digits & 0xF),
        thresholds_wh=tuple(thresholds) if block_count > 1 else (),
        switching=switching_of(publication, tou_count=len(tous)),
        block_period=block_period,
    )


def _micro_pence(amount: int, digits: int) -> int:
    """`amount` x 10^-digits pounds; negative where its highest bit is set. Raises InputError."""
    signed = signed_amount(amount)
    if digits <= _UP_DIGITS:
        return signed * _POWERS[_UP_DIGITS - digits]
    whole, rest = divmod(signed, _POWERS[digits - _UP_DIGITS])
    if rest:
        raise InputError("tariff: a price is finer than a micro-penny")
    return whole


def _prices(matrix: Values, digits: int) -> tuple[list[int], dict[int, dict[int, int]]]:
    """TOU prices, and block prices by register and block (both from 1); a TOU price not given is nought."""
    tous: dict[int, int] = {}
    blocks: dict[int, dict[int, int]] = {}
    for row in matrix["prices"]:
        tier, price = row["tier_block_id"], _micro_pence(row["price"], digits)
        if tier >= _BLOCK_TIER:
            blocks.setdefault((tier >> 4) - 7, {})[(tier & 0xF) + 1] = price
        else:
            tous[tier] = price
    if any(not 1 <= tier <= MAX_TOU for tier in tous):
        raise InputError(f"tariff: a TOU register is none of 1 to {MAX_TOU}")
    return [tous.get(tier, 0) for tier in range(1, max(tous, default=0) + 1)], blocks


def _columns(registers: dict[int, dict[int, int]], thresholds_in_use: int) -> list[list[int]]:
    """Prices of each block register up to the last that is given."""
    columns = []
    for register in range(1, max(registers, default=0) + 1):
        prices = registers.get(register, {1: 0})
        if sorted(prices) != list(range(1, len(prices) + 1)):
            raise InputError(f"tariff: block register {register} lacks the price of a block")
        columns.append([prices[block] for block in sorted(prices)][: thresholds_in_use + 1])
    return columns


def _steps(publication: Publication) -> dict[int, dict[int, int]]:
    """Thresholds in Wh by block register and number, both from 1."""
    published = publication.values(THRESHOLDS)
    steps: dict[int, dict[int, int]] = {}
    for row in published["thresholds"] if published else ():
        register, number = divmod(row["tier_number_of_block_thresholds"], 16)
        steps.setdefault(register, {})[number] = row["block_threshold"]
    return steps


# --- the calendar -------------------------------------------------------------------------------------------


def switching_of(publication: Publication, *, tou_count: int | None = None) -> SwitchingTable | None:
    """None: no calendar was published. `tou_count` None: actions are 0 and 1, as those of non-disablement.

    Raises InputError where parts are missing or point nowhere.
    """
    calendar, seasons = publication.values("publish_calendar"), publication.values("publish_seasons")
    if calendar is None:
        return None
    weeks = {row["week_id"]: row for row in publication.all_values("publish_week_profile")}
    days = {row["day_id"]: row for row in publication.all_values("publish_day_profile")}
    special = publication.values("publish_special_days")
    announced = (
        calendar["number_of_seasons"],
        calendar["number_of_week_profiles"],
        calendar["number_of_day_profiles"],
    )
    if seasons is None or announced != (len(seasons["entries"]), len(weeks), len(days)):
        raise InputError("tariff: the calendar is not whole")
    week_index = {week_id: index for index, week_id in enumerate(weeks)}
    day_index = {day_id: index for index, day_id in enumerate(days)}
    try:
        return SwitchingTable(
            seasons=tuple(_season(row, week_index) for row in seasons["entries"]),
            weeks=tuple(_week(row, day_index) for row in weeks.values()),
            days=tuple(_day(row, tou_count) for row in days.values()),
            special_days=tuple(
                special_day(row["special_day_date"], profile=day_index[row["day_id_ref"]])
                for row in (special["entries"] if special else ())
            ),
        )
    except KeyError as error:
        raise InputError(f"tariff: the calendar has no day or week {error}") from None


def _season(row: Mapping[str, Value], weeks: Mapping[int, int]) -> Season:
    date = row["season_start_date"]
    if _ANY in (date.month, date.day) or date.weekday != _ANY:
        raise InputError("tariff: a season begins on a day of a month, whatever weekday")
    return Season(month=date.month, day=date.day, week=weeks[row["week_id_ref"]])


def _week(row: Values, days: Mapping[int, int]) -> tuple[int, int, int, int, int, int, int]:
    names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    monday, tuesday, wednesday, thursday, friday, saturday, sunday = (
        days[row[f"day_id_ref_{name}"]] for name in names
    )
    return monday, tuesday, wednesday, thursday, friday, saturday, sunday


def _day(row: Values, tou_count: int | None) -> DayProfile:
    return DayProfile(
        switches=tuple(
            (entry["start_time"], _register(entry["action"], tou_count)) for entry in row["entries"]
        )
    )


def _register(action: int, tou_count: int | None) -> int:
    if tou_count is None:
        return action
    if action < _BLOCK_TIER:
        if not 1 <= action <= tou_count:
            raise InputError(f"tariff: no price for TOU register {action}")
        return action - 1
    return tou_count + (action >> 4) - 8


def special_day(date: ZclDate, *, profile: int) -> SpecialDay:
    """Raises InputError for a day that no calendar has."""
    year, month, day, weekday = (0 if part == _ANY else part for part in date)
    if month > 12 or day > SECOND_LAST_DAY or weekday > 7:
        raise InputError("tariff: a special day is no date")
    return SpecialDay(
        year=year + _YEAR_0 if year else 0, month=month, day=day, profile=profile, weekday=weekday
    )


# --- back: a tariff that was never published ---------------------------------------------------------------


def publication_of(tariff: Tariff) -> Publication:
    """The frames that would have set a tariff of the home file, prices to 1/1000 pence."""
    ids = {"provider_id": 0, "issuer_event_id": 0}
    owned = {**ids, "issuer_tariff_id": 0, "start_time": 0, "command_index": 0, "total_number_of_commands": 1}
    has_blocks = tariff.block_count > 1
    prices = [
        (_BLOCK_TIER + (tou << 4) + block if has_blocks else tou + 1, price)
        for tou in range(tariff.tou_count)
        for block, price in enumerate(row[tou] for row in tariff.prices_up_per_kwh)
    ]
    rows = [{"tier_block_id": tier, "price": _published(price)} for tier, price in prices if not tier & ~0xFF]
    steps = [
        {"tier_number_of_block_thresholds": ((tou + 1) << 4) + number, "block_threshold": step}
        for tou, row in enumerate(tariff.thresholds_wh)
        for number, step in enumerate(row, start=1)
    ]
    publication = (
        Publication()
        .put(MATRIX, {**owned, "sub_payload_control": int(not has_blocks), "prices": rows})
        .put(THRESHOLDS, {**owned, "sub_payload_control": 0, "thresholds": steps})
    )
    information = {
        **ids,
        "issuer_tariff_id": 0,
        "start_time": 0,
        "tariff_type_charging_scheme": 0x10 if has_blocks else 0x00,
        "tariff_label": b"",
        "number_of_price_tiers_in_use": 0 if has_blocks else tariff.tou_count,
        "number_of_block_thresholds_in_use": tariff.block_count - 1,
        "unit_of_measure": 0,
        "currency": _STERLING,
        "price_trailing_digit": _MP_DIGITS << 4 | _MP_DIGITS,
        "standing_charge": _published(tariff.standing_charge_up),
        "tier_block_mode": 0,
        "block_threshold_multiplier": 1,
        "block_threshold_divisor": 1000,
    }
    return _with_calendar(publication.put(INFORMATION, information), tariff.switching, has_blocks=has_blocks)


def _published(amount_up: int) -> int:
    return amount_up // _POWERS[_UP_DIGITS - _MP_DIGITS] & 0xFFFFFFFF


def _with_calendar(
    publication: Publication, table: SwitchingTable | None, *, has_blocks: bool
) -> Publication:
    owned = {"provider_id": 0, "issuer_event_id": 0, "issuer_calendar_id": 0}
    once = {"command_index": 0, "total_number_of_commands": 1}
    if table is None:
        table = SwitchingTable.daily((0, 0))
    publication = publication.put(
        "publish_calendar",
        {
            **owned,
            "start_time": 0,
            "calendar_type": 0,
            "calendar_time_reference": 0,
            "calendar_name": b"",
            "number_of_seasons": len(table.seasons),
            "number_of_week_profiles": len(table.weeks),
            "number_of_day_profiles": len(table.days),
        },
    )
    for number, profile in enumerate(table.days, start=1):
        entries = [
            {"start_time": minute, "action": _BLOCK_TIER + (tou << 4) if has_blocks else tou + 1}
            for minute, tou in profile.switches
        ]
        values = {**owned, **once, "day_id": number, "calendar_type": 0, "entries": entries}
        values["total_number_of_schedule_entries"] = len(entries)
        publication = publication.put(f"publish_day_profile/{number}", values)
    for number, days in enumerate(table.weeks, start=1):
        names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
        refs = {f"day_id_ref_{name}": day + 1 for name, day in zip(names, days, strict=True)}
        publication = publication.put(f"publish_week_profile/{number}", {**owned, "week_id": number, **refs})
    seasons = [
        {"season_start_date": ZclDate(_ANY, s.month, s.day, _ANY), "week_id_ref": s.week + 1}
        for s in table.seasons
    ]
    special = [
        {"special_day_date": _zcl_date(day), "day_id_ref": day.profile + 1} for day in table.special_days
    ]
    publication = publication.put("publish_seasons", {**owned, **once, "entries": seasons})
    days_head = {"start_time": 0, "calendar_type": 0, "total_number_of_special_days": len(special)}
    return publication.put("publish_special_days", {**owned, **days_head, **once, "entries": special})


def _zcl_date(day: SpecialDay) -> ZclDate:
    year = day.year - _YEAR_0 if day.year else _ANY
    return ZclDate(year, day.month or _ANY, day.day or _ANY, day.weekday or _ANY)
