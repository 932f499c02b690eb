"""Golden texts of the pages that a day of test_faces.py does not reach: each off reason, credit mode, rates, strange states.

Each is brought about on a living meter core, or is a display's view of a home; `make golden` writes them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tests.devices.golden import compare, page
from tests.devices.meter_cores import any_meter

from smets1.devices.days import DAY_US, HOUR_US, SECOND_US
from smets1.devices.load import ConstantLoad
from smets1.devices.load_limit import LoadLimit
from smets1.devices.panel import Identity, Panel
from smets1.devices.prepayment import FriendlyHours, NonDisablementCalendar, PaymentMode
from smets1.devices.screens import (
    DISPLAY_WIDTH,
    LCD_WIDTH,
    FuelView,
    HomeView,
    TrafficLight,
    display_pages,
    traffic_light,
)
from smets1.devices.special_codes import make_special_code
from smets1.devices.supply import SupplyState
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.devices.tariff import SwitchingTable, Tariff
from smets1.devices.tokens import TopUpDesk

POUND = 100_000
METER, SUPPLIER, KEY = 0x00DB1234567890A0, 0x90B3D51F30010000, bytes(range(16))
START = 19_733 * DAY_US + 12 * HOUR_US
IDENTITY = Identity(mpxn="1234567890123", firmware="0A0B0C0D")
THREE_RATES = Tariff(
    prices_up_per_kwh=((15_000_000, 28_000_000, -2_000_000),),
    standing_charge_up=51_370_000,
    switching=SwitchingTable.daily((0, 0), (7 * 60, 1), (14 * 60, 2)),
)


def panel(*, is_gas: bool = False, identity: Identity = IDENTITY, **account: Any) -> Panel:
    load = ConstantLoad(watts=3000, start_utc_us=START)
    options: dict[str, Any] = {
        "now_us": START,
        "tariff": Tariff.flat(price_mp_per_kwh=28_620, standing_charge_mp=50_000),
        "mode": PaymentMode.PREPAYMENT,
        "balance_mp": 10 * POUND,
    } | account
    meter = any_meter(load, is_gas=is_gas, **options)
    return Panel(meter, TopUpDesk(key=KEY, originator=SUPPLIER, target=METER), identity=identity)


def after(subject: Panel, seconds: int, keys: str = "") -> list[str]:
    now_us = START + seconds * SECOND_US
    subject.meter.advance(now_us)
    for key in keys:
        subject.press(key, utc_us=now_us)
    return subject.lines(utc_us=now_us)


def off_by_command() -> list[str]:
    subject = panel()
    subject.meter.disable_supply(utc_us=START)
    return after(subject, 1)


def off_by_overload() -> list[str]:
    subject = panel()
    subject.meter.set_load_limit(LoadLimit(threshold_w=1000, period_s=30), utc_us=START)
    return after(subject, 31)


def off_by_tamper() -> list[str]:
    subject = panel()
    subject.meter.set_tamper_state(SupplyTamperState.LOCKED, utc_us=START)
    subject.meter.feel(Sensor.MAGNET, is_open=True, utc_us=START)
    return after(subject, 1)


def off_by_code() -> list[str]:
    subject = panel()
    code = make_special_code(KEY, originator=SUPPLIER, target=METER, counter=1, supply_is_ready=False)
    after(subject, 1, "A" + code + "B")
    return after(subject, 30)


def off_by_two_reasons() -> list[str]:
    subject = panel(balance_mp=0)
    subject.meter.disable_supply(utc_us=START)
    return after(subject, 1)


def ready_and_a_pressed() -> list[str]:
    subject = panel()
    subject.meter.disable_supply(utc_us=START)
    subject.meter.arm_supply(utc_us=START)
    return after(subject, 1, "A")


def debt() -> list[str]:
    subject = panel()
    subject.meter.set_debts(time_1_mp=POUND, time_2_mp=2 * POUND, payment_mp=1, utc_us=START)
    return after(subject, 1, "5")


def friendly() -> list[str]:
    subject = panel(mode=PaymentMode.PREPAYMENT)
    hours = FriendlyHours(weekdays=tuple(range(7)), start_minute=18 * 60, end_minute=24 * 60)
    config = replace(subject.meter.account.config, calendar=NonDisablementCalendar(hours=(hours,)))
    subject.meter.set_prepayment(config, utc_us=START)
    return after(subject, 1, "8")


METER_PAGES: Final[dict[str, Callable[[], list[str]]]] = {
    "not commissioned": lambda: after(panel(identity=replace(IDENTITY, is_commissioned=False)), 1),
    "status, credit mode": lambda: after(panel(mode=PaymentMode.CREDIT), 1),
    "status, off by command": off_by_command,
    "status, off by overload": off_by_overload,
    "status, off by tamper": off_by_tamper,
    "status, off by a code": off_by_code,
    "status, off by command and without credit": off_by_two_reasons,
    "READY, A pressed": ready_and_a_pressed,
    "credit, credit mode": lambda: after(panel(mode=PaymentMode.CREDIT), 1, "7"),
    "credit, below nought": lambda: after(panel(mode=PaymentMode.PREPAYMENT, balance_mp=-1), 1, "7"),
    "debt": debt,
    "tariff, the second of three counts": lambda: after(panel(tariff=THREE_RATES), 3600, "6"),
    "tariff, below nought": lambda: after(panel(tariff=THREE_RATES), 3 * 3600, "6"),
    "time, three kilowatts": lambda: after(panel(), 1, "0"),
    "time, no MPAN": lambda: after(panel(identity=Identity(firmware="00000001")), 1, "0"),
    "gas, total": lambda: after(panel(is_gas=True), 4 * 3600, "9"),
    "gas, tariff": lambda: after(panel(is_gas=True), 4 * 3600, "6"),
    "gas, flow, no MPRN": lambda: after(panel(is_gas=True, identity=Identity()), 3600, "0"),
    "gas, today": lambda: after(panel(is_gas=True), 4 * 3600, "1"),
    "months": lambda: after(panel(), 70 * 86_400, "4"),
    "friendly hours": friendly,
}

PREPAID = FuelView(
    is_prepayment=True,
    balance_mp=150_000,
    emergency_limit_mp=500_000,
    debt_mp=1_234_000,
    supply=SupplyState.ON,
    power_w=2_345,
    price_mp_per_kwh=28_620,
    today_wh=1_000,
    week_wh=12_340,
    month_wh=123_456,
    today_mp=28_620,
    week_mp=353_170,
    month_mp=3_533_310,
    register=12_345_678,
    is_low=True,
)
HOME = HomeView(time_text="Mon 3 Jun 14:05", is_connected=True, electricity=PREPAID)
DISPLAYS: Final = {
    "nothing heard yet": HomeView(gas=FuelView(is_gas=True)),
    "no signal": replace(HOME, is_connected=False),
    "credit mode": replace(HOME, electricity=replace(PREPAID, is_prepayment=False, is_low=False)),
    "supply off": replace(
        HOME,
        is_ppmid=True,
        electricity=replace(PREPAID, supply=SupplyState.OFF, is_emergency_offered=True, power_w=0),
    ),
    "supply ready, emergency credit in use": replace(
        HOME,
        electricity=replace(
            PREPAID, supply=SupplyState.ARMED, balance_mp=-1, is_emergency_in_use=True, emergency_mp=50_000
        ),
    ),
    "messages": replace(HOME, messages=("Your boiler service is due", "x" * 40, "Hello")),
}


def test_rare_pages_of_the_meters_read_as_the_golden_texts() -> None:
    compare({"meter_rare": "".join(page(name, shown(), LCD_WIDTH) for name, shown in METER_PAGES.items())})


def test_rare_pages_of_the_displays_read_as_the_golden_texts() -> None:
    text = ""
    for name, view in DISPLAYS.items():
        text += f"# {name}\n\n"
        pages = display_pages(view)
        text += "".join(page(f"page {title}", lines, DISPLAY_WIDTH) for title, lines in pages.items())
    compare({"display_rare": text})


def test_the_traffic_light_has_each_of_its_colours() -> None:
    steps = [traffic_light(watts) for watts in (None, 0, 500, 501, 2000, 2001)]
    assert steps == [
        TrafficLight.OFF,
        *[TrafficLight.ECO] * 2,
        *[TrafficLight.MEDIUM] * 2,
        TrafficLight.HIGH,
    ]
