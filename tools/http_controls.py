"""The laboratory's hands over HTTP: controls of devices, their parameters, what must change before enrolment.

    POST /api/v1/devices/EUI64/sensors|power|battery|clock|voltage|appliances|taps|marker    (controls.py)
    GET  /api/v1/devices/EUI64/parameters        each with its value, unit and source
    POST /api/v1/devices/EUI64/parameters        {"name": ..., "value": ...}
    GET  /api/v1/devices/EUI64/enrolment?group=  what is and what must be, where the two differ
    GET  /api/v1/docs                            the whole face as OpenAPI (tools/open_api.py)

A POST of a control answers as the GET of the device does, and says whether it has power; a mistake is 400 and
one line, a device that does not run here 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from smets1.errors import InputError
from smets1.eui64 import format_eui64
from smets1.firmware.device import Device
from smets1.tools.controls import CONTROLS, control, differences, parameters, set_parameter
from smets1.tools.home import Home
from smets1.tools.http_request import device_of, eui64_of, json_of
from smets1.tools.open_api import open_api

__all__ = ["add_control_routes"]

_DEVICE: Final = "/api/v1/devices/{eui64}"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_control_routes(
    app: web.Application, home: Home, describe: Callable[[Device], dict[str, Any]]
) -> None:
    """`describe`: what a device looks like from outside, as JSON."""

    def make(name: str) -> _Handler:
        async def act(request: web.Request) -> web.Response:
            eui64 = eui64_of(request)
            if all(config.eui64 != eui64 for config in home.config.devices):
                raise web.HTTPNotFound(text=f"no device {format_eui64(eui64)} in this home")
            await control(home, eui64, name, await json_of(request, _example(name)))
            device = home.device(eui64)
            shown = {"eui64": format_eui64(eui64), "has_power": device is not None}
            return web.json_response(shown if device is None else describe(device) | shown)

        return act

    async def get_parameters(request: web.Request) -> web.Response:
        return web.json_response({"parameters": parameters(device_of(request, home))})

    async def post_parameter(request: web.Request) -> web.Response:
        device, example = device_of(request, home), '{"name": "currency", "value": "GBP"}'
        body = await json_of(request, example)
        if not isinstance(body, dict) or body.keys() != {"name", "value"}:
            raise InputError(f"the body must be JSON, as {example}")
        set_parameter(device, body["name"], body["value"])
        return web.json_response({"parameters": parameters(device)})

    async def get_enrolment(request: web.Request) -> web.Response:
        group = request.query.get("group", "DA")
        found = differences(device_of(request, home), group)
        return web.json_response({"group": group, "differences": found})

    async def get_docs(_request: web.Request) -> web.Response:
        return web.json_response(open_api(has_head_end=home.config.headend.runs_here))

    for name in CONTROLS:
        app.router.add_post(f"{_DEVICE}/{name}", make(name))
    app.router.add_get(f"{_DEVICE}/parameters", get_parameters)
    app.router.add_post(f"{_DEVICE}/parameters", post_parameter)
    app.router.add_get(f"{_DEVICE}/enrolment", get_enrolment)
    app.router.add_get("/api/v1/docs", get_docs)


def _example(name: str) -> str:
    return "{" + ", ".join(f'"{key.name}": ...' for key in CONTROLS[name].keys) + "}"
