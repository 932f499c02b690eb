"""Two rings of 100."""

from __future__ import annotations

import pytest

from smets1.devices.event_log import LOG_ENTRIES, AlertCode, EventLog
from smets1.errors import DecodeError


def test_the_oldest_of_a_hundred_falls_out():
    log = EventLog()
    for at in range(150):
        log.record(AlertCode.SUPPLY_ARMED, utc_us=at)
    assert len(log.events) == LOG_ENTRIES == 100
    assert log.events[0].utc_us == 50
    assert not log.security


def test_security_events_have_a_log_of_their_own():
    log = EventLog()
    log.record(AlertCode.UNAUTHORISED_ACCESS, utc_us=1, detail="bare critical command")
    log.record(0x9999, utc_us=2)  # a maker's own
    assert [entry.code for entry in log.security] == [AlertCode.UNAUTHORISED_ACCESS]
    assert [entry.code for entry in log.events] == [0x9999]


def test_clearing_the_event_log_is_itself_logged():
    log = EventLog()
    log.record(AlertCode.SUPPLY_ARMED, utc_us=1)
    log.clear_events(utc_us=2)
    assert not log.events
    assert [entry.code for entry in log.security] == [AlertCode.EVENT_LOG_CLEARED]


def test_state_round_trip_and_every_truncation():
    log = EventLog()
    log.record(AlertCode.TAMPER, utc_us=1, detail="cover")
    log.record(AlertCode.SUPPLY_ARMED, utc_us=2)
    octets = log.encode()
    again = EventLog.decode(octets)
    assert (again.events, again.security) == (log.events, log.security)
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            EventLog.decode(octets[:length])
