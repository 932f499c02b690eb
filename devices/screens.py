"""What the displays show, as lines of text: the meter's LCD, the PPMID and the IHD.

Each page is a pure function of a frozen view of the home; a page is a title and its lines, none wider
than the device's glass. What a display does not know yet shows as dashes, never as zero: a real display that
has not heard from the meter says so, and a test should be able to see the difference.

Source: Liberty 100 manual (title, then value; screens by key), Pipit 500 manual (tri-colour light: eco,
medium, high; offers emergency credit from "Low credit" and "Supply off!").
The wording of screens is ours where the manuals are not public.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

from smets1.devices.supply import OffReason, SupplyState

__all__ = [
    "DISPLAY_WIDTH",
    "LCD_WIDTH",
    "POWER_THRESHOLDS_W",
    "STERLING",
    "SYMBOLS",
    "FuelView",
    "HomeView",
    "MeterView",
    "SpanUse",
    "TrafficLight",
    "block_lines",
    "display_pages",
    "format_money",
    "format_reading",
    "hidden_lines",
    "hidden_page",
    "hours_page",
    "meter_page",
    "traffic_light",
]

DISPLAY_WIDTH: Final = 32
LCD_WIDTH: Final = 16
_UNKNOWN: Final = "---"
_HOUR_WIDTH: Final = 15  # of a column
STERLING: Final = "£"
SYMBOLS: Final = {"GBP": STERLING, "EUR": "€"}
POWER_THRESHOLDS_W: Final = (500, 2000)


@unique
class TrafficLight(Enum):
    """The tri-colour light of the Pipit 500."""

    OFF = "-"
    ECO = "green"
    MEDIUM = "amber"
    HIGH = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class FuelView:
    """What a display has read of one meter. None: not heard yet. Money in 1/1000 pence."""

    is_gas: bool = False
    is_prepayment: bool = False
    balance_mp: int | None = None
    emergency_mp: int | None = None  # left of it, once taken
    emergency_limit_mp: int | None = None
    is_emergency_offered: bool = False
    is_emergency_in_use: bool = False
    is_low: bool = False
    debt_mp: int | None = None
    supply: SupplyState | None = None
    power_w: int | None = None
    price_mp_per_kwh: int | None = None
    today_wh: int | None = None
    week_wh: int | None = None
    month_wh: int | None = None
    today_mp: int | None = None
    week_mp: int | None = None
    month_mp: int | None = None
    register: int | None = None  # Wh, or litres of gas
    symbol: str = STERLING
    history: tuple[tuple[str, int | None], ...] = ()  # (day, as "Sun 2 Jun"; Wh or litres), latest first


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeView:
    """What an IHD or PPMID knows."""

    time_text: str = ""  # local, as "Mon 3 Jun 14:05"; empty: no time yet
    is_connected: bool = False
    is_ppmid: bool = False
    electricity: FuelView = field(default_factory=FuelView)
    gas: FuelView | None = None
    messages: tuple[str, ...] = ()  # latest first
    is_confirmation_wanted: bool = False  # a message asks a person to say that it was read
    supplier: tuple[str, str] = ("", "")  # name, contact
    thresholds_w: tuple[int, int] = POWER_THRESHOLDS_W  # of the traffic light


@dataclass(frozen=True, slots=True)
class SpanUse:
    """What was used in a span, and what that cost."""

    energy_wh: int
    cost_mp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterView:
    """What a meter's own LCD shows. Money in 1/1000 pence."""

    is_gas: bool
    is_commissioned: bool
    is_prepayment: bool
    register: int  # Wh, or litres
    tou_registers: tuple[int, ...]  # Wh each
    active_tou: int  # 0 is the first
    balance_mp: int
    emergency_mp: int
    is_emergency_offered: bool
    is_emergency_in_use: bool
    price_mp_per_kwh: int
    standing_mp: int
    power_w: int  # litres an hour of gas
    supply: SupplyState
    off_reasons: OffReason
    date_text: str  # as "03 Jun 2024"
    time_text: str  # as "14:05:00"
    firmware: str = ""
    mpxn: str = ""
    supplier: tuple[str, str] = ("", "")  # name, contact
    symbol: str = STERLING
    last_top_ups: tuple[tuple[int, str, str], ...] = ()  # (amount, time text, 20 digits), latest first
    accepted: int = 0
    rejected: int = 0
    refund: str = ""  # 20 digits that the meter has given back credit by
    spans: tuple[tuple[SpanUse, SpanUse], ...] = ()  # today, this week, this month; each with the one before
    months: tuple[tuple[str, SpanUse], ...] = ()  # whole ones, as "FEB 2024", latest first
    debts: tuple[tuple[str, ...], ...] = ()  # those that are owed: name, amount, how it is paid back
    emergency_owed_mp: int = 0
    export_wh: int | None = None  # None: the meter has none
    friendly: tuple[str, ...] = ()  # what friendly credit does now, and until when; empty: there is none


# --- text ---------------------------------------------------------------------------------------


def format_money(mp: int | None, symbol: str = STERLING) -> str:
    """1/1000 pence -> pounds, rounded down to a penny towards minus infinity: 1_234_999 -> '£12.34'."""
    if mp is None:
        return symbol + _UNKNOWN
    pence = mp // 1000
    sign = "-" if pence < 0 else ""
    return f"{sign}{symbol}{abs(pence) // 100}.{abs(pence) % 100:02d}"


def _price(mp: int | None, symbol: str) -> str:
    hundredth = "p" if symbol == STERLING else "c"
    return f"{_UNKNOWN}{hundredth}" if mp is None else f"{mp // 1000}.{mp % 1000 // 10:02d}{hundredth}"


def _money(view: FuelView | MeterView, mp: int | None) -> str:
    return format_money(mp, view.symbol)


def _kwh(wh: int | None) -> str:
    return f"{_UNKNOWN} kWh" if wh is None else f"{wh // 1000}.{wh % 1000 // 10:02d} kWh"


def _kw(watts: int | None) -> str:
    return f"{_UNKNOWN} kW" if watts is None else f"{watts // 1000}.{watts % 1000:03d} kW"


def _row(label: str, value: str, width: int = DISPLAY_WIDTH) -> str:
    return label + value.rjust(width - len(label))


def traffic_light(power_w: int | None, thresholds_w: tuple[int, int] = POWER_THRESHOLDS_W) -> TrafficLight:
    """Eco up to the first threshold, medium up to the second, high above (SRV 6.12)."""
    if power_w is None:
        return TrafficLight.OFF
    if power_w <= thresholds_w[0]:
        return TrafficLight.ECO
    return TrafficLight.MEDIUM if power_w <= thresholds_w[1] else TrafficLight.HIGH


# --- IHD and PPMID --------------------------------------------------------------------------------


def display_pages(view: HomeView) -> dict[str, list[str]]:
    """Every page that the display has now, by name, in the order of its button."""
    pages = {"home": _home_page(view)}
    fuels = [("electricity", view.electricity), *([("gas", view.gas)] if view.gas else [])]
    for name, fuel in fuels:
        if fuel.is_prepayment:
            pages[f"{name} credit"] = _credit_page(view, name, fuel)
        pages[f"{name} use"] = _use_page(name, fuel)
        pages[f"{name} cost"] = _cost_page(name, fuel)
        pages[f"{name} history"] = _history_page(name, fuel)
        pages[f"{name} meter"] = _meter_reading_page(name, fuel)
    pages["messages"] = _message_page(view)
    if any(view.supplier):
        pages["supplier"] = ["SUPPLIER", *(line for line in view.supplier if line)]
    return pages


def hidden_page(view: HomeView, typed_count: int) -> list[str]:
    """What stands in place of every page while the privacy PIN is asked for."""
    time = _row(view.time_text or "--:--", "connected" if view.is_connected else "no signal")
    return [time, "Enter PIN", "*" * typed_count]


def _home_page(view: HomeView) -> list[str]:
    light = traffic_light(view.electricity.power_w, view.thresholds_w)
    lines = [
        _row(view.time_text or "--:--", "connected" if view.is_connected else "no signal"),
        _row("Now", f"{_kw(view.electricity.power_w)} [{light.value}]"),
        _row("Electricity today", _money(view.electricity, view.electricity.today_mp)),
    ]
    if view.gas is not None:
        lines.append(_row("Gas today", _money(view.gas, view.gas.today_mp)))
    for name, fuel in (("Electricity", view.electricity), ("Gas", view.gas)):
        if fuel is not None and fuel.is_prepayment:
            lines.append(_row(f"{name} credit", _money(fuel, fuel.balance_mp)))
            lines += _alarms(name, fuel)
    return lines


def _alarms(name: str, fuel: FuelView) -> list[str]:
    if fuel.supply is SupplyState.OFF:
        return [f"! {name}: Supply off!"]
    if fuel.supply is SupplyState.ARMED:
        return [f"! {name}: Ready to turn on"]
    if fuel.is_emergency_in_use:
        return [f"! {name}: Emergency credit"]
    return [f"! {name}: Low credit"] if fuel.is_low else []


def _credit_page(view: HomeView, name: str, fuel: FuelView) -> list[str]:
    lines = [name.upper(), _row("Balance", _money(fuel, fuel.balance_mp))]
    if fuel.is_emergency_in_use:
        lines.append(_row("Emergency credit left", _money(fuel, fuel.emergency_mp)))
    elif fuel.is_emergency_offered:
        lines.append(_row("Emergency credit", _money(fuel, fuel.emergency_limit_mp)))
        lines.append("Press OK to use it" if view.is_ppmid else "Available at the meter")
    if fuel.debt_mp:
        lines.append(_row("Debt", _money(fuel, fuel.debt_mp)))
    return lines + _alarms(name.capitalize(), fuel)


def _use_page(name: str, fuel: FuelView) -> list[str]:
    lines = [f"{name.upper()} USE"]
    if not fuel.is_gas:
        lines.append(_row("Now", _kw(fuel.power_w)))
    spans = (("Today", fuel.today_wh), ("This week", fuel.week_wh), ("This month", fuel.month_wh))
    return lines + [_row(label, _kwh(wh)) for label, wh in spans]


def _cost_page(name: str, fuel: FuelView) -> list[str]:
    lines = [f"{name.upper()} COST"]
    if not fuel.is_gas:
        lines.append(_row("Now", f"{_cost_per_hour(fuel)}/h"))
    spans = (("Today", fuel.today_mp), ("This week", fuel.week_mp), ("This month", fuel.month_mp))
    lines += [_row(label, _money(fuel, mp)) for label, mp in spans]
    return [*lines, _row("Price per kWh", _price(fuel.price_mp_per_kwh, fuel.symbol))]


def _cost_per_hour(fuel: FuelView) -> str:
    if fuel.power_w is None or fuel.price_mp_per_kwh is None:
        return _money(fuel, None)
    return _money(fuel, fuel.power_w * fuel.price_mp_per_kwh // 1000)


def _history_page(name: str, fuel: FuelView) -> list[str]:
    """The days before today; gas as it was measured."""
    lines = [_row(day, format_reading(use, is_gas=fuel.is_gas)) for day, use in fuel.history]
    return [f"{name.upper()} HISTORY", *(lines or ["Nothing yet"])]


def hours_page(name: str, date: str, hours: list[tuple[str, int | None]], *, is_gas: bool) -> list[str]:
    """A day's hours by their local begin, in two columns; a day of a clock change has 23 or 25."""
    cells = [_row(f"{hour}h", format_reading(use, is_gas=is_gas), _HOUR_WIDTH) for hour, use in hours]
    half = (len(cells) + 1) // 2
    right = [*cells[half:], ""]
    rows = [f"{left}  {right[index]}".rstrip() for index, left in enumerate(cells[:half])]
    return [_row(name.upper(), date), *rows]


def _meter_reading_page(name: str, fuel: FuelView) -> list[str]:
    states = {SupplyState.ON: "on", SupplyState.ARMED: "ready", SupplyState.OFF: "off", None: _UNKNOWN}
    return [
        f"{name.upper()} METER",
        _row("Reading", format_reading(fuel.register, is_gas=fuel.is_gas)),
        _row("Supply", states[fuel.supply]),
    ]


def format_reading(register: int | None, *, is_gas: bool) -> str:
    """Wh or dm3 -> '1.234 kWh' or '1.234 m3'."""
    if register is None:
        return _UNKNOWN
    return f"{register // 1000}.{register % 1000:03d} {'m3' if is_gas else 'kWh'}"


def _message_page(view: HomeView) -> list[str]:
    if not view.messages:
        return ["MESSAGES", "No messages"]
    lines = [line for message in view.messages for line in textwrap.wrap(message, DISPLAY_WIDTH) or [""]]
    return ["MESSAGES", *lines, *(["OK to confirm"] if view.is_confirmation_wanted else [])]


# --- the meter's LCD ------------------------------------------------------------------------------


def meter_page(view: MeterView, key: int | None) -> list[str]:
    """The page of key 0 to 9, or None: the one that stands when nobody presses: title (shown 2 s) and values
    (4 s each). Raises KeyError for another key.

    Source: Secure Liberty 100 manual, displays in credit and prepayment mode: which key shows what.
    """
    page: dict[int | None, Callable[[MeterView], list[str]]] = {
        None: _status_lines,
        0: _clock_lines,
        1: lambda view: _span_lines(view, 0, "TODAY", "YESTERDAY"),
        2: lambda view: _span_lines(view, 1, "THIS WEEK", "LAST WEEK"),
        3: lambda view: _span_lines(view, 2, "THIS MONTH", "LAST MONTH"),
        4: _month_lines,
        5: _debt_lines,
        6: _tariff_lines,
        7: _credit_lines,
        8: _friendly_lines,
        9: _register_lines,
    }
    return [line[:LCD_WIDTH] for line in page[key](view)]


def hidden_lines(view: MeterView, typed_count: int) -> list[str]:
    """What stands in place of every page of the LCD while the privacy PIN is asked for."""
    if typed_count:
        return ["PRIVACY PIN", "*" * typed_count]
    names = {SupplyState.ARMED: "READY", SupplyState.OFF: "SUPPLY OFF", SupplyState.ON: "SUPPLY ON"}
    return ["STATUS", names[view.supply], "ENTER PIN"]


def _status_lines(view: MeterView) -> list[str]:
    if not view.is_commissioned:
        return ["STATUS", "COMMISSION"]
    if view.supply is SupplyState.ARMED:
        return ["STATUS", "READY", "PRESS A THEN B"]
    if view.supply is SupplyState.OFF:
        return ["STATUS", _off_text(view.off_reasons), f"OFF CODE {view.off_reasons:02X}"]
    if not view.is_prepayment:
        return ["STATUS", "SUPPLY ON"]
    if view.is_emergency_in_use:
        return ["STATUS", "EMERGENCY CREDIT", _money(view, view.emergency_mp)]
    return ["STATUS", "SUPPLY ON", _money(view, view.balance_mp)]


def _off_text(reasons: OffReason) -> str:
    names = (
        (OffReason.OVERLOAD, "OVERLOAD"),
        (OffReason.NO_CREDIT, "NO CREDIT"),
        (OffReason.EVENT, "OFF EVENT"),
        (OffReason.SUPPLY_CODE, "OFF CODE ENTRY"),
    )
    return next((text for reason, text in names if reasons & reason), "SUPPLY OFF")


def _span_lines(view: MeterView, span: int, title: str, before: str) -> list[str]:
    lines = []
    for name, use in zip((title, before), view.spans[span], strict=True):
        lines += [name, _money(view, use.cost_mp), _kwh(use.energy_wh)]
    return lines


def _month_lines(view: MeterView) -> list[str]:
    lines = ["MONTHS"]
    for name, use in view.months:
        lines += [name, _kwh(use.energy_wh), _money(view, use.cost_mp)]
    return lines if view.months else ["MONTHS", "NONE YET"]


def _credit_lines(view: MeterView) -> list[str]:
    if not view.is_prepayment:
        return ["CREDIT", "CREDIT MODE"]
    lines = ["CREDIT", _money(view, view.balance_mp)]
    if view.is_emergency_in_use:
        lines.append(_row("EC", _money(view, view.emergency_mp), LCD_WIDTH))
    elif view.is_emergency_offered:
        lines.append("A FOR EMERGENCY")
    if view.emergency_owed_mp:
        lines.append(_row("REPAY", _money(view, view.emergency_owed_mp), LCD_WIDTH))
    return lines


def _debt_lines(view: MeterView) -> list[str]:
    lines = [line for debt in view.debts for line in debt]
    return ["DEBT", *(lines or ["NOT USED"])]


def _friendly_lines(view: MeterView) -> list[str]:
    return ["FRIENDLY CREDIT", *(view.friendly or ("NOT USED",))]


def _register_lines(view: MeterView) -> list[str]:
    lines = ["TOTAL", _lcd_register(view.register, is_gas=view.is_gas)]
    if view.export_wh is not None:
        lines += ["EXPORT", _lcd_register(view.export_wh, is_gas=False)]
    return lines + _code_lines(view)


def _lcd_register(register: int, *, is_gas: bool) -> str:
    """Eight digits of kWh, or five and three of m3, as on the faceplate."""
    if is_gas:
        return f"{register // 1000 % 100_000:05d}.{register % 1000:03d} m3"
    return f"{register // 1000 % 100_000_000:08d} kWh"


def _tariff_lines(view: MeterView) -> list[str]:
    """The rate that counts now, the standing charge, and what each rate has counted."""
    marks = [">" if index == view.active_tou else " " for index in range(len(view.tou_registers))]
    return [
        "TARIFF",
        f"RATE R{view.active_tou + 1:02d}",
        f"{_price(view.price_mp_per_kwh, view.symbol)}/kWh",
        f"{_price(view.standing_mp, view.symbol)}/DAY",
        *(
            f"{mark}R{index + 1:02d} {wh // 1000:07d}kWh"
            for index, (mark, wh) in enumerate(zip(marks, view.tou_registers, strict=True))
        ),
    ]


def _clock_lines(view: MeterView) -> list[str]:
    """The time, what flows, and who the meter is."""
    title = ["TIME"] if view.is_commissioned else ["STATUS", "COMMISSION"]
    flow = f"{view.power_w // 1000}.{view.power_w % 1000:03d} m3/h" if view.is_gas else _kw(view.power_w)
    number = view.mpxn or ("NO MPRN" if view.is_gas else "NO MPAN")
    name, contact = view.supplier
    lines = [*title, view.date_text, view.time_text, flow, number, view.firmware]
    lines += [part for part in (name, *_split(contact)) if part]
    return lines + (["REFUND", *block_lines(view.refund)] if view.refund else [])


def _split(text: str) -> list[str]:
    return [text[start : start + LCD_WIDTH] for start in range(0, len(text), LCD_WIDTH)]


def _code_lines(view: MeterView) -> list[str]:
    lines = ["CODES", f"ACCEPTED {view.accepted}", f"REJECTED {view.rejected}"]
    for amount, when, digits in view.last_top_ups:
        lines += [_money(view, amount), when, *block_lines(digits)]
    return lines


def block_lines(digits: str) -> list[str]:
    """A code in blocks of five digits, two to a line."""
    blocks = [digits[start : start + 5] for start in range(0, len(digits), 5)]
    return ["-".join(blocks[start : start + 2]) for start in range(0, len(blocks), 2)]
