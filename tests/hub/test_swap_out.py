"""A hub is replaced by another from a backup, and the home heals without a person."""

from __future__ import annotations

from random import Random

import pytest

from smets1.errors import DecodeError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.hardware.radio import KeyOrigin
from smets1.hub.device_log import DeviceLog
from smets1.hub.swap_out import BackedUpDevice, HubBackup, back_up, hashed_link_key, restore
from smets1.tools.swap_hub import swap_hub

NEW_HUB = 0x00DB1234567890AF
BACKUP = HubBackup(
    hub=0x00DB1234567890A2,
    extended_pan_id=0x00DB1234567890A2,
    devices=(
        BackedUpDevice(eui64=1, install_key=bytes(16), hashed_key=bytes(range(16)), device_type=1, is_listed=False),
        BackedUpDevice(eui64=2, install_key=bytes(16), hashed_key=None, device_type=0, is_listed=True),
    ),
)  # fmt: skip


def test_the_published_hash():
    assert hashed_link_key(bytes(range(0xC0, 0xD0))).hex().upper() == "A7977E88BC0B61E8210827109A228F2D"


def test_round_trip_and_hostile_files():
    octets = BACKUP.encode()
    assert HubBackup.decode(octets) == BACKUP
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            HubBackup.decode(octets[:length])
    rng = Random(1)
    for _ in range(3000):
        changed = bytearray(octets)
        changed[rng.randrange(len(octets))] = rng.randrange(256)
        try:
            HubBackup.decode(bytes(changed))
        except DecodeError:
            pass


def test_a_restored_hub_knows_devices_by_hash_and_by_install_code():
    nvm = MemoryNvm()
    restore(BACKUP, nvm)
    nvm = nvm.after_power_cut()
    keys, log = KeyMaterial(nvm), DeviceLog(nvm)
    assert keys.link_key(1).key == bytes(range(16))
    assert keys.link_key(1).origin is KeyOrigin.INSTALL_CODE  # it protects joining, nothing else
    assert keys.install_entry(1).key == bytes(16)
    assert keys.link_key(2).key == bytes(16)
    assert [entry.eui64 for entry in log.listed()] == [2]


async def test_keys_in_use_are_not_in_a_backup(smets1_home):
    home = await smets1_home(seed=30)
    backup = back_up(home.chf.port, home.chf.device_log)
    assert [device.eui64 for device in backup.devices] == sorted(
        device.eui64 for device in (home.esme, home.gsme, home.ppmid, home.ihd)
    )
    octets = backup.encode()
    for device in backup.devices:
        key = home.chf.port.link_key(device.eui64)
        assert key.origin is KeyOrigin.ESTABLISHED
        assert key.key not in octets
        assert device.hashed_key == hashed_link_key(key.key)


async def test_a_home_heals_after_its_hub_was_swapped(smets1_home):
    home = await smets1_home(seed=31, balance_pounds=20)
    await home.clock.advance(hours=1)
    old = home.chf.eui64
    before = {d.eui64: d.port.link_key(old).key for d in (home.esme, home.gsme, home.ppmid, home.ihd)}
    backup = HubBackup.decode(back_up(home.chf.port, home.chf.device_log).encode())
    hub = await swap_hub(home, backup, NEW_HUB)
    await home.clock.advance(hours=8)
    devices = [home.esme, home.gsme, home.ppmid, home.ihd]
    for device in devices:
        assert device.keyed.is_set(), device
        assert device.port.network.trust_centre == NEW_HUB, device
        own, theirs = device.port.link_key(NEW_HUB), hub.port.link_key(device.eui64)
        assert own.origin is theirs.origin is KeyOrigin.ESTABLISHED
        assert own.key == theirs.key != before[device.eui64]
        assert device.port.link_key(backup.hub) is None
    # the gas meter has asked for its mirror anew, and the displays read it
    assert hub.gas.values["metering"]["current_summation_delivered"] > 0
    assert abs(hub.gas.reported_utc_us - home.clock.utc_us) < 3600 * 1_000_000
    assert home.ihd.model.gas.values["current_summation_delivered"] > 0


async def test_a_hub_without_the_backup_gets_nobody(smets1_home):
    home = await smets1_home(seed=32)
    backup = back_up(home.chf.port, home.chf.device_log)
    forged = HubBackup(
        hub=backup.hub,
        extended_pan_id=backup.extended_pan_id,
        devices=tuple(
            BackedUpDevice(
                eui64=device.eui64,
                install_key=device.install_key,
                hashed_key=bytes(16),
                device_type=device.device_type,
                is_listed=device.is_listed,
            )
            for device in backup.devices
        ),
    )
    hub = await swap_hub(home, forged, NEW_HUB)
    await home.clock.advance(hours=4)
    for device in (home.esme, home.gsme, home.ppmid, home.ihd):
        assert device.port.network is None or device.port.network.trust_centre == backup.hub
        assert device.port.link_key(NEW_HUB) is None
    assert hub.port.network.extended_pan_id == backup.extended_pan_id
