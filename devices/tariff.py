"""Prices, when they apply, and what a consumption costs, exactly.

Money that is reckoned is kept in *fine units*: 1 fine = 10^-12 of 1/1000 pence (mp). Prices are in
micro-pence per kWh and consumption in uWh, so their product is a whole number of fine units and no
fraction is ever dropped: cost over a day is the same however often it was asked for on the way.

A tariff is a matrix of prices, blocks by time-of-use registers; flat is one by one. Which register
runs is told by the switching table (seasons, weeks, days, special days), in UTC as in SMETS.

Source: SMETS1 5.5.7 (tariff TOU register matrix, block counters); Liberty 100: 48 registers, 8 blocks
(8 x 8 hybrid), 4 seasons, 4 weeks, 17 days, 12 switch points, 50 special dates.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from enum import IntEnum, unique
from functools import lru_cache
from itertools import pairwise
from typing import Final

from smets1.devices.days import DAY_US, MINUTE_US, date_of_day, utc_day
from smets1.devices.state import StateReader, pack_state
from smets1.errors import InputError

__all__ = [
    "FINE_PER_MP",
    "LAST_DAY",
    "NO_TABLE",
    "SECOND_LAST_DAY",
    "UNREACHABLE_WH",
    "BlockPeriod",
    "DayProfile",
    "Season",
    "SpecialDay",
    "SwitchingTable",
    "Tariff",
    "fine",
    "floor_mp",
]

FINE_PER_MP: Final = 10**12
LAST_DAY: Final = 32
"""As a day of the month: its last one, as in a ZCL date."""
SECOND_LAST_DAY: Final = 33
UNREACHABLE_WH: Final = 2**48 - 1
"""A threshold that no consumption reaches: where a register has fewer blocks than others."""
MAX_TOU: Final = 48
MAX_BLOCKS: Final = 8
MAX_SEASONS: Final = 4
MAX_WEEKS: Final = 4
MAX_DAYS: Final = 17
MAX_SWITCH_POINTS: Final = 12
MAX_SPECIAL_DAYS: Final = 50
_UP_PER_MP: Final = 1000
_FINE_PER_UP: Final = FINE_PER_MP // _UP_PER_MP


def fine(mp: int) -> int:
    """1/1000 pence -> fine units."""
    return mp * FINE_PER_MP


def floor_mp(amount_fine: int) -> int:
    """Fine units -> whole 1/1000 pence, rounded towards minus infinity."""
    return amount_fine // FINE_PER_MP


@unique
class BlockPeriod(IntEnum):
    """When block counters start again from zero (UTC)."""

    NEVER = 0
    DAY = 1
    WEEK = 2
    MONTH = 3

    def index(self, utc_us: int) -> int:
        """A number that changes where a new period begins."""
        day = utc_day(utc_us)
        if self is BlockPeriod.DAY:
            return day
        if self is BlockPeriod.WEEK:
            return (day + 3) // 7  # 1970-01-01 was a Thursday; weeks begin on Monday
        if self is BlockPeriod.MONTH:
            date = date_of_day(day)
            return date.year * 12 + date.month
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayProfile:
    """Which register runs from which minute of the UTC day."""

    switches: tuple[tuple[int, int], ...]  # (minute 0..1439 ascending, register index 0..47)


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """From this date of each year on, `week` applies."""

    month: int
    day: int  # 1..31, LAST_DAY or SECOND_LAST_DAY
    week: int

    def begins(self, year: int) -> tuple[int, int]:
        """(month, day) of that year."""
        return self.month, _day_in_month(year, self.month, self.day)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDay:
    """A date with a day profile of its own. In each part of the date 0 is any."""

    year: int
    month: int
    day: int  # 1..31, LAST_DAY or SECOND_LAST_DAY
    profile: int
    weekday: int = 0  # 1 is Monday

    def falls_on(self, date: dt.date) -> bool:
        return (
            self.year in (0, date.year)
            and self.month in (0, date.month)
            and self.day in (0, date.day, _countdown(date))
            and self.weekday in (0, date.isoweekday())
        )


def _countdown(date: dt.date) -> int:
    """LAST_DAY and SECOND_LAST_DAY for those days of a month; another number for others."""
    return LAST_DAY + _month_length(date.year, date.month) - date.day


def _month_length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _day_in_month(year: int, month: int, day: int) -> int:
    return day if day < LAST_DAY else _month_length(year, month) - (day - LAST_DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchingTable:
    """Seasons choose a week, a week the day profile by weekday (Monday first); a special day overrides."""

    seasons: tuple[Season, ...]
    weeks: tuple[tuple[int, int, int, int, int, int, int], ...]
    days: tuple[DayProfile, ...]
    special_days: tuple[SpecialDay, ...] = ()

    @classmethod
    def daily(cls, *switches: tuple[int, int]) -> SwitchingTable:
        """The same switches, as of a `DayProfile`, on every day of the year."""
        return cls(
            seasons=(Season(month=1, day=1, week=0),),
            weeks=((0, 0, 0, 0, 0, 0, 0),),
            days=(DayProfile(switches=switches),),
        )

    def profile_on(self, date: dt.date) -> DayProfile:
        for special in self.special_days:
            if special.falls_on(date):
                return self.days[special.profile]
        starts = [(season.begins(date.year), season) for season in self.seasons]
        begun = [start for start in starts if start[0] <= (date.month, date.day)]
        # Before the first season of the year the last one of the year before still runs.
        _, season = max(begun or starts, key=lambda start: start[0])
        return self.days[self.weeks[season.week][date.weekday()]]

    def tou_at(self, utc_us: int) -> int:
        day = utc_day(utc_us)
        minute = utc_us % DAY_US // MINUTE_US
        begun = [tou for start, tou in _profile(self, day).switches if start <= minute]
        # A day may begin with a later switch: until then what the day before ended with runs on.
        return begun[-1] if begun else _profile(self, day - 1).switches[-1][1]

    def next_switch_us(self, utc_us: int) -> int:
        """The next switch point after an instant (the next midnight is always one)."""
        day = utc_day(utc_us)
        into_us = utc_us - day * DAY_US
        later = (start * MINUTE_US for start, _ in _profile(self, day).switches)
        return day * DAY_US + min((at for at in later if at > into_us), default=DAY_US)

    def check(self, tou_count: int) -> None:
        """Raises InputError where an index points nowhere or a limit is passed."""
        _require(0 < len(self.seasons) <= MAX_SEASONS, f"1 to {MAX_SEASONS} seasons")
        _require(0 < len(self.weeks) <= MAX_WEEKS, f"1 to {MAX_WEEKS} weeks")
        _require(0 < len(self.days) <= MAX_DAYS, f"1 to {MAX_DAYS} day profiles")
        _require(len(self.special_days) <= MAX_SPECIAL_DAYS, f"at most {MAX_SPECIAL_DAYS} special days")
        for day in self.days:
            starts = [start for start, _ in day.switches]
            _require(0 < len(starts) <= MAX_SWITCH_POINTS, f"1 to {MAX_SWITCH_POINTS} switch points a day")
            _require(starts[0] >= 0 and starts[-1] < 1440, "switch points within the day")
            _require(all(a < b for a, b in pairwise(starts)), "switch points that ascend")
            _require(all(0 <= tou < tou_count for _, tou in day.switches), "registers that have a price")
        for week in self.weeks:
            _require(all(0 <= d < len(self.days) for d in week), "weeks of known days")
        _require(all(0 <= s.week < len(self.weeks) for s in self.seasons), "seasons of known weeks")
        _require(
            all(1 <= s.month <= 12 and 1 <= s.day <= SECOND_LAST_DAY for s in self.seasons),
            "seasons that begin on a date",
        )
        _require(
            all(0 <= s.profile < len(self.days) for s in self.special_days), "special days of known profiles"
        )

    def fields(self) -> dict[str, object]:
        """For a state record; `read` takes it back."""
        return {
            "seasons": [(s.month, s.day, s.week) for s in self.seasons],
            "weeks": list(self.weeks),
            "days": [[n for pair in d.switches for n in pair] for d in self.days],
            "special": [(s.year, s.month, s.day, s.profile, s.weekday) for s in self.special_days],
        }

    @classmethod
    def read(cls, reader: StateReader) -> SwitchingTable | None:
        """None where there are no days. Raises DecodeError; whether the parts fit is `check`'s to say."""
        days = reader.rows("days")
        if not days:
            return None
        special = reader.rows("special")
        if any(len(row) not in (4, 5) for row in special):
            raise reader.bad("special", "is not a table")
        weeks = [(w[0], w[1], w[2], w[3], w[4], w[5], w[6]) for w in reader.rows("weeks", 7)]
        return cls(
            seasons=tuple(Season(month=m, day=d, week=w) for m, d, w in reader.rows("seasons", 3)),
            weeks=tuple(weeks),
            days=tuple(DayProfile(switches=tuple(zip(d[::2], d[1::2], strict=False))) for d in days),
            special_days=tuple(
                SpecialDay(year=row[0], month=row[1], day=row[2], profile=row[3], weekday=(*row, 0)[4])
                for row in special
            ),
        )


NO_TABLE: Final[dict[str, object]] = {"seasons": [], "weeks": [], "days": [], "special": []}
"""The fields of a record without a switching table."""


@lru_cache(maxsize=4096)
def _profile(table: SwitchingTable, day: int) -> DayProfile:
    return table.profile_on(date_of_day(day))


def _require(is_so: bool, what: str) -> None:
    if not is_so:
        raise InputError(f"tariff: a tariff needs {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a supplier sets. `prices[block][tou]`; `thresholds_wh[tou]` separates the blocks of a register.

    Prices in micro-pence per kWh (28.62 p/kWh is 28_620_000), negative allowed for electricity; standing
    charge in micro-pence a UTC day. Raises InputError where the parts do not fit together.
    """

    prices_up_per_kwh: tuple[tuple[int, ...], ...]
    standing_charge_up: int = 0
    thresholds_wh: tuple[tuple[int, ...], ...] = ()
    switching: SwitchingTable | None = None
    block_period: BlockPeriod = BlockPeriod.NEVER

    def __post_init__(self) -> None:
        rows = self.prices_up_per_kwh
        _require(0 < len(rows) <= MAX_BLOCKS, f"1 to {MAX_BLOCKS} blocks")
        _require(0 < len(rows[0]) <= MAX_TOU, f"1 to {MAX_TOU} registers")
        _require(all(len(row) == len(rows[0]) for row in rows), "as many prices in each block")
        if len(rows) > 1:
            _require(len(self.thresholds_wh) == len(rows[0]), "thresholds for each register")
            for steps in self.thresholds_wh:
                _require(len(steps) == len(rows) - 1, "one threshold fewer than blocks")
                _require(all(a <= b for a, b in pairwise((0, *steps))), "thresholds that ascend")
        if self.switching is not None:
            self.switching.check(len(rows[0]))

    @classmethod
    def flat(cls, *, price_mp_per_kwh: int, standing_charge_mp: int = 0) -> Tariff:
        """One price. 1/1000 pence per kWh and per day: 28.62 p/kWh is 28_620."""
        return cls(
            prices_up_per_kwh=((price_mp_per_kwh * _UP_PER_MP,),),
            standing_charge_up=standing_charge_mp * _UP_PER_MP,
        )

    @property
    def tou_count(self) -> int:
        return len(self.prices_up_per_kwh[0])

    @property
    def block_count(self) -> int:
        return len(self.prices_up_per_kwh)

    @property
    def standing_charge_fine(self) -> int:
        return self.standing_charge_up * _FINE_PER_UP

    def tou_at(self, utc_us: int) -> int:
        return 0 if self.switching is None else self.switching.tou_at(utc_us)

    def next_switch_us(self, utc_us: int) -> int | None:
        return None if self.switching is None else self.switching.next_switch_us(utc_us)

    def block_at(self, tou: int, counter_uwh: int) -> int:
        """The block in which the next uWh falls, after `counter_uwh` in this register and period."""
        steps = self.thresholds_wh[tou] if self.block_count > 1 else ()
        return sum(counter_uwh >= step * 1_000_000 for step in steps)

    def split(self, tou: int, counter_uwh: int, energy_uwh: int) -> list[tuple[int, int]]:
        """A consumption that follows `counter_uwh`, as (block, uWh) parts in order."""
        parts = []
        while energy_uwh > 0:
            block = self.block_at(tou, counter_uwh)
            room = energy_uwh
            if block < self.block_count - 1:
                room = min(room, self.thresholds_wh[tou][block] * 1_000_000 - counter_uwh)
            parts.append((block, room))
            counter_uwh += room
            energy_uwh -= room
        return parts

    def price_mp_per_kwh(self, tou: int, block: int) -> int:
        """For displays, rounded down to 1/1000 pence."""
        return self.prices_up_per_kwh[block][tou] // _UP_PER_MP

    def cost_fine(self, tou: int, counter_uwh: int, energy_uwh: int) -> int:
        """What a consumption costs that follows `counter_uwh` in this register's block counter."""
        if self.block_count == 1:
            return energy_uwh * self.prices_up_per_kwh[0][tou]
        parts = self.split(tou, counter_uwh, energy_uwh)
        return sum(part * self.prices_up_per_kwh[block][tou] for block, part in parts)

    def encode(self) -> bytes:
        table = self.switching
        return pack_state(
            "tariff",
            1,
            {
                "prices": list(self.prices_up_per_kwh),
                "standing": self.standing_charge_up,
                "thresholds": list(self.thresholds_wh),
                "period": int(self.block_period),
                **(table.fields() if table else NO_TABLE),
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> Tariff:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="tariff", versions=(1,))
        table = SwitchingTable.read(reader)
        try:
            return cls(
                prices_up_per_kwh=tuple(tuple(row) for row in reader.rows("prices")),
                standing_charge_up=reader.whole("standing"),
                thresholds_wh=tuple(tuple(row) for row in reader.rows("thresholds")),
                switching=table,
                block_period=BlockPeriod(reader.whole("period", 0, 3)),
            )
        except InputError as error:
            raise reader.bad("prices", str(error)) from None
