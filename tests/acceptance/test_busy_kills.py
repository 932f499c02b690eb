"""kill -9 at seeded instants of a busy day, a restart after each: what was acknowledged holds. See busy_day.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from home_process import environment

PROGRAM = Path(__file__).with_name("busy_day.py")


def live(folder: Path, kills: int, seed: int, timeout_s: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, PROGRAM, folder, str(kills), str(seed)],
        capture_output=True, text=True, check=False, timeout=timeout_s, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["kills"] == kills
    assert found["accepted"] > 5
    assert found["confirm"] > 5
    return found


def require_everything(found: dict[str, Any]) -> None:
    """Of many kills: what is drawn by lot has all happened."""
    assert found["states"] == ["ARMED", "OFF", "ON"], "the day was busy enough to switch"
    ways = ["accepted keypad", "accepted ppmid", "accepted wan"]
    assert [act for act in (*ways, "refused", "emergency", "confirm", "switched") if not found.get(act)] == []


@pytest.mark.slow
def test_forty_kills_of_a_busy_day(tmp_path: Path) -> None:
    live(tmp_path, 40, 1, 300)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_a_thousand_kills_of_busy_days(tmp_path: Path, seed: int) -> None:
    """Four days, 250 kills in a row in each."""
    require_everything(live(tmp_path, 250, seed, 3600))
