"""Who may be on the HAN: the trust centre lets in what is on the device log, each by its own install code.

The head end adds and removes; who is removed is sent away. Who has joined and establishes no key within an
hour is sent away too, and may try again for as long as it is listed.

Source: TMAD 16.12 (whitelist); SE 1.2 07-5356-19, 5.4 (trust centre), 5.4.6 (a key is to be established).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from smets1.errors import DecodeError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import zigbee_s
from smets1.firmware.crypto.mmo import install_code_key
from smets1.firmware.device import Device
from smets1.firmware.zcl.clusters.smets1 import DeviceLogOperation
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, reply
from smets1.firmware.zcl.status import Status
from smets1.hardware.radio import KeyOrigin, LinkKey
from smets1.hub.device_log import DeviceLog, DeviceLogEntry

__all__ = ["Admission", "AdmittedDevice"]

_UNKEYED_S: Final = 3600
_NEVER: Final = 0xFFFFFFFF
_LOG_PAGE: Final = 5  # entries that fit an APS frame


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedDevice:
    """A device that the hub is told of at installation."""

    eui64: Eui64
    install_key: bytes
    device_type: int
    is_listed: bool = True  # the ESME is admitted, but not on the whitelist (16.12)


class Admission:
    """`on_changed(eui64)`: the head end has put it on the log or off; `on_removed(eui64)`: then, if off."""

    def __init__(
        self,
        hub: Device,
        device_log: DeviceLog,
        *,
        on_changed: Callable[[Eui64], None],
        on_removed: Callable[[Eui64], None],
    ) -> None:
        self._hub = hub
        self._device_log = device_log
        self._on_changed = on_changed
        self._on_removed = on_removed
        self._unkeyed: dict[Eui64, asyncio.Task[Any]] = {}  # watched since they joined

    def admit(self, devices: Iterable[AdmittedDevice]) -> None:
        """What the hub is installed with; see `DeviceLog.admit`."""
        for device in devices:
            self._device_log.admit(
                DeviceLogEntry(
                    eui64=device.eui64,
                    link_key=device.install_key,
                    device_type=device.device_type,
                    is_listed=device.is_listed,
                )
            )

    def give_install_keys(self) -> None:
        """To the port, once it has a network."""
        for entry in self._device_log.entries():
            self._give_install_key(entry)

    def _give_install_key(self, entry: DeviceLogEntry) -> None:
        port = self._hub.port
        if port.link_key(entry.eui64) is None:
            port.set_link_key(LinkKey(partner=entry.eui64, key=entry.link_key, origin=KeyOrigin.INSTALL_CODE))

    # --- an hour for the key ------------------------------------------------------------------------------

    def on_joined(self, eui64: Eui64) -> None:
        if self._lacks_key(eui64) and eui64 not in self._unkeyed:
            self._unkeyed[eui64] = self._hub.spawn(self._watch_key(eui64))

    def _lacks_key(self, eui64: Eui64) -> bool:
        key = self._hub.port.link_key(eui64)
        return key is None or key.origin is KeyOrigin.INSTALL_CODE

    async def _watch_key(self, eui64: Eui64) -> None:
        """Who joins and never establishes a key is sent away; still listed, it may try again."""
        try:
            await asyncio.sleep(_UNKEYED_S)
            entry = self._device_log.get(eui64)
            if self._lacks_key(eui64) and entry is not None:
                self._hub.log.warning("%s has established no key in an hour: removed", format_eui64(eui64))
                await self._hub.port.remove_device(eui64)
                self._give_install_key(entry)
        finally:
            del self._unkeyed[eui64]

    # --- the head end's commands --------------------------------------------------------------------------

    def read(self, fields: Values) -> Answer:
        """ReadDeviceLog: a page of it."""
        listed = self._device_log.listed()
        first = fields["first_index"]
        entries = [
            {
                "device": entry.eui64,
                "device_type": entry.device_type,
                "last_communication": _NEVER
                if entry.last_communication_utc_us is None
                else zigbee_s(entry.last_communication_utc_us),
            }
            for entry in listed[first : first + _LOG_PAGE]
        ]
        return reply("device_log", total=len(listed), first_index=first, count=len(entries), entries=entries)

    def update(self, fields: Values) -> Answer:
        """UpdateDeviceLog: one device on or off. Raises RefusedError."""
        eui64 = fields["device"]
        if fields["operation"] == DeviceLogOperation.ADD:
            self._add(eui64, bytes(fields["install_code"]), fields["device_type"])
        elif fields["operation"] == DeviceLogOperation.REMOVE:
            self._remove(eui64)
        else:
            raise RefusedError(Status.INVALID_FIELD, "unknown operation")
        return reply("update_device_log_response", status=0, device=eui64)

    def _add(self, eui64: Eui64, install_code: bytes, device_type: int) -> None:
        try:
            key = install_code_key(install_code)
        except DecodeError:
            raise RefusedError(Status.INVALID_FIELD, "install code or its CRC is wrong") from None
        entry = DeviceLogEntry(eui64=eui64, link_key=key, device_type=device_type)
        self._device_log.add(entry)
        self._on_changed(eui64)
        self._give_install_key(entry)

    def _remove(self, eui64: Eui64) -> None:
        if not self._device_log.remove(eui64):
            raise RefusedError(Status.NOT_FOUND, "not on the device log")
        self._on_changed(eui64)
        self._on_removed(eui64)
        self._hub.spawn(self._hub.port.remove_device(eui64))
