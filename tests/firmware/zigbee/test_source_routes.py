"""Many-to-one routes to the hub, and source routes back, in a home that is a chain."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from han import HUB, Han, message, play

from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_frames import RouteRecord
from smets1.hardware.air import Capture
from smets1.hardware.radio import NodeRole

ESME, GSME, PPMID = (0x00DB1234567890A0 + n for n in (0, 1, 4))
SLEEPY = NodeRole.SLEEPY_END_DEVICE
SOURCE_ROUTE = 0x04


async def chain(han: Han) -> tuple[HanNode, HanNode, HanNode, HanNode]:
    """Hub, router, router, sleeper: each hears only those beside it."""
    line = (HUB, ESME, PPMID, GSME)
    for number, one in enumerate(line):
        for other in line[number + 2 :]:
            han.air.faults.cut(one, other)
            han.air.faults.cut(other, one)
    hub = await han.hub()
    esme, ppmid = await han.joined(hub, ESME), await han.joined(hub, PPMID)
    await asyncio.sleep(30)  # link status: who hears whom
    gsme = await han.joined(hub, GSME, SLEEPY)
    gsme.set_poll_interval(500_000)
    return hub, esme, ppmid, gsme


def short(node: HanNode) -> int:
    assert node.network is not None
    return node.network.short_address


def test_the_hub_answers_along_the_recorded_way() -> None:
    async def main() -> None:
        han = Han()
        hub, esme, ppmid, gsme = await chain(han)
        await asyncio.sleep(600)
        for node in (gsme, ppmid):
            await node.send(message(0, b"up"))
        nwk = hub.stack.nwk
        assert nwk.source_routes[short(gsme)] == (short(ppmid), short(esme))
        assert nwk.source_routes[short(ppmid)] == (short(esme),)
        assert short(esme) not in nwk.source_routes  # the hub hears it itself
        nwk.routes.clear()
        count = len(han.frames)
        for node in (gsme, ppmid):
            await hub.send(message(short(node), b"down"))
            assert han.ear(node).messages[-1].payload == b"down"
        ours = [psdu for _, psdu in han.frames[count:] if len(psdu) > 12 and psdu[0] & 7 == 1]
        assert sum(psdu[10] & SOURCE_ROUTE != 0 for psdu in ours) >= 5  # two hops and three, all of them
        assert not nwk.routes  # nobody was asked for a way

    play(main())


def test_a_message_too_long_for_a_list_goes_by_table() -> None:
    async def main() -> None:
        han = Han()
        hub, _, _, gsme = await chain(han)
        await asyncio.sleep(600)
        await gsme.send(message(0, b"up"))
        for size in range(50, 80):
            await hub.send(message(short(gsme), bytes(size)))
        assert all(len(psdu) <= 125 for _, psdu in han.frames)
        assert [len(heard.payload) for heard in han.ear(gsme).messages] == list(range(50, 80))

    play(main())


def test_a_list_that_fails_is_forgotten() -> None:
    async def main() -> None:
        han = Han()
        hub, esme, ppmid, gsme = await chain(han)
        await asyncio.sleep(600)
        await gsme.send(message(0, b"up"))
        nwk = hub.stack.nwk
        nwk.source_routes[short(gsme)] = (0x1234, short(esme))  # no such relay beyond the first
        await hub.send(message(short(gsme), b"one"))
        assert short(gsme) not in nwk.source_routes
        nwk.source_routes[short(gsme)] = (short(ppmid), 0x1234)  # the first is not there
        await hub.send(message(short(gsme), b"two"))
        assert [heard.payload for heard in han.ear(gsme).messages] == [b"one", b"two"]

    play(main())


def test_records_that_nobody_can_have_sent_are_refused() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        for relays in ((), (0x1111,), tuple(range(0x10, 0x20))):
            esme.stack.nwk.send_command(
                0, RouteRecord(relays=relays), now_us=han.scheduler.now_us(), source=0x4444
            )
            esme._drain()
            await asyncio.sleep(0.1)
        assert hub.stack.nwk.source_routes == {}

    play(main())


@pytest.mark.outsider
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_the_lists(tmp_path: Path) -> None:
    path = tmp_path / "chain.pcapng"

    async def main() -> list[bytes]:
        han = Han()
        capture = Capture(han.air, path)
        hub, _, _, gsme = await chain(han)
        await asyncio.sleep(600)
        await gsme.send(message(0, b"\x00\x01\x00\x00\x00"))
        await hub.send(message(short(gsme), b"\x00\x01\x00\x00\x00"))
        hub.stack.nwk.change_pan_id(han.scheduler.now_us())
        hub._drain()
        await asyncio.sleep(20)
        hub.stack.nwk.on_address_conflict(short(gsme), han.scheduler.now_us())
        hub._drain()
        await asyncio.sleep(5)
        capture.close()
        keys = [hub.network_key, *(entry.key for entry in hub.stack.keys.links.values())]
        keys += list(hub.stack.keys.install_keys.values())
        return [key for key in keys if key is not None]

    keys = [part for number, key in enumerate(play(main()))
            for part in ("-o", f'uat:zigbee_pc_keys:"{key.hex()}","Normal","key{number}"')]  # fmt: skip

    def tshark(*options: str) -> list[str]:
        command = ["tshark", "-r", str(path), *keys, *options]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout.splitlines()

    assert tshark("-Y", "_ws.malformed || zbee_sec.encrypted_payload") == []
    lines = tshark("-T", "fields", "-e", "_ws.col.Info")
    for name in ("Many-to-One Route Request", "Route Record", "End Device Timeout Request", "Network Update",
                 "End Device Timeout Response", "Network Status"):  # fmt: skip
        assert [line for line in lines if name in line], (name, sorted(set(lines)))
    assert tshark("-Y", "zbee_nwk.relay.count == 2")
