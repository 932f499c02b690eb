"""A meter's clock set forward and back: nothing is charged, billed or counted twice."""

from __future__ import annotations

from random import Random

import pytest
from tests.devices.meter_cores import POUND, START, gas_meter, limited, meter, twin

from smets1.devices.billing import BillingCalendar, BillingPeriod
from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.load import ApplianceLoad, ConstantLoad
from smets1.devices.metering import Period
from smets1.devices.prepayment import DebtPeriod, DebtRate, PaymentMode, PrepaymentConfig
from smets1.devices.supply import SupplyOutcome, SupplyState
from smets1.devices.tariff import BlockPeriod, Tariff, fine


def test_set_forward_over_midnight_charges_the_midnight_once_and_meters_nothing():
    subject = meter()
    subject.set_clock(START + DAY_US + HOUR_US, utc_us=START + HOUR_US)
    assert subject.reading == 1000
    assert subject.account.balance_mp == -30_000 - 40_000
    subject.set_clock(START + 2 * HOUR_US, utc_us=START + DAY_US + HOUR_US)
    subject.advance(START + 2 * DAY_US)
    hours = 1 + 46
    assert subject.reading == hours * 1000
    assert subject.account.balance_mp == -30_000 * hours - 2 * 40_000
    assert subject.registers.cost_fine == fine(30_000 * hours + 2 * 40_000)


@pytest.mark.parametrize("step_us", [-5 * HOUR_US, 5 * HOUR_US])
def test_the_house_does_not_know_that_the_meters_clock_was_set(step_us):
    """A kettle boils from noon to one by the house's time, whatever the meter's clock shows then."""
    kettle = ApplianceLoad(watts=2000)
    kettle.switch(True, utc_us=START + 12 * HOUR_US)
    kettle.switch(False, utc_us=START + 13 * HOUR_US)
    subject = meter(kettle)
    subject.set_clock(START + 9 * HOUR_US + step_us, utc_us=START + 9 * HOUR_US)
    subject.advance(START + 12 * HOUR_US + step_us)
    assert (subject.reading, subject.power_w) == (0, 2000)
    subject.advance(START + 13 * HOUR_US + step_us)
    assert (subject.reading, subject.power_w) == (2000, 0)


def test_set_back_the_time_lived_twice_stands_once_in_each_log():
    subject = meter()
    subject.advance(START + DAY_US + 2 * HOUR_US)
    subject.set_clock(START + DAY_US - HOUR_US, utc_us=START + DAY_US + 2 * HOUR_US)
    subject.advance(START + DAY_US + 3 * HOUR_US)
    rows = subject.profile.read(START, START + 2 * DAY_US)
    ends = [end for end, _ in rows]
    assert ends == sorted(set(ends))
    assert sum(amount for _, amount in rows) == subject.reading == 30_000
    assert [e.utc_us for e in subject.daily.entries] == [START + DAY_US]
    assert subject.account.balance_mp == -30 * 30_000 - 40_000


def test_hourly_debt_is_not_taken_twice_for_an_hour_lived_twice():
    config = PrepaymentConfig(debt_rates=(DebtRate(rate_mp=100, period=DebtPeriod.HOURLY), DebtRate()))
    subject = meter(ConstantLoad(watts=0), config=config, mode=PaymentMode.PREPAYMENT, balance_mp=POUND)
    subject.set_debts(time_1_mp=POUND, time_2_mp=0, payment_mp=0, utc_us=START)
    for _ in range(5):
        subject.advance(START + 3 * HOUR_US)
        subject.set_clock(START + HOUR_US, utc_us=START + 3 * HOUR_US)
    assert subject.account.balance_mp == POUND - 300
    other = twin(subject)
    other.advance(START + 4 * HOUR_US)
    assert other.account.balance_mp == POUND - 400


def test_the_weekly_cap_of_debt_is_not_had_twice_over_a_monday_lived_twice():
    config = PrepaymentConfig(debt_per_payment_bp=10_000, debt_rate_cap_mp=POUND)
    subject = meter(ConstantLoad(watts=0), config=config, mode=PaymentMode.PREPAYMENT, balance_mp=10 * POUND)
    subject.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=50 * POUND, utc_us=START)
    monday_us = START + 4 * DAY_US  # the 15th
    subject.add_credit(POUND, source=0, utc_us=monday_us + HOUR_US)
    subject.set_clock(monday_us - HOUR_US, utc_us=monday_us + HOUR_US)
    subject.add_credit(POUND, source=0, utc_us=monday_us - HOUR_US // 2)
    subject.add_credit(POUND, source=0, utc_us=monday_us + 2 * HOUR_US)
    assert subject.account.payment_debt_fine == fine(49 * POUND)


def test_an_overload_and_an_open_confirmation_keep_their_length_over_a_set_clock():
    subject, kettle = limited(period_s=30)
    kettle.switch(True, utc_us=START)
    subject.advance(START + 30 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF
    subject.set_clock(START + HOUR_US, utc_us=START + 35 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF
    subject.advance(START + HOUR_US + 15 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED
    subject.press_a(utc_us=START + HOUR_US + 16 * SECOND_US)
    subject.set_clock(START, utc_us=START + HOUR_US + 20 * SECOND_US)
    assert subject.press_b(utc_us=START + 26 * SECOND_US) is SupplyOutcome.DONE


def test_time_that_a_clock_leaves_out_is_neither_sensed_nor_slept_through():
    subject = meter(voltage_rng=Random(1))
    subject.set_clock(START + DAY_US, utc_us=START + HOUR_US)
    subject.advance(START + DAY_US + HOUR_US)
    ends = [end - START for end, _ in subject.voltage.profile]
    assert ends == [HOUR_US // 2, HOUR_US, DAY_US + HOUR_US // 2, DAY_US + HOUR_US]
    gas = gas_meter()
    gas.advance(START + HOUR_US)
    before = gas.battery.used_nah
    gas.set_clock(START + DAY_US, utc_us=START + HOUR_US)
    assert gas.battery.used_nah == before


@pytest.mark.parametrize("step_us", [-2 * HOUR_US, 2 * HOUR_US])
def test_what_runs_keeps_its_length_over_a_set_clock(step_us):
    """A window of the load limit, the grace of a change of mode, the look at the flow of gas."""
    subject, kettle = limited(period_s=600)
    kettle.switch(True, utc_us=START)
    at_us = START + 5 * MINUTE_US
    subject.set_clock(at_us + step_us, utc_us=at_us)
    subject.advance(at_us + step_us + 5 * MINUTE_US - 1)
    assert subject.supply.is_on
    subject.advance(at_us + step_us + 5 * MINUTE_US)
    assert subject.supply.state is SupplyState.OFF

    subject = meter(balance_mp=-POUND)
    subject.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=START)
    at_us = START + 12 * HOUR_US
    subject.set_clock(at_us + step_us, utc_us=at_us)
    subject.advance(at_us + step_us + 12 * HOUR_US - 1)
    assert subject.supply.is_on
    subject.advance(at_us + step_us + 12 * HOUR_US)
    assert subject.supply.state is SupplyState.OFF

    subject = gas_meter()
    subject.disable_supply(utc_us=START + HOUR_US)
    subject.arm_supply(utc_us=START + HOUR_US)
    subject.set_open_taps(500, utc_us=START + HOUR_US)
    subject.confirm_supply(utc_us=START + HOUR_US)
    at_us = START + HOUR_US + 5 * SECOND_US
    subject.set_clock(at_us + step_us, utc_us=at_us)
    subject.advance(at_us + step_us + 5 * SECOND_US - 1)
    assert subject.supply.is_on
    subject.advance(at_us + step_us + 5 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED


def test_set_back_a_day_the_displays_begin_the_day_anew():
    subject = meter()
    subject.advance(START + DAY_US + 2 * HOUR_US)
    subject.set_clock(START + 2 * HOUR_US, utc_us=START + DAY_US + 2 * HOUR_US)
    subject.advance(START + 3 * HOUR_US)
    assert subject.marks.use(Period.TODAY, subject.registers).quantity == 10**9


def test_block_counters_are_not_emptied_twice_for_one_period():
    tariff = Tariff(prices_up_per_kwh=((10,), (20,)), thresholds_wh=((10**6,),), block_period=BlockPeriod.DAY)
    subject = meter(tariff=tariff)
    subject.advance(START + DAY_US + HOUR_US)
    assert subject.registers.counters_uwh == [10**9]
    subject.set_clock(START + DAY_US - HOUR_US, utc_us=START + DAY_US + HOUR_US)
    subject.advance(START + DAY_US + HOUR_US)
    assert subject.registers.counters_uwh == [3 * 10**9]


def test_a_billing_period_is_not_ended_twice():
    subject = meter()
    subject.set_billing_calendar(BillingCalendar(period=BillingPeriod.DAILY), utc_us=START)
    subject.advance(START + DAY_US + HOUR_US)
    subject.set_clock(START + DAY_US - HOUR_US, utc_us=START + DAY_US + HOUR_US)
    subject.advance(START + DAY_US + 2 * HOUR_US)
    assert [s.utc_us for s in subject.billing.periods] == [START + DAY_US]
