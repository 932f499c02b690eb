"""Rows of the prepayment rules, each by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.devices.meter_cores import PAYMENT_CONTROLS

from smets1.devices.account import Account, AccountEventKind, CreditRefusal, Zone
from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.prepayment import (
    HARD_LIMIT_MP,
    DebtPeriod,
    DebtRate,
    FriendlyHours,
    NonDisablementCalendar,
    PaymentMode,
    PrepaymentConfig,
    payment_control,
)
from smets1.devices.tariff import fine
from smets1.errors import DecodeError, InputError
from smets1.firmware.zcl.clusters.prepayment import CreditStatus

POUND = 100_000
CONFIG = PrepaymentConfig()  # low 2, emergency credit 5 from 1 pound on, disablement at 0
MONDAY_US = 4 * DAY_US
Kind = AccountEventKind


def account(balance_mp: int = 10 * POUND, *, now_us: int = MONDAY_US, **changes) -> Account:
    return Account(
        config=replace(CONFIG, **changes), now_us=now_us, mode=PaymentMode.PREPAYMENT, balance_mp=balance_mp
    )


def spend(account: Account, mp: int, *, after_us: int = 1) -> list[Kind]:
    return [event.kind for event in account.advance(account.now_us + after_us, fine(mp))]


def kinds(events) -> list[Kind]:
    return [event.kind for event in events]


def test_balance_is_signed_and_in_thousandths_of_a_penny():
    subject = account(0, disablement_threshold_mp=-10 * POUND)
    spend(subject, 1)
    assert subject.balance_mp == -1


def test_zones_credit_low_emergency_cut_off():
    subject = account()
    zones = [subject.zone]
    spend(subject, 8 * POUND)
    zones.append(subject.zone)
    spend(subject, 1 * POUND)
    subject.take_emergency()
    spend(subject, 1 * POUND)
    zones.append(subject.zone)
    spend(subject, 5 * POUND)
    zones.append(subject.zone)
    assert zones == [Zone.CREDIT, Zone.LOW_CREDIT, Zone.EMERGENCY_CREDIT, Zone.CUT_OFF]


def test_low_credit_is_warned_of_once_and_again_after_a_top_up():
    subject = account(3 * POUND)
    assert spend(subject, POUND - 1) == []
    assert spend(subject, 1) == [Kind.LOW_CREDIT]
    assert spend(subject, 10) == []
    assert kinds(subject.add_credit(POUND)[1]) == [Kind.CREDIT_ADDED]
    assert spend(subject, POUND) == [Kind.LOW_CREDIT]


def test_emergency_credit_is_offered_at_its_threshold():
    subject = account(2 * POUND)
    subject.settle()
    assert not subject.is_emergency_available
    assert subject.take_emergency() is None
    assert spend(subject, POUND) == [Kind.EMERGENCY_OFFERED]
    assert subject.status & CreditStatus.EMERGENCY_CREDIT_AVAILABLE


def test_emergency_credit_is_used_once_the_balance_reaches_zero():
    subject = account(POUND)
    subject.settle()
    assert kinds(subject.take_emergency()) == [Kind.EMERGENCY_TAKEN]
    spend(subject, POUND - 1)
    assert (subject.balance_mp, subject.emergency_mp) == (1, 5 * POUND)
    assert spend(subject, 3) == [Kind.EMERGENCY_IN_USE]
    assert (subject.balance_mp, subject.emergency_mp) == (0, 5 * POUND - 2)
    assert subject.status & CreditStatus.EMERGENCY_CREDIT_IN_USE


def test_emergency_credit_is_taken_once():
    subject = account(0)
    subject.settle()
    assert subject.take_emergency() is not None
    assert subject.take_emergency() is None


def test_emergency_credit_is_repaid_first():
    subject = account(0)
    subject.take_emergency()
    spend(subject, 3 * POUND)
    split, _ = subject.add_credit(2 * POUND)
    assert (split.emergency_fine, split.balance_fine) == (fine(2 * POUND), 0)
    assert (subject.emergency_used_mp, subject.balance_mp) == (POUND, 0)
    split, _ = subject.add_credit(10 * POUND)
    assert (split.emergency_fine, subject.balance_mp) == (fine(POUND), 9 * POUND)
    assert not subject.is_emergency_taken


def test_emergency_credit_is_never_overdrawn_by_one_great_charge():
    subject = account(POUND)
    subject.take_emergency()
    spend(subject, 100 * POUND)
    assert (subject.emergency_fine, subject.balance_mp) == (0, -94 * POUND)


def test_exhausted_emergency_credit_disables():
    subject = account(0)
    subject.take_emergency()
    assert spend(subject, 5 * POUND) == [
        Kind.EMERGENCY_EXHAUSTED,
        Kind.BELOW_DISABLEMENT,
        Kind.CUT_OFF,
    ]
    assert subject.status & CreditStatus.EMERGENCY_CREDIT_EXHAUSTED


def test_supply_is_disabled_at_the_threshold_with_emergency_credit_not_taken():
    subject = account(POUND)
    subject.settle()
    assert spend(subject, POUND - 1) == []
    assert spend(subject, 1) == [Kind.BELOW_DISABLEMENT, Kind.CUT_OFF]


def test_a_threshold_below_zero_comes_after_emergency_credit():
    subject = account(0, disablement_threshold_mp=-2 * POUND)
    subject.take_emergency()
    assert spend(subject, 6 * POUND) == [Kind.EMERGENCY_EXHAUSTED]
    assert subject.balance_mp == -POUND
    assert Kind.CUT_OFF in spend(subject, POUND)


def test_emergency_credit_taken_while_off_restores():
    subject = account(POUND)
    spend(subject, POUND)
    assert subject.is_cut_off
    assert Kind.RESTORED in kinds(subject.take_emergency())


def test_a_top_up_too_small_does_not_restore():
    subject = account(POUND)
    spend(subject, 3 * POUND)
    assert kinds(subject.add_credit(2 * POUND)[1]) == [Kind.CREDIT_ADDED]
    assert subject.is_cut_off
    assert Kind.RESTORED in kinds(subject.add_credit(1)[1])


FRIENDLY = NonDisablementCalendar(
    hours=(FriendlyHours(weekdays=(0, 1, 2, 3, 4), start_minute=16 * 60, end_minute=24 * 60),),
    special_days=(5,),
)


def test_friendly_hours_hold_disablement_until_they_end():
    subject = account(POUND, now_us=MONDAY_US + 17 * HOUR_US, calendar=FRIENDLY)
    assert spend(subject, 2 * POUND)[-2:] == [Kind.BELOW_DISABLEMENT, Kind.DISABLEMENT_HELD]
    assert not subject.is_cut_off
    assert subject.next_hold_change_us() == MONDAY_US + DAY_US
    # the next day is special throughout, so the hold goes on
    assert spend(subject, 0, after_us=7 * HOUR_US) == []
    wednesday = MONDAY_US + 2 * DAY_US
    assert kinds(subject.advance(wednesday, 0)) == [Kind.CUT_OFF]


def test_weekends_are_not_friendly_here():
    assert not FRIENDLY.is_running(MONDAY_US + 5 * DAY_US + 17 * HOUR_US)
    assert FRIENDLY.is_running(MONDAY_US + 17 * HOUR_US)
    assert FRIENDLY.next_change_us(MONDAY_US) == MONDAY_US + 16 * HOUR_US


def test_change_to_prepayment_does_not_interrupt_supply_for_a_day():
    subject = Account(config=CONFIG, now_us=MONDAY_US, balance_mp=-20 * POUND)
    events = kinds(subject.set_mode(PaymentMode.PREPAYMENT))
    assert events[0] is Kind.MODE_CHANGED
    assert events[-1] is Kind.DISABLEMENT_HELD
    assert not subject.is_cut_off
    assert subject.next_hold_change_us() == MONDAY_US + DAY_US
    assert kinds(subject.advance(MONDAY_US + DAY_US, 0)) == [Kind.CUT_OFF]


def test_change_to_credit_makes_used_emergency_credit_owed():
    subject = account(0)
    subject.take_emergency()
    spend(subject, 5 * POUND)
    assert kinds(subject.set_mode(PaymentMode.CREDIT)) == [Kind.MODE_CHANGED, Kind.RESTORED]
    assert (subject.balance_mp, subject.emergency_mp, subject.zone) == (-5 * POUND, 0, Zone.CREDIT)
    assert subject.set_mode(PaymentMode.CREDIT) == []


def test_credit_mode_has_no_thresholds():
    subject = Account(config=CONFIG, now_us=MONDAY_US)
    assert subject.advance(MONDAY_US + 1, fine(1000 * POUND)) == []
    assert subject.headroom_fine() is None
    assert subject.take_emergency() is None


def test_standing_charge_is_due_at_each_midnight():
    subject = account()
    subject.standing_charge_fine = fine(30_000)
    subject.advance(MONDAY_US + 7 * DAY_US)
    assert subject.balance_mp == 10 * POUND - 7 * 30_000


@pytest.mark.parametrize(("period", "due"), [(DebtPeriod.HOURLY, 24), (DebtPeriod.DAILY, 1)])
def test_time_based_debt_by_hour_or_day(period, due):
    rates = (DebtRate(rate_mp=1000, period=period), DebtRate())
    subject = account(debt_rates=rates)
    subject.set_debts(time_1_mp=100_000, time_2_mp=5, payment_mp=0)
    subject.advance(MONDAY_US + DAY_US)
    assert subject.balance_mp == 10 * POUND - due * 1000
    assert subject.time_debt_fine == [fine(100_000 - due * 1000), fine(5)]


def test_time_based_debt_ends_with_the_debt():
    subject = account(debt_rates=(DebtRate(), DebtRate(rate_mp=1000, period=DebtPeriod.HOURLY)))
    subject.set_debts(time_1_mp=0, time_2_mp=1500, payment_mp=0)
    events = subject.advance(MONDAY_US + 5 * HOUR_US)
    assert kinds(events) == [Kind.TIME_DEBT_2_PAID]
    assert subject.balance_mp == 10 * POUND - 1500


@pytest.mark.parametrize("is_suspended", [True, False])
def test_debt_in_emergency_credit(is_suspended):
    rates = (DebtRate(rate_mp=1000, period=DebtPeriod.HOURLY), DebtRate())
    subject = account(0, debt_rates=rates, suspend_debt_emergency=is_suspended)
    subject.set_debts(time_1_mp=POUND, time_2_mp=0, payment_mp=0)
    subject.standing_charge_fine = fine(500)
    subject.take_emergency()
    subject.advance(MONDAY_US + DAY_US)
    due = 24 * 1000 + 500
    assert subject.accumulated_debt_mp == (due if is_suspended else 0)
    assert subject.emergency_used_mp == (0 if is_suspended else due)


@pytest.mark.parametrize("is_suspended", [True, False])
def test_debt_while_disabled(is_suspended):
    rates = (DebtRate(rate_mp=1000, period=DebtPeriod.DAILY), DebtRate())
    subject = account(0, debt_rates=rates, suspend_debt_disabled=is_suspended)
    subject.set_debts(time_1_mp=POUND, time_2_mp=0, payment_mp=0)
    subject.settle()
    assert subject.is_cut_off
    subject.advance(MONDAY_US + DAY_US)
    assert subject.accumulated_debt_mp == (1000 if is_suspended else 0)
    assert subject.balance_mp == (0 if is_suspended else -1000)


def test_accumulated_debt_is_paid_from_a_top_up_after_emergency_credit():
    subject = account(0)
    subject.accumulated_debt_fine = fine(POUND)
    subject.take_emergency()
    spend(subject, POUND)
    split, _ = subject.add_credit(3 * POUND)
    assert (split.emergency_fine, split.accumulated_debt_fine, split.balance_fine) == (fine(POUND),) * 3


def test_payment_based_debt_is_a_share_of_each_top_up_up_to_the_weekly_cap():
    subject = account(debt_per_payment_bp=2500, debt_rate_cap_mp=3 * POUND)
    subject.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=10 * POUND)
    shares = [subject.add_credit(8 * POUND)[0].payment_debt_fine // fine(1) for _ in range(3)]
    assert shares == [2 * POUND, POUND, 0]
    subject.advance(MONDAY_US + 7 * DAY_US)  # the next week
    split, events = subject.add_credit(40 * POUND)
    assert split.payment_debt_fine == fine(3 * POUND)
    assert subject.payment_debt_fine == fine(4 * POUND)
    assert Kind.PAYMENT_DEBT_PAID not in kinds(events)


def test_payment_based_debt_paid_off():
    subject = account(debt_per_payment_bp=5000)
    subject.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=POUND)
    split, events = subject.add_credit(10 * POUND)
    assert split.payment_debt_fine == fine(POUND)
    assert Kind.PAYMENT_DEBT_PAID in kinds(events)


def test_credit_limits():
    subject = account(max_credit_threshold_mp=50 * POUND, max_meter_balance_mp=55 * POUND)
    assert subject.check_credit(50 * POUND + 1) is CreditRefusal.ABOVE_MAX_CREDIT
    assert subject.check_credit(45 * POUND + 1) is CreditRefusal.ABOVE_MAX_BALANCE
    assert subject.check_credit(45 * POUND) is None


def test_most_credit_that_a_meter_can_hold_is_21474_pounds():
    assert HARD_LIMIT_MP == 21_474 * POUND < 2**31
    subject = account(HARD_LIMIT_MP - 5)
    assert subject.check_credit(6) is CreditRefusal.ABOVE_MAX_BALANCE
    assert subject.check_credit(5) is None


def test_adjusting_and_resetting_the_balance():
    subject = account(0)
    assert subject.adjust_balance(-HARD_LIMIT_MP - 1) is CreditRefusal.BELOW_MIN_BALANCE
    assert subject.adjust_balance(HARD_LIMIT_MP + 1) is CreditRefusal.ABOVE_MAX_BALANCE
    assert not isinstance(subject.adjust_balance(-POUND), CreditRefusal)
    assert subject.balance_mp == -POUND
    subject.reset_balance()
    assert subject.balance_mp == 0


def test_the_last_five_top_ups_latest_first():
    subject = account()
    for mp in range(1, 8):
        subject.add_credit(mp, source=2)
    assert [top_up.amount_mp for top_up in subject.top_ups] == [7, 6, 5, 4, 3]
    assert subject.total_added_mp == 28


@pytest.mark.parametrize(("mode", "emergency", "disabled", "value"), PAYMENT_CONTROLS)
def test_payment_control_as_real_devices_show_it(mode, emergency, disabled, value):
    config = PrepaymentConfig(suspend_debt_emergency=emergency, suspend_debt_disabled=disabled)
    assert payment_control(mode, config) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"emergency_credit_limit_mp": -1},
        {"max_meter_balance_mp": HARD_LIMIT_MP + 1},
        {"max_credit_threshold_mp": -1},
        {"debt_per_payment_bp": 10_001},
        {"debt_rate_cap_mp": -1},
        {"debt_rates": (DebtRate(rate_mp=-1), DebtRate())},
        {
            "calendar": NonDisablementCalendar(
                hours=(FriendlyHours(weekdays=(0,), start_minute=9, end_minute=9),)
            )
        },
    ],
)
def test_a_configuration_out_of_range_is_refused(changes):
    with pytest.raises(InputError, match="prepayment"):
        PrepaymentConfig(**changes)


def test_headroom_is_what_may_be_charged_before_something_happens():
    subject = account(10 * POUND)
    for expected in (8 * POUND, POUND, POUND):
        assert subject.headroom_fine() == fine(expected)
        before = subject.balance_mp
        assert spend(subject, expected - 1) == []
        assert len(spend(subject, 1)) >= 1
        assert subject.balance_mp == before - expected
    assert subject.headroom_fine() is None


def test_state_round_trip_and_every_truncation():
    config = replace(CONFIG, calendar=FRIENDLY, debt_rate_cap_mp=7)
    subject = Account(config=config, now_us=MONDAY_US, mode=PaymentMode.PREPAYMENT)
    subject.take_emergency()
    subject.add_credit(5)
    spend(subject, 10**6)
    octets = subject.encode()
    again = Account.decode(octets, config=PrepaymentConfig.decode(config.encode()))
    assert again.encode() == octets
    assert again.config == config
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            Account.decode(octets[:length], config=config)
    for length in range(len(config.encode())):
        with pytest.raises(DecodeError):
            PrepaymentConfig.decode(config.encode()[:length])
