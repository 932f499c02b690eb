"""Keep-alive, clock and firmware of live devices, in a whole home."""

from __future__ import annotations

import pytest

from smets1.firmware.keep_alive import KeepAlive
from smets1.firmware.ota.client import OtaRules
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.time_keeper import ClockStatus
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.air import LinkFault

START = "2023-01-16T00:00:00Z"
NEW = 0x00000002


def image(device, version=NEW, size=2000) -> bytes:
    header = OtaHeader(
        manufacturer_code=device.factory.manufacturer_code,
        image_type=device.factory.device_type,
        file_version=version,
    )
    return OtaFile.make(header, bytes(range(250)) * (size // 250)).encode()


def offer(home, devices, **options):
    for device in devices:
        header = home.chf.ota.server.add(image(device), **options)
        home.chf.ota.notify(header)


def devices(home):
    return [home.esme, home.gsme, home.ppmid, home.ihd]


async def shown_version(home, device) -> int:
    """As anybody on the HAN may read it."""
    short = await home.chf.port.find_short(device.eui64)
    values = await home.chf.app.read(short, 1, "device_information", ["firmware_version"])
    return values["firmware_version"]


async def test_every_device_is_upgraded_over_the_air(smets1_home):
    home = await smets1_home(seed=3)
    offer(home, devices(home), start_utc_us=0)
    await home.clock.advance(hours=3)
    for device in devices(home):
        assert device.images.version == NEW, device
        assert not device.images.is_on_trial, device
    for device in (home.esme, home.ppmid, home.ihd):
        assert await shown_version(home, device) == NEW
    assert {progress.status for progress in home.chf.ota.server.progress.values()} == {Status.SUCCESS}


@pytest.mark.slow
async def test_with_a_tenth_of_all_frames_lost(smets1_home):
    home = await smets1_home(seed=4, toml="[faults]\nloss = 0.1\n")
    offer(home, devices(home), start_utc_us=0)
    await home.clock.advance(hours=12)
    for device in devices(home):
        assert device.images.version == NEW, device


async def test_page_by_page(smets1_home):
    home = await smets1_home(seed=13)
    client = home.ihd.upkeep.ota.client
    client.rules = OtaRules(page_octets=480, page_spacing_ms=50)
    asked = []
    core = home.chf.ota.server
    honest = core.page
    core.page = lambda values, eui64: asked.append(values["file_offset"]) or honest(values, eui64)
    offer(home, [home.ihd], start_utc_us=0)
    await home.clock.advance(minutes=5)
    assert asked[:3] == [0, 480, 960]
    assert home.ihd.images.version == NEW


async def test_only_the_hub_is_believed_about_images(smets1_home):
    """A display that sends the meter a forged block, or an hour to start at, changes nothing."""
    home = await smets1_home(seed=14)
    header = OtaHeader(manufacturer_code=0x1057, image_type=home.esme.factory.device_type, file_version=NEW)
    await home.clock.advance(minutes=2)
    short = await home.ppmid.port.find_short(home.esme.eui64)
    home.ppmid.app.command(
        short, 1, "ota_upgrade", "image_notify", sender=Side.SERVER, payload_type=0, query_jitter=100
    )
    named = {"manufacturer_code": 0x1057, "image_type": header.image_type, "file_version": NEW}
    for command, fields in (
        ("image_block_response", {"status": 0, **named, "file_offset": 0, "image_data": b"forged"}),
        ("upgrade_end_response", {**named, "current_time": 0, "upgrade_time": 0}),
    ):
        home.ppmid.app.command(short, 1, "ota_upgrade", command, sender=Side.SERVER, **fields)
    await home.clock.advance(minutes=1)
    assert home.chf.ota.server.progress == {}
    assert (home.esme.images.offset, home.esme.images.version) == (0, 1)


async def test_a_sleeping_gas_meter_hears_of_its_image_at_its_next_waking(smets1_home):
    home = await smets1_home(seed=5)
    await home.clock.advance(minutes=5)  # asleep
    home.chf.ota.server.add(image(home.gsme, size=20_000), start_utc_us=0)
    await home.clock.advance(minutes=30)
    assert 0 < home.gsme.images.offset < 20_000  # over several wakings
    await home.clock.advance(hours=6)
    assert home.gsme.images.version == NEW


@pytest.mark.slow
async def test_an_image_waits_for_its_hour_and_then_for_the_word(smets1_home):
    home = await smets1_home(seed=6)
    hour = home.clock.utc_us + 6 * 3600 * 1_000_000
    home.chf.ota.notify(home.chf.ota.server.add(image(home.ihd), start_utc_us=hour))
    home.chf.ota.notify(home.chf.ota.server.add(image(home.ppmid)))
    await home.clock.advance(hours=5)
    assert (home.ihd.images.version, home.ihd.images.staged_version) == (1, NEW)
    await home.clock.advance(hours=1, minutes=5)
    assert home.ihd.images.version == NEW
    assert (home.ppmid.images.version, home.ppmid.images.staged_version) == (1, NEW)
    short = await home.chf.port.find_short(home.ppmid.eui64)
    answer = await home.chf.app.request(
        short, 1, "device_information", "activate_firmware", file_version=NEW, activation_time=0
    )
    assert answer["status"] == Status.SUCCESS
    await home.clock.advance(minutes=5)
    assert home.ppmid.images.version == NEW


@pytest.mark.parametrize("role", ["esme", "gsme", "ppmid", "ihd"])
async def test_an_image_that_does_not_come_up_makes_way_for_the_old_one(smets1_home, role):
    home = await smets1_home(seed=7)
    device = getattr(home, role)
    device.upkeep.proves_itself = lambda: device.images.version != NEW
    offer(home, [device], start_utc_us=0)
    for _ in range(18 if role == "gsme" else 3):
        await home.clock.advance(minutes=10)
        if device.images.version == NEW:
            break
    assert (device.images.version, device.images.is_on_trial) == (NEW, True)
    await home.clock.advance(minutes=70)
    assert (device.images.version, device.images.is_on_trial) == (1, False)
    await home.clock.advance(minutes=40)
    if role != "gsme":
        assert await shown_version(home, device) == 1
    assert device.images.version == 1, "it does not fetch again what it has given up"


async def test_a_download_goes_on_after_a_power_cut(smets1_home, tmp_path):
    first = await smets1_home(seed=8, nvm_dir=tmp_path)
    first.chf.ota.notify(first.chf.ota.server.add(image(first.esme, size=40_000), start_utc_us=0))
    await first.clock.advance(seconds=12)
    reached = first.esme.images.offset
    assert 2048 < reached < 40_000
    await first.close()
    again = await smets1_home(seed=8, nvm_dir=tmp_path)
    assert again.esme.images.offset >= reached - 1024
    await again.clock.advance(minutes=20)
    assert again.esme.images.version == NEW


# --- the clock -------------------------------------------------------------------------------------------


async def test_clocks_are_compared_after_joining_and_shown(smets1_home):
    home = await smets1_home(seed=9)
    await home.clock.advance(minutes=32)  # the gas meter at its next waking
    for device in devices(home):
        assert device.upkeep.clock.status is ClockStatus.SYNCHRONISED, device
    short = await home.chf.port.find_short(home.ihd.eui64)
    shown = await home.chf.app.read(short, 1, "device_information", ["clock_status", "clock_last_set"])
    assert shown["clock_status"] == ClockStatus.SYNCHRONISED
    assert abs(shown["clock_last_set"] - home.civil.zigbee_utc_s()) <= 32 * 60


async def test_a_drifting_meter_stays_within_ten_seconds(smets1_home):
    text = '[[device]]\nrole = "chf"\n[[device]]\nrole = "esme"\nclock_drift_ppm = 50\n'
    home = await smets1_home(seed=10, toml=text)
    worst = 0
    for _ in range(24 * 2):
        await home.clock.advance(hours=1)
        worst = max(worst, abs(home.esme.civil.utc_us() - home.civil.utc_us()))
    assert 2_000_000 < worst < 10_000_000  # 4.3 s a day if it were not set
    assert home.chf.civil.utc_us() == home.civil.utc_us()


# --- keep-alive ------------------------------------------------------------------------------------------


async def test_every_device_asks_for_its_trust_centre(smets1_home):
    home = await smets1_home(seed=11)
    asked: dict[int, int] = {}
    server = home.chf.app.core.server(1, "keep_alive")
    base = server.get("keep_alive_base")
    server.bind("keep_alive_base", lambda: asked.__setitem__(0, asked.get(0, 0) + 1) or base)
    await home.clock.advance(hours=4)
    # three on mains, 16 to 24 times each in 4 h; the gas meter at each of 7 wakings
    assert 3 * 15 + 6 <= asked[0] <= 3 * 24 + 9
    assert all(device.upkeep.keep_alive.misses == 0 for device in devices(home))


async def test_a_router_that_lost_its_hub_looks_for_it_and_comes_back(smets1_home):
    home = await smets1_home(seed=12)
    machine: KeepAlive = home.esme.upkeep.keep_alive
    mend = cut_off(home, home.chf.eui64)
    await home.clock.advance(hours=2)
    assert machine.is_lost
    assert not home.esme.keyed.is_set()
    mend()
    await home.clock.advance(minutes=40)
    assert home.esme.keyed.is_set()
    await home.clock.advance(minutes=20)
    assert not machine.is_lost


def cut_off(home, eui64):
    home.air.faults.set_node(eui64, LinkFault(loss=1.0))
    return lambda: home.air.faults.set_node(eui64, LinkFault(loss=0.0))
