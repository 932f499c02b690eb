"""Which of the logged events go out as alerts, and how often: a meter may not drown the WAN.

Of each code the first few in a window go out; the rest are counted, and the count goes out as one alert when
the window is over. Nothing is lost from the meter's own log. Some codes can be switched off altogether
(DUIS 6.22 is not for SMETS1, but a supplier's configuration can do it on the device).

Source: DUIS 5.4 (ThrottledAlertCount, ThrottledAlertSequenceId); the numbers are ours (an assumption).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smets1.devices.days import HOUR_US
from smets1.devices.event_log import LogEntry

__all__ = ["Alert", "AlertGate"]

DEFAULT_BURST: Final = 5
DEFAULT_WINDOW_US: Final = HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    entry: LogEntry
    throttled_count: int = 0  # how many like it were held back before this one


class AlertGate:
    """Not in NVM: after a restart every window is new, which errs towards telling."""

    def __init__(
        self,
        *,
        burst: int = DEFAULT_BURST,
        window_us: int = DEFAULT_WINDOW_US,
        muted: frozenset[int] = frozenset(),
    ) -> None:
        self.burst = burst
        self.window_us = window_us
        self.muted = muted
        self._from_us: dict[int, int] = {}
        self._sent: dict[int, int] = {}
        self._held: dict[int, tuple[int, LogEntry]] = {}

    def offer(self, entry: LogEntry, *, utc_us: int) -> list[Alert]:
        """A new log entry. What goes out now, summaries of windows that are over first."""
        alerts = self.on_timer(utc_us=utc_us)
        code = entry.code
        if code in self.muted:
            return alerts
        if code not in self._from_us:
            self._from_us[code], self._sent[code] = utc_us, 0
        if self._sent[code] < self.burst:
            self._sent[code] += 1
            return [*alerts, Alert(entry=entry)]
        count, _ = self._held.get(code, (0, entry))
        self._held[code] = (count + 1, entry)
        return alerts

    def next_timer_us(self) -> int | None:
        return min((self._from_us[code] + self.window_us for code in self._held), default=None)

    def on_timer(self, *, utc_us: int) -> list[Alert]:
        """Close the windows that are over; the last entry held back speaks for all of them."""
        alerts = []
        over = [code for code, start in self._from_us.items() if not start <= utc_us < start + self.window_us]
        for code in sorted(over):
            del self._from_us[code], self._sent[code]
            count, entry = self._held.pop(code, (0, None))
            if entry is not None:
                alerts.append(Alert(entry=entry, throttled_count=count))
        return alerts
