"""What a home says on the air, read by tshark: each scenario in the order that the specifications give it.

Source: Zigbee 05-3474-21, 4.6.3 (joining); SE 1.2 07-5356-19, 5.4 (key establishment), D.3.4.3 (mirror).
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from story import Story, restart_story, tell_story
from tshark import TSHARK, Row, Step, abandoned, faults, follow, read_capture, run_tshark

from smets1.firmware.zcl.clusters.prepayment import ResultType

pytestmark = [
    pytest.mark.outsider,
    pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: run ./tools/test"),
]

HUB = 0
METERING, PREPAYMENT, KEY_ESTABLISHMENT, AUTHORISATION = 0x0702, 0x0705, 0x0800, 0xFC01
CBKE = "ZCL Key Establishment: "
DEVICES = ("esme", "gsme", "ppmid", "ihd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


@pytest.fixture(scope="module")
def story(folder: Path) -> Story:
    return tell_story(folder)


def about(rows: list[Row] | object, short_address: int) -> list[Row]:
    """What one device says and hears, its association (by EUI-64, without a short address) apart."""
    assert isinstance(rows, list)
    return [row for row in rows if short_address in (row.source, row.destination)]


def test_nothing_is_malformed_or_left_sealed(story: Story) -> None:
    assert len(story.rows) > 5_000
    assert faults(story.rows) == []
    assert abandoned(story.path, story.keys, story.rows) == []


def test_the_network_is_looked_for_and_six_devices_let_in(story: Story) -> None:
    """Four devices associate; the hub forms the network, and the gas proxy lives inside the hub."""
    rows = story.chapter("joining")
    follow(
        rows, Step("Beacon Request"), Step("Beacon", source=HUB), Step("Association Request", destination=HUB)
    )
    answers = [row for row in rows if row.name == "Association Response"]
    assert len(answers) >= len(DEVICES)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_joins_and_is_keyed(story: Story, device: str) -> None:
    short = story.shorts[device]
    follow(
        about(story.chapter("joining"), short),
        Step("Transport Key", source=HUB),
        Step("Device Announcement", source=short),
        Step(CBKE + "Initiate Key Establishment Request", KEY_ESTABLISHMENT, source=short),
        Step(CBKE + "Initiate Key Establishment Response", KEY_ESTABLISHMENT, source=HUB),
        Step(CBKE + "Ephemeral Data Request", source=short),
        Step(CBKE + "Ephemeral Data Response", source=HUB),
        Step(CBKE + "Confirm Key Data Request", source=short),
        Step(CBKE + "Confirm Key Data Response", source=HUB),
    )


@pytest.mark.parametrize("display", ["ppmid", "ihd"])
def test_a_display_gets_a_partner_key_and_reads_the_meter(story: Story, display: str) -> None:
    short, meter = story.shorts[display], story.shorts["esme"]
    s1, s2 = story.spans["joining"], story.spans["settling"]
    rows = [row for row in story.rows if s1[0] <= row.time_s < s2[1]]
    found = follow(
        about(rows, short),
        Step("Request Key", source=short, destination=HUB),
        Step("Transport Key", source=HUB, destination=short),
        Step("ZCL: Read Attributes", METERING, source=short, destination=meter),
        Step("ZCL: Read Attributes Response", METERING, source=meter, destination=short),
        Step("ZCL: Read Attributes", PREPAYMENT, source=short, destination=meter),
        Step("ZCL: Read Attributes Response", PREPAYMENT, source=meter, destination=short),
        Step("ZCL Price: Get Current Price", source=short, destination=meter),
        Step("ZCL Price: Publish Price", source=meter, destination=short),
        Step("ZCL: Configure Reporting", METERING, source=short, destination=meter),
        Step("ZCL: Configure Reporting Response", METERING, source=meter, destination=short),
        Step("ZCL: Report Attributes", METERING, source=meter, destination=short),
    )
    assert found[-1].is_from_server
    # the other end of the pair is given the same key
    follow(about(rows, meter), Step("Transport Key", source=HUB, destination=meter))


@pytest.mark.parametrize(("chapter", "outcome"), [("top-up", "first"), ("refused top-up", "again")])
def test_a_top_up_is_asked_and_answered(story: Story, chapter: str, outcome: str) -> None:
    assert story.said[outcome] is (outcome == "first")
    display, meter = story.shorts["ppmid"], story.shorts["esme"]
    asked, answered = follow(
        story.chapter(chapter),
        Step("ZCL Prepayment: Consumer Top Up", PREPAYMENT, source=display, destination=meter),
        Step("ZCL Prepayment: Consumer Top Up Response", PREPAYMENT, source=meter, destination=display),
    )
    assert answered.time_s - asked.time_s < 2
    assert answered.is_from_server


def test_tshark_reads_why_a_top_up_was_refused(story: Story) -> None:
    """The result type of the answers, by tshark's own Prepayment dissector."""
    seen = list(dict.fromkeys(read_results(story)))
    assert seen == [ResultType.ACCEPTED, ResultType.REJECTED_DUPLICATE_TOP_UP]


def read_results(story: Story) -> list[int]:
    field = "zbee_zcl_se.pp.consumer_top_up_response.result_type"
    lines = run_tshark(story.path, story.keys, "-Y", field, "-T", "fields", "-e", field)
    return [int(line, 0) for line in lines]


def test_the_gas_meter_asks_for_a_mirror_and_fills_it(story: Story) -> None:
    short = story.shorts["gsme"]
    follow(
        about(story.chapter("settling"), short),
        Step("ZCL Metering: Request Mirror", METERING, source=short, destination=HUB),
        Step("ZCL Metering: Request Mirror Response", METERING, source=HUB, destination=short),
        Step("ZCL Metering: Configure Mirror", METERING, source=short),
        Step("ZCL: Report Attributes", PREPAYMENT, source=short, destination=HUB),
        Step("ZCL: Report Attributes", METERING, source=short, destination=HUB),
        Step("ZCL Metering: Mirror Report Attribute Response", METERING, source=HUB, destination=short),
    )


def test_the_gas_meter_wakes_every_half_hour(story: Story) -> None:
    short = story.shorts["gsme"]
    rows = about(story.chapter("gas waking"), short)
    assert rows
    data_requests = [
        row for row in story.chapter("gas waking") if row.source == short and row.name == "Data Request"
    ]
    assert data_requests, "a sleeping device fetches what its parent keeps for it"
    follow(rows, Step("ZCL: Report Attributes", PREPAYMENT, source=short))
    times = [story.spans["gas waking"][0], *(row.time_s for row in rows if row.source == short)]
    asleep_s = max(after - before for before, after in itertools.pairwise(times))
    assert asleep_s > 20 * 60, "it sleeps between its wakings"


def test_change_supply_travels_only_inside_a_critical_instruction(story: Story) -> None:
    """The valve of the gas meter is shut; tshark decrypts and frames it, the inner command is ours to name."""
    assert (story.said["disable"], story.said["valve"]) == (True, False)
    short = story.shorts["gsme"]
    follow(
        about(story.chapter("critical instruction"), short),
        Step("ZCL: Report Attributes", METERING, source=short),
        Step("authorisation.critical_instruction", AUTHORISATION, source=HUB, destination=short),
        Step("authorisation.critical_result", AUTHORISATION, source=short, destination=HUB),
        Step("ZCL: Report Attributes", METERING, source=short),  # the mirror knows before the meter sleeps
    )
    assert not [row for row in story.rows if "Change Supply" in row.name], "never bare"


def test_a_key_rotation_on_the_air(story: Story) -> None:
    assert story.said["rotated"].endswith("rotated"), story.said  # type: ignore[attr-defined]
    short = story.shorts["gsme"]
    follow(
        about(story.chapter("rotation"), short),
        Step("authorisation.critical_instruction", AUTHORISATION, source=HUB, destination=short),
        Step("authorisation.critical_result", AUTHORISATION, source=short, destination=HUB),
        Step("authorisation.status_push", AUTHORISATION, source=short, destination=HUB),
    )


def test_every_application_message_is_acknowledged(story: Story) -> None:
    """For each APS data frame with a counter some acknowledgement with the same counter goes the other way."""
    acknowledged = {
        (row.destination, row.source, row.aps_counter) for row in story.rows if row.name == "APS: Ack"
    }
    silent = [
        row
        for row in story.rows
        if row.is_zcl and (row.source, row.destination, row.aps_counter) not in acknowledged
    ]
    assert silent == []


def test_a_restarted_home_joins_nobody_again(story: Story, folder: Path) -> None:
    """Every key is back from NVM, in the key file too: nothing is associated, everything is decrypted."""
    again = restart_story(folder)
    assert faults(again.rows) == []
    assert abandoned(again.path, again.keys, again.rows) == []
    names = {row.name for row in again.rows}
    assert not names & {"Association Request", "Request Key", CBKE + "Initiate Key Establishment Request"}
    assert again.said["top-up"] is True
    follow(
        again.rows,
        Step("ZCL: Report Attributes", METERING, source=story.shorts["esme"]),
        Step("ZCL Metering: Mirror Report Attribute Response", source=HUB, destination=story.shorts["gsme"]),
        Step("ZCL Prepayment: Consumer Top Up", source=story.shorts["ppmid"]),
    )


def test_the_judge_can_find_fault(story: Story) -> None:
    """Without the established keys application payloads stay sealed, and the judge says so."""
    only = [line for line in story.keys if "NETWORK" in line or '"IC ' in line]
    assert len(only) < len(story.keys)
    found = faults(read_capture(story.path, only))
    assert sum("not decrypted" in fault for fault in found) > 1_000
    with pytest.raises(AssertionError, match="does not come after"):
        follow(
            story.chapter("top-up"),
            Step("ZCL Prepayment: Consumer Top Up Response"),
            Step("Association Request"),
        )
    with pytest.raises(AssertionError, match="does not come at all"):
        follow(story.chapter("top-up"), Step("ZCL Prepayment: Consumer Top Up", between_s=(0, 1)))
