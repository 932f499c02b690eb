"""The home's HTTP face: the head end's paths, and the home itself as JSON.

    POST /api/v1/serviceS|T|D, GET /api/v1/responses    (headend/api.py)
    GET  /api/v1/home                                   devices, network, supply, registers
    GET  /api/v1/devices/EUI64                          one of them
    GET  /api/v1/devices/EUI64/screen                   what its display shows: all pages, what is seen now
    GET, POST, PATCH, DELETE /api/v1/faults...          what is wrong with the air (http_faults.py)
    POST /api/v1/devices/EUI64/keys                     press its keys: {"keys": "A 73946-14433-... B"}
    POST /api/v1/devices/EUI64/power, /sensors, ...     what hands do in a laboratory (http_controls.py)
    GET  /api/v1/clock, /events, /metrics               watching it (http_watch.py)
    GET  /api/v1/docs                                   all of these as OpenAPI

Bound to loopback unless told otherwise; on another address every request must bear the token
(`Authorization: Bearer ...`), compared in constant time.
"""

from __future__ import annotations

import hmac
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from smets1.devices.display_device import DisplayDevice
from smets1.devices.gsme import Gsme
from smets1.devices.meter_device import MeterDevice
from smets1.errors import InputError, LostError
from smets1.eui64 import format_eui64
from smets1.firmware.device import Device
from smets1.headend.api import add_routes
from smets1.headend.duis.request import MAX_REQUEST_OCTETS
from smets1.tools.home import Home
from smets1.tools.home_file import is_loopback
from smets1.tools.http_controls import add_control_routes
from smets1.tools.http_faults import add_fault_routes
from smets1.tools.http_request import answer_mistakes, device_of, json_of
from smets1.tools.http_watch import add_watch_routes

__all__ = ["HttpServer", "require_free"]

_HOME: Final = web.AppKey("home", Home)
_LONGEST_KEYS: Final = 1000
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves one home; start it in the home's loop."""

    def __init__(self, home: Home, *, host: str, port: int, token: str = "") -> None:
        self._home = home
        self._host = host
        self._port = port
        self._token = token
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, once started (with port 0: on the port that was found)."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Raises LostError, one line, where the address cannot be had; InputError where it needs a token."""
        if not self._token and not is_loopback(self._host):
            raise InputError(f"HTTP: on {self._host}, which is not loopback, a token must be asked for")
        app = web.Application(
            client_max_size=MAX_REQUEST_OCTETS, middlewares=[self._check_token, answer_mistakes]
        )
        app[_HOME] = self._home
        if self._home.config.headend.runs_here:
            add_routes(app, self._home.headend)
        app.router.add_get("/api/v1/home", _get_home)
        add_fault_routes(app, self._home)
        app.router.add_get("/api/v1/devices/{eui64}", _get_device)
        app.router.add_get("/api/v1/devices/{eui64}/screen", _get_screen)
        app.router.add_post("/api/v1/devices/{eui64}/keys", _post_keys)
        add_control_routes(app, self._home, _describe)
        add_watch_routes(app, self._home)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise _cannot_listen(self._host, self._port, error) from None
        listening = site._server.sockets if site._server else ()  # type: ignore[attr-defined]
        for each in listening:
            self._port = each.getsockname()[1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _check_token(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self._token:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return web.json_response({"error": "this address asks for the home's token"}, status=401)
        return await handler(request)


def require_free(host: str, port: int) -> None:
    """Raises LostError, one line, where nobody could listen; for asking before anything has begun."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None


def _cannot_listen(host: str, port: int, error: OSError) -> LostError:
    # asyncio wraps the reason into a sentence of its own; gaierror has numbers of its own, all negative.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else str(error.strerror or error)
    return LostError(
        f"HTTP: cannot listen on {host}:{port}: {reason.lower()}; choose another with --http HOST:PORT"
    )


def _device(request: web.Request) -> Device:
    return device_of(request, request.app[_HOME])


async def _get_home(request: web.Request) -> web.Response:
    home = request.app[_HOME]
    return web.json_response(
        {
            "utc": str(home.clock),
            "seed": home.config.seed,
            "devices": [_describe(device) for device in home.devices],
        }
    )


async def _get_device(request: web.Request) -> web.Response:
    return web.json_response(_describe(_device(request)))


async def _get_screen(request: web.Request) -> web.Response:
    return web.json_response(_describe_screen(_device_with_face(request)))


def _device_with_face(request: web.Request) -> DisplayDevice | MeterDevice:
    device = _device(request)
    if not isinstance(device, DisplayDevice | MeterDevice):
        raise web.HTTPNotFound(text="this device has no display that can be read here")
    return device


def _describe_screen(device: DisplayDevice | MeterDevice) -> dict[str, Any]:
    """A display: its pages by name; a meter: by the key that shows each. `shown`: what is seen now."""
    described: dict[str, Any] = {"pages": device.screen, "shown": device.shown}
    if isinstance(device, DisplayDevice):
        return described | {"page": device.panel.page}
    return described | {"lcd": device.face.lcd()}


async def _post_keys(request: web.Request) -> web.Response:
    """`{"keys": TEXT}`; of a meter `"held": true` holds the key down. Answers as the screen does."""
    device = _device_with_face(request)
    keys, is_held = await _keys_asked_for(request)
    if isinstance(device, MeterDevice):
        device.press(keys, is_held=is_held)
    else:
        device.press(keys)
    return web.json_response(_describe_screen(device))


async def _keys_asked_for(request: web.Request) -> tuple[str, bool]:
    example = '{"keys": "A"}'
    body = await json_of(request, example)
    if not isinstance(body, dict) or not isinstance(body.get("keys"), str):
        raise InputError(f"the body must be JSON, as {example}")
    if len(body["keys"]) > _LONGEST_KEYS:
        raise InputError(f"at most {_LONGEST_KEYS} characters of keys at a time")
    return body["keys"], body.get("held") is True


def _describe(device: Device) -> dict[str, Any]:
    network = device.port.network
    described: dict[str, Any] = {
        "eui64": format_eui64(device.eui64),
        "kind": type(device).__name__.lower(),
        "model": device.factory.model,
        "is_keyed": device.keyed.is_set(),
        "short_address": None if network is None else f"0x{network.short_address:04X}",
    }
    if isinstance(device, MeterDevice):
        account = device.account
        unit = "volume_dm3" if isinstance(device, Gsme) else "energy_wh"
        described |= {
            unit: device.meter.reading,
            "supply": device.meter.supply.state.name.lower(),
            "balance_mp": account.balance_mp,
            "payment_mode": account.mode.name.lower(),
            "sua_generation": device.authorisation.generation,
        }
    return described
