"""Demand Response and Load Control (0x0701) and Energy Management (0x0706).

Declared for completeness of the profile: no SMETS1 device of ours acts on load control.

Source: SE 1.2 07-5356-19, annex D.
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["DEMAND_RESPONSE", "ENERGY_MANAGEMENT"]

_STATUS = (
    "issuer_event_id:u32 event_status:e8 event_status_time:utc criticality_level_applied:e8 "
    "cooling_temperature_set_point_applied:u16 heating_temperature_set_point_applied:u16 "
    "average_load_adjustment_percentage_applied:i8 duty_cycle_applied:u8 event_control:bm8"
)

DEMAND_RESPONSE: Final = Cluster(
    cluster_id=0x0701,
    name="demand_response",
    client=attributes("""
        0000  utility_enrollment_group        u8   M W =0
        0001  start_randomization_minutes     u8   M W =30 0..60
        0002  duration_randomization_minutes  u8   M W =0  0..60
        0003  device_class_value              u16  M W
    """),
    commands=(
        received(
            0x00, "report_event_status", _STATUS + " signature_type:u8 [signature:octets42]", must=True
        ),
        received(
            0x01, "get_scheduled_events",
            "start_time:utc number_of_events:u8 [issuer_event_id:u32]",
            must=True,
        ),
        generated(
            0x00, "load_control_event",
            "issuer_event_id:u32 device_class:bm16 utility_enrollment_group:u8 start_time:utc "
            "duration_in_minutes:u16 criticality_level:e8 cooling_temperature_offset:u8 "
            "heating_temperature_offset:u8 cooling_temperature_set_point:i16 "
            "heating_temperature_set_point:i16 average_load_adjustment_percentage:i8 duty_cycle:u8 "
            "event_control:bm8",
            must=True,
        ),
        generated(
            0x01, "cancel_load_control_event",
            "issuer_event_id:u32 device_class:bm16 utility_enrollment_group:u8 cancel_control:bm8 "
            "effective_time:utc",
            must=True,
        ),
        generated(0x02, "cancel_all_load_control_events", "cancel_control:bm8", must=True),
    ),
)  # fmt: skip

ENERGY_MANAGEMENT: Final = Cluster(
    cluster_id=0x0706,
    name="energy_management",
    server=attributes("""
        0000  load_control_state     bm8  M =0 @1.2
        0001  current_event_id       u32  M =0xFFFFFFFF @1.2
        0002  current_event_status   bm8  M =0 @1.2
        0003  conformance_level      u8   M W =0 @1.2
        0004  minimum_off_time       u16  M W @1.2
        0005  minimum_on_time        u16  M W @1.2
        0006  minimum_cycle_period   u16  M W @1.2
    """),
    commands=(
        received(
            0x00, "manage_event",
            "issuer_event_id:u32 device_class:bm16 utility_enrollment_group:u8 actions_required:u8",
            since="1.2", must=True,
        ),
        generated(0x00, "report_event_status", _STATUS, since="1.2", must=True),
    ),
)  # fmt: skip
