"""ZCL data types: table 2-10 of ZCL 07-5123 rev 7, and octets nobody sane sends."""

from __future__ import annotations

import math
import random

import pytest

from smets1.errors import DecodeError, MisuseError
from smets1.firmware.zcl.types import BY_ID, BY_NAME, ZclArray, ZclDate, ZclStruct, ZclTimeOfDay, type_of

# identifier, name, octets, not available: as printed in table 2-10
TABLE = [
    (0x00, "nodata", 0, None),
    *[(0x08 + n, f"data{8 * n + 8}", n + 1, None) for n in range(8)],
    (0x10, "bool", 1, None),
    *[(0x18 + n, f"bm{8 * n + 8}", n + 1, None) for n in range(8)],
    *[(0x20 + n, f"u{8 * n + 8}", n + 1, (1 << 8 * n + 8) - 1) for n in range(8)],
    *[(0x28 + n, f"i{8 * n + 8}", n + 1, -(1 << 8 * n + 7)) for n in range(8)],
    (0x30, "e8", 1, 0xFF), (0x31, "e16", 2, 0xFFFF),
    (0x38, "semi", 2, math.nan), (0x39, "single", 4, math.nan), (0x3A, "double", 8, math.nan),
    (0x41, "octstr", None, None), (0x42, "string", None, None),
    (0x43, "octstr16", None, None), (0x44, "string16", None, None),
    (0x48, "array", None, None), (0x4C, "struct", None, None), (0x50, "set", None, None), (0x51, "bag", None, None),
    (0xE0, "tod", 4, ZclTimeOfDay(255, 255, 255, 255)), (0xE1, "date", 4, ZclDate(255, 255, 255, 255)),
    (0xE2, "utc", 4, 0xFFFFFFFF), (0xE8, "cluster_id", 2, 0xFFFF), (0xE9, "attribute_id", 2, 0xFFFF),
    (0xEA, "bacnet_oid", 4, 0xFFFFFFFF), (0xF0, "eui64", 8, 0xFFFFFFFFFFFFFFFF), (0xF1, "key128", 16, None),
    (0xFF, "unknown", 0, None),
]  # fmt: skip

EXAMPLES = [
    ("u24", 0x123456, "563412"),
    ("u48", 0x4D64CC, "cc644d000000"),
    ("u56", 1, "01000000000000"),
    ("i24", -2, "feffff"),
    ("i32", -1, "ffffffff"),
    ("i48", -3, "fdffffffffff"),
    ("bool", True, "01"),
    ("bool", None, "ff"),
    ("octstr", b"\x01\x02", "020102"),
    ("octstr", None, "ff"),
    ("string", "kWh", "036b5768"),
    ("string16", "£", "0200c2a3"),
    ("octstr16", None, "ffff"),
    ("octstr16", b"x" * 300, "2c01" + "78" * 300),
    ("semi", 1.5, "003e"),
    ("single", -2.0, "000000c0"),
    ("eui64", 0x00DB1234567890A0, "a090785634 12db00".replace(" ", "")),
    ("date", ZclDate(126, 11, 20, 5), "7e0b1405"),
    ("tod", ZclTimeOfDay(23, 59, 30, 0), "173b1e00"),
    ("array", ZclArray(0x21, (1, 2)), "21020001000200"),
    ("array", None, "ffffff"),
    ("struct", ZclStruct(((0x20, 7), (0x41, b"a"))), "02002007410161"),
    ("set", ZclArray(0x20, ()), "200000"),
    ("key128", bytes(range(16)), bytes(range(16)).hex()),
]


def test_table() -> None:
    assert set(BY_ID) == {row[0] for row in TABLE}
    for type_id, name, size, invalid in TABLE:
        found = BY_ID[type_id]
        assert (found.name, found.size) == (name, size)
        assert found.invalid == invalid or (isinstance(invalid, float) and math.isnan(found.invalid))
        assert BY_NAME[name] is found


@pytest.mark.parametrize(("name", "value", "octets"), EXAMPLES)
def test_examples_and_truncation(name: str, value: object, octets: str) -> None:
    zcl_type, raw = BY_NAME[name], bytes.fromhex(octets)
    assert zcl_type.encode(value) == raw
    assert zcl_type.decode(b"\x55" + raw + b"\x55", 1) == (value, len(raw) + 1)
    for size in range(len(raw)):
        with pytest.raises(DecodeError):
            zcl_type.decode(raw[:size], 0)


@pytest.mark.parametrize("zcl_type", [row for row in BY_ID.values() if row.minimum is not None], ids=repr)
def test_integers_keep_their_range(zcl_type) -> None:  # type: ignore[no-untyped-def]
    for value in (zcl_type.minimum, zcl_type.maximum, 0, 1):
        octets = zcl_type.encode(value)
        assert len(octets) == zcl_type.size
        assert zcl_type.decode(octets, 0) == (value, zcl_type.size)
    for value in (zcl_type.minimum - 1, zcl_type.maximum + 1, "1", 1.0):
        with pytest.raises(MisuseError):
            zcl_type.encode(value)
    if zcl_type.invalid is None:
        with pytest.raises(MisuseError):
            zcl_type.encode(None)
    else:
        assert zcl_type.decode(zcl_type.encode(None), 0)[0] == zcl_type.invalid


def test_uint64_not_available_has_all_64_bits() -> None:
    assert BY_NAME["u64"].encode(None) == b"\xff" * 8


def test_random_octets_only_raise_decode_error() -> None:
    rng = random.Random(1)
    for zcl_type in BY_ID.values():
        for _ in range(300):
            octets = rng.randbytes(rng.randrange(24))
            try:
                value, end = zcl_type.decode(octets, 0)
            except DecodeError:
                continue
            assert end <= len(octets)
            again = zcl_type.encode(value)
            assert zcl_type.decode(again, 0)[1] == len(again)


def test_hostile_composites() -> None:
    with pytest.raises(DecodeError):
        BY_NAME["array"].decode(b"\x00\xfe\xff", 0)  # 65534 elements of nothing
    with pytest.raises(DecodeError):
        BY_NAME["array"].decode(b"\x48\x01\x00" * 400, 0)  # nested without end
    with pytest.raises(DecodeError):
        BY_NAME["struct"].decode(b"\x01\x00\x4c" * 400, 0)
    with pytest.raises(DecodeError):
        type_of(0x02)


def test_a_key_is_never_printed() -> None:
    with pytest.raises(MisuseError) as caught:
        BY_NAME["key128"].encode(b"secret")
    assert "secret" not in str(caught.value)
