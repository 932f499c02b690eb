"""The Dual Control Organisation: a party of its own, which alone knows the SUA keys.

In: who asks for what of which device, and the exact instruction; nothing about homes or users. Out: one
authorisation code for exactly that instruction, or a refusal. It checks that the service is critical,
that the role may ask for it, that the instruction is the one this service stands for, and that the
number of instructions is not out of the ordinary (anomaly limits).

Every counter is committed before it is given out, so no two codes share one, whatever is killed. Asked
again for the same instruction it gives the same code.

Rotation: the S1SP's share comes in, the DCO's is drawn here, and only the wrapped key goes out. The new
key takes the place of the old one when the device has confirmed that it holds it.
Source: TMAD 5.4A, 16.11; the formulas are an **assumption**, see `firmware.sua`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, Self

import cbor2

from smets1.errors import DecodeError, LostError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm
from smets1.firmware.sua import (
    KEY_OCTETS,
    MAX_COUNTER,
    SHARE_OCTETS,
    compute_sua,
    derive_key,
    is_confirmation,
    wrap_key,
)
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.headend.catalogue import find_variant
from smets1.headend.duis.codes import UserRole
from smets1.headend.srv import frames
from smets1.headend.srv.critical import PERMITTED, Authorisation, Instruction

__all__ = ["ANOMALY", "AnomalyLimits", "AuthorisationRequest", "Dco", "DcoFace", "RotationOffer"]

_log = logging.getLogger(__name__)

_DAY_US: Final = 86_400_000_000
_REMEMBERED: Final = 32  # given codes kept per device, to give them again
_VERSION: Final = 1
_REFUSED: Final = 0x7E  # as ZCL NOT_AUTHORIZED

ANOMALY: Final = 0x89
"""Status of a refusal by the anomaly limits (as ZCL INSUFFICIENT_SPACE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyLimits:
    """More than this in 24 hours is out of the ordinary, and refused."""

    per_device: int = 500  # a tariff is up to 30 instructions
    in_all: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorisationRequest:
    """All that the DCO is shown."""

    instruction_id: str  # the same when the same instruction is asked for again
    device: Eui64
    srv: str
    role: UserRole
    instruction: Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOffer:
    """An instruction that gives a device its next key, authorised under the present one."""

    generation: int
    instruction: Instruction
    authorisation: Authorisation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """One device's secrets. In NVM: CBOR array, in the order of the fields, after a version."""

    generation: int
    counter: int
    key: bytes = field(repr=False)
    next_key: bytes | None = field(default=None, repr=False)  # of generation + 1, not confirmed yet
    given: tuple[tuple[str, bytes, int, int], ...] = ()  # id, digest, counter, utc_us; newest last

    def encode(self) -> bytes:
        given = [list(item) for item in self.given]
        return cbor2.dumps([_VERSION, self.generation, self.counter, self.key, self.next_key, given])

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Raises LostError: our own record cannot be read."""
        try:
            value: Any = load_strict(octets)
        except DecodeError as error:
            raise LostError(f"the DCO's key store is damaged: {error}") from None
        if not isinstance(value, list) or len(value) != 6 or value[0] != _VERSION:
            raise LostError("the DCO's key store is damaged or from another version")
        _, generation, counter, key, next_key, given = value
        return cls(
            generation=generation,
            counter=counter,
            key=key,
            next_key=next_key,
            given=tuple((str(i), bytes(d), int(c), int(t)) for i, d, c, t in given),
        )


class DcoFace(Protocol):
    """All that an S1SP may ask of the DCO about Critical Instructions: see `Dco`. No key goes either way."""

    def authorise(self, request: AuthorisationRequest, *, now_utc_us: int) -> Authorisation: ...
    def offer_rotation(
        self, device: Eui64, s1sp_share: bytes, *, instruction_id: str, now_utc_us: int
    ) -> RotationOffer: ...
    def confirm_rotation(self, device: Eui64, generation: int, confirmation: bytes) -> bool: ...
    def recognises(self, device: Eui64, generation: int, confirmation: bytes) -> bool: ...
    def generation(self, device: Eui64) -> int: ...
    def is_enrolled(self, device: Eui64) -> bool: ...


class Dco:
    """Keys in `nvm`, a store that nobody else uses. `random_octets(n)` gives the DCO's key shares.

    Where several head-end workers share that store (`sql_nvm`), each has a `desk` of its own name: two of
    them never count in one record.
    """

    def __init__(
        self,
        nvm: Nvm,
        *,
        random_octets: Callable[[int], bytes],
        limits: AnomalyLimits | None = None,
        desk: str = "",
    ) -> None:
        self._nvm = nvm
        self._desk = f"given/{desk}" if desk else "given"
        self._random_octets = random_octets
        self._limits = limits or AnomalyLimits()
        self._is_behind = False  # a commit has failed

    # --- keys ---

    def enrol(self, device: Eui64, sua_key: bytes, *, generation: int = 0, counter: int = 0) -> None:
        """Take over a device's present key (16 octets). One that is enrolled already is left as it is."""
        assert len(sua_key) == KEY_OCTETS, "a SUA key has 16 octets"
        if self._nvm.get(_key(device)) is not None:
            return
        try:
            self._put(device, _Record(generation=generation, counter=counter, key=sua_key))
        except LostError:
            if self._nvm.get(_key(device)) is None:  # else another worker was first
                raise

    def set_limits(self, limits: AnomalyLimits) -> None:
        """From now on."""
        self._limits = limits

    def is_enrolled(self, device: Eui64) -> bool:
        return self._nvm.get(_key(device)) is not None

    def discard(self, device: Eui64) -> None:
        """Forget a device and all its keys: its home goes back to the SMSO. Committed; again is no error."""
        self._nvm.delete(_key(device))
        self._commit()

    def extend_package(self, hub: Eui64, device: Eui64, sua_key: bytes) -> None:
        """Add a device to its home's key package (Uplift 1.2, 7.1): until then it can be sent nothing."""
        self.enrol(device, sua_key)
        members = [*self.package_of(hub), device]
        self._nvm.put(f"package/{hub:016x}", cbor2.dumps(sorted(set(members))))
        self._commit()

    def package_of(self, hub: Eui64) -> list[Eui64]:
        """The devices of a home whose keys the DCO holds, as far as they were added by package."""
        stored = self._nvm.get(f"package/{hub:016x}")
        value: Any = [] if stored is None else load_strict(stored)
        return [device for device in value if self.is_enrolled(device)]

    def generation(self, device: Eui64) -> int:
        """Of the key in use. Raises RefusedError for a device that is not enrolled."""
        return self._get(device).generation

    # --- Critical Instructions ---

    def authorise(self, request: AuthorisationRequest, *, now_utc_us: int) -> Authorisation:
        """Consent to one instruction. Raises RefusedError with the reason, LostError."""
        record = self._get(request.device)
        variant = find_variant(request.srv)
        permissions = PERMITTED.get(request.srv)
        if variant is None or not variant.critical or permissions is None:
            raise self._refuse(request.device, f"{request.srv} is not a critical service")
        if request.role not in variant.roles:
            raise self._refuse(request.device, f"role {request.role} may not ask for {request.srv}")
        if not any(permission.allows(request.instruction) for permission in permissions):
            raise self._refuse(request.device, f"the instruction is not what {request.srv} stands for")
        return self._give(
            request.device, record, request.instruction_id, request.instruction, now_utc_us=now_utc_us
        )

    def _give(
        self,
        device: Eui64,
        record: _Record,
        instruction_id: str,
        instruction: Instruction,
        *,
        now_utc_us: int,
    ) -> Authorisation:
        digest = hashlib.sha256(instruction.octets).digest()
        for known_id, known_digest, counter, _ in record.given:
            if known_id == instruction_id:
                if not hmac.compare_digest(known_digest, digest):
                    raise self._refuse(device, "another instruction had this id")
                return self._sign(device, record, counter, instruction)
        self._check_limits(device, record, now_utc_us)
        counter = record.counter + 1
        if counter > MAX_COUNTER:
            raise self._refuse(device, "its counter is used up")
        given = (*record.given, (instruction_id, digest, counter, now_utc_us))
        keep = max(_REMEMBERED, self._limits.per_device)
        record = replace(record, counter=counter, given=given[-keep:])
        self._put(device, record, count_at_utc_us=now_utc_us)
        return self._sign(device, record, counter, instruction)

    @staticmethod
    def _sign(device: Eui64, record: _Record, counter: int, instruction: Instruction) -> Authorisation:
        sua = compute_sua(record.key, device, counter, instruction.octets)
        return Authorisation(counter=counter, sua=sua)

    def _check_limits(self, device: Eui64, record: _Record, now_utc_us: int) -> None:
        recent = sum(1 for *_, given_utc_us in record.given if given_utc_us > now_utc_us - _DAY_US)
        if recent >= self._limits.per_device:
            reason = f"{recent} instructions in 24 hours: above the anomaly limit"
            raise self._refuse(device, reason, status=ANOMALY)
        given = sum(self._given_today(key, now_utc_us)[1] for key in self._nvm.keys("given"))
        if given >= self._limits.in_all:
            reason = "too many instructions to all devices: above the anomaly limit"
            raise self._refuse(device, reason, status=ANOMALY)

    def _given_today(self, desk: str, now_utc_us: int) -> tuple[int, int]:
        """(day number, codes given on it at one desk): the overall limit counts by UTC day."""
        day = now_utc_us // _DAY_US
        stored: Any = self._nvm.get(desk)
        value = load_strict(stored) if stored is not None else None
        if isinstance(value, list) and len(value) == 2 and value[0] == day:
            return day, int(value[1])
        return day, 0

    # --- rotation ---

    def offer_rotation(
        self, device: Eui64, s1sp_share: bytes, *, instruction_id: str, now_utc_us: int
    ) -> RotationOffer:
        """The next key, made of both shares (32 octets each), wrapped, in an authorised instruction.

        While a rotation is unconfirmed the same key is offered again, whatever share comes. Raises
        RefusedError.
        """
        if len(s1sp_share) != SHARE_OCTETS:
            raise self._refuse(device, f"a key share has {SHARE_OCTETS} octets")
        record = self._get(device)
        generation = record.generation + 1
        if record.next_key is None:
            new_key = derive_key(s1sp_share, self._random_octets(SHARE_OCTETS), device, generation)
            record = replace(record, next_key=new_key)
            self._put(device, record)
        assert record.next_key is not None
        values = {"generation": generation, "wrapped_key": wrap_key(record.key, record.next_key)}
        frame = frames.command(AUTHORISATION.cluster_id, "rotate_key", values)
        instruction = Instruction(cluster_id=AUTHORISATION.cluster_id, frame=frame)
        authorisation = self._give(device, record, instruction_id, instruction, now_utc_us=now_utc_us)
        return RotationOffer(generation=generation, instruction=instruction, authorisation=authorisation)

    def recognises(self, device: Eui64, generation: int, confirmation: bytes) -> bool:
        """Whether a confirmation is true for the key in use or the one on offer; changes nothing."""
        record = self._get(device)
        keys = {record.generation: record.key, record.generation + 1: record.next_key}
        key = keys.get(generation)
        return key is not None and is_confirmation(confirmation, key, device, generation)

    def confirm_rotation(self, device: Eui64, generation: int, confirmation: bytes) -> bool:
        """A device says which key it holds (foreign octets). True where that is now the key in use.

        Saying it again is no error. A false confirmation changes nothing.
        """
        record = self._get(device)
        if generation == record.generation:
            return is_confirmation(confirmation, record.key, device, generation)
        if generation != record.generation + 1 or record.next_key is None:
            return False
        if not is_confirmation(confirmation, record.next_key, device, generation):
            _log.warning("%s gives a false key confirmation", format_eui64(device))
            return False
        self._put(device, replace(record, generation=generation, key=record.next_key, next_key=None))
        return True

    # --- the key store ---

    def _get(self, device: Eui64) -> _Record:
        """Raises RefusedError, LostError."""
        if self._is_behind:  # what could not be committed is not to be spoken of before it is
            self._commit()
        stored = self._nvm.get(_key(device))
        if stored is None:
            raise self._refuse(device, "the DCO has no SUA key for it")
        return _Record.decode(stored)

    def _put(self, device: Eui64, record: _Record, *, count_at_utc_us: int | None = None) -> None:
        self._nvm.put(_key(device), record.encode())
        if count_at_utc_us is not None:
            day, count = self._given_today(self._desk, count_at_utc_us)
            self._nvm.put(self._desk, cbor2.dumps([day, count + 1]))
        self._commit()

    def _commit(self) -> None:
        self._is_behind = True
        self._nvm.commit()
        self._is_behind = False

    @staticmethod
    def _refuse(device: Eui64, reason: str, *, status: int = _REFUSED) -> RefusedError:
        return RefusedError(status, f"{format_eui64(device)}: {reason}")


def _key(device: Eui64) -> str:
    return f"device/{device:016x}"
