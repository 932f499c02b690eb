"""AES-MMO hash, its HMAC, and install codes.

The hash is Matyas-Meyer-Oseas over AES-128: each block is encrypted under the hash so far, so every
block pays for a key schedule and no cipher context can be kept; all that can be saved is padding work.
HMAC-MMO keys are long-lived, so the two states after its key pads are kept for the last few keys.

Source: Zigbee 05-3474-21, B.1.3, B.1.4 and B.6; install codes: ZigBee Smart Energy 1.4, 5.4.8.1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from smets1.errors import DecodeError

__all__ = [
    "BLOCK_OCTETS",
    "INSTALL_CODE_OCTETS",
    "crc16_x25",
    "format_install_code",
    "hmac_mmo",
    "install_code_key",
    "mmo_hash",
    "parse_install_code",
]

BLOCK_OCTETS: Final = 16
INSTALL_CODE_OCTETS: Final = (6, 8, 12, 16)
"""Allowed lengths of an install code, its CRC not counted."""

_ECB: Final = modes.ECB()  # noqa: S305  one block under each key, as the hash is defined
_ZERO_STATE: Final = bytes(BLOCK_OCTETS)
_SHORT_FORM_BITS: Final = 1 << 16
_LONG_FORM_BITS: Final = 1 << 32


def mmo_hash(message: bytes) -> bytes:
    """Any message under 2^29 octets -> 16 octets. Source: Zigbee 05-3474-21, B.6."""
    return _absorb(_ZERO_STATE, message + _padding(len(message)))


def hmac_mmo(key: bytes, message: bytes) -> bytes:
    """HMAC over AES-MMO with a 16-octet block -> 16 octets; a longer key is hashed first.

    Source: Zigbee 05-3474-21, B.1.4 (FIPS 198 with hash B.6).
    """
    inner, outer = _hmac_states(key)
    digest = _absorb(inner, message + _padding(BLOCK_OCTETS + len(message)))
    return _absorb(outer, digest + _HMAC_OUTER_PADDING)


def _absorb(state: bytes, blocks: bytes) -> bytes:
    for start in range(0, len(blocks), BLOCK_OCTETS):
        block = blocks[start : start + BLOCK_OCTETS]
        cipher = Cipher(AES(state), _ECB).encryptor().update(block)
        mixed = int.from_bytes(cipher, "big") ^ int.from_bytes(block, "big")
        state = mixed.to_bytes(BLOCK_OCTETS, "big")
    return state


def _padding(size_octets: int) -> bytes:
    """A one bit, zeroes, and the length: 16 bits of it, or from 2^16 bits on 32 bits and 16 zeroes."""
    bits = size_octets * 8
    if bits < _SHORT_FORM_BITS:
        length = bits.to_bytes(2, "big")
    elif bits < _LONG_FORM_BITS:
        length = bits.to_bytes(4, "big") + b"\0\0"
    else:
        raise OverflowError("AES-MMO takes less than 2^32 bits")
    zeroes = -(size_octets + 1 + len(length)) % BLOCK_OCTETS
    return b"\x80" + bytes(zeroes) + length


_HMAC_OUTER_PADDING: Final = _padding(2 * BLOCK_OCTETS)
_INNER_PAD: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER_PAD: Final = bytes(octet ^ 0x5C for octet in range(256))


@lru_cache(maxsize=256)
def _hmac_states(key: bytes) -> tuple[bytes, bytes]:
    if len(key) > BLOCK_OCTETS:
        key = mmo_hash(key)
    key = key.ljust(BLOCK_OCTETS, b"\0")
    return _absorb(_ZERO_STATE, key.translate(_INNER_PAD)), _absorb(_ZERO_STATE, key.translate(_OUTER_PAD))


# --- install codes ------------------------------------------------------------------------------


def _crc_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = (value >> 1) ^ (0x8408 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc16_x25(octets: bytes) -> int:
    """CRC-16/X-25, 0..0xFFFF; crc16_x25(b"123456789") == 0x906E."""
    crc = 0xFFFF
    for octet in octets:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFF


def parse_install_code(octets: bytes) -> bytes:
    """Foreign octets, code and CRC (low octet first), 8, 10, 14 or 18 in all -> the code alone.

    Raises DecodeError for another length or a wrong CRC.
    """
    if len(octets) - 2 not in INSTALL_CODE_OCTETS:
        raise DecodeError("install code", len(octets), "is 6, 8, 12 or 16 octets and a 2-octet CRC")
    code, crc = octets[:-2], octets[-2:]
    if crc16_x25(code) != int.from_bytes(crc, "little"):
        raise DecodeError("install code", len(code), "the CRC does not fit the code")
    return code


def format_install_code(code: bytes) -> bytes:
    """The inverse of `parse_install_code`: appends the CRC. Raises DecodeError for a wrong length."""
    if len(code) not in INSTALL_CODE_OCTETS:
        raise DecodeError("install code", len(code), "is 6, 8, 12 or 16 octets before its CRC")
    return code + crc16_x25(code).to_bytes(2, "little")


def install_code_key(octets: bytes) -> bytes:
    """Foreign octets, code and CRC -> the 16-octet link key it stands for, MMO(code | CRC).

    Raises DecodeError as `parse_install_code` does.
    """
    parse_install_code(octets)
    return mmo_hash(octets)
