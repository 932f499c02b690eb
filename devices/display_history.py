"""What a display remembers: what was used in each hour of the last 45 days, from the readings it heard.

What was used between two readings counts for the hour in which the second was heard, so the sum of all
hours is always what the register has moved, however long the display heard nothing. A register that runs
backwards is another meter's: what it moved meanwhile is nobody's. Units are the register's: Wh, or litres
of gas.

A record for each UTC day is put to NVM when an hour is over, with the reading that it goes up to; after a
power cut the rest is counted from there.

Source: Secure Pipit 500 guide (hourly history 45 days).
"""

from __future__ import annotations

from typing import Final

from smets1.devices.days import HOUR_US, local_day, local_midnight_us
from smets1.devices.state import StateReader, pack_state
from smets1.firmware.nvm import Nvm

__all__ = ["HISTORY_DAYS", "UseHistory"]

HISTORY_DAYS: Final = 45
_HOURS: Final = HISTORY_DAYS * 24


class UseHistory:
    """One fuel's. `name` tells its records from those of the other."""

    def __init__(self, name: str, nvm: Nvm) -> None:
        self._prefix = f"history/{name}/"
        self._nvm = nvm
        self._register: int | None = None
        self._hours: dict[int, int] = {}  # hours since 1970 UTC -> what was used in it; ascending
        self._newest = -1
        self._restore()

    def note(self, register: int, *, utc_us: int) -> None:
        """A reading was heard. Earlier than the last hour: it counts for that hour."""
        hour = max(utc_us // HOUR_US, self._newest)
        before, self._register = self._register, register
        if hour != self._newest:
            self._begin(hour, before)
        if before is not None and register > before:
            self._hours[hour] += register - before

    def _begin(self, hour: int, register: int | None) -> None:
        if self._newest >= 0 and register is not None:
            self._put(self._newest // 24, register)
        self._newest = hour
        self._hours[hour] = 0
        while next(iter(self._hours)) <= hour - _HOURS:
            del self._hours[next(iter(self._hours))]

    def forget(self, before_utc_us: int) -> None:
        """Another household lives here since: the hours that had begun before are none of its business."""
        first = -(-before_utc_us // HOUR_US)
        kept = {hour: use for hour, use in self._hours.items() if hour >= first}
        if self._newest >= 0:
            kept.setdefault(self._newest, 0)  # the hour that runs starts anew
        self._hours = dict(sorted(kept.items()))
        for key in self._nvm.keys(self._prefix):
            self._nvm.delete(key)
        if self._register is not None:
            for day in sorted({hour // 24 for hour in self._hours}):
                self._put(day, self._register)

    # --- reads -----------------------------------------------------------------------------------

    def hours(self, day: int) -> list[int | None]:
        """Of one local day (days since 1970-01-01), by the hour: 23, 24 or 25 values. None: nothing heard."""
        first, end = (local_midnight_us(each) // HOUR_US for each in (day, day + 1))
        return [self._hours.get(hour) for hour in range(first, end)]

    def total(self, day: int) -> int | None:
        """Of one local day. None: nothing heard of it."""
        heard = [use for use in self.hours(day) if use is not None]
        return sum(heard) if heard else None

    def last_days(self, count: int, *, utc_us: int) -> list[tuple[int, int | None]]:
        """(local day, use) of the days before today, latest first, 45 at most."""
        today = local_day(utc_us)
        return [(today - back, self.total(today - back)) for back in range(1, min(count, HISTORY_DAYS) + 1)]

    # --- NVM -------------------------------------------------------------------------------------

    def _put(self, day: int, register: int) -> None:
        """Put (uncommitted) one UTC day; a later one takes the place of what is too old."""
        hours = [self._hours.get(day * 24 + hour, -1) for hour in range(24)]
        record = pack_state("history", 1, {"day": day, "register": register, "hours": hours})
        self._nvm.put(f"{self._prefix}{day % (HISTORY_DAYS + 1):02d}", record)

    def _restore(self) -> None:
        """Raises DecodeError."""
        days: dict[int, tuple[int, list[int]]] = {}
        for key in self._nvm.keys(self._prefix):
            reader = StateReader(self._nvm.get(key) or b"", kind="history", versions=(1,))
            day = reader.whole("day", 0)
            days[day] = reader.whole("register", 0), reader.wholes("hours", 24)
        for day in sorted(days):
            self._register, hours = days[day]
            for hour, use in enumerate(hours):
                if use >= 0:
                    self._newest = day * 24 + hour
                    self._hours[self._newest] = use
