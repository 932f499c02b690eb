"""Mgmt_NWK_Update: energy scans on request, and a channel for all."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from han import HUB, INSTALL_KEY, Han, message, play

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.zdo import Zdo
from smets1.firmware.zigbee.zdp_frames import ZdpCluster, ZdpStatus
from smets1.hardware.air import Capture
from smets1.hardware.radio import ApsIndication, NodeRole

ESME, GSME, PPMID = (0x00DB1234567890A0 + n for n in (0, 1, 4))
UPDATE = ZdpCluster.MGMT_NWK_UPDATE_REQ
SCAN = struct.pack("<IBB", 1 << 11 | 1 << 15 | 1 << 26, 3, 1)


def short(node: HanNode) -> int:
    assert node.network is not None
    return node.network.short_address


def test_a_router_measures_energy() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        await esme.send(message(0, b"counted"))
        han.air.interfere(10_000_000, channels=(26,), rssi_dbm=-40)
        answer = await hub.ask_zdp(short(esme), UPDATE, SCAN)
        status, mask, sent, failed, count = struct.unpack_from("<BIHHB", answer)
        assert (status, mask, count) == (0, 1 << 11 | 1 << 15 | 1 << 26, 3)
        assert sent > 0
        assert failed <= sent
        quiet, noisy = answer[-2], answer[-1]
        assert noisy == (100 - 40) * 255 // 80
        assert quiet < 30
        await esme.send(message(0, b"still here"))

    play(main())


@pytest.mark.parametrize(
    ("request_octets", "status"),
    [
        (struct.pack("<IBB", 0, 3, 1), ZdpStatus.INV_REQUESTTYPE),
        (struct.pack("<IBB", 1 << 11, 3, 0), ZdpStatus.INV_REQUESTTYPE),
        (struct.pack("<IBB", 1 << 11, 6, 1), ZdpStatus.INV_REQUESTTYPE),
        (struct.pack("<IBB", 3 << 11, 0xFE, 1), ZdpStatus.INV_REQUESTTYPE),
    ],
)
def test_a_request_out_of_range_is_refused(request_octets: bytes, status: ZdpStatus) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert (await hub.ask_zdp(short(esme), UPDATE, request_octets))[0] == status

    play(main())


def test_the_hub_moves_its_network_to_another_channel() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, NodeRole.SLEEPY_END_DEVICE)
        gsme.set_poll_interval(1_000_000)
        assert hub.network is not None
        channel = 26 - hub.network.channel  # 11 and 15
        hub.change_channel(channel)
        await asyncio.sleep(300)
        for node in (hub, esme, gsme):
            assert node.network is not None
            assert node.network.channel == node.stack.mac.channel == channel
            assert node.stack.nwk.update_id == 1
        await esme.send(message(0, b"up"))
        await gsme.send(message(0, b"up"))

    play(main())


def test_the_channel_and_the_manager_outlive_a_power_cut() -> None:
    async def main() -> None:
        han, memories = Han(), {eui64: MemoryNvm() for eui64 in (HUB, ESME, GSME)}
        hub = await han.hub(nvm=memories[HUB])
        esme = await han.joined(hub, ESME, nvm=memories[ESME])
        gsme = await han.joined(hub, GSME, NodeRole.SLEEPY_END_DEVICE, nvm=memories[GSME])
        gsme.set_poll_interval(1_000_000)
        assert hub.network is not None
        channel = 26 - hub.network.channel
        hub.change_channel(channel)
        await asyncio.sleep(60)
        hub.stack.set_manager(short(esme), (channel,), now_us=han.scheduler.now_us())
        hub._drain()
        await asyncio.sleep(5)
        for node in (hub, esme, gsme):
            node.power_off()
        roles = {HUB: NodeRole.COORDINATOR, ESME: NodeRole.ROUTER, GSME: NodeRole.SLEEPY_END_DEVICE}
        hub, esme, gsme = (
            han.node(eui64, role, memories[eui64].after_power_cut()) for eui64, role in roles.items()
        )
        for node in (hub, esme, gsme):
            assert await node.start()
            assert node.stack.mac.channel == channel
        assert esme.stack.zdo.manager == hub.stack.zdo.manager == short(esme)
        assert esme.stack.channels == hub.stack.channels == (channel,)
        await gsme.send(message(0, b"up"))
        await esme.send(message(0, b"up"))
        # the old manager has no say any more, and a channel that the new one rules out is not gone to
        back = struct.pack("<IBB", 1 << (26 - channel), 0xFE, 9)
        assert (await hub.ask_zdp(short(esme), UPDATE, back))[0] == ZdpStatus.NOT_AUTHORIZED
        await esme.leave()
        assert esme.stack.zdo.manager == 0
        assert esme.stack.channels == (11, 15)

    play(main())


def test_a_manager_without_channels_or_that_is_no_device_is_refused() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        for mask, manager in ((0, 0), (1 << 11, 0xFFFD)):
            asked = struct.pack("<IBBH", mask, 0xFF, 1, manager)
            assert (await hub.ask_zdp(short(esme), UPDATE, asked))[0] == ZdpStatus.INV_REQUESTTYPE
        assert esme.stack.zdo.manager == 0

    play(main())


def test_as_many_scans_as_asked_for_each_with_its_own_notice() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        notices: list[tuple[int, bytes]] = []
        real = hub.stack.zdo.receive

        def receive(indication: ApsIndication, now_us: int) -> None:
            if indication.cluster_id == UPDATE | 0x8000:
                notices.append((now_us, indication.payload))
            real(indication, now_us)

        hub.stack.zdo.__class__ = type(
            "Listening", (Zdo,), {"__slots__": (), "receive": staticmethod(receive)}
        )
        asked_us = han.scheduler.now_us()
        await hub.ask_zdp(short(esme), UPDATE, struct.pack("<IBB", 1 << 12 | 1 << 20, 2, 3))
        await asyncio.sleep(5)
        assert len(notices) == 3
        for _, payload in notices:
            status, mask, _, _, count = struct.unpack_from("<BIHHB", payload, 1)
            assert (status, mask, count) == (0, 1 << 12 | 1 << 20, 2)
        one_scan_us = 2 * 15_360 * (2**2 + 1)
        assert notices[2][0] - asked_us >= 3 * one_scan_us
        await esme.send(message(0, b"still here"))

    play(main())


def test_only_the_manager_moves_it() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        ppmid = await han.joined(hub, PPMID)
        assert hub.network is not None
        old = hub.network.channel
        move = struct.pack("<IBB", 1 << (26 - old), 0xFE, 1)
        answer = await ppmid.ask_zdp(short(esme), UPDATE, move)
        assert answer[0] == ZdpStatus.NOT_AUTHORIZED
        ppmid.stack.zdo.tell_channel(26 - old, 1)
        ppmid.stack.settle(han.scheduler.now_us())
        ppmid._drain()
        await asyncio.sleep(60)
        assert {node.stack.mac.channel for node in (hub, esme, ppmid)} == {old}

    play(main())


@pytest.mark.outsider
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "update.pcapng"

    async def main() -> None:
        han = Han()
        capture = Capture(han.air, path)
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert (await hub.ask_zdp(short(esme), UPDATE, SCAN))[0] == 0
        assert hub.network is not None
        hub.change_channel(26 - hub.network.channel)
        await asyncio.sleep(30)
        await esme.send(message(0, b"\0\1\0\0\0"))
        capture.close()

    play(main())
    command = ["tshark", "-r", str(path), "-o", f'uat:zigbee_pc_keys:"{INSTALL_KEY.hex()}","Normal","IC"']
    fields = ["-T", "fields", "-e", "_ws.malformed", "-e", "zbee_zdp.channel_count", "-e", "_ws.col.Info"]
    done = subprocess.run(
        [*command, "-Y", "zbee_aps.zdp_cluster == 0x0038 || zbee_aps.zdp_cluster == 0x8038", *fields],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "Network Update" in done.stdout, done.stdout + done.stderr
    assert all(line.startswith("\t") for line in done.stdout.splitlines()), "malformed"
    assert any(line.split("\t")[1] == "3" for line in done.stdout.splitlines())
