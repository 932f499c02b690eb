"""SRV 11.3 Activate Firmware: the device starts the image that it has fetched, at once or at its hour.

Which image is said by its hash, which the S1SP knows from 11.1. For a meter it is a Critical Instruction with
a SUA; a PPMID and the hub have no SUA key and are told without. A date to come is kept by the device; the
date 3000-12-31 withdraws it. Source: MMC-5.4.xsd, ActivateFirmwareRsp; Uplift 1.2, 4.3.
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import DebugEntry, node
from smets1.headend.srv.dated import NOW_S, WITHDRAW_S, start_s
from smets1.headend.srv.meter import METERS, Place, command
from smets1.headend.srv.steps import Outcome, Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS"]

_RESPONSE: Final = "ActivateFirmwareRsp"
_ENDPOINT: Final = 1
# StatusASN1: which number goes with which status is an **assumption**.
_NO_IMAGE_HELD: Final = 1


def _activate(task: Task) -> PlanRun:
    if not task.device.is_upgradable:
        raise RefusedByDeviceError(f"a PPMID of Group ID {task.device.group_id} takes no firmware", 0x81)
    when_s = start_s(task)
    version = task.firmware_version(task.body.value("FirmwareHash") or "")
    if when_s == WITHDRAW_S:
        version = WITHDRAW_S  # whichever it is
    if version is None:
        return _no_image()
    values, answer = yield from command(
        Place(task.device.eui64, _ENDPOINT),
        DEVICE_INFORMATION.cluster_id,
        "activate_firmware",
        "activate_firmware_response",
        is_critical=task.device.device_type in METERS,
        file_version=version,
        activation_time=when_s,
    )
    if values["status"] != Status.SUCCESS:
        return _no_image()
    if when_s != NOW_S:
        return succeed(_RESPONSE, answer=answer)
    return succeed(_RESPONSE, _code("success"), node("FirmwareVersion", f"{version:08X}"), answer=answer)


def _no_image() -> Outcome:
    data = node(_RESPONSE, [_code("noImageHeld")], MessageSuccess=False)
    entry = DebugEntry(error="the device holds no image of that hash", response_code=_NO_IMAGE_HELD)
    return Outcome(data=data, debug=(entry,))


def _code(status: str) -> XmlNode | None:
    number = 0 if status == "success" else _NO_IMAGE_HELD
    return node("ActivateImageResponseCode", [node("ASN1Status", status)], ResponseCode=number)


PLANS: Final = (
    Plan(
        srv="11.3",
        body_name="ActivateFirmware",
        response_name=_RESPONSE,
        devices=METERS | {DeviceType.CHF, DeviceType.PPMID},
        run=_activate,
    ),
)
