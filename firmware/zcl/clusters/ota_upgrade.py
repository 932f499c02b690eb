"""OTA Upgrade (0x0019): firmware images, block by block. The hub is the server, devices are clients.

The attributes are the client's: a server reads from each device what it runs.

Source: ZCL 07-5123 rev 7, 11.11 (attributes), 11.13 (commands).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["OTA_UPGRADE", "ImageUpgradeStatus"]


@unique
class ImageUpgradeStatus(IntEnum):
    """How far a device is with a new image."""

    NORMAL = 0x00
    DOWNLOAD_IN_PROGRESS = 0x01
    DOWNLOAD_COMPLETE = 0x02
    WAITING_TO_UPGRADE = 0x03
    COUNT_DOWN = 0x04
    WAIT_FOR_MORE = 0x05
    WAITING_TO_UPGRADE_VIA_EXTERNAL_EVENT = 0x06


_IMAGE = "manufacturer_code:u16 image_type:u16 file_version:u32"

_COMMANDS: Final = (
    received(
        0x01, "query_next_image_request",
        "field_control:bm8 manufacturer_code:u16 image_type:u16 current_file_version:u32 "
        "when:field_control&0x01 hardware_version:u16",
        must=True,
    ),
    received(
        0x03, "image_block_request",
        "field_control:bm8 " + _IMAGE + " file_offset:u32 maximum_data_size:u8 "
        "when:field_control&0x01 request_node_address:eui64 "
        "when:field_control&0x02 minimum_block_period:u16",
        must=True,
    ),
    received(
        0x04, "image_page_request",
        "field_control:bm8 " + _IMAGE + " file_offset:u32 maximum_data_size:u8 page_size:u16 "
        "response_spacing:u16 when:field_control&0x01 request_node_address:eui64",
    ),
    received(0x06, "upgrade_end_request", "status:e8 " + _IMAGE, must=True),
    received(
        0x08, "query_specific_file_request",
        "request_node_address:eui64 " + _IMAGE + " current_zigbee_stack_version:u16",
    ),
    generated(
        0x00, "image_notify",  # payload type 0: jitter only, 1: and manufacturer, 2: and type, 3: all
        "payload_type:e8 query_jitter:u8 [" + _IMAGE + "]",
    ),
    generated(
        0x02, "query_next_image_response",
        "status:e8 when:status=0x00 " + _IMAGE + " image_size:u32",
        must=True,
    ),
    generated(
        0x05, "image_block_response",
        "status:e8 when:status=0x00 " + _IMAGE + " file_offset:u32 image_data:octstr "
        "when:status=0x97 current_time:utc request_time:utc minimum_block_period:u16",
        must=True,
    ),
    generated(
        0x07, "upgrade_end_response", _IMAGE + " current_time:utc upgrade_time:utc", must=True
    ),
    generated(
        0x09, "query_specific_file_response",
        "status:e8 when:status=0x00 " + _IMAGE + " image_size:u32",
    ),
)  # fmt: skip

OTA_UPGRADE: Final = Cluster(
    cluster_id=0x0019,
    name="ota_upgrade",
    client=attributes("""
        0000  upgrade_server_id               eui64  M
        0001  file_offset                     u32
        0002  current_file_version            u32
        0003  current_zigbee_stack_version    u16
        0004  downloaded_file_version         u32
        0005  downloaded_zigbee_stack_version  u16
        0006  image_upgrade_status            e8  M =0
        0007  manufacturer_id                 u16
        0008  image_type_id                   u16
        0009  minimum_block_period            u16  =0
        000A  image_stamp                     u32
        000B  upgrade_activation_policy       e8  =0
        000C  upgrade_timeout_policy          e8  =0
    """),
    commands=_COMMANDS,
)
