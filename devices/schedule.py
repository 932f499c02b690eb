"""Future-dated commands: kept in NVM, carried out by the meter at their own time, told afterwards.

One of each kind is pending: a later one replaces it, an empty one takes it back. What is carried out is told
as 0x8F66, what cannot be as 0x8F67; either way it is gone. The clock set forward past its time, or power
off at its time, a command is carried out at the next instant that the meter lives.

Source: GBCS table 16.2 (0x8F66, 0x8F67); DUIS 5.4 (FutureDatedAbstractType, services marked "Device" in the
service catalogue: tariff, price, mode, prepayment configuration, load limit, supply; the RestrictionDateTime
of a change of tenancy).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from smets1.devices.state import StateReader, pack_state

__all__ = ["FutureCommand", "FutureCommands", "FutureKind"]


@unique
class FutureKind(IntEnum):
    """What can be dated. The payload's form is that of the value's own `encode`, or one octet."""

    TARIFF = 0  # Publication.encode(), or Tariff.encode()
    PAYMENT_MODE = 1  # PaymentModeChange.encode()
    PREPAYMENT = 2  # PrepaymentChange.encode(), or PrepaymentConfig.encode()
    SUPPLY = 3  # one octet, SupplyState
    LOAD_LIMIT = 4  # LoadLimiter.encode() of a limiter with that limit
    TENANCY = 5  # empty
    PRICE = 6  # Publication.encode(), without a calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureCommand:
    kind: FutureKind
    due_us: int
    payload: bytes
    issuer_id: int = 0  # of the request, so that the alert can name it


class FutureCommands:
    def __init__(self) -> None:
        self.pending: dict[FutureKind, FutureCommand] = {}

    def put(self, command: FutureCommand) -> None:
        """Replaces a pending one of the same kind."""
        self.pending[command.kind] = command

    def cancel(self, kind: FutureKind) -> bool:
        """False where none was pending."""
        return self.pending.pop(kind, None) is not None

    def next_timer_us(self) -> int | None:
        return min((command.due_us for command in self.pending.values()), default=None)

    def take_due(self, *, utc_us: int) -> list[FutureCommand]:
        """In order of time, then of kind."""
        due = [command for command in self.pending.values() if command.due_us <= utc_us]
        due.sort(key=lambda command: (command.due_us, command.kind))
        for command in due:
            del self.pending[command.kind]
        return due

    def encode(self) -> bytes:
        commands = [self.pending[kind] for kind in FutureKind if kind in self.pending]
        return pack_state(
            "future",
            1,
            {
                "rows": [(int(c.kind), c.due_us, c.issuer_id) for c in commands],
                "payloads": [c.payload for c in commands],
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> FutureCommands:
        """Raises DecodeError. A payload is judged when it is carried out."""
        reader = StateReader(octets, kind="future", versions=(1,))
        commands = cls()
        rows, payloads = reader.rows("rows", 3), reader.items("payloads")
        if len(rows) != len(payloads):
            raise reader.bad("payloads", "do not fit the rows")
        for (kind, due_us, issuer_id), payload in zip(rows, payloads, strict=True):
            if kind not in tuple(FutureKind) or not isinstance(payload, bytes):
                raise reader.bad("rows", "have an unknown kind or payload")
            commands.put(
                FutureCommand(kind=FutureKind(kind), due_us=due_us, payload=payload, issuer_id=issuer_id)
            )
        return commands
