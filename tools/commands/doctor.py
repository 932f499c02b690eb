"""`smets1 doctor`: examines this machine's rig - sticks, firmware, clock, broker, keys - and says what to do.

    smets1 doctor                          the machine, and every USB stick that nobody else has open
    smets1 doctor home.toml                also what this home needs: its sticks, broker, certificates, NVM
    smets1 doctor --port /dev/ttyACM0      one port more, or tcp://HOST:PORT
    smets1 doctor --report                 a row a stick for the table of hardware/README.md

Asking a stick resets it. Exit code 1 where something does not work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="home.toml", nargs="?", type=Path, help="examine what this home needs, too"
    )
    parser.add_argument(
        "--port", action="append", default=[], metavar="PORT", help="a stick's port (may be given again)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="findings as one JSON document")
    form.add_argument(
        "--report", action="store_true", help="print a row a stick, as Markdown, and nothing else"
    )


def run(args: argparse.Namespace) -> int:
    from smets1.hardware.clock import run as run_loop
    from smets1.tools.doctor.examine import examine_all

    return run_loop(examine_all(args), speed=1)
