"""Ends of billing periods, snapshots, payments of debt."""

from __future__ import annotations

import pytest
from tests.devices.meter_cores import POUND, START, meter, twin

from smets1.devices.billing import BillingCalendar, BillingPeriod, SnapshotCause
from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.load import ConstantLoad
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.tariff import Tariff, fine


@pytest.mark.parametrize(
    ("calendar", "after_days", "ends"),
    [
        (BillingCalendar(period=BillingPeriod.DAILY, minute=90), 3, [1 / 16, 17 / 16, 33 / 16]),
        (BillingCalendar(period=BillingPeriod.WEEKLY, weekday=1), 15, [4, 11]),  # the 11th is a Thursday
        (BillingCalendar(period=BillingPeriod.MONTHLY, day=1), 60, [21, 50]),
        (BillingCalendar(period=BillingPeriod.QUARTERLY, day=1, month=2), 120, [21, 111]),
        (BillingCalendar(period=BillingPeriod.SIX_MONTHLY, day=5, month=9), 60, [54]),
        (BillingCalendar(period=BillingPeriod.YEARLY, day=11, month=1), 370, [366]),
    ],
)
def test_billing_periods_end_when_the_calendar_says(calendar, after_days, ends):
    subject = meter(ConstantLoad(watts=0))
    subject.set_billing_calendar(calendar, utc_us=START + 1)
    subject.advance(START + after_days * DAY_US)
    assert [(s.utc_us - START) / DAY_US for s in subject.billing.periods] == ends
    assert all(s.cause is SnapshotCause.BILLING_CALENDAR for s in subject.billing.periods)


def test_a_snapshot_holds_everything_that_is_asked_for_later():
    tariff = Tariff(prices_up_per_kwh=((10, 20), (30, 40)), thresholds_wh=((500,), (600,)))
    config = PrepaymentConfig(debt_per_payment_bp=5000)
    subject = meter(tariff=tariff, config=config, mode=PaymentMode.PREPAYMENT, balance_mp=20 * POUND)
    subject.set_debts(time_1_mp=11, time_2_mp=22, payment_mp=5 * POUND, utc_us=START)
    subject.add_credit(4 * POUND, source=0, utc_us=START + 1)
    subject.set_payment_mode(PaymentMode.CREDIT, utc_us=START + HOUR_US)
    entry = subject.snapshots[-1]
    assert entry.mode is PaymentMode.PREPAYMENT
    assert entry.time_debt_fine == (fine(11), fine(22))
    assert entry.payment_debt_fine == fine(3 * POUND)
    assert entry.tou_uwh == (10**9, 0)
    assert entry.block_uwh == ((500 * 10**6, 0), (500 * 10**6, 0))
    assert [(p.utc_us, p.amount_fine) for p in subject.billing.payments] == [(START + 1, fine(2 * POUND))]
    other = twin(subject)
    assert list(other.snapshots) == list(subject.snapshots)
    assert list(other.billing.payments) == list(subject.billing.payments)


def test_ten_payments_of_debt_are_kept():
    config = PrepaymentConfig(debt_per_payment_bp=10_000)
    subject = meter(mode=PaymentMode.PREPAYMENT, config=config)
    subject.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=100 * POUND, utc_us=START)
    for number in range(1, 13):
        subject.add_credit(number * 1000, source=0, utc_us=START + number)
    for each in (subject, twin(subject)):
        assert [p.amount_fine for p in each.billing.payments] == [fine(n * 1000) for n in range(3, 13)]


def test_twelve_snapshots_are_kept():
    subject = meter(ConstantLoad(watts=0))
    subject.set_billing_calendar(BillingCalendar(period=BillingPeriod.DAILY), utc_us=START)
    subject.advance(START + 20 * DAY_US)
    assert len(subject.billing.periods) == 12
    assert subject.billing.periods[-1].utc_us == START + 20 * DAY_US
