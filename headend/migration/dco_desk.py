"""The DCO's side of a migration: it takes the files itself, and says which homes it finds viable.

It verifies and counts every file as the S1SP does and on its own, opens each EncryptedSUAKey with a
private key that nobody else has (5.4A), and gives out nothing but "viable" or a reason. It has no WAN and
no address of a home's; the S1SP has no SUA key. Its records are to lie in a store of its own, encrypted
(`headend.vault`). Source: TMAD 5.4A, 16.5, 16.7; guide 7.2.1, steps 7, 10, 12, 13 and 16.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from smets1.errors import DecodeError, RefusedError, SecurityError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm, NvmView
from smets1.headend.dco import Dco
from smets1.headend.migration.envelope import FileRefusedError, ReceivedFile, Receiver
from smets1.headend.migration.file_set import check_header, check_shape, missing_keys
from smets1.headend.migration.file_store import FileStore
from smets1.headend.migration.files import (
    FileKind,
    MigrationCommonFile,
    MigrationCommonValidationFile,
    MigrationGroupEncryptedFile,
    MigrationHeader,
)
from smets1.headend.migration.sua_envelope import SuaCredential, open_credential
from smets1.headend.migration.timers import FileSetTimes, Verdict

__all__ = ["DcoDesk", "Viability"]

_log = logging.getLogger(__name__)

_REFUSED: Final = 0x7E
_GONE: Final = "the DCO has no complete file set for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viability:
    """All that the S1SP is told. `generations`: of each meter's present key, by device."""

    is_viable: bool
    clause: str = ""
    reason: str = ""
    generations: tuple[tuple[Eui64, int], ...] = ()


class DcoDesk:
    """`group_keys`: the private key of each Group ID; `requesting_parties`, `s1sps`: whose files it takes."""

    def __init__(
        self,
        dco: Dco,
        *,
        receiver: Receiver,
        nvm: Nvm,
        group_keys: Mapping[str, ec.EllipticCurvePrivateKey],
        requesting_parties: frozenset[Eui64],
        s1sps: frozenset[Eui64],
    ) -> None:
        self._dco = dco
        self._receiver = receiver
        self._nvm = nvm
        self._group_keys = dict(group_keys)
        self._senders = {
            FileKind.MCF: requesting_parties,
            FileKind.MEF: requesting_parties,
            FileKind.MVF: s1sps,
        }
        self._files = FileStore(NvmView(nvm, "sets/"))

    def public_key(self, group_id: str) -> ec.EllipticCurvePublicKey:
        """For the SMSO. Raises KeyError for a group without a key pair."""
        return self._group_keys[group_id].public_key()

    # --- files --------------------------------------------------------------------------------------

    def take(self, kind: FileKind, octets: bytes, *, now_utc_us: int) -> None:
        """MCF, MVF or MEF. Raises FileRefusedError, and then nothing has changed."""
        if kind not in self._senders:
            raise FileRefusedError("16.5", f"the DCO Required File Set has no {kind}")
        self.expire(now_utc_us=now_utc_us)
        received = self._receiver.take(
            octets,
            kind,
            senders=self._senders[kind],
            now_utc_us=now_utc_us,
            check=lambda content: self._check(content, now_utc_us),
        )
        header = _header(received)
        times = replace(self._times(header.file_set), **{f"{kind.lower()}_utc_us": now_utc_us})
        self._put_times(header.file_set, times)
        self._files.put(header.file_set, kind, received.content, octets)

    def _check(self, content: object, now_utc_us: int) -> None:
        """Before a file counts as taken. Raises FileRefusedError."""
        if isinstance(content, MigrationCommonFile):
            if self._files.common(content.header.file_set) is not None:
                raise FileRefusedError("5.9.6", f"file set {content.header.file_set} has an MCF already")
            if content.header.group_id not in self._group_keys:
                raise FileRefusedError("5.4A", f"no key pair for Group ID {content.header.group_id}")
            return
        assert isinstance(content, MigrationCommonValidationFile | MigrationGroupEncryptedFile)
        check_header(content.header, self._files.common(content.header.file_set))
        if isinstance(content, MigrationGroupEncryptedFile):
            if self._times(content.header.file_set).is_late_mef(now_utc_us):
                raise FileRefusedError("5.20", "more than 24 hours after the MVF")
            if self._files.encrypted(content.header.file_set) is not None:
                raise FileRefusedError("5.9.6", f"file set {content.header.file_set} has an MEF already")
            check_shape(content)

    def expire(self, *, now_utc_us: int) -> list[tuple[int, Verdict]]:
        """Give up what is overdue; what was given up."""
        dropped: list[tuple[int, Verdict]] = []
        for file_set in self._files.file_sets():
            verdict = self._times(file_set).verdict(now_utc_us)
            if verdict is Verdict.DROP_SET:
                self.close(file_set)
            elif verdict is not Verdict.KEEP and self._files.encrypted(file_set) is not None:
                self._files.drop(file_set, FileKind.MEF)
            else:
                continue
            _log.warning("file set %d: %s", file_set, verdict)
            dropped.append((file_set, verdict))
        return dropped

    def close(self, file_set: int) -> None:
        """Every home of it has come to its end: nothing is kept but keys in use."""
        self._files.drop(file_set)
        self._nvm.delete(f"times/{file_set}")
        self._nvm.commit()

    # --- homes --------------------------------------------------------------------------------------

    def take_over(self, header: MigrationHeader, hub: Eui64, *, now_utc_us: int) -> Viability:
        """Whether the DCO finds a home viable (16.7); its keys are the DCO's from then on.

        The S1SP's question is its word about the MEF. Asked again the answer is the same.
        """
        self.expire(now_utc_us=now_utc_us)
        times = self._times(header.file_set)
        if times.heard_utc_us is None:
            self._put_times(header.file_set, replace(times, heard_utc_us=now_utc_us))
        home = self._files.home(header.file_set, hub)
        validated = self._files.validated(header.file_set, hub)
        encrypted = self._files.keys(header.file_set, hub)
        if home is None or validated is None or encrypted is None:
            return Viability(is_viable=False, clause="16.5", reason=_GONE)
        if validated.failures:
            return Viability(is_viable=False, clause="5.10", reason="its validation has failed")
        faults = missing_keys(home, encrypted)
        if faults:
            return Viability(is_viable=False, clause="16.7", reason="; ".join(faults)[:200])
        assert encrypted.master_key is not None
        assert encrypted.master_key.sua_keys is not None
        credentials: dict[Eui64, SuaCredential] = {}
        for detail in encrypted.master_key.sua_keys.details:
            try:
                credentials[detail.device] = open_credential(
                    detail.encrypted,
                    device=detail.device,
                    hub=hub,
                    group_id=header.group_id,
                    key=self._group_keys[header.group_id],
                )
            except (SecurityError, DecodeError):
                reason = f"EncryptedSUAKey of {format_eui64(detail.device)} does not open"
                return Viability(is_viable=False, clause="16.7", reason=reason)
        return self._enrol(hub, credentials)

    def _enrol(self, hub: Eui64, credentials: dict[Eui64, SuaCredential]) -> Viability:
        generations = []
        for device in sorted(credentials):
            credential = credentials[device]
            self._dco.enrol(
                device, credential.key, generation=credential.generation, counter=credential.counter
            )
            generations.append((device, credential.generation))
        self._nvm.put(f"home/{hub:016x}", cbor2.dumps([list(pair) for pair in generations]))
        self._nvm.commit()
        return Viability(is_viable=True, generations=tuple(generations))

    def discard(self, hub: Eui64) -> None:
        """Roll-back: the DCO deletes every key of the home (guide, 4.5.6.1). Again is no error.

        Raises RefusedError where a key was rotated since: that home has no way back (16.11), whatever the
        S1SP says of it.
        """
        stored = self._nvm.get(f"home/{hub:016x}")
        taken: Any = [] if stored is None else load_strict(stored)
        for device, generation in taken:
            if self._dco.is_enrolled(device) and self._dco.generation(device) != generation:
                reason = f"TMAD 16.11: the key of {format_eui64(device)} was rotated"
                raise RefusedError(_REFUSED, reason)
        for device, _ in taken:
            self._dco.discard(device)
        self._nvm.delete(f"home/{hub:016x}")
        self._nvm.commit()

    # --- times --------------------------------------------------------------------------------------

    def _times(self, file_set: int) -> FileSetTimes:
        stored = self._nvm.get(f"times/{file_set}")
        held: Any = load_strict(stored) if stored is not None else []
        return FileSetTimes(**dict(zip((f.name for f in fields(FileSetTimes)), held, strict=False)))

    def _put_times(self, file_set: int, times: FileSetTimes) -> None:
        values = [getattr(times, item.name) for item in fields(times)]
        self._nvm.put(f"times/{file_set}", cbor2.dumps(values))
        self._nvm.commit()


def _header(received: ReceivedFile) -> MigrationHeader:
    content = received.content
    assert isinstance(
        content, MigrationCommonFile | MigrationCommonValidationFile | MigrationGroupEncryptedFile
    )
    return content.header
