"""Displays in a home: what the glass shows after a day, silence, a meter that forgot them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from smets1.devices.display import SILENT_US, DisplayModel
from smets1.devices.follower import MIRROR_ENDPOINT
from smets1.devices.screens import format_money
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zigbee.node import HanNode
from smets1.hardware.radio import ApsMessage

TOML = (
    "[han]\nreport_interval_s = 60\n"
    '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 1000\n'
    '[[load]]\nfuel = "gas"\nkind = "constant"\nwatts = 2000\n'
    "[prepayment]\nbalance_pounds = 20\n"
)


def lines(screen: dict[str, list[str]]) -> str:
    return "\n".join(f"{name}: {line}" for name, page in screen.items() for line in page)


@pytest.mark.slow
async def test_the_glass_after_half_a_day(smets1_home: Any, tmp_path: Path) -> None:
    """1 kW and 2 kW of gas up to eleven o'clock, and nothing from then on: every figure can be worked out."""
    hours = range(24)
    rows = [f"2023-01-16 {hour:02}:00:00,{hour < 11:d},{2 * (hour < 11):d}" for hour in hours]
    csv = tmp_path / "load.csv"
    csv.write_text("\n".join(["local_time,elec_import_kwh,gas_kwh", *rows]) + "\n")
    toml = "[han]\nreport_interval_s = 300\n[prepayment]\nbalance_pounds = 20\n"
    for fuel in ("electricity", "gas"):
        toml += f'[[load]]\nfuel = "{fuel}"\nkind = "csv"\nfile = "{csv}"\n'
    home = await smets1_home(toml=toml, start="2023-01-16T00:00:00Z")
    await home.clock.advance_to(home.config.start.timestamp() * 1e6 + 12 * 3_600_000_000 + 30_000_000)
    assert lines(home.ihd.screen) == IHD
    assert lines(home.ppmid.screen) == PPMID


IHD = """\
home: Mon 16 Jan 12:00       connected
home: Now             0.000 kW [green]
home: Electricity today          £3.74
home: Gas today                  £2.26
home: Electricity credit        £16.26
home: Gas credit                £17.73
electricity credit: ELECTRICITY
electricity credit: Balance                   £16.26
electricity use: ELECTRICITY USE
electricity use: Now                     0.000 kW
electricity use: Today                  11.00 kWh
electricity use: This week              11.00 kWh
electricity use: This month             11.00 kWh
electricity cost: ELECTRICITY COST
electricity cost: Now                      £0.00/h
electricity cost: Today                      £3.74
electricity cost: This week                  £3.74
electricity cost: This month                 £3.74
electricity cost: Price per kWh             34.00p
electricity history: ELECTRICITY HISTORY
electricity history: Nothing yet
electricity meter: ELECTRICITY METER
electricity meter: Reading               11.000 kWh
electricity meter: Supply                        on
gas credit: GAS
gas credit: Balance                   £17.73
gas use: GAS USE
gas use: Today                  21.99 kWh
gas use: This week              21.99 kWh
gas use: This month             21.99 kWh
gas cost: GAS COST
gas cost: Today                      £2.26
gas cost: This week                  £2.26
gas cost: This month                 £2.26
gas cost: Price per kWh             10.30p
gas history: GAS HISTORY
gas history: Nothing yet
gas meter: GAS METER
gas meter: Reading                 1.960 m3
gas meter: Supply                        on
messages: MESSAGES
messages: No messages"""
PPMID = IHD  # nothing is on offer here: what a PPMID shows beside it is an IHD's


async def test_what_it_shows_is_what_the_meter_has(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(hours=2)
    for display in (home.ihd, home.ppmid):
        seen, meter = display.model.electricity.values, home.esme
        assert 0 <= meter.account.balance_mp - seen["credit_remaining"] + 1000 < 3000
        assert 0 <= meter.meter.reading - seen["current_summation_delivered"] <= 20
        assert seen["instantaneous_demand"] == 1000
        assert display.model.electricity.price_mp_per_kwh == meter.meter.price_mp_per_kwh
        gas = display.model.gas
        assert gas.values["credit_remaining"] == home.chf.gas.values["prepayment"]["credit_remaining"]
        assert gas.heard_utc_us is not None
        assert gas.price_mp_per_kwh == home.gsme.meter.price_mp_per_kwh, "by way of the mirror"


async def test_what_changes_seldom_is_not_asked_for_each_time(
    smets1_home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror tells of a new price by itself, and has new settings only with a report of the gas meter."""
    home = await smets1_home(toml=TOML)
    await home.clock.advance(hours=1)
    asked: Counter[int] = Counter()
    submit = HanNode.submit

    def note(port: HanNode, message: ApsMessage, *rest: Any) -> None:
        if port is home.ihd.port and message.destination_endpoint == MIRROR_ENDPOINT:
            asked[message.cluster_id] += 1
        submit(port, message, *rest)

    monkeypatch.setattr(HanNode, "submit", note)
    await home.clock.advance(hours=6)
    counts = {name: asked[cluster_named(name).cluster_id] for name in ("metering", "prepayment", "price")}
    assert counts["metering"] in (71, 72), "every five minutes"
    assert counts["prepayment"] in (12, 13), "and the account after each report of the meter"
    assert counts["price"] in (5, 6)


@pytest.mark.parametrize("interval_s", [900, pytest.param(30, marks=pytest.mark.slow)])
async def test_a_silent_meter(smets1_home: Any, interval_s: int) -> None:
    home = await smets1_home(toml=TOML.replace("60", str(interval_s), 1))
    for _ in range(12):
        await home.clock.advance(minutes=7)
        assert home.ihd.model.view(utc_us=home.clock.utc_us).is_connected
    home.air.faults.move_away(home.esme.eui64)
    await home.clock.advance(seconds=max(200, 5 * interval_s))
    assert not home.ihd.model.view(utc_us=home.clock.utc_us).is_connected
    assert "no signal" in lines(home.ihd.screen).lower()
    home.air.faults.bring_back(home.esme.eui64)
    await home.clock.advance(seconds=max(600, 5 * interval_s))
    assert "no signal" not in lines(home.ihd.screen).lower()


async def test_a_meter_that_has_forgotten_who_wants_reports(smets1_home: Any) -> None:
    """Its memory of them is gone while the displays run on: they ask anew when it is silent."""
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=5)
    home.esme.port.stack.zdo.bindings.clear()
    home.esme.app._targets._configurers.clear()
    assert home.esme.port.bound_targets(1, cluster_named("metering").cluster_id) == []
    heard_us = []
    for _ in range(40):
        await home.clock.advance(minutes=1)
        heard_us.append(home.ihd.model.electricity.heard_utc_us)
    assert home.clock.utc_us - heard_us[-1] < 65_000_000, "reports come again"
    assert home.ihd.model.view(utc_us=home.clock.utc_us).is_connected


@pytest.mark.slow
async def test_an_hour_on_it_reads_all_again(smets1_home: Any) -> None:
    """Prices and what is not reported: read anew, so a change is seen within the hour or so."""
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=5)
    home.ihd.model.electricity.price_mp_per_kwh = 1
    await home.clock.advance(minutes=70)
    assert home.ihd.model.electricity.price_mp_per_kwh == home.esme.meter.price_mp_per_kwh


def test_a_model_that_has_heard_nothing() -> None:
    model = DisplayModel(is_ppmid=True, has_gas=True)
    assert not model.view(utc_us=0).is_connected
    pages = model.pages(utc_us=10**15)
    assert "no signal" in lines(pages).lower()


def test_silence_begins_on_the_microsecond() -> None:
    model = DisplayModel(is_ppmid=False, has_gas=False)
    model.electricity.take({"credit_remaining": 5}, utc_us=1000)
    assert model.view(utc_us=1000 + SILENT_US - 1).is_connected
    assert not model.view(utc_us=1000 + SILENT_US).is_connected


def test_money_as_it_is_shown() -> None:
    assert format_money(1_000_000) == "£10.00"


async def test_a_display_and_a_meter_that_lost_each_others_address_find_each_other(smets1_home: Any) -> None:
    """As lies on the network leave them: the display knows a wrong address, the meter none."""
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=10)
    display, meter = home.ppmid.port.stack, home.esme.port.stack
    true = home.ppmid.port.known_short(home.esme.eui64)
    display.nwk.learn_address(0x7436, home.esme.eui64)
    meter.nwk.forget_device(home.ppmid.eui64)
    assert home.ppmid.port.known_short(home.esme.eui64) == 0x7436 != true
    await home.clock.advance(minutes=10)
    assert home.ppmid.port.known_short(home.esme.eui64) == true
    assert home.esme.port.known_short(home.ppmid.eui64) == home.ppmid.port.network.short_address
    heard = home.ppmid.model.electricity.heard_utc_us
    assert home.clock.utc_us - heard < 120_000_000, "reports come again"
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    assert (await home.ppmid.enter_utrn(token)).is_accepted
