"""The whole home on simulated sticks of its own, through the drivers of real ones, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from tests.test_home_channel import assert_it_stays, move

from smets1.hardware.ezsp.radio import EzspRadio
from smets1.hardware.radio import KeyOrigin
from smets1.hardware.rcp import MemoryCable
from smets1.tools.home import Home
from smets1.tools.home_config import HomeConfig
from smets1.tools.home_file import default_home
from smets1.tools.home_radios import with_radios

pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")

MakeHome = Callable[..., Awaitable[Home]]
WORLDS: Final = {
    "rcp": ("rcp:simulated",),
    "ezsp": ("ezsp:simulated@13", "ezsp:simulated@14"),
    # the reference home is written ESME, GSME, CHF, PPMID, IHD
    "hub on ezsp": ("rcp:simulated", "ezsp:simulated", "ezsp:simulated@14", "air:"),
    "hub on air": ("ezsp:simulated", "rcp:simulated", "air:"),
}
each_world = pytest.mark.parametrize("world", WORLDS)
each_stick = pytest.mark.parametrize("world", ["rcp", "ezsp"])


def reference(world: str) -> HomeConfig:
    return with_radios(default_home(), *WORLDS[world])


def is_keyed(home: Home, device: str) -> bool:
    port = getattr(home, device).port
    key = None if port.network is None else port.link_key(port.network.trust_centre)
    return key is not None and key.origin is KeyOrigin.ESTABLISHED


def are_keyed(home: Home) -> bool:
    return all(is_keyed(home, device) for device in ("esme", "gsme", "ppmid", "ihd"))


def kept(home: Home) -> list[object]:
    """What a device has of the network, and of the trust centre."""
    found: list[object] = []
    for device in home.devices:
        network = device.port.network
        assert network is not None
        found.append((network, device.port.link_key(network.trust_centre)))
    return found


def cables(home: Home, *devices: str) -> list[MemoryCable]:
    return [home.radios.cables[getattr(home, device).eui64] for device in devices]


@each_world
async def test_six_devices_join_and_live(smets1_home: MakeHome, world: str) -> None:
    home = await smets1_home(seed=7, config=reference(world), balance_pounds=0)
    if world in ("rcp", "ezsp"):
        assert len(home.radios.cables) == 5  # the GPF lives in the hub
    assert are_keyed(home)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    result = await home.ppmid.enter_utrn(token)
    assert result.is_accepted
    assert home.esme.account.balance_mp == 1_000_000
    await home.clock.advance(minutes=40)  # the gas meter has slept, woken and reported
    assert "connected" in home.ihd.screen["home"][0]


async def test_versions_are_those_that_the_file_names(smets1_home: MakeHome) -> None:
    home = await smets1_home(seed=7, config=reference("ezsp"))
    ports = [device.port for device in home.devices]
    assert all(isinstance(port, EzspRadio) for port in ports)
    assert {port._line.ezsp.ezsp_version for port in ports if isinstance(port, EzspRadio)} == {13, 14}


@each_world
async def test_a_home_goes_on_after_all_power_was_off(
    smets1_home: MakeHome, tmp_path: Path, world: str
) -> None:
    """Host and stick start again, each from its own memory: nobody joins anew."""
    home = await smets1_home(seed=7, config=reference(world), nvm_dir=tmp_path)
    before = kept(home)
    await home.power_off()
    home = await smets1_home(seed=7, config=reference(world), nvm_dir=tmp_path)
    after = kept(home)
    assert after == before
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    assert (await home.ppmid.enter_utrn(token)).is_accepted


@each_stick
@pytest.mark.parametrize("pause_s", [0.5, 2.0, 3.0, 4.0, 6.0])
async def test_a_stick_is_pulled_out_while_its_device_comes_up(
    smets1_home: MakeHome, pause_s: float, world: str
) -> None:
    """Somewhere between the scan and the end of key establishment, the hub's stick and the PPMID's."""
    home = await smets1_home(seed=7, config=reference(world), waits=False)
    await asyncio.sleep(pause_s)
    assert not are_keyed(home)
    pulled = cables(home, "ppmid", "chf")
    for cable in pulled:
        cable.unplug()
    await asyncio.sleep(2)
    for cable in pulled:
        cable.plug()
    await home.joined(1200)
    assert are_keyed(home)


async def test_a_home_moves_to_another_channel(smets1_home: MakeHome, tmp_path: Path) -> None:
    """The hub's stick tells all and goes with them; the gas meter wakes later, and finds them."""
    home = await smets1_home(seed=5, config=reference("ezsp"), nvm_dir=tmp_path)
    channel = await move(home)
    await home.power_off()
    home = await smets1_home(seed=5, config=reference("ezsp"), nvm_dir=tmp_path)
    await assert_it_stays(home, channel)
