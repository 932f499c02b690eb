"""The day that `smets1 demo` runs, apart from the command, since `--help` must not wait for a home."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from smets1.errors import EmulatorError
from smets1.hardware.clock import MAX_SPEED
from smets1.hardware.clock import run as run_loop
from smets1.tools.demo_story import DemoStory
from smets1.tools.home import open_home
from smets1.tools.home_config import HomeConfig
from smets1.tools.home_file import parse_home

__all__ = ["demo_day"]

_HOME = """
start = 2023-01-16T00:00:00Z
[prepayment]
balance_pounds = 10
max_meter_balance_pounds = 50
"""
_MEASURED = """
[[load]]
fuel = "electricity"
kind = "csv"
file = "{electricity}"
home = "MAC000010"
first_day = "2013-01-16"
[[load]]
fuel = "gas"
kind = "csv"
file = "{gas}"
"""


def demo_day(
    *, seed: int, electricity: Path | None, gas: Path | None, capture: Path | None, keys: Path | None
) -> None:
    """Tell the day on standard output. The files are measured data; without both, the built-in profile."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # the story is told in print
    started = time.perf_counter()
    config, source = _config(electricity, gas)
    run_loop(_run(config, source, seed, capture, keys), speed=MAX_SPEED)
    print(f"\nOne day of a home in {time.perf_counter() - started:.1f} s.")


def _config(electricity: Path | None, gas: Path | None) -> tuple[HomeConfig, str]:
    """The home, and what is said of its consumption."""
    text, source = _HOME, "the built-in GB profile"
    if electricity is not None and gas is not None and electricity.is_file() and gas.is_file():
        text += _MEASURED.format(electricity=electricity.resolve(), gas=gas.resolve())
        source = "measured electricity (London, half hours) and gas (one GB home, hours)"
    return parse_home(text, Path("demo.toml")), source


async def _run(config: HomeConfig, source: str, seed: int, capture: Path | None, keys: Path | None) -> None:
    home = await open_home(config=config, seed=seed, capture=capture, keys=keys, waits=False)
    try:
        await DemoStory(home, source).tell()
    except EmulatorError:
        print(f"\nThe story broke off. Repeat it with: smets1 demo --seed {seed}")
        raise
    finally:
        await home.close()
