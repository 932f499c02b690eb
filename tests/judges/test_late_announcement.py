"""A Device_annce that comes late must not make a repeated message a new one (found by the lossy joins)."""

from __future__ import annotations

import asyncio

from smets1.firmware.zigbee.node import HanNode
from smets1.hardware.clock import MAX_SPEED, run
from smets1.hardware.radio import BROADCAST_RX_ON
from smets1.tools.home import open_home


async def announce_after(silence_s: float) -> bool:
    """Whether the hub still knows the counters of a display that announces itself so long after a message."""
    home = await open_home(seed=3)
    hub, display = home.chf.port, home.ihd.port
    assert isinstance(hub, HanNode)
    assert isinstance(display, HanNode)
    await home.clock.advance(seconds=60)
    await home.ihd.read_gas()
    assert display.network is not None
    short_address = display.network.short_address
    heard = hub.stack.aps._heard[short_address]
    await asyncio.sleep(silence_s)
    display.stack.zdo.announce(BROADCAST_RX_ON)
    display._drain()
    await asyncio.sleep(1)
    is_kept = hub.stack.aps._heard.get(short_address) is heard
    await home.close()
    return is_kept


def test_counters_just_heard_are_kept() -> None:
    assert run(announce_after(2), speed=MAX_SPEED)


def test_counters_of_a_former_life_are_forgotten() -> None:
    assert not run(announce_after(20), speed=MAX_SPEED)
