"""Supply: 7.1 Enable, 7.2 Disable and 7.3 Arm (Critical Instructions), 7.4 Read Supply Status.

Source: SE 1.2 07-5356-19, D.3.3.3.1.12 (Change Supply); MMC-5.4.xsd, SupplyStateType.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smets1.firmware.zcl.clusters.metering import METERING, SupplyStatus
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.response import node
from smets1.headend.srv.dated import NOW_S
from smets1.headend.srv.meter import METERS, METERS_AND_PROXY, command, place_to_command, place_to_read, read
from smets1.headend.srv.steps import Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS"]

# SupplyControlBits bit 0: an acknowledgement (Supply Status Response) is wanted.
_WANTS_RESPONSE: Final = 0x01

_STATES: Final = {
    SupplyStatus.SUPPLY_OFF: "Disabled",
    SupplyStatus.SUPPLY_OFF_ARMED: "Armed",
    SupplyStatus.SUPPLY_ON: "Enabled",
}


def _change_to(status: SupplyStatus, response_name: str) -> Callable[[Task], PlanRun]:
    def change(task: Task) -> PlanRun:
        values, answer = yield from command(
            place_to_command(task),
            METERING.cluster_id,
            "change_supply",
            "supply_status_response",
            is_critical=True,
            is_repeatable=False,
            provider_id=task.provider_id,
            issuer_event_id=task.issuer_event_id,
            request_date_time=task.accepted_zigbee_s,
            implementation_date_time=NOW_S,
            proposed_supply_status=status,
            supply_control_bits=_WANTS_RESPONSE,
        )
        if values["supply_status"] != status:
            raise RefusedByDeviceError(
                f"the supply is {_state(values['supply_status'])}, not {_state(status)}", Status.FAILURE
            )
        return succeed(response_name, answer=answer)

    return change


def _supply_status(task: Task) -> PlanRun:
    values, answer = yield from read(
        place_to_read(task), METERING.cluster_id, "supply_status", "remaining_battery_life"
    )
    if "supply_status" not in values:
        raise RefusedByDeviceError("the meter gives no supply status", Status.UNSUPPORTED_ATTRIBUTE)
    battery = values.get("remaining_battery_life") if task.is_gas else None
    gas = None if battery is None else node("Gas", [node("RemainingBatteryCapacity", battery)])
    state = node("SupplyState", _state(values["supply_status"]))
    return succeed("ReadSupplyStatusRsp", state, gas, answer=answer)


def _state(status: int) -> str:
    try:
        return _STATES[SupplyStatus(status)]
    except (ValueError, KeyError):
        raise RefusedByDeviceError(f"unknown supply status {status}", Status.FAILURE) from None


PLANS: Final = (
    Plan(
        srv="7.1",
        body_name="EnableSupply",
        response_name="EnableSupplyRsp",
        devices=frozenset({DeviceType.ESME}),
        run=_change_to(SupplyStatus.SUPPLY_ON, "EnableSupplyRsp"),
    ),
    Plan(
        srv="7.2",
        body_name="DisableSupply",
        response_name="DisableSupplyRsp",
        devices=METERS,
        run=_change_to(SupplyStatus.SUPPLY_OFF, "DisableSupplyRsp"),
    ),
    Plan(
        srv="7.3",
        body_name="ArmSupply",
        response_name="ArmSupplyRsp",
        devices=METERS,
        run=_change_to(SupplyStatus.SUPPLY_OFF_ARMED, "ArmSupplyRsp"),
    ),
    Plan(
        srv="7.4",
        body_name="ReadSupplyStatus",
        response_name="ReadSupplyStatusRsp",
        devices=METERS_AND_PROXY,
        run=_supply_status,
    ),
)
