"""A clock that drifts, and who may set it."""

from __future__ import annotations

from random import Random

import pytest

from smets1.errors import DecodeError
from smets1.firmware.civil import CivilClock, zigbee_s
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.time_keeper import ClockStatus, DeviceClock, TimeKeeper, TimeVerdict
from smets1.hardware.clock import HeapScheduler

EPOCH = 1_700_000_000_000_000
DAY = 86_400_000_000


def at(scheduler: HeapScheduler, when_us: int) -> None:
    scheduler.run_until(when_us)


def test_without_drift_it_is_the_civil_clock():
    scheduler = HeapScheduler()
    plain, own = CivilClock(scheduler, EPOCH), DeviceClock(scheduler, EPOCH)
    rng = Random(1)
    for _ in range(50):
        at(scheduler, scheduler.now_us() + rng.randrange(1, DAY))
        assert own.utc_us() == plain.utc_us()
        instant = EPOCH + rng.randrange(100 * DAY)
        assert own.scheduler_us(instant) == plain.scheduler_us(instant)


@pytest.mark.parametrize(("drift_ppm", "second"), [(20, 1_728_000), (-20, -1_728_000), (0, 0)])
def test_drift_of_a_day(drift_ppm, second):
    scheduler = HeapScheduler()
    own = DeviceClock(scheduler, EPOCH, drift_ppm=drift_ppm)
    at(scheduler, DAY)
    assert own.utc_us() - EPOCH - DAY == second


@pytest.mark.parametrize("drift_ppm", [-100, -1, 0, 1, 33, 100])
def test_a_timer_set_by_this_clock_is_never_early(drift_ppm):
    scheduler = HeapScheduler()
    own = DeviceClock(scheduler, EPOCH, drift_ppm=drift_ppm)
    rng = Random(drift_ppm)
    for _ in range(200):
        instant = own.utc_us() + rng.randrange(1, DAY)
        due = own.scheduler_us(instant)
        at(scheduler, due - 1)
        assert own.utc_us() < instant
        at(scheduler, due)
        assert instant <= own.utc_us() <= instant + 1


def keeper(drift_ppm=0, offset_us=0):
    scheduler = HeapScheduler()
    clock = DeviceClock(scheduler, EPOCH + offset_us, drift_ppm=drift_ppm)
    return TimeKeeper(clock), clock, scheduler


def test_the_hub_sets_a_clock_that_is_off():
    subject, clock, _ = keeper(offset_us=5_000_000)
    assert subject.status is ClockStatus.NOT_SET
    assert subject.on_time(zigbee_s(EPOCH), 0b11) is TimeVerdict.ADJUSTED
    assert abs(clock.utc_us() - EPOCH) <= 1_000_000
    assert abs(subject.last_step_us + 5_000_000) <= 1_000_000
    assert subject.status is ClockStatus.SYNCHRONISED


def test_a_difference_below_what_seconds_can_tell_is_left():
    subject, clock, _ = keeper(offset_us=900_000)
    assert subject.on_time(zigbee_s(EPOCH), 0b11) is TimeVerdict.KEPT
    assert clock.utc_us() == EPOCH + 900_000
    assert subject.status is ClockStatus.SYNCHRONISED


def test_what_a_slow_answer_explains_is_left():
    subject, _, _ = keeper(offset_us=8_000_000)
    assert subject.on_time(zigbee_s(EPOCH), 0b11, round_trip_us=14_000_000) is TimeVerdict.KEPT
    assert subject.on_time(zigbee_s(EPOCH), 0b11, round_trip_us=100_000) is TimeVerdict.ADJUSTED


@pytest.mark.parametrize("status", [0b00, 0b01, 0b10])
def test_who_is_not_authoritative_sets_only_a_clock_never_set(status):
    subject, clock, _ = keeper(offset_us=3600_000_000)
    assert subject.on_time(zigbee_s(EPOCH), status) is TimeVerdict.ADJUSTED
    assert subject.status is ClockStatus.NOT_SET  # still waiting for somebody who knows
    assert subject.on_time(zigbee_s(EPOCH), 0b11) is TimeVerdict.KEPT
    before = clock.utc_us()
    assert subject.on_time(zigbee_s(EPOCH + 60_000_000), status) is TimeVerdict.REFUSED
    assert clock.utc_us() == before
    assert subject.refused_count == 1


@pytest.mark.parametrize("time_s", [0, 0xFFFFFFFF])
def test_no_time_is_no_time(time_s):
    subject, clock, _ = keeper()
    assert subject.on_time(time_s, 0b11) is TimeVerdict.REFUSED
    assert clock.utc_us() == EPOCH


def test_a_clock_long_alone_is_unreliable():
    subject, _, scheduler = keeper()
    subject.on_time(zigbee_s(EPOCH), 0b11)
    at(scheduler, 2 * DAY - 10_000_000)
    assert subject.status is ClockStatus.SYNCHRONISED
    at(scheduler, 2 * DAY + 10_000_000)
    assert subject.status is ClockStatus.UNRELIABLE


def test_a_command_beyond_its_tolerance_makes_the_clock_unreliable_until_one_within_it():
    subject, clock, _ = keeper()
    subject.on_time(zigbee_s(EPOCH), 0b11)
    assert subject.on_command(EPOCH + 11_000_000, tolerance_us=10_000_000) is TimeVerdict.REFUSED
    assert (subject.status, clock.utc_us()) == (ClockStatus.UNRELIABLE, EPOCH)
    assert subject.on_command(EPOCH - 10_000_000, tolerance_us=10_000_000) is TimeVerdict.KEPT
    assert (subject.status, clock.utc_us()) == (ClockStatus.SYNCHRONISED, EPOCH)


def test_a_new_drift_does_not_make_the_clock_jump():
    scheduler = HeapScheduler()
    own = DeviceClock(scheduler, EPOCH, drift_ppm=50)
    at(scheduler, DAY)
    before = own.utc_us()
    own.set_drift(-1000)
    assert own.utc_us() == before
    at(scheduler, DAY + 1_000_000_000)
    assert own.utc_us() == before + 999_000_000


def test_a_clock_goes_on_while_its_program_is_away():
    """An hour before the restart it was set a minute fast, and has gained since by the drift it was given."""
    nvm, before = MemoryNvm(), HeapScheduler()
    own = DeviceClock(before, EPOCH, drift_ppm=7, nvm=nvm)
    at(before, DAY)
    own.set(own.utc_us() + 60_000_000)
    own.set_drift(1000)
    shown = own.utc_us()
    nvm.commit()
    at(before, DAY + 3_600_000_000)
    after = HeapScheduler()
    again = DeviceClock(after, EPOCH + 2 * DAY, drift_ppm=7, nvm=nvm)
    assert again.utc_us() == shown + DAY + DAY // 1000
    at(after, 10_000_000)
    assert again.utc_us() == shown + DAY + 10_000_000 + (DAY + 10_000_000) // 1000
    due = again.scheduler_us(again.utc_us() + 1_000_000)
    at(after, due)
    assert again.utc_us() >= shown + DAY + DAY // 1000 + 11_000_000


def test_another_crystal_counts_from_the_restart_on():
    nvm, before = MemoryNvm(), HeapScheduler()
    own = DeviceClock(before, EPOCH, drift_ppm=10, nvm=nvm)
    own.set(EPOCH)
    again = DeviceClock(HeapScheduler(), EPOCH + DAY, drift_ppm=-500, nvm=nvm)
    assert again.utc_us() == EPOCH + DAY + DAY * 10 // 1_000_000


def test_a_clock_that_was_never_set_is_right_at_each_start():
    nvm = MemoryNvm()
    DeviceClock(HeapScheduler(), EPOCH, drift_ppm=10, nvm=nvm)
    assert DeviceClock(HeapScheduler(), EPOCH + DAY, nvm=nvm).utc_us() == EPOCH + DAY


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x02" + bytes(21), bytes(400)])
def test_a_record_that_is_none(record):
    nvm = MemoryNvm()
    nvm.put("clock", record)
    with pytest.raises(DecodeError):
        DeviceClock(HeapScheduler(), EPOCH, nvm=nvm)
