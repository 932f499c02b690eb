"""Frames and general commands: examples, round trips, truncation, noise."""

from __future__ import annotations

import random

import pytest

from smets1.errors import DecodeError, MisuseError
from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.clusters import CLUSTERS, MANUFACTURER_CODE, cluster_named
from smets1.firmware.zcl.frame import ZclFrame, ZclHeader, command_frame, general_frame, read_command
from smets1.firmware.zcl.status import FrameType, GeneralCommand, Side
from smets1.firmware.zcl.types import ZclArray

WHOLE = g.Selector()
MESSAGES = [
    (g.ReadAttributes((0, 0x0300)), "0000 0003"),
    (g.ReadAttributesResponse((g.ReadRecord(0, 0, 0x25, 0x4D64CC), g.ReadRecord(9, 0x86))), "0000 00 25 cc644d000000 0900 86"),
    (g.WriteAttributes((g.TypedValue(0, 0xE2, 1),)), "0000 e2 01000000"),
    (g.WriteAttributesUndivided((g.TypedValue(1, 0x18, 3),)), "0100 18 03"),
    (g.WriteAttributesNoResponse((g.TypedValue(1, 0x41, b"x"),)), "0100 41 0178"),
    (g.WriteAttributesResponse(()), "00"),
    (g.WriteAttributesResponse((g.StatusRecord(0x88, 2),)), "88 0200"),
    (g.ConfigureReporting((g.ReportingRecord(0, 0, 0x25, 30, 60, 100), g.ReportingRecord(0, 0x14, 0x30, 1, 2, None), g.ReportingRecord(1, 7, timeout_s=9))),
     "00 0000 25 1e00 3c00 640000000000  00 1400 30 0100 0200  01 0700 0900"),
    (g.ConfigureReportingResponse(()), "00"),
    (g.ConfigureReportingResponse((g.ReportingStatus(0x86, 0, 5),)), "86 00 0500"),
    (g.ReadReportingConfiguration((g.DirectedId(0, 0x0400),)), "00 0004"),
    (g.ReadReportingConfigurationResponse((g.ReportingAnswer(0x8B, 0, 2), g.ReportingAnswer(0, 0, 1, g.ReportingRecord(0, 1, 0x20, 1, 2, 3)))),
     "8b 00 0200 00 00 0100 20 0100 0200 03"),
    (g.ReportAttributes((g.TypedValue(0x0400, 0x2A, -5),)), "0004 2a fbffff"),
    (g.DefaultResponse(4, 0x01), "04 01"),
    (g.DiscoverAttributes(0x10, 5), "1000 05"),
    (g.DiscoverAttributesResponse(True, (g.DiscoveredAttribute(0, 0x25),)), "01 0000 25"),
    (g.ReadAttributesStructured((g.SelectedId(1, g.Selector((2, 3))),)), "0100 02 0200 0300"),
    (g.WriteAttributesStructured((g.SelectedValue(1, g.Selector((), 1), 0x20, 5),)), "0100 10 20 05"),
    (g.WriteAttributesStructuredResponse(()), "00"),
    (g.WriteAttributesStructuredResponse((g.SelectedStatus(0x8E, 1, g.Selector((9,))),)), "8e 0100 01 0900"),
    (g.DiscoverCommandsReceived(0, 20), "00 14"),
    (g.DiscoverCommandsReceivedResponse(False, (1, 2)), "00 01 02"),
    (g.DiscoverCommandsGenerated(0, 20), "00 14"),
    (g.DiscoverCommandsGeneratedResponse(True, ()), "01"),
    (g.DiscoverAttributesExtended(0, 1), "0000 01"),
    (g.DiscoverAttributesExtendedResponse(True, (g.ExtendedAttribute(0, 0x25, 5),)), "01 0000 25 05"),
]  # fmt: skip


def test_every_general_command_has_a_message() -> None:
    assert set(g.GENERAL) == set(GeneralCommand) == set(range(0x17))
    assert {type(message) for message, _ in MESSAGES} == set(g.GENERAL.values())


@pytest.mark.parametrize(("message", "octets"), MESSAGES, ids=lambda value: type(value).__name__)
def test_general_messages(message: g.GeneralMessage, octets: str) -> None:
    raw = bytes.fromhex(octets)
    assert message.encode() == raw
    assert type(message).decode(raw) == message
    for size in range(len(raw)):
        try:
            type(message).decode(raw[:size])
        except DecodeError:
            pass


def test_headers() -> None:
    plain = ZclHeader(frame_type=FrameType.CLUSTER, sequence=5, command_id=0x0C)
    assert plain.encode().hex() == "01050c"
    answer = plain.answer(FrameType.GLOBAL, 0x0B)
    assert answer.encode().hex() == "18050b"
    ours = ZclHeader(
        frame_type=FrameType.CLUSTER, sender=Side.SERVER, manufacturer_code=0xFFF1, sequence=1, command_id=2
    )
    assert ours.encode().hex() == "0df1ff0102"
    for header in (plain, answer, ours):
        assert ZclHeader.decode(header.encode() + b"rest") == (header, b"rest")
        for size in range(len(header.encode())):
            with pytest.raises(DecodeError):
                ZclHeader.decode(header.encode()[:size])
    for octets in (b"\x02\0\0", b"\x03\0\0"):
        with pytest.raises(DecodeError):
            ZclHeader.decode(octets)


def test_frames_by_name() -> None:
    metering, prepayment = cluster_named("metering"), cluster_named("prepayment")
    octets = command_frame(metering, "local_change_supply", {"proposed_supply_status": 2}, sequence=7)
    assert octets.hex() == "01070c02"
    assert read_command(metering, octets) == ("local_change_supply", {"proposed_supply_status": 2})
    octets = command_frame(
        prepayment, "consumer_top_up_response",
        {"result_type": 1, "top_up_value": 0, "source_of_top_up": 2, "credit_remaining": -1}, sender=Side.SERVER,
    )  # fmt: skip
    assert octets.hex() == "090003" + "01" + "00000000" + "02" + "ffffffff"
    octets = general_frame(g.ReadAttributes((0,)), sequence=1)
    assert octets.hex() == "1001000000"
    assert read_command(metering, octets) == ("ReadAttributes", {"attribute_ids": (0,)})
    own = command_frame(cluster_named("authorisation"), "status_push_ack", {"generation": 2})
    assert ZclFrame.decode(own).header.manufacturer_code == MANUFACTURER_CODE
    with pytest.raises(MisuseError):
        command_frame(metering, "no_such_command")
    with pytest.raises(DecodeError):
        read_command(metering, bytes.fromhex("0107ff"))


def test_twenty_thousand_random_frames_only_raise_decode_error() -> None:
    rng = random.Random(7)
    clusters = list(CLUSTERS.values())
    for _ in range(20_000):
        octets = bytearray(rng.randbytes(rng.randrange(40)))
        if octets and rng.random() < 0.9:
            octets[0] &= 0x19
        try:
            name, values = read_command(rng.choice(clusters), bytes(octets))
        except DecodeError:
            continue
        assert name
        assert isinstance(values, dict)


def test_arrays_travel_in_reports() -> None:
    report = g.ReportAttributes((g.TypedValue(1, 0x48, ZclArray(0x21, (1, 2))),))
    assert g.ReportAttributes.decode(report.encode()) == report
