"""The outbox: due at once, then ever more seldom, in the order added, until removed."""

from __future__ import annotations

import random

from smets1.firmware.wan.outbox import (
    FIRST_HASTE_US,
    FIRST_REPEAT_US,
    LONGEST_REPEAT_US,
    Outbox,
    OutgoingMessage,
)


def _message(message_id: str, topic: str = "t") -> OutgoingMessage:
    return OutgoingMessage(message_id=message_id, topic=topic, payload=message_id.encode())


def _ids(messages: list[OutgoingMessage]) -> list[str]:
    return [message.message_id for message in messages]


def test_repeats_back_off() -> None:
    outbox = Outbox(random.Random(1))
    outbox.add(_message("a"), now_us=0)
    now_us, waits_us = 0, []
    for _ in range(12):
        assert outbox.next_timer_us() == now_us
        assert _ids(outbox.take_due(now_us=now_us)) == ["a"]
        assert outbox.take_due(now_us=now_us) == []
        next_us = outbox.next_timer_us()
        assert next_us is not None
        waits_us.append(next_us - now_us)
        now_us = next_us
    assert 0.75 * FIRST_REPEAT_US <= waits_us[0] <= FIRST_REPEAT_US
    assert 0.75 * LONGEST_REPEAT_US <= waits_us[-1] <= LONGEST_REPEAT_US
    assert outbox.sent_count("a") == 12
    assert outbox.remove("a")
    assert not outbox.remove("a")
    assert outbox.next_timer_us() is None
    assert outbox.take_due(now_us=10**15) == []


def test_order_survives_repeats() -> None:
    outbox = Outbox(random.Random(1))
    names = [f"{number}" for number in range(50, 0, -1)]
    for name in names:
        outbox.add(_message(name), now_us=0)
    assert _ids(outbox.take_due(now_us=0)) == names
    assert _ids(outbox.take_due(now_us=FIRST_REPEAT_US)) == names
    outbox.restart(now_us=FIRST_REPEAT_US + 1)
    outbox.restart(now_us=FIRST_REPEAT_US + 1)
    outbox.remove("7")
    names.remove("7")
    assert _ids(outbox.take_due(now_us=FIRST_REPEAT_US + 1)) == names


def test_hasten_some() -> None:
    outbox = Outbox(random.Random(1))
    outbox.add(_message("a", "x"), now_us=0)
    outbox.add(_message("b", "y"), now_us=0)
    outbox.take_due(now_us=0)
    outbox.hasten(now_us=FIRST_HASTE_US, topic="y")
    assert _ids(outbox.take_due(now_us=FIRST_HASTE_US)) == ["b"]
    outbox.hasten(now_us=2 * FIRST_HASTE_US, message_id="a")
    outbox.hasten(now_us=2 * FIRST_HASTE_US, message_id="not here")
    assert _ids(outbox.take_due(now_us=2 * FIRST_HASTE_US)) == ["a"]
    assert len(outbox) == 2
    assert "a" in outbox


def test_a_line_that_breaks_every_second_is_not_flooded() -> None:
    outbox = Outbox(random.Random(1))
    outbox.add(_message("a"), now_us=0)
    for second in range(1000):
        outbox.hasten(now_us=second * 1_000_000)
        outbox.take_due(now_us=second * 1_000_000)
    assert 5 < outbox.sent_count("a") < 20
    outbox.restart(now_us=10**9)
    assert _ids(outbox.take_due(now_us=10**9)) == ["a"]


def test_same_id_replaces() -> None:
    outbox = Outbox(random.Random(1))
    outbox.add(_message("a", "old"), now_us=0)
    outbox.add(_message("a", "new"), now_us=0)
    assert [message.topic for message in outbox.take_due(now_us=0)] == ["new"]
    assert outbox.take_due(now_us=0) == []
