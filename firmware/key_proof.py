"""Prepayment key verification: the operator asks a meter to prove that it holds the key on its books.

**Assumption.** TMAD names the check (TMAD consultation, table 1) and not its form; this is ours:

    proof = the first 16 octets of HMAC-SHA256(prepayment key, "PPKV" | EUI-64 (8) | nonce (16))

Tokens use the key in AES-GMAC; a hash in this place makes sure that no proof says anything about a token.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from smets1.eui64 import Eui64

__all__ = ["NONCE_OCTETS", "is_prepayment_key_proof", "prove_prepayment_key"]

NONCE_OCTETS: Final = 16


def prove_prepayment_key(key: bytes, device: Eui64, nonce: bytes) -> bytes:
    """16 octets. `key` has 16 octets, `nonce` NONCE_OCTETS."""
    message = b"PPKV" + device.to_bytes(8, "big") + nonce
    return hmac.new(key, message, hashlib.sha256).digest()[:16]


def is_prepayment_key_proof(octets: bytes, key: bytes, device: Eui64, nonce: bytes) -> bool:
    """Whether foreign octets are that proof. In constant time."""
    return hmac.compare_digest(octets, prove_prepayment_key(key, device, nonce))
