"""sect163k1 and sect283k1 against slow textbook arithmetic, and against openssl."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from smets1.errors import DecodeError, SecurityError
from smets1.firmware.crypto.binary_curve import SECT163K1, SECT283K1, BinaryCurve, Point

CURVES = (SECT163K1, SECT283K1)
each_curve = pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.parameters.name)


class Textbook:
    """Affine formulas on plain polynomials (SEC 1, 2.2.2): shares no line with the code under test."""

    def __init__(self, curve: BinaryCurve) -> None:
        self.m, self.a = curve.parameters.m, curve.parameters.a
        self.modulus = sum(1 << e for e in (self.m, *curve.parameters.exponents, 0))

    def mul(self, a: int, b: int) -> int:
        result = 0
        while b:
            if b & 1:
                result ^= a
            b >>= 1
            a <<= 1
            if a >> self.m:
                a ^= self.modulus
        return result

    def invert(self, a: int) -> int:
        """Division with remainder, as Euclid did it with numbers."""
        old, new, old_factor, new_factor = self.modulus, a, 0, 1
        while new:
            while old.bit_length() >= new.bit_length():
                shift = old.bit_length() - new.bit_length()
                old, old_factor = old ^ new << shift, old_factor ^ new_factor << shift
            old, new, old_factor, new_factor = new, old, new_factor, old_factor
        return old_factor

    def add(self, p: Point | None, q: Point | None) -> Point | None:
        if p is None or q is None:
            return p or q
        if p.x == q.x:
            if p.y != q.y or p.x == 0:
                return None
            slope = p.x ^ self.mul(p.y, self.invert(p.x))
            x = self.mul(slope, slope) ^ slope ^ self.a
            return Point(x, self.mul(p.x, p.x) ^ self.mul(slope ^ 1, x))
        slope = self.mul(p.y ^ q.y, self.invert(p.x ^ q.x))
        x = self.mul(slope, slope) ^ slope ^ p.x ^ q.x ^ self.a
        return Point(x, self.mul(slope, p.x ^ x) ^ x ^ p.y)

    def multiply(self, scalar: int, p: Point) -> Point | None:
        total = None
        for bit in f"{scalar:b}":
            total = self.add(total, total)
            if bit == "1":
                total = self.add(total, p)
        return total


@each_curve
def test_small_multiples(curve: BinaryCurve) -> None:
    textbook, generator = Textbook(curve), curve.parameters.generator
    total: Point | None = None
    for scalar in range(20):
        assert curve.multiply(scalar, generator) == total, scalar
        assert curve.multiply_generator(scalar) == total, scalar
        negative = total and curve.negate(total)
        assert curve.multiply_generator((curve.order - scalar) % curve.order) == negative, scalar
        total = textbook.add(total, generator)


@each_curve
def test_large_multiple(curve: BinaryCurve) -> None:
    rng = Random(1)
    scalar = rng.randrange(curve.order)
    base = curve.multiply_generator(rng.randrange(1, curve.order))
    assert base is not None
    assert curve.multiply(scalar, base) == Textbook(curve).multiply(scalar, base)


@each_curve
def test_order_times_anything_is_infinity(curve: BinaryCurve) -> None:
    assert Textbook(curve).multiply(curve.order, curve.parameters.generator) is None
    assert curve.multiply(curve.order, curve.parameters.generator) is None


@each_curve
def test_sum_of_multiples(curve: BinaryCurve) -> None:
    rng = Random(2)
    order = curve.order
    for _ in range(5):
        a, b, c, d = (rng.randrange(order) for _ in range(4))
        first, second = curve.multiply_generator(a), curve.multiply_generator(b)
        assert first is not None
        assert second is not None
        total = curve.sum_of_multiples(((c, first), (d, second)), ((a, first),))
        assert total == curve.multiply_generator((a * c + b * d + a * a) % order)
        # Equal and opposite terms meet in every block: the doubling and the infinity branch.
        assert curve.sum_of_multiples(((c, first), (c, first))) == curve.multiply(2 * c % order, first)
        assert curve.sum_of_multiples(((c, first), (c, curve.negate(first)))) is None
    assert curve.sum_of_multiples(()) is None


@each_curve
def test_products_of_the_densest_elements_do_not_overflow(curve: BinaryCurve) -> None:
    textbook, field = Textbook(curve), curve._field
    m = curve.parameters.m
    ones = (1 << m) - 1
    elements = [ones, 1, ones >> 1, 1 << (m - 1), ones ^ 1]
    for a in elements:
        for b in elements:
            assert field.collect(field.mul(spread(a), spread(b))) == textbook.mul(a, b)
        assert field.collect(field.square(spread(a))) == textbook.mul(a, a)
        assert textbook.mul(field.collect(field.invert(spread(a))), a) == 1


def spread(element: int) -> int:
    return int.from_bytes(bytes(int(bit) for bit in f"{element:b}"), "big")


@each_curve
def test_reduced_scalars_fit_their_blocks(curve: BinaryCurve) -> None:
    rng = Random(3)
    scalars = [1, 2, curve.order - 1, curve.order // 2, curve.order // 3, *range(3, 50)]
    scalars += [rng.randrange(curve.order) for _ in range(500)]
    for width in (4, 6):
        recoding = curve._recoding(width)
        longest = max(recoding.digits(scalar, curve)[-1][0] for scalar in scalars)
        assert longest + 4 < 4 * curve._block


@each_curve
def test_point_octets(curve: BinaryCurve) -> None:
    rng = Random(4)
    for _ in range(20):
        point = curve.multiply_generator(rng.randrange(1, curve.order))
        assert point is not None
        octets = curve.encode_point(point)
        assert len(octets) == curve.point_octets
        assert curve.decode_point(octets) == point
        assert curve.decode_point(bytes((octets[0] ^ 1,)) + octets[1:]) == curve.negate(point)


@each_curve
def test_points_outside_the_group_are_refused(curve: BinaryCurve) -> None:
    """Adding the point (0, 1) of order 2 leaves the group; for h = 4 there are points of order 4 too."""
    textbook = Textbook(curve)
    order_two = Point(0, 1)
    small = [order_two]
    if curve.cofactor == 4:
        order_four = Point(1, 1)  # twice (1, 1) is (0, 1) where a = 0
        assert textbook.add(order_four, order_four) == order_two
        small += [order_four, curve.negate(order_four)]
    rng = Random(5)
    for _ in range(5):
        inside = curve.multiply_generator(rng.randrange(1, curve.order))
        assert inside is not None
        assert curve.is_in_group(inside)
        for point in small:
            assert curve.is_on_curve(point)
            assert not curve.is_in_group(point)
            outside = textbook.add(inside, point)
            assert outside is not None
            assert curve.is_on_curve(outside)
            assert not curve.is_in_group(outside)
            with pytest.raises(SecurityError):
                curve.decode_point(curve.encode_point(outside))


@each_curve
def test_membership_is_what_the_order_says(curve: BinaryCurve) -> None:
    textbook, rng = Textbook(curve), Random(6)
    seen = {True: 0, False: 0}
    while min(seen.values()) < 2:
        octets = b"\x02" + rng.getrandbits(curve.parameters.m).to_bytes(curve.coordinate_octets, "big")
        try:
            point = curve.decode_point(octets)
        except SecurityError:
            seen[False] += 1
            continue
        assert curve.is_on_curve(point)
        assert textbook.multiply(curve.order, point) is None
        seen[True] += 1


@each_curve
def test_hostile_octets(curve: BinaryCurve) -> None:
    size = curve.point_octets
    good = curve.encode_point(curve.parameters.generator)
    for length in [*range(size), size + 1]:
        with pytest.raises(DecodeError):
            curve.decode_point((good + b"\0")[:length])
    for lead in (0, 1, 4, 6, 7, 0xFF):
        with pytest.raises(DecodeError):
            curve.decode_point(bytes((lead,)) + good[1:])
    with pytest.raises(DecodeError):  # one bit longer than the field
        curve.decode_point(b"\x02" + (1 << curve.parameters.m).to_bytes(size - 1, "big"))
    with pytest.raises(SecurityError):
        curve.decode_point(bytes(size))
    rng = Random(7)
    for _ in range(100):
        try:
            point = curve.decode_point(rng.randbytes(size))
        except (DecodeError, SecurityError):
            continue
        assert curve.is_in_group(point)


def test_off_curve_points_are_known() -> None:
    for curve in CURVES:
        x, y = curve.parameters.generator
        assert curve.is_on_curve(Point(x, y))
        assert not curve.is_on_curve(Point(x, y ^ 1))
        assert not curve.is_on_curve(Point(x | 1 << curve.parameters.m, y))


# --- openssl --------------------------------------------------------------------------------------

OBJECT_IDS = {"sect163k1": "06052b81040001", "sect283k1": "06052b81040010"}


def tlv(tag: int, content: bytes) -> bytes:
    size = bytes((len(content),)) if len(content) < 128 else bytes((0x81, len(content)))
    return bytes((tag,)) + size + content


def pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def private_key_pem(curve: BinaryCurve, scalar: int) -> str:
    """SEC 1 form without the public key, which openssl then has to work out."""
    oid = bytes.fromhex(OBJECT_IDS[curve.parameters.name])
    key = tlv(0x04, scalar.to_bytes(curve.scalar_octets, "big"))
    return pem("EC PRIVATE KEY", tlv(0x30, b"\x02\x01\x01" + key + tlv(0xA0, oid)))


def public_key_pem(curve: BinaryCurve, point: bytes) -> str:
    oid = tlv(0x30, bytes.fromhex("06072a8648ce3d0201" + OBJECT_IDS[curve.parameters.name]))
    return pem("PUBLIC KEY", tlv(0x30, oid + tlv(0x03, b"\0" + point)))


@pytest.mark.outsider
@each_curve
def test_two_hundred_multiples_agree_with_openssl(
    curve: BinaryCurve, program: Callable[[str], str], tmp_path: Path
) -> None:
    rng = Random(200)
    scalars = [rng.randrange(1, curve.order) for _ in range(200)]
    keys = tmp_path / "keys.pem"
    keys.write_text("".join(private_key_pem(curve, scalar) for scalar in scalars))
    listing = subprocess.run(
        [program("openssl"), "storeutl", "-keys", "-noout", "-text", str(keys)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = [
        bytes.fromhex(re.sub(r"[:\s]", "", text)) for text in re.findall(r"pub:\n([\s0-9a-f:]+)", listing)
    ]
    assert len(theirs) == len(scalars)
    for scalar, octets in zip(scalars, theirs, strict=True):
        point = curve.multiply_generator(scalar)
        assert point is not None
        ours = b"\x04" + b"".join(value.to_bytes(curve.coordinate_octets, "big") for value in point)
        assert ours == octets


@pytest.mark.outsider
@each_curve
def test_multiples_of_any_point_agree_with_openssl(
    curve: BinaryCurve, program: Callable[[str], str], tmp_path: Path
) -> None:
    """Through ECDH; openssl also has to read our compressed points."""
    rng = Random(24)
    own, peer = tmp_path / "own.pem", tmp_path / "peer.pem"
    for _ in range(24):
        point = curve.multiply_generator(rng.randrange(1, curve.order))
        assert point is not None
        scalar = rng.randrange(1, curve.order)
        own.write_text(private_key_pem(curve, scalar))
        peer.write_text(public_key_pem(curve, curve.encode_point(point)))
        theirs = subprocess.run(
            [program("openssl"), "pkeyutl", "-derive", "-inkey", str(own), "-peerkey", str(peer)],
            capture_output=True,
            check=True,
        ).stdout
        ours = curve.multiply(scalar, point)
        assert ours is not None
        assert ours.x.to_bytes(curve.coordinate_octets, "big") == theirs
