"""What a supplier configures of a prepayment account, as values: limits, debts, friendly hours.

Money in 1/1000 pence (mp). Source: SMETS1 configuration data items; DUIS 5.4 services 2.1 and 2.3;
ZigBee SE 1.2 Prepayment attribute 0x0000 with the values that real GB devices show.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from functools import lru_cache
from typing import Final

from smets1.devices.days import DAY_US, MINUTE_US, date_of_day, utc_day
from smets1.devices.state import StateReader, pack_state
from smets1.devices.tariff import NO_TABLE, SpecialDay, SwitchingTable
from smets1.errors import InputError
from smets1.firmware.zcl.clusters.prepayment import CREDIT_CONTROL, PREPAYMENT_CONTROL

__all__ = [
    "HARD_LIMIT_MP",
    "DebtPeriod",
    "DebtRate",
    "DisablementRule",
    "FriendlyHours",
    "NonDisablementCalendar",
    "PaymentMode",
    "PrepaymentConfig",
    "payment_control",
]

HARD_LIMIT_MP: Final = 2_147_400_000
"""21 474.00 pounds: the most credit that a Secure meter can hold (int32 of 1/1000 pence)."""
_LONGEST_RULE_DAYS: Final = 62


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
class DisablementRule:
    """At this minute of the days that it names, non-disablement starts or stops (electricity's calendar).

    A day is named by its weekday or by a special day, within the dates; where a rule names a special day of
    that date, only such rules count on it. Year 0 in both dates: each year, also over the new year.
    """

    minute: int  # of the UTC day
    is_start: bool
    weekdays: int  # bit 0 is Monday
    special_days: int  # bit 0 is the first of the calendar's rule_days
    first: tuple[int, int, int]  # year, month, day
    last: tuple[int, int, int]

    @classmethod
    def of_row(cls, row: list[int]) -> DisablementRule:
        """Ten numbers, in the order of the fields."""
        minute, is_start, weekdays, special_days, *dates = row
        return cls(
            minute=minute,
            is_start=bool(is_start),
            weekdays=weekdays,
            special_days=special_days,
            first=(dates[0], dates[1], dates[2]),
            last=(dates[3], dates[4], dates[5]),
        )

    def is_in_force(self, date: dt.date) -> bool:
        start, end = self.first[1:], self.last[1:]
        if self.first[0] or self.last[0]:
            shown = (date.year, date.month, date.day)
            return self.first <= shown <= self.last
        shown_day = (date.month, date.day)
        if start <= end:
            return start <= shown_day <= end
        return shown_day >= start or shown_day <= end


@dataclass(frozen=True, slots=True, kw_only=True)
class NonDisablementCalendar:
    """When supply is not cut for want of credit: any of its parts may say so.

    Weekly friendly hours, special days (days since 1970, UTC) that are friendly throughout; start and stop
    rules, as electricity meters are given them; a switching table of actions 0 (stop) and 1 (start), as gas
    meters are.
    """

    hours: tuple[FriendlyHours, ...] = ()
    special_days: tuple[int, ...] = ()
    rules: tuple[DisablementRule, ...] = ()
    rule_days: tuple[SpecialDay, ...] = ()
    table: SwitchingTable | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its parts are in range. (A switching table says itself what is wrong: InputError.)"""
        if self.table is not None:
            self.table.check(2)
        return all(0 <= h.start_minute < h.end_minute <= 1440 for h in self.hours) and all(
            0 <= rule.minute < 1440
            and 0 <= rule.special_days < 1 << len(self.rule_days)
            and (rule.first[0] == 0) == (rule.last[0] == 0)
            for rule in self.rules
        )

    def fields(self) -> dict[str, object]:
        """For a state record; `read` takes it back."""
        return {
            "hours": [(h.start_minute, h.end_minute, *h.weekdays) for h in self.hours],
            "special_days": list(self.special_days),
            "rules": [
                (rule.minute, int(rule.is_start), rule.weekdays, rule.special_days, *rule.first, *rule.last)
                for rule in self.rules
            ],
            "rule_days": [(d.year, d.month, d.day, d.weekday) for d in self.rule_days],
            **(self.table.fields() if self.table else NO_TABLE),
        }

    @classmethod
    def read(cls, reader: StateReader) -> NonDisablementCalendar:
        """Records of version 1 have hours and special days only. Raises DecodeError."""
        hours = reader.rows("hours")
        if any(len(row) < 2 for row in hours):
            raise reader.bad("hours", "is not a table")
        spans = (FriendlyHours(start_minute=h[0], end_minute=h[1], weekdays=tuple(h[2:])) for h in hours)
        calendar = cls(hours=tuple(spans), special_days=tuple(reader.wholes("special_days")))
        if reader.version == 1:
            return calendar
        days = (
            SpecialDay(year=y, month=m, day=d, profile=0, weekday=w)
            for y, m, d, w in reader.rows("rule_days", 4)
        )
        return replace(
            calendar,
            rules=tuple(DisablementRule.of_row(row) for row in reader.rows("rules", 10)),
            rule_days=tuple(days),
            table=SwitchingTable.read(reader),
        )

    def is_running(self, utc_us: int) -> bool:
        day = utc_day(utc_us)
        if day in self.special_days:
            return True
        minute, weekday = utc_us % DAY_US // MINUTE_US, (day + 3) % 7
        if any(h.start_minute <= minute < h.end_minute and weekday in h.weekdays for h in self.hours):
            return True
        if self.table is not None and self.table.tou_at(utc_us):
            return True
        return bool(self.rules) and self._is_started(day, minute)

    def _is_started(self, day: int, minute: int) -> bool:
        """What the latest rule before said; nothing for two months says stop."""
        for back in range(_LONGEST_RULE_DAYS):
            begun = [is_start for at, is_start in _switches(self, day - back) if back or at <= minute]
            if begun:
                return begun[-1]
        return False

    def switches_on(self, date: dt.date) -> tuple[tuple[int, bool], ...]:
        """(minute, starts) of the rules that count on a date, in order; at one minute the later rule wins."""
        falling = sum(1 << index for index, day in enumerate(self.rule_days) if day.falls_on(date))
        in_force = [rule for rule in self.rules if rule.is_in_force(date)]
        special = [rule for rule in in_force if rule.special_days & falling]
        weekday = 1 << date.weekday()
        counting = special or [rule for rule in in_force if rule.weekdays & weekday]
        return tuple(sorted({rule.minute: rule.is_start for rule in counting}.items()))

    def next_change_us(self, utc_us: int) -> int:
        """An instant after this one up to which nothing changes: a span's edge or the next midnight."""
        day = utc_day(utc_us)
        midnight_us = day * DAY_US
        edges = [minute for h in self.hours for minute in (h.start_minute, h.end_minute)]
        edges += [minute for minute, _ in _switches(self, day)] if self.rules else []
        later = [midnight_us + edge * MINUTE_US for edge in edges]
        if self.table is not None:
            later.append(self.table.next_switch_us(utc_us))
        return min((at for at in later if at > utc_us), default=midnight_us + DAY_US)


@lru_cache(maxsize=1024)
def _switches(calendar: NonDisablementCalendar, day: int) -> tuple[tuple[int, bool], ...]:
    return calendar.switches_on(date_of_day(day))


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
            (self.calendar.is_whole, "non-disablement calendar"),
        )
        for is_good, name in checks:
            if not is_good:
                raise InputError(f"prepayment: the {name} is out of range")

    def encode(self) -> bytes:
        return pack_state(
            "prepayment",
            2,
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
                **self.calendar.fields(),
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> PrepaymentConfig:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="prepayment", versions=(1, 2))
        low, limit, threshold, disablement, most, credit, per_payment = reader.wholes("limits", 7)
        rates = reader.rows("rates", 2)
        if len(rates) != 2 or any(period not in (0, 1) for _, period in rates):
            raise reader.bad("rates", "are not two")
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
                calendar=NonDisablementCalendar.read(reader),
            )
        except InputError as error:
            raise reader.bad("limits", str(error)) from None


def payment_control(mode: PaymentMode, config: PrepaymentConfig) -> int:
    """PaymentControlConfiguration (0x0705/0x0000), the values that real GB devices show."""
    if mode is PaymentMode.CREDIT:
        return CREDIT_CONTROL
    return PREPAYMENT_CONTROL[config.suspend_debt_emergency, config.suspend_debt_disabled]
