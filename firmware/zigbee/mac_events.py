"""What the MAC asks of the radio, and its news for NWK. Source: IEEE 802.15.4-2006, 7.1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.mac_frames import Beacon, CoordinatorRealignment
from smets1.light_init import light_init

__all__ = [
    "Associated",
    "AssociationAsked",
    "BeaconHeard",
    "EnergyMeasured",
    "MacConfirm",
    "MacData",
    "MacEvent",
    "MacStatus",
    "OrphanHeard",
    "Polled",
    "PolledBy",
    "RadioAction",
    "Realigned",
    "ScanEnergy",
    "Scanned",
    "SetChannel",
    "SetPan",
    "SetPending",
    "SetReceiver",
    "Transmit",
]


@unique
class MacStatus(IntEnum):
    """Source: IEEE 802.15.4-2006, Table 78."""

    SUCCESS = 0x00
    CHANNEL_ACCESS_FAILURE = 0xE1
    NO_ACK = 0xE9
    NO_DATA = 0xEB
    TRANSACTION_EXPIRED = 0xF0
    TRANSACTION_OVERFLOW = 0xF1


# --- work for the radio ---------------------------------------------------------------------------


@light_init
@dataclass(frozen=True, slots=True)
class Transmit:
    psdu: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetChannel:
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPan:
    pan_id: int
    short_address: int
    is_coordinator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReceiver:
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPending:
    shorts: tuple[int, ...]
    extendeds: tuple[Eui64, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanEnergy:
    channel: int
    duration_us: int


RadioAction = Transmit | SetChannel | SetPan | SetReceiver | SetPending | ScanEnergy


# --- news for NWK -----------------------------------------------------------------------------------


@dataclass(slots=True)
class MacData:
    """A data frame; mutable only because that makes it three times cheaper. Do not change it."""

    source: int  # short address
    is_broadcast: bool
    payload: bytes
    lqi: int


@light_init
@dataclass(frozen=True, slots=True)
class MacConfirm:
    handle: int
    status: MacStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconHeard:
    channel: int
    pan_id: int
    source: int
    beacon: Beacon
    lqi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    beacons: tuple[BeaconHeard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyMeasured:
    levels_dbm: tuple[tuple[int, int], ...]  # (channel, level)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationAsked:
    eui64: Eui64
    capability: int
    lqi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Associated:
    """How our own association ended; status None: no answer."""

    status: int | None
    short_address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """How our own poll ended: SUCCESS (a frame came), NO_DATA, NO_ACK or CHANNEL_ACCESS_FAILURE."""

    status: MacStatus


@dataclass(frozen=True, slots=True)
class PolledBy:
    """A device has asked us for data: it is alive, and thinks that we are its parent."""

    source: int | None  # short address, None: it gave its EUI-64


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanHeard:
    eui64: Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class Realigned:
    """An orphan scan has ended; None: nobody says that it is our parent."""

    realignment: CoordinatorRealignment | None


MacEvent = (
    MacData
    | MacConfirm
    | Scanned
    | EnergyMeasured
    | AssociationAsked
    | Associated
    | Polled
    | PolledBy
    | OrphanHeard
    | Realigned
    | BeaconHeard
)
