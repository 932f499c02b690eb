"""Fragmentation: windows with lost blocks on both sides, and blocks that no honest sender would send."""

from __future__ import annotations

import random

import pytest

from smets1.errors import DecodeError
from smets1.firmware.zigbee.aps_fragments import IncomingTransfer, OutgoingTransfer

PAYLOAD = bytes(range(256)) * 2


def carry(window: int, lost: float, seed: int) -> tuple[bytes, int]:
    """One message over a link that loses blocks and acknowledgements; what arrived, and blocks sent."""
    rng = random.Random(seed)
    out, into = OutgoingTransfer(PAYLOAD, 60, window), IncomingTransfer(None, window)
    sent, whole = 0, b""
    for _ in range(2000):
        answer = None
        while (number := out.take_block()) is not None:
            sent += 1
            if rng.random() < lost:
                continue
            if into.add(number, None if number else out.count, out.block(number)):
                whole = into.take_payload()
            answer = into.acknowledgement(number) or answer
        if answer is None or rng.random() < lost or not out.acknowledge(*answer):
            out.repeat_window()
        if out.is_done:
            return whole, sent
    raise AssertionError("it never ends")


@pytest.mark.parametrize("window", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(8))
def test_windows_with_lost_blocks_bring_the_message_whole(window: int, seed: int) -> None:
    assert carry(window, 0.0, seed) == (PAYLOAD, 9)
    whole, sent = carry(window, 0.3, seed)
    assert whole == PAYLOAD
    assert sent > 9


def test_only_what_is_missing_of_a_window_is_sent_again() -> None:
    out = OutgoingTransfer(PAYLOAD, 60, 3)
    assert [out.take_block() for _ in range(4)] == [0, 1, 2, None]
    assert out.acknowledge(0, 0b11111101)
    assert [out.take_block(), out.take_block()] == [1, None]
    assert not out.acknowledge(3, 0xFF), "of a window that was not sent yet"
    assert out.acknowledge(0, 0xFF)
    assert [out.take_block() for _ in range(4)] == [3, 4, 5, None]


def test_a_window_is_acknowledged_at_its_last_block_with_what_is_missing() -> None:
    into = IncomingTransfer(None, 3)
    assert not into.add(0, 5, b"a")
    assert into.acknowledgement(0) is None
    assert not into.add(2, None, b"c")
    assert into.acknowledgement(2) == (0, 0b11111101)
    assert not into.add(1, None, b"b")
    assert into.acknowledgement(1) == (0, 0xFF)
    assert not into.add(4, None, b"e")
    assert into.acknowledgement(4) == (3, 0b11111110), "the last window is shorter"
    assert into.add(3, None, b"d")
    assert into.take_payload() == b"abcde"
    assert not into.add(4, None, b"e"), "a repeat"
    assert into.acknowledgement(4) == (3, 0xFF)


def test_a_count_below_a_block_that_has_come_is_refused() -> None:
    into = IncomingTransfer(None, 1)
    into.add(5, None, b"f")
    with pytest.raises(DecodeError):
        into.add(0, 2, b"a")


def test_any_order_of_hostile_blocks_gives_a_message_or_decode_error() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        into = IncomingTransfer(None, rng.choice((1, 3, 8)))
        for _ in range(12):
            number, count = rng.randrange(6), rng.choice((None, None, rng.randrange(6)))
            try:
                if into.add(0 if count is not None else number, count, bytes((number,))):
                    assert into.take_payload()
                into.acknowledgement(number)
            except DecodeError:
                pass
