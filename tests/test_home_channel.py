"""A whole home is moved to another channel by its hub, and stays there."""

from __future__ import annotations

from pathlib import Path
from typing import Any


async def test_a_home_moves_to_another_channel_and_the_sleeping_gas_meter_comes_after(
    smets1_home: Any, tmp_path: Path
) -> None:
    home = await smets1_home(seed=5, nvm_dir=tmp_path / "nvm")
    await home.clock.advance(
        minutes=10
    )  # the gas meter has told of its new start, and sleeps till the half hour
    old = home.chf.port.network.channel
    channel = 26 if old != 26 else 11
    devices = (home.chf, home.esme, home.gsme, home.ppmid, home.ihd)
    home.chf.port.change_channel(channel)
    await home.clock.advance(minutes=5)
    awake = [device for device in devices if device is not home.gsme]
    assert {device.port.network.channel for device in awake} == {channel}
    assert home.gsme.port.network.channel == old  # it sleeps, and has not heard of it
    await home.clock.advance(hours=2)
    assert home.gsme.port.network.channel == channel
    moved_us = home.clock.utc_us
    await home.clock.advance(hours=1)
    assert home.chf.gas.reported_utc_us > moved_us
    assert home.ihd.model.electricity.heard_utc_us > moved_us
    await home.close()
    home = await smets1_home(seed=5, nvm_dir=tmp_path / "nvm")
    await home.clock.advance(hours=1)
    assert {device.port.network.channel for device in home.devices} == {channel}
    assert home.clock.utc_us - home.chf.gas.reported_utc_us < 3600 * 1_000_000
