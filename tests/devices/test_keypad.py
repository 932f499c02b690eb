"""Vend Mode of the Liberty 100, as its manual has it."""

from __future__ import annotations

import pytest

from smets1.devices.days import SECOND_US
from smets1.devices.keypad import DEFAULT_LOCK_US, KeypadEntry, KeypadState
from smets1.devices.tokens import REFUSALS, Refusal, TopUpResult
from smets1.errors import DecodeError
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice, ResultType

CODE = "73946144332040217315"


def result(refusal: Refusal | None = None) -> TopUpResult:
    return TopUpResult(
        result=REFUSALS[refusal].result if refusal is not None else ResultType.ACCEPTED,
        source=OriginatingDevice.METER,
        amount_mp=0 if refusal is not None else 1_000_000,
        balance_mp=0,
        refusal=refusal,
    )


def type_in(keypad: KeypadEntry, keys: str, utc_us: int = 0) -> list[str]:
    codes: list[str] = []
    for key in keys:
        codes += keypad.press(key, utc_us=utc_us)
    return codes


def test_a_opens_vend_mode_and_digits_show_in_blocks_of_five():
    keypad = KeypadEntry()
    assert keypad.lines(utc_us=0) is None
    type_in(keypad, "A1234567")
    assert keypad.lines(utc_us=0) == ["Vend Mode", "12345-67"]
    assert keypad.is_in_vend_mode


def test_a_is_backspace():
    keypad = KeypadEntry()
    type_in(keypad, "A12A3AAA9")
    assert keypad.digits == "9"


def test_b_submits():
    assert type_in(KeypadEntry(), f"A{CODE}B") == [CODE]


def test_20_s_idle_submits():
    keypad = KeypadEntry()
    type_in(keypad, f"A{CODE}", 5)
    assert keypad.next_timer_us() == 5 + 20 * SECOND_US
    assert keypad.on_timer(utc_us=4 + 20 * SECOND_US) == []
    assert keypad.on_timer(utc_us=5 + 20 * SECOND_US) == [CODE]
    assert keypad.lines(utc_us=5 + 20 * SECOND_US) == ["Vend Mode", "Wait"]


@pytest.mark.parametrize("count", [20, 40, 60])
def test_codes_come_in_multiples_of_20(count):
    assert type_in(KeypadEntry(), "A" + "1" * count + "B") == ["1" * 20] * (count // 20)


@pytest.mark.parametrize("count", [1, 19, 21, 59])
def test_anything_else_is_incomplete(count):
    assert type_in(KeypadEntry(), "A" + "1" * count + "B") == [""]


def test_more_than_60_digits_are_not_taken():
    assert type_in(KeypadEntry(), "A" + "1" * 70 + "B") == ["1" * 20] * 3


def test_nothing_typed_submits_nothing():
    keypad = KeypadEntry()
    assert type_in(keypad, "AB") == []
    assert keypad.state is KeypadState.IDLE


def test_other_keys_do_nothing():
    keypad = KeypadEntry()
    assert type_in(keypad, "5B9") == []
    assert keypad.state is KeypadState.IDLE
    keypad.press("A", utc_us=0)
    assert keypad.press("12", utc_us=0) == keypad.press("x", utc_us=0) == []
    assert keypad.digits == ""


def test_accepted_shows_amount_and_added_four_times():
    keypad = KeypadEntry()
    type_in(keypad, f"A{CODE}B")
    assert not keypad.show([result()], utc_us=0)
    shown = [keypad.lines(utc_us=2 * SECOND_US * turn) for turn in range(8)]
    assert shown == [["£10.00"], ["Added"]] * 4
    assert keypad.next_timer_us() == 16 * SECOND_US
    keypad.on_timer(utc_us=16 * SECOND_US)
    assert keypad.state is KeypadState.IDLE


@pytest.mark.parametrize("refusal", [r for r in Refusal if r is not Refusal.KEYPAD_LOCKED])
def test_a_refusal_shows_its_reason_for_4_s(refusal):
    keypad = KeypadEntry()
    type_in(keypad, f"A{CODE}B")
    keypad.show([result(refusal)], utc_us=0)
    assert keypad.lines(utc_us=4 * SECOND_US - 1) == [REFUSALS[refusal].text]
    assert keypad.lines(utc_us=4 * SECOND_US) is None
    assert keypad.press("A", utc_us=1) == []  # while it shows
    assert keypad.state is KeypadState.SHOWING


def refuse(keypad: KeypadEntry, times: int, start_us: int = 0) -> bool:
    locked = False
    for turn in range(times):
        at = start_us + turn * 60 * SECOND_US
        type_in(keypad, f"A{CODE}B", at)
        locked = keypad.show([result(Refusal.INCORRECT)], utc_us=at)
    return locked


def test_five_refused_in_a_row_lock_key_a():
    keypad = KeypadEntry()
    assert not refuse(keypad, 4)
    assert refuse(keypad, 1, 240 * SECOND_US)
    at = 240 * SECOND_US
    assert keypad.lines(utc_us=at + 4 * SECOND_US) == ["Key Locked"]
    assert keypad.lines(utc_us=at + 24 * SECOND_US) is None
    keypad.press("A", utc_us=at + 60 * SECOND_US)
    assert keypad.lines(utc_us=at + 60 * SECOND_US) == ["Key Locked"]
    assert not keypad.is_in_vend_mode
    after = at + DEFAULT_LOCK_US
    keypad.press("A", utc_us=after)
    assert keypad.is_in_vend_mode


def test_an_accepted_code_begins_the_count_anew():
    keypad = KeypadEntry()
    refuse(keypad, 4)
    type_in(keypad, f"A{CODE}B", 300 * SECOND_US)
    keypad.show([result()], utc_us=300 * SECOND_US)
    assert not refuse(keypad, 4, 400 * SECOND_US)


def test_the_lock_outlives_a_power_cut():
    keypad = KeypadEntry()
    refuse(keypad, 5)
    again = KeypadEntry.decode(keypad.encode())
    assert again.is_locked(300 * SECOND_US)
    for length in range(len(keypad.encode())):
        with pytest.raises(DecodeError):
            KeypadEntry.decode(keypad.encode()[:length])
