"""What can be set on a meter over ZigBee, frame by frame; the way there is other tests' affair."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from tests.devices.meter_cores import any_meter

from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.load import ConstantLoad
from smets1.devices.load_limit import LimitedSupply, LoadLimit
from smets1.devices.meter_clusters import MeterClusters
from smets1.devices.metering import Period
from smets1.devices.parameter_service import ParameterService
from smets1.devices.setting_clusters import SettingClusters
from smets1.devices.tamper import SupplyTamperState
from smets1.devices.tariff import Tariff
from smets1.devices.tokens import TopUpDesk
from smets1.firmware.civil import zigbee_s
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.time_keeper import ClockStatus, DeviceClock, TimeKeeper
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.frame import ZclFrame, command_frame
from smets1.firmware.zcl.general import DefaultResponse
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.hardware.clock import HeapScheduler
from smets1.hardware.radio import ApsSecurity

_SECURED = ApsSecurity.LINK_KEY
START = 19_733 * DAY_US  # a Wednesday


class Meter:
    """A meter's core with its clusters, and no device around it."""

    def __init__(self, *, is_gas: bool = False, **options: Any) -> None:
        load = ConstantLoad(watts=1000, start_utc_us=START)
        tariff = Tariff.flat(price_mp_per_kwh=20_000)
        self.core: Any = any_meter(load, is_gas=is_gas, now_us=START, tariff=tariff, **options)
        self.scheduler = HeapScheduler()
        self.clock = DeviceClock(self.scheduler, START)
        self.keeper = TimeKeeper(self.clock)
        self.nvm = MemoryNvm()
        self.zcl = ZclCore()
        desk = TopUpDesk(key=bytes(16), originator=1, target=2)
        clusters = MeterClusters(self.zcl, self.core, desk, self.clock)
        self.judged: list[object] = []
        information = self.zcl.add_server(1, "device_information")
        self.parameters = ParameterService(information, self.nvm, self.clock, meter=self.core)
        SettingClusters(
            self.zcl, clusters, self.parameters, self.clock, self.keeper, on_clock=self.judged.append
        )

    def ask(
        self, cluster: str, command: str, /, *, via: Via = Via.WIRE, sender: Side = Side.CLIENT, **fields: Any
    ) -> Any:
        """The fields of the answer, or the status of a default response."""
        declared = cluster_named(cluster)
        frame = command_frame(declared, command, fields, sender=sender)
        answer = self.zcl.execute(
            1, declared.cluster_id, frame, CommandContext(now_us=0, via=via, security=_SECURED)
        )
        assert answer is not None
        decoded = ZclFrame.decode(answer)
        if decoded.header.frame_type is FrameType.CLUSTER:
            return decoded.command(declared)[1]
        message = decoded.general()
        assert isinstance(message, DefaultResponse)
        return Status(message.status)

    def configure(self, values: object, **options: Any) -> Any:
        options = {"options": 0, **options}
        return self.ask("device_information", "configure", values=cbor2.dumps(values), **options)


SUPPLY_STATUS = {
    "issuer_event_id": 1,
    "supply_tamper_state": 0,
    "supply_depletion_state": 3,
    "supply_uncontrolled_flow_state": 3,
    "load_limit_supply_state": 1,
}


def test_twenty_ppm_fast_is_1728_ms_a_day() -> None:
    meter = Meter()
    meter.clock.set_drift(20)
    meter.scheduler.run_until(DAY_US)
    assert meter.clock.utc_us() - START - DAY_US == 1_728_000


def test_a_time_beyond_the_tolerance_leaves_the_clock_and_makes_it_unreliable() -> None:
    meter = Meter()
    meter.keeper.on_time(zigbee_s(START), 0b11)
    told = {"current_time": zigbee_s(START) + 61, "tolerance_s": 60}
    state = meter.ask("device_information", "synchronise_clock", **told)
    assert state == {"device_time": zigbee_s(START), "clock_status": ClockStatus.UNRELIABLE}
    told = {"current_time": zigbee_s(START) + 60, "tolerance_s": 60}
    state = meter.ask("device_information", "synchronise_clock", **told)
    assert state["clock_status"] == ClockStatus.SYNCHRONISED
    assert [str(verdict) for verdict in meter.judged] == ["2", "0"]


def test_several_are_written_all_or_none() -> None:
    meter = Meter()
    over, under = "average_rms_over_voltage_threshold", "average_rms_under_voltage_threshold"
    assert meter.configure({over: 100_000, under: 90_000}) is Status.SUCCESS, "below the old lower one"
    assert meter.configure({under: 240_000, over: 250_000}) is Status.SUCCESS
    settings = meter.core.voltage.settings
    assert (settings.average_over_mv, settings.average_under_mv) == (250_000, 240_000)
    for bad in (
        {"rms_voltage_sag_threshold": 1, over: 1, under: 2},
        {"rms_voltage_sag_threshold": 1, "rms_voltage_swell_threshold": "high"},
        {"rms_voltage_sag_threshold": 1, "no_such": 1},
    ):
        assert meter.configure(bad) is not Status.SUCCESS
        assert meter.core.voltage.settings == settings
    assert meter.configure({"supply_name": ""}) is Status.NOT_FOUND
    assert meter.configure({"supplier_name": "us"}) is Status.NOT_AUTHORIZED, "needs a SUA"
    assert meter.configure(["rms_voltage_sag_threshold"]) is Status.INVALID_FIELD
    assert meter.ask("device_information", "configure", options=0, values=b"\xff") is not Status.SUCCESS
    assert meter.core.voltage.settings == settings


def test_the_consumer_reads_what_is_for_him_and_writes_nothing() -> None:
    meter = Meter()
    ask = {"via": Via.HAN}
    names = ["currency", "privacy_pin", "debt_recovery_per_payment", "no_such"]
    seen = meter.ask("device_information", "read_parameters", names=names, **ask)
    assert cbor2.loads(seen["values"]) == {"currency": "GBP"}
    all_of_it = meter.ask("device_information", "read_parameters", names=names)
    assert set(cbor2.loads(all_of_it["values"])) == set(names[:3])
    value = meter.ask("device_information", "read_parameter", name="privacy_pin", **ask)
    assert (value["status"], value["value"]) == (Status.NOT_AUTHORIZED, b"")
    written = meter.ask(
        "device_information", "write_parameter", name="currency", value=cbor2.dumps("EUR"), **ask
    )
    assert written["status"] == Status.NOT_AUTHORIZED
    assert meter.configure({"rms_voltage_sag_threshold": 1}, **ask) is Status.NOT_AUTHORIZED


def test_names_come_in_pages_and_a_text_survives_a_restart() -> None:
    meter = Meter()
    names: list[str] = []
    while True:
        page = meter.ask("device_information", "list_parameters", first_index=len(names))
        if not page["names"]:
            break
        names += page["names"]
    assert names == meter.parameters.book.names
    assert page["total"] == len(names) > 30
    value = cbor2.dumps("A Supplier")
    written = meter.ask("device_information", "write_parameter", name="supplier_name", value=value)
    assert written["status"] == Status.SUCCESS
    information = ZclCore().add_server(1, "device_information")
    again = ParameterService(information, meter.nvm, meter.clock, meter=meter.core)
    assert again.book.value("supplier_name") == "A Supplier"


def test_the_supply_status_is_set_as_a_whole() -> None:
    meter = Meter()
    assert meter.ask("metering", "set_supply_status", **SUPPLY_STATUS) is Status.SUCCESS
    assert meter.core.tamper.state is SupplyTamperState.LOCKED
    for bad in (
        {"supply_tamper_state": 2},
        {"supply_tamper_state": 3, "load_limit_supply_state": 9},
        {"supply_tamper_state": 3, "supply_depletion_state": 0},
    ):
        assert meter.ask("metering", "set_supply_status", **{**SUPPLY_STATUS, **bad}) is not Status.SUCCESS
        assert meter.core.tamper.state is SupplyTamperState.LOCKED
    gas = Meter(is_gas=True)
    states = {"supply_uncontrolled_flow_state": 1, "load_limit_supply_state": 3, "supply_depletion_state": 0}
    assert gas.ask("metering", "set_supply_status", **{**SUPPLY_STATUS, **states}) is Status.SUCCESS
    assert gas.zcl.server(1, "metering").get("supply_depletion_state") == 0
    assert gas.zcl.server(1, "metering").get("supply_tamper_state") == 0


@pytest.mark.parametrize(
    ("value", "trailing", "expected"),
    [(405, 0x10, 405), (4050, 0x20, 405), (40, 0x00, 400), (4051, 0x20, None), (0, 0x10, None)],
)
def test_a_calorific_value_in_any_number_of_digits(value: int, trailing: int, expected: int | None) -> None:
    gas = Meter(is_gas=True)
    fields = {
        "issuer_event_id": 1,
        "start_time": 0,
        "calorific_value": value,
        "calorific_value_unit": 1,
        "calorific_value_trailing_digit": trailing,
    }
    status = gas.ask("price", "publish_calorific_value", sender=Side.SERVER, **fields)
    assert (status is Status.SUCCESS) is (expected is not None)
    assert gas.core.conversion.calorific_value_x10 == (expected or 395)
    fields["start_time"] = zigbee_s(START) + 5
    status = gas.ask("price", "publish_calorific_value", sender=Side.SERVER, **fields)
    assert status is Status.INVALID_FIELD, "it cannot be dated"


def test_a_flow_threshold_whose_divisor_is_nothing_is_refused() -> None:
    gas = Meter(is_gas=True)
    fields = {
        "provider_id": 1,
        "issuer_event_id": 1,
        "uncontrolled_flow_threshold": 5,
        "unit_of_measure": 1,
        "multiplier": 1,
        "divisor": 0,
        "stabilisation_period": 1,
        "measurement_period": 1,
    }
    before = gas.core.flow_check.rate_dl_per_h
    assert gas.ask("metering", "set_uncontrolled_flow_threshold", **fields) is Status.INVALID_FIELD
    fields |= {"divisor": 3}
    assert gas.ask("metering", "set_uncontrolled_flow_threshold", **fields) is Status.INVALID_VALUE
    assert gas.core.flow_check.rate_dl_per_h == before


def test_a_new_household_begins_its_day_week_and_month_anew() -> None:
    meter = Meter()
    core = meter.core
    core.advance(START + 9 * DAY_US + 3 * HOUR_US)  # Friday of the next week, 03:00
    used = {period: core.marks.use(period, core.registers).quantity for period in Period}
    assert used[Period.TODAY] < used[Period.WEEK] < used[Period.MONTH]
    core.change_tenancy(utc_us=core.now_us, from_us=START)
    assert {period: core.marks.use(period, core.registers).quantity for period in Period}[
        Period.WEEK
    ] == used[Period.WEEK], "the week began after it"
    core.change_tenancy(utc_us=core.now_us, from_us=START + 9 * DAY_US)
    after = {period: core.marks.use(period, core.registers).quantity for period in Period}
    assert after[Period.TODAY] == used[Period.TODAY], "today began with the household"
    assert after[Period.WEEK] == after[Period.MONTH] == 0
    assert core.marks.before(Period.TODAY).quantity == 0
    assert core.tenancy_from_us == START + 9 * DAY_US


@pytest.mark.parametrize(
    ("cluster", "name", "expected"),
    [
        ("metering", "current_summation_received", 100),
        ("device_information", "reactive_import_register", 82),
        ("device_information", "reactive_export_register", 32),
        ("device_information", "voltage_swell_counter", 1),
        ("metering", "load_limit_counter", 1),
    ],
)
def test_what_moves_with_time_is_told_as_it_is_now(cluster: str, name: str, expected: int) -> None:
    """A quarter of an hour after the meter has last been looked at."""
    meter = Meter(export=ConstantLoad(watts=400, start_utc_us=START))
    now_us = START + HOUR_US // 4
    if name == "voltage_swell_counter":
        meter.core.set_voltage(260_000, utc_us=START)
    elif name == "load_limit_counter":
        meter.core.set_load_limit(
            LoadLimit(threshold_w=999, period_s=600, supply=LimitedSupply.UNCHANGED), utc_us=START
        )
    meter.scheduler.run_until(now_us - START)
    assert meter.clock.utc_us() == now_us
    assert meter.zcl.server(1, cluster).get(name) == expected


def test_a_battery_is_told_as_it_is_now() -> None:
    meter = Meter(is_gas=True)
    before = meter.zcl.server(1, "metering").get("remaining_battery_life_in_days")
    meter.scheduler.run_until(30 * DAY_US)
    after = meter.zcl.server(1, "metering").get("remaining_battery_life_in_days")
    assert before - after in (29, 30, 31)
