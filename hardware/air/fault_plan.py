"""What is wrong with the air for a time: cuts, absences, partitions, and bursts of noise, by the clock.

A plan is made of frozen rows; `FaultPlan` sets and undoes each row at its times.
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

    heard_by: tuple[Eui64, ...] | None = None  # only near these radios; None: everywhere
    channels: tuple[int, ...] = tuple(CHANNELS)
    length_us: int
    period_us: int | None = None
    rssi_dbm: int = _NOISE_DBM


PlanRow: TypeAlias = Cut | Away | Partition | Burst


@dataclass(slots=True)
class _Entry:
    """A row with its own clock."""

    row: PlanRow
    began_us: int
    is_active: bool = False
    timer: Timer | None = None  # the next thing that it does


class FaultPlan:
    """One air's plan. Rows have numbers, which are not given twice; each row's times count from `add`."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._next_number = 1
        self._entries: dict[int, _Entry] = {}

    @property
    def rows(self) -> dict[int, PlanRow]:
        """What holds or is to come, by number; what has ended is not there any more."""
        return {number: entry.row for number, entry in self._entries.items()}

    def begin(self, rows: Sequence[PlanRow]) -> None:
        """These in place of those before, which are undone."""
        self.end()
        self.add(rows)

    def add(self, rows: Sequence[PlanRow]) -> list[int]:
        """Beside those that are there; answers their numbers."""
        numbers = []
        for row in rows:
            number, self._next_number = self._next_number, self._next_number + 1
            numbers.append(number)
            self._entries[number] = entry = _Entry(row, self._air.scheduler.now_us())
            if row.start_us == 0:
                self._start(number, entry)
            else:
                self._at(row.start_us, self._start, number, entry)
        return numbers

    def remove(self, number: int) -> bool:
        """Undo one row, or forget it before it begins. False: there is none of that number (any more)."""
        entry = self._entries.get(number)
        if entry is None:
            return False
        if entry.timer is not None:
            entry.timer.cancel()
        self._stop(number, entry)
        return True

    def end(self) -> None:
        """Undo what the plan has set, and forget what is to come. Noise on the air dies away by itself."""
        for number in tuple(self._entries):
            self.remove(number)

    def _at(self, after_us: int, callback: Callable[[int, _Entry], None], number: int, entry: _Entry) -> None:
        when_us = entry.began_us + after_us
        entry.timer = self._air.scheduler.call_at_us(when_us, callback, number, entry)

    def _start(self, number: int, entry: _Entry) -> None:
        row, faults = entry.row, self._air.faults
        match row:
            case Burst():
                self._interfere(number, entry)
                return
            case Cut():
                faults.cut(row.sender, row.receiver)
            case Away():
                faults.move_away(row.eui64)
            case Partition():
                faults.raise_wall(row.devices)
        entry.is_active = True
        if row.end_us is not None:
            self._at(row.end_us, self._stop, number, entry)

    def _stop(self, number: int, entry: _Entry) -> None:
        del self._entries[number]
        row, faults = entry.row, self._air.faults
        others = [_for_good(other.row) for other in self._entries.values() if other.is_active]
        if not entry.is_active or _for_good(row) in others:
            return
        match row:
            case Cut():
                faults.mend(row.sender, row.receiver)
            case Away():
                faults.bring_back(row.eui64)
            case Partition():
                faults.remove_wall(row.devices)

    def _interfere(self, number: int, entry: _Entry) -> None:
        row = entry.row
        assert isinstance(row, Burst)
        self._air.interfere(
            row.length_us, channels=row.channels, heard_by=row.heard_by, rssi_dbm=row.rssi_dbm
        )
        if row.period_us is None:
            del self._entries[number]
            return
        next_us = self._air.scheduler.now_us() - entry.began_us + row.period_us
        if row.end_us is None or next_us < row.end_us:
            self._at(next_us, self._interfere, number, entry)
        else:
            del self._entries[number]


def _for_good(row: PlanRow) -> PlanRow:
    return replace(row, start_us=0, end_us=None)
