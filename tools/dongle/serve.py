"""What `smets1 dongle` does: sticks on an air, with or without a home on it, until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from smets1.eui64 import format_eui64
from smets1.hardware.air import Air, Capture
from smets1.hardware.clock import EmulatorLoop
from smets1.tools.dongle.dongle import Dongle
from smets1.tools.dongle.ezsp_dongle import EzspDongle
from smets1.tools.dongle.ports import PtyPort, TcpPort
from smets1.tools.home_file import read_home

__all__ = ["serve"]


async def serve(args: argparse.Namespace) -> None:
    """`args`: those of `commands/dongle.py`. Raises InputError, LostError."""
    logging.basicConfig(handlers=[logging.NullHandler()])
    async with AsyncExitStack() as stack:
        air = await _air(args, stack)
        for number, port in enumerate(_ports(args)):
            dongle = _dongle(args, air, port, number)
            stack.push_async_callback(dongle.close)
            await dongle.start()
            eui64 = format_eui64(args.eui64 + number)
            if args.json:
                print(json.dumps({"stick": args.kind, "port": str(port), "eui64": eui64}), flush=True)
            else:
                print(f"{args.kind.upper()} stick {eui64} on {port}", flush=True)
        await _until_stopped()


def _dongle(args: argparse.Namespace, air: Air, port: PtyPort | TcpPort, number: int) -> Dongle | EzspDongle:
    if args.kind == "rcp":
        return Dongle(air, port, args.eui64 + number)
    rng = random.Random(args.seed * 1000 + number)
    return EzspDongle(air, port, args.eui64 + number, rng, version=args.ezsp_version)


def _ports(args: argparse.Namespace) -> list[PtyPort | TcpPort]:
    ports: list[PtyPort | TcpPort] = [PtyPort(link) for link in args.link]
    ports += [TcpPort(*address) for address in args.tcp]
    return ports or [PtyPort()]


async def _air(args: argparse.Namespace, stack: AsyncExitStack) -> Air:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    if args.home is None:
        air = Air(loop, random.Random(args.seed))
        if args.capture is not None:
            capture = Capture(air, args.capture)
            stack.callback(capture.close)
        return air
    # Imported here: a stick alone needs none of the devices, the hub, the head end.
    from smets1.tools.events import EventLines, quiet_libraries
    from smets1.tools.home import open_home

    config = replace(read_home(args.home), speed=1.0)
    home = await open_home(config=config, capture=args.capture, keys=args.keys, waits=False)
    stack.push_async_callback(home.close)
    quiet_libraries()
    lines = EventLines(home.civil, sys.stdout, as_json=args.json)
    logger = logging.getLogger("smets1")
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    stack.callback(logger.removeHandler, lines)
    return home.air


async def _until_stopped() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
