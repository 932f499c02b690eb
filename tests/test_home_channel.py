"""A whole home is moved to another channel by its hub, and stays there."""

from __future__ import annotations

from pathlib import Path

from judged_home import JudgedHomes, shorts
from tshark import Step

from smets1.hardware.radio import BROADCAST_RX_ON
from smets1.tools.home import Home

__all__ = ["assert_it_stays", "move"]


async def move(home: Home) -> int:
    """All go at the hub's word, the sleeping gas meter after them; the channel where they are."""
    await home.clock.advance(minutes=10)  # the gas meter has told of its new start; sleeps till the half hour
    network = home.chf.port.network
    assert network is not None
    old = network.channel
    channel = 26 if old != 26 else 11
    home.chf.port.change_channel(channel)
    await home.clock.advance(minutes=5)
    awake = [device for device in home.devices if device is not home.gsme]
    assert {device.port.network.channel for device in awake} == {channel}
    assert home.gsme.port.network.channel == old  # it sleeps, and has not heard of it
    await home.clock.advance(hours=2)
    assert home.gsme.port.network.channel == channel
    moved_us = home.clock.utc_us
    await home.clock.advance(hours=1)
    assert home.chf.gas.reported_utc_us > moved_us
    assert home.ihd.model.electricity.heard_utc_us > moved_us
    return channel


async def assert_it_stays(home: Home, channel: int) -> None:
    """After a restart."""
    await home.clock.advance(hours=1)
    assert {device.port.network.channel for device in home.devices} == {channel}
    assert home.clock.utc_us - home.chf.gas.reported_utc_us < 3600 * 1_000_000


async def test_a_home_moves_to_another_channel_and_the_sleeping_gas_meter_comes_after(
    smets1_home: JudgedHomes, tmp_path: Path
) -> None:
    home = await smets1_home(seed=5, nvm_dir=tmp_path / "nvm")
    hub, gas_meter = shorts(home, "chf", "gsme")
    channel = await move(home)
    await smets1_home.tell(
        Step("Network Update Request", source=hub, destination=BROADCAST_RX_ON),
        Step("Rejoin Request", source=gas_meter, destination=hub),
        Step("Rejoin Response", source=hub, destination=gas_meter),
        Step("ZCL: Report Attributes", 0x0702, gas_meter, hub),
    )
    home = await smets1_home(seed=5, nvm_dir=tmp_path / "nvm")
    await assert_it_stays(home, channel)
