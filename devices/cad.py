"""What a consumer access device says of the meters, as JSON for home automation.

Topics and members have the form that GB users' integrations read: `glow/<id>/SENSOR/electricitymeter`,
`.../gasmeter`, and `glow/<id>/STATE` of the device itself. Energy in kWh, power in kW, prices in pounds,
times in UTC. Pure functions of what the device has heard; a value that it has not heard is left out, never
nought.

Of gas the mirror tells the total as a volume: its kWh are by the usual conversion (`DEFAULT_CONVERSION`),
whatever the meter's own is; day, week and month are the meter's own kWh, and come twice, since the form has
them as `dayvol` and so on too, in kWh all the same. Gas has no power: the form says 0. The `<id>` is the last
12 hex digits of the device's EUI-64, since the topic was made for a MAC address. The strength of the radio in
dBm is worked out of the link quality of the last frame, as a chip does the other way.
Left out: members that such integrations carry but do not read.
"""

from __future__ import annotations

import json
from typing import Any, Final

from smets1.devices.display import DisplayModel, FuelReadings
from smets1.devices.load import DEFAULT_CONVERSION
from smets1.devices.screens import FuelView
from smets1.devices.supply import SupplyState
from smets1.eui64 import Eui64
from smets1.firmware.civil import format_utc

__all__ = ["cad_id", "cad_messages", "cad_state", "cad_topic"]

_WEAKEST_DBM: Final = -100
_RANGE_DB: Final = 55
_LQI_MAX: Final = 255
_SUPPLY: Final = {SupplyState.OFF: "disabled", SupplyState.ARMED: "armed", SupplyState.ON: "enabled"}


def cad_id(eui64: Eui64) -> str:
    return f"{eui64:016X}"[4:]


def cad_topic(eui64: Eui64, *, is_gas: bool) -> str:
    return f"glow/{cad_id(eui64)}/SENSOR/{'gasmeter' if is_gas else 'electricitymeter'}"


def cad_messages(
    model: DisplayModel,
    eui64: Eui64,
    *,
    mpan: str = "",
    mprn: str = "",
    supplier: str = "",
    currency: str = "GBP",
) -> list[tuple[str, bytes]]:
    """(topic, JSON) of each meter heard so far."""
    found = []
    for is_gas, readings, mpxn in ((False, model.electricity, mpan), (True, model.gas, mprn)):
        if readings.heard_utc_us is not None:
            name = "gasmeter" if is_gas else "electricitymeter"
            meter = _meter(readings, is_gas=is_gas, mpxn=mpxn, supplier=supplier, currency=currency)
            body = {name: meter}
            text = json.dumps(body, separators=(",", ":"), sort_keys=False)
            found.append((cad_topic(eui64, is_gas=is_gas), text.encode()))
    return found


def cad_state(
    eui64: Eui64, *, utc_us: int, software: str, hardware: str, is_joined: bool, lqi: int
) -> tuple[str, bytes]:
    """(topic, JSON) of the device itself. `lqi`: 0..255, of the last frame that it heard."""
    text = f"{eui64:016X}"
    body = {
        "software": software,
        "timestamp": format_utc(utc_us),
        "hardware": hardware,
        "ethmac": cad_id(eui64),
        "smetsversion": "SMETS1",
        "eui": ":".join(text[start : start + 2] for start in range(0, 16, 2)),
        "zigbee": "1.2.5",
        "han": {
            "rssi": _WEAKEST_DBM + lqi * _RANGE_DB // _LQI_MAX,
            "status": "joined" if is_joined else "unjoined",
            "lqi": lqi,
        },
    }
    return f"glow/{cad_id(eui64)}/STATE", json.dumps(body, separators=(",", ":")).encode()


def _meter(
    readings: FuelReadings, *, is_gas: bool, mpxn: str, supplier: str, currency: str
) -> dict[str, Any]:
    assert readings.heard_utc_us is not None, "asked for only where something was heard"
    view = readings.view(is_gas=is_gas, utc_us=readings.heard_utc_us)
    heard_us = readings.heard_utc_us // 1_000_000 * 1_000_000
    members = _import(view, mpxn, supplier)
    if readings.standing_mp is not None:
        members.setdefault("price", {})["standingcharge"] = readings.standing_mp / 100_000
    energy: dict[str, Any] = {"import": members}
    exported = readings.values.get("current_summation_received")
    if exported is not None:
        energy = {"export": {"cumulative": exported / 1000, "units": "kWh"}, **energy}
    body: dict[str, Any] = {"timestamp": format_utc(heard_us), "energy": energy}
    if view.is_gas or view.power_w is not None:
        body["power"] = {"value": (view.power_w or 0) / 1000, "units": "kW"}
    if view.is_prepayment and view.balance_mp is not None:
        # An extension: the original was made for credit meters.
        body["prepayment"] = {"balance": view.balance_mp / 100_000, "currency": currency}
    return body


def _import(view: FuelView, mpxn: str, supplier: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if view.register is not None:
        members["cumulative"] = view.register / 1000
    spans = {"day": view.today_wh, "week": view.week_wh, "month": view.month_wh}
    members |= {name: wh / 1000 for name, wh in spans.items() if wh is not None}
    members["units"] = "kWh"
    if view.is_gas and view.register is not None:
        members["cumulative"] = DEFAULT_CONVERSION.energy_uwh(view.register * 10**6) // 10**6 / 1000
        members["cumulativevol"], members["cumulativevolunits"] = view.register / 1000, "m3"
        volumes = {f"{name}vol": wh / 1000 for name, wh in spans.items() if wh is not None}
        members |= volumes | ({"dayweekmonthvolunits": "kWh"} if volumes else {})
    if mpxn:
        members["mprn" if view.is_gas else "mpan"] = mpxn
    if supplier:
        members["supplier"] = supplier
    if view.supply is not None:
        members["supplystatus"] = _SUPPLY[view.supply]
    if view.price_mp_per_kwh is not None:
        members["price"] = {"unitrate": view.price_mp_per_kwh / 100_000}
    return members
