"""What the doctor learns of sticks: simulated ones, silent ones, and things that are no sticks. Virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smets1.hardware.air import Air
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.radio import CHANNELS
from smets1.hardware.rcp import MemoryCable
from smets1.hardware.rcp.pipe import BytePipe, PipeListener
from smets1.tools.doctor.report import REPORT_HEAD, report_row
from smets1.tools.doctor.stick import StickReport, examine
from smets1.tools.dongle.dongle import Dongle
from smets1.tools.dongle.ezsp_dongle import EzspDongle

EUI64 = 0x00DB0000000000E5
NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Line:
    """A cable with something at its far end; remembers at which rates it was opened."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.loop = loop
        self.air = Air(loop, random.Random(1))
        self.cable = MemoryCable(loop)
        self.opened: list[str] = []

    def open(self, port: str) -> BytePipe:
        self.opened.append(port)
        return self.cable.host


def learn(prepare: Callable[[Line], Awaitable[object]]) -> tuple[StickReport | None, list[str]]:
    async def main() -> tuple[StickReport | None, list[str]]:
        line = Line()
        far_end = await prepare(line)
        try:
            return await examine("/dev/ttyTEST", line.open), line.opened
        finally:
            if isinstance(far_end, Dongle | EzspDongle):
                await far_end.close()

    return run(main(), speed=MAX_SPEED)


@pytest.mark.parametrize("version", [13, 14])
def test_an_ezsp_stick_says_all_of_itself(version: int) -> None:
    async def plug(line: Line) -> EzspDongle:
        dongle = EzspDongle(line.air, line.cable.stick, EUI64, random.Random(2), version=version)
        await dongle.start()
        return dongle

    report, opened = learn(plug)
    assert report is not None
    assert report.protocol == f"EZSP {version}"
    assert report.firmware.startswith("EmberZNet 7.4." if version == 13 else "EmberZNet 8.")
    assert report.eui64 == EUI64
    assert report.key_table_size is not None
    assert set(report.libraries.values()) == {False}, "as on sticks that people buy"
    assert tuple(report.energy_dbm) == tuple(CHANNELS)
    assert opened == ["/dev/ttyTEST@115200"]
    assert f"EZSP {version}" in report_row(report, name="", version="1", now=NOW)


def test_an_rcp_stick_is_found_after_ezsp_was_tried() -> None:
    async def plug(line: Line) -> Dongle:
        dongle = Dongle(line.air, line.cable.stick, EUI64)
        await dongle.start()
        line.air.interfere(10**9, channels=[channel for channel in CHANNELS if channel != 20])
        return dongle

    report, opened = learn(plug)
    assert report is not None
    assert report.protocol == "Spinel 4.3"
    assert report.eui64 == EUI64
    assert report.quietest == 20
    assert [port.rpartition("@")[2] for port in opened] == ["115200", "460800", "460800"]
    row = report_row(report, name="a | b", version="1", now=NOW)
    assert row.count("|") == REPORT_HEAD.partition("\n")[0].count("|"), "a name cannot break the table"
    guide = (Path(__file__).parents[3] / "hardware/README.md").read_text()
    assert guide.rstrip().endswith(REPORT_HEAD), "the table that rows are for"
    assert f"{EUI64:X}" not in row.replace("-", "")


class Chatter(PipeListener):
    """Answers whatever it hears with noise."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.rng = random.Random(3)

    def on_octets(self, octets: bytes) -> None:
        self.line.cable.stick.write(self.rng.randbytes(len(octets)))

    def on_lost(self, reason: str) -> None: ...


def test_silence_and_noise_are_no_stick() -> None:
    async def nothing(line: Line) -> None: ...

    async def chatter(line: Line) -> None:
        await line.cable.stick.open(Chatter(line))

    for far_end in (nothing, chatter):
        report, opened = learn(far_end)
        assert report is None
        assert len(opened) == 4
