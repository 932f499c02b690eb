"""The profile log of a meter, and the gas proxy's copy of one: an amount for each UTC half hour.

Kept in chunks of one day each, so that NVM writes a day and not a year. Times are the ends of the half
hours (microseconds since 1970). Source: SMETS1 5.7 (profile data log); Liberty 100 (395 days).
"""

from __future__ import annotations

from array import array
from typing import Final

from smets1.errors import DecodeError

__all__ = ["HALF_HOUR_US", "PROFILE_DAYS", "SampleLog"]

PROFILE_DAYS: Final = 395
HALF_HOUR_US: Final = 1_800_000_000
_DAY_US: Final = 86_400_000_000
_SLOTS: Final = _DAY_US // HALF_HOUR_US
_NOT_KNOWN: Final = 0xFFFFFFFF  # no meter passes 4.2 MWh or 4 million litres in half an hour


class SampleLog:
    """What flowed in each UTC half hour (Wh or litres), the last 395 days; the oldest falls out."""

    def __init__(self) -> None:
        self._days: dict[int, array[int]] = {}  # UTC day -> 48 entries
        self._changed: set[int] = set()
        self._gone: set[int] = set()

    def record(self, end_utc_us: int, amount: int) -> None:
        """The half hour that ends at `end_utc_us`.

        Lived twice, since the clock was set back: both stand here, so the log adds up to the register.
        """
        before = self._get(end_utc_us)
        self.put(end_utc_us, amount if before == _NOT_KNOWN else before + amount)

    def put(self, end_utc_us: int, amount: int) -> None:
        """As `record`, but in place of what stood there."""
        day, into_us = divmod(end_utc_us - HALF_HOUR_US, _DAY_US)
        if day not in self._days:
            self._days[day] = array("I", [_NOT_KNOWN] * _SLOTS)
            # Not one day alone: a meter without power for a week has no days that would each push one out.
            for old in [held for held in self._days if held <= day - PROFILE_DAYS]:
                del self._days[old]
                self._gone.add(old)
        self._days[day][into_us // HALF_HOUR_US] = amount
        self._changed.add(day)

    def _get(self, end_utc_us: int) -> int:
        day, into_us = divmod(end_utc_us - HALF_HOUR_US, _DAY_US)
        return self._days[day][into_us // HALF_HOUR_US] if day in self._days else _NOT_KNOWN

    def read(self, start_utc_us: int, end_utc_us: int) -> list[tuple[int, int]]:
        """(end, amount) of the half hours that end in (start, end]; those not known are left out."""
        found = []
        first, last = (start_utc_us - HALF_HOUR_US) // _DAY_US, (end_utc_us - HALF_HOUR_US) // _DAY_US
        for day in sorted(d for d in self._days if first <= d <= last):
            for slot, amount in enumerate(self._days[day]):
                end_us = day * _DAY_US + (slot + 1) * HALF_HOUR_US
                if amount != _NOT_KNOWN and start_utc_us < end_us <= end_utc_us:
                    found.append((end_us, amount))
        return found

    def next_us(self, from_utc_us: int) -> int | None:
        """The end of the first half hour that is known and ends at or after an instant; None: none does."""
        first = (from_utc_us - HALF_HOUR_US) // _DAY_US
        for day in sorted(d for d in self._days if d >= first):
            known = self.read(max(from_utc_us - 1, day * _DAY_US), (day + 1) * _DAY_US)
            if known:
                return known[0][0]
        return None

    def last_us(self, until_utc_us: int) -> int | None:
        """The end of the last half hour that is known and ends up to an instant; None: none does."""
        for day in sorted((d for d in self._days if d * _DAY_US < until_utc_us), reverse=True):
            known = self.read(day * _DAY_US, min(until_utc_us, (day + 1) * _DAY_US))
            if known:
                return known[-1][0]
        return None

    @property
    def days(self) -> list[int]:
        """The UTC days that are held, ascending."""
        return sorted(self._days)

    def clear(self) -> None:
        self._days.clear()
        self._changed.clear()
        self._gone.clear()

    def take_changed(self) -> list[tuple[int, bytes | None]]:
        """Chunks to write to NVM since the last call, by UTC day; None: fell out."""
        days = sorted(self._changed | self._gone)
        self._changed.clear()
        self._gone.clear()
        return [(day, self._chunk(day)) for day in days]

    def _chunk(self, day: int) -> bytes | None:
        if day not in self._days:
            return None
        return b"".join(amount.to_bytes(4, "big") for amount in self._days[day])

    def load_chunk(self, day: int, octets: bytes) -> None:
        """A chunk from NVM. Raises DecodeError."""
        if len(octets) != 4 * _SLOTS:
            raise DecodeError("NVM", len(octets), f"profile of day {day} has not {_SLOTS} entries")
        self._days[day] = array(
            "I", [int.from_bytes(octets[i : i + 4], "big") for i in range(0, len(octets), 4)]
        )
