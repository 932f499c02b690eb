"""PINs: who types a wrong one three times waits; what a privacy PIN hides shows again a minute after."""

from __future__ import annotations

from smets1.devices.days import MINUTE_US, SECOND_US
from smets1.devices.pin import PIN_LOCK_US, PinGate, PrivacyLock


def typed(gate: PinGate, digits: str, pin: str, utc_us: int) -> bool:
    for digit in digits:
        gate.type(digit)
    return gate.try_typed(pin, utc_us=utc_us)


def test_three_wrong_in_a_row_lock_and_a_right_one_between_does_not_count() -> None:
    gate = PinGate()
    for _ in range(3):
        assert not typed(gate, "1111", "4711", 0)
        assert not typed(gate, "11", "4711", 0)
        assert typed(gate, "4711", "4711", 0), "two wrong ones are forgiven"
    for _ in range(3):
        assert not gate.is_locked(0)
        assert not typed(gate, "", "4711", 0)
    assert gate.is_locked(PIN_LOCK_US - 1)
    assert not typed(gate, "4711", "4711", PIN_LOCK_US - 1), "the right one, too soon"
    assert typed(gate, "4711", "4711", PIN_LOCK_US)


def test_open_for_a_minute_after_the_last_key() -> None:
    lock = PrivacyLock()
    assert not lock.is_closed(0), "no PIN, no protection"
    lock.set_pin("4711")
    assert lock.is_closed(0)
    for digit in "94711":
        lock.type(digit)
    assert lock.typed_count == 4
    assert lock.enter(0)
    lock.on_key(50 * SECOND_US)
    assert not lock.is_closed(50 * SECOND_US + MINUTE_US - 1)
    assert lock.is_closed(50 * SECOND_US + MINUTE_US)
    lock.on_key(3 * MINUTE_US)
    assert lock.is_closed(3 * MINUTE_US), "a key alone opens nothing"
    lock.set_pin("")
    assert not lock.is_closed(3 * MINUTE_US)
