"""UTRN: the 20-digit top-up token. Made by a supplier, typed in by a person, judged by a meter.

    high dword = 0000000 | counter mod 1024 (10 bits) | value class (2) | value (13)
    low dword  = last 4 octets of the GMAC (AES-128-GCM, nothing encrypted) under the prepayment key
                 IV  = originator EUI-64 (8) | 00000000
                 AAD = 11 00000000 00 | originator (8) | target (8) | 01 | counter (4) 00000000 | high dword
    PPTD       = 7394156990786306048 + (high dword | low dword)      19 digits
    UTRN       = PPTD | check digit                                  20 digits

Only ten of the counter's 32 bits travel in the token. The device completes them to the counter nearest
to the highest it has accepted, so a token whose counter is over 512 away fails its MAC at the keypad,
though the same top-up sent over the WAN (SRV 2.2, whole counter) is good. `explain` finds and says that.

**Assumption.** Devices of Group ID DA take this GBCS layout, the key being the 16-octet prepayment key of
the device itself; GBCS devices derive theirs by key agreement. The form of real DA tokens is not public.

Source: GBCS 14 (prepayment top-up token; check digit in 14.8).
"""

from __future__ import annotations

import hmac
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum, unique
from itertools import pairwise
from typing import ClassVar, Final, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smets1.errors import DecodeError, InputError
from smets1.eui64 import Eui64, format_eui64

__all__ = [
    "CACHE_SIZE",
    "MAX_COUNTER",
    "MAX_VALUE",
    "CounterCache",
    "TokenCheck",
    "TokenReason",
    "Utrn",
    "ValueClass",
    "check_digit",
    "decode_utrn",
    "digits_of_ptut",
    "explain",
    "find_counter",
    "group_digits",
    "make_utrn",
    "ptut_of_digits",
    "recover_counter",
    "value_for_pence",
    "verify",
]

PPTD_OFFSET: Final = 7394156990786306048
MAX_VALUE: Final = 0x1FFF
MAX_COUNTER: Final = 0xFFFFFFFF
CACHE_SIZE: Final = 100
_COUNTER_SPAN: Final = 1024
_PTUT_BITS: Final = 57  # 32 + 10 + 2 + 13; the seven bits above are 0
_NEAR_SPANS: Final = 4096
_EPOCH_CLOCK_S: Final = range(1_420_070_400, 2_208_988_800)  # 2015 to 2040, since 1970-01-01 UTC
_DIGITS: Final = re.compile(r"[0-9]{20}")
_SEPARATORS: Final = re.compile(r"[ \t-]")


@unique
class ValueClass(IntEnum):
    """Unit of the value. Source: GBCS 14. 2 and 3 are not defined."""

    PENCE = 0b00
    POUNDS = 0b01


@unique
class TokenReason(StrEnum):
    """Why a device would refuse a token."""

    NOT_20_DIGITS = "is not 20 digits"
    WRONG_CHECK_DIGIT = "the last digit does not fit the others: a mistyped digit"
    OUT_OF_RANGE = "the number is outside the range of tokens"
    UNKNOWN_VALUE_CLASS = "the value is neither in pence nor in pounds"
    NOT_AUTHENTIC = "not made for this device, or not with its key, or the counter is too far from the last"
    DUPLICATE = "the counter was accepted before"
    TOO_OLD = f"the counter is below the last {CACHE_SIZE} accepted"


# --- the check digit --------------------------------------------------------------------------------


def _dihedral(a: int, b: int) -> int:
    """Product in the dihedral group of order 10 as Verhoeff numbers it: 0..4 turn, 5..9 mirror."""
    turn = (a + b) % 5 if a < 5 else (a - b) % 5
    return turn if (a < 5) == (b < 5) else turn + 5


_PERMUTATION: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_LAST: Final = (1, 2, 6, 7, 5, 8, 3, 0, 9, 4)  # GBCS: not the textbook inverse


def _permutation_powers() -> tuple[tuple[int, ...], ...]:
    rows = [tuple(range(10))]
    while len(rows) < 8:
        rows.append(tuple(rows[-1][_PERMUTATION[digit]] for digit in range(10)))
    return tuple(rows)


_POWERS: Final = _permutation_powers()


def check_digit(digits: str) -> str:
    """The GBCS form of Verhoeff: left to right, first permutation the fourth power. Source: GBCS 14.8.

    check_digit("7394614433204021731") == "5"
    """
    total = 0
    for position, digit in enumerate(digits, start=4):
        total = _dihedral(total, _POWERS[position % 8][int(digit)])
    return str(_LAST[total])


# --- the token --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Utrn:
    """The fields of a token; 20 decimal digits outside. Source: GBCS 14."""

    counter_low: int  # 0..1023
    value_class: int  # 0..3; ValueClass names 0 and 1
    value: int  # 0..8191
    tag: bytes = field(repr=False)  # 4 octets

    @classmethod
    def decode(cls, text: str) -> Self:
        """20 digits, in groups or not ("73946-14433-..."). From a keypad: raises DecodeError only.

        The reason is a TokenReason, the first that applies; `verify` gives them all as values.
        """
        ptut = ptut_of_digits(text)
        high = ptut >> 32
        return cls(
            counter_low=high >> 15 & 0x3FF,
            value_class=high >> 13 & 0b11,
            value=high & MAX_VALUE,
            tag=(ptut & 0xFFFFFFFF).to_bytes(4, "big"),
        )

    def encode(self) -> str:
        """20 digits, ungrouped."""
        return digits_of_ptut(self.high_dword << 32 | int.from_bytes(self.tag, "big"))

    @property
    def high_dword(self) -> int:
        return self.counter_low << 15 | self.value_class << 13 | self.value

    @property
    def amount_mp(self) -> int | None:
        """In 1/1000 pence; None where the value class is not defined."""
        if self.value_class == ValueClass.PENCE:
            return self.value * 1000
        if self.value_class == ValueClass.POUNDS:
            return self.value * 100_000
        return None


def digits_of_ptut(ptut: int) -> str:
    """57 bits as the 20 digits of a token, check digit and all."""
    digits = str(PPTD_OFFSET + ptut)
    return digits + check_digit(digits)


def ptut_of_digits(text: str) -> int:
    """20 digits, in groups or not -> 57 bits. From a keypad: raises DecodeError, its reason a TokenReason."""
    digits = _SEPARATORS.sub("", text)
    if problems := _digit_problems(digits):
        offset = 19 if problems[0] is TokenReason.WRONG_CHECK_DIGIT else 0
        raise DecodeError("UTRN", offset, problems[0])
    return int(digits[:19]) - PPTD_OFFSET


def _digit_problems(digits: str) -> tuple[TokenReason, ...]:
    """What is wrong with the digits alone, before any key is asked."""
    if not _DIGITS.fullmatch(digits):
        return (TokenReason.NOT_20_DIGITS,)
    problems = []
    if check_digit(digits[:19]) != digits[19]:
        problems.append(TokenReason.WRONG_CHECK_DIGIT)
    if not 0 <= int(digits[:19]) - PPTD_OFFSET < 1 << _PTUT_BITS:
        problems.append(TokenReason.OUT_OF_RANGE)
    return tuple(problems)


def decode_utrn(text: str) -> Utrn:
    """As `Utrn.decode`."""
    return Utrn.decode(text)


def group_digits(digits: str) -> str:
    """In blocks of five, as meters and receipts print a token: 73946-14433-20402-17315."""
    return "-".join(digits[start : start + 5] for start in range(0, len(digits), 5))


def value_for_pence(pence: int) -> tuple[int, ValueClass]:
    """(value, class) of an amount. Raises InputError where a token cannot carry it.

    Up to 8191 pence go to the penny; above that only whole pounds fit, up to 8191.
    """
    if 0 <= pence <= MAX_VALUE:
        return pence, ValueClass.PENCE
    pounds, rest = divmod(pence, 100)
    if rest == 0 and 0 <= pounds <= MAX_VALUE:
        return pounds, ValueClass.POUNDS
    raise InputError(
        f"a token cannot carry {pence / 100:.2f} pounds: up to 81.91 any amount, above that whole pounds "
        "up to 8191"
    )


def make_utrn(
    key: bytes,
    *,
    originator: Eui64,
    target: Eui64,
    counter: int,
    value: int,
    value_class: int = ValueClass.PENCE,
    more: bytes = b"",
) -> str:
    """The 20 digits of a new token. `key`: 16 octets; `counter`: 0..2^32-1, above any used for this device.

    `more`: further octets that its MAC is to cover; GBCS has none.
    Raises InputError for a value (0..8191) or counter out of range.
    """
    if not 0 <= value <= MAX_VALUE:
        raise InputError(f"a token carries 0 to {MAX_VALUE} pence or pounds, not {value}")
    if not 0 <= counter <= MAX_COUNTER:
        raise InputError(f"a token counter is 0 to {MAX_COUNTER}, not {counter}")
    unsigned = Utrn(counter_low=counter % _COUNTER_SPAN, value_class=value_class, value=value, tag=bytes(4))
    tag = _Gmac(key, originator, target, unsigned.high_dword, more).tag(counter)
    return Utrn(counter_low=unsigned.counter_low, value_class=value_class, value=value, tag=tag).encode()


class _Gmac:
    """The token's MAC as a function of the counter."""

    def __init__(
        self, key: bytes, originator: Eui64, target: Eui64, high_dword: int, more: bytes = b""
    ) -> None:
        if len(key) != 16:  # AESGCM would take 24 and 32 as well
            raise ValueError("a prepayment key has 16 octets")
        self._encrypt = AESGCM(key).encrypt
        self._iv = originator.to_bytes(8, "big") + bytes(4)
        addresses = originator.to_bytes(8, "big") + target.to_bytes(8, "big")
        self._before = b"\x11\0\0\0\0\0" + addresses + b"\x01"
        self._after = bytes(4) + high_dword.to_bytes(4, "big") + more

    def tag(self, counter: int) -> bytes:
        # One IV serves every token of an originator: GBCS has it so. It would be fatal for GCM at large;
        # here 4 of the 16 octets are all that is ever seen.
        return self._encrypt(self._iv, b"", self._before + counter.to_bytes(4, "big") + self._after)[-4:]


# --- counters ---------------------------------------------------------------------------------------


def recover_counter(counter_low: int, highest: int) -> int:
    """The whole counter from its ten low bits (0..1023) and the highest accepted so far.

    Can be below 0, or above 2^32-1, where no token can be meant. recover_counter(812, 2458896167) ==
    2458896172. Source: GBCS 14.
    """
    low = highest % _COUNTER_SPAN
    base = highest - low
    if counter_low < low - _COUNTER_SPAN // 2:
        return base + counter_low + _COUNTER_SPAN
    if counter_low > low + _COUNTER_SPAN // 2:
        return base + counter_low - _COUNTER_SPAN
    return base + counter_low


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterCache:
    """The highest 100 counters a device has accepted; one NVM record: count (1), then 4 octets each."""

    FORMAT: ClassVar[struct.Struct] = struct.Struct(">B")

    counters: tuple[int, ...] = ()  # rising

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """An NVM record. Raises DecodeError."""
        if not octets or octets[0] > CACHE_SIZE or len(octets) != 1 + 4 * octets[0]:
            raise DecodeError("UTRN counter cache", 0, "its length does not fit its count")
        counters = struct.unpack(f">{octets[0]}I", octets[1:])
        if any(later <= earlier for earlier, later in pairwise(counters)):
            raise DecodeError("UTRN counter cache", 1, "its counters do not rise")
        return cls(counters=counters)

    def encode(self) -> bytes:
        return struct.pack(f">B{len(self.counters)}I", len(self.counters), *self.counters)

    @property
    def highest(self) -> int:
        """0 while none was accepted."""
        return self.counters[-1] if self.counters else 0

    def problem(self, counter: int) -> TokenReason | None:
        """Why this counter would be refused, or None."""
        if counter in self.counters:
            return TokenReason.DUPLICATE
        # A counter that has dropped out cannot be told from one never seen.
        if len(self.counters) >= CACHE_SIZE and counter < self.counters[0]:
            return TokenReason.TOO_OLD
        return None

    def accept(self, counter: int) -> Self:
        """The cache that also holds this counter; commit it together with the credit."""
        return type(self)(counters=tuple(sorted({*self.counters, counter}))[-CACHE_SIZE:])


# --- judging ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCheck:
    """What a device finds in a token: every reason to refuse it, in the order found; none: it is good."""

    utrn: Utrn | None  # None where the digits are no token
    counter: int | None  # the whole counter; None where the digits are no token
    reasons: tuple[TokenReason, ...]

    @property
    def is_good(self) -> bool:
        return not self.reasons

    @property
    def amount_mp(self) -> int:
        """What to credit, in 1/1000 pence; 0 for a token that is refused."""
        return (self.utrn.amount_mp or 0) if self.utrn and self.is_good else 0


def verify(
    text: str,
    *,
    key: bytes,
    originator: Eui64,
    target: Eui64,
    cache: CounterCache,
    counter: int | None = None,
    more: bytes = b"",
) -> TokenCheck:
    """Judge foreign digits as the device `target` does. Never raises for what `text` holds.

    `key`: its 16-octet prepayment key. `counter`: the whole counter where it came along (SRV 2.2); a
    keypad has only the token. `more`: as of `make_utrn`. On is_good: credit `amount_mp` and keep
    `cache.accept(check.counter)` in one commit. Credit limits are the account's affair.
    """
    digits = _SEPARATORS.sub("", text)
    if problems := _digit_problems(digits):
        return TokenCheck(utrn=None, counter=None, reasons=problems)
    utrn = Utrn.decode(digits)
    if counter is None:
        counter = recover_counter(utrn.counter_low, cache.highest)
    reasons = []
    if utrn.amount_mp is None:
        reasons.append(TokenReason.UNKNOWN_VALUE_CLASS)
    if not _is_authentic(utrn, _Gmac(key, originator, target, utrn.high_dword, more), counter):
        reasons.append(TokenReason.NOT_AUTHENTIC)
    elif problem := cache.problem(counter):  # what a forger asks about is nobody's duplicate
        reasons.append(problem)
    return TokenCheck(utrn=utrn, counter=counter, reasons=tuple(reasons))


def _is_authentic(utrn: Utrn, gmac: _Gmac, counter: int) -> bool:
    if not 0 <= counter <= MAX_COUNTER or counter % _COUNTER_SPAN != utrn.counter_low:
        return False
    return hmac.compare_digest(utrn.tag, gmac.tag(counter))


def find_counter(
    utrn: Utrn, *, key: bytes, originator: Eui64, target: Eui64, candidates: Iterable[int]
) -> int | None:
    """The first of `candidates` with which the token is authentic: a diagnosis, not for devices."""
    gmac = _Gmac(key, originator, target, utrn.high_dword)
    return next((counter for counter in candidates if _is_authentic(utrn, gmac, counter)), None)


def explain(
    text: str,
    *,
    key: bytes | None = None,
    originator: Eui64 | None = None,
    target: Eui64 | None = None,
    cache: CounterCache | None = None,
) -> list[str]:
    """Lines for a person: the fields, the check digit, and, where key and both EUI-64s are given, whether
    the device would take it and why not.
    """
    digits = _SEPARATORS.sub("", text)
    if problems := _digit_problems(digits):
        lines = [f"refused: {problem}" for problem in problems]
        if TokenReason.WRONG_CHECK_DIGIT in problems:
            lines.append(f"check digit: {digits[19]}, but {check_digit(digits[:19])} would fit")
        return lines
    utrn = Utrn.decode(digits)
    lines = [
        f"token: {group_digits(digits)}",
        f"check digit: {digits[19]}, good",
        f"counter: {utrn.counter_low} (mod {_COUNTER_SPAN})",
        f"value: {_amount_text(utrn)}",
    ]
    if key is None or originator is None or target is None:
        return [*lines, "authenticity: not judged (needs the prepayment key, originator and target)"]
    cache = cache or CounterCache()
    check = verify(text, key=key, originator=originator, target=target, cache=cache)
    if check.is_good:
        return [*lines, f"accepted by {format_eui64(target)} as counter {check.counter}"]
    lines += [f"refused by {format_eui64(target)}: {reason}" for reason in check.reasons]
    if TokenReason.NOT_AUTHENTIC in check.reasons:
        found = find_counter(
            utrn, key=key, originator=originator, target=target, candidates=_far_counters(utrn, cache.highest)
        )
        if found is not None:
            lines.append(
                f"made with counter {found}; the device takes it for {check.counter}, the nearest to "
                f"{cache.highest}, because a token carries only 10 of 32 bits. The same top-up by SRV 2.2, "
                "which carries the whole counter, is accepted"
            )
    return lines


def _amount_text(utrn: Utrn) -> str:
    if utrn.amount_mp is None:
        return f"{utrn.value} in unknown class {utrn.value_class}"
    return f"{utrn.amount_mp / 100_000:.2f} pounds (class {ValueClass(utrn.value_class).name})"


def _far_counters(utrn: Utrn, highest: int) -> Iterable[int]:
    """Likely mistakes: the 4096 spans on either side of `highest`, then a clock of epoch seconds."""
    start = recover_counter(utrn.counter_low, highest)
    for span in range(1, _NEAR_SPANS):
        yield start + span * _COUNTER_SPAN
        yield start - span * _COUNTER_SPAN
    first = _EPOCH_CLOCK_S.start // _COUNTER_SPAN * _COUNTER_SPAN + utrn.counter_low
    yield from range(first, _EPOCH_CLOCK_S.stop, _COUNTER_SPAN)
