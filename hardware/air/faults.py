"""What is wrong with the air between two radios: set from a home file or live, drawn from one seed.

A `LinkFault` names what it changes and leaves the rest None. What counts on a link from sender to
receiver is laid over each other, field by field: the default, the sender, the receiver, the link.
Each direction is a link of its own. Cuts, partitions and radios out of range silence a link
altogether: its receiver neither hears the frame nor is disturbed by it, nor finds the channel busy.

Where both ends have a position, distance gives the signal strength and, near the limit of
sensitivity, loss (log-distance path loss, exponent 3: a house with inner walls). Fading, antennas
and the strength of one collider against another are left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64

__all__ = ["CLEAR_LINK", "NOISE_FLOOR_DBM", "STRANGER", "Faults", "Link", "LinkFault", "lqi_of"]

STRANGER: Final[Eui64] = 0
"""The sender of injected octets that name no other; in no partition and without a position."""

NOISE_FLOOR_DBM: Final = -100

_DEFAULT_RSSI_DBM = -45  # across a room
_SENSITIVITY_DBM = -97  # nothing is received below
_SOLID_DBM = -91  # nothing is lost above
_BEST_DBM = -45  # LQI 255 from here upwards
_TRANSMIT_DBM = 0
_LOSS_AT_1_M_DB = 40.2  # free space, 2 440 MHz
_EXPONENT = 3.0

_PROBABILITIES: Final = ("loss", "corrupt", "undetected", "duplicate", "reorder")
_TIMES: Final = ("delay_us", "jitter_us", "reorder_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """What happens to frames of one direction. None: as said less specifically, in the end nothing.

    Raises InputError for a probability outside 0..1 or a time below 0. `loss`, `corrupt` and
    `undetected` act on the air: no acknowledgement follows, except that undetected corruption has
    a good FCS. The others act between the receiving chip, which has acknowledged, and its host.
    """

    loss: float | None = None  # not received at all
    corrupt: float | None = None  # bits flipped: the FCS fails
    undetected: float | None = None  # bits flipped, and yet the FCS is good
    duplicate: float | None = None  # handed over a second time, 2 ms later
    reorder: float | None = None  # handed over `reorder_us` late, so that later ones overtake it
    delay_us: int | None = None  # every frame is handed over late by this
    jitter_us: int | None = None  # and by 0..jitter_us more
    reorder_us: int | None = None  # 20 ms where nothing is said
    attenuation_db: int | None = None  # a wall, a meter cupboard

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"fault {name} = {value}: give a probability from 0 to 1")
        for name in _TIMES:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise InputError(f"fault {name} = {value}: give whole microseconds, 0 or more")

    def over(self, other: LinkFault) -> LinkFault:
        """This one where it says something, elsewhere `other`."""
        merged = {
            name: theirs if mine is None else mine
            for (name, mine), theirs in zip(_values(self).items(), _values(other).values(), strict=True)
        }
        return LinkFault(**merged)  # type: ignore[arg-type]  # field by field the same types


class Link(NamedTuple):
    """What holds on one link now. `is_faulty` is False where each frame simply arrives."""

    is_faulty: bool
    loss: float
    corrupt: float
    undetected: float
    duplicate: float
    reorder: float
    delay_us: int
    jitter_us: int
    reorder_us: int
    rssi_dbm: int
    lqi: int


_NOTHING: Final = LinkFault()
CLEAR_LINK: Final = Link(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, _DEFAULT_RSSI_DBM, 255)


class Faults:
    """The faults of one air. Each call takes effect on frames that end after it."""

    def __init__(self) -> None:
        self.is_clear = True  # nothing is set: the air need not ask
        self._default = _NOTHING
        self._nodes: dict[Eui64, LinkFault] = {}
        self._links: dict[tuple[Eui64, Eui64], LinkFault] = {}
        self._cuts: dict[tuple[Eui64, Eui64], None] = {}
        self._away: dict[Eui64, None] = {}
        self._groups: dict[Eui64, int] = {}
        self._walls: dict[frozenset[Eui64], None] = {}
        self._positions: dict[Eui64, tuple[float, float]] = {}
        self._cache: dict[tuple[Eui64, Eui64], Link | None] = {}

    # --- setting ---

    def set_default(self, fault: LinkFault | None) -> None:
        """For every link. None: nothing (as below)."""
        self._default = fault or _NOTHING
        self._changed()

    def set_node(self, eui64: Eui64, fault: LinkFault | None) -> None:
        """For all that a radio sends and all that it receives."""
        _put(self._nodes, eui64, fault)
        self._changed()

    def set_link(self, sender: Eui64, receiver: Eui64, fault: LinkFault | None) -> None:
        """For one direction between two radios."""
        _put(self._links, (sender, receiver), fault)
        self._changed()

    def cut(self, sender: Eui64, receiver: Eui64) -> None:
        """One way: `receiver` no longer hears `sender`. The other direction stays as it is."""
        self._cuts[sender, receiver] = None
        self._changed()

    def mend(self, sender: Eui64, receiver: Eui64) -> None:
        """Undo `cut`."""
        self._cuts.pop((sender, receiver), None)
        self._changed()

    def partition(self, *groups: Collection[Eui64]) -> None:
        """Radios hear only their own group; those not named are one more group. No groups: undone."""
        self._groups = {eui64: index for index, group in enumerate(groups, 1) for eui64 in group}
        self._changed()

    def raise_wall(self, devices: Collection[Eui64]) -> None:
        """These radios hear only each other, and all others only the others; beside any partition."""
        self._walls[frozenset(devices)] = None
        self._changed()

    def remove_wall(self, devices: Collection[Eui64]) -> None:
        """Undo `raise_wall`."""
        self._walls.pop(frozenset(devices), None)
        self._changed()

    def move_away(self, eui64: Eui64) -> None:
        """Out of everybody's range, both ways."""
        self._away[eui64] = None
        self._changed()

    def bring_back(self, eui64: Eui64) -> None:
        """Undo `move_away`."""
        self._away.pop(eui64, None)
        self._changed()

    def place(self, eui64: Eui64, position_m: tuple[float, float] | None) -> None:
        """Where a radio is, in metres; None: nowhere in particular (heard well by all)."""
        _put(self._positions, eui64, position_m)
        self._changed()

    def clear(self) -> None:
        """The air is as new."""
        self._default = _NOTHING
        for table in self._tables():
            table.clear()
        self._changed()

    # --- asking ---

    @property
    def default(self) -> LinkFault:
        """What was set for every link."""
        return self._default

    def node(self, eui64: Eui64) -> LinkFault:
        """What was set for one radio."""
        return self._nodes.get(eui64, _NOTHING)

    def one_way(self, sender: Eui64, receiver: Eui64) -> LinkFault:
        """What was set for one direction between two radios."""
        return self._links.get((sender, receiver), _NOTHING)

    def position_m(self, eui64: Eui64) -> tuple[float, float] | None:
        return self._positions.get(eui64)

    def link(self, sender: Eui64, receiver: Eui64) -> Link | None:
        """What holds from `sender` to `receiver`; None: nothing is heard at all."""
        key = (sender, receiver)
        if key not in self._cache:
            self._cache[key] = self._resolve(sender, receiver)
        return self._cache[key]

    def is_heard(self, sender: Eui64, receiver: Eui64) -> bool:
        return self.is_clear or self.link(sender, receiver) is not None

    def snapshot(self) -> dict[str, object]:
        """What is set, as JSON values with EUI-64s as text; for people and programs to look at."""
        return {
            "default": _said(self._default),
            "nodes": {format_eui64(eui64): _said(fault) for eui64, fault in self._nodes.items()},
            "links": [
                {"from": format_eui64(a), "to": format_eui64(b), **_said(fault)}
                for (a, b), fault in self._links.items()
            ],
            "cuts": [{"from": format_eui64(a), "to": format_eui64(b)} for a, b in self._cuts],
            "away": [format_eui64(eui64) for eui64 in self._away],
            "groups": {format_eui64(eui64): group for eui64, group in self._groups.items()},
            "walls": [sorted(format_eui64(eui64) for eui64 in wall) for wall in self._walls],
            "positions_m": {format_eui64(eui64): list(at) for eui64, at in self._positions.items()},
        }

    def _changed(self) -> None:
        self.is_clear = self._default == _NOTHING and not any(self._tables())
        self._cache.clear()

    def _tables(self) -> tuple[dict[Any, Any], ...]:
        named = (self._nodes, self._links, self._cuts, self._away, self._groups, self._positions)
        return *named, self._walls

    def _is_silent(self, sender: Eui64, receiver: Eui64) -> bool:
        if sender in self._away or receiver in self._away or (sender, receiver) in self._cuts:
            return True
        if sender == STRANGER:
            return False
        if any((sender in wall) != (receiver in wall) for wall in self._walls):
            return True
        return self._groups.get(sender, 0) != self._groups.get(receiver, 0)

    def _resolve(self, sender: Eui64, receiver: Eui64) -> Link | None:
        if self._is_silent(sender, receiver):
            return None
        fault = self._default
        specific = (self._nodes.get(sender), self._nodes.get(receiver), self._links.get((sender, receiver)))
        for layer in specific:
            fault = layer.over(fault) if layer else fault
        rssi_dbm = self._rssi_dbm(sender, receiver) - (fault.attenuation_db or 0)
        if rssi_dbm < _SENSITIVITY_DBM:
            return None
        fade = max(0.0, (_SOLID_DBM - rssi_dbm) / (_SOLID_DBM - _SENSITIVITY_DBM + 1))
        return _link(fault, 1 - (1 - fade) * (1 - (fault.loss or 0.0)), rssi_dbm)

    def _rssi_dbm(self, sender: Eui64, receiver: Eui64) -> int:
        here, there = self._positions.get(sender), self._positions.get(receiver)
        if here is None or there is None:
            return _DEFAULT_RSSI_DBM
        distance_m = max(1.0, math.dist(here, there))
        # whole dBm: the last bit of a platform's logarithm must not change a run
        return round(_TRANSMIT_DBM - _LOSS_AT_1_M_DB - 10 * _EXPONENT * math.log10(distance_m))


def _link(fault: LinkFault, loss: float, rssi_dbm: int) -> Link:
    chances = (fault.corrupt or 0.0, fault.undetected or 0.0, fault.duplicate or 0.0, fault.reorder or 0.0)
    times = (fault.delay_us or 0, fault.jitter_us or 0)
    reorder_us = 20_000 if fault.reorder_us is None else fault.reorder_us
    is_faulty = any((loss, *chances, *times))
    return Link(is_faulty, loss, *chances, *times, reorder_us, rssi_dbm, lqi_of(rssi_dbm))


def lqi_of(rssi_dbm: int) -> int:
    """0..255, linear in dB from the noise floor to a strong signal."""
    span_db = _BEST_DBM - NOISE_FLOOR_DBM
    return max(0, min(255, (rssi_dbm - NOISE_FLOOR_DBM) * 255 // span_db))


def _put(table: dict[object, object] | dict, key: object, value: object) -> None:  # type: ignore[type-arg]
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _values(fault: LinkFault) -> dict[str, float | int | None]:
    return {field.name: getattr(fault, field.name) for field in fields(fault)}


def _said(fault: LinkFault) -> dict[str, object]:
    return {name: value for name, value in asdict(fault).items() if value is not None}
