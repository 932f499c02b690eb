"""ZCL status codes and frame-level enumerations.

Source: ZCL 07-5123 rev 7, 2.6.3, table 2-12 (status), table 2-3 (general commands).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.errors import DecodeError

__all__ = ["LAYER", "FrameType", "GeneralCommand", "Side", "Status", "malformed", "to_status"]

LAYER: Final = "zcl"


@unique
class Status(IntEnum):
    """Outcome of a command or of one attribute of it."""

    SUCCESS = 0x00
    FAILURE = 0x01
    NOT_AUTHORIZED = 0x7E
    MALFORMED_COMMAND = 0x80
    UNSUP_CLUSTER_COMMAND = 0x81
    UNSUP_GENERAL_COMMAND = 0x82
    UNSUP_MANUF_CLUSTER_COMMAND = 0x83
    UNSUP_MANUF_GENERAL_COMMAND = 0x84
    INVALID_FIELD = 0x85
    UNSUPPORTED_ATTRIBUTE = 0x86
    INVALID_VALUE = 0x87
    READ_ONLY = 0x88
    INSUFFICIENT_SPACE = 0x89
    DUPLICATE_EXISTS = 0x8A
    NOT_FOUND = 0x8B
    UNREPORTABLE_ATTRIBUTE = 0x8C
    INVALID_DATA_TYPE = 0x8D
    INVALID_SELECTOR = 0x8E
    WRITE_ONLY = 0x8F
    INCONSISTENT_STARTUP_STATE = 0x90
    DEFINED_OUT_OF_BAND = 0x91
    INCONSISTENT = 0x92
    ACTION_DENIED = 0x93
    TIMEOUT = 0x94
    ABORT = 0x95
    INVALID_IMAGE = 0x96
    WAIT_FOR_DATA = 0x97
    NO_IMAGE_AVAILABLE = 0x98
    REQUIRE_MORE_IMAGE = 0x99
    NOTIFICATION_PENDING = 0x9A
    HARDWARE_FAILURE = 0xC0
    SOFTWARE_FAILURE = 0xC1
    CALIBRATION_ERROR = 0xC2
    UNSUPPORTED_CLUSTER = 0xC3


@unique
class FrameType(IntEnum):
    """Two-bit frame type. Source: 2.4.1.1.1."""

    GLOBAL = 0b00
    CLUSTER = 0b01


@unique
class Side(IntEnum):
    """Which half of a cluster: the server holds the data, the client asks for it."""

    SERVER = 0
    CLIENT = 1


@unique
class GeneralCommand(IntEnum):
    """Commands that act across every cluster. Source: table 2-3."""

    READ_ATTRIBUTES = 0x00
    READ_ATTRIBUTES_RESPONSE = 0x01
    WRITE_ATTRIBUTES = 0x02
    WRITE_ATTRIBUTES_UNDIVIDED = 0x03
    WRITE_ATTRIBUTES_RESPONSE = 0x04
    WRITE_ATTRIBUTES_NO_RESPONSE = 0x05
    CONFIGURE_REPORTING = 0x06
    CONFIGURE_REPORTING_RESPONSE = 0x07
    READ_REPORTING_CONFIGURATION = 0x08
    READ_REPORTING_CONFIGURATION_RESPONSE = 0x09
    REPORT_ATTRIBUTES = 0x0A
    DEFAULT_RESPONSE = 0x0B
    DISCOVER_ATTRIBUTES = 0x0C
    DISCOVER_ATTRIBUTES_RESPONSE = 0x0D
    READ_ATTRIBUTES_STRUCTURED = 0x0E
    WRITE_ATTRIBUTES_STRUCTURED = 0x0F
    WRITE_ATTRIBUTES_STRUCTURED_RESPONSE = 0x10
    DISCOVER_COMMANDS_RECEIVED = 0x11
    DISCOVER_COMMANDS_RECEIVED_RESPONSE = 0x12
    DISCOVER_COMMANDS_GENERATED = 0x13
    DISCOVER_COMMANDS_GENERATED_RESPONSE = 0x14
    DISCOVER_ATTRIBUTES_EXTENDED = 0x15
    DISCOVER_ATTRIBUTES_EXTENDED_RESPONSE = 0x16


def malformed(offset: int, reason: str, status: Status = Status.MALFORMED_COMMAND) -> DecodeError:
    """The error for octets that no ZCL decoder can accept."""
    return DecodeError(LAYER, offset, reason, status)


def to_status(code: int | None) -> Status:
    """The status of a refusal; FAILURE for a code that is none of ours."""
    try:
        return Status(Status.FAILURE if code is None else code)
    except ValueError:
        return Status.FAILURE
