"""Organisation certificates as requests carry them: whose they are, what for, and who vouches for them.

The owner's EUI-64 is the subject's uniqueIdentifier: a BIT STRING of 8 octets in SMKI certificates, text in
those of the test PKI. The certification path in the request ends at an authority that nobody here knows
beforehand, so it is checked as far as it goes: each certificate by one of the path. **Assumption**: no
trust anchor.
Source: DUIS-5.4.xsd, ReplacementCertificates..., CertificationPathCertificates; GBCS 12 (profiles).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from enum import StrEnum, unique
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from smets1.errors import EmulatorError, InputError
from smets1.eui64 import Eui64, parse_eui64
from smets1.firmware.civil import to_datetime

__all__ = [
    "CertificateRefusedError",
    "CertificateUse",
    "certificate_hash",
    "check_path",
    "check_use",
    "decode_base64",
    "owner_of",
    "read_certificate",
]

_MOST_OCTETS: Final = 4096


@unique
class CertificateUse(StrEnum):
    """Source: DUIS-5.4.xsd, CertificateType."""

    DIGITAL_SIGNING = "DigitalSigning"
    KEY_AGREEMENT = "KeyAgreement"
    KEY_AGREEMENT_TOP_UP = "KeyAgreementTopUp"


class CertificateRefusedError(EmulatorError):
    """`status` is the ASN.1 status that the schema has for it: badCertificate or noTrustAnchor."""

    def __init__(self, reason: str, status: str = "badCertificate") -> None:
        super().__init__(reason)
        self.status = status


def decode_base64(text: str) -> bytes:
    """Raises CertificateRefusedError."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise CertificateRefusedError("a certificate is not base64") from None


def certificate_hash(der: bytes) -> str:
    """Base64. The schema wants SHA-1: it names a certificate, and secures nothing."""
    return base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()


def read_certificate(der: bytes) -> x509.Certificate:
    """Octets from outside -> a certificate with a P-256 key. Raises CertificateRefusedError."""
    try:
        if len(der) > _MOST_OCTETS:
            raise ValueError
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        certificate.extensions  # noqa: B018 - parsed here, so that no one stumbles over them later
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
        raise CertificateRefusedError("not an X.509 certificate") from None
    except Exception as error:  # cryptography raises more than it says for odd algorithms
        raise CertificateRefusedError(f"not a certificate that can be used: {type(error).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRefusedError("its key is not one of P-256")
    return certificate


def owner_of(certificate: x509.Certificate) -> Eui64:
    """Raises CertificateRefusedError where the subject has not exactly one EUI-64."""
    names = certificate.subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER)
    if len(names) == 1:
        value = names[0].value
        if isinstance(value, bytes):
            if len(value) == 9 and value[0] == 0:  # how many bits of the last octet are unused: none
                return int.from_bytes(value[1:], "big")
        else:
            try:
                return parse_eui64(value)
            except InputError:
                pass
    raise CertificateRefusedError("its subject has no EUI-64")


def check_use(certificate: x509.Certificate, use: CertificateUse) -> None:
    """Raises CertificateRefusedError. A certificate that does not say what for is good for anything."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    is_fit = usage.digital_signature if use is CertificateUse.DIGITAL_SIGNING else usage.key_agreement
    if not is_fit:
        raise CertificateRefusedError(f"its key is not for {use}")


def check_path(
    certificates: Sequence[x509.Certificate], path: Sequence[x509.Certificate], *, at_utc_us: int | None
) -> None:
    """Each certificate is signed by one of the path, and is valid at that time (None: whenever).

    Raises CertificateRefusedError.
    """
    for certificate in certificates:
        issuers = [one for one in path if one.subject == certificate.issuer]
        if not issuers:
            raise CertificateRefusedError("its issuer is not in the certification path", "noTrustAnchor")
        if not any(_is_signed_by(certificate, issuer) for issuer in issuers):
            raise CertificateRefusedError("its signature is not its issuer's")
    if at_utc_us is None:
        return
    moment = to_datetime(at_utc_us)
    for certificate in (*certificates, *path):
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise CertificateRefusedError("a certificate is not valid at that time")


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
