"""Covers, magnet and tilt, and a supply that was locked for them."""

from __future__ import annotations

import pytest
from tests.devices.meter_cores import POUND, START, codes, gas_meter, meter

from smets1.devices.event_log import AlertCode
from smets1.devices.prepayment import PaymentMode
from smets1.devices.supply import OffReason, SupplyOutcome
from smets1.devices.tamper import Sensor, SupplyTamperState


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
