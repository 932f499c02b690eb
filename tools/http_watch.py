"""Watching a home over HTTP: its clock, what happens in it as it happens, its figures for Prometheus.

    GET /api/v1/clock      {"utc": ..., "local": ..., "speed": 60 or "max"}
    GET /api/v1/events     server-sent events, one JSON object each, as `smets1 run --json` prints them
    GET /api/v1/metrics    Prometheus text format 0.0.4

An observer who does not read is left behind: after a thousand events that wait for it, its stream ends.
Source: HTML Living Standard, 9.2 (server-sent events); Prometheus exposition formats.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import ClassVar, Final

from aiohttp import web

from smets1.devices.esme import Esme
from smets1.devices.meter_device import MeterDevice
from smets1.eui64 import format_eui64
from smets1.firmware.civil import format_utc, local_uk
from smets1.hub.chf import Chf
from smets1.tools.events import event_fields
from smets1.tools.home import Home

__all__ = ["add_watch_routes", "metrics"]

_MOST_WAITING: Final = 1000
_SOURCE: Final = "smets1"  # the logger above all of ours


def add_watch_routes(app: web.Application, home: Home) -> None:
    streams: list[_Stream] = []

    async def get_clock(_request: web.Request) -> web.Response:
        utc_us = home.clock.utc_us
        speed: float | str = home.speed
        return web.json_response(
            {
                "utc": format_utc(utc_us),
                "local": f"{local_uk(utc_us):%Y-%m-%dT%H:%M:%S}",
                "speed": "max" if speed == float("inf") else speed,
            }
        )

    async def get_events(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await answer.prepare(request)
        stream = _Stream(home)
        streams.append(stream)
        try:
            with stream:
                while (event := await stream.queue.get()) is not None:
                    await answer.write(f"data: {json.dumps(event)}\n\n".encode())
        except ConnectionError:  # whoever watched has gone
            pass
        finally:
            streams.remove(stream)
        return answer

    async def get_metrics(_request: web.Request) -> web.Response:
        text = "".join(f"{line}\n" for line in metrics(home))
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def end_streams(_app: web.Application) -> None:
        for stream in streams:
            stream.end()

    app.router.add_get("/api/v1/clock", get_clock)
    app.router.add_get("/api/v1/events", get_events)
    app.router.add_get("/api/v1/metrics", get_metrics)
    app.on_shutdown.append(end_streams)


class _Stream(logging.Handler):
    """What one observer has not read yet; None ends it."""

    level_before: ClassVar[int] = logging.NOTSET  # of the logger, before anybody watched

    def __init__(self, home: Home) -> None:
        super().__init__(logging.INFO)
        self._home = home
        self.queue: asyncio.Queue[dict[str, str] | None] = asyncio.Queue()

    def __enter__(self) -> None:
        """From now on it hears everything from INFO on, even where nobody else wants that."""
        logger = logging.getLogger(_SOURCE)
        if not _is_watched(logger):
            _Stream.level_before = logger.level
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger(_SOURCE)
        logger.removeHandler(self)
        if not _is_watched(logger):
            logger.setLevel(_Stream.level_before)

    def emit(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() < _MOST_WAITING:
            self.queue.put_nowait(event_fields(record, self._home.clock.utc_us))
        elif self.queue.qsize() == _MOST_WAITING:
            self.end()

    def end(self) -> None:
        self.queue.put_nowait(None)


def _is_watched(logger: logging.Logger) -> bool:
    return any(isinstance(handler, _Stream) for handler in logger.handlers)


def metrics(home: Home) -> Iterator[str]:
    """Lines of the exposition format; money in 1/1000 pence, as the names say."""
    yield from _metric("clock_seconds", "UTC of the home", [("", home.clock.utc_us // 1_000_000)])
    every = [(_label(device.eui64, type(device).__name__), device) for device in home.devices]
    keyed = [(label, int(device.keyed.is_set())) for label, device in every]
    yield from _metric("is_keyed", "on the network with an established key", keyed)
    meters = [(label, device) for label, device in every if isinstance(device, MeterDevice)]
    balances = [(label, device.account.balance_mp) for label, device in meters]  # brings the meters to now
    electricity = [(label, device) for label, device in meters if isinstance(device, Esme)]
    gas = [(label, device) for label, device in meters if not isinstance(device, Esme)]
    yield from _metric("import_wh", "import register", [(n, d.meter.reading) for n, d in electricity])
    yield from _metric("export_wh", "export register", [(n, d.meter.export_wh) for n, d in electricity])
    yield from _metric("power_w", "power drawn", [(n, d.meter.power_w) for n, d in electricity])
    yield from _metric("voltage_mv", "RMS voltage", [(n, d.meter.voltage_mv) for n, d in electricity])
    yield from _metric("volume_dm3", "gas register", [(n, d.meter.reading) for n, d in gas])
    yield from _metric("balance_mp", "prepayment balance", balances)
    states = [(label, int(device.meter.supply.state)) for label, device in meters]
    yield from _metric("supply_state", "0 off, 1 armed, 2 on", states)
    alerts = [(label, len(device.alerts)) for label, device in meters]
    yield from _metric("alerts_pending", "alerts that the hub does not have yet", alerts)
    waiting = [(label, hub.gas.waiting_count) for label, hub in every if isinstance(hub, Chf)]
    yield from _metric("gas_commands_waiting", "commands for the gas meter in its proxy", waiting)


def _label(eui64: int, kind: str) -> str:
    return f'{{eui64="{format_eui64(eui64)}",kind="{kind.lower()}"}}'


def _metric(name: str, words: str, values: list[tuple[str, int]]) -> Iterator[str]:
    if not values:
        return
    yield f"# HELP smets1_{name} {words}"
    yield f"# TYPE smets1_{name} gauge"
    for label, value in values:
        yield f"smets1_{name}{label} {value}"
