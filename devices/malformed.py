"""An unusual number of malformed commands: somebody is trying what the meter makes of noise.

Ten in an hour are unusual, and told once; the next hour begins with the next malformed command after it.
Not in NVM: a power cut begins anew. The numbers are ours.

Source: GBCS table 16.2 (0x8F60).
"""

from __future__ import annotations

from typing import Final

from smets1.devices.days import HOUR_US

__all__ = ["UNUSUAL", "WINDOW_US", "MalformedWatch"]

UNUSUAL: Final = 10
WINDOW_US: Final = HOUR_US


class MalformedWatch:
    """Counts within one window."""

    __slots__ = ("_count", "_from_us")

    def __init__(self) -> None:
        self._from_us: int | None = None
        self._count = 0

    def note(self, utc_us: int) -> bool:
        """One more. True for the one that makes it unusual; a clock set back begins a new window."""
        if self._from_us is None or not self._from_us <= utc_us < self._from_us + WINDOW_US:
            self._from_us, self._count = utc_us, 0
        self._count += 1
        return self._count == UNUSUAL
