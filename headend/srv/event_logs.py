"""3.3 Clear Event Log and 6.13 Read Event or Security Log.

A gas meter's logs are read from the gas proxy's copies; clearing goes to the meter itself, when it wakes. The
proxy asked for Event or Security gives the hub's own; GSMEEvent and GSMESecurity are the meter's.
A SMETS1 home has no auxiliary load switches, so their log is empty and clearing it changes nothing.

Source: DUIS-5.4.xsd, ReadEventOrSecurityLog, ClearEventLog; MMC-5.4.xsd, LogType.
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.civil import format_utc, from_zigbee_s
from smets1.firmware.zcl.clusters.events import EVENTS, EventLogId
from smets1.firmware.zcl.clusters.meter_data import POWER_EVENT_CODE, POWER_EVENTS
from smets1.firmware.zcl.status import Status
from smets1.headend.alert_codes import DEVICE_ALERTS
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.content import invalid
from smets1.headend.srv.frames import Value
from smets1.headend.srv.log_reads import LogPeriod, read_events
from smets1.headend.srv.meter import METERS, METERS_AND_PROXY, Place, command, place_to_command, place_to_read
from smets1.headend.srv.steps import Plan, PlanRun, RefusedByDeviceError, Task, succeed

__all__ = ["PLANS"]

_ENTRIES: Final = 100
_ENDPOINT: Final = 1
_ALCS: Final = "ALCSEvent"

_LOGS: Final = {
    "Event": EventLogId.GENERAL_EVENT_LOG,
    "Security": EventLogId.SECURITY_EVENT_LOG,
    "PowerEvent": EventLogId.FAULT_LOG,
    "GSMEEvent": EventLogId.GENERAL_EVENT_LOG,
    "GSMESecurity": EventLogId.SECURITY_EVENT_LOG,
}
_HUB: Final = (DeviceType.CHF, DeviceType.GPF)


def _read_log(task: Task) -> PlanRun:
    name, device_type = task.body.value("LogToRead") or "", task.device.device_type
    period = LogPeriod.of(task)
    is_of_gas_meter = name.startswith("GSME")
    if name == _ALCS and device_type is DeviceType.ESME:
        return succeed("ReadEventOrSecurityLogRsp", node("ALCSEvent", []), answer=None)
    if (
        name not in _LOGS
        or (name == "PowerEvent" and device_type is not DeviceType.ESME)
        or (is_of_gas_meter and not task.is_gas)
    ):
        raise invalid(f"{device_type} has no log {name!r}")
    is_hubs_own = device_type in _HUB and not is_of_gas_meter
    place = Place(task.device.eui64, _ENDPOINT) if is_hubs_own else place_to_read(task)
    rows, answer = yield from read_events(place, period, int(_LOGS[name]))
    log = node("Log", [_entry(row) for row in rows[-_ENTRIES:]])
    return succeed("ReadEventOrSecurityLogRsp", log, answer=answer)


def _entry(row: dict[str, Value]) -> XmlNode | None:
    code, data = row["event_id"], bytes(row["event_data"])
    return node(
        "LogEntry",
        [
            node("Timestamp", format_utc(from_zigbee_s(row["event_time"]))),
            node("LogCode", f"{code:04X}"),
            node("LogMeaning", _meaning(code)),
            node("OtherInformation", data.hex().upper()) if data else None,
            node("OtherInformationLogMeaning", _plain(code, data)) if data else None,
        ],
    )


def _meaning(code: int) -> str:
    place = code - POWER_EVENT_CODE
    if 0 <= place < len(POWER_EVENTS):
        return POWER_EVENTS[place]
    return DEVICE_ALERTS.get(code, f"Event 0x{code:04X}")


def _plain(code: int, data: bytes) -> str | None:
    """What a person may make of an event's data; None: nothing."""
    if code >= POWER_EVENT_CODE:
        return f"{int.from_bytes(data, 'big')} mV"
    return data.decode("ascii") if data.isascii() and data.decode("ascii").isprintable() else None


def _clear(task: Task) -> PlanRun:
    if task.body.value("ESMEEventLogType") == "ALCS":
        if task.is_gas:
            raise invalid("a gas meter has no ALCS event log")
        return succeed("ClearEventLogRsp", answer=None)
    values, answer = yield from command(
        place_to_command(task),
        EVENTS.cluster_id,
        "clear_event_log_request",
        "clear_event_log_response",
        is_repeatable=False,  # a second clearing would take events that nobody has read
        log_id=int(EventLogId.GENERAL_EVENT_LOG),
    )
    if not values["cleared_events_logs"] & 1 << EventLogId.GENERAL_EVENT_LOG:
        raise RefusedByDeviceError("the meter has not cleared its event log", Status.FAILURE)
    return succeed("ClearEventLogRsp", answer=answer)


PLANS: Final = (
    Plan(
        srv="3.3",
        body_name="ClearEventLog",
        response_name="ClearEventLogRsp",
        devices=METERS,
        run=_clear,
    ),
    Plan(
        srv="6.13",
        body_name="ReadEventOrSecurityLog",
        response_name="ReadEventOrSecurityLogRsp",
        devices=METERS_AND_PROXY | {DeviceType.CHF},
        run=_read_log,
    ),
)
