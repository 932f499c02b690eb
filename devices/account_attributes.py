"""Attributes of the Prepayment cluster that tell of the past and of alarms: last five top-ups, alarm status.

The codes of top-ups are told by their last five digits: a used code is of no use to anybody, but it is the
household's, and whoever joins the HAN may read attributes. Where there is no such top-up, each says its
type's invalid value.

Source: SE 1.2 07-5356-19, annex D (Prepayment: top-ups 0x0100 to 0x0143, PrepaymentAlarmStatus 0x0400).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import Final

from smets1.devices.account import TopUp
from smets1.devices.meter_clusters import MeterClusters
from smets1.devices.supply import OffReason
from smets1.devices.tokens import Refusal, RefusedEntry
from smets1.firmware.civil import zigbee_s

__all__ = ["PrepaymentAlarm", "bind_account_attributes"]

_SHOWN_DIGITS: Final = 5
_TOP_UPS: Final = 5
_SUPPLIERS: Final = OffReason.MANUAL | OffReason.SUPPLY_CODE


class PrepaymentAlarm(IntFlag):
    """PrepaymentAlarmStatus, those bits that a meter here can know."""

    LOW_CREDIT_WARNING = 0x0001
    TOP_UP_CODE_ERROR = 0x0002
    TOP_UP_CODE_ALREADY_USED = 0x0004
    TOP_UP_CODE_INVALID = 0x0008
    FRIENDLY_CREDIT_IN_USE = 0x0010
    EC_AVAILABLE = 0x0040
    DISCONNECTED_SUPPLY_DUE_TO_CREDIT = 0x0100
    DISCONNECTED_SUPPLY_DUE_TO_TAMPER = 0x0200
    DISCONNECTED_SUPPLY_DUE_TO_HES = 0x0400


_OF_CODE: Final = {
    Refusal.DUPLICATE: PrepaymentAlarm.TOP_UP_CODE_ALREADY_USED,
    Refusal.NOT_AUTHENTIC: PrepaymentAlarm.TOP_UP_CODE_INVALID,
    Refusal.NOT_FOR_THIS_DEVICE: PrepaymentAlarm.TOP_UP_CODE_INVALID,
    Refusal.INCORRECT: PrepaymentAlarm.TOP_UP_CODE_ERROR,
    Refusal.INCOMPLETE: PrepaymentAlarm.TOP_UP_CODE_ERROR,
}
_OF_TOP_UP: Final[dict[str, Callable[[TopUp], int]]] = {
    "top_up_date_time": lambda row: zigbee_s(row.utc_us),
    "top_up_amount": lambda row: row.amount_mp,
    "top_up_originating_device": lambda row: row.source,
}


def bind_account_attributes(clusters: MeterClusters) -> None:
    """Beside what `MeterClusters` has bound."""
    cluster = clusters.prepayment
    for number in range(1, _TOP_UPS + 1):
        for name, value in _OF_TOP_UP.items():
            cluster.bind(f"{name}_{number}", _top_up(clusters, number, value))
        cluster.bind(f"top_up_code_{number}", _code(clusters, number))
    cluster.bind("prepayment_alarm_status", lambda: int(alarms(clusters)))


def _top_up(clusters: MeterClusters, number: int, value: Callable[[TopUp], int]) -> Callable[[], int | None]:
    def get() -> int | None:
        rows = clusters.present().account.top_ups
        return value(rows[number - 1]) if number <= len(rows) else None

    return get


def _code(clusters: MeterClusters, number: int) -> Callable[[], bytes]:
    """Empty where there was none: zigpy can read nothing that follows a string marked as invalid."""

    def get() -> bytes:
        rows = clusters.present().account.top_ups
        if number > len(rows):
            return b""
        row = rows[number - 1]
        vends = (v for v in clusters.desk.vends if (v.utc_us, v.amount_mp) == (row.utc_us, row.amount_mp))
        return next((vend.digits[-_SHOWN_DIGITS:].encode("ascii") for vend in vends), b"")

    return get


def alarms(clusters: MeterClusters) -> PrepaymentAlarm:
    """What is the matter now; of codes: what the last one was refused for, until one is taken."""
    meter = clusters.present()
    account, reasons = meter.account, meter.supply.reasons
    rows = (
        (account.is_prepayment and account.is_low, PrepaymentAlarm.LOW_CREDIT_WARNING),
        (account.is_disablement_held, PrepaymentAlarm.FRIENDLY_CREDIT_IN_USE),
        (account.is_emergency_available, PrepaymentAlarm.EC_AVAILABLE),
        (bool(reasons & OffReason.NO_CREDIT), PrepaymentAlarm.DISCONNECTED_SUPPLY_DUE_TO_CREDIT),
        (bool(reasons & OffReason.EVENT), PrepaymentAlarm.DISCONNECTED_SUPPLY_DUE_TO_TAMPER),
        (bool(reasons & _SUPPLIERS), PrepaymentAlarm.DISCONNECTED_SUPPLY_DUE_TO_HES),
    )
    status = PrepaymentAlarm(0)
    for is_so, alarm in rows:
        status |= alarm if is_so else PrepaymentAlarm(0)
    refused = clusters.desk.refused[-1] if clusters.desk.refused else None
    return status | _last_refused(clusters, refused)


def _last_refused(clusters: MeterClusters, refused: RefusedEntry | None) -> PrepaymentAlarm:
    vends = clusters.desk.vends
    if refused is None or (vends and vends[-1].utc_us >= refused.utc_us):
        return PrepaymentAlarm(0)
    return _OF_CODE.get(refused.refusal, PrepaymentAlarm(0))
