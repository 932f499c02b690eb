"""SRV 11.2 Read Firmware Version: asked of the device itself (a PPMID too; Uplift 1.2, 7.2).

Source: MMC-5.4.xsd, ReadFirmwareVersionRsp; DUIS-5.4.xsd, FirmwareVersion (8 characters at most).
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.response import node
from smets1.headend.srv.meter import Place, read
from smets1.headend.srv.steps import Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS"]

_ENDPOINT: Final = 1
_MIRROR_ENDPOINT: Final = 2
_DEVICES: Final = frozenset(
    {DeviceType.ESME, DeviceType.GSME, DeviceType.GPF, DeviceType.CHF, DeviceType.PPMID}
)


def _firmware_version(task: Task) -> PlanRun:
    endpoint = _MIRROR_ENDPOINT if task.device.device_type is DeviceType.GPF else _ENDPOINT
    place = Place(task.device.eui64, endpoint)
    values, answer = yield from read(place, DEVICE_INFORMATION.cluster_id, "firmware_version")
    version = values.get("firmware_version")
    if version is None:
        raise RefusedByDeviceError("the device gives no firmware version", Status.UNSUPPORTED_ATTRIBUTE)
    return succeed("ReadFirmwareVersionRsp", node("FirmwareVersion", f"{version:08X}"), answer=answer)


PLANS: Final = (
    Plan(
        srv="11.2",
        body_name="ReadFirmwareVersion",
        response_name="ReadFirmwareVersionRsp",
        devices=_DEVICES,
        run=_firmware_version,
    ),
)
