"""A party's records encrypted at rest: what lies on the disk tells nothing without the vault's key.

An `Nvm` around another `Nvm`: each value is AES-256-GCM under the key, with a fresh nonce and bound to its
record's name, so that no record can be put in another's place. Names stay readable. **Left out**: protection
against the whole store being set back to an older copy; devices refuse used SUA counters anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smets1.errors import LostError
from smets1.firmware.nvm import Nvm

__all__ = ["VAULT_KEY_OCTETS", "VaultNvm"]

VAULT_KEY_OCTETS: Final = 32
_NONCE_OCTETS: Final = 12


class VaultNvm:
    """Every read decrypts. `random_octets(n)` gives the nonces."""

    def __init__(self, nvm: Nvm, key: bytes, *, random_octets: Callable[[int], bytes]) -> None:
        assert len(key) == VAULT_KEY_OCTETS, "a vault key has 32 octets"
        self._nvm = nvm
        self._cipher = AESGCM(key)
        self._random_octets = random_octets

    def get(self, key: str) -> bytes | None:
        """Raises LostError where the record does not open under this key."""
        sealed = self._nvm.get(key)
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], key.encode())
        except (InvalidTag, ValueError):
            raise LostError(f"the vault's record {key} does not open under its key") from None

    def put(self, key: str, value: bytes) -> None:
        nonce = self._random_octets(_NONCE_OCTETS)
        self._nvm.put(key, nonce + self._cipher.encrypt(nonce, value, key.encode()))

    def delete(self, key: str) -> None:
        self._nvm.delete(key)

    def keys(self, prefix: str = "") -> list[str]:
        return self._nvm.keys(prefix)

    def commit(self) -> None:
        self._nvm.commit()
