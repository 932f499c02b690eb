"""Consumption from a CSV file of half-hourly or hourly readings.

Which of the common layouts it is the heading tells (`csv_layouts.py`). A row's energy belongs to the
interval that *begins* at its stamp, so that the rows of a date make the consumption of that date. The
interval lasts as long as most steps of the file do. `NA`, `Null` or an empty field is "not known": nothing
is consumed then and the interval is counted in `gaps`, as is an interval for which there is no row. Any
other fault in a row refuses the whole file.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from smets1.devices.csv_layouts import Row, find_layout
from smets1.devices.days import (
    HOUR_US,
    date_of_day,
    day_of_date,
    local_day,
    local_midnight_us,
)
from smets1.devices.load import ShiftedLoad, TableLoad
from smets1.errors import InputError

__all__ = ["CsvLoad", "parse_csv_load", "read_csv_load"]


class CsvLoad(TableLoad):
    """One fuel of one home of a CSV file, in the file's own time. A `Load`."""

    __slots__ = ("gaps", "home", "interval_us", "name")

    def __init__(self, *, rows: list[Row], interval_us: int, name: str, home: str | None) -> None:
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
    """Lines of a CSV file, heading first; `name` stands in messages; `fuel`: electricity, gas or export.

    `home` chooses one of several by its LCLid or MPAN; None takes the first. Raises InputError, one line
    with file and line number, for anything that cannot be used.
    """
    reader = csv.reader(lines, strict=True)
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        layout = find_layout(heading, name=name, fuel=fuel)
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
    rows: list[tuple[str | None, Row]], *, home: str | None, name: str
) -> tuple[list[tuple[str | None, Row]], str | None]:
    homes = list(dict.fromkeys(label for label, _ in rows if label is not None))
    if home is not None and home not in homes:
        known = ", ".join(homes[:5]) or "none: the file has no column of homes"
        raise InputError(f"{name}: no home {home!r} in it: choose one of {known}")
    chosen = home if home is not None else (homes[0] if homes else None)
    return [pair for pair in rows if pair[0] == chosen], chosen


def _interval_us(rows: list[Row]) -> int:
    steps = Counter(after.start_us - row.start_us for row, after in pairwise(rows))
    return steps.most_common(1)[0][0] if steps else HOUR_US
