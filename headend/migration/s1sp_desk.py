"""The S1SP's side of a migration: validates the MCF, takes the MEF, brings each home to its end, reports.

What a home has come to is `HomeProgress`, committed before anything is done about it; a restart goes on from
there. The S1SP drives a home only as far as the DCO finds it viable, secures the GSME and then the ESME
through Critical Instructions that the DCO authorises, hands back what was confirmed not rotated, and
writes an SCF every hour for whatever has ended since. Source: TMAD 5.10, 5.25 to 5.27, 16.3 to 16.11, C1
to C6; guide 7.2.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from smets1.errors import EmulatorError, LostError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm, NvmView
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.head_end import HeadEnd
from smets1.headend.inventory import InventoryDevice
from smets1.headend.migration.checks import validate
from smets1.headend.migration.dco_desk import Viability
from smets1.headend.migration.envelope import FileRefusedError, FileSigner, Receiver
from smets1.headend.migration.file_set import DA, check_header, check_shape
from smets1.headend.migration.file_store import FileStore
from smets1.headend.migration.files import (
    FileKind,
    Installation,
    MigrationCommonFile,
    MigrationCommonValidationFile,
    MigrationGroupEncryptedFile,
    MigrationHeader,
    S1spCommissioningFile,
    S1spOutcome,
    ScfInstallation,
    ValidatedInstallation,
)
from smets1.headend.migration.probe import Prober
from smets1.headend.migration.progress import Action, HomeProgress, KeyState, Row, Stage
from smets1.headend.migration.registry import EligibleProducts, Registry
from smets1.headend.migration.separation import Interface, Separation
from smets1.headend.migration.smso import PrepaymentKey
from smets1.headend.migration.timers import FILES_WITHIN_US, INSTALLED_AHEAD_US
from smets1.headend.migration.utrn_period import Channel, Maker, rule
from smets1.headend.rotation import RotationResult

__all__ = ["AccountPort", "DcoPort", "S1spDesk", "S1spPolicy"]

_log = logging.getLogger(__name__)

_HOUR_US: Final = 3_600_000_000
_REFUSED: Final = 0x7E
_GONE: Final = (DeviceStatus.DECOMMISSIONED, DeviceStatus.WITHDRAWN)


class DcoPort(Protocol):
    """The whole of what the S1SP may ask of the DCO about a migration; see `dco_desk.DcoDesk`."""

    def take(self, kind: FileKind, octets: bytes, *, now_utc_us: int) -> None: ...
    def take_over(self, header: MigrationHeader, hub: Eui64, *, now_utc_us: int) -> Viability: ...
    def discard(self, hub: Eui64) -> None: ...
    def close(self, file_set: int) -> None: ...


class AccountPort(Protocol):
    """Where the S1SP gives a home back; the SMSO has it."""

    def hand_back(self, hub: Eui64) -> None:
        """The account is the supplier's again; again is no error."""

    def prepayment_key(self, device: Eui64) -> PrepaymentKey | None: ...
    def forget_prepayment_key(self, device: Eui64) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class S1spPolicy:
    """How patient the S1SP is: an **assumption** throughout."""

    attempt_us: int = 2 * _HOUR_US  # how long one instruction is tried; a gas meter wakes every half hour
    pause_us: int = _HOUR_US // 4  # between attempts at a meter that gives no answer
    attempts: int = 6  # then the home counts as stranded, until a late answer
    report_us: int = _HOUR_US  # SCF at least hourly (guide, step 18)
    makers: frozenset[str] = frozenset({"1057"})


@dataclass(slots=True)
class _Context:
    """What the checks of one MCF look into."""

    group_id: str
    registry: Registry
    products: EligibleProducts
    makers: frozenset[str]
    is_enrolled: Callable[[Eui64], bool]
    is_point_enrolled: Callable[[str], bool]
    is_authorised: Callable[[str], bool]
    owners: dict[Eui64, list[Eui64]] = field(default_factory=dict)  # hubs that list a device

    def seen_elsewhere(self, device: Eui64, hub: Eui64) -> bool:
        return any(other != hub for other in self.owners.get(device, ()))


class S1spDesk:
    """Make it beside a `HeadEnd`, `start` it in the event loop. Files go out by `on_file(kind, octets)`."""

    def __init__(
        self,
        *,
        head_end: HeadEnd,
        dco: DcoPort,
        accounts: AccountPort,
        signer: FileSigner,
        receiver: Receiver,
        nvm: Nvm,
        civil: CivilClock,
        prober: Prober,
        registry: Registry,
        products: EligibleProducts,
        separation: Separation,
        requesting_parties: frozenset[Eui64],
        is_authorised: Callable[[str], bool],
        policy: S1spPolicy | None = None,
    ) -> None:
        self.policy = policy or S1spPolicy()
        self.on_file: Callable[[FileKind, bytes], None] = lambda _kind, _octets: None
        self.on_change: Callable[[HomeProgress], None] = lambda _home: None
        self._head_end = head_end
        self._dco = dco
        self._accounts = accounts
        self._signer = signer
        self._receiver = receiver
        self._nvm = nvm
        self._civil = civil
        self._prober = prober
        self._registry = registry
        self._products = products
        self._separation = separation
        self._requesting_parties = requesting_parties
        self._is_authorised = is_authorised
        self._files = FileStore(NvmView(nvm, "sets/"))
        self._homes: dict[Eui64, HomeProgress] = {}
        for key in nvm.keys("home/"):
            octets = nvm.get(key)
            assert octets is not None, "listed"
            home = HomeProgress.decode(octets)
            self._homes[home.hub] = home
        self._meters: dict[Eui64, Eui64] = {}  # meter -> hub
        for home in self._homes.values():
            self._note_meters(home)
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._driven: dict[Eui64, None] = {}
        head_end.on_key_confirmed(self._on_confirmed)
        head_end.is_commissioning = self._is_commissioning
        head_end.on_commissioned(self._on_commissioned)

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with every home that is not at its end, and report hourly."""
        for hub, home in self._homes.items():
            if home.stage not in (Stage.VALIDATED, Stage.VIABLE) or self._has_keys(home):
                self._drive(hub)
        self._spawn(self._report_hourly())

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def home(self, hub: Eui64) -> HomeProgress | None:
        return self._homes.get(hub)

    def installation(self, hub: Eui64) -> Installation | None:
        home = self._homes.get(hub)
        return None if home is None else self._files.home(home.file_set, hub)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        task.add_done_callback(lambda _done: work.close())  # not yet begun where it was cancelled at once

    # --- MCF ----------------------------------------------------------------------------------------

    def take_mcf(self, octets: bytes) -> bytes:
        """Validate every home (5.10) and give the MVF, which goes to the RP and to the DCO.

        Raises FileRefusedError, RefusedError (disconnected).
        """
        self._separation.require(Interface.MIGRATION_FILES)
        now_utc_us = self._civil.utc_us()
        received = self._receiver.take(
            octets,
            FileKind.MCF,
            senders=self._requesting_parties,
            now_utc_us=now_utc_us,
            check=self._check_common,
        )
        common = received.content
        assert isinstance(common, MigrationCommonFile)
        self._files.put(common.header.file_set, FileKind.MCF, common, octets)
        mvf = MigrationCommonValidationFile(header=common.header, installations=self._validate(common))
        signed = self._signer.sign(FileKind.MVF, mvf, now_utc_us=now_utc_us)
        self._files.put(common.header.file_set, FileKind.MVF, mvf, signed)
        self._nvm.put(f"validated/{common.header.file_set}", now_utc_us.to_bytes(8, "big"))
        self._nvm.commit()
        self.on_file(FileKind.MVF, signed)
        return signed

    def _check_common(self, common: MigrationCommonFile) -> None:
        header = common.header
        if header.group_id != DA:
            raise FileRefusedError("16.1", f"this S1SP serves Group ID {DA}, not {header.group_id}")
        if header.s1sp != self._signer.party:
            raise FileRefusedError("5.9.4", "its S1SPID is that of another S1SP")
        if self._files.common(header.file_set) is not None:
            raise FileRefusedError("5.9.6", f"file set {header.file_set} has an MCF already")

    def _validate(self, common: MigrationCommonFile) -> tuple[ValidatedInstallation, ...]:
        context = _Context(
            group_id=common.header.group_id,
            registry=self._registry,
            products=self._products,
            makers=self.policy.makers,
            is_enrolled=self._is_enrolled,
            is_point_enrolled=self._is_point_enrolled,
            is_authorised=self._is_authorised,
        )
        for home in common.installations:
            for entry in home.devices:
                context.owners.setdefault(entry.device, []).append(home.hub)
        return tuple(
            ValidatedInstallation(hub=home.hub, failures=validate(home, context))
            for home in common.installations
        )

    def _is_enrolled(self, device: Eui64) -> bool:
        known = self._head_end.inventory.find(device)
        return known is not None and known.status not in _GONE

    def _is_point_enrolled(self, mpxn: str) -> bool:
        return self._head_end.inventory.is_point_known(mpxn)

    # --- MEF ----------------------------------------------------------------------------------------

    def take_mef(self, octets: bytes) -> list[Eui64]:
        """Take the encrypted file and begin with its homes; those. Raises FileRefusedError, RefusedError."""
        self._separation.require(Interface.MIGRATION_FILES)
        received = self._receiver.take(
            octets,
            FileKind.MEF,
            senders=self._requesting_parties,
            now_utc_us=self._civil.utc_us(),
            check=self._check_encrypted,
        )
        mef = received.content
        assert isinstance(mef, MigrationGroupEncryptedFile)
        self._files.put(mef.header.file_set, FileKind.MEF, mef, octets)
        begun = []
        for encrypted in mef.installations:
            home = self._files.home(mef.header.file_set, encrypted.hub)
            if home is not None and self._begin(mef.header, home):
                begun.append(encrypted.hub)
        for hub in begun:
            self._drive(hub)
        return begun

    def take_mgf(self, octets: bytes) -> None:
        """Of no use for DA: raises FileRefusedError, whatever it holds."""
        raise FileRefusedError("16.15", f"no Migration Group File is used for Group ID {DA}")

    def _check_encrypted(self, mef: MigrationGroupEncryptedFile) -> None:
        common = check_header(mef.header, self._files.common(mef.header.file_set))
        if self._files.encrypted(mef.header.file_set) is not None:
            raise FileRefusedError("5.9.6", f"file set {mef.header.file_set} has an MEF already")
        validated = self._nvm.get(f"validated/{mef.header.file_set}")
        if validated is None:
            raise FileRefusedError("16.4", f"file set {mef.header.file_set} has no MVF")
        if self._civil.utc_us() > int.from_bytes(validated, "big") + FILES_WITHIN_US:
            raise FileRefusedError("5.20", "more than 24 hours after the MVF")
        check_shape(mef)
        listed = {home.hub for home in common.installations}
        for encrypted in mef.installations:
            if encrypted.hub not in listed:
                reason = f"{format_eui64(encrypted.hub)} is not in the Migration Common File"
                raise FileRefusedError("5.25.1.1", reason)

    def _begin(self, header: MigrationHeader, home: Installation) -> bool:
        """A home of an MEF; False where it is under way or done already."""
        known = self._homes.get(home.hub)
        if known is not None and known.stage is not Stage.ROLLED_BACK:
            _log.warning("%s is %s: left as it is", format_eui64(home.hub), known.stage)
            return False
        has_gas = home.first(DeviceType.GSME) is not None
        progress = HomeProgress.begin(home.hub, file_set=header.file_set, has_gas=has_gas)
        validated = self._files.validated(header.file_set, home.hub)
        if validated is None or validated.failures:
            progress = progress.fail("5.25.1.2", "its validation has failed")
        self._keep(progress)
        self._note_meters(progress)
        return True

    # --- one home -----------------------------------------------------------------------------------

    def _keep(self, home: HomeProgress) -> HomeProgress:
        """Committed before anything is done about it."""
        self._nvm.put(f"home/{home.hub:016x}", home.encode())
        self._nvm.commit()
        self._homes[home.hub] = home
        self.on_change(home)
        return home

    def _note_meters(self, home: HomeProgress) -> None:
        installation = self._files.home(home.file_set, home.hub)
        for meter in () if installation is None else installation.meters:
            self._meters[meter] = home.hub

    def _has_keys(self, home: HomeProgress) -> bool:
        return self._files.keys(home.file_set, home.hub) is not None

    def _drive(self, hub: Eui64) -> None:
        if hub not in self._driven:
            self._driven[hub] = None
            self._spawn(self._persevere(hub))

    async def _persevere(self, hub: Eui64) -> None:
        """A DCO that is away, or a full disk, is waited for: what was noted before is where it goes on."""
        try:
            while True:
                try:
                    await self._drive_on(hub)
                    return
                except LostError as error:
                    _log.error("%s stands still for a while: %s", format_eui64(hub), error)
                    await asyncio.sleep(self.policy.pause_us / 1e6)
        finally:
            self._driven.pop(hub, None)

    async def _drive_on(self, hub: Eui64) -> None:
        """Until the home is at its end, or has to wait for a device."""
        steps: dict[Action, Callable[[HomeProgress], Coroutine[Any, Any, None]]] = {
            Action.CHECK_VIABILITY: self._check_viability,
            Action.INSTALL: self._install,
            Action.SECURE_GSME: self._secure,
            Action.SECURE_ESME: self._secure,
            Action.ROLL_BACK: self._roll_back,
        }
        while (step := steps.get(self._homes[hub].next_action)) is not None:
            await step(self._homes[hub])

    async def _check_viability(self, home: HomeProgress) -> None:
        common = self._files.common(home.file_set)
        if common is None:
            self._keep(home.fail("16.4", "its file set is gone"))
            return
        viability = self._dco.take_over(common.header, home.hub, now_utc_us=self._civil.utc_us())
        if not viability.is_viable:
            self._keep(home.fail(viability.clause, f"the DCO: {viability.reason}"))
            return
        generations = dict(viability.generations)
        gsme, esme = (self._meter(home, kind) for kind in (DeviceType.GSME, DeviceType.ESME))
        self._keep(
            home.viable(
                gsme_generation=0 if gsme is None else generations[gsme] + 1,
                esme_generation=0 if esme is None else generations[esme] + 1,
            )
        )

    def _meter(self, home: HomeProgress, kind: DeviceType) -> Eui64 | None:
        installation = self._files.home(home.file_set, home.hub)
        return None if installation is None else installation.first(kind)

    async def install_ahead(self, installation: Installation) -> tuple[str, str] | None:
        """16.9: the steps of Installing, up to 7 days before the rest. What is wrong: clause, reason."""
        fault = await self._find_fault(installation)
        if fault is None:
            self._nvm.put(f"ahead/{installation.hub:016x}", self._civil.utc_us().to_bytes(8, "big"))
            self._nvm.commit()
        return fault

    async def _install(self, home: HomeProgress) -> None:
        """C1, C2 (16.9): the hub answers, lists the gas meter, and both meters are what the MCF says."""
        stored = self._nvm.get(f"ahead/{home.hub:016x}")
        ahead_utc_us = 0 if stored is None else int.from_bytes(stored, "big")
        if self._civil.utc_us() <= ahead_utc_us + INSTALLED_AHEAD_US:
            self._keep(home.installed(now_utc_us=ahead_utc_us))
            return
        installation = self._files.home(home.file_set, home.hub)
        fault: tuple[str, str] | None = ("16.4", "its file set is gone")
        if installation is not None:
            fault = await self._find_fault(installation)
        if fault is None:
            self._keep(home.installed(now_utc_us=self._civil.utc_us()))
        else:
            self._keep(home.fail(*fault))

    async def _find_fault(self, installation: Installation) -> tuple[str, str] | None:
        clause, hub = "C1", installation.hub
        try:
            whitelist = await self._prober.whitelist(hub)
            strange = _whitelist_fault(installation, whitelist)
            if strange is not None:
                return "16.12", strange
            for kind, clause in ((DeviceType.ESME, "C1"), (DeviceType.GSME, "C2")):
                for entry in installation.of_type(kind):
                    held = await self._prober.identity(hub, entry.device)
                    found = (held.get("model"), held.get("firmware_version"))
                    if found != (entry.model, int(entry.firmware, 16)):
                        return (
                            clause,
                            f"the {kind} says it is {found[0]} {found[1] or 0:08X}, not {entry.model}",
                        )
        except (NoAnswerError, RefusedError) as error:
            return clause, str(error)[:160]
        return None

    async def _secure(self, home: HomeProgress) -> None:
        """One attempt at the meter whose turn it is (C5, then C6); never ahead of its day (16.10)."""
        now_utc_us = self._civil.utc_us()
        if home.stage is Stage.INSTALLED:
            if now_utc_us > home.installed_utc_us + INSTALLED_AHEAD_US:
                self._keep(home.reinstall())
                return
            home = self._keep(home.securing(now_utc_us=now_utc_us))
        is_gas = home.next_action is Action.SECURE_GSME
        device = self._meter(home, DeviceType.GSME if is_gas else DeviceType.ESME)
        if device is None:
            self._keep(home.strand("16.4", "its file set is gone"))
            return
        if home.attempts >= self.policy.attempts:
            self._keep(
                home.strand("16.11", f"no answer of the {'GSME' if is_gas else 'ESME'}: its key is unknown")
            )
            return
        if (home.gsme if is_gas else home.esme) is KeyState.UNKNOWN and home.attempts:
            await asyncio.sleep(self.policy.pause_us / 1e6)
            home = self._homes[home.hub]
            if home.next_action is not (Action.SECURE_GSME if is_gas else Action.SECURE_ESME):
                return  # a status push has come meanwhile
        home = self._keep(home.asking())
        result = await self._head_end.rotate_sua_key(
            device,
            hub=home.hub,
            generation=home.gsme_generation if is_gas else home.esme_generation,
            lifetime_us=self.policy.attempt_us,
        )
        self._answer(home.hub, is_gas=is_gas, state=_KEY_STATES[result])

    def _answer(self, hub: Eui64, *, is_gas: bool, state: KeyState) -> None:
        home = self._homes[hub]
        changed = home.answered(is_gas=is_gas, state=state)
        if changed == home:
            return
        self._keep(changed)
        if changed.stage is Stage.MIGRATED:
            self._prenotify(changed)

    def _on_confirmed(self, device: Eui64) -> None:
        """A status push has proven the new key: it may be the answer that was lost."""
        hub = self._meters.get(device)
        if hub is None:
            return
        home = self._homes[hub]
        is_gas = device == self._meter(home, DeviceType.GSME)
        if home.stage in (Stage.SECURING, Stage.STRANDED):
            self._answer(hub, is_gas=is_gas, state=KeyState.ROTATED)
            self._drive(hub)

    async def ask_again(self, hub: Eui64) -> None:
        """A stranded home whose device may answer again, or its ESME agree: one more round of attempts."""
        home = self._homes[hub]
        if home.stage is Stage.STRANDED and home.row in (Row.GSME_SILENT, Row.ESME_SILENT, Row.ESME_FAILED):
            self._keep(replace(home, stage=Stage.SECURING, attempts=0))
            self._drive(hub)

    async def _roll_back(self, home: HomeProgress) -> None:
        """16.11: both delete their keys, and the account is the supplier's again."""
        self._dco.discard(home.hub)
        self._accounts.hand_back(home.hub)
        self._keep(home.rolled_back())

    def _prenotify(self, home: HomeProgress) -> None:
        """The hub is known to the SMI from now on (guide, step 18); Commissioning Requests do the rest."""
        installation = self._files.home(home.file_set, home.hub)
        entry = None if installation is None else installation.of_type(DeviceType.CHF)[0]
        if entry is not None and not self._is_enrolled(entry.device):
            self._head_end.inventory.put(
                InventoryDevice(
                    eui64=entry.device,
                    device_type=DeviceType.CHF,
                    hub=entry.device,
                    status=DeviceStatus.PENDING,
                    manufacturer=entry.manufacturer,
                    model=entry.model,
                    firmware_version=entry.firmware,
                )
            )

    # --- commissioning --------------------------------------------------------------------------------

    def _is_commissioning(self, device: InventoryDevice, srv: str) -> bool:
        home = self._homes.get(device.hub)
        return home is not None and home.stage is Stage.MIGRATED

    def _on_commissioned(self, meter: InventoryDevice, utc_us: int) -> None:
        """8.1.1 has succeeded: the UTRN Period of the meter begins, once, and its tokens are ours to make."""
        hub = self._meters.get(meter.eui64)
        if hub is None or self._homes[hub].stage is not Stage.MIGRATED:
            return
        self._take_prepayment(meter.eui64)
        if self.period_begun_utc_us(meter.eui64) is None:
            self._nvm.put(f"period/{meter.eui64:016x}", utc_us.to_bytes(8, "big"))
            self._nvm.commit()
        installation = self._files.home(self._homes[hub].file_set, hub)
        meters = [] if installation is None else installation.meters
        if all(self.period_begun_utc_us(each) is not None for each in meters):
            self._keep(self._homes[hub].commissioned())

    def _take_prepayment(self, meter: Eui64) -> None:
        """Ours first, then no longer the SMSO's: killed in between, the next 8.1.1 or start ends it."""
        held = self._accounts.prepayment_key(meter)
        if held is not None and self._head_end.utrn_desk is not None:
            self._head_end.utrn_desk.enrol(meter, held.key, counter=held.counter)
        self._accounts.forget_prepayment_key(meter)

    # --- top-ups --------------------------------------------------------------------------------------

    def period_begun_utc_us(self, device: Eui64) -> int | None:
        """When the S1SP successfully processed 8.1.1 for a device that it migrated."""
        stored = self._nvm.get(f"period/{device:016x}")
        return None if stored is None else int.from_bytes(stored, "big")

    def answer_utrn(self, device: Eui64, *, pence: int, originator: Eui64) -> str:
        """3.14D: a request that the SMSO passes on. Raises RefusedError with the reason."""
        self._separation.require(Interface.UTRN)
        return self._make_utrn(Channel.RNSP, device, pence, originator)

    def supplier_utrn(self, device: Eui64, *, pence: int, originator: Eui64) -> str:
        """A supplier's request by way of the DCC. Raises RefusedError before 8.1.1."""
        return self._make_utrn(Channel.DCC, device, pence, originator)

    def _make_utrn(self, channel: Channel, device: Eui64, pence: int, originator: Eui64) -> str:
        ruling = rule(
            channel,
            amount_pence=pence,
            begun_utc_us=self.period_begun_utc_us(device),
            is_with_dcc=True,
            now_utc_us=self._civil.utc_us(),
        )
        if ruling.maker is not Maker.S1SP:
            raise RefusedError(
                _REFUSED, f"TMAD {ruling.clause or '3.14D'}: {ruling.reason or 'not commissioned'}"
            )
        return self._head_end.make_utrn(device, pence=pence, originator=originator)

    # --- SCF ------------------------------------------------------------------------------------------

    async def _report_hourly(self) -> None:
        while True:
            period_us = self.policy.report_us
            await asyncio.sleep((period_us - self._civil.utc_us() % period_us) / 1e6)
            self.report()

    def report(self) -> list[bytes]:
        """An SCF for each file set of which homes have ended since the last; signed, then marked."""
        ended: dict[int, list[HomeProgress]] = {}
        for home in self._homes.values():
            if not home.is_reported and home.stage in _OUTCOMES:
                ended.setdefault(home.file_set, []).append(home)
        signed = []
        for file_set in sorted(ended):
            common = self._files.common(file_set)
            if common is None:
                continue
            lines = tuple(_scf_line(home) for home in ended[file_set])
            scf = S1spCommissioningFile(header=common.header, installations=lines)
            octets = self._signer.sign(FileKind.SCF, scf, now_utc_us=self._civil.utc_us())
            for home in ended[file_set]:
                self._keep(home.reported())
            self.on_file(FileKind.SCF, octets)
            signed.append(octets)
        return signed

    def close_set(self, file_set: int) -> None:
        """Every home of the set is at its end, and everybody has been told."""
        self._dco.close(file_set)
        self._files.drop(file_set)

    def let_go(self, hub: Eui64) -> None:
        """A home at its end need not be in memory; its record stays."""
        home = self._homes.get(hub)
        if home is not None and home.stage in (Stage.COMMISSIONED, Stage.ROLLED_BACK):
            del self._homes[hub]
            for meter in [meter for meter, of in self._meters.items() if of == hub]:
                del self._meters[meter]

    def homes(self) -> Iterable[HomeProgress]:
        return tuple(self._homes.values())


_KEY_STATES: Final = {
    RotationResult.ROTATED: KeyState.ROTATED,
    RotationResult.NOT_ROTATED: KeyState.NOT_ROTATED,
    RotationResult.UNKNOWN: KeyState.UNKNOWN,
}
_OUTCOMES: Final = {
    Stage.MIGRATED: S1spOutcome.MIGRATED,
    Stage.COMMISSIONED: S1spOutcome.MIGRATED,
    Stage.ROLL_BACK: S1spOutcome.ROLL_BACK,
    Stage.ROLLED_BACK: S1spOutcome.ROLL_BACK,
    Stage.STRANDED: S1spOutcome.FAILED,
}


def _scf_line(home: HomeProgress) -> ScfInstallation:
    return ScfInstallation(
        hub=home.hub, outcome=_OUTCOMES[home.stage], clause=home.clause, reason=home.reason[:200]
    )


def _whitelist_fault(home: Installation, whitelist: dict[Eui64, int | None]) -> str | None:
    """16.12, 16.13: which devices a CHF Whitelist may and must list."""
    never = {home.first(kind) for kind in (DeviceType.CHF, DeviceType.GPF, DeviceType.ESME)}
    wrong = [device for device in whitelist if device in never]
    if wrong:
        return f"the CHF Whitelist lists {format_eui64(wrong[0])}, a CHF, GPF or ESME"
    for kind in (DeviceType.GSME, DeviceType.PPMID, DeviceType.IHD, DeviceType.CAD):
        for entry in home.of_type(kind):
            if entry.device not in whitelist:
                return f"the {kind} is not on the CHF Whitelist"
            if kind is DeviceType.GSME and whitelist[entry.device] is None:
                return "the CHF Whitelist lists the GSME as never heard"
    return None


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """The one place where a background failure ends: in the log."""
    try:
        await work
    except LostError as error:
        _log.error("the S1SP cannot go on with a home: %s", error)
    except EmulatorError as error:
        _log.error("a home stands still: %s", error)
    except Exception:
        _log.exception("a background task of the S1SP broke down")
