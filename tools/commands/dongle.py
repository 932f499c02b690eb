"""`smets1 dongle [--ezsp|--rcp]`: sticks that are not there, for any program that wants one.

Each stick is a pseudo-terminal or a TCP port that speaks as EmberZNet's NCP firmware does, with the network
layer on the stick, or as OpenThread's RCP firmware; all share one simulated air, with the devices of a home
file where one is given. Runs in real time until Ctrl-C.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from smets1.tools.arguments import UsageError, address, eui64, whole_number

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--ezsp",
        dest="kind",
        action="store_const",
        const="ezsp",
        default="ezsp",
        help="EmberZNet NCP: EZSP over ASH (the default: what zigpy, ZHA and zigbee2mqtt expect)",
    )
    kind.add_argument(
        "--rcp", dest="kind", action="store_const", const="rcp", help="OpenThread RCP: Spinel over HDLC-lite"
    )
    parser.add_argument(
        "--ezsp-version", metavar="N", type=int, choices=(13, 14), default=13, help="13 (the default) or 14"
    )
    parser.add_argument(
        "--link",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="a stick on a pty with this name, as ./ttyStick (may be given again: one more stick)",
    )
    parser.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        type=address,
        action="append",
        default=[],
        help="a stick on a TCP port, 0 for any free one (may be given again: one more stick)",
    )
    parser.add_argument(
        "--home", metavar="home.toml", type=Path, help="the devices of this home are on the same air"
    )
    parser.add_argument(
        "--eui64", metavar="EUI64", type=eui64, default=0x00DB000000000001, help="of the first stick"
    )
    parser.add_argument("--seed", metavar="N", type=whole_number(0, 2**63 - 1), default=1)
    parser.add_argument("--capture", metavar="FILE.pcapng", type=Path, help="write every frame on the air")
    parser.add_argument(
        "--keys", metavar="FILE", type=Path, help="write the home's keys, as tshark reads them"
    )
    parser.add_argument("--json", action="store_true", help="what is said, as JSON lines")


def run(args: argparse.Namespace) -> int:
    if args.keys is not None and args.home is None:
        raise UsageError("--keys needs --home: an air without devices of ours has no keys that we know")
    # here, since a loop is slow to import and --help needs none
    from smets1.hardware.clock import run as run_loop
    from smets1.tools.dongle.serve import serve

    run_loop(serve(args), speed=1)
    return 0
