"""Whole homes: how long one takes to be up, and a six-device day with 30 s reporting at speed max.

    python tests/benchmarks/bench_home.py [HOURS]

References (facts of others, measured on a machine like this): pymodbus' simulator is up in 0.44 s; OTNS 2
runs 32 nodes at 60 times real time.
"""

from __future__ import annotations

import io
import statistics
import sys
import time

from smets1.hardware.air import Capture
from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.home import open_home

UPS = 5


async def up() -> float:
    """Seconds until six devices are joined by install code and keyed by CBKE."""
    begin = time.perf_counter()
    home = await open_home(seed=7)
    seconds = time.perf_counter() - begin
    await home.close()
    return seconds


async def day(hours: float) -> tuple[float, int]:
    """Seconds for so many hours of a home that is up, and frames on the air meanwhile."""
    home = await open_home(seed=7)
    capture = Capture(home.air, io.BytesIO())
    begin = time.perf_counter()
    await home.clock.advance(hours=hours)
    seconds = time.perf_counter() - begin
    await home.close()
    return seconds, capture.frame_count


def main() -> None:
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 24
    ups = [run(up(), speed=MAX_SPEED) for _ in range(UPS)]
    print(f"home up                  {statistics.median(ups):8.2f} s    aim 0.4 s (median of {UPS})")
    seconds, frames = run(day(hours), speed=MAX_SPEED)
    print(f"six devices, {hours:g} h, 30 s  {seconds:8.1f} s    aim {20 * hours / 24:.1f} s")
    print(f"  frames on the air      {frames:8d}      {frames / seconds:.0f}/s")
    print(f"  times real time        {hours * 3600 / seconds:8.0f}")


if __name__ == "__main__":
    main()
