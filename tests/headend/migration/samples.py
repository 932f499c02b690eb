"""A home that passes all 18 checks, what the checks look into, and parties with trial credentials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from smets1.eui64 import Eui64
from smets1.firmware.seed import SeedTree
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.files import (
    CommissionedBy,
    DeviceEntry,
    EncryptedInstallation,
    Installation,
    MasterKeyInformation,
    MigrationGroupEncryptedFile,
    MigrationHeader,
    NetworkCertificates,
    SuaKeyDetail,
    SuaKeyDetails,
    Supply,
    SupplyStatus,
)
from smets1.headend.migration.registry import EligibleProducts, EpclEntry, Registration, Registry
from smets1.tools.migration.parties import NETWORK, RP, S1SP, SUPPLIER, Pki
from smets1.tools.migration.rig import make_mpan

HUB = 0x00DB_1234_5678_90A2
PKI = Pki(SeedTree(7).child("migration"))
MPAN, MPRN = make_mpan(5), "4100000005"
NOW_UTC_US = 1_673_852_400_000_000
KINDS = (DeviceType.CHF, DeviceType.GPF, DeviceType.ESME, DeviceType.GSME, DeviceType.PPMID, DeviceType.IHD)


def device(kind: DeviceType, index: int) -> DeviceEntry:
    return DeviceEntry(
        device_type=kind,
        device=HUB + index,
        manufacturer="1057",
        model=f"{kind.value} model",
        firmware="00000001",
        joined_utc_us=None,
    )


def supply(mpxn: str) -> Supply:
    return Supply(
        mpxn=mpxn,
        supplier=SUPPLIER,
        status=SupplyStatus.ACTIVE,
        certificate=PKI.certificate(SUPPLIER),
        network=NetworkCertificates(network_operator=NETWORK, certificate=PKI.certificate(NETWORK)),
    )


HOME = Installation(
    hub=HUB,
    devices=tuple(device(kind, index) for index, kind in enumerate(KINDS)),
    electricity=supply(MPAN),
    gas=supply(MPRN),
    commissioned_by=CommissionedBy.COMMISSIONING_PARTY,
    is_priority=False,
)
HEADER = MigrationHeader(group_id="DA", requesting_party=RP, s1sp=S1SP, file_set=1)


def mef(*homes: EncryptedInstallation, header: MigrationHeader = HEADER) -> MigrationGroupEncryptedFile:
    return MigrationGroupEncryptedFile(header=header, installations=homes or (encrypted(),))


def encrypted(hub: Eui64 = HUB) -> EncryptedInstallation:
    details = tuple(SuaKeyDetail(device=meter, encrypted=bytes(120)) for meter in HOME.meters)
    return EncryptedInstallation(
        hub=hub,
        s1sp_group_information=None,
        master_key=MasterKeyInformation(encrypted_master_key=None, sua_keys=SuaKeyDetails(details=details)),
    )


def make_registry() -> Registry:
    registry = Registry()
    for mpxn in (MPAN, MPRN):
        registry.register(
            mpxn, Registration(supplier=SUPPLIER, network_operator=NETWORK, status=SupplyStatus.ACTIVE)
        )
    for owner in (SUPPLIER, NETWORK):
        registry.add_certificate(PKI.certificate(owner), owner)
    return registry


@dataclass
class Books:
    """A CheckContext."""

    group_id: str = "DA"
    registry: Registry = field(default_factory=make_registry)
    products: EligibleProducts = field(
        default_factory=lambda: EligibleProducts(
            [EpclEntry(group_id="DA", combination=HOME.combination, approved_utc_us=0)]
        )
    )
    makers: frozenset[str] = frozenset({"1057"})
    enrolled: frozenset[Eui64] = frozenset()
    points: frozenset[str] = frozenset()
    elsewhere: frozenset[Eui64] = frozenset()
    unauthorised: frozenset[str] = frozenset()

    def is_enrolled(self, device: Eui64) -> bool:
        return device in self.enrolled

    def is_point_enrolled(self, mpxn: str) -> bool:
        return mpxn in self.points

    def seen_elsewhere(self, device: Eui64, hub: Eui64) -> bool:
        return device in self.elsewhere

    def is_authorised(self, mpxn: str) -> bool:
        return mpxn not in self.unauthorised


def with_device(index: int, **changes: object) -> Installation:
    entries = list(HOME.devices)
    entries[index] = replace(entries[index], **changes)  # type: ignore[arg-type]
    return replace(HOME, devices=tuple(entries))


def without(kind: DeviceType) -> Installation:
    return replace(HOME, devices=tuple(e for e in HOME.devices if e.device_type is not kind))
