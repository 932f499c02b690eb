"""Certificate-based key establishment: implicit certificates, ECMQV and the values of one side.

Two devices hold implicit certificates of one CA and agree on a link key in four messages:

    U (initiator)                                         V (responder)
    certificate U          -- Initiate Key Establishment -->   certificate V
    ephemeral point QEU    -- Ephemeral Data -->               ephemeral point QEV
    MACU                   -- Confirm Key Data -->             MACV

The message order, the timers and the Terminate codes belong to the Key Establishment cluster; here are
the octets and the arithmetic. An implicit certificate carries no signature: it carries a point P from
which everybody computes the subject's public key Q = e*P + Q_CA with e = MMO(certificate), and only the
true subject knows the matching private key. So a false certificate is noticed where the MACs differ.

`CbkeSide.establish` never forms Q: with s = d_ephemeral + avf(QE)*d_static, the shared point
h*s*(QE' + avf(QE')*(e*P' + Q_CA)) is one sum of three multiples, which share their squarings.

Sources: ZigBee Smart Energy 1.4, annex C; SEC 4 (ECQV); SEC 1, 3.4 and 6.2 (MQV).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import IntEnum, unique
from random import Random
from typing import ClassVar, Final, Self, TypeAlias

from smets1.errors import DecodeError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.crypto.binary_curve import SECT163K1, SECT283K1, BinaryCurve, Point
from smets1.firmware.crypto.mmo import hmac_mmo, mmo_hash

__all__ = [
    "TEST_CA_EUI64",
    "CbkeSide",
    "CbkeSuite",
    "Certificate",
    "DeviceIdentity",
    "EphemeralKey",
    "EstablishedKeys",
    "Suite1Certificate",
    "Suite2Certificate",
    "TestCa",
    "certificate_octets",
    "decode_certificate",
    "reconstruct_public_key",
    "shared_secret",
]

TEST_CA_EUI64: Final[Eui64] = int.from_bytes(b"SMETS1CA", "big")
"""Issuer of our own certificates; readable in a capture, and nobody's real EUI-64."""

_U_MARK, _V_MARK = b"\x02", b"\x03"


@unique
class CbkeSuite(IntEnum):
    """Bit of the KeyEstablishmentSuite attribute. Source: SE 1.4, annex C."""

    SUITE_1 = 0x0001  # sect163k1
    SUITE_2 = 0x0002  # sect283k1

    @property
    def curve(self) -> BinaryCurve:
        return SECT163K1 if self is CbkeSuite.SUITE_1 else SECT283K1


# --- certificates -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite1Certificate:
    """48 octets, EUI-64s big-endian: point 22, subject 8, issuer 8, profile data 10.

    Source: SE 1.4, annex C.
    """

    SUITE: ClassVar[CbkeSuite] = CbkeSuite.SUITE_1
    SIZE_OCTETS: ClassVar[int] = 48

    point: bytes  # 22 octets, compressed; judged where it is used
    subject: Eui64
    issuer: Eui64
    profile_data: bytes  # 10 octets; begins with the profile id, 0109 for Smart Energy

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Foreign octets, exactly 48. Raises DecodeError."""
        if len(octets) != cls.SIZE_OCTETS:
            raise DecodeError("certificate", len(octets), "of suite 1 has 48 octets")
        return cls(
            point=octets[:22],
            subject=int.from_bytes(octets[22:30], "big"),
            issuer=int.from_bytes(octets[30:38], "big"),
            profile_data=octets[38:],
        )

    def encode(self) -> bytes:
        return (
            self.point + self.subject.to_bytes(8, "big") + self.issuer.to_bytes(8, "big") + self.profile_data
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite2Certificate:
    """74 octets, all big-endian. Source: SE 1.4, annex C (a cut-down X.509)."""

    SUITE: ClassVar[CbkeSuite] = CbkeSuite.SUITE_2
    SIZE_OCTETS: ClassVar[int] = 74
    TYPE_IMPLICIT: ClassVar[int] = 0x00
    CURVE_SECT283K1: ClassVar[int] = 0x0D
    HASH_AES_MMO: ClassVar[int] = 0x08
    KEY_AGREEMENT: ClassVar[int] = 0x88  # critical, key agreement
    VALID_FOREVER: ClassVar[int] = 0xFFFFFFFF

    serial: int  # 8 octets
    issuer: Eui64
    valid_from_s: int  # 5 octets, since 1970-01-01 UTC
    valid_for_s: int  # 4 octets, from valid_from_s on
    subject: Eui64
    key_usage: int  # 1 octet
    point: bytes  # 37 octets, compressed; judged where it is used

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Foreign octets, exactly 74. Raises DecodeError, also for another type, curve or hash."""
        if len(octets) != cls.SIZE_OCTETS:
            raise DecodeError("certificate", len(octets), "of suite 2 has 74 octets")
        if octets[0] != cls.TYPE_IMPLICIT:
            raise DecodeError("certificate", 0, f"type 0x{octets[0]:02X} is not an implicit certificate")
        if octets[9] != cls.CURVE_SECT283K1:
            raise DecodeError("certificate", 9, f"curve 0x{octets[9]:02X} is not sect283k1")
        if octets[10] != cls.HASH_AES_MMO:
            raise DecodeError("certificate", 10, f"hash 0x{octets[10]:02X} is not AES-MMO")
        return cls(
            serial=int.from_bytes(octets[1:9], "big"),
            issuer=int.from_bytes(octets[11:19], "big"),
            valid_from_s=int.from_bytes(octets[19:24], "big"),
            valid_for_s=int.from_bytes(octets[24:28], "big"),
            subject=int.from_bytes(octets[28:36], "big"),
            key_usage=octets[36],
            point=octets[37:],
        )

    def encode(self) -> bytes:
        return b"".join(
            (
                bytes((self.TYPE_IMPLICIT,)),
                self.serial.to_bytes(8, "big"),
                bytes((self.CURVE_SECT283K1, self.HASH_AES_MMO)),
                self.issuer.to_bytes(8, "big"),
                self.valid_from_s.to_bytes(5, "big"),
                self.valid_for_s.to_bytes(4, "big"),
                self.subject.to_bytes(8, "big"),
                bytes((self.key_usage,)),
                self.point,
            )
        )


Certificate: TypeAlias = Suite1Certificate | Suite2Certificate


def certificate_octets(suite: CbkeSuite) -> int:
    """48 or 74."""
    return (Suite1Certificate if suite is CbkeSuite.SUITE_1 else Suite2Certificate).SIZE_OCTETS


def decode_certificate(suite: CbkeSuite, octets: bytes) -> Certificate:
    """Foreign octets. Raises DecodeError."""
    if suite is CbkeSuite.SUITE_1:
        return Suite1Certificate.decode(octets)
    return Suite2Certificate.decode(octets)


def reconstruct_public_key(certificate: Certificate, ca_public_key: bytes) -> bytes:
    """Q = e*P + Q_CA, compressed. Raises SecurityError for a point that is not in the group, or infinity.

    Source: SEC 4; SE 1.4, annex C.
    """
    curve = certificate.SUITE.curve
    point = curve.sum_of_multiples(
        ((_certificate_hash(certificate), curve.decode_point(certificate.point)),),
        ((1, curve.decode_point(ca_public_key)),),
    )
    if point is None:
        raise SecurityError("certificate stands for the point at infinity")
    return curve.encode_point(point)


def _certificate_hash(certificate: Certificate) -> int:
    return int.from_bytes(mmo_hash(certificate.encode()), "big")


# --- what a device owns ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What the CA gave a device for one suite: certificate, private key, and the CA's public key."""

    certificate: Certificate
    private_key: bytes = field(repr=False)  # 21 or 36 octets, big-endian
    ca_public_key: bytes  # 22 or 37 octets, compressed

    @property
    def suite(self) -> CbkeSuite:
        return self.certificate.SUITE

    @classmethod
    def decode(cls, suite: CbkeSuite, octets: bytes) -> Self:
        """Certificate, private key, CA public key, in that order, as `encode` joins them (for NVM).

        Raises DecodeError for a wrong length.
        """
        curve = suite.curve
        split = certificate_octets(suite)
        if len(octets) != split + curve.scalar_octets + curve.point_octets:
            raise DecodeError("device identity", len(octets), "has another length")
        return cls(
            certificate=decode_certificate(suite, octets[:split]),
            private_key=octets[split : split + curve.scalar_octets],
            ca_public_key=octets[split + curve.scalar_octets :],
        )

    def encode(self) -> bytes:
        return self.certificate.encode() + self.private_key + self.ca_public_key


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralKey:
    """A key pair for one establishment; never used twice."""

    private_key: int = field(repr=False)
    point: Point
    octets: bytes  # compressed, as it goes on air: 22 or 37 octets

    @classmethod
    def generate(cls, suite: CbkeSuite, rng: Random) -> Self:
        return cls.from_private_key(suite, rng.randrange(1, suite.curve.order))

    @classmethod
    def from_private_key(cls, suite: CbkeSuite, private_key: int) -> Self:
        """`private_key`: 1..order-1."""
        point = suite.curve.multiply_generator(private_key)
        assert point is not None, "a private key is 1..order-1"
        return cls(private_key=private_key, point=point, octets=suite.curve.encode_point(point))


class TestCa:
    """A certificate authority of our own; no real GB device knows its key. Source: SEC 4 (ECQV).

    `rng` draws the CA's private key here, and the points of the certificates it issues.
    """

    __test__ = False  # not a pytest class, whatever its name

    def __init__(self, suite: CbkeSuite, rng: Random, *, issuer: Eui64 = TEST_CA_EUI64) -> None:
        self.suite = suite
        self.issuer = issuer
        self._rng = rng
        self._key = rng.randrange(1, suite.curve.order)
        self.public_key: bytes = EphemeralKey.from_private_key(suite, self._key).octets

    def issue(
        self, subject: Eui64, *, rng: Random | None = None, serial: int = 1, valid_from_s: int = 0
    ) -> DeviceIdentity:
        """A new certificate and private key for `subject`; another one each time it is asked for.

        With an `rng` of its own a device's keys do not depend on which others were issued before.
        `serial` and `valid_from_s` (since 1970-01-01 UTC) go into certificates of suite 2 only.
        """
        curve = self.suite.curve
        while True:
            secret = EphemeralKey.generate(self.suite, rng or self._rng)
            certificate = self._certificate(subject, secret.octets, serial, valid_from_s)
            private_key = (_certificate_hash(certificate) * secret.private_key + self._key) % curve.order
            if private_key:  # 0 would be no key; it comes once in 2^160
                return DeviceIdentity(
                    certificate=certificate,
                    private_key=private_key.to_bytes(curve.scalar_octets, "big"),
                    ca_public_key=self.public_key,
                )

    def _certificate(self, subject: Eui64, point: bytes, serial: int, valid_from_s: int) -> Certificate:
        if self.suite is CbkeSuite.SUITE_1:
            profile_data = bytes.fromhex("01090006000000000000")
            return Suite1Certificate(
                point=point, subject=subject, issuer=self.issuer, profile_data=profile_data
            )
        return Suite2Certificate(
            serial=serial,
            issuer=self.issuer,
            valid_from_s=valid_from_s,
            valid_for_s=Suite2Certificate.VALID_FOREVER,
            subject=subject,
            key_usage=Suite2Certificate.KEY_AGREEMENT,
            point=point,
        )


# --- one side of an establishment -------------------------------------------------------------------


def shared_secret(
    identity: DeviceIdentity, ephemeral: EphemeralKey, peer: Certificate, peer_ephemeral: bytes
) -> bytes:
    """ECMQV with cofactor -> Z, the x coordinate of the shared point, 21 or 36 octets.

    `peer` and `peer_ephemeral` are foreign. Raises DecodeError for a wrong length or form, SecurityError
    for a point that is not in the prime-order group. Source: SEC 1, 3.4 and 6.2; SE 1.4, annex C.
    """
    curve = identity.suite.curve
    order = curve.order
    peer_point = curve.decode_point(peer_ephemeral)
    own_half = (
        ephemeral.private_key
        + _associate(ephemeral.point, order) * int.from_bytes(identity.private_key, "big")
    ) % order
    scale = curve.cofactor * own_half % order
    peer_scale = scale * _associate(peer_point, order) % order
    shared = curve.sum_of_multiples(
        (
            (scale, peer_point),
            (peer_scale * _certificate_hash(peer) % order, curve.decode_point(peer.point)),
        ),
        ((peer_scale, curve.decode_point(identity.ca_public_key)),),
    )
    if shared is None:
        raise SecurityError("shared point is at infinity")
    return shared.x.to_bytes(curve.coordinate_octets, "big")


def _associate(point: Point, order: int) -> int:
    """avf: the low half of x, with the bit above it set. Source: SEC 1, 3.4."""
    half = 1 << (order.bit_length() + 1) // 2
    return (point.x & (half - 1)) | half


@dataclass(frozen=True, slots=True, kw_only=True)
class EstablishedKeys:
    """The outcome for one side. The key is in force only after `accepts` has said yes to the peer's MAC."""

    peer: Eui64  # as the peer's certificate names it; compare with who sent it
    mac_key: bytes = field(repr=False)
    key_data: bytes = field(repr=False)  # the new link key, 16 octets
    mac_u: bytes = field(repr=False)  # 16 octets
    mac_v: bytes = field(repr=False)
    is_initiator: bool

    @property
    def own_mac(self) -> bytes:
        """To send in Confirm Key Data."""
        return self.mac_u if self.is_initiator else self.mac_v

    def accepts(self, peer_mac: bytes) -> bool:
        """Whether the peer's Confirm Key Data (foreign octets) proves the same key. In constant time."""
        return hmac.compare_digest(peer_mac, self.mac_v if self.is_initiator else self.mac_u)


@dataclass(frozen=True, slots=True, kw_only=True)
class CbkeSide:
    """One side of one key establishment: what it holds before it knows the peer."""

    identity: DeviceIdentity
    ephemeral: EphemeralKey
    is_initiator: bool

    def establish(self, peer_certificate: Certificate | bytes, peer_ephemeral: bytes) -> EstablishedKeys:
        """The keys and MACs shared with the owner of `peer_certificate`; both arguments are foreign.

        Raises DecodeError for wrong lengths and forms (answer: Terminate, BadMessage), SecurityError for
        points that must not be used (same answer). Source: SE 1.4, annex C.
        """
        suite = self.identity.suite
        peer = (
            decode_certificate(suite, peer_certificate)
            if isinstance(peer_certificate, bytes)
            else peer_certificate
        )
        if peer.SUITE is not suite:
            raise DecodeError("certificate", 0, "is of another suite")
        secret = shared_secret(self.identity, self.ephemeral, peer, peer_ephemeral)
        mac_key = mmo_hash(secret + b"\0\0\0\x01")
        key_data = mmo_hash(secret + b"\0\0\0\x02")
        own_id = self.identity.certificate.subject.to_bytes(8, "big")
        own, other = (own_id, self.ephemeral.octets), (peer.subject.to_bytes(8, "big"), peer_ephemeral)
        (id_u, point_u), (id_v, point_v) = (own, other) if self.is_initiator else (other, own)
        return EstablishedKeys(
            peer=peer.subject,
            mac_key=mac_key,
            key_data=key_data,
            mac_u=hmac_mmo(mac_key, _U_MARK + id_u + id_v + point_u + point_v),
            mac_v=hmac_mmo(mac_key, _V_MARK + id_v + id_u + point_v + point_u),
            is_initiator=self.is_initiator,
        )
