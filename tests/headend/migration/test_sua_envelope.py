"""EncryptedSUAKey: opened by the DCO alone, for the one device, home and group it was sealed for."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.headend.migration.samples import HUB, PKI

from smets1.errors import DecodeError, SecurityError
from smets1.headend.migration.sua_envelope import SuaCredential, open_credential, seal_credential

CREDENTIAL = SuaCredential(key=bytes(range(16)), generation=3, counter=2**40)
KEY = PKI.group_key("DA")
DEVICE = HUB + 3


def seal(ephemeral: int = 12345) -> bytes:
    return seal_credential(
        CREDENTIAL,
        device=DEVICE,
        hub=HUB,
        group_id="DA",
        recipient=KEY.public_key(),
        ephemeral=ec.derive_private_key(ephemeral, ec.SECP256R1()),
    )


def test_the_dco_opens_it() -> None:
    assert open_credential(seal(), device=DEVICE, hub=HUB, group_id="DA", key=KEY) == CREDENTIAL
    assert seal(1) != seal(2)
    assert CREDENTIAL.key.hex() not in repr(CREDENTIAL)
    assert repr(CREDENTIAL.key) not in repr(CREDENTIAL)


def test_for_nobody_and_nothing_else() -> None:
    sealed = seal()
    assert CREDENTIAL.key not in sealed
    for changes in ({"device": DEVICE + 1}, {"hub": HUB + 1}, {"group_id": "CA"}):
        given = {"device": DEVICE, "hub": HUB, "group_id": "DA"} | changes
        with pytest.raises(SecurityError):
            open_credential(sealed, key=KEY, **given)  # type: ignore[arg-type]
    with pytest.raises(SecurityError):
        open_credential(sealed, device=DEVICE, hub=HUB, group_id="DA", key=PKI.group_key("CA"))


def test_hostile_octets() -> None:
    sealed, rng = seal(), random.Random(4)
    for at in range(len(sealed)):
        for octets in (sealed[:at], sealed[:at] + bytes([sealed[at] ^ 0x10]) + sealed[at + 1 :]):
            with pytest.raises((SecurityError, DecodeError)):
                open_credential(octets, device=DEVICE, hub=HUB, group_id="DA", key=KEY)
    for _ in range(50):
        with pytest.raises((SecurityError, DecodeError)):
            open_credential(rng.randbytes(rng.randrange(200)), device=DEVICE, hub=HUB, group_id="DA", key=KEY)
    with pytest.raises(DecodeError):
        SuaCredential.decode(CREDENTIAL.encode() + b"\0")
