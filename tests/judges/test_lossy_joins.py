"""A fifth of all frames is lost on every link, and yet six-device homes join, inside Smart Energy's timers.

`python tests/judges/test_lossy_joins.py 0 1000` prints how long 1 000 of them took.
Source: SE 1.2 07-5356-19, 5.5.5 (key establishment within 20 minutes of joining).
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ledger import Ledger

from smets1.hardware.air.faults import LinkFault
from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.home import open_home
from smets1.tools.home_file import default_home

LOSS = 0.2
TIMER_S = 1200.0
PATIENCE_S = 4 * 3600.0  # whoever failed has backed off to an hour at most
TALK_S = 120.0


@dataclass
class Outcome:
    seed: int
    took_s: float  # until the last device had its key
    mistakes: list[str] = field(default_factory=list)
    message_count: int = 0
    errors: list[str] = field(default_factory=list)


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


async def _join(seed: int, outcome: Outcome) -> None:
    home_config = default_home()
    lossy = replace(home_config.faults, every_link=LinkFault(loss=LOSS))
    ledger = Ledger()
    with ledger.open():
        home = await open_home(seed=seed, config=replace(home_config, faults=lossy), waits=False)
        for device in home.devices:
            ledger.watch(device)
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        await home.joined(PATIENCE_S)
        outcome.took_s = loop.time() - start_s
        await asyncio.sleep(TALK_S)
        home.air.faults.clear()
        await asyncio.sleep(60)
        await home.close()
    outcome.mistakes = ledger.mistakes()
    outcome.message_count = ledger.confirmed.total()


def join_home(seed: int) -> Outcome:
    """One seeded home, from the box to two minutes of talk. Raises NoAnswerError where it never joins."""
    outcome = Outcome(seed, 0.0)
    errors = _Errors()
    logging.getLogger("smets1").addHandler(errors)
    try:
        run(_join(seed, outcome), speed=MAX_SPEED)
    finally:
        logging.getLogger("smets1").removeHandler(errors)
    outcome.errors = errors.texts
    return outcome


def judge(outcomes: Iterable[Outcome]) -> list[Outcome]:
    outcomes = list(outcomes)
    assert [outcome.mistakes for outcome in outcomes if outcome.mistakes] == []
    assert [outcome.errors for outcome in outcomes if outcome.errors] == []
    assert all(outcome.message_count > 20 for outcome in outcomes), "they have talked"
    in_time = sum(outcome.took_s <= TIMER_S for outcome in outcomes)
    assert in_time >= 0.99 * len(outcomes)
    return outcomes


def test_a_dozen_lossy_homes() -> None:
    judge(join_home(seed) for seed in range(12))


def join_many(first: int, last: int) -> list[Outcome]:
    # spawned, not forked: a test process has threads, and a seed must not depend on what ran before
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(join_home, range(first, last), chunksize=25))


def in_a_process(count: int) -> None:
    # of its own, which may start others: a pytest worker may not
    words = [sys.executable, __file__, "0", str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{count} homes")


@pytest.mark.slow
def test_a_hundred_lossy_homes() -> None:
    in_a_process(100)


@pytest.mark.sweep
def test_a_thousand_lossy_homes() -> None:
    in_a_process(1000)


def main() -> None:
    first, last = int(sys.argv[1]), int(sys.argv[2])
    outcomes = judge(join_many(first, last))
    times = sorted(outcome.took_s for outcome in outcomes)
    messages = sum(outcome.message_count for outcome in outcomes)
    print(f"{len(times)} homes at {LOSS:.0%} loss: median {times[len(times) // 2]:.0f} s, "
          f"99 % within {times[int(len(times) * 0.99)]:.0f} s, last {times[-1]:.0f} s; "
          f"{sum(time <= TIMER_S for time in times)} inside {TIMER_S:.0f} s; "
          f"{messages} acknowledged messages, each delivered once")  # fmt: skip


if __name__ == "__main__":
    main()
