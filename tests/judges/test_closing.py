"""A home closed at any moment of its life goes quietly: what is under way is dropped, nothing breaks down."""

from __future__ import annotations

import asyncio

import pytest

from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.home import open_home


async def live_for(duration_s: float) -> None:
    home = await open_home(seed=7, waits=False)
    await asyncio.sleep(duration_s)
    await home.close()
    await asyncio.sleep(100)


@pytest.mark.parametrize("after_ms", [1, 500, 1700, 2150, 2300, 2500, 2700, 3000, 3500, 5000, 8000])
def test_closing_in_the_middle_logs_no_error(after_ms: int, caplog: pytest.LogCaptureFixture) -> None:
    run(live_for(after_ms / 1000), speed=MAX_SPEED)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
