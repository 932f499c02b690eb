"""The crystal drifts; a synchronisation within its tolerance sets it right."""

from __future__ import annotations

from random import Random

import pytest

from smets1.devices.clock import ClockStatus, DeviceClock, SyncOutcome
from smets1.devices.days import DAY_US, SECOND_US
from smets1.errors import DecodeError

START = 19_733 * DAY_US


def test_twenty_ppm_fast_is_1728_ms_a_day():
    clock = DeviceClock(true_us=START, drift_ppb=20_000)
    assert clock.own_us(START + DAY_US) - (START + DAY_US) == 1_728_000


@pytest.mark.parametrize("drift_ppb", [0, 1, 20_000, -20_000, 333_333])
def test_a_timer_is_armed_for_the_first_instant_that_shows_its_time(drift_ppb):
    clock = DeviceClock(true_us=START, drift_ppb=drift_ppb, error_us=-1234)
    rng = Random(drift_ppb)
    for _ in range(200):
        own_us = START + rng.randrange(30 * DAY_US)
        true_us = clock.true_us(own_us)
        assert clock.own_us(true_us) >= own_us
        assert clock.own_us(true_us - 1) < own_us


def test_a_clock_never_set_is_invalid_and_takes_any_time():
    clock = DeviceClock(true_us=START, error_us=-START)
    assert clock.status is ClockStatus.INVALID
    assert clock.synchronise(START, tolerance_s=0, true_us=START) is SyncOutcome.SET
    assert clock.status is ClockStatus.RELIABLE
    assert clock.own_us(START + 5) == START + 5


def test_beyond_the_tolerance_it_is_refused_and_the_clock_is_unreliable():
    clock = DeviceClock(true_us=START)
    assert clock.synchronise(START, tolerance_s=10, true_us=START) is SyncOutcome.UNCHANGED
    wrong_us = START + 11 * SECOND_US
    assert clock.synchronise(wrong_us, tolerance_s=10, true_us=START) is SyncOutcome.BEYOND_TOLERANCE
    assert clock.status is ClockStatus.UNRELIABLE
    assert clock.own_us(START) == START
    right_us = START + 10 * SECOND_US
    assert clock.synchronise(right_us, tolerance_s=10, true_us=START) is SyncOutcome.SET
    assert (clock.status, clock.own_us(START)) == (ClockStatus.RELIABLE, right_us)


def test_round_trip_and_hostile_records():
    clock = DeviceClock(true_us=START, drift_ppb=-7, error_us=99)
    clock.on_power_loss()
    octets = clock.encode()
    assert DeviceClock.decode(octets).encode() == octets
    for end in range(len(octets)):
        with pytest.raises(DecodeError):
            DeviceClock.decode(octets[:end])
