"""CCM* ENC-MIC-32 and the keys derived from a link key."""

from __future__ import annotations

from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from smets1.errors import SecurityError
from smets1.firmware.crypto.ccm import FrameCipher, key_load_key, key_transport_key
from smets1.firmware.crypto.mmo import hmac_mmo

KEY = bytes(range(0xC0, 0xD0))
NONCE = bytes.fromhex("a0a1a2a3a4a5a6a7" + "03020100" + "05")
AAD = bytes(range(26))


def ccm_star_by_hand(key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """Zigbee 05-3474-21, A.2, straight from the text: M = 4, L = 2."""
    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update

    def pad(octets: bytes) -> bytes:
        return octets + bytes(-len(octets) % 16)

    flags = (0x40 if aad else 0) | (4 - 2) // 2 << 3 | 1
    text = bytes((flags,)) + nonce + len(plaintext).to_bytes(2, "big")
    if aad:
        text += pad(len(aad).to_bytes(2, "big") + aad)
    text += pad(plaintext)
    tag = bytes(16)
    for start in range(0, len(text), 16):
        tag = encrypt(bytes(a ^ b for a, b in zip(tag, text[start : start + 16], strict=True)))
    stream = b"".join(
        encrypt(b"\x01" + nonce + index.to_bytes(2, "big")) for index in range(len(plaintext) // 16 + 2)
    )
    sealed = bytes(a ^ b for a, b in zip(plaintext, stream[16:], strict=False))
    return sealed + bytes(a ^ b for a, b in zip(tag[:4], stream, strict=False))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 60, 100])
@pytest.mark.parametrize("aad", [b"", AAD, bytes(100)])
def test_agrees_with_the_specification_text(size: int, aad: bytes) -> None:
    plaintext = Random(size).randbytes(size)
    cipher = FrameCipher(KEY)
    sealed = cipher.seal(NONCE, aad, plaintext)
    assert sealed == ccm_star_by_hand(KEY, NONCE, aad, plaintext)
    assert cipher.open(NONCE, aad, sealed) == plaintext


def test_every_changed_bit_is_noticed() -> None:
    cipher = FrameCipher(KEY)
    sealed = cipher.seal(NONCE, AAD, b"reading")
    for index, part in enumerate((NONCE, AAD, sealed)):
        for bit in range(8 * len(part)):
            parts = [NONCE, AAD, sealed]
            changed = bytearray(part)
            changed[bit // 8] ^= 1 << bit % 8
            parts[index] = bytes(changed)
            with pytest.raises(SecurityError):
                cipher.open(*parts)


def test_truncated_and_random_octets_are_refused() -> None:
    cipher = FrameCipher(KEY)
    sealed = cipher.seal(NONCE, AAD, b"reading")
    for size in range(len(sealed)):
        with pytest.raises(SecurityError):
            cipher.open(NONCE, AAD, sealed[:size])
    rng = Random(2)
    for _ in range(200):
        with pytest.raises(SecurityError):
            cipher.open(NONCE, AAD, rng.randbytes(rng.randrange(60)))


def test_another_key_is_refused() -> None:
    sealed = FrameCipher(KEY).seal(NONCE, AAD, b"reading")
    with pytest.raises(SecurityError):
        FrameCipher(bytes(16)).open(NONCE, AAD, sealed)


@pytest.mark.parametrize("size", [0, 15, 17, 24, 32])
def test_only_aes_128_keys(size: int) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        FrameCipher(bytes(size))


def test_derived_keys() -> None:
    key = b"ZigBeeAlliance09"  # its key-transport key is well known: it opens every home-automation join
    assert key_transport_key(key).hex() == "4bab0f173e1434a2d572e1c1ef478782"
    assert key_transport_key(key) == hmac_mmo(key, b"\x00")
    assert key_load_key(key) == hmac_mmo(key, b"\x02")
    assert key_transport_key(key) != key_load_key(key)


def test_the_key_is_not_in_the_repr() -> None:
    assert KEY.hex() not in repr(FrameCipher(KEY))
