"""Strict CBOR against cbor2 (which writes it) and against what a peer must not get away with."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import DecodeError
from smets1.firmware.cbor import MAX_DEPTH, load_strict

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary()
    | st.text()
    | st.floats(allow_nan=False)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=8,
).filter(lambda value: _depth(value) <= MAX_DEPTH)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max((_depth(item) for item in value), default=0) if isinstance(value, list) else 0


@given(_values)
def test_reads_what_cbor2_writes(value: object) -> None:
    assert load_strict(cbor2.dumps(value)) == value


@given(_values)
def test_truncation_at_every_octet(value: object) -> None:
    octets = cbor2.dumps(value)
    for index in range(len(octets)):
        with pytest.raises(DecodeError):
            load_strict(octets[:index])
    with pytest.raises(DecodeError, match="after the item"):
        load_strict(octets + b"\x00")


@given(st.binary(max_size=200))
def test_random_octets(octets: bytes) -> None:
    try:
        load_strict(octets)
    except DecodeError:
        pass


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("", "ends too early"),
        ("9bffffffffffffffff", "ends too early"),  # an array of 2^64-1 items
        ("bbffffffffffffffff", "ends too early"),
        ("5bffffffffffffffff", "ends too early"),
        ("9fff", "indefinite"),
        ("5f4100ff", "indefinite"),
        ("bfff", "indefinite"),
        ("1c", "indefinite or reserved"),
        ("c11a514b67b0", "a tag"),
        ("d8236161", "a tag"),  # a regular expression
        ("d81c81d81d00", "a tag"),  # an array that holds itself
        ("a10102", "not text"),
        ("a2616101616102", "twice"),
        ("61ff", "not UTF-8"),
        ("f7", "no meaning"),  # undefined
        ("f818", "no meaning"),
        ("ff", "no meaning"),
        ("81" * 9 + "00", "too deep"),
        ("81" * 60_000 + "00", "too deep"),
        ("0000", "after the item"),
    ],
)
def test_refused(octets: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        load_strict(bytes.fromhex(octets))
