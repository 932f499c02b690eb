"""Events (0x0709), MDU Pairing (0x070A).

Source: SE 1.2 07-5356-19, annex D.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, generated, received

__all__ = ["EVENTS", "MDU_PAIRING", "EventLogId"]


@unique
class EventLogId(IntEnum):
    """Which log; the low nibble of `event_control_log_id`."""

    ALL_LOGS = 0x00
    TAMPER_LOG = 0x01
    FAULT_LOG = 0x02
    GENERAL_EVENT_LOG = 0x03
    SECURITY_EVENT_LOG = 0x04
    NETWORK_EVENT_LOG = 0x05


EVENTS: Final = Cluster(
    cluster_id=0x0709,
    name="events",
    commands=(
        received(
            0x00, "get_event_log",
            "event_control_log_id:bm8 event_id:u16 start_time:utc end_time:utc number_of_events:u8 "
            "event_offset:u16",
            since="1.2",
        ),
        received(0x01, "clear_event_log_request", "log_id:e8", since="1.2"),
        generated(
            0x00, "publish_event",
            "log_id:e8 event_id:u16 event_time:utc event_control:bm8 event_data:octstr",
            since="1.2",
        ),
        generated(
            0x01, "publish_event_log",
            "total_number_of_events:u16 command_index:u8 total_commands:u8 log_payload_control:bm8 "
            "events:{log_id:e8 event_id:u16 event_time:utc event_data:octstr}*",
            since="1.2",
        ),
        generated(0x02, "clear_event_log_response", "cleared_events_logs:bm8", since="1.2"),
    ),
)  # fmt: skip

MDU_PAIRING: Final = Cluster(
    cluster_id=0x070A,
    name="mdu_pairing",
    commands=(
        received(
            0x00, "pairing_request",
            "local_pairing_information_version:u32 eui64_of_requesting_device:eui64",
            since="1.2", must=True,
        ),
        generated(
            0x00, "pairing_response",
            "pairing_information_version:u32 total_number_of_devices:u8 command_index:u8 "
            "total_number_of_commands:u8 eui64s:eui64*",
            since="1.2",
        ),
    ),
)  # fmt: skip
