"""A device's own clock, its drift, and how it is set from the hub.

A `DeviceClock` is a civil clock whose crystal is some parts in a million off. A `TimeKeeper` compares it
with the Time cluster of the hub after joining and once a day, and judges what it reads: a time from a server
that is master and synchronised is authoritative and sets the clock, however far; a time from one that is not
sets only a clock that has never been set.

Source: ZCL 07-5123 rev 7, 3.12.2.2 (time, status); SE 1.2 07-5356-19, 5.12 (time synchronisation);
SMETS1 1.2, 5.4.1 (clock, UTC, within 10 s).
"""

from __future__ import annotations

import struct
from enum import IntEnum, unique
from typing import Final

from smets1.errors import DecodeError
from smets1.firmware.civil import CivilClock, from_zigbee_s
from smets1.firmware.nvm import NoNvm, Nvm
from smets1.firmware.zcl.clusters.general import TimeStatus
from smets1.hardware.clock import Scheduler

__all__ = ["ClockStatus", "DeviceClock", "TimeKeeper", "TimeVerdict"]

_CLOCK_KEY: Final = "clock"
_RECORD: Final = struct.Struct(">Bqqi?")  # true time and what the clock showed when it was set; its drift
_VERSION: Final = 1
_MILLION: Final = 1_000_000
_NO_TIME: Final = 0xFFFFFFFF
_AUTHORITATIVE: Final = TimeStatus.MASTER | TimeStatus.SYNCHRONIZED
_NEAR_US: Final = 1_500_000
"""The hub tells whole seconds: a smaller difference is none. Nor is one that the way there can explain."""
RELIABLE_US: Final = 2 * 86_400 * _MILLION


class DeviceClock(CivilClock):
    """UTC as a device with a crystal of its own keeps it. `drift_ppm` > 0: it runs fast.

    Its own battery keeps it going: with an `nvm`, what it was set to, and a drift that was given by hand,
    stand there (uncommitted, as `put`), and a new clock of the same memory goes on from that.
    """

    __slots__ = ("_is_drift_given", "_nvm", "_set_at_us", "_set_to_us", "drift_ppm")

    def __init__(
        self, scheduler: Scheduler, epoch_utc_us: int, *, drift_ppm: int = 0, nvm: Nvm | None = None
    ) -> None:
        """`epoch_utc_us`: as of a civil clock that is right. Raises DecodeError for what `nvm` holds."""
        super().__init__(scheduler, epoch_utc_us)
        self.drift_ppm = drift_ppm
        self._is_drift_given = False
        self._set_at_us = scheduler.now_us()
        self._set_to_us = epoch_utc_us + self._set_at_us
        self._nvm: Nvm = NoNvm() if nvm is None else nvm
        stored = self._nvm.get(_CLOCK_KEY)
        if stored is not None:
            self._go_on(stored)

    def utc_us(self) -> int:
        elapsed_us = self._scheduler.now_us() - self._set_at_us
        return self._set_to_us + elapsed_us + elapsed_us * self.drift_ppm // _MILLION

    def scheduler_us(self, utc_us: int) -> int:
        """The first scheduler time at which this clock shows that instant, if it is not set before."""
        wanted_us = utc_us - self._set_to_us
        return self._set_at_us - (-wanted_us * _MILLION // (_MILLION + self.drift_ppm))

    def set(self, utc_us: int) -> None:
        """Show this from now on."""
        self._set_at_us = self._scheduler.now_us()
        self._set_to_us = utc_us
        true_us = self._epoch_utc_us + self._set_at_us
        self._nvm.put(
            _CLOCK_KEY, _RECORD.pack(_VERSION, true_us, utc_us, self.drift_ppm, self._is_drift_given)
        )

    def set_drift(self, drift_ppm: int) -> None:
        """The crystal runs so from now on; what it shows does not jump."""
        now_us = self.utc_us()
        self.drift_ppm, self._is_drift_given = drift_ppm, True
        self.set(now_us)

    def _go_on(self, stored: bytes) -> None:
        if len(stored) != _RECORD.size or stored[0] != _VERSION:
            raise DecodeError("NVM", 0, "not a record of a clock")
        own_ppm = self.drift_ppm
        _, true_us, self._set_to_us, self.drift_ppm, self._is_drift_given = _RECORD.unpack(stored)
        self._set_at_us = true_us - self._epoch_utc_us  # before this program began: negative
        if not self._is_drift_given and own_ppm != self.drift_ppm:  # another crystal, from now on
            self._set_to_us, self._set_at_us = self.utc_us(), self._scheduler.now_us()
            self.drift_ppm = own_ppm


@unique
class ClockStatus(IntEnum):
    """What a device says of its own clock."""

    NOT_SET = 0
    SYNCHRONISED = 1
    UNRELIABLE = 2  # not compared with the hub for two days, or told a time beyond the tolerance


@unique
class TimeVerdict(IntEnum):
    KEPT = 0  # right already
    ADJUSTED = 1
    REFUSED = 2  # no time, or not authoritative


class TimeKeeper:
    """Compares and sets one clock."""

    def __init__(self, clock: CivilClock) -> None:
        """A plain `CivilClock` is never wrong, so never set."""
        self._clock = clock
        self.last_set_utc_us: int | None = None
        self.last_step_us = 0  # by how much it was last set forward
        self.refused_count = 0
        self._is_doubted = False  # a command named a time beyond its tolerance

    @property
    def status(self) -> ClockStatus:
        if self._is_doubted:
            return ClockStatus.UNRELIABLE
        if self.last_set_utc_us is None:
            return ClockStatus.NOT_SET
        is_recent = self._clock.utc_us() - self.last_set_utc_us <= RELIABLE_US
        return ClockStatus.SYNCHRONISED if is_recent else ClockStatus.UNRELIABLE

    def on_command(self, told_utc_us: int, *, tolerance_us: int) -> TimeVerdict:
        """SRV 6.11 says what time it is.

        KEPT: within the tolerance of the own clock, which follows the hub's. A meter that sleeps hears of
        it late, so nothing is set from it: the shell compares the clock with the hub's at once. REFUSED:
        beyond the tolerance, and the clock is unreliable until a later command is within it.
        """
        self._is_doubted = abs(told_utc_us - self._clock.utc_us()) > tolerance_us
        return TimeVerdict.REFUSED if self._is_doubted else TimeVerdict.KEPT

    def on_time(self, time_s: int, status: int, *, round_trip_us: int = 0) -> TimeVerdict:
        """What the hub has just told: seconds since 2000, and its TimeStatus."""
        is_authoritative = status & _AUTHORITATIVE == _AUTHORITATIVE
        if time_s in (0, _NO_TIME) or not (is_authoritative or self.last_set_utc_us is None):
            self.refused_count += 1
            return TimeVerdict.REFUSED
        # half a second: the fraction that whole seconds leave out, in the mean
        told_us = from_zigbee_s(time_s) + 500_000 + round_trip_us // 2
        step_us = told_us - self._clock.utc_us()
        if is_authoritative:
            self.last_set_utc_us = told_us
        if abs(step_us) <= _NEAR_US + round_trip_us // 2 or not isinstance(self._clock, DeviceClock):
            return TimeVerdict.KEPT
        self._clock.set(told_us)
        self.last_set_utc_us = told_us if is_authoritative else None
        self.last_step_us = step_us
        return TimeVerdict.ADJUSTED
