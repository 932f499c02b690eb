"""Books of the outside world that checks look into: registration data, the EPCL, certificates.

Source: guide 4.3.3 to 4.3.5 (Device Model Combinations and the Eligible Product Combinations list); Uplift
1.2, 4.2 (leading zeros of an MPRN do not count); TMAD 2, Last EPCL Entry; 3.14E.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from smets1.eui64 import Eui64
from smets1.headend.migration.files import SupplyStatus

__all__ = [
    "MONTH_US",
    "Combination",
    "EligibleProducts",
    "EpclEntry",
    "Registration",
    "Registry",
    "is_mpan",
    "mpan_check_digit",
]

_DAY_US: Final = 86_400_000_000
MONTH_US: Final = 2_629_746_000_000
"""A twelfth of a mean Gregorian year: how we count the months of 3.14E (**assumption**)."""

_MPAN_PRIMES: Final = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)

Combination = frozenset[tuple[str, str, str]]
"""A Device Model Combination: (type, model, firmware) of every device of a home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One meter point."""

    supplier: Eui64
    network_operator: Eui64
    status: SupplyStatus


class Registry:
    """Who is registered for which meter point, and whose certificates (by their hash) are on file."""

    def __init__(self) -> None:
        self._points: dict[str, Registration] = {}
        self._certificates: dict[str, Eui64] = {}

    def register(self, mpxn: str, registration: Registration) -> None:
        """Add or, at a change of supplier, replace."""
        self._points[mpxn.lstrip("0")] = registration

    def find(self, mpxn: str) -> Registration | None:
        return self._points.get(mpxn.lstrip("0"))

    def add_certificate(self, certificate: str, owner: Eui64) -> None:
        self._certificates[certificate] = owner

    def owner_of(self, certificate: str) -> Eui64 | None:
        return self._certificates.get(certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpclEntry:
    """One Device Model Combination that may be migrated; approved by the Secretary of State (3.7)."""

    group_id: str
    combination: Combination
    approved_utc_us: int


class EligibleProducts:
    """The Eligible Product Combinations List."""

    def __init__(self, entries: Iterable[EpclEntry] = ()) -> None:
        self._entries = list(entries)

    def add(self, entry: EpclEntry) -> None:
        self._entries.append(entry)

    def is_eligible(self, group_id: str, combination: Combination) -> bool:
        return any(e.group_id == group_id and e.combination == combination for e in self._entries)

    def last_entry_utc_us(self, group_id: str, *, now_utc_us: int) -> int | None:
        """The Last EPCL Entry: one that 12 months without another have followed; None: there is none yet."""
        times = [entry.approved_utc_us for entry in self._entries if entry.group_id == group_id]
        if not times or now_utc_us < max(times) + 12 * MONTH_US:
            return None
        return max(times)


def is_mpan(text: str) -> bool:
    """13 digits, the last of which checks the others."""
    if len(text) != 13 or not text.isascii() or not text.isdigit():
        return False
    return mpan_check_digit(text[:12]) == int(text[12])


def mpan_check_digit(core: str) -> int:
    """Of the 12 digits before it. Source: MRA, MPAN core check digit."""
    return sum(int(digit) * prime for digit, prime in zip(core, _MPAN_PRIMES, strict=True)) % 11 % 10
