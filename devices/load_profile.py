"""A British home that never existed: consumption drawn from a seed.

Electricity: a day's shape by half hour (working days, and weekends), more in winter than in
summer, some chance from day to day and from half hour to half hour; about 8 kWh a day. Gas: hot
water twice a day, and heating by the degrees that the day's weather falls short of 15.5 C; about
12 000 kWh a year. Sizes follow the medium "typical domestic consumption values" that the
regulator publishes (2 700 kWh and 11 500 kWh a year).

Each day is drawn from its own number, so that any day can be asked for first and the answer is the
same. Shapes follow the clock on the wall: the evening peak stays at tea time over the clock changes.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, pairwise
from random import Random
from typing import Final

from smets1.devices.days import HALF_HOUR_US, HOUR_US, date_of_day, local_day, local_midnight_us

__all__ = ["GbProfileLoad"]

# Relative demand by half hour of the local day; only the ratios matter.
_WORKING_DAY: Final = (
    *(30, 27, 25, 24, 23, 23, 22, 22, 22, 23, 25, 29, 36, 46, 55, 58, 55, 50, 46, 43, 41, 40, 41, 42),
    *(44, 44, 42, 40, 39, 40, 44, 51, 60, 72, 85, 93, 96, 95, 91, 86, 82, 79, 76, 71, 64, 55, 45, 36),
)
_WEEKEND: Final = (
    *(34, 30, 27, 25, 24, 23, 22, 22, 22, 22, 23, 25, 28, 33, 40, 48, 56, 62, 66, 67, 66, 65, 66, 69),
    *(72, 71, 67, 62, 58, 57, 59, 64, 70, 77, 84, 89, 90, 88, 85, 81, 78, 75, 72, 68, 62, 54, 46, 38),
)
_HEATING: Final = (
    *(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 40, 90, 100, 95, 80, 60, 40, 25, 20, 18, 16, 15, 15),
    *(15, 15, 15, 16, 18, 22, 30, 45, 60, 75, 85, 90, 88, 80, 70, 60, 50, 40, 28, 15, 5, 0, 0, 0),
)
_HOT_WATER: Final = (
    *(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 20, 35, 30, 15, 5, 2, 2, 2, 2, 2, 3, 4),
    *(4, 3, 2, 2, 2, 2, 3, 5, 8, 12, 16, 18, 18, 16, 14, 14, 16, 16, 12, 6, 3, 0, 0, 0),
)
# By month, January first: electricity in Wh a day, and the mean outdoor temperature in 1/10 C
# (long-term means of central England, rounded).
_ELECTRICITY_WH: Final = (9600, 9200, 8500, 7800, 7200, 6900, 6800, 6900, 7300, 8000, 8900, 9700)
_TEMPERATURE: Final = (46, 48, 65, 88, 117, 145, 166, 162, 139, 106, 71, 48)
_HEATING_BASE: Final = 155
_HEATING_WH_PER_TENTH: Final = 460  # a day
_HOT_WATER_WH: Final = 5000
_CACHED_DAYS: Final = 8


class GbProfileLoad:
    """One fuel of the home that `rng` stands for; 0 uWh at the local midnight before `start_utc_us`.

    A `Load`. `percent` scales the whole: 100 is the typical home. Draws one number from `rng`.
    """

    def __init__(
        self, *, rng: Random, start_utc_us: int, fuel: str = "electricity", percent: int = 100
    ) -> None:
        self._seed = rng.getrandbits(64)
        self._is_gas = fuel == "gas"
        self._percent = percent
        self._first_day = local_day(start_utc_us)
        self._starts = [local_midnight_us(self._first_day)]
        self._totals = [0]  # uWh at each of the starts
        self._days: dict[int, tuple[int, ...]] = {}  # the last few days drawn

    def energy_uwh(self, utc_us: int) -> int:
        if utc_us <= self._starts[0]:
            return 0
        index = self._index(utc_us)
        day = self._day(self._first_day + index)
        slot, into_us = divmod(utc_us - self._starts[index], HALF_HOUR_US)
        return self._totals[index] + day[slot] + (day[slot + 1] - day[slot]) * into_us // HALF_HOUR_US

    def power_mw(self, utc_us: int) -> int:
        if utc_us < self._starts[0]:
            return 0
        index = self._index(utc_us)
        day = self._day(self._first_day + index)
        slot = (utc_us - self._starts[index]) // HALF_HOUR_US
        return (day[slot + 1] - day[slot]) * (HOUR_US // HALF_HOUR_US) // 1000

    def _index(self, utc_us: int) -> int:
        """Which day, counted from the first; learns the totals of all days up to it."""
        while self._starts[-1] <= utc_us:
            day = self._first_day + len(self._starts) - 1
            self._totals.append(self._totals[-1] + self._day(day)[-1])
            self._starts.append(local_midnight_us(day + 1))
        return bisect_right(self._starts, utc_us) - 1

    def _day(self, day: int) -> tuple[int, ...]:
        """Cumulative uWh at each half hour of a local day: 49 numbers, 47 or 51 at a clock change."""
        drawn = self._days.get(day)
        if drawn is None:
            slots = (local_midnight_us(day + 1) - local_midnight_us(day)) // HALF_HOUR_US
            halves = self._gas(day) if self._is_gas else self._electricity(day)
            # At 01:00 the clock goes on or back by an hour: that hour is left out or lived twice.
            halves = halves[:2] + halves[4:] if slots == 46 else halves
            halves = halves[:4] + halves[2:] if slots == 50 else halves
            drawn = tuple(accumulate(halves, initial=0))
            if len(self._days) >= _CACHED_DAYS:
                del self._days[next(iter(self._days))]
            self._days[day] = drawn
        return drawn

    def _rng(self, day: int, stream: int) -> Random:
        return Random((self._seed << 40) ^ (day << 4) ^ stream)

    def _electricity(self, day: int) -> list[int]:
        rng = self._rng(day, 0)
        is_weekend = date_of_day(day).weekday() >= 5
        shape = [share * rng.randint(70, 130) for share in (_WEEKEND if is_weekend else _WORKING_DAY)]
        energy_wh = _by_month(_ELECTRICITY_WH, day) * rng.randint(80, 120) // 100
        return self._spread(shape, energy_wh * (108 if is_weekend else 97) // 100)

    def _gas(self, day: int) -> list[int]:
        rng = self._rng(day, 1)
        missing = max(0, _HEATING_BASE - self._temperature(day))
        heating = self._spread(_jitter(_HEATING, rng), missing * _HEATING_WH_PER_TENTH)
        water = self._spread(_jitter(_HOT_WATER, rng), _HOT_WATER_WH * rng.randint(60, 140) // 100)
        return [warm + hot for warm, hot in zip(heating, water, strict=True)]

    def _temperature(self, day: int) -> int:
        """1/10 C. Weather lasts: the chance of a day is the mean of that of five."""
        chances = [self._rng(near, 2).randint(-90, 90) for near in range(day - 2, day + 3)]
        return _by_month(_TEMPERATURE, day) + sum(chances) // 5

    def _spread(self, shape: list[int], energy_wh: int) -> list[int]:
        whole = sum(shape)
        energy_uwh = energy_wh * 1_000_000 * self._percent // 100
        marks = [energy_uwh * part // whole for part in accumulate(shape, initial=0)]
        return [after - before for before, after in pairwise(marks)]


def _jitter(shape: tuple[int, ...], rng: Random) -> list[int]:
    return [share * rng.randint(80, 120) for share in shape]


def _by_month(table: tuple[int, ...], day: int) -> int:
    """A monthly figure laid at mid-month, straight between two."""
    date = date_of_day(day)
    here = date.month - 1
    other, distance = (here - 1, 15 - date.day) if date.day < 15 else (here + 1, date.day - 15)
    return (table[here] * (30 - distance) + table[other % 12] * distance) // 30
