"""A script on the air and on simulated sticks: tshark reads each world's capture, and the same story in each."""

from __future__ import annotations

from pathlib import Path

import pytest
from tshark import TSHARK, Step, faults, follow, read_capture

from smets1.tools.script.worlds import run_worlds

pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")
pytestmark = [pytest.mark.outsider, pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")]

WORLDS = ("air:", "rcp:simulated", "ezsp:simulated@13,ezsp:simulated@14")
SCRIPT = """
title = "A top-up"
seed = 7
[[step]]
do = "join"
[[step]]
do = "wait"
until_minutes = 3
[[step]]
do = "top-up"
device = "esme"
pounds = 10
"""


def test_every_world_says_the_same_without_fault(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(SCRIPT)
    outcome = run_worlds(path, WORLDS, out=tmp_path / "out", say=lambda _line: None)
    assert outcome.is_passed
    for world in outcome.worlds:
        rows = read_capture(world.capture, world.keys)
        assert faults(rows) == [], world.radios
        follow(
            rows,
            Step("Association Request"),
            Step("Transport Key", source=0),
            Step("ZCL Key Establishment: Confirm Key Data Response", 0x0800, source=0),
            Step("ZCL Metering: Request Mirror Response", 0x0702, source=0),
            Step("ZCL Prepayment: Consumer Top Up", 0x0705),
            Step("ZCL Prepayment: Consumer Top Up Response", 0x0705),
        )
