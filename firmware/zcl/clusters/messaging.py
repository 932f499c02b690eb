"""Messaging (0x0703) and Tunneling (0x0704).

Source: SE 1.2 07-5356-19, annex D.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["MESSAGING", "TUNNELING", "TransferDataStatus", "TunnelStatus"]


@unique
class TunnelStatus(IntEnum):
    """Outcome of a tunnel request."""

    SUCCESS = 0x00
    BUSY = 0x01
    NO_MORE_TUNNEL_IDS = 0x02
    PROTOCOL_NOT_SUPPORTED = 0x03
    FLOW_CONTROL_NOT_SUPPORTED = 0x04


@unique
class TransferDataStatus(IntEnum):
    """What is wrong with transferred data."""

    NO_SUCH_TUNNEL = 0x00
    WRONG_DEVICE = 0x01
    DATA_OVERFLOW = 0x02


_MESSAGE = "message_id:u32 message_control:bm8 start_time:utc duration_in_minutes:u16 message:string"

MESSAGING: Final = Cluster(
    cluster_id=0x0703,
    name="messaging",
    commands=(
        received(0x00, "get_last_message", must=True),
        received(
            0x01, "message_confirmation",
            "message_id:u32 confirmation_time:utc "
            "[message_confirmation_control:bm8 message_response:octstr]",
            must=True,
        ),
        received(0x02, "get_message_cancellation", "earliest_implementation_time:utc", since="1.2"),
        generated(0x00, "display_message", _MESSAGE + " [extended_message_control:bm8]", must=True),
        generated(0x01, "cancel_message", "message_id:u32 message_control:bm8", must=True),
        generated(
            0x02, "display_protected_message", _MESSAGE + " [extended_message_control:bm8]", since="1.2"
        ),
        generated(0x03, "cancel_all_messages", "implementation_date_time:utc", since="1.2"),
    ),
)  # fmt: skip

TUNNELING: Final = Cluster(
    cluster_id=0x0704,
    name="tunneling",
    server=attributes("0000  close_tunnel_timeout  u16  M =0xFFFF 1..0xFFFF @1.1"),
    commands=(
        received(
            0x00, "request_tunnel",
            "protocol_id:u8 manufacturer_code:u16 flow_control_support:bool "
            "[maximum_incoming_transfer_size:u16]",
            since="1.1", must=True,
        ),
        received(0x01, "close_tunnel", "tunnel_id:u16", since="1.1", must=True),
        received(0x02, "transfer_data", "tunnel_id:u16 data:octets", since="1.1", must=True),
        received(
            0x03, "transfer_data_error", "tunnel_id:u16 transfer_data_status:e8", since="1.1", must=True
        ),
        received(0x04, "ack_transfer_data", "tunnel_id:u16 number_of_bytes_left:u16", since="1.1"),
        received(0x05, "ready_data", "tunnel_id:u16 number_of_octets_left:u16", since="1.1"),
        received(0x06, "get_supported_tunnel_protocols", "protocol_offset:u8", since="1.1"),
        generated(
            0x00, "request_tunnel_response",
            "tunnel_id:u16 tunnel_status:e8 [maximum_incoming_transfer_size:u16]",
            since="1.1", must=True,
        ),
        generated(0x01, "transfer_data", "tunnel_id:u16 data:octets", since="1.1", must=True),
        generated(
            0x02, "transfer_data_error", "tunnel_id:u16 transfer_data_status:e8", since="1.1", must=True
        ),
        generated(0x03, "ack_transfer_data", "tunnel_id:u16 number_of_bytes_left:u16", since="1.1"),
        generated(0x04, "ready_data", "tunnel_id:u16 number_of_octets_left:u16", since="1.1"),
        generated(
            0x05, "supported_tunnel_protocols_response",
            "protocol_list_complete:bool protocol_count:u8 "
            "protocol_list:{manufacturer_code:u16 protocol_id:u8}*protocol_count",
            since="1.1",
        ),
        generated(0x06, "tunnel_closure_notification", "tunnel_id:u16", since="1.1"),
    ),
)  # fmt: skip
