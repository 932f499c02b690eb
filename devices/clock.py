"""The device's own clock: a crystal that drifts, and what sets it right.

`own_us` turns true time into the device's. Drift is in parts per billion of true time, whole microseconds,
rounded down. Synchronising (SRV 6.11, or the Time cluster of the hub) is refused where the difference is
above the tolerance that came with it, and the clock then says UNRELIABLE until a later one is within it; a
clock never set says INVALID.

The core of a meter lives in its own time: `MeterCore.set_clock` tells it that time has jumped.

Source: DUIS 5.4 (SynchroniseClock: CurrentDateTime, TolerancePeriod 0..86400 s; ClockStatus reliable,
invalid, unreliable). What a device does beyond the tolerance is our reading of SMETS.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import SECOND_US
from smets1.devices.state import StateReader, pack_state

__all__ = ["ClockStatus", "DeviceClock", "SyncOutcome"]

MAX_TOLERANCE_S: Final = 86_400
_BILLION: Final = 1_000_000_000


@unique
class ClockStatus(IntEnum):
    RELIABLE = 0
    INVALID = 1
    UNRELIABLE = 2


@unique
class SyncOutcome(IntEnum):
    SET = 0
    UNCHANGED = 1  # right already, to the second
    BEYOND_TOLERANCE = 2  # refused


class DeviceClock:
    """`drift_ppb` above 0: it runs fast. A crystal of 20 ppm is 20 000."""

    __slots__ = ("_base_own_us", "_base_true_us", "drift_ppb", "status")

    def __init__(self, *, true_us: int, drift_ppb: int = 0, error_us: int = 0) -> None:
        self.drift_ppb = drift_ppb
        self.status = ClockStatus.INVALID
        self._base_true_us = true_us
        self._base_own_us = true_us + error_us

    def own_us(self, true_us: int) -> int:
        passed = true_us - self._base_true_us
        return self._base_own_us + passed + passed * self.drift_ppb // _BILLION

    def true_us(self, own_us: int) -> int:
        """The first true microsecond at which the device's clock shows at least `own_us`; arms timers."""
        passed = own_us - self._base_own_us
        true_us = self._base_true_us + passed * _BILLION // (_BILLION + self.drift_ppb)
        while self.own_us(true_us) < own_us:
            true_us += 1
        return true_us

    def synchronise(self, reference_us: int, *, tolerance_s: int, true_us: int) -> SyncOutcome:
        """Somebody says that it is `reference_us`."""
        error_us = reference_us - self.own_us(true_us)
        if self.status is not ClockStatus.INVALID and abs(error_us) > tolerance_s * SECOND_US:
            self.status = ClockStatus.UNRELIABLE
            return SyncOutcome.BEYOND_TOLERANCE
        self.status = ClockStatus.RELIABLE
        if abs(error_us) < SECOND_US:
            return SyncOutcome.UNCHANGED
        self._base_true_us, self._base_own_us = true_us, reference_us
        return SyncOutcome.SET

    def on_power_loss(self) -> None:
        """A clock without a battery does not know how long the power was gone."""
        self.status = ClockStatus.INVALID

    def encode(self) -> bytes:
        return pack_state(
            "clock",
            1,
            {
                "drift_ppb": self.drift_ppb,
                "base": [self._base_true_us, self._base_own_us],
                "status": int(self.status),
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> DeviceClock:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="clock", versions=(1,))
        true_us, own_us = reader.wholes("base", 2)
        clock = cls(true_us=true_us, drift_ppb=reader.whole("drift_ppb"), error_us=own_us - true_us)
        clock.status = ClockStatus(reader.whole("status", 0, 2))
        return clock
