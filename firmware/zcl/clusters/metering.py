"""Metering (0x0702): registers, consumption history, supply control, snapshots, mirroring.

Which way round: a meter is the server. For a mirror the meter asks *as a server*
(`request_mirror`, server to client) and the hub, a client until then, answers and grows an endpoint
with the mirrored server on it.

Source: SE 1.2 07-5356-19, annex D (SE 1.0 and 1.1 where a row does not say `@1.2`).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = [
    "METERING",
    "DeviceType",
    "NotificationFlags",
    "NotificationScheme",
    "ProfileStatus",
    "SupplyStatus",
    "UnitOfMeasure",
]


@unique
class SupplyStatus(IntEnum):
    """SupplyStatus and the proposed one; of SetSupplyStatus too."""

    SUPPLY_OFF = 0x00
    SUPPLY_OFF_ARMED = 0x01
    SUPPLY_ON = 0x02
    SUPPLY_UNCHANGED = 0x03  # in SetSupplyStatus only


@unique
class UnitOfMeasure(IntEnum):
    """The binary units that a home has."""

    KILOWATT_HOURS = 0x00
    CUBIC_METRES = 0x01
    UNITLESS = 0x0B
    MEGAJOULES = 0x0C
    KILOVAR_HOURS = 0x0D


@unique
class DeviceType(IntEnum):
    """MeteringDeviceType: what is metered; from 0x7F on, its mirror."""

    ELECTRIC_METERING = 0x00
    GAS_METERING = 0x01
    WATER_METERING = 0x02
    MIRRORED_ELECTRIC_METERING = 0x7F
    MIRRORED_GAS_METERING = 0x80


@unique
class ProfileStatus(IntEnum):
    """Status of a GetProfileResponse."""

    SUCCESS = 0x00
    UNDEFINED_INTERVAL_CHANNEL_REQUESTED = 0x01
    INTERVAL_CHANNEL_NOT_SUPPORTED = 0x02
    INVALID_END_TIME = 0x03
    MORE_PERIODS_REQUESTED_THAN_CAN_BE_RETURNED = 0x04
    NO_INTERVALS_AVAILABLE_FOR_THE_REQUESTED_TIME = 0x05


@unique
class NotificationScheme(IntEnum):
    """Which flags a mirror sends with MirrorReportAttributeResponse."""

    NO_NOTIFICATION_SCHEME_DEFINED = 0x00
    PREDEFINED_NOTIFICATION_SCHEME_A = 0x01  # FunctionalNotificationFlags only
    PREDEFINED_NOTIFICATION_SCHEME_B = 0x02  # and NotificationFlags2 to 5


class NotificationFlags(IntFlag):
    """FunctionalNotificationFlags: what waits at the mirror."""

    NEW_OTA_FIRMWARE = 1 << 0
    CBKE_UPDATE_REQUEST = 1 << 1
    TIME_SYNC = 1 << 2
    STAY_AWAKE_REQUEST_HAN = 1 << 4
    STAY_AWAKE_REQUEST_WAN = 1 << 5
    PUSH_HISTORICAL_METERING_DATA = 0b111 << 6  # attribute set to push
    PUSH_HISTORICAL_PREPAYMENT_DATA = 0b111 << 9
    PUSH_ALL_STATIC_DATA_BASIC_CLUSTER = 1 << 12
    PUSH_ALL_STATIC_DATA_METERING_CLUSTER = 1 << 13
    PUSH_ALL_STATIC_DATA_PREPAYMENT_CLUSTER = 1 << 14
    NETWORK_KEY_ACTIVE = 1 << 15
    DISPLAY_MESSAGE = 1 << 16
    CANCEL_ALL_MESSAGES = 1 << 17
    CHANGE_SUPPLY = 1 << 18
    LOCAL_CHANGE_SUPPLY = 1 << 19
    SET_UNCONTROLLED_FLOW_THRESHOLD = 1 << 20
    TUNNEL_MESSAGE_PENDING = 1 << 21
    GET_SNAPSHOT = 1 << 22
    GET_SAMPLED_DATA = 1 << 23


_REGISTERS: Final = attributes("""
    0000  current_summation_delivered  u48  M
    0001  current_summation_received   u48
    0002  current_max_demand_delivered  u48
    0003  current_max_demand_received   u48
    0004  dft_summation                u48
    0005  daily_freeze_time            u16  =0 0..0x173B
    0006  power_factor                 i8   =0 -100..100
    0007  reading_snapshot_time        utc
    0008  current_max_demand_delivered_time  utc
    0009  current_max_demand_received_time   utc
    000A  default_update_period        u8   =30 @1.1
    000B  fast_poll_update_period      u8   =5  @1.1
    000C  current_block_period_consumption_delivered  u48  @1.1
    000D  daily_consumption_target     u24  @1.1
    000E  current_block                e8   0..16 @1.1
    000F  profile_interval_period      e8   @1.1
    0010  interval_read_reporting_period  u16  =0 @1.1
    0011  preset_reading_time          u16  =0 0..0x173B @1.1
    0012  volume_per_report            u16  @1.1
    0013  flow_restriction             u8   @1.1
    0014  supply_status                e8   @1.1
    0015  current_inlet_energy_carrier_summation   u48  @1.1
    0016  current_outlet_energy_carrier_summation  u48  @1.1
    0017  {inlet|outlet|control}_temperature       i24  @1.1
    001A  current_inlet_energy_carrier_demand      i24  @1.1
    001B  current_outlet_energy_carrier_demand     i24  @1.1
    001C  previous_block_period_consumption_delivered  u48  @1.1
    001D  current_block_period_consumption_received    u48  @1.2
    001E  current_block_received       e8   @1.2
    001F  dft_summation_received       u48  @1.2
    0020  active_register_tier_delivered  e8  0..48 @1.2
    0021  active_register_tier_received   e8  0..48 @1.2
    0022  last_block_switch_time       utc  @1.2

    # time-of-use registers
    0100/2  current_tier{1..6}_summation_delivered    u48
    0101/2  current_tier{1..6}_summation_received     u48
    010C/2  current_tier{7..15}_summation_delivered   u48  @1.1
    010D/2  current_tier{7..15}_summation_received    u48  @1.1
    011E/2  current_tier{16..48}_summation_delivered  u48  @1.2
    011F/2  current_tier{16..48}_summation_received   u48  @1.2
    01FC/2  cpp{1..2}_summation_delivered             u48  @1.2
""")

_STATUS_AND_FORMAT: Final = attributes("""
    0200  status                       bm8  M =0
    0201  remaining_battery_life       u8   @1.1   # per cent
    0202  hours_in_operation           u24  @1.1
    0203  hours_in_fault               u24  @1.1
    0204  extended_status              bm64 @1.2
    0205  remaining_battery_life_in_days  u16  @1.2
    0206  current_meter_id             octstr  @1.2
    0207  ambient_consumption_indicator  e8  0..2 @1.2

    0300  unit_of_measure              e8   M =0
    0301  multiplier                   u24
    0302  divisor                      u24
    0303  summation_formatting         bm8  M
    0304  demand_formatting            bm8
    0305  historical_consumption_formatting  bm8
    0306  metering_device_type         bm8  M
    0307  site_id                      octstr  <=32 @1.1
    0308  meter_serial_number          octstr  <=24 @1.1
    0309  energy_carrier_unit_of_measure      e8   @1.1
    030A  energy_carrier_summation_formatting  bm8  @1.1
    030B  energy_carrier_demand_formatting    bm8  @1.1
    030C  temperature_unit_of_measure  e8   @1.1
    030D  temperature_formatting       bm8  @1.1
    030E  module_serial_number         octstr  <=24 @1.2
    030F  operating_tariff_label_delivered  octstr  <=24 @1.2
    0310  operating_tariff_label_received   octstr  <=24 @1.2
    0311  customer_id_number           octstr  <=24 @1.2
    0312  alternative_unit_of_measure  e8   =0 @1.2
    0313  alternative_demand_formatting       bm8  @1.2
    0314  alternative_consumption_formatting  bm8  @1.2
""")

_HISTORY: Final = attributes("""
    0400  instantaneous_demand         i24  =0
    0401  current_day_consumption_{delivered|received}   u24
    0403  previous_day_consumption_{delivered|received}  u24
    0405  current_partial_profile_interval_start_time_{delivered|received}  utc
    0407  current_partial_profile_interval_value_{delivered|received}       u24
    0409  {current|previous}_day_{max|min}_pressure      u48  @1.1
    040D  {current_day|previous_day|current_month|current_year}_max_demand  i24  @1.1
    0411  {current|previous}_day_max_energy_carrier_demand                  i24  @1.1
    0413  current_{month|year}_{max|min}_energy_carrier_demand              i24  @1.1
    0420  previous_day{2..8}_consumption_{delivered|received}    u24  @1.2
    0430  {current|previous}_week_consumption_{delivered|received}          u24  @1.2
    0434  previous_week{2..5}_consumption_{delivered|received}   u24  @1.2
    0440  {current|previous}_month_consumption_{delivered|received}         u32  @1.2
    0444  previous_month{2..13}_consumption_{delivered|received}  u32  @1.2
    045C  historical_freeze_time       u16  =0 0..0x173B @1.2

    0500  max_number_of_periods_delivered  u8  =24

    0600  current_demand_delivered     u24
    0601  demand_limit                 u24
    0602  demand_integration_period    u8   1..255
    0603  number_of_demand_subintervals  u8  1..255
    0604  demand_limit_arm_duration    u16  =60 @1.2
    0605  load_limit_supply_state      e8   =0 @1.2
    0606  load_limit_counter           u8   =1 @1.2
    0607  supply_tamper_state          e8   =0 @1.2
    0608  supply_depletion_state       e8   =0 @1.2
    0609  supply_uncontrolled_flow_state  e8  =0 @1.2
""")

_BLOCKS_AND_ALARMS: Final = attributes("""
    0700  current_no_tier_block{1..16}_summation_delivered        u48  @1.1
    0710  current_tier{1..15}_block{1..16}_summation_delivered    u48  @1.1

    0800  generic_alarm_mask                     bm16  W =0xFFFF @1.1
    0801  electricity_alarm_mask                 bm32  W =0xFFFFFFFF @1.1
    0802  generic_flow_pressure_alarm_mask       bm16  W =0xFFFF @1.1
    0803  water_specific_alarm_mask              bm16  W =0xFFFF @1.1
    0804  heat_and_cooling_specific_alarm_mask   bm16  W =0xFFFF @1.1
    0805  gas_specific_alarm_mask                bm16  W =0xFFFF @1.1
    0806  extended_generic_alarm_mask            bm48  W =0xFFFFFFFFFFFF @1.2
    0807  manufacturer_alarm_mask                bm16  W =0xFFFF @1.2

    0900  current_no_tier_block{1..16}_summation_received         u48  @1.2
    0910  current_tier{1..15}_block{1..16}_summation_received     u48  @1.2
""")

_MONEY_AND_SUPPLY: Final = attributes("""
    0A00  bill_to_date_delivered                 u32  =0 @1.2
    0A01  bill_to_date_time_stamp_delivered      utc  =0 @1.2
    0A02  projected_bill_delivered               u32  =0 @1.2
    0A03  projected_bill_time_stamp_delivered    utc  =0 @1.2
    0A04  bill_delivered_trailing_digit          bm8  @1.2
    0A10  bill_to_date_received                  u32  =0 @1.2
    0A11  bill_to_date_time_stamp_received       utc  =0 @1.2
    0A12  projected_bill_received                u32  =0 @1.2
    0A13  projected_bill_time_stamp_received     utc  =0 @1.2
    0A14  bill_received_trailing_digit           bm8  @1.2

    0B00  proposed_change_supply_implementation_time  utc  @1.2
    0B01  proposed_change_supply_status          e8   @1.2
    0B10  uncontrolled_flow_threshold            u16  @1.2
    0B11  uncontrolled_flow_threshold_unit_of_measure  e8  @1.2
    0B12  uncontrolled_flow_threshold_multiplier  u16  =1 @1.2
    0B13  uncontrolled_flow_threshold_divisor    u16  =1 @1.2
    0B14  flow_stabilization_period              u8   @1.2
    0B15  flow_measurement_period                u16  @1.2
""")

_ALTERNATIVE_HISTORY: Final = attributes("""
    0C00  alternative_instantaneous_demand       i24  =0
    0C01  current_day_alternative_consumption_{delivered|received}   u24
    0C03  previous_day_alternative_consumption_{delivered|received}  u24
    0C05  current_alternative_partial_profile_interval_start_time_{delivered|received}  utc
    0C07  current_alternative_partial_profile_interval_value_{delivered|received}       u24
    0C09  {current|previous}_day_alternative_{max|min}_pressure      u48
    0C0D  {current_day|previous_day|current_month|current_year}_alternative_max_demand  i24
    0C20  previous_day{2..8}_alternative_consumption_{delivered|received}    u24  @1.2
    0C30  {current|previous}_week_alternative_consumption_{delivered|received}          u24  @1.2
    0C34  previous_week{2..5}_alternative_consumption_{delivered|received}   u24  @1.2
    0C40  {current|previous}_month_alternative_consumption_{delivered|received}         u32  @1.2
    0C44  previous_month{2..13}_alternative_consumption_{delivered|received}  u32  @1.2
""")

_CLIENT: Final = attributes("""
    0000  functional_notification_flags   bm32  =0 @1.2
    0001  notification_flags{2..8}        bm32  @1.2
""")

_SCHEDULE = "snapshot_schedule_id:u8 snapshot_start_time:utc snapshot_schedule:bm24 "
_SCHEDULE += "snapshot_payload_type:e8 snapshot_cause:bm32"

_COMMANDS: Final = (
    # --- to the meter
    received(0x00, "get_profile", "interval_channel:e8 end_time:utc number_of_periods:u8"),
    received(0x01, "request_mirror_response", "endpoint_id:u16"),  # 0xFFFF: no mirror to be had
    received(0x02, "mirror_removed", "endpoint_id:u16"),
    received(0x03, "request_fast_poll_mode", "fast_poll_update_period:u8 duration:u8", since="1.1"),
    received(
        0x04, "schedule_snapshot",
        "issuer_event_id:u32 command_index:u8 command_count:u8 snapshot_schedules:{" + _SCHEDULE + "}*",
        since="1.2",
    ),
    received(0x05, "take_snapshot", "snapshot_cause:bm32", since="1.2"),
    received(
        0x06, "get_snapshot",
        "earliest_start_time:utc latest_end_time:utc snapshot_offset:u8 snapshot_cause:bm32",
        since="1.2",
    ),
    received(
        0x07, "start_sampling",
        "issuer_event_id:u32 start_sampling_time:utc sample_type:e8 sample_request_interval:u16 "
        "max_number_of_samples:u16",
        since="1.2",
    ),
    received(
        0x08, "get_sampled_data",
        "sample_id:u16 earliest_sample_time:utc sample_type:e8 number_of_samples:u16",
        since="1.2",
    ),
    received(
        0x09, "mirror_report_attribute_response",
        "notification_scheme:u8 notification_flags:bm32*",
        since="1.2",
    ),
    received(0x0A, "reset_load_limit_counter", "provider_id:u32 issuer_event_id:u32", since="1.2"),
    received(
        0x0B, "change_supply",
        "provider_id:u32 issuer_event_id:u32 request_date_time:utc implementation_date_time:utc "
        "proposed_supply_status:e8 supply_control_bits:bm8",
        since="1.2",
    ),
    received(0x0C, "local_change_supply", "proposed_supply_status:e8", since="1.2"),
    received(
        0x0D, "set_supply_status",
        "issuer_event_id:u32 supply_tamper_state:e8 supply_depletion_state:e8 "
        "supply_uncontrolled_flow_state:e8 load_limit_supply_state:e8",
        since="1.2",
    ),
    received(
        0x0E, "set_uncontrolled_flow_threshold",
        "provider_id:u32 issuer_event_id:u32 uncontrolled_flow_threshold:u16 unit_of_measure:e8 "
        "multiplier:u16 divisor:u16 stabilisation_period:u8 measurement_period:u16",
        since="1.2",
    ),
    # --- from the meter
    generated(
        0x00, "get_profile_response",
        "end_time:utc status:e8 profile_interval_period:e8 number_of_periods_delivered:u8 "
        "intervals:u24*number_of_periods_delivered",
    ),
    generated(0x01, "request_mirror"),
    generated(0x02, "remove_mirror"),
    generated(
        0x03, "request_fast_poll_mode_response",
        "applied_update_period:u8 fast_poll_mode_end_time:utc",
        since="1.1",
    ),
    generated(
        0x04, "schedule_snapshot_response",
        "issuer_event_id:u32 "
        "snapshot_responses:{snapshot_schedule_id:u8 snapshot_schedule_confirmation:e8}*",
        since="1.2",
    ),
    generated(0x05, "take_snapshot_response", "snapshot_id:u32 snapshot_confirmation:e8", since="1.2"),
    generated(
        0x06, "publish_snapshot",
        "snapshot_id:u32 snapshot_time:utc total_snapshots_found:u8 command_index:u8 total_commands:u8 "
        "snapshot_cause:bm32 snapshot_payload_type:e8 snapshot_payload:octets",
        since="1.2",
    ),
    generated(
        0x07, "get_sampled_data_response",
        "sample_id:u16 sample_start_time:utc sample_type:e8 sample_request_interval:u16 "
        "number_of_samples:u16 samples:u24*number_of_samples",
        since="1.2",
    ),
    generated(
        0x08, "configure_mirror",
        "issuer_event_id:u32 reporting_interval:u24 mirror_notification_reporting:bool "
        "notification_scheme:u8",
        since="1.2",
    ),
    generated(
        0x09, "configure_notification_scheme",
        "issuer_event_id:u32 notification_scheme:u8 notification_flag_order:bm32",
        since="1.2",
    ),
    generated(
        0x0A, "configure_notification_flags",
        "issuer_event_id:u32 notification_scheme:u8 notification_flag_attribute_id:u16 cluster_id:u16 "
        "manufacturer_code:u16 number_of_commands:u8 command_ids:u8*number_of_commands",
        since="1.2",
    ),
    generated(
        0x0B, "get_notified_message",
        "notification_scheme:u8 notification_flag_attribute_id:u16 notification_flags:bm32",
        since="1.2",
    ),
    generated(
        0x0C, "supply_status_response",
        "provider_id:u32 issuer_event_id:u32 implementation_date_time:utc supply_status:e8",
        since="1.2",
    ),
    generated(0x0D, "start_sampling_response", "sample_id:u16", since="1.2"),
)  # fmt: skip

METERING: Final = Cluster(
    cluster_id=0x0702,
    name="metering",
    server=_REGISTERS + _STATUS_AND_FORMAT + _HISTORY + _BLOCKS_AND_ALARMS + _MONEY_AND_SUPPLY
    + _ALTERNATIVE_HISTORY,
    client=_CLIENT,
    commands=_COMMANDS,
)  # fmt: skip
