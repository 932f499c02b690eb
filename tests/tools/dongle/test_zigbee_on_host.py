"""An independent ZigBee stack (npm zigbee-on-host) as host of our simulated stick, over TCP and a pty.

It forms the network and admits one of our devices; we tell it what the meter stands at, and it asks. It
has no CBKE, so under Smart Energy's rules it may read Basic and nothing else: a meter that keeps to them
refuses it, and one that takes the network key for enough (as home automation does) answers.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bench_rcp import CHANNEL, METER, STICK
from node_process import Host, node_process
from plain_devices import READING_WH, PlainMeter, make_router

from smets1.hardware.air import Air, Capture
from smets1.hardware.clock import EmulatorLoop, run
from smets1.hardware.radio import KeyOrigin, LinkKey
from smets1.tools.dongle import Dongle, PtyPort, TcpPort

pytestmark = pytest.mark.outsider

NETWORK_KEY = "00112233445566778899AABBCCDDEEFF"
WELL_KNOWN_KEY = b"ZigBeeAlliance09"  # it sends the network key under no other, install code or not
HOST_EUI64 = 0x00124B0012345678
PAN = 0x1A62
METERING, BASIC, SE_PROFILE = 0x0702, 0x0000, 0x0109


@asynccontextmanager
async def host(outsiders: Path, save: Path, port: str) -> AsyncIterator[Host]:
    script = Path(__file__).with_name("zigbee_on_host.js")
    module = outsiders / "node_modules/zigbee-on-host/dist/drivers/ot-rcp-driver.js"
    asked = {
        "port": port,
        "save": str(save),
        "module": str(module),
        "channel": CHANNEL,
        "pan": PAN,
        "eui64": f"{HOST_EUI64:016x}",
        "networkKey": NETWORK_KEY,
    }
    async with node_process(script, asked) as process:
        yield process


@pytest.fixture
def zigbee_on_host(outsiders_dir: Path, program: Callable[[str], str]) -> Path:
    program("node")
    if not (outsiders_dir / "node_modules" / "zigbee-on-host").is_dir():
        pytest.skip("zigbee-on-host is not installed: run ./tools/outsiders")
    return outsiders_dir


def is_from_cluster(cluster: int) -> Callable[[dict[str, Any]], bool]:
    return lambda told: told["cluster"] == cluster and told["profile"] == SE_PROFILE


async def scene(outsiders: Path, tmp_path: Path, port: TcpPort | PtyPort, *, is_lenient: bool) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    air = Air(loop, random.Random(7))
    capture = Capture(air, tmp_path / "outsider.pcapng")
    dongle = Dongle(air, port, STICK)
    await dongle.start()
    node = make_router(air, loop)
    meter = PlainMeter(node, loop, is_lenient=is_lenient)
    try:
        async with host(outsiders, tmp_path / "zoh", str(port)) as outsider:
            up = await outsider.wait("up")
            assert up["api"] == 11
            assert up["protocol"] == 4
            assert "smets1" in up["version"]
            info = await node.join(LinkKey(partner=0, key=WELL_KNOWN_KEY, origin=KeyOrigin.INSTALL_CODE))
            assert (info.pan_id, info.trust_centre) == (PAN, HOST_EUI64)
            joined = await outsider.wait("joined")
            assert joined["source64"] == f"{METER:016x}"
            assert node.network_key == bytes.fromhex(NETWORK_KEY)

            await meter.app.send_report(0, 1, meter.metering, ["current_summation_delivered"])
            report = await outsider.wait("frame", is_from_cluster(METERING))
            assert report["source16"] == info.short_address
            # server to client, report attributes: attribute 0x0000, uint48
            octets = bytes.fromhex(report["payload"])
            assert octets[2:] == bytes.fromhex("0A000025") + READING_WH.to_bytes(6, "little")

            asking = {"to16": info.short_address, "profile": SE_PROFILE, "endpoint": 1}
            outsider.ask(cluster=BASIC, payload="0011000500", **asking)
            answer = await outsider.wait("frame", is_from_cluster(BASIC))
            assert bytes.fromhex(answer["payload"])[2:] == b"\x01\x05\x00\x00\x42\x0aPlainMeter"

            outsider.ask(cluster=METERING, payload="0012000000", **asking)
            answer = await outsider.wait("frame", is_from_cluster(METERING))
            octets = bytes.fromhex(answer["payload"])
            assert octets[1] == 0x12
            if is_lenient:
                assert octets[2:] == bytes.fromhex("0100000025") + READING_WH.to_bytes(6, "little")
            else:
                assert octets[2:] == b"\x0b\x00\x01"  # Default Response to Read Attributes: FAILURE
    finally:
        meter.app.close()
        await node.close()
        await dongle.close()
        capture.close()


def judged(tshark: str, capture: Path) -> list[str]:
    """What tshark makes of the air: one line a frame above the MAC. Nothing malformed, nothing undecrypted."""
    keys = (f'"{WELL_KNOWN_KEY.hex()}","Normal","TC"', f'"{NETWORK_KEY}","Normal","NWK"')
    words = [tshark, "-r", str(capture), "-T", "fields", "-E", "separator=|", "-Y", "zbee_nwk"]
    for key in keys:
        words += ["-o", f"uat:zigbee_pc_keys:{key}"]
    for name in ("_ws.malformed", "zbee_sec.encrypted_payload", "_ws.col.Info"):
        words += ["-e", name]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    assert [row for row in rows if row[0] or row[1]] == []
    return [row[2] for row in rows]


def test_it_admits_our_device_and_reads_its_meter_over_tcp(
    zigbee_on_host: Path, program: Callable[[str], str], tmp_path: Path
) -> None:
    run(scene(zigbee_on_host, tmp_path, TcpPort("127.0.0.1", 0), is_lenient=True), speed=1)
    told = judged(program("tshark"), tmp_path / "outsider.pcapng")
    expected = ["Transport Key", "Device Announcement", "ZCL: Report Attributes", "ZCL: Read Attributes"]
    at = [next((at for at, line in enumerate(told) if words in line), -1) for words in expected]
    assert -1 not in at, told
    assert at == sorted(at)


def test_a_meter_that_keeps_the_rules_refuses_it_over_a_pty(zigbee_on_host: Path, tmp_path: Path) -> None:
    link = tmp_path / "ttyRCP"
    run(scene(zigbee_on_host, tmp_path, PtyPort(link), is_lenient=False), speed=1)
    assert not link.is_symlink()
