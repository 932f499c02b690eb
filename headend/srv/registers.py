"""Registers beyond the total: 4.1.2 time of use, 4.1.3 and 4.1.4 blocks, 4.2 export, 4.15 load limit.

Gas registers of time of use and blocks are in kWh (**assumption**: they count what the tariff prices).
Source: MMC-5.4.xsd, the `...Rsp` types named below, which give their numbers of registers.
"""

from __future__ import annotations

from collections.abc import Generator
from decimal import Decimal
from typing import Final

from smets1.firmware.zcl.clusters.meter_data import METER_DATA
from smets1.firmware.zcl.clusters.metering import METERING, SupplyStatus
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.content import fuel_node
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS_AND_PROXY, place_to_read, read
from smets1.headend.srv.steps import Answer, Plan, PlanRun, RefusedByDeviceError, Step, Task, succeed

__all__ = ["PLANS", "kilowatt_hours"]

_TOUS: Final = 48
_GAS_TOUS: Final = 4
_BLOCK_TOUS: Final = 8
_BLOCKS: Final = 4
_PLACES: Final = tuple((tou, block) for tou in range(1, _BLOCK_TOUS + 1) for block in range(1, _BLOCKS + 1))
_NO_LIMIT: Final = 0xFFFFFF
_ESME: Final = frozenset({DeviceType.ESME})
# After an overload a meter that goes off is armed again.
_LIMITED: Final = {SupplyStatus.SUPPLY_OFF_ARMED: "Disable", SupplyStatus.SUPPLY_UNCHANGED: "Unchanged"}


def kilowatt_hours(wh: int) -> Decimal:
    return Decimal(wh).scaleb(-3)


def _tou_matrix(task: Task) -> PlanRun:
    count = _GAS_TOUS if task.is_gas else _TOUS
    names = [f"current_tier{tou}_summation_delivered" for tou in range(1, count + 1)]
    values, answer = yield from read(place_to_read(task), METERING.cluster_id, *names)
    if not values:
        raise RefusedByDeviceError("the meter gives no TOU registers", Status.UNSUPPORTED_ATTRIBUTE)
    held = [(tou, values[name]) for tou, name in enumerate(names, 1) if name in values]
    if task.is_gas:
        rows = [node("TOURegisterMatrixValue", kilowatt_hours(wh), index=tou) for tou, wh in held]
        content = node("Gas", [node("TariffTOURegisterMatrix", rows)])
    else:
        rows = [node("TOUPrimaryRegisterValue", wh, index=tou) for tou, wh in held]
        content = node("Electricity", [node("TariffTOURegisterCollection", rows)])
    return succeed("ReadInstantaneousImportTOUMatricesRsp", content, answer=answer)


# --- blocks -----------------------------------------------------------------------------------------


def _tou_with_blocks(task: Task) -> PlanRun:
    registers, _ = yield from _block_registers(task)
    counters, answer = yield from _block_counters(task)
    blocks = [
        node(
            "TariffBlock",
            [
                *(_indexed("RegisterMatrixTOUValue", registers, block)),
                *(_indexed("CounterMatrixTOUValue", counters, block)),
            ],
            index=block,
        )
        for block in sorted({block for _, block in registers})
    ]
    content = node("TariffBlockTOURegisterCollection", blocks) if blocks else None
    return succeed("ReadInstantaneousImportTOUWithBlocksMatricesRsp", content, answer=answer)


def _indexed(name: str, values: dict[tuple[int, int], int], block: int) -> list[XmlNode | None]:
    return [node(name, wh, index=tou) for (tou, of_block), wh in values.items() if of_block == block]


def _block_registers(
    task: Task,
) -> Generator[Step, Answer, tuple[dict[tuple[int, int], int], Answer]]:
    """(TOU register, block) -> Wh. One TOU register alone: its blocks are in the set without tiers."""
    tiers = {place: f"current_tier{place[0]}_block{place[1]}_summation_delivered" for place in _PLACES}
    values, answer = yield from read(place_to_read(task), METERING.cluster_id, *tiers.values())
    if not values:
        names = {(1, block): f"current_no_tier_block{block}_summation_delivered" for block in _blocks()}
        values, answer = yield from read(place_to_read(task), METERING.cluster_id, *names.values())
        return _held(names, values), answer
    return _held(tiers, values), answer


def _block_counters(
    task: Task,
) -> Generator[Step, Answer, tuple[dict[tuple[int, int], int], Answer]]:
    names = {place: f"tier{place[0]}_block{place[1]}_counter" for place in _PLACES}
    values, answer = yield from read(place_to_read(task), METER_DATA.cluster_id, *names.values())
    return _held(names, values), answer


def _blocks() -> range:
    return range(1, _BLOCKS + 1)


def _held(names: dict[tuple[int, int], str], values: dict[str, Value]) -> dict[tuple[int, int], int]:
    return {place: values[name] for place, name in names.items() if name in values}


def _gas_block_counters(task: Task) -> PlanRun:
    """Each block's counter, over all times of use."""
    counters, answer = yield from _block_counters(task)
    totals: dict[int, int] = {}
    for (_, block), wh in counters.items():
        totals[block] = totals.get(block, 0) + wh
    rows = [node("TariffBlockCounterValue", kilowatt_hours(wh), index=block) for block, wh in totals.items()]
    content = node("ImportBlockCounters", rows) if rows else None
    return succeed("ReadInstantaneousImportBlockCountersRsp", content, answer=answer)


# --- export and load limit --------------------------------------------------------------------------


def _export_registers(task: Task) -> PlanRun:
    place = place_to_read(task)
    active, _ = yield from read(place, METERING.cluster_id, "current_summation_received")
    reactive, answer = yield from read(place, DEVICE_INFORMATION.cluster_id, "reactive_export_register")
    wh, varh = active.get("current_summation_received"), reactive.get("reactive_export_register")
    if wh is None:
        raise RefusedByDeviceError("the meter gives no export register", Status.UNSUPPORTED_ATTRIBUTE)
    register = node("ActiveExportRegister", [node("Value", wh), node("ActiveEnergyUnit", "Wh")])
    other = None
    if varh is not None:
        other = node("ReactiveExportRegister", [node("Value", varh), node("ReactiveEnergyUnit", "varh")])
    return succeed("ReadInstantaneousExportRegistersRsp", register, other, answer=answer)


def _load_limit(task: Task) -> PlanRun:
    place = place_to_read(task)
    limit, _ = yield from read(place, METERING.cluster_id, "demand_limit", "load_limit_supply_state")
    names = ("load_limit_count", "load_limit_period", "load_limit_restoration_period")
    data, answer = yield from read(place, METER_DATA.cluster_id, *names)
    threshold = limit.get("demand_limit")
    return succeed(
        "ReadLoadLimitDataRsp",
        node("LoadLimitCounterValue", data.get(names[0])),
        node("LoadLimitPowerThreshold", None if threshold == _NO_LIMIT else threshold),
        node("LoadLimitPeriod", data.get(names[1])),
        node("LoadLimitRestorationPeriod", data.get(names[2])),
        node("LoadLimitSupplyState", _LIMITED.get(limit.get("load_limit_supply_state", -1))),
        answer=answer,
    )


PLANS: Final = (
    Plan(
        srv="4.1.2",
        body_name="ReadInstantaneousImportTOUMatrices",
        response_name="ReadInstantaneousImportTOUMatricesRsp",
        devices=METERS_AND_PROXY,
        run=_tou_matrix,
        failure_content=fuel_node,
    ),
    Plan(
        srv="4.1.3",
        body_name="ReadInstantaneousImportTOUWithBlocksMatrices",
        response_name="ReadInstantaneousImportTOUWithBlocksMatricesRsp",
        devices=_ESME,
        run=_tou_with_blocks,
    ),
    Plan(
        srv="4.1.4",
        body_name="ReadInstantaneousImportBlockCounters",
        response_name="ReadInstantaneousImportBlockCountersRsp",
        devices=frozenset({DeviceType.GSME, DeviceType.GPF}),
        run=_gas_block_counters,
    ),
    Plan(
        srv="4.2",
        body_name="ReadInstantaneousExportRegisters",
        response_name="ReadInstantaneousExportRegistersRsp",
        devices=_ESME,
        run=_export_registers,
    ),
    Plan(
        srv="4.15",
        body_name="ReadLoadLimitData",
        response_name="ReadLoadLimitDataRsp",
        devices=_ESME,
        run=_load_limit,
    ),
)
