"""Civil time derived from the crystal: UTC, ZigBee time, the GB wall clock, and their text form.

A `CivilClock` counts the microseconds of a `Scheduler` from a UTC instant fixed at the start, so a run
at any speed, repeated, sees the same dates. Leap seconds do not exist here, as in ZigBee and POSIX.

Source: ZCL 07-5123 rev 7, 2.6.2.5 (UTCTime counts seconds from 2000-01-01 00:00 UTC).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from smets1.errors import InputError
from smets1.hardware.clock import Scheduler

__all__ = [
    "ZIGBEE_EPOCH_UTC_US",
    "CivilClock",
    "format_utc",
    "from_datetime",
    "from_zigbee_s",
    "local_uk",
    "parse_utc",
    "to_datetime",
    "uk_offset_s",
    "zigbee_s",
]

_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_END_OF_DAY: Final = re.compile(r"(.+)T24:00(?::00(?:\.0+)?)?(Z|[+-].+)?", re.ASCII)

ZIGBEE_EPOCH_UTC_US: Final = 946_684_800_000_000
"""2000-01-01 00:00 UTC in microseconds since 1970."""


class CivilClock:
    """UTC as a device without drift would keep it. `epoch_utc_us` is the UTC at scheduler time 0."""

    __slots__ = ("_epoch_utc_us", "_scheduler")

    def __init__(self, scheduler: Scheduler, epoch_utc_us: int) -> None:
        self._scheduler = scheduler
        self._epoch_utc_us = epoch_utc_us

    @property
    def scheduler(self) -> Scheduler:
        return self._scheduler

    def utc_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return self._epoch_utc_us + self._scheduler.now_us()

    def zigbee_utc_s(self) -> int:
        """Whole seconds since 2000-01-01 UTC, as the Time cluster counts them."""
        return zigbee_s(self.utc_us())

    def scheduler_us(self, utc_us: int) -> int:
        """The scheduler time of a UTC instant, for `Scheduler.call_at_us`; negative before the start."""
        return utc_us - self._epoch_utc_us


def zigbee_s(utc_us: int) -> int:
    """Microseconds since 1970 -> whole seconds since 2000 (rounded down; negative before 2000)."""
    return (utc_us - ZIGBEE_EPOCH_UTC_US) // 1_000_000


def from_zigbee_s(seconds: int) -> int:
    """Seconds since 2000 -> microseconds since 1970."""
    return seconds * 1_000_000 + ZIGBEE_EPOCH_UTC_US


def to_datetime(utc_us: int) -> datetime:
    """Exact, in UTC. Raises InputError outside the years 1 to 9999."""
    try:
        return _UNIX_EPOCH + timedelta(microseconds=utc_us)
    except OverflowError:
        raise InputError(f"{utc_us} µs since 1970 is no date between the years 1 and 9999") from None


def from_datetime(moment: datetime) -> int:
    """Microseconds since 1970, exact. Raises InputError for a datetime without a time zone."""
    if moment.tzinfo is None:
        raise InputError(f"{moment.isoformat()} has no time zone: write it in UTC, with a Z")
    return (moment - _UNIX_EPOCH) // _US


def format_utc(utc_us: int) -> str:
    """ISO 8601 text with Z, as DUIS writes it: no fraction where it is zero, else milli- or microseconds."""
    moment = to_datetime(utc_us)
    fraction_us = utc_us % 1_000_000
    spec = "seconds" if not fraction_us else "milliseconds" if not fraction_us % 1000 else "microseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse_utc(text: str) -> int:
    """ISO 8601 text with Z or an offset -> microseconds since 1970. Raises InputError.

    24:00:00 is the end of its day, the next one's midnight (ISO 8601; XML Schema part 2, 3.2.7), which the
    datetime of Python before 3.14 does not know.
    """
    end_of_day = _END_OF_DAY.fullmatch(text.strip())
    try:
        if end_of_day is None:
            moment = datetime.fromisoformat(text.strip())
        else:
            day, zone = end_of_day.groups()
            moment = datetime.fromisoformat(f"{day}T00:00:00{zone or ''}") + timedelta(days=1)
        if moment.tzinfo is not None:
            return from_datetime(moment.astimezone(UTC))
    except (ValueError, OverflowError):  # the latter: the first or the last hours of the calendar
        raise InputError(f"{text!r} is not a time: write it as 2023-01-16T00:00:00Z") from None
    raise InputError(f"{text!r} has no time zone: write it in UTC, with a Z at the end")


@lru_cache(maxsize=1)
def _uk() -> ZoneInfo:
    try:
        return ZoneInfo("Europe/London")
    except ZoneInfoNotFoundError:
        raise InputError("no time zone data on this machine: install the package tzdata") from None


def local_uk(utc_us: int) -> datetime:
    """The GB wall clock at a UTC instant; `fold` is 1 in the repeated hour of October."""
    return to_datetime(utc_us).astimezone(_uk())


def uk_offset_s(utc_us: int) -> int:
    """Seconds that the GB wall clock is ahead of UTC: 3600 in summer, else 0."""
    offset = local_uk(utc_us).utcoffset()
    assert offset is not None, "a zone always knows its offset"
    return int(offset.total_seconds())
