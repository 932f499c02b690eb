"""The life of the gas meter's mirror: asked for, removed by either side, asked for anew."""

from __future__ import annotations

import pytest

from smets1.errors import RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.hub.gpf import GasProxy, WaitingInstruction


def test_a_removed_proxy_forgets_values_and_gives_up_what_waits():
    nvm = MemoryNvm()
    proxy = GasProxy(nvm)
    proxy.create()
    proxy.report("metering", {"current_summation_delivered": 5}, meter_utc_us=1)
    settled: list[bytes | None] = []
    proxy.wait(
        WaitingInstruction(
            endpoint=1,
            cluster_id=0x0702,
            frame=b"",
            expires_utc_us=9,
            source_endpoint=1,
            settle=settled.append,
        )
    )
    for item in proxy.remove():
        item.settle(None)
    nvm.commit()
    assert settled == [None]
    assert (proxy.values, proxy.reported_utc_us, proxy.is_removed, proxy.waiting_count) == ({}, None, True, 0)
    assert GasProxy(nvm.after_power_cut()).is_removed


async def read_mirror(home):
    return await home.ihd.app.read(0x0000, 2, "metering", ["current_summation_delivered"])


async def test_the_meter_takes_its_mirror_away(smets1_home):
    home = await smets1_home(seed=40)
    await home.clock.advance(minutes=2)
    assert await read_mirror(home)
    await home.gsme.remove_mirror()
    assert home.gsme.mirror_endpoint is None
    assert 2 not in home.chf.app.core.endpoints
    with pytest.raises(RefusedError):
        await read_mirror(home)
    await home.clock.advance(minutes=45)  # a meter wants a mirror: it asks at its next waking
    assert home.gsme.mirror_endpoint == 2
    assert await read_mirror(home)


async def test_the_hub_takes_the_mirror_away_and_the_meter_asks_anew(smets1_home):
    home = await smets1_home(seed=41)
    await home.clock.advance(minutes=2)
    home.chf.mirror.remove()
    with pytest.raises(RefusedError):
        await read_mirror(home)
    await home.clock.advance(hours=2)
    assert home.gsme.mirror_endpoint == 2
    assert await read_mirror(home)


async def test_only_the_gas_meter_may_take_it_away(smets1_home):
    home = await smets1_home(seed=42)
    await home.clock.advance(minutes=2)
    answer = None
    try:
        answer = await home.ihd.app.request(0x0000, 1, "metering", "remove_mirror", sender=0)
    except RefusedError:
        pass
    assert not answer
    assert await read_mirror(home)
