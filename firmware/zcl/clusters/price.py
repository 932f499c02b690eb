"""Price (0x0700): prices, tariffs, billing, calorific value. The hub is the server, displays are clients.

Source: SE 1.2 07-5356-19, annex D (SE 1.0 and 1.1 where a row does not say `@1.2`).
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["PRICE", "signed_amount"]

_DELIVERED: Final = attributes("""
    0000  tier{1..15}_price_label      octstr  W <=12
    000F  tier{16..48}_price_label     octstr  W <=12 @1.2
    0100  block{1..15}_threshold       u48
    010F  block_threshold_count        u8   @1.2
    0110/16/1  tier{1..15}_block{1..15}_threshold  u48  @1.2
    011F/16  tier{1..15}_block_threshold_count  u8  @1.2

    0200  start_of_block_period        utc
    0201  block_period_duration        u24   # minutes, or as the type below says
    0202  threshold_multiplier         u24
    0203  threshold_divisor            u24
    0204  block_period_duration_type   bm8  =0 @1.2

    0300  commodity_type               e8
    0301  standing_charge              u32
    0302  conversion_factor            u32  =0x10000000 @1.1
    0303  conversion_factor_trailing_digit  bm8  =0x70 @1.1
    0304  calorific_value              u32  =0x02625A00 @1.1
    0305  calorific_value_unit         e8   =1 @1.1
    0306  calorific_value_trailing_digit  bm8  =0x60 @1.1

    0400  no_tier_block{1..16}_price        u32
    0410  tier{1..15}_block{1..16}_price    u32
    050F  price_tier{16..48}           u32  @1.2
    05FE  cpp{1..2}_price              u32  @1.2

    0610  tariff_label                 octstr  <=24 @1.2
    0611  number_of_price_tiers_in_use       u8  =0 0..48 @1.2
    0612  number_of_block_thresholds_in_use  u8  =0 0..240 @1.2
    0613  tier_block_mode              e8   =0xFF @1.2
    0615  unit_of_measure              e8   =0 @1.2
    0616  currency                     u16  @1.2   # ISO 4217 number: 826 is sterling
    0617  price_trailing_digit         bm8  =0 @1.2
    0619  tariff_resolution_period     e8   =0 @1.2
    0620  co2                          u32  =185 @1.2
    0621  co2_unit                     e8   =1 @1.2
    0622  co2_trailing_digit           bm8  =0 @1.2

    0700  current_billing_period_start     utc  @1.1
    0701  current_billing_period_duration  u24  @1.1
    0702  last_billing_period_start        utc  @1.2
    0703  last_billing_period_duration     u24  @1.2
    0704  last_billing_period_consolidated_bill  u32  @1.2

    0800  credit_payment_due_date      utc  @1.2
    0801  credit_payment_status        e8   @1.2
    0802  credit_payment_over_due_amount  i32  =0 @1.2
    080A  payment_discount             i32  @1.2
    080B  payment_discount_period      e8   @1.2
    0810/16  credit_payment_{1..5}       u32  @1.2
    0811/16  credit_payment_date_{1..5}  utc  @1.2
    0812/16  credit_payment_ref_{1..5}   octstr  <=20 @1.2
""")

_RECEIVED: Final = attributes("""
    8000  received_tier{1..48}_price_label   octstr  W <=12 @1.2
    8100  received_block{1..15}_threshold    u48  @1.2
    8200  received_start_of_block_period     utc  @1.2
    8201  received_block_period_duration     u24  @1.2
    8202  received_threshold_multiplier      u24  @1.2
    8203  received_threshold_divisor         u24  @1.2
    8400  received_no_tier_block{1..16}_price       u32  @1.2
    8410  received_tier{1..15}_block{1..16}_price   u32  @1.2
    850F  received_price_tier{16..48}        u32  @1.2
    8610  received_tariff_label              octstr  <=24 @1.2
    8611  received_number_of_price_tiers_in_use       u8  =0 0..48 @1.2
    8612  received_number_of_block_thresholds_in_use  u8  =0 0..240 @1.2
    8613  received_tier_block_mode           u8   =0xFF @1.2
    8615  received_tariff_resolution_period  e8   =0 @1.2
    8625  received_co2                       u32  =185 @1.2
    8626  received_co2_unit                  e8   =1 @1.2
    8627  received_co2_trailing_digit        bm8  =0 @1.2
    8700  received_current_billing_period_start     utc  @1.2
    8701  received_current_billing_period_duration  u24  @1.2
    8702  received_last_billing_period_start        utc  @1.2
    8703  received_last_billing_period_duration     u24  @1.2
    8704  received_last_billing_period_consolidated_bill  u32  @1.2
""")

_CLIENT: Final = attributes("""
    0000  price_increase_randomize_minutes  u8  W =5  0..60
    0001  price_decrease_randomize_minutes  u8  W =15 0..60
    0002  commodity_type                    e8
""")

_BY_TIME = "earliest_start_time:utc min_issuer_event_id:u32 number_of_commands:u8"
_ISSUE = "provider_id:u32 issuer_event_id:u32"
_TARIFF = _ISSUE + " start_time:utc issuer_tariff_id:u32 command_index:u8 total_number_of_commands:u8"
_BILLING = _ISSUE + " billing_period_start_time:utc billing_period_duration:bm24 "
_BILLING += "billing_period_duration_type:bm8 tariff_type:e8"

_COMMANDS: Final = (
    # --- to the server
    received(0x00, "get_current_price", "command_options:bm8", must=True),
    received(0x01, "get_scheduled_prices", "start_time:utc number_of_events:u8"),
    received(
        0x02, "price_acknowledgement",
        "provider_id:u32 issuer_event_id:u32 price_ack_time:utc control:bm8",
        since="1.1", must=True,
    ),
    received(
        0x03, "get_block_periods", "start_time:utc number_of_events:u8 [tariff_type:e8]", since="1.1"
    ),
    received(0x04, "get_conversion_factor", _BY_TIME, since="1.1"),
    received(0x05, "get_calorific_value", _BY_TIME, since="1.1"),
    received(0x06, "get_tariff_information", _BY_TIME + " tariff_type:e8", since="1.2"),
    received(0x07, "get_price_matrix", "issuer_tariff_id:u32", since="1.2"),
    received(0x08, "get_block_thresholds", "issuer_tariff_id:u32", since="1.2"),
    received(0x09, "get_co2_value", _BY_TIME + " tariff_type:e8", since="1.2"),
    received(0x0A, "get_tier_labels", "issuer_tariff_id:u32", since="1.2"),
    received(0x0B, "get_billing_period", _BY_TIME + " [tariff_type:e8]", since="1.2"),
    received(0x0C, "get_consolidated_bill", _BY_TIME + " [tariff_type:e8]", since="1.2"),
    received(0x0D, "cpp_event_response", "issuer_event_id:u32 cpp_auth:e8", since="1.2"),
    received(0x0E, "get_credit_payment", "latest_end_time:utc number_of_records:u8", since="1.2"),
    received(0x0F, "get_currency_conversion_command", since="1.2"),
    received(0x10, "get_tariff_cancellation", since="1.2"),
    # --- from the server
    generated(
        0x00, "publish_price",
        "provider_id:u32 rate_label:octstr issuer_event_id:u32 current_time:utc unit_of_measure:e8 "
        "currency:u16 price_trailing_digit_and_price_tier:bm8 "
        "number_of_price_tiers_and_register_tier:bm8 start_time:utc duration_in_minutes:u16 price:u32 "
        "price_ratio:u8 generation_price:u32 generation_price_ratio:u8 "
        "[alternate_cost_delivered:u32 alternate_cost_unit:e8 alternate_cost_trailing_digit:bm8 "
        "number_of_block_thresholds:u8 price_control:bm8 "  # SE 1.1
        "number_of_generation_tiers:u8 generation_tier:e8 extended_number_of_price_tiers:e8 "  # SE 1.2
        "extended_price_tier:e8 extended_register_tier:e8]",
        must=True,
    ),
    generated(
        0x01, "publish_block_period",
        _ISSUE + " block_period_start_time:utc block_period_duration:u24 block_period_control:bm8 "
        "[block_period_duration_type:bm8 tariff_type:e8 tariff_resolution_period:e8]",
        since="1.1",
    ),
    generated(
        0x02, "publish_conversion_factor",
        "issuer_event_id:u32 start_time:utc conversion_factor:u32 conversion_factor_trailing_digit:bm8",
        since="1.1",
    ),
    generated(
        0x03, "publish_calorific_value",
        "issuer_event_id:u32 start_time:utc calorific_value:u32 calorific_value_unit:e8 "
        "calorific_value_trailing_digit:bm8",
        since="1.1",
    ),
    generated(
        0x04, "publish_tariff_information",
        _ISSUE + " issuer_tariff_id:u32 start_time:utc tariff_type_charging_scheme:bm8 "
        "tariff_label:octstr number_of_price_tiers_in_use:u8 number_of_block_thresholds_in_use:u8 "
        "unit_of_measure:e8 currency:u16 price_trailing_digit:bm8 standing_charge:u32 "
        "tier_block_mode:e8 block_threshold_multiplier:u24 block_threshold_divisor:u24",
        since="1.2",
    ),
    generated(
        0x05, "publish_price_matrix",
        _TARIFF + " sub_payload_control:bm8 prices:{tier_block_id:u8 price:u32}*",
        since="1.2",
    ),
    generated(
        0x06, "publish_block_thresholds",
        _TARIFF + " sub_payload_control:bm8 "
        "thresholds:{tier_number_of_block_thresholds:u8 block_threshold:u48}*",
        since="1.2",
    ),
    generated(
        0x07, "publish_co2_value",
        _ISSUE + " start_time:utc tariff_type:e8 co2_value:u32 co2_value_unit:e8 "
        "co2_value_trailing_digit:bm8",
        since="1.2",
    ),
    generated(
        0x08, "publish_tier_labels",
        _ISSUE + " issuer_tariff_id:u32 command_index:u8 total_number_of_commands:u8 "
        "number_of_labels:u8 labels:{tier_id:u8 tier_label:octstr}*number_of_labels",
        since="1.2",
    ),
    generated(0x09, "publish_billing_period", _BILLING, since="1.2"),
    generated(
        0x0A, "publish_consolidated_bill",
        _BILLING + " consolidated_bill:u32 currency:u16 bill_trailing_digit:bm8",
        since="1.2",
    ),
    generated(
        0x0B, "publish_cpp_event",
        _ISSUE + " start_time:utc duration_in_minutes:u16 tariff_type:e8 cpp_price_tier:e8 cpp_auth:e8",
        since="1.2",
    ),
    generated(
        0x0C, "publish_credit_payment",
        _ISSUE + " credit_payment_due_date:utc credit_payment_over_due_amount:u32 "
        "credit_payment_status:e8 credit_payment:u32 credit_payment_date:utc credit_payment_ref:octstr",
        since="1.2",
    ),
    generated(
        0x0D, "publish_currency_conversion",
        _ISSUE + " start_time:utc old_currency:u16 new_currency:u16 conversion_factor:u32 "
        "conversion_factor_trailing_digit:bm8 currency_change_control_flags:bm32",
        since="1.2",
    ),
    generated(
        0x0E, "cancel_tariff", "provider_id:u32 issuer_tariff_id:u32 tariff_type:e8", since="1.2"
    ),
)  # fmt: skip

PRICE: Final = Cluster(
    cluster_id=0x0700, name="price", server=_DELIVERED + _RECEIVED, client=_CLIENT, commands=_COMMANDS
)


def signed_amount(amount: int) -> int:
    """A price or standing charge, which are uint32 on the air.

    That a negative one comes as two's complement is an **assumption** (`devices/published_tariff.py`).
    """
    return amount - (1 << 32) if amount >> 31 else amount
