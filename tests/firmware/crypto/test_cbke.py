"""CBKE: both published vector sets, our own CA, hostile points and octets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from smets1.errors import DecodeError, SecurityError
from smets1.firmware.crypto.cbke import (
    TEST_CA_EUI64,
    CbkeSide,
    CbkeSuite,
    DeviceIdentity,
    EphemeralKey,
    Suite1Certificate,
    Suite2Certificate,
    TestCa,
    certificate_octets,
    decode_certificate,
    reconstruct_public_key,
    shared_secret,
)

VECTORS = Path(__file__).parents[2] / "vectors"
SUITES = tuple(CbkeSuite)
ESME, CHF = 0x00DB1234567890A0, 0x00DB1234567890A2


def load(suite: CbkeSuite) -> dict[str, bytes]:
    text = (VECTORS / f"cbke_suite{suite.value}.json").read_text()
    return {name: bytes.fromhex(value) for name, value in json.loads(text).items() if name != "origin"}


def vector_side(suite: CbkeSuite, side: str) -> CbkeSide:
    vector = load(suite)
    return CbkeSide(
        identity=DeviceIdentity(
            certificate=decode_certificate(suite, vector[f"{side}_certificate"]),
            private_key=vector[f"{side}_private_key"],
            ca_public_key=vector["ca_public_key"],
        ),
        ephemeral=EphemeralKey.from_private_key(
            suite, int.from_bytes(vector[f"{side}_ephemeral_private_key"], "big")
        ),
        is_initiator=side == "u",
    )


def own_side(ca: TestCa, eui64: int, rng: Random, *, is_initiator: bool) -> CbkeSide:
    ephemeral = EphemeralKey.generate(ca.suite, rng)
    return CbkeSide(identity=ca.issue(eui64), ephemeral=ephemeral, is_initiator=is_initiator)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("side", ["u", "v"])
class TestVectors:
    def test_certificate_round_trip(self, suite: CbkeSuite, side: str) -> None:
        octets = load(suite)[f"{side}_certificate"]
        certificate = decode_certificate(suite, octets)
        assert len(octets) == certificate_octets(suite) == certificate.SIZE_OCTETS
        assert certificate.encode() == octets

    def test_public_key_from_certificate(self, suite: CbkeSuite, side: str) -> None:
        vector = load(suite)
        certificate = decode_certificate(suite, vector[f"{side}_certificate"])
        assert reconstruct_public_key(certificate, vector["ca_public_key"]) == vector[f"{side}_public_key"]

    def test_private_key_fits_public_key(self, suite: CbkeSuite, side: str) -> None:
        vector = load(suite)
        private_key = int.from_bytes(vector[f"{side}_private_key"], "big")
        assert EphemeralKey.from_private_key(suite, private_key).octets == vector[f"{side}_public_key"]

    def test_ephemeral_point(self, suite: CbkeSuite, side: str) -> None:
        assert vector_side(suite, side).ephemeral.octets == load(suite)[f"{side}_ephemeral_public_key"]

    def test_keys_and_macs(self, suite: CbkeSuite, side: str) -> None:
        vector = load(suite)
        other = "v" if side == "u" else "u"
        own = vector_side(suite, side)
        peer, peer_ephemeral = vector[f"{other}_certificate"], vector[f"{other}_ephemeral_public_key"]
        secret = shared_secret(own.identity, own.ephemeral, decode_certificate(suite, peer), peer_ephemeral)
        assert secret == vector["z"]
        keys = own.establish(peer, peer_ephemeral)
        assert (keys.mac_key, keys.key_data) == (vector["mac_key"], vector["key_data"])
        assert (keys.mac_u, keys.mac_v) == (vector["mac_u"], vector["mac_v"])
        assert keys.own_mac == vector[f"mac_{side}"]
        assert keys.accepts(vector[f"mac_{other}"])
        assert not keys.accepts(vector[f"mac_{side}"])
        assert not keys.accepts(b"")


def establish_once(ca: TestCa, rng: Random) -> None:
    u = own_side(ca, ESME, rng, is_initiator=True)
    v = own_side(ca, CHF, rng, is_initiator=False)
    keys_u = u.establish(v.identity.certificate.encode(), v.ephemeral.octets)
    keys_v = v.establish(u.identity.certificate.encode(), u.ephemeral.octets)
    assert keys_u.key_data == keys_v.key_data
    assert (keys_u.peer, keys_v.peer) == (CHF, ESME)
    assert keys_u.accepts(keys_v.own_mac)
    assert keys_v.accepts(keys_u.own_mac)


@pytest.mark.parametrize("suite", SUITES)
class TestOwnCa:
    def test_thirty_establishments(self, suite: CbkeSuite) -> None:
        rng = Random(30 + suite)
        ca = TestCa(suite, rng)
        for _ in range(30):
            establish_once(ca, rng)

    def test_issued_identity(self, suite: CbkeSuite) -> None:
        ca = TestCa(suite, Random(1))
        identity = ca.issue(ESME)
        assert (identity.certificate.subject, identity.certificate.issuer) == (ESME, TEST_CA_EUI64)
        assert DeviceIdentity.decode(suite, identity.encode()) == identity
        public_key = EphemeralKey.from_private_key(suite, int.from_bytes(identity.private_key, "big")).octets
        assert reconstruct_public_key(identity.certificate, ca.public_key) == public_key

    def test_own_rng_makes_the_order_of_issue_irrelevant(self, suite: CbkeSuite) -> None:
        first, second = TestCa(suite, Random(1)), TestCa(suite, Random(1))
        second.issue(CHF, rng=Random(9))
        assert first.issue(ESME, rng=Random(5)) == second.issue(ESME, rng=Random(5))

    def test_false_private_key_is_noticed(self, suite: CbkeSuite) -> None:
        rng = Random(7)
        ca = TestCa(suite, rng)
        thief = own_side(ca, 0xBAD, rng, is_initiator=True)
        stolen = replace(thief.identity, certificate=ca.issue(ESME).certificate)
        thief = replace(thief, identity=stolen)
        hub = own_side(ca, CHF, rng, is_initiator=False)
        keys = hub.establish(stolen.certificate, thief.ephemeral.octets)
        assert not keys.accepts(thief.establish(hub.identity.certificate, hub.ephemeral.octets).own_mac)

    def test_other_ca_is_noticed(self, suite: CbkeSuite) -> None:
        rng = Random(8)
        u = own_side(TestCa(suite, rng), ESME, rng, is_initiator=True)
        v = own_side(TestCa(suite, rng), CHF, rng, is_initiator=False)
        keys_u = u.establish(v.identity.certificate, v.ephemeral.octets)
        keys_v = v.establish(u.identity.certificate, u.ephemeral.octets)
        assert not keys_u.accepts(keys_v.own_mac)
        assert not keys_v.accepts(keys_u.own_mac)

    def test_keys_stay_out_of_repr(self, suite: CbkeSuite) -> None:
        u, v = vector_side(suite, "u"), vector_side(suite, "v")
        keys = u.establish(v.identity.certificate, v.ephemeral.octets)
        text = (repr(u) + repr(keys)).lower()
        for secret in (u.identity.private_key, keys.mac_key, keys.key_data, keys.mac_u, keys.mac_v):
            assert repr(secret).lower() not in text
            assert secret.hex() not in text
        assert str(u.ephemeral.private_key) not in text


@pytest.mark.parametrize("suite", SUITES)
class TestHostile:
    def test_truncated_and_long(self, suite: CbkeSuite) -> None:
        u, vector = vector_side(suite, "u"), load(suite)
        certificate, ephemeral = vector["v_certificate"], vector["v_ephemeral_public_key"]
        for size in [*range(len(certificate)), len(certificate) + 1]:
            with pytest.raises(DecodeError):
                u.establish((certificate + b"\0")[:size], ephemeral)
        for size in [*range(len(ephemeral)), len(ephemeral) + 1]:
            with pytest.raises(DecodeError):
                u.establish(certificate, (ephemeral + b"\0")[:size])
        for size in range(len(u.identity.encode())):
            with pytest.raises(DecodeError):
                DeviceIdentity.decode(suite, u.identity.encode()[:size])

    def test_random_octets_decode_or_raise_decode_error(self, suite: CbkeSuite) -> None:
        rng = Random(4)
        for _ in range(500):
            octets = rng.randbytes(rng.choice([certificate_octets(suite), rng.randrange(100)]))
            try:
                certificate = decode_certificate(suite, octets)
            except DecodeError:
                continue
            assert certificate.encode() == octets

    def test_random_points_are_refused_or_used(self, suite: CbkeSuite) -> None:
        rng = Random(5)
        u, certificate = vector_side(suite, "u"), load(suite)["v_certificate"]
        used = 0
        for _ in range(20):
            x = rng.getrandbits(suite.curve.parameters.m).to_bytes(suite.curve.coordinate_octets, "big")
            try:
                u.establish(certificate, bytes((rng.choice((2, 3)),)) + x)
                used += 1
            except SecurityError:
                pass
        assert 0 < used < 20

    def test_bad_points(self, suite: CbkeSuite) -> None:
        u, vector = vector_side(suite, "u"), load(suite)
        size = suite.curve.point_octets
        infinity, order_two = bytes(size), b"\x02" + bytes(size - 1)
        for point in (infinity, order_two):
            with pytest.raises(SecurityError):
                u.establish(vector["v_certificate"], point)
            certificate = replace(decode_certificate(suite, vector["v_certificate"]), point=point)
            with pytest.raises(SecurityError):
                u.establish(certificate, vector["v_ephemeral_public_key"])
            with pytest.raises(SecurityError):
                reconstruct_public_key(certificate, vector["ca_public_key"])

    def test_other_suite(self, suite: CbkeSuite) -> None:
        other = CbkeSuite(3 - suite)
        certificate = decode_certificate(other, load(other)["v_certificate"])
        with pytest.raises(DecodeError):
            vector_side(suite, "u").establish(certificate, load(suite)["v_ephemeral_public_key"])


def test_fields_of_the_published_certificates() -> None:
    first = Suite1Certificate.decode(load(CbkeSuite.SUITE_1)["u_certificate"])
    assert (first.subject, first.issuer) == (2, int.from_bytes(b"TESTSECA", "big"))
    assert first.profile_data.hex() == "01090006000000000000"
    second = Suite2Certificate.decode(load(CbkeSuite.SUITE_2)["v_certificate"])
    assert second.serial == 0x2622A505E8938F27
    assert (second.subject, second.issuer) == (0x0A0B0C0D0E0F1011, 0x1112131415161718)
    assert (second.valid_from_s, second.valid_for_s) == (0x005292A35B, Suite2Certificate.VALID_FOREVER)
    assert second.key_usage == Suite2Certificate.KEY_AGREEMENT


@pytest.mark.parametrize("offset", [0, 9, 10])
def test_suite2_refuses_other_types_curves_and_hashes(offset: int) -> None:
    octets = bytearray(load(CbkeSuite.SUITE_2)["v_certificate"])
    octets[offset] ^= 0x01
    with pytest.raises(DecodeError) as caught:
        Suite2Certificate.decode(bytes(octets))
    assert caught.value.offset == offset
