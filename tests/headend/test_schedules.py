"""DSP schedules: when they are due, and what comes of it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import ESME, NS, Rig, code_of, request_xml

from smets1.errors import InputError
from smets1.firmware.civil import format_utc, parse_utc
from smets1.headend.duis.request import XmlNode, parse_request
from smets1.headend.schedules import Schedule
from smets1.headend.srv import PLANS

DSP = "90-B3-D5-1F-30-00-00-02"
A0 = "00-DB-12-34-56-78-90-A0"
NETWORK = "90-B3-D5-1F-30-02-00-00"
DAY_S = 86_400
POWER = "<sr:DSPReadActivePowerImport/>"


def create(
    frequency: str = "Daily",
    start: str = "2024-03-01",
    *,
    srv: str = "4.16",
    service: str = POWER,
    device: str = A0,
    rest: str = "",
) -> str:
    return (
        f"<sr:CreateSchedule><sr:ScheduleFrequency>{frequency}</sr:ScheduleFrequency>"
        f"<sr:ScheduleStartDate>{start}</sr:ScheduleStartDate>{rest}"
        f"<sr:DSPScheduledServiceReference>{'.'.join(srv.split('.')[:2])}</sr:DSPScheduledServiceReference>"
        f"<sr:DSPScheduledServiceReferenceVariant>{srv}</sr:DSPScheduledServiceReferenceVariant>"
        f"<sr:DeviceID>{device}</sr:DeviceID>{service}</sr:CreateSchedule>"
    )


async def ask(
    rig: Rig, srv: str, body: str, counter: int, originator: str = "90-B3-D5-1F-30-01-00-00"
) -> Any:
    xml = request_xml(srv, body, target=DSP, cv=8, counter=counter, originator=originator)
    return await rig.ask(xml, "serviceD")


def schedule(frequency: str, start: str, end: str = "", at: str = "") -> Schedule:
    body = create(
        frequency,
        start,
        rest=(f"<sr:ScheduleEndDate>{end}</sr:ScheduleEndDate>" if end else "")
        + (f"<sr:ScheduleExecutionStartTime>{at}</sr:ScheduleExecutionStartTime>" if at else ""),
    )
    request = parse_request(request_xml("5.1", body, target=DSP, cv=8))
    return Schedule(schedule_id=1, owner=1, details=request.body, last_utc_us=0)


DUE = [
    ("Daily", "2024-03-01", "", "", "2024-03-01T12:00:00Z", ["2024-03-02", "2024-03-03"]),
    ("Daily", "2015-01-02", "", "", "2024-03-01T00:00:00Z", ["2024-03-02"]),
    ("Daily", "2024-03-01", "2024-03-02", "", "2024-03-01T12:00:00Z", ["2024-03-02", None]),
    ("Daily", "2024-03-01", "", "18:30:00Z", "2024-03-01T12:00:00Z", ["2024-03-01T18:30:00Z", "2024-03-02T18:30:00Z"]),
    ("Daily", "2024-03-01", "", "24:00:00.00Z", "2024-03-01T12:00:00Z", ["2024-03-02", "2024-03-03"]),
    ("Weekly", "2024-02-01", "", "", "2024-03-01T12:00:00Z", ["2024-03-07", "2024-03-14"]),
    ("Monthly", "2024-01-31", "", "", "2024-02-01T00:00:00Z", ["2024-02-29", "2024-03-31", "2024-04-30"]),
    ("Quarterly", "2023-11-30", "", "", "2023-12-01T00:00:00Z", ["2024-02-29", "2024-05-30"]),
    ("Half-Yearly", "2023-08-31", "", "", "2023-09-01T00:00:00Z", ["2024-02-29", "2024-08-31"]),
    ("Yearly", "2024-02-29", "", "", "2024-03-01T00:00:00Z", ["2025-02-28", "2026-02-28"]),
]  # fmt: skip


@pytest.mark.parametrize(("frequency", "start", "end", "at", "now", "expected"), DUE)
def test_due(frequency: str, start: str, end: str, at: str, now: str, expected: list[str | None]) -> None:
    when: int | None = parse_utc(now)
    for text in expected:
        assert when is not None
        when = schedule(frequency, start, end, at).next_utc_us(when)
        full = None if text is None else text if "T" in text else f"{text}T00:00:00Z"
        assert (None if when is None else format_utc(when)) == full


def test_due_against_a_walk_day_by_day() -> None:
    """From any moment the next time is the first of all that a walk from the start finds."""
    rng = random.Random(3)
    for frequency in ("Daily", "Weekly", "Monthly", "Quarterly", "Half-Yearly", "Yearly"):
        made = schedule(
            frequency, f"20{rng.randrange(10, 24)}-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)}"
        )
        walk, when = [], made.next_utc_us(0)
        while when is not None and len(walk) < 60:
            walk.append(when)
            when = made.next_utc_us(when)
        for _ in range(50):
            moment = rng.randrange(walk[0], walk[-1])
            assert made.next_utc_us(moment) == min(due for due in walk if due > moment)


def test_a_read_of_a_log_has_its_period(schema: Any) -> None:
    offsets = (
        "<sr:DSPRetrieveImportDailyReadLog><sr:StartDateOffset>-1</sr:StartDateOffset>"
        "<sr:StartTime>00:00:00.00Z</sr:StartTime><sr:EndDateOffset>0</sr:EndDateOffset>"
        "<sr:EndTime>06:00:00Z</sr:EndTime></sr:DSPRetrieveImportDailyReadLog>"
    )
    body = create(srv="4.6.1", service=offsets)
    made = Schedule(
        schedule_id=1,
        owner=0x90B3D51F30010000,
        details=parse_request(request_xml("5.1", body, target=DSP, cv=8)).body,
        last_utc_us=0,
    )
    made.check()
    request = parse_request(made.request_xml(parse_utc("2024-03-05T00:00:00Z"), 7))
    assert (request.srv, request.body.name) == ("4.6.1", "RetrieveImportDailyReadLog")
    assert request.body.value("ReadLogPeriod", "StartDateTime") == "2024-03-04T00:00:00Z"
    assert request.body.value("ReadLogPeriod", "EndDateTime") == "2024-03-05T06:00:00Z"
    assert str(request.request_id) == f"90-B3-D5-1F-30-01-00-00:{A0}:7"


def test_nonsense_is_refused() -> None:
    for changed in (
        schedule("Hourly", "2024-03-01"),
        schedule("Daily", "soon"),
        schedule("Daily", "2024-03-01", at="25:00:00"),
        schedule("Daily", "2024-03-01", end="x"),
    ):
        with pytest.raises(InputError):
            changed.check()


@pytest.fixture
def watts(rig: Rig) -> Rig:
    rig.hub.meters[ESME].attributes[1, 0x0702, "instantaneous_demand"] = 1500
    return rig


async def test_a_schedule_from_birth_to_death(watts: Rig, schema: Any) -> None:
    rig = watts
    made = await ask(rig, "5.1", create(), 1)
    schema(made)
    number = made.findtext(".//sr:DSPScheduleID", namespaces=NS)
    assert (code_of(made), number) == ("I0", "1")
    read = await ask(
        rig, "5.2", "<sr:ReadSchedule><sr:DSPScheduleID>1</sr:DSPScheduleID></sr:ReadSchedule>", 2
    )
    schema(read)
    details = read.find(".//sr:DSPScheduleDetails", NS)
    assert details is not None
    assert details.findtext("sr:ScheduleFrequency", namespaces=NS) == "Daily"
    await asyncio.sleep(3 * DAY_S)
    answered = [response for response in rig.head_end.responses() if (response.key or "").startswith("sch")]
    assert [format_utc(response.created_utc_us)[:10] for response in answered] == [
        "2024-03-02", "2024-03-03", "2024-03-04"]  # fmt: skip
    for response in answered:
        root = etree.fromstring(response.xml)
        schema(root)
        assert code_of(root) == "I0"
        assert root.findtext(".//sr:SMETS1ResponseMessage/sr:DSPScheduleID", namespaces=NS) == "1"
        assert root.find("sr:Header/sr:RequestID", NS) is None
        assert root.findtext(".//ra:PrimaryActivePowerImportValue", namespaces=NS) == "1500"
    gone = await ask(rig, "5.3", f"<sr:DeleteSchedule><sr:DeviceID>{A0}</sr:DeviceID></sr:DeleteSchedule>", 3)
    assert code_of(gone) == "I0"
    asked = len(rig.hub.asked)
    await asyncio.sleep(3 * DAY_S)
    assert len(rig.hub.asked) == asked
    again = await ask(
        rig, "5.3", "<sr:DeleteSchedule><sr:DSPScheduleID>1</sr:DSPScheduleID></sr:DeleteSchedule>", 4
    )
    schema(again)
    assert code_of(again) == "E050301"


async def test_restarts_neither_double_nor_lose(watts: Rig) -> None:
    rig = watts
    await ask(rig, "5.1", create(), 1)
    for _ in range(3):
        await rig.restart()
    await asyncio.sleep(1.2 * DAY_S)
    await rig.restart()
    await rig.head_end.close()
    await asyncio.sleep(3 * DAY_S)  # down over three times: made up for by one
    await rig.restart()
    await asyncio.sleep(60)
    runs = [response.key for response in rig.head_end.responses() if (response.key or "").startswith("sch")]
    assert len(runs) == len(set(runs)) == 2
    await asyncio.sleep(DAY_S)
    assert len(rig.hub.asked) == 3


async def test_of_others_nothing_is_seen(watts: Rig, schema: Any) -> None:
    rig = watts
    await ask(rig, "5.1", create(), 1)
    services = (("5.2", "ReadSchedule", "E050201"), ("5.3", "DeleteSchedule", "E050301"))
    for counter, (srv, body, code) in enumerate(services):
        xml = f"<sr:{body}><sr:DSPScheduleID>1</sr:DSPScheduleID></sr:{body}>"
        answer = await ask(rig, srv, xml, 5 + counter, originator=NETWORK)
        schema(answer)
        assert code_of(answer) == code


@pytest.mark.parametrize(
    ("body", "originator", "code"),
    [
        (create(device="00-DB-12-34-56-78-90-77"), NETWORK, "E050101"),
        (create(srv="4.18"), NETWORK, "E050102"),
        (create(srv="4.14"), NETWORK, "E050102"),
        (create(srv="4.6.1"), NETWORK, "E050102"),
        (
            create(start="2014-01-01", rest="<sr:ScheduleEndDate>2015-01-01</sr:ScheduleEndDate>"),
            NETWORK,
            "E050103",
        ),
        (create("Hourly"), NETWORK, "E1000"),
        (create(), NETWORK, "I0"),
    ],
)
async def test_creation_is_checked(rig: Rig, schema: Any, body: str, originator: str, code: str) -> None:
    answer = await ask(rig, "5.1", body, 1, originator=originator)
    schema(answer)
    assert code_of(answer) == code


async def test_no_more_than_one_answer_can_list(rig: Rig, schema: Any) -> None:
    codes = [code_of(await ask(rig, "5.1", create(), counter)) for counter in range(100)]
    assert codes == ["I0"] * 99 + ["E050105"]
    every = await ask(rig, "5.2", f"<sr:ReadSchedule><sr:DeviceID>{A0}</sr:DeviceID></sr:ReadSchedule>", 200)
    schema(every)
    assert len(every.findall(".//sr:DSPSchedules", NS)) == 99


async def test_a_device_that_goes_takes_its_schedules(rig: Rig, schema: Any) -> None:
    await ask(rig, "5.1", create(), 1)
    body = f"<sr:DecommissionDevice><sr:DeviceID>{A0}</sr:DeviceID></sr:DecommissionDevice>"
    assert code_of(await ask(rig, "8.3", body, 2)) == "I0"
    alerts = [etree.fromstring(response.xml) for response in rig.head_end.responses() if response.key is None]
    for alert in alerts:
        schema(alert)
    assert "1" in [
        alert.findtext(".//sr:DSPScheduleRemoval/sr:DSPScheduleID", namespaces=NS) for alert in alerts
    ]
    await asyncio.sleep(3 * DAY_S)
    assert not rig.hub.asked


def test_every_scheduled_plan_takes_the_body_that_is_made() -> None:
    """The element of a schedule is named as that of the request it stands for, with DSP before it."""
    names = {"4.16": "DSPReadActivePowerImport", "4.6.1": "DSPRetrieveImportDailyReadLog"}
    for srv, name in names.items():
        made = Schedule(
            schedule_id=1,
            owner=1,
            details=XmlNode("CreateSchedule", children=(XmlNode(name),)),
            last_utc_us=0,
        )
        assert srv not in PLANS or PLANS[srv].body_name == made.body_name
