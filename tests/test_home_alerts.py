"""From what a meter logs to the alert that its supplier is told, on a whole home."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from lxml import etree
from tshark import Step

from smets1.devices.event_log import AlertCode
from smets1.devices.tamper import Sensor
from smets1.eui64 import format_eui64
from smets1.tools.home import Home

CALM = "[han]\nreport_interval_s = 1800\n"
SUPPLIER = 0x90B3D51F30010000
NETWORK = 0x90B3D51F30020000
EVENTS = 0x0709
NS = {
    "sr": "http://www.dccinterface.co.uk/ServiceUserGateway",
    "ra": "http://www.dccinterface.co.uk/ResponseAndAlert",
}


class Ear:
    """The alerts that users were told, each valid by the schema."""

    def __init__(self, home: Home, schema: etree.XMLSchema) -> None:
        self.home, self.schema = home, schema

    def _all(self, user: int) -> list[etree._Element]:
        roots = []
        for response in self.home.headend.responses(user=user, limit=10_000):
            root = etree.fromstring(response.xml)
            self.schema.assertValid(root)
            roots.append(root)
        return roots

    def device_alerts(self, device: int, user: int = SUPPLIER) -> list[str]:
        """Hex codes, in order."""
        wanted = f"{format_eui64(device)}:"
        return [
            root.findtext(".//ra:GBCSHexAlertCode", namespaces=NS) or ""
            for root in self._all(user)
            if root.find(".//ra:DeviceAlertContent", NS) is not None
            and (root.findtext("sr:Header/sr:ResponseID", namespaces=NS) or "").startswith(wanted)
        ]

    def dcc_alerts(self, user: int) -> list[str]:
        return [
            code for root in self._all(user) if (code := root.findtext(".//sr:DCCAlertCode", namespaces=NS))
        ]

    def text(self, user: int, path: str) -> list[str]:
        return [found.text or "" for root in self._all(user) for found in root.findall(f".//{path}", NS)]


def hexes(*codes: AlertCode) -> list[str]:
    return [f"{code:04X}" for code in codes]


def feel(device: Any, sensor: Sensor, *, is_open: bool = True) -> None:
    device.meter.feel(sensor, is_open=is_open, utc_us=device.civil.utc_us())
    device._on_change()


async def test_a_tamper_of_each_meter_reaches_its_supplier(
    smets1_home: JudgedHomes, duis_schema: Any
) -> None:
    home = await smets1_home(toml=CALM)
    ear = Ear(home, duis_schema)
    tamper = [AlertCode.TAMPER, AlertCode.TERMINAL_COVER_REMOVED]
    feel(home.esme, Sensor.TERMINAL_COVER)
    await home.clock.advance(seconds=5)
    assert ear.device_alerts(home.esme.eui64)[-2:] == hexes(*tamper)
    await home.clock.advance(minutes=40)
    felt_s = home.clock.utc_us / 1e6
    feel(home.gsme, Sensor.TILT)
    await home.clock.advance(seconds=30)
    tilt = hexes(AlertCode.TAMPER, AlertCode.OTHER_PHYSICAL_ACCESS)
    assert ear.device_alerts(home.gsme.eui64)[-2:] == tilt, "an alert wakes the meter"
    assert ear.device_alerts(home.gsme.eui64, NETWORK) == []
    hub, meter, gas_meter = shorts(home, "chf", "esme", "gsme")
    event = Step("ZCL Events: Publish Event", EVENTS, gas_meter, hub, (felt_s, felt_s + 30))
    taken = Step("ZCL: Default Response", EVENTS, hub, gas_meter)
    await smets1_home.tell(event, taken, event, taken, never=[replace(event, source=meter, between_s=None)])


async def test_alerts_wait_while_the_ribbon_is_cut_and_come_once(smets1_home: Any, duis_schema: Any) -> None:
    home = await smets1_home(toml=CALM)
    ear, esme = Ear(home, duis_schema), home.esme
    before = len(ear.device_alerts(esme.eui64))
    home.wire.is_cut = True
    feel(esme, Sensor.METER_COVER)
    await home.clock.advance(minutes=10)
    assert len(esme.alerts) == 2
    assert len(ear.device_alerts(esme.eui64)) == before
    home.wire.is_cut = False
    await home.clock.advance(minutes=2)
    assert len(esme.alerts) == 0
    assert ear.device_alerts(esme.eui64)[before:] == hexes(AlertCode.TAMPER, AlertCode.METER_COVER_REMOVED)

    # The hub has it, and its acknowledgement is lost: the meter says it again, nobody hears it again.
    feel(esme, Sensor.METER_COVER, is_open=False)
    feel(esme, Sensor.MAGNET)

    def lose_answer(direction: str, *_frame: object) -> None:
        if direction == "hub>meter":
            home.wire.is_cut = True

    home.wire.taps.append(lose_answer)
    await home.clock.advance(seconds=10)
    home.wire.taps.clear()
    home.wire.is_cut = False
    await home.clock.advance(minutes=3)
    assert len(esme.alerts) == 0
    magnet = hexes(AlertCode.TAMPER, AlertCode.STRONG_MAGNETIC_FIELD)
    assert ear.device_alerts(esme.eui64)[before + 2 :] == magnet


async def test_alerts_of_a_home_without_wan_come_once_when_it_is_back(
    smets1_home: Any, duis_schema: Any
) -> None:
    home = await smets1_home(toml=CALM)
    ear, esme = Ear(home, duis_schema), home.esme
    before = len(ear.device_alerts(esme.eui64))
    broker = home.broker
    assert broker is not None
    assert home.chf.wan is not None
    await home.chf.wan.close()
    await home.clock.advance(minutes=1)
    feel(esme, Sensor.MAGNET)
    await home.clock.advance(minutes=30)
    assert len(ear.device_alerts(esme.eui64)) == before
    hub = home.chf.eui64
    await home.cut_power(hub)
    await home.clock.advance(minutes=1)
    await home.restore_power(hub)
    await home.clock.advance(minutes=10)
    magnet = hexes(AlertCode.TAMPER, AlertCode.STRONG_MAGNETIC_FIELD)
    assert ear.device_alerts(esme.eui64)[before:] == magnet


@pytest.mark.parametrize(
    ("minutes", "code"), [(2, AlertCode.OUTAGE_RESTORED), (60, AlertCode.OUTAGE_RESTORED_LONG)]
)
async def test_a_power_cut_has_a_last_gasp_and_a_restoration(
    smets1_home: Any, duis_schema: Any, minutes: int, code: AlertCode
) -> None:
    toml = CALM + '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 1000\n'
    home = await smets1_home(toml=toml)
    ear, eui64 = Ear(home, duis_schema), home.esme.eui64
    await home.clock.advance(hours=1)
    home.esme.meter.advance(home.esme.civil.utc_us())
    register = home.esme.meter.reading
    cut_us = home.clock.utc_us
    await home.cut_power(eui64)
    await home.clock.advance(seconds=5)
    assert home.device(eui64) is None
    assert ear.dcc_alerts(SUPPLIER)[-1] == ear.dcc_alerts(NETWORK)[-1] == "AD1"
    assert ear.text(NETWORK, "sr:PowerOutageEvent/sr:MPxN") == ["1312345678111"]
    await home.clock.advance(minutes=minutes)
    await home.restore_power(eui64)
    await home.joined()
    await home.clock.advance(minutes=5)
    assert ear.device_alerts(eui64)[-1:] == ear.device_alerts(eui64, NETWORK)[-1:] == hexes(code)
    esme = home.esme
    assert [round((entry.utc_us - cut_us) / 60e6) for entry in esme.meter.power_events.entries] == [
        0,
        minutes,
    ]
    esme.meter.advance(esme.civil.utc_us())
    used = esme.meter.reading - register
    passed_h = (home.clock.utc_us - cut_us) / 3.6e9 - (minutes * 60 + 5) / 3600
    assert abs(used - 1000 * passed_h) < 10, "nothing flowed without power"


async def test_what_a_meter_says_too_often_comes_as_one_with_a_count(
    smets1_home: Any, duis_schema: Any
) -> None:
    home = await smets1_home(toml=CALM)
    ear, esme = Ear(home, duis_schema), home.esme
    for _ in range(8):
        feel(esme, Sensor.MAGNET)
        feel(esme, Sensor.MAGNET, is_open=False)
        await home.clock.advance(seconds=30)
    magnet = f"{AlertCode.STRONG_MAGNETIC_FIELD:04X}"
    assert ear.device_alerts(esme.eui64).count(magnet) == 5
    await home.clock.advance(hours=1)
    assert ear.device_alerts(esme.eui64).count(magnet) == 6
    assert ear.text(SUPPLIER, "sr:ThrottledAlertCount") == ["3", "3"], "0x8F3F and 0x8F75"


async def test_alerts_that_were_switched_off_stay_in_the_log(smets1_home: Any, duis_schema: Any) -> None:
    home = await smets1_home(toml=CALM)
    ear, esme = Ear(home, duis_schema), home.esme
    before = len(ear.device_alerts(esme.eui64))
    esme.parameters.set("alerts_enabled", False)
    feel(esme, Sensor.MAGNET)
    await home.clock.advance(minutes=5)
    assert len(ear.device_alerts(esme.eui64)) == before
    assert esme.meter.log.security[-1].code == AlertCode.STRONG_MAGNETIC_FIELD


async def test_a_flat_battery_is_told(smets1_home: Any, duis_schema: Any) -> None:
    home = await smets1_home(toml=CALM)
    ear, gsme = Ear(home, duis_schema), home.gsme
    await home.clock.advance(minutes=40)
    gsme.meter.drain_battery(9, utc_us=gsme.civil.utc_us())
    gsme._on_change()
    await home.clock.advance(minutes=1)
    assert ear.device_alerts(gsme.eui64)[-1:] == hexes(AlertCode.LOW_BATTERY)
    assert home.chf.gas.values["metering"]["remaining_battery_life"] == 9
