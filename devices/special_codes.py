"""Codes that do not add credit: supply connection, engineering, and vends that deduct or set.

20 digits like a vend that adds, and typed the same way.

ASSUMPTION. The form of Secure's codes is not public. Here they take the two value classes that GBCS leaves
undefined: class 2 is a supply code (value 0 off, 1 ready); class 3 says by its two highest bits what it is: 0
an engineering code (the rest: its function), 1 a vend that deducts whole pounds, 2 one that sets the balance
to whole pounds. Everything else, the authentication and the counter cache above all, is as for a vend that
adds, so that each works once and only on one meter. One module: a lab with the real form swaps it.

Left out: vend with a tariff, and retain credit.

Source: Secure Liberty 100 manual (types of code: vend to add, deduct and set, supply connection,
engineering).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.errors import InputError
from smets1.eui64 import Eui64
from smets1.firmware.utrn import TokenCheck, TokenReason, make_utrn

__all__ = ["Engineering", "SpecialCode", "VendKind", "make_special_code", "special_code"]

SUPPLY_CLASS: Final = 2
ENGINEERING_CLASS: Final = 3
_KIND_SHIFT: Final = 11  # of the 13 bits of a value
_REST: Final = (1 << _KIND_SHIFT) - 1
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
    """A supply code, an engineering code, or a vend that is not ADD."""

    supply_is_ready: bool | None = None  # False: off
    engineering: Engineering | None = None
    vend: VendKind = VendKind.ADD
    amount_mp: int = 0  # to deduct, or to set to


def special_code(check: TokenCheck) -> SpecialCode | None:
    """What a judged token means beyond a vend; None: it is a vend, refused, or of an unknown function.

    A special code is one of which an undefined value class is all that a vend's judge had against it:
    it is authentic and its counter is new.
    """
    if check.utrn is None or check.reasons != (TokenReason.UNKNOWN_VALUE_CLASS,):
        return None
    value, value_class = check.utrn.value, check.utrn.value_class
    if value_class == SUPPLY_CLASS and value in (0, 1):
        return SpecialCode(supply_is_ready=value == 1)
    kind, rest = value >> _KIND_SHIFT, value & _REST
    if value_class == ENGINEERING_CLASS and kind == 0 and rest in tuple(Engineering):
        return SpecialCode(engineering=Engineering(rest))
    if value_class == ENGINEERING_CLASS and kind in (VendKind.DEDUCT, VendKind.SET):
        return SpecialCode(vend=VendKind(kind), amount_mp=rest * _POUND_MP)
    return None


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
) -> str:
    """20 digits. Give one of the last three; `pounds`: of a vend that deducts or sets, 0..2047.

    Raises InputError as `make_utrn`, and for more pounds than that.
    """
    kind = ENGINEERING_CLASS
    if vend is not VendKind.ADD:
        if not 0 <= pounds <= _REST:
            raise InputError(f"a code deducts or sets 0 to {_REST} pounds")
        value = vend << _KIND_SHIFT | pounds
    elif engineering is not None:
        value = int(engineering)
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
