"""A meter's Prepayment cluster as a supplier commands it: balance, mode, limits, debts, friendly hours.

All of it comes inside Critical Instructions. What one service request changes by several commands counts
with the last of them (**assumption**): EmergencyCreditSetup puts the limits, the debt cap and the calendar in
force that came before it, at its start time; the ChangeDebt of the payment-based debt those of both
time-based ones. A start time of 0 is now, 0xFFFFFFFF withdraws what waits in the meter.

Electricity's non-disablement rules have no equal among SE's calendars: PublishDisablementRules of our own
DeviceInformation cluster. Gas has a friendly credit calendar: actions 1 start, 0 stop (**assumption**).

Source: SE 1.2 07-5356-19, D.7.2.3; DUIS 5.4, services 1.5, 1.6, 2.1, 2.3, 4.13.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from smets1.devices.account import CreditRefusal
from smets1.devices.account_attributes import bind_account_attributes
from smets1.devices.changes import PaymentModeChange, PrepaymentChange
from smets1.devices.display import ACCOUNT_STATE
from smets1.devices.meter_clusters import ENDPOINT, MeterClusters, due_us, require_sua
from smets1.devices.prepayment import (
    DebtPeriod,
    DebtRate,
    DisablementRule,
    NonDisablementCalendar,
    PaymentMode,
)
from smets1.devices.publication import Publication, Shelf, Shelves
from smets1.devices.published_tariff import special_day, switching_of
from smets1.devices.schedule import FutureKind
from smets1.errors import InputError, RefusedError
from smets1.firmware.civil import CivilClock
from smets1.firmware.zcl.clusters.prepayment import CreditAdjustmentType, PaymentControl
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Status
from smets1.firmware.zcl.types import ZclDate

__all__ = ["PrepaymentClusters"]

_WITHDRAW: Final = 0xFFFFFFFF
_UNCHANGED_CUT_OFF: Final = 0x7FFFFFFF
_NO_CAP: Final = 0x7FFFFFFF
_RULES: Final = "publish_disablement_rules"
_MAX: Final = "set_maximum_credit_limit"
_LOW: Final = "set_low_credit_warning_level"
_CAP: Final = "set_overall_debt_cap"
_HOURLY, _DAILY = 0, 1  # DebtRecoveryFrequency
_BY_TIME, _BY_PERCENTAGE = 0, 1  # DebtRecoveryMethod
_ABSOLUTE: Final = {0: 0, 2: 1, 4: 2}  # DebtAmountType "absolute" of debts 1, 2, 3 -> place


class PrepaymentClusters:
    """Binds one meter core to the commands of a supplier, beside `MeterClusters`."""

    def __init__(self, core: ZclCore, clusters: MeterClusters, civil: CivilClock) -> None:
        self._clusters = clusters
        self._civil = civil
        self._meter = clusters.meter
        cluster = clusters.prepayment
        for name, handler in (
            ("credit_adjustment", self._adjust),
            ("change_payment_mode", self._change_mode),
            (_MAX, self._gather(_MAX)),
            (_LOW, self._gather(_LOW)),
            (_CAP, self._gather(_CAP)),
            ("emergency_credit_setup", self._set_up),
            ("change_debt", self._change_debt),
        ):
            clusters.obey(cluster, name, handler)
        information = core.obtain_server(ENDPOINT, "device_information")
        clusters.obey(information, _RULES, self._take_rules)
        information.handle("get_disablement_rules", self._get_rules)
        self._bind_debts()
        bind_account_attributes(clusters)

    @property
    def _shelves(self) -> Shelves:
        return self._meter.shelves

    # --- balance and mode ---------------------------------------------------------------------------

    def _adjust(self, fields: Values, context: CommandContext) -> Answer:
        """1.5. An absolute value of nought is a reset."""
        require_sua(context)
        value, now_us = fields["credit_adjustment_value"], self._civil.utc_us()
        is_absolute = fields["credit_adjustment_type"] == CreditAdjustmentType.CREDIT_ABSOLUTE
        refusal: CreditRefusal | None = None
        if is_absolute and value == 0:
            self._meter.reset_balance(utc_us=now_us)
        else:
            balance_mp = self._clusters.present().account.balance_mp
            refusal = self._meter.adjust_balance(value - balance_mp if is_absolute else value, utc_us=now_us)
        if refusal is not None:
            raise RefusedError(Status.INVALID_VALUE, f"balance: {refusal.name.lower()}")
        self._clusters.prepayment.touch(*ACCOUNT_STATE)
        return Status.SUCCESS

    def _change_mode(self, fields: Values, context: CommandContext) -> Answer:
        """1.6, and what it says of debts and disablement."""
        require_sua(context)
        start_s, now_us = fields["implementation_date_time"], self._civil.utc_us()
        control, cut_off_mp = fields["proposed_payment_control_configuration"], fields["cut_off_value"]
        if start_s == _WITHDRAW:
            self._meter.future.cancel(FutureKind.PAYMENT_MODE)
            return self._mode_response()
        change = PaymentModeChange(mode=PaymentMode.CREDIT)
        if control & PaymentControl.PREPAYMENT:
            change = PaymentModeChange(
                mode=PaymentMode.PREPAYMENT,
                suspend_debt_disabled=bool(control & PaymentControl.SUSPEND_DEBT_DISABLED),
                suspend_debt_emergency=not control & PaymentControl.COLLECT_DEBT_IN_EMERGENCY,
                disablement_threshold_mp=(
                    self._meter.account.config.disablement_threshold_mp
                    if cut_off_mp == _UNCHANGED_CUT_OFF
                    else cut_off_mp
                ),
            )
        due = due_us(start_s, utc_us=now_us)
        if due is None:
            self._meter.change_payment_mode(change, utc_us=now_us)
            self._clusters.prepayment.touch(*ACCOUNT_STATE)
        else:
            self._clusters.schedule(
                FutureKind.PAYMENT_MODE, due, change.encode(), issuer_id=fields["issuer_event_id"]
            )
        return self._mode_response()

    def _mode_response(self) -> Answer:
        config = self._meter.account.config
        return reply(
            "change_payment_mode_response",
            friendly_credit=int(config.calendar != NonDisablementCalendar()),
            friendly_credit_calendar_id=0,
            emergency_credit_limit=config.emergency_credit_limit_mp,
            emergency_credit_threshold=max(config.emergency_credit_threshold_mp, 0),
        )

    # --- limits and the non-disablement calendar -----------------------------------------------------

    def _gather(self, name: str) -> Any:
        def take(fields: Values, context: CommandContext) -> Answer:
            require_sua(context)
            gathered = self._shelves.get(Shelf.NEW_PREPAYMENT) or Publication()
            self._shelves.put(Shelf.NEW_PREPAYMENT, gathered.put(name, fields))
            return Status.SUCCESS

        return take

    def _take_rules(self, fields: Values, context: CommandContext) -> Answer:
        """The first command of 2.1 for electricity."""
        require_sua(context)
        self._shelves.put(Shelf.NEW_PREPAYMENT, Publication().put(_RULES, fields))
        return Status.SUCCESS

    def _get_rules(self, fields: Values, context: CommandContext) -> Answer:
        self._clusters.present()
        published = self._shelves.get(Shelf.CALENDAR)
        values = published.values(_RULES) if published else None
        return Status.NOT_FOUND if values is None else reply("disablement_rules", **values)

    def _set_up(self, fields: Values, context: CommandContext) -> Answer:
        """The last command of 2.1."""
        require_sua(context)
        start_s, now_us = fields["start_time"], self._civil.utc_us()
        if start_s == _WITHDRAW:
            self._meter.future.cancel(FutureKind.PREPAYMENT)
            return Status.SUCCESS
        gathered = self._shelves.get(Shelf.NEW_PREPAYMENT) or Publication()
        self._shelves.clear(Shelf.NEW_PREPAYMENT)
        try:
            change = _change_of(gathered, fields)
            change.apply(self._clusters.present().account.config)
            due = due_us(start_s, utc_us=now_us)
            if due is None:
                self._meter.change_prepayment(change, utc_us=now_us)
            else:
                self._clusters.schedule(
                    FutureKind.PREPAYMENT, due, change.encode(), issuer_id=fields["issuer_event_id"]
                )
        except InputError as error:
            raise RefusedError(Status.INVALID_VALUE, str(error)) from None
        self._clusters.prepayment.touch(*ACCOUNT_STATE)
        return Status.SUCCESS

    # --- debts ----------------------------------------------------------------------------------------

    def _change_debt(self, fields: Values, context: CommandContext) -> Answer:
        """2.3: debts 1 and 2 by time wait for debt 3, by payment; then all three count."""
        require_sua(context)
        place = _ABSOLUTE.get(fields["debt_amount_type"])
        if place is None:
            raise RefusedError(Status.INVALID_FIELD, "only absolute amounts of debts 1 to 3")
        gathered = Publication() if place == 0 else self._shelves.get(Shelf.NEW_DEBTS) or Publication()
        gathered = gathered.put(f"change_debt/{place}", fields)
        debts = gathered.all_values("change_debt")
        if len({debt["issuer_event_id"] for debt in debts}) > 1:
            raise RefusedError(Status.NOT_FOUND, "the debts before it are another request's")
        if place < len(_ABSOLUTE) - 1:
            self._shelves.put(Shelf.NEW_DEBTS, gathered)
            return Status.SUCCESS
        self._shelves.clear(Shelf.NEW_DEBTS)
        if len(debts) < len(_ABSOLUTE):
            raise RefusedError(Status.NOT_FOUND, "the debts before it have not come")
        self._set_debts(debts)
        return Status.SUCCESS

    def _set_debts(self, debts: list[Values]) -> None:
        first, second, payment = debts
        now_us = self._civil.utc_us()
        try:
            config = replace(
                self._clusters.present().account.config,
                debt_rates=(_rate(first), _rate(second)),
                debt_per_payment_bp=payment["debt_recovery_balance_percentage"],
            )
        except InputError as error:
            raise RefusedError(Status.INVALID_VALUE, str(error)) from None
        self._meter.set_prepayment(config, utc_us=now_us)
        self._meter.set_debts(
            time_1_mp=first["debt_amount"],
            time_2_mp=second["debt_amount"],
            payment_mp=payment["debt_amount"],
            utc_us=now_us,
        )
        self._clusters.prepayment.touch("debt_amount_1", "debt_amount_2", "debt_amount_3")

    def _bind_debts(self) -> None:
        cluster, meter = self._clusters.prepayment, self._meter
        cluster.bind("overall_debt_cap", self._debt_cap)
        for place in (0, 1):
            number = place + 1
            cluster.set(f"debt_recovery_method_{number}", _BY_TIME)
            cluster.bind(f"debt_recovery_amount_{number}", self._rate_getter(place))
            cluster.bind(f"debt_recovery_frequency_{number}", self._period_getter(place))
        cluster.set("debt_recovery_method_3", _BY_PERCENTAGE)
        cluster.bind("debt_recovery_top_up_percentage_3", lambda: meter.account.config.debt_per_payment_bp)
        cluster.bind("total_credit_added", lambda: meter.account.total_added_mp)

    def _debt_cap(self) -> int:
        cap_mp = self._meter.account.config.debt_rate_cap_mp
        return _NO_CAP if cap_mp is None else min(cap_mp, _NO_CAP)

    def _rate_getter(self, place: int) -> Any:
        return lambda: self._meter.account.config.debt_rates[place].rate_mp

    def _period_getter(self, place: int) -> Any:
        def frequency() -> int:
            period = self._meter.account.config.debt_rates[place].period
            return _HOURLY if period is DebtPeriod.HOURLY else _DAILY

        return frequency


def _rate(debt: Values) -> DebtRate:
    """Raises RefusedError for another method than by time, hourly or daily."""
    if debt["debt_recovery_method"] != _BY_TIME or debt["debt_recovery_frequency"] not in (_HOURLY, _DAILY):
        raise RefusedError(Status.INVALID_FIELD, "a debt by time is recovered each hour or day")
    period = DebtPeriod.HOURLY if debt["debt_recovery_frequency"] == _HOURLY else DebtPeriod.DAILY
    return DebtRate(rate_mp=debt["debt_recovery_amount"], period=period)


def _change_of(gathered: Publication, setup: Values) -> PrepaymentChange:
    """What came with these ids. Raises InputError for a calendar that does not fit together."""
    limits = {
        "emergency_credit_limit_mp": setup["emergency_credit_limit"],
        "emergency_credit_threshold_mp": setup["emergency_credit_threshold"],
    }
    if any(
        values is not None and values["issuer_event_id"] != setup["issuer_event_id"]
        for values in (gathered.values(_MAX), gathered.values(_CAP))
    ):
        gathered = Publication()  # left over from a request that did not come to its end
    most, low, cap = gathered.values(_MAX), gathered.values(_LOW), gathered.values(_CAP)
    if most is not None:
        limits["max_meter_balance_mp"] = most["maximum_credit_level"]
        limits["max_credit_threshold_mp"] = most["maximum_credit_per_top_up"]
    if low is not None:
        limits["low_credit_threshold_mp"] = low["low_credit_warning_level"]
    if cap is not None:
        limits["debt_rate_cap_mp"] = cap["overall_debt_cap"]
    calendar, published = None, Publication()
    rules = gathered.values(_RULES)
    if rules is not None:
        calendar, published = _calendar_of(rules), Publication().put(_RULES, rules)
    elif gathered.values("publish_calendar") is not None:
        calendar = NonDisablementCalendar(table=switching_of(gathered))
        published = Publication(tuple(row for row in gathered.parts if row[0].startswith("publish_")))
    return PrepaymentChange(
        limits=tuple(limits.items()), calendar=calendar, published=published.encode() if calendar else b""
    )


def _calendar_of(published: Values) -> NonDisablementCalendar:
    return NonDisablementCalendar(
        rule_days=tuple(special_day(row["date"], profile=0) for row in published["days"]),
        rules=tuple(
            DisablementRule(
                minute=row["minute"],
                is_start=bool(row["is_start"]),
                weekdays=row["weekdays"],
                special_days=row["special_days"],
                first=_date(row["start_date"]),
                last=_date(row["end_date"]),
            )
            for row in published["rules"]
        ),
    )


def _date(date: ZclDate) -> tuple[int, int, int]:
    return (0 if date.year_1900 == 0xFF else date.year_1900 + 1900), date.month, date.day
