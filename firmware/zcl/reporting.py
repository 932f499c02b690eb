"""Attribute reporting: when to tell the other side a value without being asked.

A value machine. An entry reports when its maximum interval has passed since its last report, or
when its value has changed by the reportable change (any change, for a discrete type) and the minimum
interval has passed. Changes are noticed when the device says so (`set`, `touch`); values are not polled.
What would follow soon anyway goes along with what is due: one frame instead of two.

Source: ZCL 07-5123 rev 7, 2.5.7 (configure), 2.5.11 (report).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smets1.errors import RefusedError
from smets1.firmware.zcl.declare import Attribute
from smets1.firmware.zcl.general import NO_PERIODIC, STOP_REPORTING, ReportingRecord, TypedValue
from smets1.firmware.zcl.server import ClusterInstance
from smets1.firmware.zcl.status import Status
from smets1.firmware.zcl.types import Kind, Value

__all__ = ["Report", "ReportingEngine"]

_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Values of one cluster instance that are due together."""

    instance: ClusterInstance
    records: tuple[TypedValue, ...]


@dataclass(slots=True)
class _Entry:
    instance: ClusterInstance
    attribute: Attribute
    record: ReportingRecord
    sent_us: int
    sent_value: Value
    has_changed: bool = False

    def due_us(self) -> int | None:
        due = None
        if self.record.max_interval_s != NO_PERIODIC:
            due = self.sent_us + self.record.max_interval_s * _US
        if self.has_changed:
            early = self.sent_us + self.record.min_interval_s * _US
            due = early if due is None else min(due, early)
        return due

    def is_soon(self, now_us: int) -> bool:
        """Due within a tenth of its maximum interval, and allowed now."""
        passed_us, longest_s = now_us - self.sent_us, self.record.max_interval_s
        if longest_s == NO_PERIODIC or passed_us < self.record.min_interval_s * _US:
            return False
        return passed_us * 10 >= longest_s * 9 * _US

    def value(self) -> Value:
        """None also where the device cannot say now."""
        try:
            found = self.instance.read(self.attribute.attribute_id)
        except RefusedError:
            return None
        return None if found is None else found[1]

    def differs(self, value: Value) -> bool:
        change, last = self.record.change, self.sent_value
        if self.attribute.type.kind is not Kind.ANALOG or not change or None in (value, last):
            return bool(value != last)
        if isinstance(value, tuple):  # date and time of day: no arithmetic on them
            return bool(value != last)
        return bool(abs(value - last) >= change)


class ReportingEngine:
    """Reporting of all cluster instances of a device."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int, int, int], _Entry] = {}
        self._reports: list[Report] = []

    @staticmethod
    def _key(instance: ClusterInstance, attribute_id: int) -> tuple[int, int, int, int]:
        return instance.endpoint, instance.cluster.cluster_id, instance.side, attribute_id

    def configure(self, instance: ClusterInstance, record: ReportingRecord, *, now_us: int) -> Status:
        """What a Configure Reporting record asks; the outcome is its status."""
        attribute = instance.attribute(record.attribute_id)
        if attribute is None:
            return Status.UNSUPPORTED_ATTRIBUTE
        if record.direction:
            return Status.SUCCESS  # reports will come; we accept them at any interval
        if attribute.type.type_id != record.type_id:
            return Status.INVALID_DATA_TYPE
        if attribute.type.kind is Kind.COMPOSITE:
            return Status.UNREPORTABLE_ATTRIBUTE
        key = self._key(instance, record.attribute_id)
        if record.max_interval_s == STOP_REPORTING:
            self._entries.pop(key, None)
            return Status.SUCCESS
        if record.max_interval_s != NO_PERIODIC and record.max_interval_s < record.min_interval_s:
            return Status.INVALID_VALUE
        known = self._entries.get(key)
        if known is not None and known.instance is instance and known.record == record:
            return Status.SUCCESS  # asked anew, as displays do now and then: its rhythm stays
        entry = _Entry(instance, attribute, record, now_us, None)
        entry.sent_value = entry.value()
        self._entries[key] = entry
        return Status.SUCCESS

    def configuration(self, instance: ClusterInstance, attribute_id: int) -> ReportingRecord | None:
        entry = self._entries.get(self._key(instance, attribute_id))
        return None if entry is None else entry.record

    def configurations(self, instance: ClusterInstance) -> list[ReportingRecord]:
        """In the order in which they were first made."""
        return [entry.record for entry in self._entries.values() if entry.instance is instance]

    def remove(self, instance: ClusterInstance) -> None:
        """The instance is gone."""
        for key in [key for key, entry in self._entries.items() if entry.instance is instance]:
            del self._entries[key]

    def on_value(self, instance: ClusterInstance, attribute: Attribute) -> bool:
        """A value may have changed. True: the next timer may be earlier now."""
        entry = self._entries.get(self._key(instance, attribute.attribute_id))
        if entry is None or entry.has_changed:
            return False
        entry.has_changed = entry.differs(entry.value())
        return entry.has_changed

    def next_timer_us(self) -> int | None:
        due = [when for entry in self._entries.values() if (when := entry.due_us()) is not None]
        return min(due, default=None)

    def on_timer(self, *, now_us: int) -> None:
        due = [(at, entry) for entry in self._entries.values() if (at := entry.due_us()) is not None]
        instances = {id(entry.instance): entry.instance for at, entry in due if at <= now_us}
        ready: dict[int, list[TypedValue]] = {}
        for at, entry in due:
            if at > now_us and not (id(entry.instance) in instances and entry.is_soon(now_us)):
                continue
            value = entry.value()
            entry.sent_us, entry.sent_value, entry.has_changed = now_us, value, False
            record = TypedValue(entry.attribute.attribute_id, entry.attribute.type.type_id, value)
            ready.setdefault(id(entry.instance), []).append(record)
        # dicts keep the order in which entries were configured: ids here never decide an order
        for identity, records in ready.items():
            self._reports.append(Report(instance=instances[identity], records=tuple(records)))

    def take_reports(self) -> list[Report]:
        reports, self._reports = self._reports, []
        return reports
