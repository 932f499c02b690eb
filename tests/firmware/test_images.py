"""Image slots: receiving over power cuts, staging, trial, roll-back."""

from __future__ import annotations

import pytest

from smets1.errors import MisuseError
from smets1.firmware.images import CHUNK_OCTETS, TRIAL_BOOTS, ImageInfo, ImageSlots
from smets1.firmware.nvm import MemoryNvm, PowerCutError
from smets1.firmware.ota.image_file import OtaFile, OtaHeader


def image(version=2, size=3000) -> tuple[ImageInfo, bytes]:
    header = OtaHeader(manufacturer_code=0x1057, image_type=1, file_version=version)
    octets = OtaFile.make(header, bytes(size)).encode()
    info = ImageInfo(manufacturer_code=0x1057, image_type=1, file_version=version, size_octets=len(octets))
    return info, octets


def receive(slots, info, octets, step=48):
    assert slots.begin(info)
    while not slots.is_complete:
        assert slots.write(slots.offset, octets[slots.offset : slots.offset + step])


def restarted(nvm, factory=1):
    return ImageSlots(nvm, factory)


def test_download_stage_activate_confirm():
    nvm = MemoryNvm()
    slots = restarted(nvm)
    info, octets = image()
    assert slots.version == 1
    receive(slots, info, octets)
    assert slots.octets() == octets
    assert slots.stage()
    assert (slots.version, slots.staged_version) == (1, 2)
    assert slots.activate() == 2
    assert (slots.version, slots.is_on_trial) == (2, True)
    slots.confirm()
    assert (restarted(nvm).version, restarted(nvm).is_on_trial) == (2, False)


def test_after_a_power_cut_whole_chunks_are_still_there():
    nvm = MemoryNvm()
    slots = restarted(nvm)
    info, octets = image()
    slots.begin(info)
    while slots.offset < 2500:
        slots.write(slots.offset, octets[slots.offset : slots.offset + 48])
    again = restarted(nvm)
    assert again.download == info
    assert again.offset == 2 * CHUNK_OCTETS
    receive(again, info, octets)
    assert again.octets() == octets


def test_octets_out_of_turn_are_not_taken():
    slots = restarted(MemoryNvm())
    info, octets = image()
    assert not slots.write(0, octets[:10])
    slots.begin(info)
    assert slots.write(0, octets[:10])
    assert not slots.write(0, octets[:10])
    assert not slots.write(11, octets[11:20])
    assert not slots.write(10, bytes(info.size_octets))
    assert slots.offset == 10


@pytest.mark.parametrize("place", [0, 60, -1])
def test_a_damaged_image_is_thrown_away(place):
    slots = restarted(MemoryNvm())
    info, octets = image()
    damaged = bytearray(octets)
    damaged[place] ^= 1
    receive(slots, info, bytes(damaged))
    assert not slots.stage()
    assert (slots.staged_version, slots.download, slots.octets()) == (None, None, b"")


def test_an_image_other_than_announced_is_thrown_away():
    slots = restarted(MemoryNvm())
    info, _ = image(version=3)
    _, octets = image(version=2)
    receive(slots, info, octets)
    assert not slots.stage()


def test_a_signature_check_may_refuse():
    slots = ImageSlots(MemoryNvm(), 1, check=lambda file: False)
    info, octets = image()
    receive(slots, info, octets)
    assert not slots.stage()


def test_an_image_that_never_confirms_makes_way_for_its_predecessor():
    nvm = MemoryNvm()
    slots = restarted(nvm)
    receive(slots, *image())
    slots.stage()
    slots.activate()
    for _ in range(TRIAL_BOOTS - 1):
        slots = restarted(nvm)
        slots.on_boot()
        assert (slots.version, slots.is_on_trial) == (2, True)
    slots = restarted(nvm)
    slots.on_boot()
    assert (slots.version, slots.is_on_trial) == (1, False)
    receive(slots, *image(version=3))
    assert slots.stage()


def test_no_download_over_what_we_would_fall_back_to():
    slots = restarted(MemoryNvm())
    receive(slots, *image())
    slots.stage()
    slots.activate()
    assert not slots.begin(image(version=3)[0])
    assert slots.roll_back()
    assert slots.version == 1
    assert slots.begin(image(version=3)[0])


def test_a_schedule_survives_a_restart():
    nvm = MemoryNvm()
    slots = restarted(nvm)
    with pytest.raises(MisuseError):
        slots.schedule(5)
    receive(slots, *image())
    slots.stage()
    slots.schedule(1_700_000_000_000_000)
    assert restarted(nvm).due_utc_us == 1_700_000_000_000_000
    assert restarted(nvm).staged_version == 2


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("nth", range(1, 8))
def test_power_cut_at_any_commit_goes_on_to_the_new_version(nth, is_written):
    nvm = MemoryNvm(cut_at_commit=nth, is_written=is_written)
    with pytest.raises(PowerCutError):
        upgrade(nvm)
    nvm = nvm.after_power_cut()
    upgrade(nvm)
    assert restarted(nvm).version == 2
    assert not restarted(nvm).is_on_trial
    assert restarted(nvm).octets() == b""


def upgrade(nvm):
    """From wherever NVM says that we are."""
    slots = restarted(nvm)
    if slots.version == 1 and slots.staged_version is None:
        receive(slots, *image())
        slots.stage()
    if slots.version == 1:
        slots.activate()
    slots.confirm()
