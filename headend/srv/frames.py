"""ZCL frames as the head end writes and reads them: by cluster id and names, in plain dicts.

The hub or the meter picks no sequence number for us: one instruction is one exchange, so it is always 0.
Source: ZCL 07-5123 rev 7, 2.4.1, 2.5.1, 2.5.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from smets1.errors import DecodeError
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.declare import Cluster
from smets1.firmware.zcl.frame import ZclFrame, command_frame, general_frame
from smets1.firmware.zcl.general import DefaultResponse, ReadAttributes, ReadAttributesResponse
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.headend.srv.steps import RefusedByDeviceError

__all__ = ["Value", "command", "parse_command", "parse_read", "read_attributes"]

Value: TypeAlias = Any
"""A ZCL value: int, bool, bytes, str, list or dict, as the cluster declares it."""

_LAYER: Final = "ZCL answer"


def read_attributes(cluster_id: int, names: Iterable[str]) -> bytes:
    """One frame that reads server attributes by name."""
    cluster = CLUSTERS[cluster_id]
    ids = tuple(cluster.attribute(name).attribute_id for name in names)
    return general_frame(ReadAttributes(ids), manufacturer_code=cluster.manufacturer_code)


def parse_read(cluster_id: int, names: Iterable[str], frame: bytes) -> dict[str, Value]:
    """The values that a device gave; what it does not have, or not just now, is left out.

    Raises DecodeError, or RefusedByDeviceError for a default response.
    """
    cluster = CLUSTERS[cluster_id]
    answer = _decode(frame, cluster)
    message = answer.general() if answer.header.frame_type is FrameType.GLOBAL else None
    if not isinstance(message, ReadAttributesResponse):
        _refuse(message, "read")
        raise DecodeError(_LAYER, 0, "not a read response")
    by_id = {record.attribute_id: record for record in message.records}
    values: dict[str, Value] = {}
    for name in names:
        record = by_id.get(cluster.attribute(name).attribute_id)
        if record is not None and record.status == Status.SUCCESS and record.value is not None:
            values[name] = record.value
    return values


def command(cluster_id: int, name: str, values: Mapping[str, Value], *, sender: Side = Side.CLIENT) -> bytes:
    """One frame with a command; `sender` SERVER for what an energy service interface publishes."""
    return command_frame(CLUSTERS[cluster_id], name, dict(values), sender=sender)


def parse_command(
    cluster_id: int, expected: str | None, frame: bytes, *, answerer: Side = Side.SERVER
) -> dict[str, Value]:
    """The values of the expected response; `expected` None: a default response of success is enough.

    Raises DecodeError, or RefusedByDeviceError for a default response that says no.
    """
    cluster = CLUSTERS[cluster_id]
    answer = _decode(frame, cluster, answerer)
    if answer.header.frame_type is FrameType.GLOBAL:
        message = answer.general()
        _refuse(message, expected or "command")
        if expected is None and isinstance(message, DefaultResponse):
            return {}
        raise DecodeError(_LAYER, 0, f"not {expected}")
    name, values = answer.command(cluster)
    if name != expected:
        raise DecodeError(_LAYER, 2, f"{name}, not {expected}")
    return values


def _decode(frame: bytes, cluster: Cluster, answerer: Side = Side.SERVER) -> ZclFrame:
    answer = ZclFrame.decode(frame)
    if answer.header.sender is not answerer:
        raise DecodeError(_LAYER, 0, f"not from the {answerer.name.lower()} side")
    if answer.header.manufacturer_code != cluster.manufacturer_code:
        raise DecodeError(_LAYER, 0, "another manufacturer code than the cluster's")
    return answer


def _refuse(message: object, what: str) -> None:
    """Raise RefusedByDeviceError for a default response with an error status."""
    if isinstance(message, DefaultResponse) and message.status != Status.SUCCESS:
        try:
            reason = Status(message.status).name.lower().replace("_", " ")
        except ValueError:
            reason = f"status 0x{message.status:02X}"
        raise RefusedByDeviceError(f"the device refuses {what}: {reason}", message.status)
