"""EUI-64 device identifiers: an int inside, eight hex pairs joined by '-' in text (DUIS form)."""

from __future__ import annotations

import re
from typing import TypeAlias

from smets1.errors import InputError

__all__ = ["Eui64", "format_eui64", "parse_eui64"]

Eui64: TypeAlias = int
"""0..2^64-1; the first printed pair is the most significant octet. On air: little-endian."""

_FORM = re.compile(r"(?:[0-9A-Fa-f]{2}[-:]?){7}[0-9A-Fa-f]{2}")


def format_eui64(eui64: Eui64) -> str:
    """0x00DB1234567890A0 -> '00-DB-12-34-56-78-90-A0'."""
    return eui64.to_bytes(8, "big").hex("-").upper()


def parse_eui64(text: str) -> Eui64:
    """Eight hex pairs, joined by '-', ':' or nothing. Raises InputError for anything else."""
    if not _FORM.fullmatch(text.strip()):
        raise InputError(f"{text!r} is not an EUI-64: write eight hex pairs, as 00-DB-12-34-56-78-90-A0")
    return int(re.sub(r"[-:\s]", "", text), 16)
