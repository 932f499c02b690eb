"""The SMETS1 SMSO, thin: the old operator, which has the keys, the accounts and the payment providers.

It shares its WAN with the S1SP, as Secure's two systems do, and may use it for a home only while the account
is the supplier's (6.7). SUA and prepayment keys lie in its own store; nothing of them leaves it but
EncryptedSUAKeys, sealed to the DCO, and the prepayment key and counter that the S1SP takes over at 8.1.1
(**assumption**: how).
Source: TMAD 3.14B to D, 5.12(e), 6.7, 11.1, 11.3; consultation, 2.1, 2.2, 2.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from smets1.errors import InputError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.key_proof import NONCE_OCTETS
from smets1.firmware.nvm import Nvm, NvmView
from smets1.firmware.sua import compute_sua
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.files import DeviceEntry, SuaKeyDetail
from smets1.headend.migration.probe import Prober, Value, WanPort
from smets1.headend.migration.rp_checks import HomeFacts
from smets1.headend.migration.separation import Interface, Separation
from smets1.headend.migration.sua_envelope import SuaCredential, seal_credential
from smets1.headend.migration.utrn_period import Channel, Maker, rule
from smets1.headend.srv.critical import Authorisation, Instruction
from smets1.headend.utrn_desk import UtrnDesk

__all__ = ["Account", "PrepaymentKey", "Smso", "SmsoHome", "UtrnPort"]

_PROBE_US: Final = 2 * 3_600_000_000
_REFUSED: Final = 0x7E
_METERS: Final = (DeviceType.ESME, DeviceType.GSME)
_CONFIGURED: Final = (*_METERS, DeviceType.PPMID, DeviceType.IHD)

Requirements = Mapping[DeviceType, Mapping[str, tuple[int, Value]]]
"""Device type -> parameter -> (part, required value): the pre-enrolment configuration."""


@unique
class Account(StrEnum):
    """Under whose account a home operates."""

    SUPPLIER = "supplier"
    DCC = "DCC"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsoHome:
    """What the SMSO has on its books of one home. Third-party devices are known by their address only."""

    hub: Eui64
    devices: tuple[DeviceEntry, ...]
    mpan: str
    mprn: str | None = None
    third_party: tuple[Eui64, ...] = ()
    chosen: frozenset[Eui64] = frozenset()  # displays that the supplier has named (2.5)

    def first(self, kind: DeviceType) -> Eui64 | None:
        return next((entry.device for entry in self.devices if entry.device_type is kind), None)

    @property
    def meters(self) -> list[Eui64]:
        return [entry.device for entry in self.devices if entry.device_type in _METERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepaymentKey:
    """What the S1SP takes over, so that no counter comes twice."""

    key: bytes = field(repr=False)
    counter: int


class UtrnPort(Protocol):
    """The S1SP, as the SMSO sees it for top-ups."""

    def answer_utrn(self, device: Eui64, *, pence: int, originator: Eui64) -> str: ...
    def period_begun_utc_us(self, device: Eui64) -> int | None: ...


class Smso:
    """One SMSO. Its books survive a restart through `nvm`, which nobody else reads."""

    def __init__(
        self,
        *,
        nvm: Nvm,
        wan: WanPort,
        civil: CivilClock,
        required: Requirements,
        random_octets: Callable[[int], bytes],
        separation: Separation,
        supplier: Eui64,
    ) -> None:
        """`supplier`: in whose name tokens are made, which is what the meters take."""
        self._nvm = nvm
        self._civil = civil
        self._required = required
        self._random_octets = random_octets
        self.separation = separation
        self._supplier = supplier
        self._desk = UtrnDesk(NvmView(nvm, "utrn/"))
        self._homes: dict[Eui64, SmsoHome] = {}
        self._hubs: dict[Eui64, Eui64] = {}  # meter -> hub
        self._contacts: dict[Eui64, int] = {}
        self._prober = Prober(_GatedWan(wan, self), civil, next_id=self._next_id, lifetime_us=_PROBE_US)
        self.s1sp: UtrnPort | None = None

    def _next_id(self) -> str:
        return f"smso:{self._random_octets(16).hex()}"

    # --- books --------------------------------------------------------------------------------------

    def add_home(
        self, home: SmsoHome, *, sua_keys: Mapping[Eui64, bytes], prepayment_keys: Mapping[Eui64, bytes]
    ) -> None:
        """A home that this SMSO operates, with its meters' keys."""
        self._homes[home.hub] = home
        for meter in home.meters:
            self._hubs[meter] = home.hub
            if self._nvm.get(_sua(meter)) is None:
                self._put_sua(meter, SuaCredential(key=sua_keys[meter], generation=0, counter=0))
                self._desk.enrol(meter, prepayment_keys[meter])

    def change_home(self, home: SmsoHome) -> None:
        """Its books are put right."""
        self._homes[home.hub] = home

    def home(self, hub: Eui64) -> SmsoHome:
        """Raises KeyError."""
        return self._homes[hub]

    def let_go(self, hub: Eui64) -> None:
        """A home that is not this SMSO's any more need not be in memory; what is committed stays."""
        home = self._homes.pop(hub, None)
        for meter in () if home is None else home.meters:
            self._hubs.pop(meter, None)
            self._contacts.pop(meter, None)

    def _put_sua(self, meter: Eui64, credential: SuaCredential) -> None:
        self._nvm.put(_sua(meter), credential.encode())
        self._nvm.commit()

    def _sua_of(self, meter: Eui64) -> SuaCredential:
        stored = self._nvm.get(_sua(meter))
        if stored is None:
            raise InputError(f"{format_eui64(meter)} has no SUA key at the SMSO")
        return SuaCredential.decode(stored)

    def mistake_key(self, meter: Eui64, wrong_key: bytes) -> bytes:
        """A fault to rehearse: the SMSO's books hold another key than the device does. The one they held."""
        held = self._sua_of(meter)
        self._put_sua(meter, replace(held, key=wrong_key))
        return held.key

    def mistake_prepayment_key(self, meter: Eui64, wrong_key: bytes) -> None:
        """A fault to rehearse, as `mistake_key`."""
        self._desk.enrol(meter, wrong_key)

    # --- accounts -----------------------------------------------------------------------------------

    def account(self, hub: Eui64) -> Account:
        stored = self._nvm.get(f"account/{hub:016x}")
        return Account.SUPPLIER if stored is None else Account(stored.decode())

    def switch_to_dcc(self, hub: Eui64) -> None:
        """5.12(e): from here on the SMSO commands nothing there. Committed."""
        self._put_account(hub, Account.DCC)

    def hand_back(self, hub: Eui64) -> None:
        """For the S1SP: roll-back. Raises RefusedError once disconnected."""
        self.separation.require(Interface.ACCOUNTS)
        self._put_account(hub, Account.SUPPLIER)

    def _put_account(self, hub: Eui64, account: Account) -> None:
        self._nvm.put(f"account/{hub:016x}", account.value.encode())
        self._nvm.commit()

    def require_account(self, hub: Eui64) -> None:
        """Raises RefusedError where the home is not the SMSO's to command."""
        self.separation.require(Interface.SHARED_WAN)
        if self.account(hub) is not Account.SUPPLIER:
            raise RefusedError(_REFUSED, "TMAD 6.7: the account is the DCC's")

    # --- devices ------------------------------------------------------------------------------------

    def authorise(self, device: Eui64, instruction: Instruction) -> Authorisation:
        """The SMSO's own SUA, as long as it holds the device's key."""
        credential = self._sua_of(device)
        counter = credential.counter + 1
        self._put_sua(device, replace(credential, counter=counter))
        sua = compute_sua(credential.key, device, counter, instruction.octets)
        return Authorisation(counter=counter, sua=sua)

    async def critical(self, device: Eui64, instruction: Instruction) -> bytes:
        """A Critical Instruction on the supplier's behalf. Raises RefusedError, NoAnswerError."""
        return await self._prober.critical(self._hubs[device], device, instruction, self.authorise)

    async def set_parameter(self, device: Eui64, name: str, value: Value) -> None:
        """A supplier's change of configuration. Raises RefusedError, NoAnswerError."""
        hub = self._hubs.get(device)
        if hub is None:
            hub = next(h.hub for h in self._homes.values() if device in [e.device for e in h.devices])
        is_meter = device in self._hubs
        await self._prober.write_parameter(
            hub, device, name, value, authorise=self.authorise if is_meter else None
        )

    async def facts(self, hub: Eui64, *, only: frozenset[Eui64] | None = None) -> HomeFacts:
        """Everything that the Requesting Party's checks want to know, asked of the devices now.

        `only`: the devices that are to be migrated; None: all.
        """
        home = self._homes[hub]
        whitelist = None
        try:
            whitelist = await self._prober.whitelist(hub)
        except (NoAnswerError, RefusedError):
            pass
        checked = await asyncio.gather(*(self._check_meter(hub, meter) for meter in home.meters))
        held = {meter: is_held for meter, is_held in checked if is_held is not None}
        differences, silent = await self.verify_configuration(hub, only=only)
        return HomeFacts(
            devices=tuple(e for e in home.devices if only is None or e.device in only),
            third_party=home.third_party,
            with_smso_utc_us=dict(self._contacts_of(home)),
            whitelist=whitelist,
            has_prepayment_key=held,
            differences=tuple(differences),
            silent=tuple(silent),
        )

    def _contacts_of(self, home: SmsoHome) -> list[tuple[Eui64, int]]:
        return [(meter, self._contacts[meter]) for meter in home.meters if meter in self._contacts]

    async def _check_meter(self, hub: Eui64, meter: Eui64) -> tuple[Eui64, bool | None]:
        """Prepayment key verification; None: no answer."""
        held = self._desk.credentials(meter)
        if held is None:
            return meter, False
        nonce = self._random_octets(NONCE_OCTETS)
        try:
            is_held = await self._prober.holds_prepayment_key(hub, meter, held[0], nonce)
        except (NoAnswerError, RefusedError):
            return meter, None
        self._contacts[meter] = self._civil.utc_us()
        return meter, is_held

    # --- pre-enrolment configuration ----------------------------------------------------------------

    async def verify_configuration(
        self, hub: Eui64, *, only: frozenset[Eui64] | None = None
    ) -> tuple[list[str], list[Eui64]]:
        """A verification point: what is not at its required value; which devices did not answer."""
        differences: list[str] = []
        silent: list[Eui64] = []
        for entry, wrong in await self._find_wrong(hub, only):
            if wrong is None:
                silent.append(entry.device)
            else:
                differences += [f"{entry.device_type} part {p} {name} is not {v!r}" for name, p, v in wrong]
        return differences, silent

    async def configure(
        self, hub: Eui64, *, parts: frozenset[int], only: frozenset[Eui64] | None = None
    ) -> list[str]:
        """2.4.2: read first, change only what is different; what was changed. Raises RefusedError."""
        changed = []
        for entry, wrong in await self._find_wrong(hub, only):
            for name, part, value in wrong or ():
                if part in parts:
                    await self.set_parameter(entry.device, name, value)
                    changed.append(f"{entry.device_type} {name} = {value!r}")
        return changed

    async def _find_wrong(
        self, hub: Eui64, only: frozenset[Eui64] | None
    ) -> list[tuple[DeviceEntry, list[tuple[str, int, Value]] | None]]:
        entries = [e for e in self._homes[hub].devices if e.device_type in _CONFIGURED]
        entries = [entry for entry in entries if only is None or entry.device in only]
        found = await asyncio.gather(*(self._find_wrong_of(hub, entry) for entry in entries))
        return list(zip(entries, found, strict=True))

    async def _find_wrong_of(self, hub: Eui64, entry: DeviceEntry) -> list[tuple[str, int, Value]] | None:
        wrong = []
        try:
            for name, (part, required) in self._required.get(entry.device_type, {}).items():
                held = await self._prober.read_parameter(hub, entry.device, name)
                if held != required or type(held) is not type(required):
                    wrong.append((name, part, required))
        except (NoAnswerError, RefusedError):
            return None
        if entry.device_type in _METERS:
            self._contacts[entry.device] = self._civil.utc_us()
        return wrong

    # --- keys ---------------------------------------------------------------------------------------

    def encrypt_sua_keys(
        self, hub: Eui64, *, group_id: str, recipient: ec.EllipticCurvePublicKey
    ) -> tuple[SuaKeyDetail, ...]:
        """11.3: for the MEF. Only the DCO can open them."""
        return tuple(
            SuaKeyDetail(
                device=meter,
                encrypted=seal_credential(
                    self._sua_of(meter),
                    device=meter,
                    hub=hub,
                    group_id=group_id,
                    recipient=recipient,
                    ephemeral=self._ephemeral(),
                ),
            )
            for meter in self._homes[hub].meters
        )

    def _ephemeral(self) -> ec.EllipticCurvePrivateKey:
        while True:  # all but one in 2^32 draws is a key
            secret = int.from_bytes(self._random_octets(32), "big")
            try:
                return ec.derive_private_key(secret, ec.SECP256R1())
            except ValueError:
                continue

    # --- top-ups ------------------------------------------------------------------------------------

    def request_utrn(self, device: Eui64, *, pence: int, channel: Channel) -> str:
        """A token of 20 digits for a payment provider (RNSP) or the supplier's own ways.

        Raises RefusedError with the clause and reason, which goes back to who asked.
        """
        hub = self._hubs.get(device)
        if hub is None or channel is Channel.DCC:
            raise RefusedError(_REFUSED, "this SMSO does not know the device")
        begun = None if self.s1sp is None else self.s1sp.period_begun_utc_us(device)
        ruling = rule(
            channel,
            amount_pence=pence,
            begun_utc_us=begun,
            is_with_dcc=self.account(hub) is Account.DCC,
            now_utc_us=self._civil.utc_us(),
        )
        if ruling.maker is Maker.NOBODY:
            raise RefusedError(_REFUSED, f"TMAD {ruling.clause}: {ruling.reason}")
        if ruling.maker is Maker.SMSO:
            return self._desk.make(device, originator=self._supplier, pence=pence)
        assert self.s1sp is not None, "a period has begun"
        self.separation.require(Interface.UTRN)
        return self.s1sp.answer_utrn(device, pence=pence, originator=self._supplier)

    def prepayment_key(self, device: Eui64) -> PrepaymentKey | None:
        """For the S1SP at 8.1.1; None: given over before."""
        held = self._desk.credentials(device)
        return None if held is None else PrepaymentKey(key=held[0], counter=held[1])

    def forget_prepayment_key(self, device: Eui64) -> None:
        """3.14C(a): from here on the SMSO is not capable of making a token for it."""
        self._desk.forget(device)


class _GatedWan:
    """The shared WAN, as far as the account allows."""

    def __init__(self, wan: WanPort, smso: Smso) -> None:
        self._wan = wan
        self._smso = smso

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse:
        self._smso.require_account(hub)
        return await self._wan.ask(hub, request)

    def forget(self, request_id: str) -> None:
        self._wan.forget(request_id)


def _sua(meter: Eui64) -> str:
    return f"sua/{meter:016x}"
