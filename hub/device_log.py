"""The CHF Whitelist: which devices may be on the HAN, and when each was last heard.

Source: TMAD for the Group ID DA, 16.12 and 16.13: for each IEEE address either the UTC date-time of
the last communication or "never"; it does not list the CHF, the GPF or the ESME. The hub must of
course admit its own ESME, so an entry may be unlisted. The DUIS CHF device log holds 16 at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import cbor2

from smets1.errors import RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm

__all__ = ["DISPLAY_TYPES", "MAX_ENTRIES", "DeviceLog", "DeviceLogEntry"]

MAX_ENTRIES: Final = 16
DISPLAY_TYPES: Final = (6, 7)
"""GBCS device types of what shows messages: IHD, PPMID."""
_KEY: Final = "device_log"
_ADMITTED_KEY: Final = "device_log/admitted"
_STATUS_INSUFFICIENT_SPACE: Final = 0x89
_WRITE_STEP_US: Final = 60_000_000  # a device is heard many times a minute; NVM hears of it once


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLogEntry:
    eui64: Eui64
    link_key: bytes = field(repr=False)  # 16 octets, from the device's install code
    device_type: int = 0xFF  # GBCS device type; 0xFF: not known
    is_listed: bool = True
    last_communication_utc_us: int | None = None  # None: never


class DeviceLog:
    """Reads and writes through to NVM; the caller commits before it answers."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self._entries: dict[Eui64, DeviceLogEntry] = {}
        stored = nvm.get(_KEY)
        for eui64, key, listed, heard, *more in cbor2.loads(stored) if stored else ():
            self._entries[eui64] = DeviceLogEntry(
                eui64=eui64,
                link_key=key,
                device_type=more[0] if more else 0xFF,  # the first version did not keep it
                is_listed=listed,
                last_communication_utc_us=heard,
            )
        admitted = nvm.get(_ADMITTED_KEY)
        self._admitted: list[Eui64] = cbor2.loads(admitted) if admitted else list(self._entries)

    def admit(self, entry: DeviceLogEntry) -> None:
        """Add a device of the installation, once: what was removed since does not come back by itself."""
        if entry.eui64 in self._admitted:
            return
        self.add(entry)
        self._admitted.append(entry.eui64)
        self._nvm.put(_ADMITTED_KEY, cbor2.dumps(self._admitted))

    def add(self, entry: DeviceLogEntry) -> None:
        """Add or replace. Raises RefusedError where 16 are already listed."""
        others = [e for e in self._entries.values() if e.is_listed and e.eui64 != entry.eui64]
        if entry.is_listed and len(others) >= MAX_ENTRIES:
            raise RefusedError(_STATUS_INSUFFICIENT_SPACE, f"the CHF device log is full ({MAX_ENTRIES})")
        self._entries[entry.eui64] = entry
        self._save()

    def remove(self, eui64: Eui64) -> bool:
        """True where it was there."""
        was_there = self._entries.pop(eui64, None) is not None
        if was_there:
            self._save()
        return was_there

    def get(self, eui64: Eui64) -> DeviceLogEntry | None:
        return self._entries.get(eui64)

    def may_join(self, eui64: Eui64) -> bool:
        return eui64 in self._entries

    def heard(self, eui64: Eui64, utc_us: int) -> None:
        """Note a communication; written at most once a minute for each device."""
        entry = self._entries.get(eui64)
        if entry is None:
            return
        before = entry.last_communication_utc_us
        if before is None or utc_us - before >= _WRITE_STEP_US or utc_us < before:
            self._entries[eui64] = replace(entry, last_communication_utc_us=utc_us)
            self._save()

    def entries(self) -> list[DeviceLogEntry]:
        """All, unlisted ones too, by EUI-64."""
        return [self._entries[eui64] for eui64 in sorted(self._entries)]

    def listed(self) -> list[DeviceLogEntry]:
        return [entry for entry in self.entries() if entry.is_listed]

    def _save(self) -> None:
        rows = [
            [e.eui64, e.link_key, e.is_listed, e.last_communication_utc_us, e.device_type]
            for e in self.entries()
        ]
        self._nvm.put(_KEY, cbor2.dumps(rows))
