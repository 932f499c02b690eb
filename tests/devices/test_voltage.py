"""Averages, thresholds and counters of the voltage."""

from __future__ import annotations

from random import Random

import pytest
from tests.devices.meter_cores import START, meter

from smets1.devices.days import DAY_US, HALF_HOUR_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.power_log import PowerEventKind
from smets1.devices.voltage import Excursion, VoltageMonitor, VoltageSettings
from smets1.errors import InputError


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


def test_what_is_stored_of_the_averages_is_what_is_kept_entry_after_entry():
    """Stored again and again as it grows, past the last of the 4320, and over a clock set back."""
    subject = meter()
    subject.set_voltage_settings(VoltageSettings(average_period_s=600), utc_us=START)
    for day in (1, 29, 30, 31):
        subject.advance(START + day * DAY_US)
        assert list(VoltageMonitor.decode(subject.voltage.encode()).profile) == list(subject.voltage.profile)
    subject.set_clock(START + 30 * DAY_US, utc_us=START + 31 * DAY_US)
    subject.advance(START + 30 * DAY_US + HOUR_US)
    assert list(VoltageMonitor.decode(subject.voltage.encode()).profile) == list(subject.voltage.profile)
    assert len(subject.voltage.profile) == 4320


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
