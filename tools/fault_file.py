"""`[faults]`: what is wrong with the air, out of a home file or out of JSON that came over HTTP.

    [faults]                    on every link: loss, corrupt, duplicate, reorder (probabilities), delay_ms,
                                jitter_ms, attenuation_db
    [[faults.node]]             the same for all that one `device` sends and hears; `x_m`, `y_m`: where it is
    [[faults.link]]             the same for one direction, `from` one `to` another
    [[faults.cut]]              one way: `to` does not hear `from`
    [[faults.away]]             a `device` out of everybody's range
    [[faults.partition]]        `devices` that hear only each other
    [[faults.interference]]     noise on `channel` (left out: on all) of `length_ms`, each `every_ms`, near
                                `devices` (left out: everywhere), of `rssi_dbm`

The last four take `start_s` and `end_s`; left out: from the start, for good. In JSON: the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from decimal import Decimal
from pathlib import Path
from typing import Final, NoReturn

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64, parse_eui64
from smets1.hardware.air.fault_plan import Away, Burst, Cut, Partition, PlanRow
from smets1.hardware.air.faults import LinkFault
from smets1.hardware.radio import CHANNELS
from smets1.tools.home_config import FaultsConfig
from smets1.tools.toml_reader import Table, judge, optional, read_eui64

__all__ = ["faults_of_json", "read_faults"]

_LONGEST_S: Final = 366 * 86_400
_LONGEST_MS: Final = 600_000
_FARTHEST_M: Final = 10_000


def read_faults(table: Table, known: Collection[Eui64]) -> FaultsConfig:
    """`known`: the devices of the home. Raises InputError, one line."""
    reader = _Reader(known)
    nodes, positions_m = [], []
    for part in table.tables("node"):
        eui64 = reader.device(part, "device")
        position_m = reader.position_m(part)
        if position_m is not None:
            positions_m.append((eui64, position_m))
        nodes.append((eui64, _link_fault(part)))
    links = [
        (reader.device(part, "from"), reader.device(part, "to"), _link_fault(part))
        for part in table.tables("link")
    ]
    plan: list[PlanRow] = [reader.cut(part) for part in table.tables("cut")]
    plan += [reader.away(part) for part in table.tables("away")]
    plan += [reader.partition(part) for part in table.tables("partition")]
    plan += [reader.interference(part) for part in table.tables("interference")]
    return FaultsConfig(
        every_link=_link_fault(table),
        nodes=tuple(nodes),
        links=tuple(links),
        positions_m=tuple(positions_m),
        plan=tuple(plan),
    )


def faults_of_json(octets: bytes, known: Collection[Eui64]) -> FaultsConfig:
    """What came from outside: an object with the keys above. Raises InputError, one line."""
    try:
        content = json.loads(octets, parse_float=Decimal)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError('the body must be a JSON object, as {"loss": 0.2}')
    return read_faults(_JsonTable(content, Path("faults"), {}, ("faults",)), known)


class _JsonTable(Table):
    """As a table of a file, but what is refused has no file and no line."""

    def refuse(self, key: str | None, reason: str) -> NoReturn:
        raise InputError(reason)


class _Reader:
    """Reads the tables that name devices of a home."""

    def __init__(self, known: Collection[Eui64]) -> None:
        self._known = known

    def device(self, part: Table, key: str) -> Eui64:
        return self._of_home(part, key, read_eui64(part, key))

    def _of_home(self, part: Table, key: str, eui64: Eui64) -> Eui64:
        if eui64 not in self._known:
            part.refuse(key, f"{format_eui64(eui64)} is no device of this home")
        return eui64

    def position_m(self, part: Table) -> tuple[float, float] | None:
        axes = [key for key in ("x_m", "y_m") if part.has(key)]
        part.know("x_m")
        part.know("y_m")
        if not axes:
            return None
        if len(axes) == 1:
            part.refuse(axes[0], "x_m and y_m go together: write both or neither")
        x_m, y_m = (float(part.number(key, low=-_FARTHEST_M, high=_FARTHEST_M)) for key in axes)
        return x_m, y_m

    def cut(self, part: Table) -> Cut:
        sender, receiver = self.device(part, "from"), self.device(part, "to")
        start_us, end_us = _span(part)
        part.done()
        return Cut(sender=sender, receiver=receiver, start_us=start_us, end_us=end_us)

    def away(self, part: Table) -> Away:
        eui64 = self.device(part, "device")
        start_us, end_us = _span(part)
        part.done()
        return Away(eui64=eui64, start_us=start_us, end_us=end_us)

    def partition(self, part: Table) -> Partition:
        devices = self._devices(part, "name those that hear only each other")
        start_us, end_us = _span(part)
        part.done()
        return Partition(devices=devices, start_us=start_us, end_us=end_us)

    def _devices(self, part: Table, advice: str) -> tuple[Eui64, ...]:
        names = part.texts("devices")
        if not names:
            part.refuse("devices", f"devices is empty: {advice}")
        return tuple(
            self._of_home(part, "devices", judge(part, "devices", parse_eui64, name)) for name in names
        )

    def interference(self, part: Table) -> Burst:
        channel = optional(part, "channel", lambda key: part.integer(key, low=11, high=26))
        length_us = part.scaled("length_ms", unit=1000, low=0, high=_LONGEST_MS)
        if length_us == 0:
            part.refuse("length_ms", "length_ms must be more than 0")
        period_us = optional(
            part, "every_ms", lambda key: part.scaled(key, unit=1000, low=1, high=86_400_000)
        )
        if period_us is not None and period_us <= length_us:
            part.refuse("every_ms", "every_ms, from start to start, must be more than length_ms")
        rssi_dbm = part.integer("rssi_dbm", -40, low=-100, high=20)
        heard_by = optional(part, "devices", lambda _: self._devices(part, "name those that hear the noise"))
        start_us, end_us = _span(part)
        if end_us is not None and period_us is None:
            part.refuse("end_s", "end_s is for noise that comes again: give every_ms")
        part.done()
        return Burst(
            channels=tuple(CHANNELS) if channel is None else (channel,),
            length_us=length_us,
            period_us=period_us,
            rssi_dbm=rssi_dbm,
            heard_by=heard_by,
            start_us=start_us,
            end_us=end_us,
        )


def _span(part: Table) -> tuple[int, int | None]:
    start_us = part.scaled("start_s", 0, unit=1_000_000, low=0, high=_LONGEST_S)
    end_us = optional(part, "end_s", lambda key: part.scaled(key, unit=1_000_000, low=0, high=_LONGEST_S))
    if end_us is not None and end_us <= start_us:
        part.refuse("end_s", "end_s must be later than start_s")
    return start_us, end_us


def _link_fault(table: Table) -> LinkFault:
    """The keys that are there; reads the table to its end."""
    fault = LinkFault(
        loss=optional(table, "loss", table.fraction),
        corrupt=optional(table, "corrupt", table.fraction),
        duplicate=optional(table, "duplicate", table.fraction),
        reorder=optional(table, "reorder", table.fraction),
        delay_us=optional(table, "delay_ms", _milliseconds(table)),
        jitter_us=optional(table, "jitter_ms", _milliseconds(table)),
        attenuation_db=optional(table, "attenuation_db", lambda key: table.integer(key, low=0, high=200)),
    )
    table.done()
    return fault


def _milliseconds(table: Table) -> Callable[[str], int]:
    return lambda key: table.scaled(key, unit=1000, low=0, high=_LONGEST_MS)
