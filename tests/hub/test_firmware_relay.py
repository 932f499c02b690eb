"""The hub takes a file in pieces: lost, repeated, out of order, false; and its own image, good and bad."""

from __future__ import annotations

import hashlib
from typing import Any

from smets1.firmware.images import ImageSlots
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.ota.server import OtaServer
from smets1.firmware.zcl.status import Status
from smets1.hub.firmware_relay import FirmwareRelay

HUB, METER, OTHER = 0x00DB1234567890A2, 0x00DB1234567890A0, 0x00DB1234567890A4
HUB_TYPE = 2


def file(image_type: int = 1, version: int = 2) -> bytes:
    header = OtaHeader(manufacturer_code=0x1057, image_type=image_type, file_version=version)
    return OtaFile.make(header, bytes(range(200)) * 5).encode()


def made(nvm: MemoryNvm) -> tuple[FirmwareRelay, OtaServer, ImageSlots]:
    server, slots = OtaServer(nvm), ImageSlots(nvm, 1)
    return FirmwareRelay(nvm, server, slots, hub=HUB, image_type=HUB_TYPE), server, slots


def hand_over(relay: FirmwareRelay, octets: bytes, size: int = 300) -> bytes:
    digest = hashlib.sha256(octets).digest()
    for at in range(0, len(octets), size):
        assert relay.store(digest, at, octets[at : at + size])[0] is Status.SUCCESS
    return digest


def test_pieces_may_come_again_but_not_too_early() -> None:
    relay, server, _ = made(MemoryNvm())
    octets = file()
    digest = hashlib.sha256(octets).digest()
    assert relay.store(digest, 0, octets[:300]) == (Status.SUCCESS, 300)
    assert relay.store(digest, 0, octets[:300]) == (Status.SUCCESS, 300)
    assert relay.store(digest, 600, octets[600:900]) == (Status.NOT_FOUND, 300)
    assert relay.offer(digest, [METER]) == (Status.NOT_FOUND, None), "it is not whole"
    assert relay.store(digest, 300, octets[300:]) == (Status.SUCCESS, len(octets))
    status, header = relay.offer(digest, [METER])
    assert status is Status.SUCCESS
    assert header is not None
    assert [(image.octets, image.targets) for image in server.images] == [(octets, (METER,))]
    hand_over(relay, octets)
    relay.offer(digest, [OTHER])
    assert server.images[0].targets == (METER, OTHER), "who has it offered keeps it"


def test_a_power_cut_loses_nothing_that_was_answered() -> None:
    nvm = MemoryNvm()
    relay, _, _ = made(nvm)
    octets = file()
    digest = hashlib.sha256(octets).digest()
    relay.store(digest, 0, octets[:500])
    nvm.commit()
    relay.store(digest, 500, octets[500:700])  # not answered yet
    relay, server, _ = made(nvm.after_power_cut())
    assert relay.store(digest, 500, octets[500:]) == (Status.SUCCESS, len(octets))
    assert relay.offer(digest, [METER])[0] is Status.SUCCESS
    assert server.images


def test_what_is_refused() -> None:
    relay, server, slots = made(MemoryNvm())
    octets = file()
    assert relay.store(b"short", 0, b"x")[0] is Status.INVALID_FIELD
    assert relay.store(bytes(32), 0, b"")[0] is Status.INVALID_FIELD
    assert relay.store(bytes(32), 0xFFFFFFF0, b"x")[0] is Status.INVALID_FIELD
    spoilt = octets[:-30] + bytes((octets[-30] ^ 1,)) + octets[-29:]
    for bad in (spoilt, octets[:200], b"not a file"):
        assert relay.offer(hand_over(relay, bad), [METER]) == (Status.INVALID_IMAGE, None)
    assert relay.offer(hand_over(relay, octets), [HUB]) == (Status.INVALID_IMAGE, None), "a meter's image"
    assert (server.images, slots.staged_version) == ([], None)


def test_one_file_at_a_time_so_that_nvm_does_not_fill() -> None:
    nvm: Any = MemoryNvm()
    relay, _, _ = made(nvm)
    hand_over(relay, file(version=2))
    hand_over(relay, file(version=3))
    assert len({key.split("/")[1] for key in nvm.keys("relay/")}) == 1


def test_its_own_image() -> None:
    relay, server, slots = made(MemoryNvm())
    octets = file(image_type=HUB_TYPE, version=7)
    for _ in range(2):  # asked again, it says the same
        assert relay.offer(hand_over(relay, octets), [HUB]) == (Status.SUCCESS, None)
    assert (slots.staged_version, server.images) == (7, [])
