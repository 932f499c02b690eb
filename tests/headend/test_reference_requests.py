"""DCC's 297 reference requests, and DCC's own parser as second reader of what we answer."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import CHF, ESME, NS, TYPES, Rig, code_of

from smets1.headend.catalogue import CATALOGUE, Smets1Support
from smets1.headend.duis.codes import CommandVariant, DeviceStatus, ServicePath
from smets1.headend.duis.request import DuisRequest, XmlNode, parse_request
from smets1.headend.inventory import InventoryDevice
from smets1.headend.non_device import BODIES
from smets1.headend.schedules import Schedule
from smets1.headend.srv import PLANS

pytestmark = pytest.mark.outsider

_PATHS = {
    CommandVariant.TRANSFORM: ServicePath.TRANSFORM,
    CommandVariant.NON_DEVICE: ServicePath.NON_DEVICE,
    CommandVariant.LOCAL: ServicePath.NON_DEVICE,
}
_DEMANDED = ("CS01a_2.2", "ECS17b_4.1.1_SINGLE", "8.2_READ_INVENTORY")

_READ_BACK = """
const { parseDuis } = require('@smartdcc/duis-parser');
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean);
const big = (_, value) => typeof value === 'bigint' ? value.toString() : value;
for (const line of lines) console.log(JSON.stringify(parseDuis('simplified', JSON.parse(line)), big));
"""


def requests(folder: Path) -> list[tuple[str, DuisRequest]]:
    files = sorted(folder.glob("*.XML"))
    assert len(files) == 297
    return [(file.name, parse_request(file.read_bytes())) for file in files]


def read_back(folder: Path, documents: list[bytes]) -> list[dict[str, Any]]:
    """What the npm package @smartdcc/duis-parser makes of our documents."""
    result = subprocess.run(
        ["node", "-e", _READ_BACK],
        cwd=folder,
        input="\n".join(json.dumps(document.decode()) for document in documents),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-500:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_all_297_are_read(duis_templates: Path) -> None:
    found = requests(duis_templates)
    variants = Counter(request.command_variant for _, request in found)
    assert variants == {1: 170, 4: 110, 8: 16, 2: 1}
    support = Counter(CATALOGUE[request.srv].smets1 for _, request in found)
    assert support == {Smets1Support.YES: 204, Smets1Support.NO: 79, Smets1Support.AFTER_DUIS_3: 14}
    for name, request in found:
        assert request.service_reference == CATALOGUE[request.srv].service_reference, name
        plan = PLANS.get(request.srv)
        assert plan is None or plan.body_name == request.body.name, name


async def test_every_one_gets_its_proper_answer(
    make_rig: Any, schema: Any, duis_templates: Path, duis_parser: Path
) -> None:
    """As they stand, addressed to the reference home: they share RequestIDs, so those may be reused."""
    rig: Rig = await make_rig(request_ids="reused")
    responses, octets = {}, []
    for name, request in requests(duis_templates):
        path = _PATHS.get(request.command_variant, ServicePath.SEND_COMMAND)
        prepare(rig, request)
        answer = await rig.head_end.submit(request.xml, path, wait_s=5)
        response = etree.fromstring(answer)
        schema(response)
        responses[name] = response
        octets.append(answer)
        judge(name, request, response)
    for name, parsed in zip(responses, read_back(duis_parser, octets), strict=True):
        assert parsed["header"]["type"] == "response", name
        assert parsed["header"]["responseCode"] == code_of(responses[name])


def prepare(rig: Rig, request: DuisRequest) -> None:
    """The home as it was before the first request, and as this one expects it."""
    for eui64, device_type in TYPES.items():
        rig.head_end.inventory.put(InventoryDevice(eui64=eui64, device_type=device_type, hub=CHF))
    if request.srv == "12.2":
        rig.head_end.inventory.delete(ESME)
    if request.srv in ("5.2", "5.3"):
        service = XmlNode("DSPReadActivePowerImport")
        rows = {
            "ScheduleFrequency": "Daily",
            "ScheduleStartDate": "2030-01-01",
            "DSPScheduledServiceReference": "4.16",
            "DSPScheduledServiceReferenceVariant": "4.16",
            "DeviceID": "00-DB-12-34-56-78-90-A0",
        }
        details = XmlNode(
            "CreateSchedule", children=(*(XmlNode(name, text) for name, text in rows.items()), service)
        )
        rig.head_end._schedules._put(
            Schedule(schedule_id=123, owner=request.originator, details=details, last_utc_us=0)
        )
    if request.body.find("DeleteDevice") is not None:
        rig.head_end.inventory.set_status(ESME, DeviceStatus.PENDING)


def judge(name: str, request: DuisRequest, response: etree._Element) -> None:
    support, code = CATALOGUE[request.srv].smets1, code_of(response)
    alert = response.findtext(".//sr:DCCAlertCode", namespaces=NS)
    if support is Smets1Support.AFTER_DUIS_3:
        assert code == "E11", name
    elif support is Smets1Support.NO or request.srv not in (*PLANS, *BODIES):
        assert alert == "N60", name
    elif request.command_variant is CommandVariant.LOCAL:
        assert alert == "N61", name
    else:
        assert (code, alert) == ("I0", None), (name, code)


async def test_the_three_of_the_main_job(make_rig: Any, duis_templates: Path, duis_parser: Path) -> None:
    rig: Rig = await make_rig()
    answers = []
    for start in _DEMANDED:
        (file,) = duis_templates.glob(f"{start}*")
        path = ServicePath.NON_DEVICE if start.startswith("8.2") else ServicePath.SEND_COMMAND
        answers.append(await rig.head_end.submit(file.read_bytes(), path, wait_s=5))
    assert [code_of(etree.fromstring(answer)) for answer in answers] == ["I0", "I0", "I0"]
    assert b"<ra:Value>1234567</ra:Value>" in answers[1]
    assert len(re.findall(b"<sr:DeviceID>", answers[2])) == 6
    parsed = read_back(duis_parser, answers)
    inventory = parsed[2]["body"]["ResponseMessage"]["DSPInventory"]["Device"]
    assert [device["DeviceType"] for device in inventory] == ["ESME", "GSME", "CHF", "GPF", "PPMID", "IHD"]
