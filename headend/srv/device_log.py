"""SRV 8.9 Read Device Log: from the hub's whitelist.

Asked of the CHF it is the CHF device log, with the time of each device's last communication (absent:
never). Asked of a meter or the GPF it lists the devices that talk to it. **Assumption** for those: the
gas meter talks to the GPF; the GPF to the gas meter and the displays; the electricity meter to the displays.
Source: MMC-5.4.xsd, ReadDeviceLogRsp; TMAD 16.12, 16.13 (CHF Whitelist).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from smets1.eui64 import format_eui64
from smets1.firmware.civil import format_utc, from_zigbee_s
from smets1.firmware.zcl.clusters.smets1 import HUB_CONTROL
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import Place, command
from smets1.headend.srv.steps import Answer, Plan, PlanRun, Step, Task, succeed

__all__ = ["PLANS"]

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


PLANS: Final = (
    Plan(
        srv="8.9",
        body_name="ReadDeviceLog",
        response_name="ReadDeviceLogRsp",
        devices=frozenset({DeviceType.CHF, *_PARTNERS}),
        run=_read_log,
    ),
)
