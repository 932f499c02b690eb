"""The hub's whitelist: 8.9 Read Device Log, 8.11 Update HAN Device Log, 8.7 joins, 8.8 unjoins.

Asked of the CHF it is the CHF device log, with the time of each device's last communication (absent:
never). Asked of a meter or the GPF it lists the devices that talk to it. **Assumption** for those: the
gas meter talks to the GPF; the GPF to the gas meter and the displays; the electricity meter to the displays.

8.11 adds a device with its install code to the hub's log, or removes it. A SMETS1 home has no join of two
devices: all have their keys from the hub. **Assumption**: 8.7 succeeds where the other device is on
the hub's log, and 8.8 takes it off; neither needs a SUA, since only the hub acts.
Source: MMC-5.4.xsd, ReadDeviceLogRsp, UpdateHANDeviceLogRsp, JoinService...Rsp, UnjoinService...Rsp;
TMAD 16.12, 16.13 (CHF Whitelist).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final

from smets1.errors import DecodeError
from smets1.eui64 import format_eui64
from smets1.firmware.civil import format_utc, from_zigbee_s
from smets1.firmware.crypto.mmo import format_install_code
from smets1.firmware.zcl.clusters.smets1 import HUB_CONTROL, DeviceLogOperation
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.inventory import InventoryDevice
from smets1.headend.srv.content import invalid, required
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import Place, command
from smets1.headend.srv.steps import Answer, Plan, PlanRun, RefusedByDeviceError, Step, Task, succeed

__all__ = ["COMMISSIONING_PLANS", "PLANS"]

_MAX_ENTRIES: Final = 16  # MMC-5.4.xsd, CHFDeviceLogType
_HUB_ENDPOINT: Final = 1
_NEVER: Final = 0xFFFFFFFF
_DISPLAYS: Final = (DeviceType.PPMID, DeviceType.IHD, DeviceType.CAD)

# Type of the asked device -> types of the devices in its log. The schema calls displays without
# prepayment functions "Type2".
_PARTNERS: Final = {
    DeviceType.ESME: _DISPLAYS,
    DeviceType.GSME: (DeviceType.GPF,),
    DeviceType.GPF: (DeviceType.GSME, *_DISPLAYS),
}
_LOG_TYPES: Final = {DeviceType.IHD: "Type2", DeviceType.CAD: "Type2"}

# As the hub's device log numbers them: GBCS device types.
_TYPE_CODES: Final = {
    DeviceType.GSME: 0,
    DeviceType.ESME: 1,
    DeviceType.IHD: 6,
    DeviceType.PPMID: 7,
    DeviceType.CAD: 8,
}
_TYPE_UNKNOWN: Final = 0xFF

_Entries = list[dict[str, Value]]


def _read_log(task: Task) -> PlanRun:
    entries, answer = yield from _all_entries(task)
    if task.device.device_type is DeviceType.CHF:
        content = node("CHFDeviceLog", [_chf_entry(entry) for entry in entries[:_MAX_ENTRIES]])
    else:
        content = node("DeviceLogEntries", _partner_entries(task, entries))
    return succeed("ReadDeviceLogRsp", content, answer=answer)


def _all_entries(task: Task) -> Generator[Step, Answer, tuple[_Entries, Answer]]:
    """The whole log; it may take more than one frame."""
    hub = Place(task.device.hub, _HUB_ENDPOINT)
    entries: _Entries = []
    while True:
        values, answer = yield from command(
            hub, HUB_CONTROL.cluster_id, "read_device_log", "device_log", first_index=len(entries)
        )
        entries += values["entries"]
        if not values["entries"] or len(entries) >= min(values["total"], _MAX_ENTRIES):
            return entries, answer


def _chf_entry(entry: dict[str, Value]) -> XmlNode | None:
    heard = entry["last_communication"]
    is_never = heard is None or heard == _NEVER
    return node(
        "CHFDeviceLogEntry",
        [
            node("DeviceID", format_eui64(entry["device"])),
            node("LastCommunicationsDateTime", None if is_never else format_utc(from_zigbee_s(heard))),
        ],
    )


def _partner_entries(task: Task, entries: _Entries) -> list[XmlNode | None]:
    listed = {entry["device"] for entry in entries}
    partners = _PARTNERS.get(task.device.device_type, ())
    return [
        node(
            "LogEntry",
            [
                node("DeviceID", format_eui64(device.eui64)),
                node("DeviceType", _LOG_TYPES.get(device.device_type, device.device_type.value)),
            ],
        )
        for device in task.home
        if device.device_type in partners and (device.device_type is DeviceType.GPF or device.eui64 in listed)
    ]


def _update_log(task: Task) -> PlanRun:
    device = task.other
    is_added = task.body.value("RequestType") == "Add"
    if device is None:
        raise RefusedByDeviceError("the device is not in the inventory", Status.NOT_FOUND)
    install_code = b""
    if is_added:
        added = required(task.body.find("AddDeviceToCHFWhitelist"), "AddDeviceToCHFWhitelist is missing")
        try:
            install_code = format_install_code(bytes.fromhex(added.value("InstallCode") or ""))
        except (ValueError, DecodeError):
            raise invalid("InstallCode has not 6, 8, 12 or 16 octets") from None
    operation = DeviceLogOperation.ADD if is_added else DeviceLogOperation.REMOVE
    answer = yield from _write_log(task, operation, device, install_code)
    return succeed("UpdateHANDeviceLogRsp", answer=answer)


def _write_log(
    task: Task, operation: DeviceLogOperation, device: InventoryDevice, install_code: bytes = b""
) -> Generator[Step, Answer, Answer]:
    values, answer = yield from command(
        Place(task.device.hub, _HUB_ENDPOINT),
        HUB_CONTROL.cluster_id,
        "update_device_log",
        "update_device_log_response",
        operation=operation,
        device=device.eui64,
        device_type=_TYPE_CODES.get(device.device_type, _TYPE_UNKNOWN),
        install_code=install_code,
    )
    if values["status"]:
        raise RefusedByDeviceError("the hub refuses the change of its log", values["status"])
    return answer


def _join(response_name: str) -> Callable[[Task], PlanRun]:
    def join(task: Task) -> PlanRun:
        entries, answer = yield from _all_entries(task)
        other = task.other
        if other is None or not _is_on_hub(other, task, entries):
            raise RefusedByDeviceError("the other device is not on the hub's device log", Status.NOT_FOUND)
        return succeed(response_name, _asn1("joinResponseCode", "success"), answer=answer)

    return join


def _is_on_hub(device: InventoryDevice, task: Task, entries: _Entries) -> bool:
    """The hub's own functions and its ESME are on the HAN without being listed (TMAD 16.12)."""
    if device.device_type in (DeviceType.ESME, DeviceType.GPF, DeviceType.CHF):
        return device.hub == task.device.hub
    return any(entry["device"] == device.eui64 for entry in entries)


def _unjoin(response_name: str) -> Callable[[Task], PlanRun]:
    def unjoin(task: Task) -> PlanRun:
        other = task.other
        if other is None or other.device_type not in (DeviceType.GSME, *_DISPLAYS):
            raise RefusedByDeviceError("the other device is not on the hub's device log", Status.NOT_FOUND)
        answer = yield from _write_log(task, DeviceLogOperation.REMOVE, other)
        return succeed(response_name, _asn1("unjoinResponseCode", "success"), answer=answer)

    return unjoin


def _asn1(name: str, status: str) -> XmlNode | None:
    """StatusASN1; which number goes with which failure is an **assumption**."""
    return node(name, [node("ASN1Status", status)], ResponseCode=0 if status == "success" else 1)


def _pairing(srv: str, name: str, run: Callable[[str], Callable[[Task], PlanRun]]) -> Plan:
    code = "joinResponseCode" if name.startswith("Join") else "unjoinResponseCode"
    failure = "other" if name.startswith("Join") else "otherDeviceNotInDeviceLog"
    return Plan(
        srv=srv,
        body_name=name,
        response_name=f"{name}Rsp",
        devices=frozenset(_PARTNERS) | frozenset(_DISPLAYS),
        run=run(f"{name}Rsp"),
        failure_content=lambda _: _asn1(code, failure),
    )


PLANS: Final = (
    _pairing("8.7.1", "JoinServiceCritical", _join),
    _pairing("8.7.2", "JoinServiceNonCritical", _join),
    _pairing("8.8.1", "UnjoinServiceCritical", _unjoin),
    _pairing("8.8.2", "UnjoinServiceNonCritical", _unjoin),
    Plan(
        srv="8.11",
        body_name="UpdateHANDeviceLog",
        response_name="UpdateHANDeviceLogRsp",
        devices=frozenset({DeviceType.CHF}),
        run=_update_log,
    ),
    Plan(
        srv="8.9",
        body_name="ReadDeviceLog",
        response_name="ReadDeviceLogRsp",
        devices=frozenset({DeviceType.CHF, *_PARTNERS}),
        run=_read_log,
    ),
)

# --- Commissioning Requests ---------------------------------------------------------------------------


def _commissioned_log(task: Task) -> PlanRun:
    yield from ()  # the device is on the hub's log: the SMSO has put it there
    return succeed("UpdateHANDeviceLogRsp", answer=None)


def _commissioned_join(response_name: str) -> Callable[[Task], PlanRun]:
    def join(task: Task) -> PlanRun:
        yield from ()
        if task.other is None:
            raise RefusedByDeviceError("the other device is not in the inventory", Status.NOT_FOUND)
        return succeed(response_name, _asn1("joinResponseCode", "success"), answer=None)

    return join


_LOG_PLAN: Final = next(plan for plan in PLANS if plan.srv == "8.11")
COMMISSIONING_PLANS: Final = {
    "8.7.1": _pairing("8.7.1", "JoinServiceCritical", _commissioned_join),
    "8.7.2": _pairing("8.7.2", "JoinServiceNonCritical", _commissioned_join),
    "8.11": replace(_LOG_PLAN, run=_commissioned_log),
}
"""The same services as part of a migration: they fill the inventory, and none reaches a device
(migration guide, 2.3.3).
"""
