"""Lines and refusals of the TOML reader."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import InputError
from smets1.tools.toml_reader import line_numbers, nearest, parse_toml, read_toml

TEXT = '''# a comment with a [table] in it
seed = 1
a.b.c = """x
 [y] # "
"""
array = [ 1, # ]
 2,
 { x = "]" } ]
"quoted key" = 'l'

[[load]]
kind = "x"
[load.sub]
z = 3
[[load]]
kind = "y" # [wan]
  [wan]
link="m"
'''


def test_every_key_has_the_line_it_stands_on() -> None:
    assert line_numbers(TEXT) == {
        ("seed",): 2,
        ("a",): 3,
        ("a", "b"): 3,
        ("a", "b", "c"): 3,
        ("array",): 6,
        ("quoted key",): 9,
        ("load",): 11,
        ("load", 0): 11,
        ("load", 0, "kind"): 12,
        ("load", 0, "sub"): 13,
        ("load", 0, "sub", "z"): 14,
        ("load", 1): 15,
        ("load", 1, "kind"): 16,
        ("wan",): 17,
        ("wan", "link"): 18,
    }


_NAMES = st.sampled_from(["a", "b", "c-d", '"e f"', "'g'"])
_VALUES = st.sampled_from(
    [
        "1",
        "true",
        '"x # y"',
        "'''\n[q]\n'''",
        '"""\nk = 1\n\\""""',
        "[1,\n 2, # ]\n]",
        "{ x = 1 }",
        "1979-05-27",
    ]
)


@given(
    st.lists(
        st.tuples(_NAMES, _VALUES, st.sampled_from(["", " # [z]", "\n\n"])), unique_by=lambda row: row[0]
    )
)
def test_lines_of_any_values(rows: list[tuple[str, str, str]]) -> None:
    text, expected = "", {}
    for name, value, end in rows:
        expected[(tomllib.loads(f"{name} = 1").popitem()[0],)] = text.count("\n") + 1
        text += f"{name} = {value}{end}\n"
    tomllib.loads(text)
    assert line_numbers(text) == expected


def _refusal(text: str, ask: str, *args: object, **options: object) -> str:
    table = parse_toml(text, Path("f.toml"))
    with pytest.raises(InputError) as caught:
        getattr(table, ask)(*args, **options)
        table.done()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@pytest.mark.parametrize(
    ("text", "ask", "args", "options", "expected"),
    [
        ("\nsed = 1", "integer", ("seed", 1), {"low": 0, "high": 9}, "f.toml:2: unknown key 'sed': did you mean 'seed'?"),
        ("x = 1", "integer", ("seed", 1), {"low": 0, "high": 9}, "f.toml:1: unknown key 'x' (known here: seed)"),
        ("seed = 10", "integer", ("seed",), {"low": 0, "high": 9}, "f.toml:1: seed = 10 is out of range: 0 to 9"),
        ("seed = true", "integer", ("seed",), {"low": 0, "high": 9}, "f.toml:1: seed must be a whole number from 0 to 9"),
        ("", "text", ("name",), {}, 'f.toml:1: name is missing: a text in quotes, as "…"'),
        ("c = 'gren'", "choice", ("c", Colour), {}, "f.toml:1: c = 'gren' is none of red, green: did you mean 'green'?"),
        ("t = 1", "table", ("t",), {}, "f.toml:1: t must be a table: write [t] on a line of its own"),
        ("t = [1]", "tables", ("t",), {}, "f.toml:1: t must be a list of tables: write [[t]] on a line of its own"),
        ("p = inf", "number", ("p",), {"low": 0, "high": 1}, "f.toml:1: p = Infinity is out of range: 0 to 1"),
        ("p = 1.5", "fraction", ("p",), {}, "f.toml:1: p = 1.5 is out of range: 0 to 1"),
        ("p = 0.00001", "scaled", ("p",), {"unit": 1000, "low": 0, "high": 1}, "f.toml:1: p is finer than can be counted: 0.001 is the smallest step"),
        ("w = 2020-01-01T00:00:00", "instant", ("w",), {}, "f.toml:1: w = '2020-01-01T00:00:00' has no time zone: write it in UTC, with a Z at the end"),
        ("w = 'soon'", "instant", ("w",), {}, "f.toml:1: w = 'soon' is not a time: write it as 2023-01-16T00:00:00Z"),
        ("l = ['a', 1]", "texts", ("l",), {}, 'f.toml:1: l must be a list of texts, as ["…", "…"]'),
        ("f = 'nowhere.csv'", "file", ("f",), {}, "f.toml:1: f: no such file: nowhere.csv"),
        ("f = 'nowhere'", "directory", ("f",), {}, "f.toml:1: f: no such folder: nowhere"),
    ],
)  # fmt: skip
def test_refusals_name_file_line_and_remedy(
    text: str, ask: str, args: tuple[object, ...], options: dict[str, object], expected: str
) -> None:
    assert _refusal(text, ask, *args, **options) == expected


def test_decimals_are_exact() -> None:
    table = parse_toml("rate = 10.3\nwhole = 7", Path("f.toml"))
    assert table.number("rate", low=0, high=100) == Decimal("10.3")
    assert table.scaled("rate", unit=1000, low=0, high=100) == 10_300
    assert table.scaled("whole", unit=1000, low=0, high=100) == 7_000


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"a = 1\nb = \n", ":2: not TOML: Invalid value"),
        (b"a = 1\na = 2\n", ":2: not TOML: Cannot overwrite a value"),
        (b'a = """', ":1: not TOML: Unterminated string"),
        (b"a = 1\nb = '\xff'\n", ":2: not UTF-8 text"),
        (b"a = " + b"[" * 5000, ": nested too deeply"),
    ],
)
def test_what_is_not_toml(tmp_path: Path, octets: bytes, expected: str) -> None:
    path = tmp_path / "home.toml"
    path.write_bytes(octets)
    with pytest.raises(InputError) as caught:
        read_toml(path)
    assert str(caught.value) == f"{path}{expected}"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"home\.toml: no such file \(`smets1 init` writes one\)"):
        read_toml(tmp_path / "home.toml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


def test_the_nearest_name() -> None:
    assert nearest("eui46", ["eui64", "role"]) == ": did you mean 'eui64'?"
    assert nearest("zzz", ["eui64", "role"]) == " (known here: eui64, role)"
    assert nearest("zzz", []) == ""
