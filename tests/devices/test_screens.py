"""Golden texts of every page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smets1.devices.screens import (
    DISPLAY_WIDTH,
    LCD_WIDTH,
    FuelView,
    HomeView,
    MeterView,
    SpanUse,
    TrafficLight,
    display_pages,
    format_money,
    meter_page,
    traffic_light,
)
from smets1.devices.supply import OffReason, SupplyState

ELECTRICITY = FuelView(
    is_prepayment=True,
    balance_mp=1_234_999,
    emergency_limit_mp=500_000,
    debt_mp=2_500_000,
    supply=SupplyState.ON,
    power_w=2547,
    price_mp_per_kwh=28_620,
    today_wh=7971,
    week_wh=18_962,
    month_wh=72_764,
    today_mp=228_100,
    week_mp=542_000,
    month_mp=2_082_500,
    register=5_069_004,
)
GAS = FuelView(
    is_gas=True,
    is_prepayment=False,
    supply=SupplyState.ON,
    price_mp_per_kwh=7_010,
    today_wh=31_000,
    week_wh=190_500,
    month_wh=512_340,
    today_mp=217_310,
    week_mp=1_335_405,
    month_mp=3_591_503,
    register=1_234_567,
)
HOME = HomeView(
    time_text="Mon 3 Jun 14:05",
    is_connected=True,
    is_ppmid=True,
    electricity=ELECTRICITY,
    gas=GAS,
    messages=("Your meter was upgraded", "Welcome"),
)

PAGES = {
    "home": """
Mon 3 Jun 14:05        connected
Now               2.547 kW [red]
Electricity today          £2.28
Gas today                  £2.17
Electricity credit        £12.34
""",
    "electricity credit": """
ELECTRICITY
Balance                   £12.34
Debt                      £25.00
""",
    "electricity use": """
ELECTRICITY USE
Now                     2.547 kW
Today                   7.97 kWh
This week              18.96 kWh
This month             72.76 kWh
""",
    "electricity cost": """
ELECTRICITY COST
Now                      £0.72/h
Today                      £2.28
This week                  £5.42
This month                £20.82
Price per kWh             28.62p
""",
    "electricity history": """
ELECTRICITY HISTORY
Nothing yet
""",
    "electricity meter": """
ELECTRICITY METER
Reading             5069.004 kWh
Supply                        on
""",
    "gas use": """
GAS USE
Today                  31.00 kWh
This week             190.50 kWh
This month            512.34 kWh
""",
    "gas cost": """
GAS COST
Today                      £2.17
This week                 £13.35
This month                £35.91
Price per kWh              7.01p
""",
    "gas history": """
GAS HISTORY
Nothing yet
""",
    "gas meter": """
GAS METER
Reading              1234.567 m3
Supply                        on
""",
    "messages": """
MESSAGES
Your meter was upgraded
Welcome
""",
}


def text(lines: list[str]) -> str:
    return "\n" + "\n".join(lines) + "\n"


def test_every_page_of_the_display():
    assert {name: text(lines) for name, lines in display_pages(HOME).items()} == PAGES
    assert list(display_pages(HOME)) == list(PAGES)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"is_low": True}, "! Electricity: Low credit"),
        ({"is_low": True, "is_emergency_in_use": True}, "! Electricity: Emergency credit"),
        ({"supply": SupplyState.OFF}, "! Electricity: Supply off!"),
        ({"supply": SupplyState.ARMED}, "! Electricity: Ready to turn on"),
    ],
)
def test_what_is_wrong_stands_on_the_home_page(changes, line):
    home = replace(HOME, electricity=replace(ELECTRICITY, **changes))
    pages = display_pages(home)
    assert pages["home"][-1] == line
    assert pages["electricity credit"][-1] == line


@pytest.mark.parametrize(
    ("is_ppmid", "line"), [(True, "Press OK to use it"), (False, "Available at the meter")]
)
def test_emergency_credit_is_offered(is_ppmid, line):
    fuel = replace(ELECTRICITY, balance_mp=90_000, is_emergency_offered=True, is_low=True, debt_mp=0)
    page = display_pages(replace(HOME, is_ppmid=is_ppmid, electricity=fuel))["electricity credit"]
    assert text(page) == (
        "\nELECTRICITY\nBalance                    £0.90\nEmergency credit           £5.00\n"
        f"{line}\n! Electricity: Low credit\n"
    )


def test_emergency_credit_in_use():
    fuel = replace(ELECTRICITY, balance_mp=0, emergency_mp=349_999, is_emergency_in_use=True)
    page = display_pages(replace(HOME, electricity=fuel))["electricity credit"]
    assert page[2] == "Emergency credit left      £3.49"


def test_what_is_not_known_is_dashes_and_never_zero():
    pages = display_pages(HomeView(gas=FuelView(is_gas=True, is_prepayment=True)))
    assert pages["home"] == [
        "--:--                  no signal",
        "Now                   --- kW [-]",
        "Electricity today           £---",
        "Gas today                   £---",
        "Gas credit                  £---",
    ]
    assert not any("0.00" in line for page in pages.values() for line in page)
    assert pages["messages"] == ["MESSAGES", "No messages"]


def test_messages_are_wrapped_and_ask_to_be_confirmed():
    text = "A man will come on Monday to change the battery of your gas meter"
    view = replace(HOME, messages=(text, "y" * 40), is_confirmation_wanted=True)
    assert display_pages(view)["messages"] == [
        "MESSAGES",
        "A man will come on Monday to",
        "change the battery of your gas",
        "meter",
        "y" * 32,
        "y" * 8,
        "OK to confirm",
    ]


def test_no_line_is_wider_than_the_glass():
    for page in display_pages(HOME).values():
        assert max(len(line) for line in page) <= DISPLAY_WIDTH
    for key in (None, *range(10)):
        assert max(len(line) for line in meter_page(LCD, key)) <= LCD_WIDTH


@pytest.mark.parametrize(
    ("watts", "light"),
    [
        (None, TrafficLight.OFF),
        (0, TrafficLight.ECO),
        (500, TrafficLight.ECO),
        (501, TrafficLight.MEDIUM),
        (2000, TrafficLight.MEDIUM),
        (2001, TrafficLight.HIGH),
    ],
)
def test_traffic_light(watts, light):
    assert traffic_light(watts) is light


@pytest.mark.parametrize(
    ("mp", "shown"),
    [(0, "£0.00"), (999, "£0.00"), (-1, "-£0.01"), (-1_000, "-£0.01"), (-100_001, "-£1.01"), (None, "£---")],
)
def test_money_is_rounded_down(mp, shown):
    assert format_money(mp) == shown


LCD = MeterView(
    is_gas=False,
    is_commissioned=True,
    is_prepayment=True,
    register=5_069_004,
    tou_registers=(4_000_000, 1_069_004),
    active_tou=1,
    balance_mp=1_234_999,
    emergency_mp=0,
    is_emergency_offered=False,
    is_emergency_in_use=False,
    price_mp_per_kwh=28_620,
    standing_mp=45_670,
    power_w=2547,
    supply=SupplyState.ON,
    off_reasons=OffReason(0),
    date_text="03 Jun 2024",
    time_text="14:05:00",
    firmware="0x01020304",
    mpxn="1234567890123",
    last_top_ups=((1_000_000, "03 Jun 09:15", "73946144332040217315"),),
    accepted=3,
    rejected=1,
    spans=tuple((SpanUse(7_971 * n, 228_100 * n), SpanUse(8_500 * n, 243_270 * n)) for n in (1, 7, 30)),
    months=(("MAY 2024", SpanUse(255_000, 8_000_000)), ("APR 2024", SpanUse(301_120, 9_100_500))),
    debts=(("PAYMENT DEBT", "£15.01", "12.00 %"), ("TIME DEBT1", "£9.99", "£0.25/DAY")),
    friendly=("ON", "UNTIL 10:00", "04 Jun 2024"),
)


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (None, ["STATUS", "SUPPLY ON", "£12.34"]),
        (0, ["TIME", "03 Jun 2024", "14:05:00", "2.547 kW", "1234567890123", "0x01020304"]),
        (1, ["TODAY", "£2.28", "7.97 kWh", "YESTERDAY", "£2.43", "8.50 kWh"]),
        (2, ["THIS WEEK", "£15.96", "55.79 kWh", "LAST WEEK", "£17.02", "59.50 kWh"]),
        (3, ["THIS MONTH", "£68.43", "239.13 kWh", "LAST MONTH", "£72.98", "255.00 kWh"]),
        (4, ["MONTHS", "MAY 2024", "255.00 kWh", "£80.00", "APR 2024", "301.12 kWh", "£91.00"]),
        (5, ["DEBT", "PAYMENT DEBT", "£15.01", "12.00 %", "TIME DEBT1", "£9.99", "£0.25/DAY"]),
        (6, ["TARIFF", "RATE R02", "28.62p/kWh", "45.67p/DAY", " R01 0004000kWh", ">R02 0001069kWh"]),
        (7, ["CREDIT", "£12.34"]),
        (8, ["FRIENDLY CREDIT", "ON", "UNTIL 10:00", "04 Jun 2024"]),
        (
            9,
            [
                *("TOTAL", "00005069 kWh", "CODES", "ACCEPTED 3", "REJECTED 1"),
                *("£10.00", "03 Jun 09:15", "73946-14433", "20402-17315"),
            ],
        ),
    ],
)
def test_the_meters_nine_keys_and_nought(key, lines):
    assert meter_page(LCD, key) == lines


def test_there_is_no_other_key():
    with pytest.raises(KeyError):
        meter_page(LCD, 10)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"is_commissioned": False}, ["STATUS", "COMMISSION"]),
        ({"supply": SupplyState.ARMED}, ["STATUS", "READY", "PRESS A THEN B"]),
        (
            {"supply": SupplyState.OFF, "off_reasons": OffReason.NO_CREDIT},
            ["STATUS", "NO CREDIT", "OFF CODE 02"],
        ),
        (
            {"supply": SupplyState.OFF, "off_reasons": OffReason.OVERLOAD | OffReason.MANUAL},
            ["STATUS", "OVERLOAD", "OFF CODE 05"],
        ),
        (
            {"supply": SupplyState.OFF, "off_reasons": OffReason.MANUAL},
            ["STATUS", "SUPPLY OFF", "OFF CODE 01"],
        ),
        ({"supply": SupplyState.OFF, "off_reasons": OffReason.EVENT}, ["STATUS", "OFF EVENT", "OFF CODE 08"]),
        (
            {"supply": SupplyState.OFF, "off_reasons": OffReason.SUPPLY_CODE},
            ["STATUS", "OFF CODE ENTRY", "OFF CODE 10"],
        ),
        ({"is_prepayment": False}, ["STATUS", "SUPPLY ON"]),
        (
            {"is_emergency_in_use": True, "emergency_mp": 100_000},
            ["STATUS", "EMERGENCY CREDIT", "£1.00"],
        ),
    ],
)
def test_status_page(changes, lines):
    assert meter_page(replace(LCD, **changes), None) == lines


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"is_prepayment": False}, ["CREDIT", "CREDIT MODE"]),
        ({"is_emergency_offered": True}, ["CREDIT", "£12.34", "A FOR EMERGENCY"]),
        (
            {
                "is_emergency_in_use": True,
                "balance_mp": 0,
                "emergency_mp": 100_000,
                "emergency_owed_mp": 400_000,
            },
            ["CREDIT", "£0.00", "EC         £1.00", "REPAY      £4.00"],
        ),
    ],
)
def test_credit_page(changes, lines):
    assert meter_page(replace(LCD, **changes), 7) == lines


def test_gas_pages():
    gas = replace(LCD, is_gas=True, register=12_345_678, mpxn="")
    assert meter_page(gas, 9)[:2] == ["TOTAL", "12345.678 m3"]
    assert meter_page(gas, 0)[3:5] == ["2.547 m3/h", "NO MPRN"]


def test_pages_that_have_nothing_to_show():
    bare = replace(LCD, months=(), debts=(), friendly=())
    assert [meter_page(bare, key) for key in (4, 5, 8)] == [
        ["MONTHS", "NONE YET"],
        ["DEBT", "NOT USED"],
        ["FRIENDLY CREDIT", "NOT USED"],
    ]
    assert meter_page(replace(LCD, is_commissioned=False), 0)[:2] == ["STATUS", "COMMISSION"]
    assert meter_page(replace(LCD, export_wh=1_234_567), 9)[2:4] == ["EXPORT", "00001234 kWh"]
    refund = replace(LCD, refund="73946144332040217315")
    assert meter_page(refund, 0)[-3:] == ["REFUND", "73946-14433", "20402-17315"]
