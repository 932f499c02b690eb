"""`smets1 demo`: the main job, for a person to read.

A six-device home lives one virtual day on measured half-hours (`--data`) or on the built-in GB
profile: the devices join by install code, the head end is driven by DUIS requests, a token is typed at
the PPMID, supply is disabled and armed under the DCO's authorisation and confirmed by a person, both
SUA keys are rotated, and at the end the registers are compared with the consumption that went in.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from smets1.tools.arguments import whole_number

__all__ = ["add_arguments", "run"]

_ELECTRICITY = "lcl_half_hourly.csv"
_GAS = "n3rgy_hourly_electricity_gas.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", type=Path, help=f"a folder with {_ELECTRICITY} and {_GAS}")
    parser.add_argument("--seed", metavar="N", type=whole_number(0, 2**63 - 1), default=7)
    parser.add_argument("--capture", metavar="FILE.pcapng", type=Path, help="write every frame on the air")
    parser.add_argument("--keys", metavar="FILE", type=Path, help="write the keys, as tshark reads them")


def run(args: argparse.Namespace) -> int:
    # here, since a home is slow to import and --help needs none
    from smets1.tools.demo_day import demo_day

    electricity, gas = (None, None) if args.data is None else (args.data / _ELECTRICITY, args.data / _GAS)
    demo_day(seed=args.seed, electricity=electricity, gas=gas, capture=args.capture, keys=args.keys)
    return 0
