"""UTRN: the public tokens, the check digit's power, making, judging, counters."""

from __future__ import annotations

from itertools import combinations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import DecodeError, InputError
from smets1.firmware.utrn import (
    CACHE_SIZE,
    MAX_COUNTER,
    MAX_VALUE,
    CounterCache,
    TokenReason,
    Utrn,
    ValueClass,
    check_digit,
    decode_utrn,
    explain,
    find_counter,
    group_digits,
    make_utrn,
    recover_counter,
    value_for_pence,
    verify,
)

KEY = bytes(range(16))
SUPPLIER, ESME, GSME = 0x90B3D51F30010000, 0x00DB1234567890A0, 0x00DB1234567890A1

keys = st.binary(min_size=16, max_size=16)
eui64s = st.integers(0, 2**64 - 1)
counters = st.integers(0, MAX_COUNTER)
values = st.integers(0, MAX_VALUE)
classes = st.sampled_from(ValueClass)
tokens = st.builds(
    lambda **fields: Utrn(**fields).encode(),
    counter_low=st.integers(0, 1023),
    value_class=st.integers(0, 3),
    value=values,
    tag=st.binary(min_size=4, max_size=4),
)


def make(counter: int, value: int = 10, value_class: ValueClass = ValueClass.POUNDS) -> str:
    return make_utrn(
        KEY, originator=SUPPLIER, target=ESME, counter=counter, value=value, value_class=value_class
    )


# --- the table of public tokens -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("digits", "counter_low", "value_class", "value", "amount_mp"),
    [
        ("73946144332040217315", 3, ValueClass.POUNDS, 10, 1_000_000),
        ("73950067887105178605", 6, ValueClass.PENCE, 1250, 1_250_000),
        ("73943333457189043313", 1, ValueClass.POUNDS, 100, 10_000_000),
        ("73947252416745201637", 4, ValueClass.PENCE, 1234, 1_234_000),
        ("74301825837596672005", 255, 3, 7446, None),
    ],
)
def test_public_tokens(
    digits: str, counter_low: int, value_class: int, value: int, amount_mp: int | None
) -> None:
    utrn = decode_utrn(digits)
    assert (utrn.counter_low, utrn.value_class, utrn.value) == (counter_low, value_class, value)
    assert utrn.amount_mp == amount_mp
    assert utrn.encode() == digits
    assert decode_utrn(group_digits(digits)) == utrn


@pytest.mark.parametrize(
    ("digits", "reasons"),
    [
        ("74398485906172833313", (TokenReason.WRONG_CHECK_DIGIT,)),
        ("12345678901213134156", (TokenReason.WRONG_CHECK_DIGIT, TokenReason.OUT_OF_RANGE)),
        ("41951-13009-20081-87302", (TokenReason.WRONG_CHECK_DIGIT, TokenReason.OUT_OF_RANGE)),
    ],
)
def test_public_digits_that_are_no_tokens(digits: str, reasons: tuple[TokenReason, ...]) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_utrn(digits)
    assert caught.value.reason == reasons[0]
    check = verify(digits, key=KEY, originator=SUPPLIER, target=ESME, cache=CounterCache())
    assert (check.reasons, check.utrn, check.counter, check.amount_mp) == (reasons, None, None, 0)


def test_range_of_tokens() -> None:
    for pptd, good in (
        (7394156990786306047, False),
        (7394156990786306048, True),
        (7394156990786306048 + 2**57 - 1, True),
        (7394156990786306048 + 2**57, False),
    ):
        digits = f"{pptd}{check_digit(str(pptd))}"
        if good:
            assert decode_utrn(digits).encode() == digits
        else:
            with pytest.raises(DecodeError):
                decode_utrn(digits)


# --- the check digit ----------------------------------------------------------------------------


@given(tokens)
def test_check_digit_catches_every_single_digit(digits: str) -> None:
    for position in range(20):
        for other in "0123456789":
            if other != digits[position]:
                wrong = digits[:position] + other + digits[position + 1 :]
                assert check_digit(wrong[:19]) != wrong[19]


@given(tokens)
def test_check_digit_catches_every_adjacent_transposition(digits: str) -> None:
    for left in range(19):
        if digits[left] != digits[left + 1]:
            wrong = digits[:left] + digits[left + 1] + digits[left] + digits[left + 2 :]
            assert check_digit(wrong[:19]) != wrong[19]


def test_transpositions_are_caught_for_all_digits_at_all_places() -> None:
    """Not a sample: each place, each state before it (ten, by leading digits), each pair."""
    for place in range(18):
        leading = {}
        for digit in "0123456789":
            text = "7" * (place - 1) + digit if place else ""
            leading[check_digit(text) if text else ""] = text
        assert len(leading) == (10 if place else 1)
        for text in leading.values():
            for a, b in combinations("0123456789", 2):
                assert check_digit(text + a + b) != check_digit(text + b + a)


def test_a_transposition_two_apart_can_pass() -> None:
    """Nothing promises to catch these; were the digit as strong as that, the table would be wrong."""
    passed = 0
    for number in range(200):
        digits = Utrn(counter_low=number, value_class=0, value=number, tag=bytes(4)).encode()
        for left in range(18):
            wrong = list(digits)
            wrong[left], wrong[left + 2] = wrong[left + 2], wrong[left]
            if "".join(wrong) != digits:
                passed += check_digit("".join(wrong[:19])) == wrong[19]
    assert passed


# --- making and judging -------------------------------------------------------------------------


@given(keys, eui64s, eui64s, counters, values, classes)
def test_make_decode_verify(
    key: bytes, originator: int, target: int, counter: int, value: int, value_class: ValueClass
) -> None:
    digits = make_utrn(
        key, originator=originator, target=target, counter=counter, value=value, value_class=value_class
    )
    assert len(digits) == 20
    assert digits[:2] in ("73", "74", "75")
    utrn = decode_utrn(digits)
    assert (utrn.counter_low, utrn.value_class, utrn.value) == (counter % 1024, value_class, value)
    cache = CounterCache(counters=(counter - 1,) if counter else ())
    check = verify(digits, key=key, originator=originator, target=target, cache=cache)
    assert check.is_good
    assert check.counter == counter
    assert check.amount_mp == value * (100_000 if value_class is ValueClass.POUNDS else 1000)
    again = verify(digits, key=key, originator=originator, target=target, cache=cache.accept(check.counter))
    assert again.reasons == (TokenReason.DUPLICATE,)
    assert again.amount_mp == 0


def test_tag_is_the_gmac_that_gbcs_describes() -> None:
    digits = make(3)
    high_dword = 3 << 15 | 1 << 13 | 10
    aad = bytes.fromhex(
        "11" + "00000000" + "00" + "90B3D51F30010000" + "00DB1234567890A0" + "01" + "0000000300000000"
    ) + high_dword.to_bytes(4, "big")
    encryptor = Cipher(
        algorithms.AES(KEY), modes.GCM(bytes.fromhex("90B3D51F30010000" + "00000000"))
    ).encryptor()
    encryptor.authenticate_additional_data(aad)
    encryptor.finalize()
    assert decode_utrn(digits).tag == encryptor.tag[-4:]
    assert int(digits[:19]) == 7394156990786306048 + (high_dword << 32) + int.from_bytes(
        encryptor.tag[-4:], "big"
    )


def test_every_field_is_authenticated() -> None:
    utrn = decode_utrn(make(3))
    cache = CounterCache(counters=(2,))
    for wrong in (
        Utrn(counter_low=4, value_class=utrn.value_class, value=utrn.value, tag=utrn.tag),
        Utrn(counter_low=3, value_class=ValueClass.PENCE, value=utrn.value, tag=utrn.tag),
        Utrn(counter_low=3, value_class=utrn.value_class, value=11, tag=utrn.tag),
        Utrn(counter_low=3, value_class=utrn.value_class, value=10, tag=bytes(4)),
    ):
        check = verify(wrong.encode(), key=KEY, originator=SUPPLIER, target=ESME, cache=cache)
        assert check.reasons == (TokenReason.NOT_AUTHENTIC,)


@pytest.mark.parametrize(
    ("key", "originator", "target"),
    [(bytes(16), SUPPLIER, ESME), (KEY, SUPPLIER + 1, ESME), (KEY, SUPPLIER, GSME)],
    ids=["key", "originator", "target"],
)
def test_token_for_another(key: bytes, originator: int, target: int) -> None:
    check = verify(make(3), key=key, originator=originator, target=target, cache=CounterCache())
    assert check.reasons == (TokenReason.NOT_AUTHENTIC,)


def test_several_reasons_are_all_named() -> None:
    digits = Utrn(counter_low=3, value_class=2, value=10, tag=bytes(4)).encode()
    check = verify(digits, key=KEY, originator=SUPPLIER, target=ESME, cache=CounterCache())
    assert check.reasons == (TokenReason.UNKNOWN_VALUE_CLASS, TokenReason.NOT_AUTHENTIC)


@given(st.text(max_size=30) | st.text("0123456789- ", max_size=30))
def test_hostile_text(text: str) -> None:
    check = verify(text, key=KEY, originator=SUPPLIER, target=ESME, cache=CounterCache())
    assert not check.is_good
    assert explain(text)
    try:
        decode_utrn(text)
    except DecodeError as error:
        assert error.reason == check.reasons[0]


@pytest.mark.parametrize("text", ["", "7394614433204021731", "739461443320402173150", "7394614433204021731٥"])
def test_not_twenty_digits(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_utrn(text)
    assert caught.value.reason == TokenReason.NOT_20_DIGITS


def test_values_and_counters_out_of_range() -> None:
    for counter, value in ((1, -1), (1, MAX_VALUE + 1), (-1, 1), (MAX_COUNTER + 1, 1)):
        with pytest.raises(InputError):
            make(counter, value)
    with pytest.raises(ValueError, match="16 octets"):
        make_utrn(bytes(32), originator=SUPPLIER, target=ESME, counter=1, value=1)


def test_value_for_pence() -> None:
    assert value_for_pence(0) == (0, ValueClass.PENCE)
    assert value_for_pence(8191) == (8191, ValueClass.PENCE)
    assert value_for_pence(8200) == (82, ValueClass.POUNDS)
    assert value_for_pence(819_100) == (8191, ValueClass.POUNDS)
    for pence in (-1, 8192, 8250, 819_200):
        with pytest.raises(InputError):
            value_for_pence(pence)


def test_tag_is_not_in_the_repr() -> None:
    utrn = decode_utrn(make(3))
    assert "tag" not in repr(utrn)


# --- counters -----------------------------------------------------------------------------------


def test_worked_example_of_counter_recovery() -> None:
    assert recover_counter(812, 2458896167) == 2458896172


@given(counters, st.integers(-511, 511))
def test_counter_near_the_highest_is_recovered(highest: int, step: int) -> None:
    counter = highest + step
    assert recover_counter(counter % 1024, highest) == counter


def test_counter_recovery_at_the_edges() -> None:
    assert recover_counter(512, 0) == 512
    assert recover_counter(513, 0) == -511  # no such counter: the token will not be authentic
    assert recover_counter(0, 1023) == 1024
    assert recover_counter(0, 512) == 0
    assert recover_counter(0, 513) == 1024


@pytest.mark.parametrize("counter", [513, 1_700_000_000])
def test_far_counter_is_refused_at_the_keypad_and_taken_over_the_wan(counter: int) -> None:
    digits = make(counter)
    cache = CounterCache()
    keypad = verify(digits, key=KEY, originator=SUPPLIER, target=ESME, cache=cache)
    assert keypad.reasons == (TokenReason.NOT_AUTHENTIC,)
    wan = verify(digits, key=KEY, originator=SUPPLIER, target=ESME, cache=cache, counter=counter)
    assert wan.is_good
    assert wan.counter == counter
    assert any("SRV 2.2" in line for line in explain(digits, key=KEY, originator=SUPPLIER, target=ESME))


def test_counter_given_with_the_token_must_be_the_tokens() -> None:
    for counter in (4, 3 + 1024, -1021, 3 + 2**40):
        check = verify(
            make(3), key=KEY, originator=SUPPLIER, target=ESME, cache=CounterCache(), counter=counter
        )
        assert check.reasons == (TokenReason.NOT_AUTHENTIC,)


def test_find_counter() -> None:
    utrn = decode_utrn(make(5000))
    found = find_counter(utrn, key=KEY, originator=SUPPLIER, target=ESME, candidates=range(10_000))
    assert found == 5000
    assert find_counter(utrn, key=KEY, originator=SUPPLIER, target=ESME, candidates=()) is None


def test_cache_keeps_the_highest_hundred() -> None:
    cache = CounterCache()
    assert cache.highest == 0
    for counter in range(1, 2 * CACHE_SIZE + 1):
        assert cache.problem(counter) is None
        cache = cache.accept(counter)
    assert len(cache.counters) == CACHE_SIZE
    assert cache.highest == 200
    assert cache.problem(150) is TokenReason.DUPLICATE
    assert cache.problem(100) is TokenReason.TOO_OLD
    check = verify(make(100), key=KEY, originator=SUPPLIER, target=ESME, cache=cache)
    assert check.reasons == (TokenReason.TOO_OLD,)


def test_tokens_out_of_order_are_accepted_once_each() -> None:
    cache = CounterCache()
    for counter in (7, 5, 6):
        check = verify(make(counter), key=KEY, originator=SUPPLIER, target=ESME, cache=cache)
        assert check.counter == counter
        assert check.is_good
        cache = cache.accept(counter)
    for counter in (5, 6, 7):
        check = verify(make(counter), key=KEY, originator=SUPPLIER, target=ESME, cache=cache)
        assert check.reasons == (TokenReason.DUPLICATE,)


def test_counter_zero() -> None:
    """A cache that has accepted nothing does not claim to hold 0."""
    assert verify(make(0), key=KEY, originator=SUPPLIER, target=ESME, cache=CounterCache()).is_good
    cache = CounterCache().accept(0)
    assert cache.problem(0) is TokenReason.DUPLICATE


@given(st.sets(counters, max_size=CACHE_SIZE))
def test_cache_round_trip(accepted: set[int]) -> None:
    cache = CounterCache(counters=tuple(sorted(accepted)))
    octets = cache.encode()
    assert CounterCache.decode(octets) == cache
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            CounterCache.decode(octets[:size])


@given(st.binary(max_size=50))
def test_cache_from_random_octets(octets: bytes) -> None:
    try:
        assert CounterCache.decode(octets).encode() == octets
    except DecodeError:
        pass


def test_explain() -> None:
    text = "\n".join(explain("73946144332040217315"))
    for part in ("73946-14433-20402-17315", "good", "counter: 3", "10.00 pounds", "not judged"):
        assert part in text
    assert "7 would fit" in "\n".join(explain("74398485906172833313"))
    good = explain(make(3), key=KEY, originator=SUPPLIER, target=ESME)
    assert good[-1] == "accepted by 00-DB-12-34-56-78-90-A0 as counter 3"
    used = explain(make(3), key=KEY, originator=SUPPLIER, target=ESME, cache=CounterCache().accept(3))
    assert TokenReason.DUPLICATE in used[-1]
    assert "unknown class 3" in "\n".join(explain("74301825837596672005"))
