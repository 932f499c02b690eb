"""Registers and logs of a meter: what has flowed, and when.

Energy in uWh, gas volume in ul, so that the sum over any span is exact; what goes on air is rounded
down to Wh and litres. Profile log: half hours in UTC, 395 days, kept in chunks of one day each so
that NVM writes a day and not a year. Daily read log: 14 UTC midnights. The displays' today, this
week (from Monday) and this month follow the UK's local days.

Export and reactive energy have their fields here and are counted by `electricity_meter.py`.

Source: SMETS1 5.7 (operational data), migration guide, 2.8.4 (14 daily entries), Liberty 100.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import date_of_day, local_day, local_midnight_us
from smets1.devices.state import StateReader, pack_state
from smets1.devices.tariff import BlockPeriod, Tariff
from smets1.firmware.sample_log import PROFILE_DAYS, SampleLog

__all__ = [
    "DAILY_ENTRIES",
    "PROFILE_DAYS",
    "DailyRead",
    "DailyReadLog",
    "Period",
    "PeriodMarks",
    "PeriodUse",
    "ProfileLog",
    "Registers",
]

DAILY_ENTRIES: Final = 14


class Registers:
    """Cumulative registers. `quantity` is what the meter measures: uWh, or ul of gas."""

    def __init__(self) -> None:
        self.quantity = 0
        self.energy_uwh = 0  # the same as `quantity` in an electricity meter
        self.export_uwh = 0
        self.reactive_import_uvarh = 0
        self.reactive_export_uvarh = 0
        self.cost_fine = 0  # consumption and standing charges, since the beginning
        self.tou_uwh: list[int] = [0]
        self.block_uwh: list[list[int]] = [[0]]  # [block][tou], all time
        self.counters_uwh: list[int] = [0]  # by TOU register, in the present block period
        self.block_period_index = 0

    def fit(self, tariff: Tariff, *, utc_us: int) -> None:
        """Have a register for each price; those there are keep their contents. Counters start anew."""
        missing = tariff.tou_count - len(self.tou_uwh)
        self.tou_uwh += [0] * missing
        self.block_uwh = [row + [0] * (tariff.tou_count - len(row)) for row in self.block_uwh]
        for _ in range(tariff.block_count - len(self.block_uwh)):
            self.block_uwh.append([0] * len(self.tou_uwh))
        self.counters_uwh = [0] * len(self.tou_uwh)
        self.block_period_index = tariff.block_period.index(utc_us)

    def add(self, energy_uwh: int, *, tariff: Tariff, tou: int) -> int:
        """Consumption of one TOU span; returns its cost in fine units."""
        counter = self.counters_uwh[tou]
        cost = tariff.cost_fine(tou, counter, energy_uwh)
        for block, part in tariff.split(tou, counter, energy_uwh):
            self.block_uwh[block][tou] += part
        self.tou_uwh[tou] += energy_uwh
        self.counters_uwh[tou] += energy_uwh
        self.energy_uwh += energy_uwh
        self.cost_fine += cost
        return cost

    def end_block_period(self, tariff: Tariff) -> None:
        """A billing period is over: blocks start anew where the tariff names no period of its own."""
        if tariff.block_period is BlockPeriod.NEVER:
            self.counters_uwh = [0] * len(self.counters_uwh)

    def roll_block_period(self, tariff: Tariff, *, utc_us: int) -> None:
        index = tariff.block_period.index(utc_us)
        if index > self.block_period_index:  # a period that the clock was set back into goes on
            self.counters_uwh = [0] * len(self.counters_uwh)
            self.block_period_index = index

    def encode(self) -> bytes:
        return pack_state(
            "registers",
            1,
            {
                "quantity": self.quantity,
                "energy": self.energy_uwh,
                "export": self.export_uwh,
                "reactive": [self.reactive_import_uvarh, self.reactive_export_uvarh],
                "cost": self.cost_fine,
                "tou": self.tou_uwh,
                "blocks": self.block_uwh,
                "counters": self.counters_uwh,
                "period": self.block_period_index,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> Registers:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="registers", versions=(1,))
        registers = cls()
        registers.quantity = reader.whole("quantity", 0)
        registers.energy_uwh = reader.whole("energy", 0)
        registers.export_uwh = reader.whole("export", 0)
        registers.reactive_import_uvarh, registers.reactive_export_uvarh = reader.wholes("reactive", 2)
        registers.cost_fine = reader.whole("cost")
        registers.tou_uwh = reader.wholes("tou")
        registers.block_uwh = reader.rows("blocks", len(registers.tou_uwh))
        registers.counters_uwh = reader.wholes("counters", len(registers.tou_uwh))
        registers.block_period_index = reader.whole("period")
        if not registers.tou_uwh or not registers.block_uwh:
            raise reader.bad("tou", "has no register")
        return registers


class ProfileLog(SampleLog):
    """What flowed in each UTC half hour (Wh or litres).

    Entries are differences of the rounded-down register, so they add up to the register exactly.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyRead:
    utc_us: int  # a UTC midnight
    quantity: int
    cost_fine: int
    balance_fine: int
    tou_uwh: tuple[int, ...] = ()
    block_uwh: tuple[tuple[int, ...], ...] = ()  # [block][tou]

    def flat(self) -> list[int]:
        return [
            *(self.utc_us, self.quantity, self.cost_fine, self.balance_fine, len(self.tou_uwh)),
            *self.tou_uwh,
            *(energy for row in self.block_uwh for energy in row),
        ]

    @classmethod
    def of_row(cls, row: list[int]) -> DailyRead | None:
        """None where the row is not one that `flat` has made."""
        tous = row[4] if len(row) > 4 else -1
        is_whole = len(row) == 5 if tous == 0 else tous > 0 and (len(row) - 5) % tous == 0
        if not is_whole:
            return None
        at = 5 + tous
        return cls(
            utc_us=row[0],
            quantity=row[1],
            cost_fine=row[2],
            balance_fine=row[3],
            tou_uwh=tuple(row[5:at]),
            block_uwh=tuple(tuple(row[b : b + tous]) for b in range(at, len(row), tous or 1)),
        )


class DailyReadLog:
    """The register at the last 14 UTC midnights."""

    def __init__(self) -> None:
        self.entries: deque[DailyRead] = deque(maxlen=DAILY_ENTRIES)

    def record(self, entry: DailyRead) -> None:
        """A midnight lived again after the clock was set back stands once, as it was last."""
        kept = [e for e in self.entries if e.utc_us != entry.utc_us]
        self.entries.clear()
        self.entries.extend(sorted([*kept, entry], key=lambda e: e.utc_us))

    def encode(self) -> bytes:
        return pack_state("daily", 2, {"rows": [entry.flat() for entry in self.entries]})

    @classmethod
    def decode(cls, octets: bytes) -> DailyReadLog:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="daily", versions=(1, 2))
        log = cls()
        for row in reader.rows("rows", 4 if reader.version == 1 else None):
            entry = DailyRead.of_row([*row, 0] if reader.version == 1 else row)
            if entry is None:
                raise reader.bad("rows", "has a row that is no daily read")
            log.entries.append(entry)
        return log


@unique
class Period(IntEnum):
    """Spans that displays count, in UK local time."""

    TODAY = 0
    WEEK = 1
    MONTH = 2

    def index(self, day: int) -> int:
        """A number that changes where a new span begins; `day` is a local day since 1970."""
        if self is Period.TODAY:
            return day
        if self is Period.WEEK:
            return (day + 3) // 7
        date = date_of_day(day)
        return date.year * 12 + date.month


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodUse:
    quantity: int
    energy_uwh: int
    cost_fine: int


_MONTHS_KEPT: Final = 12
_NOTHING: Final = PeriodUse(quantity=0, energy_uwh=0, cost_fine=0)


class PeriodMarks:
    """Consumption and cost today, this week, this month, in the span before each, and in twelve months."""

    def __init__(self, *, utc_us: int) -> None:
        day = local_day(utc_us)
        self._index = [period.index(day) for period in Period]
        self._start = [_NOTHING] * len(Period)
        self._before = [_NOTHING] * len(Period)
        self._months: list[tuple[int, PeriodUse]] = []  # whole ones, by their index, latest first

    def on_midnight(self, registers: Registers, *, utc_us: int) -> None:
        """A local midnight: close the spans that end here."""
        now = _total(registers)
        for period in Period:
            index = period.index(local_day(utc_us))
            if index != self._index[period]:
                is_next = index == self._index[period] + 1
                use = _minus(now, self._start[period])
                self._before[period] = use if is_next else _NOTHING
                if period is Period.MONTH:
                    self._months = [(self._index[period], use), *self._months][:_MONTHS_KEPT]
                self._index[period], self._start[period] = index, now

    def on_clock_set(self, registers: Registers, *, utc_us: int) -> None:
        """Set back to an earlier day: spans that have not begun yet begin here."""
        day, now = local_day(utc_us), _total(registers)
        for period in Period:
            if period.index(day) < self._index[period]:
                self._index[period], self._start[period] = period.index(day), now
        this_month = self._index[Period.MONTH]
        self._months = [(index, use) for index, use in self._months if index < this_month]

    def restart(self, registers: Registers, *, from_us: int) -> None:
        """Spans that began before `from_us` start at the present registers; the spans before are forgotten.

        Simplified: consumption between `from_us` and now, where that has passed, is left out too.
        """
        day, now = local_day(from_us), _total(registers)
        for period in Period:
            first = period.index(day)  # the last span that began at `from_us` or before
            is_at_its_begin = from_us == local_midnight_us(day) and period.index(day - 1) != first
            newest_hidden = first - is_at_its_begin
            if newest_hidden >= self._index[period]:
                self._start[period] = now
            if newest_hidden >= self._index[period] - 1:
                self._before[period] = _NOTHING
            if period is Period.MONTH:
                self._months = [(index, use) for index, use in self._months if index > newest_hidden]

    def use(self, period: Period, registers: Registers) -> PeriodUse:
        """So far in the span that runs."""
        return _minus(_total(registers), self._start[period])

    def before(self, period: Period) -> PeriodUse:
        """In the whole span before the one that runs."""
        return self._before[period]

    def months(self) -> list[tuple[dt.date, PeriodUse]]:
        """The whole months before the one that runs, by their first day, latest first, twelve at most."""
        return [(dt.date((index - 1) // 12, (index - 1) % 12 + 1, 1), use) for index, use in self._months]

    def encode(self) -> bytes:
        rows = [
            (index, *_flat(start), *_flat(before))
            for index, start, before in zip(self._index, self._start, self._before, strict=True)
        ]
        months = [(index, *_flat(use)) for index, use in self._months]
        return pack_state("marks", 2, {"rows": rows, "months": months})

    @classmethod
    def decode(cls, octets: bytes) -> PeriodMarks:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="marks", versions=(1, 2))
        rows = reader.rows("rows", 7)
        if len(rows) != len(Period):
            raise reader.bad("rows", f"are not {len(Period)}")
        marks = cls(utc_us=0)
        marks._index = [row[0] for row in rows]
        marks._start = [_use(row[1:4]) for row in rows]
        marks._before = [_use(row[4:7]) for row in rows]
        if reader.version > 1:
            marks._months = [(row[0], _use(row[1:])) for row in reader.rows("months", 4)]
        return marks


def _total(registers: Registers) -> PeriodUse:
    return PeriodUse(
        quantity=registers.quantity, energy_uwh=registers.energy_uwh, cost_fine=registers.cost_fine
    )


def _minus(now: PeriodUse, start: PeriodUse) -> PeriodUse:
    return PeriodUse(
        quantity=now.quantity - start.quantity,
        energy_uwh=now.energy_uwh - start.energy_uwh,
        cost_fine=now.cost_fine - start.cost_fine,
    )


def _flat(use: PeriodUse) -> tuple[int, int, int]:
    return use.quantity, use.energy_uwh, use.cost_fine


def _use(row: list[int]) -> PeriodUse:
    return PeriodUse(quantity=row[0], energy_uwh=row[1], cost_fine=row[2])
