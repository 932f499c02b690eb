"""Mains voltage: a model of the street, and what the meter makes of it.

*Street*: `MainsVoltage` gives the RMS voltage (mV) as a function of time: 230 V nominal, lower in the evening
peak, some seeded chance for each half hour. `set` overrides it from an instant on, which is how a test or a
rig makes a sag.

*Meter*: the average over each measurement period goes to the profile log (4320 entries) and is judged against
the average thresholds; the present value is judged against extreme over and under, sag and swell, each of
which has to last for its own period. An excursion counts once; its beginning and its end go to the power
event log.

Source: DUIS 5.4 service 6.5 (AverageRMS... and RMSExtreme..., Sag, Swell settings), 6.27, 4.10;
GB supply: 230 V +10 % -6 % (Electricity Safety, Quality and Continuity Regulations 2002, 27).
Simplified: the present value is looked at when it is set and at each half hour, not each cycle; one phase.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from itertools import pairwise
from random import Random
from typing import Final, Protocol

from smets1.devices.days import DAY_US, HALF_HOUR_US, SECOND_US
from smets1.devices.state import StateReader, pack_state
from smets1.errors import InputError, MisuseError

__all__ = [
    "PROFILE_ENTRIES",
    "Excursion",
    "MainsVoltage",
    "VoltageEvent",
    "VoltageMonitor",
    "VoltageSettings",
]

PROFILE_ENTRIES: Final = 4320
_ENTRY_OCTETS: Final = 8
_LONGEST_PERIOD_US: Final = DAY_US
_NOMINAL_MV: Final = 241_000  # what British streets really have
# By three hours of the UTC day: night light, evening peak.
_SHAPE_MV: Final = (2500, 2800, 1200, 0, -300, -800, -3500, -1500)


class Street(Protocol):
    """RMS voltage in some clock's time."""

    def mv(self, utc_us: int) -> int: ...
    def mean_mv(self, start_us: int, end_us: int) -> int: ...


class MainsVoltage:
    """RMS millivolts of one home's street. Draws one number from `rng`; no `rng`: no chance in it."""

    def __init__(self, rng: Random | None = None) -> None:
        self._seed = None if rng is None else rng.getrandbits(64)
        self._set_us: list[int] = []
        self._set_mv: list[int | None] = []

    def set(self, mv: int | None, *, utc_us: int) -> None:
        """From now on this voltage; None: the street's own again. Raises MisuseError for an earlier time."""
        if self._set_us and utc_us < self._set_us[-1]:
            raise MisuseError("a voltage was set at an instant before the last one")
        self._set_us.append(utc_us)
        self._set_mv.append(mv)
        passed = bisect_right(self._set_us, utc_us - _LONGEST_PERIOD_US) - 1
        if passed > 0:  # no mean reaches back so far
            del self._set_us[:passed], self._set_mv[:passed]

    def encode(self) -> bytes:
        """What was set by hand; the rest comes of the seed."""
        rows = [[at, -1 if mv is None else mv] for at, mv in zip(self._set_us, self._set_mv, strict=True)]
        return pack_state("street", 1, {"set": rows})

    def decode_into(self, octets: bytes) -> None:
        """Raises DecodeError."""
        rows = StateReader(octets, kind="street", versions=(1,)).rows("set", 2)
        self._set_us = [at for at, _ in rows]
        self._set_mv = [None if mv < 0 else mv for _, mv in rows]

    def mv(self, utc_us: int) -> int:
        index = bisect_right(self._set_us, utc_us) - 1
        held = self._set_mv[index] if index >= 0 else None
        return self._street(utc_us) if held is None else held

    def _street(self, utc_us: int) -> int:
        slot = utc_us // HALF_HOUR_US
        chance = 0 if self._seed is None else Random((self._seed << 40) ^ slot).randint(-1500, 1500)
        return _NOMINAL_MV + _SHAPE_MV[utc_us % DAY_US * 8 // DAY_US] + chance

    def mean_mv(self, start_us: int, end_us: int) -> int:
        """Mean over a span, rounded down; exact, since the voltage moves in steps."""
        halves = range(start_us // HALF_HOUR_US * HALF_HOUR_US + HALF_HOUR_US, end_us, HALF_HOUR_US)
        inner: set[int] = {*halves, *(at for at in self._set_us if start_us < at < end_us)}
        area: int = sum(
            self.mv(at) * (until - at) for at, until in pairwise([start_us, *sorted(inner), end_us])
        )
        return area // (end_us - start_us)


@unique
class Excursion(IntEnum):
    """The kinds of voltage that are out of order."""

    AVERAGE_OVER = 0
    AVERAGE_UNDER = 1
    EXTREME_OVER = 2
    EXTREME_UNDER = 3
    SAG = 4
    SWELL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageSettings:
    """Thresholds in mV, periods in s. Raises InputError where they make no sense."""

    average_over_mv: int = 253_000
    average_under_mv: int = 216_200
    average_period_s: int = 1800
    extreme_over_mv: int = 262_200
    extreme_over_s: int = 10
    extreme_under_mv: int = 200_000
    extreme_under_s: int = 10
    sag_mv: int = 207_000
    sag_s: int = 1
    swell_mv: int = 257_000
    swell_s: int = 1

    def __post_init__(self) -> None:
        if not 60 <= self.average_period_s <= 86_400 or 86_400 % self.average_period_s:
            raise InputError("voltage: the measurement period is 60 s to a day, and divides a day")
        if min(self.extreme_over_s, self.extreme_under_s, self.sag_s, self.swell_s) < 0:
            raise InputError("voltage: a period is not negative")
        if self.average_under_mv >= self.average_over_mv:
            raise InputError("voltage: the lower average threshold is below the upper one")

    def instant_limits(self) -> tuple[tuple[Excursion, bool, int, int], ...]:
        """(kind, is it an upper limit, mV, s that it has to last)."""
        return (
            (Excursion.EXTREME_OVER, True, self.extreme_over_mv, self.extreme_over_s),
            (Excursion.EXTREME_UNDER, False, self.extreme_under_mv, self.extreme_under_s),
            (Excursion.SAG, False, self.sag_mv, self.sag_s),
            (Excursion.SWELL, True, self.swell_mv, self.swell_s),
        )

    def flat(self) -> list[int]:
        return [getattr(self, name) for name in self.__slots__]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageEvent:
    utc_us: int
    kind: Excursion
    is_begin: bool
    mv: int


class VoltageMonitor:
    """Judges, counts and logs. The meter asks `next_timer_us` and calls `on_timer`."""

    def __init__(self, *, utc_us: int) -> None:
        self.settings = VoltageSettings()
        self.counters = [0] * len(Excursion)
        self.profile: deque[tuple[int, int]] = deque(maxlen=PROFILE_ENTRIES)  # (end utc_us, mean mV)
        self._period_from_us = utc_us
        self._since_us: list[int | None] = [None] * len(Excursion)  # beyond the limit since
        self._is_told = [False] * len(Excursion)
        self._packed: bytearray | None = (
            None  # the profile as it is stored: a save comes with every few entries
        )

    def set_settings(self, settings: VoltageSettings, *, utc_us: int, resets: bool = True) -> None:
        """SRV 6.5; the counters start anew unless the request says otherwise."""
        self.settings, self._period_from_us = settings, utc_us
        if resets:
            self.reset_counters()

    def reset_counters(self) -> None:
        """SRV 6.27."""
        self.counters = [0] * len(Excursion)

    def next_timer_us(self) -> int:
        step_us = self.settings.average_period_s * SECOND_US
        times = [self._period_from_us // step_us * step_us + step_us]
        for kind, _, _, lasts_s in self.settings.instant_limits():
            since = self._since_us[kind]
            if since is not None and not self._is_told[kind]:
                times.append(since + lasts_s * SECOND_US)
        return min(times)

    def look(self, mv: int, *, utc_us: int) -> list[VoltageEvent]:
        """The voltage is this from now on, as far as is known."""
        events: list[VoltageEvent] = []
        for kind, is_upper, limit_mv, lasts_s in self.settings.instant_limits():
            is_beyond = mv > limit_mv if is_upper else mv < limit_mv
            since = self._since_us[kind]
            if not is_beyond:
                self._since_us[kind] = None
                events += self._turn(kind, False, mv, utc_us)
            elif since is None:
                self._since_us[kind] = since = utc_us
            if is_beyond and since is not None and utc_us - since >= lasts_s * SECOND_US:
                events += self._turn(kind, True, mv, utc_us)
        return events

    def on_timer(self, street: Street, *, utc_us: int) -> list[VoltageEvent]:
        """`street` in the meter's own time."""
        events = self.look(street.mv(utc_us), utc_us=utc_us)
        step_us = self.settings.average_period_s * SECOND_US
        end_us = utc_us // step_us * step_us
        if end_us > self._period_from_us:
            mean_mv = street.mean_mv(self._period_from_us, end_us)
            self._record(end_us, mean_mv)
            self._period_from_us = end_us
            events += self._turn(
                Excursion.AVERAGE_OVER, mean_mv > self.settings.average_over_mv, mean_mv, utc_us
            )
            events += self._turn(
                Excursion.AVERAGE_UNDER, mean_mv < self.settings.average_under_mv, mean_mv, utc_us
            )
        return events

    def _record(self, end_us: int, mean_mv: int) -> None:
        """In the order of time; one lived twice (a clock set back) stands once, as it was the last time."""
        if self.profile and self.profile[-1][0] >= end_us:
            rows = sorted((dict(self.profile) | {end_us: mean_mv}).items())
            self.profile = deque(rows, maxlen=PROFILE_ENTRIES)
            self._packed = None
            return
        self.profile.append((end_us, mean_mv))
        if self._packed is not None:
            self._packed += _pack(end_us, mean_mv)
            del self._packed[: len(self._packed) - _ENTRY_OCTETS * len(self.profile)]

    def _turn(self, kind: Excursion, is_out: bool, mv: int, utc_us: int) -> list[VoltageEvent]:
        if is_out == self._is_told[kind]:
            return []
        self._is_told[kind] = is_out
        self.counters[kind] += is_out
        return [VoltageEvent(utc_us=utc_us, kind=kind, is_begin=is_out, mv=mv)]

    def restart(self, *, utc_us: int) -> None:
        """Power is back, or the clock was set: periods start here."""
        self._period_from_us = utc_us
        self._since_us = [None] * len(Excursion)

    def encode(self) -> bytes:
        if self._packed is None:
            self._packed = bytearray(b"".join(_pack(end_us, mv) for end_us, mv in self.profile))
        return pack_state(
            "voltage",
            1,
            {
                "settings": self.settings.flat(),
                "counters": self.counters,
                "profile": bytes(self._packed),
                "from_us": self._period_from_us,
                "since_us": [-1 if since is None else since for since in self._since_us],
                "told": [int(told) for told in self._is_told],
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> VoltageMonitor:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="voltage", versions=(1,))
        monitor = cls(utc_us=reader.whole("from_us"))
        names = VoltageSettings.__slots__
        try:
            monitor.settings = VoltageSettings(
                **dict(zip(names, reader.wholes("settings", len(names)), strict=True))
            )
        except InputError as error:
            raise reader.bad("settings", str(error)) from None
        monitor.counters = reader.wholes("counters", len(Excursion))
        packed = reader.octets("profile")
        if len(packed) % _ENTRY_OCTETS:
            raise reader.bad("profile", "is cut short")
        for at in range(0, len(packed), _ENTRY_OCTETS):
            end_s, mv = (
                int.from_bytes(packed[at : at + 5], "big"),
                int.from_bytes(packed[at + 5 : at + 8], "big"),
            )
            monitor.profile.append((end_s * SECOND_US, mv))
        since = reader.wholes("since_us", len(Excursion))
        monitor._since_us = [None if at < 0 else at for at in since]
        monitor._is_told = [bool(told) for told in reader.wholes("told", len(Excursion))]
        return monitor


def _pack(end_us: int, mv: int) -> bytes:
    """An entry of the profile as it is stored: seconds (5), mV (3)."""
    return (end_us // SECOND_US).to_bytes(5, "big") + mv.to_bytes(3, "big")
