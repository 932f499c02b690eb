"""The common layouts of consumption in CSV, told apart by their heading; columns may stand in any order, and
letters be great or small.

- `LCLid,stdorToU,DateTime,KWH/hh (per half hour)` (Low Carbon London as published),
  `LCLid,tstp,energy(kWh/hh)` (from Kaggle), `LCLid,tstp,energy_kWh`: several homes in one file, one after the
  other. The stamps are GMT the whole year: at both clock changes the file has every half hour once, and a
  home's morning rise comes one stamp later from the October change on.
- `timestamp (UTC),energyConsumption (kWh)` (n3rgy's download): UTC. One file has one fuel.
- `local_time,elec_import_kwh,gas_kwh` (n3rgy exports): UK local time. In March 01:00 to 02:00 does not exist.
  In October that hour comes twice: of two equal stamps the first is summer time and the second winter time;
  a single one counts as the first, and the other hour is a gap.
- `Consumption (kWh),Start,End` and `consumption,interval_start,interval_end` (Octopus Energy): each stamp
  bears its offset from UTC; newest first or last. One file has one fuel.
- `MPAN,Date,00:00,00:30,...,23:30` (half-hourly data of one day in a row, as suppliers' portals give it): 48
  columns by the begin of their half hour, GMT the whole year; dates as 2023-06-30 or 30/06/2023.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from smets1.devices.days import DAY_US, HALF_HOUR_US, LONDON, SECOND_US, day_of_date
from smets1.errors import InputError

__all__ = ["Row", "find_layout"]

# heading -> is UK local time
_TIME_COLUMNS: Final = {"tstp": False, "local_time": True, "datetime": False, "timestamp (utc)": False}
_LCL_COLUMNS: Final = ("energy_kwh", "energy(kwh/hh)", "kwh/hh (per half hour)")
_ONE_FUEL_COLUMN: Final = "energyconsumption (kwh)"
_COLUMNS: Final = {
    "electricity": ("elec_import_kwh", *_LCL_COLUMNS, _ONE_FUEL_COLUMN),
    "export": ("elec_export_kwh", *_LCL_COLUMNS, _ONE_FUEL_COLUMN),
    "gas": ("gas_kwh", _ONE_FUEL_COLUMN),
}
_HOME_COLUMN: Final = "lclid"
_OFFSET_COLUMNS: Final = {"start": "consumption (kwh)", "interval_start": "consumption"}
_DAY_COLUMNS: Final = ("date", "reading date")
_POINT_COLUMNS: Final = ("mpan", "mprn", "mpan core")
_HALF_HOURS: Final = tuple(f"{index // 2:02}:{index % 2 * 30:02}" for index in range(48))
_MISSING: Final = ("", "na", "null", "nan")
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.0*)?")
_OFFSET_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.0*)?(Z|[+-]\d\d:\d\d)")
_BRITISH_DATE: Final = re.compile(r"(\d\d)/(\d\d)/(\d{4})")
_NUMBER: Final = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_MOST_KWH: Final = 100_000  # a house cannot; a column of watts or of meter readings can


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    line: int
    start_us: int
    energy_uwh: int | None  # None: not known


class Layout(Protocol):
    def rows(self, reader: Iterator[list[str]]) -> Iterator[tuple[str | None, Row]]:
        """Each reading, checked, with the home it belongs to, each home's in order. Raises InputError."""


def find_layout(heading: list[str], *, name: str, fuel: str) -> Layout:
    """`name`: of the file, for messages. Raises InputError where no layout has these columns."""
    labels = [label.lower() for label in heading]
    for time, value in _OFFSET_COLUMNS.items():
        if time in labels and value in labels:
            file = _File(name=name, width=len(heading), value_name=heading[labels.index(value)])
            return _OffsetLayout(file=file, time=labels.index(time), value=labels.index(value))
    day = next((label for label in _DAY_COLUMNS if label in labels), None)
    if day is not None and all(label in labels for label in _HALF_HOURS):
        home = next((label for label in _POINT_COLUMNS if label in labels), None)
        return _DayLayout(
            file=_File(name=name, width=len(heading), value_name="a half hour"),
            day=labels.index(day),
            home=None if home is None else labels.index(home),
            values=tuple(labels.index(label) for label in _HALF_HOURS),
        )
    return _StampLayout.of(heading, name=name, fuel=fuel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What every layout does with its lines."""

    name: str
    width: int
    value_name: str

    def lines(self, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each line that is not empty."""
        for cells in reader:
            line: int = reader.line_num  # type: ignore[attr-defined]
            if not cells:
                continue
            if len(cells) != self.width:
                raise self.bad(line, f"{len(cells)} columns where the heading has {self.width}")
            yield line, cells

    def energy(self, line: int, text: str) -> int | None:
        stripped = text.strip()
        if stripped.lower() in _MISSING:
            return None
        if stripped.startswith("-") and _NUMBER.fullmatch(stripped[1:]):
            raise self.bad(line, f"{self.value_name} is negative: {stripped}", "consumption is 0 or more")
        if not _NUMBER.fullmatch(stripped):
            raise self.bad(line, f"{self.value_name} is not a number: {stripped[:40]!r}", "write kWh or NA")
        kwh = Decimal(stripped)
        if kwh > _MOST_KWH:
            raise self.bad(line, f"{self.value_name} is {stripped} kWh in one interval", "check the unit")
        return int(kwh.scaleb(9).to_integral_value())

    def bad(self, line: int, what: str, remedy: str = "mend or remove the line") -> InputError:
        return InputError(f"{self.name}:{line}: {what}: {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _StampLayout:
    """One reading a row, its stamp GMT or UK local time."""

    file: _File
    time: int
    is_local: bool
    value: int
    home: int | None

    @classmethod
    def of(cls, heading: list[str], *, name: str, fuel: str) -> _StampLayout:
        labels = [label.lower() for label in heading]
        times = [label for label in _TIME_COLUMNS if label in labels]
        wanted = _COLUMNS[fuel]
        values = [label for label in wanted if label in labels]
        for found, names in ((times, tuple(_TIME_COLUMNS)), (values, wanted)):
            if not found:
                raise InputError(
                    f"{name}:1: no column {' or '.join(names)} for {fuel}: give the file that heading"
                )
        return cls(
            file=_File(name=name, width=len(heading), value_name=heading[labels.index(values[0])]),
            time=labels.index(times[0]),
            is_local=_TIME_COLUMNS[times[0]],
            value=labels.index(values[0]),
            home=labels.index(_HOME_COLUMN) if _HOME_COLUMN in labels else None,
        )

    def rows(self, reader: Iterator[list[str]]) -> Iterator[tuple[str | None, Row]]:
        last_us: dict[str | None, int] = {}
        last_text: dict[str | None, str] = {}
        for line, cells in self.file.lines(reader):
            label = cells[self.home].strip() if self.home is not None else None
            text = cells[self.time].strip()
            start_us = self._start_us(line, text, is_second=last_text.get(label) == text)
            before_us = last_us.get(label)
            if before_us is not None and start_us <= before_us:
                raise self.file.bad(line, f"{text} is not after the row before it", "sort the rows by time")
            last_us[label], last_text[label] = start_us, text
            energy_uwh = self.file.energy(line, cells[self.value])
            yield label, Row(line=line, start_us=start_us, energy_uwh=energy_uwh)

    def _start_us(self, line: int, text: str, *, is_second: bool) -> int:
        match = _STAMP.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            naive = dt.datetime.fromisoformat(f"{match[1]} {match[2]}")
        except ValueError:
            remedy = "write 2023-06-30 13:30:00"
            raise self.file.bad(line, f"{text!r} is not a date and time", remedy) from None
        if not self.is_local:
            return int(naive.replace(tzinfo=dt.UTC).timestamp()) * SECOND_US
        # fold: which of the two hours with the same name in October; without meaning elsewhere
        aware = naive.replace(tzinfo=LONDON, fold=int(is_second))
        start_us = int(aware.timestamp()) * SECOND_US
        if dt.datetime.fromtimestamp(start_us // SECOND_US, LONDON).replace(tzinfo=None, fold=0) != naive:
            raise self.file.bad(line, f"{text} does not exist: the clocks go forward", "write UK local time")
        return start_us


@dataclass(frozen=True, slots=True, kw_only=True)
class _OffsetLayout:
    """One reading a row, its stamp with an offset from UTC."""

    file: _File
    time: int
    value: int

    def rows(self, reader: Iterator[list[str]]) -> Iterator[tuple[str | None, Row]]:
        found: dict[int, Row] = {}
        for line, cells in self.file.lines(reader):
            start_us = self._start_us(line, cells[self.time].strip())
            if start_us in found:
                raise self.file.bad(line, f"the interval of line {found[start_us].line} comes twice")
            energy_uwh = self.file.energy(line, cells[self.value])
            found[start_us] = Row(line=line, start_us=start_us, energy_uwh=energy_uwh)
        for start_us in sorted(found):
            yield None, found[start_us]

    def _start_us(self, line: int, text: str) -> int:
        match = _OFFSET_STAMP.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            offset = "+00:00" if match[3] == "Z" else match[3]
            aware = dt.datetime.fromisoformat(f"{match[1]} {match[2]}{offset}")
        except ValueError:
            remedy = "write 2023-06-30T13:30:00+01:00"
            raise self.file.bad(line, f"{text!r} is not a date and time with its offset", remedy) from None
        return int(aware.timestamp()) * SECOND_US


@dataclass(frozen=True, slots=True, kw_only=True)
class _DayLayout:
    """48 readings a row."""

    file: _File
    day: int
    home: int | None
    values: tuple[int, ...]

    def rows(self, reader: Iterator[list[str]]) -> Iterator[tuple[str | None, Row]]:
        last_us: dict[str | None, int] = {}
        for line, cells in self.file.lines(reader):
            label = cells[self.home].strip() if self.home is not None else None
            text = cells[self.day].strip()
            midnight_us = self._midnight_us(line, text)
            if midnight_us <= last_us.get(label, midnight_us - 1):
                raise self.file.bad(line, f"{text} is not after the row before it", "sort the rows by date")
            last_us[label] = midnight_us
            for index, column in enumerate(self.values):
                yield (
                    label,
                    Row(
                        line=line,
                        start_us=midnight_us + index * HALF_HOUR_US,
                        energy_uwh=self.file.energy(line, cells[column]),
                    ),
                )

    def _midnight_us(self, line: int, text: str) -> int:
        try:
            date = dt.date.fromisoformat(_BRITISH_DATE.sub(r"\3-\2-\1", text))
        except ValueError:
            remedy = "write 2023-06-30 or 30/06/2023"
            raise self.file.bad(line, f"{text!r} is not a date", remedy) from None
        return day_of_date(date) * DAY_US
