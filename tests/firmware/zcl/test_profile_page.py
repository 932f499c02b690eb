"""GetProfile: which half hours one answer has, in which order, and what it says where there are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.firmware.civil import from_zigbee_s
from smets1.firmware.sample_log import HALF_HOUR_US, SampleLog
from smets1.firmware.zcl.clusters.metering import METERING, ProfileStatus
from smets1.firmware.zcl.log_pages import NO_SAMPLE, PERIODS_A_PAGE, Slots, profile_page
from smets1.firmware.zcl.status import Side

START_S = 730_080_000  # a UTC midnight
HALF_S = 1800


def log(count: int, *, without: tuple[int, ...] = ()) -> SampleLog:
    """Half hours of 100, 101, ... from START_S on."""
    held = SampleLog()
    for index in range(count):
        if index not in without:
            held.put(from_zigbee_s(START_S + (index + 1) * HALF_S), 100 + index)
    return held


def ask(source: SampleLog, *, end_s: int = 0, periods: int = 24, earliest_s: int = 0):
    fields = {"interval_channel": 0, "end_time": end_s, "number_of_periods": periods}
    page = profile_page(fields, source, interval_us=HALF_HOUR_US, earliest_s=earliest_s)
    payload = METERING.command("get_profile_response", Side.SERVER).payload
    assert payload.decode(payload.encode(page)) == page
    assert page["profile_interval_period"] == 2
    assert page["number_of_periods_delivered"] == len(page["intervals"])
    return page["status"], page["end_time"], page["intervals"]


def test_the_newest_first() -> None:
    assert ask(log(10), periods=3) == (ProfileStatus.SUCCESS, START_S + 10 * HALF_S, [109, 108, 107])


@pytest.mark.parametrize("into_s", [0, 1, HALF_S - 1])
def test_up_to_the_end_that_is_asked_for(into_s: int) -> None:
    end_s = START_S + 4 * HALF_S
    assert ask(log(10), end_s=end_s + into_s, periods=2) == (ProfileStatus.SUCCESS, end_s, [103, 102])


def test_a_time_to_come_is_now() -> None:
    assert ask(log(5), end_s=START_S + 10**6, periods=1)[1:] == (START_S + 5 * HALF_S, [104])


def test_a_gap_is_told_as_one_and_the_beginning_ends_it() -> None:
    assert ask(log(5, without=(2,)))[2] == [104, 103, NO_SAMPLE, 101, 100]
    assert ask(log(5, without=(4, 3)), end_s=START_S + 5 * HALF_S, periods=2)[1:] == (
        START_S + 3 * HALF_S,
        [102, 101],
    )


def test_more_than_one_answer_holds() -> None:
    status, end_s, intervals = ask(log(100), periods=48)
    assert (status, end_s, len(intervals)) == (
        ProfileStatus.MORE_PERIODS_REQUESTED_THAN_CAN_BE_RETURNED, START_S + 100 * HALF_S, PERIODS_A_PAGE,
    )  # fmt: skip


def test_nothing_to_tell() -> None:
    none = ProfileStatus.NO_INTERVALS_AVAILABLE_FOR_THE_REQUESTED_TIME
    assert ask(log(0)) == (none, 0, [])
    assert ask(log(5), end_s=START_S) == (none, START_S, [])
    assert ask(log(5), periods=0) == (ProfileStatus.SUCCESS, 0, [])


def test_what_was_before_is_another_households() -> None:
    assert ask(log(10), earliest_s=START_S + 8 * HALF_S)[2] == [109, 108, 107]
    assert ask(log(10), earliest_s=START_S + 11 * HALF_S)[2] == []


@given(st.sets(st.integers(0, 200), max_size=40), st.integers(0, 210), st.integers(0, 255))
def test_as_slots_have_it(held: set[int], end: int, periods: int) -> None:
    """A year's log and a short one are the same to who asks."""
    rows = [(from_zigbee_s(START_S + (index + 1) * HALF_S), index) for index in sorted(held)]
    source = SampleLog()
    for end_us, amount in rows:
        source.put(end_us, amount)
    end_s = START_S + end * HALF_S
    assert ask(source, end_s=end_s, periods=periods) == ask(Slots(rows), end_s=end_s, periods=periods)  # type: ignore[arg-type]
