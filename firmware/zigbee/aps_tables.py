"""What APS remembers of messages on their way and of senders heard; its news.

Source: Zigbee 05-3474-21, 2.2.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_fragments import OutgoingTransfer
from smets1.firmware.zigbee.aps_frames import ApsCommand
from smets1.firmware.zigbee.security import LinkKeyEntry
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.timers import Deadline
from smets1.hardware.radio import KeyOrigin
from smets1.light_init import light_init

__all__ = ["ApsCommandHeard", "ApsConfirm", "ApsStatus", "HeardCounters", "Sending"]


FRAME_LIFE_US: Final = 60_000_000  # after this silence a sender's counters are forgotten
WINDOW_MASK: Final = (1 << 64) - 1
ACK_WAIT_US: Final = 1_600_000  # apscAckWaitDuration: 0.05 s * 2 * nwkMaxDepth, and security processing


@unique
class ApsStatus(IntEnum):
    """Source: Table 2.27."""

    SUCCESS = 0x00
    ASDU_TOO_LONG = 0xA0
    NO_ACK = 0xA7
    NO_SHORT_ADDRESS = 0xA9
    SECURITY_FAIL = 0xAD


@light_init
@dataclass(frozen=True, slots=True)
class ApsConfirm:
    handle: int
    status: ApsStatus
    attempts: int
    waited_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApsCommandHeard:
    """An APS command, its protection checked. `eui64` and `key_id` are None where it had no APS security."""

    command: ApsCommand
    source: int
    eui64: Eui64 | None
    key_id: KeyIdentifier | None
    origin: KeyOrigin | None


class Sending:
    """A message on its way, until acknowledged (or, without acknowledgement, gone)."""

    __slots__ = (
        "counter",
        "deadline",
        "destination",
        "entry",
        "handle",
        "header",
        "payload",
        "started_us",
        "transfer",
        "tries",
        "wait_us",
        "wants_ack",
    )

    def __init__(self, destination: int, counter: int, handle: int, now_us: int) -> None:
        self.destination = destination
        self.counter = counter
        self.handle = handle
        self.started_us = now_us
        self.tries = 0
        self.wait_us = ACK_WAIT_US
        self.wants_ack = False
        self.header = b""
        self.payload = b""
        self.entry: LinkKeyEntry | None = None
        self.deadline: Deadline | None = None
        self.transfer: OutgoingTransfer | None = None


class HeardCounters:
    """The last APS counters of one sender."""

    __slots__ = ("last", "mask", "when_us")

    def __init__(self, counter: int, now_us: int) -> None:
        self.restart(counter, now_us)

    def restart(self, counter: int, now_us: int) -> None:
        self.last = counter
        self.mask = 1
        self.when_us = now_us

    def is_repeat(self, counter: int, now_us: int) -> bool:
        if now_us - self.when_us > FRAME_LIFE_US:
            self.restart(counter, now_us)
            return False
        self.when_us = now_us
        ahead = (counter - self.last) & 0xFF
        if ahead == 0:
            return True
        if ahead < 128:
            self.last = counter
            self.mask = (self.mask << ahead | 1) & WINDOW_MASK
            return False
        behind = 256 - ahead
        if behind < 64:
            bit = 1 << behind
            if self.mask & bit:
                return True
            self.mask |= bit
            return False
        self.restart(counter, now_us)
        return False
