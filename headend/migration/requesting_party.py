"""The Requesting Party: checks homes, files them (MCF), and hands them over (MEF).

It acts on the SMSO's books and devices and sees no key: EncryptedSUAKeys come sealed from the SMSO (11.1).
Order of TMAD: dormant homes get part 2 of their configuration; the checks and the first verification
point; MCF; after the MVF the second verification point; the account switch (5.12(e)); MEF.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from smets1.errors import NoAnswerError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.headend.migration.envelope import FileSigner, Receiver
from smets1.headend.migration.file_set import DA
from smets1.headend.migration.files import (
    EncryptedInstallation,
    FileKind,
    Installation,
    MasterKeyInformation,
    MigrationCommonFile,
    MigrationCommonValidationFile,
    MigrationGroupEncryptedFile,
    MigrationHeader,
    S1spCommissioningFile,
    SuaKeyDetails,
)
from smets1.headend.migration.mcc import Plan
from smets1.headend.migration.rp_checks import RpFailure, check_home, configuration_failures, select_devices
from smets1.headend.migration.smso import Smso

__all__ = ["HandOver", "Rejection", "RequestingParty"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_PART_2: Final = frozenset({2})
_STOPPED: Final = RpFailure(clause="4.23", reason="its supplier has stopped its migrations")
_AT_A_TIME: Final = 25  # homes that are asked at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A home that does not go on, and at which point."""

    plan: Plan
    point: str  # "before the MCF", "MVF", "before the MEF"
    failures: tuple[RpFailure, ...]


@dataclass(slots=True)
class HandOver:
    """One file set in the making."""

    header: MigrationHeader
    plans: dict[Eui64, Plan]
    homes: dict[Eui64, Installation]  # as filed
    mcf: bytes = field(repr=False)
    mef: bytes | None = field(default=None, repr=False)


class RequestingParty:
    """`dco_key`: the DCO's public key of the group."""

    def __init__(
        self,
        *,
        smso: Smso,
        signer: FileSigner,
        receiver: Receiver,
        nvm: Nvm,
        s1sp: Eui64,
        dco_key: ec.EllipticCurvePublicKey,
        now_utc_us: Callable[[], int],
    ) -> None:
        self.rejections: list[Rejection] = []
        self.on_note: Callable[[str, Eui64, str], None] = lambda _what, _hub, _text: None
        self._smso = smso
        self._signer = signer
        self._receiver = receiver
        self._nvm = nvm
        self._s1sp = s1sp
        self._dco_key = dco_key
        self._now_utc_us = now_utc_us

    # --- MCF ----------------------------------------------------------------------------------------

    async def prepare(self, plans: Sequence[Plan]) -> HandOver | None:
        """Check the homes and make the MCF of those that pass; None where none does.

        `plans` of the suppliers' priority go first.
        """
        ordered = sorted(plans, key=lambda plan: not plan.is_priority)
        entries: list[Installation] = []
        found = await _in_parts(self._prepare_home, ordered)
        for plan, (entry, failures) in zip(ordered, found, strict=True):
            if entry is None:
                self._reject(plan, "before the MCF", failures)
            else:
                entries.append(entry)
        if not entries:
            return None
        header = MigrationHeader(
            group_id=DA,
            requesting_party=self._signer.party,
            s1sp=self._s1sp,
            file_set=self._next_file_set(),
        )
        common = MigrationCommonFile(header=header, installations=tuple(entries))
        mcf = self._signer.sign(FileKind.MCF, common, now_utc_us=self._now_utc_us())
        by_hub = {plan.hub: plan for plan in plans}
        return HandOver(
            header=header,
            plans={entry.hub: by_hub[entry.hub] for entry in entries},
            homes={entry.hub: entry for entry in entries},
            mcf=mcf,
        )

    async def _prepare_home(self, plan: Plan) -> tuple[Installation | None, list[RpFailure]]:
        home = self._smso.home(plan.hub)
        devices, doubts = select_devices(home.devices, is_all_dormant=plan.is_all_dormant, chosen=home.chosen)
        only = frozenset(entry.device for entry in devices)
        if plan.is_all_dormant:
            try:
                changed = await self._smso.configure(plan.hub, parts=_PART_2, only=only)
            except (RefusedError, NoAnswerError) as error:
                return None, [RpFailure(clause="2.4.2", reason=str(error)[:160])]
            for text in changed:
                self.on_note("part 2", plan.hub, text)
        facts = await self._smso.facts(plan.hub, only=only)
        failures = [*doubts, *check_home(facts, now_utc_us=self._now_utc_us())]
        if failures:
            return None, failures
        entry = Installation(
            hub=plan.hub,
            devices=devices,
            electricity=plan.electricity,
            gas=plan.gas,
            commissioned_by=plan.commissioned_by,
            is_priority=plan.is_priority,
        )
        return entry, []

    def _reject(self, plan: Plan, point: str, failures: Sequence[RpFailure]) -> None:
        self.rejections.append(Rejection(plan=plan, point=point, failures=tuple(failures)))

    def _next_file_set(self) -> int:
        stored = self._nvm.get("file set")
        file_set = 1 if stored is None else int.from_bytes(stored, "big") + 1
        self._nvm.put("file set", file_set.to_bytes(8, "big"))
        self._nvm.commit()
        return file_set

    # --- MVF, MEF -----------------------------------------------------------------------------------

    def take_mvf(self, octets: bytes, hand_over: HandOver) -> list[Eui64]:
        """The homes that the S1SP found valid; the others are rejected. Raises FileRefusedError."""
        received = self._receiver.take(
            octets, FileKind.MVF, senders=frozenset({self._s1sp}), now_utc_us=self._now_utc_us()
        )
        mvf = received.content
        assert isinstance(mvf, MigrationCommonValidationFile)
        valid = []
        for home in mvf.installations:
            plan = hand_over.plans.get(home.hub)
            if plan is None or mvf.header != hand_over.header:
                continue
            if home.failures:
                failures = [RpFailure(clause=f.clause, reason=f.reason) for f in home.failures]
                self._reject(plan, "MVF", failures)
            else:
                valid.append(home.hub)
        return valid

    async def hand_over(
        self, hand_over: HandOver, valid: Sequence[Eui64], *, is_stopped: Callable[[Plan], bool]
    ) -> bytes | None:
        """On the day: verify again, switch the accounts, make the MEF; None where no home is left."""
        ready: list[Eui64] = []
        found = await _in_parts(self._verify_again, [hand_over.homes[hub] for hub in valid])
        for hub, failures in zip(valid, found, strict=True):
            plan = hand_over.plans[hub]
            if is_stopped(plan):
                self._reject(plan, "before the MEF", [_STOPPED])
            elif failures:
                self._reject(plan, "before the MEF", failures)
            else:
                ready.append(hub)
        if not ready:
            return None
        for hub in ready:
            self._smso.switch_to_dcc(hub)
            self.on_note("account", hub, "switched to the DCC")
        encrypted = MigrationGroupEncryptedFile(
            header=hand_over.header, installations=tuple(self._encrypted(hub) for hub in ready)
        )
        hand_over.mef = self._signer.sign(FileKind.MEF, encrypted, now_utc_us=self._now_utc_us())
        return hand_over.mef

    async def _verify_again(self, home: Installation) -> list[RpFailure]:
        """The second verification point."""
        only = frozenset(entry.device for entry in home.devices)
        differences, silent = await self._smso.verify_configuration(home.hub, only=only)
        return configuration_failures(differences, silent)

    def _encrypted(self, hub: Eui64) -> EncryptedInstallation:
        details = self._smso.encrypt_sua_keys(hub, group_id=DA, recipient=self._dco_key)
        return EncryptedInstallation(
            hub=hub,
            s1sp_group_information=None,
            master_key=MasterKeyInformation(
                encrypted_master_key=None, sua_keys=SuaKeyDetails(details=details)
            ),
        )

    # --- SCF ----------------------------------------------------------------------------------------

    def take_scf(self, octets: bytes) -> S1spCommissioningFile:
        """What came of the homes. Raises FileRefusedError."""
        received = self._receiver.take(
            octets, FileKind.SCF, senders=frozenset({self._s1sp}), now_utc_us=self._now_utc_us()
        )
        assert isinstance(received.content, S1spCommissioningFile)
        return received.content


async def _in_parts(ask: Callable[[_T], Awaitable[_R]], items: Sequence[_T]) -> list[_R]:
    """The answers, in the order of the items; not more are asked at once than a party can bear."""
    found: list[_R] = []
    for at in range(0, len(items), _AT_A_TIME):
        found += await asyncio.gather(*(ask(item) for item in items[at : at + _AT_A_TIME]))
    return found
