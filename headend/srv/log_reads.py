"""How a log is read that is longer than a frame: question after question, until the period is through.

A period of DUIS includes both its ends (**assumption**: a schema that leaves room for 41 values of the gas
network data log, where four hours have 40, counts so). A log's entry has the time of the end of its interval.
Every loop ends: an answer that does not bring the next one nearer is malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeAlias

from smets1.errors import DecodeError
from smets1.firmware.civil import from_zigbee_s, zigbee_s
from smets1.firmware.zcl.clusters.events import EVENTS
from smets1.firmware.zcl.clusters.meter_data import METER_DATA
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType
from smets1.firmware.zcl.log_pages import SAMPLES_A_PAGE, samples_of
from smets1.firmware.zcl.status import Status
from smets1.headend.srv.content import require, utc_us
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import Place, command
from smets1.headend.srv.steps import Answer, RefusedByDeviceError, Step, Task

__all__ = ["LogPeriod", "LogRead", "read_events", "read_samples", "read_snapshots", "read_voltages"]

_LAYER: Final = "log"
_LATEST: Final = 0xFFFFFFFE  # seconds since 2000 that ZigBee can say
_FULL_INFORMATION: Final = 0x10
_EVENTS_ASKED: Final = 15
_VOLTAGES_ASKED: Final = 128
_MAX_SNAPSHOTS: Final = 255  # an offset has eight bits
_EVENT_READINGS: Final = 5

Rows: TypeAlias = list[dict[str, Value]]
LogRead: TypeAlias = Generator[Step, Answer, tuple[list[tuple[int, int]], Answer]]
"""Yields steps; returns (time in microseconds since 1970, amount) and the last answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPeriod:
    """From and to, both included, in seconds since 2000."""

    start_s: int
    end_s: int

    @classmethod
    def of(cls, task: Task) -> LogPeriod:
        """Of the request. Raises RefusedByDeviceError for one that is missing or ends before it begins."""
        period = task.body.find("ReadLogPeriod")
        names = ("StartDateTime", "EndDateTime")
        start_us, end_us = (utc_us(period.value(name) if period else None) for name in names)
        require(end_us >= start_us, "the period ends before it begins")
        start_s = zigbee_s(start_us + 999_999)  # a fraction of a second is behind the whole one
        return cls(start_s=_limited(start_s), end_s=_limited(zigbee_s(end_us)))

    def holds(self, time_s: int) -> bool:
        return self.start_s <= time_s <= self.end_s


def _limited(time_s: int) -> int:
    return max(0, min(time_s, _LATEST))


def _read_pages(period: LogPeriod, at_most: int, ask: Callable[[int, int], LogRead]) -> LogRead:
    """`ask(earliest_s, most)` gives a page, the oldest entry first; an empty one is behind the last."""
    found: list[tuple[int, int]] = []
    earliest_s = period.start_s
    while True:
        page, answer = yield from ask(earliest_s, at_most - len(found))
        if not page:
            return found, answer
        first_s, last_s = zigbee_s(page[0][0]), zigbee_s(page[-1][0])
        if not earliest_s <= first_s <= last_s:
            raise DecodeError(_LAYER, 0, "entries from before the time asked for")
        found += [row for row in page if zigbee_s(row[0]) <= period.end_s]
        earliest_s = last_s + 1
        if earliest_s > period.end_s or len(found) >= at_most:
            return found[:at_most], answer


def read_samples(
    place: Place,
    period: LogPeriod,
    *,
    at_most: int,
    sample_id: SampleId = SampleId.PROFILE,
    sample_type: SampleType = SampleType.CONSUMPTION_DELIVERED,
) -> LogRead:
    """GetSampledData over a period; `at_most` so many, from its beginning."""

    def ask(earliest_s: int, most: int) -> LogRead:
        values, answer = yield from command(
            place,
            METERING.cluster_id,
            "get_sampled_data",
            "get_sampled_data_response",
            sample_id=int(sample_id),
            earliest_sample_time=earliest_s,
            sample_type=int(sample_type),
            number_of_samples=min(SAMPLES_A_PAGE, most),
        )
        return samples_of(values), answer

    return _read_pages(period, at_most, ask)


def read_voltages(place: Place, period: LogPeriod, *, at_most: int) -> LogRead:
    """The log of average voltages, in mV."""

    def ask(earliest_s: int, most: int) -> LogRead:
        values, answer = yield from command(
            place,
            METER_DATA.cluster_id,
            "get_voltage_log",
            "voltage_log",
            earliest_time=earliest_s,
            number_of_entries=min(_VOLTAGES_ASKED, most),
        )
        return [(from_zigbee_s(row["end_time"]), row["average_mv"]) for row in values["entries"]], answer

    return _read_pages(period, at_most, ask)


def read_snapshots(
    place: Place, period: LogPeriod, *, cluster_id: int, cause: int
) -> Generator[Step, Answer, tuple[Rows, Answer | None]]:
    """GetSnapshot or GetPrepaySnapshot, one after the other; the oldest first. No answer: there is none.

    The latest has offset 0, so one that is taken meanwhile moves all others on: each is kept once, by its id.
    """
    asked, published = "get_snapshot", "publish_snapshot"
    if cluster_id != METERING.cluster_id:
        asked, published = "get_prepay_snapshot", "publish_prepay_snapshot"
    found: dict[int, dict[str, Value]] = {}
    answer: Answer | None = None
    for offset in range(_MAX_SNAPSHOTS):
        try:
            values, answer = yield from command(
                place,
                cluster_id,
                asked,
                published,
                earliest_start_time=period.start_s,
                latest_end_time=period.end_s,
                snapshot_offset=offset,
                snapshot_cause=cause,
            )
        except RefusedByDeviceError as refusal:
            if refusal.status != Status.NOT_FOUND:
                raise
            break
        found[values["snapshot_id"]] = values
        if offset + 1 >= values["total_snapshots_found"]:
            break
    return sorted(found.values(), key=lambda row: row["snapshot_time"]), answer


def read_events(place: Place, period: LogPeriod, log_id: int) -> Generator[Step, Answer, tuple[Rows, Answer]]:
    """GetEventLog, page after page; the oldest first.

    The latest has offset 0, so an event that is logged meanwhile moves all others on. Each page begins with
    the last event of the page before; where it is another one the log is read again.
    """
    for _ in range(_EVENT_READINGS):
        rows, answer = yield from _read_events_once(place, period, log_id)
        if rows is not None:
            return rows[::-1], answer
    raise RefusedByDeviceError("the log changes while it is read", Status.TIMEOUT)


def _read_events_once(
    place: Place, period: LogPeriod, log_id: int
) -> Generator[Step, Answer, tuple[Rows | None, Answer]]:
    """The latest first; None: the log has changed meanwhile."""
    found: Rows = []
    total: int | None = None
    while True:
        values, answer = yield from command(
            place,
            EVENTS.cluster_id,
            "get_event_log",
            "publish_event_log",
            event_control_log_id=_FULL_INFORMATION | log_id,
            event_id=0,
            start_time=period.start_s,
            end_time=period.end_s,
            number_of_events=_EVENTS_ASKED,
            event_offset=max(0, len(found) - 1),
        )
        page = values["events"]
        if found and (values["total_number_of_events"] != total or page[:1] != found[-1:]):
            return None, answer
        total, new = values["total_number_of_events"], page[1:] if found else page
        found += new
        if not new or len(found) >= total:
            return found, answer
