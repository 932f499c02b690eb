"""`EzspRadio` through the real bellows on simulated EZSP sticks, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from bench_ezsp import EzspBench
from bench_rcp import HUB, METER, message, play

from smets1.errors import InputError, MisuseError, NoAnswerError
from smets1.hardware.ezsp.modem import status_of
from smets1.hardware.ezsp.radio import EzspRadio
from smets1.hardware.ezsp.statuses import Status
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    COORDINATOR,
    ApsSecurity,
    KeyOrigin,
    LinkKey,
    NodeRole,
    SimpleDescriptor,
)

pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")

GAS = 0x00DB1234567890A1


@pytest.mark.parametrize("version", [13, 14])
@pytest.mark.parametrize("role", [NodeRole.ROUTER, NodeRole.END_DEVICE, NodeRole.SLEEPY_END_DEVICE])
def test_join_and_talk_both_ways(version: int, role: NodeRole) -> None:
    async def scene(bench: EzspBench) -> None:
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
        if role is NodeRole.ROUTER:  # for a sleeping child nobody but the hub itself could answer
            hub._memory.learn(METER, 0x7436)
            assert await hub.find_short(METER) == 0x7436
            assert await hub.find_short(METER, anew=True) == short
        for payload in (b"down", bytes(range(256)), b"x" * 64, b"y" * 65, b"z" * 66):
            await hub.send(message(short, payload))
        await node.send(message(COORDINATOR, bytes(reversed(range(200)))))
        await asyncio.sleep(1)
        heard = bench.ears[METER].messages
        assert [m.payload for m in heard] == [b"down", bytes(range(256)), b"x" * 64, b"y" * 65, b"z" * 66]
        assert {(m.security, m.source_eui64) for m in heard} == {(ApsSecurity.LINK_KEY, HUB)}
        assert [m.payload for m in bench.ears[HUB].messages] == [b"up", bytes(reversed(range(200)))]

    play(lambda: EzspBench(version=version), scene)


def test_another_stick_than_the_file_says_is_one_line() -> None:
    async def scene(bench: EzspBench) -> None:
        with pytest.raises(InputError) as error:
            await bench.node(HUB, NodeRole.COORDINATOR, is_stick_of=METER)
        text = 'the stick is 00-DB-12-34-56-78-90-A0, not 00-DB-12-34-56-78-90-A2: write eui64 = "00-DB-12'
        assert text in str(error.value)

    play(EzspBench, scene)


@pytest.mark.parametrize("version", [13, 14])
def test_a_key_table_that_is_full(version: int, caplog: pytest.LogCaptureFixture) -> None:
    """Those whose keys are in talk on, over a restart too; the one too many is told apart; removal makes room."""

    async def scene(bench: EzspBench) -> None:
        hub = await bench.node(HUB, NodeRole.COORDINATOR, key_limit=14)
        await hub.form()
        node = await bench.node(METER, NodeRole.ROUTER)
        await bench.join(hub, node)
        others = [GAS + number for number in range(1, 15)]
        for other in others:
            hub.set_link_key(
                LinkKey(partner=other, key=bench.rng.randbytes(16), origin=KeyOrigin.ESTABLISHED)
            )
        await asyncio.sleep(2)
        assert "the key table is full: this stick holds 12 keys" in caplog.text  # what the chip had before
        assert list(hub._unsynced) == others[11:]
        await node.send(message(COORDINATOR, b"one"))
        bench.cables[HUB].unplug()
        await asyncio.sleep(3)
        bench.cables[HUB].plug()
        await asyncio.sleep(10)
        assert list(hub._unsynced) == others[11:]
        await node.send(message(COORDINATOR, b"two"))
        await asyncio.sleep(1)
        assert [each.payload for each in bench.ears[HUB].messages] == [b"one", b"two"]
        await hub.remove_device(others[0])
        await asyncio.sleep(2)
        assert list(hub._unsynced) == others[12:]

    play(lambda: EzspBench(version=version), scene)


@pytest.mark.parametrize("version", [13, 14])
def test_a_stick_that_is_pulled_out_while_it_sends(version: int) -> None:
    """What waits for its acknowledgement ends at once; the next message goes when the stick is back."""

    async def scene(bench: EzspBench) -> None:
        hub, node = await bench.pair()
        bench.cables[HUB].unplug()
        sending = bench.loop.create_task(node.send(message(COORDINATOR, b"lost")))
        await asyncio.sleep(0.1)
        began_us = bench.loop.now_us()
        bench.cables[METER].unplug()
        with pytest.raises(NoAnswerError, match="the stick is gone"):
            await sending
        assert bench.loop.now_us() - began_us < 100_000
        with pytest.raises(NoAnswerError, match="not there"):
            await node.send(message(COORDINATOR, b"lost too"))
        for cable in bench.cables.values():
            cable.plug()
        await asyncio.sleep(10)
        assert node.lost_count == hub.lost_count == 1
        await node.send(message(COORDINATOR, b"back"))
        short = await hub.find_short(METER)
        await hub.send(message(short, b"and forth"))
        assert bench.ears[HUB].messages[-1].payload == b"back"
        assert bench.ears[METER].messages[-1].payload == b"and forth"

    play(lambda: EzspBench(version=version), scene)


def test_counters_go_on_after_sticks_were_away() -> None:
    """The frame counter of a key that is in the stick never falls: nobody takes a new message for a replay."""

    async def scene(bench: EzspBench) -> None:
        _, node = await bench.pair()
        for number in range(6):
            await node.send(message(COORDINATOR, bytes((number,))))
            bench.cables[METER].unplug()
            await asyncio.sleep(1)
            bench.cables[METER].plug()
            await asyncio.sleep(5)
        heard = [each.payload for each in bench.ears[HUB].messages]
        assert heard == [bytes((number,)) for number in range(6)]
        stack = bench.dongles[HUB].stick.stack
        assert stack.nwk.counters.replayed == 0

    play(EzspBench, scene)


@pytest.mark.parametrize("version", [13, 14])
def test_a_network_is_moved_though_the_hubs_stick_is_pulled_out_meanwhile(version: int) -> None:
    """Whoever has heard of it goes; a stick that was away has forgotten, is told again, and comes after."""

    async def scene(bench: EzspBench) -> None:
        hub, node = await bench.pair(channels=(15, 20))
        assert hub.network is not None
        old = hub.network.channel
        new = 35 - old
        with pytest.raises(MisuseError):
            node.change_channel(new)
        with pytest.raises(MisuseError):
            hub.change_channel(11)
        hub.change_channel(new)
        await asyncio.sleep(3)
        bench.cables[HUB].unplug()
        with pytest.raises(NoAnswerError, match="not there"):
            hub.change_channel(new)
        await asyncio.sleep(2)
        bench.cables[HUB].plug()
        await asyncio.sleep(6)
        assert [radio.network and radio.network.channel for radio in (hub, node)] == [old, new]
        await asyncio.sleep(12)
        assert [radio.network and radio.network.channel for radio in (hub, node)] == [new, new]
        assert {dongle.stick.stack.nwk.update_id for dongle in bench.dongles.values()} == {1}
        await node.send(message(COORDINATOR, b"up"))
        await hub.send(message(await hub.find_short(METER), b"down"))
        await asyncio.sleep(1)
        assert bench.ears[HUB].messages[-1].payload == b"up"
        assert bench.ears[METER].messages[-1].payload == b"down"

    play(lambda: EzspBench(version=version), scene)


@pytest.mark.parametrize("version", [13, 14])
def test_what_a_stick_may_ask_of_its_network(version: int) -> None:
    """energyScanRequest: a scan of one node, a new channel for all; the manager's to ask, and nobody else's."""

    async def scene(bench: EzspBench) -> None:
        hub, node = await bench.pair()
        assert hub.network is not None
        old = hub.network.channel
        short = await hub.find_short(METER)

        async def ask(radio: EzspRadio, target: int, mask: int, duration: int, count: int = 0) -> Status:
            (status,) = await radio._ask("energyScanRequest", target, mask, duration, count)
            return status_of(status)

        assert await ask(node, 0xFFFF, 1 << 26, 0xFE) is Status.INVALID_CALL
        assert await ask(hub, short, 1 << 26, 0xFE) is Status.BAD_ARGUMENT
        assert await ask(hub, 0xFFFF, 3 << 25, 0xFE) is Status.BAD_ARGUMENT
        assert await ask(hub, 0xFFFF, 1 << 26, 3, 1) is Status.BAD_ARGUMENT
        assert await ask(hub, short, 1 << 26, 3, 9) is Status.BAD_ARGUMENT
        assert await ask(hub, short, 1 << 26, 3, 1) is Status.SUCCESS
        await asyncio.sleep(12)
        assert {radio.network and radio.network.channel for radio in (hub, node)} == {old}
        assert await ask(hub, 0xFFFF, 1 << 26, 0xFE) is Status.SUCCESS
        await asyncio.sleep(12)
        assert {radio.network and radio.network.channel for radio in (hub, node)} == {26}

    play(lambda: EzspBench(version=version), scene)


@pytest.mark.parametrize("version", [13, 14])
@pytest.mark.parametrize("pause_s", [0.0, 0.013, 0.3])
def test_a_broadcast_is_out_before_the_stick_is_reset_for_a_new_endpoint(
    version: int, pause_s: float
) -> None:
    """Sent, to a stick, means taken: it waits its turn still."""

    async def scene(bench: EzspBench) -> None:
        hub, _ = await bench.pair()
        await asyncio.sleep(5)
        began_us = bench.loop.now_us()
        await hub.send(replace(message(BROADCAST_RX_ON, b"all"), is_secured=False, wants_ack=False))
        await asyncio.sleep(pause_s)
        hub.set_endpoints((SimpleDescriptor(endpoint=2, profile_id=0x0109, device_id=0x0500),))
        await hub.send(message(await hub.find_short(METER), b"one"))
        assert bench.loop.now_us() - began_us < 4_000_000
        await asyncio.sleep(2)
        assert [each.payload for each in bench.ears[METER].messages] == [b"all", b"one"]
        assert list(bench.dongles[HUB].stick.endpoints) == [2]

    play(lambda: EzspBench(version=version), scene)
