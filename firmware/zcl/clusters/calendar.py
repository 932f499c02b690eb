"""Calendar (0x0707): seasons, weeks, days, special days, for tariffs and friendly credit.

Source: SE 1.2 07-5356-19, annex D.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["CALENDAR", "CalendarType"]


@unique
class CalendarType(IntEnum):
    """What the switch times of a day switch."""

    DELIVERED_CALENDAR = 0x00
    RECEIVED_CALENDAR = 0x01
    DELIVERED_AND_RECEIVED_CALENDAR = 0x02
    FRIENDLY_CREDIT_CALENDAR = 0x03
    AUXILIARY_LOAD_SWITCH_CALENDAR = 0x04


_CALENDAR = "provider_id:u32 issuer_event_id:u32 issuer_calendar_id:u32"

_COMMANDS: Final = (
    received(
        0x00, "get_calendar",
        "earliest_start_time:utc min_issuer_event_id:u32 number_of_calendars:u8 calendar_type:e8 "
        "provider_id:u32",
        since="1.2",
    ),
    received(
        0x01, "get_day_profiles",
        "provider_id:u32 issuer_calendar_id:u32 start_day_id:u8 number_of_days:u8",
        since="1.2",
    ),
    received(
        0x02, "get_week_profiles",
        "provider_id:u32 issuer_calendar_id:u32 start_week_id:u8 number_of_weeks:u8",
        since="1.2",
    ),
    received(0x03, "get_seasons", "provider_id:u32 issuer_calendar_id:u32", since="1.2"),
    received(
        0x04, "get_special_days",
        "start_time:utc number_of_events:u8 calendar_type:e8 provider_id:u32 issuer_calendar_id:u32",
        since="1.2", must=True,
    ),
    received(0x05, "get_calendar_cancellation", since="1.2", must=True),
    generated(
        0x00, "publish_calendar",
        _CALENDAR + " start_time:utc calendar_type:e8 calendar_time_reference:e8 calendar_name:octstr "
        "number_of_seasons:u8 number_of_week_profiles:u8 number_of_day_profiles:u8",
        since="1.2", must=True,
    ),
    generated(
        0x01, "publish_day_profile",  # `action`: price tier, friendly credit, or switch state by type
        _CALENDAR + " day_id:u8 total_number_of_schedule_entries:u8 command_index:u8 "
        "total_number_of_commands:u8 calendar_type:e8 entries:{start_time:u16 action:u8}*",
        since="1.2", must=True,
    ),
    generated(
        0x02, "publish_week_profile",
        _CALENDAR + " week_id:u8 day_id_ref_monday:u8 day_id_ref_tuesday:u8 day_id_ref_wednesday:u8 "
        "day_id_ref_thursday:u8 day_id_ref_friday:u8 day_id_ref_saturday:u8 day_id_ref_sunday:u8",
        since="1.2", must=True,
    ),
    generated(
        0x03, "publish_seasons",
        _CALENDAR + " command_index:u8 total_number_of_commands:u8 "
        "entries:{season_start_date:date week_id_ref:u8}*",
        since="1.2", must=True,
    ),
    generated(
        0x04, "publish_special_days",
        _CALENDAR + " start_time:utc calendar_type:e8 total_number_of_special_days:u8 "
        "command_index:u8 total_number_of_commands:u8 entries:{special_day_date:date day_id_ref:u8}*",
        since="1.2", must=True,
    ),
    generated(
        0x05, "cancel_calendar",
        "provider_id:u32 issuer_calendar_id:u32 calendar_type:e8",
        since="1.2",
    ),
)  # fmt: skip

CALENDAR: Final = Cluster(
    cluster_id=0x0707,
    name="calendar",
    server=attributes("0000  auxiliary_switch_{1..8}_label  octstr  W <=22 @1.2"),
    commands=_COMMANDS,
)
