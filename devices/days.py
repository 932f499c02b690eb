"""Days as a meter and a householder count them: UTC days for billing, UK local days for displays.

Half hours and UTC days are plain arithmetic. Local days follow Europe/London, so two of them a year
last 23 and 25 hours. All instants are whole microseconds since 1970-01-01 UTC (`utc_us`).
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

__all__ = [
    "DAY_US",
    "HALF_HOUR_US",
    "HOUR_US",
    "LONDON",
    "MINUTE_US",
    "SECOND_US",
    "ceil_to",
    "civil",
    "date_of_day",
    "day_of_date",
    "local_day",
    "local_midnight_us",
    "next_local_midnight_us",
    "utc_day",
]

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HALF_HOUR_US: Final = 30 * MINUTE_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

LONDON: Final = ZoneInfo("Europe/London")
_EPOCH_ORDINAL: Final = dt.date(1970, 1, 1).toordinal()


def ceil_to(utc_us: int, step_us: int) -> int:
    """The first multiple of `step_us` at or after `utc_us`."""
    return -(-utc_us // step_us) * step_us


def utc_day(utc_us: int) -> int:
    """Days since 1970-01-01 UTC."""
    return utc_us // DAY_US


def civil(utc_us: int) -> dt.datetime:
    """The UTC date and time, whole seconds."""
    return dt.datetime.fromtimestamp(utc_us // SECOND_US, dt.UTC)


@lru_cache(maxsize=1024)
def local_midnight_us(day: int) -> int:
    """When local day `day` (days since 1970-01-01 in Europe/London) begins, as utc_us."""
    date = dt.date.fromordinal(_EPOCH_ORDINAL + day)
    start = dt.datetime(date.year, date.month, date.day, tzinfo=LONDON)
    return int(start.timestamp()) * SECOND_US


def local_day(utc_us: int) -> int:
    """Days since 1970-01-01 on a clock on the wall in London."""
    day = utc_us // DAY_US + 1  # summer time is ahead of UTC, so the local day may be the next one
    while local_midnight_us(day) > utc_us:
        day -= 1
    return day


def next_local_midnight_us(utc_us: int) -> int:
    """The first local midnight after `utc_us`."""
    return local_midnight_us(local_day(utc_us) + 1)


def date_of_day(day: int) -> dt.date:
    """1970-01-01 is day 0."""
    return dt.date.fromordinal(_EPOCH_ORDINAL + day)


def day_of_date(date: dt.date) -> int:
    """1970-01-01 is day 0."""
    return date.toordinal() - _EPOCH_ORDINAL
