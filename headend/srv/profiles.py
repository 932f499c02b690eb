"""Profiles: 4.8.1, 4.8.2, 4.8.3 by half hours, 4.10 the network's data of either fuel.

Electricity from the ESME, gas from the gas proxy's own copies, so no meter has to wake.
Source: MMC-5.4.xsd, Read...ProfileDataRsp (19056 entries at most, 4464 of reactive and export energy),
ReadNetworkDataRsp.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from smets1.firmware.civil import format_utc
from smets1.firmware.zcl.clusters.meter_data import METER_DATA
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.content import fuel_node
from smets1.headend.srv.log_reads import LogPeriod, read_samples, read_voltages
from smets1.headend.srv.meter import METERS_AND_PROXY, place_to_read, read
from smets1.headend.srv.steps import Plan, PlanRun, Task, succeed

__all__ = ["PLANS", "cubic_metres"]

_MAX_IMPORT: Final = 19_056
_MAX_OTHER: Final = 4_464
_MAX_NETWORK: Final = 41
_MAX_VOLTAGES: Final = 4_320
_ESME: Final = frozenset({DeviceType.ESME})


def cubic_metres(litres: int) -> Decimal:
    return Decimal(litres).scaleb(-3)


def _import_profile(task: Task) -> PlanRun:
    rows, answer = yield from read_samples(place_to_read(task), LogPeriod.of(task), at_most=_MAX_IMPORT)
    entries = [_import_entry(task, end_us, amount) for end_us, amount in rows]
    return succeed("ReadActiveImportProfileDataRsp", *entries, answer=answer)


def _import_entry(task: Task, end_us: int, amount: int) -> XmlNode | None:
    fuel = node("Electricity", [node("PrimaryValue", amount)])
    if task.is_gas:
        fuel = node("Gas", [node("PrimaryValue", cubic_metres(amount))])
    return node("LogEntry", [node("Timestamp", format_utc(end_us)), fuel])


def _reactive_profile(task: Task) -> PlanRun:
    rows, answer = yield from read_samples(
        place_to_read(task),
        LogPeriod.of(task),
        at_most=_MAX_OTHER,
        sample_type=SampleType.REACTIVE_CONSUMPTION_DELIVERED,
    )
    entries = [
        node("LogEntry", [node("ReactiveEnergyImportedValue", amount), node("Timestamp", format_utc(end_us))])
        for end_us, amount in rows
    ]
    return succeed("ReadReactiveImportProfileDataRsp", *entries, answer=answer)


def _export_profile(task: Task) -> PlanRun:
    place, period = place_to_read(task), LogPeriod.of(task)
    active, _ = yield from read_samples(
        place, period, at_most=_MAX_OTHER, sample_type=SampleType.CONSUMPTION_RECEIVED
    )
    reactive, answer = yield from read_samples(
        place, period, at_most=_MAX_OTHER, sample_type=SampleType.REACTIVE_CONSUMPTION_RECEIVED
    )
    exported, reactively = dict(active), dict(reactive)
    entries = [
        node(
            "LogEntry",
            [
                node("ActiveEnergyExportedValue", exported.get(end_us)),
                node("ReactiveEnergyExportedValue", reactively.get(end_us)),
                node("Timestamp", format_utc(end_us)),
            ],
        )
        for end_us in sorted(exported.keys() | reactively.keys())[:_MAX_OTHER]
    ]
    return succeed("ReadExportProfileDataRsp", *entries, answer=answer)


# --- 4.10 -------------------------------------------------------------------------------------------


def _network_data(task: Task) -> PlanRun:
    if task.is_gas:
        return (yield from _gas_network_data(task))
    place = place_to_read(task)
    names = ("average_over_voltage_counter", "average_under_voltage_counter")
    values, _ = yield from read(place, DEVICE_INFORMATION.cluster_id, *names)
    period, _ = yield from read(place, METER_DATA.cluster_id, "average_voltage_period")
    rows, answer = yield from read_voltages(place, LogPeriod.of(task), at_most=_MAX_VOLTAGES)
    entries = [
        node("LogEntry", [node("Value", Decimal(mv).scaleb(-3)), node("Timestamp", format_utc(end_us))])
        for end_us, mv in rows
    ]
    log = node(
        "AvgRMSVoltageProfileDataLog",
        [*entries, node("MeasurementPeriod", period.get("average_voltage_period"))],
    )
    voltages = [
        _counter("AvgRMSOverVoltageCounter", values.get(names[0])),
        _counter("AvgRMSUnderVoltageCounter", values.get(names[1])),
        log,
    ]
    content = node("Electricity", [node("SinglePhaseESME", voltages)])
    return succeed("ReadNetworkDataRsp", content, answer=answer)


def _counter(name: str, count: int | None) -> XmlNode | None:
    return None if count is None else node(name, [node("Value", count)])


def _gas_network_data(task: Task) -> PlanRun:
    rows, answer = yield from read_samples(
        place_to_read(task), LogPeriod.of(task), at_most=_MAX_NETWORK, sample_id=SampleId.NETWORK
    )
    entries = [
        node("LogEntry", [node("Value", cubic_metres(litres)), node("Timestamp", format_utc(end_us))])
        for end_us, litres in rows
    ]
    content = node("Gas", [node("NetworkDataLog", entries)])
    return succeed("ReadNetworkDataRsp", content, answer=answer)


PLANS: Final = (
    Plan(
        srv="4.8.1",
        body_name="ReadActiveImportProfileData",
        response_name="ReadActiveImportProfileDataRsp",
        devices=METERS_AND_PROXY,
        run=_import_profile,
    ),
    Plan(
        srv="4.8.2",
        body_name="ReadReactiveImportProfileData",
        response_name="ReadReactiveImportProfileDataRsp",
        devices=_ESME,
        run=_reactive_profile,
    ),
    Plan(
        srv="4.8.3",
        body_name="ReadExportProfileData",
        response_name="ReadExportProfileDataRsp",
        devices=_ESME,
        run=_export_profile,
    ),
    Plan(
        srv="4.10",
        body_name="ReadNetworkData",
        response_name="ReadNetworkDataRsp",
        devices=METERS_AND_PROXY,
        run=_network_data,
        failure_content=fuel_node,
    ),
)
