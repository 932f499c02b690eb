"""What a supplier configures of a prepayment account, as values: limits, debts, friendly hours.

Money in 1/1000 pence (mp). Source: SMETS1 configuration data items; DUIS 5.4 services 2.1 and 2.3;
ZigBee SE 1.2 Prepayment attribute 0x0000 with the values that real GB devices show.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import DAY_US, MINUTE_US, utc_day
from smets1.devices.state import StateReader, pack_state
from smets1.errors import InputError

__all__ = [
    "HARD_LIMIT_MP",
    "DebtPeriod",
    "DebtRate",
    "FriendlyHours",
    "NonDisablementCalendar",
    "PaymentMode",
    "PrepaymentConfig",
    "payment_control",
]

HARD_LIMIT_MP: Final = 2_147_400_000
"""21 474.00 pounds: the most credit that a Secure meter can hold (int32 of 1/1000 pence)."""


@unique
class PaymentMode(IntEnum):
    CREDIT = 0
    PREPAYMENT = 1


@unique
class DebtPeriod(IntEnum):
    """DUIS DebtRecoveryRatePeriod."""

    HOURLY = 0
    DAILY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtRate:
    """How fast one time-based debt register is paid off."""

    rate_mp: int = 0
    period: DebtPeriod = DebtPeriod.DAILY


@dataclass(frozen=True, slots=True, kw_only=True)
class FriendlyHours:
    """A span of the UTC day, on some weekdays, in which supply is not cut for want of credit.

    Minutes 0..1440, start before end; a night over midnight is two spans.
    """

    weekdays: tuple[int, ...]  # 0 is Monday
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NonDisablementCalendar:
    """Weekly friendly hours, and special days (days since 1970, UTC) that are friendly throughout."""

    hours: tuple[FriendlyHours, ...] = ()
    special_days: tuple[int, ...] = ()

    def is_running(self, utc_us: int) -> bool:
        day = utc_day(utc_us)
        if day in self.special_days:
            return True
        minute, weekday = utc_us % DAY_US // MINUTE_US, (day + 3) % 7
        return any(h.start_minute <= minute < h.end_minute and weekday in h.weekdays for h in self.hours)

    def next_change_us(self, utc_us: int) -> int:
        """An instant after this one up to which nothing changes: a span's edge or the next midnight."""
        midnight_us = utc_day(utc_us) * DAY_US
        edges = [minute for h in self.hours for minute in (h.start_minute, h.end_minute)]
        later = [midnight_us + edge * MINUTE_US for edge in edges]
        return min((at for at in later if at > utc_us), default=midnight_us + DAY_US)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepaymentConfig:
    """Raises InputError for a limit that a device would not take."""

    low_credit_threshold_mp: int = 200_000
    emergency_credit_limit_mp: int = 500_000
    emergency_credit_threshold_mp: int = 100_000
    disablement_threshold_mp: int = 0
    max_meter_balance_mp: int = HARD_LIMIT_MP
    max_credit_threshold_mp: int = 50_000_000
    debt_rates: tuple[DebtRate, DebtRate] = (DebtRate(), DebtRate())
    debt_per_payment_bp: int = 0  # 1/100 per cent of each top-up
    debt_rate_cap_mp: int | None = None  # most that top-ups may pay off in a week; None: no cap
    suspend_debt_disabled: bool = True
    suspend_debt_emergency: bool = True
    calendar: NonDisablementCalendar = NonDisablementCalendar()

    def __post_init__(self) -> None:
        checks = (
            (0 <= self.emergency_credit_limit_mp <= HARD_LIMIT_MP, "emergency credit limit"),
            (0 <= self.max_meter_balance_mp <= HARD_LIMIT_MP, "maximum meter balance"),
            (0 <= self.max_credit_threshold_mp <= HARD_LIMIT_MP, "maximum credit threshold"),
            (0 <= self.debt_per_payment_bp <= 10_000, "debt recovery per payment"),
            (self.debt_rate_cap_mp is None or self.debt_rate_cap_mp >= 0, "debt recovery rate cap"),
            (all(rate.rate_mp >= 0 for rate in self.debt_rates), "debt recovery rate"),
            (
                all(0 <= h.start_minute < h.end_minute <= 1440 for h in self.calendar.hours),
                "non-disablement calendar",
            ),
        )
        for is_good, name in checks:
            if not is_good:
                raise InputError(f"prepayment: the {name} is out of range")

    def encode(self) -> bytes:
        return pack_state(
            "prepayment",
            1,
            {
                "limits": [
                    self.low_credit_threshold_mp,
                    self.emergency_credit_limit_mp,
                    self.emergency_credit_threshold_mp,
                    self.disablement_threshold_mp,
                    self.max_meter_balance_mp,
                    self.max_credit_threshold_mp,
                    self.debt_per_payment_bp,
                ],
                "cap": self.debt_rate_cap_mp,
                "rates": [(rate.rate_mp, int(rate.period)) for rate in self.debt_rates],
                "suspend_disabled": self.suspend_debt_disabled,
                "suspend_emergency": self.suspend_debt_emergency,
                "hours": [(h.start_minute, h.end_minute, *h.weekdays) for h in self.calendar.hours],
                "special_days": list(self.calendar.special_days),
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> PrepaymentConfig:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="prepayment", versions=(1,))
        low, limit, threshold, disablement, most, credit, per_payment = reader.wholes("limits", 7)
        rates = reader.rows("rates", 2)
        hours = reader.rows("hours")
        if len(rates) != 2 or any(period not in (0, 1) for _, period in rates):
            raise reader.bad("rates", "are not two")
        if any(len(row) < 2 for row in hours):
            raise reader.bad("hours", "is not a table")
        spans = (FriendlyHours(start_minute=h[0], end_minute=h[1], weekdays=tuple(h[2:])) for h in hours)
        first, second = (DebtRate(rate_mp=rate, period=DebtPeriod(period)) for rate, period in rates)
        try:
            return cls(
                low_credit_threshold_mp=low,
                emergency_credit_limit_mp=limit,
                emergency_credit_threshold_mp=threshold,
                disablement_threshold_mp=disablement,
                max_meter_balance_mp=most,
                max_credit_threshold_mp=credit,
                debt_rates=(first, second),
                debt_per_payment_bp=per_payment,
                debt_rate_cap_mp=reader.whole_or_none("cap"),
                suspend_debt_disabled=reader.flag("suspend_disabled"),
                suspend_debt_emergency=reader.flag("suspend_emergency"),
                calendar=NonDisablementCalendar(
                    hours=tuple(spans), special_days=tuple(reader.wholes("special_days"))
                ),
            )
        except InputError as error:
            raise reader.bad("limits", str(error)) from None


def payment_control(mode: PaymentMode, config: PrepaymentConfig) -> int:
    """PaymentControlConfiguration (0x0705/0x0000), the values that real GB devices show."""
    if mode is PaymentMode.CREDIT:
        return 0x0C94
    suspensions = (config.suspend_debt_emergency, config.suspend_debt_disabled)
    return {(True, True): 0x0497, (True, False): 0x0097, (False, True): 0x0C97, (False, False): 0x0897}[
        suspensions
    ]
