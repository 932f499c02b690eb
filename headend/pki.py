"""A small test PKI: one authority, and P-256 signing credentials for users, DSP and S1SP.

Keys come from the octets handed in, so a seed repeats the whole PKI; certificates are signed by
deterministic ECDSA (RFC 6979). **For tests and laboratories only**: nobody else trusts it.
Certificates carry the EUI-64 in the subject's uniqueIdentifier, as SMKI organisation certificates do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from smets1.eui64 import Eui64, format_eui64
from smets1.headend.duis.signature import CertificateStore, Credential

__all__ = ["TestPki", "credential_pem"]

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Wide enough for any emulated date: LCL data begin in 2013.
_NOT_BEFORE: Final = datetime(2010, 1, 1, tzinfo=UTC)
_NOT_AFTER: Final = datetime(2099, 12, 31, tzinfo=UTC)


class TestPki:
    """Issues credentials; the same `octets` function gives the same PKI."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, octets: Callable[[str], bytes]) -> None:
        """`octets(label)` gives at least 40 secret octets per label, as a seed tree does."""
        self._octets = octets
        self._key = self._derive_key("authority")
        self._name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "SMETS1 TEST CA"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "07"),
            ]
        )

    def issue(self, eui64: Eui64, name: str) -> Credential:
        """A signing credential for one party."""
        text = format_eui64(eui64)
        key = self._derive_key(f"credential {text}")
        serial = int.from_bytes(hashlib.sha256(self._octets(f"serial {text}")).digest()[:15], "big")
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, text),
            ]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(serial | 1)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)
        )
        return Credential(eui64=eui64, certificate=certificate, key=key)

    def store_of(self, *credentials: Credential) -> CertificateStore:
        """A store that trusts these."""
        store = CertificateStore()
        for credential in credentials:
            store.add(Credential(eui64=credential.eui64, certificate=credential.certificate))
        return store

    def _derive_key(self, label: str) -> ec.EllipticCurvePrivateKey:
        secret = int.from_bytes(self._octets(label)[:40], "big") % (_P256_ORDER - 1) + 1
        return ec.derive_private_key(secret, ec.SECP256R1())


def credential_pem(credential: Credential) -> bytes:
    """Certificate and, where it is there, private key, to give to a client program. Secret."""
    pem = credential.certificate.public_bytes(serialization.Encoding.PEM)
    if credential.key is not None:
        pem += credential.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    return pem
