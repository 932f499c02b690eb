"""Reporting: when it is due, when a change counts."""

from __future__ import annotations

from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.general import ReportingRecord, TypedValue
from smets1.firmware.zcl.reporting import ReportingEngine
from smets1.firmware.zcl.server import ClusterInstance
from smets1.firmware.zcl.status import Status

S = 1_000_000


def make() -> tuple[ZclCore, ClusterInstance, ReportingEngine]:
    core = ZclCore()
    metering = core.add_server(1, "metering")
    metering.update(current_summation_delivered=1000, supply_status=2)
    return core, metering, core.reporting


def summation(low: int, high: int, change: int = 10) -> ReportingRecord:
    return ReportingRecord(0, 0x0000, 0x25, low, high, change)


def values(engine: ReportingEngine) -> list[list[TypedValue]]:
    return [list(report.records) for report in engine.take_reports()]


def test_periodic() -> None:
    _, metering, engine = make()
    assert engine.next_timer_us() is None
    assert engine.configure(metering, summation(5, 30), now_us=0) is Status.SUCCESS
    assert engine.next_timer_us() == 30 * S
    engine.on_timer(now_us=30 * S - 1)
    assert values(engine) == []
    engine.on_timer(now_us=30 * S)
    assert values(engine) == [[TypedValue(0, 0x25, 1000)]]
    assert engine.next_timer_us() == 60 * S


def test_change_waits_for_the_minimum_interval() -> None:
    _, metering, engine = make()
    engine.configure(metering, summation(5, 30), now_us=0)
    metering.set("current_summation_delivered", 1009)
    assert engine.next_timer_us() == 30 * S  # nine is not ten
    metering.set("current_summation_delivered", 1010)
    assert engine.next_timer_us() == 5 * S
    engine.on_timer(now_us=5 * S)
    assert values(engine) == [[TypedValue(0, 0x25, 1010)]]
    assert engine.next_timer_us() == 35 * S


def test_what_would_follow_soon_goes_along() -> None:
    _, metering, engine = make()
    status = ReportingRecord(0, 0x0014, 0x30, 5, 100, None)
    engine.configure(metering, status, now_us=0)
    engine.configure(metering, summation(5, 100), now_us=10 * S)
    engine.on_timer(now_us=100 * S)
    both = [TypedValue(0x14, 0x30, 2), TypedValue(0, 0x25, 1000)]
    assert values(engine) == [both], "the second would be due within a tenth of its interval"
    metering.set("current_summation_delivered", 1010)
    engine.on_timer(now_us=189 * S)
    assert values(engine) == [[TypedValue(0, 0x25, 1010)]], "eleven seconds early is too early"
    engine.on_timer(now_us=200 * S)
    assert values(engine) == [[TypedValue(0x14, 0x30, 2)]]


def test_what_goes_along_keeps_its_minimum_interval() -> None:
    _, metering, engine = make()
    engine.configure(metering, ReportingRecord(0, 0x0014, 0x30, 1, 10, None), now_us=0)
    engine.configure(metering, summation(10, 10), now_us=S // 2)
    engine.on_timer(now_us=10 * S)
    assert values(engine) == [[TypedValue(0x14, 0x30, 2)]]


def test_asked_anew_for_the_same_it_keeps_its_rhythm() -> None:
    _, metering, engine = make()
    engine.configure(metering, summation(5, 30), now_us=0)
    assert engine.configure(metering, summation(5, 30), now_us=20 * S) is Status.SUCCESS
    assert engine.next_timer_us() == 30 * S
    engine.configure(metering, summation(5, 40), now_us=20 * S)
    assert engine.next_timer_us() == 60 * S


def test_discrete_types_report_any_change_and_only_on_change() -> None:
    _, metering, engine = make()
    engine.configure(metering, ReportingRecord(0, 0x0014, 0x30, 0, 0, None), now_us=7)
    assert engine.next_timer_us() is None
    metering.set("supply_status", 0)
    assert engine.next_timer_us() == 7
    engine.on_timer(now_us=9)
    assert values(engine) == [[TypedValue(0x14, 0x30, 0)]]
    metering.set("supply_status", 0)
    assert engine.next_timer_us() is None


def test_bound_values_report_when_touched() -> None:
    core, metering, engine = make()
    reading = [1000]
    metering.bind("current_summation_delivered", lambda: reading[0])
    armed: list[bool] = []
    core.on_change = lambda: armed.append(True)
    engine.configure(metering, summation(1, 3600), now_us=0)
    reading[0] = 2000
    assert engine.next_timer_us() == 3600 * S
    metering.touch("current_summation_delivered")
    assert engine.next_timer_us() == 1 * S
    assert armed == [True]


def test_one_report_for_what_is_due_together() -> None:
    _, metering, engine = make()
    engine.configure(metering, summation(5, 30), now_us=0)
    engine.configure(metering, ReportingRecord(0, 0x0014, 0x30, 5, 30, None), now_us=0)
    engine.on_timer(now_us=30 * S)
    assert values(engine) == [[TypedValue(0, 0x25, 1000), TypedValue(0x14, 0x30, 2)]]


def test_refused_and_removed() -> None:
    core, metering, engine = make()
    assert (
        engine.configure(metering, ReportingRecord(0, 0x0001, 0x25, 0, 1, 1), now_us=0)
        is Status.UNSUPPORTED_ATTRIBUTE
    )
    assert (
        engine.configure(metering, ReportingRecord(0, 0x0000, 0x23, 0, 1, 1), now_us=0)
        is Status.INVALID_DATA_TYPE
    )
    assert engine.configure(metering, summation(30, 5), now_us=0) is Status.INVALID_VALUE
    engine.configure(metering, summation(5, 30), now_us=0)
    assert engine.configuration(metering, 0) == summation(5, 30)
    engine.configure(metering, summation(0, 0xFFFF), now_us=0)
    assert engine.configuration(metering, 0) is None
    engine.configure(metering, summation(5, 30), now_us=0)
    core.remove_endpoint(1)
    assert engine.next_timer_us() is None
