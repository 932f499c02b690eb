"""SRV 8.2 Read Inventory: answered by the DSP out of the SMI; no device is asked.

Source: DUIS-5.4.xsd, ReadInventory, DSPInventory, Device.
"""

from __future__ import annotations

from typing import Final

from smets1.errors import InputError
from smets1.eui64 import format_eui64, parse_eui64
from smets1.firmware.civil import to_datetime
from smets1.headend.duis.codes import DeviceType, ResponseCode
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.inventory import MAX_ANSWERED, Inventory, InventoryDevice

__all__ = ["read_inventory"]

_HUB_TYPES: Final = (DeviceType.CHF, DeviceType.GPF)


def read_inventory(inventory: Inventory, body: XmlNode) -> tuple[ResponseCode, XmlNode | None]:
    """All devices of the home of the given device, MPAN or MPRN, UPRN, or postcode and address."""
    device_id, mpxn, uprn = body.value("DeviceID"), body.value("MPxN"), body.value("UPRN")
    devices: list[InventoryDevice] = []
    if device_id is not None:
        try:
            devices = inventory.home_of(parse_eui64(device_id))
        except InputError:
            return ResponseCode.BAD_CONTENT, None
    elif mpxn is not None:
        devices = inventory.home_of_mpxn(mpxn)
    elif uprn is not None:
        devices = inventory.home_where(lambda device: device.uprn == uprn)
    elif (found := body.find("PropertyFilter")) is not None:
        wanted = _plain(found.value("PostCode")), _plain(found.value("AddressIdentifier"))
        devices = inventory.home_where(
            lambda device: (_plain(device.post_code), _plain(device.address)) == wanted and any(wanted)
        )
    else:
        return ResponseCode.BAD_CONTENT, None
    if not devices:
        return ResponseCode.INVENTORY_NOT_FOUND, None
    listed = [node("Device", _device(device)) for device in devices[:MAX_ANSWERED]]
    return ResponseCode.SUCCESS, node("DSPInventory", listed)


def _plain(text: str | None) -> str:
    """As people compare postcodes and house names."""
    return "".join((text or "").split()).upper()


def _device(device: InventoryDevice) -> list[XmlNode | None]:
    date = None
    if device.commissioned_utc_us is not None:
        date = to_datetime(device.commissioned_utc_us).date().isoformat()
    return [
        node("DeviceID", format_eui64(device.eui64)),
        node("DeviceType", device.device_type),
        node("DeviceStatus", device.status),
        node("DeviceManufacturer", device.manufacturer),
        node("DeviceModel", device.model),
        node("SMETSCHTSVersion", device.smets_version),
        node("DeviceFirmwareVersion", device.firmware_version),
        node("DateCommissioned", date),
        node("ImportMPxN", device.mpxn),
        node("ExportMPAN", device.export_mpan),
        node("ESMEVariant", device.esme_variant),
        node("UPRN", device.uprn),
        node("CSPRegion", "SMETS1") if device.device_type in _HUB_TYPES else None,
    ]
