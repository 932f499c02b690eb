"""20 000 frames of a busy day, each read by tshark: displays that report every ten seconds, top-ups, gas."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from story import busy_day
from tshark import TSHARK, abandoned, faults

pytestmark = [
    pytest.mark.outsider,
    pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: run ./tools/test"),
]


def test_twenty_thousand_frames(tmp_path: Path) -> None:
    story = busy_day(tmp_path, 2)
    assert len(story.rows) >= 20_000
    assert faults(story.rows) == []
    assert abandoned(story.path, story.keys, story.rows) == []
    names = Counter(row.name for row in story.rows)
    assert names["ZCL: Report Attributes"] > 2_000
    assert names["ZCL Prepayment: Consumer Top Up"] >= 4
    assert names["ZCL Metering: Mirror Report Attribute Response"] >= 4
