"""The hub's own event and security log: the last 100 entries of each.

CHF and GPF are one thing on the wall and share these. Simplified: what the hub logs is what it does here
(joins, changes of its device log, commands that the gas meter did not fetch, commands without authority).

Source: DUIS 5.4 and the DCC's lists of alert codes (event codes); DUIS 5.4, service 6.13 asked of the CHF.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum, unique
from typing import Final

import cbor2

from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.log_pages import EventRow

__all__ = ["HubEvent", "HubEventLog"]

_KEY: Final = "hub/events"
_KEPT: Final = 100


@unique
class HubEvent(IntEnum):
    JOINED_HAN = 0x8183
    GSME_COMMAND_NOT_RETRIEVED = 0x819D
    CHF_DEVICE_LOG_CHANGED = 0x8F12
    FIRMWARE_VERIFICATION_FAILED = 0x8F1C
    NO_AUTHORITY = 0x8F30
    FIRMWARE_VERIFIED = 0x8F72


_SECURITY: Final = frozenset(
    {HubEvent.NO_AUTHORITY, HubEvent.FIRMWARE_VERIFIED, HubEvent.FIRMWARE_VERIFICATION_FAILED}
)


class HubEventLog:
    """Writes through to NVM; the caller commits."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        stored = nvm.get(_KEY)
        rows = [
            EventRow(log=EventLogId(log), time_s=time_s, code=code, data=data)
            for log, time_s, code, data in (cbor2.loads(stored) if stored else ())
        ]
        self._rings = {
            log: deque((row for row in rows if row.log is log), maxlen=_KEPT)
            for log in (EventLogId.GENERAL_EVENT_LOG, EventLogId.SECURITY_EVENT_LOG)
        }

    def record(self, code: HubEvent, *, time_s: int, data: bytes = b"") -> EventRow:
        """`data`: 31 octets at most."""
        log = EventLogId.SECURITY_EVENT_LOG if code in _SECURITY else EventLogId.GENERAL_EVENT_LOG
        row = EventRow(log=log, time_s=time_s, code=code, data=data)
        self._rings[log].append(row)
        self._nvm.put(_KEY, cbor2.dumps([[int(r.log), r.time_s, r.code, r.data] for r in self.rows()]))
        return row

    def rows(self) -> list[EventRow]:
        """Both logs, each in the order of its logging."""
        return [row for ring in self._rings.values() for row in ring]
