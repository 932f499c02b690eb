"""Messages of a display: when they are shown, how many, confirmed once, kept over power cuts."""

from __future__ import annotations

from typing import Any

import pytest

from smets1.devices.message_list import MOST_MESSAGES, MessageList
from smets1.errors import DecodeError
from smets1.firmware.civil import zigbee_s
from smets1.firmware.nvm import MemoryNvm

NOW = 1_717_419_900_000_000
MINUTE = 60_000_000


def fields(number: int, text: str = "hello", **others: Any) -> dict[str, Any]:
    given = {"message_control": 0, "start_time": 0, "duration_in_minutes": None}
    return {"message_id": number, "message": text, **given, **others}


def texts(messages: MessageList, utc_us: int = NOW) -> list[str]:
    return [message.text for message in messages.shown(utc_us)]


def test_the_last_twenty_latest_first() -> None:
    messages = MessageList(MemoryNvm())
    for number in range(30):
        messages.take(fields(number, str(number)), utc_us=NOW)
    assert texts(messages) == [str(number) for number in range(29, 29 - MOST_MESSAGES, -1)]


def test_shown_from_its_start_to_the_end_of_its_duration() -> None:
    messages = MessageList(MemoryNvm())
    start = zigbee_s(NOW + 5 * MINUTE)
    messages.take(fields(1, start_time=start, duration_in_minutes=2), utc_us=NOW)
    shown = [
        bool(texts(messages, NOW + at)) for at in (5 * MINUTE - 1, 5 * MINUTE, 7 * MINUTE - 1, 7 * MINUTE)
    ]
    assert shown == [False, True, True, False]


def test_told_again_it_takes_its_own_place_and_cancelled_it_is_gone() -> None:
    messages = MessageList(MemoryNvm())
    messages.take(fields(1, "one", duration_in_minutes=3), utc_us=NOW)
    messages.take(fields(2, "two"), utc_us=NOW)
    messages.take(fields(1, "one", duration_in_minutes=3), utc_us=NOW + 2 * MINUTE)
    assert texts(messages, NOW + 3 * MINUTE) == ["two"], "its duration has not begun anew"
    messages.take(fields(2, "two, corrected", start_time=zigbee_s(NOW)), utc_us=NOW)
    assert texts(messages) == ["two, corrected", "one"]
    messages.cancel(2)
    messages.cancel(99)
    assert texts(messages) == ["one"]


def test_confirmed_once_and_all_of_it_outlives_a_power_cut() -> None:
    nvm = MemoryNvm()
    messages = MessageList(nvm)
    messages.take(fields(1, "read me", message_control=0x80, start_time=zigbee_s(NOW)), utc_us=NOW)
    messages.take(fields(2, "later", message_control=0x80, start_time=zigbee_s(NOW + MINUTE)), utc_us=NOW)
    nvm.commit()
    again = MessageList(nvm.after_power_cut())
    assert again.shown(NOW + MINUTE) == messages.shown(NOW + MINUTE)
    assert again.confirm(NOW) == [1]
    assert again.confirm(NOW) == []
    assert again.confirm(NOW + MINUTE) == [2], "what was not shown was not read"


def test_what_is_no_letter_is_a_blank() -> None:
    messages = MessageList(MemoryNvm())
    messages.take(fields(1, "\x1b[2Jgood\x00\nmorning\udcff £5"), utc_us=NOW)
    assert texts(messages) == ["[2Jgood morning £5"]


def test_a_damaged_record_is_refused() -> None:
    nvm = MemoryNvm({"display/messages": b"\xa1\x01\x02"})
    with pytest.raises(DecodeError):
        MessageList(nvm)
