"""The whole meter: registers equal the load, money equals an independent sum, reading changes nothing."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smets1.devices.days import DAY_US, HALF_HOUR_US, HOUR_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load import ConstantLoad, GasConversion, GasFlow, TableLoad
from smets1.devices.load_csv import read_csv_load
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore, SnapshotCause
from smets1.devices.metering import Period
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.supply import OffReason, SupplyOutcome, SupplyState
from smets1.devices.tariff import SwitchingTable, Tariff
from smets1.errors import DecodeError, MisuseError
from smets1.firmware.nvm import MemoryNvm

POUND = 100_000
START = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp()) * SECOND_US
FLAT = Tariff.flat(price_mp_per_kwh=30_000, standing_charge_mp=40_000)
NIGHT = Tariff(
    prices_up_per_kwh=((30_000_000, 10_000_000),),
    standing_charge_up=40_000_000,
    switching=SwitchingTable.daily((0, 1), (7 * 60 + 10, 0)),
)


def meter(load=None, *, mode=PaymentMode.PREPAYMENT, balance_mp=10 * POUND, tariff=FLAT, **config):
    return ElectricityMeterCore(
        load=load or ConstantLoad(watts=1000, start_utc_us=START),
        now_us=START,
        tariff=tariff,
        prepayment=PrepaymentConfig(**config),
        mode=mode,
        balance_mp=balance_mp,
    )


def codes(subject) -> list[int]:
    return [entry.code for entry in subject.take_events()]


def test_a_real_day_to_the_watt_hour(shared_dir):
    load = read_csv_load(shared_dir / "data" / "lcl_half_hourly.csv").rebased(START)
    subject = meter(load, mode=PaymentMode.CREDIT)
    first = load.energy_uwh(START)
    subject.advance(START + DAY_US)
    assert subject.registers.quantity == load.energy_uwh(START + DAY_US) - first
    assert subject.reading == subject.registers.quantity // 1_000_000
    profile = subject.profile.read(START, START + DAY_US)
    assert len(profile) == 48
    assert sum(amount for _, amount in profile) == subject.reading


def test_balance_over_a_real_year_equals_an_independent_sum(shared_dir):
    load = read_csv_load(shared_dir / "data" / "lcl_half_hourly.csv", home="MAC004391").rebased(START)
    subject = meter(load, tariff=NIGHT, balance_mp=60 * POUND)
    random, added, at = Random(1), 60 * POUND, START
    for day in range(1, 360):
        midnight = START + day * DAY_US
        while at < midnight:
            at = min(midnight, at + random.randint(1, 6 * HOUR_US))
            subject.advance(at)
        if day % 7 == 0:
            subject.add_credit(50 * POUND, source=0, utc_us=midnight)
            added += 50 * POUND
        cost = Fraction(0)
        if day % 30 == 0 or day < 3:
            for past in range(day):
                start = START + past * DAY_US
                change = start + 7 * HOUR_US + 600 * SECOND_US
                night = load.energy_uwh(change) - load.energy_uwh(start)
                light = load.energy_uwh(start + DAY_US) - load.energy_uwh(change)
                cost += Fraction(night * 10_000 + light * 30_000, 10**9) + 40_000
            assert subject.account.balance_mp == (added - cost).__floor__()
    assert subject.supply.is_on


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4 * HOUR_US), max_size=30), st.integers(0, 3))
def test_reading_a_meter_changes_nothing(steps, tops):
    """Two meters, one read at odd times: equal at the end, cut-off at the same second included."""
    watched, alone = meter(balance_mp=POUND * tops), meter(balance_mp=POUND * tops)
    at = START
    for step in steps:
        at += step
        watched.advance(at)
    alone.advance(at)
    end = at + HOUR_US
    watched.advance(end)
    alone.advance(end)
    for name in ("account", "registers", "supply", "marks", "daily", "log"):
        assert getattr(watched, name).encode() == getattr(alone, name).encode()


def test_cut_off_comes_at_the_second_in_which_the_credit_ends():
    load = ConstantLoad(watts=3600, start_utc_us=START)  # 30 mp a second
    subject = meter(load, balance_mp=99_985)
    cut_us = START + 3333 * SECOND_US
    while (timer_us := subject.next_timer_us()) < cut_us:
        subject.advance(timer_us)
    assert timer_us == cut_us
    subject.advance(cut_us - 1)
    assert subject.supply.is_on
    subject.take_events()
    subject.advance(cut_us)
    assert subject.supply.state is SupplyState.OFF
    assert subject.supply.reasons is OffReason.NO_CREDIT
    assert codes(subject) == [AlertCode.CREDIT_BELOW_DISABLEMENT_THRESHOLD]
    reading = subject.reading
    subject.advance(cut_us + 5 * HOUR_US)
    assert (subject.reading, subject.power_w, subject.demand) == (reading, 0, 0)


def test_top_up_arms_and_a_person_confirms():
    subject = meter(balance_mp=0)
    subject.advance(START + SECOND_US)
    assert subject.supply.state is SupplyState.OFF
    subject.add_credit(5 * POUND, source=0, utc_us=START + HOUR_US)
    assert subject.supply.state is SupplyState.ARMED
    assert AlertCode.SUPPLY_ARMED in codes(subject)
    assert subject.press_b(utc_us=START + HOUR_US) is SupplyOutcome.TOO_LATE
    subject.press_a(utc_us=START + HOUR_US)
    assert subject.press_b(utc_us=START + HOUR_US + 5 * SECOND_US) is SupplyOutcome.DONE
    subject.advance(START + 2 * HOUR_US)
    assert subject.reading == 1000 * 3595 // 3600


def test_emergency_credit_at_a_meter_that_is_off():
    subject = meter(balance_mp=0)
    subject.advance(START + SECOND_US)
    assert subject.take_emergency(utc_us=START + HOUR_US)
    assert not subject.take_emergency(utc_us=START + HOUR_US)
    assert subject.supply.state is SupplyState.ARMED
    assert subject.confirm_supply(utc_us=START + HOUR_US) is SupplyOutcome.DONE
    subject.advance(START + DAY_US)
    assert subject.supply.state is SupplyState.OFF
    assert subject.account.emergency_mp == 0
    assert AlertCode.EMERGENCY_CREDIT_EXHAUSTED in codes(subject)


def test_disable_arm_enable():
    subject = meter()
    assert subject.disable_supply(utc_us=START + 1) is SupplyOutcome.DONE
    assert subject.supply.reasons is OffReason.MANUAL
    assert subject.arm_supply(utc_us=START + 2) is SupplyOutcome.DONE
    assert subject.supply.state is SupplyState.ARMED
    assert subject.enable_supply(utc_us=START + 3) is SupplyOutcome.DONE
    assert codes(subject) == [AlertCode.SUPPLY_ARMED]


def test_overload_is_over_after_20_s_by_itself():
    subject = meter()
    subject.disable_supply(utc_us=START + 1, reason=OffReason.OVERLOAD)
    assert subject.next_timer_us() == START + 1 + 20 * SECOND_US
    subject.advance(START + 60 * SECOND_US)
    assert subject.supply.state is SupplyState.ARMED


def test_standing_charge_and_debt_of_a_weeks_power_cut():
    subject = meter(mode=PaymentMode.CREDIT, balance_mp=0)
    subject.advance(START + HOUR_US)
    before = subject.reading
    subject.outage(START + 7 * DAY_US + HOUR_US)
    assert subject.reading == before == 1000
    assert subject.account.balance_mp == -30_000 - 7 * 40_000
    subject.advance(START + 7 * DAY_US + 2 * HOUR_US)
    assert subject.reading == 2000


def test_the_days_cost_holds_its_standing_charge():
    subject = meter(mode=PaymentMode.CREDIT)
    subject.advance(START + DAY_US + HOUR_US)
    use = subject.marks.use(Period.TODAY, subject.registers)
    assert (use.quantity, use.cost_fine) == (10**9, (30_000 + 40_000) * 10**12)
    assert subject.marks.before(Period.TODAY).quantity == 24 * 10**9


def test_daily_read_log_at_utc_midnights():
    subject = meter(mode=PaymentMode.CREDIT)
    subject.advance(START + 20 * DAY_US)
    entries = subject.daily.entries
    assert len(entries) == 14
    assert {later.utc_us - earlier.utc_us for earlier, later in pairwise(entries)} == {DAY_US}
    assert entries[-1].quantity == 20 * 24 * 10**9


def test_change_of_mode_and_tariff_take_a_snapshot_and_do_not_interrupt():
    subject = meter(mode=PaymentMode.CREDIT, balance_mp=-50 * POUND)
    subject.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=START + HOUR_US)
    subject.set_tariff(NIGHT, utc_us=START + 2 * HOUR_US)
    subject.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=START + 3 * HOUR_US)
    causes = [snapshot.cause for snapshot in subject.snapshots]
    assert causes == [SnapshotCause.MODE_CHANGE, SnapshotCause.TARIFF_CHANGE]
    assert subject.supply.is_on
    assert AlertCode.DISABLEMENT_SUSPENDED in codes(subject)
    subject.advance(START + 2 * DAY_US)
    assert subject.supply.state is SupplyState.OFF
    assert subject.registers.quantity == 25 * 10**9  # the day of grace and the hour before it


def test_a_new_tariff_counts_from_the_instant_it_is_set():
    subject = meter(mode=PaymentMode.CREDIT, balance_mp=0)
    subject.set_tariff(Tariff.flat(price_mp_per_kwh=60_000), utc_us=START + HOUR_US)
    subject.advance(START + 2 * HOUR_US)
    assert subject.account.balance_mp == -30_000 - 60_000
    assert subject.price_mp_per_kwh == 60_000


def test_debts_and_limits_are_set_at_once():
    subject = meter()
    subject.set_debts(time_1_mp=1, time_2_mp=2, payment_mp=3, utc_us=START + 1)
    subject.set_prepayment(PrepaymentConfig(low_credit_threshold_mp=20 * POUND), utc_us=START + 2)
    assert codes(subject) == [AlertCode.CREDIT_BELOW_LOW_THRESHOLD]
    assert subject.adjust_balance(-POUND, utc_us=START + 3) is None
    subject.reset_balance(utc_us=START + 4)
    assert subject.account.balance_mp == 0


def gas(watts: int = 11_220, **options) -> GasMeterCore:
    flow = GasFlow(load=ConstantLoad(watts=watts, start_utc_us=START))
    return GasMeterCore(flow=flow, now_us=START, tariff=FLAT, **options)


def test_gas_is_measured_as_volume_and_charged_as_energy():
    subject = gas()
    subject.advance(START + 10 * HOUR_US)
    assert subject.volume_dm3 == 9999
    energy = GasConversion().energy_uwh(subject.registers.quantity)
    assert subject.registers.energy_uwh == energy
    assert subject.account.balance_fine == -energy * 30_000_000
    assert subject.demand == 999
    with pytest.raises(MisuseError):
        subject.enable_supply(utc_us=START + 11 * HOUR_US)


def test_a_new_calorific_value_holds_for_gas_from_then_on():
    subject = gas()
    subject.set_conversion(GasConversion(calorific_value_x10=790), utc_us=START + HOUR_US)
    first = subject.registers.energy_uwh
    subject.advance(START + 2 * HOUR_US)
    assert subject.registers.energy_uwh - first == pytest.approx(2 * first, rel=1e-6)
    nvm = MemoryNvm()
    subject.save(nvm)
    again = gas()
    assert again.restore(nvm)
    again.advance(START + 9 * HOUR_US)
    subject.advance(START + 9 * HOUR_US)
    assert again.registers.encode() == subject.registers.encode()


def test_a_restart_takes_up_where_it_was():
    subject, nvm = meter(balance_mp=7 * POUND), MemoryNvm()
    assert not meter().restore(nvm)
    subject.advance(START + 5 * HOUR_US + 123)
    subject.set_tariff(NIGHT, utc_us=START + 6 * HOUR_US)
    subject.save(nvm)
    nvm.commit()
    again = meter(balance_mp=0)
    assert again.restore(nvm)
    for core in (subject, again):
        core.advance(START + 3 * DAY_US)
        core.save(nvm2 := MemoryNvm())
        core.dump = {key: nvm2.get(key) for key in sorted(nvm2.keys(""))}
    profile = "meter/profile/"
    assert {k: v for k, v in subject.dump.items() if not k.startswith(profile)} == {
        k: v for k, v in again.dump.items() if not k.startswith(profile)
    }
    assert subject.profile.read(0, START * 2) == again.profile.read(0, START * 2)


@pytest.mark.parametrize(
    "name", ["core", "tariff", "account", "registers", "supply", "marks", "daily", "log"]
)
def test_damaged_or_missing_records_are_decode_errors(name):
    subject, nvm = meter(), MemoryNvm()
    subject.advance(START + DAY_US)
    subject.save(nvm)
    good = nvm.get(f"meter/{name}")
    assert good is not None
    for octets in (good[:-1], b"", good[:5] + b"\xff" + good[6:]):
        nvm.put(f"meter/{name}", octets)
        with pytest.raises(DecodeError):
            meter().restore(nvm)
    if name != "core":
        nvm.delete(f"meter/{name}")
        with pytest.raises(DecodeError):
            meter().restore(nvm)


def test_a_stranger_in_the_profile_is_a_decode_error():
    subject, nvm = meter(), MemoryNvm()
    subject.save(nvm)
    nvm.put("meter/profile/x", b"")
    with pytest.raises(DecodeError):
        meter().restore(nvm)


def test_time_does_not_go_back():
    subject = meter()
    subject.advance(START + HOUR_US)
    subject.advance(START)
    assert subject.now_us == START + HOUR_US


def test_the_profile_of_a_steep_load_adds_up():
    starts = [START + slot * HALF_HOUR_US for slot in range(48)]
    energies = [slot * 333_333 for slot in range(48)]
    load = TableLoad(
        starts_us=starts, ends_us=[start + HALF_HOUR_US for start in starts], energies_uwh=energies
    )
    subject = meter(load, mode=PaymentMode.CREDIT)
    subject.advance(START + DAY_US)
    profile = subject.profile.read(START, START + DAY_US)
    assert sum(amount for _, amount in profile) == sum(energies) // 1_000_000
