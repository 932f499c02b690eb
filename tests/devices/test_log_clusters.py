"""A meter's logs and registers as its clusters show them; no air, no shell."""

from __future__ import annotations

from typing import Any

import pytest

from smets1.devices.days import DAY_US, HALF_HOUR_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load import ConstantLoad, GasFlow
from smets1.devices.log_clusters import LogClusters
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore, MeterCore
from smets1.devices.prepayment import PaymentMode
from smets1.devices.register_clusters import RegisterClusters
from smets1.devices.tariff import BlockPeriod, SwitchingTable, Tariff
from smets1.firmware.civil import CivilClock, parse_utc, zigbee_s
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType, SnapshotCause
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.frame import ZclFrame, command_frame
from smets1.firmware.zcl.log_pages import NO_SAMPLE, SAMPLES_A_PAGE, samples_of
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import FrameType, Status

START_US = parse_utc("2023-03-06T00:00:00Z")
FLAT = Tariff.flat(price_mp_per_kwh=30_000)
TWO = Tariff(
    prices_up_per_kwh=((1, 2), (3, 4)),
    thresholds_wh=((500,), (700,)),
    switching=SwitchingTable.daily((0, 0), (720, 1)),
    block_period=BlockPeriod.DAY,
)


class Clock:
    """A scheduler whose time a test sets."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us


class Bench:
    """A meter with its clusters on a bench."""

    def __init__(self, meter: MeterCore) -> None:
        self.meter, self.clock, self.core = meter, Clock(), ZclCore()
        civil = CivilClock(self.clock, START_US)  # type: ignore[arg-type]  # no timers here
        self.core.add_server(1, "metering")
        self.core.add_server(1, "prepayment")
        self.registers = RegisterClusters(self.core, meter, civil)
        self.changes = 0
        self.logs = LogClusters(
            self.core,
            meter,
            civil,
            is_from_head_end=lambda context: context.via is Via.WAN,
            on_change=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    def ask(self, cluster: str, command: str, *, via: Via = Via.WAN, **fields: Any) -> Any:
        """The values of the answer, or the status of a default response."""
        context = CommandContext(now_us=0, via=via)
        declared = cluster_named(cluster)
        frame = self.core.execute(1, declared.cluster_id, command_frame(declared, command, fields), context)
        assert frame is not None
        answer = ZclFrame.decode(frame)
        if answer.header.frame_type is FrameType.GLOBAL:
            return answer.general().status  # type: ignore[attr-defined]
        return answer.command(declared)[1]

    def samples(
        self, earliest_us: int, *, count: int = SAMPLES_A_PAGE, via: Via = Via.WAN, **options: Any
    ) -> Any:
        asked = {"sample_id": SampleId.PROFILE, "sample_type": SampleType.CONSUMPTION_DELIVERED, **options}
        return self.ask(
            "metering",
            "get_sampled_data",
            via=via,
            earliest_sample_time=max(0, zigbee_s(earliest_us)),
            number_of_samples=count,
            **asked,
        )


@pytest.fixture
def bench() -> Bench:
    load = ConstantLoad(watts=1000, start_utc_us=START_US)
    return Bench(ElectricityMeterCore(load=load, now_us=START_US, tariff=FLAT))


@pytest.fixture
def gas_bench() -> Bench:
    flow = GasFlow(load=ConstantLoad(watts=2000, start_utc_us=START_US))
    return Bench(GasMeterCore(flow=flow, now_us=START_US, tariff=FLAT))


def test_a_page_ends_where_a_frame_does(bench: Bench) -> None:
    bench.clock.us = 9 * DAY_US
    page = bench.samples(0)
    assert page["sample_start_time"] == zigbee_s(START_US + HALF_HOUR_US)
    assert page["sample_request_interval"] == 1800
    assert page["samples"] == [500] * SAMPLES_A_PAGE
    last_us = samples_of(page)[-1][0]
    rest = bench.samples(last_us + 1_000_000)
    assert samples_of(rest)[0][0] == last_us + HALF_HOUR_US
    assert len(rest["samples"]) == 9 * 48 - SAMPLES_A_PAGE
    assert bench.samples(START_US + 20 * DAY_US)["samples"] == []


def test_a_half_hour_that_is_not_known_is_not_nothing(bench: Bench) -> None:
    bench.meter.profile.record(START_US + HALF_HOUR_US, 5)
    bench.meter.profile.record(START_US + 3 * HALF_HOUR_US, 7)
    page = bench.samples(0)
    assert page["samples"] == [5, NO_SAMPLE, 7]
    assert [amount for _, amount in samples_of(page)] == [5, 7]


def test_export_of_a_house_without_generation_is_nothing_each_half_hour(bench: Bench) -> None:
    bench.clock.us = DAY_US
    assert bench.samples(0, sample_type=SampleType.CONSUMPTION_RECEIVED)["samples"] == [0] * 48
    reactive = bench.samples(0, sample_type=SampleType.REACTIVE_CONSUMPTION_DELIVERED)["samples"]
    assert set(reactive) <= {164, 165}  # 500 Wh at a power factor of 0.95


def test_logs_that_a_fuel_does_not_have(bench: Bench, gas_bench: Bench) -> None:
    for asked in ({"sample_id": 7}, {"sample_id": SampleId.NETWORK}, {"sample_type": 9}):
        assert bench.samples(0, **asked) == Status.NOT_FOUND
    assert gas_bench.samples(0, sample_type=SampleType.CONSUMPTION_RECEIVED) == Status.NOT_FOUND
    gas_bench.clock.us = DAY_US
    page = gas_bench.samples(0, sample_id=SampleId.NETWORK)
    assert (len(page["samples"]), page["sample_request_interval"]) == (40, 360)
    assert 170 <= sum(samples_of(gas_bench.samples(0))[n][1] for n in range(2)) <= 190, "litres of an hour"


def test_the_household_sees_the_profile_from_its_tenancy_on(bench: Bench) -> None:
    bench.clock.us = DAY_US
    bench.meter.change_tenancy(utc_us=START_US + DAY_US)
    bench.clock.us = DAY_US + HALF_HOUR_US
    household = bench.samples(0, via=Via.WIRE)["samples"]
    assert len(household) == 1, "what is not the head end's is the household's"
    assert len(bench.samples(0)["samples"]) == 49


def test_snapshots_come_latest_first_and_by_their_cause(bench: Bench) -> None:
    bench.clock.us = DAY_US
    bench.meter.set_tariff(TWO, utc_us=START_US + DAY_US)
    bench.clock.us = 3 * DAY_US
    asked = {"earliest_start_time": 0, "latest_end_time": 0xFFFFFFFE}

    def get(offset: int, cause: int) -> Any:
        return bench.ask(
            "metering", "get_snapshot", snapshot_offset=offset, snapshot_cause=int(cause), **asked
        )

    change = get(0, SnapshotCause.CHANGE_OF_TARIFF_INFORMATION)
    assert change["total_snapshots_found"] == 1
    assert change["snapshot_time"] == zigbee_s(START_US + DAY_US)
    assert get(1, SnapshotCause.CHANGE_OF_TARIFF_INFORMATION) == Status.NOT_FOUND
    daily = [get(offset, SnapshotCause.SCHEDULED_SNAPSHOT) for offset in range(3)]
    assert [one["snapshot_time"] for one in daily] == [zigbee_s(START_US + n * DAY_US) for n in (3, 2, 1)]
    assert len({one["snapshot_id"] for one in daily}) == 3
    assert get(0, 0) == Status.NOT_FOUND


def test_registers_follow_the_tariff(bench: Bench) -> None:
    metering, data = bench.registers.metering, bench.registers.data
    bench.clock.us = DAY_US
    bench.meter.set_tariff(TWO, utc_us=START_US + DAY_US)
    bench.registers.sync()
    bench.clock.us = 2 * DAY_US - 1
    assert metering.get("current_tier1_summation_delivered") == 24_000 + 12_000
    assert metering.get("current_tier2_summation_delivered") == 11_999
    assert metering.get("current_tier1_block1_summation_delivered") == 24_000 + 500
    assert metering.get("current_tier2_block2_summation_delivered") == 11_999 - 700
    assert data.get("tier1_block1_counter") == 500, "what was before is not of this block period"
    assert data.get("tier2_block2_counter") == 11_299
    bench.clock.us = 2 * DAY_US
    assert data.get("tier2_block2_counter") == 0
    assert metering.get("current_tier2_block2_summation_delivered") == 12_000 - 700


def test_a_flat_tariff_has_one_register_and_no_blocks(bench: Bench) -> None:
    names = {attribute.name for attribute in bench.registers.metering.supported}
    assert "current_tier1_summation_delivered" in names
    assert not [name for name in names if "tier2" in name or "block1" in name]
    assert bench.registers.counter_names == []


def test_one_register_with_blocks_has_them_without_a_tier(bench: Bench) -> None:
    blocks = Tariff(prices_up_per_kwh=((1,), (2,)), thresholds_wh=((500,),), block_period=BlockPeriod.DAY)
    bench.meter.set_tariff(blocks, utc_us=START_US)
    bench.registers.sync()
    bench.clock.us = DAY_US - 1
    metering = bench.registers.metering
    assert metering.get("current_no_tier_block1_summation_delivered") == 500
    bench.meter.set_tariff(TWO, utc_us=START_US + DAY_US - 1)
    bench.registers.sync()
    names = {attribute.name for attribute in metering.supported}
    assert "current_no_tier_block1_summation_delivered" not in names
    assert "current_tier2_block2_summation_delivered" in names


def events(bench: Bench, *, offset: int = 0, count: int = 15, log: int = EventLogId.ALL_LOGS) -> Any:
    return bench.ask(
        "events",
        "get_event_log",
        event_control_log_id=0x10 | log,
        event_id=0,
        start_time=0,
        end_time=0xFFFFFFFE,
        number_of_events=count,
        event_offset=offset,
    )


def test_events_come_latest_first_page_by_page(bench: Bench) -> None:
    for number in range(40):
        at_us = START_US + number * 1_000_000
        bench.meter.note(AlertCode.LOAD_LIMIT_EXCEEDED, utc_us=at_us, detail=f"number {number}")
    found = []
    while len(found) < 40:
        page = events(bench, offset=len(found))
        assert page["total_number_of_events"] == 40
        assert page["log_payload_control"] >> 4 == len(page["events"]) <= 15
        found += page["events"]
    assert [row["event_data"] for row in found] == [f"number {n}".encode() for n in range(39, -1, -1)]
    assert events(bench, offset=40)["events"] == []
    assert events(bench, log=EventLogId.SECURITY_EVENT_LOG)["total_number_of_events"] == 0


def test_only_the_head_end_clears_the_event_log(bench: Bench) -> None:
    bench.meter.note(AlertCode.LOAD_LIMIT_EXCEEDED, utc_us=START_US)
    clear = {"log_id": EventLogId.GENERAL_EVENT_LOG}
    assert bench.ask("events", "clear_event_log_request", via=Via.WIRE, **clear) == Status.NOT_AUTHORIZED
    assert bench.ask("events", "clear_event_log_request", log_id=4) == Status.INVALID_FIELD
    assert len(bench.meter.log.events) == 1
    assert bench.changes == 0
    answer = bench.ask("events", "clear_event_log_request", **clear)
    assert answer["cleared_events_logs"] == 1 << EventLogId.GENERAL_EVENT_LOG
    assert bench.changes == 1, "saved before it is answered"
    assert not bench.meter.log.events
    codes = [row["event_id"] for row in events(bench)["events"]]
    assert codes == [AlertCode.EVENT_LOG_CLEARED]


def test_debts_by_time_have_no_log_of_payments(bench: Bench) -> None:
    asked = {"latest_end_time": 0xFFFFFFFE, "number_of_debts": 10}
    answer = bench.ask("prepayment", "get_debt_repayment_log", debt_type=0, **asked)
    assert answer == Status.NOT_FOUND
    assert bench.ask("prepayment", "get_debt_repayment_log", debt_type=0xFF, **asked)["debts"] == []


def test_voltages_of_a_time_lived_twice_stand_once_and_in_order(bench: Bench) -> None:
    """The clock is set back by three hours: those half hours are as they were the last time."""
    meter = bench.meter
    assert isinstance(meter, ElectricityMeterCore)
    meter.set_voltage(250_000, utc_us=START_US)
    meter.advance(START_US + 6 * HALF_HOUR_US)
    meter.set_clock(START_US + HALF_HOUR_US, utc_us=START_US + 6 * HALF_HOUR_US)
    meter.set_voltage(240_000, utc_us=START_US + HALF_HOUR_US)
    meter.advance(START_US + 4 * HALF_HOUR_US)
    bench.clock.us = 4 * HALF_HOUR_US
    found = bench.ask("meter_data", "get_voltage_log", earliest_time=0, number_of_entries=200)["entries"]
    assert [row["end_time"] for row in found] == [
        zigbee_s(START_US + number * HALF_HOUR_US) for number in range(1, 7)
    ]
    assert [row["average_mv"] // 1000 for row in found] == [250, 240, 240, 240, 250, 250]


def test_network_data_of_a_clock_set_far_back_is_read_whole(gas_bench: Bench) -> None:
    meter = gas_bench.meter
    assert isinstance(meter, GasMeterCore)
    meter.advance(START_US + 12 * HALF_HOUR_US)
    meter.set_clock(START_US + HALF_HOUR_US, utc_us=START_US + 12 * HALF_HOUR_US)
    gas_bench.clock.us = 2 * HALF_HOUR_US
    found: list[tuple[int, int]] = []
    while page := samples_of(
        gas_bench.samples(found[-1][0] + 1_000_000 if found else 0, sample_id=SampleId.NETWORK)
    ):
        found += page
    assert found == sorted(meter.network.entries)
    assert len(found) == 40


def test_the_household_sees_no_snapshot_and_no_payment_of_the_one_before(bench: Bench) -> None:
    bench.meter.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=START_US)
    bench.meter.add_credit(1000, source=0, utc_us=START_US + 5)
    bench.clock.us = DAY_US + HALF_HOUR_US
    bench.meter.change_tenancy(utc_us=START_US + DAY_US + HALF_HOUR_US)
    bench.clock.us = 2 * DAY_US
    bench.meter.add_credit(2000, source=0, utc_us=START_US + 2 * DAY_US)
    asked = {"earliest_start_time": 0, "latest_end_time": 0xFFFFFFFE, "snapshot_offset": 0}
    for command, cluster, cause, household, everything in (
        ("get_snapshot", "metering", SnapshotCause.SCHEDULED_SNAPSHOT, 1, 2),
        ("get_prepay_snapshot", "prepayment", SnapshotCause.CHANGE_OF_METER_MODE, None, 1),
    ):
        seen = bench.ask(cluster, command, via=Via.WIRE, snapshot_cause=cause, **asked)
        assert (seen if household is None else seen["total_snapshots_found"]) == (
            household or Status.NOT_FOUND
        )
        assert (
            bench.ask(cluster, command, snapshot_cause=cause, **asked)["total_snapshots_found"] == everything
        )
    asked = {"latest_end_time": 0xFFFFFFFE, "number_of_records": 0}
    seen = bench.ask("prepayment", "get_top_up_log", via=Via.WIRE, **asked)["top_ups"]
    assert [row["top_up_amount"] for row in seen] == [2000]
    assert len(bench.ask("prepayment", "get_top_up_log", **asked)["top_ups"]) == 2


def test_changes_of_one_second_are_snapshots_of_their_own(bench: Bench) -> None:
    for number in range(3):
        bench.meter.set_tariff(TWO if number % 2 else FLAT, utc_us=START_US + number * 1_000)
    asked = {"earliest_start_time": 0, "latest_end_time": 0xFFFFFFFE}
    cause = SnapshotCause.CHANGE_OF_TARIFF_INFORMATION
    found = [
        bench.ask("metering", "get_snapshot", snapshot_cause=cause, snapshot_offset=offset, **asked)
        for offset in range(3)
    ]
    assert len({one["snapshot_id"] for one in found}) == found[0]["total_snapshots_found"] == 3
