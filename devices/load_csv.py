"""Consumption from a CSV file of half-hourly or hourly readings.

Two layouts are known by their heading line; columns may stand in any order and others may be there:

- `LCLid,tstp,energy_kWh` (Low Carbon London): several homes in one file, one after the other. `tstp`
  is GMT the whole year: at both clock changes the file has every half hour once, and a home's
  morning rise comes one stamp later from the October change on.
- `local_time,elec_import_kwh,gas_kwh` (n3rgy exports): UK local time. In March 01:00 to 02:00 does
  not exist. In October that hour comes twice: of two equal stamps the first is summer time and
  the second winter time; a single one counts as the first, and the other hour is a gap.

A row's energy belongs to the interval that *begins* at its stamp, so that the rows of a date make
the consumption of that date. The interval lasts as long as most steps of the file do. `NA`, `Null` or an
empty field is "not known": nothing is consumed then and the interval is counted in `gaps`, as is
an interval for which there is no row. Any other fault in a row refuses the whole file.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Final

from smets1.devices.days import (
    HOUR_US,
    LONDON,
    SECOND_US,
    date_of_day,
    day_of_date,
    local_day,
    local_midnight_us,
)
from smets1.devices.load import ShiftedLoad, TableLoad
from smets1.errors import InputError

__all__ = ["CsvLoad", "parse_csv_load", "read_csv_load"]

_TIME_COLUMNS: Final = {"tstp": False, "local_time": True}  # heading -> is UK local time
_ELECTRICITY_COLUMNS: Final = ("elec_import_kwh", "energy_kWh")
_GAS_COLUMNS: Final = ("gas_kwh",)
_HOME_COLUMN: Final = "LCLid"
_MISSING: Final = ("", "na", "null", "nan")
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.0*)?")
_NUMBER: Final = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_MOST_KWH: Final = 100_000  # a house cannot; a column of watts or of meter readings can


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    line: int
    start_us: int
    energy_uwh: int | None  # None: not known


class CsvLoad(TableLoad):
    """One fuel of one home of a CSV file, in the file's own time. A `Load`."""

    __slots__ = ("gaps", "home", "interval_us", "name")

    def __init__(self, *, rows: list[_Row], interval_us: int, name: str, home: str | None) -> None:
        known = [(row.start_us, row.energy_uwh) for row in rows if row.energy_uwh is not None]
        starts = [start for start, _ in known]
        # An off-grid row ends where the next row begins, known or not.
        following = {row.start_us: after.start_us for row, after in pairwise(rows)}
        ends = [min(start + interval_us, following.get(start, start + interval_us)) for start in starts]
        super().__init__(starts_us=starts, ends_us=ends, energies_uwh=[energy for _, energy in known])
        self.name = name
        self.home = home
        self.interval_us = interval_us
        absent = sum((after.start_us - row.start_us - 1) // interval_us for row, after in pairwise(rows))
        self.gaps = len(rows) - len(known) + absent
        """Intervals between the file's first and last row for which no consumption is known."""

    def first_full_day(self) -> int:
        """The first local day (days since 1970) that the known rows cover from midnight on."""
        start_us, _ = self.window()
        day = local_day(start_us)
        return day if local_midnight_us(day) == start_us else day + 1

    def covers(self, start_us: int, end_us: int) -> bool:
        """Whether the span lies inside the window (gaps inside the window do not matter)."""
        first, last = self.window()
        return first <= start_us and end_us <= last

    def rebased(self, start_utc_us: int, *, file_date: dt.date | None = None) -> ShiftedLoad:
        """This load replayed for a home whose time begins at `start_utc_us`.

        The local midnight of the home's first day falls on that of a day of the file: `file_date`
        where given; else the same date, where the file covers it; else the same day of the year in
        the first year that the file covers it; else the file's first full day.
        Raises InputError where the file does not cover `file_date`.
        """
        home_day = local_day(start_utc_us)
        if file_date is not None:
            file_day = day_of_date(file_date)
            if not self._has_day(file_day):
                raise InputError(f"{self.name}: no full day {file_date}: {self._span_text()}")
        else:
            file_day = self._day_like(home_day)
        return ShiftedLoad(load=self, offset_us=local_midnight_us(file_day) - local_midnight_us(home_day))

    def _has_day(self, day: int) -> bool:
        return self.covers(local_midnight_us(day), local_midnight_us(day + 1))

    def _day_like(self, home_day: int) -> int:
        if self._has_day(home_day):
            return home_day
        date = date_of_day(home_day)
        first_year = date_of_day(local_day(self.window()[0])).year
        last_year = date_of_day(local_day(self.window()[1])).year
        for year in range(first_year, last_year + 1):
            try:
                day = day_of_date(date.replace(year=year))
            except ValueError:  # 29 February
                continue
            if self._has_day(day):
                return day
        return self.first_full_day()

    def _span_text(self) -> str:
        first = self.first_full_day()
        last = local_day(self.window()[1]) - 1
        return f"choose one from {date_of_day(first)} to {date_of_day(last)}"


def read_csv_load(path: Path, *, fuel: str = "electricity", home: str | None = None) -> CsvLoad:
    """`parse_csv_load` of a file. The one function here that reads the disk. Raises InputError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return parse_csv_load(lines, name=str(path), fuel=fuel, home=home)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text: save it as CSV in UTF-8") from None


def parse_csv_load(
    lines: Iterable[str], *, name: str, fuel: str = "electricity", home: str | None = None
) -> CsvLoad:
    """Lines of a CSV file, heading first; `name` stands in messages; `fuel`: electricity or gas.

    `home` chooses one of several by its LCLid; None takes the first. Raises InputError, one line
    with file and line number, for anything that cannot be used.
    """
    reader = csv.reader(lines, strict=True)
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        layout = _Layout.of(heading, name=name, fuel=fuel)
        rows = list(layout.rows(reader))
    except csv.Error as error:
        raise InputError(f"{name}:{reader.line_num}: {error}: mend or remove the line") from None
    rows, chosen = _one_home(rows, home=home, name=name)
    found = [row for _, row in rows]
    if not any(row.energy_uwh is not None for row in found):
        raise InputError(f"{name}: no {fuel} reading in it: choose another column or file")
    interval_us = _interval_us(found)
    first = next(i for i, row in enumerate(found) if row.energy_uwh is not None)
    last = next(i for i in range(len(found) - 1, -1, -1) if found[i].energy_uwh is not None)
    return CsvLoad(rows=found[first : last + 1], interval_us=interval_us, name=name, home=chosen)


def _one_home(
    rows: list[tuple[str | None, _Row]], *, home: str | None, name: str
) -> tuple[list[tuple[str | None, _Row]], str | None]:
    homes = list(dict.fromkeys(label for label, _ in rows if label is not None))
    if home is not None and home not in homes:
        known = ", ".join(homes[:5]) or "none: the file has no LCLid column"
        raise InputError(f"{name}: no home {home!r} in it: choose one of {known}")
    chosen = home if home is not None else (homes[0] if homes else None)
    return [pair for pair in rows if pair[0] == chosen], chosen


def _interval_us(rows: list[_Row]) -> int:
    steps = Counter(after.start_us - row.start_us for row, after in pairwise(rows))
    return steps.most_common(1)[0][0] if steps else HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Which column holds what."""

    name: str
    width: int
    time: int
    is_local: bool
    value: int
    value_name: str
    home: int | None

    @classmethod
    def of(cls, heading: list[str], *, name: str, fuel: str) -> _Layout:
        times = [label for label in _TIME_COLUMNS if label in heading]
        wanted = _GAS_COLUMNS if fuel == "gas" else _ELECTRICITY_COLUMNS
        values = [label for label in wanted if label in heading]
        for found, names in ((times, tuple(_TIME_COLUMNS)), (values, wanted)):
            if not found:
                raise InputError(
                    f"{name}:1: no column {' or '.join(names)} for {fuel}: give the file that heading"
                )
        return cls(
            name=name,
            width=len(heading),
            time=heading.index(times[0]),
            is_local=_TIME_COLUMNS[times[0]],
            value=heading.index(values[0]),
            value_name=values[0],
            home=heading.index(_HOME_COLUMN) if _HOME_COLUMN in heading else None,
        )

    def rows(self, reader: Iterator[list[str]]) -> Iterator[tuple[str | None, _Row]]:
        """Each data row, checked, with the home it belongs to. Raises InputError."""
        last_us: dict[str | None, int] = {}
        last_text: dict[str | None, str] = {}
        for cells in reader:
            line: int = reader.line_num  # type: ignore[attr-defined]
            if not cells:
                continue
            if len(cells) != self.width:
                raise self._bad(line, f"{len(cells)} columns where the heading has {self.width}")
            label = cells[self.home].strip() if self.home is not None else None
            text = cells[self.time].strip()
            start_us = self._start_us(line, text, is_second=last_text.get(label) == text)
            before_us = last_us.get(label)
            if before_us is not None and start_us <= before_us:
                raise self._bad(line, f"{text} is not after the row before it", "sort the rows by time")
            last_us[label], last_text[label] = start_us, text
            yield label, _Row(line=line, start_us=start_us, energy_uwh=self._energy(line, cells[self.value]))

    def _start_us(self, line: int, text: str, *, is_second: bool) -> int:
        match = _STAMP.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            naive = dt.datetime.fromisoformat(f"{match[1]} {match[2]}")
        except ValueError:
            raise self._bad(line, f"{text!r} is not a date and time", "write 2023-06-30 13:30:00") from None
        if not self.is_local:
            return int(naive.replace(tzinfo=dt.UTC).timestamp()) * SECOND_US
        # fold: which of the two hours with the same name in October; without meaning elsewhere
        aware = naive.replace(tzinfo=LONDON, fold=int(is_second))
        start_us = int(aware.timestamp()) * SECOND_US
        if dt.datetime.fromtimestamp(start_us // SECOND_US, LONDON).replace(tzinfo=None, fold=0) != naive:
            raise self._bad(line, f"{text} does not exist: the clocks go forward", "write UK local time")
        return start_us

    def _energy(self, line: int, text: str) -> int | None:
        stripped = text.strip()
        if stripped.lower() in _MISSING:
            return None
        if stripped.startswith("-") and _NUMBER.fullmatch(stripped[1:]):
            raise self._bad(line, f"{self.value_name} is negative: {stripped}", "consumption is 0 or more")
        if not _NUMBER.fullmatch(stripped):
            raise self._bad(line, f"{self.value_name} is not a number: {stripped[:40]!r}", "write kWh or NA")
        kwh = Decimal(stripped)
        if kwh > _MOST_KWH:
            raise self._bad(line, f"{self.value_name} is {stripped} kWh in one interval", "check the unit")
        return int(kwh.scaleb(9).to_integral_value())

    def _bad(self, line: int, what: str, remedy: str = "mend or remove the line") -> InputError:
        return InputError(f"{self.name}:{line}: {what}: {remedy}")
