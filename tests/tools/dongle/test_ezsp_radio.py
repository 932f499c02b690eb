"""`EzspRadio` through the real bellows on simulated EZSP sticks, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from bench_ezsp import EzspBench
from bench_rcp import HUB, METER, message

from smets1.hardware.clock import MAX_SPEED, run
from smets1.hardware.radio import (
    COORDINATOR,
    ApsSecurity,
    NodeRole,
)

pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")

GAS = 0x00DB1234567890A1


def play(scene: Coroutine[Any, Any, None]) -> None:
    run(scene, speed=MAX_SPEED)


@pytest.mark.parametrize("version", [13, 14])
@pytest.mark.parametrize("role", [NodeRole.ROUTER, NodeRole.END_DEVICE, NodeRole.SLEEPY_END_DEVICE])
def test_join_and_talk_both_ways(version: int, role: NodeRole) -> None:
    async def scene() -> None:
        bench = EzspBench(version=version)
        hub = await bench.node(HUB, NodeRole.COORDINATOR)
        formed = await hub.form()
        assert formed.trust_centre == HUB
        node = await bench.node(METER, role, poll_interval_us=500_000)
        await bench.join(hub, node)
        assert node.network is not None
        assert (node.network.pan_id, node.network.trust_centre) == (formed.pan_id, HUB)
        assert node.network_key == hub.network_key
        (joined,) = bench.ears[HUB].joined
        assert (joined.eui64, joined.is_rejoin) == (METER, False)
        assert joined.is_sleepy is (role is NodeRole.SLEEPY_END_DEVICE)
        await node.send(message(COORDINATOR, b"up"))
        short = await hub.find_short(METER)
        for payload in (b"down", bytes(range(256)), b"x" * 64, b"y" * 65, b"z" * 66):
            await hub.send(message(short, payload))
        await node.send(message(COORDINATOR, bytes(reversed(range(200)))))
        await asyncio.sleep(1)
        heard = bench.ears[METER].messages
        assert [m.payload for m in heard] == [b"down", bytes(range(256)), b"x" * 64, b"y" * 65, b"z" * 66]
        assert {(m.security, m.source_eui64) for m in heard} == {(ApsSecurity.LINK_KEY, HUB)}
        assert [m.payload for m in bench.ears[HUB].messages] == [b"up", bytes(reversed(range(200)))]
        await bench.close()

    play(scene())
