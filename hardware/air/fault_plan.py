"""What is wrong with the air for a time: cuts, absences, partitions, and bursts of noise, by the clock.

A plan is made of frozen rows; `FaultPlan.begin` starts its clock and sets and undoes each row at its times.
Rows may overlap: what one of them ends stays as long as another still wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from smets1.eui64 import Eui64
from smets1.hardware.radio import CHANNELS

if TYPE_CHECKING:
    from smets1.hardware.air.medium import Air
    from smets1.hardware.clock import Timer

__all__ = ["Away", "Burst", "Cut", "FaultPlan", "Partition", "PlanRow", "Span"]

_NOISE_DBM: Final = -40


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `start_us` after the plan began up to `end_us`; None: for good."""

    start_us: int = 0
    end_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Span):
    """One way: `receiver` does not hear `sender`."""

    sender: Eui64
    receiver: Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class Away(Span):
    """Out of everybody's range, both ways."""

    eui64: Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(Span):
    """A wall: these radios hear only each other, and all others only the others."""

    devices: tuple[Eui64, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst(Span):
    """Noise of `length_us`, once, or each `period_us` from start to start, up to the end of the span."""

    channels: tuple[int, ...] = tuple(CHANNELS)
    length_us: int
    period_us: int | None = None
    rssi_dbm: int = _NOISE_DBM


PlanRow: TypeAlias = Cut | Away | Partition | Burst


class FaultPlan:
    """One air's plan. `begin` may be called again: the plan before is undone."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._began_us = 0
        self._timers: dict[int, Timer] = {}  # of a row, by its number: the next thing that it does
        self._active: dict[int, PlanRow] = {}

    def begin(self, rows: Sequence[PlanRow]) -> None:
        self.end()
        self._began_us = self._air.scheduler.now_us()
        for number, row in enumerate(rows):
            if row.start_us == 0:
                self._start(number, row)
            else:
                self._at(row.start_us, self._start, number, row)

    def end(self) -> None:
        """Undo what the plan has set, and forget what is to come. Noise on the air dies away by itself."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for number, row in tuple(self._active.items()):
            self._stop(number, row)

    def _at(self, after_us: int, callback: Callable[[int, PlanRow], None], number: int, row: PlanRow) -> None:
        when_us = self._began_us + after_us
        self._timers[number] = self._air.scheduler.call_at_us(when_us, callback, number, row)

    def _start(self, number: int, row: PlanRow) -> None:
        if isinstance(row, Burst):
            self._interfere(number, row, row.start_us)
            return
        self._active[number] = row
        faults = self._air.faults
        match row:
            case Cut():
                faults.cut(row.sender, row.receiver)
            case Away():
                faults.move_away(row.eui64)
            case Partition():
                faults.raise_wall(row.devices)
        if row.end_us is not None:
            self._at(row.end_us, self._stop, number, row)

    def _stop(self, number: int, row: PlanRow) -> None:
        del self._active[number]
        others = [replace(other, start_us=0, end_us=None) for other in self._active.values()]
        if replace(row, start_us=0, end_us=None) in others:
            return
        faults = self._air.faults
        match row:
            case Cut():
                faults.mend(row.sender, row.receiver)
            case Away():
                faults.bring_back(row.eui64)
            case Partition():
                faults.remove_wall(row.devices)

    def _interfere(self, number: int, row: Burst, after_us: int) -> None:
        self._air.interfere(row.length_us, channels=row.channels, rssi_dbm=row.rssi_dbm)
        if row.period_us is None:
            return
        next_us = after_us + row.period_us
        if row.end_us is None or next_us < row.end_us:
            when_us = self._began_us + next_us
            self._timers[number] = self._air.scheduler.call_at_us(
                when_us, self._interfere, number, row, next_us
            )
