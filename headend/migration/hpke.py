"""HPKE, base mode, one message: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.

What the SMSO encrypts each device's SUA key with, to the DCO's public key (TMAD table 11.3-b). Written
from RFC 9180 with HKDF, ECDH and AES-GCM of `cryptography`; judged by the RFC's own vectors and by another
implementation. Left out: the other modes and suites, more than one message to a context, export.
Source: RFC 9180, 4, 4.1, 5.1, 6.1, 7.1; suite ids 0x0010, 0x0001, 0x0001.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from smets1.errors import SecurityError

__all__ = ["OVERHEAD_OCTETS", "open_sealed", "public_octets", "seal"]

_KEM_SUITE: Final = b"KEM\x00\x10"
_SUITE: Final = b"HPKE\x00\x10\x00\x01\x00\x01"
_POINT_OCTETS: Final = 65
_SECRET_OCTETS: Final = 32
_KEY_OCTETS: Final = 16
_NONCE_OCTETS: Final = 12
_TAG_OCTETS: Final = 16
_BASE_MODE: Final = b"\x00"

OVERHEAD_OCTETS: Final = _POINT_OCTETS + _TAG_OCTETS
"""A sealed message is this much longer than what is in it."""


def seal(
    recipient: ec.EllipticCurvePublicKey,
    plaintext: bytes,
    *,
    info: bytes,
    aad: bytes,
    ephemeral: ec.EllipticCurvePrivateKey,
) -> bytes:
    """enc (65) | ciphertext | tag (16). `ephemeral`: a P-256 key used for this one message only."""
    enc = public_octets(ephemeral.public_key())
    secret = _shared_secret(ephemeral.exchange(ec.ECDH(), recipient), enc, public_octets(recipient))
    key, nonce = _schedule(secret, info)
    return enc + AESGCM(key).encrypt(nonce, plaintext, aad)


def open_sealed(recipient: ec.EllipticCurvePrivateKey, sealed: bytes, *, info: bytes, aad: bytes) -> bytes:
    """Foreign octets -> plaintext. Raises SecurityError for anything not sealed to this key, info and aad."""
    if len(sealed) < OVERHEAD_OCTETS:
        raise SecurityError("HPKE: too short")
    enc, ciphertext = sealed[:_POINT_OCTETS], sealed[_POINT_OCTETS:]
    try:
        sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    except ValueError:
        raise SecurityError("HPKE: enc is not a point of P-256") from None
    own = public_octets(recipient.public_key())
    key, nonce = _schedule(_shared_secret(recipient.exchange(ec.ECDH(), sender), enc, own), info)
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise SecurityError("HPKE: not sealed to this key for this purpose") from None


def public_octets(key: ec.EllipticCurvePublicKey) -> bytes:
    """65 octets, uncompressed (RFC 9180, 7.1.1)."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _shared_secret(dh: bytes, enc: bytes, recipient: bytes) -> bytes:
    """ExtractAndExpand (4.1)."""
    prk = _extract(_KEM_SUITE, b"", b"eae_prk", dh)
    return _expand(_KEM_SUITE, prk, b"shared_secret", enc + recipient, _SECRET_OCTETS)


def _schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce of the base mode, whose psk and psk_id are empty (5.1)."""
    psk_id_hash = _extract(_SUITE, b"", b"psk_id_hash", b"")
    info_hash = _extract(_SUITE, b"", b"info_hash", info)
    context = _BASE_MODE + psk_id_hash + info_hash
    prk = _extract(_SUITE, secret, b"secret", b"")
    key = _expand(_SUITE, prk, b"key", context, _KEY_OCTETS)
    return key, _expand(_SUITE, prk, b"base_nonce", context, _NONCE_OCTETS)


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract (4)."""
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(b"HPKE-v1" + suite + label + ikm)
    return mac.finalize()


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand (4)."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=labelled).derive(prk)
