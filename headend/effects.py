"""What a successful service changes in the head end's own books: statuses, homes, credentials, alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from smets1.eui64 import Eui64
from smets1.headend.alerts import FUTURE_DATED_EXECUTED, AlertDesk
from smets1.headend.certificates import CertificateUse
from smets1.headend.credentials import CredentialBook, Credentials, PartyRole
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.inventory import Inventory, InventoryDevice
from smets1.headend.srv.credentials import due_utc_us, new_credentials
from smets1.headend.srv.dated import NOW_S, start_s
from smets1.headend.srv.steps import Task

__all__ = ["Effects"]


class Effects:
    """`apply` is called in the transaction that writes the response."""

    def __init__(
        self,
        inventory: Inventory,
        alerts: AlertDesk,
        credentials: CredentialBook,
        *,
        find_certificate: Callable[[Eui64], bytes | None],
    ) -> None:
        """`find_certificate(user)`: the DER of a user's digital signing certificate, where one is known."""
        self._inventory = inventory
        self._alerts = alerts
        self._credentials = credentials
        self._find_certificate = find_certificate
        self.on_commissioned: Callable[[InventoryDevice, int], None] = lambda _device, _utc_us: None

    def apply(self, task: Task, *, now_utc_us: int) -> None:
        effect = _EFFECTS.get(task.srv)
        if effect is not None:
            effect(self, task, now_utc_us)

    def _commissioned(self, task: Task, now_utc_us: int) -> None:
        """8.1.1: the meter is Commissioned, its supplier and network operator hear of it."""
        device = self._inventory.find(task.device.eui64) or task.device
        device = replace(device, status=DeviceStatus.COMMISSIONED, commissioned_utc_us=now_utc_us)
        self._inventory.put(device)
        self.on_commissioned(device, now_utc_us)
        self._alerts.commissioned(device, now_utc_us=now_utc_us)
        self._place_first(device, now_utc_us)

    def _place_first(self, device: InventoryDevice, now_utc_us: int) -> None:
        """A meter that is commissioned gets the credentials of its supplier and network operator (N42)."""
        parties = (
            (PartyRole.SUPPLIER, self._alerts.suppliers(device)),
            (PartyRole.NETWORK_OPERATOR, self._alerts.networks(device)),
        )
        for role, users in parties:
            if self._credentials.find(device.eui64, role) is not None:
                continue
            known = ((user.eui64, self._find_certificate(user.eui64)) for user in users)
            for owner, der in known:
                if der is not None:
                    certificates = ((CertificateUse.DIGITAL_SIGNING, der),)
                    first = Credentials(role=role, owner=owner, certificates=certificates)
                    self._placed(device.eui64, self._credentials.place(device.eui64, first), now_utc_us)
                    break

    def _credentials_changed(self, task: Task, now_utc_us: int) -> None:
        """6.15.1, 6.21, 6.23: at once, or when the date has come."""
        device = task.device.eui64
        if task.is_cancellation:
            self._credentials.cancel(device, PartyRole(task.body.value("RemotePartyRole") or ""))
            return
        new, when_us = new_credentials(task), due_utc_us(task)
        if when_us is not None:
            self._credentials.place_at(device, new, when_us)
        else:
            self._placed(device, self._credentials.place(device, new), now_utc_us)

    def credentials_due(self, device: Eui64, held: Credentials, *, now_utc_us: int) -> None:
        """A change that waited for its date has been made."""
        self._alerts.report(device, FUTURE_DATED_EXECUTED, now_utc_us=now_utc_us)
        self._placed(device, held, now_utc_us)

    def _placed(self, device: Eui64, held: Credentials, now_utc_us: int) -> None:
        self._alerts.credentials_updated(
            device,
            owner=held.owner,
            role=held.role,
            certificates=[(use.value, der) for use, der in held.certificates],
            now_utc_us=now_utc_us,
        )

    def _activated(self, task: Task, now_utc_us: int) -> None:
        """11.3, at once: the inventory shows the version from now on."""
        version = task.firmware_version(task.body.value("FirmwareHash") or "")
        device = self._inventory.find(task.device.eui64)
        if device is not None and version is not None and start_s(task) == NOW_S:
            self._inventory.put(replace(device, firmware_version=f"{version:08X}"))

    def _log_updated(self, task: Task, now_utc_us: int) -> None:
        """8.11: who was added belongs to this home and may join; who was removed is decommissioned."""
        device = task.other
        if device is None:
            return
        if task.body.value("RequestType") == "Remove":
            self._inventory.put(replace(device, status=DeviceStatus.DECOMMISSIONED))
            return
        mpxn = task.body.value("AddDeviceToCHFWhitelist", "ImportMPxN") or device.mpxn
        is_new = device.status in _NOT_ADMITTED or device.hub != task.device.hub
        status = DeviceStatus.WHITELISTED if is_new else device.status
        self._inventory.put(replace(device, hub=task.device.hub, status=status, mpxn=mpxn))

    def _joined(self, task: Task, now_utc_us: int) -> None:
        """8.7: a device of the log that has been joined is installed; a display needs no commissioning."""
        device = task.other
        if device is None or device.status is not DeviceStatus.WHITELISTED:
            return
        is_meter = device.device_type in (DeviceType.ESME, DeviceType.GSME)
        status = DeviceStatus.INSTALLED_NOT_COMMISSIONED if is_meter else DeviceStatus.COMMISSIONED
        self._inventory.put(replace(device, status=status, commissioned_utc_us=now_utc_us))


_NOT_ADMITTED: Final = (DeviceStatus.PENDING, DeviceStatus.DECOMMISSIONED, DeviceStatus.WITHDRAWN)
_EFFECTS: Final[dict[str, Callable[[Effects, Task, int], None]]] = {
    "6.15.1": Effects._credentials_changed,
    "6.21": Effects._credentials_changed,
    "6.23": Effects._credentials_changed,
    "8.1.1": Effects._commissioned,
    "8.7.1": Effects._joined,
    "8.7.2": Effects._joined,
    "8.11": Effects._log_updated,
    "11.3": Effects._activated,
}
