"""Trust-centre swap-out: a hub that has died is replaced, and no device needs a person.

A backup names the network by its extended PAN id, and each device with the hash of the link key that it
shared with the hub. A hash is good for one thing: a device that cannot find its old hub rejoins the
same extended PAN id without the network key, is sent the new one under that hash, and establishes a
key of its own with the new hub. Who steals a backup learns no key that was in use.

In: a hub's port and device log. Out: octets, or the NVM of a hub that has not started yet.
Left out: what the gas mirror held (the meter reports it anew), tunnels, pair keys (devices keep theirs).

Source: SE 1.2 07-5356-19, 5.4.2.2.3.6 and annex (backup data).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

import cbor2

from smets1.errors import DecodeError, MisuseError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.crypto.mmo import mmo_hash
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.hardware.radio import HanPort, KeyOrigin
from smets1.hub.device_log import DeviceLog, DeviceLogEntry

__all__ = ["BackedUpDevice", "HubBackup", "back_up", "hashed_link_key", "restore"]

_VERSION: Final = 1


def hashed_link_key(key: bytes) -> bytes:
    """16 octets -> 16 octets, one way. C0C1..CF gives A7977E88BC0B61E8210827109A228F2D."""
    return mmo_hash(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUpDevice:
    eui64: Eui64
    install_key: bytes = field(repr=False)  # for a join from the factory
    hashed_key: bytes | None = field(repr=False)  # None: it had no established key
    device_type: int
    is_listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HubBackup:
    """What a new hub needs to be found by the devices of the old one."""

    hub: Eui64  # the old one's
    extended_pan_id: int
    devices: tuple[BackedUpDevice, ...]

    def encode(self) -> bytes:
        rows = [[d.eui64, d.install_key, d.hashed_key, d.device_type, d.is_listed] for d in self.devices]
        return cbor2.dumps([_VERSION, self.hub, self.extended_pan_id, rows])

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """A foreign file. Raises DecodeError for any octets it cannot accept."""
        match load_strict(octets):
            case [1, int(hub), int(extended_pan_id), list(rows)] if _is_eui64(hub, extended_pan_id):
                devices = tuple(_device(row) for row in rows)
                return cls(hub=hub, extended_pan_id=extended_pan_id, devices=devices)
            case _:
                raise DecodeError("hub backup", 0, "not a backup of version 1")


def _is_eui64(*numbers: int) -> bool:
    return all(0 <= number < 1 << 64 for number in numbers)


def _device(row: object) -> BackedUpDevice:
    match row:
        case [int(eui64), bytes(install), bytes() | None as hashed, int(device_type), bool(is_listed)] if (
            _is_eui64(eui64)
            and len(install) == 16
            and (hashed is None or len(hashed) == 16)
            and 0 <= device_type <= 0xFF
        ):
            return BackedUpDevice(
                eui64=eui64,
                install_key=install,
                hashed_key=hashed,
                device_type=device_type,
                is_listed=is_listed,
            )
        case _:
            raise DecodeError("hub backup", 0, "a device is malformed")


def back_up(port: HanPort, device_log: DeviceLog) -> HubBackup:
    """Of a hub that has formed its network. Raises MisuseError for one that has not."""
    network = port.network
    if network is None:
        raise MisuseError("a hub without a network has nothing to back up")
    devices = []
    for entry in device_log.entries():
        key = port.link_key(entry.eui64)
        is_established = key is not None and key.origin is KeyOrigin.ESTABLISHED
        devices.append(
            BackedUpDevice(
                eui64=entry.eui64,
                install_key=entry.link_key,
                hashed_key=hashed_link_key(key.key) if key is not None and is_established else None,
                device_type=entry.device_type,
                is_listed=entry.is_listed,
            )
        )
    return HubBackup(hub=port.eui64, extended_pan_id=network.extended_pan_id, devices=tuple(devices))


def restore(backup: HubBackup, nvm: Nvm) -> None:
    """Put it into the empty NVM of a hub before its first start; durable on return.

    That hub is then to form its network with the backup's extended PAN id (`HanConfig`).
    """
    log, keys = DeviceLog(nvm), KeyMaterial(nvm)
    for device in backup.devices:
        log.admit(
            DeviceLogEntry(
                eui64=device.eui64,
                link_key=device.install_key,
                device_type=device.device_type,
                is_listed=device.is_listed,
            )
        )
        keys.set_link_key(device.eui64, device.install_key, KeyOrigin.INSTALL_CODE)
        if device.hashed_key is not None:
            keys.set_swapped_key(device.eui64, device.hashed_key)
    nvm.commit()
