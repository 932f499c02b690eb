"""Snapshot causes and payloads, sample ids: what GetSnapshot, GetPrepaySnapshot and GetSampledData speak of.

Source: SE 1.2 07-5356-19, D.3.2.3 and D.3.3 (Metering: snapshots, sampled data), D.7 (prepay snapshots).
Sample ids are the meter's own to give: **assumption**, the two logs that every SMETS1 meter keeps unasked
have fixed ones. The reactive sample types are those of SE 1.4.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.firmware.zcl.fields import Payload

__all__ = [
    "BLOCK_PAYLOAD",
    "DEBT_CREDIT_STATUS",
    "PREPAY_PAYLOAD",
    "TOU_PAYLOAD",
    "SampleId",
    "SampleType",
    "SnapshotCause",
    "SnapshotPayloadType",
]


class SnapshotCause(IntFlag):
    """Why a snapshot was taken; those that a SMETS1 meter takes."""

    END_OF_BILLING_PERIOD = 1 << 1
    CHANGE_OF_TARIFF_INFORMATION = 1 << 3
    CHANGE_OF_METER_MODE = 1 << 14
    SCHEDULED_SNAPSHOT = 1 << 16  # here: the daily read log


@unique
class SnapshotPayloadType(IntEnum):
    """Those in use. Prepay snapshots have a type of their own, 0."""

    TOU_DELIVERED_NO_BILLING = 0x04
    BLOCK_TIER_DELIVERED_NO_BILLING = 0x06


DEBT_CREDIT_STATUS: Final = 0x00
"""The payload type of a prepay snapshot."""


@unique
class SampleType(IntEnum):
    CONSUMPTION_DELIVERED = 0x00
    CONSUMPTION_RECEIVED = 0x01
    REACTIVE_CONSUMPTION_DELIVERED = 0x02
    REACTIVE_CONSUMPTION_RECEIVED = 0x03


@unique
class SampleId(IntEnum):
    PROFILE = 0x0000  # half hours
    NETWORK = 0x0001  # 6 minutes, gas


_TOU: Final = (
    "current_summation_delivered:u48 number_of_tiers_in_use:u8 tier_summations:u48*number_of_tiers_in_use"
)
TOU_PAYLOAD: Final = Payload(_TOU)
# The bitmap: tiers in the high nibble, block thresholds (blocks less one) in the low one; all blocks of
# tier 1 first.
BLOCK_PAYLOAD: Final = Payload(
    _TOU + " number_of_tiers_and_block_thresholds_in_use:bm8 tier_block_summations:u48*"
)
PREPAY_PAYLOAD: Final = Payload(
    "accumulated_debt:i32 type_1_debt_remaining:u32 type_2_debt_remaining:u32 type_3_debt_remaining:u32 "
    "emergency_credit_remaining:i32 credit_remaining:i32"
)
