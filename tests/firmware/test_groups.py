"""The Groups and Identify clusters of one endpoint, on a real group table."""

from __future__ import annotations

from typing import Any

import pytest

from smets1.firmware.groups import add_groups, add_identify
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import ZclFrame, command_frame
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import FrameType, Status
from smets1.firmware.zigbee.binding_tables import GROUP_LIMIT, GroupTable
from smets1.hardware.clock import HeapScheduler


class Endpoint:
    def __init__(self, nvm: MemoryNvm | None = None) -> None:
        self.nvm = nvm or MemoryNvm()
        self.clock = HeapScheduler()
        self.table = GroupTable(self.nvm)
        self.core = ZclCore()
        add_groups(self.core, 1, self.table, add_identify(self.core, 1, self.clock))

    def ask(self, command: str, cluster: str = "groups", **fields: Any) -> Values | Status | None:
        """The answer's fields, the status of a Default Response, or None for silence."""
        declared = cluster_named(cluster)
        context = CommandContext(now_us=self.clock.now_us(), via=Via.WIRE)
        answer = self.core.execute(
            1, declared.cluster_id, command_frame(declared, command, fields, sequence=9), context
        )
        if answer is None:
            return None
        frame = ZclFrame.decode(answer)
        if frame.header.frame_type is FrameType.GLOBAL:
            return Status(frame.payload[1])
        return frame.command(declared)[1]


def test_a_group_is_joined_looked_at_and_left() -> None:
    endpoint = Endpoint()
    assert endpoint.ask("add_group", group_id=7, group_name="up") == {"status": 0, "group_id": 7}
    assert endpoint.ask("add_group", group_id=7, group_name="up") == {"status": 0, "group_id": 7}
    endpoint.ask("add_group", group_id=3, group_name="")
    assert endpoint.ask("view_group", group_id=7) == {"status": 0, "group_id": 7, "group_name": ""}
    assert endpoint.ask("view_group", group_id=8) == {"status": 0x8B, "group_id": 8, "group_name": ""}
    mine = endpoint.ask("get_group_membership", group_count=0, group_list=[])
    assert mine == {"capacity": 0xFE, "group_count": 2, "group_list": [7, 3]}
    some = endpoint.ask("get_group_membership", group_count=2, group_list=[3, 9])
    assert some == {"capacity": 0xFE, "group_count": 1, "group_list": [3]}
    assert endpoint.ask("get_group_membership", group_count=1, group_list=[9]) is None
    assert GroupTable(endpoint.nvm.after_power_cut()).groups(1) == [7, 3]
    assert endpoint.ask("remove_group", group_id=7) == {"status": 0, "group_id": 7}
    assert endpoint.ask("remove_group", group_id=7) == {"status": 0x8B, "group_id": 7}
    assert endpoint.ask("remove_all_groups") is Status.SUCCESS
    assert GroupTable(endpoint.nvm.after_power_cut()).groups(1) == []


@pytest.mark.parametrize("group", [0, 0xFFF8, 0xFFFF])
def test_no_group_has_such_a_number(group: int) -> None:
    answer = Endpoint().ask("add_group", group_id=group, group_name="")
    assert answer == {"status": Status.INVALID_VALUE, "group_id": group}


def test_a_full_table_says_so() -> None:
    endpoint = Endpoint()
    for group in range(1, GROUP_LIMIT + 1):
        endpoint.ask("add_group", group_id=group, group_name="")
    answer = endpoint.ask("add_group", group_id=99, group_name="")
    assert answer == {"status": Status.INSUFFICIENT_SPACE, "group_id": 99}


def test_only_who_identifies_itself_is_added() -> None:
    endpoint = Endpoint()
    assert endpoint.ask("identify_query", "identify") is None
    endpoint.ask("add_group_if_identifying", group_id=4, group_name="")
    assert endpoint.table.groups(1) == []
    assert endpoint.ask("identify", "identify", identify_time=10) is Status.SUCCESS
    endpoint.clock.run_until(3_500_000)
    assert endpoint.ask("identify_query", "identify") == {"timeout": 7}
    endpoint.ask("add_group_if_identifying", group_id=4, group_name="")
    assert endpoint.table.groups(1) == [4]
    endpoint.clock.run_until(10_000_000)
    endpoint.ask("add_group_if_identifying", group_id=5, group_name="")
    assert endpoint.table.groups(1) == [4]
