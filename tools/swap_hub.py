"""Replace the hub of a running home by another one, from a backup: what an installer does to a dead hub."""

from __future__ import annotations

from dataclasses import replace

from smets1.errors import MisuseError
from smets1.eui64 import Eui64
from smets1.hub.chf import Chf
from smets1.hub.swap_out import HubBackup, restore
from smets1.tools.home import Home
from smets1.tools.home_config import Role

__all__ = ["swap_hub"]


async def swap_hub(home: Home, backup: HubBackup, eui64: Eui64) -> Chf:
    """Pull the plug of the present hub and start one with that EUI-64; the devices find it by themselves.

    The head end knows nothing of it yet: its inventory names the old hub.
    """
    old = home.chf
    if eui64 == old.eui64:
        raise MisuseError("a new hub has an EUI-64 of its own")
    old.power_off()
    if old.wan is not None:
        await old.wan.close()
    home.devices.remove(old)
    del home.chf
    devices = tuple(
        replace(device, eui64=eui64) if device.role is Role.CHF else device for device in home.config.devices
    )
    home.config = replace(home.config, devices=devices)
    restore(backup, home.nvm_of(eui64))
    for device in backup.devices:
        if device.hashed_key is not None:  # for whoever decodes the devices' return
            home.keys.add(device.hashed_key, f"HASHED {device.eui64:016X}")
    home.extended_pan_id = backup.extended_pan_id
    await home.add_device(next(device for device in devices if device.role is Role.CHF))
    return home.chf
