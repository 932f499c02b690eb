"""Registers and logs of a meter: what has flowed, and when.

Energy in uWh, gas volume in ul, so that the sum over any span is exact; what goes on air is rounded
down to Wh and litres. Profile log: half hours in UTC, 395 days, kept in chunks of one day each so
that NVM writes a day and not a year. Daily read log: 14 UTC midnights. The displays' today, this
week (from Monday) and this month follow the UK's local days.

Export and reactive energy have their fields here and are counted by `electricity_meter.py`.

Source: SMETS1 5.7 (operational data), facts/mission.md section 7 (14 daily entries), Liberty 100.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import DAY_US, HALF_HOUR_US, date_of_day, local_day, local_midnight_us
from smets1.devices.state import StateReader, pack_state
from smets1.devices.tariff import BlockPeriod, Tariff
from smets1.errors import DecodeError

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

PROFILE_DAYS: Final = 395
DAILY_ENTRIES: Final = 14
_SLOTS: Final = DAY_US // HALF_HOUR_US
_NOT_KNOWN: Final = 0xFFFFFFFF  # no meter passes 4.2 MWh or 4 million litres in half an hour


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


class ProfileLog:
    """What flowed in each UTC half hour (Wh or litres), the last 395 days; the oldest falls out.

    Entries are differences of the rounded-down register, so they add up to the register exactly.
    """

    def __init__(self) -> None:
        self._days: dict[int, array[int]] = {}  # UTC day -> 48 entries
        self._changed: set[int] = set()

    def record(self, end_utc_us: int, amount: int) -> None:
        """The half hour that ends at `end_utc_us`."""
        day, into_us = divmod(end_utc_us - HALF_HOUR_US, DAY_US)
        if day not in self._days:
            self._days[day] = array("I", [_NOT_KNOWN] * _SLOTS)
        slot = into_us // HALF_HOUR_US
        before = self._days[day][slot]
        # Lived twice, since the clock was set back: both stand here, so the log adds up to the register.
        self._days[day][slot] = amount if before == _NOT_KNOWN else before + amount
        self._changed.add(day)
        self._days.pop(day - PROFILE_DAYS, None)

    def read(self, start_utc_us: int, end_utc_us: int) -> list[tuple[int, int]]:
        """(end, amount) of the half hours that end in (start, end]; those not known are left out."""
        found = []
        first, last = (start_utc_us - HALF_HOUR_US) // DAY_US, (end_utc_us - HALF_HOUR_US) // DAY_US
        for day in sorted(d for d in self._days if first <= d <= last):
            for slot, amount in enumerate(self._days[day]):
                end_us = day * DAY_US + (slot + 1) * HALF_HOUR_US
                if amount != _NOT_KNOWN and start_utc_us < end_us <= end_utc_us:
                    found.append((end_us, amount))
        return found

    @property
    def days(self) -> list[int]:
        """The UTC days that are held, ascending."""
        return sorted(self._days)

    def clear(self) -> None:
        self._days.clear()
        self._changed.clear()

    def take_changed(self) -> list[tuple[int, bytes | None]]:
        """Chunks to write to NVM since the last call, by UTC day; None: fell out."""
        changed = sorted(self._changed)
        self._changed.clear()
        gone = [(day - PROFILE_DAYS, None) for day in changed]
        # A clock set forward by more than the log is long: days that came and went between two saves.
        return [*gone, *((day, self._chunk(day) if day in self._days else None) for day in changed)]

    def _chunk(self, day: int) -> bytes:
        return b"".join(amount.to_bytes(4, "big") for amount in self._days[day])

    def load_chunk(self, day: int, octets: bytes) -> None:
        """A chunk from NVM. Raises DecodeError."""
        if len(octets) != 4 * _SLOTS:
            raise DecodeError("NVM", len(octets), f"profile of day {day} has not {_SLOTS} entries")
        self._days[day] = array(
            "I", [int.from_bytes(octets[i : i + 4], "big") for i in range(0, len(octets), 4)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyRead:
    utc_us: int  # a UTC midnight
    quantity: int
    cost_fine: int
    balance_fine: int


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
        rows = [(e.utc_us, e.quantity, e.cost_fine, e.balance_fine) for e in self.entries]
        return pack_state("daily", 1, {"rows": rows})

    @classmethod
    def decode(cls, octets: bytes) -> DailyReadLog:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="daily", versions=(1,))
        log = cls()
        for utc_us, quantity, cost, balance in reader.rows("rows", 4):
            log.entries.append(
                DailyRead(utc_us=utc_us, quantity=quantity, cost_fine=cost, balance_fine=balance)
            )
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


_NOTHING: Final = PeriodUse(quantity=0, energy_uwh=0, cost_fine=0)


class PeriodMarks:
    """Consumption and cost today, this week, this month, and in the span before each."""

    def __init__(self, *, utc_us: int) -> None:
        day = local_day(utc_us)
        self._index = [period.index(day) for period in Period]
        self._start = [_NOTHING] * len(Period)
        self._before = [_NOTHING] * len(Period)

    def on_midnight(self, registers: Registers, *, utc_us: int) -> None:
        """A local midnight: close the spans that end here."""
        now = _total(registers)
        for period in Period:
            index = period.index(local_day(utc_us))
            if index != self._index[period]:
                is_next = index == self._index[period] + 1
                self._before[period] = _minus(now, self._start[period]) if is_next else _NOTHING
                self._index[period], self._start[period] = index, now

    def on_clock_set(self, registers: Registers, *, utc_us: int) -> None:
        """Set back to an earlier day: spans that have not begun yet begin here."""
        day, now = local_day(utc_us), _total(registers)
        for period in Period:
            if period.index(day) < self._index[period]:
                self._index[period], self._start[period] = period.index(day), now

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

    def use(self, period: Period, registers: Registers) -> PeriodUse:
        """So far in the span that runs."""
        return _minus(_total(registers), self._start[period])

    def before(self, period: Period) -> PeriodUse:
        """In the whole span before the one that runs."""
        return self._before[period]

    def encode(self) -> bytes:
        rows = [
            (index, *_flat(start), *_flat(before))
            for index, start, before in zip(self._index, self._start, self._before, strict=True)
        ]
        return pack_state("marks", 1, {"rows": rows})

    @classmethod
    def decode(cls, octets: bytes) -> PeriodMarks:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="marks", versions=(1,))
        rows = reader.rows("rows", 7)
        if len(rows) != len(Period):
            raise reader.bad("rows", f"are not {len(Period)}")
        marks = cls(utc_us=0)
        marks._index = [row[0] for row in rows]
        marks._start = [_use(row[1:4]) for row in rows]
        marks._before = [_use(row[4:7]) for row in rows]
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
