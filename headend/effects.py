"""What a successful service changes in the head end's own books: statuses, homes, alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from smets1.headend.alerts import AlertDesk
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.inventory import Inventory
from smets1.headend.srv.steps import Task

__all__ = ["Effects"]


class Effects:
    """`apply` is called in the transaction that writes the response."""

    def __init__(self, inventory: Inventory, alerts: AlertDesk) -> None:
        self._inventory = inventory
        self._alerts = alerts

    def apply(self, task: Task, *, now_utc_us: int) -> None:
        effect = _EFFECTS.get(task.srv)
        if effect is not None:
            effect(self, task, now_utc_us)

    def _commissioned(self, task: Task, now_utc_us: int) -> None:
        """8.1.1: the meter is Commissioned, its supplier and network operator hear of it."""
        device = self._inventory.find(task.device.eui64) or task.device
        device = replace(device, status=DeviceStatus.COMMISSIONED, commissioned_utc_us=now_utc_us)
        self._inventory.put(device)
        self._alerts.commissioned(device, now_utc_us=now_utc_us)

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
    "8.1.1": Effects._commissioned,
    "8.7.1": Effects._joined,
    "8.7.2": Effects._joined,
    "8.11": Effects._log_updated,
}
