"""A laboratory's hands on a living home: each control has its effect, and says what does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from smets1.devices.supply import SupplyState
from smets1.devices.tamper import Sensor
from smets1.errors import InputError
from smets1.firmware.zcl.status import Status
from smets1.tools.controls import CONTROLS, control, differences, parameters, set_parameter
from smets1.tools.duis_ask import ask
from smets1.tools.home import Home
from smets1.tools.open_api import open_api

TOML = '[han]\nreport_interval_s = 1800\n[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 1000\n'
SEVEN = "".join(
    f'[[device]]\nrole = "{role}"\n' for role in ("chf", "gpf", "esme", "gsme", "ppmid", "ihd", "cad")
)


async def do(home: Home, device: Any, control_name: str, /, **values: object) -> None:
    await control(home, device.eui64, control_name, values)


async def test_an_appliance_is_switched_and_metered(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme, meter = home.esme, home.esme.meter
    await do(home, esme, "appliances", name="kettle", on=True, watts=2000)
    meter.advance(esme.civil.utc_us())
    before = meter.registers.quantity
    assert meter.power_w == 3000
    await home.clock.advance(minutes=30)
    await do(home, esme, "appliances", name="kettle", on=False)
    await home.clock.advance(minutes=30)
    meter.advance(esme.civil.utc_us())
    assert abs(meter.registers.quantity - before - 2_000_000_000) < 2_000_000
    for bad in ({"name": "toaster", "on": True}, {"name": "kettle", "on": True, "watts": 3}):
        with pytest.raises(InputError):
            await do(home, esme, "appliances", **bad)
    with pytest.raises(InputError, match="no electricity meter"):
        await do(home, home.gsme, "voltage", mv=230_000)
    with pytest.raises(InputError, match="is no meter"):
        await do(home, home.ihd, "appliances", name="kettle", on=True, watts=2000)


async def test_covers_battery_voltage_and_taps(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme, gsme = home.esme, home.gsme
    await do(home, esme, "sensors", sensor="terminal_cover", open=True)
    assert esme.meter.tamper.open == Sensor.TERMINAL_COVER
    await do(home, esme, "sensors", sensor="terminal_cover", open=False)
    assert (esme.meter.tamper.open, esme.meter.tamper.count) == (Sensor(0), 1)
    with pytest.raises(InputError, match="no sensor tilt"):
        await do(home, esme, "sensors", sensor="tilt", open=True)
    await do(home, gsme, "sensors", sensor="tilt", open=True)
    assert gsme.meter.tamper.count == 1
    await do(home, gsme, "battery", percent=5)
    assert gsme.meter.battery.percent == 5
    await do(home, gsme, "battery", percent=100)
    assert gsme.meter.battery.percent == 100
    await do(home, esme, "voltage", mv=190_000)
    assert esme.meter.voltage_mv == 190_000
    await home.clock.advance(seconds=30)
    assert sum(esme.meter.voltage.counters) > 0
    await do(home, esme, "voltage", mv=None)
    assert esme.meter.voltage_mv > 230_000
    await do(home, gsme, "taps", l_per_h=500)
    gsme.meter.disable_supply(utc_us=gsme.civil.utc_us())
    gsme.meter.arm_supply(utc_us=gsme.civil.utc_us())
    assert gsme.press_to_confirm()
    await home.clock.advance(seconds=20)
    assert gsme.meter.supply.state is SupplyState.ARMED, "somebody has left a tap open"


async def test_the_invalid_marker_leaks_out_as_a_reading_everywhere(smets1_home: Any) -> None:
    """Display, CAD and supplier get 16777.215 m3, and the register has not moved."""
    home = await smets1_home(toml="[han]\nreport_interval_s = 60\ngas_wake_s = 300\n" + SEVEN)
    await home.clock.advance(minutes=12)
    before = home.ihd.screen["gas meter"]
    await do(home, home.gsme, "marker", leaks=True)
    await home.clock.advance(minutes=12)
    for display in (home.ihd, home.ppmid):
        assert display.screen["gas meter"][1].endswith("16777.215 m3")
    assert home.cad.model.gas.values["current_summation_delivered"] == 0xFFFFFF
    answer = await ask(home, "4.1.1", home.gsme.eui64)
    assert re.search(rb"16777[.]?215", answer.xml), answer.xml[:4000]
    assert home.gsme.meter.reading < 10_000
    await do(home, home.gsme, "marker", leaks=False)
    await home.clock.advance(minutes=12)
    assert home.ihd.screen["gas meter"] == before
    with pytest.raises(InputError, match="no gas meter"):
        await do(home, home.esme, "marker", leaks=True)


async def test_a_clock_drifts_and_the_hub_sets_it_right(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    ppmid, esme = home.ppmid, home.esme
    await do(home, ppmid, "clock", offset_s=-120)
    assert abs(ppmid.civil.utc_us() - home.clock.utc_us + 120_000_000) < 2_000_000
    await do(home, esme, "clock", drift_ppm=1000, offset_s=600)
    register = esme.meter.reading
    await home.clock.advance(hours=1)
    off_us = esme.civil.utc_us() - home.clock.utc_us
    assert abs(off_us) < 10_000_000, "set after joining"
    esme.meter.advance(esme.civil.utc_us())
    assert 990 <= esme.meter.reading - register <= 1010, "the house used no more for it"
    await home.clock.advance(hours=50)
    assert abs(esme.civil.utc_us() - home.clock.utc_us) < 90_000_000, "compared each day"
    with pytest.raises(InputError, match="hub's clock"):
        await do(home, home.chf, "clock", drift_ppm=5)


async def test_power_is_cut_and_given_back(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML + SEVEN)
    every = [device.eui64 for device in home.devices]
    for eui64 in every:
        await control(home, eui64, "power", {"on": False})
        with pytest.raises(InputError, match="no device"):
            await control(home, eui64, "power", {"on": False})
        await home.clock.advance(minutes=10)
        await control(home, eui64, "power", {"on": True})
        with pytest.raises(InputError, match="has power"):
            await control(home, eui64, "power", {"on": True})
    await home.joined()
    assert sorted(device.eui64 for device in home.devices) == sorted(every)
    assert [entry.code for entry in home.gsme.meter.log.events][-1] == 0x8F1D


async def test_there_is_an_end_of_sockets(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    for number in range(100):
        await do(home, home.esme, "appliances", name=f"lamp {number}", on=True, watts=10)
    with pytest.raises(InputError, match="no socket left"):
        await do(home, home.esme, "appliances", name="one more", on=True, watts=10)
    assert home.esme.meter.power_w == 2000


async def test_parameters_are_read_written_and_compared_with_what_must_be(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme, ppmid = home.esme, home.ppmid
    assert differences(esme) == []
    set_parameter(esme, "supplier_name", "A Supplier")
    set_parameter(esme, "privacy_pin", "1234")
    rows = {row["name"]: row for row in parameters(esme)}
    assert (rows["supplier_name"]["value"], rows["privacy_pin"]["value"]) == ("A Supplier", True)
    assert [(row["name"], row["is"], row["must_be"]) for row in differences(esme)] == [
        ("privacy_pin", "(set)", ""),
        ("supplier_name", "A Supplier", ""),
    ]
    set_parameter(ppmid, "currency", "EUR")
    assert [row["name"] for row in differences(ppmid)] == ["currency"]
    for name, value in (("no_such", 1), ("currency", 3), ("load_limit_period", 5)):
        with pytest.raises(InputError):
            set_parameter(esme, name, value)
    with pytest.raises(InputError, match="no table"):
        differences(esme, "XX")
    assert differences(home.chf) == []


async def test_the_hubs_parameters_act_and_outlive_a_restart(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    assert [(row["name"], row["value"]) for row in parameters(home.chf)] == [
        ("keep_alive_base", 10),
        ("keep_alive_jitter", 300),
    ]
    set_parameter(home.chf, "keep_alive_base", 1)
    set_parameter(home.chf, "keep_alive_jitter", 10)
    for bad in (0, 256, "1"):
        with pytest.raises(InputError):
            set_parameter(home.chf, "keep_alive_base", bad)
    names = ("keep_alive_base", "keep_alive_jitter")
    assert await home.ihd.app.read(0, 1, "keep_alive", names) == {
        "keep_alive_base": 1,
        "keep_alive_jitter": 10,
    }
    asked = await home.ihd.app.request(0, 1, "device_information", "read_parameter", name="keep_alive_base")
    assert asked["value"] == b"\x01"
    answer = await home.ihd.app.request(
        0, 1, "device_information", "write_parameter", name="keep_alive_base", value=b"\x05"
    )
    assert answer["status"] == Status.NOT_AUTHORIZED, "a device of the home may look only"
    await home.power_off()
    again = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    assert again.chf.app.core.server(1, "keep_alive").get("keep_alive_base") == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sensors", []),
        ("sensors", {"sensor": "magnet"}),
        ("sensors", {"sensor": "nose", "open": True}),
        ("sensors", {"sensor": "magnet", "open": 1}),
        ("battery", {"percent": 101}),
        ("battery", {"percent": True}),
        ("power", {"on": True, "off": False}),
        ("voltage", {"mv": "high"}),
        ("appliances", {"name": "", "on": True}),
    ],
)
async def test_what_does_not_fit_is_said_in_one_line(smets1_home: Any, name: str, values: object) -> None:
    with pytest.raises(InputError) as refused:
        await control(None, 0, name, values)  # type: ignore[arg-type]  # judged before anybody is asked
    assert "\n" not in str(refused.value)


def test_the_description_has_every_control() -> None:
    document = open_api(has_head_end=True)
    paths = document["paths"]
    for name, row in CONTROLS.items():
        schema = paths[f"/api/v1/devices/{{eui64}}/{name}"]["post"]["requestBody"]["content"][
            "application/json"
        ]["schema"]
        assert list(schema["properties"]) == [key.name for key in row.keys]
    assert document["openapi"].startswith("3.1")
