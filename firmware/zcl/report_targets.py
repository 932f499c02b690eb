"""Where reports go: to the binding table, to where the device's own code says, to whoever configured them.

What others have configured is kept in NVM with who they were, so that a meter that was switched off and on
goes on reporting unasked. Uncommitted, as every change of a handler: the device commits before it answers.

Source: ZCL 07-5123 rev 7, 2.5.7 (configure), 2.5.11 (report); SE 1.2 07-5356-19, 5.4.6 (link keys).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import cbor2

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.records import ReportingRecord, encode_reporting, reporting_at
from smets1.firmware.zcl.security import is_protected
from smets1.firmware.zcl.server import ClusterInstance, CommandContext
from smets1.firmware.zcl.status import Side
from smets1.hardware.radio import BoundTarget

__all__ = ["CONFIGURER_LIMIT", "ReportRoutes", "ReportTargets"]

CONFIGURER_LIMIT: Final = 16
"""Of one cluster; more are heard, but not remembered as somebody to report to."""

_RECORD: Final = "zcl/report"


class ReportRoutes(Protocol):
    """What is needed of a HAN port."""

    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]: ...
    def known_short(self, eui64: Eui64) -> int | None: ...
    def keyed_partners(self) -> list[int]:
        """Short addresses of those with whom a link key for application traffic is shared."""


@dataclass(frozen=True, slots=True)
class _Route:
    destination: Callable[[], int | None]
    endpoint: int


@dataclass(frozen=True, slots=True)
class _Configurer:
    eui64: Eui64 | None  # None: never learnt; the short address must do
    short_address: int
    endpoint: int

    def destination(self, routes: ReportRoutes | None) -> int:
        """It may have another short address by now."""
        found = None if self.eui64 is None or routes is None else routes.known_short(self.eui64)
        return self.short_address if found is None else found

    def is_same(self, other: _Configurer) -> bool:
        return self.endpoint == other.endpoint and (
            self.short_address == other.short_address
            if None in (self.eui64, other.eui64)
            else self.eui64 == other.eui64
        )


class ReportTargets:
    """`routes` None: no binding table, nobody's EUI-64 is known. `nvm` None: nothing outlives the power."""

    def __init__(self, core: ZclCore, routes: ReportRoutes | None, nvm: Nvm | None) -> None:
        core.on_configured = self.on_configured
        core.on_removed = self.on_removed
        self._core = core
        self._routes = routes
        self._nvm = nvm
        self._fixed: dict[tuple[int, int], list[_Route]] = {}  # (endpoint, cluster id)
        self._configurers: dict[tuple[int, int], list[_Configurer]] = {}

    def bind(
        self, endpoint: int, cluster_id: int, destination: Callable[[], int | None], destination_endpoint: int
    ) -> None:
        """By the device's own code; `destination` is asked each time (None: nowhere just now)."""
        routes = self._fixed.setdefault((endpoint, cluster_id), [])
        routes.append(_Route(destination, destination_endpoint))

    def of(self, instance: ClusterInstance) -> list[BoundTarget]:
        """The binding table, and whoever configured reporting without a binding: many displays do only that.

        Once a binding names a configurer, the table alone decides: to be unbound then is to hear no more.
        """
        key = _key(instance)
        bound = [] if self._routes is None else self._routes.bound_targets(*key)
        targets = [target for entry in bound for target in self._each(entry, instance.cluster.cluster_id)]
        named = {(target.short_address, target.endpoint) for target in targets if target.group is None}
        others = [(route.destination(), route.endpoint) for route in self._fixed.get(key, ())]
        for configurer in list(self._configurers.get(key, ())):
            where = (configurer.destination(self._routes), configurer.endpoint)
            if where in named:
                self._configurers[key].remove(configurer)
                self._put(instance)
            else:
                others.append(where)
        for destination, number in dict.fromkeys(others):
            if destination is not None and (destination, number) not in named:
                targets.append(BoundTarget(short_address=destination, endpoint=number))
        return targets

    def _each(self, target: BoundTarget, cluster_id: int) -> list[BoundTarget]:
        """A group shares no link key: what needs one goes to each partner, and only members take it."""
        if target.group is None or self._routes is None or not is_protected(cluster_id):
            return [target]
        partners = self._routes.keyed_partners()
        return [BoundTarget(short_address=partner, group=target.group) for partner in partners]

    # --- what others configure --------------------------------------------------------------------------

    def on_configured(self, instance: ClusterInstance, context: CommandContext) -> None:
        """Somebody has configured reporting of this cluster."""
        if context.source is not None:
            self._note(instance, _Configurer(context.source_eui64, context.source, context.source_endpoint))
        self._put(instance)

    def _note(self, instance: ClusterInstance, configurer: _Configurer) -> None:
        key = _key(instance)
        bound = [] if self._routes is None else self._routes.bound_targets(*key)
        if (configurer.short_address, configurer.endpoint) in [(t.short_address, t.endpoint) for t in bound]:
            return
        known = self._configurers.setdefault(key, [])
        known[:] = [other for other in known if not other.is_same(configurer)]
        if len(known) < CONFIGURER_LIMIT:
            known.append(configurer)

    def on_removed(self, instance: ClusterInstance) -> None:
        """The instance is gone, as a mirror's; what was asked of it goes too."""
        self._configurers.pop(_key(instance), None)
        if self._nvm is not None:
            self._nvm.delete(_name(instance))

    def _put(self, instance: ClusterInstance) -> None:
        if self._nvm is None:
            return
        records = self._core.reporting.configurations(instance)
        if not records:
            self._nvm.delete(_name(instance))
            return
        known = self._configurers.get(_key(instance), ())
        content = [
            [encode_reporting(record) for record in records],
            [[item.eui64, item.short_address, item.endpoint] for item in known],
        ]
        self._nvm.put(_name(instance), cbor2.dumps(content))

    def restore(self, *, now_us: int) -> None:
        """At power-up, when the device has all its clusters. Raises DecodeError for damaged memory."""
        for name, instance, stored in self._remembered():
            match load_strict(stored):
                case [list(records), list(configurers)] if instance is not None:
                    for octets in records:
                        self._core.reporting.configure(instance, _record(name, octets), now_us=now_us)
                    self._configurers[_key(instance)] = [_configurer(name, item) for item in configurers]
                case [list(), list()]:
                    pass  # firmware without that cluster: a later one may have it again
                case _:
                    raise DecodeError("NVM", 0, f"record {name}")

    def forget(self) -> None:
        """The device is new on a network: nobody has asked it for anything. Uncommitted."""
        self._configurers.clear()
        for name, instance, _ in self._remembered():
            if instance is not None:
                self._core.reporting.remove(instance)
            if self._nvm is not None:
                self._nvm.delete(name)

    def _remembered(self) -> list[tuple[str, ClusterInstance | None, bytes]]:
        """Records of NVM: name, whose it is, content."""
        found = []
        for name in [] if self._nvm is None else self._nvm.keys(_RECORD + "/"):
            assert self._nvm is not None
            endpoint, cluster_id, side = (int(part, 16) for part in name.split("/")[2:])
            instance = self._core.find(endpoint, cluster_id, Side(side))
            found.append((name, instance, self._nvm.get(name) or b""))
        return found


def _key(instance: ClusterInstance) -> tuple[int, int]:
    return instance.endpoint, instance.cluster.cluster_id


def _name(instance: ClusterInstance) -> str:
    return f"{_RECORD}/{instance.endpoint:02x}/{instance.cluster.cluster_id:04x}/{instance.side:x}"


def _record(name: str, octets: object) -> ReportingRecord:
    if not isinstance(octets, bytes):
        raise DecodeError("NVM", 0, f"record {name}")
    return reporting_at(octets, 0)[0]


def _configurer(name: str, item: object) -> _Configurer:
    match item:
        case [int() | None as eui64, int(short_address), int(endpoint)]:
            return _Configurer(eui64, short_address, endpoint)
    raise DecodeError("NVM", 0, f"record {name}")
