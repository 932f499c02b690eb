"""Reads of a meter's account and registers: SRVs 4.1.1, 4.3, 4.16, 4.18, 6.2.4, 6.2.9.

Source: MMC-5.4.xsd, the `...Rsp` types named below; PaymentControlConfiguration as real meters show it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from smets1.eui64 import format_eui64
from smets1.firmware.zcl.clusters.metering import METERING, SupplyStatus
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT, PaymentControl
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.content import fuel_node
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS, METERS_AND_PROXY, place_to_command, place_to_read, read
from smets1.headend.srv.steps import Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS"]


def _import_registers(task: Task) -> PlanRun:
    values, answer = yield from read(
        place_to_read(task),
        METERING.cluster_id,
        "current_summation_delivered",
        "multiplier",
        "divisor",
    )
    total = values.get("current_summation_delivered")
    if total is None:
        raise RefusedByDeviceError("the meter gives no consumption register", Status.UNSUPPORTED_ATTRIBUTE)
    scaled = total * (values.get("multiplier") or 1)
    divisor = values.get("divisor") or 1000
    return succeed(
        "ReadInstantaneousImportRegistersRsp",
        _gas_register(scaled, divisor) if task.is_gas else _electricity_register(scaled, divisor),
        answer=answer,
    )


def _electricity_register(scaled: int, divisor: int) -> XmlNode | None:
    """`scaled / divisor` is kWh; the schema wants whole Wh."""
    register = node(
        "ActiveImportRegister",
        [node("Value", scaled * 1000 // divisor), node("ActiveEnergyUnit", "Wh")],
    )
    return node("Electricity", [register])


def _gas_register(scaled: int, divisor: int) -> XmlNode | None:
    """`scaled / divisor` is cubic metres, given to the litre."""
    volume = (Decimal(scaled) / divisor).quantize(Decimal("0.001"))
    register = node("ConsumptionRegister", [node("Value", volume), node("Unit", "m3")])
    return node("Gas", [register])


# Element of the answer -> attribute. Debts 1 and 2 are the time-based registers, 3 the payment-based one.
_PREPAY_VALUES: Final = {
    "EmergencyCreditBalance": "emergency_credit_remaining",
    "AccumulatedDebtRegister": "accumulated_debt",
    "PaymentDebtRegister": "debt_amount_3",
    "TimeDebtRegister1": "debt_amount_1",
    "TimeDebtRegister2": "debt_amount_2",
    "MeterBalance": "credit_remaining",
}


def _prepay_values(task: Task) -> PlanRun:
    values, answer = yield from read(place_to_read(task), PREPAYMENT.cluster_id, *_PREPAY_VALUES.values())
    content = [node(name, values.get(attribute)) for name, attribute in _PREPAY_VALUES.items()]
    return succeed("ReadInstantaneousPrepayValuesRsp", *content, answer=answer)


def _meter_balance(task: Task) -> PlanRun:
    wanted = ("credit_remaining", "payment_control_configuration")
    values, answer = yield from read(place_to_read(task), PREPAYMENT.cluster_id, *wanted)
    balance = values.get("credit_remaining")
    if balance is None:
        raise RefusedByDeviceError("the meter gives no balance", Status.UNSUPPORTED_ATTRIBUTE)
    gas = None
    if task.is_gas and _is_prepayment(values):
        gas = node("Gas", [node("MeterBalancePrepaymentMode", balance)])
    return succeed("ReadMeterBalanceRsp", node("MeterBalance", balance), gas, answer=answer)


def _payment_mode(task: Task) -> PlanRun:
    values, answer = yield from read(
        place_to_read(task), PREPAYMENT.cluster_id, "payment_control_configuration"
    )
    control = values.get("payment_control_configuration")
    if control is None:
        raise RefusedByDeviceError("the meter gives no payment mode", Status.UNSUPPORTED_ATTRIBUTE)
    return succeed(
        "ReadDeviceConfigurationPaymentModeRsp",
        node("PaymentMode", "Prepayment" if control & PaymentControl.PREPAYMENT else "Credit"),
        node("SuspendDebtEmergency", not control & PaymentControl.COLLECT_DEBT_IN_EMERGENCY),
        node("SuspendDebtDisabled", bool(control & PaymentControl.SUSPEND_DEBT_DISABLED)),
        answer=answer,
    )


def _active_power(task: Task) -> PlanRun:
    """Whole watts, to one significant unit of the meter's own."""
    values, answer = yield from read(
        place_to_read(task), METERING.cluster_id, "instantaneous_demand", "multiplier", "divisor"
    )
    demand = values.get("instantaneous_demand")
    if demand is None:
        raise RefusedByDeviceError("the meter gives no active power", Status.UNSUPPORTED_ATTRIBUTE)
    watts = demand * (values.get("multiplier") or 1) * 1000 // (values.get("divisor") or 1000)
    power = node("ActivePowerImport", [node("Value", watts), node("Unit", "W")])
    total = node("PrimaryActivePowerImportValue", watts)
    return succeed("ReadActivePowerImportRsp", power, total, answer=answer)


_LOCKABLE: Final = {
    "SupplyTamperState": "supply_tamper_state",
    "SupplyDepletionState": "supply_depletion_state",
}
_LOCKS: Final[dict[int | None, str]] = {
    SupplyStatus.SUPPLY_OFF: "Locked",
    SupplyStatus.SUPPLY_UNCHANGED: "Unchanged",
}


def _identity(task: Task) -> PlanRun:
    """6.2.4, all that a SMETS1 device says of itself; the schema has 8 characters for a model.

    The mirror is the hub's and says what the hub is, so a gas meter is asked itself, when it wakes.
    """
    is_gas_meter = task.device.device_type is DeviceType.GSME
    place = place_to_command(task) if is_gas_meter else place_to_read(task)
    states: dict[str, Value] = {}
    if task.device.device_type in METERS:
        states, _ = yield from read(
            place, METERING.cluster_id, "supply_tamper_state", "supply_depletion_state"
        )
    values, answer = yield from read(place, DEVICE_INFORMATION.cluster_id, "model", "manufacturer")
    shown = [node(element, _LOCKS.get(states.get(name))) for element, name in _LOCKABLE.items()]
    return succeed(
        "ReadDeviceConfigurationIdentityExcMPxNRsp",
        node("DeviceIdentifier", format_eui64(place.target)),
        node("ModelType", _plain(values.get("model"), 8)),
        node("ManufacturerIdentifier", _plain(values.get("manufacturer"), 32)),
        node("Gas" if is_gas_meter else "Electricity", shown) if states else None,
        answer=answer,
    )


def _plain(value: Value, size: int) -> str | None:
    """A ZCL string, shortened; what XML cannot carry is left out. None: the device gives none."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "".join(character for character in text if character.isprintable())[:size]


def _is_prepayment(values: dict[str, Value]) -> bool:
    return bool((values.get("payment_control_configuration") or 0) & PaymentControl.PREPAYMENT)


PLANS: Final = (
    Plan(
        srv="4.1.1",
        body_name="ReadInstantaneousImportRegisters",
        response_name="ReadInstantaneousImportRegistersRsp",
        devices=METERS_AND_PROXY,
        run=_import_registers,
        failure_content=fuel_node,
    ),
    Plan(
        srv="4.3",
        body_name="ReadInstantaneousPrepayValues",
        response_name="ReadInstantaneousPrepayValuesRsp",
        devices=METERS_AND_PROXY,
        run=_prepay_values,
    ),
    Plan(
        srv="4.16",
        body_name="ReadActivePowerImport",
        response_name="ReadActivePowerImportRsp",
        devices=frozenset({DeviceType.ESME}),
        run=_active_power,
    ),
    Plan(
        srv="6.2.4",
        body_name="ReadDeviceConfigurationIdentityExcMPxN",
        response_name="ReadDeviceConfigurationIdentityExcMPxNRsp",
        devices=METERS_AND_PROXY | {DeviceType.CHF, DeviceType.PPMID, DeviceType.IHD},
        run=_identity,
    ),
    Plan(
        srv="4.18",
        body_name="ReadMeterBalance",
        response_name="ReadMeterBalanceRsp",
        devices=METERS_AND_PROXY,
        run=_meter_balance,
    ),
    Plan(
        srv="6.2.9",
        body_name="ReadDeviceConfigurationPaymentMode",
        response_name="ReadDeviceConfigurationPaymentModeRsp",
        devices=METERS_AND_PROXY,
        run=_payment_mode,
    ),
)
