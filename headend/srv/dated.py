"""When a request that the device itself carries out is to take effect, and which set of frames is its own.

Source: DUIS 5.4, FutureDatedAbstractType (withdrawn by the date 3000-12-31); SE 1.2 (0 is now).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from smets1.firmware.civil import from_datetime, zigbee_s
from smets1.headend.srv.content import require
from smets1.headend.srv.steps import Task

__all__ = ["NOW_S", "WITHDRAW_S", "set_id", "start_s"]

NOW_S: Final = 0
WITHDRAW_S: Final = 0xFFFFFFFF
_LAST_UTC_US: Final = from_datetime(datetime(2136, 1, 1, tzinfo=UTC))
_LARGEST_ID: Final = 0xFFFFFFF0


def start_s(task: Task) -> int:
    """ZigBee seconds of the request's ExecutionDateTime; NOW_S for none or one that is past, or WITHDRAW_S.

    Raises RefusedByDeviceError for one that a ZigBee time cannot tell.
    """
    if task.is_cancellation:
        return WITHDRAW_S
    utc_us = task.execution_utc_us or 0
    require(utc_us < _LAST_UTC_US, "ExecutionDateTime is beyond the year 2135")
    return zigbee_s(utc_us) if utc_us > task.accepted_utc_us else NOW_S


def set_id(task: Task) -> int:
    """32 bits by which a meter knows which frames belong together; another for each request."""
    text = f"{task.originator}|{task.device.eui64}|{task.counter}|{task.srv}|{task.accepted_utc_us}"
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return number % _LARGEST_ID + 1
