"""What a house draws: cumulative consumption as a function of time.

A `Load` is a value: asked for the same instant it gives the same answer, whoever asks and in what
order. It is cumulative, so that nothing is lost or counted twice between two readings; within one
interval of its source it rises linearly, rounded down to 1 uWh, and at the interval's ends it is
exact. Electricity and gas are the same kind of thing here, energy in uWh; `GasFlow` turns the
energy of gas into the volume that a gas meter really measures.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Protocol

from smets1.devices.days import HOUR_US
from smets1.devices.state import StateReader, pack_state
from smets1.errors import InputError, MisuseError

__all__ = [
    "DEFAULT_CONVERSION",
    "ApplianceLoad",
    "ConstantLoad",
    "GasConversion",
    "GasFlow",
    "Household",
    "Load",
    "RatioLoad",
    "RepeatedLoad",
    "ShiftedLoad",
    "SumLoad",
    "TableLoad",
]

_UW_PER_MW: Final = 1000


class Load(Protocol):
    """Consumption of one fuel since the load's own start (0 uWh there and before it)."""

    def energy_uwh(self, utc_us: int) -> int:
        """Cumulative energy at an instant, uWh; never falls as time goes on."""

    def power_mw(self, utc_us: int) -> int:
        """Mean power of the source's interval that begins at or holds the instant, milliwatts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantLoad:
    """`watts` from `start_utc_us` on."""

    watts: int
    start_utc_us: int = 0

    def energy_uwh(self, utc_us: int) -> int:
        return max(0, utc_us - self.start_utc_us) * self.watts * 1_000_000 // HOUR_US

    def power_mw(self, utc_us: int) -> int:
        return self.watts * 1000 if utc_us >= self.start_utc_us else 0


class TableLoad:
    """Intervals with an energy each; between and outside them nothing flows.

    `starts_us` ascending; interval i lasts from `starts_us[i]` to `ends_us[i]`, which is not after
    `starts_us[i + 1]`; `energies_uwh[i]` is 0 or more. Raises MisuseError where that does not hold.
    """

    __slots__ = ("_before", "_ends", "_energies", "_starts")

    def __init__(
        self, *, starts_us: Sequence[int], ends_us: Sequence[int], energies_uwh: Sequence[int]
    ) -> None:
        if not len(starts_us) == len(ends_us) == len(energies_uwh):
            raise MisuseError("a table load needs as many ends and energies as starts")
        if any(start >= end for start, end in zip(starts_us, ends_us, strict=True)) or any(
            end > start for end, start in zip(ends_us, starts_us[1:], strict=False)
        ):
            raise MisuseError("the intervals of a table load must ascend and not overlap")
        if min(energies_uwh, default=0) < 0:
            raise MisuseError("a table load holds consumption, which is never negative")
        self._starts = tuple(starts_us)
        self._ends = tuple(ends_us)
        self._energies = tuple(energies_uwh)
        self._before = tuple(accumulate(energies_uwh, initial=0))

    def energy_uwh(self, utc_us: int) -> int:
        index = bisect_right(self._starts, utc_us) - 1
        if index < 0:
            return 0
        start, end = self._starts[index], self._ends[index]
        if utc_us >= end:
            return self._before[index + 1]
        return self._before[index] + self._energies[index] * (utc_us - start) // (end - start)

    def power_mw(self, utc_us: int) -> int:
        index = bisect_right(self._starts, utc_us) - 1
        if index < 0 or utc_us >= self._ends[index]:
            return 0
        duration_us = self._ends[index] - self._starts[index]
        return self._energies[index] * HOUR_US // duration_us // _UW_PER_MW

    def window(self) -> tuple[int, int]:
        """First covered instant and the first one after the last interval; (0, 0) where empty."""
        return (self._starts[0], self._ends[-1]) if self._starts else (0, 0)

    def total_uwh(self) -> int:
        return self._before[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedLoad:
    """Another load, `offset_us` away: at `t` it does what `load` does at `t + offset_us`."""

    load: Load
    offset_us: int

    def energy_uwh(self, utc_us: int) -> int:
        return self.load.energy_uwh(utc_us + self.offset_us)

    def power_mw(self, utc_us: int) -> int:
        return self.load.power_mw(utc_us + self.offset_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedLoad:
    """The span [start_us, end_us) of another load, again and again from `start_us` on."""

    load: Load
    start_us: int
    end_us: int

    def energy_uwh(self, utc_us: int) -> int:
        if utc_us <= self.start_us:
            return 0
        rounds, into_us = divmod(utc_us - self.start_us, self.end_us - self.start_us)
        first = self.load.energy_uwh(self.start_us)
        whole = self.load.energy_uwh(self.end_us) - first
        return rounds * whole + self.load.energy_uwh(self.start_us + into_us) - first

    def power_mw(self, utc_us: int) -> int:
        if utc_us < self.start_us:
            return 0
        into_us = (utc_us - self.start_us) % (self.end_us - self.start_us)
        return self.load.power_mw(self.start_us + into_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumLoad:
    """Several loads behind one meter."""

    loads: tuple[Load, ...]

    def energy_uwh(self, utc_us: int) -> int:
        return sum(load.energy_uwh(utc_us) for load in self.loads)

    def power_mw(self, utc_us: int) -> int:
        return sum(load.power_mw(utc_us) for load in self.loads)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioLoad:
    """A fixed share of another load: reactive energy at a power factor, say."""

    load: Load
    permille: int

    def energy_uwh(self, utc_us: int) -> int:
        return self.load.energy_uwh(utc_us) * self.permille // 1000

    def power_mw(self, utc_us: int) -> int:
        return self.load.power_mw(utc_us) * self.permille // 1000


class ApplianceLoad:
    """A kettle or a heater that somebody switches; off until then.

    Switching is told in order of time. An instant already answered for must not be switched under
    the reader's feet: whoever switches does it at the present.
    """

    __slots__ = ("_changes", "_totals", "watts")

    def __init__(self, *, watts: int) -> None:
        self.watts = watts
        self._changes: list[int] = []  # even positions switch on, odd ones off
        self._totals: list[int] = []  # uWh at each change

    @property
    def is_on(self) -> bool:
        return len(self._changes) % 2 == 1

    def switch(self, is_on: bool, *, utc_us: int) -> None:
        """Raises MisuseError for an instant before the last switching."""
        if self._changes and utc_us < self._changes[-1]:
            raise MisuseError("an appliance was switched at an instant before its last switching")
        if is_on != self.is_on:
            self._totals.append(self.energy_uwh(utc_us))
            self._changes.append(utc_us)

    def energy_uwh(self, utc_us: int) -> int:
        index = bisect_right(self._changes, utc_us) - 1
        if index < 0:
            return 0
        elapsed_us = utc_us - self._changes[index] if index % 2 == 0 else 0
        return self._totals[index] + elapsed_us * self.watts * 1_000_000 // HOUR_US

    def power_mw(self, utc_us: int) -> int:
        index = bisect_right(self._changes, utc_us) - 1
        return self.watts * 1000 if index >= 0 and index % 2 == 0 else 0

    @property
    def switched_us(self) -> int:
        """Of the last switching; 0: never."""
        return self._changes[-1] if self._changes else 0

    def row(self) -> list[int]:
        """Watts, whether it is on, since when, and what it had used by then (uWh): enough to go on from."""
        return [self.watts, int(self.is_on), self.switched_us, self._totals[-1] if self._totals else 0]

    @classmethod
    def of_row(cls, row: Sequence[int]) -> ApplianceLoad:
        """As `row` has it; nothing is known of the time before."""
        watts, is_on, since_us, used_uwh = row
        appliance = cls(watts=watts)
        count = 1 if is_on else 2  # off: a switching on that has lasted no time
        appliance._changes, appliance._totals = [since_us] * count, [used_uwh] * count
        return appliance


_MAX_APPLIANCES: Final = 100


class Household:
    """A house's own load, and appliances that somebody plugs in and switches, by name.

    What is plugged in, and whether it runs, is a record of the meter's, as the house itself has no memory.
    """

    __slots__ = ("_base", "_record", "appliances")

    def __init__(self, base: Load) -> None:
        self._base = base
        self.appliances: dict[str, ApplianceLoad] = {}
        self._record: bytes | None = None  # until something is switched

    def switch(self, name: str, *, is_on: bool, watts: int | None, utc_us: int) -> None:
        """A new name is plugged in, with its `watts`. Raises InputError for one without, or other watts."""
        appliance = self.appliances.get(name)
        if appliance is None:
            if watts is None:
                raise InputError(f"no appliance {name!r} is plugged in: say its watts")
            if len(self.appliances) == _MAX_APPLIANCES:
                raise InputError(f"{_MAX_APPLIANCES} appliances are plugged in: there is no socket left")
            appliance = self.appliances[name] = ApplianceLoad(watts=watts)
        elif watts not in (None, appliance.watts):
            raise InputError(f"{name!r} has {appliance.watts} W: give another appliance another name")
        appliance.switch(is_on, utc_us=utc_us)
        self._record = None

    def encode(self) -> bytes:
        if self._record is None:
            rows = [each.row() for each in self.appliances.values()]
            self._record = pack_state("house", 1, {"names": list(self.appliances), "rows": rows})
        return self._record

    def decode_into(self, octets: bytes) -> None:
        """Take over an encoded state. Raises DecodeError, and then nothing has changed."""
        reader = StateReader(octets, kind="house", versions=(1,))
        names, rows = reader.items("names"), reader.rows("rows", 4)
        if len(names) != len(rows):
            raise reader.bad("names", "are not as many as rows")
        self.appliances = {
            str(name): ApplianceLoad.of_row(row) for name, row in zip(names, rows, strict=True)
        }
        self._record = None

    def energy_uwh(self, utc_us: int) -> int:
        own = self._base.energy_uwh(utc_us)
        return own + sum(each.energy_uwh(utc_us) for each in self.appliances.values())

    def power_mw(self, utc_us: int) -> int:
        return self._base.power_mw(utc_us) + sum(each.power_mw(utc_us) for each in self.appliances.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class GasConversion:
    """How gas volume becomes energy: kWh = m3 x conversion factor x calorific value / 3.6.

    Both are kept as whole numbers with the digits DUIS gives them: the calorific value in
    1/10 MJ/m3, the correction for temperature and pressure in 1/100 000.
    Source: Gas (Calculation of Thermal Energy) Regulations 1996; DUIS 5.4, service 6.6.
    """

    calorific_value_x10: int = 395
    factor_x100000: int = 102264

    def volume_ul(self, energy_uwh: int) -> int:
        """Litres x 10^-6, rounded down."""
        return energy_uwh * 3_600_000 // (self.calorific_value_x10 * self.factor_x100000)

    def energy_uwh(self, volume_ul: int) -> int:
        """Rounded down."""
        return volume_ul * self.calorific_value_x10 * self.factor_x100000 // 3_600_000


DEFAULT_CONVERSION: Final = GasConversion()


@dataclass(frozen=True, slots=True, kw_only=True)
class GasFlow:
    """The volume that passes a gas meter while the house draws `load`.

    `conversion` is that of the gas itself (of the file's author, say). The meter has its own in its
    configuration, which may differ, and computes its energy by that one.
    """

    load: Load
    conversion: GasConversion = DEFAULT_CONVERSION

    def volume_ul(self, utc_us: int) -> int:
        """Cumulative, litres x 10^-6; never falls."""
        return self.conversion.volume_ul(self.load.energy_uwh(utc_us))

    def flow_ml_per_h(self, utc_us: int) -> int:
        """Flow at an instant, millilitres an hour."""
        return self.conversion.volume_ul(self.load.power_mw(utc_us) * 1000) // 1000
