"""What a meter does besides metering and money: export, voltage, limits, tamper, battery, clock, later times."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from smets1.devices.battery import SupplyDepletionState
from smets1.devices.billing import BillingCalendar, BillingPeriod, SnapshotCause
from smets1.devices.days import DAY_US, HALF_HOUR_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.gas_flow import SLOT_US
from smets1.devices.load import ApplianceLoad, ConstantLoad, GasFlow
from smets1.devices.load_limit import LimitedSupply, LoadLimit, LoadLimiter
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.metering import Period
from smets1.devices.power_log import PowerEventKind
from smets1.devices.prepayment import DebtPeriod, DebtRate, PaymentMode, PrepaymentConfig
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.supply import OffReason, SupplyOutcome, SupplyState
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.devices.tariff import BlockPeriod, Tariff, fine
from smets1.devices.voltage import Excursion, VoltageSettings
from smets1.errors import DecodeError, InputError
from smets1.firmware.nvm import MemoryNvm

POUND = 100_000
START = 19_733 * DAY_US  # 2024-01-11
FLAT = Tariff.flat(price_mp_per_kwh=30_000, standing_charge_mp=40_000)


def meter(load=None, *, mode=PaymentMode.CREDIT, balance_mp=0, config=None, tariff=FLAT, **more):
    return ElectricityMeterCore(
        load=load or ConstantLoad(watts=1000, start_utc_us=START),
        now_us=START,
        tariff=tariff,
        prepayment=config,
        mode=mode,
        balance_mp=balance_mp,
        **more,
    )


def gas_meter(watts: int = 11_220, **more) -> GasMeterCore:
    flow = GasFlow(load=ConstantLoad(watts=watts, start_utc_us=START))
    return GasMeterCore(flow=flow, now_us=START, tariff=FLAT, **more)


def codes(subject) -> list[int]:
    return [entry.code for entry in subject.take_events()]


def twin(subject):
    """The same meter after a restart of its program."""
    nvm = MemoryNvm()
    subject.save(nvm)
    nvm.commit()
    if isinstance(subject, GasMeterCore):
        other = GasMeterCore(flow=subject.flow, now_us=START, tariff=FLAT)
    else:
        other = meter(subject.load, export=subject.export)
        other.street = subject.street
    assert other.restore(nvm)
    return other


def dump(subject) -> dict[str, bytes]:
    nvm = MemoryNvm()
    subject.save(nvm)
    return {key: nvm.get(key) for key in nvm.keys("") if "/profile" not in key}


# --- export and reactive energy -------------------------------------------------------------------


def test_export_and_reactive_registers_and_their_profiles():
    subject = meter(export=ConstantLoad(watts=400, start_utc_us=START))
    subject.advance(START + 10 * HOUR_US)
    assert (subject.reading, subject.export_wh) == (10_000, 4000)
    assert (subject.reactive_import_varh, subject.reactive_export_varh) == (3290, 1316)
    assert (subject.power_w, subject.export_power_w) == (1000, 400)
    for name, total in (("export", 4000), ("reactive_import", 3290), ("reactive_export", 1316)):
        rows = subject.profiles[name].read(START, START + DAY_US)
        assert len(rows) == 20
        assert sum(amount for _, amount in rows) == total


def test_nothing_is_exported_while_the_supply_is_off():
    subject = meter(export=ConstantLoad(watts=400, start_utc_us=START))
    subject.disable_supply(utc_us=START + HOUR_US)
    subject.advance(START + 3 * HOUR_US)
    assert (subject.export_wh, subject.export_power_w) == (400, 0)


def test_a_restart_keeps_every_register_and_machine():
    subject = meter(export=ConstantLoad(watts=400, start_utc_us=START))
    subject.set_load_limit(LoadLimit(threshold_w=500, period_s=600), utc_us=START)
    subject.set_voltage(265_000, utc_us=START + HOUR_US)
    subject.feel(Sensor.MAGNET, is_open=True, utc_us=START + 2 * HOUR_US)
    subject.advance(START + 5 * HOUR_US + 123)
    other = twin(subject)
    for core in (subject, other):
        core.advance(START + 2 * DAY_US)
    assert dump(subject) == dump(other)
    for name in subject.profiles:
        assert subject.profiles[name].read(0, 2 * START) == other.profiles[name].read(0, 2 * START)


# --- voltage ----------------------------------------------------------------------------------------


def test_average_voltage_of_each_half_hour_stands_in_its_log():
    subject = meter(voltage_rng=Random(4))
    subject.advance(START + DAY_US)
    profile = list(subject.voltage.profile)
    assert [end for end, _ in profile] == [START + n * HALF_HOUR_US for n in range(1, 49)]
    assert all(230_000 < mv < 250_000 for _, mv in profile)
    assert len({mv for _, mv in profile}) > 40
    assert subject.voltage.counters == [0] * len(Excursion)
    again = meter(voltage_rng=Random(4))
    again.advance(START + DAY_US)
    assert list(again.voltage.profile) == profile


def test_the_last_4320_averages_are_kept():
    subject = meter()
    settings = VoltageSettings(average_period_s=600)
    subject.set_voltage_settings(settings, utc_us=START)
    subject.advance(START + 31 * DAY_US)
    ends = [end for end, _ in subject.voltage.profile]
    assert len(ends) == 4320
    assert ends == [START + 31 * DAY_US - n * 600 * SECOND_US for n in range(4319, -1, -1)]


def test_a_swell_that_lasts_counts_once_and_stands_in_the_power_event_log():
    subject = meter()
    subject.set_voltage(258_000, utc_us=START + MINUTE_US)
    subject.advance(START + MINUTE_US + SECOND_US - 1)
    assert subject.voltage.counters[Excursion.SWELL] == 0
    subject.advance(START + 2 * MINUTE_US)
    subject.set_voltage(None, utc_us=START + 2 * MINUTE_US)
    assert subject.voltage.counters[Excursion.SWELL] == 1
    assert subject.voltage.counters[Excursion.EXTREME_OVER] == 0
    kinds = [entry.kind for entry in subject.power_events.entries]
    assert kinds == [PowerEventKind.SWELL_BEGIN, PowerEventKind.SWELL_END]


def test_a_dip_shorter_than_its_period_is_no_sag():
    subject = meter()
    subject.set_voltage_settings(VoltageSettings(sag_s=5), utc_us=START)
    subject.set_voltage(190_000, utc_us=START + MINUTE_US)
    subject.set_voltage(None, utc_us=START + MINUTE_US + 4 * SECOND_US)
    subject.advance(START + HALF_HOUR_US)
    assert subject.voltage.counters == [0] * len(Excursion)


def test_average_over_voltage_and_the_reset_of_its_counter():
    subject = meter()
    subject.set_voltage(254_000, utc_us=START)
    subject.advance(START + 3 * HALF_HOUR_US)
    assert subject.voltage.counters[Excursion.AVERAGE_OVER] == 1
    subject.reset_voltage_counters(utc_us=START + 2 * HOUR_US)
    assert subject.voltage.counters == [0] * len(Excursion)


def test_the_mean_is_weighted_by_time():
    subject = meter()
    subject.set_voltage(200_000, utc_us=START)
    subject.set_voltage(240_000, utc_us=START + 10 * MINUTE_US)
    subject.advance(START + HALF_HOUR_US)
    assert subject.voltage.profile[0] == (START + HALF_HOUR_US, (200_000 + 2 * 240_000) // 3)


@pytest.mark.parametrize("wrong", [{"average_period_s": 59}, {"average_period_s": 7000}, {"sag_s": -1}])
def test_voltage_settings_that_make_no_sense(wrong):
    with pytest.raises(InputError):
        VoltageSettings(**wrong)


# --- load limit ---------------------------------------------------------------------------------------


def limited(**settings):
    kettle = ApplianceLoad(watts=6000)
    subject = meter(kettle)
    subject.set_load_limit(LoadLimit(threshold_w=5000, **settings), utc_us=START)
    return subject, kettle


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


def test_reading_an_electricity_meter_changes_none_of_its_machines():
    watched, alone = meter(voltage_rng=Random(9)), meter(voltage_rng=Random(9))
    rng, at = Random(3), START
    for subject in (watched, alone):
        subject.set_load_limit(LoadLimit(threshold_w=900, period_s=700), utc_us=START)
        subject.set_voltage_settings(VoltageSettings(swell_mv=241_500, sag_mv=239_000), utc_us=START)
    while at < START + DAY_US:
        at += rng.randint(1, 2 * HOUR_US)
        watched.advance(at)
    alone.advance(at)
    assert dump(watched) == dump(alone)
    assert watched.limiter.counter == 1
    assert watched.voltage.counters[Excursion.SWELL] > 1


# --- outages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span_s", "code"),
    [
        (1, AlertCode.OUTAGE_RESTORED),
        (179, AlertCode.OUTAGE_RESTORED),
        (180, AlertCode.OUTAGE_RESTORED_LONG),
        (86_400, AlertCode.OUTAGE_RESTORED_LONG),
    ],
)
def test_restored_after_three_minutes_is_another_event(span_s, code):
    subject = meter()
    gone_us = START + 5 * MINUTE_US
    subject.power_off(utc_us=gone_us)
    subject.outage(gone_us + span_s * SECOND_US)
    assert codes(subject) == [code]
    entries = list(subject.power_events.entries)
    assert [(e.kind, e.utc_us) for e in entries] == [
        (PowerEventKind.OUTAGE_BEGIN, gone_us),
        (PowerEventKind.OUTAGE_END, gone_us + span_s * SECOND_US),
    ]
    assert subject.reading == 83  # five minutes of 1 kW


def test_the_average_voltage_after_an_outage_is_that_since_the_outage():
    subject = meter()
    subject.set_voltage(200_000, utc_us=START)
    subject.power_off(utc_us=START + 5 * MINUTE_US)
    subject.street.set(240_000, utc_us=START + 10 * MINUTE_US)
    subject.outage(START + 20 * MINUTE_US)
    subject.advance(START + HALF_HOUR_US)
    assert list(subject.voltage.profile) == [(START + HALF_HOUR_US, 240_000)]


def test_without_power_nothing_is_metered_even_if_asked():
    subject = meter()
    subject.power_off(utc_us=START + HOUR_US)
    subject.advance(START + 2 * HOUR_US)
    assert (subject.reading, subject.power_w, subject.voltage_mv) == (1000, 0, 0)
    other = twin(subject)
    other.outage(START + 3 * HOUR_US)
    assert other.reading == 1000
    assert codes(other) == [AlertCode.OUTAGE_RESTORED_LONG]
    assert other.power_events.entries[0].utc_us == START + HOUR_US


def test_the_last_100_power_events_are_kept():
    subject, told = meter(), []
    for hour in range(1, 55):
        begin_us = START + hour * HOUR_US
        subject.power_off(utc_us=begin_us)
        subject.outage(begin_us + MINUTE_US)
        told += [begin_us, begin_us + MINUTE_US]
    for each in (subject, twin(subject)):
        assert [entry.utc_us for entry in each.power_events.entries] == told[-100:]


# --- tamper -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_gas", "sensor", "code"),
    [
        (False, Sensor.METER_COVER, AlertCode.METER_COVER_REMOVED),
        (False, Sensor.TERMINAL_COVER, AlertCode.TERMINAL_COVER_REMOVED),
        (False, Sensor.MAGNET, AlertCode.STRONG_MAGNETIC_FIELD),
        (True, Sensor.METER_COVER, AlertCode.METER_COVER_REMOVED),
        (True, Sensor.BATTERY_COVER, AlertCode.BATTERY_COVER_REMOVED),
        (True, Sensor.MAGNET, AlertCode.STRONG_MAGNETIC_FIELD),
        (True, Sensor.TILT, AlertCode.OTHER_PHYSICAL_ACCESS),
    ],
)
def test_tamper_is_logged_once_for_each_opening(is_gas, sensor, code):
    subject = gas_meter() if is_gas else meter()
    for is_open in (True, True, False, True):
        subject.feel(sensor, is_open=is_open, utc_us=START + 1)
    assert codes(subject) == [AlertCode.TAMPER, code] * 2
    assert [entry.code for entry in subject.log.security] == [AlertCode.TAMPER, code] * 2
    assert subject.supply.is_on


def test_an_electricity_meter_has_no_tilt_switch_and_a_gas_meter_has():
    electricity, gas = meter(), gas_meter()
    for subject in (electricity, gas):
        subject.feel(Sensor.TILT, is_open=True, utc_us=START + 1)
    assert codes(electricity) == []
    assert codes(gas) == [AlertCode.TAMPER, AlertCode.OTHER_PHYSICAL_ACCESS]


def test_locked_supply_comes_back_only_by_the_suppliers_arm():
    subject = meter(mode=PaymentMode.PREPAYMENT, balance_mp=10 * POUND)
    subject.set_tamper_state(SupplyTamperState.LOCKED, utc_us=START)
    subject.feel(Sensor.METER_COVER, is_open=True, utc_us=START + 1)
    assert codes(subject)[-1] == AlertCode.DISABLED_AND_LOCKED
    subject.feel(Sensor.METER_COVER, is_open=False, utc_us=START + 2)
    subject.add_credit(POUND, source=0, utc_us=START + 3)
    assert subject.press_a(utc_us=START + 4) is SupplyOutcome.NOT_ARMED
    assert subject.confirm_supply(utc_us=START + 4) is SupplyOutcome.NOT_ARMED
    assert subject.supply.reasons is OffReason.EVENT
    assert subject.arm_supply(utc_us=START + 5) is SupplyOutcome.DONE
    assert subject.confirm_supply(utc_us=START + 6) is SupplyOutcome.DONE


# --- gas ----------------------------------------------------------------------------------------------


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


# --- billing ------------------------------------------------------------------------------------------


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


# --- later times ----------------------------------------------------------------------------------------


def test_a_future_tariff_begins_at_its_time():
    subject = meter()
    later = Tariff.flat(price_mp_per_kwh=60_000)
    due_us = START + HOUR_US + 6 * MINUTE_US  # a whole number of Wh
    subject.schedule(
        FutureCommand(kind=FutureKind.TARIFF, due_us=due_us, payload=later.encode(), issuer_id=7),
        utc_us=START,
    )
    subject = twin(subject)
    subject.advance(due_us - 1)
    assert subject.tariff == FLAT
    subject.advance(START + 2 * HOUR_US)
    assert subject.tariff == later
    assert subject.account.balance_mp == -(30_000 * 66 + 60_000 * 54) // 60
    assert AlertCode.FUTURE_COMMAND_EXECUTED in codes(subject)
    assert [s.cause for s in subject.snapshots] == [SnapshotCause.TARIFF_CHANGE]


@pytest.mark.parametrize(
    ("kind", "payload", "check"),
    [
        (FutureKind.PAYMENT_MODE, b"\x01", lambda m: m.account.is_prepayment),
        (FutureKind.SUPPLY, b"\x00", lambda m: m.supply.state is SupplyState.OFF),
        (
            FutureKind.PREPAYMENT,
            PrepaymentConfig(emergency_credit_limit_mp=1).encode(),
            lambda m: m.account.config.emergency_credit_limit_mp == 1,
        ),
    ],
)
def test_mode_supply_and_limits_at_a_later_time(kind, payload, check):
    subject = meter()
    subject.schedule(FutureCommand(kind=kind, due_us=START + 7, payload=payload), utc_us=START)
    subject.advance(START + 6)
    assert not check(subject)
    subject.advance(START + 7)
    assert check(subject)


def test_a_future_load_limit():
    subject, wanted = meter(), LoadLimiter()
    wanted.set_limit(LoadLimit(threshold_w=500, period_s=60))
    command = FutureCommand(kind=FutureKind.LOAD_LIMIT, due_us=START + HOUR_US, payload=wanted.encode())
    subject.schedule(command, utc_us=START)
    subject.advance(START + HOUR_US + 59 * SECOND_US)
    assert subject.supply.is_on
    subject.advance(START + HOUR_US + 60 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF


@pytest.mark.parametrize(
    ("subject", "kind", "payload"),
    [
        (meter(), FutureKind.TARIFF, b"nonsense"),
        (meter(), FutureKind.SUPPLY, b"\x09"),
        (gas_meter(), FutureKind.SUPPLY, b"\x02"),
        (gas_meter(), FutureKind.LOAD_LIMIT, LoadLimiter().encode()),
    ],
)
def test_what_cannot_be_carried_out_is_told_and_gone(subject, kind, payload):
    subject.schedule(FutureCommand(kind=kind, due_us=START + 7, payload=payload), utc_us=START)
    subject.advance(START + HOUR_US)
    assert codes(subject) == [AlertCode.FUTURE_COMMAND_FAILED]
    assert not subject.future.pending


def test_a_later_command_replaces_and_an_empty_one_takes_back():
    subject = meter()
    for price in (1000, 2000):
        payload = Tariff.flat(price_mp_per_kwh=price).encode()
        command = FutureCommand(kind=FutureKind.TARIFF, due_us=START + HOUR_US, payload=payload)
        subject.schedule(command, utc_us=START)
    assert subject.future.cancel(FutureKind.SUPPLY) is False
    subject.advance(START + HOUR_US)
    assert subject.price_mp_per_kwh == 2000


# --- the clock ------------------------------------------------------------------------------------------


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


# --- tenancy, hostile NVM ---------------------------------------------------------------------------------


def test_a_new_household_does_not_see_the_old_ones_profile():
    subject = meter()
    subject.advance(START + 5 * HOUR_US)
    subject.change_tenancy(utc_us=START + 5 * HOUR_US)
    subject.advance(START + 7 * HOUR_US)
    assert len(subject.consumer_profile(START, START + DAY_US)) == 4
    assert len(subject.profile.read(START, START + DAY_US)) == 14
    assert len(twin(subject).consumer_profile(START, START + DAY_US)) == 4


@pytest.mark.parametrize(("name", "make"), [("electricity", meter), ("gas", gas_meter)])
def test_an_image_of_the_first_version_still_loads(repository, name, make):
    image = json.loads((repository / "tests/vectors/nvm_meter_v1.json").read_text())["records"][name]
    nvm = MemoryNvm()
    for key, octets in image.items():
        nvm.put(key, bytes.fromhex(octets))
    subject, fresh = make(), make()
    assert subject.restore(nvm)
    fresh.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=START + HOUR_US)
    fresh.add_credit(10 * POUND, source=0, utc_us=START + 2 * HOUR_US)
    assert subject.now_us == START + 30 * HOUR_US
    for core in (subject, fresh):
        core.advance(START + 50 * HOUR_US)
    assert subject.account.encode() == fresh.account.encode()
    assert subject.reading == fresh.reading
    (entry,) = subject.snapshots
    assert (entry.cause, entry.utc_us) == (SnapshotCause.MODE_CHANGE, START + HOUR_US)
    assert subject.profile.read(0, 2 * START) == fresh.profile.read(0, 2 * START)


MACHINES = ("billing", "future", "tamper", "load_limit", "voltage", "power_log")


@pytest.mark.parametrize(
    ("make", "name"),
    [*((meter, n) for n in MACHINES), *((gas_meter, n) for n in ("network", "flow_check", "battery"))],
)
def test_a_damaged_record_is_a_decode_error_and_a_missing_one_an_older_image(make, name):
    subject, nvm = make(), MemoryNvm()
    subject.advance(START + DAY_US)
    subject.save(nvm)
    good = nvm.get(f"meter/{name}")
    for end in range(len(good)):
        nvm.put(f"meter/{name}", good[:end])
        with pytest.raises(DecodeError):
            make().restore(nvm)
    rng = Random(name)
    for _ in range(200):
        octets = bytearray(good)
        octets[rng.randrange(len(octets))] = rng.randrange(256)
        nvm.put(f"meter/{name}", bytes(octets))
        try:
            make().restore(nvm)
        except DecodeError:
            continue
    nvm.delete(f"meter/{name}")
    assert make().restore(nvm)
