"""Where on a home a meter's clusters are, and how to read and command them.

Electricity: the ESME's endpoint 1. Gas: reads go to the mirror in the hub (the gas proxy function,
endpoint 2), which answers at once with the meter's last word; commands go to the GSME itself and wait
in the hub until it wakes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.zcl.status import Side, Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.inventory import InventoryDevice
from smets1.headend.srv import frames
from smets1.headend.srv.frames import Value
from smets1.headend.srv.steps import Answer, RefusedByDeviceError, Step, Task

__all__ = ["METERS", "METERS_AND_PROXY", "Place", "command", "place_to_command", "place_to_read", "read"]

METERS: Final = frozenset({DeviceType.ESME, DeviceType.GSME})
METERS_AND_PROXY: Final = METERS | {DeviceType.GPF}

_ENDPOINT: Final = 1
_MIRROR_ENDPOINT: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint of one device."""

    target: Eui64
    endpoint: int


def place_to_read(task: Task) -> Place:
    """Raises RefusedByDeviceError for a gas meter whose home has no proxy."""
    if not task.is_gas:
        return Place(task.device.eui64, _ENDPOINT)
    return Place(_require(task, DeviceType.GPF).eui64, _MIRROR_ENDPOINT)


def place_to_command(task: Task) -> Place:
    """Raises RefusedByDeviceError for a gas request in a home without a gas meter."""
    if not task.is_gas:
        return Place(task.device.eui64, _ENDPOINT)
    return Place(_require(task, DeviceType.GSME).eui64, _ENDPOINT)


def _require(task: Task, device_type: DeviceType) -> InventoryDevice:
    device = task.first(device_type)
    if device is None:
        raise RefusedByDeviceError(f"the home has no {device_type}", Status.NOT_FOUND)
    return device


def read(
    place: Place, cluster_id: int, *names: str
) -> Generator[Step, Answer, tuple[dict[str, Value], Answer]]:
    """Read attributes in one frame. Attributes that the device does not have are left out of the dict."""
    frame = frames.read_attributes(cluster_id, names)
    answer = yield Step(target=place.target, endpoint=place.endpoint, cluster_id=cluster_id, frame=frame)
    return frames.parse_read(cluster_id, names, answer.frame), answer


def command(
    place: Place,
    cluster_id: int,
    name: str,
    response: str | None,
    *,
    is_critical: bool = False,
    is_repeatable: bool = True,
    sender: Side = Side.CLIENT,
    **values: Value,
) -> Generator[Step, Answer, tuple[dict[str, Value], Answer]]:
    """Send a cluster command and read its response (None: a default response of success is enough).

    `sender` SERVER: what an energy service interface publishes to a meter, such as PublishPrice.
    Raises RefusedByDeviceError where the device says no by a default response.
    """
    answer = yield Step(
        target=place.target,
        endpoint=place.endpoint,
        cluster_id=cluster_id,
        frame=frames.command(cluster_id, name, values, sender=sender),
        is_critical=is_critical,
        is_repeatable=is_repeatable,
    )
    answerer = Side.SERVER if sender is Side.CLIENT else Side.CLIENT
    return frames.parse_command(cluster_id, response, answer.frame, answerer=answerer), answer
