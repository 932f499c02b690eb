"""The keys of a run in the form that tshark reads (`zigbee_pc_keys`): for test keys only.

Each line is `"<32 hex digits>","Normal","<label>"`; give it to tshark as
`-o 'uat:zigbee_pc_keys:<line>'`, or put the lines into the profile's file of that name.
The labels begin with IC (install code), ESTABLISHED (CBKE), PARTNER or NETWORK.
"""

from __future__ import annotations

import os
from pathlib import Path

from smets1.errors import InputError

__all__ = ["KeyRing"]


class KeyRing:
    """Collects keys as they come into force; writes the file anew at each."""

    def __init__(self) -> None:
        self._labels: dict[bytes, str] = {}
        self._path: Path | None = None

    def __repr__(self) -> str:
        return f"KeyRing({len(self._labels)} keys)"

    def write_to(self, path: Path) -> None:
        """From now on. Raises InputError where the file cannot be written."""
        self._path = path
        self._write()

    def add(self, key: bytes, label: str) -> None:
        """A key known already keeps its first label."""
        if key not in self._labels:
            self._labels[key] = label
            self._write()

    def lines(self) -> list[str]:
        return [f'"{key.hex()}","Normal","{label}"' for key, label in self._labels.items()]

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.fchmod(descriptor, 0o600)  # one that was there already too
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write("".join(f"{line}\n" for line in self.lines()))
        except OSError as error:
            raise InputError(f"{self._path}: keys cannot be written: {error.strerror}") from None
