"""The head end of a home, made from its file: stores, DCO, UTRN desk, inventory, WAN end."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

from cryptography import x509

from smets1.errors import InputError
from smets1.firmware.civil import CivilClock, from_datetime
from smets1.firmware.nvm import NvmStore
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.link import WanLink
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceType, UserRole
from smets1.headend.duis.schema import SchemaValidator
from smets1.headend.duis.signature import CertificateStore, Credential, Verifier, XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.pki import TestPki
from smets1.headend.store import Store
from smets1.headend.users import DEFAULT_USERS, ServiceUser
from smets1.headend.utrn_desk import UtrnDesk
from smets1.tools.home_config import DeviceConfig, HomeConfig, Role, Signatures
from smets1.tools.trial_keys import prepayment_key, sua_key

__all__ = ["HomeHeadEnd"]

_S1SP: Final = 0x90B3D51F30000001
_METERS: Final = (Role.ESME, Role.GSME)


class HomeHeadEnd:
    """Opens the head end's own stores, starts and closes it all."""

    def __init__(self, config: HomeConfig, civil: CivilClock, link: WanLink, nvm_dir: Path | None) -> None:
        seeds = SeedTree(config.seed).child("head end")
        # Three parties, three records: the DCO's keys are in a file of their own.
        with ExitStack() as opened:  # one that cannot be opened closes those before it
            self._nvm = opened.enter_context(
                NvmStore.open(nvm_dir / "headend.nvm" if nvm_dir else ":memory:")
            )
            self._dco_nvm = opened.enter_context(
                NvmStore.open(nvm_dir / "dco.nvm" if nvm_dir else ":memory:")
            )
            self._store = opened.enter_context(closing(Store.open(_database(config, nvm_dir))))
            opened.pop_all()
        self.wan = HeadEndWan(link, self._nvm.device("wan"), civil, rng=seeds.random("wan"))
        dco = Dco(self._dco_nvm.device("dco"), random_octets=seeds.random("dco").randbytes)
        desk = UtrnDesk(self._nvm.device("utrn"))
        for device in config.devices:
            if device.role in _METERS:
                if not dco.is_enrolled(device.eui64):
                    dco.enrol(device.eui64, sua_key(config.seed, device.eui64))
                desk.enrol(device.eui64, prepayment_key(config.seed, device.eui64))
        pki = TestPki(lambda label: seeds.octets(40, "pki", label))
        self.head_end = HeadEnd(
            store=self._store,
            wan=self.wan,
            dco=dco,
            civil=civil,
            signer=XmlSigner(pki.issue(_S1SP, "S1SP")),
            random_octets=seeds.random("s1sp").randbytes,
            verifier=_verifier(config),
            schema=SchemaValidator(config.headend.schema_dir) if config.headend.schema_dir else None,
            utrn_desk=desk,
            settings=_settings(config),
        )
        self.wan.on_event = self.head_end.on_event
        _fill_inventory(config, self.head_end)

    async def start(self) -> None:
        """Raises LostError where the broker cannot be reached."""
        await self.wan.start()
        await self.head_end.start()

    async def close(self) -> None:
        await self.head_end.close()
        await self.wan.close()
        self.close_stores()

    async def power_off(self) -> None:
        """As kill -9 does: nothing is stored any more."""
        self.close_stores()
        await self.head_end.close()
        await self.wan.close()

    def close_stores(self) -> None:
        for store in (self._nvm, self._dco_nvm, self._store):
            with suppress(Exception):
                store.close()


def _database(config: HomeConfig, nvm_dir: Path | None) -> str:
    if config.headend.database:
        return config.headend.database
    return str(nvm_dir / "requests.sqlite") if nvm_dir else ":memory:"


def _settings(config: HomeConfig) -> HeadEndSettings:
    users = tuple(
        ServiceUser(
            eui64=user.eui64,
            name=user.name,
            roles=tuple(UserRole(role.value) for role in user.roles),
            callback_url=user.callback,
        )
        for user in config.headend.users
    )
    is_strict = config.headend.signatures is Signatures.REQUIRE
    return HeadEndSettings(
        signatures="require" if is_strict else "off",
        # DCC's reference requests share their RequestIDs, so an unsigned laboratory takes one again.
        request_ids="unique" if is_strict else "reused",
        users=users or DEFAULT_USERS,
    )


def _verifier(config: HomeConfig) -> Verifier | None:
    if config.headend.signatures is Signatures.OFF:
        return None
    store = CertificateStore()
    for user in config.headend.users:
        if user.certificate_file is not None:
            certificate = _certificate(user.certificate_file)
            store.add(Credential(eui64=user.eui64, certificate=certificate))
    return Verifier(store)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise InputError(f"certificate_file {path}: cannot be read: {error.strerror}") from None
    except ValueError:  # whose text is a page's address
        raise InputError(
            f"certificate_file {path}: not a PEM certificate (`smets1 keys make` makes some)"
        ) from None


def _fill_inventory(config: HomeConfig, head_end: HeadEnd) -> None:
    hub = config.device(Role.CHF)
    if hub is None:
        return
    for device in config.devices:
        if head_end.inventory.find(device.eui64) is None:
            head_end.inventory.put(
                InventoryDevice(
                    eui64=device.eui64,
                    device_type=DeviceType[device.role.name],
                    hub=hub.eui64,
                    manufacturer=device.manufacturer,
                    model=device.model,
                    firmware_version=device.firmware,
                    commissioned_utc_us=from_datetime(config.start),
                    mpxn=_metering_point(config, device),
                )
            )


def _metering_point(config: HomeConfig, device: DeviceConfig) -> str | None:
    """The GPF stands for the gas meter, so it has its MPRN."""
    meter = config.device(Role.GSME) if device.role is Role.GPF else device
    return None if meter is None else meter.mpxn or None
