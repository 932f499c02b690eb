"""What the DSP answers by itself: the inventory (8.2, 8.3, 8.4, 12.2), schedules (5.1, 5.2, 5.3),
and whether firmware (11.1) can be delivered; see `firmware`.

Source: DUIS-5.4.xsd, the elements that `BODIES` names. Which status may become which is an
**assumption**: a user sets a device Pending or InstalledNotCommissioned, deletes only what is
Pending, and decommissions what is not so yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from smets1.errors import InputError
from smets1.eui64 import Eui64, parse_eui64
from smets1.headend.alerts import AlertDesk
from smets1.headend.catalogue import ServiceVariant, Smets1Support, find_variant
from smets1.headend.duis.codes import DeviceStatus, DeviceType, ResponseCode
from smets1.headend.duis.request import DuisRequest, XmlNode
from smets1.headend.duis.response import node
from smets1.headend.firmware import FirmwareDesk
from smets1.headend.inventory import Inventory, InventoryDevice
from smets1.headend.schedules import MAX_SCHEDULES, Schedule, ScheduleBook
from smets1.headend.srv.inventory_reads import read_inventory
from smets1.headend.users import UserTable

__all__ = ["BODIES", "READS", "NonDeviceDesk"]

BODIES: Final = {
    "5.1": "CreateSchedule",
    "5.2": "ReadSchedule",
    "5.3": "DeleteSchedule",
    "8.2": "ReadInventory",
    "8.3": "DecommissionDevice",
    "8.4": "UpdateInventory",
    "11.1": "UpdateFirmware",
    "12.2": "DevicePrenotification",
}

READS: Final = ("5.2", "8.2")
"""They change nothing, so they may be repeated."""

_Answer = tuple[ResponseCode, XmlNode | None]
_OK: Final = (ResponseCode.SUCCESS, None)
_GONE: Final = (DeviceStatus.DECOMMISSIONED, DeviceStatus.WITHDRAWN)


class NonDeviceDesk:
    """`answer` changes the books inside the caller's transaction."""

    def __init__(
        self,
        *,
        users: UserTable,
        inventory: Inventory,
        schedules: ScheduleBook,
        alerts: AlertDesk,
        firmware: FirmwareDesk,
    ) -> None:
        self._users = users
        self._inventory = inventory
        self._schedules = schedules
        self._alerts = alerts
        self._firmware = firmware

    def answer(self, request: DuisRequest, *, now_utc_us: int) -> _Answer:
        try:
            return _HANDLERS[request.srv](self, request, now_utc_us)
        except InputError:
            return ResponseCode.BAD_CONTENT, None

    # --- inventory ---

    def _read_inventory(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        return read_inventory(self._inventory, request.body)

    def _prenotify(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        """12.2: a device is known from now on, belongs to no home yet, and is Pending."""
        body = request.body
        eui64 = _device_id(body)
        known = self._inventory.find(eui64)
        if known is not None and known.status not in _GONE:
            return ResponseCode.PRENOTIFIED_BEFORE, None
        hub = body.value("AssociatedGPFDeviceID")
        try:
            device_type = DeviceType(body.value("DeviceType") or "")
        except ValueError:
            raise InputError("unknown DeviceType") from None
        self._inventory.put(
            InventoryDevice(
                eui64=eui64,
                device_type=device_type,
                hub=eui64 if device_type is DeviceType.CHF else _home_of_gpf(self._inventory, hub),
                status=DeviceStatus.PENDING,
                manufacturer=body.value("DeviceManufacturer") or "",
                model=body.value("DeviceModel") or "",
                firmware_version=body.value("FirmwareVersion") or "00000000",
                smets_version=body.value("SMETSCHTSVersion") or "SMETS1",
                esme_variant=body.value("ESMEVariant"),
            )
        )
        return _OK

    def _decommission(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        device = self._inventory.find(_device_id(request.body))
        if device is None:
            return ResponseCode.DECOMMISSION_UNKNOWN, None
        if device.status in (*_GONE, DeviceStatus.PENDING):
            return ResponseCode.DECOMMISSION_STATUS, None
        gone = [device]
        if device.device_type is DeviceType.CHF:  # its gas proxy is the same box
            gone += [d for d in self._inventory.home_of(device.eui64) if d.device_type is DeviceType.GPF]
        for each in gone:
            self._inventory.put(replace(each, status=DeviceStatus.DECOMMISSIONED))
            self._drop_schedules(each.eui64, now_utc_us)
            self._alerts.removed(each, by=request.originator, now_utc_us=now_utc_us)
        return _OK

    def _drop_schedules(self, device: Eui64, now_utc_us: int) -> None:
        for schedule in self._schedules.of_device(device):
            self._schedules.delete(schedule)
            self._alerts.schedule_removed(schedule.owner, device, schedule.schedule_id, now_utc_us=now_utc_us)

    def _update_inventory(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        device = self._inventory.find(_device_id(request.body))
        if device is None or len(request.body.children) != 2:
            return ResponseCode.UPDATE_UNKNOWN, None
        change = request.body.children[1]
        update = _UPDATES.get(change.name)
        if update is None:
            raise InputError(f"{change.name} is no change of the inventory")
        return update(self, device, change)

    def _set_status(self, device: InventoryDevice, change: XmlNode) -> _Answer:
        is_hub = change.name == "UpdateDeviceStatusCH"
        if (device.device_type is DeviceType.CHF) is not is_hub:
            return ResponseCode.UPDATE_TYPE, None
        try:
            status = DeviceStatus(change.text)
        except ValueError:
            raise InputError("unknown DeviceStatus") from None
        if status not in _SETTABLE[is_hub]:
            raise InputError(f"{status} cannot be set by a user")
        self._inventory.put(replace(device, status=status))
        return _OK

    def _set_details(self, device: InventoryDevice, change: XmlNode) -> _Answer:
        self._inventory.put(
            replace(
                device,
                manufacturer=change.value("DeviceManufacturer") or device.manufacturer,
                model=change.value("DeviceModel") or device.model,
                smets_version=change.value("SMETSCHTSVersion") or device.smets_version,
                firmware_version=change.value("FirmwareVersion") or device.firmware_version,
                esme_variant=change.value("ESMEVariant") or device.esme_variant,
            )
        )
        return _OK

    def _set_mpxn(self, device: InventoryDevice, change: XmlNode) -> _Answer:
        """SMETS1 has no twin element, and exports under the number that this inventory does not show."""
        if device.device_type not in (DeviceType.ESME, DeviceType.GSME, DeviceType.GPF):
            return ResponseCode.UPDATE_TYPE, None
        if (mpxn := change.value("ImportMPxN")) is not None:
            self._inventory.put(replace(device, mpxn=mpxn))
        elif (mpan := change.value("ExportMPAN")) is not None:
            self._inventory.put(replace(device, export_mpan=mpan))
        else:
            return ResponseCode.UPDATE_TYPE, None
        return _OK

    def _delete(self, device: InventoryDevice, change: XmlNode) -> _Answer:
        if device.status is not DeviceStatus.PENDING:
            return ResponseCode.DELETE_STATUS, None
        self._inventory.delete(device.eui64)
        return _OK

    def _update_firmware(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        return self._firmware.accept(request, now_utc_us=now_utc_us)

    # --- schedules ---

    def _create_schedule(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        body = request.body
        device = self._inventory.find(_device_id(body))
        if device is None:
            return ResponseCode.SCHEDULE_OTHER_DEVICE, None
        variant = find_variant(body.value("DSPScheduledServiceReferenceVariant") or "")
        is_usable = variant is not None and variant.dcc_scheduled and variant.smets1 is Smets1Support.YES
        if variant is None or not is_usable or not self._may_ask(request.originator, device, variant):
            return ResponseCode.SCHEDULE_SERVICE, None
        schedules = self._schedules
        if len(schedules.find(request.originator)) >= MAX_SCHEDULES:
            return ResponseCode.SCHEDULE_LIMIT, None
        draft = Schedule(schedule_id=0, owner=request.originator, details=body, last_utc_us=now_utc_us)
        draft.check()
        if draft.next_utc_us(now_utc_us) is None:
            return ResponseCode.SCHEDULE_DATES, None
        schedule = schedules.create(request.originator, body)
        return ResponseCode.SUCCESS, node("DSPScheduleID", schedule.schedule_id)

    def _may_ask(self, user: Eui64, device: InventoryDevice, variant: ServiceVariant) -> bool:
        known = self._users.find(user)
        roles = () if known is None else known.roles_for(device.device_type)
        return any(role in variant.roles for role in roles)

    def _read_schedule(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        found = self._asked_for(request)
        if not found:
            return ResponseCode.SCHEDULE_NOT_FOUND, None
        listed = [
            node(
                "DSPSchedules",
                [
                    node("DSPScheduleID", schedule.schedule_id),
                    XmlNode("DSPScheduleDetails", children=schedule.details.children),
                ],
            )
            for schedule in found[:MAX_SCHEDULES]
        ]
        return ResponseCode.SUCCESS, node("DSPSchedulesRead", listed)

    def _delete_schedule(self, request: DuisRequest, now_utc_us: int) -> _Answer:
        found = self._asked_for(request)
        if not found:
            return ResponseCode.NO_SCHEDULE_TO_DELETE, None
        for schedule in found:
            self._schedules.delete(schedule)
        return _OK

    def _asked_for(self, request: DuisRequest) -> list[Schedule]:
        """By id, or all that the user has for a device: nobody sees another's."""
        number = request.body.value("DSPScheduleID")
        if number is None:
            return self._schedules.find(request.originator, device=_device_id(request.body))
        if not (number.isascii() and number.isdigit() and len(number) <= 13):
            raise InputError("DSPScheduleID is not a number")
        return self._schedules.find(request.originator, schedule_id=int(number))


def _device_id(body: XmlNode) -> Eui64:
    """Raises InputError."""
    return parse_eui64(body.value("DeviceID") or "")


def _home_of_gpf(inventory: Inventory, gpf: str | None) -> Eui64:
    """The hub of the home of a gas proxy; 0: no home yet. Raises InputError."""
    known = None if gpf is None else inventory.find(parse_eui64(gpf))
    return 0 if known is None else known.hub


_SETTABLE: Final = {
    False: (DeviceStatus.PENDING, DeviceStatus.INSTALLED_NOT_COMMISSIONED),
    True: (DeviceStatus.COMMISSIONED, DeviceStatus.WITHDRAWN, DeviceStatus.INSTALLED_NOT_COMMISSIONED),
}
_HANDLERS: Final[dict[str, Callable[[NonDeviceDesk, DuisRequest, int], _Answer]]] = {
    "5.1": NonDeviceDesk._create_schedule,
    "5.2": NonDeviceDesk._read_schedule,
    "5.3": NonDeviceDesk._delete_schedule,
    "8.2": NonDeviceDesk._read_inventory,
    "8.3": NonDeviceDesk._decommission,
    "8.4": NonDeviceDesk._update_inventory,
    "11.1": NonDeviceDesk._update_firmware,
    "12.2": NonDeviceDesk._prenotify,
}
_UPDATES: Final[dict[str, Callable[[NonDeviceDesk, InventoryDevice, XmlNode], _Answer]]] = {
    "UpdateDeviceStatusExceptCH": NonDeviceDesk._set_status,
    "UpdateDeviceStatusCH": NonDeviceDesk._set_status,
    "UpdateDeviceDetails": NonDeviceDesk._set_details,
    "DeleteDevice": NonDeviceDesk._delete,
    "UpdateMPxN": NonDeviceDesk._set_mpxn,
}
