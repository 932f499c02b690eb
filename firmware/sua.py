"""SUA: the one-time code without which a device obeys no Critical Instruction, and its key's rotation.

**Assumption.** The real algorithm is not public (SMETS1 MOC Secure); this module is the whole of ours,
and the only place to change where the real one is known. Device, S1SP and DCO all use it:

    SUA          = AES-CMAC(SUA key, "SUA1" | EUI-64 (8) | counter (8) | SHA-256(instruction))
    instruction  = cluster id (2) | the ZCL frame that the device is to execute
    new key      = HKDF-SHA256(S1SP share (32) | DCO share (32), "SUA key" | EUI-64 (8) | generation (4))
    on its way   = AES key wrap (RFC 3394) of the new key under the present one, 24 octets
    confirmation = AES-CMAC(key, "SUAC" | EUI-64 (8) | generation (4))

All integers big-endian. The key is bound to the device and its generation, so neither S1SP nor DCO can
steer it alone, and no wrapped key fits another meter. The counter only rises, over rotations too.

Left out: `EncryptedSUAKey` of the migration files (HPKE to the DCO; it belongs to the migration).
Sources: RFC 4493 (CMAC), RFC 5869 (HKDF), RFC 3394 (key wrap).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import ClassVar, Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from smets1.errors import DecodeError, SecurityError
from smets1.eui64 import Eui64

__all__ = [
    "KEY_OCTETS",
    "MAX_COUNTER",
    "SHARE_OCTETS",
    "SUA_OCTETS",
    "WRAPPED_KEY_OCTETS",
    "SuaProblem",
    "SuaState",
    "compute_confirmation",
    "compute_sua",
    "derive_key",
    "instruction_octets",
    "is_confirmation",
    "unwrap_key",
    "wrap_key",
]

KEY_OCTETS: Final = 16
SUA_OCTETS: Final = 16
SHARE_OCTETS: Final = 32
WRAPPED_KEY_OCTETS: Final = 24
MAX_COUNTER: Final = 0xFFFF_FFFF_FFFF_FFFF


@unique
class SuaProblem(StrEnum):
    """Why a device refuses; the `reason` of the SecurityError."""

    USED_COUNTER = "SUA counter is not above the last one used"
    WRONG_SUA = "SUA does not fit this instruction, device, counter and key"
    WRONG_GENERATION = "SUA key generation is not the next one"
    WRONG_WRAPPED_KEY = "wrapped SUA key does not open under the present key"


# --- the formulas -------------------------------------------------------------------------------


def instruction_octets(cluster_id: int, frame: bytes) -> bytes:
    """What a SUA authorises: cluster id (0..0xFFFF) and the whole ZCL frame, its sequence number too."""
    return cluster_id.to_bytes(2, "big") + frame


def compute_sua(key: bytes, device: Eui64, counter: int, instruction: bytes) -> bytes:
    """The 16-octet SUA for exactly this instruction to this device. `counter`: 0..2^64-1, never reused."""
    digest = hashlib.sha256(instruction).digest()
    return _cmac(key, b"SUA1" + device.to_bytes(8, "big") + counter.to_bytes(8, "big") + digest)


def derive_key(s1sp_share: bytes, dco_share: bytes, device: Eui64, generation: int) -> bytes:
    """The key that S1SP and DCO make together from 32 random octets each; 16 octets.

    Raises DecodeError for a share of another length: it came from the other party.
    """
    for share in (s1sp_share, dco_share):
        if len(share) != SHARE_OCTETS:
            raise DecodeError("SUA key share", len(share), f"has {SHARE_OCTETS} octets")
    info = b"SUA key" + device.to_bytes(8, "big") + generation.to_bytes(4, "big")
    kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_OCTETS, salt=None, info=info)
    return kdf.derive(s1sp_share + dco_share)


def wrap_key(present_key: bytes, new_key: bytes) -> bytes:
    """24 octets, for the RotateKey instruction."""
    return aes_key_wrap(present_key, new_key)


def unwrap_key(present_key: bytes, wrapped_key: bytes) -> bytes:
    """Foreign octets -> the new key.

    Raises DecodeError for another length than 24, SecurityError where it was not wrapped under this key.
    """
    if len(wrapped_key) != WRAPPED_KEY_OCTETS:
        raise DecodeError("wrapped SUA key", len(wrapped_key), f"has {WRAPPED_KEY_OCTETS} octets")
    try:
        return aes_key_unwrap(present_key, wrapped_key)
    except InvalidUnwrap:
        raise SecurityError(SuaProblem.WRONG_WRAPPED_KEY) from None


def compute_confirmation(key: bytes, device: Eui64, generation: int) -> bytes:
    """The 16 octets by which a device shows that it holds the key of this generation."""
    return _cmac(key, b"SUAC" + device.to_bytes(8, "big") + generation.to_bytes(4, "big"))


def is_confirmation(octets: bytes, key: bytes, device: Eui64, generation: int) -> bool:
    """Whether foreign octets are that confirmation. In constant time."""
    return hmac.compare_digest(octets, compute_confirmation(key, device, generation))


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


# --- what a device keeps ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SuaState:
    """A device's SUA keys and counter: one NVM record. Every method gives a new state to commit.

    Commit before acting: `authorise` -> commit -> execute -> answer. A rotation is `stage` -> commit ->
    answer with `confirmation` of what is returned -> `activate` -> commit. A device that dies in between
    holds both keys: the first instruction authorised under the new one completes the rotation, and one
    under the old one (the answer was lost; the S1SP asks again) stages it again.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BIQ16s?16s")
    VERSION: ClassVar[int] = 1

    generation: int  # 0..2^32-1, of `key`
    counter: int  # highest one used, 0..2^64-1; 0: none yet
    key: bytes = field(repr=False)
    next_key: bytes | None = field(default=None, repr=False)  # staged, of generation + 1

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """An NVM record. Raises DecodeError."""
        if len(octets) != cls.FORMAT.size:
            raise DecodeError("SUA state", len(octets), f"has {cls.FORMAT.size} octets")
        version, generation, counter, key, has_next, next_key = cls.FORMAT.unpack(octets)
        if version != cls.VERSION:
            raise DecodeError("SUA state", 0, f"version {version} is not known")
        return cls(generation=generation, counter=counter, key=key, next_key=next_key if has_next else None)

    def encode(self) -> bytes:
        has_next, next_key = self.next_key is not None, self.next_key or bytes(KEY_OCTETS)
        return self.FORMAT.pack(self.VERSION, self.generation, self.counter, self.key, has_next, next_key)

    def authorise(self, device: Eui64, counter: int, sua: bytes, instruction: bytes) -> Self:
        """The state in which this counter is used up. `counter`, `sua`, `instruction` are foreign.

        Raises SecurityError with a SuaProblem: nothing may be executed, and the state stays as it is, so
        that a forger cannot use up counters.
        """
        # The code is judged first: whether a counter was used is told only to who knows the key.
        if self._fits(self.key, device, counter, sua, instruction):
            state = self
        elif self.next_key and self._fits(self.next_key, device, counter, sua, instruction):
            state = self.activate()
        else:
            raise SecurityError(SuaProblem.WRONG_SUA)
        if counter <= self.counter:
            raise SecurityError(SuaProblem.USED_COUNTER)
        return replace(state, counter=counter)

    @staticmethod
    def _fits(key: bytes, device: Eui64, counter: int, sua: bytes, instruction: bytes) -> bool:
        if not 0 <= counter <= MAX_COUNTER:
            return False
        return hmac.compare_digest(sua, compute_sua(key, device, counter, instruction))

    def stage(self, generation: int, wrapped_key: bytes) -> Self:
        """The state that holds the new key beside the present one; both arguments are foreign.

        Raises DecodeError for a wrong length, SecurityError for a generation that is not the next one and
        for a key not wrapped under the present one.
        """
        if generation != self.generation + 1:
            raise SecurityError(SuaProblem.WRONG_GENERATION)
        return replace(self, next_key=unwrap_key(self.key, wrapped_key))

    def activate(self) -> Self:
        """The state without the old key; itself where none is staged."""
        if self.next_key is None:
            return self
        return replace(self, generation=self.generation + 1, key=self.next_key, next_key=None)

    def confirmation(self, device: Eui64) -> tuple[int, bytes]:
        """(generation, MAC) of the newest key held: for the answer and for every status push."""
        newest = self.activate()
        return newest.generation, compute_confirmation(newest.key, device, newest.generation)
