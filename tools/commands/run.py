"""`smets1 run home.toml`: runs a home, in real time or faster, and says what happens.

On a terminal the home is seen live, with keys to press; piped, its events are lines. With `--for` it ends
after that much of the home's time and prints where the meters stand; without, at Ctrl-C. At speed max there
is no HTTP, since time runs ahead of anybody who would ask.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from smets1.tools.arguments import address, duration_s, speed, whole_number

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="home.toml", nargs="?", type=Path, help="the home (default: the reference home)"
    )
    parser.add_argument("--speed", metavar="N|max", type=speed, help="1 is real time, 60 a minute a second")
    parser.add_argument(
        "--for", metavar="24h", dest="duration_s", type=duration_s, help="end after this much of its time"
    )
    parser.add_argument("--seed", metavar="N", type=whole_number(0, 2**63 - 1), help="all randomness")
    parser.add_argument("--http", metavar="HOST:PORT", type=address, help="where the head end listens")
    parser.add_argument("--capture", metavar="FILE.pcapng", type=Path, help="write every frame on the air")
    parser.add_argument("--keys", metavar="FILE", type=Path, help="write the keys, as tshark reads them")
    parser.add_argument("--nvm", metavar="DIR", type=Path, help="keep the devices' memory here")
    parser.add_argument("--json", action="store_true", help="events and summary as JSON lines")
    parser.add_argument("--plain", action="store_true", help="events as lines on a terminal too")
    parser.add_argument("--quiet", action="store_true", help="no events, only the summary")


def run(args: argparse.Namespace) -> int:
    # here, since a home is slow to import and --help needs none
    from smets1.tools.run_home import run_home

    run_home(args)
    return 0
