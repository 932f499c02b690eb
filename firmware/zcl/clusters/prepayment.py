"""Prepayment (0x0705): credit, top-ups, debt, emergency credit. The meter is the server.

Amounts are in units of the currency's scaling; in this project 1/1000 pence.

Source: SE 1.2 07-5356-19, annex D (SE 1.1 where a row does not say `@1.2`).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = [
    "CREDIT_CONTROL",
    "PREPAYMENT",
    "PREPAYMENT_CONTROL",
    "CreditAdjustmentType",
    "CreditStatus",
    "OriginatingDevice",
    "PaymentControl",
    "ResultType",
]


class PaymentControl(IntFlag):
    """PaymentControlConfiguration (0x0000), as far as its bits can be told from those of real GB meters."""

    PREPAYMENT = 1 << 1
    SUSPEND_DEBT_DISABLED = 1 << 10
    COLLECT_DEBT_IN_EMERGENCY = 1 << 11


CREDIT_CONTROL: Final = 0x0C94
"""PaymentControlConfiguration of real GB meters in credit mode."""
PREPAYMENT_CONTROL: Final = {
    (True, True): 0x0497,
    (True, False): 0x0097,
    (False, True): 0x0C97,
    (False, False): 0x0897,
}
"""And in prepayment mode, by whether debts are suspended: (in emergency credit, while disabled)."""


class CreditStatus(IntFlag):
    """Zone of the account, and how emergency credit stands."""

    CREDIT_OK = 0x01
    LOW_CREDIT = 0x02
    EMERGENCY_CREDIT_ENABLED = 0x04
    EMERGENCY_CREDIT_AVAILABLE = 0x08
    EMERGENCY_CREDIT_SELECTED = 0x10
    EMERGENCY_CREDIT_IN_USE = 0x20
    CREDIT_EXHAUSTED = 0x40
    EMERGENCY_CREDIT_EXHAUSTED = 0x40  # alias: what it means, now that emergency credit comes last


@unique
class OriginatingDevice(IntEnum):
    """Where a command or top-up came from."""

    ENERGY_SERVICE_INTERFACE = 0x00
    METER = 0x01
    IN_HOME_DISPLAY_DEVICE = 0x02


@unique
class ResultType(IntEnum):
    """Outcome of a ConsumerTopUp."""

    ACCEPTED = 0x00
    REJECTED_INVALID_TOP_UP = 0x01
    REJECTED_DUPLICATE_TOP_UP = 0x02
    REJECTED_ERROR = 0x03
    REJECTED_MAX_CREDIT_REACHED = 0x04
    REJECTED_KEYPAD_LOCK = 0x05
    REJECTED_TOP_UP_VALUE_TOO_LARGE = 0x06
    ACCEPTED_SUPPLY_ENABLED = 0x10
    ACCEPTED_SUPPLY_DISABLED = 0x11
    ACCEPTED_SUPPLY_ARMED = 0x12


@unique
class CreditAdjustmentType(IntEnum):
    """Whether an adjustment is added or set."""

    CREDIT_INCREMENTAL = 0x00
    CREDIT_ABSOLUTE = 0x01


_ACCOUNT: Final = attributes("""
    0000  payment_control_configuration  bm16  M =0
    0001  credit_remaining             i32
    0002  emergency_credit_remaining   i32
    0003  credit_status                bm8  =0
    0004  credit_remaining_timestamp   utc  @1.2
    0005  accumulated_debt             i32  @1.2
    0006  overall_debt_cap             i32  @1.2
    0010  emergency_credit_limit_allowance  u32  @1.2
    0011  emergency_credit_threshold   u32  @1.2
    0020  total_credit_added           u48  @1.2
    0021  max_credit_limit             u32  @1.2
    0022  max_credit_per_top_up        u32  @1.2
    0030  friendly_credit_warning      u8   =10 @1.2
    0031  low_credit_warning_level     u32  @1.2
    0032  ihd_low_credit_warning_level  u32  W @1.2
    0033  interrupt_suspend_time       u8   =60 @1.2
    0034  remaining_friendly_credit_time  u16  @1.2
    0035  next_friendly_credit_period  utc  @1.2
    0040  cut_off_value                i32  @1.2
    0080  token_carrier_id             octstr  W <=20 @1.2

    0100/16  top_up_date_time_{1..5}          utc
    0101/16  top_up_amount_{1..5}             i32
    0102/16  top_up_originating_device_{1..5}  e8
    0103/16  top_up_code_{1..5}               octstr  <=25 @1.2

    0210/16  debt_label_{1..3}                     octstr  <=12 @1.2
    0211/16  debt_amount_{1..3}                    u32  @1.2
    0212/16  debt_recovery_method_{1..3}           e8   @1.2
    0213/16  debt_recovery_start_time_{1..3}       utc  @1.2
    0214/16  debt_recovery_collection_time_{1..3}  u16  =0 0..0x5A0 @1.2
    0216/16  debt_recovery_frequency_{1..3}        e8   @1.2
    0217/16  debt_recovery_amount_{1..3}           u32  @1.2
    0219/16  debt_recovery_top_up_percentage_{1..3}  u16  =0 0..0x2710 @1.2

    0400  prepayment_alarm_status      bm16  =0 @1.2
    0401  prepay_generic_alarm_mask    bm16  W =0xFFFF @1.2
    0402  prepay_switch_alarm_mask     bm16  W =0xFFFF @1.2
    0403  prepay_event_alarm_mask      bm16  W =0xFFFF @1.2
""")

_COST_HISTORY: Final = attributes("""
    0500  historical_cost_consumption_formatting  bm8  @1.2
    0501  consumption_unit_of_measurement  e8  =0 @1.2
    0502  currency_scaling_factor      e8   @1.2
    0503  currency                     u16  @1.2
    051C  {current|previous}_day_cost_consumption_{delivered|received}    u48  @1.2
    0520  previous_day{2..8}_cost_consumption_{delivered|received}        u48  @1.2
    0530  {current|previous}_week_cost_consumption_{delivered|received}   u48  @1.2
    0534  previous_week{2..5}_cost_consumption_{delivered|received}       u48  @1.2
    0540  {current|previous}_month_cost_consumption_{delivered|received}  u48  @1.2
    0544  previous_month{2..13}_cost_consumption_{delivered|received}     u48  @1.2
    055C  historical_freeze_time       u16  =0 0..0x173B @1.2
""")

_COMMANDS: Final = (
    # --- to the meter
    received(
        0x00, "select_available_emergency_credit",
        "command_issue_date_time:utc originating_device:e8 "
        "[site_id:octstr meter_serial_number:octstr]",  # until SE 1.1
    ),
    received(
        0x02, "change_debt",
        "issuer_event_id:u32 debt_label:octstr debt_amount:u32 debt_recovery_method:e8 "
        "debt_amount_type:e8 debt_recovery_start_time:utc debt_recovery_collection_time:u16 "
        "debt_recovery_frequency:e8 debt_recovery_amount:u32 debt_recovery_balance_percentage:u16",
        since="1.2",
    ),
    received(
        0x03, "emergency_credit_setup",
        "issuer_event_id:u32 start_time:utc emergency_credit_limit:u32 emergency_credit_threshold:u32",
        since="1.2",
    ),
    received(0x04, "consumer_top_up", "originating_device:e8 top_up_code:octstr", since="1.2"),
    received(
        0x05, "credit_adjustment",
        "issuer_event_id:u32 start_time:utc credit_adjustment_type:e8 credit_adjustment_value:i32",
        since="1.2",
    ),
    received(
        0x06, "change_payment_mode",
        "provider_id:u32 issuer_event_id:u32 implementation_date_time:utc "
        "proposed_payment_control_configuration:bm16 cut_off_value:i32",
        since="1.2",
    ),
    received(
        0x07, "get_prepay_snapshot",
        "earliest_start_time:utc latest_end_time:utc snapshot_offset:u8 snapshot_cause:bm32",
        since="1.2",
    ),
    received(0x08, "get_top_up_log", "latest_end_time:utc number_of_records:u8", since="1.2"),
    received(0x09, "set_low_credit_warning_level", "low_credit_warning_level:u32", since="1.2"),
    received(
        0x0A, "get_debt_repayment_log",
        "latest_end_time:utc number_of_debts:u8 debt_type:e8",
        since="1.2",
    ),
    received(
        0x0B, "set_maximum_credit_limit",
        "provider_id:u32 issuer_event_id:u32 implementation_date_time:utc maximum_credit_level:u32 "
        "maximum_credit_per_top_up:u32",
        since="1.2",
    ),
    received(
        0x0C, "set_overall_debt_cap",
        "provider_id:u32 issuer_event_id:u32 implementation_date_time:utc overall_debt_cap:i32",
        since="1.2",
    ),
    # --- from the meter
    generated(
        0x01, "publish_prepay_snapshot",
        "snapshot_id:u32 snapshot_time:utc total_snapshots_found:u8 command_index:u8 "
        "total_number_of_commands:u8 snapshot_cause:bm32 snapshot_payload_type:e8 "
        "snapshot_payload:octets",
        since="1.2",
    ),
    generated(
        0x02, "change_payment_mode_response",
        "friendly_credit:bm8 friendly_credit_calendar_id:u32 emergency_credit_limit:u32 "
        "emergency_credit_threshold:u32",
        since="1.2",
    ),
    generated(
        0x03, "consumer_top_up_response",  # refused: credit_remaining is -1 (0xFFFFFFFF)
        "result_type:e8 top_up_value:i32 source_of_top_up:e8 credit_remaining:i32",
        since="1.2",
    ),
    generated(
        0x05, "publish_top_up_log",
        "command_index:u8 total_number_of_commands:u8 "
        "top_ups:{top_up_code:octstr top_up_amount:i32 top_up_time:utc}*",
        since="1.2",
    ),
    generated(
        0x06, "publish_debt_log",
        "command_index:u8 total_number_of_commands:u8 "
        "debts:{collection_time:utc amount_collected:u32 debt_type:e8 outstanding_debt:u32}*",
        since="1.2",
    ),
)  # fmt: skip

PREPAYMENT: Final = Cluster(
    cluster_id=0x0705, name="prepayment", server=_ACCOUNT + _COST_HISTORY, commands=_COMMANDS
)
