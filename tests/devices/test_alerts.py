"""A meter does not drown the WAN, and nothing that was held back is forgotten."""

from __future__ import annotations

from smets1.devices.alerts import AlertGate
from smets1.devices.days import HOUR_US
from smets1.devices.event_log import AlertCode, LogEntry


def entry(at_us: int, code: int = AlertCode.TAMPER) -> LogEntry:
    return LogEntry(utc_us=at_us, code=code)


def test_the_first_five_go_out_and_the_rest_as_one_count():
    gate = AlertGate()
    sent = [alert for at in range(12) for alert in gate.offer(entry(at), utc_us=at)]
    assert [(a.entry.utc_us, a.throttled_count) for a in sent] == [(at, 0) for at in range(5)]
    assert gate.next_timer_us() == HOUR_US
    assert gate.on_timer(utc_us=HOUR_US - 1) == []
    (summary,) = gate.on_timer(utc_us=HOUR_US)
    assert (summary.entry.utc_us, summary.throttled_count) == (11, 7)
    assert gate.next_timer_us() is None


def test_codes_do_not_take_each_others_room():
    gate = AlertGate(burst=1)
    assert len(gate.offer(entry(0), utc_us=0)) == 1
    assert len(gate.offer(entry(0, AlertCode.LOW_BATTERY), utc_us=0)) == 1
    assert gate.offer(entry(1), utc_us=1) == []


def test_a_new_window_lets_through_again_and_tells_what_was_held_first():
    gate = AlertGate(burst=1, window_us=10)
    gate.offer(entry(0), utc_us=0)
    gate.offer(entry(1), utc_us=1)
    alerts = gate.offer(entry(10), utc_us=10)
    assert [(a.entry.utc_us, a.throttled_count) for a in alerts] == [(1, 1), (10, 0)]


def test_a_clock_set_back_ends_the_window():
    gate = AlertGate(burst=1, window_us=10)
    gate.offer(entry(100), utc_us=100)
    assert len(gate.offer(entry(50), utc_us=50)) == 1


def test_a_muted_code_is_silent():
    gate = AlertGate(muted=frozenset({AlertCode.TAMPER}))
    assert gate.offer(entry(0), utc_us=0) == []
