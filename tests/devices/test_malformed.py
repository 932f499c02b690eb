"""The tenth malformed command within an hour is unusual, and told once."""

from __future__ import annotations

from smets1.devices.days import HOUR_US
from smets1.devices.malformed import MalformedWatch


def test_the_tenth_in_an_hour_and_no_other() -> None:
    watch = MalformedWatch()
    assert [watch.note(number) for number in range(30)] == [False] * 9 + [True] + [False] * 20
    assert [watch.note(HOUR_US + number) for number in range(10)] == [False] * 9 + [True]
    assert not any(watch.note((3 + number) * HOUR_US) for number in range(20)), "one an hour is not unusual"


def test_a_clock_set_back_begins_a_new_hour() -> None:
    watch = MalformedWatch()
    for _ in range(9):
        assert not watch.note(HOUR_US)
    assert not watch.note(0)
