"""All parties of a migration around any number of homes, in one event loop. `Rig.open`, then `rehearsal`.

Homes are real emulated homes (`add_home`) or light ones (`add_light`, see `light`); parties cannot tell
which. There is one head end for all: the S1SP with the DSP's inventory. The DCO has a store of its own,
encrypted, and no WAN. Files go from hand to hand in memory; with a folder each is written there too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from smets1.devices.enrolment import DeviceKind, required_of
from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64, parse_eui64
from smets1.firmware.civil import CivilClock, from_datetime, to_datetime
from smets1.firmware.nvm import DeviceNvm, NvmStore
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.hardware.clock import EmulatorLoop
from smets1.headend.dco import Dco, DcoFace
from smets1.headend.duis.codes import DeviceType, ServicePath
from smets1.headend.duis.request import parse_document, read_node
from smets1.headend.duis.signature import XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.migration.commissioning import CommissioningParty
from smets1.headend.migration.dco_desk import DcoDesk
from smets1.headend.migration.dco_process import DcoProcess, DcoSettings
from smets1.headend.migration.envelope import FileSigner, Receiver
from smets1.headend.migration.files import DeviceEntry, Installation, SupplyStatus
from smets1.headend.migration.mcc import Mcc
from smets1.headend.migration.probe import Prober, Value, WanPort
from smets1.headend.migration.registry import (
    EligibleProducts,
    EpclEntry,
    Registration,
    Registry,
    mpan_check_digit,
)
from smets1.headend.migration.requesting_party import RequestingParty
from smets1.headend.migration.s1sp_desk import DcoPort, S1spDesk, S1spPolicy
from smets1.headend.migration.separation import Separation
from smets1.headend.migration.smso import Smso, SmsoHome
from smets1.headend.store import Store, StoredResponse
from smets1.headend.users import ServiceUser
from smets1.headend.utrn_desk import UtrnDesk
from smets1.headend.vault import VAULT_KEY_OCTETS, VaultNvm
from smets1.tools.home import Home, open_home
from smets1.tools.home_config import DeviceConfig, HomeConfig, Role, default_device
from smets1.tools.migration import parties
from smets1.tools.migration.parties import CP, GAS_SUPPLIER, MCC, NETWORK, RP, S1SP, SUPPLIER, Pki
from smets1.tools.trial_keys import prepayment_key, sua_key

__all__ = ["GROUP", "HomeBooks", "Rig", "RigOptions", "make_mpan", "required"]

GROUP: Final = "DA"
_PROBE_US: Final = 2 * 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RigOptions:
    """What a rehearsal may choose."""

    seed: int = 7
    start: str = "2023-01-12T09:00:00Z"  # a Thursday: the last hour for a Migration Authorisation
    policy: S1spPolicy = field(default_factory=S1spPolicy)
    folder: Path | None = None  # every file is written there
    nvm_dir: Path | None = None  # stores on disk; None: in memory
    has_dco_process: bool = False  # the DCO runs in a process of its own


@dataclass(slots=True)
class HomeBooks:
    """One home as the rehearsal knows it."""

    smso: SmsoHome
    electricity: Registration
    gas: Registration | None
    home: Home | None = None  # a real emulated one
    seed: int = 0
    alerts: list[str] = field(default_factory=list)

    @property
    def hub(self) -> Eui64:
        return self.smso.hub


class DcoParty(DcoPort, Protocol):
    """The DCO as the S1SP and the SMSO know it."""

    def public_key(self, group_id: str) -> ec.EllipticCurvePublicKey: ...


class _Router:
    """The S1SP's WAN: each hub by its own link."""

    def __init__(self) -> None:
        self.links: dict[Eui64, WanPort] = {}
        self._asked: dict[str, WanPort] = {}  # by request id, until it may be forgotten

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse:
        link = self.links.get(hub)
        if link is None:
            raise InputError(f"no home has the hub {hub:016X}")
        self._asked[request.request_id] = link
        return await link.ask(hub, request)

    def forget(self, request_id: str) -> None:
        link = self._asked.pop(request_id, None)
        if link is not None:
            link.forget(request_id)


class Rig:
    """Every party, wired. Made by `open`; `close` it."""

    def __init__(self, options: RigOptions, *, after: Rig | None = None) -> None:
        """`after`: a rig that was powered off. Time, registration data, the EPCL and the MCC outlive it."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop), "a rehearsal runs in an EmulatorLoop"
        self.options = options
        self.loop = loop
        self.seeds = SeedTree(options.seed).child("migration")
        self.pki = Pki(self.seeds)
        if after is None:
            start_utc_us = from_datetime(_moment(options.start))
            self.civil = CivilClock(loop, start_utc_us - loop.now_us())
            self.registry, self.products = Registry(), EligibleProducts()
            self._mcc_nvm = _open(options.nvm_dir, "mcc.nvm")
            self.mcc = self._make_mcc()
        else:
            self.civil, self.registry, self.products = after.civil, after.registry, after.products
            self._mcc_nvm, self.mcc = after._mcc_nvm, after.mcc
        self.books: dict[Eui64, HomeBooks] = {}
        self.router = _Router()
        self._hubs: dict[Eui64, Eui64] = {}  # device -> hub
        self.on_alert: Callable[[str, str, Eui64 | None], None] = lambda _code, _user, _device: None
        self._wans: dict[Eui64, HeadEndWan] = {}
        self._store_nvm = _open(options.nvm_dir, "s1sp.nvm")
        self._dco_nvm = _open(None if options.has_dco_process else options.nvm_dir, "dco.nvm")
        self.dco_process: DcoProcess | None = None
        self._smso_nvm = _open(options.nvm_dir, "smso.nvm")
        self._ids = 0
        self._make_parties()

    def nvm(self, name: str) -> DeviceNvm:
        """A record of the S1SP's own store."""
        return self._store_nvm.device(name)

    def _make_parties(self) -> None:
        options, seeds, civil = self.options, self.seeds, self.civil
        for owner in (SUPPLIER, GAS_SUPPLIER, NETWORK):
            self.registry.add_certificate(self.pki.certificate(owner), owner)
        self.separation = Separation(self.nvm("separation"), self.products, GROUP)
        self._make_dco()
        database = str(options.nvm_dir / "requests.sqlite") if options.nvm_dir else ":memory:"
        self.store = Store.open(database)
        self.head_end = HeadEnd(
            store=self.store,
            wan=self.router,
            dco=self.dco,
            civil=civil,
            signer=XmlSigner(self.pki.credentials[S1SP]),
            random_octets=seeds.random("s1sp").randbytes,
            utrn_desk=UtrnDesk(self.nvm("utrn")),
            settings=HeadEndSettings(users=parties.USERS),
        )
        self.head_end.alerts.concerns = self._concerns
        self.head_end.on_response = self._on_response
        self.smso = Smso(
            nvm=self._smso_nvm.device("smso"),
            wan=self.router,
            civil=civil,
            required=required(GROUP),
            random_octets=seeds.random("smso").randbytes,
            separation=self.separation,
            supplier=SUPPLIER,
        )
        self.s1sp = self._make_s1sp()
        self.rp = RequestingParty(
            smso=self.smso,
            signer=self.signer(RP),
            receiver=self.receiver("rp"),
            nvm=self._smso_nvm.device("rp"),
            s1sp=S1SP,
            dco_key=self.dco_desk.public_key(GROUP),
            now_utc_us=civil.utc_us,
        )
        self.cp = self._commissioner(CP, is_supplier=False)
        self.supplier_cp = self._commissioner(SUPPLIER, is_supplier=True)

    def _make_mcc(self) -> Mcc:
        """With a store of its own: it is not what is powered off."""
        return Mcc(
            registry=self.registry,
            receiver=Receiver(self.pki.verifier(), self._mcc_nvm.device("taken")),
            signer=FileSigner(self.pki.credentials[MCC], self._mcc_nvm.device("sent")),
            group_id=GROUP,
            now_utc_us=self.civil.utc_us,
        )

    def _make_dco(self) -> None:
        """Here, with a vault in a store of its own; or in a process of its own, where nobody can look."""
        options, seeds = self.options, self.seeds
        self.dco: DcoFace
        self.dco_desk: DcoParty
        vault_key = seeds.octets(VAULT_KEY_OCTETS, "DCO vault")
        group_key = self.pki.group_key(GROUP)
        if options.has_dco_process:
            store = "" if options.nvm_dir is None else str(options.nvm_dir / "dco.nvm")
            self.dco_process = DcoProcess(
                DcoSettings(
                    store=store or ":memory:",
                    vault_key=vault_key,
                    group_keys={GROUP: group_key.private_numbers().private_value.to_bytes(32, "big")},
                    certificates=self.pki.certificates(),
                    requesting_parties=frozenset({RP}),
                    s1sps=frozenset({S1SP}),
                    seed=seeds.octets(32, "DCO process"),
                )
            )
            self.dco = self.dco_desk = self.dco_process.client
            return
        vault = VaultNvm(
            self._dco_nvm.device("dco"), vault_key, random_octets=seeds.random("vault").randbytes
        )
        self.dco_vault = vault
        self.own_dco = Dco(vault, random_octets=seeds.random("dco").randbytes)
        self.own_desk = DcoDesk(
            self.own_dco,
            receiver=Receiver(self.pki.verifier(), vault),
            nvm=vault,
            group_keys={GROUP: group_key},
            requesting_parties=frozenset({RP}),
            s1sps=frozenset({S1SP}),
        )
        self.dco, self.dco_desk = self.own_dco, self.own_desk

    def _make_s1sp(self) -> S1spDesk:
        self.prober = Prober(self.router, self.civil, next_id=self._next_id, lifetime_us=_PROBE_US)
        desk = S1spDesk(
            head_end=self.head_end,
            dco=self.dco_desk,
            accounts=self.smso,
            signer=self.signer(S1SP),
            receiver=self.receiver("s1sp"),
            nvm=self.nvm("s1sp desk"),
            civil=self.civil,
            prober=self.prober,
            registry=self.registry,
            products=self.products,
            separation=self.separation,
            requesting_parties=frozenset({RP}),
            is_authorised=self.mcc.is_authorised,
            policy=self.options.policy,
        )
        self.smso.s1sp = desk
        return desk

    @property
    def s1sp_store(self) -> NvmStore:
        """What a thief of the S1SP's disk would have."""
        return self._store_nvm

    @property
    def dco_store(self) -> NvmStore:
        """What a thief of the DCO's disk would have."""
        return self._dco_nvm

    @property
    def smso_store(self) -> NvmStore:
        """The SMSO's and the Requesting Party's."""
        return self._smso_nvm

    def reopen_separation(self) -> None:
        """As after a restart: from what was committed."""
        self.separation = Separation(self.nvm("separation"), self.products, GROUP)
        self.smso.separation = self.separation

    def restart_s1sp(self) -> None:
        """The migration desk anew, from what it has committed; the one before was closed."""
        before, self.s1sp = self.s1sp, self._make_s1sp()
        self.s1sp.on_file, self.s1sp.on_change = before.on_file, before.on_change
        self.s1sp.start()

    def _commissioner(self, party: Eui64, *, is_supplier: bool) -> CommissioningParty:
        return CommissioningParty(
            submit=self._submit,
            signer=self.signer(party),
            receiver=self.receiver(f"cp {party:x}"),
            dsp=self.head_end.settings.dsp,
            s1sp=S1SP,
            now_utc_us=self.civil.utc_us,
            is_supplier=is_supplier,
        )

    def signer(self, party: Eui64) -> FileSigner:
        """One signer a party: its counters are in its own record."""
        return FileSigner(self.pki.credentials[party], self.nvm(f"sent {party:016x}"))

    def receiver(self, name: str) -> Receiver:
        return Receiver(self.pki.verifier(), self.nvm(f"taken {name}"))

    def _next_id(self) -> str:
        self._ids += 1
        return f"s1sp:{self.loop.now_us()}:{self._ids}"

    async def _submit(self, xml: bytes, path: ServicePath) -> bytes:
        return await self.head_end.submit(xml, path, wait_s=600.0)

    async def start(self) -> None:
        await self.head_end.start()
        self.s1sp.start()

    async def close(self) -> None:
        await self.s1sp.close()
        await self.head_end.close()
        for wan in self._wans.values():
            await wan.close()
        for books in self.books.values():
            if books.home is not None:
                await books.home.close()
        for store in (self._store_nvm, self._dco_nvm, self._smso_nvm, self._mcc_nvm, self.store):
            store.close()
        if self.dco_process is not None:
            self.dco_process.close()

    async def power_off(self) -> None:
        """As kill -9 of S1SP, DCO and SMSO: what is not committed is lost. The homes live on."""
        for store in (self._store_nvm, self._dco_nvm, self._smso_nvm, self.store):
            store.close()
        if self.dco_process is not None:
            self.dco_process.kill()
            self.dco_process.close()
        with suppress(LostError):
            await self.s1sp.close()
        await self.head_end.close()
        for wan in self._wans.values():
            with suppress(LostError):
                await wan.close()

    async def take_over(self, dead: Rig) -> None:
        """Begin again with the homes of the rig that this one was made `after`."""
        for books in dead.books.values():
            self._keep_books(books)
            if books.home is not None:
                await self.connect(books, books.home)
        await self.start()

    # --- homes --------------------------------------------------------------------------------------

    def add_books(
        self,
        config: HomeConfig,
        *,
        index: int = 0,
        electricity: SupplyStatus = SupplyStatus.ACTIVE,
        gas: SupplyStatus | None = SupplyStatus.ACTIVE,
        gas_supplier: Eui64 = SUPPLIER,
        is_eligible: bool = True,
        model_suffix: str = "",
        approved_ago_us: int = 0,
    ) -> HomeBooks:
        """A home on the books of the SMSO, the registration data and the EPCL; not switched on yet.

        Meter points are those of its file, else of trial.
        `model_suffix`: a mistake in the books, which name another model of ESME than there is.
        `approved_ago_us`: how long its entry has been on the EPCL.
        """
        devices = tuple(_entry(device, model_suffix) for device in config.devices)
        hub = next(entry.device for entry in devices if entry.device_type is DeviceType.CHF)
        has_gas = gas is not None and any(e.device_type is DeviceType.GSME for e in devices)
        smso = SmsoHome(
            hub=hub,
            devices=devices,
            mpan=_point(config, Role.ESME) or make_mpan(index),
            mprn=(_point(config, Role.GSME) or f"{4_100_000_000 + index}") if has_gas else None,
        )
        books = HomeBooks(
            smso=smso,
            electricity=Registration(supplier=SUPPLIER, network_operator=NETWORK, status=electricity),
            gas=Registration(supplier=gas_supplier, network_operator=NETWORK, status=gas)
            if has_gas and gas is not None
            else None,
            seed=config.seed,
        )
        self.registry.register(smso.mpan, books.electricity)
        if smso.mprn is not None and books.gas is not None:
            self.registry.register(smso.mprn, books.gas)
        if is_eligible:
            approved_utc_us = self.civil.utc_us() - approved_ago_us
            kept = frozenset(entry.combination for entry in devices)
            if not self.products.is_eligible(GROUP, kept):
                entry = EpclEntry(group_id=GROUP, combination=kept, approved_utc_us=approved_utc_us)
                self.products.add(entry)
        self._keep_books(books)
        return books

    def _keep_books(self, books: HomeBooks) -> None:
        smso, seed = books.smso, books.seed
        self.books[books.hub] = books
        for entry in smso.devices:
            self._hubs[entry.device] = books.hub
        self.smso.add_home(
            smso,
            sua_keys={meter: sua_key(seed, meter) for meter in smso.meters},
            prepayment_keys={meter: prepayment_key(seed, meter) for meter in smso.meters},
        )

    async def switch_on(self, books: HomeBooks, config: HomeConfig, **options: Any) -> Home:
        """The emulated home itself, joined and keyed, on the S1SP's WAN."""
        config = replace(
            config,
            start=to_datetime(self.civil.utc_us()),
            headend=replace(config.headend, runs_here=False),
        )
        home = await open_home(config=config, waits=False, **options)
        await self.connect(books, home)
        await home.joined()
        return home

    async def connect(self, books: HomeBooks, home: Home) -> None:
        """Our end of a home's WAN; again after the home, or this rig, was killed."""
        name = f"{books.hub:016x}"
        before = self._wans.pop(books.hub, None)
        if before is not None:
            await before.close()
        wan = HeadEndWan(
            home.wan_link("headend"), self.nvm(f"wan {name}"), self.civil, rng=self.seeds.random("wan", name)
        )
        wan.on_event = self.head_end.on_event
        await wan.start()
        self._wans[books.hub] = wan
        self.router.links[books.hub] = wan
        books.home = home

    def add_link(self, hub: Eui64, link: WanPort) -> None:
        """A home that is not an emulated one of ours: a light one, a test's."""
        self.router.links[hub] = link

    def forget_set(self, file_set: int, hubs: list[Eui64]) -> None:
        """Every home of a set is at its end and told of: nobody keeps more of it than its records."""
        self.s1sp.close_set(file_set)
        for party in (self.cp, self.supplier_cp):
            party.close_set(file_set)
        for hub in hubs:
            self.s1sp.let_go(hub)
            self.router.links.pop(hub, None)
            books = self.books.pop(hub)
            self.smso.let_go(hub)
            for entry in books.smso.devices:
                self._hubs.pop(entry.device, None)

    # --- alerts -------------------------------------------------------------------------------------

    def _concerns(self, user: ServiceUser, device: InventoryDevice) -> bool:
        """The one registered supplier or network operator; the Commissioning Party is nobody's supplier."""
        if user.eui64 == CP:
            return False
        registration = None if device.mpxn is None else self.registry.find(device.mpxn)
        if registration is None:
            return True
        return user.eui64 in (registration.supplier, registration.network_operator)

    def _on_response(self, response: StoredResponse) -> None:
        if response.key is not None:
            return
        nodes = read_node(parse_document(response.xml)).walk()
        values = {node.name: node.text for node in nodes if node.text}
        code = values.get("AlertCode") or values.get("DCCAlertCode")
        if code is None:
            return  # a response that nobody here has asked for
        text = values.get("DeviceID", "")
        device = parse_eui64(text) if text else None
        user = next((u.name for u in parties.USERS if u.eui64 == response.user), "?")
        owner = self.books.get(self._hubs.get(device or 0, 0))
        if owner is not None:
            owner.alerts.append(f"{code} to {user}")
        self.on_alert(code, user, device)

    def place_credentials(self, home: Installation) -> None:
        """The DSP's act at commissioning: N42 to whoever's credentials were given (guide, 3.3.4)."""
        now_utc_us = self.civil.utc_us()
        for kind, supply in ((DeviceType.ESME, home.electricity), (DeviceType.GSME, home.gas)):
            device = home.first(kind)
            if supply is None or device is None:
                continue
            placed = [] if supply.certificate is None else [(supply.supplier, "Supplier", supply.certificate)]
            if supply.network is not None:
                network = supply.network
                placed.append((network.network_operator, "NetworkOperator", network.certificate))
            for owner, role, certificate in placed:
                self.head_end.alerts.credentials_updated(
                    device,
                    owner=owner,
                    role=role,
                    certificates=[("DigitalSignature", bytes.fromhex(certificate))],
                    now_utc_us=now_utc_us,
                )
        self.head_end.alerts.announce()


def required(group_id: str) -> Mapping[DeviceType, Mapping[str, tuple[int, Value]]]:
    """The pre-enrolment configuration as the SMSO holds it, by device type."""
    return {DeviceType[kind.name]: required_of(group_id, kind) for kind in DeviceKind}


def make_mpan(index: int) -> str:
    """A valid MPAN of a trial home."""
    core = f"{190_000_000_000 + index:012d}"
    return f"{core}{mpan_check_digit(core)}"


def _point(config: HomeConfig, role: Role) -> str:
    """Of its file; empty for the reference home's own, an MPAN without a true check digit (5.10.13)."""
    device = config.device(role)
    return "" if device is None or device.mpxn == default_device(role).mpxn else device.mpxn


def _entry(device: DeviceConfig, suffix: str) -> DeviceEntry:
    return DeviceEntry(
        device_type=DeviceType[device.role.name],
        device=device.eui64,
        manufacturer=device.manufacturer,
        model=device.model + suffix * (device.role is Role.ESME),
        firmware=device.firmware,
        joined_utc_us=None,
    )


def _open(nvm_dir: Path | None, name: str) -> NvmStore:
    return NvmStore.open(nvm_dir / name if nvm_dir else ":memory:")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
