"""A meter's logs in the form in which Smart Energy publishes them: snapshots and events.

Billing snapshots of mode and tariff changes, of the billing calendar, and the daily reads become snapshots
with a cause; each billing snapshot is a prepay snapshot too. Gas: the summation is in litres, tiers and
blocks in Wh, since the tariff counts energy (**assumption**).

Source: SE 1.2 07-5356-19, D.3.2.3 and D.7; `firmware.zcl.clusters.snapshots`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from smets1.devices.billing import BillingSnapshot
from smets1.devices.billing import SnapshotCause as BillingCause
from smets1.devices.event_log import LogEntry
from smets1.devices.meter import ElectricityMeterCore, MeterCore
from smets1.devices.metering import DailyRead
from smets1.devices.tariff import floor_mp
from smets1.firmware.civil import zigbee_s
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.meter_data import POWER_EVENT_CODE
from smets1.firmware.zcl.clusters.snapshots import (
    BLOCK_PAYLOAD,
    DEBT_CREDIT_STATUS,
    PREPAY_PAYLOAD,
    TOU_PAYLOAD,
    SnapshotCause,
    SnapshotPayloadType,
)
from smets1.firmware.zcl.log_pages import EventRow, Snapshot

__all__ = ["event_rows", "logged_rows", "metering_snapshots", "owed_mp", "prepay_snapshots"]

_UNIT: Final = 1_000_000  # uWh in a Wh, ul in a litre
_MAX_DATA: Final = 31  # octets of an event's text
_U32_MAX: Final = 0xFFFFFFFE
_DAILY: Final = 3  # what tells a daily read's id from a billing snapshot's

_CAUSES: Final = {
    BillingCause.MODE_CHANGE: SnapshotCause.CHANGE_OF_METER_MODE,
    BillingCause.TARIFF_CHANGE: SnapshotCause.CHANGE_OF_TARIFF_INFORMATION,
    BillingCause.BILLING_CALENDAR: SnapshotCause.END_OF_BILLING_PERIOD,
}


def metering_snapshots(meter: MeterCore) -> list[Snapshot]:
    """Registers at each change of mode or tariff, end of a billing period, and UTC midnight."""
    billing = [
        _registers(entry, _CAUSES[entry.cause], _snapshot_id(entry.utc_us, entry.cause))
        for entry in _billing(meter)
    ]
    daily = [
        _registers(entry, SnapshotCause.SCHEDULED_SNAPSHOT, _snapshot_id(entry.utc_us, _DAILY))
        for entry in meter.daily.entries
    ]
    return billing + daily


def prepay_snapshots(meter: MeterCore) -> list[Snapshot]:
    """The account at each change of mode or tariff and end of a billing period."""
    return [
        Snapshot(
            snapshot_id=_snapshot_id(entry.utc_us, entry.cause),
            time_s=zigbee_s(entry.utc_us),
            cause=_CAUSES[entry.cause],
            payload_type=DEBT_CREDIT_STATUS,
            payload=_account(entry),
        )
        for entry in _billing(meter)
    ]


def _billing(meter: MeterCore) -> Iterator[BillingSnapshot]:
    yield from meter.billing.changes
    yield from meter.billing.periods


def _snapshot_id(utc_us: int, kind: int) -> int:
    """The same each time it is asked, and another for a change a millisecond later."""
    return (utc_us // 1_000 << 2 | kind) & 0xFFFFFFFF


def _registers(entry: BillingSnapshot | DailyRead, cause: SnapshotCause, snapshot_id: int) -> Snapshot:
    tiers = [energy // _UNIT for energy in entry.tou_uwh]
    values: dict[str, object] = {
        "current_summation_delivered": entry.quantity // _UNIT,
        "tier_summations": tiers,
    }
    payload_type, payload = SnapshotPayloadType.TOU_DELIVERED_NO_BILLING, TOU_PAYLOAD
    if len(entry.block_uwh) > 1:
        payload_type, payload = SnapshotPayloadType.BLOCK_TIER_DELIVERED_NO_BILLING, BLOCK_PAYLOAD
        values["number_of_tiers_and_block_thresholds_in_use"] = len(tiers) << 4 | len(entry.block_uwh) - 1
        values["tier_block_summations"] = [
            row[tier] // _UNIT for tier in range(len(tiers)) for row in entry.block_uwh
        ]
    return Snapshot(
        snapshot_id=snapshot_id,
        time_s=zigbee_s(entry.utc_us),
        cause=cause,
        payload_type=payload_type,
        payload=payload.encode(values),
    )


def _account(entry: BillingSnapshot) -> bytes:
    time_1, time_2 = entry.time_debt_fine
    return PREPAY_PAYLOAD.encode(
        {
            "accumulated_debt": owed_mp(entry.accumulated_debt_fine),
            "type_1_debt_remaining": owed_mp(time_1),
            "type_2_debt_remaining": owed_mp(time_2),
            "type_3_debt_remaining": owed_mp(entry.payment_debt_fine),
            "emergency_credit_remaining": floor_mp(entry.emergency_fine),
            "credit_remaining": floor_mp(entry.balance_fine),
        }
    )


def owed_mp(debt_fine: int) -> int:
    """A started 1/1000 penny is owed whole."""
    return min(-floor_mp(-debt_fine), _U32_MAX)


def event_rows(meter: MeterCore) -> list[EventRow]:
    """All logs in the order of time, which a clock that was set back makes another than that of logging."""
    return sorted(logged_rows(meter), key=lambda row: row.time_s)


def logged_rows(meter: MeterCore) -> list[EventRow]:
    """All logs, each in the order of its logging: events, security, and power events with their voltage."""
    rows = [
        *_rows(EventLogId.GENERAL_EVENT_LOG, meter.log.events),
        *_rows(EventLogId.SECURITY_EVENT_LOG, meter.log.security),
    ]
    if isinstance(meter, ElectricityMeterCore):
        rows += _power_rows(meter)
    return rows


def _rows(log: EventLogId, entries: Iterable[LogEntry]) -> list[EventRow]:
    return [
        EventRow(log=log, time_s=zigbee_s(entry.utc_us), code=entry.code, data=_text(entry.detail))
        for entry in entries
    ]


def _text(detail: str) -> bytes:
    return detail.encode("ascii", "replace")[:_MAX_DATA]


def _power_rows(meter: ElectricityMeterCore) -> Sequence[EventRow]:
    return [
        EventRow(
            log=EventLogId.FAULT_LOG,
            time_s=zigbee_s(entry.utc_us),
            code=POWER_EVENT_CODE + entry.kind,
            data=entry.mv.to_bytes(4, "big") if entry.mv else b"",
        )
        for entry in meter.power_events.entries
    ]
