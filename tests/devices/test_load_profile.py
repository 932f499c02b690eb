"""The built-in home: plausible in size, the same for the same seed, and whatever day is asked for first."""

from __future__ import annotations

import datetime as dt
from random import Random

import pytest

from smets1.devices.days import DAY_US, HALF_HOUR_US, HOUR_US, SECOND_US, local_day, local_midnight_us
from smets1.devices.load_profile import GbProfileLoad

START = int(dt.datetime(2023, 1, 1, tzinfo=dt.UTC).timestamp()) * SECOND_US
YEAR = 365 * DAY_US


def day_kwh(load: GbProfileLoad, day: int) -> float:
    return (load.energy_uwh(START + (day + 1) * DAY_US) - load.energy_uwh(START + day * DAY_US)) / 1e9


def test_a_year_of_electricity():
    load = GbProfileLoad(rng=Random(7), start_utc_us=START)
    assert 2400e9 < load.energy_uwh(START + YEAR) < 3300e9
    winter = sum(day_kwh(load, day) for day in range(31))
    summer = sum(day_kwh(load, day) for day in range(181, 212))
    assert winter > 1.2 * summer


def test_a_year_of_gas_is_heating():
    load = GbProfileLoad(rng=Random(7), start_utc_us=START, fuel="gas")
    assert 9000e9 < load.energy_uwh(START + YEAR) < 15000e9
    winter = sum(day_kwh(load, day) for day in range(31))
    summer = sum(day_kwh(load, day) for day in range(181, 212))
    assert winter > 4 * summer > 0


def test_same_seed_same_home_whatever_is_asked_first():
    first, second = (GbProfileLoad(rng=Random(3), start_utc_us=START) for _ in range(2))
    late = second.energy_uwh(START + 100 * DAY_US)
    assert [first.energy_uwh(START + i * DAY_US) for i in range(101)][-1] == late
    assert GbProfileLoad(rng=Random(4), start_utc_us=START).energy_uwh(START + DAY_US) != first.energy_uwh(
        START + DAY_US
    )


@pytest.mark.parametrize("fuel", ["electricity", "gas"])
def test_it_never_falls_and_days_join(fuel):
    load = GbProfileLoad(rng=Random(1), start_utc_us=START, fuel=fuel)
    readings = [load.energy_uwh(START + i * 7 * 60 * SECOND_US) for i in range(2000)]
    assert readings == sorted(readings)
    assert load.energy_uwh(START - DAY_US) == 0
    assert load.power_mw(START - DAY_US) == 0


def test_tea_time_stays_at_tea_time_over_the_clock_changes():
    load = GbProfileLoad(rng=Random(1), start_utc_us=START)

    def kwh_at(date: dt.date, hour: int) -> float:
        midnight = local_midnight_us(date.toordinal() - dt.date(1970, 1, 1).toordinal())
        noon = midnight + 12 * HOUR_US  # both clock changes are before it
        return load.power_mw(noon + (hour - 12) * HOUR_US)

    for date in (dt.date(2023, 3, 20), dt.date(2023, 4, 3)):
        assert kwh_at(date, 18) > kwh_at(date, 4 + 10)
    march = local_day(START) + 84
    assert local_midnight_us(march + 1) - local_midnight_us(march) == 46 * HALF_HOUR_US
    load.energy_uwh(local_midnight_us(march + 1))  # 46 half hours
    load.energy_uwh(START + 310 * DAY_US)  # over the day of 50


def test_percent_scales_the_home():
    small = GbProfileLoad(rng=Random(5), start_utc_us=START, percent=50)
    whole = GbProfileLoad(rng=Random(5), start_utc_us=START)
    assert abs(2 * small.energy_uwh(START + YEAR) - whole.energy_uwh(START + YEAR)) < 1_000_000
