"""Types of command-line arguments that several commands take. argparse names the argument itself."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final, TypeVar

from smets1.errors import InputError
from smets1.eui64 import Eui64, parse_eui64

__all__ = ["UsageError", "address", "duration_s", "eui64", "judged", "speed", "whole_number"]

_T = TypeVar("_T")

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class UsageError(InputError):
    """Arguments that do not go together, which argparse cannot see: ends in exit code 2, as its own."""


def judged(parse: Callable[[str], _T], text: str) -> _T:
    """`parse(text)`, its InputError made argparse's, which ends in usage and exit code 2."""
    try:
        return parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def eui64(text: str) -> Eui64:
    return judged(parse_eui64, text)


# What reads a home file is imported where a word of it is judged: --help needs none of it.
def speed(text: str) -> float:
    from smets1.tools.home_file import parse_speed

    return judged(parse_speed, text)


def address(text: str) -> tuple[str, int]:
    from smets1.tools.home_file import parse_address

    return judged(parse_address, text)


def duration_s(text: str) -> float:
    """'90s', '30m', '24h', '7d' -> seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write a number and s, m, h or d, as 24h")
    return float(match[1]) * _UNITS_S[match[2]]


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A type for whole numbers from `low` to `high`, both included."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return number

    return parse
