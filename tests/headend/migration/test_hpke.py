"""HPKE: RFC 9180's vectors, another implementation, tampered messages; and EncryptedSUAKey upon it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import DecodeError, SecurityError
from smets1.headend.migration.hpke import OVERHEAD_OCTETS, open_sealed, public_octets, seal
from smets1.headend.migration.sua_envelope import SuaCredential, open_credential, seal_credential

# RFC 9180, A.3.1: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, sequence number 0.
INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
EPHEMERAL = int("4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb", 16)
RECIPIENT = int("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2", 16)
ENC = bytes.fromhex(
    "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac9"
    "8536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"
)
PUBLIC = bytes.fromhex(
    "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a82"
    "6a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0"
)
PLAINTEXT = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
AAD = bytes.fromhex("436f756e742d30")
CIPHERTEXT = bytes.fromhex(
    "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434"
)


def private(secret: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(secret, ec.SECP256R1())


def test_vectors_of_the_rfc() -> None:
    recipient = private(RECIPIENT)
    assert public_octets(recipient.public_key()) == PUBLIC
    sealed = seal(recipient.public_key(), PLAINTEXT, info=INFO, aad=AAD, ephemeral=private(EPHEMERAL))
    assert sealed == ENC + CIPHERTEXT
    assert len(sealed) == len(PLAINTEXT) + OVERHEAD_OCTETS
    assert open_sealed(recipient, sealed, info=INFO, aad=AAD) == PLAINTEXT


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_another_implementation_agrees(plaintext: bytes, info: bytes) -> None:
    """The one in `cryptography`, which has no associated data; the vectors above have."""
    hpke = pytest.importorskip("cryptography.hazmat.primitives.hpke", reason="cryptography has no HPKE yet")
    suite = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    recipient = private(RECIPIENT)
    ours = seal(recipient.public_key(), plaintext, info=info, aad=b"", ephemeral=private(EPHEMERAL))
    assert suite.decrypt(ours, recipient, info=info) == plaintext
    theirs = suite.encrypt(plaintext, recipient.public_key(), info=info)
    assert open_sealed(recipient, theirs, info=info, aad=b"") == plaintext


@pytest.mark.parametrize("at", [0, 1, 40, 64, 65, 80, -1])
def test_any_octet_changed(at: int) -> None:
    sealed = bytearray(ENC + CIPHERTEXT)
    sealed[at] ^= 1
    with pytest.raises(SecurityError):
        open_sealed(private(RECIPIENT), bytes(sealed), info=INFO, aad=AAD)


@pytest.mark.parametrize("length", [0, 1, 65, OVERHEAD_OCTETS - 1, len(ENC + CIPHERTEXT) - 1])
def test_cut_short(length: int) -> None:
    with pytest.raises(SecurityError):
        open_sealed(private(RECIPIENT), (ENC + CIPHERTEXT)[:length], info=INFO, aad=AAD)


@given(st.binary(min_size=81, max_size=200))
def test_random_octets(octets: bytes) -> None:
    with pytest.raises(SecurityError):
        open_sealed(private(RECIPIENT), octets, info=INFO, aad=AAD)


CREDENTIAL = SuaCredential(key=bytes(range(16)), generation=3, counter=77)


def sealed_credential(**changes: object) -> bytes:
    values = {"device": 0xA0, "hub": 0xA2, "group_id": "DA", **changes}
    return seal_credential(
        CREDENTIAL,
        recipient=private(RECIPIENT).public_key(),
        ephemeral=private(EPHEMERAL),
        **values,  # type: ignore[arg-type]
    )


def test_a_credential_opens_only_for_its_device_home_and_group() -> None:
    key = private(RECIPIENT)
    assert open_credential(sealed_credential(), device=0xA0, hub=0xA2, group_id="DA", key=key) == CREDENTIAL
    for other in ({"device": 0xA1}, {"hub": 0xA3}, {"group_id": "CA"}):
        with pytest.raises(SecurityError):
            open_credential(sealed_credential(**other), device=0xA0, hub=0xA2, group_id="DA", key=key)


def test_a_credential_of_another_length() -> None:
    key = private(RECIPIENT)
    info, aad = b"SMETS1 EncryptedSUAKeyDA", (0xA0).to_bytes(8, "big") + (0xA2).to_bytes(8, "big")
    short = seal(key.public_key(), bytes(27), info=info, aad=aad, ephemeral=private(EPHEMERAL))
    with pytest.raises(DecodeError):
        open_credential(short, device=0xA0, hub=0xA2, group_id="DA", key=key)


def test_a_key_is_not_shown() -> None:
    assert "00010203" not in repr(CREDENTIAL)
    assert "x00\\x01" not in repr(CREDENTIAL)
