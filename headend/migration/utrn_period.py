"""The UTRN Period of one meter: who may make its top-up tokens, and when. Values and times, no clock.

It begins when the S1SP has successfully processed 8.1.1 for the device, and lasts 48 hours; the instant at
which it begins belongs to it, the one at which it ends does not. Before: the SMSO makes tokens. During: the
SMSO passes non-negative requests on and can make none. After: every request over RNSP fails, with its reason.
Source: TMAD 2 (UTRN Period), 3.14B, 3.14C, 3.14D, 6.7; consultation, 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

__all__ = ["UTRN_PERIOD_US", "Channel", "Maker", "Ruling", "rule"]

UTRN_PERIOD_US: Final = 48 * 3_600_000_000


@unique
class Channel(StrEnum):
    """By which way a token is asked for."""

    RNSP = "RNSP"  # a payment provider, of the SMSO
    SMSO = "SMSO"  # the supplier, of the SMSO by its other ways
    DCC = "DCC"  # the supplier, of the DCC by DUIS


@unique
class Maker(StrEnum):
    """Whose token it is."""

    SMSO = "SMSO"
    S1SP = "S1SP"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    maker: Maker
    reason: str = ""  # where nobody makes it
    clause: str = ""


def rule(
    channel: Channel, *, amount_pence: int, begun_utc_us: int | None, is_with_dcc: bool, now_utc_us: int
) -> Ruling:
    """Who makes a token now. `begun_utc_us`: of 8.1.1, None before it; `is_with_dcc`: whose account it is."""
    if amount_pence < 0:
        return _no("a top-up is not negative", "3.14B")
    if channel is Channel.DCC:
        if begun_utc_us is None:
            return _no("the device is not commissioned with the DCC", "3.14C")
        return Ruling(maker=Maker.S1SP)
    if begun_utc_us is None:
        if channel is Channel.SMSO and is_with_dcc:
            return _no("the account is the DCC's", "6.7")
        return Ruling(maker=Maker.SMSO)
    if channel is Channel.SMSO:
        return _no("the device is commissioned with the DCC: use a Service Request", "3.14C")
    if now_utc_us < begun_utc_us + UTRN_PERIOD_US:
        return Ruling(maker=Maker.S1SP)
    return _no("the UTRN Period is over: the supplier asks the DCC by Service Request", "3.14D")


def _no(reason: str, clause: str) -> Ruling:
    return Ruling(maker=Maker.NOBODY, reason=reason, clause=clause)
