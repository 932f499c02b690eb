"""Logs and periods by themselves."""

from __future__ import annotations

import datetime as dt

import pytest

from smets1.devices.days import DAY_US, HALF_HOUR_US, SECOND_US, local_day, local_midnight_us
from smets1.devices.metering import (
    DAILY_ENTRIES,
    PROFILE_DAYS,
    DailyRead,
    DailyReadLog,
    Period,
    PeriodMarks,
    ProfileLog,
    Registers,
)
from smets1.devices.tariff import BlockPeriod, Tariff, fine
from smets1.errors import DecodeError

TARIFF = Tariff.flat(price_mp_per_kwh=20_000)


def utc(*parts: int) -> int:
    return int(dt.datetime(*parts, tzinfo=dt.UTC).timestamp()) * SECOND_US


def test_profile_keeps_395_days():
    log = ProfileLog()
    for day in range(PROFILE_DAYS + 5):
        log.record(day * DAY_US + HALF_HOUR_US, day)
    assert len(log.days) == PROFILE_DAYS == 395
    assert log.days[0] == 5


def test_profile_reads_half_hours_by_their_end():
    log = ProfileLog()
    for slot in range(1, 100):
        log.record(slot * HALF_HOUR_US, slot)
    assert log.read(47 * HALF_HOUR_US, 50 * HALF_HOUR_US) == [
        (slot * HALF_HOUR_US, slot) for slot in (48, 49, 50)
    ]
    assert log.read(200 * DAY_US, 300 * DAY_US) == []


def test_profile_writes_only_the_days_that_changed():
    log = ProfileLog()
    log.record(500 * DAY_US, 1)
    log.record(500 * DAY_US + HALF_HOUR_US, 2)
    changed = log.take_changed()
    assert [day for day, chunk in changed if chunk] == [499, 500]
    assert [day for day, chunk in changed if chunk is None] == []
    assert log.take_changed() == []
    again = ProfileLog()
    for day, chunk in changed:
        if chunk:
            again.load_chunk(day, chunk)
    assert again.read(0, 501 * DAY_US) == log.read(0, 501 * DAY_US)
    with pytest.raises(DecodeError):
        again.load_chunk(1, b"\0" * 191)


def test_daily_read_log_has_14_entries():
    log = DailyReadLog()
    for day in range(20):
        log.entries.append(DailyRead(utc_us=day * DAY_US, quantity=day, cost_fine=day, balance_fine=-day))
    assert len(log.entries) == DAILY_ENTRIES == 14
    assert DailyReadLog.decode(log.encode()).entries == log.entries


def test_registers_by_tou_and_block_add_up():
    tariff = Tariff(prices_up_per_kwh=((1, 2), (3, 4)), thresholds_wh=((1,), (2,)))
    registers = Registers()
    registers.fit(tariff, utc_us=0)
    registers.add(1_500_000, tariff=tariff, tou=0)
    registers.add(2_500_000, tariff=tariff, tou=1)
    assert registers.tou_uwh == [1_500_000, 2_500_000]
    assert registers.block_uwh == [[1_000_000, 2_000_000], [500_000, 500_000]]
    assert registers.energy_uwh == 4_000_000
    assert Registers.decode(registers.encode()).encode() == registers.encode()


def test_a_new_tariff_keeps_the_registers():
    registers = Registers()
    registers.fit(TARIFF, utc_us=0)
    registers.add(7, tariff=TARIFF, tou=0)
    registers.fit(Tariff(prices_up_per_kwh=((1, 2), (3, 4)), thresholds_wh=((1,), (2,))), utc_us=0)
    assert (registers.tou_uwh, registers.block_uwh, registers.counters_uwh) == (
        [7, 0],
        [[7, 0], [0, 0]],
        [0, 0],
    )
    registers.fit(TARIFF, utc_us=0)
    assert registers.tou_uwh == [7, 0]


def test_block_counters_begin_again_with_the_period():
    tariff = Tariff(prices_up_per_kwh=((1,), (2,)), thresholds_wh=((5,),), block_period=BlockPeriod.DAY)
    registers = Registers()
    registers.fit(tariff, utc_us=0)
    registers.add(9, tariff=tariff, tou=0)
    registers.roll_block_period(tariff, utc_us=DAY_US - 1)
    assert registers.counters_uwh == [9]
    registers.roll_block_period(tariff, utc_us=DAY_US)
    assert registers.counters_uwh == [0]


def test_today_week_month_follow_local_days():
    start = utc(2024, 6, 28, 12)  # a Friday in summer: local midnight is 23:00 UTC
    registers, marks = Registers(), PeriodMarks(utc_us=start)
    registers.fit(TARIFF, utc_us=start)
    seen = {}
    for offset in range(5):
        registers.add(10, tariff=TARIFF, tou=0)
        registers.quantity += 10
        midnight = local_midnight_us(local_day(start) + 1 + offset)
        marks.on_midnight(registers, utc_us=midnight)
        seen[offset] = [marks.use(period, registers).quantity for period in Period]
    # Sat, Sun: week runs on; Mon 1 July: week and month begin; Tue, Wed
    assert seen == {0: [0, 10, 10], 1: [0, 20, 20], 2: [0, 0, 0], 3: [0, 10, 10], 4: [0, 20, 20]}
    assert [marks.before(period).quantity for period in Period] == [10, 30, 30]
    again = PeriodMarks.decode(marks.encode())
    assert again.encode() == marks.encode()
    assert again.use(Period.WEEK, registers).cost_fine == 2 * 10 * 20_000_000


def test_twelve_months_are_kept_and_another_household_sees_its_own():
    start = utc(2023, 1, 10)
    registers, marks = Registers(), PeriodMarks(utc_us=start)
    registers.fit(TARIFF, utc_us=start)
    for day in range(local_day(start) + 1, local_day(utc(2024, 3, 15))):
        registers.quantity += 1
        marks.on_midnight(registers, utc_us=local_midnight_us(day))
    told = [(f"{first:%b %y}", use.quantity) for first, use in marks.months()]
    assert told[:3] == [("Feb 24", 29), ("Jan 24", 31), ("Dec 23", 31)]
    assert (len(told), told[-1]) == (12, ("Mar 23", 31))
    assert PeriodMarks.decode(marks.encode()).months() == marks.months()
    assert marks.before(Period.MONTH).quantity == 29
    back = PeriodMarks.decode(marks.encode())
    back.on_clock_set(registers, utc_us=utc(2024, 1, 20))
    assert f"{back.months()[0][0]:%b %y}" == "Dec 23", "January runs again"
    marks.restart(registers, from_us=utc(2023, 12, 15))
    assert [f"{first:%b %y}" for first, _ in marks.months()] == ["Feb 24", "Jan 24"]


def test_local_days_at_both_clock_changes():
    assert local_midnight_us(local_day(utc(2024, 3, 31, 12))) == utc(2024, 3, 31)
    assert local_midnight_us(local_day(utc(2024, 3, 31, 12)) + 1) == utc(2024, 3, 31, 23)
    assert (
        local_day(utc(2024, 10, 26, 23))
        == local_day(utc(2024, 10, 27, 23))
        == local_day(utc(2024, 10, 27, 12))
    )
    assert fine(1) == 10**12


def test_days_that_came_and_went_between_two_saves_are_not_kept():
    log = ProfileLog()
    for day in (0, 1, 395):
        log.record(day * DAY_US + HALF_HOUR_US, 7)
    changed = dict(log.take_changed())
    assert changed[0] is None
    assert changed[1] is not None
    assert changed[395] is not None
