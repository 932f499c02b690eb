"""The log of half hours that meters and the gas proxy share; its life inside a meter is `devices/test_metering.py`."""

from __future__ import annotations

import random

import pytest

from smets1.errors import DecodeError
from smets1.firmware.sample_log import HALF_HOUR_US, PROFILE_DAYS, SampleLog

DAY_US = 48 * HALF_HOUR_US
FIRST_US = 19_000 * DAY_US


def whole(log: SampleLog) -> list[tuple[int, int]]:
    return log.read(0, 1 << 62)


def test_after_weeks_without_power_no_day_is_older_than_the_log_is_long() -> None:
    log = SampleLog()
    for day in range(PROFILE_DAYS):
        log.put(FIRST_US + day * DAY_US + HALF_HOUR_US, day)
    log.take_changed()
    back_us = FIRST_US + (PROFILE_DAYS + 20) * DAY_US  # three weeks later, no half hour between
    log.put(back_us + HALF_HOUR_US, 1)
    first, last = log.days[0], log.days[-1]
    assert last - first < PROFILE_DAYS
    assert [day for day, chunk in log.take_changed() if chunk is None] == [19_000 + day for day in range(21)]


def test_a_copy_that_is_filled_from_its_end_is_whole() -> None:
    log = SampleLog()
    ends = [FIRST_US + number * HALF_HOUR_US for number in range(1, PROFILE_DAYS * 48 + 1)]
    for number, end_us in enumerate(reversed(ends)):
        log.put(end_us, number)
    assert [end_us for end_us, _ in whole(log)] == ends


@pytest.mark.parametrize("seed", range(5))
def test_what_is_in_nvm_is_what_is_in_memory(seed: int) -> None:
    rng, log = random.Random(seed), SampleLog()
    stored: dict[int, bytes] = {}
    end_us = FIRST_US
    for _ in range(400):
        end_us += rng.choice((1, 1, 1, 48, 48 * 30, -20)) * HALF_HOUR_US
        rng.choice((log.put, log.record))(end_us, rng.randint(0, 9000))
        if rng.random() < 0.3:
            for day, chunk in log.take_changed():
                if chunk is None:
                    stored.pop(day, None)
                else:
                    stored[day] = chunk
    for day, chunk in log.take_changed():
        stored.pop(day, None) if chunk is None else stored.update({day: chunk})
    again = SampleLog()
    for day, chunk in stored.items():
        again.load_chunk(day, chunk)
    assert whole(again) == whole(log)
    for place, (end_us, _) in enumerate(whole(log)):
        assert log.next_us(end_us) == end_us
        following = whole(log)[place + 1 : place + 2]
        assert log.next_us(end_us + 1) == (following[0][0] if following else None)
        if place > 20:
            break


def test_a_chunk_that_is_none() -> None:
    for octets in (b"", b"\0" * 191, b"\0" * 193):
        with pytest.raises(DecodeError):
            SampleLog().load_chunk(1, octets)
