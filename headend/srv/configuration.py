"""What suppliers and network operators set on a meter, and read back: SRVs 3.2, 6.2.1, 6.2.5, 6.2.8, 6.4.1,
6.4.2, 6.5, 6.6, 6.7, 6.12, 6.25, 6.27.

Smart Energy's own commands where it has them; else our cluster DeviceInformation (an **assumption**).
Units of DUIS that its schema does not name are **assumptions**: voltage thresholds in V and their periods
in s, the average measurement period in minutes, gas flow as a whole number in 1/10 000 m3/h, power in W, the
stabilisation period in 1/10 s (as SE 1.2 has it). A single-phase meter refuses settings of three phases.
Source: DUIS-5.4.xsd and MMC-5.4.xsd, the types of these services; SE 1.2 07-5356-19, D.3, D.4, D.13.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import cbor2

from smets1.errors import InputError
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import parse_utc, zigbee_s
from smets1.firmware.zcl.clusters.device_management import DEVICE_MANAGEMENT
from smets1.firmware.zcl.clusters.metering import METERING, SupplyStatus, UnitOfMeasure
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION, ConfigureOptions
from smets1.firmware.zcl.status import Side, Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.content import invalid, require
from smets1.headend.srv.dated import NOW_S, WITHDRAW_S
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS_AND_PROXY, Place, command, place_to_command, read
from smets1.headend.srv.steps import (
    CANCELLED_UTC_US,
    Answer,
    Plan,
    PlanRun,
    RefusedByDeviceError,
    Step,
    Task,
    succeed,
)

__all__ = ["PLANS"]

_LATEST_S: Final = 0xFFFFFFFE
_MAX_U32: Final = 0xFFFFFFFF
_GAS: Final = frozenset({DeviceType.GSME, DeviceType.GPF})
_ESME: Final = frozenset({DeviceType.ESME})
_MJ_PER_M3: Final = 0x01
_FLOW_DIVISOR: Final = 10_000

# LockedOrUnchanged of DUIS, and LoadLimitSupplyState, as SetSupplyStatus has them.
_LOCKABLE: Final = {"Locked": SupplyStatus.SUPPLY_OFF, "Unchanged": SupplyStatus.SUPPLY_UNCHANGED}
_LIMITED: Final = {"Disable": SupplyStatus.SUPPLY_OFF_ARMED, "Unchanged": SupplyStatus.SUPPLY_UNCHANGED}


# --- the request's values ------------------------------------------------------------------------


def _bad(name: str, text: str | None) -> RefusedByDeviceError:
    return invalid(f"{name} cannot be {text!r}")


def _number(body: XmlNode, *path: str, high: int = _MAX_U32) -> int:
    text = body.value(*path)
    try:
        value = int(text or "")
    except ValueError:
        raise _bad(path[-1], text) from None
    if not 0 <= value <= high:
        raise _bad(path[-1], text)
    return value


def _scaled(body: XmlNode, name: str, digits: int) -> int:
    """A decimal number times 10 to the `digits`, exactly."""
    text = body.value(name)
    try:
        scaled = Decimal(text or "").scaleb(digits)
    except InvalidOperation:
        raise _bad(name, text) from None
    if not 0 <= scaled <= _MAX_U32 or scaled != scaled.to_integral_value():
        raise _bad(name, text)
    return int(scaled)


def _choice(body: XmlNode, name: str, choices: Mapping[str, SupplyStatus]) -> SupplyStatus:
    text = body.value(name)
    if text is None or text not in choices:
        raise _bad(name, text)
    return choices[text]


def _instant_s(task: Task, name: str) -> int:
    """Seconds since 2000, 0 for none; what lies before 2000 is the first second."""
    text = task.body.value(name)
    if text is None:
        return NOW_S
    try:
        utc_us = parse_utc(text)
    except InputError:
        raise _bad(name, text) from None
    if utc_us == CANCELLED_UTC_US:
        return WITHDRAW_S
    seconds = zigbee_s(utc_us)
    if seconds > _LATEST_S:
        raise _bad(name, text)
    return max(1, seconds)


# --- our cluster DeviceInformation ---------------------------------------------------------------


def _configure(
    place: Place, values: Mapping[str, object], *, resets_voltage_counters: bool = False
) -> Generator[Step, Answer, Answer]:
    """Set parameters that need no authorisation, all or none."""
    options = ConfigureOptions.RESETS_VOLTAGE_COUNTERS if resets_voltage_counters else ConfigureOptions(0)
    _, answer = yield from command(
        place,
        DEVICE_INFORMATION.cluster_id,
        "configure",
        None,
        options=int(options),
        values=cbor2.dumps(dict(values)),
    )
    return answer


def _read_parameters(place: Place, *names: str) -> Generator[Step, Answer, tuple[dict[str, Value], Answer]]:
    """What the device has of these. Raises DecodeError for an answer that is no map."""
    values, answer = yield from command(
        place,
        DEVICE_INFORMATION.cluster_id,
        "read_parameters",
        "parameter_values",
        count=len(names),
        names=list(names),
    )
    found = load_strict(bytes(values["values"]))
    return (found if isinstance(found, dict) else {}), answer


# --- change of tenancy ---------------------------------------------------------------------------


def _restrict_access(task: Task) -> PlanRun:
    _, answer = yield from command(
        place_to_command(task),
        DEVICE_MANAGEMENT.cluster_id,
        "publish_change_of_tenancy",
        None,
        sender=Side.SERVER,
        provider_id=task.provider_id,
        issuer_event_id=task.issuer_event_id,
        tariff_type=0,
        implementation_date_time=_instant_s(task, "RestrictionDateTime"),
        proposed_tenancy_change_control=0,
    )
    return succeed("RestrictAccessForChangeOfTenancyRsp", answer=answer)


# --- voltage -------------------------------------------------------------------------------------

# Element of RMSVoltageSettings -> (parameter, how many of the device's units it counts).
_RMS: Final = {
    "RMSExtremeOverVoltageMeasurementPeriod": ("rms_extreme_over_voltage_measurement_period", 1),
    "RMSExtremeOverVoltageThreshold": ("rms_extreme_over_voltage_threshold", 1000),
    "RMSExtremeUnderVoltageMeasurementPeriod": ("rms_extreme_under_voltage_measurement_period", 1),
    "RMSExtremeUnderVoltageThreshold": ("rms_extreme_under_voltage_threshold", 1000),
    "RMSVoltageSagMeasurementPeriod": ("rms_voltage_sag_measurement_period", 1),
    "RMSVoltageSagThreshold": ("rms_voltage_sag_threshold", 1000),
    "RMSVoltageSwellMeasurementPeriod": ("rms_voltage_swell_measurement_period", 1),
    "RMSVoltageSwellThreshold": ("rms_voltage_swell_threshold", 1000),
}
_AVERAGE: Final = {
    "AverageRMSOverVoltageThreshold": ("average_rms_over_voltage_threshold", 1000),
    "AverageRMSUnderVoltageThreshold": ("average_rms_under_voltage_threshold", 1000),
}
_AVERAGE_PERIOD: Final = ("average_rms_voltage_measurement_period", 60)


def _update_voltage(task: Task) -> PlanRun:
    body = task.body
    require(body.find("SinglePhaseVoltageSettings") is not None, "the meter has one phase")
    groups = (
        ("RMSVoltageSettings", _RMS),
        ("SinglePhaseVoltageSettings", {**_AVERAGE, "AverageRMSVoltageMeasurementPeriod": _AVERAGE_PERIOD}),
    )
    values = {
        parameter: _number(body, group, element) * scale
        for group, elements in groups
        for element, (parameter, scale) in elements.items()
    }
    answer = yield from _configure(
        place_to_command(task),
        values,
        resets_voltage_counters=body.find("RMSVoltageCountersNotReset") is None,
    )
    return succeed("UpdateDeviceConfigurationVoltageRsp", answer=answer)


def _read_voltage(task: Task) -> PlanRun:
    """The schema has no place for the average measurement period."""
    names = [parameter for parameter, _ in (*_RMS.values(), *_AVERAGE.values())]
    values, answer = yield from _read_parameters(place_to_command(task), *names)

    def group(name: str, elements: Mapping[str, tuple[str, int]]) -> XmlNode | None:
        return node(
            name,
            [
                node(element, None if parameter not in values else values[parameter] // scale)
                for element, (parameter, scale) in elements.items()
            ],
        )

    return succeed(
        "ReadDeviceConfigurationVoltageRsp",
        group("SinglePhaseVoltageSettings", _AVERAGE),
        group("RMSVoltageSettings", _RMS),
        answer=answer,
    )


def _reset_voltage_counters(task: Task) -> PlanRun:
    _, answer = yield from command(
        place_to_command(task), DEVICE_INFORMATION.cluster_id, "reset_voltage_counters", None
    )
    return succeed("UpdateDeviceConfigurationRMSVoltageCounterResetRsp", answer=answer)


# --- power thresholds and the load limit ---------------------------------------------------------

_POWER: Final = {
    "LowMediumPowerThreshold": "low_medium_power_threshold",
    "MediumHighPowerThreshold": "medium_high_power_threshold",
}


def _update_power_thresholds(task: Task) -> PlanRun:
    values = {parameter: _number(task.body, element) for element, parameter in _POWER.items()}
    is_rising = values["low_medium_power_threshold"] <= values["medium_high_power_threshold"]
    require(is_rising, "the lower power threshold is above the higher one")
    answer = yield from _configure(place_to_command(task), values)
    return succeed("UpdateDeviceConfigurationInstantaneousPowerThresholdRsp", answer=answer)


def _read_power_thresholds(task: Task) -> PlanRun:
    """Smart Energy has attributes for them."""
    place, names = place_to_command(task), ("low_medium_threshold", "medium_high_threshold")
    values, answer = yield from read(place, DEVICE_MANAGEMENT.cluster_id, *names)
    if not values:
        raise RefusedByDeviceError("the meter gives no power thresholds", Status.UNSUPPORTED_ATTRIBUTE)
    return succeed(
        "ReadDeviceConfigurationInstantaneousPowerThresholdsRsp",
        *(node(element, values.get(name)) for element, name in zip(_POWER, names, strict=True)),
        answer=answer,
    )


def _set_load_limit(task: Task) -> PlanRun:
    """Dated, the meter keeps it until then; 3000-12-31 takes the pending one back."""
    _, answer = yield from command(
        place_to_command(task),
        DEVICE_INFORMATION.cluster_id,
        "set_load_limit",
        None,
        is_critical=True,
        issuer_event_id=task.issuer_event_id,
        implementation_date_time=_instant_s(task, "ExecutionDateTime"),
        period_s=_number(task.body, "LoadLimitPeriod"),
        threshold_w=_number(task.body, "LoadLimitPowerThreshold"),
        restoration_s=_number(task.body, "LoadLimitRestorationPeriod"),
        supply_state=_choice(task.body, "LoadLimitSupplyState", _LIMITED),
    )
    return succeed("UpdateDeviceConfigurationLoadLimitingGeneralSettingsRsp", answer=answer)


def _reset_load_limit_counter(task: Task) -> PlanRun:
    _, answer = yield from command(
        place_to_command(task),
        METERING.cluster_id,
        "reset_load_limit_counter",
        None,
        provider_id=task.provider_id,
        issuer_event_id=task.issuer_event_id,
    )
    return succeed("UpdateDeviceConfigurationLoadLimitingCounterResetRsp", answer=answer)


# --- tamper --------------------------------------------------------------------------------------


def _set_supply_status(
    task: Task, *, tamper: SupplyStatus, depletion: SupplyStatus, flow: SupplyStatus, load_limit: int
) -> Generator[Step, Answer, Answer]:
    _, answer = yield from command(
        place_to_command(task),
        METERING.cluster_id,
        "set_supply_status",
        None,
        is_critical=True,
        issuer_event_id=task.issuer_event_id,
        supply_tamper_state=tamper,
        supply_depletion_state=depletion,
        supply_uncontrolled_flow_state=flow,
        load_limit_supply_state=load_limit,
    )
    return answer


def _set_tamper_state(task: Task) -> PlanRun:
    """SetSupplyStatus names all its states, so that of the load limit is read first, and kept."""
    tamper = _choice(task.body, "SupplyTamperState", _LOCKABLE)
    values, _ = yield from read(place_to_command(task), METERING.cluster_id, "load_limit_supply_state")
    unchanged = SupplyStatus.SUPPLY_UNCHANGED
    answer = yield from _set_supply_status(
        task,
        tamper=tamper,
        depletion=unchanged,
        flow=unchanged,
        load_limit=values.get("load_limit_supply_state", unchanged),
    )
    return succeed("SetElectricitySupplyTamperStateRsp", answer=answer)


# --- gas -----------------------------------------------------------------------------------------


def _update_conversion(task: Task) -> PlanRun:
    calorific_value = _scaled(task.body, "CalorificValue", 1)
    factor = _scaled(task.body, "ConversionFactor", 5)
    place = place_to_command(task)
    yield from command(
        place,
        PRICE.cluster_id,
        "publish_calorific_value",
        None,
        is_critical=True,
        sender=Side.SERVER,
        issuer_event_id=task.issuer_event_id,
        start_time=NOW_S,
        calorific_value=calorific_value,
        calorific_value_unit=_MJ_PER_M3,
        calorific_value_trailing_digit=0x10,
    )
    _, answer = yield from command(
        place,
        PRICE.cluster_id,
        "publish_conversion_factor",
        None,
        is_critical=True,
        sender=Side.SERVER,
        issuer_event_id=task.issuer_event_id,
        start_time=NOW_S,
        conversion_factor=factor,
        conversion_factor_trailing_digit=0x50,
    )
    return succeed("UpdateDeviceConfigurationGasConversionRsp", answer=answer)


def _update_flow(task: Task) -> PlanRun:
    body = task.body
    if body.find("UncontrolledGasFlowRateDecimal") is not None:
        rate = _scaled(body, "UncontrolledGasFlowRateDecimal", 4)
    else:
        rate = _number(body, "UncontrolledGasFlowRate")
    if rate > 0xFFFF:
        raise _bad("UncontrolledGasFlowRate", str(rate))
    tamper = _choice(body, "SupplyTamperState", _LOCKABLE)
    depletion = _choice(body, "SupplyDepletionState", _LOCKABLE)
    yield from command(
        place_to_command(task),
        METERING.cluster_id,
        "set_uncontrolled_flow_threshold",
        None,
        is_critical=True,
        provider_id=task.provider_id,
        issuer_event_id=task.issuer_event_id,
        uncontrolled_flow_threshold=rate,
        unit_of_measure=UnitOfMeasure.CUBIC_METRES,
        multiplier=1,
        divisor=_FLOW_DIVISOR,
        stabilisation_period=_number(body, "StabilisationPeriod", high=0xFF),
        measurement_period=_number(body, "MeasurementPeriod", high=0xFFFF),
    )
    answer = yield from _set_supply_status(
        task,
        tamper=tamper,
        depletion=depletion,
        flow=SupplyStatus.SUPPLY_OFF_ARMED,
        load_limit=SupplyStatus.SUPPLY_UNCHANGED,
    )
    return succeed("UpdateDeviceConfigurationGasFlowRsp", answer=answer)


def _decimal(value: Value, divisor: int, trailing: Value) -> Decimal | None:
    """`trailing`: the digits right of the point, in its high nibble."""
    if value is None:
        return None
    return (Decimal(value) / divisor).scaleb(-((trailing or 0) >> 4))


def _read_gas(task: Task) -> PlanRun:
    """Of the meter itself, when it wakes: the mirror has none of it."""
    place = place_to_command(task)
    price, _ = yield from read(
        place,
        PRICE.cluster_id,
        "calorific_value",
        "calorific_value_trailing_digit",
        "conversion_factor",
        "conversion_factor_trailing_digit",
    )
    flow, answer = yield from read(
        place,
        METERING.cluster_id,
        "uncontrolled_flow_threshold",
        "uncontrolled_flow_threshold_divisor",
        "flow_stabilization_period",
        "flow_measurement_period",
    )
    rate_divisor = flow.get("uncontrolled_flow_threshold_divisor") or 1
    return succeed(
        "ReadDeviceConfigurationGasRsp",
        node(
            "CalorificValue",
            _decimal(price.get("calorific_value"), 1, price.get("calorific_value_trailing_digit")),
        ),
        node(
            "ConversionFactor",
            _decimal(price.get("conversion_factor"), 1, price.get("conversion_factor_trailing_digit")),
        ),
        node("UncontrolledGasFlowRate", _decimal(flow.get("uncontrolled_flow_threshold"), rate_divisor, 0)),
        node("FlowStabilisationPeriod", flow.get("flow_stabilization_period")),
        node("FlowMeasurementPeriod", flow.get("flow_measurement_period")),
        answer=answer,
    )


def _plan(srv: str, name: str, devices: frozenset[DeviceType], run: Callable[[Task], PlanRun]) -> Plan:
    return Plan(srv=srv, body_name=name, response_name=f"{name}Rsp", devices=devices, run=run)


_UPDATE: Final = "UpdateDeviceConfiguration"
_READ: Final = "ReadDeviceConfiguration"

PLANS: Final = (
    _plan("3.2", "RestrictAccessForChangeOfTenancy", METERS_AND_PROXY, _restrict_access),
    _plan("6.2.1", f"{_READ}Voltage", _ESME, _read_voltage),
    _plan("6.2.5", f"{_READ}InstantaneousPowerThresholds", _ESME, _read_power_thresholds),
    _plan("6.2.8", f"{_READ}Gas", _GAS, _read_gas),
    _plan("6.4.1", f"{_UPDATE}LoadLimitingGeneralSettings", _ESME, _set_load_limit),
    _plan("6.4.2", f"{_UPDATE}LoadLimitingCounterReset", _ESME, _reset_load_limit_counter),
    _plan("6.5", f"{_UPDATE}Voltage", _ESME, _update_voltage),
    _plan("6.6", f"{_UPDATE}GasConversion", frozenset({DeviceType.GSME}), _update_conversion),
    _plan("6.7", f"{_UPDATE}GasFlow", frozenset({DeviceType.GSME}), _update_flow),
    _plan("6.12", f"{_UPDATE}InstantaneousPowerThreshold", _ESME, _update_power_thresholds),
    _plan("6.25", "SetElectricitySupplyTamperState", _ESME, _set_tamper_state),
    _plan("6.27", f"{_UPDATE}RMSVoltageCounterReset", _ESME, _reset_voltage_counters),
)
