"""CCM* at security level 5 (ENC-MIC-32) and the keys derived from a link key.

One `FrameCipher` lives as long as its key: NWK and APS keep one per key, since building it costs more
than a frame does. Level 5 is the only level that ZigBee PRO and Smart Energy networks use.

Source: Zigbee 05-3474-21, annex A (CCM*), 4.5.2.2 (nonce), 4.5.3 (key hierarchy).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from smets1.errors import SecurityError
from smets1.firmware.crypto.mmo import hmac_mmo

__all__ = ["MIC_OCTETS", "NONCE_OCTETS", "FrameCipher", "key_load_key", "key_transport_key"]

MIC_OCTETS: Final = 4
NONCE_OCTETS: Final = 13
"""Source EUI-64 (8, little-endian), frame counter (4, little-endian), security control (1)."""


class FrameCipher:
    """Seals and opens frames under one 16-octet key; the key cannot be read back."""

    __slots__ = ("_decrypt", "_encrypt")

    def __init__(self, key: bytes) -> None:
        if len(key) != 16:  # AESCCM would take 24 and 32 as well; ZigBee knows AES-128 only
            raise ValueError("a ZigBee key has 16 octets")
        ccm = AESCCM(key, tag_length=MIC_OCTETS)
        self._encrypt = ccm.encrypt
        self._decrypt = ccm.decrypt

    def seal(self, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Ciphertext, as long as the plaintext, and the MIC (4). `nonce`: 13 octets, never used twice."""
        return self._encrypt(nonce, plaintext, aad)

    def open(self, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """Foreign octets, ciphertext and MIC -> plaintext.

        Raises SecurityError where the MIC is wrong or missing.
        """
        try:
            return self._decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise SecurityError("message integrity code is wrong") from None


def key_transport_key(link_key: bytes) -> bytes:
    """Protects a Transport-Key command that carries the network key. Source: 4.5.3."""
    return hmac_mmo(link_key, b"\x00")


def key_load_key(link_key: bytes) -> bytes:
    """Protects a Transport-Key command that carries a link key. Source: 4.5.3."""
    return hmac_mmo(link_key, b"\x02")
