"""The whole home, every device of it on a simulated RCP stick of its own, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bench_rcp import STICK

from smets1.eui64 import Eui64
from smets1.hardware.radio import KeyOrigin
from smets1.hardware.rcp import MemoryCable, RcpRadio
from smets1.tools.demo_story import DemoStory
from smets1.tools.dongle import Dongle, EzspDongle
from smets1.tools.home import Home
from smets1.tools.home_config import DeviceConfig

Sticks = dict[Eui64, MemoryCable]
MakeHome = Callable[..., Awaitable[Home]]


@pytest.fixture
def sticks(monkeypatch: pytest.MonkeyPatch) -> Sticks:
    """From here on each device of a home gets a stick; the cables, by device."""
    cables: Sticks = {}
    starting = []

    def radio(home: Home, config: DeviceConfig) -> RcpRadio:
        cable = cables[config.eui64] = MemoryCable(home._loop)
        dongle = Dongle(home.air, cable.stick, STICK + len(cables))
        starting.append(asyncio.get_running_loop().create_task(dongle.start()))
        return RcpRadio(cable.host, config.eui64, home._loop)

    monkeypatch.setattr(Home, "_radio", radio)
    return cables


def is_keyed(home: Home, device: str) -> bool:
    port = getattr(home, device).port
    key = None if port.network is None else port.link_key(port.network.trust_centre)
    return key is not None and key.origin is KeyOrigin.ESTABLISHED


async def test_six_devices_join_and_live(sticks: Sticks, smets1_home: MakeHome) -> None:
    home = await smets1_home(seed=7)
    assert len(sticks) == 5  # the GPF lives in the hub
    assert all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    result = await home.ppmid.enter_utrn(token)
    assert result.is_accepted
    assert home.esme.account.balance_mp == 1_000_000
    await home.clock.advance(minutes=40)  # the gas meter has slept, woken and reported
    assert "connected" in home.ihd.screen["home"][0]


@pytest.mark.parametrize("pause_s", [0.5, 2.0, 3.0, 4.0, 6.0])
async def test_a_stick_is_pulled_out_while_its_device_comes_up(
    sticks: Sticks, smets1_home: MakeHome, pause_s: float
) -> None:
    """Somewhere between the scan and the end of key establishment, the hub's stick and the PPMID's."""
    home = await smets1_home(seed=7, waits=False)
    await asyncio.sleep(pause_s)
    assert not all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))
    pulled = [sticks[home.ppmid.eui64], sticks[home.chf.eui64]]
    for cable in pulled:
        cable.unplug()
    await asyncio.sleep(2)
    for cable in pulled:
        cable.plug()
    await home.joined(300)
    assert all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))


@pytest.mark.slow
async def test_the_story_of_a_day(
    sticks: Sticks, smets1_home: MakeHome, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reads, a top-up, supply off and on, both SUA keys rotated, the sleepy gas meter: as on the air."""
    toml = "start = 2023-01-16T00:00:00Z\n[prepayment]\nbalance_pounds = 10\nmax_meter_balance_pounds = 50\n"
    home = await smets1_home(seed=7, toml=toml)
    await DemoStory(home, "on simulated sticks").tell()  # raises where something is not as it should be
    assert "supply ON" in capsys.readouterr().out
    assert home.esme.authorisation.generation == home.gsme.authorisation.generation == 1
    assert len(sticks) == 5


@pytest.fixture
def modems(monkeypatch: pytest.MonkeyPatch) -> Sticks:
    """From here on each device of a home gets an EZSP stick, through the real bellows; the cables, by device."""
    pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")
    cables: Sticks = {}
    starting = []

    def port(home: Home, config: DeviceConfig, nvm: Any, node_config: Any) -> Any:
        cable = cables[config.eui64] = MemoryCable(home._loop)
        dongle = EzspDongle(
            home.air, cable.stick, config.eui64, random.Random(config.eui64), version=13 + len(cables) % 2
        )
        starting.append(asyncio.get_running_loop().create_task(dongle.start()))
        rng = home.seeds.random("han", str(config.eui64))
        return home._modem(cable.host, config, nvm, node_config, rng)

    monkeypatch.setattr(Home, "_port", port)
    return cables


async def test_six_devices_live_on_ezsp_sticks(modems: Sticks, smets1_home: MakeHome) -> None:
    home = await smets1_home(seed=7)
    assert len(modems) == 5  # the GPF lives in the hub
    assert all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    result = await home.ppmid.enter_utrn(token)
    assert result.is_accepted
    assert home.esme.account.balance_mp == 1_000_000
    await home.clock.advance(minutes=40)  # the gas meter has slept, woken and reported
    assert "connected" in home.ihd.screen["home"][0]


@pytest.mark.parametrize("pause_s", [0.5, 2.0, 3.0, 4.0, 6.0])
async def test_an_ezsp_stick_is_pulled_out_while_its_device_comes_up(
    modems: Sticks, smets1_home: MakeHome, pause_s: float
) -> None:
    home = await smets1_home(seed=7, waits=False)
    await asyncio.sleep(pause_s)
    assert not all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))
    pulled = [modems[home.ppmid.eui64], modems[home.chf.eui64]]
    for cable in pulled:
        cable.unplug()
    await asyncio.sleep(2)
    for cable in pulled:
        cable.plug()
    await home.joined(1200)
    assert all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))


@pytest.mark.slow
async def test_the_story_of_a_day_on_ezsp_sticks(
    modems: Sticks, smets1_home: MakeHome, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as on the air and on RCP sticks."""
    toml = "start = 2023-01-16T00:00:00Z\n[prepayment]\nbalance_pounds = 10\nmax_meter_balance_pounds = 50\n"
    home = await smets1_home(seed=7, toml=toml)
    await DemoStory(home, "on simulated sticks").tell()  # raises where something is not as it should be
    assert "supply ON" in capsys.readouterr().out
    assert home.esme.authorisation.generation == home.gsme.authorisation.generation == 1
    assert len(modems) == 5
