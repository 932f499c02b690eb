"""SUA: what is authorised, once; the rotation of its key, cut at every step."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import DecodeError, SecurityError
from smets1.firmware.sua import (
    SuaProblem,
    SuaState,
    compute_confirmation,
    compute_sua,
    derive_key,
    instruction_octets,
    is_confirmation,
    unwrap_key,
    wrap_key,
)

ESME, GSME = 0x00DB1234567890A0, 0x00DB1234567890A1
KEY, NEW_KEY = bytes(range(16)), bytes(range(16, 32))
INSTRUCTION = instruction_octets(0x0707, bytes.fromhex("010500"))


def state(**fields: int | bytes | None) -> SuaState:
    return replace(SuaState(generation=1, counter=10, key=KEY), **fields)  # type: ignore[arg-type]


def refused(problem: SuaProblem) -> pytest.RaisesExc[SecurityError]:
    return pytest.RaisesExc(SecurityError, check=lambda error: error.reason == problem)


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """RFC 4493, by hand."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update

    def double(block: bytes) -> bytes:
        value = int.from_bytes(block, "big") << 1
        return (value ^ (0x87 | 1 << 128) if value >> 128 else value).to_bytes(16, "big")

    blocks = [message[start : start + 16] for start in range(0, len(message), 16)] or [b""]
    subkey = double(encrypt(bytes(16)))
    last = blocks.pop()
    if len(last) < 16:
        last, subkey = (last + b"\x80").ljust(16, b"\0"), double(subkey)
    mac = bytes(16)
    for block in [*blocks, bytes(a ^ b for a, b in zip(last, subkey, strict=True))]:
        mac = encrypt(bytes(a ^ b for a, b in zip(mac, block, strict=True)))
    return mac


# --- the formulas -------------------------------------------------------------------------------


def test_cmac_by_hand_is_rfc_4493() -> None:
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    assert aes_cmac(key, b"").hex() == "bb1d6929e95937287fa37d129b756746"
    assert aes_cmac(key, bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")).hex() == (
        "070a16b46b4d4144f79bdd9dd04a287c"
    )


def test_sua_is_the_documented_formula() -> None:
    message = b"SUA1" + bytes.fromhex("00DB1234567890A0" + "000000000000000B")
    message += hashlib.sha256(b"\x07\x07" + bytes.fromhex("010500")).digest()
    assert compute_sua(KEY, ESME, 11, INSTRUCTION) == aes_cmac(KEY, message)


def test_confirmation_is_the_documented_formula() -> None:
    message = b"SUAC" + bytes.fromhex("00DB1234567890A0" + "00000002")
    assert compute_confirmation(NEW_KEY, ESME, 2) == aes_cmac(NEW_KEY, message)
    assert is_confirmation(aes_cmac(NEW_KEY, message), NEW_KEY, ESME, 2)
    assert not is_confirmation(aes_cmac(NEW_KEY, message), NEW_KEY, GSME, 2)
    assert not is_confirmation(aes_cmac(NEW_KEY, message), NEW_KEY, ESME, 3)
    assert not is_confirmation(aes_cmac(NEW_KEY, message), KEY, ESME, 2)
    assert not is_confirmation(b"", NEW_KEY, ESME, 2)


def test_derived_key_is_hkdf_rfc_5869() -> None:
    import hmac

    s1sp, dco = bytes(32), bytes([1]) * 32
    prk = hmac.digest(bytes(32), s1sp + dco, "sha256")
    info = b"SUA key" + bytes.fromhex("00DB1234567890A0" + "00000002")
    assert derive_key(s1sp, dco, ESME, 2) == hmac.digest(prk, info + b"\x01", "sha256")[:16]


def test_derived_key_depends_on_everything() -> None:
    first, second = bytes(32), bytes([1]) * 32
    made = [
        derive_key(first, second, ESME, 2),
        derive_key(second, first, ESME, 2),
        derive_key(first, first, ESME, 2),
        derive_key(first, second, GSME, 2),
        derive_key(first, second, ESME, 3),
    ]
    assert len(set(made)) == len(made)
    assert all(len(key) == 16 for key in made)
    for size in (0, 31, 33):
        with pytest.raises(DecodeError):
            derive_key(bytes(size), second, ESME, 2)
        with pytest.raises(DecodeError):
            derive_key(first, bytes(size), ESME, 2)


def test_key_wrap_is_rfc_3394() -> None:
    key = bytes.fromhex("000102030405060708090A0B0C0D0E0F")  # section 4.1
    data = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    wrapped = bytes.fromhex("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5")
    assert wrap_key(key, data) == wrapped
    assert unwrap_key(key, wrapped) == data


def test_hostile_wrapped_keys() -> None:
    wrapped = wrap_key(KEY, NEW_KEY)
    for size in [*range(24), 25, 32]:
        with pytest.raises(DecodeError):
            unwrap_key(KEY, wrapped.ljust(32, b"\0")[:size])
    for bit in range(8 * 24):
        wrong = bytearray(wrapped)
        wrong[bit // 8] ^= 1 << bit % 8
        with refused(SuaProblem.WRONG_WRAPPED_KEY):
            unwrap_key(KEY, bytes(wrong))
    with refused(SuaProblem.WRONG_WRAPPED_KEY):
        unwrap_key(NEW_KEY, wrapped)


# --- a device's use of it -----------------------------------------------------------------------


def test_a_good_code_uses_up_its_counter() -> None:
    before = state()
    after = before.authorise(ESME, 11, compute_sua(KEY, ESME, 11, INSTRUCTION), INSTRUCTION)
    assert after == replace(before, counter=11)


def test_counters_may_jump_but_not_return() -> None:
    after = state().authorise(ESME, 500, compute_sua(KEY, ESME, 500, INSTRUCTION), INSTRUCTION)
    for counter in (500, 499, 11, 10, 0):
        with refused(SuaProblem.USED_COUNTER):
            after.authorise(ESME, counter, compute_sua(KEY, ESME, counter, INSTRUCTION), INSTRUCTION)


def test_a_code_authorises_nothing_else() -> None:
    sua = compute_sua(KEY, ESME, 11, INSTRUCTION)
    attempts = [
        (GSME, 11, sua, INSTRUCTION),
        (ESME, 12, sua, INSTRUCTION),
        (ESME, -1, sua, INSTRUCTION),
        (ESME, 2**64, sua, INSTRUCTION),
        (ESME, 11, sua, instruction_octets(0x0708, INSTRUCTION[2:])),
        (ESME, 11, sua, INSTRUCTION + b"\0"),
        (ESME, 11, sua, b""),
        (ESME, 11, compute_sua(NEW_KEY, ESME, 11, INSTRUCTION), INSTRUCTION),
        *((ESME, 11, sua[:size], INSTRUCTION) for size in range(16)),
        (ESME, 11, sua + b"\0", INSTRUCTION),
        *((ESME, 11, bytes([*sua[:i], sua[i] ^ 1, *sua[i + 1 :]]), INSTRUCTION) for i in range(16)),
    ]
    for attempt in attempts:
        with refused(SuaProblem.WRONG_SUA):
            state().authorise(*attempt)


def test_a_forger_does_not_learn_which_counters_are_used() -> None:
    with refused(SuaProblem.WRONG_SUA):
        state().authorise(ESME, 5, bytes(16), INSTRUCTION)


# --- rotation -----------------------------------------------------------------------------------


def test_rotation() -> None:
    before = state()
    staged = before.stage(2, wrap_key(KEY, NEW_KEY))
    assert (staged.generation, staged.key, staged.next_key) == (1, KEY, NEW_KEY)
    generation, mac = staged.confirmation(ESME)
    assert generation == 2
    assert is_confirmation(mac, NEW_KEY, ESME, 2)
    after = staged.activate()
    assert after == SuaState(generation=2, counter=10, key=NEW_KEY)
    assert after.activate() is after
    assert after.confirmation(ESME) == (2, mac)
    with refused(SuaProblem.WRONG_SUA):
        after.authorise(ESME, 11, compute_sua(KEY, ESME, 11, INSTRUCTION), INSTRUCTION)
    assert after.authorise(ESME, 11, compute_sua(NEW_KEY, ESME, 11, INSTRUCTION), INSTRUCTION).counter == 11


def test_power_cut_between_staging_and_activating_the_answer_arrived() -> None:
    staged = SuaState.decode(state().stage(2, wrap_key(KEY, NEW_KEY)).encode())
    after = staged.authorise(ESME, 11, compute_sua(NEW_KEY, ESME, 11, INSTRUCTION), INSTRUCTION)
    assert after == SuaState(generation=2, counter=11, key=NEW_KEY)


def test_power_cut_between_staging_and_activating_the_answer_was_lost() -> None:
    staged = SuaState.decode(state().stage(2, wrap_key(KEY, NEW_KEY)).encode())
    other_key = bytes([9]) * 16
    again = staged.authorise(ESME, 11, compute_sua(KEY, ESME, 11, INSTRUCTION), INSTRUCTION)
    again = again.stage(2, wrap_key(KEY, other_key)).activate()
    assert again == SuaState(generation=2, counter=11, key=other_key)


def test_used_counter_under_the_new_key_completes_nothing() -> None:
    staged = state().stage(2, wrap_key(KEY, NEW_KEY))
    with refused(SuaProblem.USED_COUNTER):
        staged.authorise(ESME, 10, compute_sua(NEW_KEY, ESME, 10, INSTRUCTION), INSTRUCTION)


@pytest.mark.parametrize("generation", [-1, 0, 1, 3, 2**32])
def test_only_the_next_generation(generation: int) -> None:
    with refused(SuaProblem.WRONG_GENERATION):
        state().stage(generation, wrap_key(KEY, NEW_KEY))


# --- NVM ----------------------------------------------------------------------------------------


@given(
    st.builds(
        SuaState,
        generation=st.integers(0, 2**32 - 1),
        counter=st.integers(0, 2**64 - 1),
        key=st.binary(min_size=16, max_size=16),
        next_key=st.none() | st.binary(min_size=16, max_size=16),
    )
)
def test_record_round_trip(record: SuaState) -> None:
    octets = record.encode()
    assert SuaState.decode(octets) == record
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            SuaState.decode(octets[:size])


def test_random_records() -> None:
    rng = Random(3)
    for _ in range(300):
        octets = rng.randbytes(rng.choice((46, rng.randrange(80))))
        try:
            SuaState.decode(octets)
        except DecodeError:
            pass
    with pytest.raises(DecodeError):
        SuaState.decode(b"\x02" + state().encode()[1:])


def test_keys_are_not_in_the_repr() -> None:
    text = repr(state(next_key=NEW_KEY))
    assert repr(KEY) not in text
    assert repr(NEW_KEY) not in text
