"""What NWK remembers: neighbours, routes, route discoveries, broadcasts.

Source: Zigbee 05-3474-21, 3.6.1.5, 3.6.3.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.timers import Deadline

__all__ = [
    "CAPABILITY_ALLOCATE",
    "CAPABILITY_MAINS",
    "CAPABILITY_ROUTER",
    "CAPABILITY_RX_ON",
    "DEFAULT_TIMEOUT",
    "BroadcastEntry",
    "DiscoveryEntry",
    "Neighbour",
    "PendingFrame",
    "Relationship",
    "Route",
    "link_cost",
]

CAPABILITY_ROUTER: Final = 0x02
CAPABILITY_MAINS: Final = 0x04
CAPABILITY_RX_ON: Final = 0x08
CAPABILITY_ALLOCATE: Final = 0x80
DEFAULT_TIMEOUT: Final = 8  # nwkEndDeviceTimeoutDefault: 256 minutes


@unique
class Relationship(IntEnum):
    """Source: Table 3.48."""

    PARENT = 0
    CHILD = 1
    SIBLING = 2
    NONE = 3
    PREVIOUS_CHILD = 4
    UNAUTHENTICATED_CHILD = 5


class Neighbour:
    """A node in range. `age`: link-status periods since it was heard; `failures`: unacknowledged in a row."""

    __slots__ = (
        "age",
        "capability",
        "deadline",
        "eui64",
        "failures",
        "heard_us",
        "is_heard",
        "is_router",
        "is_sleepy",
        "lqi",
        "outgoing_cost",
        "relationship",
        "sequence",
        "short_address",
        "timeout",
    )

    def __init__(
        self, short_address: int, eui64: Eui64 | None, relationship: Relationship, capability: int
    ) -> None:
        self.short_address = short_address
        self.eui64 = eui64
        self.relationship = relationship
        self.set_capability(capability)
        self.lqi = 255
        self.outgoing_cost = 0
        self.age = 0
        self.failures = 0
        self.deadline: Deadline | None = None  # when an unproven or silent child is given up
        self.timeout = DEFAULT_TIMEOUT  # end device: how long it may be silent, as `timeout_us` reads it
        self.heard_us = 0  # end device: its last frame or poll
        self.sequence: int | None = None  # of the last frame of its own that we heard from itself
        self.is_heard = False  # under the network key, since we were switched on

    def set_capability(self, capability: int) -> None:
        """As a device says of itself when it joins or announces itself."""
        self.capability = capability
        self.is_router = capability & CAPABILITY_ROUTER != 0
        self.is_sleepy = not capability & (CAPABILITY_RX_ON | CAPABILITY_ROUTER)  # a router hears always

    @property
    def is_child(self) -> bool:
        return self.relationship in (Relationship.CHILD, Relationship.UNAUTHENTICATED_CHILD)


@dataclass(slots=True, kw_only=True)
class Route:
    next_hop: int
    cost: int
    is_many_to_one: bool = False


@dataclass(slots=True, kw_only=True)
class DiscoveryEntry:
    """Reverse path of one route request."""

    sender: int  # who we first heard it from, at this cost
    forward_cost: int
    residual_cost: int = 255
    expires_us: int


@dataclass(slots=True)
class PendingFrame:
    """A frame that waits for a route."""

    header: bytes
    payload: bytes
    handle: int


class BroadcastEntry:
    """A broadcast that we have sent or heard; who has been heard passing it on."""

    __slots__ = ("expires_us", "header", "heard", "payload", "tries")

    def __init__(self, expires_us: int) -> None:
        self.expires_us = expires_us
        self.heard: set[int] = set()
        self.header = b""
        self.payload = b""
        self.tries = 0


PendingQueue = deque[PendingFrame]


def link_cost(lqi: int) -> int:
    """1 (good) to 7. Simplified: from LQI alone, by thresholds common on 2.4 GHz chips. Source: 3.6.3.1."""
    if lqi >= 200:
        return 1
    if lqi >= 150:
        return 2
    if lqi >= 100:
        return 3
    return 5 if lqi >= 50 else 7
