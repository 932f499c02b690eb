"""`smets1 utrn make|check`: makes a top-up token or another code; explains one, and why it would be refused.

The key is a device's prepayment key: given as hex, or the trial key of a home (by its home.toml or
its seed). `check` without any of these says what the digits say and leaves authenticity open.
Exit code 1 where the token is refused.
"""

from __future__ import annotations

import argparse
import json
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.tools.arguments import UsageError, eui64, whole_number

if TYPE_CHECKING:
    from smets1.firmware.utrn import CounterCache

__all__ = ["add_arguments", "run"]

_ESME: Final = 0x00DB1234567890A0
_SUPPLIER: Final = 0x90B3D51F30010000
_DEFAULT_SEED: Final = 1
_KINDS: Final = (
    *("top-up", "tariff", "deduct", "set", "supply-off", "supply-ready", "retain-credit"),
    *("joining-on", "joining-off", "clear-event-log", "clear-tamper", "unlock-keypad"),
)  # as of tools/utrn_codes.py, which --help need not load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="make|check", dest="action", required=True)
    make = actions.add_parser("make", help="make a code", description="Make a top-up token or another code.")
    make.add_argument(
        "--kind", choices=_KINDS, default=_KINDS[0],
        help="what the code does (default: top-up; tariff: 40 or 60 digits with new prices)",
    )  # fmt: skip
    amount = make.add_mutually_exclusive_group()
    amount.add_argument("--pounds", type=_pence_of_pounds, dest="pence", help="how much, as 10 or 12.34")
    amount.add_argument("--pence", type=whole_number(0, 819_100), help="how much, in pence")
    make.add_argument(
        "--counter",
        type=whole_number(0, 2**32 - 1),
        default=1,
        help="above any that the device has accepted (default 1)",
    )
    make.add_argument(
        "--unit-rate", type=_mp_of_pence, metavar="PENCE", help="of a tariff: per kWh, as 28.62"
    )
    make.add_argument("--standing-charge", type=_mp_of_pence, metavar="PENCE", help="of a tariff: per day")
    make.add_argument(
        "--second-rate",
        type=_mp_of_pence,
        metavar="PENCE",
        help="of a tariff: per kWh in the hours of --hours",
    )
    make.add_argument("--hours", type=_hours, metavar="HH:MM-HH:MM", help="of --second-rate, UTC, each day")
    check = actions.add_parser("check", help="explain a code", description="Explain a top-up token or code.")
    check.add_argument("token", metavar="UTRN", nargs="+", help="20, 40 or 60 digits, in groups or not")
    check.add_argument(
        "--accepted", metavar="N", type=whole_number(0, 2**32 - 1), action="append", default=[],
        help="a counter that the device has accepted before; may be repeated",
    )  # fmt: skip
    for part in (make, check):
        part.add_argument("--device", metavar="EUI64", type=eui64, help="the meter (default: reference ESME)")
        part.add_argument(
            "--originator", metavar="EUI64", type=eui64, default=_SUPPLIER,
            help="the supplier (default: that of the reference requests)",
        )  # fmt: skip
        keys = part.add_mutually_exclusive_group()
        keys.add_argument("--key", metavar="HEX", type=_key, help="the device's prepayment key, 16 octets")
        keys.add_argument("--home", metavar="FILE", type=Path, help="a home.toml: its trial keys")
        keys.add_argument(
            "--seed", metavar="N", type=whole_number(0, 2**63 - 1), help="trial keys of a home with this seed"
        )
        part.add_argument("--json", action="store_true", help="answer as JSON")


def run(args: argparse.Namespace) -> int:
    return _make(args) if args.action == "make" else _check(args)


def _make(args: argparse.Namespace) -> int:
    from smets1.devices.tariff_codes import SecondRate
    from smets1.firmware.utrn import group_digits
    from smets1.tools.utrn_codes import make_code

    if (args.second_rate is None) is not (args.hours is None):
        raise UsageError("--second-rate and --hours go together")
    second = None
    if args.hours is not None:
        second = SecondRate(
            rate_mp_per_kwh=args.second_rate, from_minute=args.hours[0], to_minute=args.hours[1]
        )
    device = _ESME if args.device is None else args.device
    digits = make_code(
        args.kind,
        _chosen_key(args, device) or _trial_key(_DEFAULT_SEED, device),
        originator=args.originator,
        target=device,
        counter=args.counter,
        pence=args.pence,
        unit_rate_mp=args.unit_rate,
        standing_charge_mp=args.standing_charge,
        second=second,
    )
    if args.json:
        answer = {
            "utrn": digits,
            "kind": args.kind,
            "device": format_eui64(device),
            "pence": args.pence,
            "counter": args.counter,
        }
        print(json.dumps(answer))
    else:
        print(group_digits(digits))
    return 0


def _check(args: argparse.Namespace) -> int:
    from smets1.firmware.utrn import CounterCache, explain, verify
    from smets1.tools.utrn_codes import report

    text = "".join(args.token)
    device = _ESME if args.device is None else args.device
    is_judged = any(value is not None for value in (args.device, args.key, args.home, args.seed))
    key = (_chosen_key(args, device) or _trial_key(_DEFAULT_SEED, device)) if is_judged else None
    cache = CounterCache()
    for counter in args.accepted:
        cache = cache.accept(counter)
    found = report(text, key=key, originator=args.originator, target=device, cache=cache)
    if found is not None:
        shown = {**found.fields, "is_accepted": found.is_accepted, "text": found.lines}
        print(json.dumps(shown) if args.json else "\n".join(found.lines))
        return 1 if found.is_accepted is False else 0
    lines = explain(text, key=key, originator=args.originator, target=device, cache=cache)
    if key is None:
        is_good = not any(line.startswith("refused") for line in lines)
    else:
        is_good = verify(text, key=key, originator=args.originator, target=device, cache=cache).is_good
    if args.json:
        print(
            json.dumps(
                {**_fields(text), **_verdict(text, key, args.originator, device, cache), "text": lines}
            )
        )
    else:
        print("\n".join(lines))
    return 0 if is_good else 1


def _fields(text: str) -> dict[str, object]:
    from smets1.errors import DecodeError
    from smets1.firmware.utrn import decode_utrn

    try:
        utrn = decode_utrn(text)
    except DecodeError as error:
        return {"is_token": False, "reason": error.reason}
    return {
        "is_token": True,
        "counter_low": utrn.counter_low,
        "value_class": utrn.value_class,
        "value": utrn.value,
        "amount_mp": utrn.amount_mp,
    }


def _verdict(
    text: str, key: bytes | None, originator: Eui64, device: Eui64, cache: CounterCache
) -> dict[str, object]:
    from smets1.firmware.utrn import verify

    if key is None:
        return {"is_accepted": None, "reasons": []}
    check = verify(text, key=key, originator=originator, target=device, cache=cache)
    return {"is_accepted": check.is_good, "counter": check.counter, "reasons": list(check.reasons)}


# --- keys and arguments ----------------------------------------------------------------------------


def _chosen_key(args: argparse.Namespace, device: Eui64) -> bytes | None:
    """The key that the arguments name; None where they name none."""
    if args.key is not None:
        return bytes(args.key)
    if args.home is not None:
        from smets1.tools.home_file import read_home

        home = read_home(args.home)
        if device not in (known.eui64 for known in home.devices):
            raise InputError(f"{args.home}: {format_eui64(device)} is no device of this home: give --device")
        return _trial_key(home.seed, device)
    return None if args.seed is None else _trial_key(args.seed, device)


def _trial_key(seed: int, device: Eui64) -> bytes:
    from smets1.tools.trial_keys import prepayment_key

    return prepayment_key(seed, device)


def _pence_of_pounds(text: str) -> int:
    try:
        pence = Decimal(text) * 100
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount: write 10 or 12.34") from None
    if not pence.is_finite() or pence != int(pence):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount: whole pence only")
    return int(pence)


def _mp_of_pence(text: str) -> int:
    try:
        mp = Decimal(text) * 1000
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no price: write 28.62") from None
    if not mp.is_finite() or mp != int(mp):
        raise argparse.ArgumentTypeError(f"{text!r} is no price: up to three digits of a penny")
    return int(mp)


def _hours(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} are no hours: write 00:30-07:30")
    first, second, third, fourth = map(int, match.groups())
    return first * 60 + second, third * 60 + fourth


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 16:
        raise argparse.ArgumentTypeError("32 hex digits")  # the text itself is a key: not repeated
    return key
