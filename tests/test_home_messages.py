"""A message of the head end at the displays, over the WAN and the HAN."""

from __future__ import annotations

from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from tshark import Step

from smets1.errors import InputError, RefusedError
from smets1.firmware.wan.messages import WanRequest, WanStatus
from smets1.firmware.zcl.clusters.messaging import MESSAGING
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.radio import COORDINATOR

NONE = ["MESSAGES", "No messages"]


async def instruct(home: Any, command: str, **fields: Any) -> None:
    """As the link of a head end hands it to the hub."""
    request = WanRequest(
        request_id=b"m" * 8,
        target=home.chf.eui64,
        expires_utc_us=home.clock.utc_us + 10**9,
        endpoint=1,
        cluster_id=MESSAGING.cluster_id,
        frame=command_frame(MESSAGING, command, fields, sender=Side.SERVER),
    )
    answer = await home.chf.execute(request)
    assert answer.status is WanStatus.DONE
    assert answer.frame[-1] == Status.SUCCESS, "the Default Response"


def pages(home: Any) -> list[list[str]]:
    return [display.screen["messages"] for display in (home.ppmid, home.ihd)]


async def test_a_message_of_the_head_end_reaches_every_display(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(seed=7)
    hub, *displays = shorts(home, "chf", "ppmid", "ihd")
    assert pages(home) == [NONE, NONE]
    text = {"message_id": 5, "message_control": 0x80, "start_time": 0, "duration_in_minutes": 60}
    await instruct(home, "display_message", **text, message="Prices change on Monday")
    await home.clock.advance(seconds=5)
    page = ["MESSAGES", "Prices change on Monday", "OK to confirm"]
    assert pages(home) == [page, page]
    while home.ihd.panel.page != "messages":
        home.ihd.press(">")
    home.ihd.press("OK")
    await home.clock.advance(seconds=5)
    assert list(home.chf.messages.confirmed) == [home.ihd.eui64]
    assert pages(home) == [page, page[:-1]]
    await home.clock.advance(minutes=60)
    assert pages(home) == [NONE, NONE], "its hour is over"
    await smets1_home.tell(
        *(Step("ZCL Messaging: Display Message", MESSAGING.cluster_id, hub, each) for each in displays),
        Step("ZCL Messaging: Message Confirmation", MESSAGING.cluster_id, displays[1], hub),
    )


async def test_taken_down_it_is_gone_everywhere(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(seed=7)
    hub, *displays = shorts(home, "chf", "ppmid", "ihd")
    number = home.chf.messages.show("Good morning")
    await home.clock.advance(seconds=5)
    assert pages(home) == [["MESSAGES", "Good morning"]] * 2
    await instruct(home, "cancel_message", message_id=number, message_control=0)
    await home.clock.advance(seconds=5)
    assert pages(home) == [NONE, NONE]
    assert home.chf.messages.show("Good night") == number + 1
    await home.clock.advance(seconds=5)
    await smets1_home.tell(
        *(
            Step(f"ZCL Messaging: {name} Message", MESSAGING.cluster_id, hub, each)
            for name in ("Display", "Cancel", "Display")
            for each in displays
        )
    )


async def test_a_display_that_was_dark_asks_and_power_cuts_forget_nothing(smets1_home: Any) -> None:
    home = await smets1_home(seed=7)
    await home.cut_power(home.ihd.eui64)
    home.chf.messages.show("While you were away")
    await home.clock.advance(minutes=5)
    await home.cut_power(home.chf.eui64)
    await home.cut_power(home.ppmid.eui64)
    await home.restore_power(home.chf.eui64)
    await home.restore_power(home.ppmid.eui64)
    assert home.ppmid.screen["messages"] == ["MESSAGES", "While you were away"], "at once, from its memory"
    await home.restore_power(home.ihd.eui64)
    await home.clock.advance(minutes=5)
    assert home.ihd.screen["messages"] == ["MESSAGES", "While you were away"]


async def test_only_the_head_end_puts_a_message_up(smets1_home: Any) -> None:
    home = await smets1_home(seed=7)
    fields = {"message_id": 9, "message_control": 0, "start_time": 0, "duration_in_minutes": 60}
    with pytest.raises(RefusedError):
        await home.ppmid.app.request(
            COORDINATOR, 1, MESSAGING, "display_message", sender=Side.SERVER, **fields, message="hello"
        )
    assert pages(home) == [NONE, NONE]
    for text in ("", "x" * 201):
        with pytest.raises(InputError):
            home.chf.messages.show(text)
