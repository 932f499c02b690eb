"""The row that a laboratory adds to hardware/README.md: what was run on which silicon."""

from __future__ import annotations

from datetime import datetime

from smets1.tools.doctor.stick import StickReport

__all__ = ["REPORT_HEAD", "report_row"]

REPORT_HEAD = (
    "| Date | Stick | Firmware | Protocol | Baud | CBKE on the stick | Quietest channel | smets1"
    " | What was run |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def report_row(report: StickReport, *, name: str, version: str, now: datetime) -> str:
    """One line of Markdown. A stick's EUI-64 is left out: it names one piece of somebody's property."""
    has_cbke = "-"
    if report.libraries:
        has_cbke = ", ".join(key for key, there in report.libraries.items() if there) or "none"
    quietest = (
        "-" if report.quietest is None else f"{report.quietest} ({report.energy_dbm[report.quietest]} dBm)"
    )
    cells = (
        f"{now:%Y-%m-%d}",
        report.board or name or "unknown",
        report.firmware,
        report.protocol,
        str(report.baud),
        has_cbke,
        quietest,
        version,
        "",  # for a person to fill in
    )
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
