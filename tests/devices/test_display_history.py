"""Forty-five days by the hour, whatever the display has missed."""

from __future__ import annotations

import datetime as dt

import pytest

from smets1.devices.days import DAY_US, HOUR_US, day_of_date, local_midnight_us
from smets1.devices.display_history import HISTORY_DAYS, UseHistory
from smets1.errors import DecodeError
from smets1.firmware.nvm import MemoryNvm

DAY = 19_373  # 2023-01-16
START = DAY * DAY_US


def filled(hours: int, nvm: MemoryNvm | None = None) -> UseHistory:
    """100 Wh in the first hour, 101 in the second, ...; heard every ten minutes."""
    history = UseHistory("electricity", MemoryNvm() if nvm is None else nvm)
    register = 5_000
    history.note(register, utc_us=START)
    for hour in range(hours):
        for tenth in range(1, 6):
            part = register + (100 + hour) * tenth // 6
            history.note(part, utc_us=START + hour * HOUR_US + tenth * HOUR_US // 6)
        register += 100 + hour
        history.note(register, utc_us=START + (hour + 1) * HOUR_US - 1)
    return history


def test_each_hour_of_a_day():
    history = filled(30)
    assert history.hours(DAY) == [100 + hour for hour in range(24)]
    assert history.total(DAY) == sum(range(100, 124))
    assert history.hours(DAY + 1)[:7] == [124, 125, 126, 127, 128, 129, None]
    assert history.total(DAY + 2) is None


def test_forty_five_days_are_kept_and_no_more():
    history = filled(60 * 24)
    days = history.last_days(99, utc_us=START + 60 * DAY_US)
    assert [day for day, _ in days] == [DAY + 59 - back for back in range(HISTORY_DAYS)]
    assert HISTORY_DAYS == 45
    assert all(use is not None for _, use in days)
    assert history.total(DAY + 14) is None
    assert len(history.hours(DAY + 15)) == 24


def test_hours_of_silence_count_when_the_display_hears_again():
    history = filled(2)
    history.note(9_000, utc_us=START + 8 * HOUR_US + 1)
    assert history.hours(DAY)[:9] == [100, 101, *[None] * 6, 9_000 - 5_201]


def test_another_meters_register_is_no_consumption():
    history = filled(2)
    history.note(10, utc_us=START + 2 * HOUR_US)
    history.note(15, utc_us=START + 2 * HOUR_US + 5)
    assert history.hours(DAY)[:3] == [100, 101, 5]


def test_local_days_have_23_and_25_hours():
    for month, day, hours in ((3, 26, 23), (10, 29, 25)):
        local = day_of_date(dt.date(2023, month, day))
        history = UseHistory("gas", MemoryNvm())
        first_us = local_midnight_us(local)
        for hour in range(hours + 1):
            history.note(hour * 7, utc_us=first_us + hour * HOUR_US - 1)
        assert len(history.hours(local)) == hours
        assert history.total(local) == hours * 7


def test_a_power_cut_keeps_every_hour_that_is_over():
    nvm = MemoryNvm()
    history = filled(50, nvm)
    nvm.commit()
    again = UseHistory("electricity", nvm.after_power_cut())
    assert again.hours(DAY) == history.hours(DAY)
    assert again.hours(DAY + 2)[0] == 148
    assert again.hours(DAY + 2)[1] is None  # not over yet when it was put
    register = 5_000 + sum(range(100, 150))
    again.note(register + 30, utc_us=START + 50 * HOUR_US)
    assert again.total(DAY + 2) == 148 + 149 + 30


def test_a_damaged_record_is_a_decode_error():
    nvm = MemoryNvm()
    filled(5, nvm)
    for key in nvm.keys("history/"):
        nvm.put(key, nvm.get(key)[:-3])
    with pytest.raises(DecodeError):
        UseHistory("electricity", nvm)


def test_another_household_does_not_see_what_was_used_before_it():
    nvm = MemoryNvm()
    history = filled(30, nvm)
    history.forget(START + 25 * HOUR_US + 1)
    assert history.total(DAY) is None
    assert history.hours(DAY + 1)[:6] == [None, None, 126, 127, 128, 129]
    assert UseHistory("electricity", nvm).hours(DAY + 1)[:5] == [None, None, 126, 127, 128]
    history.forget(START + 40 * HOUR_US)
    register = 5_000 + sum(range(100, 130))
    history.note(register + 7, utc_us=START + 30 * HOUR_US - 1)
    assert history.total(DAY + 1) == 7, "the register that was heard last still counts"
