"""DCC's 297 reference requests against whole homes, and the table that the documentation shows of it.

    python tests/headend/reference_table.py        writes docs/reference-requests.md anew

Each request is posted as it stands to a home whose devices bear the reference EUI-64s: six devices on their
air, in virtual time. A service reference variant gets a home of its own, so that no row hangs on another.
What Transform gives out (CV 4) is sent back as CV 5, and the answer to that is what the row shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lxml import etree

_ROOT: Final = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(_ROOT), str(_ROOT / "src")]
# ruff: noqa: E402

from tests.headend.reference_scenes import HOME, SCENES, set_scene, why_refused

from smets1.eui64 import parse_eui64
from smets1.firmware.civil import parse_utc
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.access import WAITS_AT_DSP
from smets1.headend.catalogue import CATALOGUE, Smets1Support
from smets1.headend.duis.codes import CommandVariant, DeviceStatus, ServicePath
from smets1.headend.duis.request import DuisRequest, XmlNode, parse_request
from smets1.headend.head_end import HeadEnd
from smets1.headend.schedules import Schedule
from smets1.headend.srv import PLANS
from smets1.tools.home import Home, open_home

__all__ = [
    "DOCUMENT",
    "Row",
    "read_back",
    "reference_requests",
    "run_all",
    "signed_precommand",
    "table",
    "validity",
]

DOCUMENT: Final = _ROOT / "docs" / "reference-requests.md"
NS: Final = {
    "sr": "http://www.dccinterface.co.uk/ServiceUserGateway",
    "ra": "http://www.dccinterface.co.uk/ResponseAndAlert",
}
_ESME: Final = parse_eui64("00-DB-12-34-56-78-90-A0")
# The certificates in the requests are valid from September 2025, and their later dates are in 2030.
_START: Final = "2026-01-12T10:00:00Z"
_WAIT_S: Final = 7200
_PATHS: Final = {
    CommandVariant.TRANSFORM: ServicePath.TRANSFORM,
    CommandVariant.NON_DEVICE: ServicePath.NON_DEVICE,
}
_READ_BACK: Final = """
const { parseDuis } = require('@smartdcc/duis-parser');
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean);
const big = (_, value) => typeof value === 'bigint' ? value.toString() : value;
for (const line of lines) console.log(JSON.stringify(parseDuis('simplified', JSON.parse(line)), big));
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one request."""

    name: str
    srv: str
    variant: CommandVariant
    expected: str  # I0, I99, N60, N61, E11
    got: str
    element: str  # of the response; empty: none but the code
    success: str | None  # MessageSuccess
    reason: str  # where a device or the S1SP said no
    octets: bytes

    @property
    def is_right(self) -> bool:
        return self.got == self.expected


def reference_requests(folder: Path) -> list[tuple[str, DuisRequest]]:
    files = sorted(folder.glob("*.XML"))
    assert len(files) == 297
    return [(file.name, parse_request(file.read_bytes())) for file in files]


def _order(srv: str) -> tuple[int, ...]:
    return tuple(int(part) for part in srv.split("."))


async def run_all(folder: Path) -> list[Row]:
    """In the order of the service reference variants."""
    by_srv: dict[str, list[tuple[str, DuisRequest]]] = {}
    for name, request in reference_requests(folder):
        by_srv.setdefault(request.srv, []).append((name, request))
    rows: list[Row] = []
    shared = await open_home(seed=1, toml=HOME, start=_START)  # for what reaches no device
    try:
        for srv in sorted(by_srv, key=_order):
            if srv not in PLANS:
                rows += [await _one(shared, name, request) for name, request in by_srv[srv]]
                continue
            home = await open_home(seed=1, toml=HOME, start=_START)
            try:
                await home.clock.advance(minutes=3)
                rows += [await _one(home, name, request) for name, request in by_srv[srv]]
            finally:
                await home.close()
    finally:
        await shared.close()
    return rows


async def _one(home: Home, name: str, request: DuisRequest) -> Row:
    head_end = home.headend
    undo = _prepare(head_end, request)
    if request.srv in PLANS:
        set_scene(home, request)
    path = _PATHS.get(request.command_variant, ServicePath.SEND_COMMAND)
    octets = await head_end.submit(request.xml, path, wait_s=_WAIT_S)
    root = etree.fromstring(octets)
    payload = root.findtext(".//sr:PreCommand/sr:GBCSPayload", namespaces=NS)
    if payload is not None:
        octets = await head_end.submit(
            signed_precommand(request, payload), ServicePath.SEND_COMMAND, wait_s=_WAIT_S
        )
        root = etree.fromstring(octets)
    for device in undo:
        head_end.inventory.put(device)
    data = root.find(".//ra:SMETSData", NS)
    return Row(
        name=name,
        srv=request.srv,
        variant=request.command_variant,
        expected=_expected(request),
        got=root.findtext(".//sr:DCCAlertCode", namespaces=NS)
        or root.findtext("sr:Header/sr:ResponseCode", namespaces=NS)
        or "",
        element=_element(root) if data is None else etree.QName(data[0]).localname,
        success=None if data is None else data[0].get("MessageSuccess"),
        reason=root.findtext(".//ra:SMETS1Debug//ra:Error", namespaces=NS) or "",
        octets=octets,
    )


def _element(root: etree._Element) -> str:
    """What the DSP itself says, or the content of an alert."""
    for holder in ("sr:Body/sr:ResponseMessage", "sr:Body/sr:DCCAlertMessage/sr:DCCAlert"):
        found = root.find(holder, NS)
        names = [] if found is None else [etree.QName(child).localname for child in found]
        names = [name for name in names if not name.startswith("ServiceReference")]
        if names:
            return names[0]
    return ""


def signed_precommand(request: DuisRequest, payload: str | None) -> bytes:
    """The answer to a Transform, sent back as CV 5."""
    body = f"<sr:SignedPreCommand><sr:GBCSPayload>{payload}</sr:GBCSPayload></sr:SignedPreCommand>"
    return (
        f'<sr:Request xmlns:sr="{NS["sr"]}" schemaVersion="5.4"><sr:Header>'
        f"<sr:RequestID>{request.request_id}</sr:RequestID><sr:CommandVariant>5</sr:CommandVariant>"
        f"<sr:ServiceReference>{request.service_reference}</sr:ServiceReference>"
        f"<sr:ServiceReferenceVariant>{request.srv}</sr:ServiceReferenceVariant>"
        f"</sr:Header><sr:Body>{body}</sr:Body></sr:Request>"
    ).encode()


def _expected(request: DuisRequest) -> str:
    variant = CATALOGUE[request.srv]
    if variant.smets1 is Smets1Support.AFTER_DUIS_3:
        return "E11"
    if variant.smets1 is Smets1Support.NO:
        return "N60"
    if request.command_variant is CommandVariant.LOCAL:
        return "N61"
    date = request.body.value("ExecutionDateTime")
    if date is not None and variant.future_dated in WAITS_AT_DSP and "3000" not in date:
        return "I99" if parse_utc(date) > parse_utc(_START) else "I0"
    return "I0"


def _prepare(head_end: HeadEnd, request: DuisRequest) -> list[Any]:
    """The inventory as this request expects it; what is to be put back afterwards."""
    inventory = head_end.inventory
    if request.srv in ("5.2", "5.3"):
        _schedule(head_end, request)
    before = inventory.all()
    if request.srv == "12.2":
        for device in before:
            inventory.delete(device.eui64)
    if request.body.find("DeleteDevice") is not None:
        inventory.set_status(_ESME, DeviceStatus.PENDING)
    return before if CATALOGUE[request.srv].non_device else []


def _schedule(head_end: HeadEnd, request: DuisRequest) -> None:
    rows = {
        "ScheduleFrequency": "Daily",
        "ScheduleStartDate": "2030-01-01",
        "DSPScheduledServiceReference": "4.16",
        "DSPScheduledServiceReferenceVariant": "4.16",
        "DeviceID": "00-DB-12-34-56-78-90-A0",
    }
    children = (*(XmlNode(name, text) for name, text in rows.items()), XmlNode("DSPReadActivePowerImport"))
    details = XmlNode("CreateSchedule", children=children)
    head_end._schedules._put(
        Schedule(schedule_id=123, owner=request.originator, details=details, last_utc_us=0)
    )


# --- the readers ---------------------------------------------------------------------------------------


def read_back(folder: Path, documents: list[bytes]) -> list[dict[str, Any]]:
    """What the npm package @smartdcc/duis-parser makes of our documents."""
    result = subprocess.run(
        ["node", "-e", _READ_BACK],
        cwd=folder,
        input="\n".join(json.dumps(document.decode()) for document in documents),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-500:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def validity(schema: Path, rows: Iterable[Row]) -> list[str]:
    """Empty, or the schema's first complaint, for each row."""
    compiled = etree.XMLSchema(etree.parse(str(schema)))
    found = []
    for row in rows:
        is_valid = compiled.validate(etree.fromstring(row.octets))
        found.append("" if is_valid else f"{row.name}: {compiled.error_log[0].message}")
    return found


# --- the table -------------------------------------------------------------------------------------------

_HEAD: Final = """\
# DCC's reference requests

The 297 requests of the npm package `@smartdcc/duis-templates` 0.7.0 (DCC's Reference Test Data Set), posted as
they stand to a home of six devices whose EUI-64s are the requests' own. *Got* is the response code, or the
alert. A request for Transform (CV 4) is sent back as Pre-Command (CV 5), and the row shows what came of that;
one with a later date that waits at the DSP gets I99. *Done* says how often the device, or the S1SP for it, did
what it was asked for (MessageSuccess). Every response is valid by DUIS-5.4.xsd (*valid*) and reads back in
`@smartdcc/duis-parser` 0.6.0 (*parsed*).

Written by `python tests/headend/reference_table.py`; `tests/headend/test_reference_requests.py` compares.
"""
_SCENES: Final = """\
A request does not say what home it was made for. Each service is asked of a new home with `gas_wake_s = 60`
and `max_credit_threshold_pounds = 20` (2.2 adds 12.50 pounds to the gas meter); and before the requests of"""


def table(rows: list[Row], valid: list[str], parsed: list[dict[str, Any]]) -> str:
    """The document."""
    right = sum(row.is_right for row in rows)
    is_read = [
        document["header"]["type"] == "response" and document["header"]["responseCode"] in (row.got, "I0")
        for row, document in zip(rows, parsed, strict=True)
    ]
    summary = (
        f"As expected: {right} of {len(rows)}; valid: {sum(not fault for fault in valid)}; "
        f"parsed: {sum(is_read)}.\n"
    )
    lines = [
        _HEAD,
        summary,
        "| SRV | Service | SMETS1 | Requests | Expected | Got | Response | Done | Valid | Parsed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for srv in sorted({row.srv for row in rows}, key=_order):
        at = [number for number, row in enumerate(rows) if row.srv == srv]
        mine = [rows[number] for number in at]
        done = Counter(row.success for row in mine)
        answered = done["true"] + done["false"]
        lines.append(
            "| "
            + " | ".join(
                (
                    srv,
                    CATALOGUE[srv].name,
                    CATALOGUE[srv].smets1,
                    str(len(mine)),
                    _counted(row.expected for row in mine),
                    _counted(row.got for row in mine),
                    ", ".join(sorted({f"`{row.element}`" for row in mine if row.element})) or "-",
                    f"{done['true']} of {answered}" if answered else "-",
                    "yes" if not any(valid[number] for number in at) else "**no**",
                    "yes" if all(is_read[number] for number in at) else "**no**",
                )
            )
            + " |"
        )
    lines += ["", "## The home that each is asked of", "", _SCENES, ""]
    lines += [f"- {', '.join(srvs)}: {text}." for srvs, (_, text) in SCENES.items()]
    refused = [row for row in rows if row.success == "false"]
    lines += ["", "## Asked, and refused", "", "| Request | The device, or the S1SP, says | Since it |"]
    lines += ["|---|---|---|"]
    lines += [
        f"| `{row.name}` | {row.reason.replace('|', '/') or '-'} | {why_refused(row.name) or '**?**'} |"
        for row in refused
    ]
    wrong = [row for row in rows if not row.is_right]
    if wrong:
        lines += ["", "## Not as expected", "", "| Request | Expected | Got |", "|---|---|---|"]
        lines += [f"| `{row.name}` | {row.expected} | {row.got} |" for row in wrong]
    return "\n".join(lines) + "\n"


def _counted(codes: Iterable[str]) -> str:
    counts = Counter(codes)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{code} ({counts[code]})" for code in sorted(counts))


def main() -> None:
    outsiders = _ROOT / "tests" / ".outsiders"
    schema = _ROOT.parent / "shared" / "schemas" / "DUIS-5.4.xsd"
    rows = run(run_all(outsiders / "duis-templates" / "templates"), speed=MAX_SPEED)
    text = table(rows, validity(schema, rows), read_back(outsiders, [row.octets for row in rows]))
    DOCUMENT.write_text(text)
    print(f"{sum(row.is_right for row in rows)} of {len(rows)} as expected; {DOCUMENT} written")


if __name__ == "__main__":
    main()
