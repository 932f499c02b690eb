"""Runs a home for `smets1 run`: devices, HTTP, signals, events, the summary at the end.

Apart from `commands/run.py`, since `--help` must not wait for what a home imports.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from smets1.devices.gsme import Gsme
from smets1.devices.meter_device import MeterDevice
from smets1.devices.screens import format_money, format_reading
from smets1.errors import InputError
from smets1.eui64 import format_eui64
from smets1.hardware.clock import MAX_SPEED
from smets1.hardware.clock import run as run_loop
from smets1.tools.events import EventLines, quiet_libraries
from smets1.tools.home import Home, open_home
from smets1.tools.home_config import HeadEndConfig, HomeConfig
from smets1.tools.home_file import check_http, default_home, read_home

__all__ = ["run_home"]


def run_home(args: argparse.Namespace) -> None:
    """As `smets1 run` was told; returns at the end of --for, or at Ctrl-C."""
    config = _configure(args)
    logging.basicConfig(handlers=[logging.NullHandler()])
    quiet_libraries()
    run_loop(_run(config, args), speed=config.speed)


def _configure(args: argparse.Namespace) -> HomeConfig:
    config = default_home() if args.file is None else read_home(args.file)
    if args.speed is not None:
        config = replace(config, speed=args.speed)
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.nvm is not None:
        config = replace(config, nvm_dir=args.nvm)
    if args.http is not None:
        if config.speed == MAX_SPEED:
            raise InputError("--http needs a finite speed: at speed max time runs ahead of who asks")
        host, port = args.http
        config = replace(config, headend=_listening(config.headend, host, port))
    return config


def _listening(headend: HeadEndConfig, host: str, port: int) -> HeadEndConfig:
    listening = replace(headend, http_host=host, http_port=port)
    check_http(listening)
    return listening


async def _run(config: HomeConfig, args: argparse.Namespace) -> None:
    if config.speed != MAX_SPEED:
        from smets1.tools.http import require_free

        require_free(config.headend.http_host, config.headend.http_port)
    home = await open_home(config=config, capture=args.capture, keys=args.keys, waits=False)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(home.close)
        stopped = _on_signals(stack)  # before anybody is told that we are here
        is_live = _is_live(args)
        if not args.quiet and not is_live:
            lines = EventLines(home.civil, sys.stdout, as_json=args.json, on_closed=stopped.set)
            logger = logging.getLogger("smets1")
            logger.setLevel(logging.INFO)
            logger.addHandler(lines)
            stack.callback(logger.removeHandler, lines)
        url = ""
        if config.speed != MAX_SPEED:
            url = await _serve(home, stack)
            if not args.quiet and not is_live:
                note = {"listening": url} if args.json else f"listening on {url}"
                print(json.dumps(note) if args.json else note)
        try:
            if is_live:
                await _live(home, stopped, args.duration_s, url)
            else:
                await _until_the_end(stopped, args.duration_s)
        finally:
            _summarise(home, as_json=args.json)


async def _live(home: Home, stopped: asyncio.Event, duration_s: float | None, url: str) -> None:
    from smets1.tools.live_view import LiveView  # here: rich is an extra

    with LiveView(home, stop=stopped.set, listening=url):
        await _until_the_end(stopped, duration_s)


def _is_live(args: argparse.Namespace) -> bool:
    """Whether a person at a terminal sees the home live; piped or as JSON there are events."""
    if args.quiet or args.json or args.plain or os.environ.get("TERM", "dumb") == "dumb":
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if importlib.util.find_spec("rich") is None:
        print("the live view needs rich: pip install 'smets1[terminal]'; events follow", file=sys.stderr)
        return False
    return True


async def _serve(home: Home, stack: AsyncExitStack) -> str:
    """HTTP, and callbacks of a head end here, for as long as the stack is open; where it listens."""
    # Imported here: aiohttp's server side is not needed at speed max.
    from smets1.headend.callbacks import CallbackPoster
    from smets1.tools.http import HttpServer

    headend = home.config.headend
    server = HttpServer(home, host=headend.http_host, port=headend.http_port, token=headend.token)
    await server.start()
    stack.push_async_callback(server.close)
    if headend.runs_here:
        poster = asyncio.get_running_loop().create_task(CallbackPoster(home.headend).run())
        stack.callback(poster.cancel)
    return server.url


def _on_signals(stack: AsyncExitStack) -> asyncio.Event:
    """Set at Ctrl-C or SIGTERM, as long as the stack is open."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
        stack.callback(loop.remove_signal_handler, number)
    return stopped


async def _until_the_end(stopped: asyncio.Event, duration_s: float | None) -> None:
    """Sleep for the duration, or until stopped."""
    try:
        async with asyncio.timeout(duration_s):
            await stopped.wait()
    except TimeoutError:
        return


def _summarise(home: Home, *, as_json: bool) -> None:
    meters = (device for device in home.devices if isinstance(device, MeterDevice))
    accounts = [(meter, meter.account) for meter in meters]  # which brings each to now
    if as_json:
        rows = [
            {
                "eui64": format_eui64(meter.eui64),
                ("volume_dm3" if isinstance(meter, Gsme) else "energy_wh"): meter.meter.reading,
                "balance_mp": account.balance_mp,
                "supply": meter.meter.supply.state.name.lower(),
            }
            for meter, account in accounts
        ]
        print(json.dumps({"utc": str(home.clock), "seed": home.config.seed, "meters": rows}))
        return
    print(f"{home.clock}  seed {home.config.seed}")
    for meter, account in accounts:
        reading, unit = format_reading(meter.meter.reading, is_gas=isinstance(meter, Gsme)).split()
        print(
            f"  {format_eui64(meter.eui64)}  {type(meter).__name__:<5} {reading:>12} {unit:<4}"
            f" balance {format_money(account.balance_mp):>8}  supply {meter.meter.supply.state.name.lower()}"
        )
