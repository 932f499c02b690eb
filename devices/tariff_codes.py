"""A vend with a tariff: 40 or 60 digits that add credit and put new prices in force, all or nothing.

A supplier that cannot reach a meter gives its prices to the person who tops up: after a change of prices the
next code is longer. It is typed like any other, and counts as one code with one counter.

ASSUMPTION. What such a code carries is not public. Here it is a head and one or two parts, each of them 20
digits of the usual form with a check digit of its own:

    head    a token of class 3 whose value says how many parts follow; its MAC covers them too
    part 1  value class (2 bits) | value (13) of the credit | standing charge (21) | unit rate (21)
    part 2  0 (14 bits) | rate of the second register (21) | from minute (11) | to minute (11)

Rates in 1/1000 pence per kWh, the standing charge in 1/1000 pence a day. Part 2 makes a tariff of two
registers, the second of which runs each UTC day from one minute to the other, over midnight where `to` is
the earlier. One module: a lab with the real form swaps it.

Left out: blocks, seasons and weekends, which 60 digits of this form cannot carry.

Source: Secure Liberty 100 manual (codes of 40 and 60 digits, vend with a tariff); suppliers' help pages
(a longer code comes when prices have changed, and both credits the meter and sets the new unit rates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smets1.devices.special_codes import ENGINEERING_CLASS, tariff_head_value, tariff_parts
from smets1.devices.tariff import SwitchingTable, Tariff
from smets1.errors import DecodeError, InputError
from smets1.eui64 import Eui64
from smets1.firmware.utrn import (
    Utrn,
    decode_utrn,
    digits_of_ptut,
    make_utrn,
    ptut_of_digits,
    value_for_pence,
)

__all__ = ["SecondRate", "TariffVend", "covered", "join_codes", "make_tariff_code"]

_CODE_DIGITS: Final = 20
_MOST_PARTS: Final = 2
_RATE_BITS: Final = 21
_RATE_MASK: Final = (1 << _RATE_BITS) - 1
_MINUTE_BITS: Final = 11
_MINUTE_MASK: Final = (1 << _MINUTE_BITS) - 1
_DAY_MINUTES: Final = 1440
_UP_PER_MP: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRate:
    """A second register, from one minute of the UTC day (0..1439) to another."""

    rate_mp_per_kwh: int
    from_minute: int
    to_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffVend:
    """What the parts behind the head say. Money in 1/1000 pence."""

    value: int
    value_class: int
    standing_charge_mp: int
    unit_rate_mp_per_kwh: int
    second: SecondRate | None = None

    @classmethod
    def decode(cls, parts: list[str]) -> TariffVend:
        """One or two times 20 digits. From a keypad: raises DecodeError."""
        first = ptut_of_digits(parts[0])
        second = None
        if len(parts) > 1:
            bits = ptut_of_digits(parts[1])
            second = SecondRate(
                rate_mp_per_kwh=bits >> 2 * _MINUTE_BITS,
                from_minute=bits >> _MINUTE_BITS & _MINUTE_MASK,
                to_minute=bits & _MINUTE_MASK,
            )
        vend = cls(
            value_class=first >> 13 + 2 * _RATE_BITS,
            value=first >> 2 * _RATE_BITS & 0x1FFF,
            standing_charge_mp=first >> _RATE_BITS & _RATE_MASK,
            unit_rate_mp_per_kwh=first & _RATE_MASK,
            second=second,
        )
        try:
            vend.encode()
        except InputError as error:
            raise DecodeError("UTRN", _CODE_DIGITS, str(error)) from None
        return vend

    def encode(self) -> list[str]:
        """Raises InputError for what the parts cannot carry."""
        rates = [self.standing_charge_mp, self.unit_rate_mp_per_kwh]
        minutes = []
        if self.second is not None:
            rates.append(self.second.rate_mp_per_kwh)
            minutes = [self.second.from_minute, self.second.to_minute]
        if not all(0 <= rate <= _RATE_MASK for rate in rates):
            raise InputError(f"a code carries rates of 0 to {_RATE_MASK / 1000:.3f} pence")
        if not all(0 <= minute < _DAY_MINUTES for minute in minutes) or len(set(minutes)) == 1:
            raise InputError("a second rate runs from one minute of the day to another")
        if self.amount_mp is None:
            raise InputError("the credit of a code is in pence or pounds")
        credit = self.value_class << 13 | self.value
        parts = [digits_of_ptut((credit << _RATE_BITS | rates[0]) << _RATE_BITS | rates[1])]
        if self.second is not None:
            times = minutes[0] << _MINUTE_BITS | minutes[1]
            parts.append(digits_of_ptut(rates[2] << 2 * _MINUTE_BITS | times))
        return parts

    @property
    def amount_mp(self) -> int | None:
        """As of a token."""
        return Utrn(counter_low=0, value_class=self.value_class, value=self.value, tag=bytes(4)).amount_mp

    @property
    def tariff(self) -> Tariff:
        standing_up = self.standing_charge_mp * _UP_PER_MP
        rates = [self.unit_rate_mp_per_kwh * _UP_PER_MP]
        if self.second is None:
            return Tariff(prices_up_per_kwh=(tuple(rates),), standing_charge_up=standing_up)
        rates.append(self.second.rate_mp_per_kwh * _UP_PER_MP)
        return Tariff(
            prices_up_per_kwh=(tuple(rates),),
            standing_charge_up=standing_up,
            switching=_every_day(self.second.from_minute, self.second.to_minute),
        )


def _every_day(from_minute: int, to_minute: int) -> SwitchingTable:
    points = {from_minute: 1, to_minute: 0}
    points.setdefault(0, int(from_minute > to_minute))
    return SwitchingTable.daily(*sorted(points.items()))


def join_codes(groups: list[str]) -> list[str]:
    """Times 20 digits as they were typed -> codes: a head and its parts are one of 40 or 60 digits."""
    codes: list[str] = []
    rest = list(groups)
    while rest:
        count = 1 + _parts_after(rest[0])
        codes.append("".join(rest[:count]))
        rest = rest[count:]
    return codes


def _parts_after(group: str) -> int:
    try:
        return min(tariff_parts(decode_utrn(group)), _MOST_PARTS)
    except DecodeError:
        return 0


def make_tariff_code(
    key: bytes,
    *,
    originator: Eui64,
    target: Eui64,
    counter: int,
    pence: int,
    unit_rate_mp_per_kwh: int,
    standing_charge_mp: int,
    second: SecondRate | None = None,
) -> str:
    """40 digits, 60 with a second rate. Raises InputError as `make_utrn`, and for what does not fit."""
    value, value_class = value_for_pence(pence)
    vend = TariffVend(
        value=value,
        value_class=value_class,
        standing_charge_mp=standing_charge_mp,
        unit_rate_mp_per_kwh=unit_rate_mp_per_kwh,
        second=second,
    )
    parts = vend.encode()
    head = make_utrn(
        key,
        originator=originator,
        target=target,
        counter=counter,
        value=tariff_head_value(len(parts)),
        value_class=ENGINEERING_CLASS,
        more=covered(parts),
    )
    return "".join([head, *parts])


def covered(parts: list[str]) -> bytes:
    """What the MAC of the head covers besides the head: 8 octets a part. Raises DecodeError."""
    return b"".join(ptut_of_digits(part).to_bytes(8, "big") for part in parts)
