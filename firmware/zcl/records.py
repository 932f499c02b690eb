"""Records of the general commands: what their lists are made of, and how each is read off the air.

A function `..._at(payload, offset)` reads one record and gives it with the offset behind it; all raise
DecodeError, and no other exception.

Source: ZCL 07-5123 rev 7, 2.5.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple, TypeVar

from smets1.firmware.zcl.status import Status, malformed
from smets1.firmware.zcl.types import BY_ID, Kind, Value, type_of

ID = Struct("<H")
ID_TYPE = Struct("<HB")
EXTENDED = Struct("<HBB")
REPORTING = Struct("<BHBHH")  # direction, id, type, minimum, maximum interval
Record = TypeVar("Record")
NO_PERIODIC: Final = 0x0000  # maximum interval: only on change
STOP_REPORTING: Final = 0xFFFF  # maximum interval: no reports at all


def each(
    payload: bytes, one: Callable[[bytes, int], tuple[Record, int]], offset: int = 0
) -> tuple[Record, ...]:
    """Records to the end of the payload."""
    records = []
    end = len(payload)
    while offset < end:
        record, offset = one(payload, offset)
        records.append(record)
    return tuple(records)


def need(payload: bytes, offset: int, size: int) -> None:
    if offset + size > len(payload):
        raise malformed(len(payload), "record ends too early")


def id_at(payload: bytes, offset: int) -> tuple[int, int]:
    need(payload, offset, 2)
    return payload[offset] | payload[offset + 1] << 8, offset + 2


def octet_at(payload: bytes, offset: int) -> tuple[int, int]:
    need(payload, offset, 1)
    return payload[offset], offset + 1


def ids(payload: bytes) -> tuple[int, ...]:
    if len(payload) % 2:
        raise malformed(len(payload), "half an attribute identifier")
    return tuple(identifier for (identifier,) in ID.iter_unpack(payload))


class TypedValue(NamedTuple):
    """An attribute with its type and value, as in a report or a write."""

    attribute_id: int
    type_id: int
    value: Value

    @property
    def octets(self) -> bytes:
        return ID_TYPE.pack(self.attribute_id, self.type_id) + BY_ID[self.type_id].encode(self.value)


def typed_at(payload: bytes, offset: int) -> tuple[TypedValue, int]:
    try:
        attribute_id = payload[offset] | payload[offset + 1] << 8
        type_id = payload[offset + 2]
    except IndexError:
        raise malformed(len(payload), "record ends too early") from None
    zcl_type = BY_ID.get(type_id)
    if zcl_type is None:
        raise malformed(offset + 2, f"no data type 0x{type_id:02X}", Status.INVALID_DATA_TYPE)
    value, offset = zcl_type.decode(payload, offset + 3)
    return TypedValue(attribute_id, type_id, value), offset


class ReadRecord(NamedTuple):
    """One answer of a read: a value where status is 0."""

    attribute_id: int
    status: int
    type_id: int | None = None
    value: Value = None


class StatusRecord(NamedTuple):
    """What became of one attribute."""

    status: int
    attribute_id: int


def read_record_at(payload: bytes, offset: int) -> tuple[ReadRecord, int]:
    try:
        attribute_id = payload[offset] | payload[offset + 1] << 8
        status = payload[offset + 2]
        if status:
            return ReadRecord(attribute_id, status), offset + 3
        type_id = payload[offset + 3]
    except IndexError:
        raise malformed(len(payload), "record ends too early") from None
    zcl_type = BY_ID.get(type_id)
    if zcl_type is None:
        raise malformed(offset + 3, f"no data type 0x{type_id:02X}", Status.INVALID_DATA_TYPE)
    value, offset = zcl_type.decode(payload, offset + 4)
    return ReadRecord(attribute_id, 0, type_id, value), offset


def status_at(payload: bytes, offset: int) -> tuple[StatusRecord, int]:
    need(payload, offset, 3)
    return StatusRecord(payload[offset], payload[offset + 1] | payload[offset + 2] << 8), offset + 3


def decode_statuses(payload: bytes) -> tuple[StatusRecord, ...]:
    """All well: one octet SUCCESS. Otherwise the records of those that failed."""
    return () if payload == b"\x00" else each(payload, status_at)


def encode_statuses(failed: tuple[StatusRecord, ...]) -> bytes:
    if not failed:
        return b"\x00"
    return b"".join(bytes((status,)) + ID.pack(attribute_id) for status, attribute_id in failed)


class ReportingRecord(NamedTuple):
    """`direction` SERVER: send reports so; CLIENT: expect reports at least each `timeout_s`."""

    direction: int  # 0: the receiver is to report; 1: the receiver will get reports
    attribute_id: int
    type_id: int = 0
    min_interval_s: int = 0
    max_interval_s: int = 0
    change: Value = None  # reportable change, of the attribute's type; None for discrete types
    timeout_s: int = 0


def reporting_at(payload: bytes, offset: int) -> tuple[ReportingRecord, int]:
    need(payload, offset, 3)
    direction, attribute_id = payload[offset], payload[offset + 1] | payload[offset + 2] << 8
    if direction:
        timeout_s, end = id_at(payload, offset + 3)
        return ReportingRecord(direction, attribute_id, timeout_s=timeout_s), end
    need(payload, offset, 8)
    _, _, type_id, low, high = REPORTING.unpack_from(payload, offset)
    offset += 8
    zcl_type = type_of(type_id)
    change = None
    if zcl_type.kind is Kind.ANALOG:
        change, offset = zcl_type.decode(payload, offset)
    return ReportingRecord(direction, attribute_id, type_id, low, high, change), offset


def encode_reporting(record: ReportingRecord) -> bytes:
    if record.direction:
        return bytes((record.direction,)) + ID.pack(record.attribute_id) + ID.pack(record.timeout_s)
    head = REPORTING.pack(
        0, record.attribute_id, record.type_id, record.min_interval_s, record.max_interval_s
    )
    zcl_type = type_of(record.type_id)
    return head + zcl_type.encode(record.change) if zcl_type.kind is Kind.ANALOG else head


class ReportingStatus(NamedTuple):
    status: int
    direction: int
    attribute_id: int


def reporting_status_at(payload: bytes, offset: int) -> tuple[ReportingStatus, int]:
    need(payload, offset, 4)
    attribute_id = payload[offset + 2] | payload[offset + 3] << 8
    return ReportingStatus(payload[offset], payload[offset + 1], attribute_id), offset + 4


class DirectedId(NamedTuple):
    direction: int
    attribute_id: int


def directed_at(payload: bytes, offset: int) -> tuple[DirectedId, int]:
    need(payload, offset, 3)
    return DirectedId(payload[offset], payload[offset + 1] | payload[offset + 2] << 8), offset + 3


class ReportingAnswer(NamedTuple):
    """`configuration` is None where status is not SUCCESS."""

    status: int
    direction: int
    attribute_id: int
    configuration: ReportingRecord | None = None


def reporting_answer_at(payload: bytes, offset: int) -> tuple[ReportingAnswer, int]:
    status, offset = octet_at(payload, offset)
    if status:
        record, offset = directed_at(payload, offset)
        return ReportingAnswer(status, *record), offset
    configuration, offset = reporting_at(payload, offset)
    return ReportingAnswer(0, configuration.direction, configuration.attribute_id, configuration), offset


def encode_reporting_answer(record: ReportingAnswer) -> bytes:
    if record.configuration is not None:
        return bytes((record.status,)) + encode_reporting(record.configuration)
    return bytes((record.status, record.direction)) + ID.pack(record.attribute_id)


class DiscoveredAttribute(NamedTuple):
    attribute_id: int
    type_id: int


class ExtendedAttribute(NamedTuple):
    attribute_id: int
    type_id: int
    access: int  # bit 0 readable, 1 writable, 2 reportable


def discovered_at(payload: bytes, offset: int) -> tuple[DiscoveredAttribute, int]:
    need(payload, offset, 3)
    return DiscoveredAttribute(*ID_TYPE.unpack_from(payload, offset)), offset + 3


def extended_at(payload: bytes, offset: int) -> tuple[ExtendedAttribute, int]:
    need(payload, offset, 4)
    return ExtendedAttribute(*EXTENDED.unpack_from(payload, offset)), offset + 4


class Selector(NamedTuple):
    """Where inside an attribute: () the whole; (2,) its second element; (2, 1) deeper. 0: the count."""

    indexes: tuple[int, ...] = ()
    action: int = 0  # writes to sets and bags: 0 whole, 1 add, 2 remove


def selector_at(payload: bytes, offset: int) -> tuple[Selector, int]:
    indicator, offset = octet_at(payload, offset)
    indexes = []
    for _ in range(indicator & 0x0F):
        index, offset = id_at(payload, offset)
        indexes.append(index)
    return Selector(tuple(indexes), indicator >> 4), offset


def encode_selector(selector: Selector) -> bytes:
    head = bytes((len(selector.indexes) & 0x0F | selector.action << 4,))
    return head + b"".join(ID.pack(index) for index in selector.indexes)


class SelectedId(NamedTuple):
    attribute_id: int
    selector: Selector


class SelectedValue(NamedTuple):
    attribute_id: int
    selector: Selector
    type_id: int
    value: Value


class SelectedStatus(NamedTuple):
    status: int
    attribute_id: int
    selector: Selector


def selected_id_at(payload: bytes, offset: int) -> tuple[SelectedId, int]:
    attribute_id, offset = id_at(payload, offset)
    selector, offset = selector_at(payload, offset)
    return SelectedId(attribute_id, selector), offset


def selected_value_at(payload: bytes, offset: int) -> tuple[SelectedValue, int]:
    target, offset = selected_id_at(payload, offset)
    type_id, offset = octet_at(payload, offset)
    value, offset = type_of(type_id).decode(payload, offset)
    return SelectedValue(target.attribute_id, target.selector, type_id, value), offset


def selected_status_at(payload: bytes, offset: int) -> tuple[SelectedStatus, int]:
    status, offset = octet_at(payload, offset)
    target, offset = selected_id_at(payload, offset)
    return SelectedStatus(status, *target), offset
