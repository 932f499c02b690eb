"""The load limit: its window, what it does to the supply, and when the supply comes back."""

from __future__ import annotations

import pytest
from tests.devices.meter_cores import POUND, START, codes, limited, meter

from smets1.devices.days import HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load import ApplianceLoad
from smets1.devices.load_limit import LimitedSupply, LoadLimit
from smets1.devices.prepayment import PaymentMode
from smets1.devices.supply import OffReason, SupplyOutcome, SupplyState
from smets1.errors import InputError


def test_overload_cuts_off_shows_20_s_and_is_ready():
    subject, kettle = limited(period_s=60)
    kettle.switch(True, utc_us=START)
    subject.advance(START + 59 * SECOND_US)
    assert subject.supply.is_on
    subject.advance(START + 60 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF
    assert subject.supply.reasons is OffReason.OVERLOAD
    assert subject.limiter.counter == 1
    assert codes(subject) == [AlertCode.LOAD_LIMIT_EXCEEDED]
    subject.advance(START + 79 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF
    subject.advance(START + 80 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED
    assert codes(subject) == [AlertCode.LOAD_LIMIT_RESTORED, AlertCode.SUPPLY_DISABLED_THEN_ARMED]
    kettle.switch(False, utc_us=START + 80 * SECOND_US)
    subject.press_a(utc_us=START + 81 * SECOND_US)
    assert subject.press_b(utc_us=START + 82 * SECOND_US) is SupplyOutcome.DONE
    subject.advance(START + HOUR_US)
    assert subject.supply.is_on
    subject.reset_load_limit_counter(utc_us=START + HOUR_US)
    assert subject.limiter.counter == 0


def test_power_above_the_limit_for_less_than_the_window_does_not_cut():
    subject, kettle = limited(period_s=600)
    kettle.switch(True, utc_us=START + MINUTE_US)
    subject.advance(START + 9 * MINUTE_US)
    kettle.switch(False, utc_us=START + 9 * MINUTE_US)
    subject.advance(START + HOUR_US)
    assert subject.supply.is_on  # 8 of 10 minutes at 6 kW are 4.8 kW
    assert subject.limiter.counter == 0


def test_a_longer_restoration_period_delays_ready():
    subject, kettle = limited(period_s=30, restoration_s=300)
    kettle.switch(True, utc_us=START)
    subject.advance(START + 329 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF
    subject.advance(START + 330 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED


def test_where_the_supply_is_to_stay_it_is_only_counted():
    subject, kettle = limited(period_s=3600, supply=LimitedSupply.UNCHANGED)
    kettle.switch(True, utc_us=START)
    subject.advance(START + 3 * HOUR_US)
    assert subject.supply.is_on
    assert subject.limiter.counter == 3
    assert codes(subject) == [AlertCode.LOAD_LIMIT_EXCEEDED] * 3


@pytest.mark.parametrize("period_s", [29, 3601])
def test_a_window_is_30_to_3600_s(period_s):
    with pytest.raises(InputError):
        LoadLimit(period_s=period_s)


def test_a_cut_for_want_of_credit_ends_the_window_that_ran():
    kettle = ApplianceLoad(watts=6000)
    subject = meter(kettle, mode=PaymentMode.PREPAYMENT, balance_mp=10 * POUND)
    subject.set_load_limit(LoadLimit(threshold_w=3000, period_s=60), utc_us=START)
    kettle.switch(True, utc_us=START)
    subject.adjust_balance(-20 * POUND, utc_us=START + 50 * SECOND_US)
    kettle.switch(False, utc_us=START + 50 * SECOND_US)
    # At one instant, so that nothing but the cut itself can have ended the window.
    subject.adjust_balance(20 * POUND, utc_us=START + 50 * SECOND_US)
    subject.confirm_supply(utc_us=START + 50 * SECOND_US)
    subject.advance(START + 120 * SECOND_US)
    assert subject.limiter.counter == 0
