"""What the world outside a meter knows of its money, kept beside it: the state machine of money_machine.py judges by it.

Its reckoning of friendly hours, grace, midnights and modes is its own, not the meter's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.devices.supplier import START_US

from smets1.devices.account import GRACE_US
from smets1.devices.changes import PaymentModeChange
from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.prepayment import (
    DebtPeriod,
    DebtRate,
    FriendlyHours,
    NonDisablementCalendar,
    PaymentMode,
    PrepaymentConfig,
)
from smets1.devices.tariff import fine

POUND = 100_000
OPENING_MP = 4 * POUND
CONFIG = PrepaymentConfig(
    max_meter_balance_mp=60 * POUND,
    debt_rates=(DebtRate(rate_mp=700, period=DebtPeriod.HOURLY), DebtRate(rate_mp=9000)),
    debt_per_payment_bp=1500,
    debt_rate_cap_mp=3 * POUND,
)
NIGHTS = NonDisablementCalendar(
    hours=(FriendlyHours(weekdays=tuple(range(7)), start_minute=0, end_minute=10 * 60),)
)
SOME_DAYS = NonDisablementCalendar(special_days=(START_US // DAY_US + 1, START_US // DAY_US + 2))


@dataclass(frozen=True, slots=True)
class Cut:
    """Power goes in an act: before or after its commit; in the house (the load stops too) or in the program."""

    is_written: bool
    is_house: bool


@dataclass(slots=True)
class Ledger:
    """What must be so. Money in fine units."""

    config: PrepaymentConfig = CONFIG
    mode: PaymentMode = PaymentMode.PREPAYMENT
    waiting: tuple[int, PaymentModeChange] | None = None  # a change of mode, and when it is due
    grace_until_us: int = 0
    paid_fine: int = fine(OPENING_MP)
    debts_fine: int = 0
    credited: dict[int, int] = field(default_factory=dict)  # counter -> amount_mp
    codes: set[int] = field(default_factory=set)  # counters of supply and engineering codes
    lived_to_us: int = START_US
    is_retained: bool = False  # what was left was given back: no standing charge until credit comes
    free_midnights: int = 0

    def live(self, to_us: int) -> None:
        if self.waiting is not None and self.waiting[0] <= to_us:
            due_us, change = self.waiting
            self.waiting = None
            self._pass_to(due_us)
            self.change_mode(change, utc_us=due_us)
        self._pass_to(to_us)

    def _pass_to(self, to_us: int) -> None:
        """The midnights on the way were before what happens now."""
        to_us = max(self.lived_to_us, to_us)
        if self.is_retained:
            self.free_midnights += to_us // DAY_US - self.lived_to_us // DAY_US
        self.lived_to_us = to_us

    def change_mode(self, change: PaymentModeChange, *, utc_us: int) -> None:
        self.config = change.apply(self.config)
        if change.mode is not self.mode:
            self.is_retained = False
        if change.mode is PaymentMode.PREPAYMENT and self.mode is PaymentMode.CREDIT:
            self.grace_until_us = utc_us + GRACE_US
        self.mode = change.mode

    def is_held(self, utc_us: int) -> bool:
        """Whether supply may be on without credit."""
        is_night = self.config.calendar == NIGHTS and utc_us % DAY_US < 10 * HOUR_US
        is_day = self.config.calendar == SOME_DAYS and utc_us // DAY_US in SOME_DAYS.special_days
        return utc_us < self.grace_until_us or is_night or is_day

    def can_be_held(self, utc_us: int) -> bool:
        """Now, or without further orders at any time to come."""
        return self.config.calendar != NonDisablementCalendar() or utc_us < self.grace_until_us

    @property
    def midnights(self) -> int:
        """Those that had a standing charge."""
        return self.lived_to_us // DAY_US - START_US // DAY_US - self.free_midnights
