"""The Koblitz curves sect163k1 and sect283k1: y^2 + x*y = x^3 + a*x^2 + 1 over GF(2^m).

**Not constant time.** Run time depends on the secret scalar. That is fit for an emulator with its own
test keys, and for nothing that guards anybody's meter.

How it is made fast in plain Python:

- A field element is a polynomial over GF(2). Python has no carry-less multiplication, but it has a
  fast integer one. So inside this module an element is *spread*: coefficient i sits in bit 0 of octet
  i. The product of two spread integers counts, in octet k, how many pairs of coefficients meet there;
  its bit 0 is the coefficient of the product. Counts must stay below 256: m = 163 fits as it is,
  m = 283 is cut in two (Karatsuba). One multiplication is an integer product, a mask, and a fold by
  the sparse reduction polynomial, which is itself a small integer product. Sums of products are
  folded once.
- On a Koblitz curve (x, y) -> (x^2, y^2) maps points to points: the Frobenius map tau, with
  tau^2 + 2 = mu * tau, mu = +1 for a = 1 and -1 for a = 0. Scalars are written in base tau with few
  digits not zero (width-w tau-NAF), so that doublings become squarings.
- The expansion is cut into four blocks that share one run of squarings: 42 or 72 steps in place of
  164 or 284. This needs tau^(one block) of the table points, which is a linear map: a table of nibbles.
- Several scalar multiples are summed in that same run (`BinaryCurve.sum_of_multiples`).
- Points are added in Lopez-Dahab coordinates (x = X/Z, y = Y/Z^2), 8 products an addition; one
  inversion at the end.

Outside this module a point is an affine `Point` with plain polynomial integers, None is infinity.

Sources: SEC 2 v2.0, 3.2.1 and 3.5.1 (parameters); SEC 1 v2.0, 2.3.3 and 2.3.4 (point octets); Solinas,
"Efficient arithmetic on Koblitz curves" (2000); Hankerson, Menezes, Vanstone, "Guide to Elliptic Curve
Cryptography", 2.3, 3.3, 3.4; Lopez and Dahab (1998) with the mixed addition of Al-Daoud et al. (2002).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from operator import getitem, xor
from typing import Final, NamedTuple, TypeAlias

from smets1.errors import DecodeError, SecurityError

__all__ = ["SECT163K1", "SECT283K1", "BinaryCurve", "CurveParameters", "Point"]


class Point(NamedTuple):
    """An affine point; coordinates are polynomials, bit i the coefficient of z^i."""

    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveParameters:
    """Domain parameters as SEC 2 prints them; b is 1 for both curves."""

    name: str
    m: int
    exponents: tuple[int, int, int]  # f(z) = z^m + z^e0 + z^e1 + z^e2 + 1, falling
    a: int
    order: int  # of the generator; prime
    cofactor: int
    generator: Point


_BLOCKS: Final = 4
_WIDTH: Final = 4  # of a point used once: 3 additions to make its table
_FIXED_WIDTH: Final = 6  # of a generator or a CA key, whose table is kept

_SPREAD: Final = bytes.maketrans(b"01", b"\x00\x01")
_COLLECT: Final = bytes.maketrans(b"\x00\x01", b"01")

_Binary: TypeAlias = Callable[[int, int], int]
_Unary: TypeAlias = Callable[[int], int]
_Spread: TypeAlias = tuple[int, int, int]  # a finite point, spread: x, y, x + y
_Table: TypeAlias = dict[int, _Spread]  # odd digit of a tau-NAF -> that multiple
_Projective: TypeAlias = tuple[int, int, int]  # Lopez-Dahab X, Y, Z, spread; Z = 0: infinity


def _spread(element: int) -> int:
    return int.from_bytes(f"{element:b}".encode().translate(_SPREAD), "big")


class _Field:
    """GF(2^m) on spread elements. `reduce` takes any XOR of `product`s and `square_product`s."""

    def __init__(self, m: int, exponents: tuple[int, int, int]) -> None:
        self.m = m
        self.modulus = sum(1 << exponent for exponent in (m, *exponents, 0))
        self.product, self.square_product = _whole_products() if m < 256 else _split_products(m)
        self.reduce = _folding(m, exponents)

    def mul(self, a: int, b: int) -> int:
        return self.reduce(self.product(a, b))

    def square(self, a: int) -> int:
        return self.reduce(self.square_product(a))

    def collect(self, element: int) -> int:
        """The inverse of `_spread`."""
        return int(element.to_bytes(self.m, "big").translate(_COLLECT), 2)

    def invert(self, element: int) -> int:
        """Of a spread element, not 0: extended Euclid on the plain polynomials."""
        u, v = self.collect(element), self.modulus
        g, h = 1, 0
        u_bits, v_bits = u.bit_length(), v.bit_length()
        while u != 1:
            shift = u_bits - v_bits
            if shift < 0:
                u, v, g, h, u_bits, v_bits = v, u, h, g, v_bits, u_bits
                shift = -shift
            u ^= v << shift
            g ^= h << shift
            u_bits = u.bit_length()
        return _spread(g)

    def invert_all(self, elements: Sequence[int]) -> list[int]:
        """Many inverses for one inversion and three products each (Montgomery)."""
        running, before = 1, []
        for element in elements:
            before.append(running)
            running = self.mul(running, element)
        inverse = self.invert(running)
        out = []
        for element, product in zip(reversed(elements), reversed(before), strict=True):
            out.append(self.mul(inverse, product))
            inverse = self.mul(inverse, element)
        return out[::-1]

    @cached_property
    def _quadratic_rows(self) -> list[tuple[int, int]]:
        """Reduced rows (image, preimage) of the linear map z -> z^2 + z, by falling leading bit."""
        rows: dict[int, tuple[int, int]] = {}
        for bit in range(1, self.m):
            basis = 1 << bit
            image = self.collect(self.square(_spread(basis))) ^ basis
            while image and (row := rows.get(image.bit_length())):
                image, basis = image ^ row[0], basis ^ row[1]
            if image:
                rows[image.bit_length()] = (image, basis)
        return [rows[lead] for lead in sorted(rows, reverse=True)]

    def solve_quadratic(self, c: int) -> int | None:
        """A plain z with z^2 + z = c (the other is z + 1), or None where the trace of c is 1."""
        z = 0
        for image, preimage in self._quadratic_rows:
            if c >> (image.bit_length() - 1) & 1:
                c ^= image
                z ^= preimage
        return None if c else z


def _whole_products() -> tuple[_Binary, _Unary]:
    def product(a: int, b: int) -> int:
        return a * b

    def square_product(a: int) -> int:
        return a * a

    return product, square_product


def _split_products(m: int) -> tuple[_Binary, _Unary]:
    """For m above 255, where a count could pass an octet: halves of at most 255 coefficients."""
    half = (m + 1) // 2 * 8
    whole = half * 2
    low = (1 << half) - 1

    def product(a: int, b: int) -> int:
        a_low, a_high, b_low, b_high = a & low, a >> half, b & low, b >> half
        bottom = a_low * b_low
        top = a_high * b_high
        middle = (a_low ^ a_high) * (b_low ^ b_high) ^ bottom ^ top
        return bottom ^ middle << half ^ top << whole

    def square_product(a: int) -> int:
        a_low, a_high = a & low, a >> half
        return a_low * a_low ^ (a_high * a_high) << whole

    return product, square_product


def _folding(m: int, exponents: tuple[int, int, int]) -> _Unary:
    size = 8 * m
    low_mask = int.from_bytes(b"\x01" * m, "big")
    mask = int.from_bytes(b"\x01" * (2 * m), "big")
    sparse = sum(1 << 8 * exponent for exponent in (*exponents, 0))
    over0, over1, over2 = (8 * (m - exponent) for exponent in exponents)

    def fold(p: int) -> int:
        p &= mask
        high = p >> size
        # What high * sparse would itself push past z^m goes round once more; it is a few octets.
        high += (high >> over0) + (high >> over1) + (high >> over2)
        return (p + high * sparse) & low_mask

    return fold


class BinaryCurve:
    """One Koblitz curve. Scalars are 0..order-1; all points handed in must be in the prime-order group."""

    def __init__(self, parameters: CurveParameters) -> None:
        self.parameters = parameters
        self.order = parameters.order
        self.cofactor = parameters.cofactor
        self.coordinate_octets = (parameters.m + 7) // 8
        self.point_octets = self.coordinate_octets + 1
        self.scalar_octets = self.coordinate_octets
        self._field = _Field(parameters.m, parameters.exponents)
        self._mu = 1 if parameters.a else -1
        self._delta = self._subgroup_norm()
        # A reduced expansion has at most m + a + 3 digits, a window-w one a few more.
        self._block = -(-(parameters.m + 8) // _BLOCKS)
        self._recodings: dict[int, _Recoding] = {}
        self._fixed_tables = lru_cache(maxsize=32)(self._make_fixed_tables)

    # --- points and octets -------------------------------------------------------------------

    def encode_point(self, point: Point) -> bytes:
        """Compressed: 02 or 03, then x, big-endian; 22 or 37 octets. Source: SEC 1, 2.3.3."""
        field = self._field
        parity = 0
        if point.x:
            parity = field.mul(_spread(point.y), field.invert(_spread(point.x))) & 1
        return bytes((2 | parity,)) + point.x.to_bytes(self.coordinate_octets, "big")

    def decode_point(self, octets: bytes) -> Point:
        """Foreign octets, a compressed point -> a point of the prime-order group.

        Raises DecodeError for a wrong length or form, SecurityError for infinity, for an x not on the
        curve, and for a point outside the group (order not n: a small-subgroup attack).
        """
        if len(octets) != self.point_octets:
            raise DecodeError("curve point", len(octets), f"has {self.point_octets} octets")
        if octets == bytes(self.point_octets):
            raise SecurityError("point is at infinity")
        x = int.from_bytes(octets[1:], "big")
        if octets[0] not in (2, 3):
            raise DecodeError("curve point", 0, "is compressed: begins with 02 or 03")
        if x >> self.parameters.m:
            raise DecodeError("curve point", 1, "x is longer than the field")
        if x == 0:  # the one point with x = 0 has order 2
            raise SecurityError("point is not in the prime-order group")
        field = self._field
        inverse = field.invert(_spread(x))
        slope = field.solve_quadratic(x ^ self.parameters.a ^ field.collect(field.square(inverse)))
        if slope is None:
            raise SecurityError("point is not on the curve")
        slope ^= (slope ^ octets[0]) & 1
        point = Point(x, field.collect(field.mul(_spread(x), _spread(slope))))
        if not self.is_in_group(point):
            raise SecurityError("point is not in the prime-order group")
        return point

    def is_on_curve(self, point: Point) -> bool:
        field = self._field
        if (point.x | point.y) >> self.parameters.m:
            return False
        x, y = _spread(point.x), _spread(point.y)
        right = field.mul(field.square(x), x ^ self.parameters.a) ^ 1
        return field.mul(y, y ^ x) == right

    def is_in_group(self, point: Point) -> bool:
        """Whether a point of the curve has order n: whether it can be halved 1 (h = 2) or 2 (h = 4) times.

        P = (x, y) is twice a point just where trace(x) = trace(a); with t^2 + t = x + a, that point's x
        is the square root of y + x * (t + 1), and a square root has the trace of its square.
        """
        field, a = self._field, self.parameters.a
        if point.x == 0:
            return False
        half_slope = field.solve_quadratic(point.x ^ a)
        if half_slope is None or self.cofactor == 2:
            return half_slope is not None
        square_of_half = point.y ^ field.collect(field.mul(_spread(point.x), _spread(half_slope ^ 1)))
        return field.solve_quadratic(square_of_half ^ a) is not None

    def negate(self, point: Point) -> Point:
        return Point(point.x, point.x ^ point.y)

    # --- multiples ---------------------------------------------------------------------------

    def multiply_generator(self, scalar: int) -> Point | None:
        return self.sum_of_multiples((), ((scalar, self.parameters.generator),))

    def multiply(self, scalar: int, point: Point) -> Point | None:
        return self.sum_of_multiples(((scalar, point),))

    def sum_of_multiples(
        self, terms: Iterable[tuple[int, Point]], fixed: Iterable[tuple[int, Point]] = ()
    ) -> Point | None:
        """The sum of scalar * point over both; tables of `fixed` points (generator, CA key) are kept."""
        schedule: list[list[_Spread]] = [[] for _ in range(self._block)]
        for scalar, point in terms:
            self._schedule(schedule, scalar, _WIDTH, self._make_tables(point, _WIDTH))
        for scalar, point in fixed:
            self._schedule(schedule, scalar, _FIXED_WIDTH, self._fixed_tables(point))
        return self._to_affine(self._run(schedule))

    def _schedule(
        self, schedule: list[list[_Spread]], scalar: int, width: int, tables: Sequence[_Table]
    ) -> None:
        """Put each digit of the scalar's expansion, as the point to add, at its step of its block."""
        block = self._block
        for position, digit in self._recoding(width).digits(scalar, self):
            schedule[position % block].append(tables[position // block][digit])

    def _run(self, schedule: list[list[_Spread]]) -> _Projective:
        add, square = self._add, self._field.square
        x, y, z = 1, 0, 0
        for points in reversed(schedule):
            if z:
                x, y, z = square(x), square(y), square(z)
            for point in points:
                x, y, z = add(x, y, z, point)
        return x, y, z

    def _add(self, x1: int, y1: int, z1: int, point: _Spread) -> _Projective:
        """(X1, Y1, Z1) + (x2, y2, 1): 8 products and 5 squares, 11 foldings."""
        x2, y2, x2_y2 = point
        if not z1:
            return x2, y2, 1
        field = self._field
        product, square_product, fold = field.product, field.square_product, field.reduce
        a = fold(product(y2, fold(square_product(z1)))) ^ y1
        b = fold(product(x2, z1)) ^ x1
        if not b:
            return self._double(x2, y2) if not a else (1, 0, 0)
        c = fold(product(b, z1))
        z3 = fold(square_product(c))
        d = fold(product(x2, z3))
        inner = a ^ fold(square_product(b))
        if self.parameters.a:
            inner ^= c
        x3 = fold(square_product(a) ^ product(c, inner))
        e = fold(product(a, c)) ^ z3
        y3 = fold(product(d ^ x3, e) ^ product(x2_y2, fold(square_product(z3))))
        return x3, y3, z3

    def _double(self, x: int, y: int) -> _Projective:
        """2 * (x, y, 1); b = 1."""
        field = self._field
        z3 = field.square(x)
        fourth = field.square(z3)
        x3 = fourth ^ 1
        y3 = z3 ^ field.mul(x3, (z3 if self.parameters.a else 0) ^ field.square(y) ^ 1)
        return x3, y3, z3

    def _to_affine(self, point: _Projective) -> Point | None:
        x, y, z = point
        if not z:
            return None
        field = self._field
        inverse = field.invert(z)
        y_inverse = field.square(inverse)
        return Point(field.collect(field.mul(x, inverse)), field.collect(field.mul(y, y_inverse)))

    # --- tables ------------------------------------------------------------------------------

    def _make_fixed_tables(self, point: Point) -> Sequence[_Table]:
        return self._make_tables(point, _FIXED_WIDTH)

    def _make_tables(self, point: Point, width: int) -> Sequence[_Table]:
        """alpha_u * P for the digits u of a width-w tau-NAF, then tau^block of these for each block."""
        field = self._field
        x, y = _spread(point.x), _spread(point.y)
        powers = [(x, y, x ^ y)]  # tau^i * P
        projective: list[_Projective] = []
        recoding = self._recoding(width)
        for expansion in recoding.expansions:
            while len(powers) < len(expansion):
                x, y = field.square(x), field.square(y)
                powers.append((x, y, x ^ y))
            total: _Projective = (1, 0, 0)
            for power, digit in zip(powers, expansion, strict=False):
                if digit:
                    total = self._add(*total, _signed(power, digit))
            projective.append(total)
        positive = []
        for (px, py, _), inverse in zip(
            projective, field.invert_all([z for _, _, z in projective]), strict=True
        ):
            positive.append((field.mul(px, inverse), field.mul(py, field.square(inverse))))
        tables = [_digit_table(positive)]
        for _ in range(1, _BLOCKS):
            positive = [(self._block_frobenius(px), self._block_frobenius(py)) for px, py in positive]
            tables.append(_digit_table(positive))
        return tables

    @cached_property
    def _frobenius_rows(self) -> list[dict[int, int]]:
        """For each nibble of a spread element, as its four octets: that part of x^(2^block)."""
        field = self._field
        images = []
        for bit in range(field.m):
            image = 1 << 8 * bit
            for _ in range(self._block):
                image = field.square(image)
            images.append(image)
        rows = []
        for start in range(0, field.m, 4):
            part = images[start : start + 4]
            rows.append(
                {
                    sum(1 << 8 * i for i in range(4) if n >> i & 1): reduce(
                        xor, (image for i, image in enumerate(part) if n >> i & 1), 0
                    )
                    for n in range(1 << len(part))
                }
            )
        return rows

    def _block_frobenius(self, element: int) -> int:
        rows = self._frobenius_rows
        nibbles = struct.unpack(f"<{len(rows)}I", element.to_bytes(4 * len(rows), "little"))
        return reduce(xor, map(getitem, rows, nibbles))

    # --- scalars in base tau -----------------------------------------------------------------

    def _recoding(self, width: int) -> _Recoding:
        if width not in self._recodings:
            self._recodings[width] = _Recoding(width, self._mu)
        return self._recodings[width]

    def _subgroup_norm(self) -> tuple[int, int]:
        """delta = (tau^m - 1) / (tau - 1), which takes the prime-order group to infinity; its norm is n."""
        d0 = d1 = 0
        t0, t1 = 1, 0
        for _ in range(self.parameters.m):
            d0, d1 = d0 + t0, d1 + t1
            t0, t1 = -2 * t1, t0 + self._mu * t1
        return d0, d1

    def reduce_scalar(self, scalar: int) -> tuple[int, int]:
        """scalar mod delta, as r0 + r1 * tau with a norm near n: half as many digits as scalar itself."""
        d0, d1 = self._delta
        order, mu = self.order, self._mu
        # scalar / delta = scalar * conjugate(delta) / n, rounded coordinate by coordinate
        q0 = (2 * scalar * (d0 + mu * d1) + order) // (2 * order)
        q1 = (-2 * scalar * d1 + order) // (2 * order)
        return scalar - q0 * d0 + 2 * q1 * d1, -(q0 * d1 + q1 * d0 + mu * q1 * d1)


def _signed(point: _Spread, sign: int) -> _Spread:
    x, y, x_y = point
    return (x, y, x_y) if sign > 0 else (x, x_y, y)


def _digit_table(positive: Sequence[tuple[int, int]]) -> _Table:
    table = {}
    for index, (x, y) in enumerate(positive):
        table[2 * index + 1] = (x, y, x ^ y)
        table[-2 * index - 1] = (x, x ^ y, y)
    return table


class _Recoding:
    """Width-w tau-NAF: digit u odd, |u| < 2^(w-1), stands for alpha_u, the short element = u mod tau^w."""

    def __init__(self, width: int, mu: int) -> None:
        self._window = 1 << width
        self._half = 1 << (width - 1)
        self._mu = mu
        self._tau = self._tau_mod_window(width)
        self._short = {u: self._shortest(u, width) for u in range(1, self._half, 2)}
        self.expansions = [self._naf(*self._short[u]) for u in range(1, self._half, 2)]

    def digits(self, scalar: int, curve: BinaryCurve) -> list[tuple[int, int]]:
        """(position, digit) of each digit that is not zero, rising."""
        r0, r1 = curve.reduce_scalar(scalar)
        window, half, tau, mu, short = self._window, self._half, self._tau, self._mu, self._short
        found = []
        position = 0
        while r0 or r1:
            if r0 & 1:
                digit = (r0 + r1 * tau) % window
                if digit < half:
                    a0, a1 = short[digit]
                    r0, r1 = r0 - a0, r1 - a1
                else:
                    digit -= window
                    a0, a1 = short[-digit]
                    r0, r1 = r0 + a0, r1 + a1
                found.append((position, digit))
            r0 >>= 1  # exact: r0 is even
            r0, r1 = r1 + mu * r0, -r0
            position += 1
        return found

    def _tau_mod_window(self, width: int) -> int:
        """The t with t^2 + 2 = mu * t mod 2^w and t even: tau acts as t does, modulo tau^w."""
        for t in range(0, self._window, 2):
            if (t * t + 2 - self._mu * t) % self._window == 0:
                return t
        raise AssertionError(width)

    def _shortest(self, u: int, width: int) -> tuple[int, int]:
        """u minus the nearest multiple of tau^w."""
        mu = self._mu
        t0, t1 = 1, 0
        for _ in range(width):
            t0, t1 = -2 * t1, t0 + mu * t1
        best = (u, 0)
        norm = self._norm(*best)
        middle0, middle1 = round(u * (t0 + mu * t1) / self._window), round(-u * t1 / self._window)
        for q0 in range(middle0 - 1, middle0 + 2):
            for q1 in range(middle1 - 1, middle1 + 2):
                rest = (u - q0 * t0 + 2 * q1 * t1, -(q0 * t1 + q1 * t0 + mu * q1 * t1))
                if self._norm(*rest) < norm:
                    best, norm = rest, self._norm(*rest)
        return best

    def _norm(self, r0: int, r1: int) -> int:
        return r0 * r0 + self._mu * r0 * r1 + 2 * r1 * r1

    def _naf(self, r0: int, r1: int) -> list[int]:
        """Plain tau-NAF, digits -1, 0, 1, rising."""
        digits = []
        while r0 or r1:
            digit = 0
            if r0 & 1:
                digit = 2 - (r0 - 2 * r1) % 4
                r0 -= digit
            digits.append(digit)
            r0 >>= 1
            r0, r1 = r1 + self._mu * r0, -r0
        return digits


SECT163K1: Final = BinaryCurve(
    CurveParameters(
        name="sect163k1",
        m=163,
        exponents=(7, 6, 3),
        a=1,
        order=0x04000000000000000000020108A2E0CC0D99F8A5EF,
        cofactor=2,
        generator=Point(
            0x02FE13C0537BBC11ACAA07D793DE4E6D5E5C94EEE8,
            0x0289070FB05D38FF58321F2E800536D538CCDAA3D9,
        ),
    )
)

SECT283K1: Final = BinaryCurve(
    CurveParameters(
        name="sect283k1",
        m=283,
        exponents=(12, 7, 5),
        a=0,
        order=0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE9AE2ED07577265DFF7F94451E061E163C61,
        cofactor=4,
        generator=Point(
            0x0503213F78CA44883F1A3B8162F188E553CD265F23C1567A16876913B0C2AC2458492836,
            0x01CCDA380F1C9E318D90F95D07E5426FE87E45C0E8184698E45962364E34116177DD2259,
        ),
    )
)
