"""General commands: the messages that work on every cluster.

What their lists are made of is in `records`; all of it can be had from here.

Source: ZCL 07-5123 rev 7, 2.5.1 to 2.5.23.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self

from smets1.firmware.zcl.records import (
    EXTENDED,
    ID,
    ID_TYPE,
    NO_PERIODIC,
    STOP_REPORTING,
    DirectedId,
    DiscoveredAttribute,
    ExtendedAttribute,
    ReadRecord,
    ReportingAnswer,
    ReportingRecord,
    ReportingStatus,
    SelectedId,
    SelectedStatus,
    SelectedValue,
    Selector,
    StatusRecord,
    TypedValue,
    decode_statuses,
    directed_at,
    discovered_at,
    each,
    encode_reporting,
    encode_reporting_answer,
    encode_selector,
    encode_statuses,
    extended_at,
    ids,
    need,
    octet_at,
    read_record_at,
    reporting_answer_at,
    reporting_at,
    reporting_status_at,
    selected_id_at,
    selected_status_at,
    selected_value_at,
    typed_at,
)
from smets1.firmware.zcl.status import GeneralCommand
from smets1.firmware.zcl.types import BY_ID, type_of

__all__ = [
    "GENERAL",
    "NO_PERIODIC",
    "STOP_REPORTING",
    "ConfigureReporting",
    "ConfigureReportingResponse",
    "DefaultResponse",
    "DirectedId",
    "DiscoverAttributes",
    "DiscoverAttributesExtended",
    "DiscoverAttributesExtendedResponse",
    "DiscoverAttributesResponse",
    "DiscoverCommandsGenerated",
    "DiscoverCommandsGeneratedResponse",
    "DiscoverCommandsReceived",
    "DiscoverCommandsReceivedResponse",
    "DiscoveredAttribute",
    "ExtendedAttribute",
    "GeneralMessage",
    "ReadAttributes",
    "ReadAttributesResponse",
    "ReadAttributesStructured",
    "ReadRecord",
    "ReadReportingConfiguration",
    "ReadReportingConfigurationResponse",
    "ReportAttributes",
    "ReportingAnswer",
    "ReportingRecord",
    "ReportingStatus",
    "SelectedId",
    "SelectedStatus",
    "SelectedValue",
    "Selector",
    "StatusRecord",
    "TypedValue",
    "WriteAttributes",
    "WriteAttributesNoResponse",
    "WriteAttributesResponse",
    "WriteAttributesStructured",
    "WriteAttributesStructuredResponse",
    "WriteAttributesUndivided",
]


class GeneralMessage(Protocol):
    """A decoded general command."""

    COMMAND_ID: ClassVar[GeneralCommand]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises DecodeError, and no other exception."""

    def encode(self) -> bytes: ...


# --- read, write, report ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadAttributes:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.READ_ATTRIBUTES
    attribute_ids: tuple[int, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(ids(payload))

    def encode(self) -> bytes:
        return b"".join([ID.pack(attribute_id) for attribute_id in self.attribute_ids])


@dataclass(frozen=True, slots=True)
class ReadAttributesResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.READ_ATTRIBUTES_RESPONSE
    records: tuple[ReadRecord, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, read_record_at))

    def encode(self) -> bytes:
        out = bytearray()
        for attribute_id, status, type_id, value in self.records:
            out += ID_TYPE.pack(attribute_id, status)
            if status == 0 and type_id is not None:
                out.append(type_id)
                out += BY_ID[type_id].encode(value)
        return bytes(out)


@dataclass(frozen=True, slots=True)
class _TypedValues:
    """A list of typed values: writes and reports."""

    records: tuple[TypedValue, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, typed_at))

    def encode(self) -> bytes:
        out = bytearray()
        for attribute_id, type_id, value in self.records:
            out += ID_TYPE.pack(attribute_id, type_id)
            out += BY_ID[type_id].encode(value)
        return bytes(out)


class WriteAttributes(_TypedValues):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.WRITE_ATTRIBUTES


class WriteAttributesUndivided(_TypedValues):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.WRITE_ATTRIBUTES_UNDIVIDED


class WriteAttributesNoResponse(_TypedValues):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.WRITE_ATTRIBUTES_NO_RESPONSE


class ReportAttributes(_TypedValues):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.REPORT_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class WriteAttributesResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.WRITE_ATTRIBUTES_RESPONSE
    failed: tuple[StatusRecord, ...]  # empty: all written

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(decode_statuses(payload))

    def encode(self) -> bytes:
        return encode_statuses(self.failed)


@dataclass(frozen=True, slots=True)
class DefaultResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DEFAULT_RESPONSE
    command_id: int  # of the frame that is answered
    status: int

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        need(payload, 0, 2)
        return cls(payload[0], payload[1])

    def encode(self) -> bytes:
        return bytes((self.command_id, self.status))


# --- reporting configuration --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConfigureReporting:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.CONFIGURE_REPORTING
    records: tuple[ReportingRecord, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, reporting_at))

    def encode(self) -> bytes:
        return b"".join(encode_reporting(record) for record in self.records)


@dataclass(frozen=True, slots=True)
class ConfigureReportingResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.CONFIGURE_REPORTING_RESPONSE
    failed: tuple[ReportingStatus, ...]  # empty: all configured

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(() if payload == b"\x00" else each(payload, reporting_status_at))

    def encode(self) -> bytes:
        if not self.failed:
            return b"\x00"
        return b"".join(bytes(record[:2]) + ID.pack(record.attribute_id) for record in self.failed)


@dataclass(frozen=True, slots=True)
class ReadReportingConfiguration:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.READ_REPORTING_CONFIGURATION
    records: tuple[DirectedId, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, directed_at))

    def encode(self) -> bytes:
        return b"".join(bytes((direction,)) + ID.pack(ident) for direction, ident in self.records)


@dataclass(frozen=True, slots=True)
class ReadReportingConfigurationResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.READ_REPORTING_CONFIGURATION_RESPONSE
    records: tuple[ReportingAnswer, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, reporting_answer_at))

    def encode(self) -> bytes:
        return b"".join(encode_reporting_answer(record) for record in self.records)


# --- discovery ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _DiscoverFrom:
    first_id: int
    maximum: int

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        need(payload, 0, 3)
        return cls(payload[0] | payload[1] << 8, payload[2])

    def encode(self) -> bytes:
        return ID.pack(self.first_id) + bytes((self.maximum,))


class DiscoverAttributes(_DiscoverFrom):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_ATTRIBUTES


class DiscoverAttributesExtended(_DiscoverFrom):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_ATTRIBUTES_EXTENDED


@dataclass(frozen=True, slots=True)
class DiscoverAttributesResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_ATTRIBUTES_RESPONSE
    is_complete: bool
    records: tuple[DiscoveredAttribute, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        complete, offset = octet_at(payload, 0)
        return cls(complete != 0, each(payload, discovered_at, offset))

    def encode(self) -> bytes:
        return bytes((self.is_complete,)) + b"".join(ID_TYPE.pack(*record) for record in self.records)


@dataclass(frozen=True, slots=True)
class DiscoverAttributesExtendedResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_ATTRIBUTES_EXTENDED_RESPONSE
    is_complete: bool
    records: tuple[ExtendedAttribute, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        complete, offset = octet_at(payload, 0)
        return cls(complete != 0, each(payload, extended_at, offset))

    def encode(self) -> bytes:
        body = (EXTENDED.pack(*record) for record in self.records)
        return bytes((self.is_complete,)) + b"".join(body)


@dataclass(frozen=True, slots=True)
class _DiscoverCommands:
    first_id: int
    maximum: int

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        need(payload, 0, 2)
        return cls(payload[0], payload[1])

    def encode(self) -> bytes:
        return bytes((self.first_id, self.maximum))


class DiscoverCommandsReceived(_DiscoverCommands):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_COMMANDS_RECEIVED


class DiscoverCommandsGenerated(_DiscoverCommands):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_COMMANDS_GENERATED


@dataclass(frozen=True, slots=True)
class _DiscoveredCommands:
    is_complete: bool
    command_ids: tuple[int, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        need(payload, 0, 1)
        return cls(payload[0] != 0, tuple(payload[1:]))

    def encode(self) -> bytes:
        return bytes((self.is_complete, *self.command_ids))


class DiscoverCommandsReceivedResponse(_DiscoveredCommands):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_COMMANDS_RECEIVED_RESPONSE


class DiscoverCommandsGeneratedResponse(_DiscoveredCommands):
    __slots__ = ()
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.DISCOVER_COMMANDS_GENERATED_RESPONSE


# --- structured access --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadAttributesStructured:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.READ_ATTRIBUTES_STRUCTURED
    records: tuple[SelectedId, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, selected_id_at))

    def encode(self) -> bytes:
        return b"".join(ID.pack(ident) + encode_selector(selector) for ident, selector in self.records)


@dataclass(frozen=True, slots=True)
class WriteAttributesStructured:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.WRITE_ATTRIBUTES_STRUCTURED
    records: tuple[SelectedValue, ...]

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(each(payload, selected_value_at))

    def encode(self) -> bytes:
        out = bytearray()
        for attribute_id, selector, type_id, value in self.records:
            out += ID.pack(attribute_id) + encode_selector(selector)
            out += bytes((type_id,)) + type_of(type_id).encode(value)
        return bytes(out)


@dataclass(frozen=True, slots=True)
class WriteAttributesStructuredResponse:
    COMMAND_ID: ClassVar[GeneralCommand] = GeneralCommand.WRITE_ATTRIBUTES_STRUCTURED_RESPONSE
    failed: tuple[SelectedStatus, ...]  # empty: all written

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(() if payload == b"\x00" else each(payload, selected_status_at))

    def encode(self) -> bytes:
        if not self.failed:
            return b"\x00"
        return b"".join(
            bytes((status,)) + ID.pack(ident) + encode_selector(selector)
            for status, ident, selector in self.failed
        )


def _messages() -> Iterator[type[GeneralMessage]]:
    yield from (
        ReadAttributes, ReadAttributesResponse, WriteAttributes, WriteAttributesUndivided,
        WriteAttributesResponse, WriteAttributesNoResponse, ConfigureReporting,
        ConfigureReportingResponse, ReadReportingConfiguration, ReadReportingConfigurationResponse,
        ReportAttributes, DefaultResponse, DiscoverAttributes, DiscoverAttributesResponse,
        ReadAttributesStructured, WriteAttributesStructured, WriteAttributesStructuredResponse,
        DiscoverCommandsReceived, DiscoverCommandsReceivedResponse, DiscoverCommandsGenerated,
        DiscoverCommandsGeneratedResponse, DiscoverAttributesExtended,
        DiscoverAttributesExtendedResponse,
    )  # fmt: skip


GENERAL: Final[dict[int, type[GeneralMessage]]] = {message.COMMAND_ID: message for message in _messages()}
"""Command id -> message class."""
