"""A supplier's orders to an account: each whole or not at all, and the calendars of non-disablement."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.devices.supplier import START_US, Bench

from smets1.devices.changes import PaymentModeChange, PrepaymentChange
from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US
from smets1.devices.event_log import AlertCode
from smets1.devices.prepayment import (
    DebtPeriod,
    DebtRate,
    DisablementRule,
    NonDisablementCalendar,
    PaymentMode,
    PrepaymentConfig,
)
from smets1.devices.tariff import SpecialDay, SwitchingTable
from smets1.errors import DecodeError

NO_DAYS = "<SpecialDaysApplicability/><DaysOfWeekApplicability/>"
CONFIG = (
    "<UpdatePrepayConfiguration>{when}<UpdatePrepayConfigElectricity>"
    "<DebtRecoveryRateCap>30</DebtRecoveryRateCap><EmergencyCreditLimit>{limit}</EmergencyCreditLimit>"
    "<EmergencyCreditThreshold>100000</EmergencyCreditThreshold>"
    "<LowCreditThreshold>200000</LowCreditThreshold><ElectricityNonDisablementCalendar>"
    "<ElectricitySpecialDays/><ElectricityNonDisablementSchedule>"
    "<NonDisablementScript>START</NonDisablementScript>" + NO_DAYS + "<ScheduleDatesAndTime>"
    "<SwitchTime>18:00:00Z</SwitchTime><StartDate>65535-01-01Z</StartDate><EndDate>65535-12-31Z</EndDate>"
    "</ScheduleDatesAndTime></ElectricityNonDisablementSchedule></ElectricityNonDisablementCalendar>"
    "<MaxMeterBalance>{most}</MaxMeterBalance><MaxCreditThreshold>1000000</MaxCreditThreshold>"
    "</UpdatePrepayConfigElectricity></UpdatePrepayConfiguration>"
)
DEBT = (
    "<UpdateDebt><TimeDebtRegister1>{first}</TimeDebtRegister1><TimeDebtRegister2>15000</TimeDebtRegister2>"
    "<PaymentDebtRegister>50000</PaymentDebtRegister><DebtRecoveryPerPayment>1000</DebtRecoveryPerPayment>"
    "<ElecDebtRecovery1><DebtRecoveryRate>{rate}</DebtRecoveryRate>"
    "<DebtRecoveryRatePriceScale>{scale}</DebtRecoveryRatePriceScale>"
    "<DebtRecoveryRatePeriod>DAILY</DebtRecoveryRatePeriod></ElecDebtRecovery1>"
    "<ElecDebtRecovery2><DebtRecoveryRate>15</DebtRecoveryRate>"
    "<DebtRecoveryRatePriceScale>-4</DebtRecoveryRatePriceScale>"
    "<DebtRecoveryRatePeriod>HOURLY</DebtRecoveryRatePeriod></ElecDebtRecovery2></UpdateDebt>"
)
PREPAYMENT = (
    "<UpdatePaymentMode>{when}<Prepayment><SuspendDebtDisabled>true</SuspendDebtDisabled>"
    "<SuspendDebtEmergency>false</SuspendDebtEmergency><DisablementThreshold>-5000</DisablementThreshold>"
    "</Prepayment></UpdatePaymentMode>"
)


def config(*, when: str = "", limit: int = 300_000, most: int = 5_000_000) -> str:
    date = f"<ExecutionDateTime>{when}</ExecutionDateTime>" if when else ""
    return CONFIG.format(when=date, limit=limit, most=most)


def debt(*, first: int = 30_000, rate: int = 3, scale: int = -1) -> str:
    return DEBT.format(first=first, rate=rate, scale=scale)


def balance(mode: str, change: str) -> str:
    return f"<UpdateMeterBalance><{mode}>{change}</{mode}></UpdateMeterBalance>"


# --- balance and mode --------------------------------------------------------------------------------------


def test_the_balance_is_adjusted_or_reset_in_the_mode_that_the_supplier_means():
    bench = Bench()
    assert bench.ask(
        "1.5", balance("CreditMode", "<AdjustMeterBalance>70000</AdjustMeterBalance>")
    ).is_success
    assert bench.meter.account.balance_mp == 70_000
    other = bench.ask("1.5", balance("PrepaymentMode", "<ResetMeterBalance/>"))
    assert (other.is_success, other.debug[0].response_code) == (False, 0x93)
    assert bench.meter.account.balance_mp == 70_000
    assert bench.ask("1.5", balance("CreditMode", "<ResetMeterBalance/>")).is_success
    assert bench.meter.account.balance_mp == 0


def test_a_balance_above_the_most_that_a_meter_holds_is_refused():
    bench = Bench()
    assert bench.ask("2.1", config()).is_success
    much = balance("CreditMode", "<AdjustMeterBalance>5000001</AdjustMeterBalance>")
    outcome = bench.ask("1.5", much)
    assert (outcome.is_success, outcome.debug[0].response_code) == (False, 0x87)
    assert bench.meter.account.balance_mp == 0


def test_prepayment_comes_with_its_suspensions_and_disablement_threshold():
    bench = Bench()
    assert bench.ask("1.6", PREPAYMENT.format(when="")).is_success
    account = bench.meter.account
    assert account.mode is PaymentMode.PREPAYMENT
    assert (account.config.suspend_debt_disabled, account.config.suspend_debt_emergency) == (True, False)
    assert account.config.disablement_threshold_mp == -5_000
    assert bench.meter.supply.is_on  # a change of mode does not interrupt supply
    assert bench.ask("1.6", "<UpdatePaymentMode><Credit/></UpdatePaymentMode>").is_success
    assert bench.cut().meter.account.mode is PaymentMode.CREDIT


def test_a_future_mode_begins_at_its_time_and_is_withdrawn_by_the_year_3000():
    later = "<ExecutionDateTime>2024-03-01T12:00:00Z</ExecutionDateTime>"
    never = "<ExecutionDateTime>3000-12-31T00:00:00.00Z</ExecutionDateTime>"
    bench = Bench()
    assert bench.ask("1.6", PREPAYMENT.format(when=later)).is_success
    assert bench.ask("1.6", PREPAYMENT.format(when=never)).is_success
    assert bench.meter.future.pending == {}
    assert bench.ask("1.6", PREPAYMENT.format(when=later)).is_success
    bench = bench.cut()
    bench.meter.advance(START_US + 12 * HOUR_US - 1)
    assert bench.meter.account.mode is PaymentMode.CREDIT
    bench.meter.advance(START_US + 12 * HOUR_US)
    assert bench.meter.account.mode is PaymentMode.PREPAYMENT
    assert AlertCode.FUTURE_COMMAND_EXECUTED in [entry.code for entry in bench.meter.take_events()]


# --- limits ------------------------------------------------------------------------------------------------


def test_the_configuration_counts_with_its_last_command():
    bench = Bench()
    old = bench.meter.account.config
    seen = []

    def watch(number: int) -> Bench:
        seen.append(bench.meter.account.config == old)
        return bench

    assert bench.ask("2.1", config(), before=watch).is_success
    assert seen == [True] * 5
    new = bench.meter.account.config
    assert (new.emergency_credit_limit_mp, new.emergency_credit_threshold_mp) == (300_000, 100_000)
    assert (new.low_credit_threshold_mp, new.debt_rate_cap_mp) == (200_000, 30)
    assert (new.max_meter_balance_mp, new.max_credit_threshold_mp) == (5_000_000, 1_000_000)
    assert len(new.calendar.rules) == 1


def test_a_future_configuration_changes_only_what_it_names():
    """A change of mode in between, which sets the disablement threshold, is not undone."""
    bench = Bench()
    assert bench.ask("2.1", config(when="2024-03-02T00:00:00Z", limit=123_000)).is_success
    assert bench.ask("1.6", PREPAYMENT.format(when="")).is_success
    bench.meter.advance(START_US + DAY_US)
    now = bench.meter.account.config
    assert (now.emergency_credit_limit_mp, now.disablement_threshold_mp) == (123_000, -5_000)


@pytest.mark.parametrize(
    ("change", "code"), [({"limit": -1}, 0x85), ({"limit": 2**31}, 0x85), ({"most": 2_147_400_001}, 0x87)]
)
def test_limits_out_of_range_are_refused_and_nothing_has_changed(change, code):
    bench = Bench()
    old = bench.meter.account.config
    outcome = bench.ask("2.1", config(**change))
    assert (outcome.is_success, outcome.debug[0].response_code) == (False, code)
    assert bench.meter.account.config == old


# --- debts -------------------------------------------------------------------------------------------------


def test_all_three_debts_count_with_the_last():
    bench = Bench()
    seen = []

    def watch(number: int) -> Bench:
        nonlocal bench
        seen.append(bench.meter.account.time_debt_fine == [0, 0])
        bench = bench.cut()
        return bench

    assert bench.ask("2.3", debt(), before=watch).is_success
    assert seen == [True] * 3
    account = bench.meter.account
    assert [amount // 10**12 for amount in account.time_debt_fine] == [30_000, 15_000]
    assert account.payment_debt_fine // 10**12 == 50_000
    assert account.config.debt_rates == (
        DebtRate(rate_mp=30_000, period=DebtPeriod.DAILY),
        DebtRate(rate_mp=150, period=DebtPeriod.HOURLY),
    )
    assert account.config.debt_per_payment_bp == 1_000


@pytest.mark.parametrize("change", [{"first": -1}, {"rate": -3}, {"scale": -6}, {"scale": 127}])
def test_debts_out_of_range_are_refused_before_anything_is_sent(change):
    bench = Bench()
    outcome = bench.ask("2.3", debt(**change))
    assert (outcome.is_success, outcome.debug[0].response_code) == (False, 0x85)
    assert bench.meter.account.time_debt_fine == [0, 0]


def test_emergency_credit_that_is_not_offered_is_refused():
    bench = Bench()
    outcome = bench.ask("2.5", "<ActivateEmergencyCredit/>")
    assert (outcome.is_success, outcome.debug[0].response_code) == (False, 0x01)


# --- calendars ---------------------------------------------------------------------------------------------


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000


def rule(
    minute: int, *, starts: bool, weekdays: int = 0, special: int = 0, first=(0, 1, 1), last=(0, 12, 31)
):
    return DisablementRule(
        minute=minute, is_start=starts, weekdays=weekdays, special_days=special, first=first, last=last
    )


def test_rules_start_and_stop_on_their_days():
    calendar = NonDisablementCalendar(
        rules=(
            rule(20 * 60, starts=True, weekdays=0b11111),
            rule(450, starts=False, weekdays=0b11111),
            rule(60, starts=True, special=1),
            rule(120, starts=False, special=1),
            rule(0, starts=True, weekdays=0b1111111, first=(0, 12, 24), last=(0, 1, 2)),
        ),
        rule_days=(SpecialDay(year=0, month=3, day=6, profile=0),),
    )
    running = {
        "2024-03-04 07:29": True,  # Monday; nothing has stopped what Friday evening started
        "2024-03-04 19:59": False,
        "2024-03-04 20:00": True,
        "2024-03-05 07:29": True,
        "2024-03-05 07:30": False,
        "2024-03-06 00:59": True,  # a special day; Tuesday evening's start runs on
        "2024-03-06 02:00": False,  # and only its own rules count
        "2024-03-06 21:00": False,
        "2024-12-25 12:00": False,  # Wednesday, stopped at 07:30 as on each weekday
        "2024-12-28 12:00": True,  # Saturday between the years
    }
    assert {when: calendar.is_running(at(when)) for when in running} == running
    assert calendar.next_change_us(at("2024-03-05 00:00")) == at("2024-03-05 07:30")
    nothing = NonDisablementCalendar(
        rules=(rule(0, starts=True, weekdays=1, first=(2015, 1, 1), last=(2015, 2, 1)),)
    )
    assert not nothing.is_running(at("2024-03-04 07:29"))


def test_a_switching_table_of_starts_and_stops_is_gas_calendar():
    table = SwitchingTable.daily((0, 1), (480, 0), (1080, 1))
    calendar = NonDisablementCalendar(table=table)
    assert [calendar.is_running(START_US + minute * MINUTE_US) for minute in (479, 480, 1080)] == [
        True,
        False,
        True,
    ]
    assert calendar.next_change_us(START_US) == START_US + 480 * MINUTE_US
    config = PrepaymentConfig(calendar=calendar)
    assert PrepaymentConfig.decode(config.encode()) == config


def test_changes_survive_and_damage_is_a_decode_error():
    change = PrepaymentChange(
        limits=(("debt_rate_cap_mp", 30),),
        calendar=NonDisablementCalendar(rules=(rule(5, starts=True, weekdays=3),)),
        published=b"x",
    )
    assert PrepaymentChange.decode(change.encode()) == change
    mode = PaymentModeChange(
        mode=PaymentMode.PREPAYMENT,
        suspend_debt_disabled=True,
        suspend_debt_emergency=False,
        disablement_threshold_mp=-7,
    )
    assert PaymentModeChange.decode(mode.encode()) == mode
    assert PaymentModeChange.decode(b"\x00") == PaymentModeChange(mode=PaymentMode.CREDIT)
    for octets in (b"", b"\x02", b"\x01\x00", change.encode()[:-3]):
        with pytest.raises(DecodeError):
            PaymentModeChange.decode(octets)
        with pytest.raises(DecodeError):
            PrepaymentChange.decode(octets)
