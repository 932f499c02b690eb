"""The crystal: order, speeds, and what MAX refuses."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from smets1.errors import MisuseError
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, HeapScheduler, Scheduler, run


@pytest.mark.parametrize("loop_kind", ["heap", "loop"])
def test_equal_times_run_in_the_order_asked(loop_kind: str) -> None:
    fired: list[int] = []

    def ask(scheduler: Scheduler) -> None:
        for number in range(20):
            scheduler.call_at_us(1000, fired.append, number)
        scheduler.call_at_us(500, fired.append, -1)

    if loop_kind == "heap":
        heap = HeapScheduler()
        ask(heap)
        heap.run_until(2000)
        assert heap.now_us() == 2000
    else:

        async def main() -> None:
            ask(asyncio.get_running_loop())  # type: ignore[arg-type]
            await asyncio.sleep(0.002)

        run(main(), speed=MAX_SPEED)
    assert fired == [-1, *range(20)]


def test_max_jumps_a_year_in_no_time_and_exactly() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        for _ in range(365):
            await asyncio.sleep(86_400)
        return loop.now_us()

    start = time.perf_counter()
    assert run(main(), speed=MAX_SPEED) == 365 * 86_400_000_000
    assert time.perf_counter() - start < 5


def test_sixty_times_is_a_minute_a_second() -> None:
    async def main() -> float:
        await asyncio.sleep(6)
        return asyncio.get_running_loop().time()

    start = time.monotonic()
    assert run(main(), speed=60) >= 6
    assert time.monotonic() - start < 3


def test_speed_can_change_while_running() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        await asyncio.sleep(3600)
        loop.set_speed(1000)
        await asyncio.sleep(10)
        assert 3610 <= loop.time() < 3700
        loop.set_speed(MAX_SPEED)
        before_us = loop.now_us()
        await asyncio.sleep(1)
        assert loop.now_us() == before_us + 1_000_000

    run(main(), speed=MAX_SPEED)


def test_a_cancelled_timer_does_not_run_and_a_timeout_works() -> None:
    async def main() -> None:
        fired: list[int] = []
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        loop.call_at_us(10, fired.append, 1).cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(3)
        assert not fired
        assert loop.now_us() == 2_000_000

    run(main(), speed=MAX_SPEED)


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_an_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(MisuseError, match="above 0"):
        EmulatorLoop(speed)


def test_max_refuses_threads_and_sockets_and_says_why() -> None:
    async def main() -> None:
        with pytest.raises(MisuseError, match=r"thread.*--speed 60"):
            await asyncio.to_thread(print)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            with pytest.raises(MisuseError, match=r"socket.*--speed 60"):
                await asyncio.get_running_loop().sock_recv(ours, 1)

    run(main(), speed=MAX_SPEED)


def test_a_loop_that_is_late_catches_up_in_order() -> None:
    """A stall of the machine is no stall in the emulated world: an answer due before a time-out beats it."""

    async def main() -> tuple[list[str], int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        seen: list[str] = []

        def ask() -> None:
            loop.call_at_us(loop.now_us() + 20_000, answer)

        def answer() -> None:
            seen.append("answer")
            timeout.cancel()

        asked_us = loop.now_us() + 1000
        loop.call_at_us(asked_us, ask)
        timeout = loop.call_at_us(asked_us + 2_000_000, seen.append, "time-out")
        time.sleep(0.05)  # 50 s at this speed
        late_us = loop.now_us()
        while not seen:  # noqa: ASYNC110 - turn by turn is what is tested
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert loop.now_us() >= late_us, "time never goes back"
        return seen, loop.now_us() - asked_us

    seen, passed_us = run(main(), speed=1000)
    assert seen == ["answer"]
    assert passed_us > 50_000_000, "and the loop has caught up"
