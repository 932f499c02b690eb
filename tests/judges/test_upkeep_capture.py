"""Upgrades, a tunnel, keep-alives and a swapped hub on the air, judged by tshark."""

from __future__ import annotations

import pytest
from judged_home import JudgedHomes
from tshark import TSHARK, Step, follow

from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.hub.swap_out import back_up
from smets1.tools.swap_hub import swap_hub

pytestmark = [pytest.mark.outsider, pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")]

OTA, KEEP_ALIVE, TUNNELLING, HUB = 0x0019, 0x0025, 0x0704, 0x0000
NEW_HUB = 0x00DB1234567890AF


async def test_an_upgrade_and_a_tunnel(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(seed=50)
    ihd = home.ihd.port.network.short_address
    meter = home.esme.port.network.short_address
    header = OtaHeader(manufacturer_code=0x1057, image_type=home.ihd.factory.device_type, file_version=2)
    home.chf.ota.notify(home.chf.ota.server.add(OtaFile.make(header, bytes(500)).encode(), start_utc_us=0))
    await home.clock.advance(minutes=1)
    tunnel = await home.esme.tunnels.open()
    await home.esme.tunnels.send(tunnel, bytes(300))
    await home.esme.tunnels.close(tunnel)
    await home.clock.advance(minutes=16)
    rows = await smets1_home.judge()
    follow(
        rows,
        Step("ZCL OTA: Image Notify", OTA, source=HUB),
        Step("ZCL OTA: Query Next Image Request", OTA, source=ihd, destination=HUB),
        Step("ZCL OTA: Query Next Image Response", OTA, source=HUB, destination=ihd),
        Step("ZCL OTA: Image Block Request", OTA, source=ihd),
        Step("ZCL OTA: Image Block Response", OTA, source=HUB),
        Step("ZCL OTA: Upgrade End Request", OTA, source=ihd),
        Step("ZCL OTA: Upgrade End Response", OTA, source=HUB),
    )
    tunnelled = [row for row in rows if row.cluster_id == TUNNELLING and row.source == meter]
    assert any(row.is_fragment for row in tunnelled)
    names = [row.name for row in tunnelled]
    assert any("Request Tunnel" in name for name in names)
    assert any("Close Tunnel" in name for name in names)
    asked = {row.source for row in rows if row.cluster_id == KEEP_ALIVE and row.destination == HUB}
    assert {ihd, meter} <= asked


async def test_a_swapped_hub(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(seed=51, balance_pounds=20)
    await swap_hub(home, back_up(home.chf.port, home.chf.device_log), NEW_HUB)
    await home.clock.advance(hours=3)
    devices = (home.esme, home.gsme, home.ppmid, home.ihd)
    assert all(device.port.network.trust_centre == NEW_HUB for device in devices)
    rows = await smets1_home.judge()
    assert sum(row.name == "Rejoin Request" for row in rows) >= len(devices)
