"""Alerts on their way out of a meter: gated, numbered, kept in NVM until the hub has taken them.

    logged -> AlertGate (how often) -> AlertQueue (NVM) -> PublishEvent -> hub acknowledges -> forgotten

A number is never given twice, so that an alert whose acknowledgement was lost, and that is sent again, is
told to nobody twice. Where the hub is away for long the oldest alerts fall out: they stand in the log.

Source: SE 1.2 07-5356-19, D.12 (Events); which events go out is ours (an assumption).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from smets1.devices.alerts import Alert, AlertGate
from smets1.devices.event_log import SECURITY_CODES, AlertCode, LogEntry
from smets1.devices.state import StateReader, pack_state
from smets1.errors import DecodeError
from smets1.firmware.alert_data import AlertData
from smets1.firmware.civil import zigbee_s
from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.clusters.events import EventLogId

__all__ = ["LOG_ONLY", "MAX_PENDING", "AlertQueue"]

MAX_PENDING: Final = 100
LOG_ONLY: Final = frozenset(
    {
        AlertCode.DEBT_COLLECTED_TIME_1,
        AlertCode.DEBT_COLLECTED_TIME_2,
        AlertCode.DEBT_COLLECTED_PAYMENT,
        AlertCode.JOINED_HAN,
        AlertCode.COMMISSIONED,
        AlertCode.CREDENTIALS_UPDATED,
    }
)
"""What happens by itself every hour or day is not worth an alert; of a joining the hub tells, and of a new
key the status push."""

_KEY: Final = "alerts"
_TO_WAN: Final = 0x02  # EventControl: report to the WAN


class AlertQueue:
    """One meter's. Every change is put to NVM; the shell commits with the log that it belongs to."""

    def __init__(self, nvm: Nvm) -> None:
        """Raises DecodeError for a damaged record."""
        self._nvm = nvm
        self._gate = AlertGate(muted=LOG_ONLY)
        self._next_number = 1
        self._pending: deque[tuple[int, Alert]] = deque(maxlen=MAX_PENDING)
        stored = nvm.get(_KEY)
        if stored is not None:
            self._decode(stored)

    def __len__(self) -> int:
        return len(self._pending)

    def offer(self, entries: Iterable[LogEntry], *, utc_us: int) -> None:
        """What was logged: the gate lets through what goes out."""
        for entry in entries:
            self._add(self._gate.offer(entry, utc_us=utc_us))

    def on_timer(self, *, utc_us: int) -> None:
        """A window of the gate may be over."""
        self._add(self._gate.on_timer(utc_us=utc_us))

    def next_timer_us(self) -> int | None:
        return self._gate.next_timer_us()

    def _add(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            self._pending.append((self._next_number, alert))
            self._next_number += 1
        if alerts:
            self._put()

    def first(self) -> tuple[int, dict[str, Any]] | None:
        """(number, fields of PublishEvent) of the oldest; None: nothing waits."""
        if not self._pending:
            return None
        number, alert = self._pending[0]
        return number, self._fields(number, alert)

    def own_event(self, code: int, *, utc_us: int) -> dict[str, Any]:
        """Fields of an event that is said once and not kept; its number is used up."""
        number, self._next_number = self._next_number, self._next_number + 1
        self._put()
        return self._fields(number, Alert(entry=LogEntry(utc_us=utc_us, code=code)))

    @staticmethod
    def _fields(number: int, alert: Alert) -> dict[str, Any]:
        entry = alert.entry
        is_security = entry.code in SECURITY_CODES
        data = AlertData(number=number, throttled_count=alert.throttled_count, detail=entry.detail)
        return {
            "log_id": EventLogId.SECURITY_EVENT_LOG if is_security else EventLogId.GENERAL_EVENT_LOG,
            "event_id": entry.code,
            "event_time": max(0, zigbee_s(entry.utc_us)),
            "event_control": _TO_WAN,
            "event_data": data.encode(),
        }

    def acknowledge(self, number: int) -> None:
        """The hub has it, durably."""
        if self._pending and self._pending[0][0] == number:
            self._pending.popleft()
            self._put()

    def _put(self) -> None:
        entries = [(number, alert.entry, alert.throttled_count) for number, alert in self._pending]
        self._nvm.put(
            _KEY,
            pack_state(
                "alerts",
                1,
                {
                    "next": self._next_number,
                    "rows": [(number, e.utc_us, e.code, count) for number, e, count in entries],
                    "details": [e.detail for _, e, _ in entries],
                },
            ),
        )

    def _decode(self, octets: bytes) -> None:
        reader = StateReader(octets, kind="alerts", versions=(1,))
        self._next_number = reader.whole("next", 1)
        rows, details = reader.rows("rows", 4), reader.items("details")
        if len(rows) != len(details):
            raise DecodeError("NVM", 0, "alerts.details do not fit the rows")
        for (number, utc_us, code, count), detail in zip(rows, details, strict=True):
            entry = LogEntry(utc_us=utc_us, code=code, detail=str(detail))
            self._pending.append((number, Alert(entry=entry, throttled_count=count)))
