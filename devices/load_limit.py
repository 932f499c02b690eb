"""Load limiting: too much power for too long, and the supply goes off by itself.

Power is judged over consecutive windows of the configured length, counted from the instant at which the
limit began to apply (configured, or supply switched on). A window whose *mean* power is above the
threshold cuts the supply: OFF, "OVERLOAD" for 20 s or the restoration period where that is longer, then
READY, and a person confirms. Where the supply state is UNCHANGED it is only counted and logged.

Simplified: the windows follow each other, where a real meter's may slide.

Source: Liberty 100 (window 30..3600 s, OVERLOAD 20 s); DUIS 5.4, service 6.4.1 (period, power threshold,
restoration period, supply state Disable | Unchanged), 6.4.2 (counter reset), 4.15 (read).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import HOUR_US, SECOND_US
from smets1.devices.state import StateReader, pack_state
from smets1.errors import InputError

__all__ = ["MAX_PERIOD_S", "MIN_PERIOD_S", "LimitedSupply", "LoadLimit", "LoadLimiter"]

MIN_PERIOD_S: Final = 30
MAX_PERIOD_S: Final = 3600


@unique
class LimitedSupply(IntEnum):
    """DUIS LoadLimitSupplyState."""

    UNCHANGED = 0
    DISABLE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimit:
    """Raises InputError for a period that the meter does not take. No threshold: no limit."""

    threshold_w: int | None = None
    period_s: int = MIN_PERIOD_S
    restoration_s: int = 0
    supply: LimitedSupply = LimitedSupply.DISABLE

    def __post_init__(self) -> None:
        if not MIN_PERIOD_S <= self.period_s <= MAX_PERIOD_S:
            raise InputError(f"load limit: the period is {MIN_PERIOD_S} to {MAX_PERIOD_S} s")
        if self.restoration_s < 0 or (self.threshold_w is not None and self.threshold_w < 0):
            raise InputError("load limit: the threshold and restoration period are not negative")


class LoadLimiter:
    """Counts windows. Energy comes in as the meter's import register (uWh)."""

    def __init__(self) -> None:
        self.limit = LoadLimit()
        self.counter = 0
        self._from_us: int | None = None  # begin of the present window; None: none runs
        self._from_uwh = 0

    def set_limit(self, limit: LoadLimit) -> None:
        self.limit = limit
        self._from_us = None

    def follow(self, *, utc_us: int, energy_uwh: int, is_on: bool) -> None:
        """Begin a window where one should run and none does; drop it where supply is not on."""
        if self.limit.threshold_w is None or not is_on:
            self._from_us = None
        elif self._from_us is None:
            self._from_us, self._from_uwh = utc_us, energy_uwh

    def next_timer_us(self) -> int | None:
        return None if self._from_us is None else self._from_us + self.limit.period_s * SECOND_US

    def on_timer(self, *, utc_us: int, energy_uwh: int) -> bool:
        """At the end of a window: True where it was above the limit (and has been counted)."""
        due_us = self.next_timer_us()
        if due_us is None or self._from_us is None or utc_us < due_us:
            return False
        elapsed_us, used = utc_us - self._from_us, energy_uwh - self._from_uwh
        self._from_us, self._from_uwh = utc_us, energy_uwh
        threshold = self.limit.threshold_w
        # used / elapsed > threshold, without a fraction: uWh * us/h > W * us * 10^6
        is_above = threshold is not None and used * HOUR_US > threshold * elapsed_us * 1_000_000
        self.counter += is_above
        return is_above

    def shift(self, delta_us: int) -> None:
        """The clock was set: the window goes on."""
        if self._from_us is not None:
            self._from_us += delta_us

    def encode(self) -> bytes:
        return pack_state(
            "load_limit",
            1,
            {
                "threshold_w": self.limit.threshold_w,
                "settings": [self.limit.period_s, self.limit.restoration_s, int(self.limit.supply)],
                "counter": self.counter,
                "from_us": self._from_us,
                "from_uwh": self._from_uwh,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> LoadLimiter:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="load_limit", versions=(1,))
        limiter = cls()
        period_s, restoration_s, supply = reader.wholes("settings", 3)
        if supply not in (0, 1):
            raise reader.bad("settings", "have an unknown supply state")
        try:
            limiter.limit = LoadLimit(
                threshold_w=reader.whole_or_none("threshold_w"),
                period_s=period_s,
                restoration_s=restoration_s,
                supply=LimitedSupply(supply),
            )
        except InputError as error:
            raise reader.bad("settings", str(error)) from None
        limiter.counter = reader.whole("counter", 0)
        limiter._from_us = reader.whole_or_none("from_us")
        limiter._from_uwh = reader.whole("from_uwh")
        return limiter
