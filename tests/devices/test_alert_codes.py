"""Each alert code of prepayment, tokens and supply that a meter has: what brings it about, and what does not.

A row is a code as the DCC's documents name it, and a story; the story ends with the act that must log
that code, once, and which must not have been logged before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.devices.meter_cores import any_meter
from tests.devices.supplier import ESME, KEY, SUPPLIER, token

from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load import ConstantLoad
from smets1.devices.load_limit import LoadLimit
from smets1.devices.panel import Identity, Panel
from smets1.devices.prepayment import (
    DebtPeriod,
    DebtRate,
    NonDisablementCalendar,
    PaymentMode,
    PrepaymentConfig,
)
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.special_codes import Engineering, make_special_code
from smets1.devices.supply import SupplyState
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.devices.tariff import Tariff
from smets1.devices.tokens import TopUpDesk
from smets1.firmware.utrn import check_digit

POUND = 100_000
START = 20_000 * DAY_US + 12 * HOUR_US
HOURLY = DebtRate(rate_mp=100 * POUND, period=DebtPeriod.HOURLY)


class House:
    """A meter of a kilowatt at a pound a kilowatt hour, and a person who does things to it."""

    def __init__(self, *, is_gas: bool = False, balance_mp: int = 10 * POUND, **config: Any) -> None:
        self.meter: Any = any_meter(
            ConstantLoad(watts=1000, start_utc_us=START),
            is_gas=is_gas,
            now_us=START,
            tariff=Tariff.flat(price_mp_per_kwh=POUND),
            prepayment=replace(PrepaymentConfig(), **config),
            mode=PaymentMode.PREPAYMENT,
            balance_mp=balance_mp,
        )
        self.desk = TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME)
        self.panel = Panel(self.meter, self.desk, identity=Identity())
        self.now_us = START
        self.seen: list[int] = []

    def wait(self, span_us: int) -> None:
        self.now_us += span_us
        self.meter.advance(self.now_us)
        self.panel.on_timer(utc_us=self.now_us)

    def type_code(self, text: str) -> None:
        self.wait(30 * SECOND_US)
        for key in "A" + text + "B":
            self.panel.press(key, utc_us=self.now_us)

    def type_token(self, counter: int = 1, pounds: int = 5, key: bytes = KEY) -> None:
        self.type_code(token(counter, pounds, key))

    def before_the_last_act(self) -> None:
        """What has been logged so far was only the way there."""
        self.seen += [event.code for event in self.meter.take_events()]


def low_credit(_: None) -> House:
    house = House()
    house.wait(8 * HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def credit_added(_: None) -> House:
    house = House()
    house.before_the_last_act()
    house.type_token()
    return house


def emergency_offered(_: None) -> House:
    house = House(balance_mp=2 * POUND)
    house.wait(HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def emergency_arms(_: None) -> House:
    house = House(balance_mp=POUND)
    house.wait(2 * HOUR_US)
    assert house.meter.supply.state is SupplyState.OFF
    house.before_the_last_act()
    assert house.meter.take_emergency(utc_us=house.now_us)
    assert house.meter.supply.state is SupplyState.ARMED
    return house


def emergency_taken(_: None) -> House:
    house = House(balance_mp=POUND)
    house.wait(SECOND_US)
    house.before_the_last_act()
    for key in "7A":
        house.panel.press(key, utc_us=house.now_us)
    return house


def emergency_exhausted(_: None) -> House:
    house = House(balance_mp=POUND)
    house.meter.take_emergency(utc_us=house.now_us)
    house.wait(6 * HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def below_disablement(_: None) -> House:
    house = House(balance_mp=POUND)
    house.wait(HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    assert house.meter.supply.state is SupplyState.OFF
    return house


def disablement_held(_: None) -> House:
    calendar = NonDisablementCalendar(special_days=(START // DAY_US,))
    house = House(balance_mp=POUND, calendar=calendar)
    house.wait(HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    assert house.meter.supply.is_on
    return house


def debt_by_time(number: int) -> House:
    rates = (HOURLY, DebtRate()) if number == 1 else (DebtRate(), HOURLY)
    house = House(balance_mp=500 * POUND, debt_rates=rates)
    debts = {"time_1_mp": 0, "time_2_mp": 0, "payment_mp": 0, f"time_{number}_mp": 150 * POUND}
    house.meter.set_debts(**debts, utc_us=START)
    house.wait(2 * HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def debt_by_payment(_: None) -> House:
    house = House(debt_per_payment_bp=5000)
    house.meter.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=5 * POUND, utc_us=START)
    house.type_token(pounds=8)
    house.before_the_last_act()
    house.type_token(counter=2, pounds=2)
    return house


def duplicate(_: None) -> House:
    house = House()
    house.type_token()
    house.before_the_last_act()
    house.type_token()
    return house


def not_authentic(_: None) -> House:
    house = House()
    house.before_the_last_act()
    house.type_token(key=bytes([9] * 16))
    return house


def not_for_this_device(_: None) -> House:
    house = House()
    digits = "9" + token(1, 5)[1:19]
    house.before_the_last_act()
    house.type_code(digits + check_digit(digits))
    return house


def above_max_credit(_: None) -> House:
    house = House(max_credit_threshold_mp=4 * POUND)
    house.before_the_last_act()
    house.type_token()
    return house


def above_max_balance(_: None) -> House:
    house = House(max_meter_balance_mp=14 * POUND)
    house.before_the_last_act()
    house.type_token()
    return house


def five_refused(_: None) -> House:
    house = House()
    for _turn in range(4):
        house.type_code("123")
    house.before_the_last_act()
    house.type_code("123")
    return house


def key_locked(_: None) -> House:
    house = five_refused(None)
    house.before_the_last_act()
    house.wait(60 * SECOND_US)
    house.panel.press("A", utc_us=house.now_us)
    return house


def armed_by_command(_: None) -> House:
    house = House()
    house.meter.disable_supply(utc_us=START)
    house.before_the_last_act()
    house.meter.arm_supply(utc_us=START)
    return house


def armed_by_credit(_: None) -> House:
    house = below_disablement(None)
    house.before_the_last_act()
    house.type_token()
    return house


def overload(_: None) -> House:
    house = House()
    house.meter.set_load_limit(LoadLimit(threshold_w=500, period_s=30), utc_us=START)
    house.wait(29 * SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def overload_over(_: None) -> House:
    house = overload(None)
    house.wait(19 * SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def locked_by_tamper(_: None) -> House:
    house = House()
    house.meter.set_tamper_state(SupplyTamperState.LOCKED, utc_us=START)
    house.before_the_last_act()
    house.meter.feel(Sensor.MAGNET, is_open=True, utc_us=START)
    return house


def uncontrolled_flow(_: None) -> House:
    house = House(is_gas=True)
    house.meter.set_open_taps(90, utc_us=START)
    house.meter.disable_supply(utc_us=START)
    house.meter.arm_supply(utc_us=START)
    house.meter.confirm_supply(utc_us=START)
    house.before_the_last_act()
    house.wait(10 * MINUTE_US)
    assert house.meter.supply.state is SupplyState.ARMED
    return house


def billing_log(_: None) -> House:
    house = House()
    house.before_the_last_act()
    house.meter.set_payment_mode(PaymentMode.CREDIT, utc_us=START)
    return house


def event_log_cleared(_: None) -> House:
    house = House()
    code = make_special_code(
        KEY, originator=SUPPLIER, target=ESME, counter=1, engineering=Engineering.CLEAR_EVENT_LOG
    )
    house.before_the_last_act()
    house.type_code(code)
    return house


def future_command(payload: bytes) -> House:
    house = House()
    command = FutureCommand(kind=FutureKind.SUPPLY, due_us=START + HOUR_US, payload=payload, issuer_id=7)
    house.meter.schedule(command, utc_us=START)
    house.wait(HOUR_US - SECOND_US)
    house.before_the_last_act()
    house.wait(SECOND_US)
    return house


def outage(minutes: int) -> House:
    house = House()
    house.meter.power_off(utc_us=START)
    house.before_the_last_act()
    house.meter.outage(START + minutes * MINUTE_US)
    return house


def gas_outage(_: None) -> House:
    house = House(is_gas=True)
    house.meter.power_off(utc_us=START)
    house.before_the_last_act()
    house.meter.outage(START + MINUTE_US)
    return house


def low_battery(_: None) -> House:
    house = House(is_gas=True)
    house.before_the_last_act()
    house.meter.drain_battery(5, utc_us=START)
    return house


Story = Callable[[Any], House]
ROWS: dict[str, tuple[AlertCode, Story, Any]] = {
    "0x810D credit below low threshold": (AlertCode.CREDIT_BELOW_LOW_THRESHOLD, low_credit, None),
    "0x810E credit added locally": (AlertCode.CREDIT_ADDED_LOCALLY, credit_added, None),
    "0x8119 emergency credit available": (AlertCode.EMERGENCY_CREDIT_AVAILABLE, emergency_offered, None),
    "0x8168 disabled then armed": (AlertCode.SUPPLY_DISABLED_THEN_ARMED, emergency_arms, None),
    "0x81A7 debt collected, time 1": (AlertCode.DEBT_COLLECTED_TIME_1, debt_by_time, 1),
    "0x81A8 debt collected, time 2": (AlertCode.DEBT_COLLECTED_TIME_2, debt_by_time, 2),
    "0x81A9 debt collected, payment": (AlertCode.DEBT_COLLECTED_PAYMENT, debt_by_payment, None),
    "0x81AA emergency credit exhausted": (AlertCode.EMERGENCY_CREDIT_EXHAUSTED, emergency_exhausted, None),
    "0x81AB emergency credit activated": (AlertCode.EMERGENCY_CREDIT_ACTIVATED, emergency_taken, None),
    "0x81BE disabled and locked": (AlertCode.DISABLED_AND_LOCKED, locked_by_tamper, None),
    "0x81BF disabled then armed, uncontrolled flow": (
        AlertCode.DISABLED_THEN_ARMED_UNCONTROLLED_FLOW,
        uncontrolled_flow,
        None,
    ),
    "0x81C4 manual entry suspended": (AlertCode.MANUAL_ENTRY_SUSPENDED, five_refused, None),
    "0x81C5 refused while locked out": (AlertCode.ENTRY_REFUSED_LOCKED_OUT, key_locked, None),
    "0x8F0A billing log updated": (AlertCode.BILLING_LOG_UPDATED, billing_log, None),
    "0x8F0F credit below disablement threshold": (
        AlertCode.CREDIT_BELOW_DISABLEMENT_THRESHOLD,
        below_disablement,
        None,
    ),
    "0x8F1D GSME power loss": (AlertCode.GSME_POWER_LOSS, gas_outage, None),
    "0x8F1F low battery": (AlertCode.LOW_BATTERY, low_battery, None),
    "0x8F32 supply armed by command": (AlertCode.SUPPLY_ARMED, armed_by_command, None),
    "0x8F32 supply armed by credit": (AlertCode.SUPPLY_ARMED, armed_by_credit, None),
    "0x8F33 load limit exceeded": (AlertCode.LOAD_LIMIT_EXCEEDED, overload, None),
    "0x8F34 load limit restored": (AlertCode.LOAD_LIMIT_RESTORED, overload_over, None),
    "0x8F35 outage restored": (AlertCode.OUTAGE_RESTORED, outage, 2),
    "0x8F36 outage restored after three minutes": (AlertCode.OUTAGE_RESTORED_LONG, outage, 3),
    "0x8F3F tamper": (AlertCode.TAMPER, locked_by_tamper, None),
    "0x8F47 would pass max meter balance": (AlertCode.TOP_UP_ABOVE_MAX_BALANCE, above_max_balance, None),
    "0x8F51 duplicate": (AlertCode.TOP_UP_DUPLICATE, duplicate, None),
    "0x8F52 event log cleared": (AlertCode.EVENT_LOG_CLEARED, event_log_cleared, None),
    "0x8F5B above max credit threshold": (AlertCode.TOP_UP_ABOVE_MAX_CREDIT, above_max_credit, None),
    "0x8F63 not authentic": (AlertCode.TOP_UP_NOT_AUTHENTIC, not_authentic, None),
    "0x8F64 not for this device": (AlertCode.TOP_UP_NOT_FOR_THIS_DEVICE, not_for_this_device, None),
    "0x8F66 future-dated command executed": (
        AlertCode.FUTURE_COMMAND_EXECUTED,
        future_command,
        bytes([SupplyState.OFF]),
    ),
    "0x8F67 future-dated command failed": (AlertCode.FUTURE_COMMAND_FAILED, future_command, bytes([9])),
    "0x8F75 strong magnetic field": (AlertCode.STRONG_MAGNETIC_FIELD, locked_by_tamper, None),
    "0x8F83 disablement suspended": (AlertCode.DISABLEMENT_SUSPENDED, disablement_held, None),
}


@pytest.mark.parametrize("row", ROWS)
def test_alert_code(row: str) -> None:
    code, story, option = ROWS[row]
    assert row.startswith(f"0x{code:04X} ")
    house = story(option)
    assert code not in house.seen, "it was logged on the way there"
    assert [event.code for event in house.meter.take_events()].count(code) == 1


def test_the_other_codes_are_not_a_meters_or_shown_elsewhere() -> None:
    """Communication, firmware and access: the shell's and the hub's. Sensors: test_tamper.py, test_gas_meter.py."""
    others = {
        AlertCode.JOINED_HAN,
        AlertCode.GSME_COMMAND_NOT_RETRIEVED,
        AlertCode.CHF_DEVICE_LOG_CHANGED,
        AlertCode.FIRMWARE_VERIFICATION_FAILED,
        AlertCode.FIRMWARE_VERIFIED,
        AlertCode.NO_AUTHORITY,
        AlertCode.UNAUTHORISED_ACCESS,
        AlertCode.TRUSTED_SOURCE_AUTHENTICATION_FAILURE,
        AlertCode.MALFORMED_COMMANDS,
        AlertCode.COMMISSIONED,
        AlertCode.CREDENTIALS_UPDATED,
        AlertCode.BATTERY_COVER_REMOVED,
        AlertCode.METER_COVER_REMOVED,
        AlertCode.TERMINAL_COVER_REMOVED,
        AlertCode.SECOND_TERMINAL_COVER_REMOVED,
        AlertCode.OTHER_PHYSICAL_ACCESS,
    }
    assert {code for code, _, _ in ROWS.values()} | others == set(AlertCode)
