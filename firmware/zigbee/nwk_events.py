"""News of the NWK layer for who is above it. Source: Zigbee 05-3474-21, 3.2."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_frames import UpdateStatus
from smets1.light_init import light_init

__all__ = [
    "ChildJoined",
    "DeviceLeft",
    "EnergyFound",
    "JoinEnded",
    "LeftNetwork",
    "NetworkFound",
    "NetworksFound",
    "NwkConfirm",
    "NwkCounters",
    "NwkData",
    "NwkStatus",
    "ParentLost",
    "RejoinEnded",
    "Renumbered",
]


@unique
class NwkStatus(IntEnum):
    """Source: Table 3.39, 3.7."""

    SUCCESS = 0x00
    INVALID_REQUEST = 0xC2
    NOT_PERMITTED = 0xC3
    NO_NETWORKS = 0xCA
    NO_KEY = 0xCD
    ROUTE_DISCOVERY_FAILED = 0xD0
    FRAME_NOT_SENT = 0xE9  # MAC: no acknowledgement
    EXPIRED = 0xF0  # MAC: the sleeping child did not ask in time


@dataclass(slots=True)
class NwkData:
    """A NWK payload for this node. Mutable only because that is cheaper."""

    source: int
    is_broadcast: bool
    payload: bytes
    is_secured: bool
    lqi: int
    previous_hop: int
    previous_eui64: Eui64 | None  # proven by the network key


@light_init
@dataclass(frozen=True, slots=True)
class NwkConfirm:
    handle: int
    status: NwkStatus


@dataclass(slots=True)
class NwkCounters:
    """How often something foreign was dropped."""

    malformed: int = 0
    unsecured: int = 0
    bad_mic: int = 0
    replayed: int = 0
    unroutable: int = 0
    transmissions: int = 0  # unicast, to a neighbour
    failures: int = 0  # of these


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFound:
    """One beacon: a router of a network, as seen by who looks for one."""

    channel: int
    pan_id: int
    extended_pan_id: int
    short_address: int
    permits_join: bool
    depth: int
    has_capacity: bool
    update_id: int
    lqi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworksFound:
    networks: tuple[NetworkFound, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFound:
    levels_dbm: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinEnded:
    """Our association: status 0 associated (not yet keyed), None no answer, else an association status."""

    status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejoinEnded:
    is_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildJoined:
    """We are its parent now; `status` says how it came."""

    eui64: Eui64
    short_address: int
    capability: int
    status: UpdateStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLeft:
    """Our child, or a node in range, has said that it leaves (or never got its key)."""

    eui64: Eui64
    short_address: int
    was_child: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftNetwork:
    """We have been told to leave."""

    is_rejoin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumbered:
    """The PAN identifier, or our short address, is another as of now."""

    is_address: bool


@dataclass(frozen=True, slots=True)
class ParentLost:
    pass
