"""The event log and the security log: the last 100 entries of each, with the codes in use.

Source: the alert and event codes that the DCC's documents name (DUIS 5.4, GBCS table 16.2, Uplift 1.2).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.state import StateReader, pack_state

__all__ = ["LOG_ENTRIES", "SECURITY_CODES", "AlertCode", "EventLog", "LogEntry"]

LOG_ENTRIES: Final = 100


@unique
class AlertCode(IntEnum):
    """Alert and event codes."""

    CREDIT_BELOW_LOW_THRESHOLD = 0x810D
    CREDIT_ADDED_LOCALLY = 0x810E
    EMERGENCY_CREDIT_AVAILABLE = 0x8119
    SUPPLY_DISABLED_THEN_ARMED = 0x8168  # by emergency credit
    JOINED_HAN = 0x8183
    GSME_COMMAND_NOT_RETRIEVED = 0x819D
    DEBT_COLLECTED_TIME_1 = 0x81A7  # which of the three codes is which register: our reading
    DEBT_COLLECTED_TIME_2 = 0x81A8
    DEBT_COLLECTED_PAYMENT = 0x81A9
    EMERGENCY_CREDIT_EXHAUSTED = 0x81AA
    EMERGENCY_CREDIT_ACTIVATED = 0x81AB
    DISABLED_AND_LOCKED = 0x81BE
    DISABLED_THEN_ARMED_UNCONTROLLED_FLOW = 0x81BF
    MANUAL_ENTRY_SUSPENDED = 0x81C4
    ENTRY_REFUSED_LOCKED_OUT = 0x81C5
    BILLING_LOG_UPDATED = 0x8F0A
    CREDIT_BELOW_DISABLEMENT_THRESHOLD = 0x8F0F
    CHF_DEVICE_LOG_CHANGED = 0x8F12
    FIRMWARE_VERIFICATION_FAILED = 0x8F1C
    GSME_POWER_LOSS = 0x8F1D
    LOW_BATTERY = 0x8F1F
    NO_AUTHORITY = 0x8F30
    SUPPLY_ARMED = 0x8F32
    LOAD_LIMIT_EXCEEDED = 0x8F33
    LOAD_LIMIT_RESTORED = 0x8F34
    OUTAGE_RESTORED = 0x8F35
    OUTAGE_RESTORED_LONG = 0x8F36  # three minutes or more
    TRUSTED_SOURCE_AUTHENTICATION_FAILURE = 0x8F3D
    UNAUTHORISED_ACCESS = 0x8F3E
    TAMPER = 0x8F3F
    TOP_UP_ABOVE_MAX_BALANCE = 0x8F47
    TOP_UP_DUPLICATE = 0x8F51
    EVENT_LOG_CLEARED = 0x8F52
    TOP_UP_ABOVE_MAX_CREDIT = 0x8F5B
    MALFORMED_COMMANDS = 0x8F60
    TOP_UP_NOT_AUTHENTIC = 0x8F63
    TOP_UP_NOT_FOR_THIS_DEVICE = 0x8F64
    FUTURE_COMMAND_EXECUTED = 0x8F66
    FUTURE_COMMAND_FAILED = 0x8F67
    COMMISSIONED = 0x8F69
    CREDENTIALS_UPDATED = 0x8F70
    FIRMWARE_VERIFIED = 0x8F72
    BATTERY_COVER_REMOVED = 0x8F73  # which of 0x8F73 to 0x8F78 is which: our reading
    METER_COVER_REMOVED = 0x8F74
    STRONG_MAGNETIC_FIELD = 0x8F75
    TERMINAL_COVER_REMOVED = 0x8F76
    SECOND_TERMINAL_COVER_REMOVED = 0x8F77
    OTHER_PHYSICAL_ACCESS = 0x8F78
    DISABLEMENT_SUSPENDED = 0x8F83


SECURITY_CODES: Final = frozenset(
    {
        AlertCode.NO_AUTHORITY,
        AlertCode.TRUSTED_SOURCE_AUTHENTICATION_FAILURE,
        AlertCode.UNAUTHORISED_ACCESS,
        AlertCode.TAMPER,
        AlertCode.EVENT_LOG_CLEARED,
        AlertCode.MALFORMED_COMMANDS,
        AlertCode.TOP_UP_NOT_AUTHENTIC,
        AlertCode.FIRMWARE_VERIFICATION_FAILED,
        AlertCode.FIRMWARE_VERIFIED,
        AlertCode.CREDENTIALS_UPDATED,
        AlertCode.DISABLED_AND_LOCKED,
        AlertCode.BATTERY_COVER_REMOVED,
        AlertCode.METER_COVER_REMOVED,
        AlertCode.STRONG_MAGNETIC_FIELD,
        AlertCode.TERMINAL_COVER_REMOVED,
        AlertCode.SECOND_TERMINAL_COVER_REMOVED,
        AlertCode.OTHER_PHYSICAL_ACCESS,
    }
)
"""What goes to the security log; all else goes to the event log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    utc_us: int
    code: int  # an AlertCode, or a maker's own
    detail: str = ""  # one line for a person; never a key or a token in full


class EventLog:
    """Two rings of 100. `record` chooses the ring by the code."""

    def __init__(self) -> None:
        self.events: deque[LogEntry] = deque(maxlen=LOG_ENTRIES)
        self.security: deque[LogEntry] = deque(maxlen=LOG_ENTRIES)

    def record(self, code: int, *, utc_us: int, detail: str = "") -> LogEntry:
        entry = LogEntry(utc_us=utc_us, code=code, detail=detail)
        (self.security if code in SECURITY_CODES else self.events).append(entry)
        return entry

    def clear_events(self, *, utc_us: int) -> LogEntry:
        """SRV 3.3: the event log alone; that it was done goes to the security log."""
        self.events.clear()
        return self.record(AlertCode.EVENT_LOG_CLEARED, utc_us=utc_us)

    def encode(self) -> bytes:
        return pack_state(
            "event_log",
            1,
            {
                f"{name}_{part}": [getattr(entry, part) for entry in ring]
                for name, ring in (("events", self.events), ("security", self.security))
                for part in ("utc_us", "code", "detail")
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> EventLog:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="event_log", versions=(1,))
        log = cls()
        for name, ring in (("events", log.events), ("security", log.security)):
            times = reader.wholes(f"{name}_utc_us")
            codes = reader.wholes(f"{name}_code", len(times))
            details = reader.items(f"{name}_detail")
            if len(details) != len(times):
                raise reader.bad(f"{name}_detail", f"has not {len(times)} texts")
            for utc_us, code, detail in zip(times, codes, details, strict=True):
                ring.append(LogEntry(utc_us=utc_us, code=code, detail=str(detail)))
        return log
