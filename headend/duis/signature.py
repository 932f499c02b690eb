"""XML signatures of DUIS documents: enveloped, exclusive C14N, ECDSA P-256 with SHA-256.

The signing certificate is not in the document; `X509IssuerSerial` names it and a store that both
sides trust holds it. What is read after verifying is the tree that the signature covers, never the
document it came in, so that a signature wrapped around something else proves nothing.

Source: XML Signature Syntax and Processing 1.1, 4.5.4, 6.4.3; facts of DCC's signing tool.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.exceptions import InvalidSignature as BadDigest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureMethod,
)
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from smets1.errors import SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.civil import to_datetime
from smets1.headend.duis.codes import DS
from smets1.headend.duis.request import parse_document

__all__ = ["CertificateStore", "Credential", "IssuerSerial", "Verifier", "XmlSigner", "issuer_serial"]

_NS: Final = {"ds": DS}
_MAX_NAME: Final = 200
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,200}={0,2}")
_ENVELOPED: Final = f"{DS}enveloped-signature"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_CANONICAL: Final = frozenset(
    {_EXCLUSIVE, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2006/12/xml-c14n11"}
)
_INCLUSIVE: Final = f"{{{_EXCLUSIVE}}}InclusiveNamespaces"


@dataclass(frozen=True, slots=True)
class IssuerSerial:
    """How a document names a certificate. `issuer` is normalised: no spaces around its parts."""

    issuer: str
    serial: int

    @classmethod
    def of(cls, issuer: str, serial: int) -> IssuerSerial:
        parts = [part.strip() for part in issuer.split(",")]
        return cls(
            ",".join(f"{k.strip()}={v.strip()}" for k, _, v in (p.partition("=") for p in parts)), serial
        )


def issuer_serial(certificate: x509.Certificate) -> IssuerSerial:
    return IssuerSerial.of(certificate.issuer.rfc4514_string(), certificate.serial_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate of a known party and, on that party's own side, its private key."""

    eui64: Eui64
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)


class CertificateStore:
    """Trusted certificates, looked up as a signature names them. Being in it is what makes one trusted."""

    def __init__(self) -> None:
        self._by_name: dict[IssuerSerial, Credential] = {}

    def add(self, credential: Credential) -> None:
        self._by_name[issuer_serial(credential.certificate)] = credential

    def find(self, name: IssuerSerial) -> Credential | None:
        return self._by_name.get(name)

    def of(self, eui64: Eui64) -> list[Credential]:
        """All of one party, in the order in which they were added."""
        return [known for known in self._by_name.values() if known.eui64 == eui64]


_SIGNED_INFO: Final = (
    f'<ds:SignedInfo xmlns:ds="{DS}">'
    '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod>'
    '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"></ds:SignatureMethod>'
    '<ds:Reference URI=""><ds:Transforms>'
    '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>'
    '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms>'
    '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>'
    "<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
)
_SIGNATURE: Final = (
    f'<ds:Signature xmlns:ds="{DS}">'
    "{info}<ds:SignatureValue>{value}</ds:SignatureValue>{key_info}</ds:Signature>"
)
_KEY_INFO: Final = (
    "<ds:KeyInfo><ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>{issuer}</ds:X509IssuerName>"
    "<ds:X509SerialNumber>{serial}</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data></ds:KeyInfo>"
)


class XmlSigner:
    """Signs with one credential, which must have its key."""

    def __init__(self, credential: Credential) -> None:
        assert credential.key is not None, "a signer needs a private key"
        self._key = credential.key
        name = issuer_serial(credential.certificate)
        self._key_info = _KEY_INFO.format(issuer=escape(name.issuer), serial=name.serial)

    def sign(self, root: etree._Element) -> etree._Element:
        """The same document with `ds:Signature` as last child of its root.

        Every part of SignedInfo but the digest is always the same, so it is written down in canonical form;
        a general library builds it anew each time, which costs more than the signature does. The same
        document gives the same signature (RFC 6979).
        """
        octets = etree.tostring(root, method="c14n", exclusive=True, with_comments=False)
        info = _SIGNED_INFO.format(digest=_base64(hashlib.sha256(octets).digest()))
        scheme = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self._key.sign(info.encode(), scheme))
        value = _base64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        root.append(etree.fromstring(_SIGNATURE.format(info=info, value=value, key_info=self._key_info)))
        return root


class Verifier:
    """Verifies signatures against a certificate store."""

    def __init__(self, store: CertificateStore) -> None:
        self._store = store

    def certificate_of(self, eui64: Eui64) -> bytes | None:
        """DER of a party's newest certificate here; None: it has none."""
        known = self._store.of(eui64)
        return known[-1].certificate.public_bytes(serialization.Encoding.DER) if known else None

    def verify(self, octets: bytes, *, now_utc_us: int) -> tuple[etree._Element, Credential]:
        """Octets from outside -> the root that was signed, and by whom.

        Raises SecurityError (unsigned, forged, unknown or expired certificate) and DuisError.
        """
        root = parse_document(octets)
        credential = self._signer_of(root)
        config = SignatureConfiguration(
            require_x509=True,
            location="./",
            expect_references=1,
            signature_methods=frozenset({SignatureMethod.ECDSA_SHA256}),
            digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
            verification_time=to_datetime(now_utc_us),
            default_reference_c14n_method=CanonicalizationMethod.CANONICAL_XML_1_0,
        )
        try:
            result = XMLVerifier().verify(root, x509_cert=credential.certificate, expect_config=config)
        except (SignXMLException, BadDigest, ValueError, KeyError, TypeError, etree.LxmlError) as error:
            raise SecurityError(f"bad signature: {' '.join(str(error).split())[:160]}") from None
        signed = None if isinstance(result, list) else result.signed_xml
        if signed is None or signed.tag != root.tag:
            raise SecurityError("bad signature: it does not cover the document")
        return signed, credential

    def is_signed_by(self, eui64: Eui64, signature: bytes, octets: bytes) -> bool:
        """Whether one of the party's certificates verifies `signature` (r | s, 64 octets; foreign octets)."""
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        encoded = encode_dss_signature(r, s)
        for credential in self._store.of(eui64):
            key = credential.certificate.public_key()
            try:
                if isinstance(key, ec.EllipticCurvePublicKey):
                    key.verify(encoded, octets, ec.ECDSA(hashes.SHA256()))
                    return True
            except BadDigest:
                continue
        return False

    def _signer_of(self, root: etree._Element) -> Credential:
        signatures = list(root.iter(f"{{{DS}}}Signature"))
        if len(signatures) != 1 or signatures[0].getparent() is not root or signatures[0] is not root[-1]:
            raise SecurityError("bad signature: one ds:Signature must be the last part of the document")
        _check_form(signatures[0])
        issuer = signatures[0].findtext(".//ds:X509IssuerName", namespaces=_NS) or ""
        serial = (signatures[0].findtext(".//ds:X509SerialNumber", namespaces=_NS) or "").strip()
        if not serial.isascii() or not serial.isdigit() or len(serial) > 50 or len(issuer) > _MAX_NAME:
            raise SecurityError("bad signature: X509IssuerSerial is missing or malformed")
        credential = self._store.find(IssuerSerial.of(issuer, int(serial)))
        if credential is None:
            raise SecurityError("bad signature: its certificate is not known here")
        return credential


def _check_form(signature: etree._Element) -> None:
    """It covers the whole document, and says so in no other way than DUIS does. Raises SecurityError.

    A library passes over a transform that it does not know; another reader of the same document may not.
    """
    for reference in signature.iterfind("ds:SignedInfo/ds:Reference", _NS):
        if reference.get("URI") != "":
            raise SecurityError("bad signature: it does not refer to the whole document")
        transforms = reference.findall("ds:Transforms/*", _NS)
        names = [transform.get("Algorithm", "") for transform in transforms]
        is_known = names[:1] == [_ENVELOPED] and len(names) <= 2 and set(names[1:]) <= _CANONICAL
        kinds = {str(part.tag) for transform in transforms for part in transform}
        if not is_known or not kinds <= {_INCLUSIVE}:
            raise SecurityError("bad signature: a transform that DUIS does not have")
    for path in ("ds:SignatureValue", "ds:SignedInfo/ds:Reference/ds:DigestValue"):
        text = "".join((signature.findtext(path, namespaces=_NS) or "").split())
        if not _BASE64.fullmatch(text):
            raise SecurityError(f"bad signature: {path} is not base64")


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
