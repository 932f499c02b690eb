"""EncryptedSUAKey: one device's present SUA key on its way from the SMSO to the DCO.

**Assumption** (TMAD table 11.3-b is not public): HPKE (see `hpke`) to the DCO's public key of the Group ID,
with info = "SMETS1 EncryptedSUAKey" | Group ID, aad = EUI-64 of the device (8) | CHF Identifier (8), and

    plaintext = SUA key (16) | generation (4) | highest counter used (8)        integers big-endian

So a ciphertext opens only for the device, the home and the group it was made for, and the DCO goes on
counting where the SMSO stopped. The Requesting Party passes it on and learns nothing (11.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric import ec

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.sua import KEY_OCTETS
from smets1.headend.migration.hpke import open_sealed, seal

__all__ = ["SuaCredential", "open_credential", "seal_credential"]

_FORM: Final = struct.Struct(f">{KEY_OCTETS}sIQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuaCredential:
    """All that the DCO must take over of one device."""

    key: bytes = field(repr=False)
    generation: int  # 0..2^32-1
    counter: int  # 0..2^64-1, the highest used

    def encode(self) -> bytes:
        return _FORM.pack(self.key, self.generation, self.counter)

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Raises DecodeError."""
        if len(octets) != _FORM.size:
            raise DecodeError("EncryptedSUAKey", len(octets), f"holds {_FORM.size} octets")
        key, generation, counter = _FORM.unpack(octets)
        return cls(key=key, generation=generation, counter=counter)


def seal_credential(
    credential: SuaCredential,
    *,
    device: Eui64,
    hub: Eui64,
    group_id: str,
    recipient: ec.EllipticCurvePublicKey,
    ephemeral: ec.EllipticCurvePrivateKey,
) -> bytes:
    """The SMSO's side. `ephemeral` is used this once."""
    info, aad = _purpose(group_id, device, hub)
    return seal(recipient, credential.encode(), info=info, aad=aad, ephemeral=ephemeral)


def open_credential(
    sealed: bytes, *, device: Eui64, hub: Eui64, group_id: str, key: ec.EllipticCurvePrivateKey
) -> SuaCredential:
    """The DCO's side; foreign octets. Raises SecurityError, DecodeError."""
    info, aad = _purpose(group_id, device, hub)
    return SuaCredential.decode(open_sealed(key, sealed, info=info, aad=aad))


def _purpose(group_id: str, device: Eui64, hub: Eui64) -> tuple[bytes, bytes]:
    info = b"SMETS1 EncryptedSUAKey" + group_id.encode()
    return info, device.to_bytes(8, "big") + hub.to_bytes(8, "big")
