"""A small test PKI: one authority, and P-256 signing credentials for users, DSP and S1SP.

Keys come from the octets handed in, so a seed repeats the whole PKI; certificates are signed by
deterministic ECDSA (RFC 6979). **For tests and laboratories only**: nobody else trusts it.
Certificates carry the EUI-64 in the subject's uniqueIdentifier, as SMKI organisation certificates do.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.headend.duis.signature import CertificateStore, Credential

__all__ = ["FilePki", "TestPki", "derive_p256"]

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
        self._name = _authority_name("SMETS1 TEST CA")

    def issue(self, eui64: Eui64, name: str) -> Credential:
        """A signing credential for one party."""
        text = format_eui64(eui64)
        key = self._derive_key(f"credential {text}")
        serial = int.from_bytes(hashlib.sha256(self._octets(f"serial {text}")).digest()[:15], "big")
        certificate = _certify(key.public_key(), self._key, self._name, eui64, name, serial | 1)
        return Credential(eui64=eui64, certificate=certificate, key=key)

    def store_of(self, *credentials: Credential) -> CertificateStore:
        """A store that trusts these."""
        store = CertificateStore()
        for credential in credentials:
            store.add(Credential(eui64=credential.eui64, certificate=credential.certificate))
        return store

    def _derive_key(self, label: str) -> ec.EllipticCurvePrivateKey:
        return derive_p256(self._octets(label)[:40])


def derive_p256(octets: bytes) -> ec.EllipticCurvePrivateKey:
    """The key that 40 secret octets stand for: 64 bits more than it has, so that none is likelier."""
    secret = int.from_bytes(octets, "big") % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(secret, ec.SECP256R1())


class FilePki:
    """A test PKI whose keys come from the operating system and live in files that the caller keeps."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls) -> FilePki:
        """A new authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        tag = x509.random_serial_number()
        # The serial in the name: two authorities of one laboratory must not look the same.
        name = _authority_name(f"SMETS1 TEST CA {tag & 0xFFFFFFFF:08X}")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(tag)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> FilePki:
        """What `authority_pem` gave. Raises InputError for anything else."""
        try:
            loaded = serialization.load_pem_private_key(key, None)
            found = x509.load_pem_x509_certificate(certificate)
        except (ValueError, TypeError):
            raise InputError("the authority's files are not a PEM certificate and its key") from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or found.public_key() != loaded.public_key():
            raise InputError("the authority's key does not belong to its certificate")
        return cls(loaded, found)

    def authority_pem(self) -> tuple[bytes, bytes]:
        """Certificate, private key."""
        return self._certificate.public_bytes(serialization.Encoding.PEM), _key_pem(self._key)

    def issue_pem(self, eui64: Eui64, name: str, *, host: str | None = None) -> tuple[bytes, bytes]:
        """Certificate and private key of one party; `host`: of a server too, at that name or IP address.

        They serve for TLS on both sides. Raises InputError for what is no host.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[x509.ExtensionType] = [
            _usage(is_authority=False),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
        ]
        if host is not None:
            extensions.append(x509.SubjectAlternativeName([_host_name(host)]))
        certificate = _certify(
            key.public_key(),
            self._key,
            self._certificate.subject,
            eui64,
            name,
            x509.random_serial_number(),
            extensions,
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def _authority_name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "07"),
        ]
    )


def _certify(
    public_key: ec.EllipticCurvePublicKey,
    by: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    eui64: Eui64,
    name: str,
    serial: int,
    extensions: Iterable[x509.ExtensionType] = (),
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, format_eui64(eui64)),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
    return builder.sign(by, hashes.SHA256(), ecdsa_deterministic=True)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise InputError(f"{host!r} is not a host name or IP address") from None


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
