"""Clusters that are not Smart Energy's own: Basic, Power Configuration, Identify, Groups, Alarms, Time,
Keep-Alive.

Source: ZCL 07-5123 rev 7, 3.2 (Basic), 3.3 (Power Configuration), 3.5 (Identify), 3.6 (Groups),
3.11 (Alarms), 3.12 (Time); SE 1.2b 15-0131-02 (Keep-Alive, of Smart Energy, but as general as these).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = [
    "ALARMS",
    "BASIC",
    "GROUPS",
    "IDENTIFY",
    "KEEP_ALIVE",
    "POWER_CONFIGURATION",
    "TIME",
    "PowerSource",
    "TimeStatus",
]


@unique
class PowerSource(IntEnum):
    """Source: ZCL rev 7, 3.2.2.2.8."""

    UNKNOWN = 0x00
    MAINS_SINGLE_PHASE = 0x01
    MAINS_THREE_PHASE = 0x02
    BATTERY = 0x03
    DC_SOURCE = 0x04
    EMERGENCY_MAINS_CONSTANTLY_POWERED = 0x05
    EMERGENCY_MAINS_AND_TRANSFER_SWITCH = 0x06


class TimeStatus(IntFlag):
    """Source: ZCL rev 7, 3.12.2.2.2."""

    MASTER = 0x01
    SYNCHRONIZED = 0x02
    MASTER_ZONE_DST = 0x04
    SUPERSEDING = 0x08


BASIC: Final = Cluster(
    cluster_id=0x0000,
    name="basic",
    server=attributes("""
        0000  zcl_version              u8  M =3
        0001  application_version      u8  =0
        0002  stack_version            u8  =0
        0003  hw_version               u8  =0
        0004  manufacturer_name        string  <=32
        0005  model_identifier         string  <=32
        0006  date_code                string  <=16
        0007  power_source             e8  M =0
        0008  generic_device_class     e8  =0xFF
        0009  generic_device_type      e8  =0xFF
        000A  product_code             octstr
        000B  product_url              string
        000C  manufacturer_version_details  string
        000D  serial_number            string
        000E  product_label            string
        0010  location_description     string  W <=16
        0011  physical_environment     e8  W =0
        0012  device_enabled           bool  W =1
        0013  alarm_mask               bm8  W =0
        0014  disable_local_config     bm8  W =0
        4000  sw_build_id              string  <=16
    """),
    commands=(received(0x00, "reset_to_factory_defaults"),),
)

_BATTERY: Final = """
        {base}20  {name}_voltage               u8
        {base}21  {name}_percentage_remaining  u8   # half per cent
        {base}30  {name}_manufacturer          string  W <=16
        {base}31  {name}_size                  e8  W =0xFF
        {base}32  {name}_a_hr_rating           u16  W   # 10 mAh
        {base}33  {name}_quantity              u8  W
        {base}34  {name}_rated_voltage         u8  W
        {base}35  {name}_alarm_mask            bm8  W =0
        {base}36  {name}_voltage_min_threshold  u8  W =0
        {base}37  {name}_voltage_threshold_1   u8  W =0
        {base}38  {name}_voltage_threshold_2   u8  W =0
        {base}39  {name}_voltage_threshold_3   u8  W =0
        {base}3A  {name}_percentage_min_threshold  u8  W =0
        {base}3B  {name}_percentage_threshold_1  u8  W =0
        {base}3C  {name}_percentage_threshold_2  u8  W =0
        {base}3D  {name}_percentage_threshold_3  u8  W =0
        {base}3E  {name}_alarm_state           bm32  =0
"""

POWER_CONFIGURATION: Final = Cluster(
    cluster_id=0x0001,
    name="power_configuration",
    server=attributes("""
        0000  mains_voltage            u16   # 100 mV
        0001  mains_frequency          u8    # half Hz
        0010  mains_alarm_mask         bm8  W =0
        0011  mains_voltage_min_threshold  u16  W =0
        0012  mains_voltage_max_threshold  u16  W =0xFFFF
        0013  mains_voltage_dwell_trip_point  u16  W =0
    """)
    + attributes(_BATTERY.format(base="00", name="battery")),
)

IDENTIFY: Final = Cluster(
    cluster_id=0x0003,
    name="identify",
    server=attributes("0000  identify_time  u16  M W =0"),  # seconds left
    commands=(
        received(0x00, "identify", "identify_time:u16", must=True),
        received(0x01, "identify_query", must=True),
        received(0x40, "trigger_effect", "effect_identifier:e8 effect_variant:e8"),
        generated(0x00, "identify_query_response", "timeout:u16", must=True),
    ),
)

GROUPS: Final = Cluster(
    cluster_id=0x0004,
    name="groups",
    server=attributes("0000  name_support  bm8  M =0"),  # bit 7: groups have names
    commands=(
        received(0x00, "add_group", "group_id:u16 group_name:string", must=True),
        received(0x01, "view_group", "group_id:u16", must=True),
        received(0x02, "get_group_membership", "group_count:u8 group_list:u16*group_count", must=True),
        received(0x03, "remove_group", "group_id:u16", must=True),
        received(0x04, "remove_all_groups", must=True),
        received(0x05, "add_group_if_identifying", "group_id:u16 group_name:string", must=True),
        generated(0x00, "add_group_response", "status:e8 group_id:u16", must=True),
        generated(0x01, "view_group_response", "status:e8 group_id:u16 group_name:string", must=True),
        generated(
            0x02,
            "get_group_membership_response",
            "capacity:u8 group_count:u8 group_list:u16*group_count",
            must=True,
        ),
        generated(0x03, "remove_group_response", "status:e8 group_id:u16", must=True),
    ),
)

ALARMS: Final = Cluster(
    cluster_id=0x0009,
    name="alarms",
    server=attributes("0000  alarm_count  u16  =0"),
    commands=(
        received(0x00, "reset_alarm", "alarm_code:e8 cluster_id:cluster_id", must=True),
        received(0x01, "reset_all_alarms", must=True),
        received(0x02, "get_alarm"),
        received(0x03, "reset_alarm_log"),
        generated(0x00, "alarm", "alarm_code:e8 cluster_id:cluster_id", must=True),
        generated(
            0x01,
            "get_alarm_response",
            "status:e8 when:status=0x00 alarm_code:e8 cluster_id:cluster_id time_stamp:u32",
        ),
    ),
)

TIME: Final = Cluster(
    cluster_id=0x000A,
    name="time",
    server=attributes("""
        0000  time                     utc  M W
        0001  time_status              bm8  M W =0
        0002  time_zone                i32  W =0 -86400..86400   # seconds east of UTC
        0003  dst_start                u32  W
        0004  dst_end                  u32  W
        0005  dst_shift                i32  W =0 -86400..86400
        0006  standard_time            u32
        0007  local_time               u32
        0008  last_set_time            utc
        0009  valid_until_time         utc  W
    """),
)

KEEP_ALIVE: Final = Cluster(
    cluster_id=0x0025,
    name="keep_alive",
    server=attributes("""
        0000  keep_alive_base          u8  M =10 1..255 @1.2   # minutes
        0001  keep_alive_jitter        u16  M =300 0..512 @1.2   # seconds
    """),
)
