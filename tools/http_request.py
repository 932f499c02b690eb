"""What the paths of the HTTP face have in common: whom a request is about, its JSON, answers to mistakes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64, format_eui64, parse_eui64
from smets1.firmware.device import Device
from smets1.tools.home import Home

__all__ = ["answer_mistakes", "device_of", "eui64_of", "json_of"]


@web.middleware
async def answer_mistakes(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What a person gave wrong is 400 and one line; storage or WAN that are lost are 503."""
    try:
        return await handler(request)
    except InputError as error:
        raise web.HTTPBadRequest(text=str(error)) from None
    except LostError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from None


def eui64_of(request: web.Request, name: str = "eui64") -> Eui64:
    """Of the path, by the name it has there. Raises InputError."""
    return parse_eui64(request.match_info[name])


def device_of(request: web.Request, home: Home) -> Device:
    """The device of the path. Raises InputError; HTTPNotFound where it is unknown or has no power."""
    eui64 = eui64_of(request)
    device = home.device(eui64)
    if device is None:
        raise web.HTTPNotFound(text=f"no device {format_eui64(eui64)} runs here")
    return device


async def json_of(request: web.Request, example: str) -> object:
    """The body, whatever type and character set the client says it has. Raises InputError.

    `example`: what a right one looks like, for the refusal.
    """
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):  # the latter: brackets without end
        raise InputError(f"the body must be JSON, as {example}") from None
