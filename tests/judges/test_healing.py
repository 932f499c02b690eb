"""What breaks in a real home, and heals without a person: each test waits, and asks again.

Healed means: every device is on the network with its key, the displays hear both meters, and the head end
reaches the gas meter (whose way is the air, not the ribbon).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from judged_home import JudgedHomes
from tshark import Step

from smets1.firmware.zigbee.node import HanNode
from smets1.tools.home import Home
from smets1.tools.home_config import Role

Opener = JudgedHomes  # what the fixture is in this file: each home's air goes through tshark at its end
MINUTE = 60.0


def node(device: Any) -> HanNode:
    port = device.port
    assert isinstance(port, HanNode)
    return port


async def is_healthy(home: Home, *, gas_minutes: float = 40) -> list[str]:
    """What is still wrong. Takes more than one waking of the gas meter."""
    began_us = home.civil.utc_us()
    await home.clock.advance(minutes=gas_minutes)
    wrong = [
        f"{device!r} is not on the network with a key" for device in home.devices if not device.keyed.is_set()
    ]
    for display in (home.ppmid, home.ihd):
        heard_us = display.model.electricity.heard_utc_us
        if heard_us is None or home.civil.utc_us() - heard_us > 90_000_000:
            wrong.append(f"{display!r} does not hear the electricity meter")
        gas_us = display.model.gas.heard_utc_us
        if gas_us is None or gas_us < began_us - 600_000_000:
            wrong.append(f"{display!r} does not follow gas")
    if home.chf.gas.reported_utc_us is None or home.chf.gas.reported_utc_us < began_us:
        wrong.append("the gas meter has not filled its mirror")
    return wrong


async def power_cycle_hub(home: Home, off_s: float) -> None:
    """The plug is pulled: nothing is flushed. A new hub starts on what NVM held."""
    old = home.chf
    node(old).power_off()
    node(old)._radio.close()
    for task in list(old._tasks):
        task.cancel()
    assert old.wan is not None
    await old.wan.close()
    home.devices.remove(old)
    del home.chf
    await home.clock.advance(seconds=off_s)
    config = home.config.device(Role.CHF)
    assert config is not None
    home._add(config)
    await home._connect(home.chf)
    home.chf.start()


async def test_a_healthy_home_is_healthy(smets1_home: Opener) -> None:
    home = await smets1_home(seed=3)
    assert await is_healthy(home) == []
    home.air.faults.move_away(home.gsme.eui64)
    home.air.faults.move_away(home.ihd.eui64)
    wrong = await is_healthy(home)
    assert any("mirror" in text for text in wrong)
    assert any("Ihd" in text for text in wrong)


@pytest.mark.parametrize(
    ("role", "away_minutes"),
    [
        ("esme", 45),
        ("gsme", 45),
        ("ihd", 2),
        *(
            pytest.param(role, minutes, marks=pytest.mark.slow)
            for role in ("esme", "gsme", "ppmid", "ihd")
            for minutes in (2, 45, 300)
        ),
    ],
)
async def test_a_device_moved_out_of_range_and_back(
    smets1_home: Opener, role: str, away_minutes: float
) -> None:
    home = await smets1_home(seed=3)
    await home.clock.advance(minutes=5)
    device = getattr(home, role)
    home.air.faults.move_away(device.eui64)
    await home.clock.advance(minutes=away_minutes)
    home.air.faults.bring_back(device.eui64)
    await home.clock.advance(minutes=40)  # the rejoin's back-off, 15 minutes at most, and a gas waking
    assert await is_healthy(home) == []
    back = [Step("ZCL: Report Attributes", 0x0702)]  # so short an absence is not noticed
    if away_minutes >= 45:
        back = [Step("Rejoin Request"), Step("Rejoin Response"), Step("Device Announcement"), *back]
    await smets1_home.tell(*back)


@pytest.mark.parametrize("off_s", [1, *(pytest.param(long, marks=pytest.mark.slow) for long in (600, 7200))])
async def test_a_hub_power_cycled(smets1_home: Opener, off_s: float) -> None:
    home = await smets1_home(seed=3)
    await home.clock.advance(minutes=5)
    network = node(home.chf).network
    await power_cycle_hub(home, off_s)
    await home.clock.advance(minutes=40)
    assert await is_healthy(home) == []
    assert node(home.chf).network == network, "the same network, not a new one"
    meter, gas = node(home.esme).stack.nwk.short_address, node(home.gsme).stack.nwk.short_address
    await smets1_home.tell(
        Step("Association Response", source=None),
        Step("ZCL: Report Attributes", 0x0702, source=gas, destination=0),
        Step("Many-to-One Route Request", source=0),
        Step("ZCL: Report Attributes", 0x0702, source=meter),
        Step("ZCL: Report Attributes", 0x0702, source=gas, destination=0),
    )


async def test_a_network_key_rotated(smets1_home: Opener) -> None:
    home = await smets1_home(seed=3)
    await home.clock.advance(minutes=5)
    before = node(home.chf).network_key
    await node(home.chf).update_network_key()
    await home.clock.advance(hours=3)  # the sleeping gas meter sees at its third keep-alive in vain
    assert await is_healthy(home) == []
    keys = {node(device).network_key for device in home.devices}
    assert before not in keys
    assert len(keys) == 1, "all have the new one, the sleeping gas meter too"
    meter = node(home.esme).stack.nwk.short_address
    await smets1_home.tell(
        Step("Device Announcement", source=meter),
        Step("Transport Key", source=0, destination=meter),
        Step("Switch Key", source=0),
        Step("Rejoin Request"),  # the gas meter's, which slept
        Step("Transport Key", source=0),
    )


@pytest.mark.slow
@pytest.mark.parametrize("role", ["esme", "ihd"])
async def test_a_network_key_rotated_twice_while_a_device_is_away(smets1_home: Opener, role: str) -> None:
    """It comes back with a key that nobody has any more: only a rejoin by its trust-centre link key helps."""
    home = await smets1_home(seed=3)
    await home.clock.advance(minutes=5)
    device = getattr(home, role)
    home.air.faults.move_away(device.eui64)
    for _ in range(2):
        await node(home.chf).update_network_key()
        await home.clock.advance(minutes=40)
    home.air.faults.bring_back(device.eui64)
    await home.clock.advance(hours=3)
    assert await is_healthy(home) == []
    assert node(device).network_key == node(home.chf).network_key


async def test_the_parent_is_lost_another_is_found(smets1_home: Opener) -> None:
    """The hub moves out of the IHD's range: the ESME, a router, becomes its parent; later the way back."""
    home = await smets1_home(seed=3)
    await home.clock.advance(minutes=5)
    hub, display = home.chf.eui64, home.ihd.eui64
    network = node(home.ihd).network
    assert network is not None
    assert network.parent_short == 0
    for pair in ((hub, display), (display, hub)):
        home.air.faults.cut(*pair)
    await home.clock.advance(minutes=30)
    meter = node(home.esme).network
    network = node(home.ihd).network
    assert network is not None
    assert meter is not None
    assert network.parent_short == meter.short_address
    assert await is_healthy(home) == []
    # now the router is lost to it, and the hub is in range again
    for pair in ((hub, display), (display, hub)):
        home.air.faults.mend(*pair)
    for pair in ((home.esme.eui64, display), (display, home.esme.eui64)):
        home.air.faults.cut(*pair)
    await home.clock.advance(minutes=40)
    assert await is_healthy(home) == []
    network = node(home.ihd).network
    assert network is not None
    assert network.parent_short == 0
    await smets1_home.tell(
        Step("Rejoin Request", destination=meter.short_address),
        Step("Rejoin Response", source=meter.short_address),
        Step("Update Device", source=meter.short_address, destination=0),
        Step("Rejoin Request", destination=0),
        Step("Rejoin Response", source=0),
    )


async def test_a_device_joins_through_a_router(smets1_home: Opener) -> None:
    """Out of the hub's reach from the beginning: the network key comes tunnelled through the ESME."""
    home = await smets1_home(seed=3, waits=False)
    for display in (home.ihd.eui64, home.gsme.eui64):
        for pair in ((home.chf.eui64, display), (display, home.chf.eui64)):
            home.air.faults.cut(*pair)
    await home.joined()
    assert await is_healthy(home) == []
    router = node(home.esme).stack.nwk.short_address
    await smets1_home.tell(
        Step("Update Device", source=router, destination=0),
        Step("Transport Key", source=0, destination=router),  # inside a Tunnel command
        Step("Transport Key", source=router),
        Step("ZCL Key Establishment: Confirm Key Data Response", 0x0800, source=0),
    )


@pytest.mark.slow
async def test_interference_bursts(smets1_home: Opener) -> None:
    """Five seconds of noise on every channel, each minute, for an hour; then quiet."""
    home = await smets1_home(seed=3)
    await home.clock.advance(minutes=5)
    for _ in range(60):
        home.air.interfere(5_000_000)
        await asyncio.sleep(MINUTE)
    home.air.interfere(20 * 60_000_000)
    await asyncio.sleep(60 * MINUTE)
    assert await is_healthy(home) == []
