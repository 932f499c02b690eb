"""Structured reads and writes: into the elements of arrays, structures, sets and bags.

Source: ZCL 07-5123 rev 7, 2.5.15 to 2.5.17.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from smets1.errors import RefusedError
from smets1.firmware.zcl import general
from smets1.firmware.zcl.server import ClusterInstance, CommandContext
from smets1.firmware.zcl.status import Status, to_status
from smets1.firmware.zcl.types import Value, ZclArray, ZclStruct

__all__ = ["read", "write"]

_U16: Final = 0x21
_STRUCT: Final = 0x4C
_SET: Final = 0x50
_ADD: Final = 1
_REMOVE: Final = 2

_MayWrite: TypeAlias = Callable[[ClusterInstance, general.TypedValue, CommandContext], Status]


def _select(type_id: int, value: Value, indexes: tuple[int, ...]) -> tuple[int, Value]:
    """(type, value) of an element; index 0 is the number of elements. Raises RefusedError."""
    for position, index in enumerate(indexes):
        if not isinstance(value, ZclArray | ZclStruct):
            raise RefusedError(Status.INVALID_SELECTOR)
        items = value.elements if isinstance(value, ZclArray) else value.members
        if index == 0 and position == len(indexes) - 1:
            return _U16, len(items)
        if not 0 < index <= len(items):
            raise RefusedError(Status.INVALID_SELECTOR)
        if isinstance(value, ZclArray):
            type_id, value = value.element_type, value.elements[index - 1]
        else:
            type_id, value = value.members[index - 1]
    return type_id, value


def _replaced(value: Value, indexes: tuple[int, ...], type_id: int, new: Value) -> Value:
    """The value with one element changed. Raises RefusedError."""
    if not indexes:
        return new
    index, deeper = indexes[0] - 1, indexes[1:]
    if isinstance(value, ZclArray) and 0 <= index < len(value.elements):
        if not deeper and type_id != value.element_type:
            raise RefusedError(Status.INVALID_DATA_TYPE)
        element = _replaced(value.elements[index], deeper, type_id, new)
        return ZclArray(value.element_type, (*value.elements[:index], element, *value.elements[index + 1 :]))
    if isinstance(value, ZclStruct) and 0 <= index < len(value.members):
        member_type, member = value.members[index]
        if not deeper and type_id != member_type:
            raise RefusedError(Status.INVALID_DATA_TYPE)
        changed = (member_type, _replaced(member, deeper, type_id, new))
        return ZclStruct((*value.members[:index], changed, *value.members[index + 1 :]))
    raise RefusedError(Status.INVALID_SELECTOR)


def _added(value: Value, attribute_type: int, type_id: int, new: Value) -> Value:
    if not isinstance(value, ZclArray) or type_id != value.element_type:
        raise RefusedError(Status.INVALID_DATA_TYPE)
    if attribute_type == _SET and new in value.elements:
        raise RefusedError(Status.DUPLICATE_EXISTS)
    return ZclArray(value.element_type, (*value.elements, new))


def _removed(value: Value, type_id: int, old: Value) -> Value:
    if not isinstance(value, ZclArray) or type_id != value.element_type:
        raise RefusedError(Status.INVALID_DATA_TYPE)
    elements = list(value.elements)
    if old not in elements:
        raise RefusedError(Status.NOT_FOUND)
    elements.remove(old)
    return ZclArray(value.element_type, tuple(elements))


def read(instance: ClusterInstance, payload: bytes) -> general.ReadAttributesResponse:
    """Raises DecodeError for octets that are no Read Attributes Structured."""
    records = []
    for attribute_id, selector in general.ReadAttributesStructured.decode(payload).records:
        try:
            found = instance.read(attribute_id)
            if found is None:
                raise RefusedError(Status.UNSUPPORTED_ATTRIBUTE)
            type_id, value = _select(found[0].type.type_id, found[1], selector.indexes)
        except RefusedError as error:
            records.append(general.ReadRecord(attribute_id, error.status))
        else:
            records.append(general.ReadRecord(attribute_id, 0, type_id, value))
    return general.ReadAttributesResponse(tuple(records))


def _write_one(
    instance: ClusterInstance, record: general.SelectedValue, context: CommandContext, may_write: _MayWrite
) -> Status:
    found = instance.read(record.attribute_id)
    if found is None:
        return Status.UNSUPPORTED_ATTRIBUTE
    attribute_type, value = found[0].type.type_id, found[1]
    action, indexes = record.selector.action, record.selector.indexes
    if action == _ADD:
        new = _added(value, attribute_type, record.type_id, record.value)
    elif action == _REMOVE:
        new = _removed(value, record.type_id, record.value)
    elif action:
        return Status.INVALID_SELECTOR
    else:
        new = _replaced(value, indexes, record.type_id, record.value)
        if not indexes:
            attribute_type = record.type_id  # checked against the attribute's own below
    status = may_write(instance, general.TypedValue(record.attribute_id, attribute_type, new), context)
    return status if status is not Status.SUCCESS else instance.write(record.attribute_id, new, context)


def write(
    instance: ClusterInstance, payload: bytes, context: CommandContext, may_write: _MayWrite
) -> general.WriteAttributesStructuredResponse:
    """Raises DecodeError for octets that are no Write Attributes Structured."""
    failed = []
    for record in general.WriteAttributesStructured.decode(payload).records:
        try:
            status = _write_one(instance, record, context, may_write)
        except RefusedError as error:
            status = to_status(error.status)
        if status is not Status.SUCCESS:
            failed.append(general.SelectedStatus(status, record.attribute_id, record.selector))
    return general.WriteAttributesStructuredResponse(tuple(failed))
