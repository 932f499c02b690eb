"""Civil time: exact, whatever the year; the GB wall clock turns when the law says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import InputError
from smets1.firmware.civil import (
    ZIGBEE_EPOCH_UTC_US,
    CivilClock,
    format_utc,
    from_datetime,
    from_zigbee_s,
    local_uk,
    parse_utc,
    to_datetime,
    uk_offset_s,
    zigbee_s,
)
from smets1.hardware.clock import HeapScheduler


def test_clock_follows_the_scheduler() -> None:
    scheduler = HeapScheduler()
    civil = CivilClock(scheduler, parse_utc("2024-03-31T00:59:59Z"))
    scheduler.run_until(1_500_000)
    assert format_utc(civil.utc_us()) == "2024-03-31T01:00:00.500Z"
    assert civil.zigbee_utc_s() == 765_162_000
    assert civil.scheduler_us(parse_utc("2024-03-31T01:00:00Z")) == 1_000_000
    assert civil.scheduler is scheduler


def test_zigbee_time() -> None:
    # ZCL rev 7, 2.6.2.5: 0 is 2000-01-01 00:00 UTC.
    assert format_utc(ZIGBEE_EPOCH_UTC_US) == "2000-01-01T00:00:00Z"
    assert zigbee_s(ZIGBEE_EPOCH_UTC_US - 1) == -1
    assert from_zigbee_s(1) == ZIGBEE_EPOCH_UTC_US + 1_000_000


@pytest.mark.parametrize(
    ("utc", "local", "offset_s"),
    [
        ("2024-03-31T00:59:59Z", "2024-03-31T00:59:59+00:00", 0),
        ("2024-03-31T01:00:00Z", "2024-03-31T02:00:00+01:00", 3600),
        ("2024-10-27T00:59:59Z", "2024-10-27T01:59:59+01:00", 3600),
        ("2024-10-27T01:00:00Z", "2024-10-27T01:00:00+00:00", 0),
    ],
)
def test_british_summer_time(utc: str, local: str, offset_s: int) -> None:
    assert local_uk(parse_utc(utc)).isoformat() == local
    assert uk_offset_s(parse_utc(utc)) == offset_s


def test_repeated_hour_is_marked() -> None:
    assert local_uk(parse_utc("2024-10-27T00:30:00Z")).fold == 0
    assert local_uk(parse_utc("2024-10-27T01:30:00Z")).fold == 1


@given(st.integers(from_datetime(datetime(1, 1, 1, tzinfo=UTC)), 253_402_300_799_999_999))
def test_round_trips(utc_us: int) -> None:
    assert from_datetime(to_datetime(utc_us)) == utc_us
    assert parse_utc(format_utc(utc_us)) == utc_us


def test_other_zones_and_bad_text() -> None:
    assert from_datetime(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert parse_utc("1970-01-01T01:00:00+01:00") == 0
    for text in ("", "yesterday", "2024-02-30T00:00:00Z", "2024-01-01T00:00:00"):
        with pytest.raises(InputError):
            parse_utc(text)
    with pytest.raises(InputError):
        to_datetime(10**18)


def test_the_end_of_a_day_is_the_next_ones_midnight() -> None:
    """XML Schema allows hour 24, and so does DUIS."""
    midnight = parse_utc("2024-03-01T00:00:00Z")
    for text in (
        "2024-02-29T24:00:00Z",
        "2024-02-29T24:00:00.000Z",
        "2024-02-29T24:00Z",
        " 2024-02-29T24:00:00Z\n",
        "2024-02-29T24:00:00+00:00",
    ):
        assert parse_utc(text) == midnight, text
    assert parse_utc("2024-02-29T24:00:00+01:00") == midnight - 3_600_000_000
    for text in (
        "2024-02-29T24:00:01Z",
        "2024-02-29T24:00:00.5Z",
        "2024-02-29T24:30:00Z",
        "2024-02-29T25:00:00Z",
        "2024-02-30T24:00:00Z",
        "2024-02-29T24:00:00",
        "9999-12-31T24:00:00Z",
        "0001-01-01T00:00:00+14:00",
    ):
        with pytest.raises(InputError):
            parse_utc(text)
