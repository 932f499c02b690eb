"""How a command or a message ended, and other small numbers of EZSP.

Version 13 has one octet (EmberStatus, EzspStatus), version 14 four (sl_status_t); this is the table between.
Source: Silicon Labs UG100 (EZSP reference), EmberZNet 7.4 and 8.0; sl_status.h.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.hardware.radio import NodeRole

__all__ = [
    "NODE_TYPES",
    "ApsOption",
    "BindingType",
    "DeviceUpdate",
    "EmberNodeType",
    "EventUnits",
    "EzspError",
    "IncomingType",
    "JoinDecision",
    "KeyEvent",
    "KeyKind",
    "NetworkStatus",
    "OutgoingType",
    "PolicyId",
    "SecurityBit",
    "Status",
    "TrustCentrePolicy",
    "from_sl_status",
    "to_sl_status",
]


@unique
class Status(IntEnum):
    """EmberStatus, as version 13 has it."""

    SUCCESS = 0x00
    FATAL = 0x01
    BAD_ARGUMENT = 0x02
    NOT_FOUND = 0x03
    MAC_NO_DATA = 0x31
    MAC_SCANNING = 0x3D
    MAC_NO_ACK_RECEIVED = 0x40
    DELIVERY_FAILED = 0x66
    INVALID_CALL = 0x70
    MESSAGE_TOO_LONG = 0x74
    NETWORK_UP = 0x90
    NETWORK_DOWN = 0x91
    NOT_JOINED = 0x93
    JOIN_FAILED = 0x94
    NODE_ID_CHANGED = 0x99
    PAN_ID_CHANGED = 0x9A
    CHANNEL_CHANGED = 0x9B
    NETWORK_OPENED = 0x9C
    NETWORK_CLOSED = 0x9D
    NETWORK_BUSY = 0xA1
    APS_ENCRYPTION_ERROR = 0xA6
    SECURITY_STATE_NOT_SET = 0xA8
    NO_BEACONS = 0xAB
    NO_NETWORK_KEY_RECEIVED = 0xAD
    INDEX_OUT_OF_RANGE = 0xB1
    KEY_INVALID = 0xB2
    TABLE_FULL = 0xB4
    LIBRARY_NOT_PRESENT = 0xB5
    TABLE_ENTRY_ERASED = 0xB6


@unique
class EzspError(IntEnum):
    """EzspStatus: the frame itself, or a value, was not acceptable."""

    SUCCESS = 0x00
    VERSION_NOT_SET = 0x30
    INVALID_FRAME_ID = 0x31
    TRUNCATED = 0x33
    OUT_OF_MEMORY = 0x35
    INVALID_VALUE = 0x36
    INVALID_ID = 0x37
    INVALID_CALL = 0x38


_SL_STATUS: Final = {
    Status.SUCCESS: 0x0000,
    Status.FATAL: 0x0001,
    Status.BAD_ARGUMENT: 0x0021,
    Status.NOT_FOUND: 0x002D,
    Status.MAC_NO_DATA: 0x003F,
    Status.MAC_SCANNING: 0x004D,
    Status.MAC_NO_ACK_RECEIVED: 0x0040,
    Status.DELIVERY_FAILED: 0x0C02,
    Status.INVALID_CALL: 0x0002,
    Status.MESSAGE_TOO_LONG: 0x0038,
    Status.NETWORK_UP: 0x0015,
    Status.NETWORK_DOWN: 0x0016,
    Status.NOT_JOINED: 0x0017,
    Status.JOIN_FAILED: 0x0017,
    Status.NODE_ID_CHANGED: 0x0C07,
    Status.PAN_ID_CHANGED: 0x0C16,
    Status.CHANNEL_CHANGED: 0x0C17,
    Status.NETWORK_OPENED: 0x0C18,
    Status.NETWORK_CLOSED: 0x0C19,
    Status.NETWORK_BUSY: 0x0004,
    Status.APS_ENCRYPTION_ERROR: 0x0C0A,
    Status.SECURITY_STATE_NOT_SET: 0x0C0B,
    Status.NO_BEACONS: 0x0018,
    Status.NO_NETWORK_KEY_RECEIVED: 0x0C1B,
    Status.INDEX_OUT_OF_RANGE: 0x0027,
    Status.KEY_INVALID: 0x0029,
    Status.TABLE_FULL: 0x001C,
    Status.LIBRARY_NOT_PRESENT: 0x000E,
    Status.TABLE_ENTRY_ERASED: 0x002D,
}
_STATUS: Final = {sl: status for status, sl in reversed(_SL_STATUS.items())}


def to_sl_status(status: int) -> int:
    """sl_status_t of an EmberStatus; that of a failure for one that is not in the table."""
    try:
        return _SL_STATUS[Status(status)]
    except ValueError:
        return _SL_STATUS[Status.FATAL]


def from_sl_status(value: int) -> Status:
    """The first EmberStatus that means the same; FATAL where none does."""
    return _STATUS.get(value, Status.FATAL)


class ApsOption(IntFlag):
    """EmberApsFrame.options."""

    NONE = 0x0000
    ENCRYPTION = 0x0020
    RETRY = 0x0040  # with APS acknowledgement
    ENABLE_ROUTE_DISCOVERY = 0x0100
    FORCE_ROUTE_DISCOVERY = 0x0200
    SOURCE_EUI64 = 0x0400
    DESTINATION_EUI64 = 0x0800
    ENABLE_ADDRESS_DISCOVERY = 0x1000
    FRAGMENT = 0x8000


@unique
class OutgoingType(IntEnum):
    DIRECT = 0
    VIA_ADDRESS_TABLE = 1
    VIA_BINDING = 2
    MULTICAST = 3
    MULTICAST_WITH_ALIAS = 4
    BROADCAST_WITH_ALIAS = 5
    BROADCAST = 6


@unique
class IncomingType(IntEnum):
    UNICAST = 0
    UNICAST_REPLY = 1
    MULTICAST = 2
    MULTICAST_LOOPBACK = 3
    BROADCAST = 4
    BROADCAST_LOOPBACK = 5


@unique
class DeviceUpdate(IntEnum):
    """How a device came, in trustCenterJoinHandler."""

    SECURED_REJOIN = 0
    UNSECURED_JOIN = 1
    DEVICE_LEFT = 2
    UNSECURED_REJOIN = 3


@unique
class JoinDecision(IntEnum):
    USE_PRECONFIGURED_KEY = 0
    SEND_KEY_IN_THE_CLEAR = 1
    DENY_JOIN = 2
    NO_ACTION = 3


@unique
class EmberNodeType(IntEnum):
    UNKNOWN_DEVICE = 0
    COORDINATOR = 1
    ROUTER = 2
    END_DEVICE = 3
    SLEEPY_END_DEVICE = 4


NODE_TYPES: Final = {
    NodeRole.COORDINATOR: EmberNodeType.COORDINATOR,
    NodeRole.ROUTER: EmberNodeType.ROUTER,
    NodeRole.END_DEVICE: EmberNodeType.END_DEVICE,
    NodeRole.SLEEPY_END_DEVICE: EmberNodeType.SLEEPY_END_DEVICE,
}


@unique
class BindingType(IntEnum):
    """EmberBindingTableEntry.type."""

    UNUSED = 0
    UNICAST = 1
    MANY_TO_ONE = 2
    MULTICAST = 3


@unique
class NetworkStatus(IntEnum):
    NO_NETWORK = 0
    JOINING_NETWORK = 1
    JOINED_NETWORK = 2
    JOINED_NETWORK_NO_PARENT = 3
    LEAVING_NETWORK = 4


@unique
class EventUnits(IntEnum):
    INACTIVE = 0
    MILLISECONDS = 1
    QUARTER_SECONDS = 2
    MINUTES = 3


@unique
class KeyKind(IntEnum):
    """sl_zb_sec_man_key_type_t: which key a context names."""

    NONE = 0
    NETWORK = 1
    TC_LINK = 2
    TC_LINK_WITH_TIMEOUT = 3
    APP_LINK = 4


@unique
class KeyEvent(IntEnum):
    """EmberKeyStatus, in zigbeeKeyEstablishmentHandler."""

    APP_LINK_KEY_ESTABLISHED = 1
    TRUST_CENTER_LINK_KEY_ESTABLISHED = 3
    KEY_ESTABLISHMENT_TIMEOUT = 4


@unique
class PolicyId(IntEnum):
    TRUST_CENTER = 0
    BINDING_MODIFICATION = 1
    UNICAST_REPLIES = 2
    POLL_HANDLER = 3
    MESSAGE_CONTENTS_IN_CALLBACK = 4
    TC_KEY_REQUEST = 5
    APP_KEY_REQUEST = 6


class TrustCentrePolicy(IntFlag):
    """The decision of PolicyId.TRUST_CENTER."""

    ALLOW_JOINS = 0x01
    ALLOW_UNSECURED_REJOINS = 0x02
    SEND_KEY_IN_CLEAR = 0x04
    IGNORE_UNSECURED_REJOINS = 0x08
    JOINS_USE_INSTALL_CODE_KEY = 0x10
    DEFER_JOINS = 0x20


class SecurityBit(IntFlag):
    """EmberInitialSecurityState.bitmask."""

    STANDARD_SECURITY_MODE = 0x0000
    DISTRIBUTED_TRUST_CENTER_MODE = 0x0002
    TRUST_CENTER_GLOBAL_LINK_KEY = 0x0004
    HAVE_TRUST_CENTER_EUI64 = 0x0040
    TRUST_CENTER_USES_HASHED_LINK_KEY = 0x0084
    HAVE_PRECONFIGURED_KEY = 0x0100
    HAVE_NETWORK_KEY = 0x0200
    REQUIRE_ENCRYPTED_KEY = 0x0800
    NO_FRAME_COUNTER_RESET = 0x1000
