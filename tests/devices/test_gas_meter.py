"""Gas by itself: network data, the check of the flow, the battery."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from tests.devices.meter_cores import POUND, START, codes, dump, gas_meter, twin

from smets1.devices.battery import SupplyDepletionState
from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.gas_flow import SLOT_US
from smets1.devices.prepayment import PaymentMode
from smets1.devices.supply import OffReason, SupplyOutcome, SupplyState


def test_network_data_is_four_hours_of_six_minutes():
    subject = gas_meter()
    subject.advance(START + 10 * HOUR_US + MINUTE_US)
    rows = list(subject.network.entries)
    assert len(rows) == 40
    assert {b - a for (a, _), (b, _) in pairwise(rows)} == {SLOT_US}
    assert rows[-1][0] == START + 10 * HOUR_US
    at_start = subject.flow.volume_ul(START + 6 * HOUR_US) // 1_000_000
    assert sum(amount for _, amount in rows) == 9999 - at_start


def test_network_data_is_the_same_however_often_the_meter_is_read():
    alone, watched = gas_meter(), gas_meter()
    rng = Random(2)
    at = START
    while at < START + 5 * HOUR_US:
        at += rng.randint(1, 20 * MINUTE_US)
        watched.advance(at)
    alone.advance(at)
    assert alone.network.encode() == watched.network.encode()


def test_a_tap_left_open_closes_the_valve_again():
    subject = gas_meter(mode=PaymentMode.PREPAYMENT, balance_mp=10 * POUND)
    subject.disable_supply(utc_us=START + 1)
    subject.arm_supply(utc_us=START + 2)
    subject.set_open_taps(31, utc_us=START + 3)
    codes(subject)
    assert subject.confirm_supply(utc_us=START + 4) is SupplyOutcome.DONE
    subject.advance(START + 4 + 10 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED
    assert codes(subject) == [AlertCode.DISABLED_THEN_ARMED_UNCONTROLLED_FLOW]
    subject.set_open_taps(30, utc_us=START + MINUTE_US)
    subject.confirm_supply(utc_us=START + MINUTE_US)
    subject.advance(START + HOUR_US)
    assert subject.supply.is_on


def test_the_pressure_settles_before_the_flow_is_judged():
    subject = gas_meter()
    subject.set_flow_check(rate_dl_per_h=300, check_s=10, stabilisation_ds=155, utc_us=START + 1)
    subject.disable_supply(utc_us=START + 1)
    subject.arm_supply(utc_us=START + 2)
    subject.set_open_taps(500, utc_us=START + 3)
    subject.confirm_supply(utc_us=START + 4)
    subject.advance(START + 4 + 25 * SECOND_US)
    assert subject.supply.is_on, "15.5 s and 10 s"
    subject.advance(START + 4 + 26 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED


def test_each_movement_of_the_valve_takes_charge():
    subject = gas_meter()
    before = subject.battery.used_nah
    subject.disable_supply(utc_us=START + 1)
    closed = subject.battery.used_nah
    assert closed - before == 500_000
    subject.disable_supply(utc_us=START + 2)
    assert subject.battery.used_nah == closed, "it was closed already"
    subject.arm_supply(utc_us=START + 3)
    subject.confirm_supply(utc_us=START + 4)
    assert subject.battery.used_nah == closed + 500_000


def test_a_battery_lasts_more_than_fifteen_years_and_says_when_it_is_low():
    subject = gas_meter()
    assert 15 * 365 < subject.battery.remaining_days < 25 * 365
    before = subject.battery.used_nah
    subject.advance(START + DAY_US)
    assert subject.battery.used_nah - before == 24 * 20_000 + 48 * 45_000
    subject.drain_battery(10, utc_us=START + 2 * DAY_US)
    subject.drain_battery(9, utc_us=START + 3 * DAY_US)
    assert codes(subject) == [AlertCode.LOW_BATTERY]
    assert subject.supply.is_on


@pytest.mark.parametrize("state", SupplyDepletionState)
def test_what_an_empty_battery_does_to_the_supply(state):
    subject = gas_meter()
    subject.set_depletion_state(state, utc_us=START + 1)
    subject.drain_battery(0, utc_us=START + 2)
    assert subject.supply.is_on is (state is SupplyDepletionState.UNCHANGED)
    assert AlertCode.LOW_BATTERY in codes(subject)
    subject.replace_battery(utc_us=START + 3)
    assert subject.battery.percent == 100
    if state is SupplyDepletionState.LOCKED:
        assert subject.supply.reasons is OffReason.EVENT
        assert subject.arm_supply(utc_us=START + 4) is SupplyOutcome.DONE


def test_a_gas_meter_restarts_with_all_its_machines():
    subject = gas_meter()
    subject.set_open_taps(31, utc_us=START + HOUR_US)
    subject.disable_supply(utc_us=START + HOUR_US)
    subject.arm_supply(utc_us=START + HOUR_US)
    subject.confirm_supply(utc_us=START + HOUR_US)
    other = twin(subject)
    for core in (subject, other):
        core.advance(START + DAY_US)
    assert dump(subject) == dump(other)
    assert other.supply.state is SupplyState.ARMED


def test_a_gas_meter_without_its_battery_logs_power_loss():
    subject = gas_meter()
    subject.power_off(utc_us=START + HOUR_US)
    subject.outage(START + 2 * HOUR_US)
    assert codes(subject) == [AlertCode.GSME_POWER_LOSS]
