"""The header peek and the FCS: known octets, any octets."""

import random

import pytest

from smets1.hardware.fcs import append_fcs, fcs, has_good_fcs
from smets1.hardware.ieee802154 import FramePeek, FrameType, airtime_us, peek

EUI = 0x00DB1234567890A0
EUI_ON_AIR = "a0907856341 2db00".replace(" ", "")

# Hand-made after IEEE 802.15.4-2006, 7.2.2 and 7.3: octets, what must be read of them.
HEADERS = {
    "acknowledgement": ("02006a", FramePeek(2, False, False, 0x6A, *[None] * 7)),
    "acknowledgement, pending": ("12006a", FramePeek(2, False, True, 0x6A, *[None] * 7)),
    "beacon": (
        "00805a621a0000ff4f",
        FramePeek(0, False, False, 0x5A, None, None, None, 0x1A62, 0x0000, None, None),
    ),
    "beacon request": (
        "030801ffffffff07",
        FramePeek(3, False, False, 1, 0xFFFF, 0xFFFF, None, None, None, None, 0x07),
    ),
    "data, short to short": (
        "618802621a0000341200",
        FramePeek(1, True, False, 2, 0x1A62, 0x0000, None, 0x1A62, 0x1234, None, None),
    ),
    "association request": (
        f"23c803621a0000ffff{EUI_ON_AIR}018e",
        FramePeek(3, True, False, 3, 0x1A62, 0x0000, None, 0xFFFF, None, EUI, 0x01),
    ),
    "association response": (
        f"63cc04621a{EUI_ON_AIR}a0907856341 2db00".replace(" ", "") + "02341200",
        FramePeek(3, True, False, 4, 0x1A62, None, EUI, 0x1A62, None, EUI, 0x02),
    ),
    "data request": (
        "638805621a0000341204",
        FramePeek(3, True, False, 5, 0x1A62, 0x0000, None, 0x1A62, 0x1234, None, 0x04),
    ),
    "data request, secured: the command is not in the clear": (
        "6b8805621a0000341204",
        FramePeek(3, True, False, 5, 0x1A62, 0x0000, None, 0x1A62, 0x1234, None, None),
    ),
    "coordinator realignment across PANs": (
        f"23dc06ffff{EUI_ON_AIR}621a{EUI_ON_AIR}08",
        FramePeek(3, True, False, 6, 0xFFFF, None, EUI, 0x1A62, None, EUI, 0x08),
    ),
    "data to the coordinator, no destination": (
        "018007621a341200",
        FramePeek(1, False, False, 7, None, None, None, 0x1A62, 0x1234, None, None),
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_peek_reads_a_known_header(name: str) -> None:
    octets, expected = HEADERS[name]
    assert peek(bytes.fromhex(octets)) == expected


@pytest.mark.parametrize("name", HEADERS)
def test_peek_of_a_header_cut_anywhere_is_none_or_the_same_addresses(name: str) -> None:
    octets, expected = HEADERS[name]
    whole = bytes.fromhex(octets)
    for size in range(len(whole)):
        head = peek(whole[:size])
        assert head is None or head[:10] == expected[:10]


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "61",
        "6188",
        "4480010203",  # reserved frame type
        "618400000000000000",  # reserved destination mode
        "614801000000000000",  # reserved source mode
        "61a802621a00003412",  # version 2015
        "410802621a0000",  # PAN id compression without a source
    ],
)
def test_peek_of_what_is_no_frame_is_none(octets: str) -> None:
    assert peek(bytes.fromhex(octets)) is None


def test_peek_survives_any_octets() -> None:
    rng = random.Random(3)
    for _ in range(20_000):
        head = peek(rng.randbytes(rng.randrange(30)))
        assert head is None or head.frame_type in list(FrameType)


def test_airtime() -> None:
    assert airtime_us(3) == 352  # an acknowledgement, 11 octets with everything
    assert airtime_us(125) == 4256  # the longest


def slow_fcs(octets: bytes) -> int:
    """Bit by bit as in IEEE 802.15.4-2006, figure 47."""
    register = 0
    for octet in octets:
        for bit in range(8):
            feedback = (register ^ octet >> bit) & 1
            register = register >> 1 ^ (0x8408 if feedback else 0)
    return register


def test_fcs() -> None:
    assert fcs(b"\x02\x00\x6a") == 0x79E4
    assert fcs(b"") == 0
    rng = random.Random(4)
    for size in range(126):
        octets = rng.randbytes(size)
        assert fcs(octets) == slow_fcs(octets)
        assert has_good_fcs(append_fcs(octets))


def test_fcs_notices_each_single_bit() -> None:
    whole = append_fcs(bytes(range(40)))
    for bit in range(8 * len(whole)):
        broken = bytearray(whole)
        broken[bit >> 3] ^= 1 << (bit & 7)
        assert not has_good_fcs(bytes(broken))
    assert not has_good_fcs(b"\x00")
