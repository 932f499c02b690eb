"""OTA files: our own writer, an independent reading of the header, hostile octets."""

from __future__ import annotations

import struct
from dataclasses import replace
from random import Random

import pytest

from smets1.errors import DecodeError
from smets1.firmware.crypto.mmo import mmo_hash
from smets1.firmware.ota.image_file import ElementTag, OtaElement, OtaFile, OtaHeader

HEADER = OtaHeader(
    manufacturer_code=0x1057,
    image_type=0x0001,
    file_version=0x01020304,
    text="Liberty 100",
    credential_version=1,
    destination=0x00DB1234567890A0,
    hardware=(1, 3),
)
FILE = OtaFile.make(HEADER, bytes(range(200)), OtaElement(tag=0xF000, data=b"note"))


def test_the_header_is_laid_out_as_table_11_2_says():
    octets = FILE.encode()
    assert octets[:4] == bytes.fromhex("1ef1ee0b")
    assert octets[4:6] == b"\x00\x01"
    assert struct.unpack_from("<HHHHIH", octets, 6) == (69, 7, 0x1057, 1, 0x01020304, 2)
    assert octets[20:52] == b"Liberty 100" + bytes(21)
    assert struct.unpack_from("<I", octets, 52) == (len(octets),)
    assert octets[56:69] == b"\x01" + bytes.fromhex("a09078563412db00") + b"\x01\x00\x03\x00"
    assert struct.unpack_from("<HI", octets, 69) == (0, 200)
    assert octets[-22:-16] == struct.pack("<HI", 3, 16)
    assert octets[-16:] == mmo_hash(octets[:-22])


@pytest.mark.parametrize("header", [HEADER, OtaHeader(manufacturer_code=0, image_type=0, file_version=0)])
def test_round_trip(header):
    file = OtaFile.make(header, b"image")
    assert OtaFile.decode(file.encode()) == file
    assert file.is_intact
    assert file.image == b"image"


def test_every_changed_octet_is_noticed():
    octets = FILE.encode()
    for place in range(len(octets)):
        changed = bytearray(octets)
        changed[place] ^= 0x01
        try:
            file = OtaFile.decode(bytes(changed))
        except DecodeError:
            continue
        assert not file.is_intact, place


def test_truncated_and_random_octets_give_decode_errors_only():
    octets = FILE.encode()
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            OtaFile.decode(octets[:length])
    with pytest.raises(DecodeError):
        OtaFile.decode(octets + b"\0")
    rng = Random(1)
    for _ in range(2000):
        garbage = rng.randbytes(rng.randrange(200))
        with pytest.raises(DecodeError):
            OtaFile.decode(garbage)
        mutated = bytearray(octets)
        mutated[rng.randrange(80)] = rng.randrange(256)
        try:
            OtaFile.decode(bytes(mutated))
        except DecodeError:
            pass


def test_a_file_without_its_code_is_not_intact():
    bare = replace(FILE, elements=FILE.elements[:1])
    assert not OtaFile.decode(bare.encode()).is_intact
    assert not replace(FILE, elements=()).is_intact
    swapped = replace(FILE, elements=(FILE.elements[-1], *FILE.elements[:-1]))
    assert not swapped.is_intact
    assert FILE.elements[-1].tag == ElementTag.IMAGE_INTEGRITY_CODE
