"""What `smets1 utrn` knows of codes that are more than a top-up: making them, and saying what one means.

The form of all of them is **assumed**, see `devices/special_codes.py` and `devices/tariff_codes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from smets1.devices.screens import format_money
from smets1.devices.special_codes import (
    Engineering,
    SpecialCode,
    VendKind,
    make_special_code,
    special_code,
    tariff_parts,
)
from smets1.devices.tariff_codes import SecondRate, TariffVend, covered, join_codes, make_tariff_code
from smets1.errors import DecodeError, InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.utrn import (
    CounterCache,
    TokenReason,
    check_digit,
    decode_utrn,
    group_digits,
    make_utrn,
    value_for_pence,
    verify,
)
from smets1.tools.arguments import UsageError

__all__ = ["KINDS", "TARIFF", "CodeReport", "make_code", "report"]

TOP_UP: Final = "top-up"
TARIFF: Final = "tariff"
_WITH_POUNDS: Final = {"deduct": VendKind.DEDUCT, "set": VendKind.SET}
_WITHOUT_AMOUNT: Final[Mapping[str, dict[str, Any]]] = {
    "supply-off": {"supply_is_ready": False},
    "supply-ready": {"supply_is_ready": True},
    "retain-credit": {"retains_credit": True},
    **{each.name.lower().replace("_", "-"): {"engineering": each} for each in Engineering},
}
KINDS: Final = (TOP_UP, TARIFF, *_WITH_POUNDS, *_WITHOUT_AMOUNT)


def make_code(
    kind: str,
    key: bytes,
    *,
    originator: Eui64,
    target: Eui64,
    counter: int,
    pence: int | None = None,
    unit_rate_mp: int | None = None,
    standing_charge_mp: int | None = None,
    second: SecondRate | None = None,
) -> str:
    """The digits of one of KINDS. Raises UsageError for what is missing, InputError for what does not fit."""
    common: dict[str, Any] = {"originator": originator, "target": target, "counter": counter}
    rates = (unit_rate_mp, standing_charge_mp, second)
    if kind in _WITHOUT_AMOUNT and pence is not None:
        raise UsageError(f"a code {kind} has no amount")
    if kind not in _WITHOUT_AMOUNT and pence is None:
        raise UsageError(f"a code {kind} needs --pounds or --pence")
    if kind != TARIFF and any(rate is not None for rate in rates):
        raise UsageError(f"a code {kind} has no rates: they are for --kind {TARIFF}")
    if kind in _WITHOUT_AMOUNT:
        return make_special_code(key, **common, **_WITHOUT_AMOUNT[kind])
    assert pence is not None, "asked for above"
    if kind in _WITH_POUNDS:
        if pence % 100:
            raise InputError(f"a code {kind} is of whole pounds")
        return make_special_code(key, **common, vend=_WITH_POUNDS[kind], pounds=pence // 100)
    if kind == TOP_UP:
        value, value_class = value_for_pence(pence)
        return make_utrn(key, **common, value=value, value_class=value_class)
    if unit_rate_mp is None or standing_charge_mp is None:
        raise UsageError("a code with a tariff needs --unit-rate and --standing-charge")
    return make_tariff_code(
        key,
        **common,
        pence=pence,
        unit_rate_mp_per_kwh=unit_rate_mp,
        standing_charge_mp=standing_charge_mp,
        second=second,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport:
    """What one code says, and what a device thinks of it."""

    lines: list[str]
    fields: dict[str, object]
    is_accepted: bool | None  # None: nobody was asked


def report(
    text: str, *, key: bytes | None, originator: Eui64, target: Eui64, cache: CounterCache
) -> CodeReport | None:
    """Of a code that is more than a top-up, in groups or not; None: it is none. From a person: any text."""
    digits = "".join(character for character in text if character not in " \t-")
    groups = [digits[start : start + 20] for start in range(0, len(digits), 20)]
    try:
        utrn = decode_utrn(groups[0] if groups else "")
    except DecodeError:
        return None
    special, parts = special_code(utrn), tariff_parts(utrn)
    if parts and join_codes(groups) == [digits]:
        return _tariff_report(groups, key=key, originator=originator, target=target, cache=cache)
    if special is None or len(groups) > 1:
        return None
    reasons: tuple[TokenReason, ...] = ()
    if key is not None:
        check = verify(digits, key=key, originator=originator, target=target, cache=cache)
        reasons = check.reasons[1:]  # its class is known to a device
    return _report(groups, _words(special), {"kind": _words(special)}, key, reasons, target)


def _tariff_report(
    groups: list[str], *, key: bytes | None, originator: Eui64, target: Eui64, cache: CounterCache
) -> CodeReport | None:
    try:
        more, vend = covered(groups[1:]), TariffVend.decode(groups[1:])
    except DecodeError as error:
        return CodeReport(
            lines=[f"refused: {error.reason}"], fields={"reason": error.reason}, is_accepted=False
        )
    reasons: tuple[TokenReason, ...] = ()
    if key is not None:
        check = verify(groups[0], key=key, originator=originator, target=target, cache=cache, more=more)
        reasons = check.reasons[1:]
    second = vend.second
    fields: dict[str, object] = {
        "kind": TARIFF,
        "amount_mp": vend.amount_mp,
        "standing_charge_mp": vend.standing_charge_mp,
        "unit_rate_mp_per_kwh": vend.unit_rate_mp_per_kwh,
    }
    words = (
        f"a vend of {format_money(vend.amount_mp or 0)} with a tariff: "
        f"{vend.unit_rate_mp_per_kwh / 1000:.3f} p/kWh, {vend.standing_charge_mp / 1000:.3f} p a day"
    )
    if second is not None:
        fields["second"] = [second.rate_mp_per_kwh, second.from_minute, second.to_minute]
        words += (
            f", {second.rate_mp_per_kwh / 1000:.3f} p/kWh from {_clock(second.from_minute)} "
            f"to {_clock(second.to_minute)} UTC"
        )
    return _report(groups, words, fields, key, reasons, target)


def _report(
    groups: list[str],
    words: str,
    fields: dict[str, object],
    key: bytes | None,
    reasons: tuple[TokenReason, ...],
    target: Eui64,
) -> CodeReport:
    utrn = decode_utrn(groups[0])
    lines = [
        f"code: {group_digits(''.join(groups))}",
        f"check digit: {check_digit(groups[0][:19])}, good",
        f"counter: {utrn.counter_low} (mod 1024)",
        f"means: {words}",
    ]
    if key is None:
        lines.append("authenticity: not judged (needs the prepayment key, originator and target)")
    elif reasons:
        lines += [f"refused by {format_eui64(target)}: {reason}" for reason in reasons]
    else:
        lines.append(f"accepted by {format_eui64(target)}")
    return CodeReport(
        lines=lines,
        fields={"is_token": True, "counter_low": utrn.counter_low, **fields, "reasons": list(reasons)},
        is_accepted=None if key is None else not reasons,
    )


def _words(code: SpecialCode) -> str:
    if code.vend is not VendKind.ADD:
        verb = "deducts" if code.vend is VendKind.DEDUCT else "sets the balance to"
        return f"a vend that {verb} {format_money(code.amount_mp)}"
    if code.retains_credit:
        return "retain credit"
    if code.engineering is not None:
        return f"engineering: {code.engineering.name.lower().replace('_', ' ')}"
    return "supply ready" if code.supply_is_ready else "supply off"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
