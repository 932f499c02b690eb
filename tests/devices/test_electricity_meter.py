"""Electricity by itself: export, reactive energy, outages, and that nothing but time moves it."""

from __future__ import annotations

from random import Random

import pytest
from tests.devices.meter_cores import START, codes, dump, meter, twin

from smets1.devices.days import DAY_US, HALF_HOUR_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load import ConstantLoad
from smets1.devices.load_limit import LoadLimit
from smets1.devices.power_log import PowerEventKind
from smets1.devices.tamper import Sensor
from smets1.devices.voltage import Excursion, VoltageSettings


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
