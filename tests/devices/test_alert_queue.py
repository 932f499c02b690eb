"""Alerts are numbered once, kept until they are taken, and survive a power cut."""

from __future__ import annotations

import random

import pytest

from smets1.devices.alert_queue import LOG_ONLY, MAX_PENDING, AlertQueue
from smets1.devices.alerts import DEFAULT_WINDOW_US
from smets1.devices.event_log import AlertCode, LogEntry
from smets1.errors import DecodeError
from smets1.firmware.alert_data import AlertData
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters.events import EventLogId

NOW = 1_700_000_000_000_000


def entry(code: int, detail: str = "") -> LogEntry:
    return LogEntry(utc_us=NOW, code=code, detail=detail)


def test_in_order_with_numbers_that_never_come_again():
    nvm = MemoryNvm()
    queue = AlertQueue(nvm)
    queue.offer([entry(AlertCode.TAMPER), entry(AlertCode.LOW_BATTERY, "9 %")], utc_us=NOW)
    number, fields = queue.first() or (0, {})
    assert (number, fields["event_id"], fields["log_id"]) == (1, 0x8F3F, EventLogId.SECURITY_EVENT_LOG)
    queue.acknowledge(2)
    assert len(queue) == 2, "only the first can be acknowledged"
    queue.acknowledge(1)
    nvm.commit()
    again = AlertQueue(nvm.after_power_cut())
    number, fields = again.first() or (0, {})
    assert AlertData.decode(fields["event_data"]) == AlertData(number=2, detail="9 %")
    again.acknowledge(2)
    assert again.first() is None
    fields = again.own_event(0x8FF0, utc_us=NOW)
    assert AlertData.decode(fields["event_data"]).number == 3
    again.offer([entry(AlertCode.TAMPER)], utc_us=NOW)
    assert (again.first() or (0, {}))[0] == 4


def test_what_is_not_worth_an_alert_stays_in_the_log():
    queue = AlertQueue(MemoryNvm())
    queue.offer([entry(code) for code in sorted(LOG_ONLY)], utc_us=NOW)
    assert len(queue) == 0


def test_the_count_of_those_held_back_goes_with_the_last():
    queue = AlertQueue(MemoryNvm())
    queue.offer([entry(AlertCode.TAMPER)] * 9, utc_us=NOW)
    assert len(queue) == 5
    assert queue.next_timer_us() == NOW + DEFAULT_WINDOW_US
    queue.on_timer(utc_us=NOW + DEFAULT_WINDOW_US)
    for number in range(1, 6):
        queue.acknowledge(number)
    _, fields = queue.first() or (0, {})
    assert AlertData.decode(fields["event_data"]).throttled_count == 4


def test_the_oldest_fall_out_when_nobody_takes_them():
    queue = AlertQueue(MemoryNvm())
    for hour in range(MAX_PENDING + 10):
        queue.offer([entry(AlertCode.TAMPER)], utc_us=NOW + 2 * hour * DEFAULT_WINDOW_US)
    assert len(queue) == MAX_PENDING
    assert (queue.first() or (0, {}))[0] == 11


def test_words_are_cut_at_a_whole_character_and_hostile_octets_are_refused():
    data = AlertData(number=7, throttled_count=70_000, detail="é" * 40)
    again = AlertData.decode(data.encode())
    assert (again.throttled_count, again.detail) == (0xFFFF, "é" * 24)
    rng = random.Random(1)
    for _ in range(300):
        octets = rng.randbytes(rng.randrange(12))
        try:
            assert AlertData.decode(octets).encode() == octets
        except DecodeError:
            pass
    for end in range(7):
        with pytest.raises(DecodeError):
            AlertData.decode(data.encode()[:end])
