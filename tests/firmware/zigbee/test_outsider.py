"""tshark reads what our nodes say: every frame decrypted, none malformed, the right names."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from han import INSTALL_KEY, Han, message, play

from smets1.hardware.air import Capture
from smets1.hardware.radio import NodeRole

ESME, GSME, PPMID = 0x00DB1234567890A0, 0x00DB1234567890A1, 0x00DB1234567890A4
READ = b"\x00\x01\x00\x00\x00"  # ZCL read attributes: CurrentSummationDelivered

pytestmark = [
    pytest.mark.outsider,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]


def tshark(capture: Path, keys: list[bytes], *options: str) -> list[str]:
    command = ["tshark", "-r", str(capture)]
    for number, key in enumerate(keys):
        command += ["-o", f'uat:zigbee_pc_keys:"{key.hex()}","Normal","key{number}"']
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def record(path: Path) -> tuple[list[bytes], list[bytes]]:
    """A small home's life; returns (install and network keys, link keys)."""

    async def main() -> tuple[list[bytes], list[bytes]]:
        han = Han()
        capture = Capture(han.air, path)
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        ppmid = await han.joined(hub, PPMID)
        gsme = await han.joined(hub, GSME, NodeRole.SLEEPY_END_DEVICE)
        gsme.set_poll_interval(1_000_000)
        partner = await ppmid.request_partner_key(ESME)
        for node in (esme, gsme):
            assert node.network is not None
            await hub.send(message(node.network.short_address, READ))
            await node.send(message(0, READ))
        await ppmid.send(message(await ppmid.find_short(ESME), READ))
        await esme.send(message(0, READ + bytes(200)))
        old = hub.network_key
        await hub.update_network_key()
        await asyncio.sleep(30)
        new = hub.network_key
        await esme.send(message(0, READ))
        await hub.remove_device(GSME)
        await ppmid.leave()
        await asyncio.sleep(1)
        capture.close()
        assert old is not None
        assert new is not None
        links = [node.link_key(hub.eui64) for node in (esme,)]
        link_keys = [key.key for key in links if key is not None] + [partner.key]
        return [INSTALL_KEY, old, new], [*link_keys, *extra]

    extra: list[bytes] = []
    import han as module

    establish = module.establish

    def noting(one: object, other: object, *args: object) -> bytes:
        key = establish(one, other, *args)  # type: ignore[arg-type]
        extra.append(key)
        return key

    module.establish = noting  # type: ignore[assignment]
    try:
        return play(main())
    finally:
        module.establish = establish


def test_every_frame_is_read(tmp_path: Path) -> None:
    path = tmp_path / "home.pcapng"
    network_keys, link_keys = record(path)
    keys = network_keys + link_keys
    assert tshark(path, keys, "-Y", "_ws.malformed || wpan.fcs_ok == 0 || _ws.expert.severity == error") == []
    sealed = tshark(path, keys, "-Y", "zbee_sec.encrypted_payload")
    assert sealed == []
    lines = tshark(path, keys, "-T", "fields", "-e", "_ws.col.Info")
    wanted = ["Beacon Request", "Beacon, Src", "Association Request", "Association Response", "Transport Key",
              "Device Announcement", "Link Status", "Request Key", "Read Attributes", "Ack", "fragment 0", "Leave"]  # fmt: skip
    at = 0
    for name in wanted:
        found = [number for number, line in enumerate(lines) if name in line]
        assert found, name
        if name in wanted[:6]:  # a join has an order
            at = next(number for number in found if number >= at)


def test_without_link_keys_no_application_payload_is_read(tmp_path: Path) -> None:
    path = tmp_path / "home.pcapng"
    network_keys, _ = record(path)
    assert tshark(path, network_keys[1:], "-Y", "zbee_zcl") == []
    assert tshark(path, network_keys[1:], "-Y", "zbee_sec.encrypted_payload") != []
    assert tshark(path, network_keys[1:], "-Y", "zbee_zdp") != []
