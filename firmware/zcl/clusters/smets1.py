"""Our own manufacturer-specific clusters: how Secure's do this is not public (an assumption).

* Authorisation 0xFC01: Critical Instructions with their single-use authorisation code, key rotation.
* HubControl 0xFC02: the communications hub's device log (whitelist), on the CHF.
* DeviceInformation 0xFC03: what a device is, and its registry of configuration parameters.

Source: none; the project's design. Cluster range 0xFC00..0xFFFF: ZCL 07-5123 rev 7, table 2-12.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = [
    "AUTHORISATION",
    "DEVICE_INFORMATION",
    "HUB_CONTROL",
    "MANUFACTURER_CODE",
    "ConfigureOptions",
    "CriticalStatus",
    "DeviceLogOperation",
    "OffReason",
]

MANUFACTURER_CODE: Final = 0xFFF1
"""A code set aside for tests by the standards body; no real device carries it."""


@unique
class CriticalStatus(IntEnum):
    """Outcome of a Critical Instruction, before that of the frame inside."""

    EXECUTED = 0x00  # the answer to the frame is in `frame`
    COUNTER_USED = (
        0x01  # not above the highest accepted; `frame`: the answer, where it was this instruction's
    )
    WRONG_CODE = 0x02
    NOT_CRITICAL = 0x03  # a frame that needs no authorisation must come without
    MALFORMED = 0x04
    NO_KEY = 0x05


@unique
class DeviceLogOperation(IntEnum):
    ADD = 0x00
    REMOVE = 0x01


class ConfigureOptions(IntFlag):
    """Options of `configure`."""

    RESETS_VOLTAGE_COUNTERS = 0x01


class OffReason(IntFlag):
    """Why the supply is off."""

    MANUAL = 0x01
    NO_CREDIT = 0x02
    OVERLOAD = 0x04
    EVENT = 0x08
    SUPPLY_CODE = 0x10


AUTHORISATION: Final = Cluster(
    cluster_id=0xFC01,
    name="authorisation",
    manufacturer_code=MANUFACTURER_CODE,
    server=attributes("""
        0000  sua_generation     u32  M =0
        0001  sua_counter        u64  M =0   # highest accepted
    """),
    commands=(
        received(
            0x00, "critical_instruction", "counter:u64 sua:octstr cluster:u16 frame:octstr16", must=True
        ),
        # valid only inside a critical instruction
        received(0x01, "rotate_key", "generation:u32 wrapped_key:octstr", must=True),
        received(0x02, "status_push_ack", "generation:u32", must=True),
        received(0x03, "verify_prepayment_key", "nonce:octstr", must=True),
        # a frame to be carried out once, however often it comes under that id; the answer is kept
        received(0x04, "execute_once", "instruction_id:octstr cluster:u16 frame:octstr16", must=True),
        generated(0x00, "critical_result", "counter:u64 status:e8 frame:octstr16", must=True),
        generated(0x01, "rotate_key_response", "generation:u32 confirmation:octstr", must=True),
        generated(0x02, "status_push", "generation:u32 confirmation:octstr", must=True),
        generated(0x03, "prepayment_key_proof", "proof:octstr", must=True),
        generated(0x04, "once_result", "instruction_id:octstr frame:octstr16", must=True),
    ),
)  # fmt: skip

_LOG_ENTRY = "device:eui64 device_type:e8 last_communication:utc"  # 0xFFFFFFFF: never

HUB_CONTROL: Final = Cluster(
    cluster_id=0xFC02,
    name="hub_control",
    manufacturer_code=MANUFACTURER_CODE,
    server=attributes("""
        0000  device_log_count   u8   M =0
        0001  boot_count         u32  M =0
        0002  wan_status         e8   M =0   # 0 offline, 1 online
        0003  han_channel        u8
        0004  han_pan_id         u16
        0005  han_extended_pan_id  eui64
        0006  queued_for_gas_meter  u16  =0   # commands kept until it wakes
    """),
    commands=(
        received(0x00, "read_device_log", "first_index:u8", must=True),
        received(
            0x01, "update_device_log",  # install code: with its CRC; empty where removed
            "operation:e8 device:eui64 device_type:e8 install_code:octstr",
            must=True,
        ),
        received(0x02, "read_hub_status", must=True),
        # firmware from the head end: a piece of the file with that SHA-256; then whom the file is for
        received(0x03, "store_image", "digest:octstr offset:u32 data:octstr16"),
        received(0x04, "offer_image", "digest:octstr count:u8 targets:eui64*count"),
        received(0x05, "set_joining", "is_open:bool"),  # from the electricity meter, over the ribbon
        generated(
            0x00, "device_log",
            "total:u8 first_index:u8 count:u8 entries:{" + _LOG_ENTRY + "}*count",
            must=True,
        ),
        generated(0x01, "update_device_log_response", "status:e8 device:eui64", must=True),
        generated(
            0x02, "hub_status",
            "boot_count:u32 wan_status:e8 han_channel:u8 han_pan_id:u16 device_log_count:u8 "
            "queued_for_gas_meter:u16",
            must=True,
        ),
        generated(0x03, "store_image_response", "status:e8 held_octets:u32"),
        generated(0x04, "offer_image_response", "status:e8"),
    ),
)  # fmt: skip

# A date with year 0xFF: each year. Special days are numbered by their place, bit 0 the first.
_RULES = "day_count:u8 days:{date:date}*day_count rule_count:u8 "
_RULES += "rules:{minute:u16 is_start:bool weekdays:bm8 special_days:bm24 start_date:date end_date:date}"
_RULES += "*rule_count"

DEVICE_INFORMATION: Final = Cluster(
    cluster_id=0xFC03,
    name="device_information",
    manufacturer_code=MANUFACTURER_CODE,
    server=attributes("""
        0000  firmware_version   u32  M
        0001  model              string  M <=32
        0002  hardware_version   string  <=32
        0003  manufacturer       string  <=32
        0004  device_type        e8
        0005  commissioned       bool
        0010  supply_off_reasons  bm8  =0
        0011  supply_armed_until  utc
        0012  disablement_suspended  bool
        0020  pending_firmware_version  u32
        0030  clock_status       e8    # 0 not set, 1 synchronised, 2 unreliable
        0031  clock_last_set     utc
        0040  reactive_import_register  u48   # varh
        0041  reactive_export_register  u48
        0050  rms_voltage        u24   # mV
        0051  average_over_voltage_counter   u32
        0052  average_under_voltage_counter  u32
        0053  extreme_over_voltage_counter   u32
        0054  extreme_under_voltage_counter  u32
        0055  voltage_sag_counter    u32
        0056  voltage_swell_counter  u32
        0060  open_sensors       bm8   # as the meter's tamper machine numbers them
        0061  tamper_count       u32
    """),
    commands=(
        # parameters by name, values in CBOR: the registry of the device knows type, unit and range
        received(0x00, "read_parameter", "name:string", must=True),
        received(0x01, "write_parameter", "name:string value:octstr16", must=True),
        received(0x02, "list_parameters", "first_index:u16", must=True),
        received(0x03, "activate_firmware", "file_version:u32 activation_time:utc"),
        # SRV 6.4.1: at once (0), at an instant, or (0xFFFFFFFF) take back the one that is pending
        received(
            0x04, "set_load_limit",
            "issuer_event_id:u32 implementation_date_time:utc period_s:u32 threshold_w:u32 "
            "restoration_s:u32 supply_state:e8",
        ),
        received(0x05, "synchronise_clock", "current_time:utc tolerance_s:u32"),
        # several parameters that need no authorisation, all or none: a CBOR map of name to value
        received(0x06, "configure", "options:bm8 values:octstr16"),
        received(0x07, "reset_voltage_counters"),
        received(0x08, "read_parameters", "count:u8 names:string*count", must=True),
        # when electricity is not cut for want of credit; SE's calendars have no such rules
        received(0x10, "publish_disablement_rules", _RULES),
        received(0x11, "get_disablement_rules"),
        generated(0x10, "disablement_rules", _RULES),
        generated(0x00, "parameter_value", "name:string status:e8 value:octstr16", must=True),
        generated(0x01, "write_parameter_response", "name:string status:e8", must=True),
        generated(
            0x02, "parameter_names",
            "total:u16 first_index:u16 count:u8 names:string*count",
            must=True,
        ),
        generated(0x03, "activate_firmware_response", "status:e8 file_version:u32"),
        generated(0x05, "clock_state", "device_time:utc clock_status:e8"),
        generated(0x08, "parameter_values", "values:octstr16", must=True),
    ),
)  # fmt: skip
