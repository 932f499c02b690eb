"""zigpy, an independent library, builds and reads the same octets: headers, general commands, Metering."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.frame import ZclFrame, general_frame
from smets1.firmware.zcl.status import Side
from smets1.firmware.zcl.types import BY_ID, Kind

zigpy_types = pytest.importorskip("zigpy.types", reason="zigpy is not installed (it is in the [dev] extra)")
foundation = pytest.importorskip("zigpy.zcl.foundation")
smartenergy = pytest.importorskip("zigpy.zcl.clusters.smartenergy")

pytestmark = pytest.mark.outsider

METERING = cluster_named("metering")
ROWS = [row for row in METERING.server if row.type.minimum is not None]


def theirs(octets: bytes) -> tuple[Any, Any]:
    """(header, command) as zigpy reads a general command; nothing may be left over."""
    header, rest = foundation.ZCLHeader.deserialize(octets)
    schema = foundation.GENERAL_COMMANDS[foundation.GeneralCommand(header.command_id)].schema
    command, rest = schema.deserialize(rest)
    assert rest == b""
    return header, command


def plain(value: Any) -> Any:
    return int(value) if isinstance(value, int) else bytes(value)


def samples(rng: random.Random, count: int) -> list[tuple[int, int, int]]:
    rows = rng.sample(ROWS, count)
    return [
        (row.attribute_id, row.type.type_id, rng.randint(row.type.minimum or 0, row.type.maximum or 0))
        for row in rows
    ]


@pytest.mark.parametrize("seed", range(200))
def test_reports_and_read_responses(seed: int) -> None:
    rng = random.Random(seed)
    picked = samples(rng, rng.randint(1, 8))
    report = general_frame(
        g.ReportAttributes(tuple(g.TypedValue(*one) for one in picked)),
        sender=Side.SERVER,
        sequence=seed & 0xFF,
    )
    header, command = theirs(report)
    assert header.serialize() == report[:3]
    assert (int(header.tsn), int(header.command_id)) == (seed & 0xFF, 0x0A)
    assert [
        (int(a.attrid), int(a.value.type), plain(a.value.value)) for a in command.attribute_reports
    ] == picked
    assert header.serialize() + command.serialize() == report
    known = [g.ReadRecord(ident, 0, kind, value) for ident, kind, value in picked]
    records = (*known, g.ReadRecord(0x7777, 0x86))
    response = general_frame(g.ReadAttributesResponse(records), sender=Side.SERVER)
    _, command = theirs(response)
    read = [
        (int(r.attrid), int(r.status), plain(r.value.value) if not r.status else None)
        for r in command.status_records
    ]
    assert read == [(r.attribute_id, r.status, r.value) for r in records]
    assert ZclFrame.decode(response).general() == g.ReadAttributesResponse(records)


def test_octet_strings_and_text() -> None:
    report = general_frame(
        g.ReportAttributes((g.TypedValue(0x0307, 0x41, b"1234567890"), g.TypedValue(4, 0x42, "Liberty"))),
        sender=Side.SERVER,
    )
    _, command = theirs(report)
    assert bytes(command.attribute_reports[0].value.value) == b"1234567890"
    assert str(command.attribute_reports[1].value.value) == "Liberty"


def test_their_frames_read_the_same_here() -> None:
    rng = random.Random(99)
    for _ in range(100):
        picked = samples(rng, 4)
        attributes = []
        for attribute_id, type_id, value in picked:
            attribute = foundation.Attribute()
            attribute.attrid = attribute_id
            python_type = foundation.DataType.from_type_id(type_id).python_type
            attribute.value = foundation.TypeValue(type=type_id, value=python_type(value))
            attributes.append(attribute)
        schema = foundation.GENERAL_COMMANDS[foundation.GeneralCommand.Write_Attributes].schema
        header = foundation.ZCLHeader.general(tsn=5, command_id=foundation.GeneralCommand.Write_Attributes)
        octets = header.serialize() + schema(attributes).serialize()
        frame = ZclFrame.decode(octets)
        assert frame.header.encode() == octets[:3]
        assert frame.general() == g.WriteAttributes(tuple(g.TypedValue(*one) for one in picked))


def test_other_general_commands() -> None:
    reporting = g.ReportingRecord(0, 0, 0x25, 30, 60, 1000)
    messages: list[g.GeneralMessage] = [
        g.ReadAttributes((0, 1, 0x300)), g.WriteAttributesResponse(()), g.WriteAttributesResponse((g.StatusRecord(0x88, 2),)),
        g.ConfigureReporting((reporting,)), g.ConfigureReportingResponse(()),
        g.ReadReportingConfiguration((g.DirectedId(0, 1),)), g.DefaultResponse(4, 0x81), g.DiscoverAttributes(0, 9),
        g.DiscoverAttributesResponse(True, (g.DiscoveredAttribute(0, 0x25),)), g.DiscoverCommandsReceived(0, 20),
        g.DiscoverCommandsReceivedResponse(True, (1, 2)), g.DiscoverCommandsGenerated(0, 20),
        g.DiscoverCommandsGeneratedResponse(True, (1, 2)), g.DiscoverAttributesExtended(0, 9),
        g.DiscoverAttributesExtendedResponse(True, (g.ExtendedAttribute(0, 0x25, 5),)),
    ]  # fmt: skip
    for message in messages:
        octets = general_frame(message)
        header, command = theirs(octets)
        assert header.serialize() + command.serialize() == octets, message


def test_metering_attributes_have_the_same_types() -> None:
    """zigpy's table is written by hand from the same specification: types must agree where both have a row."""
    ours = METERING.attributes_by_id[Side.SERVER]
    differing, compared = [], 0
    for definition in smartenergy.Metering.attributes.values():
        row = ours.get(definition.id)
        if row is None or definition.id >= 0xFFF0:
            continue
        compared += 1
        if definition.zcl_type != row.type.type_id:
            differing.append(
                (hex(definition.id), definition.name, row.name, hex(definition.zcl_type), row.type.name)
            )
    assert compared > 100
    assert differing == KNOWN_DIFFERENCES


KNOWN_DIFFERENCES: list[tuple[str, str, str, str, str]] = []


def test_type_table() -> None:
    for type_id, row in BY_ID.items():
        if type_id in (0x00, 0xFF):
            continue
        other = foundation.DataType.from_type_id(type_id)
        is_analog = other.type_class.name == "Analog"
        if row.kind is not Kind.COMPOSITE:
            assert is_analog == (row.kind is Kind.ANALOG), row
        if row.size is not None and row.minimum is not None and not row.name.startswith(("data", "eui64")):
            assert len(other.python_type(1).serialize()) == row.size
