"""The billing data log, 4.4.2 to 4.4.5 (changes of mode and tariff, the billing calendar, debt payments,
credits), and the daily reads, 4.6.1.

Source: MMC-5.4.xsd, the `...Rsp` types named below (12 snapshots, 10 payments, 5 credits, 31 daily reads at
most; 4 blocks of 8 TOU registers each).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from smets1.errors import DecodeError
from smets1.firmware.civil import format_utc, from_zigbee_s
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.snapshots import (
    BLOCK_PAYLOAD,
    PREPAY_PAYLOAD,
    TOU_PAYLOAD,
    SnapshotCause,
    SnapshotPayloadType,
)
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.content import fuel_node
from smets1.headend.srv.frames import Value
from smets1.headend.srv.log_reads import LogPeriod, read_snapshots
from smets1.headend.srv.meter import METERS_AND_PROXY, command, place_to_read
from smets1.headend.srv.profiles import cubic_metres
from smets1.headend.srv.registers import kilowatt_hours
from smets1.headend.srv.steps import Plan, PlanRun, Task, succeed

__all__ = ["PLANS"]

_CHANGES: Final = SnapshotCause.CHANGE_OF_METER_MODE | SnapshotCause.CHANGE_OF_TARIFF_INFORMATION
_SNAPSHOTS: Final = 12
_DAILY_READS: Final = 31
_PAYMENTS: Final = 10
_CREDITS: Final = 5
_TOUS: Final = 48
_GAS_REGISTERS: Final = 4
_BLOCKS: Final = 4
_BLOCK_TOUS: Final = 8
_ALL_DEBTS: Final = 0xFF

_Nodes = list[XmlNode | None]


# --- registers of a snapshot ------------------------------------------------------------------------


class _Registers:
    """The registers that a snapshot holds. Raises DecodeError for a payload that cannot be read."""

    def __init__(self, snapshot: dict[str, Value]) -> None:
        kind = snapshot["snapshot_payload_type"]
        is_block = kind == SnapshotPayloadType.BLOCK_TIER_DELIVERED_NO_BILLING
        if not is_block and kind != SnapshotPayloadType.TOU_DELIVERED_NO_BILLING:
            raise DecodeError("snapshot", 0, f"unknown payload type {kind}")
        values = (BLOCK_PAYLOAD if is_block else TOU_PAYLOAD).decode(snapshot["snapshot_payload"])
        self.time = _time(snapshot["snapshot_time"])
        self.total: int = values["current_summation_delivered"]
        self.tiers: list[int] = values["tier_summations"]
        self.blocks: list[list[int]] = []  # [block][tou]
        if is_block:
            count = (values["number_of_tiers_and_block_thresholds_in_use"] & 0x0F) + 1
            cells = values["tier_block_summations"]
            self.blocks = [cells[block::count] for block in range(count)]

    def electricity(self, total_name: str) -> _Nodes:
        nodes = [node(total_name, self.total), *_indexed("TariffTOURegisterMatrixValue", self.tiers[:_TOUS])]
        for number, row in enumerate(self.blocks[:_BLOCKS], 1):
            nodes += _indexed(f"TariffTOUBlock{number}RegisterMatrixValue", row[:_BLOCK_TOUS])
        return nodes

    @property
    def gas_tiers(self) -> _Nodes:
        values = [kilowatt_hours(wh) for wh in self.tiers[:_GAS_REGISTERS]]
        return _indexed("TariffTOURegisterMatrixValue", values)

    @property
    def gas_blocks(self) -> _Nodes:
        values = [kilowatt_hours(sum(row)) for row in self.blocks[:_GAS_REGISTERS]]
        return _indexed("BlockRegisterMatrixValue", values)


def _indexed(name: str, values: Iterable[object]) -> _Nodes:
    return [node(name, value, index=number) for number, value in enumerate(values, 1)]


def _time(seconds: int) -> XmlNode | None:
    return node("Timestamp", format_utc(from_zigbee_s(seconds)))


def _account(snapshot: dict[str, Value]) -> _Nodes:
    """PrepaymentOperationalDataType."""
    values = PREPAY_PAYLOAD.decode(snapshot["snapshot_payload"])
    return [
        node("AccumulatedDebtRegister", values["accumulated_debt"]),
        node("EmergencyCreditBalance", values["emergency_credit_remaining"]),
        node("MeterBalance", values["credit_remaining"]),
        node("PaymentDebtRegister", values["type_3_debt_remaining"]),
        node("TimeDebtRegisters1", values["type_1_debt_remaining"]),
        node("TimeDebtRegisters2", values["type_2_debt_remaining"]),
        _time(snapshot["snapshot_time"]),
    ]


# --- 4.4.2, 4.4.3 -----------------------------------------------------------------------------------


def _change_entry(registers: _Registers, *, is_gas: bool) -> XmlNode | None:
    if is_gas:
        total = node("ConsumptionRegister", cubic_metres(registers.total))
        rows = [total, registers.time, *registers.gas_tiers, *registers.gas_blocks]
        return node("LogEntryConsumptionRegister", rows)
    rows = [*registers.electricity("ActiveImportRegisterConsumption"), registers.time]
    return node("LogEntryConsumptionAndTariffRegistersData", rows)


def _calendar_entry(registers: _Registers, *, is_gas: bool) -> XmlNode | None:
    name = "ActiveImportRegisterValueConsumption"
    if is_gas:
        total = node(name, cubic_metres(registers.total))
        rows = [registers.time, total, *registers.gas_blocks, *registers.gas_tiers]
        return node("GSMEBillingDataLogEntry", rows)
    return node("ESMEBillingDataLogEntry", [registers.time, *registers.electricity(name)])


def _billing_log(
    response_name: str,
    cause: int,
    entry: Callable[..., XmlNode | None],
    account_name: Callable[[Task], str],
) -> Callable[[Task], PlanRun]:
    def run(task: Task) -> PlanRun:
        place, period = place_to_read(task), LogPeriod.of(task)
        snapshots, first = yield from read_snapshots(
            place, period, cluster_id=METERING.cluster_id, cause=cause
        )
        accounts, second = yield from read_snapshots(
            place, period, cluster_id=PREPAYMENT.cluster_id, cause=cause
        )
        rows = [entry(_Registers(row), is_gas=task.is_gas) for row in snapshots[-_SNAPSHOTS:]]
        rows += [node(account_name(task), _account(row)) for row in accounts[-_SNAPSHOTS:]]
        return succeed(response_name, fuel_node(task, *rows), answer=second or first)

    return run


# --- 4.4.4, 4.4.5 -----------------------------------------------------------------------------------


def _debt_payments(task: Task) -> PlanRun:
    period = LogPeriod.of(task)
    values, answer = yield from command(
        place_to_read(task),
        PREPAYMENT.cluster_id,
        "get_debt_repayment_log",
        "publish_debt_log",
        latest_end_time=period.end_s,
        number_of_debts=_PAYMENTS,
        debt_type=_ALL_DEBTS,
    )
    rows = [(row["collection_time"], row["amount_collected"]) for row in values["debts"]]
    content = node("PaymentBasedDebtRepayment", _amounts(rows, period, _PAYMENTS))
    return succeed("RetrieveBillingDataLogDebtPaymentsRsp", content, answer=answer)


def _credits(task: Task) -> PlanRun:
    period = LogPeriod.of(task)
    values, answer = yield from command(
        place_to_read(task),
        PREPAYMENT.cluster_id,
        "get_top_up_log",
        "publish_top_up_log",
        latest_end_time=period.end_s,
        number_of_records=_CREDITS,
    )
    rows = [(row["top_up_time"], row["top_up_amount"]) for row in values["top_ups"]]
    content = node("PrepaymentCredits", _amounts(rows, period, _CREDITS))
    return succeed("RetrieveBillingDataLogPrepaymentCreditsRsp", content, answer=answer)


def _amounts(rows: list[tuple[int, int]], period: LogPeriod, at_most: int) -> _Nodes:
    """BillingDataLogAmountTimestamp of those in the period, the oldest first; amounts in 1/1000 pence."""
    held = sorted(row for row in rows if period.holds(row[0]))[-at_most:]
    return [node("LogEntry", [node("Amount", amount), _time(time_s)]) for time_s, amount in held]


# --- 4.6.1 ------------------------------------------------------------------------------------------


def _daily_reads(task: Task) -> PlanRun:
    snapshots, answer = yield from read_snapshots(
        place_to_read(task),
        LogPeriod.of(task),
        cluster_id=METERING.cluster_id,
        cause=SnapshotCause.SCHEDULED_SNAPSHOT,
    )
    entries = []
    for snapshot in snapshots[-_DAILY_READS:]:
        registers = _Registers(snapshot)
        if task.is_gas:
            total = node("GasActiveImportRegisterConsumption", cubic_metres(registers.total))
            tiers = [kilowatt_hours(wh) for wh in registers.tiers[:_GAS_REGISTERS]]
            fuel = node("Gas", [total, *_indexed("TariffTOURegisterMatrix", tiers)])
        else:
            fuel = node("Electricity", registers.electricity("ElecActiveImportRegisterConsumption"))
        entries.append(node("LogEntry", [registers.time, fuel]))
    return succeed("RetrieveImportDailyReadLogRsp", *entries, answer=answer)


PLANS: Final = (
    Plan(
        srv="4.4.2",
        body_name="RetrieveCoMOrTariffTriggeredBillingDataLog",
        response_name="RetrieveCoMOrTariffTriggeredBillingDataLogRsp",
        devices=METERS_AND_PROXY,
        run=_billing_log(
            "RetrieveCoMOrTariffTriggeredBillingDataLogRsp",
            _CHANGES,
            _change_entry,
            lambda _: "LogEntryPrepaymentData",
        ),
        failure_content=fuel_node,
    ),
    Plan(
        srv="4.4.3",
        body_name="RetrieveBillingCalendarTriggeredBillingDataLog",
        response_name="RetrieveBillingCalendarTriggeredBillingDataLogRsp",
        devices=METERS_AND_PROXY,
        run=_billing_log(
            "RetrieveBillingCalendarTriggeredBillingDataLogRsp",
            SnapshotCause.END_OF_BILLING_PERIOD,
            _calendar_entry,
            lambda task: f"{'GSME' if task.is_gas else 'ESME'}BillingPrepaymentDataLogEntry",
        ),
        failure_content=fuel_node,
    ),
    Plan(
        srv="4.4.4",
        body_name="RetrieveBillingDataLogDebtPayments",
        response_name="RetrieveBillingDataLogDebtPaymentsRsp",
        devices=METERS_AND_PROXY,
        run=_debt_payments,
    ),
    Plan(
        srv="4.4.5",
        body_name="RetrieveBillingDataLogPrepaymentCredits",
        response_name="RetrieveBillingDataLogPrepaymentCreditsRsp",
        devices=METERS_AND_PROXY,
        run=_credits,
    ),
    Plan(
        srv="4.6.1",
        body_name="RetrieveImportDailyReadLog",
        response_name="RetrieveImportDailyReadLogRsp",
        devices=METERS_AND_PROXY,
        run=_daily_reads,
    ),
)
