"""Credentials of devices: placed, replaced, handed over, waited for, shown; and who hears of it."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from lxml import etree
from tests.headend.conftest import DSP, ESME, NETWORK, NS, SUPPLIER, Rig, code_of, request_xml

from smets1.eui64 import format_eui64
from smets1.headend.certificates import CertificateRefusedError, CertificateUse, owner_of, read_certificate
from smets1.headend.credentials import Credentials, PartyRole
from smets1.headend.duis.codes import DeviceType
from smets1.headend.inventory import InventoryDevice

OTHER_SUPPLIER = SUPPLIER + 0x77
OTHER_USER = SUPPLIER + 0x20000


class Authority:
    """A certificate authority of the test's own, as SMKI's look."""

    def __init__(self, name: str = "Z1") -> None:
        self.key = ec.derive_private_key(4711, ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), None, 2015, 2040)

    def issue(
        self, owner: int, use: CertificateUse, *, years: tuple[int, int] = (2020, 2035), curve: Any = None
    ) -> bytes:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        bits = x509.NameAttribute(
            NameOID.X500_UNIQUE_IDENTIFIER, b"\0" + owner.to_bytes(8, "big"), _ASN1Type.BitString
        )
        return self._sign(x509.Name([bits]), key.public_key(), use, *years).public_bytes(
            serialization.Encoding.DER
        )

    def _sign(self, subject: Any, key: Any, use: CertificateUse | None, first: int, last: int) -> Any:
        is_signing = use is CertificateUse.DIGITAL_SIGNING
        usage = x509.KeyUsage(
            digital_signature=is_signing, key_agreement=use is not None and not is_signing,
            key_cert_sign=use is None, content_commitment=False, key_encipherment=False,
            data_encipherment=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(first, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(last, 1, 1, tzinfo=UTC))
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def path(self) -> str:
        return _base64(self.certificate.public_bytes(serialization.Encoding.DER))


def _base64(der: bytes) -> str:
    return base64.b64encode(der).decode()


def body(
    name: str,
    role: str,
    authority: Authority,
    certificates: dict[CertificateUse, bytes],
    *,
    date: str | None = None,
    floor: int = 7,
    path: str | None = None,
) -> str:
    placed = "".join(
        f"<sr:{use}Certificate>{_base64(der)}</sr:{use}Certificate>" for use, der in certificates.items()
    )
    if name == "UpdateSecurityCredentialsKRP":
        placed = (
            f"<sr:SupplierOrNetworkOperatorCertificates>{placed}</sr:SupplierOrNetworkOperatorCertificates>"
        )
    is_cos = name == "UpdateSecurityCredentialsCoS"
    prefix, holder = (
        ("Supplier", "SupplierReplacementCertificates")
        if is_cos
        else ("RemoteParty", "ReplacementCertificates")
    )
    return (
        f"<sr:{name}>"
        + (f"<sr:ExecutionDateTime>{date}</sr:ExecutionDateTime>" if date else "")
        + ("" if is_cos else f"<sr:RemotePartyRole>{role}</sr:RemotePartyRole>")
        + f"<sr:{prefix}FloorSeqNumber>{floor}</sr:{prefix}FloorSeqNumber>"
        + f"<sr:{holder}>{placed}</sr:{holder}>"
        + f"<sr:CertificationPathCertificates><sr:Certificate>{path or authority.path}</sr:Certificate>"
        + "</sr:CertificationPathCertificates><sr:ApplyTimeBasedCPVChecks>true</sr:ApplyTimeBasedCPVChecks>"
        + ("<sr:ImportMPxN>1234567890123</sr:ImportMPxN>" if is_cos else "")
        + f"</sr:{name}>"
    )


KRP, HANDOVER, COS = (
    "UpdateSecurityCredentialsKRP",
    "RequestHandoverOfDCCControlledDevice",
    "UpdateSecurityCredentialsCoS",
)
SIGNING, AGREEMENT = CertificateUse.DIGITAL_SIGNING, CertificateUse.KEY_AGREEMENT
_counter = iter(range(5000, 9000))


async def ask(rig: Rig, srv: str, text: str, *, originator: int = SUPPLIER) -> etree._Element:
    xml = request_xml(srv, text, originator=format_eui64(originator), counter=next(_counter))
    response = await rig.ask(xml)
    assert code_of(response) == "I0", etree.tostring(response)
    return response


def success(response: etree._Element) -> str | None:
    (data,) = response.findall(".//ra:SMETSData/*", NS)
    return data.get("MessageSuccess")


def status(response: etree._Element) -> str | None:
    return response.findtext(".//ra:ASN1Status", namespaces=NS)


def alerts(rig: Rig, code: str) -> list[int]:
    """Users who have had this DCC alert."""
    found = [(r.user, etree.fromstring(r.xml)) for r in rig.head_end.responses(limit=1000)]
    return [user for user, xml in found if xml.findtext(".//sr:DCCAlertCode", namespaces=NS) == code]


async def test_a_party_replaces_its_own(rig: Rig, schema: Any) -> None:
    authority = Authority()
    first = {use: authority.issue(SUPPLIER, use) for use in (SIGNING, AGREEMENT)}
    response = await ask(rig, "6.15.1", body(KRP, "Supplier", authority, first))
    schema(response)
    assert success(response) == "true"
    assert response.findtext(".//ra:CredentialsReplacementMode", namespaces=NS) == "SupplierBySupplier"
    assert alerts(rig, "N42") == [SUPPLIER]
    newer = {SIGNING: authority.issue(SUPPLIER, SIGNING)}
    response = await ask(rig, "6.15.1", body(KRP, "Supplier", authority, newer, floor=9))
    assert response.findtext(".//ra:ExistingRemotePartyID", namespaces=NS) == format_eui64(SUPPLIER)
    held = rig.head_end.credentials.find(ESME, PartyRole.SUPPLIER)
    assert held is not None
    assert dict(held.certificates) == {SIGNING: newer[SIGNING], AGREEMENT: first[AGREEMENT]}, (
        "what is not named stays"
    )
    assert held.floor == 9


async def test_they_are_shown(rig: Rig, schema: Any) -> None:
    authority = Authority()
    asked = "".join(
        f"<sr:RemotePartyRole>{role}</sr:RemotePartyRole>"
        for role in ("Supplier", "NetworkOperator", "LoadController")
    )
    text = f"<sr:RetrieveDeviceSecurityCredentialsKRP>{asked}</sr:RetrieveDeviceSecurityCredentialsKRP>"
    empty = await ask(rig, "6.24.1", text)
    schema(empty)
    assert [e.text for e in empty.findall(".//ra:ASN1Status", NS)] == ["trustAnchorNotFound"] * 3
    placed = {use: authority.issue(NETWORK, use) for use in (SIGNING, AGREEMENT)}
    await ask(rig, "6.15.1", body(KRP, "NetworkOperator", authority, placed), originator=NETWORK)
    full = await ask(rig, "6.24.1", text)
    schema(full)
    statuses = [e.text for e in full.findall(".//ra:ASN1Status", NS)]
    assert statuses == ["trustAnchorNotFound", "success", "success", "trustAnchorNotFound"]
    assert full.findtext(".//ra:ExistingRemotePartyID", namespaces=NS) == format_eui64(NETWORK)
    digest = hashes.Hash(hashes.SHA1())
    digest.update(placed[SIGNING])
    assert full.findtext(".//ra:ExistingCertificateHash", namespaces=NS) == _base64(digest.finalize())


async def test_nobody_replaces_anothers(rig: Rig) -> None:
    authority = Authority()
    mine = {SIGNING: authority.issue(NETWORK, SIGNING)}
    refused = await ask(rig, "6.15.1", body(KRP, "Supplier", authority, mine), originator=NETWORK)
    assert success(refused) == "false"
    rig.head_end.credentials.place(
        ESME, Credentials(role=PartyRole.SUPPLIER, owner=OTHER_SUPPLIER, certificates=((SIGNING, b"x"),))
    )
    own = {SIGNING: authority.issue(SUPPLIER, SIGNING)}
    refused = await ask(rig, "6.15.1", body(KRP, "Supplier", authority, own))
    assert success(refused) == "false"
    refused = await ask(rig, "6.21", body(HANDOVER, "Supplier", authority, own))
    assert success(refused) == "false", "it is not DCC controlled any more"
    assert alerts(rig, "N42") == []


async def test_handover_of_a_device_without_owner(rig: Rig, schema: Any) -> None:
    authority = Authority()
    given = {SIGNING: authority.issue(NETWORK, SIGNING)}
    response = await ask(rig, "6.21", body(HANDOVER, "NetworkOperator", authority, given))
    schema(response)
    assert success(response) == "true"
    assert alerts(rig, "N42") == [NETWORK], "whoever's credentials were placed"


async def test_change_of_supplier(rig: Rig, schema: Any) -> None:
    authority = Authority()
    rig.head_end.credentials.place(
        ESME,
        Credentials(
            role=PartyRole.SUPPLIER, owner=OTHER_SUPPLIER, certificates=((SIGNING, b"x"), (AGREEMENT, b"y"))
        ),
    )
    new = {SIGNING: authority.issue(SUPPLIER, SIGNING)}
    response = await ask(rig, "6.23", body(COS, "Supplier", authority, new))
    schema(response)
    assert success(response) == "true"
    held = rig.head_end.credentials.find(ESME, PartyRole.SUPPLIER)
    assert held is not None
    assert (held.owner, len(held.certificates)) == (SUPPLIER, 1), "nothing of the former supplier stays"
    wrong = body(COS, "Supplier", authority, new).replace("1234567890123", "1111111111111")
    assert success(await ask(rig, "6.23", wrong)) == "false"


async def test_a_date_to_come_and_its_cancellation(rig: Rig, schema: Any) -> None:
    authority = Authority()
    mine = {SIGNING: authority.issue(SUPPLIER, SIGNING)}
    response = await ask(rig, "6.15.1", body(KRP, "Supplier", authority, mine, date="2024-03-05T00:00:00Z"))
    schema(response)
    assert success(response) == "true"
    assert response.find(".//ra:ExecutionOutcome", NS) is None, "nothing has come of it yet"
    cancelled = body(KRP, "Supplier", authority, mine, date="3000-12-31T00:00:00Z")
    assert success(await ask(rig, "6.15.1", cancelled)) == "true"
    await asyncio.sleep(7 * 86_400)
    assert rig.head_end.credentials.find(ESME, PartyRole.SUPPLIER) is None

    await ask(rig, "6.15.1", body(KRP, "Supplier", authority, mine, date="2024-03-20T00:00:00Z"))
    await rig.restart()
    await asyncio.sleep(5 * 86_400)
    assert rig.head_end.credentials.find(ESME, PartyRole.SUPPLIER) is None
    await asyncio.sleep(7 * 86_400)
    assert rig.head_end.credentials.find(ESME, PartyRole.SUPPLIER) is not None
    assert alerts(rig, "N42") == [SUPPLIER]
    told = [r.xml for r in rig.head_end.responses(limit=1000) if b"<ra:GBCSHexAlertCode>8F66<" in r.xml]
    assert len(told) == 1
    schema(etree.fromstring(told[0]))


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("garbage", "badCertificate"),
        ("truncated", "badCertificate"),
        ("wrong use", "badCertificate"),
        ("expired", "badCertificate"),
        ("other curve", "badCertificate"),
        ("two owners", "badCertificate"),
        ("forged", "badCertificate"),
        ("no path", "noTrustAnchor"),
    ],
)
async def test_bad_certificates(rig: Rig, schema: Any, what: str, expected: str) -> None:
    authority, path = Authority(), None
    good = authority.issue(SUPPLIER, SIGNING)
    certificates = {SIGNING: good}
    if what == "garbage":
        certificates = {SIGNING: b"\x30\x03abc"}
    elif what == "truncated":
        certificates = {SIGNING: good[:-20]}
    elif what == "wrong use":
        certificates = {AGREEMENT: good}
    elif what == "expired":
        certificates = {SIGNING: authority.issue(SUPPLIER, SIGNING, years=(2020, 2022))}
    elif what == "other curve":
        certificates = {SIGNING: authority.issue(SUPPLIER, SIGNING, curve=ec.SECP384R1())}
    elif what == "two owners":
        certificates[AGREEMENT] = authority.issue(NETWORK, AGREEMENT)
    elif what == "forged":
        certificates = {SIGNING: good[:-3] + bytes((good[-3] ^ 1,)) + good[-2:]}
    else:
        path = Authority("Z2").path
    response = await ask(rig, "6.15.1", body(KRP, "Supplier", authority, certificates, path=path))
    schema(response)
    assert (success(response), status(response)) == ("false", expected)
    assert rig.head_end.credentials.find(ESME, PartyRole.SUPPLIER) is None
    assert alerts(rig, "N42") == []


async def test_without_time_based_checks_an_old_certificate_will_do(rig: Rig) -> None:
    authority = Authority()
    old = {SIGNING: authority.issue(SUPPLIER, SIGNING, years=(2020, 2022))}
    text = body(KRP, "Supplier", authority, old).replace(">true</sr:Apply", ">false</sr:Apply")
    assert success(await ask(rig, "6.15.1", text)) == "true"


async def test_a_role_that_a_smets1_device_does_not_have(rig: Rig, schema: Any) -> None:
    authority = Authority()
    response = await ask(
        rig, "6.15.1", body(KRP, "LoadController", authority, {SIGNING: authority.issue(SUPPLIER, SIGNING)})
    )
    schema(response)
    assert success(response) == "false"


async def test_commissioning_places_the_first_ones(make_rig: Any, schema: Any) -> None:
    rig: Rig = await make_rig()
    meter = InventoryDevice(eui64=ESME, device_type=DeviceType.ESME, hub=ESME + 2, mpxn="1234567890123")
    rig.head_end.inventory.put(meter)
    text = (
        "<sr:CommissionDeviceSynchroniseClock><sr:CurrentDateTime>2024-03-01T12:00:00Z</sr:CurrentDateTime>"
        "<sr:TolerancePeriod>10</sr:TolerancePeriod></sr:CommissionDeviceSynchroniseClock>"
    )
    await ask(rig, "8.1.1", text)
    assert alerts(rig, "N55") == [SUPPLIER]
    assert alerts(rig, "N16") == [NETWORK]
    assert alerts(rig, "N42") == [SUPPLIER, NETWORK]
    await ask(rig, "8.1.1", text)
    assert len(alerts(rig, "N42")) == 2, "they are there already"
    for response in rig.head_end.responses(limit=100):
        schema(etree.fromstring(response.xml))


@pytest.mark.outsider
def test_certificates_of_the_reference_requests(duis_templates: Path) -> None:
    text = next(duis_templates.glob("CS02bSupplierByTransCoS_6.23_IMMEDIATE*")).read_bytes()
    found = etree.fromstring(text).findall(".//sr:SupplierReplacementCertificates/*", NS)
    assert [owner_of(read_certificate(base64.b64decode(e.text or ""))) for e in found] == [OTHER_USER] * 3


def test_random_octets_are_no_certificate() -> None:
    authority = Authority()
    good = authority.issue(DSP, SIGNING)
    for size in range(0, len(good), 7):
        with pytest.raises(CertificateRefusedError):
            read_certificate(good[:size])
    with pytest.raises(CertificateRefusedError):
        read_certificate(b"\x30" * 5000)
