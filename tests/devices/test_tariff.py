"""Tariffs: exact costs, blocks, time of use, and what does not fit together."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.devices.days import DAY_US, HOUR_US, SECOND_US
from smets1.devices.tariff import (
    FINE_PER_MP,
    BlockPeriod,
    DayProfile,
    Season,
    SpecialDay,
    SwitchingTable,
    Tariff,
    fine,
    floor_mp,
)
from smets1.errors import DecodeError, InputError

ECONOMY_7 = SwitchingTable(
    seasons=(Season(month=4, day=1, week=0), Season(month=10, day=1, week=1)),
    weeks=((0,) * 7, (0, 0, 0, 0, 0, 1, 1)),
    days=(
        DayProfile(switches=((0, 1), (7 * 60, 0))),
        DayProfile(switches=((0, 1),)),
    ),
    special_days=(SpecialDay(year=0, month=12, day=25, profile=1),),
)
TWO_RATE = Tariff(prices_up_per_kwh=((30_000_000, 10_000_000),), switching=ECONOMY_7)
BLOCKS = Tariff(
    prices_up_per_kwh=((10_000_000,), (20_000_000,), (40_000_000,)),
    thresholds_wh=((1000, 3000),),
    block_period=BlockPeriod.MONTH,
)


def utc(*parts: int) -> int:
    return int(dt.datetime(*parts, tzinfo=dt.UTC).timestamp()) * SECOND_US


def test_a_kilowatt_hour_costs_its_price():
    tariff = Tariff.flat(price_mp_per_kwh=28_620, standing_charge_mp=45_000)
    assert tariff.cost_fine(0, 0, 10**9) == fine(28_620)
    assert tariff.standing_charge_fine == fine(45_000)
    assert tariff.price_mp_per_kwh(0, 0) == 28_620
    assert (tariff.tou_at(0), tariff.next_switch_us(0)) == (0, None)


@given(st.lists(st.integers(0, 10**9), max_size=8))
def test_cost_does_not_depend_on_how_often_it_is_asked_for(parts):
    counter = cost = 0
    for part in parts:
        cost += BLOCKS.cost_fine(0, counter, part)
        counter += part
    assert cost == BLOCKS.cost_fine(0, 0, counter)


def test_blocks_split_at_their_thresholds():
    assert BLOCKS.split(0, 500_000_000, 3_000_000_000) == [
        (0, 500_000_000),
        (1, 2_000_000_000),
        (2, 500_000_000),
    ]
    assert BLOCKS.cost_fine(0, 500_000_000, 3_000_000_000) == fine(5_000 + 40_000 + 20_000)
    assert BLOCKS.split(0, 0, 0) == []


@pytest.mark.parametrize(
    ("when", "tou", "next_switch"),
    [
        (utc(2024, 6, 3, 3), 1, utc(2024, 6, 3, 7)),
        (utc(2024, 6, 3, 7), 0, utc(2024, 6, 4)),
        (utc(2024, 11, 2, 12), 1, utc(2024, 11, 3)),  # a winter Saturday
        (utc(2024, 2, 5, 12), 0, utc(2024, 2, 6)),  # before the year's first season: last one runs
        (utc(2024, 12, 25, 12), 1, utc(2024, 12, 26)),  # Christmas is special, a Wednesday
    ],
)
def test_time_of_use(when, tou, next_switch):
    assert TWO_RATE.tou_at(when) == tou
    assert TWO_RATE.next_switch_us(when) == next_switch


def test_block_periods():
    monday = utc(2024, 6, 3)
    assert BlockPeriod.WEEK.index(monday) == BlockPeriod.WEEK.index(monday - 1) + 1
    assert BlockPeriod.MONTH.index(utc(2024, 7, 1)) == BlockPeriod.MONTH.index(utc(2024, 6, 30)) + 1
    assert BlockPeriod.DAY.index(monday + HOUR_US) == BlockPeriod.DAY.index(monday) == monday // DAY_US
    assert BlockPeriod.NEVER.index(monday) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"prices_up_per_kwh": ()},
        {"prices_up_per_kwh": ((),)},
        {"prices_up_per_kwh": ((1,), (1, 2))},
        {"prices_up_per_kwh": ((1,), (2,))},
        {"prices_up_per_kwh": ((1,), (2,)), "thresholds_wh": ((1, 2),)},
        {"prices_up_per_kwh": ((1,), (2,), (3,)), "thresholds_wh": ((5, 4),)},
        {"prices_up_per_kwh": ((1,) * 49,)},
        {"prices_up_per_kwh": ((1,),) * 9, "thresholds_wh": ((1,) * 8,)},
        {"prices_up_per_kwh": ((1,),), "switching": ECONOMY_7},
        {"prices_up_per_kwh": ((1, 2),), "switching": replace(ECONOMY_7, seasons=())},
        {"prices_up_per_kwh": ((1, 2),), "switching": replace(ECONOMY_7, weeks=((9,) * 7,) * 2)},
        {
            "prices_up_per_kwh": ((1, 2),),
            "switching": replace(ECONOMY_7, days=(DayProfile(switches=((-5, 0),)),) * 2),
        },
    ],
)
def test_a_tariff_that_does_not_fit_together_is_refused(fields):
    with pytest.raises(InputError, match="tariff"):
        Tariff(**fields)


@pytest.mark.parametrize("tariff", [Tariff.flat(price_mp_per_kwh=1), TWO_RATE, BLOCKS])
def test_state_round_trip_and_every_truncation(tariff):
    octets = tariff.encode()
    assert Tariff.decode(octets) == tariff
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            Tariff.decode(octets[:length])


@given(st.binary(max_size=60))
def test_random_octets_give_only_decode_error(octets):
    with pytest.raises(DecodeError):
        Tariff.decode(octets)


def test_rounding_is_downwards():
    assert floor_mp(-1) == -1
    assert floor_mp(FINE_PER_MP - 1) == 0
