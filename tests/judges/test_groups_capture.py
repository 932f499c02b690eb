"""Bindings, groups and a message to a group in a real home, as tshark reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tshark import TSHARK, Step, faults, follow, read_capture, run_tshark

from smets1.hardware.radio import BROADCAST_RX_ON, ApsMessage

pytestmark = [pytest.mark.outsider, pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")]

GROUPS, IDENTIFY, HUB, GROUP = 0x0004, 0x0003, 0x0000, 0x4321
IDENTIFY_FOR_A_MINUTE = b"\x11\x07\x00\x3c\x00"  # cluster command, no default response


async def test_displays_are_bound_and_a_group_is_told_to_identify_itself(
    smets1_home: Any, tmp_path: Path
) -> None:
    path = tmp_path / "groups.pcapng"
    home = await smets1_home(seed=61, capture=path)
    members = (home.ppmid, home.ihd)
    for device in members:
        short_address = device.port.network.short_address
        answer = await home.chf.app.request(
            short_address, 1, "groups", "add_group", group_id=GROUP, group_name=""
        )
        assert answer == {"status": 0, "group_id": GROUP}
    command = ApsMessage(
        destination=BROADCAST_RX_ON, destination_endpoint=0, source_endpoint=1, cluster_id=IDENTIFY,
        profile_id=0x0109, payload=IDENTIFY_FOR_A_MINUTE, is_secured=False, group=GROUP,
    )  # fmt: skip
    await home.chf.port.send(command)
    await home.clock.advance(seconds=10)
    left = {
        device: device.app.core.server(1, "identify").get("identify_time") for device in (*members, home.esme)
    }
    assert left[home.esme] == 0
    assert all(40 < left[device] <= 60 for device in members)
    meter = home.esme.port.network.short_address
    displays = {device.port.network.short_address for device in members}
    assert {target.short_address for target in home.esme.port.bound_targets(1, 0x0702)} == displays
    await home.clock.advance(minutes=1)
    keys = home.keys.lines()
    await home.close()
    rows = read_capture(path, keys)
    assert faults(rows) == []
    for display in displays:
        follow(
            rows,
            Step("Bind Request", source=display, destination=meter),
            Step("Bind Response", source=meter, destination=display),
            Step("ZCL: Configure Reporting", 0x0702, source=display),
            Step("ZCL Groups: Add Group", GROUPS, source=HUB, destination=display),
            Step("ZCL Groups: Add Group Response", GROUPS, source=display, destination=HUB),
            Step("ZCL Identify: Identify", IDENTIFY, source=HUB, destination=BROADCAST_RX_ON),
            Step("ZCL: Report Attributes", 0x0702, source=meter, destination=display),
        )
    groups = run_tshark(path, keys, "-Y", "zbee_aps.group", "-T", "fields", "-e", "zbee_aps.group")
    assert {int(line, 0) for line in groups} == {GROUP}
