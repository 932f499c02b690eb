"""Rows of the Prepayment cluster that displays read: each attribute as a display reads it, each command answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.devices.meter_cores import PAYMENT_CONTROLS
from tests.devices.supplier import KEY, START_US, Bench, token

from smets1.devices.account_attributes import PrepaymentAlarm
from smets1.devices.days import HOUR_US, MINUTE_US
from smets1.devices.log_clusters import LogClusters
from smets1.devices.prepayment import (
    DebtPeriod,
    DebtRate,
    NonDisablementCalendar,
    PaymentMode,
    PrepaymentConfig,
)
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.firmware.civil import zigbee_s
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT, CreditStatus, OriginatingDevice
from smets1.firmware.zcl.server import Via
from smets1.firmware.zcl.status import Side
from smets1.headend.srv.frames import parse_read, read_attributes

POUND = 100_000
CONFIG = PrepaymentConfig(
    low_credit_threshold_mp=3 * POUND,
    emergency_credit_limit_mp=6 * POUND,
    emergency_credit_threshold_mp=2 * POUND,
    disablement_threshold_mp=-POUND,
    max_meter_balance_mp=200 * POUND,
    max_credit_threshold_mp=100 * POUND,
    debt_rates=(DebtRate(rate_mp=700, period=DebtPeriod.HOURLY), DebtRate(rate_mp=9000)),
    debt_per_payment_bp=1500,
    debt_rate_cap_mp=4 * POUND,
)


def bench(
    *, is_gas: bool = False, balance_mp: int = POUND, mode=PaymentMode.PREPAYMENT, **changes: Any
) -> Bench:
    return Bench(
        is_gas=is_gas, prepayment=replace(CONFIG, **changes), mode=mode, balance_mp=balance_mp, watts=0
    )


def read(subject: Bench, name: str) -> Any:
    frame = subject.carry_out(
        PREPAYMENT.cluster_id, read_attributes(PREPAYMENT.cluster_id, [name]), via=Via.HAN
    )
    return parse_read(PREPAYMENT.cluster_id, [name], frame).get(name)


def enter(
    subject: Bench, counter: int, pounds: int = 1, source=OriginatingDevice.METER, key: bytes = KEY
) -> str:
    subject.time.now_us += MINUTE_US
    digits = token(counter, pounds, key)
    subject.desk.enter(subject.meter, digits, source=source, utc_us=subject.time.now_us)
    return digits


ROWS: dict[str, tuple[str, Any]] = {
    "0x0000 control": ("payment_control_configuration", 0x0497),
    "0x0001 credit remaining": ("credit_remaining", POUND),
    "0x0002 emergency credit": ("emergency_credit_remaining", 0),
    "0x0003 status": (
        "credit_status",
        CreditStatus.LOW_CREDIT
        | CreditStatus.EMERGENCY_CREDIT_ENABLED
        | CreditStatus.EMERGENCY_CREDIT_AVAILABLE,
    ),
    "0x0004 credit remaining timestamp": ("credit_remaining_timestamp", zigbee_s(START_US)),
    "0x0005 accumulated debt": ("accumulated_debt", 0),
    "0x0006 overall debt cap": ("overall_debt_cap", 4 * POUND),
    "0x0010 emergency credit limit": ("emergency_credit_limit_allowance", 6 * POUND),
    "0x0011 emergency credit threshold": ("emergency_credit_threshold", 2 * POUND),
    "0x0020 total credit added": ("total_credit_added", 0),
    "0x0021 max credit limit": ("max_credit_limit", 200 * POUND),
    "0x0022 max credit per top-up": ("max_credit_per_top_up", 100 * POUND),
    "0x0031 low credit": ("low_credit_warning_level", 3 * POUND),
    "0x0040 cut-off": ("cut_off_value", -POUND),
    "0x0211 debt 1": ("debt_amount_1", 10),
    "0x0221 debt 2": ("debt_amount_2", 20),
    "0x0231 debt 3": ("debt_amount_3", 30),
    "0x0216 frequency of debt 1": ("debt_recovery_frequency_1", 0),
    "0x0226 frequency of debt 2": ("debt_recovery_frequency_2", 1),
    "0x0217 rate of debt 1": ("debt_recovery_amount_1", 700),
    "0x0227 rate of debt 2": ("debt_recovery_amount_2", 9000),
    "0x0239 per cent of debt 3": ("debt_recovery_top_up_percentage_3", 1500),
    "0x0400 alarms": (
        "prepayment_alarm_status",
        PrepaymentAlarm.LOW_CREDIT_WARNING | PrepaymentAlarm.EC_AVAILABLE,
    ),
}


@pytest.mark.parametrize("is_gas", [False, True], ids=["electricity", "gas"])
@pytest.mark.parametrize("row", ROWS)
def test_prepayment_attribute(row: str, is_gas: bool) -> None:
    name, value = ROWS[row]
    assert row.startswith(f"0x{PREPAYMENT.attribute(name).attribute_id:04X} ")
    subject = bench(is_gas=is_gas)
    subject.meter.set_debts(time_1_mp=10, time_2_mp=20, payment_mp=30, utc_us=START_US)
    assert read(subject, name) == value


def test_last_five_top_ups_0x0100_to_0x0143() -> None:
    subject = bench()
    assert read(subject, "top_up_amount_1") == -0x80000000  # the invalid value of its type
    codes = [enter(subject, counter, counter, OriginatingDevice(counter % 3)) for counter in range(1, 7)]
    for place in range(1, 6):
        counter = 7 - place
        assert read(subject, f"top_up_amount_{place}") == counter * POUND
        assert read(subject, f"top_up_originating_device_{place}") == counter % 3
        assert read(subject, f"top_up_date_time_{place}") == zigbee_s(START_US + counter * MINUTE_US)
        assert read(subject, f"top_up_code_{place}") == codes[counter - 1][-5:].encode()
    assert read(subject, "total_credit_added") == 21 * POUND


@pytest.mark.parametrize("is_gas", [False, True], ids=["electricity", "gas"])
@pytest.mark.parametrize(("mode", "emergency", "disabled", "value"), PAYMENT_CONTROLS)
def test_payment_control_configuration_of_both_fuels(mode, emergency, disabled, value, is_gas) -> None:
    subject = bench(
        is_gas=is_gas, mode=mode, suspend_debt_emergency=emergency, suspend_debt_disabled=disabled
    )
    assert read(subject, "payment_control_configuration") == value


def test_credit_status_0x0003_through_all_zones() -> None:
    subject = bench(balance_mp=10 * POUND)
    seen = [read(subject, "credit_status")]
    for delta, takes in ((-7, False), (-2, False), (0, True), (-POUND, None)):
        if takes:
            assert subject.meter.take_emergency(utc_us=START_US)
        elif takes is False:
            subject.meter.adjust_balance(delta * POUND, utc_us=START_US)
        else:
            subject.meter.account.advance(START_US, 3 * POUND * 10**12)
        seen.append(read(subject, "credit_status"))
    subject.meter.account.advance(START_US, 10 * POUND * 10**12)
    seen.append(read(subject, "credit_status"))
    assert seen == [0x05, 0x06, 0x0E, 0x16, 0x36, 0x56]


def test_alarms_0x0400() -> None:
    subject = bench(balance_mp=10 * POUND)
    assert read(subject, "prepayment_alarm_status") == 0
    enter(subject, 1)
    enter(subject, 1)
    assert read(subject, "prepayment_alarm_status") == PrepaymentAlarm.TOP_UP_CODE_ALREADY_USED
    enter(subject, 2, key=bytes([1] * 16))
    assert read(subject, "prepayment_alarm_status") == PrepaymentAlarm.TOP_UP_CODE_INVALID
    enter(subject, 2)
    assert read(subject, "prepayment_alarm_status") == 0
    subject.meter.set_tamper_state(SupplyTamperState.LOCKED, utc_us=subject.time.now_us)
    subject.meter.feel(Sensor.MAGNET, is_open=True, utc_us=subject.time.now_us)
    subject.meter.disable_supply(utc_us=subject.time.now_us)
    assert read(subject, "prepayment_alarm_status") == 0x0600


def test_alarms_0x0400_without_credit_and_in_friendly_hours() -> None:
    dark = bench(balance_mp=-2 * POUND)
    dark.time.now_us += HOUR_US
    assert read(dark, "prepayment_alarm_status") == 0x0141
    calendar = NonDisablementCalendar(special_days=(START_US // (24 * HOUR_US),))
    held = bench(balance_mp=-2 * POUND, calendar=calendar)
    held.time.now_us += HOUR_US
    assert read(held, "prepayment_alarm_status") == 0x0051


@pytest.mark.parametrize("name", [c.name for c in PREPAYMENT.commands if c.sender is Side.CLIENT])
def test_prepayment_command_has_its_handler(name: str) -> None:
    """Whatever the fields: it is not answered that there is no such command."""
    subject = bench()
    LogClusters(
        subject.core,
        subject.meter,
        subject.time,
        is_from_head_end=lambda context: True,
        on_change=subject.save,
    )
    handlers = subject.core.server(1, "prepayment").handlers
    assert name in [handled for handled, _ in handlers.values()]


def test_special_days_are_friendly_throughout() -> None:
    day = START_US // (24 * HOUR_US)
    subject = bench(balance_mp=-2 * POUND, calendar=NonDisablementCalendar(special_days=(day,)))
    subject.meter.advance(START_US + 24 * HOUR_US - 1)
    assert subject.meter.supply.is_on
    subject.meter.advance(START_US + 24 * HOUR_US)
    assert not subject.meter.supply.is_on
