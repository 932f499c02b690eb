"""How long logs are read, question by question: pages, logs that change meanwhile, answers that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from smets1.errors import DecodeError
from smets1.firmware.civil import from_zigbee_s
from smets1.firmware.sample_log import HALF_HOUR_US, SampleLog
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.snapshots import SnapshotCause
from smets1.firmware.zcl.frame import command_frame, general_frame, read_command
from smets1.firmware.zcl.general import DefaultResponse
from smets1.firmware.zcl.log_pages import (
    NO_SAMPLE,
    SAMPLES_A_PAGE,
    EventRow,
    Snapshot,
    event_page,
    pick_snapshot,
    sample_page,
)
from smets1.firmware.zcl.status import Side, Status
from smets1.headend.duis.request import XmlNode
from smets1.headend.srv.log_reads import LogPeriod, read_events, read_samples, read_snapshots, read_voltages
from smets1.headend.srv.meter import Place
from smets1.headend.srv.steps import Answer, RefusedByDeviceError, Step

PLACE = Place(0x1234, 1)
EVER = LogPeriod(start_s=0, end_s=0xFFFFFFFE)
T = TypeVar("T")
Asked = tuple[str, dict[str, Any]]
Device = Callable[[Asked], Asked | Status]


class Plan:
    """Runs a plan against a device that is one function."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.asked: list[Asked] = []

    def run(self, plan: Generator[Step, Answer, T]) -> T:
        step = next(plan)
        while True:
            try:
                step = plan.send(Answer(frame=self._answer(step), device_utc_us=None, is_from_gsme=False))
            except StopIteration as stop:
                value: T = stop.value
                return value
            assert len(self.asked) < 200, "it ends"

    def _answer(self, step: Step) -> bytes:
        cluster = CLUSTERS[step.cluster_id]
        asked = read_command(cluster, step.frame)
        self.asked.append(asked)
        answer = self.device(asked)
        if isinstance(answer, Status):
            return general_frame(
                DefaultResponse(command_id=0, status=answer),
                sender=Side.SERVER,
                manufacturer_code=cluster.manufacturer_code,
            )
        return command_frame(cluster, answer[0], answer[1], sender=Side.SERVER)


def period(start: str, end: str) -> LogPeriod:
    parts = (XmlNode("StartDateTime", start), XmlNode("EndDateTime", end))
    body = XmlNode("Read", children=(XmlNode("ReadLogPeriod", children=parts),))

    class Asking:
        pass

    task: Any = Asking()
    task.body = body
    return LogPeriod.of(task)


# --- periods ---------------------------------------------------------------------------------------


def test_a_period_includes_both_its_ends() -> None:
    found = period("2000-01-01T00:00:10Z", "2000-01-01T00:00:20Z")
    assert (found.start_s, found.end_s) == (10, 20)
    assert [found.holds(second) for second in (9, 10, 20, 21)] == [False, True, True, False]
    one = period("2000-01-01T00:00:10Z", "2000-01-01T00:00:10Z")
    assert one.holds(10)


def test_a_fraction_of_a_second_is_behind_the_whole_one() -> None:
    found = period("2000-01-01T00:00:10.5Z", "2000-01-01T00:00:20.5Z")
    assert (found.start_s, found.end_s) == (11, 20)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", (0, 0)),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", (0, 0xFFFFFFFE)),
        ("3000-12-31T00:00:00Z", "3000-12-31T00:00:00Z", (0xFFFFFFFE, 0xFFFFFFFE)),
        ("2000-01-01T01:00:00+01:00", "2000-01-01T00:00:00-01:00", (0, 3600)),
    ],
)
def test_what_zigbee_cannot_say_is_its_nearest(start: str, end: str, expected: tuple[int, int]) -> None:
    found = period(start, end)
    assert (found.start_s, found.end_s) == expected


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2000-01-01T00:00:20Z", "2000-01-01T00:00:10Z"),
        ("2000-01-01T00:00:20", "2000-01-01T00:00:30Z"),
        ("", ""),
        ("yesterday", "2000-01-01T00:00:30Z"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"),
    ],
)
def test_a_period_that_is_none(start: str, end: str) -> None:
    with pytest.raises(RefusedByDeviceError):
        period(start, end)


# --- samples ---------------------------------------------------------------------------------------


def meter_with(log: SampleLog) -> Plan:
    def answer(asked: Asked) -> Asked:
        return "get_sampled_data_response", sample_page(asked[1], log, interval_us=HALF_HOUR_US)

    return Plan(answer)


def filled(*half_hours: int) -> SampleLog:
    """Half hours since 2000 -> a log where each has its own number as amount."""
    log = SampleLog()
    for number in half_hours:
        log.put(from_zigbee_s(number * 1800), number)
    return log


def amounts(found: list[tuple[int, int]]) -> list[int]:
    assert all(from_zigbee_s(amount * 1800) == end_us for end_us, amount in found)
    return [amount for _, amount in found]


def test_a_log_of_several_pages_with_holes() -> None:
    held = [*range(1, 400), *range(1500, 1503), 9000]
    plan = meter_with(filled(*held))
    found, _ = plan.run(read_samples(PLACE, EVER, at_most=20_000))
    assert amounts(found) == held
    assert len(plan.asked) == 5, "two full of the first, one each for the islands, one that finds no more"


def test_a_year_in_as_few_questions_as_pages_take() -> None:
    held = list(range(1, 395 * 48 + 1))
    plan = meter_with(filled(*held))
    found, _ = plan.run(read_samples(PLACE, EVER, at_most=19_056))
    assert amounts(found) == held
    assert len(plan.asked) == -(-len(held) // SAMPLES_A_PAGE) + 1


def test_the_ends_of_a_period_and_no_more_than_was_asked() -> None:
    plan = meter_with(filled(*range(1, 1000)))
    both = LogPeriod(start_s=10 * 1800, end_s=12 * 1800)
    assert amounts(plan.run(read_samples(PLACE, both, at_most=99))[0]) == [10, 11, 12]
    inside = LogPeriod(start_s=10 * 1800 + 1, end_s=12 * 1800 - 1)
    assert amounts(plan.run(read_samples(PLACE, inside, at_most=99))[0]) == [11]
    assert amounts(plan.run(read_samples(PLACE, EVER, at_most=400))[0]) == list(range(1, 401))
    before = LogPeriod(start_s=0, end_s=1799)
    assert plan.run(read_samples(PLACE, before, at_most=99))[0] == []
    after = LogPeriod(start_s=1000 * 1800, end_s=0xFFFFFFFE)
    assert plan.run(read_samples(PLACE, after, at_most=99))[0] == []


def test_samples_that_lead_nowhere_are_malformed() -> None:
    def backwards(asked: Asked) -> Asked:
        page = {"sample_start_time": 1800, "sample_request_interval": 1800, "samples": [1]}
        fields = {"sample_id": asked[1]["sample_id"], "sample_type": asked[1]["sample_type"]}
        return "get_sampled_data_response", {**fields, **page}

    with pytest.raises(DecodeError):
        Plan(backwards).run(read_samples(PLACE, EVER, at_most=99))

    def unknown(asked: Asked) -> Asked:
        name, page = backwards(asked)
        return name, {**page, "samples": [NO_SAMPLE] * 9}

    assert Plan(unknown).run(read_samples(PLACE, EVER, at_most=99))[0] == []


def test_voltages_that_lead_nowhere_are_malformed() -> None:
    def backwards(asked: Asked) -> Asked:
        return "voltage_log", {"entries": [{"end_time": 9, "average_mv": 1}]}

    with pytest.raises(DecodeError):
        Plan(backwards).run(read_voltages(PLACE, EVER, at_most=99))


# --- events ----------------------------------------------------------------------------------------


class EventDevice:
    """A ring of 100; `busy` questions are each followed by a new event."""

    def __init__(self, count: int, *, busy: int = 0) -> None:
        self.rows = [self._row(number) for number in range(count)]
        self.busy = busy

    def _row(self, number: int) -> EventRow:
        return EventRow(log=EventLogId.GENERAL_EVENT_LOG, time_s=number, code=number % 7, data=b"%d" % number)

    def __call__(self, asked: Asked) -> Asked:
        page = event_page(asked[1], self.rows)
        if self.busy:
            self.busy -= 1
            self.rows = [*self.rows, self._row(self.rows[-1].time_s + 1)][-100:]
        return "publish_event_log", page


def times(found: list[dict[str, Any]]) -> list[int]:
    return [row["event_time"] for row in found]


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 29, 30, 100])
def test_all_events_once_the_oldest_first(count: int) -> None:
    found, _ = Plan(EventDevice(count)).run(read_events(PLACE, EVER, EventLogId.GENERAL_EVENT_LOG))
    assert times(found) == list(range(count))


@pytest.mark.parametrize("count", [40, 99, 100])
@pytest.mark.parametrize("busy", [1, 2, 3, 4])
def test_what_is_logged_meanwhile_doubles_nothing(count: int, busy: int) -> None:
    device = EventDevice(count, busy=busy)
    found, _ = Plan(device).run(read_events(PLACE, EVER, EventLogId.GENERAL_EVENT_LOG))
    assert times(found) == list(range(times(found)[0], times(found)[-1] + 1))
    assert times(found)[-1] >= count - 1
    assert len(found) >= min(count, 99)


def test_same_events_of_one_second_are_all_there() -> None:
    device = EventDevice(40)
    device.rows = [replace(device.rows[0], time_s=5)] * 40
    found, _ = Plan(device).run(read_events(PLACE, EVER, EventLogId.GENERAL_EVENT_LOG))
    assert times(found) == [5] * 40


def test_a_log_that_never_rests_is_refused() -> None:
    with pytest.raises(RefusedByDeviceError, match="changes while"):
        Plan(EventDevice(50, busy=1000)).run(read_events(PLACE, EVER, EventLogId.GENERAL_EVENT_LOG))


def test_a_device_that_promises_events_and_gives_none() -> None:
    def empty(asked: Asked) -> Asked:
        return "publish_event_log", {**event_page(asked[1], []), "total_number_of_events": 50}

    assert Plan(empty).run(read_events(PLACE, EVER, EventLogId.GENERAL_EVENT_LOG))[0] == []


# --- snapshots -------------------------------------------------------------------------------------


class SnapshotDevice:
    def __init__(self, count: int, *, busy: int = 0) -> None:
        self.held = [self._snapshot(number) for number in range(count)]
        self.busy = busy

    def _snapshot(self, number: int) -> Snapshot:
        cause = SnapshotCause.SCHEDULED_SNAPSHOT
        return Snapshot(snapshot_id=number, time_s=number, cause=cause, payload_type=0, payload=b"")

    def __call__(self, asked: Asked) -> Asked | Status:
        name = "publish_snapshot" if asked[0] == "get_snapshot" else "publish_prepay_snapshot"
        of_commands = "total_commands" if asked[0] == "get_snapshot" else "total_number_of_commands"
        if asked[1]["snapshot_offset"] >= len(self.held):
            return Status.NOT_FOUND
        values = pick_snapshot(asked[1], self.held, of_commands=of_commands)
        if self.busy:
            self.busy -= 1
            self.held = [*self.held, self._snapshot(self.held[-1].time_s + 1)][-14:]
        return name, values


@pytest.mark.parametrize("cluster_id", [METERING.cluster_id, PREPAYMENT.cluster_id])
@pytest.mark.parametrize("busy", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 5, 14])
def test_each_snapshot_once_whatever_is_taken_meanwhile(cluster_id: int, busy: int, count: int) -> None:
    cause = SnapshotCause.SCHEDULED_SNAPSHOT
    device = SnapshotDevice(count, busy=busy)
    found, answer = Plan(device).run(read_snapshots(PLACE, EVER, cluster_id=cluster_id, cause=cause))
    assert answer is not None
    read = [row["snapshot_time"] for row in found]
    assert read == sorted(set(read))
    lost = max(0, count + busy - 14)  # they have fallen out of the ring
    assert set(range(lost, count)) <= set(read)


def test_no_snapshot_is_no_answer() -> None:
    cause = SnapshotCause.SCHEDULED_SNAPSHOT
    cluster_id = METERING.cluster_id
    assert Plan(SnapshotDevice(0)).run(read_snapshots(PLACE, EVER, cluster_id=cluster_id, cause=cause)) == (
        [],
        None,
    )
    broken = Plan(lambda _asked: Status.FAILURE)
    with pytest.raises(RefusedByDeviceError):
        broken.run(read_snapshots(PLACE, EVER, cluster_id=cluster_id, cause=cause))
