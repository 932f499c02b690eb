"""The S1SP's side of a migration: validates the MCF, takes the MEF, reports, commissions; see `s1sp_drive`.

It writes an SCF every hour for whatever has ended since. From 8.1.1 on the tokens of a meter are its to
make. Source: TMAD 5.10, 5.25, 16.1 to 16.5, 3.14B to D; guide 7.2.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from smets1.errors import RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm, NvmView
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.head_end import HeadEnd
from smets1.headend.inventory import InventoryDevice
from smets1.headend.migration.checks import validate
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
from smets1.headend.migration.progress import HomeProgress, Stage
from smets1.headend.migration.registry import EligibleProducts, Registry
from smets1.headend.migration.s1sp_drive import AccountPort, DcoPort, HomeDriver, S1spPolicy
from smets1.headend.migration.s1sp_homes import HomeBook
from smets1.headend.migration.separation import Interface, Separation
from smets1.headend.migration.timers import FILES_WITHIN_US
from smets1.headend.migration.utrn_period import Channel, Maker, rule

__all__ = ["AccountPort", "DcoPort", "S1spDesk", "S1spPolicy"]

_log = logging.getLogger(__name__)

_REFUSED: Final = 0x7E
_GONE: Final = (DeviceStatus.DECOMMISSIONED, DeviceStatus.WITHDRAWN)


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
        self._civil = civil
        self._registry = registry
        self._products = products
        self._separation = separation
        self._requesting_parties = requesting_parties
        self._is_authorised = is_authorised
        self._files = FileStore(NvmView(nvm, "sets/"))
        self._book = HomeBook(nvm, self._files)
        self._book.on_change = self._changed
        self._driver = HomeDriver(
            self._book,
            self._files,
            head_end=head_end,
            dco=dco,
            accounts=accounts,
            civil=civil,
            prober=prober,
            policy=self.policy,
            on_migrated=self._prenotify,
        )
        self.install_ahead = self._driver.install_ahead
        self.ask_again = self._driver.ask_again
        head_end.is_commissioning = self._is_commissioning
        head_end.on_commissioned(self._on_commissioned)

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with every home that is not at its end, and report hourly."""
        self._driver.start()
        self._driver.spawn(self._report_hourly())

    async def close(self) -> None:
        await self._driver.close()

    def _changed(self, home: HomeProgress) -> None:
        self.on_change(home)

    def home(self, hub: Eui64) -> HomeProgress | None:
        return self._book.find(hub)

    def installation(self, hub: Eui64) -> Installation | None:
        home = self._book.find(hub)
        return None if home is None else self._book.installation(home)

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
        self._book.put_time(f"validated/{common.header.file_set}", now_utc_us)
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
            self._driver.drive(hub)
        return begun

    def take_mgf(self, octets: bytes) -> None:
        """Of no use for DA: raises FileRefusedError, whatever it holds."""
        raise FileRefusedError("16.15", f"no Migration Group File is used for Group ID {DA}")

    def _check_encrypted(self, mef: MigrationGroupEncryptedFile) -> None:
        common = check_header(mef.header, self._files.common(mef.header.file_set))
        if self._files.encrypted(mef.header.file_set) is not None:
            raise FileRefusedError("5.9.6", f"file set {mef.header.file_set} has an MEF already")
        validated_utc_us = self._book.time(f"validated/{mef.header.file_set}")
        if validated_utc_us is None:
            raise FileRefusedError("16.4", f"file set {mef.header.file_set} has no MVF")
        if self._civil.utc_us() > validated_utc_us + FILES_WITHIN_US:
            raise FileRefusedError("5.20", "more than 24 hours after the MVF")
        check_shape(mef)
        listed = {home.hub for home in common.installations}
        for encrypted in mef.installations:
            if encrypted.hub not in listed:
                reason = f"{format_eui64(encrypted.hub)} is not in the Migration Common File"
                raise FileRefusedError("5.25.1.1", reason)

    def _begin(self, header: MigrationHeader, home: Installation) -> bool:
        """A home of an MEF; False where it is under way or done already."""
        known = self._book.find(home.hub)
        if known is not None and known.stage is not Stage.ROLLED_BACK:
            _log.warning("%s is %s: left as it is", format_eui64(home.hub), known.stage)
            return False
        has_gas = home.first(DeviceType.GSME) is not None
        progress = HomeProgress.begin(home.hub, file_set=header.file_set, has_gas=has_gas)
        validated = self._files.validated(header.file_set, home.hub)
        if validated is None or validated.failures:
            progress = progress.fail("5.25.1.2", "its validation has failed")
        self._book.begin(progress)
        return True

    # --- commissioning --------------------------------------------------------------------------------

    def _prenotify(self, home: HomeProgress) -> None:
        """The hub is known to the SMI from now on (guide, step 18); Commissioning Requests do the rest."""
        installation = self._book.installation(home)
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

    def _is_commissioning(self, device: InventoryDevice, srv: str) -> bool:
        home = self._book.find(device.hub)
        return home is not None and home.stage is Stage.MIGRATED

    def _on_commissioned(self, meter: InventoryDevice, utc_us: int) -> None:
        """8.1.1 has succeeded: the UTRN Period of the meter begins, once, and its tokens are ours to make."""
        hub = self._book.hub_of(meter.eui64)
        if hub is None or self._book.get(hub).stage is not Stage.MIGRATED:
            return
        self._take_prepayment(meter.eui64)
        if self.period_begun_utc_us(meter.eui64) is None:
            self._book.put_time(f"period/{meter.eui64:016x}", utc_us)
        installation = self._book.installation(self._book.get(hub))
        meters = [] if installation is None else installation.meters
        if all(self.period_begun_utc_us(each) is not None for each in meters):
            self._book.keep(self._book.get(hub).commissioned())

    def _take_prepayment(self, meter: Eui64) -> None:
        """Ours first, then no longer the SMSO's: killed in between, the next 8.1.1 or start ends it."""
        held = self._accounts.prepayment_key(meter)
        if held is not None and self._head_end.utrn_desk is not None:
            self._head_end.utrn_desk.enrol(meter, held.key, counter=held.counter)
        self._accounts.forget_prepayment_key(meter)

    # --- top-ups --------------------------------------------------------------------------------------

    def period_begun_utc_us(self, device: Eui64) -> int | None:
        """When the S1SP successfully processed 8.1.1 for a device that it migrated."""
        return self._book.time(f"period/{device:016x}")

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
        for home in self._book.all():
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
                self._book.keep(home.reported())
            self.on_file(FileKind.SCF, octets)
            signed.append(octets)
        return signed

    def close_set(self, file_set: int) -> None:
        """Every home of the set is at its end, and everybody has been told."""
        self._dco.close(file_set)
        self._files.drop(file_set)

    def let_go(self, hub: Eui64) -> None:
        """See `HomeBook.let_go`."""
        self._book.let_go(hub)


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
