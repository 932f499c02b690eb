"""What passes between an S1SP and a DCO that runs elsewhere: the calls of `DcoFace` and `DcoPort` as octets.

A call is a CBOR array [name, arguments...], an answer [kind, value]. There is no other way in: what is not in
`_SERVED` cannot be asked, so whoever has taken over the S1SP gets no more of the DCO than the S1SP had. The
server answers any octets and never raises; the client raises what the DCO would have raised.
**Simplified**: the time of a call is the caller's, since a rehearsal jumps through time; an S1SP that lies
about it stretches the anomaly limits, which a DCO with a clock of its own would not let it. Left out:
encryption of the way itself, which is a pipe of one machine (`dco_process`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smets1.errors import DecodeError, LostError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.headend.dco import AuthorisationRequest, Dco, RotationOffer
from smets1.headend.duis.codes import UserRole
from smets1.headend.migration.dco_desk import DcoDesk, Viability
from smets1.headend.migration.envelope import FileRefusedError
from smets1.headend.migration.files import FileKind, MigrationHeader
from smets1.headend.srv.critical import Authorisation, Instruction

__all__ = ["DcoClient", "DcoServer"]

_log = logging.getLogger(__name__)

_DONE: Final = 0
_REFUSED: Final = 1  # [status, reason]
_FILE_REFUSED: Final = 2  # [clause, reason]
_LOST: Final = 3  # the reason
_BAD: Final = 4  # the call itself was not understood
_WORD: Final = 200  # characters of an id, or less


class DcoServer:
    """The DCO's end."""

    def __init__(self, dco: Dco, desk: DcoDesk) -> None:
        self._dco = dco
        self._desk = desk

    def answer(self, octets: bytes) -> bytes:
        """Foreign octets -> the answer's octets."""
        try:
            call = load_strict(octets)
            if not isinstance(call, list) or not call or call[0] not in _SERVED:
                raise DecodeError("DCO call", 0, "there is no such call")
            forms, serve = _SERVED[call[0]]
            arguments = call[1:]
            if len(arguments) != len(forms) or not all(map(_fits, arguments, forms)):
                raise DecodeError("DCO call", 0, f"{call[0]}: its arguments do not fit")
            return cbor2.dumps([_DONE, serve(self._dco, self._desk, *arguments)])
        except FileRefusedError as error:
            return cbor2.dumps([_FILE_REFUSED, [error.clause, error.reason]])
        except RefusedError as error:
            return cbor2.dumps([_REFUSED, [error.status, error.reason]])
        except LostError as error:
            return cbor2.dumps([_LOST, str(error)])
        except (DecodeError, ValueError, TypeError, KeyError) as error:
            _log.warning("a call of the S1SP: %s", error)
            return cbor2.dumps([_BAD, "the DCO does not understand the call"])


def _fits(value: object, form: type) -> bool:
    if type(value) is not form:
        return False
    return not isinstance(value, int) or 0 <= value < 2**64


# --- the calls, server's side -------------------------------------------------------------------------


def _authorise(dco: Dco, _desk: DcoDesk, *given: Any) -> list[Any]:
    instruction_id, device, srv, role, cluster_id, frame, now_utc_us = given
    request = AuthorisationRequest(
        instruction_id=instruction_id[:_WORD],
        device=device,
        srv=srv[:_WORD],
        role=UserRole(role),
        instruction=Instruction(cluster_id=cluster_id & 0xFFFF, frame=frame),
    )
    authorisation = dco.authorise(request, now_utc_us=now_utc_us)
    return [authorisation.counter, authorisation.sua]


def _offer_rotation(dco: Dco, _desk: DcoDesk, *given: Any) -> list[Any]:
    device, share, instruction_id, now_utc_us = given
    offer = dco.offer_rotation(device, share, instruction_id=instruction_id[:_WORD], now_utc_us=now_utc_us)
    instruction, authorisation = offer.instruction, offer.authorisation
    return [
        offer.generation,
        instruction.cluster_id,
        instruction.frame,
        authorisation.counter,
        authorisation.sua,
    ]


def _take(_dco: Dco, desk: DcoDesk, *given: Any) -> None:
    kind, octets, now_utc_us = given
    desk.take(FileKind(kind), octets, now_utc_us=now_utc_us)


def _take_over(_dco: Dco, desk: DcoDesk, *given: Any) -> list[Any]:
    group_id, requesting_party, s1sp, file_set, hub, now_utc_us = given
    header = MigrationHeader(
        group_id=group_id, requesting_party=requesting_party, s1sp=s1sp, file_set=file_set
    )
    found = desk.take_over(header, hub, now_utc_us=now_utc_us)
    return [found.is_viable, found.clause, found.reason, [list(pair) for pair in found.generations]]


def _public_key(_dco: Dco, desk: DcoDesk, group_id: str) -> bytes:
    point = desk.public_key(group_id).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return bytes(point)


_SERVED: Final[dict[str, tuple[tuple[type, ...], Callable[..., Any]]]] = {
    "authorise": ((str, int, str, str, int, bytes, int), _authorise),
    "offer_rotation": ((int, bytes, str, int), _offer_rotation),
    "confirm_rotation": ((int, int, bytes), lambda dco, _desk, *given: dco.confirm_rotation(*given)),
    "recognises": ((int, int, bytes), lambda dco, _desk, *given: dco.recognises(*given)),
    "generation": ((int,), lambda dco, _desk, device: dco.generation(device)),
    "is_enrolled": ((int,), lambda dco, _desk, device: dco.is_enrolled(device)),
    "take": ((str, bytes, int), _take),
    "take_over": ((str, int, int, int, int, int), _take_over),
    "discard": ((int,), lambda _dco, desk, hub: desk.discard(hub)),
    "close": ((int,), lambda _dco, desk, file_set: desk.close(file_set)),
    "public_key": ((str,), _public_key),
}


class DcoClient:
    """The S1SP's end: a `DcoFace` and a `DcoPort`. `exchange(octets)` gives the answer, or raises LostError.

    What the DCO refuses is raised as it raised it.
    """

    def __init__(self, exchange: Callable[[bytes], bytes]) -> None:
        self._exchange = exchange

    def _call(self, name: str, *arguments: Any) -> Any:
        answer = self._exchange(cbor2.dumps([name, *arguments]))
        try:
            held: Any = load_strict(answer)
            kind, value = held
        except (DecodeError, TypeError, ValueError):
            raise LostError("the DCO's answer cannot be read") from None
        if kind == _REFUSED:
            raise RefusedError(int(value[0]), str(value[1]))
        if kind == _FILE_REFUSED:
            raise FileRefusedError(str(value[0]), str(value[1]))
        if kind != _DONE:
            raise LostError(f"the DCO: {value}")
        return value

    def authorise(self, request: AuthorisationRequest, *, now_utc_us: int) -> Authorisation:
        counter, sua = self._call(
            "authorise",
            request.instruction_id,
            request.device,
            request.srv,
            request.role.value,
            request.instruction.cluster_id,
            request.instruction.frame,
            now_utc_us,
        )
        return Authorisation(counter=counter, sua=sua)

    def offer_rotation(
        self, device: Eui64, s1sp_share: bytes, *, instruction_id: str, now_utc_us: int
    ) -> RotationOffer:
        generation, cluster_id, frame, counter, sua = self._call(
            "offer_rotation", device, s1sp_share, instruction_id, now_utc_us
        )
        return RotationOffer(
            generation=generation,
            instruction=Instruction(cluster_id=cluster_id, frame=frame),
            authorisation=Authorisation(counter=counter, sua=sua),
        )

    def confirm_rotation(self, device: Eui64, generation: int, confirmation: bytes) -> bool:
        return bool(self._call("confirm_rotation", device, generation, confirmation))

    def recognises(self, device: Eui64, generation: int, confirmation: bytes) -> bool:
        return bool(self._call("recognises", device, generation, confirmation))

    def generation(self, device: Eui64) -> int:
        return int(self._call("generation", device))

    def is_enrolled(self, device: Eui64) -> bool:
        return bool(self._call("is_enrolled", device))

    def take(self, kind: FileKind, octets: bytes, *, now_utc_us: int) -> None:
        self._call("take", kind.value, octets, now_utc_us)

    def take_over(self, header: MigrationHeader, hub: Eui64, *, now_utc_us: int) -> Viability:
        is_viable, clause, reason, generations = self._call(
            "take_over",
            header.group_id,
            header.requesting_party,
            header.s1sp,
            header.file_set,
            hub,
            now_utc_us,
        )
        pairs = tuple((device, generation) for device, generation in generations)
        return Viability(is_viable=is_viable, clause=clause, reason=reason, generations=pairs)

    def discard(self, hub: Eui64) -> None:
        self._call("discard", hub)

    def close(self, file_set: int) -> None:
        self._call("close", file_set)

    def public_key(self, group_id: str) -> ec.EllipticCurvePublicKey:
        point = self._call("public_key", group_id)
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
