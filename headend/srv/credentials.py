"""Credentials: 6.15.1 Update (KRP), 6.21 Handover, 6.23 Update (CoS), 6.24.1 Retrieve (KRP).

The plans judge a request and say what is to change; `effects` makes the change, in the transaction that
writes the response. No device is asked: see `headend.credentials`. Who may replace what:

    6.15.1  a party its own credentials
    6.21    a supplier any of them, where nobody's are there yet, or the same party's
    6.23    a new supplier the former one's, at a meter of the MPxN that it names (the reference requests
            place certificates of another EUI-64 than the asker's, so whose they are is not judged)

A future date of 6.15.1 is kept by the S1SP, in the place of the device: the answer comes at once and says
nothing of the outcome. Source: MMC-5.4.xsd, UpdateSecurityCredentials...Rsp, ExecutionOutcome,
RemotePartyDetails; GBCS 13.2 (credentials replacement modes). Which refusals there are is an **assumption**.
"""

from __future__ import annotations

from typing import Final

from smets1.eui64 import format_eui64
from smets1.firmware.zcl.status import Status
from smets1.headend.certificates import (
    CertificateRefusedError,
    CertificateUse,
    certificate_hash,
    check_path,
    check_use,
    decode_base64,
    owner_of,
    read_certificate,
)
from smets1.headend.credentials import Credentials, PartyRole
from smets1.headend.duis.codes import UserRole
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import DebugEntry, node
from smets1.headend.srv.content import invalid, require
from smets1.headend.srv.meter import METERS_AND_PROXY
from smets1.headend.srv.steps import Outcome, Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS", "due_utc_us", "new_credentials"]

_ROLES: Final = {
    PartyRole.SUPPLIER: frozenset({UserRole.IS, UserRole.GS}),
    PartyRole.NETWORK_OPERATOR: frozenset({UserRole.ED, UserRole.GT}),
}
_MODES: Final = {
    PartyRole.SUPPLIER: "SupplierBySupplier",
    PartyRole.NETWORK_OPERATOR: "NetworkOperatorByNetworkOperator",
}
_COS: Final = "6.23"
_HANDOVER: Final = "6.21"
_MOST_IN_PATH: Final = 3
# StatusASN1: which number goes with which status is an **assumption**.
_STATUS: Final = {
    "success": 0,
    "badCertificate": 1,
    "noTrustAnchor": 2,
    "trustAnchorNotFound": 25,
    "other": 127,
}


def new_credentials(task: Task) -> Credentials:
    """What a request asks to be placed. Raises RefusedByDeviceError, CertificateRefusedError."""
    body = task.body
    if task.srv == _COS:
        role, holder, prefix = PartyRole.SUPPLIER, body.find("SupplierReplacementCertificates"), "Supplier"
    else:
        role, holder, prefix = (
            _role(body.value("RemotePartyRole")),
            body.find("ReplacementCertificates"),
            "RemoteParty",
        )
    if holder is not None and task.srv != _COS:
        holder = holder.find("SupplierOrNetworkOperatorCertificates") or holder
    given = [(use, holder.value(f"{use}Certificate")) for use in CertificateUse] if holder else []
    ders = tuple((use, decode_base64(text)) for use, text in given if text is not None)
    require(bool(ders), "the request holds no certificate")
    return Credentials(
        role=role,
        owner=_common_owner(task, ders),
        certificates=ders,
        floor=_floor(body.value(f"{prefix}FloorSeqNumber")) or 0,
        top_up_floor=_floor(body.value(f"{prefix}PrepaymentTopUpFloorSeqNumber")),
    )


def _role(text: str | None) -> PartyRole:
    try:
        return PartyRole(text or "")
    except ValueError:
        raise invalid(f"a SMETS1 device has no {text}") from None


def _floor(text: str | None) -> int | None:
    if text is None:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    require(is_number, "a floor sequence number is not a number")
    return int(text)


def _common_owner(task: Task, ders: tuple[tuple[CertificateUse, bytes], ...]) -> int:
    """All certificates are good, and one party's."""
    path = [
        read_certificate(decode_base64(child.text))
        for child in (task.body.find("CertificationPathCertificates") or XmlNode("")).children[:_MOST_IN_PATH]
    ]
    certificates = [read_certificate(der) for _, der in ders]
    for (use, _), certificate in zip(ders, certificates, strict=True):
        check_use(certificate, use)
    is_timed = task.body.value("ApplyTimeBasedCPVChecks") in ("true", "1")
    when_us = max(task.accepted_utc_us, task.execution_utc_us or 0)
    check_path(certificates, path, at_utc_us=when_us if is_timed else None)
    owners = {owner_of(certificate) for certificate in certificates}
    if len(owners) > 1:
        raise CertificateRefusedError("the certificates are of several parties")
    return owners.pop()


def due_utc_us(task: Task) -> int | None:
    """When the S1SP is to make the change; None: at once, or the DSP has waited already."""
    if task.srv != "6.15.1" or (when_us := task.execution_utc_us) is None:
        return None
    return when_us if when_us > task.accepted_utc_us else None


def _check_authority(task: Task, new: Credentials) -> None:
    held = task.credentials(new.role)
    if task.srv == _COS:
        mpxn = (task.body.value("ImportMPxN") or "").lstrip("0")
        if task.device.mpxn is not None and mpxn != task.device.mpxn.lstrip("0"):
            raise RefusedByDeviceError("the meter is not of that MPxN", Status.NOT_AUTHORIZED)
    elif task.srv == _HANDOVER:
        if held is not None and held.owner != new.owner:
            raise RefusedByDeviceError(f"the device has a {new.role} already", Status.NOT_AUTHORIZED)
    elif task.role not in _ROLES[new.role]:
        raise RefusedByDeviceError(f"only a {new.role} replaces a {new.role}'s", Status.NOT_AUTHORIZED)
    elif held is not None and held.owner != task.originator:
        raise RefusedByDeviceError(
            f"the device's {new.role} is {format_eui64(held.owner)}", Status.NOT_AUTHORIZED
        )


def _update(task: Task) -> PlanRun:
    yield from ()  # a plan that asks no device
    name = f"{task.body.name}Rsp"
    if task.is_cancellation:
        _role(task.body.value("RemotePartyRole"))
        return succeed(name, answer=None)
    try:
        new = new_credentials(task)
    except CertificateRefusedError as error:
        return _bad_certificate(name, error)
    _check_authority(task, new)
    outcome = None if due_utc_us(task) is not None else _outcome(task, new)
    return succeed(name, outcome, answer=None)


def _bad_certificate(name: str, error: CertificateRefusedError) -> Outcome:
    replaced = node("ReplacementOutcome", [_asn1("StatusCode", error.status)])
    data = node(name, [node("ExecutionOutcome", [replaced])], MessageSuccess=False)
    return Outcome(data=data, debug=(DebugEntry(error=str(error), response_code=_STATUS[error.status]),))


def _outcome(task: Task, new: Credentials) -> XmlNode | None:
    held = task.credentials(new.role)
    before = {} if held is None else dict(held.certificates)
    replaced = [
        node(
            "ReplacementOutcome",
            [
                _asn1("StatusCode", "success"),
                node("CertificateType", use),
                node("RemotePartyRole", new.role),
                None if held is None else node("ExistingRemotePartyID", format_eui64(held.owner)),
                node("NewRemotePartyID", format_eui64(new.owner)),
                node("ExistingCertificateHash", certificate_hash(before[use])) if use in before else None,
                node("NewCertificateHash", certificate_hash(der)),
            ],
        )
        for use, der in new.certificates
    ]
    floors = [
        node("RemotePartyRole", new.role),
        node("RemotePartyFloorSeqNumber", new.floor),
        node("RemotePartyPrepaymentTopUpFloorSeqNumber", new.top_up_floor),
    ]
    return node(
        "ExecutionOutcome",
        [
            node("AuthorisingRemotePartyOriginatorCounter", task.counter),
            node(
                "CredentialsReplacementMode", "SupplierByTransCoS" if task.srv == _COS else _MODES[new.role]
            ),
            node("RemotePartySeqNumberChange", floors),
            *replaced,
        ],
    )


def _retrieve(task: Task) -> PlanRun:
    yield from ()  # a plan that asks no device
    asked = [child.text for child in task.body.children if child.name == "RemotePartyRole"]
    return succeed("RetrieveDeviceSecurityCredentialsKRPRsp", *_details(task, asked), answer=None)


def _details(task: Task, asked: list[str]) -> list[XmlNode | None]:
    details: list[XmlNode | None] = []
    for text in asked:
        held = task.credentials(PartyRole(text)) if text in tuple(PartyRole) else None
        role = node("RemotePartyRole", text)
        if held is None:
            details.append(node("RemotePartyDetails", [role, _asn1("StatusCode", "trustAnchorNotFound")]))
            continue
        details += [
            node(
                "RemotePartyDetails",
                [
                    role,
                    _asn1("StatusCode", "success"),
                    node("RemotePartyFloorSeqNumber", held.floor),
                    node("CertificateUsage", use),
                    node("ExistingRemotePartyID", format_eui64(held.owner)),
                    node("ExistingCertificateHash", certificate_hash(der)),
                ],
            )
            for use, der in held.certificates
        ]
    return details


def _asn1(name: str, status: str) -> XmlNode | None:
    return node(name, [node("ASN1Status", status)], ResponseCode=_STATUS[status])


def _plan(srv: str, body_name: str, *, is_read: bool = False) -> Plan:
    return Plan(
        srv=srv,
        body_name=body_name,
        response_name=f"{body_name}Rsp",
        devices=METERS_AND_PROXY,
        run=_retrieve if is_read else _update,
    )


PLANS: Final = (
    _plan("6.15.1", "UpdateSecurityCredentialsKRP"),
    _plan(_HANDOVER, "RequestHandoverOfDCCControlledDevice"),
    _plan(_COS, "UpdateSecurityCredentialsCoS"),
    _plan("6.24.1", "RetrieveDeviceSecurityCredentialsKRP", is_read=True),
)
