"""The gas proxy's copies on its endpoint: who may fill them, who may read them, what survives."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smets1.firmware.civil import from_zigbee_s, zigbee_s
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType, SnapshotCause
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.frame import ZclFrame, ZclHeader, command_frame
from smets1.firmware.zcl.log_pages import EventRow, Snapshot, event_values, publish
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.hardware.radio import ApsSecurity
from smets1.hub.gas_copies import GasCopies
from smets1.hub.gas_copy_clusters import CopyClusters

METER, OTHER = 0xA1, 0xA4
PROXY = 2


class Proxy:
    def __init__(self) -> None:
        self.nvm = MemoryNvm()
        self.tenancy_s = 0
        self._start()

    def _start(self) -> None:
        self.core, self.copies = ZclCore(), GasCopies(self.nvm)
        for name in ("metering", "prepayment"):
            self.core.add_server(PROXY, name)
            self.core.add_client(PROXY, name)
        CopyClusters(
            self.core,
            PROXY,
            self.copies,
            is_gas_meter=lambda context: context.source_eui64 == METER,
            tenancy_s=lambda: self.tenancy_s,
        )

    def restart(self) -> None:
        self.nvm = self.nvm.after_power_cut()
        self._start()

    def _send(
        self,
        sender: Side,
        eui64: int,
        cluster: str,
        command: str,
        fields: dict[str, Any],
        *,
        via: Via = Via.HAN,
    ) -> Any:
        context = CommandContext(now_us=0, via=via, source_eui64=eui64, security=ApsSecurity.LINK_KEY)
        declared = cluster_named(cluster)
        frame = command_frame(declared, command, fields, sender=sender)
        answer = self.core.execute(PROXY, declared.cluster_id, frame, context)
        assert answer is not None
        self.nvm.commit()
        read = ZclFrame.decode(answer)
        if read.header.frame_type is FrameType.GLOBAL:
            return read.general().status  # type: ignore[attr-defined]
        return read.command(declared)[1]

    def tell(self, cluster: str, command: str, fields: dict[str, Any], *, eui64: int = METER) -> Any:
        return self._send(Side.SERVER, eui64, cluster, command, fields)

    def ask(self, cluster: str, command: str, *, via: Via = Via.HAN, **fields: Any) -> Any:
        return self._send(Side.CLIENT, OTHER, cluster, command, fields, via=via)

    def profile(self, earliest_s: int = 0, *, sample_type: int = 0, sample_id: int = 0) -> Any:
        return self.ask(
            "metering",
            "get_sampled_data",
            sample_id=sample_id,
            earliest_sample_time=earliest_s,
            sample_type=sample_type,
            number_of_samples=100,
        )

    def events(self, log: int = EventLogId.ALL_LOGS) -> Any:
        return self.ask(
            "events",
            "get_event_log",
            event_control_log_id=0x10 | log,
            event_id=0,
            start_time=0,
            end_time=0xFFFFFFFE,
            number_of_events=15,
            event_offset=0,
        )


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


def samples(
    start_s: int, *amounts: int, sample_id: int = SampleId.PROFILE, sample_type: int = 0
) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "sample_start_time": start_s,
        "sample_type": sample_type,
        "sample_request_interval": 1800,
        "samples": list(amounts),
    }


def snapshot(number: int, cause: int = SnapshotCause.SCHEDULED_SNAPSHOT) -> dict[str, Any]:
    made = Snapshot(snapshot_id=number, time_s=number, cause=cause, payload_type=0, payload=b"\1\2")
    return publish(made, count=1, of_commands="total_commands")


def event(time_s: int, code: int = 0x8F1F, log: EventLogId = EventLogId.GENERAL_EVENT_LOG) -> EventRow:
    return EventRow(log=log, time_s=time_s, code=code, data=b"x")


def told(*rows: EventRow) -> dict[str, Any]:
    return event_values(rows, count=len(rows))


PUBLISHED = (
    ("metering", "get_sampled_data_response", samples(1800, 7, 8)),
    ("metering", "publish_snapshot", snapshot(5)),
    ("prepayment", "publish_top_up_log", {"command_index": 0, "total_number_of_commands": 1, "top_ups": []}),
    ("prepayment", "publish_debt_log", {"command_index": 0, "total_number_of_commands": 1, "debts": []}),
    ("events", "publish_event_log", told(event(9))),
)


@pytest.mark.parametrize(("cluster", "command", "fields"), PUBLISHED)
def test_nobody_but_the_gas_meter_fills_them(
    proxy: Proxy, cluster: str, command: str, fields: dict[str, Any]
) -> None:
    assert proxy.tell(cluster, command, fields, eui64=OTHER) == Status.NOT_AUTHORIZED
    assert proxy.profile()["samples"] == []
    assert proxy.events()["total_number_of_events"] == 0
    assert proxy.copies.snapshots["metering"] == []
    assert proxy.tell(cluster, command, fields) == Status.SUCCESS


def test_what_was_acknowledged_is_there_after_a_power_cut(proxy: Proxy) -> None:
    for cluster, command, fields in PUBLISHED:
        assert proxy.tell(cluster, command, fields) == Status.SUCCESS
    proxy.restart()
    page = proxy.profile()
    assert (page["sample_start_time"], page["samples"]) == (1800, [7, 8])
    assert [row["event_time"] for row in proxy.events()["events"]] == [9]
    answer = proxy.ask(
        "metering",
        "get_snapshot",
        earliest_start_time=0,
        latest_end_time=10,
        snapshot_offset=0,
        snapshot_cause=SnapshotCause.SCHEDULED_SNAPSHOT,
    )
    assert (answer["snapshot_id"], bytes(answer["snapshot_payload"])) == (5, b"\1\2")


def test_told_again_it_stands_there_once(proxy: Proxy) -> None:
    for _ in range(3):
        proxy.tell("metering", "get_sampled_data_response", samples(1800, 7, 8))
        proxy.tell("metering", "publish_snapshot", snapshot(5))
        proxy.tell("events", "publish_event_log", told(event(9), event(9)))
    assert proxy.profile()["samples"] == [7, 8]
    assert len(proxy.copies.snapshots["metering"]) == 1
    assert proxy.events()["total_number_of_events"] == 2
    proxy.tell("metering", "get_sampled_data_response", samples(3600, 9))
    assert proxy.profile()["samples"] == [7, 9], "the meter's last word counts"


def test_as_many_stay_as_the_meter_keeps(proxy: Proxy) -> None:
    for number in range(1, 31):
        for cause in (SnapshotCause.SCHEDULED_SNAPSHOT, SnapshotCause.END_OF_BILLING_PERIOD):
            proxy.tell("metering", "publish_snapshot", snapshot(number * 10 + (cause > 9), int(cause)))
    causes = [one.cause for one in proxy.copies.snapshots["metering"]]
    assert causes.count(SnapshotCause.SCHEDULED_SNAPSHOT) == 14
    assert causes.count(SnapshotCause.END_OF_BILLING_PERIOD) == 12
    for number in range(130):
        proxy.tell(
            "events",
            "publish_event_log",
            told(event(number), event(number, log=EventLogId.SECURITY_EVENT_LOG)),
        )
    held = proxy.events(EventLogId.GENERAL_EVENT_LOG)
    assert held["total_number_of_events"] == 100
    assert held["events"][0]["event_time"] == 129
    assert proxy.events()["total_number_of_events"] == 200
    end_s = zigbee_s(from_zigbee_s(1800) + 400 * 86_400_000_000)
    proxy.tell("metering", "get_sampled_data_response", samples(1800, 7))
    proxy.tell("metering", "get_sampled_data_response", samples(end_s, 8))
    assert proxy.profile()["sample_start_time"] == end_s, "395 days are kept"


def test_a_clearing_that_the_meter_tells_of_empties_the_copy(proxy: Proxy) -> None:
    proxy.tell("events", "publish_event_log", told(event(1), event(2)))
    cleared = event(3, code=0x8F52, log=EventLogId.SECURITY_EVENT_LOG)
    for _ in range(2):
        proxy.tell("events", "publish_event_log", told(cleared))
        assert proxy.events(EventLogId.GENERAL_EVENT_LOG)["total_number_of_events"] == 0
    proxy.tell("events", "publish_event_log", told(event(4)))
    proxy.tell("events", "publish_event_log", told(cleared))
    held = proxy.events(EventLogId.GENERAL_EVENT_LOG)["events"]
    assert [row["event_time"] for row in held] == [4], "an old clearing that is told again clears nothing"


def test_logs_that_a_gas_meter_does_not_have(proxy: Proxy) -> None:
    received = int(SampleType.CONSUMPTION_RECEIVED)
    assert proxy.profile(sample_type=received) == Status.NOT_FOUND
    assert proxy.profile(sample_id=9) == Status.NOT_FOUND
    tell = ("metering", "get_sampled_data_response")
    assert proxy.tell(*tell, samples(1800, 7, sample_type=received)) == Status.INVALID_FIELD
    assert proxy.tell(*tell, samples(1800, 7, sample_id=9)) == Status.INVALID_FIELD
    for _ in range(2):
        assert proxy.tell("metering", "publish_snapshot", snapshot(1, cause=1 << 5)) == Status.INVALID_FIELD
    unknown = {**told(event(1)), "events": [{**event(1).published(), "log_id": 14}]}
    assert proxy.tell("events", "publish_event_log", unknown) == Status.INVALID_FIELD


def test_another_meters_mirror_begins_empty(proxy: Proxy) -> None:
    for cluster, command, fields in PUBLISHED:
        proxy.tell(cluster, command, fields)
    proxy.copies.forget()
    proxy.nvm.commit()
    for _ in range(2):
        assert proxy.profile()["samples"] == []
        assert proxy.events()["total_number_of_events"] == 0
        proxy.restart()


def test_the_household_sees_its_own_time_and_the_head_end_all(proxy: Proxy) -> None:
    proxy.tell("metering", "get_sampled_data_response", samples(1800, 7, 8, 9))
    proxy.tell("metering", "publish_snapshot", snapshot(3600))
    top_ups = [{"top_up_code": b"", "top_up_amount": n, "top_up_time": n * 1800} for n in (3, 2, 1)]
    log = {"command_index": 0, "total_number_of_commands": 1, "top_ups": top_ups}
    proxy.tell("prepayment", "publish_top_up_log", log)
    proxy.tenancy_s = 3600
    ask_profile = {
        "sample_id": 0,
        "earliest_sample_time": 0,
        "sample_type": 0,
        "number_of_samples": 9,
    }
    ask_snapshot = {
        "earliest_start_time": 0,
        "latest_end_time": 9999,
        "snapshot_offset": 0,
        "snapshot_cause": SnapshotCause.SCHEDULED_SNAPSHOT,
    }
    ask_top_ups = {"latest_end_time": 9999, "number_of_records": 0}
    asked = ("metering", "get_sampled_data")
    assert proxy.ask(*asked, **ask_profile)["samples"] == [9]
    assert proxy.ask(*asked, via=Via.WAN, **ask_profile)["samples"] == [7, 8, 9]
    asked = ("metering", "get_snapshot")
    assert proxy.ask(*asked, **ask_snapshot) == Status.NOT_FOUND
    assert proxy.ask(*asked, via=Via.WAN, **ask_snapshot)["snapshot_id"] == 3600
    asked = ("prepayment", "get_top_up_log")
    assert [row["top_up_amount"] for row in proxy.ask(*asked, **ask_top_ups)["top_ups"]] == [3]
    assert len(proxy.ask(*asked, via=Via.WAN, **ask_top_ups)["top_ups"]) == 3


@pytest.mark.parametrize("seed", range(4))
def test_random_octets_under_the_meters_own_key_break_nothing(proxy: Proxy, seed: int) -> None:
    """Whatever was taken, every question has an answer that its cluster can write, over a restart too."""
    rng = random.Random(seed)
    commands = sorted({(cluster, command) for cluster, command, _ in PUBLISHED})
    context = CommandContext(now_us=0, via=Via.HAN, source_eui64=METER, security=ApsSecurity.LINK_KEY)
    for number in range(1500):
        cluster, command = rng.choice(commands)
        declared = cluster_named(cluster)
        header = ZclHeader(
            frame_type=FrameType.CLUSTER,
            sequence=number % 256,
            command_id=declared.command(command, Side.SERVER).command_id,
            sender=Side.SERVER,
        )
        size = rng.choice((4, 8, 12, 14, 16, 17, 20, 28, 40))
        octets = bytes(rng.choice((0, 1, 0xFF, rng.randrange(256))) for _ in range(size))
        proxy.core.execute(PROXY, declared.cluster_id, header.encode() + octets, context)
    proxy.nvm.commit()
    for _ in range(2):
        for earliest_s in (0, 1 << 31, 0xFFFFFFFE):
            assert proxy.profile(earliest_s) is not None
        assert proxy.events()["total_number_of_events"] <= 200
        for cluster, command in (("metering", "get_snapshot"), ("prepayment", "get_prepay_snapshot")):
            asked = {"earliest_start_time": 0, "latest_end_time": 0xFFFFFFFE, "snapshot_offset": 0}
            assert proxy.ask(cluster, command, snapshot_cause=0xFFFFFFFF, **asked) is not None
        proxy.restart()
