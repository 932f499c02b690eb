"""The part of a log that one question gets: the same for a meter and for the gas proxy's copies.

A log is longer than a frame, so each answer holds what fits, and who asks asks on from its end. A page
keeps within what APS fragmentation carries to a device with little memory (about 1 KiB).

In: the fields of a question and the log. Out: the fields of its answer. Times in logs are seconds since
2000 (`time_s`), as on the air.
Source: SE 1.2 07-5356-19, D.3.3 (GetProfile, GetSampledData, GetSnapshot), D.7 (prepay snapshots), D.11
(events).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from smets1.errors import RefusedError
from smets1.firmware.civil import from_zigbee_s, zigbee_s
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.metering import ProfileStatus
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Status

__all__ = [
    "EVENTS_A_PAGE",
    "MAX_SAMPLE",
    "NO_SAMPLE",
    "PERIODS_A_PAGE",
    "SAMPLES_A_PAGE",
    "EventRow",
    "SampleSource",
    "Slots",
    "Snapshot",
    "event_page",
    "event_values",
    "no_profile",
    "pick_snapshot",
    "profile_page",
    "publish",
    "sample_page",
    "samples_of",
    "since",
]

SAMPLES_A_PAGE: Final = 336  # a week of half hours
EVENTS_A_PAGE: Final = 15  # as many as the nibble of LogPayloadControl can say
NO_SAMPLE: Final = 0xFFFFFF  # u24 "not available": the interval is not known
MAX_SAMPLE: Final = NO_SAMPLE - 1
PERIODS_A_PAGE: Final = 24
"""Of GetProfile: MaxNumberOfPeriodsDelivered."""
_HALF_HOURLY: Final = 2  # ProfileIntervalPeriod
_EVER_US: Final = 1 << 62
_FULL_INFORMATION: Final = 0x10  # event control, high nibble 1: with the events' data


class SampleSource(Protocol):
    """A log of amounts by time; `firmware.sample_log.SampleLog` is one."""

    def next_us(self, from_utc_us: int, /) -> int | None: ...
    def last_us(self, until_utc_us: int, /) -> int | None: ...
    def read(self, start_utc_us: int, end_utc_us: int, /) -> list[tuple[int, int]]: ...


@dataclass(frozen=True, slots=True)
class Slots:
    """A short log, in order of time: (end in microseconds, amount)."""

    rows: Sequence[tuple[int, int]]

    def next_us(self, from_utc_us: int, /) -> int | None:
        return next((end_us for end_us, _ in self.rows if end_us >= from_utc_us), None)

    def last_us(self, until_utc_us: int, /) -> int | None:
        return next((end_us for end_us, _ in reversed(self.rows) if end_us <= until_utc_us), None)

    def read(self, start_utc_us: int, end_utc_us: int, /) -> list[tuple[int, int]]:
        return [row for row in self.rows if start_utc_us < row[0] <= end_utc_us]


def since(fields: Values, name: str, tenancy_s: int) -> Values:
    """A question of the household, cut to its own time: what is later than the change of tenancy."""
    return {**fields, name: max(fields[name], tenancy_s + 1)}


def sample_page(fields: Values, source: SampleSource, *, interval_us: int) -> Values:
    """GetSampledData -> GetSampledDataResponse.

    The samples begin with the first that is known at or after the time asked for; a sample's time is the
    end of its interval. None: no samples.
    """
    earliest_s = fields["earliest_sample_time"]
    count = min(fields["number_of_samples"], SAMPLES_A_PAGE)
    first_us = source.next_us(from_zigbee_s(earliest_s)) if count else None
    samples: list[int] = []
    if first_us is not None:
        known = dict(source.read(first_us - 1, first_us + (count - 1) * interval_us))
        size = (max(known) - first_us) // interval_us + 1
        held = [known.get(first_us + place * interval_us) for place in range(size)]
        samples = [NO_SAMPLE if amount is None else min(amount, MAX_SAMPLE) for amount in held]
    return {
        "sample_id": fields["sample_id"],
        "sample_start_time": earliest_s if first_us is None else zigbee_s(first_us),
        "sample_type": fields["sample_type"],
        "sample_request_interval": interval_us // 1_000_000,
        "samples": samples,
    }


def profile_page(fields: Values, source: SampleSource, *, interval_us: int, earliest_s: int) -> Values:
    """GetProfile -> GetProfileResponse: the newest block that ends up to the time asked for, latest first.

    An end time of 0 is now. `earliest_s`: no interval that ends before is told of. A half hour that is not
    known has NO_SAMPLE.
    """
    asked_s, count = fields["end_time"], min(fields["number_of_periods"], PERIODS_A_PAGE)
    until_us = _EVER_US if asked_s == 0 else from_zigbee_s(asked_s)
    last_us = source.last_us(until_us) if count else None
    if last_us is None or zigbee_s(last_us) < earliest_s:
        nothing = ProfileStatus.NO_INTERVALS_AVAILABLE_FOR_THE_REQUESTED_TIME
        return _profile(asked_s, nothing if count else ProfileStatus.SUCCESS, [])
    known = dict(source.read(last_us - count * interval_us, last_us))
    ends_us = [last_us - place * interval_us for place in range(count)]
    ends_us = [end_us for end_us in ends_us if zigbee_s(end_us) >= earliest_s]
    intervals = [min(known[end_us], MAX_SAMPLE) if end_us in known else NO_SAMPLE for end_us in ends_us]
    while intervals[-1] == NO_SAMPLE:  # before the log begins
        intervals.pop()
    is_more = fields["number_of_periods"] > PERIODS_A_PAGE
    status = ProfileStatus.MORE_PERIODS_REQUESTED_THAN_CAN_BE_RETURNED if is_more else ProfileStatus.SUCCESS
    return _profile(zigbee_s(last_us), status, intervals)


def no_profile(fields: Values, status: ProfileStatus) -> Values:
    """A GetProfileResponse without intervals."""
    return _profile(fields["end_time"], status, [])


def _profile(end_s: int, status: ProfileStatus, intervals: list[int]) -> Values:
    return {
        "end_time": end_s,
        "status": int(status),
        "profile_interval_period": _HALF_HOURLY,
        "number_of_periods_delivered": len(intervals),
        "intervals": intervals,
    }


def samples_of(values: Values) -> list[tuple[int, int]]:
    """(end in microseconds, amount) of the samples of a GetSampledDataResponse that are known."""
    start_us = from_zigbee_s(values["sample_start_time"])
    step_us = values["sample_request_interval"] * 1_000_000
    return [
        (start_us + place * step_us, amount)
        for place, amount in enumerate(values["samples"])
        if amount != NO_SAMPLE
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot, as it is published."""

    snapshot_id: int
    time_s: int
    cause: int  # bits of SnapshotCause
    payload_type: int
    payload: bytes


def pick_snapshot(fields: Values, snapshots: Sequence[Snapshot], *, of_commands: str) -> Values:
    """GetSnapshot or GetPrepaySnapshot -> the Publish...Snapshot command; latest first.

    `of_commands`: what the cluster calls its number of commands. Raises RefusedError NOT_FOUND.
    """
    found = [
        snapshot
        for snapshot in sorted(snapshots, key=lambda row: row.time_s, reverse=True)
        if fields["earliest_start_time"] <= snapshot.time_s <= fields["latest_end_time"]
        and snapshot.cause & fields["snapshot_cause"]
    ]
    if fields["snapshot_offset"] >= len(found):
        raise RefusedError(Status.NOT_FOUND, "no such snapshot")
    return publish(found[fields["snapshot_offset"]], count=len(found), of_commands=of_commands)


def publish(snapshot: Snapshot, *, count: int, of_commands: str) -> Values:
    """The fields of a Publish...Snapshot command; `count` snapshots were found."""
    return {
        "snapshot_id": snapshot.snapshot_id,
        "snapshot_time": snapshot.time_s,
        "total_snapshots_found": count,
        "command_index": 0,
        of_commands: 1,
        "snapshot_cause": snapshot.cause,
        "snapshot_payload_type": snapshot.payload_type,
        "snapshot_payload": snapshot.payload,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    log: EventLogId
    time_s: int
    code: int
    data: bytes = b""  # 31 octets at most

    def published(self, *, with_data: bool = True) -> Values:
        return {
            "log_id": int(self.log),
            "event_id": self.code,
            "event_time": self.time_s,
            "event_data": self.data if with_data else b"",
        }


def event_page(fields: Values, rows: Sequence[EventRow]) -> Values:
    """GetEventLog -> PublishEventLog; `rows` in the order of their logging, on the air the latest first."""
    wanted, control = fields["event_control_log_id"] & 0x0F, fields["event_control_log_id"] & 0xF0
    found = [
        row
        for row in reversed(rows)
        if wanted in (EventLogId.ALL_LOGS, row.log)
        and fields["event_id"] in (0, row.code)
        and fields["start_time"] <= row.time_s <= fields["end_time"]
    ]
    first = fields["event_offset"]
    page = found[first : first + min(fields["number_of_events"] or EVENTS_A_PAGE, EVENTS_A_PAGE)]
    return event_values(page, count=len(found), with_data=control == _FULL_INFORMATION)


def event_values(page: Sequence[EventRow], *, count: int, with_data: bool = True) -> Values:
    """The fields of a PublishEventLog with these events, of `count` that there are."""
    return {
        "total_number_of_events": count,
        "command_index": 0,
        "total_commands": 1,
        "log_payload_control": min(len(page), EVENTS_A_PAGE) << 4,
        "events": [row.published(with_data=with_data) for row in page],
    }
