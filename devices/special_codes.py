"""Codes that are no top-up: supply connection and engineering, 20 digits like a vend and typed the same way.

ASSUMPTION. The form of Secure's codes is not public. Here they take the two value classes that GBCS leaves
undefined: class 2 is a supply code (value 0 off, 1 ready), class 3 an engineering code (value: the function).
Everything else, the authentication and the counter cache above all, is as for a vend, so that each works once
and only on one meter. One module: a lab with the real form swaps it.

Source: facts/utrn.md (types of code of the Liberty 100: vend, supply connection, engineering).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.utrn import TokenCheck, TokenReason, make_utrn

__all__ = ["Engineering", "SpecialCode", "make_special_code", "special_code"]

SUPPLY_CLASS: Final = 2
ENGINEERING_CLASS: Final = 3


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
    """Exactly one of the two is not None."""

    supply_is_ready: bool | None = None  # False: off
    engineering: Engineering | None = None


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
    if value_class == ENGINEERING_CLASS and value in tuple(Engineering):
        return SpecialCode(engineering=Engineering(value))
    return None


def make_special_code(
    key: bytes,
    *,
    originator: Eui64,
    target: Eui64,
    counter: int,
    supply_is_ready: bool | None = None,
    engineering: Engineering | None = None,
) -> str:
    """20 digits. Give one of the last two. Raises InputError as `make_utrn`."""
    value = int(bool(supply_is_ready)) if engineering is None else int(engineering)
    kind = SUPPLY_CLASS if engineering is None else ENGINEERING_CLASS
    return make_utrn(
        key,
        originator=originator,
        target=target,
        counter=counter,
        value=value,
        value_class=kind,
    )
