"""The clusters Identify and Groups of an endpoint: "show yourself", and who answers to a group address.

Groups have no names here. A group command that came to a group or to all is obeyed and not answered.

Source: ZCL 07-5123 rev 7, 3.5 (Identify), 3.6 (Groups).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smets1.firmware.zcl.clusters.general import GROUPS, IDENTIFY
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import LATER, Answer, CommandContext, reply
from smets1.firmware.zcl.status import Status
from smets1.firmware.zcl.types import Value
from smets1.hardware.clock import Scheduler
from smets1.hardware.radio import GroupMembers

__all__ = ["add_groups", "add_identify"]

_S: Final = 1_000_000
_GROUP_NUMBERS: Final = range(0x0001, 0xFFF8)
_UNKNOWN_CAPACITY: Final = 0xFE  # at least one more


def add_identify(core: ZclCore, endpoint: int, scheduler: Scheduler) -> Callable[[], bool]:
    """The Identify server; answers a function that tells whether the device identifies itself now."""
    until_us = 0

    def left_s() -> int:
        return max(0, -(-(until_us - scheduler.now_us()) // _S))

    def identify(seconds: int) -> None:
        nonlocal until_us
        until_us = scheduler.now_us() + seconds * _S

    def on_identify(values: Values, context: CommandContext) -> Answer:
        identify(values["identify_time"])
        return None

    def on_query(values: Values, context: CommandContext) -> Answer:
        """Only who identifies itself answers, so that a broadcast finds it."""
        return reply("identify_query_response", timeout=left_s()) if left_s() else LATER

    def on_write(value: Value, context: CommandContext) -> None:
        assert isinstance(value, int)
        identify(value)

    server = core.add_server(endpoint, IDENTIFY)
    server.bind("identify_time", left_s, on_write)
    server.handle("identify", on_identify)
    server.handle("identify_query", on_query)
    return lambda: left_s() > 0


def add_groups(
    core: ZclCore, endpoint: int, members: GroupMembers, is_identifying: Callable[[], bool]
) -> None:
    """The Groups server of an endpoint, acting on the node's group table."""

    def add(group: int) -> Status:
        if group not in _GROUP_NUMBERS:
            return Status.INVALID_VALUE
        return Status.SUCCESS if members.add(group, endpoint) else Status.INSUFFICIENT_SPACE

    def on_add(values: Values, context: CommandContext) -> Answer:
        group = values["group_id"]
        return reply("add_group_response", status=add(group), group_id=group)

    def on_add_if_identifying(values: Values, context: CommandContext) -> Answer:
        return add(values["group_id"]) if is_identifying() else None

    def on_view(values: Values, context: CommandContext) -> Answer:
        group = values["group_id"]
        is_member = group in members.groups(endpoint)
        status = Status.SUCCESS if is_member else Status.NOT_FOUND
        return reply("view_group_response", status=status, group_id=group, group_name="")

    def on_membership(values: Values, context: CommandContext) -> Answer:
        own, asked = members.groups(endpoint), values["group_list"]
        named = [group for group in own if group in asked] if asked else own
        if asked and not named:
            return LATER  # 3.6.2.3.5: who is in none of them keeps silent
        return reply(
            "get_group_membership_response",
            capacity=_UNKNOWN_CAPACITY,
            group_count=len(named),
            group_list=named,
        )

    def on_remove(values: Values, context: CommandContext) -> Answer:
        group = values["group_id"]
        status = Status.SUCCESS if members.remove(group, endpoint) else Status.NOT_FOUND
        return reply("remove_group_response", status=status, group_id=group)

    def on_remove_all(values: Values, context: CommandContext) -> Answer:
        members.remove_all(endpoint)
        return None

    server = core.add_server(endpoint, GROUPS)
    for name, handler in (
        ("add_group", on_add),
        ("view_group", on_view),
        ("get_group_membership", on_membership),
        ("remove_group", on_remove),
        ("remove_all_groups", on_remove_all),
        ("add_group_if_identifying", on_add_if_identifying),
    ):
        server.handle(name, handler)
