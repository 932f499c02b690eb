"""`smets1 demo`: the main job, for a person to read.

A six-device home lives one virtual day on measured half-hours (`--data`) or on the built-in GB
profile: the devices join by install code, the head end is driven by DUIS requests, a token is typed at
the PPMID, supply is disabled and armed under the DCO's authorisation and confirmed by a person, both
SUA keys are rotated, and at the end the registers are compared with the consumption that went in.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from smets1.errors import EmulatorError
from smets1.hardware.clock import MAX_SPEED
from smets1.hardware.clock import run as run_loop
from smets1.tools.arguments import whole_number
from smets1.tools.demo_story import DemoStory
from smets1.tools.home import open_home
from smets1.tools.home_file import parse_home

__all__ = ["add_arguments", "run"]

_ELECTRICITY = "lcl_half_hourly.csv"
_GAS = "n3rgy_hourly_electricity_gas.csv"

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", type=Path, help=f"a folder with {_ELECTRICITY} and {_GAS}")
    parser.add_argument("--seed", metavar="N", type=whole_number(0, 2**63 - 1), default=7)
    parser.add_argument("--capture", metavar="FILE.pcapng", type=Path, help="write every frame on the air")
    parser.add_argument("--keys", metavar="FILE", type=Path, help="write the keys, as tshark reads them")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(handlers=[logging.NullHandler()])  # the story is told in print
    started = time.perf_counter()
    run_loop(_run(args), speed=MAX_SPEED)
    print(f"\nOne day of a home in {time.perf_counter() - started:.1f} s.")
    return 0


async def _run(args: argparse.Namespace) -> None:
    text, source = _HOME, "the built-in GB profile"
    if args.data is not None:
        electricity, gas = args.data / _ELECTRICITY, args.data / _GAS
        if electricity.is_file() and gas.is_file():
            text += _MEASURED.format(electricity=electricity.resolve(), gas=gas.resolve())
            source = "measured electricity (London, half hours) and gas (one GB home, hours)"
    config = parse_home(text, Path("demo.toml"))
    home = await open_home(config=config, seed=args.seed, capture=args.capture, keys=args.keys, waits=False)
    try:
        await DemoStory(home, source).tell()
    except EmulatorError:
        print(f"\nThe story broke off. Repeat it with: smets1 demo --seed {args.seed}")
        raise
    finally:
        await home.close()
