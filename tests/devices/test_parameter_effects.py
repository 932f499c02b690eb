"""Each parameter that no core lives by does what its name says, in a whole home."""

from __future__ import annotations

from typing import Any

from smets1.devices.supply import SupplyState
from smets1.eui64 import format_eui64
from smets1.firmware.device import ENDPOINT
from smets1.hardware.radio import COORDINATOR

TOML = (
    "[han]\nreport_interval_s = 60\n"
    '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 1000\n'
    '[[load]]\nfuel = "gas"\nkind = "constant"\nwatts = 0\n'
    "[prepayment]\nbalance_pounds = 20\n"
)


def every_line(device: Any) -> str:
    return "\n".join(line for page in device.screen.values() for line in page)


async def test_a_privacy_pin_hides_what_the_meter_knows_of_the_household(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme = home.esme
    token = home.headend.make_utrn(esme.eui64, pounds=10)
    assert "£19." in every_line(esme)
    esme.parameters.set("privacy_pin", "4711")
    assert set(map(tuple, esme.screen.values())) == {("STATUS", "SUPPLY ON", "ENTER PIN")}
    esme.press("1")
    assert esme.shown == ["PRIVACY PIN", "*"]
    assert esme.face.lcd() == "*"
    esme.press("111B")
    assert "£" not in every_line(esme)
    (result,) = esme.press(f"A{token}B")
    assert result.is_accepted, "who pays needs no PIN"
    await home.clock.advance(seconds=30)
    esme.press("4711B7")
    assert esme.shown[0] == "CREDIT"
    assert esme.shown[1].startswith("£29.")
    await home.clock.advance(seconds=61)
    assert "£" not in every_line(esme)
    esme.meter.disable_supply(utc_us=esme.civil.utc_us())
    esme.meter.arm_supply(utc_us=esme.civil.utc_us())
    esme.press("A")
    await home.clock.advance(seconds=21)
    esme.press("B")
    assert esme.meter.supply.state is SupplyState.ARMED, "behind the PIN"
    esme.press("4711BAB")
    assert esme.meter.supply.state is SupplyState.ON
    esme.parameters.set("privacy_pin", "")
    await home.clock.advance(minutes=5)
    assert "£29." in every_line(esme)


async def test_a_privacy_pin_hides_what_a_display_shows(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    ppmid = home.ppmid
    ppmid.parameters.set("privacy_pin", "4711")
    assert list(ppmid.screen) == ["home"]
    assert ppmid.shown[1:] == ["Enter PIN", ""]
    ppmid.press("> OK 4 7")
    assert ppmid.shown[1:] == ["Enter PIN", "**"]
    ppmid.press("BACK 4711 OK")
    assert "Electricity credit" in "\n".join(ppmid.shown)
    ppmid.press("> 12")
    assert ppmid.shown[0] == "ELECTRICITY TOP UP"
    await home.clock.advance(seconds=61)
    assert ppmid.shown[1] == "Enter PIN"
    assert "£" in every_line(home.ihd), "another device, another PIN"


async def test_the_suppliers_name_stands_on_every_face(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    for device in (home.esme, home.gsme, home.ppmid, home.ihd):
        before = every_line(device)
        device.parameters.set("supplier_name", "Any Energy Ltd")
        device.parameters.set("supplier_contact", "0800 000 000 000")
        assert "Any Energy" not in before
        assert "Any Energy Ltd\n0800 000 000 000" in every_line(device)
    assert home.esme.settings.management.get("provider_name") == b"Any Energy Ltd"


async def test_a_home_that_pays_in_euro(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    for device in (home.esme, home.ppmid):
        assert "£" in every_line(device)
        device.parameters.set("currency", "EUR")
        assert "£" not in every_line(device)
        assert "€" in every_line(device)
        assert "0p" not in every_line(device)
    home.esme.press(f"A{token}B")
    assert home.esme.shown == ["€10.00"]
    assert home.esme.clusters.current_price()["currency"] == 978
    assert home.esme.clusters.prepayment.get("currency") == 978


async def test_the_keypad_is_locked_for_as_long_as_configured(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme = home.esme
    esme.parameters.set("keypad_lock", 120)

    async def fail_five_times() -> None:
        for _ in range(5):
            esme.press("A1B")
            await home.clock.advance(seconds=5)

    await fail_five_times()
    await home.clock.advance(seconds=100)
    esme.press("A")
    assert esme.shown == ["Key Locked"]
    await home.clock.advance(seconds=30)
    esme.press("A")
    assert esme.shown[0] == "Vend Mode"


async def test_the_traffic_light_follows_the_meters_thresholds(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=2)
    assert "1.000 kW [amber]" in every_line(home.ihd)
    home.esme.parameters.set("medium_high_power_threshold", 900)
    await home.clock.advance(minutes=2)
    assert "1.000 kW [red]" in every_line(home.ihd)
    home.esme.parameters.set("low_medium_power_threshold", 1000)
    home.esme.parameters.set("medium_high_power_threshold", 3000)
    await home.clock.advance(minutes=2)
    for display in (home.ihd, home.ppmid):
        assert "1.000 kW [green]" in every_line(display)


async def test_the_metering_points_are_those_of_the_file_until_somebody_writes(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    meters = {"mpan": home.esme, "mprn": home.gsme}
    for name, meter in meters.items():
        number = next(each.mpxn for each in home.config.devices if each.eui64 == meter.eui64)
        assert number
        assert meter.parameters.book.value(name) == number
        assert number in every_line(meter)
    mprn = home.gsme.parameters.book.value("mprn")
    await home.clock.advance(hours=1)
    seen = await home.ppmid.app.read(COORDINATOR, 2, "metering", ("site_id",))
    assert bytes(seen["site_id"]).decode() == mprn, "the mirror knows it too"
    home.esme.parameters.set("mpan", "1200000000001")
    short = await home.ppmid.port.find_short(home.esme.eui64)
    seen = await home.ppmid.app.read(short, ENDPOINT, "metering", ("site_id",))
    assert seen["site_id"] == b"1200000000001"
    await home.cut_power(home.esme.eui64)
    await home.restore_power(home.esme.eui64)
    assert "1200000000001" in every_line(home.esme)


async def test_a_clock_is_compared_as_often_as_configured(smets1_home: Any) -> None:
    interval_s = 3600
    home = await smets1_home(toml=TOML)
    await home.clock.advance(hours=2)
    for device in (home.esme, home.gsme, home.ihd):
        device.parameters.set("clock_synchronisation_interval", interval_s)
        device.civil.set(device.civil.utc_us() - 50_000_000)
        if device is not home.ihd:
            device.on_clock_moved(-50_000_000)
    await home.clock.advance(seconds=interval_s + 1900)  # the gas meter does it with its next waking
    for device in (home.esme, home.gsme, home.ihd):
        off_us = device.civil.utc_us() - home.clock.utc_us
        assert abs(off_us) < 3_000_000, format_eui64(device.eui64)


async def test_a_battery_is_low_where_configured_and_says_so_at_once(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    gsme = home.gsme
    gsme.meter.drain_battery(30, utc_us=gsme.civil.utc_us())
    assert 0x8F1F not in [entry.code for entry in gsme.meter.log.events]
    gsme.parameters.set("low_battery_threshold", 40)
    assert [entry.code for entry in gsme.meter.log.events].count(0x8F1F) == 1
    await home.cut_power(gsme.eui64)
    await home.restore_power(gsme.eui64)
    home.gsme.meter.replace_battery(utc_us=home.gsme.civil.utc_us())
    home.gsme.meter.drain_battery(39, utc_us=home.gsme.civil.utc_us())
    assert home.gsme.parameters.book.value("low_battery_threshold") == 40
    assert [entry.code for entry in home.gsme.meter.log.events].count(0x8F1F) == 2
