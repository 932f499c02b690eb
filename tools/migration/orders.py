"""Which homes a rehearsal is to migrate: home files, or a list (CSV) with one row a home.

Columns of a list, in any order, each with a default: `home` (a home file, relative to the list; empty: a home
like the reference home with addresses of its own), `electricity` and `gas` (active, dormant; gas also none),
`gas_supplier` (same, other), `fault` (see `HomeFault`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum, unique
from pathlib import Path
from typing import Final, TypeVar

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.headend.migration.files import SupplyStatus
from smets1.tools.home_config import HomeConfig, RadioKind, Role, WanKind
from smets1.tools.home_file import default_home, read_home

__all__ = ["MAX_HOMES", "HomeFault", "Order", "from_files", "read_list", "reference_home"]

MAX_HOMES: Final = 500
"""Emulated homes in one process; thousands are for a population of light homes."""
_EUI_STEP: Final = 0x10
_REPORTS_US: Final = 600_000_000
_COLUMNS: Final = ("home", "electricity", "gas", "gas_supplier", "fault")
_T = TypeVar("_T", bound=StrEnum)


@unique
class HomeFault(StrEnum):
    """What is wrong with a home on its day."""

    NONE = "none"
    GSME_KEY = "gsme-key"  # the SMSO's books hold a wrong SUA key of the GSME: row 2
    ESME_KEY = "esme-key"  # ... of the ESME: row 5
    GSME_AWAY = "gsme-away"  # the GSME is out of reach from the moment it is to be secured: row 3
    PRIVACY_PIN = "privacy-pin"  # left on the ESME
    NOT_ELIGIBLE = "not-eligible"  # the books name a model that is not on the EPCL


@unique
class _GasSupplier(StrEnum):
    SAME = "same"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One home. `where`: for messages."""

    config: HomeConfig
    where: str
    electricity: SupplyStatus = SupplyStatus.ACTIVE
    gas: SupplyStatus | None = SupplyStatus.ACTIVE  # None: single fuel
    is_split: bool = False
    fault: HomeFault = HomeFault.NONE


def reference_home(roles: Iterable[Role], *, index: int = 0) -> HomeConfig:
    """The reference home, or one like it with other addresses; its displays ask every ten minutes."""
    config, wanted = default_home(), tuple(roles)
    devices = tuple(
        device if not index else replace(device, eui64=device.eui64 + index * _EUI_STEP, mpxn="")
        for device in config.devices
        if device.role in wanted
    )
    han = replace(config.han, report_interval_us=_REPORTS_US)
    return replace(config, seed=7 + index, devices=devices, han=han)


def from_files(paths: list[Path], *, status: SupplyStatus = SupplyStatus.ACTIVE) -> list[Order]:
    """One order a file; the reference home where there is none. Raises InputError."""
    if not paths:
        config = reference_home(Role)
        return [Order(config=config, where="the reference home", electricity=status, gas=status)]
    orders = []
    for path in paths:
        config = read_home(path)
        gas = None if config.device(Role.GSME) is None else status
        orders.append(Order(config=config, where=str(path), electricity=status, gas=gas))
    return _checked(orders)


def read_list(path: Path) -> list[Order]:
    """Raises InputError, one line with file and row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is no UTF-8 text")
        raise InputError(f"{path} cannot be read: {why}") from None
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    for name in rows.fieldnames or ():
        if name not in _COLUMNS:
            near = get_close_matches(name, _COLUMNS, 1)
            meant = f": did you mean {near[0]}?" if near else f": the columns are {', '.join(_COLUMNS)}"
            raise InputError(f"{path}:1: no such column {name!r}{meant}")
    orders = [_order(row, path, index) for index, row in enumerate(rows)]
    if not orders:
        raise InputError(f"{path} lists no home: write a line of columns ({', '.join(_COLUMNS)}), then homes")
    return _checked(orders)


def _order(row: dict[str, str | None], path: Path, index: int) -> Order:
    where = f"{path}:{index + 2}"
    if None in row:
        raise InputError(f"{where}: more values than columns")
    values = {name: (value or "").strip() for name, value in row.items()}
    gas = values.get("gas") or "active"
    is_single = gas == "none"
    if values.get("home"):
        config = read_home(path.parent / values["home"])
        if is_single != (config.device(Role.GSME) is None):
            has = "no gas meter: write none" if not is_single else "a gas meter: write active or dormant"
            raise InputError(f"{where}: gas: the home has {has}")
    else:
        config = reference_home(
            [role for role in Role if not (is_single and role in (Role.GSME, Role.GPF))], index=index
        )
    return Order(
        config=config,
        where=where,
        electricity=_choice(SupplyStatus, values.get("electricity") or "active", f"{where}: electricity"),
        gas=None if is_single else _choice(SupplyStatus, gas, f"{where}: gas"),
        is_split=_choice(_GasSupplier, values.get("gas_supplier") or "same", f"{where}: gas_supplier")
        is _GasSupplier.OTHER,
        fault=_choice(HomeFault, values.get("fault") or "none", f"{where}: fault"),
    )


def _choice(kind: type[_T], text: str, where: str) -> _T:
    found = next((each for each in kind if each.value.lower() == text.lower()), None)
    if found is None:
        choices = ", ".join(each.value.lower() for each in kind)
        raise InputError(f"{where}: {text!r} is none of {choices}")
    return found


def _checked(orders: list[Order]) -> list[Order]:
    """Each can run here, and no device is in two homes. Raises InputError."""
    if len(orders) > MAX_HOMES:
        raise InputError(
            f"{len(orders)} emulated homes are more than {MAX_HOMES}: use --population for thousands"
        )
    owners: dict[Eui64 | str, Order] = {}
    for order in orders:
        config, where = order.config, order.where
        for role in (Role.CHF, Role.ESME):
            if config.device(role) is None:
                raise InputError(f"{where}: the home has no {role.value}: it cannot be migrated")
        if config.wan.kind is not WanKind.MEMORY:
            raise InputError(f"{where}: [wan] must be memory: here, since a rehearsal jumps through time")
        for device in config.devices:
            if not device.runs_here or device.radio.kind is not RadioKind.AIR:
                raise InputError(f"{where}: {device.role.value} must run here on the air: to be migrated")
            for name in (device.eui64, device.mpxn or device.eui64):
                other = owners.setdefault(name, order)
                if other is not order:
                    what = f"MPxN {name}" if isinstance(name, str) else format_eui64(name)
                    raise InputError(f"{where}: {what} is in {other.where} too: each home needs its own")
        needs_gas = order.fault in (HomeFault.GSME_KEY, HomeFault.GSME_AWAY)
        if needs_gas and (order.gas is None or config.device(Role.GSME) is None):
            raise InputError(f"{where}: fault {order.fault} needs a gas meter")
    return orders
