"""Homes with something missing or broken: WAN, HAN, devices, whole fuels."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from tshark import Step

from smets1.devices.supply import SupplyState
from smets1.errors import InputError, MisuseError, NoAnswerError
from smets1.tools.duis_ask import answers, ask

TOML = "[han]\nreport_interval_s = 600\n[prepayment]\nbalance_pounds = 20\n"
ESME = '[[device]]\nrole = "esme"\n'
CHF = '[[device]]\nrole = "chf"\n'
GPF = '[[device]]\nrole = "gpf"\n'
GSME = '[[device]]\nrole = "gsme"\n'
PPMID = '[[device]]\nrole = "ppmid"\n'
IHD = '[[device]]\nrole = "ihd"\n'
METERING, PREPAYMENT, DEVICE_INFORMATION = 0x0702, 0x0705, 0xFC03


# --- the WAN ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "after_ms", [60, *(pytest.param(ms, marks=pytest.mark.slow) for ms in (1, 30, 100, 150, 250))]
)
async def test_the_wan_breaks_in_the_middle_of_a_top_up(smets1_home: Any, after_ms: int) -> None:
    home = await smets1_home()
    broker, before = home._wan.memory, len(answers(home))
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    work = asyncio.get_running_loop().create_task(ask(home, "2.2", home.esme.eui64, token=token))
    await home.clock.advance(seconds=after_ms / 1000)
    broker.stop()
    await home.clock.advance(minutes=20)
    broker.start()
    assert (await work).code == "I0"
    await home.clock.advance(minutes=10)
    assert len(answers(home)) - before == 1
    assert home.esme.account.balance_mp == 1_000_000


@pytest.mark.parametrize("client", ["hub", "headend"])
async def test_one_end_loses_its_connection_again_and_again(smets1_home: Any, client: str) -> None:
    home = await smets1_home(toml=TOML)
    name = f"hub-{home.chf.eui64:016x}" if client == "hub" else "headend"
    work = [asyncio.get_running_loop().create_task(ask(home, srv, home.esme.eui64)) for srv in
            ("4.1.1", "7.2", "4.18", "7.3", "7.4")]  # fmt: skip
    for _ in range(10):
        await home.clock.advance(seconds=0.12)
        home._wan.memory.cut(name)
    found = await asyncio.gather(*work)
    assert [answer.code for answer in found] == ["I0"] * 5
    assert found[-1].value("SupplyState") == "Armed"
    assert len(answers(home)) == 5


@pytest.mark.slow
async def test_the_wan_is_down_for_more_than_a_day(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML.replace("600", "3600"))
    home._wan.memory.stop()
    answer = await ask(home, "7.2", home.esme.eui64, wait_s=2 * 86_400)
    assert answer.code.startswith("E")
    home._wan.memory.start()
    await home.clock.advance(hours=1)
    assert home.esme.meter.supply.is_on, "an expired instruction is not executed"
    assert len(answers(home)) == 1


# --- the HAN ---------------------------------------------------------------------------------------


async def test_the_ribbon_is_cut(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    home.wire.is_cut = True
    answer = await ask(home, "4.1.1", home.esme.eui64)
    assert answer.code.startswith("E")
    home.wire.is_cut = False
    assert (await ask(home, "4.1.1", home.esme.eui64)).code == "I0"


async def test_the_ppmid_is_out_of_reach(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(toml=TOML)
    hub, away, meter = shorts(home, "chf", "ppmid", "esme")
    home.air.faults.move_away(home.ppmid.eui64)
    answer = await ask(home, "11.2", home.ppmid.eui64)
    assert answer.code.startswith("E")
    with pytest.raises(NoAnswerError):
        await home.ppmid.enter_utrn("0" * 20)
    home.air.faults.bring_back(home.ppmid.eui64)
    await home.clock.advance(minutes=10)
    assert (await ask(home, "11.2", home.ppmid.eui64)).code == "I0"
    assert len(answers(home)) == 2
    (back,) = shorts(home, "ppmid")
    await smets1_home.tell(
        Step("ZCL: Read Attributes", DEVICE_INFORMATION, hub, away),  # in vain
        Step("ZCL Prepayment: Consumer Top Up", PREPAYMENT, away, meter),
        Step("Rejoin Request", source=away, destination=hub),
        Step("Rejoin Response", source=hub),
        Step("ZCL: Read Attributes", DEVICE_INFORMATION, hub, back),
        Step("ZCL: Read Attributes Response", DEVICE_INFORMATION, back, hub),
        never=[Step("ZCL Prepayment: Consumer Top Up Response")],
    )


async def test_a_lossy_air_still_makes_a_home(smets1_home: Any) -> None:
    home = await smets1_home(seed=3, toml=TOML + "[faults]\nloss = 0.1\n")
    await home.clock.advance(hours=2)
    assert (await ask(home, "11.2", home.gsme.eui64)).code == "I0"
    assert (await ask(home, "11.2", home.ppmid.eui64)).code == "I0"
    await home.clock.advance(minutes=15)
    assert home.ihd.model.electricity.heard_utc_us is not None
    assert home.clock.utc_us - home.ihd.model.electricity.heard_utc_us < 1800e6


# --- other homes -----------------------------------------------------------------------------------


async def test_without_gas(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML + ESME + CHF + PPMID + IHD)
    await home.clock.advance(hours=1)
    assert (await ask(home, "4.1.1", home.esme.eui64)).code == "I0"
    assert not any("Gas" in line for page in home.ihd.screen.values() for line in page)
    assert (await ask(home, "8.9", home.chf.eui64)).code == "I0"
    with pytest.raises(MisuseError, match="gas"):
        await home.ppmid.enter_utrn("0" * 20, "gas")


@pytest.mark.slow
async def test_without_electricity(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML + GSME + CHF + GPF + PPMID)
    await home.clock.advance(hours=9)
    assert (await ask(home, "4.1.1", home.gsme.eui64)).code == "I0"
    assert home.ppmid.model.gas.values["current_summation_delivered"] > 0
    token = home.headend.make_utrn(home.gsme.eui64, pounds=5)
    assert (await home.ppmid.enter_utrn(token, "gas")).is_accepted
    with pytest.raises(MisuseError):
        await home.ppmid.enter_utrn(token)


async def test_with_two_ihds(smets1_home: JudgedHomes) -> None:
    second = IHD + 'eui64 = "00-DB-12-34-56-78-90-B5"\n'
    home = await smets1_home(toml=TOML + ESME + CHF + GSME + GPF + PPMID + IHD + second)
    await home.clock.advance(hours=1)
    first, other = [device for device in home.devices if type(device).__name__ == "Ihd"]
    assert first is home.ihd
    assert first.screen == other.screen
    log = await ask(home, "8.9", home.chf.eui64)
    assert "00-DB-12-34-56-78-90-B5" in log.values("DeviceID")
    hub, meter = shorts(home, "chf", "esme")
    for each in [display.port.network.short_address for display in (first, other)]:
        await smets1_home.tell(
            Step("Device Announcement", source=each),
            Step("ZCL Key Establishment: Confirm Key Data Response", destination=each),
            Step("Request Key", source=each, destination=hub),
            Step("Transport Key", source=hub, destination=each),
            Step("ZCL: Configure Reporting", METERING, each, meter),
            Step("ZCL: Report Attributes", METERING, meter, each),
        )


async def test_a_stick_is_not_there_yet(smets1_home: Any) -> None:
    with pytest.raises(InputError, match="radio"):
        await smets1_home(toml=TOML + ESME + 'radio = "rcp:/dev/ttyACM0"\n' + CHF)


async def test_a_device_that_runs_elsewhere(smets1_home: Any) -> None:
    """The hub admits it; nobody here plays it."""
    home = await smets1_home(toml=TOML + ESME + CHF + PPMID + "runs_here = false\n" + IHD)
    assert len(home.devices) == 3
    log = await ask(home, "8.9", home.chf.eui64)
    assert "00-DB-12-34-56-78-90-A4" in log.values("DeviceID")
    assert (await ask(home, "11.2", 0x00DB1234567890A4)).code.startswith("E")


async def test_the_head_end_runs_elsewhere(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML + "[headend]\nruns_here = false\n")
    with pytest.raises(MisuseError, match="head end"):
        assert home.headend
    await home.clock.advance(minutes=20)
    assert home.ihd.model.electricity.values["supply_status"] == SupplyState.ON


async def test_nothing_is_left_running_after_a_home_that_could_not_start(
    smets1_home: Any, tmp_path: Path
) -> None:
    before = asyncio.all_tasks()
    for toml in ('[wan]\nlink = "embedded:"\n', ESME + 'radio = "ezsp:/dev/ttyUSB0"\n' + CHF):
        with pytest.raises((MisuseError, InputError)):
            await smets1_home(toml=toml, nvm_dir=tmp_path)
        assert asyncio.all_tasks() == before
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)  # its files are free again
    assert home.esme.keyed.is_set()
