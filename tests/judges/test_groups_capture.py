"""Bindings, groups and a message to a group in a real home, as tshark reads them."""

from __future__ import annotations

from typing import Any

import pytest
from judged_home import JudgedHomes
from tshark import TSHARK, Step, follow

from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import CommandContext
from smets1.firmware.zigbee.zdp_frames import BindRequest, ZdpCluster
from smets1.hardware.radio import BROADCAST_RX_ON, ApsMessage, ApsSecurity

pytestmark = [pytest.mark.outsider, pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")]

GROUPS, IDENTIFY, METERING, HUB, GROUP = 0x0004, 0x0003, 0x0702, 0x0000, 0x4321
IDENTIFY_FOR_A_MINUTE = b"\x11\x07\x00\x3c\x00"  # cluster command, no default response


async def test_displays_are_bound_and_a_group_is_told_to_identify_itself(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(seed=61)
    await home.clock.advance(minutes=1)  # displays bind and configure first
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
    rows = await smets1_home.judge()
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
    groups = await smets1_home.run_tshark("-Y", "zbee_aps.group", "-T", "fields", "-e", "zbee_aps.group")
    assert {int(line, 0) for line in groups} == {GROUP}


async def test_reports_of_a_protected_cluster_reach_each_member_of_a_group_under_its_own_link_key(
    smets1_home: JudgedHomes,
) -> None:
    home = await smets1_home(seed=62)
    hub, meter, member, other = home.chf, home.esme, home.ppmid, home.ihd
    await hub.app.request(
        member.port.network.short_address, 1, "groups", "add_group", group_id=GROUP, group_name=""
    )
    binding = BindRequest(source=meter.eui64, source_endpoint=1, cluster_id=METERING, group=GROUP)
    short_address = meter.port.network.short_address
    answer = await hub.port.ask_zdp(short_address, ZdpCluster.BIND_REQ, binding.encode())
    assert answer[0] == 0
    heard: list[tuple[Any, ApsSecurity]] = []
    for device in (hub, member, other):
        client = device.app.core.obtain_client(1, "metering")

        def note(
            values: Values, context: CommandContext, device: Any = device, before: Any = client.report_handler
        ) -> None:
            if before is not None:
                before(values, context)
            if context.is_broadcast:  # to a group, that is
                heard.append((device, context.security))

        client.handle_reports(note)
    meter.app.report(1, "metering", {"supply_status": (0, 30, None)})
    await home.clock.advance(seconds=95)
    assert heard
    assert set(heard) == {(member, ApsSecurity.LINK_KEY)}, "each member, nobody else"
    fields = ("-e", "zbee_nwk.dst", "-e", "zbee_aps.security", "-e", "zbee_zcl.cmd.id", "-E", "separator=|")
    told = "zbee_aps.group && zbee_aps.cluster == 0x0702 && wpan.src16 == zbee_nwk.src"
    lines = await smets1_home.run_tshark("-Y", told, "-T", "fields", *fields)
    rows = {line.split("|", 1)[0]: line for line in lines}
    partners = (hub, member, other)
    assert {int(where, 0) for where in rows} == {p.port.network.short_address for p in partners}
    assert {line.split("|", 1)[1] for line in rows.values()} == {"1|0x0a"}, "Report Attributes, APS security"
