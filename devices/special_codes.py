"""Codes that do not add credit: supply connection, engineering, vends that deduct or set, retain credit.

20 digits like a vend that adds, and typed the same way. A vend with a tariff is longer: `tariff_codes.py`.

ASSUMPTION. The form of Secure's codes is not public. Here they take the two value classes that GBCS leaves
undefined: class 2 is a supply code (value 0 off, 1 ready) or, value 2, retain credit; class 3 says by its two
highest bits what it is: 0 an engineering code (the rest: its function), 1 a vend that deducts whole pounds, 2
one that sets the balance to whole pounds, 3 the head of a vend with a tariff. Everything else, the
authentication and the counter cache above all, is as for a vend that adds, so that each works once and only
on one meter. One module: a lab with the real form swaps it.

*Retain credit* is for who uses nothing for a long time: the balance goes into a refund code, and no standing
charge is due until credit comes again. The refund code is a token like any other, made by the meter for its
supplier (originator and target change places) with the counter of the code that asked for it. It carries
whole pence up to 81.91 pounds, above that whole pounds; what it cannot carry stays in the meter.

Source: Secure Liberty 100 manual (types of code: vend to add, deduct and set, supply connection,
engineering, vend with a tariff, retain credit; the refund code on the glass), Secure Liberty EG4 manual (what
retain credit does).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.errors import DecodeError, InputError
from smets1.eui64 import Eui64
from smets1.firmware.utrn import MAX_VALUE, Utrn, ValueClass, decode_utrn, make_utrn

__all__ = [
    "Engineering",
    "SpecialCode",
    "VendKind",
    "kind_of",
    "make_refund_code",
    "make_special_code",
    "refundable",
    "special_code",
    "tariff_head_value",
    "tariff_parts",
]

SUPPLY_CLASS: Final = 2
ENGINEERING_CLASS: Final = 3
_RETAIN: Final = 2  # of SUPPLY_CLASS
_KIND_SHIFT: Final = 11  # of the 13 bits of a value
_REST: Final = (1 << _KIND_SHIFT) - 1
_WITH_TARIFF: Final = 3  # as a kind
_CODE_DIGITS: Final = 20
_PENNY_MP: Final = 1000
_POUND_MP: Final = 100_000


@unique
class VendKind(IntEnum):
    """What a vend does to the balance. Of class 3, the two highest bits of the value."""

    ADD = 0
    DEDUCT = 1
    SET = 2


@unique
class Engineering(IntEnum):
    """What an engineering code does. The numbers are ours."""

    JOINING_ON = 1
    JOINING_OFF = 2
    CLEAR_EVENT_LOG = 3
    CLEAR_TAMPER = 4
    UNLOCK_KEYPAD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialCode:
    """A supply code, an engineering code, a vend that is not ADD, or retain credit."""

    supply_is_ready: bool | None = None  # False: off
    retains_credit: bool = False
    engineering: Engineering | None = None
    vend: VendKind = VendKind.ADD
    amount_mp: int = 0  # to deduct, or to set to


def special_code(utrn: Utrn) -> SpecialCode | None:
    """What the fields of a token mean beyond a vend; None: it is a vend, or of an unknown function.

    Whether it is authentic and new is not asked here.
    """
    value, value_class = utrn.value, utrn.value_class
    if value_class == SUPPLY_CLASS and value in (0, 1):
        return SpecialCode(supply_is_ready=value == 1)
    if value_class == SUPPLY_CLASS and value == _RETAIN:
        return SpecialCode(retains_credit=True)
    kind, rest = value >> _KIND_SHIFT, value & _REST
    if value_class == ENGINEERING_CLASS and kind == 0 and rest in tuple(Engineering):
        return SpecialCode(engineering=Engineering(rest))
    if value_class == ENGINEERING_CLASS and kind in (VendKind.DEDUCT, VendKind.SET):
        return SpecialCode(vend=VendKind(kind), amount_mp=rest * _POUND_MP)
    return None


def kind_of(digits: str) -> str:
    """In a word, what a number claims to be, good or not; "?" where the digits do not tell."""
    try:
        utrn = decode_utrn(digits[:_CODE_DIGITS])
    except DecodeError:
        return "?"
    special = special_code(utrn)
    if tariff_parts(utrn):
        return "TARIFF"
    if special is None:
        return "?" if utrn.amount_mp is None else "VEND"
    if special.retains_credit:
        return "RETAIN"
    if special.supply_is_ready is not None:
        return "SUPPLY"
    return "VEND" if special.engineering is None else "ENGINEER"


def tariff_parts(utrn: Utrn) -> int:
    """How many parts follow this head of a vend with a tariff; 0: it is none."""
    if utrn.value_class != ENGINEERING_CLASS or utrn.value >> _KIND_SHIFT != _WITH_TARIFF:
        return 0
    return utrn.value & _REST


def tariff_head_value(parts: int) -> int:
    """The 13 bits of such a head."""
    return _WITH_TARIFF << _KIND_SHIFT | parts


def refundable(balance_mp: int) -> tuple[int, ValueClass]:
    """(value, class) of the most that a refund code can carry of a balance."""
    pence = max(0, balance_mp) // _PENNY_MP
    if pence <= MAX_VALUE:
        return pence, ValueClass.PENCE
    return min(pence // 100, MAX_VALUE), ValueClass.POUNDS


def make_refund_code(
    key: bytes, *, meter: Eui64, supplier: Eui64, counter: int, value: int, value_class: int
) -> str:
    """20 digits by which the supplier knows what the meter gave back; `counter`: of the code that asked."""
    return make_utrn(
        key, originator=meter, target=supplier, counter=counter, value=value, value_class=value_class
    )


def make_special_code(
    key: bytes,
    *,
    originator: Eui64,
    target: Eui64,
    counter: int,
    supply_is_ready: bool | None = None,
    engineering: Engineering | None = None,
    vend: VendKind = VendKind.ADD,
    pounds: int = 0,
    retains_credit: bool = False,
) -> str:
    """20 digits. Give one of the options; `pounds`: of a vend that deducts or sets, 0..2047.

    Raises InputError as `make_utrn`, and for more pounds than that.
    """
    kind = ENGINEERING_CLASS
    if vend is not VendKind.ADD:
        if not 0 <= pounds <= _REST:
            raise InputError(f"a code deducts or sets 0 to {_REST} pounds")
        value = vend << _KIND_SHIFT | pounds
    elif engineering is not None:
        value = int(engineering)
    elif retains_credit:
        kind, value = SUPPLY_CLASS, _RETAIN
    else:
        kind, value = SUPPLY_CLASS, int(bool(supply_is_ready))
    return make_utrn(
        key,
        originator=originator,
        target=target,
        counter=counter,
        value=value,
        value_class=kind,
    )
