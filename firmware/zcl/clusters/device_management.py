"""Device Management (0x0708): supplier, tenancy, site id, passwords, and the event configuration.

The client attributes are one octet per event: whether it is logged and where it is pushed
(`EventConfiguration`). Their ids are the event ids that the Events cluster reports.

Source: SE 1.2 07-5356-19, annex D. Where the copies of the event table differ in a name, the
specification's is taken.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["DEVICE_MANAGEMENT", "EventConfiguration"]


class EventConfiguration(IntFlag):
    """What becomes of one kind of event."""

    LOG_ACTION = 0b111  # 0 do not log, 1 tamper, 2 fault, 3 general, 4 security, 5 network log
    PUSH_EVENT_TO_WAN = 0x08
    PUSH_EVENT_TO_HAN = 0x10
    RAISE_ALARM_ZIGBEE = 0x20
    RAISE_ALARM_PHYSICAL = 0x40


_SERVER: Final = attributes("""
    0100  provider_id                        u32  =0 @1.2
    0101  provider_name                      octstr  <=16 @1.2
    0102  provider_contact_details           octstr  <=19 @1.2
    0110  proposed_provider_id               u32  @1.2
    0111  proposed_provider_name             octstr  <=16 @1.2
    0112  proposed_provider_change_date_time  utc  @1.2
    0113  proposed_provider_change_control   bm32  @1.2
    0114  proposed_provider_contact_details  octstr  <=19 @1.2
    0120  received_provider_id               u32  @1.2
    0121  received_provider_name             octstr  <=16 @1.2
    0122  received_provider_contact_details  octstr  <=19 @1.2
    0130  received_proposed_provider_id      u32  @1.2
    0131  received_proposed_provider_name    octstr  <=16 @1.2
    0132  received_proposed_provider_change_date_time  utc  @1.2
    0133  received_proposed_provider_change_control    bm32  @1.2
    0134  received_proposed_provider_contact_details   octstr  <=19 @1.2
    0200  change_of_tenancy_update_date_time  utc  @1.2
    0201  proposed_tenancy_change_control    bm32  @1.2
    0300  wan_status                         e8   @1.2
    0400  low_medium_threshold               u32  @1.2
    0401  medium_high_threshold              u32  @1.2
""")

_PRICE_EVENTS: Final = attributes("""
    0000  provider_id                        u32  @1.2
    0010  received_provider_id               u32  @1.2

    0100  {tou_tariff_activation|block_tariff_activated|block_tou_tariff_activated}  bm8  @1.2
    0103  single_tariff_rate_activated       bm8  @1.2
    0104  {asynchronous|synchronous}_billing_occurred  bm8  @1.2
    0106  {tariff_not_supported|price_cluster_not_found}  bm8  @1.2
    0108  {currency_change|price_matrix|tariff_change}_passive_{activated|updated}  bm8  @1.2
    01B0  publish_price_{received|actioned|cancelled|rejected}               bm8  @1.2
    01B4  publish_tariff_information_{received|actioned|cancelled|rejected}  bm8  @1.2
    01B8  publish_price_matrix_{received|actioned|cancelled|rejected}        bm8  @1.2
    01BC  publish_block_thresholds_{received|actioned|cancelled|rejected}    bm8  @1.2
    01C0  publish_calorific_value_{received|actioned|cancelled|rejected}     bm8  @1.2
    01C4  publish_conversion_factor_{received|actioned|cancelled|rejected}   bm8  @1.2
    01C8  publish_co2_value_{received|actioned|cancelled|rejected}           bm8  @1.2
    01CC  publish_cpp_event_{received|actioned|cancelled|rejected}           bm8  @1.2
    01D0  publish_tier_labels_{received|actioned|cancelled|rejected}         bm8  @1.2
    01D4  publish_billing_period_{received|actioned|cancelled|rejected}      bm8  @1.2
    01D8  publish_consolidated_bill_{received|actioned|cancelled|rejected}   bm8  @1.2
    01DC  publish_block_period_{received|actioned|cancelled|rejected}        bm8  @1.2
    01E0  publish_credit_payment_info_{received|actioned|cancelled|rejected}  bm8  @1.2
    01E4  publish_currency_conversion_{received|actioned|cancelled|rejected}  bm8  @1.2
""")

_METERING_EVENTS: Final = attributes("""
    0200  {check_meter|low_battery|tamper_detect|supply_status|supply_quality}     bm8  @1.2
    0205  {leak_detect|service_disconnect|reverse_flow_general}                   bm8  @1.2
    0208  {meter_cover_removed|meter_cover_closed|strong_magnetic_field}           bm8  @1.2
    020B  {no_strong_magnetic_field|battery_failure|program_memory_error}          bm8  @1.2
    020E  {ram|nv_memory}_error                      bm8  @1.2
    0210/2  low_voltage_l{1..3}                      bm8  @1.2
    0211/2  high_voltage_l{1..3}                     bm8  @1.2
    0216  over_current_l{1..3}                       bm8  @1.2
    0219/2  frequency_too_low_l{1..3}                bm8  @1.2
    021A/2  frequency_too_high_l{1..3}               bm8  @1.2
    021F  {ground_fault|electric_tamper_detect|incorrect_polarity|current_no_voltage}  bm8  @1.2
    0223  {under|over|normal}_voltage                bm8  @1.2
    0226  pf_{below|above}_threshold                 bm8  @1.2
    0228  terminal_cover_{removed|closed}            bm8  @1.2
    0230  {burst_detect|pressure_too_low|pressure_too_high}                        bm8  @1.2
    0233  flow_sensor_{communication_error|measurement_fault|reverse_flow|air_detect}  bm8  @1.2
    0237  pipe_empty                                 bm8  @1.2
    0250  {inlet|outlet}_temperature_sensor_fault    bm8  @1.2
    0260  {reverse_flow|tilt_tamper|battery_cover_removed|battery_cover_closed}    bm8  @1.2
    0264  {excess_flow|tilt_tamper_ended}            bm8  @1.2
    0270  {measurement_system_error|watchdog_error|supply_disconnect_failure}      bm8  @1.2
    0273  {supply_connect_failure|measurement_software_changed}                    bm8  @1.2
    0275  dst_{enabled|disabled}                     bm8  @1.2
    0277  clock_{adjust_backward|adjust_forward|invalid}                           bm8  @1.2
    027A  communication_{error|ok}_han               bm8  @1.2
    027C  {meter_fraud_attempt|power_loss|unusual_han_traffic}                     bm8  @1.2
    027F  {unexpected_clock_change|comms_using_unauthenticated_component}          bm8  @1.2
    0281  metering_{error|alarm}_register_clear      bm8  @1.2
    0283  unexpected_{hw_reset|program_execution}    bm8  @1.2
    0285  limit_threshold_{exceeded|ok|changed}      bm8  @1.2
    0288  {maximum_demand_exceeded|profile_cleared|load_profile_cleared|battery_warning}  bm8  @1.2
    028C  {wrong_signature|no_signature|signature_not_valid}                       bm8  @1.2
    028F  unauthorized_action_from_han               bm8  @1.2
    0290  fast_polling_{start|end}                   bm8  @1.2
    0292  {meter_reporting_interval_changed|disconnect_to_load_limit}              bm8  @1.2
    0294  {meter_supply|meter_alarm|extended_meter_alarm}_status_register_changed  bm8  @1.2
    0297  data_access_via_local_port                 bm8  @1.2
    0298  configure_{mirror|notification_flag_scheme|notification_flags}_{success|failure}  bm8  @1.2
    029E  stay_awake_request_{han|wan}               bm8  @1.2
    02B0  manufacturer_specific_{a|b|c|d|e|f|g|h|i}  bm8  @1.2
    02C0  get_profile_command_{received|actioned|cancelled|rejected}              bm8  @1.2
    02C4  request_mirror_response_command_{received|actioned|cancelled|rejected}  bm8  @1.2
    02C8  mirror_removed_command_{received|actioned|cancelled|rejected}           bm8  @1.2
    02CC  get_snapshot_command_{received|actioned|cancelled|rejected}             bm8  @1.2
    02D0  take_snapshot_command_{received|actioned|cancelled|rejected}            bm8  @1.2
    02D4  mirror_report_attribute_response_command_{received|actioned|cancelled|rejected}  bm8  @1.2
    02D8  schedule_snapshot_command_{received|actioned|cancelled|rejected}        bm8  @1.2
    02DC  start_sampling_command_{received|actioned|cancelled|rejected}           bm8  @1.2
    02E0  get_sampled_data_command_{received|actioned|cancelled|rejected}         bm8  @1.2
    02E4  supply_{on|armed|off}                      bm8  @1.2
    02E7  {disconnected_due_to_tamper_detected|manual_disconnect|manual_connect}  bm8  @1.2
    02EA  {remote_disconnection|remote_connect|local_disconnection|local_connect}  bm8  @1.2
    02EE  change_supply_{received|actioned|cancelled|rejected}                    bm8  @1.2
    02F2  local_change_supply_{received|actioned|cancelled|rejected}              bm8  @1.2
    02F6  publish_uncontrolled_flow_threshold_{received|actioned|cancelled|rejected}  bm8  @1.2
""")

_MESSAGING_AND_PREPAYMENT_EVENTS: Final = attributes("""
    0300  message_confirmation_sent                  bm8  @1.2
    03C0  display_message_{received|actioned|cancelled|rejected}                  bm8  @1.2
    03C4  cancel_message_{received|actioned|cancelled|rejected}                   bm8  @1.2

    0400  {low_credit|no_credit|credit_exhausted}    bm8  @1.2
    0403  emergency_credit_{enabled|exhausted}       bm8  @1.2
    0405  ihd_low_credit_warning                     bm8  @1.2
    0420  {physical|electronic}_attack_on_the_prepay_meter                        bm8  @1.2
    0422  {discount_applied|credit_adjustment|credit_adjust_fail}                 bm8  @1.2
    0425  {debt_adjustment|debt_adjust_fail|mode_change}                          bm8  @1.2
    0428  topup_{code_error|already_used|code_invalid}                            bm8  @1.2
    042B  topup_accepted_via_{remote|manual_entry}   bm8  @1.2
    042D  friendly_credit_{in_use|period_end_warning|period_end}                  bm8  @1.2
    0430  prepayment_{error|alarm}_register_clear    bm8  @1.2
    0432  {prepay_cluster_not_found|topup_value_too_large}                        bm8  @1.2
    0441  mode_{credit_2_prepay|prepay_2_credit|default}                          bm8  @1.2
    04C0  select_available_emergency_credit_{received|actioned|cancelled|rejected}  bm8  @1.2
    04C4  change_debt_{received|actioned|cancelled|rejected}                      bm8  @1.2
    04C8  emergency_credit_setup_{received|actioned|cancelled|rejected}           bm8  @1.2
    04CC  consumer_topup_{received|actioned|cancelled|rejected}                   bm8  @1.2
    04D0  credit_adjustment_{received|actioned|cancelled|rejected}                bm8  @1.2
    04D4  change_payment_mode_{received|actioned|cancelled|rejected}              bm8  @1.2
    04D8  get_prepay_snapshot_{received|actioned|cancelled|rejected}              bm8  @1.2
    04DC  get_topup_log_{received|actioned|cancelled|rejected}                    bm8  @1.2
    04E0  set_low_credit_warning_level_{received|actioned|cancelled|rejected}     bm8  @1.2
    04E4  get_debt_repay_log_{received|actioned|cancelled|rejected}               bm8  @1.2
    04E8  set_maximum_credit_limit_{received|actioned|cancelled|rejected}         bm8  @1.2
    04EC  set_overall_debt_cap_{received|actioned|cancelled|rejected}             bm8  @1.2
""")

_OTHER_EVENTS: Final = attributes("""
    0500  {calendar_cluster_not_found|calendar_change_passive_activated}          bm8  @1.2
    0502  calendar_change_passive_updated            bm8  @1.2
    05C0  publish_calendar_{received|actioned|cancelled|rejected}                 bm8  @1.2
    05C4  publish_day_profile_{received|actioned|cancelled|rejected}              bm8  @1.2
    05C8  publish_week_profile_{received|actioned|cancelled|rejected}             bm8  @1.2
    05CC  publish_seasons_{received|actioned|cancelled|rejected}                  bm8  @1.2
    05D0  publish_special_days_{received|actioned|cancelled|rejected}             bm8  @1.2

    0600  password_{1..4}_change                     bm8  @1.2
    0604  event_log_cleared                          bm8  @1.2
    0610  zigbee_aps_timeout                         bm8  @1.2
    0611  zigbee_ieee_transmission_failure_over_threshold  bm8  @1.2
    0612  zigbee_ieee_frame_check_sequence_threshold  bm8  @1.2
    0613  error_{certificate|signature|program_storage}                           bm8  @1.2
    06C0  publish_cot_{received|actioned|cancelled|rejected}                      bm8  @1.2
    06C4  publish_cos_{received|actioned|cancelled|rejected}                      bm8  @1.2
    06C8  change_password_{received|actioned|cancelled|rejected}                  bm8  @1.2
    06CC  set_event_configuration_{received|actioned|cancelled|rejected}          bm8  @1.2
    06D0  update_site_id_{received|actioned|cancelled|rejected}                   bm8  @1.2
    06D4  update_cin_{received|actioned|cancelled|rejected}                       bm8  @1.2

    0700  {tunneling_cluster_not_found|unsupported_protocol|incorrect_protocol}   bm8  @1.2
    07C0  {request_tunnel|close_tunnel}_command_{received|rejected|generated}     bm8  @1.2
    07C6  {transfer_data|transfer_data_error}_command_{received|rejected|generated}  bm8  @1.2
    07CC  {ack_transfer_data|ready_data}_command_{received|rejected|generated}    bm8  @1.2
    07D2  get_supported_tunnel_protocols_command_{received|rejected|generated}    bm8  @1.2

    0800  firmware_{ready_for_activation|activated|activation_failure}            bm8  @1.2
    0803  patch_{ready_for_activation|activated|failure}                          bm8  @1.2
    08C0  image_notify_command_{received|rejected}   bm8  @1.2
    08C2  query_next_image_{request_generated|response_received|response_rejected}  bm8  @1.2
    08C5  image_{block|page}_request_generated       bm8  @1.2
    08C7  image_block_response_{received|rejected}   bm8  @1.2
    08C9  upgrade_end_{request_generated|response_received|response_rejected}     bm8  @1.2
    08CC  query_specific_file_{request_generated|response_received|response_rejected}  bm8  @1.2
""")

_COMMANDS: Final = (
    received(0x00, "get_change_of_tenancy", since="1.2"),
    received(0x01, "get_change_of_supplier", since="1.2"),
    received(0x02, "request_new_password", "password_type:e8", since="1.2"),
    received(0x03, "get_site_id", since="1.2"),
    received(
        0x04, "report_event_configuration",
        "command_index:u8 total_commands:u8 events:{event_id:u16 event_configuration:bm8}*",
        since="1.2",
    ),
    received(0x05, "get_cin", since="1.2"),
    generated(
        0x00, "publish_change_of_tenancy",
        "provider_id:u32 issuer_event_id:u32 tariff_type:e8 implementation_date_time:utc "
        "proposed_tenancy_change_control:bm32",
        since="1.2",
    ),
    generated(
        0x01, "publish_change_of_supplier",
        "current_provider_id:u32 issuer_event_id:u32 tariff_type:e8 proposed_provider_id:u32 "
        "provider_change_implementation_time:utc provider_change_control:bm32 "
        "proposed_provider_name:octstr proposed_provider_contact_details:octstr",
        since="1.2",
    ),
    generated(
        0x02, "request_new_password_response",
        "issuer_event_id:u32 implementation_date_time:utc duration_in_minutes:u16 password_type:e8 "
        "password:octstr",
        since="1.2",
    ),
    generated(
        0x03, "update_site_id",
        "issuer_event_id:u32 site_id_time:utc provider_id:u32 site_id:octstr",
        since="1.2",
    ),
    generated(
        0x04, "set_event_configuration",  # the form of the payload depends on the control
        "issuer_event_id:u32 start_date_time:utc event_configuration:bm8 configuration_control:e8 "
        "event_configuration_payload:octets",
        since="1.2",
    ),
    generated(0x05, "get_event_configuration", "event_id:u16", since="1.2"),
    generated(
        0x06, "update_cin",
        "issuer_event_id:u32 implementation_time:utc provider_id:u32 customer_id_number:octstr",
        since="1.2",
    ),
)  # fmt: skip

DEVICE_MANAGEMENT: Final = Cluster(
    cluster_id=0x0708,
    name="device_management",
    server=_SERVER,
    client=_PRICE_EVENTS + _METERING_EVENTS + _MESSAGING_AND_PREPAYMENT_EVENTS + _OTHER_EVENTS,
    commands=_COMMANDS,
)
