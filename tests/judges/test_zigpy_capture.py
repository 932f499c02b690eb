"""zigpy reads every ZCL frame of a captured home to the values that our decoder reads.

The octets come out of the capture by tshark (which decrypts and puts fragments together), so nothing of ours has
touched them: two foreign programs and our decoder must agree. zigpy has our tables by `zigpy_export`; general
commands are its own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from story import Story, busy_day, tell_story
from tshark import TSHARK, run_tshark

from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.frame import ZclFrame
from smets1.firmware.zcl.status import FrameType, Side

_REASON = "zigpy is not installed (it is in the extra [radio])"
foundation = pytest.importorskip("zigpy.zcl.foundation", reason=_REASON)
zigpy_export = pytest.importorskip("smets1.firmware.zcl.zigpy_export", reason=_REASON)
plain, plain_values = zigpy_export.plain, zigpy_export.plain_values

pytestmark = [
    pytest.mark.outsider,
    pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: run ./tools/test"),
]

THEIRS = zigpy_export.export_clusters()


@dataclass(frozen=True)
class Heard:
    cluster_id: int
    octets: bytes


_CLUSTER = re.compile(r'"zbee_aps.cluster": "0x([0-9a-f]+)"')
_OCTETS = re.compile(r'"zbee_zcl_raw": \[\s*"([0-9a-f]*)"')


def zcl_frames(story: Story) -> list[Heard]:
    """Every ZCL frame as tshark has it, repeats included."""
    lines = run_tshark(
        story.path, story.keys, "-Y", "zbee_zcl", "-T", "json", "-x", "-j", "zbee_aps zbee_zcl"
    )
    found = []
    for packet in json.loads("\n".join(lines), object_pairs_hook=_keep_first):
        layers = packet["_source"]["layers"]
        octets = bytes.fromhex(layers["zbee_zcl_raw"][0])
        found.append(Heard(int(layers["zbee_aps"]["zbee_aps.cluster"], 16), octets))
    return found


def _keep_first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; tshark writes some keys twice."""
    kept: dict[str, Any] = {}
    for key, value in pairs:
        kept.setdefault(key, value)
    return kept


def compare(heard: Heard) -> str:
    """What the frame is; raises AssertionError where the two do not agree."""
    frame = ZclFrame.decode(heard.octets)
    header, rest = foundation.ZCLHeader.deserialize(heard.octets)
    assert header.serialize() + rest == heard.octets
    assert int(header.tsn) == frame.header.sequence
    assert int(header.command_id) == frame.header.command_id
    assert (header.manufacturer or None) == frame.header.manufacturer_code
    assert int(header.direction) == (frame.header.sender is Side.SERVER)
    if frame.header.frame_type is FrameType.GLOBAL:
        return compare_general(frame, rest)
    cluster, other = CLUSTERS[heard.cluster_id], THEIRS[heard.cluster_id]
    name, values = frame.command(cluster)
    commands = other.client_commands if frame.header.sender is Side.SERVER else other.server_commands
    read, left = commands[frame.header.command_id].schema.deserialize(rest)
    command = cluster.command(name, frame.header.sender)
    assert (left, plain_values(read, command.payload)) == (b"", values)
    return f"{cluster.name}.{name}"


def compare_general(frame: ZclFrame, rest: bytes) -> str:
    ours: Any = frame.general()
    schema = foundation.GENERAL_COMMANDS[foundation.GeneralCommand(frame.header.command_id)].schema
    theirs, left = schema.deserialize(rest)
    assert left == b""
    assert ours.encode() == rest
    if type(ours) is not g.ConfigureReporting:  # zigpy 2.4 cannot write one without a reportable change
        assert theirs.serialize() == rest
    assert _THEIR_ROWS[type(ours)](theirs) == _OUR_ROWS[type(ours)](ours)
    return type(ours).__name__


def _typed(record: Any) -> tuple[int, int, Any]:
    return int(record.attrid), int(record.value.type), plain(record.value.value)


def _read_record(record: Any) -> tuple[Any, ...]:
    if record.status:
        return int(record.attrid), int(record.status), None, None
    return int(record.attrid), 0, int(record.value.type), plain(record.value.value)


def _reporting(record: Any) -> tuple[Any, ...]:
    change = getattr(record, "reportable_change", None)
    return (int(record.direction), int(record.attrid), int(record.datatype), int(record.min_interval),
            int(record.max_interval), None if change is None else plain(change))  # fmt: skip


_THEIR_ROWS: dict[type, Any] = {
    g.ReadAttributes: lambda c: [int(i) for i in c.attribute_ids],
    g.ReadAttributesResponse: lambda c: [_read_record(r) for r in c.status_records],
    g.ReportAttributes: lambda c: [_typed(r) for r in c.attribute_reports],
    g.ConfigureReporting: lambda c: [_reporting(r) for r in c.config_records],
    g.ConfigureReportingResponse: lambda c: [],  # its octets are compared; zigpy gives them a shape of its own
    g.DefaultResponse: lambda c: [int(c.command_id), int(c.status)],
}
_OUR_ROWS: dict[type, Any] = {
    g.ReadAttributes: lambda m: list(m.attribute_ids),
    g.ReadAttributesResponse: lambda m: [
        (r.attribute_id, int(r.status), None if r.status else r.type_id, None if r.status else r.value)
        for r in m.records
    ],
    g.ReportAttributes: lambda m: [(r.attribute_id, r.type_id, r.value) for r in m.records],
    g.ConfigureReporting: lambda m: [
        (r.direction, r.attribute_id, r.type_id, r.min_interval_s, r.max_interval_s, r.change)
        for r in m.records
    ],
    g.ConfigureReportingResponse: lambda m: [],
    g.DefaultResponse: lambda m: [m.command_id, int(m.status)],
}


def judge(story: Story) -> Counter[str]:
    frames = zcl_frames(story)
    assert len(frames) == sum(row.is_zcl for row in story.rows)
    return Counter(compare(heard) for heard in frames)


def test_every_frame_of_a_story(tmp_path: Path) -> None:
    seen = judge(tell_story(tmp_path))
    wanted = {
        "ReadAttributes", "ReadAttributesResponse", "ReportAttributes", "ConfigureReporting",
        "ConfigureReportingResponse", "DefaultResponse",
        "key_establishment.initiate_key_establishment_request", "key_establishment.confirm_key_data_response",
        "key_establishment.ephemeral_data_request", "price.get_current_price", "price.publish_price",
        "prepayment.consumer_top_up", "prepayment.consumer_top_up_response",
        "metering.request_mirror", "metering.request_mirror_response", "metering.configure_mirror",
        "metering.mirror_report_attribute_response", "authorisation.critical_instruction",
        "authorisation.critical_result", "authorisation.status_push",
    }  # fmt: skip
    assert wanted <= set(seen), wanted - set(seen)


def test_a_wrong_value_is_found(tmp_path: Path) -> None:
    """The comparison can fail: one octet of a report is read on one side only."""
    octets = g.ReportAttributes((g.TypedValue(0x0000, 0x25, 0x4D64CC),)).encode()
    frame = ZclFrame.decode(b"\x18\x01\x0a" + octets)
    assert compare_general(frame, octets) == "ReportAttributes"
    with pytest.raises(AssertionError):
        compare_general(frame, octets[:-1] + b"\x01")


@pytest.mark.slow
def test_every_frame_of_a_busy_day(tmp_path: Path) -> None:
    seen = judge(busy_day(tmp_path, 4))
    assert seen.total() > 5_000
