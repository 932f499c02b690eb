"""AES-MMO, HMAC-MMO and install codes: the examples of the Zigbee and Smart Energy specifications."""

from __future__ import annotations

from random import Random

import pytest

from smets1.errors import DecodeError
from smets1.firmware.crypto.mmo import (
    INSTALL_CODE_OCTETS,
    crc16_x25,
    format_install_code,
    hmac_mmo,
    install_code_key,
    mmo_hash,
    parse_install_code,
)


def counting(size: int) -> bytes:
    return bytes(index & 0xFF for index in range(size))


# Zigbee 05-3474-21, C.5.1 to C.5.6. From 8192 octets on the length no longer fits 16 bits; 8202 leaves
# no room for the long form in the last block.
HASHES = [
    (b"\xc0", "AE3A102A28D43EE0D4A09E22788B206C"),
    (bytes(range(0xC0, 0xD0)), "A7977E88BC0B61E8210827109A228F2D"),
    (counting(8191), "24EC2FE75BBFFCB34789BC0610E7F165"),
    (counting(8192), "DC6B0687F09F8607131C170B3BD31591"),
    (counting(8201), "72C9B15E178AA843E4A16C58E33643A3"),
    (counting(8202), "BC9828D59B2AA323DAF20BE5F2E66511"),
]

# ZigBee Smart Energy 1.4, 5.4.8.1.
INSTALL_CODES = [
    ("83FED3407A932B70", "CD4FA064773F46941EC986C09963D1A8"),
    ("83FED3407A939738C552", "A833A77434F3BFBD7A7AB97942149287"),
    ("83FED3407A939723A5C639FF4C12", "58C1828CF7F1C3FE29E7B1024AD84BFA"),
    ("83FED3407A939723A5C639B26916D505C3B5", "66B6900981E1EE3CA4206B6B861C02BB"),
]


@pytest.mark.parametrize(("message", "digest"), HASHES, ids=lambda value: str(len(value)))
def test_hash_examples(message: bytes, digest: str) -> None:
    assert mmo_hash(message).hex().upper() == digest


def test_hash_of_nothing_is_one_padded_block() -> None:
    assert len(mmo_hash(b"")) == 16


def test_lengths_around_a_block_differ() -> None:
    assert len({mmo_hash(bytes(size)) for size in range(50)}) == 50


def test_hmac_example() -> None:
    key = bytes(range(0x40, 0x50))  # C.6.1
    assert hmac_mmo(key, b"\xc0").hex().upper() == "4512807BF94CB3400F0E2C25FB76E999"


@pytest.mark.parametrize("key_octets", [0, 5, 16, 17, 32, 40])
def test_hmac_is_what_fips_198_says(key_octets: int) -> None:
    key, message = counting(key_octets), b"a message"
    block = (mmo_hash(key) if key_octets > 16 else key).ljust(16, b"\0")
    inner = mmo_hash(bytes(octet ^ 0x36 for octet in block) + message)
    assert hmac_mmo(key, message) == mmo_hash(bytes(octet ^ 0x5C for octet in block) + inner)


def test_crc_check_value() -> None:
    assert crc16_x25(b"123456789") == 0x906E


@pytest.mark.parametrize(("code", "key"), INSTALL_CODES, ids=lambda text: str(len(text)))
def test_install_code_examples(code: str, key: str) -> None:
    octets = bytes.fromhex(code)
    assert install_code_key(octets).hex().upper() == key
    assert parse_install_code(octets) == octets[:-2]
    assert format_install_code(octets[:-2]) == octets


@pytest.mark.parametrize(("code", "key"), INSTALL_CODES, ids=lambda text: str(len(text)))
def test_a_wrong_bit_in_an_install_code_is_refused(code: str, key: str) -> None:
    octets = bytes.fromhex(code)
    for bit in range(8 * len(octets)):
        wrong = bytearray(octets)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            install_code_key(bytes(wrong))


def test_hostile_install_codes() -> None:
    rng = Random(1)
    for size in range(25):
        with pytest.raises(DecodeError):
            parse_install_code(rng.randbytes(size))
        if size not in INSTALL_CODE_OCTETS:
            with pytest.raises(DecodeError):
                format_install_code(bytes(size))
