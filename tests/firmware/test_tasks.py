"""Tasks beside each other, and how they end."""

from __future__ import annotations

import asyncio

import pytest

from smets1.errors import ClosedError
from smets1.firmware.tasks import is_cancelled, together
from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.home import open_home


async def _fail(error: Exception) -> None:
    await asyncio.sleep(0.001)
    raise error


async def _stumble() -> None:
    """Told to end, it trips over what has been closed meanwhile."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ClosedError("closed") from None


async def test_a_failure_of_one_ends_all_and_is_no_cancellation() -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("the other")

    async def fail_beside_another() -> None:
        with pytest.raises(ValueError, match="one"):
            await together(_fail(ValueError("one")), wait())
        assert not is_cancelled()

    await asyncio.wait_for(fail_beside_another(), 5)
    assert ended == ["the other"]


async def test_it_ends_when_all_have() -> None:
    await together(asyncio.sleep(0), asyncio.sleep(0.001))


async def test_cancelled_it_ends_as_cancelled() -> None:
    task = asyncio.get_running_loop().create_task(together(_stumble(), _stumble()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_home_that_loses_its_power_at_any_moment_ends_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    """Moments in which a display is just asking where the meter is, among others."""

    async def live(seconds: float) -> None:
        home = await open_home(seed=1, waits=False)
        await home.clock.advance(seconds=seconds)
        await home.power_off()

    for step in range(12):
        run(live(10.5 + step * 0.25), speed=MAX_SPEED)
    assert capfd.readouterr().err == ""
