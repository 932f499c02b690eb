"""The billing calendar and the billing data log.

A snapshot holds what SRV 4.4.2 and 4.4.3 return: the register, the TOU and block matrices, and the prepayment
registers, all at one instant. The log keeps 12 snapshots of changes of mode or tariff, 12 of the calendar,
and the last 10 payments of payment-based debt (SRV 4.4.4); the last five credits (4.4.5) are the account's.

Source: DUIS 5.4 (ElectricityBillingCalendar, GasBillingCalendar; ESMEBillingDataLogType,
PrepaymentOperationalDataType); SMETS1 (BillingDataLog). Times are UTC.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.account import Account
from smets1.devices.days import DAY_US, MINUTE_US, date_of_day, day_of_date, utc_day
from smets1.devices.metering import Registers
from smets1.devices.prepayment import PaymentMode
from smets1.devices.state import StateReader, pack_state
from smets1.errors import InputError

__all__ = [
    "BillingCalendar",
    "BillingDataLog",
    "BillingPeriod",
    "BillingSnapshot",
    "DebtPayment",
    "SnapshotCause",
    "snapshot",
]

_SNAPSHOTS_KEPT: Final = 12
_PAYMENTS_KEPT: Final = 10
_HEAD: Final = 15  # numbers of a snapshot before its matrices


@unique
class BillingPeriod(IntEnum):
    NONE = 0
    DAILY = 1
    WEEKLY = 2
    MONTHLY = 3
    QUARTERLY = 4
    SIX_MONTHLY = 5
    YEARLY = 6

    @property
    def months(self) -> int:
        return {
            BillingPeriod.MONTHLY: 1,
            BillingPeriod.QUARTERLY: 3,
            BillingPeriod.SIX_MONTHLY: 6,
            BillingPeriod.YEARLY: 12,
        }.get(self, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingCalendar:
    """When a billing period ends. Raises InputError for a day that not every month has."""

    period: BillingPeriod = BillingPeriod.NONE
    minute: int = 0  # of the UTC day
    weekday: int = 1  # 1 is Monday; WEEKLY
    day: int = 1  # 1..28; from MONTHLY on
    month: int = 1  # a month in which a period starts; from QUARTERLY on

    def __post_init__(self) -> None:
        good = 0 <= self.minute < 1440 and 1 <= self.weekday <= 7 and 1 <= self.day <= 28
        if not good or not 1 <= self.month <= 12:
            raise InputError("billing calendar: a minute, weekday, day (1..28) or month is out of range")

    def next_us(self, utc_us: int) -> int | None:
        """The first end of a period after an instant; None: no calendar."""
        if self.period is BillingPeriod.NONE:
            return None
        day = utc_day(utc_us - self.minute * MINUTE_US) + 1  # the first day whose time of day is still ahead
        return self._day_from(day) * DAY_US + self.minute * MINUTE_US

    def _day_from(self, day: int) -> int:
        if self.period is BillingPeriod.DAILY:
            return day
        if self.period is BillingPeriod.WEEKLY:
            return day + (self.weekday - 1 - (day + 3)) % 7
        date, step = date_of_day(day), self.period.months
        year, month = date.year, date.month
        if date.day > self.day:
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        ahead = (self.month - month) % step
        year, month = year + (month + ahead - 1) // 12, (month + ahead - 1) % 12 + 1
        return day_of_date(dt.date(year, month, self.day))

    def flat(self) -> list[int]:
        return [int(self.period), self.minute, self.weekday, self.day, self.month]


@unique
class SnapshotCause(IntEnum):
    MODE_CHANGE = 0
    TARIFF_CHANGE = 1
    BILLING_CALENDAR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSnapshot:
    """One entry of the billing data log. `quantity`: uWh or ul; energy in uWh; money in fine units."""

    utc_us: int
    cause: SnapshotCause
    quantity: int
    cost_fine: int
    balance_fine: int
    export_uwh: int = 0
    mode: PaymentMode = PaymentMode.CREDIT
    emergency_fine: int = 0
    accumulated_debt_fine: int = 0
    payment_debt_fine: int = 0
    time_debt_fine: tuple[int, int] = (0, 0)
    tou_uwh: tuple[int, ...] = ()
    block_uwh: tuple[tuple[int, ...], ...] = ()  # [block][tou]
    counters_uwh: tuple[int, ...] = ()

    def flat(self) -> list[int]:
        return [
            *(
                self.utc_us,
                int(self.cause),
                self.quantity,
                self.cost_fine,
                self.balance_fine,
                self.export_uwh,
            ),
            *(int(self.mode), self.emergency_fine, self.accumulated_debt_fine, self.payment_debt_fine),
            *self.time_debt_fine,
            *(len(self.tou_uwh), len(self.block_uwh), len(self.counters_uwh)),
            *self.tou_uwh,
            *(energy for row in self.block_uwh for energy in row),
            *self.counters_uwh,
        ]

    @classmethod
    def of_row(cls, row: list[int]) -> BillingSnapshot | None:
        """None where the row is not one that `flat` has made."""
        if len(row) < _HEAD or row[1] not in tuple(SnapshotCause) or row[6] not in tuple(PaymentMode):
            return None
        tous, blocks, counters = row[12:_HEAD]
        if min(tous, blocks, counters) < 0 or len(row) != _HEAD + tous * (1 + blocks) + counters:
            return None
        at = _HEAD + tous
        return cls(
            utc_us=row[0],
            cause=SnapshotCause(row[1]),
            quantity=row[2],
            cost_fine=row[3],
            balance_fine=row[4],
            export_uwh=row[5],
            mode=PaymentMode(row[6]),
            emergency_fine=row[7],
            accumulated_debt_fine=row[8],
            payment_debt_fine=row[9],
            time_debt_fine=(row[10], row[11]),
            tou_uwh=tuple(row[_HEAD:at]),
            block_uwh=tuple(tuple(row[at + b * tous : at + (b + 1) * tous]) for b in range(blocks)),
            counters_uwh=tuple(row[len(row) - counters :]),
        )


def snapshot(cause: SnapshotCause, registers: Registers, account: Account, *, utc_us: int) -> BillingSnapshot:
    """Everything as it stands."""
    return BillingSnapshot(
        utc_us=utc_us,
        cause=cause,
        quantity=registers.quantity,
        cost_fine=registers.cost_fine,
        balance_fine=account.balance_fine,
        export_uwh=registers.export_uwh,
        mode=account.mode,
        emergency_fine=account.emergency_fine,
        accumulated_debt_fine=account.accumulated_debt_fine,
        payment_debt_fine=account.payment_debt_fine,
        time_debt_fine=(account.time_debt_fine[0], account.time_debt_fine[1]),
        tou_uwh=tuple(registers.tou_uwh),
        block_uwh=tuple(tuple(row) for row in registers.block_uwh),
        counters_uwh=tuple(registers.counters_uwh),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtPayment:
    """What a top-up has paid off of the payment-based debt."""

    utc_us: int
    amount_fine: int


class BillingDataLog:
    def __init__(self) -> None:
        self.calendar = BillingCalendar()
        self.next_us: int | None = None  # when the period that runs ends
        self.changes: deque[BillingSnapshot] = deque(maxlen=_SNAPSHOTS_KEPT)
        self.periods: deque[BillingSnapshot] = deque(maxlen=_SNAPSHOTS_KEPT)
        self.payments: deque[DebtPayment] = deque(maxlen=_PAYMENTS_KEPT)
        self._packed: bytes | None = None

    def set_calendar(self, calendar: BillingCalendar, *, utc_us: int) -> None:
        """SRV 6.8."""
        self.calendar, self._packed = calendar, None
        self.next_us = calendar.next_us(utc_us)

    def is_due(self, utc_us: int) -> bool:
        return self.next_us is not None and utc_us >= self.next_us

    def take(self, entry: BillingSnapshot) -> None:
        self._packed = None
        if entry.cause is not SnapshotCause.BILLING_CALENDAR:
            self.changes.append(entry)
            return
        self.periods.append(entry)
        self.next_us = self.calendar.next_us(entry.utc_us)

    def pay(self, payment: DebtPayment) -> None:
        self._packed = None
        self.payments.append(payment)

    def on_clock_set(self, *, utc_us: int) -> None:
        """Set forward past its end, a period ends at once; set back, it is not ended a second time."""
        if self.next_us is not None and self.next_us > utc_us:
            last_us = self.periods[-1].utc_us if self.periods else utc_us
            self.next_us = self.calendar.next_us(max(utc_us, last_us))
            self._packed = None

    def encode(self) -> bytes:
        if self._packed is None:
            self._packed = pack_state(
                "billing",
                1,
                {
                    "calendar": self.calendar.flat(),
                    "next_us": self.next_us,
                    "changes": [entry.flat() for entry in self.changes],
                    "periods": [entry.flat() for entry in self.periods],
                    "payments": [(p.utc_us, p.amount_fine) for p in self.payments],
                },
            )
        return self._packed

    @classmethod
    def decode(cls, octets: bytes) -> BillingDataLog:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="billing", versions=(1,))
        log = cls()
        period, minute, weekday, day, month = reader.wholes("calendar", 5)
        try:
            log.calendar = BillingCalendar(
                period=BillingPeriod(period), minute=minute, weekday=weekday, day=day, month=month
            )
        except (InputError, ValueError) as error:
            raise reader.bad("calendar", str(error)) from None
        log.next_us = reader.whole_or_none("next_us")
        for name, ring in (("changes", log.changes), ("periods", log.periods)):
            for row in reader.rows(name):
                entry = BillingSnapshot.of_row(row)
                if entry is None:
                    raise reader.bad(name, "has a row that is no snapshot")
                ring.append(entry)
        log.payments.extend(DebtPayment(utc_us=u, amount_fine=a) for u, a in reader.rows("payments", 2))
        return log
