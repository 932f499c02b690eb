"""The migration files as values: MA, MCF, MVF, MEF, MGF, SCF, COF and the reports S1MIG-001 and -002.

Element names that DCC's documents mention are used as they stand there (MigrationHeader, GroupID,
CHFIdentifier, EncryptedS1SPGroupInformation, MasterKeyInformation, EncryptedMasterKey, SUAKeyDetails,
EncryptedSUAKey); everything else of the SMETS1 Migration Schema is not public, and ours: an **assumption**.
`envelope` makes signed XML of them. Source: migration guide, 7.3 and table 7; TMAD consultation, table 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, TypeAlias

from smets1.eui64 import Eui64
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.element import (
    choice,
    eui,
    flag,
    many,
    number,
    octets,
    one,
    text,
    types,
    when,
)

__all__ = [
    "FILES",
    "MAX_INSTALLATIONS",
    "NAMESPACE",
    "Authorisation",
    "CofInstallation",
    "CommissionedBy",
    "CommissioningOutcome",
    "CommissioningOutcomeFile",
    "CommissioningRequest",
    "DeviceEntry",
    "EncryptedInstallation",
    "FileKind",
    "GroupInstallation",
    "Installation",
    "MasterKeyInformation",
    "MigrationAuthorisationFile",
    "MigrationCommonFile",
    "MigrationCommonValidationFile",
    "MigrationFile",
    "MigrationGroupEncryptedFile",
    "MigrationGroupFile",
    "MigrationHeader",
    "MigrationOutcome",
    "MigrationReport",
    "NetworkCertificates",
    "ReportRow",
    "S1spCommissioningFile",
    "S1spOutcome",
    "ScfInstallation",
    "SuaKeyDetail",
    "SuaKeyDetails",
    "Supply",
    "SupplyStatus",
    "ValidatedInstallation",
    "ValidationFailure",
    "schema",
]

NAMESPACE: Final = "urn:smets1:migration:1"
MAX_INSTALLATIONS: Final = 250
"""Homes in one file: it stays below the two megabytes that are read at all."""

_GROUP: Final = "[A-Z]{2}"
_MPAN: Final = "[0-9]{13}"
_MPRN: Final = "[0-9]{1,13}"
_WORDS: Final = r".{0,200}"
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_SRV: Final = r"[0-9]{1,2}(\.[0-9]{1,2}){1,2}"
_CERTIFICATE: Final = "[0-9A-F]{40}"  # hash of an organisation certificate


@unique
class SupplyStatus(StrEnum):
    """Whether the responsible supplier operates the meter through the SMSO (guide, 2.3.2)."""

    ACTIVE = "Active"
    DORMANT = "Dormant"


@unique
class CommissionedBy(StrEnum):
    COMMISSIONING_PARTY = "CommissioningParty"
    SUPPLIER = "Supplier"


@unique
class S1spOutcome(StrEnum):
    """What the S1SP reports of a home in an SCF."""

    MIGRATED = "Migrated"
    FAILED = "Failed"
    ROLL_BACK = "RollBack"


@unique
class CommissioningOutcome(StrEnum):
    COMMISSIONED = "Commissioned"
    FAILED = "Failed"


@unique
class MigrationOutcome(StrEnum):
    """How a home ends, as the reports tell it."""

    COMMISSIONED = "Commissioned"
    REJECTED = "Rejected"
    ROLLED_BACK = "RolledBack"
    STRANDED = "Stranded"


# --- common parts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationHeader:
    """Equal in all files of one set (5.12(f), 16.4, 16.5)."""

    group_id: str = text("GroupID", _GROUP)
    requesting_party: Eui64 = eui("RequestingPartyID")
    s1sp: Eui64 = eui("S1SPID")
    file_set: int = number("MigrationFileSetID")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEntry:
    """One device of a home, as the SMSO has it on its books."""

    device_type: DeviceType = choice("DeviceType", DeviceType)
    device: Eui64 = eui("DeviceID")
    manufacturer: str = text("DeviceManufacturer", _WORDS)
    model: str = text("DeviceModel", _WORDS)
    firmware: str = text("FirmwareVersion", "[0-9A-F]{8}")
    joined_utc_us: int | None = when("JoinedHANDateTime", optional=True)

    @property
    def combination(self) -> tuple[str, str, str]:
        """Type, model, firmware: its part of a Device Model Combination."""
        return self.device_type.value, self.model, self.firmware


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCertificates:
    """Of the network operator, where the supplier gives them."""

    network_operator: Eui64 = eui("NetworkOperatorID")
    certificate: str = text("NetworkOperatorCertificate", _CERTIFICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """One meter point of a home: who is its supplier, and with which credentials."""

    mpxn: str = text("ImportMPxN", _MPRN)
    supplier: Eui64 = eui("SupplierID")
    status: SupplyStatus = choice("SupplyStatus", SupplyStatus)
    certificate: str | None = text("SupplierCertificate", _CERTIFICATE, optional=True)
    network: NetworkCertificates | None = one("NetworkOperator", NetworkCertificates, optional=True)


# --- MA ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """One home, by its meter points (guide, 4.5.5)."""

    mpan: str | None = text("ImportMPAN", _MPAN, optional=True)
    mprn: str | None = text("ImportMPRN", _MPRN, optional=True)
    commissioned_by: CommissionedBy = choice("CommissionedBy", CommissionedBy)
    certificate: str = text("SupplierCertificate", _CERTIFICATE)
    network: NetworkCertificates | None = one("NetworkOperator", NetworkCertificates, optional=True)
    migrate_on: str | None = text("MigrateOn", _DATE, optional=True)
    is_priority: bool = flag("Priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationAuthorisationFile:
    """A supplier to the MCC, by Thursday 10:00 of the week before; the MCC hands it to the RP."""

    group_id: str = text("GroupID", _GROUP)
    supplier: Eui64 = eui("SupplierID")
    migration_week: str = text("MigrationWeek", _DATE)  # its Monday
    authorisations: tuple[Authorisation, ...] = many("MigrationAuthorisation", Authorisation)


# --- MCF, MVF ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One home of an MCF."""

    hub: Eui64 = eui("CHFIdentifier")
    devices: tuple[DeviceEntry, ...] = many("Device", DeviceEntry, most=32)
    electricity: Supply | None = one("Electricity", Supply, optional=True)
    gas: Supply | None = one("Gas", Supply, optional=True)
    commissioned_by: CommissionedBy = choice("CommissionedBy", CommissionedBy)
    is_priority: bool = flag("Priority")

    def of_type(self, device_type: DeviceType) -> list[DeviceEntry]:
        return [entry for entry in self.devices if entry.device_type is device_type]

    def first(self, device_type: DeviceType) -> Eui64 | None:
        return next((entry.device for entry in self.of_type(device_type)), None)

    @property
    def meters(self) -> list[Eui64]:
        """GSME, then ESME: the order in which they are secured."""
        kinds = (DeviceType.GSME, DeviceType.ESME)
        return [entry.device for kind in kinds for entry in self.of_type(kind)]

    @property
    def supplies(self) -> list[Supply]:
        return [supply for supply in (self.electricity, self.gas) if supply is not None]

    @property
    def combination(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(entry.combination for entry in self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationCommonFile:
    header: MigrationHeader = one("MigrationHeader", MigrationHeader)
    installations: tuple[Installation, ...] = many("SMETS1Installation", Installation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationFailure:
    check: int = number("Check", digits=3)
    clause: str = text("Clause", _WORDS)
    reason: str = text("Description", _WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedInstallation:
    hub: Eui64 = eui("CHFIdentifier")
    failures: tuple[ValidationFailure, ...] = many("ValidationFailure", ValidationFailure, most=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationCommonValidationFile:
    """Every home of the MCF, with every failure."""

    header: MigrationHeader = one("MigrationHeader", MigrationHeader)
    installations: tuple[ValidatedInstallation, ...] = many("SMETS1Installation", ValidatedInstallation)


# --- MEF, MGF ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SuaKeyDetail:
    device: Eui64 = eui("DeviceID")
    encrypted: bytes = octets("EncryptedSUAKey", most=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuaKeyDetails:
    details: tuple[SuaKeyDetail, ...] = many("SUAKeyDetail", SuaKeyDetail, least=1, most=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKeyInformation:
    """Holds either one or the other: DA the second, every other group the first (16.16, 12.15)."""

    encrypted_master_key: bytes | None = octets("EncryptedMasterKey", optional=True)
    sua_keys: SuaKeyDetails | None = one("SUAKeyDetails", SuaKeyDetails, optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedInstallation:
    hub: Eui64 = eui("CHFIdentifier")
    s1sp_group_information: bytes | None = octets("EncryptedS1SPGroupInformation", optional=True)
    master_key: MasterKeyInformation | None = one("MasterKeyInformation", MasterKeyInformation, optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationGroupEncryptedFile:
    header: MigrationHeader = one("MigrationHeader", MigrationHeader)
    installations: tuple[EncryptedInstallation, ...] = many("SMETS1Installation", EncryptedInstallation)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInstallation:
    """WAN details, which DA has no use for: its hubs keep their SIM (16.15)."""

    hub: Eui64 = eui("CHFIdentifier")
    imsi: str = text("IMSI", "[0-9]{6,15}")
    address: str = text("IPAddress", "[0-9A-Fa-f.:]{2,45}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationGroupFile:
    header: MigrationHeader = one("MigrationHeader", MigrationHeader)
    installations: tuple[GroupInstallation, ...] = many("SMETS1Installation", GroupInstallation)


# --- SCF, COF ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ScfInstallation:
    hub: Eui64 = eui("CHFIdentifier")
    outcome: S1spOutcome = choice("Outcome", S1spOutcome)
    clause: str = text("Clause", _WORDS)
    reason: str = text("Reason", _WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class S1spCommissioningFile:
    header: MigrationHeader = one("MigrationHeader", MigrationHeader)
    installations: tuple[ScfInstallation, ...] = many("SMETS1Installation", ScfInstallation)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommissioningRequest:
    srv: str = text("ServiceReferenceVariant", _SRV)
    device: Eui64 = eui("DeviceID")
    code: str = text("ResponseCode", "[A-Z][0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CofInstallation:
    hub: Eui64 = eui("CHFIdentifier")
    outcome: CommissioningOutcome = choice("Outcome", CommissioningOutcome)
    requests: tuple[CommissioningRequest, ...] = many("CommissioningRequest", CommissioningRequest, most=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommissioningOutcomeFile:
    header: MigrationHeader = one("MigrationHeader", MigrationHeader)
    installations: tuple[CofInstallation, ...] = many("SMETS1Installation", CofInstallation)


# --- reports -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    hub: Eui64 = eui("CHFIdentifier")
    mpan: str | None = text("ImportMPAN", _MPAN, optional=True)
    mprn: str | None = text("ImportMPRN", _MPRN, optional=True)
    outcome: MigrationOutcome = choice("Outcome", MigrationOutcome)
    reason: str = text("Reason", _WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """S1MIG-001: migrations completed successfully; S1MIG-002: detail, completed unsuccessfully."""

    report: str = text("ReportID", "S1MIG-00[12]")
    from_utc_us: int = when("From")
    to_utc_us: int = when("To")
    rows: tuple[ReportRow, ...] = many("SMETS1Installation", ReportRow)


MigrationFile: TypeAlias = (
    MigrationAuthorisationFile
    | MigrationCommonFile
    | MigrationCommonValidationFile
    | MigrationGroupEncryptedFile
    | MigrationGroupFile
    | S1spCommissioningFile
    | CommissioningOutcomeFile
    | MigrationReport
)


@unique
class FileKind(StrEnum):
    """Short names as in the guide's table 7."""

    MA = "MA"
    MCF = "MCF"
    MVF = "MVF"
    MEF = "MEF"
    MGF = "MGF"
    SCF = "SCF"
    COF = "COF"
    REPORT = "S1MIG"


FILES: Final[dict[FileKind, type[MigrationFile]]] = {
    FileKind.MA: MigrationAuthorisationFile,
    FileKind.MCF: MigrationCommonFile,
    FileKind.MVF: MigrationCommonValidationFile,
    FileKind.MEF: MigrationGroupEncryptedFile,
    FileKind.MGF: MigrationGroupFile,
    FileKind.SCF: S1spCommissioningFile,
    FileKind.COF: CommissioningOutcomeFile,
    FileKind.REPORT: MigrationReport,
}
"""The root element bears the name of the class."""


def schema() -> str:
    """The XSD of all files, for other programs."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"',
        f'    xmlns:m="{NAMESPACE}" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"',
        f'    targetNamespace="{NAMESPACE}" elementFormDefault="qualified">',
    ]
    for of in FILES.values():
        lines += [
            f'  <xs:element name="{of.__name__}"><xs:complexType><xs:sequence>',
            '    <xs:element name="FileCounter"><xs:simpleType><xs:restriction base="xs:token">',
            '      <xs:pattern value="0|[1-9][0-9]{0,17}"/></xs:restriction></xs:simpleType></xs:element>',
            '    <xs:element name="OriginatorID"><xs:simpleType><xs:restriction base="xs:token">',
            '      <xs:pattern value="([0-9A-F]{2}-){7}[0-9A-F]{2}"/></xs:restriction></xs:simpleType>',
            "    </xs:element>",
            '    <xs:element name="CreationDateTime" type="xs:dateTime"/>',
            f'    <xs:element name="Content" type="m:{of.__name__}"/>',
            '    <xs:any namespace="http://www.w3.org/2000/09/xmldsig#" processContents="skip"/>',
            "  </xs:sequence></xs:complexType></xs:element>",
        ]
    lines += [*types(list(FILES.values())), "</xs:schema>", ""]
    return "\n".join(lines)
