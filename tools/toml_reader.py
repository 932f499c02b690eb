"""TOML for people: every value is asked for by name and type, every refusal names file and line.

`read_toml` gives a `Table`. A reader asks it for each key that it knows (`table.integer("seed", 1)`)
and then calls `done()`, which refuses what was not asked for and names the nearest right key: so the
known keys are written down once, where they are read. The standard library's tomllib parses but keeps
no lines; `line_numbers` finds them in text that tomllib has already accepted.

Source: TOML 1.0.0.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from smets1.errors import InputError
from smets1.eui64 import Eui64, parse_eui64
from smets1.firmware.civil import parse_utc, to_datetime

__all__ = [
    "Table",
    "judge",
    "line_numbers",
    "nearest",
    "optional",
    "parse_instant",
    "parse_toml",
    "read_eui64",
    "read_toml",
]

KeyPath = tuple[str | int, ...]
_Choice = TypeVar("_Choice", bound=StrEnum)


class _Required:
    """Marks a key that has no default."""


REQUIRED: Final = _Required()


def read_toml(path: Path) -> Table:
    """The root table of a file. Raises InputError: no such file, not UTF-8, not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (`smets1 init` writes one)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not UTF-8 text") from None
    return parse_toml(text, path)


def parse_toml(text: str, path: Path) -> Table:
    """The root table of a text; `path` is what errors name. Raises InputError for what is not TOML."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        reason = str(error)[: place.start()] if place else str(error)
        raise InputError(f"{path}:{line}: not TOML: {reason}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply") from None
    return Table(content, path, line_numbers(text))


_T = TypeVar("_T")


def parse_instant(text: str) -> datetime:
    """A moment in ISO 8601, with its time zone, given back in UTC. Raises InputError."""
    return to_datetime(parse_utc(text))


def judge(table: Table, key: str, parse: Callable[[str], _T], text: str) -> _T:
    """`parse(text)`, its complaint given the file and line of `key`."""
    try:
        return parse(text)
    except InputError as error:
        table.refuse(key, f"{key}: {error}")


def read_eui64(table: Table, key: str) -> Eui64:
    return judge(table, key, parse_eui64, table.text(key))


def optional(table: Table, key: str, read: Callable[[str], _T]) -> _T | None:
    """`read(key)` where the key is there."""
    table.know(key)
    return read(key) if table.has(key) else None


def nearest(word: str, known: Iterable[str]) -> str:
    """', did you mean …?' or the list of what is known, to end an error line with."""
    names = list(known)
    return _guess(word, names) or (f" (known here: {', '.join(sorted(set(names)))})" if names else "")


def _guess(word: str, names: list[str]) -> str:
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f": did you mean {close[0]!r}?" if close else ""


class Table:
    """One TOML table, being read. Every method raises InputError, with file and line, for a wrong value."""

    def __init__(
        self, content: dict[str, Any], file: Path, lines: dict[KeyPath, int], path: KeyPath = ()
    ) -> None:
        self._content = content
        self._file = file
        self._lines = lines
        self._path = path
        self._known: list[str] = []

    @property
    def folder(self) -> Path:
        """Relative paths in the file start here."""
        return self._file.parent

    def has(self, key: str) -> bool:
        return key in self._content

    def is_text(self, key: str) -> bool:
        return isinstance(self._content.get(key), str)

    def know(self, key: str) -> None:
        """The reader knows this key, though it does not ask for it now."""
        self._known.append(key)

    def line(self, key: str | None = None) -> int:
        """1-based line of a key, or of the table."""
        path = self._path if key is None else (*self._path, key)
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def refuse(self, key: str | None, reason: str) -> NoReturn:
        """Raise InputError about a key, or about the table as a whole."""
        raise InputError(f"{self._file}:{self.line(key)}: {reason}")

    def done(self) -> None:
        """Refuse the first key that nobody has asked for."""
        for key in self._content:
            if key not in self._known:
                where = self._name()
                place = f" in [{where}]" if where else ""
                self.refuse(key, f"unknown key {key!r}{place}{nearest(key, self._known)}")

    # --- values: `default` REQUIRED means that the key must be there ---------------------------

    def text(self, key: str, default: str | _Required = REQUIRED) -> str:
        value = self._take(key, default, (str,), 'a text in quotes, as "…"')
        assert isinstance(value, str)
        return value

    def boolean(self, key: str, default: bool | _Required = REQUIRED) -> bool:
        value = self._take(key, default, (bool,), "true or false")
        return bool(value)

    def integer(self, key: str, default: int | _Required = REQUIRED, *, low: int, high: int) -> int:
        value = self._take(key, default, (int,), f"a whole number from {low} to {high}")
        assert isinstance(value, int)
        if not low <= value <= high:
            self.refuse(key, f"{key} = {value} is out of range: {low} to {high}")
        return value

    def number(
        self,
        key: str,
        default: Decimal | int | _Required = REQUIRED,
        *,
        low: Decimal | int,
        high: Decimal | int,
    ) -> Decimal:
        """Exact: 24.5 is the decimal 24.5, not the nearest float."""
        value = self._take(key, default, (int, Decimal), f"a number from {low} to {high}")
        exact = Decimal(value)  # type: ignore[arg-type]  # _take has judged it
        if not exact.is_finite() or not low <= exact <= high:
            self.refuse(key, f"{key} = {exact} is out of range: {low} to {high}")
        return exact

    def fraction(self, key: str, default: Decimal | int | _Required = REQUIRED) -> float:
        """A probability, 0 to 1."""
        return float(self.number(key, default, low=0, high=1))

    def scaled(
        self, key: str, default: Decimal | int | _Required = REQUIRED, *, unit: int, low: int, high: int
    ) -> int:
        """A number times `unit`, which must come out whole: pounds in units of 100 000 are 1/1000 pence."""
        value = self.number(key, default, low=low, high=high) * unit
        if value != int(value):
            self.refuse(key, f"{key} is finer than can be counted: {1 / Decimal(unit)} is the smallest step")
        return int(value)

    def choice(self, key: str, kinds: type[_Choice], default: _Choice | _Required = REQUIRED) -> _Choice:
        names = [kind.value for kind in kinds]
        value = self._take(key, default, (str,), f"one of {', '.join(names)}")
        if value not in names:
            self.refuse(key, f"{key} = {value!r} is none of {', '.join(names)}{_guess(str(value), names)}")
        return kinds(value)

    def texts(self, key: str, default: Sequence[str] | _Required = REQUIRED) -> tuple[str, ...]:
        value = self._take(key, default, (list, tuple), 'a list of texts, as ["…", "…"]')
        items: tuple[Any, ...] = tuple(value)  # type: ignore[arg-type]  # _take has judged it
        if not all(isinstance(item, str) for item in items):
            self.refuse(key, f'{key} must be a list of texts, as ["…", "…"]')
        return items

    def instant(self, key: str, default: datetime | _Required = REQUIRED) -> datetime:
        """A moment with a time zone, given back in UTC; a TOML date-time or a text in ISO 8601."""
        value = self._take(key, default, (datetime, str), "a time, as 2023-01-16T00:00:00Z")
        try:
            return parse_instant(value.isoformat() if isinstance(value, datetime) else str(value))
        except InputError as error:
            self.refuse(key, f"{key} = {error}")

    def file(self, key: str) -> Path | None:
        """A file that exists, relative to the folder of the home file; None where the key is left out."""
        name = self.text(key, "")
        if not name:
            return None
        path = self.folder / Path(name).expanduser()
        if not path.is_file():
            self.refuse(key, f"{key}: no such file: {path}")
        return path

    def directory(self, key: str) -> Path | None:
        """A folder that exists; else as `file`."""
        name = self.text(key, "")
        if not name:
            return None
        path = self.folder / Path(name).expanduser()
        if not path.is_dir():
            self.refuse(key, f"{key}: no such folder: {path}")
        return path

    # --- tables in tables ----------------------------------------------------------------------

    def table(self, key: str) -> Table:
        """A sub-table; an empty one where the key is left out."""
        value = self._take(key, {}, (dict,), f"a table: write [{self._name(key)}] on a line of its own")
        assert isinstance(value, dict)
        return type(self)(value, self._file, self._lines, (*self._path, key))

    def tables(self, key: str) -> list[Table]:
        """An array of tables; empty where the key is left out."""
        how = f"a list of tables: write [[{self._name(key)}]] on a line of its own"
        value = self._take(key, [], (list,), how)
        assert isinstance(value, list)
        if not all(isinstance(item, dict) for item in value):
            self.refuse(key, f"{key} must be {how}")
        return [
            type(self)(item, self._file, self._lines, (*self._path, key, index))
            for index, item in enumerate(value)
        ]

    # --- inside ----------------------------------------------------------------------------------

    def _take(self, key: str, default: object, kinds: tuple[type, ...], how: str) -> object:
        self._known.append(key)
        if key not in self._content:
            if isinstance(default, _Required):
                where = self._name()
                self.refuse(None, f"{key} is missing{f' in [{where}]' if where else ''}: {how}")
            return default
        value = self._content[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            self.refuse(key, f"{key} must be {how}")
        return value

    def _name(self, key: str = "") -> str:
        names = [part for part in self._path if isinstance(part, str)]
        return ".".join([*names, key] if key else names)


# --- lines -----------------------------------------------------------------------------------------

_KEY = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)')[ \t]*(\.?)""")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
# One step through a value: a string of any kind, a comment, a bracket, the end of a line, or anything else.
_VALUE = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[{]|[\]}]|\n|[^"'\#\[\]{}\n]+''',
    re.DOTALL,
)


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Line (1-based) of every table and key in valid TOML; keys inside inline tables have none of their own.

    A path is made of keys, and of an index after the name of an array of tables: ("load", 0, "kind").
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    prefix: KeyPath = ()
    position = line = 0
    here = 1
    while (position := _match_end(_BLANK, text, position)) < len(text):
        here += text.count("\n", line, position)
        line = position
        depth = len(text[position : position + 2]) - len(text[position : position + 2].lstrip("["))
        keys, position = _dotted_key(text, position + depth)
        if depth:
            prefix = _header(keys, counts, is_array=depth == 2)
            for end in range(1, len(prefix) + 1):
                lines.setdefault(prefix[:end], here)
            position = _match_end(re.compile(r"[^\n]*"), text, position)
        else:
            for end in range(1, len(keys) + 1):
                lines.setdefault((*prefix, *keys[:end]), here)
            position = _skip_value(text, position)
    return lines


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _dotted_key(text: str, position: int) -> tuple[list[str], int]:
    keys: list[str] = []
    while match := _KEY.match(text, position):
        bare, quoted, literal, dot = match.groups()
        if quoted is not None:
            quoted = tomllib.loads(f'key = "{quoted}"')["key"]
        keys.append(next(name for name in (bare, quoted, literal) if name is not None))
        position = match.end()
        if not dot:
            break
    return keys, position


def _header(keys: list[str], counts: dict[KeyPath, int], *, is_array: bool) -> KeyPath:
    """`[a.b]` -> the path; the name of an array of tables on the way stands for its last element."""
    path: KeyPath = ()
    for index, key in enumerate(keys):
        path = (*path, key)
        if is_array and index == len(keys) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _skip_value(text: str, position: int) -> int:
    """From '=' to the end of the value's last line."""
    depth = 0
    while match := _VALUE.match(text, position):
        position = match.end()
        piece = match[0]
        if piece in "[{":
            depth += 1
        elif piece in "]}":
            depth -= 1
        elif piece == "\n" and depth <= 0:
            return position
    return len(text)
