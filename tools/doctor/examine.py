"""The whole examination, and how it is told."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from smets1 import __version__
from smets1.errors import InputError, LostError
from smets1.eui64 import format_eui64
from smets1.tools.doctor.finding import Finding, State
from smets1.tools.doctor.machine import examine_machine
from smets1.tools.doctor.report import REPORT_HEAD, report_row
from smets1.tools.doctor.rig import examine_rig, stick_ports
from smets1.tools.doctor.stick import StickReport, examine
from smets1.tools.doctor.sticks_known import SerialPort, access_problem, serial_ports

__all__ = ["examine_all"]

_MARKS = {State.OK: "ok  ", State.NOTE: "note", State.BAD: "BAD "}
_NO_STICK = "no radio stick is plugged in"
_FLASH = "flash EmberZNet 7.4 or OpenThread RCP: see hardware/README.md"


async def examine_all(args: argparse.Namespace) -> int:
    """Examine, print, and answer the exit code. Raises InputError for a bad home file."""
    findings = examine_machine()
    wanted: list[str] = list(args.port)
    if args.file is not None:
        from smets1.tools.home_file import read_home

        config = read_home(args.file)
        findings += await examine_rig(config)
        wanted += stick_ports(config)
    present = serial_ports()
    reports: list[tuple[str, StickReport]] = []
    for port in dict.fromkeys([*wanted, *(found.path for found in present)]):
        known = next((found for found in present if found.path == port.partition("@")[0]), None)
        findings.append(await _stick(port, known, reports))
    if not wanted and not present:
        findings.append(Finding(what="sticks", state=State.NOTE, text=_NO_STICK, advice="air: needs none"))
    _tell(args, findings, reports)
    return 1 if any(finding.state is State.BAD for finding in findings) else 0


async def _stick(port: str, known: SerialPort | None, reports: list[tuple[str, StickReport]]) -> Finding:
    what = f"stick {port}"
    name = "" if known is None else known.product or known.likely
    is_serial = not port.startswith("tcp://")
    if is_serial and (problem := access_problem(port.partition("@")[0])) is not None:
        return Finding(what=what, state=State.BAD, text=problem[0], advice=problem[1])
    try:
        report = await examine(port)
    except InputError as error:
        return Finding(
            what=what, state=State.BAD, text=str(error), advice="write /dev/ttyACM0 or tcp://HOST:PORT"
        )
    except LostError as error:
        advice = (
            "close the program that has it open" if is_serial else "start what serves it, or mend the address"
        )
        return Finding(what=what, state=State.BAD, text=f"cannot be opened ({error})", advice=advice)
    if report is None:
        text = f"{name or 'something'} that speaks neither EZSP nor Spinel"
        # a converter of something else altogether is nobody's fault
        state = State.NOTE if known is not None else State.BAD
        return Finding(what=what, state=state, text=text, advice=_FLASH)
    reports.append((name, report))
    return _judged(what, name, report)


def _judged(what: str, name: str, report: StickReport) -> Finding:
    facts: dict[str, Any] = {"stick": report.as_json() | {"usb": name}}
    text = f"{report.board or name or 'stick'}: {report.firmware}, {report.protocol}, {report.baud} baud, "
    text += format_eui64(report.eui64)
    if report.quietest is not None:
        text += f", quietest channel {report.quietest} ({report.energy_dbm[report.quietest]} dBm)"
    kind, _, version = report.protocol.partition(" ")
    if kind == "EZSP" and int(version) < 13:
        advice = "flash EmberZNet 7.4 or later: older firmware cannot join by install code as we need it"
        return Finding(what=what, state=State.BAD, text=text, advice=advice, facts=facts)
    if report.libraries and not any(report.libraries.values()):
        advice = "none needed: CBKE is done on this machine"
        return Finding(what=what, state=State.OK, text=f"{text}, no CBKE on it", advice=advice, facts=facts)
    return Finding(what=what, state=State.OK, text=text, facts=facts)


def _tell(args: argparse.Namespace, findings: list[Finding], reports: list[tuple[str, StickReport]]) -> None:
    if args.json:
        print(json.dumps({"findings": [finding.as_json() for finding in findings]}, indent=1))
        return
    if args.report:
        print(REPORT_HEAD)
        for name, report in reports:
            print(report_row(report, name=name, version=__version__, now=datetime.now(UTC)))
        for finding in findings:
            if finding.state is State.BAD:
                print(f"smets1 doctor: {finding.what}: {finding.text}: {finding.advice}", file=sys.stderr)
        return
    for finding in findings:
        print(f"{_MARKS[finding.state]}  {finding.what}: {finding.text}")
        if finding.advice:
            print(f"        {finding.advice}")
