"""Any octets from the air, at any layer: nothing is raised, and an unauthenticated frame changes nothing."""

from __future__ import annotations

import asyncio
import random

import pytest
from han import Han, message, play

from smets1.errors import EmulatorError
from smets1.firmware.zigbee.aps_frames import ApsHeader
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_events import NwkData
from smets1.firmware.zigbee.nwk_frames import decode_nwk_command
from smets1.firmware.zigbee.security_header import seal_network
from smets1.hardware.radio import NodeRole

ESME, GSME = 0x00DB1234567890A0, 0x00DB1234567890A1


def state(node: HanNode) -> object:
    """What a stranger must not be able to change."""
    stack = node.stack
    links = {eui64: (entry.key, entry.origin, entry.rx_counter) for eui64, entry in stack.keys.links.items()}
    networks = {number: (key.key, dict(key.rx_counters)) for number, key in stack.keys.networks.items()}
    children = {short: (n.eui64, n.relationship) for short, n in stack.nwk.neighbours.items()}
    active = stack.keys.active
    return (links, networks, children, dict(stack.nwk.addresses), dict(stack.nwk.routes), stack.info,
            None if active is None else active.sequence)  # fmt: skip


def mutated(rng: random.Random, frames: list[bytes]) -> bytes:
    frame = bytearray(rng.choice(frames))
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randrange(126))
    if kind == 1:
        return bytes(frame[: rng.randrange(len(frame))])
    if kind == 2:
        frame += rng.randbytes(rng.randrange(1, 20))
    for _ in range(rng.randrange(1, 6)):
        frame[rng.randrange(len(frame))] = rng.randrange(256)
    return bytes(frame[:125])


def run_strangers(count: int) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, NodeRole.SLEEPY_END_DEVICE)
        await esme.send(message(0, bytes(200)))
        await gsme.send(message(0))
        await hub.permit_join(0)
        await asyncio.sleep(10)
        nodes = (hub, esme, gsme)
        frames = [psdu for _, psdu in han.frames if len(psdu) > 8]
        # Whatever was recorded has been heard by all: a frame that differs in its MAC header alone is a repeat,
        # not a forgery, and its counter tells.
        for octets in frames:
            for node in nodes:
                node.stack.receive(octets, 255, now_us=han.scheduler.now_us())
                node.stack.take_events()
        before = [state(node) for node in nodes]
        heard = [len(han.ear(node).messages) for node in nodes]
        rng = random.Random(1)
        now_us = han.scheduler.now_us()
        for number in range(count):
            octets = mutated(rng, frames)
            node = nodes[number % 3]
            node.stack.receive(octets, rng.randrange(256), now_us=now_us)
            node.stack.mac.actions.clear()
            node.stack.mac._queue.clear()
            node.stack.mac._in_flight, node.stack.mac._busy = None, False
        after = [state(node) for node in nodes]
        assert after == before
        assert [len(han.ear(node).messages) for node in nodes] == heard
        assert not any(node.stack.events for node in nodes)

    play(main())


def test_strangers_quick() -> None:
    run_strangers(20_000)


@pytest.mark.slow
def test_strangers_slow() -> None:
    run_strangers(1_000_000)


def run_insiders(count: int) -> None:
    """Random payloads under the right network key: a broken or bought device. Nothing is raised."""

    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert esme.network is not None
        await esme.send(message(0, bytes(100)))
        rng = random.Random(2)
        key = hub.stack.keys.active
        assert key is not None
        short = esme.network.short_address
        counter = esme.stack.keys.nwk_out.value
        now_us = han.scheduler.now_us()
        for _ in range(count):
            counter += 1
            control = rng.choice((0x08, 0x09)) | 0x200 | rng.choice((0, 0x40, 0x400, 0x800, 0x1000))
            destination = rng.choice((0, 0xFFFD, 0xFFFF, 0x1234))
            header = control.to_bytes(2, "little") + destination.to_bytes(2, "little")
            header += short.to_bytes(2, "little") + bytes((rng.randrange(40), rng.randrange(256)))
            payload = bytes((rng.randrange(256),)) + rng.randbytes(rng.randrange(60))
            if control & 1:
                payload = bytes((rng.randrange(14),)) + payload
            elif rng.random() < 0.5:
                payload = (
                    bytes((rng.choice((0x00, 0x01, 0x02, 0x40, 0x80, 0xC0)), 0))
                    + payload[: rng.randrange(60)]
                )
            nwk = seal_network(key.cipher, header, payload, ESME, counter, key.sequence)
            mac = b"\x41\x88" + bytes((rng.randrange(256),)) + hub.network.pan_id.to_bytes(2, "little")  # type: ignore[union-attr]
            hub.stack.receive(mac + b"\xff\xff" + short.to_bytes(2, "little") + nwk, 255, now_us=now_us)
            now_us += 1_000
            hub.stack.on_timer(now_us=now_us)
            hub.stack.take_actions()
            hub.stack.take_events()
            hub.stack.mac._queue.clear()

    play(main())


def test_insiders_quick() -> None:
    run_insiders(5_000)


@pytest.mark.slow
def test_insiders_slow() -> None:
    run_insiders(200_000)


def test_plain_payloads_at_each_layer() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        await han.joined(hub, ESME)
        rng = random.Random(3)
        for _ in range(5_000):
            payload = rng.randbytes(rng.randrange(40))
            for is_secured in (False, True):
                data = NwkData(0x1234, False, payload, is_secured, 255, 0x1234, None)
                hub.stack.aps.on_nwk_data(data, han.scheduler.now_us())
            for decode in (decode_nwk_command, ApsHeader.decode):
                try:
                    decode(payload)
                except EmulatorError:
                    pass
            hub.stack.settle(han.scheduler.now_us())
            hub.stack.mac._queue.clear()

    play(main())
