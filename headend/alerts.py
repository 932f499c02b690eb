"""Alerts: what users are told unasked, by the DCC and by devices, and who hears which.

DCC alerts are addressed by role and fuel: N16 goes to the network operator of a meter, N55 to its supplier,
N42 to whoever's credentials were placed. A user whose DUIS version does not have an alert gets N999 in its
place. Device alerts go to the meter's supplier, and those about its supply to the network operator too.
More than `THROTTLE_AFTER` alerts of one device with one code in an hour are held back; the first after that
hour says how many it stands for. Source: migration guide, 3.3.4; DUIS-5.4.xsd, DCCAlertMessage.
**Assumptions**: which element carries N16 and N55 (MeterIdentity), which codes are new in DUIS 3.0,
and the figures of throttling.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.alert_data import LAST_GASP, AlertData
from smets1.firmware.civil import format_utc, from_zigbee_s
from smets1.firmware.wan.messages import WanEvent
from smets1.firmware.zcl.clusters.events import EVENTS
from smets1.headend.alert_codes import DEVICE_ALERTS, FUTURE_DATED_EXECUTED
from smets1.headend.certificates import certificate_hash
from smets1.headend.duis.codes import DccAlertCode, DeviceType, UserRole
from smets1.headend.duis.request import RequestId, XmlNode
from smets1.headend.duis.response import DeviceTime, ResponseBuilder, element, node
from smets1.headend.inventory import Inventory, InventoryDevice
from smets1.headend.srv import frames
from smets1.headend.srv.steps import RefusedByDeviceError
from smets1.headend.store import Store, StoredResponse
from smets1.headend.users import ServiceUser, UserTable

__all__ = ["DEVICE_ALERTS", "FUTURE_DATED_EXECUTED", "THROTTLE_AFTER", "AlertDesk"]

_log = logging.getLogger(__name__)

THROTTLE_AFTER: Final = 10
_HOUR_US: Final = 3_600_000_000

_GAS: Final = (DeviceType.GSME, DeviceType.GPF)
_NEW_IN_DUIS_3: Final = frozenset(
    {
        DccAlertCode.SUPPLIER_TOLD,
        DccAlertCode.SRV_NOT_SUPPORTED,
        DccAlertCode.COMMAND_VARIANT_NOT_SUPPORTED,
        DccAlertCode.S1SP_ALERT,
    }
)

_FOR_NETWORK_TOO: Final = frozenset({0x8F1D, 0x8F35, 0x8F36})


@dataclass(slots=True)
class _Series:
    """Alerts of one device with one code."""

    since_utc_us: int
    count: int = 0
    held_back: int = 0


class AlertDesk:
    """Writes alerts into the store; `announce` tells of them once they are durable."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        users: UserTable,
        responses: ResponseBuilder,
        dsp: Eui64,
        on_response: Callable[[StoredResponse], None],
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._users = users
        self._responses = responses
        self.dsp = dsp
        self._on_response = on_response
        self._fresh: list[StoredResponse] = []
        self._series: dict[tuple[Eui64, int], _Series] = {}
        self.concerns: Callable[[ServiceUser, InventoryDevice], bool] = lambda _user, _device: True
        """Whether a user is the one that registration data name, where several have a role."""

    def announce(self) -> None:
        """What was written is durable now."""
        fresh, self._fresh = self._fresh, []
        for response in fresh:
            self._on_response(response)

    # --- DCC alerts ---

    def commissioned(self, meter: InventoryDevice, *, now_utc_us: int) -> None:
        """N55 to the meter's supplier, N16 to its network operator; a meter without MPxN has neither."""
        if meter.mpxn is None:
            _log.info("%s is commissioned, but of no known MPxN: nobody to alert", format_eui64(meter.eui64))
            return
        identity = node("MeterIdentity", [node("MeterMPxNs", [node("ImportMPxN", meter.mpxn)])])
        content = self._status_change(meter, identity)
        for user in self.suppliers(meter):
            self._tell(user, DccAlertCode.SUPPLIER_TOLD, content, now_utc_us)
        for user in self.networks(meter):
            self._tell(user, DccAlertCode.NETWORK_OPERATOR_TOLD, content, now_utc_us)

    def credentials_updated(
        self,
        device: Eui64,
        *,
        owner: Eui64,
        role: str,
        certificates: Sequence[tuple[str, bytes]],
        now_utc_us: int,
    ) -> None:
        """N42 to the owner. `certificates`, 1 to 3: (type as the schema names it, DER)."""
        user = self._users.find(owner)
        if user is None:
            return
        placed = [
            node(
                "Certificates",
                [node("CertificateType", kind), node("CertificateHash", certificate_hash(der))],
            )
            for kind, der in certificates
        ]
        named = [node("DeviceID", format_eui64(device)), node("RemotePartyRole", role), *placed]
        content = element("SecurityCredentialsUpdated", named)
        self._tell(user, DccAlertCode.CREDENTIALS_UPDATED, content, now_utc_us)

    def removed(self, device: InventoryDevice, *, by: Eui64, now_utc_us: int) -> None:
        """A device was decommissioned: to the other users who have to do with it."""
        change = node("DeviceRemovedFromInventory", [])
        if device.device_type is DeviceType.CHF:
            change = node("CHFDecommissioning", [])
        content = self._status_change(device, change)
        for user in (*self.suppliers(device), *self.networks(device)):
            if user.eui64 != by:
                self._tell(user, DccAlertCode.STATUS_CHANGED, content, now_utc_us)

    def schedule_removed(self, owner: Eui64, device: Eui64, schedule_id: int, *, now_utc_us: int) -> None:
        user = self._users.find(owner)
        if user is not None:
            removed = [node("DeviceID", format_eui64(device)), node("DSPScheduleID", schedule_id)]
            content = element("DSPScheduleRemoval", removed)
            self._tell(user, DccAlertCode.SCHEDULE_REMOVED, content, now_utc_us)

    def quarantined(self, request_id: RequestId, *, now_utc_us: int) -> None:
        """N46: anomaly detection has held a request back."""
        user = self._users.find(request_id.originator)
        event = self._store.next_count("quarantined")
        breach = [node("RequestID", str(request_id)), node("QuarantineEventRef", event)]
        content = element("QuarantinedRequest", [node("ADDCCThresholdBreach", breach)])
        if user is not None:
            self._tell(user, DccAlertCode.QUARANTINED, content, now_utc_us)

    def firmware_not_delivered(
        self, request_id: RequestId, devices: Sequence[Eui64], *, now_utc_us: int
    ) -> None:
        """To who asked for it by 11.1: the hub of these devices was not reached, or did not take it."""
        user = self._users.find(request_id.originator)
        failed = [
            node("UpdateFirmwareRequestID", str(request_id)),
            node("MeterIDs", ",".join(map(format_eui64, devices))),
        ]
        content = element("FirmwareDistributionFailure", failed)
        if user is not None:
            self._tell(user, DccAlertCode.FIRMWARE_NOT_DELIVERED, content, now_utc_us)

    def suppliers(self, device: InventoryDevice) -> list[ServiceUser]:
        """Of the device's fuel; of a device of both, the suppliers of both."""
        return self._in_roles(device, UserRole.IS, UserRole.GS)

    def networks(self, device: InventoryDevice) -> list[ServiceUser]:
        return self._in_roles(device, UserRole.ED, UserRole.GT)

    def _in_roles(self, device: InventoryDevice, electricity: UserRole, gas: UserRole) -> list[ServiceUser]:
        wanted = {electricity, gas}
        if device.device_type is DeviceType.ESME:
            wanted = {electricity}
        elif device.device_type in _GAS:
            wanted = {gas}
        return [
            user
            for user in self._users.all()
            if user.is_active
            and user.eui64 != self.dsp
            and wanted & set(user.roles)
            and self.concerns(user, device)
        ]

    @staticmethod
    def _status_change(device: InventoryDevice, change: XmlNode | None) -> XmlNode:
        return element(
            "DeviceStatusChangeEvent",
            [node("DeviceID", format_eui64(device.eui64)), node("DeviceStatusChange", [change])],
        )

    def _tell(self, user: ServiceUser, code: DccAlertCode, content: XmlNode, now_utc_us: int) -> None:
        alert_id = RequestId(self.dsp, user.eui64, self._store.next_count("dcc alerts"))
        if code in _NEW_IN_DUIS_3 and user.duis_version < 3:
            content, code = _mismatch(user, code), DccAlertCode.UNKNOWN_TO_USER
        xml = self._responses.dcc_alert(alert_id, code, content, now_utc_us=now_utc_us)
        self._add(user.eui64, xml, now_utc_us)

    def _add(self, user: Eui64, xml: bytes, now_utc_us: int) -> None:
        number = self._store.add_alert(user=user, xml=xml, now_utc_us=now_utc_us)
        self._fresh.append(
            StoredResponse(
                number=number, key=None, user=user, xml=xml, created_utc_us=now_utc_us, is_delivered=False
            )
        )

    # --- device alerts ---

    def on_event(self, hub: Eui64, event: WanEvent, *, now_utc_us: int) -> None:
        """What a device says unasked (foreign octets): its alert, once, to whoever it concerns."""
        device = self._inventory.find(event.source)
        if device is None or device.hub != hub:
            _log.warning("hub %s reports an event of a device it does not have", format_eui64(hub))
            return
        if event.cluster_id != EVENTS.cluster_id:
            _log.info("event of %s on cluster 0x%04X", format_eui64(event.source), event.cluster_id)
            return
        try:
            values = frames.parse_command(EVENTS.cluster_id, "publish_event", event.frame)
        except (DecodeError, RefusedByDeviceError) as error:
            _log.warning("event of %s: %s", format_eui64(event.source), error)
            return
        with self._store.together():
            if self._store.note_event(f"{hub:016x}/{event.event_id}"[:64]):
                seconds = values["event_time"]
                utc_us = event.utc_us if seconds is None else from_zigbee_s(seconds)
                self._tell_of(device, values, utc_us, now_utc_us)
        self._store.flush()

    def _tell_of(self, device: InventoryDevice, values: dict[str, Any], utc_us: int, now_utc_us: int) -> None:
        """A device numbers its alerts: one that it sent twice, not having heard the hub, is told once."""
        code, data = values["event_id"], None
        with suppress(DecodeError):  # another maker's device, or the hub itself
            data = AlertData.decode(bytes(values["event_data"]))
        if data is not None and not self._store.note_event(f"{device.eui64:016x}/alert/{data.number}"):
            return
        if code == LAST_GASP:
            self._power_outage(device, utc_us, now_utc_us)
        else:
            self._device_alert(device, code, utc_us, now_utc_us, count=data.throttled_count if data else 0)

    def _power_outage(self, device: InventoryDevice, utc_us: int, now_utc_us: int) -> None:
        """AD1, to supplier and network operator; of a meter without MPAN the schema cannot tell."""
        if device.mpxn is None:
            _log.info("%s lost power, but is of no known MPxN: nobody to alert", format_eui64(device.eui64))
            return
        rows = [
            node("CommsHubDeviceID", format_eui64(device.hub)),
            node("StartDateTime", format_utc(utc_us)),
            node("MPxN", device.mpxn),
        ]
        content = element("PowerOutageEvent", rows)
        told = {user.eui64: user for user in (*self.suppliers(device), *self.networks(device))}
        for user in told.values():
            self._tell(user, DccAlertCode.POWER_OUTAGE, content, now_utc_us)

    def report(self, eui64: Eui64, code: int, *, now_utc_us: int) -> None:
        """An alert of a device of which the S1SP knows, since it did in its place what it is about."""
        device = self._inventory.find(eui64)
        if device is not None:
            self._device_alert(device, code, now_utc_us, now_utc_us)

    def _device_alert(
        self, device: InventoryDevice, code: int, utc_us: int, now_utc_us: int, *, count: int = 0
    ) -> None:
        """`count`: how many like it the device itself has held back."""
        is_held, throttled = self._throttle(device.eui64, code, now_utc_us)
        if is_held:
            return
        if count:
            throttled = throttled or (self._store.next_count("throttled alerts"), 0)
            throttled = throttled[0], throttled[1] + count
        users = self.suppliers(device)
        if code in _FOR_NETWORK_TOO:
            users += [user for user in self.networks(device) if user not in users]
        for user in users:
            alert_id = RequestId(device.eui64, user.eui64, self._store.next_count("device alerts"))
            xml = self._responses.device_alert(
                alert_id,
                code,
                DEVICE_ALERTS.get(code, f"Event 0x{code:04X}"),
                now_utc_us=now_utc_us,
                time=DeviceTime(utc_us=utc_us, is_from_gsme=device.device_type is DeviceType.GSME),
                throttled=throttled,
            )
            self._add(user.eui64, xml, now_utc_us)

    def _throttle(self, device: Eui64, code: int, now_utc_us: int) -> tuple[bool, tuple[int, int] | None]:
        """(Hold it back?, the series that it ends and how many that held). Not kept over a restart."""
        series = self._series.setdefault((device, code), _Series(now_utc_us))
        throttled = None
        if now_utc_us - series.since_utc_us >= _HOUR_US:
            if series.held_back:
                throttled = self._store.next_count("throttled alerts"), series.held_back
            series = self._series[device, code] = _Series(now_utc_us)
        series.count += 1
        if series.count > THROTTLE_AFTER:
            series.held_back += 1
            return True, None
        return False, throttled


def _mismatch(user: ServiceUser, code: DccAlertCode) -> XmlNode:
    return element(
        "DUISVersionMismatch",
        [
            node("DCCAlertVersionMismatch", [node("DCCAlertCode", code)]),
            node("ServiceUserDUISVersion", user.duis_version),
        ],
    )
