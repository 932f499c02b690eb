"""The power event log: outages and voltage out of order, the last 100.

Source: SMETS1 (Power Event Log), DUIS 5.4 service 6.13 (LogToRead PowerEvent); GBCS table 16.2 (0x8F35
outage restored, 0x8F36 where it lasted 3 minutes or more).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import MINUTE_US
from smets1.devices.event_log import LOG_ENTRIES, AlertCode
from smets1.devices.state import StateReader, pack_state
from smets1.devices.voltage import VoltageEvent

__all__ = ["LONG_OUTAGE_US", "PowerEvent", "PowerEventKind", "PowerEventLog", "outage_code"]

LONG_OUTAGE_US: Final = 3 * MINUTE_US


@unique
class PowerEventKind(IntEnum):
    """0 and 1 are outages; 2 + 2 x Excursion (+ 1 at its end) are voltages."""

    OUTAGE_BEGIN = 0
    OUTAGE_END = 1
    AVERAGE_OVER_BEGIN = 2
    AVERAGE_OVER_END = 3
    AVERAGE_UNDER_BEGIN = 4
    AVERAGE_UNDER_END = 5
    EXTREME_OVER_BEGIN = 6
    EXTREME_OVER_END = 7
    EXTREME_UNDER_BEGIN = 8
    EXTREME_UNDER_END = 9
    SAG_BEGIN = 10
    SAG_END = 11
    SWELL_BEGIN = 12
    SWELL_END = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerEvent:
    utc_us: int
    kind: PowerEventKind
    mv: int = 0


def outage_code(span_us: int) -> AlertCode:
    """What is told at the end of an outage."""
    return AlertCode.OUTAGE_RESTORED_LONG if span_us >= LONG_OUTAGE_US else AlertCode.OUTAGE_RESTORED


class PowerEventLog:
    def __init__(self) -> None:
        self.entries: deque[PowerEvent] = deque(maxlen=LOG_ENTRIES)

    def outage(self, start_us: int, end_us: int) -> None:
        self.entries.append(PowerEvent(utc_us=start_us, kind=PowerEventKind.OUTAGE_BEGIN))
        self.entries.append(PowerEvent(utc_us=end_us, kind=PowerEventKind.OUTAGE_END))

    def voltage(self, event: VoltageEvent) -> PowerEvent:
        kind = PowerEventKind(2 + 2 * event.kind + (not event.is_begin))
        entry = PowerEvent(utc_us=event.utc_us, kind=kind, mv=event.mv)
        self.entries.append(entry)
        return entry

    def encode(self) -> bytes:
        rows = [(e.utc_us, int(e.kind), e.mv) for e in self.entries]
        return pack_state("power_log", 1, {"rows": rows})

    @classmethod
    def decode(cls, octets: bytes) -> PowerEventLog:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="power_log", versions=(1,))
        log = cls()
        for utc_us, kind, mv in reader.rows("rows", 3):
            if not 0 <= kind < len(PowerEventKind):
                raise reader.bad("rows", "have an unknown kind")
            log.entries.append(PowerEvent(utc_us=utc_us, kind=PowerEventKind(kind), mv=mv))
        return log
