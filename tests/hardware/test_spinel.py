"""HDLC-lite and the Spinel codec: the draft's vectors, round trips, hostile octets."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import DecodeError
from smets1.hardware.rcp.hdlc import FLAG, MAX_FRAME_OCTETS, HdlcDecoder, crc, hdlc_frame
from smets1.hardware.rcp.spinel import (
    Capability,
    Command,
    Property,
    RawReceived,
    RawTransmit,
    ScanState,
    SpinelFrame,
    Status,
    TransmitDone,
    decode_value,
    encode_value,
    packed,
    unpack,
)

# --- HDLC-lite ------------------------------------------------------------------------------------------


def test_crc_is_x25() -> None:
    assert crc(b"123456789") == 0x906E  # the check value of CRC-16/X-25 (ITU-T X.25, 2.2.7.4)
    assert crc(b"") == 0


def test_a_reset_command_on_the_line() -> None:
    assert hdlc_frame(bytes.fromhex("8001")) == bytes.fromhex("7E 80 01 02 92 7E")


def test_reserved_octets_are_escaped() -> None:
    line = hdlc_frame(bytes((0x7E, 0x7D, 0x11, 0x13, 0xF8, 0x12)))
    assert line.startswith(bytes.fromhex("7E 7D5E 7D5D 7D31 7D33 7DD8 12"))
    assert line[1:-1].count(FLAG) == 0


def test_frames_may_share_a_flag_and_come_in_portions() -> None:
    line = hdlc_frame(b"\x81\x02\x05") + hdlc_frame(b"\x82\x02\x06")[1:]
    whole = HdlcDecoder()
    assert whole.feed(line) == [b"\x81\x02\x05", b"\x82\x02\x06"]
    decoder = HdlcDecoder()
    frames = [frame for octet in line for frame in decoder.feed(bytes((octet,)))]
    assert frames == [b"\x81\x02\x05", b"\x82\x02\x06"]
    assert decoder.bad_count == whole.bad_count == 0


def test_flags_in_a_row_are_nothing() -> None:
    decoder = HdlcDecoder()
    assert decoder.feed(b"\x7e" * 40) == []
    assert decoder.bad_count == 0


@given(st.binary(min_size=1, max_size=300))
def test_round_trip(octets: bytes) -> None:
    assert HdlcDecoder().feed(hdlc_frame(octets)) == [octets]


@pytest.mark.parametrize("index", range(1, 10))
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_one_wrong_bit_costs_that_frame_only(index: int, bit: int) -> None:
    bad = bytearray(hdlc_frame(b"\x81\x06\x20\x01hello"))
    bad[index] ^= 1 << bit
    decoder = HdlcDecoder()
    frames = decoder.feed(bytes(bad) + hdlc_frame(b"\x82\x00"))
    assert frames == [b"\x82\x00"]
    assert decoder.bad_count >= 1


def test_boot_messages_are_skipped() -> None:
    decoder = HdlcDecoder()
    assert decoder.feed(b"\r\nbootloader v2\r\n" + hdlc_frame(b"\x80\x06\x00\x70")) == [b"\x80\x06\x00\x70"]


def test_a_line_without_flags_does_not_fill_the_memory() -> None:
    decoder = HdlcDecoder()
    for _ in range(100):
        decoder.feed(bytes(1000))
    assert len(decoder._held) <= 2 * (MAX_FRAME_OCTETS + 2)
    assert decoder.feed(b"\x7e" + hdlc_frame(b"\x80\x00")) == [b"\x80\x00"]
    assert decoder.bad_count == 1


# --- packing and frames -----------------------------------------------------------------------------------

# draft-rquattle-spinel-unified-00, appendix "Test Vectors"
PACKED = [
    (0, "00"),
    (1, "01"),
    (127, "7F"),
    (128, "8001"),
    (129, "8101"),
    (1_337, "B90A"),
    (16_383, "FF7F"),
    (16_384, "808001"),
    (16_385, "818001"),
    (2_097_151, "FFFF7F"),
]


@pytest.mark.parametrize(("value", "octets"), PACKED)
def test_packed_integers_of_the_draft(value: int, octets: str) -> None:
    assert packed(value) == bytes.fromhex(octets)
    assert unpack(bytes.fromhex(octets)) == (value, len(octets) // 2)


@pytest.mark.parametrize("octets", ["", "80", "FFFF", "80808001"])
def test_packed_integers_that_do_not_end(octets: str) -> None:
    with pytest.raises(DecodeError):
        unpack(bytes.fromhex(octets))


def test_reset_command_and_notification_of_the_draft() -> None:
    assert SpinelFrame(transaction=0, command=Command.RESET).encode() == bytes.fromhex("8001")
    told = SpinelFrame.decode(bytes.fromhex("80060072"))
    assert (told.transaction, told.command, told.prop) == (0, Command.PROP_VALUE_IS, Property.LAST_STATUS)
    assert decode_value(Property.LAST_STATUS, told.payload) == Status.RESET_SOFTWARE
    assert Status.is_reset(Status.RESET_SOFTWARE)
    assert not Status.is_reset(Status.OK)


def test_scan_beacon_frame_of_the_draft_is_read_as_far_as_we_know_it() -> None:
    frame = SpinelFrame.decode(bytes.fromhex("80 07 33 0F C4 0D00 B640D48CE938F952 FFFF D204 00"))
    assert (frame.command, frame.prop) == (Command.PROP_VALUE_INSERTED, 51)
    assert decode_value(Property.HWADDR, frame.payload[4:]) == 0xB640D48CE938F952  # EUI-64s are big-endian


# Numbers of spinel.h at RCP API version 11, written down apart from the enums.
NUMBERS = [
    (Property.HWADDR, 0x08),
    (Property.PHY_ENABLED, 0x20),
    (Property.PHY_CHAN, 0x21),
    (Property.MAC_SCAN_STATE, 0x30),
    (Property.MAC_15_4_LADDR, 0x34),
    (Property.MAC_15_4_SADDR, 0x35),
    (Property.MAC_15_4_PANID, 0x36),
    (Property.MAC_RAW_STREAM_ENABLED, 0x37),
    (Property.MAC_ENERGY_SCAN_RESULT, 0x39),
    (Property.MAC_RX_ON_WHEN_IDLE_MODE, 0x3B),
    (Property.STREAM_RAW, 0x71),
    (Property.RCP_API_VERSION, 0xB0),
    (Property.RADIO_CAPS, 0x120B),
    (Property.MAC_SRC_MATCH_ENABLED, 0x1303),
    (Property.MAC_SRC_MATCH_SHORT_ADDRESSES, 0x1304),
    (Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES, 0x1305),
    (Capability.CONFIG_RADIO, 34),
    (Capability.MAC_RAW, 513),
    (Status.NO_ACK, 17),
    (Status.CCA_FAILURE, 18),
    (ScanState.ENERGY, 2),
]


@pytest.mark.parametrize(("member", "number"), NUMBERS)
def test_numbers(member: int, number: int) -> None:
    assert member == number


VALUES: list[tuple[Property, Any, str]] = [
    (Property.PHY_ENABLED, True, "01"),
    (Property.PHY_CHAN, 15, "0F"),
    (Property.PHY_TX_POWER, -20, "EC"),
    (Property.PHY_FREQ, 2_425_000, "A8002500"),
    (Property.MAC_15_4_PANID, 0x1A62, "621A"),
    (Property.MAC_15_4_LADDR, 0x00DB1234567890A2, "00DB1234567890A2"),
    (Property.MAC_SCAN_MASK, (11, 26), "0B1A"),
    (Property.MAC_SRC_MATCH_SHORT_ADDRESSES, (0x1234, 0x0001), "34120100"),
    (Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES, (1,), "0000000000000001"),
    (Property.NCP_VERSION, "OT", "4F5400"),
    (Property.PROTOCOL_VERSION, (4, 3), "0403"),
    (Property.CAPS, (34, 513), "228104"),
    (Property.LAST_STATUS, 114, "72"),
]


@pytest.mark.parametrize(("prop", "value", "octets"), VALUES)
def test_values(prop: Property, value: Any, octets: str) -> None:
    assert encode_value(prop, value) == bytes.fromhex(octets)
    assert decode_value(prop, bytes.fromhex(octets)) == value


def test_every_property_can_be_decoded() -> None:
    for prop in Property:
        try:
            decode_value(prop, bytes(8))
        except DecodeError:
            pytest.fail(f"{prop.name}: eight zeroes")


@pytest.mark.parametrize("octets", ["02", ""])
def test_booleans_are_0_or_1(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_value(Property.PHY_ENABLED, bytes.fromhex(octets))


# --- STREAM_RAW -------------------------------------------------------------------------------------------

BEACON_REQUEST = bytes.fromhex("0308A9FFFFFFFF07")


def test_a_transmission_as_a_host_packs_it() -> None:
    """Field by field: length with FCS, PSDU, FCS, then the metadata in the order of spinel.h."""
    raw = RawTransmit(psdu=BEACON_REQUEST, channel=15, retries=2)
    octets = raw.encode()
    assert octets[:12] == bytes.fromhex("0A00") + BEACON_REQUEST + b"\0\0"
    assert octets[12:] == bytes.fromhex("0F 04 02 01 00 00 00 00000000 00000000 0F")
    assert RawTransmit.decode(octets) == RawTransmit(
        psdu=BEACON_REQUEST, channel=15, retries=2, after_channel=15
    )


def test_all_but_the_channel_may_be_missing() -> None:
    assert RawTransmit.decode(bytes.fromhex("0A00") + BEACON_REQUEST + b"\0\0\x0b") == RawTransmit(
        psdu=BEACON_REQUEST, channel=11, backoffs=4, retries=3, is_csma=True
    )


def test_a_received_frame() -> None:
    received = RawReceived(psdu=b"\x02\x00\x6a", rssi_dbm=-60, channel=15, lqi=200, timestamp_us=1 << 40)
    octets = received.encode()
    # dD: 0005 | psdu fcs | rssi -60, noise floor -128, flags 0 | t(CCX) | t(i) | t(CL)
    assert octets == bytes.fromhex(
        "0500 02006A 0000 C4 80 0000 0A00 0FC8 0000000000010000 010000 05000000000000"
    )
    assert RawReceived.decode(octets) == received


def test_old_firmware_says_less() -> None:
    received = RawReceived.decode(bytes.fromhex("0500 02006A 0000 C4"))
    assert (received.psdu, received.rssi_dbm, received.lqi) == (b"\x02\x00\x6a", -60, None)
    assert RawReceived.decode(bytes.fromhex("0500 02006A 0000")).psdu == b"\x02\x00\x6a"


@pytest.mark.parametrize("octets", ["", "05", "0500", "0500020069", "0200FFFF", "8000" + "00" * 128])
def test_frames_of_no_possible_size(octets: str) -> None:
    for message in (RawReceived, RawTransmit):
        with pytest.raises(DecodeError):
            message.decode(bytes.fromhex(octets))


def test_the_end_of_a_transmission() -> None:
    assert TransmitDone(status=Status.NO_ACK).encode() == bytes.fromhex("110000")
    assert TransmitDone.decode(bytes.fromhex("11")) == TransmitDone(status=17)
    done = TransmitDone(status=Status.OK, is_pending=True)
    assert done.encode().startswith(bytes.fromhex("0001000000"))  # and an empty acknowledgement frame
    assert TransmitDone.decode(done.encode()) == done


# --- hostile octets ---------------------------------------------------------------------------------------


def decode_anything(octets: bytes) -> None:
    """Raises DecodeError or nothing."""
    frame = SpinelFrame.decode(octets)
    assert SpinelFrame.decode(frame.encode()) == frame
    for message in (RawReceived, RawTransmit, TransmitDone):
        try:
            message.decode(frame.payload)
        except DecodeError:
            continue
    for prop in Property:
        try:
            decode_value(prop, frame.payload)
        except DecodeError:
            continue


def test_truncation_at_every_octet() -> None:
    raw = RawReceived(psdu=BEACON_REQUEST, rssi_dbm=-60, channel=15, lqi=200).encode()
    whole = SpinelFrame(
        transaction=3, command=Command.PROP_VALUE_IS, prop=Property.STREAM_RAW, payload=raw
    ).encode()
    for size in range(len(whole)):
        try:
            decode_anything(whole[:size])
        except DecodeError:
            continue


def test_random_frames_raise_only_decode_errors() -> None:
    rng = random.Random(7)
    refused = 0
    for _ in range(3_000):
        octets = bytearray(rng.randbytes(rng.randrange(0, 60)))
        if octets and rng.random() < 0.8:
            octets[0] = 0x80 | octets[0] & 0x3F
        try:
            decode_anything(bytes(octets))
        except DecodeError:
            refused += 1
    assert 0 < refused < 3_000


def garbled_line(octet_count: int, seed: int) -> tuple[int, int, int]:
    """(good frames sent, of them received whole, frames made up) on a line where frames and garbage mix."""
    rng = random.Random(seed)
    decoder = HdlcDecoder()
    sent = received = made_up = octets_sent = 0
    while octets_sent < octet_count:
        frame = rng.randbytes(rng.randrange(1, 120))
        garbage = rng.randbytes(rng.randrange(0, 120))
        got = decoder.feed(garbage + hdlc_frame(frame))
        sent += 1
        received += got[-1:] == [frame]
        made_up += len(got) - (frame in got)
        octets_sent += len(garbage) + len(frame)
    return sent, received, made_up


def test_the_frame_after_garbage_is_always_whole() -> None:
    sent, received, made_up = garbled_line(100_000, 7)
    assert received == sent > 500
    assert made_up <= 1  # a CRC of 16 bits lets garbage through once in 65 536


@pytest.mark.slow
def test_a_million_garbled_octets() -> None:
    sent, received, made_up = garbled_line(1_000_000, 8)
    assert received == sent > 5_000
    assert made_up <= 3
