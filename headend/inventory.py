"""The Smart Metering Inventory (SMI): which devices exist, on which hub, in which status.

Source: DUIS-5.4.xsd, Device, DSPInventory (17 devices at most in one answer), DeviceStatus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.store import Store

__all__ = ["MAX_ANSWERED", "Inventory", "InventoryDevice"]

MAX_ANSWERED: Final = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryDevice:
    """One device as the SMI knows it. Lengths are the schema's."""

    eui64: Eui64
    device_type: DeviceType
    hub: Eui64  # the CHF of its home; the CHF's own for the CHF; 0: no home yet
    status: DeviceStatus = DeviceStatus.COMMISSIONED
    manufacturer: str = "SMETS1 emulator"  # 30 characters at most
    model: str = ""  # 30 characters at most
    firmware_version: str = "00000000"  # 1..8 characters
    smets_version: str = "SMETS1"
    mpxn: str | None = None  # MPAN (13 digits) or MPRN (1..10)
    commissioned_utc_us: int | None = None
    export_mpan: str | None = None  # 13 digits
    esme_variant: str | None = None  # as "AD"
    uprn: str | None = None  # 1..12 digits: the premises
    post_code: str | None = None
    address: str | None = None  # AddressIdentifier: house number or name
    group_id: str | None = None  # which SMETS1 cohort it is of, as "DA"; None: not known

    def __post_init__(self) -> None:
        if len(self.manufacturer) > 30 or len(self.model) > 30 or not 1 <= len(self.firmware_version) <= 8:
            raise InputError(
                f"device {format_eui64(self.eui64)}: manufacturer and model have 30 characters at most, "
                "the firmware version 1 to 8"
            )

    @property
    def is_upgradable(self) -> bool:
        """False for a PPMID of Group ID EA or EB: those take no firmware (Uplift 1.2, 4.3)."""
        return self.device_type is not DeviceType.PPMID or self.group_id not in ("EA", "EB")


class Inventory:
    """All devices, in memory and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._devices: dict[Eui64, InventoryDevice] = {}
        self._hubs: dict[Eui64, dict[Eui64, None]] = {}  # the devices of each home
        self._points: dict[str, dict[Eui64, None]] = {}  # the devices of each meter point
        self.reload()

    def reload(self) -> None:
        """As the store has it now: another worker may have changed it."""
        for known in (self._devices, self._hubs, self._points):
            known.clear()
        for eui64, record in self._store.devices().items():
            self._note(_from_record(eui64, record))

    def put(self, device: InventoryDevice) -> None:
        """Add or replace; committed. What is already so costs nothing."""
        if self._devices.get(device.eui64) != device:
            self._store.put_device(device.eui64, _to_record(device))
            self._drop(device.eui64)
            self._note(device)

    def _note(self, device: InventoryDevice) -> None:
        self._devices[device.eui64] = device
        self._hubs.setdefault(device.hub, {})[device.eui64] = None
        if device.mpxn is not None:
            self._points.setdefault(device.mpxn.lstrip("0"), {})[device.eui64] = None

    def _drop(self, eui64: Eui64) -> None:
        """Of the indexes too; one that is not there is no error."""
        device = self._devices.pop(eui64, None)
        if device is not None:
            self._hubs[device.hub].pop(eui64)
            if device.mpxn is not None:
                self._points[device.mpxn.lstrip("0")].pop(eui64)

    def delete(self, eui64: Eui64) -> None:
        """Raises KeyError for a device that is not there."""
        if eui64 not in self._devices:
            raise KeyError(eui64)
        self._drop(eui64)
        self._store.delete_device(eui64)

    def find(self, eui64: Eui64) -> InventoryDevice | None:
        return self._devices.get(eui64)

    def hubs(self) -> list[Eui64]:
        """Of all homes, in the order of their EUI-64."""
        return sorted(hub for hub, devices in self._hubs.items() if hub and devices)

    def set_status(self, eui64: Eui64, status: DeviceStatus) -> None:
        """Raises KeyError for a device that is not there."""
        self.put(replace(self._devices[eui64], status=status))

    def home_of(self, eui64: Eui64) -> list[InventoryDevice]:
        """All devices of the home that a device is in, in the order of their EUI-64; empty: unknown."""
        device = self._devices.get(eui64)
        if device is None:
            return []
        return self._of_hub(device.hub) if device.hub else [device]

    def home_where(self, is_there: Callable[[InventoryDevice], bool]) -> list[InventoryDevice]:
        """All devices of the first home that has a device for which `is_there` is true."""
        found = next((device for device in self.all() if is_there(device)), None)
        return [] if found is None else self.home_of(found.eui64)

    def is_point_known(self, mpxn: str) -> bool:
        """Whether a device in use bears this MPAN or MPRN."""
        return bool(self._points.get(mpxn.lstrip("0")))

    def home_of_mpxn(self, mpxn: str) -> list[InventoryDevice]:
        """By MPAN or MPRN; leading zeros of an MPRN do not count (Uplift 1.2)."""
        wanted = mpxn.lstrip("0")
        return self.home_where(
            lambda device: (
                wanted in [number.lstrip("0") for number in (device.mpxn, device.export_mpan) if number]
            )
        )

    def all(self) -> list[InventoryDevice]:
        return [self._devices[eui64] for eui64 in sorted(self._devices)]

    def _of_hub(self, hub: Eui64) -> list[InventoryDevice]:
        return [self._devices[eui64] for eui64 in sorted(self._hubs.get(hub, ()))]


_TEXTS: Final = (
    "export_mpan",
    "esme_variant",
    "uprn",
    "post_code",
    "address",
    "group_id",
)  # optional, absent in old records


def _to_record(device: InventoryDevice) -> dict[str, object]:
    return {
        "type": device.device_type.value,
        "hub": f"{device.hub:016x}",
        "status": device.status.value,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "firmware_version": device.firmware_version,
        "smets_version": device.smets_version,
        "mpxn": device.mpxn,
        "commissioned_utc_us": device.commissioned_utc_us,
        **{name: getattr(device, name) for name in _TEXTS},
    }


def _from_record(eui64: Eui64, record: dict[str, object]) -> InventoryDevice:
    mpxn, commissioned = record["mpxn"], record["commissioned_utc_us"]
    return InventoryDevice(
        eui64=eui64,
        device_type=DeviceType(str(record["type"])),
        hub=int(str(record["hub"]), 16),
        status=DeviceStatus(str(record["status"])),
        manufacturer=str(record["manufacturer"]),
        model=str(record["model"]),
        firmware_version=str(record["firmware_version"]),
        smets_version=str(record["smets_version"]),
        mpxn=None if mpxn is None else str(mpxn),
        commissioned_utc_us=None if commissioned is None else int(str(commissioned)),
        **{name: str(value) for name in _TEXTS if (value := record.get(name)) is not None},
    )
