"""The gas proxy's own copies of the gas meter's logs: it answers from them while the meter sleeps.

The meter publishes what is new at each waking (profile and network samples, snapshots, credits, debt
payments, events); every record replaces the one of its own time, so that a repeat changes nothing. A tariff
comes as a dozen frames, from its prices to its information, and takes the place of the old one with the
last. Times are the meter's own. A value machine that writes through to NVM; the caller commits before it
acknowledges.
Simplified: where the meter's clock is set back by more than the four hours of network data, which of those
are kept may differ from the meter's until it has logged four hours more.

Source: SE 1.2 07-5356-19, D.3.4.3 (mirror); SMETS1, GPF data store (its own copies of logs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import cbor2

from smets1.firmware.nvm import Nvm
from smets1.firmware.sample_log import SampleLog
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType, SnapshotCause
from smets1.firmware.zcl.fields import Payload, Values
from smets1.firmware.zcl.log_pages import EventRow, SampleSource, Slots, Snapshot, samples_of
from smets1.firmware.zcl.status import Side
from smets1.firmware.zcl.tariff_server import PRICE_MATRIX, TARIFF_INFORMATION, TARIFF_PARTS

__all__ = ["GasCopies"]

_PREFIX: Final = "gpf/copy/"
_PROFILE: Final = _PREFIX + "profile/"
_NETWORK_KEPT: Final = 40  # as the meter itself: 4 h
_EVENTS_KEPT: Final = 100
_TARIFF_FRAMES: Final = 64
_CLEARED: Final = 0x8F52  # event log cleared; stands in the security log
# How many of a group of causes the meter itself keeps.
_SNAPSHOTS_KEPT: Final = {
    SnapshotCause.CHANGE_OF_METER_MODE | SnapshotCause.CHANGE_OF_TARIFF_INFORMATION: 12,
    SnapshotCause.END_OF_BILLING_PERIOD: 12,
    SnapshotCause.SCHEDULED_SNAPSHOT: 14,
}


class GasCopies:
    """One gas meter's. `take_...` with the fields of a command that the meter published."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self._reset()
        for key in nvm.keys(_PROFILE):
            self.profile.load_chunk(int(key.removeprefix(_PROFILE)), nvm.get(key) or b"")
        self._network.extend((end_us, amount) for end_us, amount in self._get("network", []))
        for log, time_s, code, data in self._get("events", []):
            self._events.append(EventRow(log=EventLogId(log), time_s=time_s, code=code, data=data))
        for cluster, snapshots in self.snapshots.items():
            snapshots.extend(_snapshot(row) for row in self._get(f"snapshots/{cluster}", []))
        self.top_ups.extend(self._get("top_ups", []))
        self.debts.extend(self._get("debts", []))
        self._tariff.extend(self._get("tariff", []))
        self._next_tariff.extend(self._get("next_tariff", []))

    def _reset(self) -> None:
        self.profile = SampleLog()
        self._network: deque[tuple[int, int]] = deque(maxlen=_NETWORK_KEPT)
        self._events: list[EventRow] = []  # in the order in which the meter logged them
        self.snapshots: dict[str, list[Snapshot]] = {"metering": [], "prepayment": []}
        self.top_ups: list[dict[str, Any]] = []
        self.debts: list[dict[str, Any]] = []
        self._tariff: list[list[Any]] = []  # command, payload of each frame
        self._next_tariff: list[list[Any]] = []  # as far as it has come

    def _get(self, name: str, default: Any) -> Any:  # Any: our own records
        stored = self._nvm.get(_PREFIX + name)
        return default if stored is None else cbor2.loads(stored)

    def _put(self, name: str, value: object) -> None:
        self._nvm.put(_PREFIX + name, cbor2.dumps(value))

    def forget(self) -> None:
        """The mirror is no more, or another meter's."""
        for key in list(self._nvm.keys(_PREFIX)):
            self._nvm.delete(key)
        self._reset()

    # --- what the meter publishes -----------------------------------------------------------------

    def take_samples(self, values: Values) -> bool:
        """A GetSampledDataResponse. False: of a log that a gas meter does not have."""
        if values["sample_type"] != SampleType.CONSUMPTION_DELIVERED:
            return False
        if values["sample_id"] == SampleId.PROFILE:
            for end_us, amount in samples_of(values):
                self.profile.put(end_us, amount)
            for day, chunk in self.profile.take_changed():
                if chunk is None:
                    self._nvm.delete(f"{_PROFILE}{day}")
                else:
                    self._nvm.put(f"{_PROFILE}{day}", chunk)
            return True
        if values["sample_id"] == SampleId.NETWORK:
            rows = {**dict(self._network), **dict(samples_of(values))}  # those that are new come last
            self._network = deque(rows.items(), maxlen=_NETWORK_KEPT)
            self._put("network", list(self._network))
            return True
        return False

    def take_snapshot(self, cluster: str, values: Values) -> bool:
        """A PublishSnapshot or PublishPrepaySnapshot; of each kind as many stay as the meter keeps.

        False: of a kind that a gas meter does not have.
        """
        if not any(values["snapshot_cause"] & causes for causes in _SNAPSHOTS_KEPT):
            return False
        new = _snapshot(
            [
                values[name]
                for name in (
                    "snapshot_id",
                    "snapshot_time",
                    "snapshot_cause",
                    "snapshot_payload_type",
                    "snapshot_payload",
                )
            ]
        )
        kept = [one for one in self.snapshots[cluster] if one.snapshot_id != new.snapshot_id]
        kept = sorted([*kept, new], key=lambda one: one.time_s)
        for causes, count in _SNAPSHOTS_KEPT.items():
            surplus = [one for one in kept if one.cause & causes][:-count]
            kept = [one for one in kept if one not in surplus]
        self.snapshots[cluster] = kept
        rows = [[o.snapshot_id, o.time_s, o.cause, o.payload_type, o.payload] for o in kept]
        self._put(f"snapshots/{cluster}", rows)
        return True

    def take_top_ups(self, values: Values) -> None:
        """A PublishTopUpLog with all of the log."""
        self.top_ups = list(values["top_ups"])
        self._put("top_ups", self.top_ups)

    def take_debts(self, values: Values) -> None:
        """A PublishDebtLog with all of the log."""
        self.debts = list(values["debts"])
        self._put("debts", self.debts)

    def take_events(self, values: Values) -> bool:
        """A PublishEventLog, which tells all events of its logs and seconds. False: of an unknown log."""
        try:
            new = [
                EventRow(
                    log=EventLogId(event["log_id"]),
                    time_s=event["event_time"],
                    code=event["event_id"],
                    data=bytes(event["event_data"]),
                )
                for event in values["events"]
            ]
        except ValueError:
            return False
        told = {(row.log, row.time_s) for row in new}
        before = [row for row in self._events if (row.log, row.time_s) in told]
        kept = [row for row in self._events if (row.log, row.time_s) not in told]
        if _clearings(new) > _clearings(before):  # the meter tells of these before of other events
            kept = [row for row in kept if row.log is not EventLogId.GENERAL_EVENT_LOG]
        self._events = list(_last_of_each([*kept, *new]))
        self._put("events", [[int(r.log), r.time_s, r.code, r.data] for r in self._events])
        return True

    def take_tariff_part(self, command: str, values: Values) -> bool:
        """One of TARIFF_PARTS, in their order. False: of more than a tariff has."""
        if command == PRICE_MATRIX:
            self._next_tariff = []
        if len(self._next_tariff) == _TARIFF_FRAMES:
            return False
        self._next_tariff.append([command, _payload_of(command).encode(values)])
        if command == TARIFF_INFORMATION:
            self._tariff, self._next_tariff = self._next_tariff, []
            self._put("tariff", self._tariff)
        self._put("next_tariff", self._next_tariff)
        return True

    # --- what is asked ----------------------------------------------------------------------------

    @property
    def events(self) -> list[EventRow]:
        """In the order of time."""
        return sorted(self._events, key=lambda row: row.time_s)

    def tariff_parts(self, command: str) -> list[Values]:
        """Of each frame of the tariff that is this command."""
        payload = _payload_of(command)
        return [payload.decode(octets) for name, octets in self._tariff if name == command]

    def sample_source(self, sample_id: int, sample_type: int) -> SampleSource | None:
        """None: a gas meter has no such log."""
        if sample_type != SampleType.CONSUMPTION_DELIVERED:
            return None
        sources: dict[int, SampleSource] = {
            SampleId.PROFILE: self.profile,
            SampleId.NETWORK: Slots(sorted(self._network)),
        }
        return sources.get(sample_id)


def _payload_of(command: str) -> Payload:
    cluster = next(cluster for cluster, name in TARIFF_PARTS if name == command)
    return cluster_named(cluster).command(command, Side.SERVER).payload


def _snapshot(row: list[Any]) -> Snapshot:
    snapshot_id, time_s, cause, payload_type, payload = row
    return Snapshot(
        snapshot_id=snapshot_id,
        time_s=time_s,
        cause=cause,
        payload_type=payload_type,
        payload=bytes(payload),
    )


def _clearings(rows: list[EventRow]) -> int:
    return sum(row.code == _CLEARED for row in rows)


def _last_of_each(rows: list[EventRow]) -> Iterable[EventRow]:
    """The 100 of each log that were logged last, in their order."""
    for place, row in enumerate(rows):
        if sum(later.log is row.log for later in rows[place + 1 :]) < _EVENTS_KEPT:
            yield row
