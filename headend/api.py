"""HTTP around the head end: the three paths that DCC Boxed's clients speak, and the responses.

    POST /api/v1/serviceS | serviceT | serviceD    DUIS XML in and out; ?wait=SECONDS for the final answer
    GET  /api/v1/responses?user=EUI&after=N&limit=N    what was answered, as JSON

A body that is no DUIS request gets 400 and one line (JSON where the client accepts only that). The
application binds nothing itself: the caller runs it on an address of its choice.
"""

from __future__ import annotations

import logging
import math
from typing import Final

from aiohttp import web

from smets1.errors import InputError, LostError
from smets1.eui64 import format_eui64, parse_eui64
from smets1.firmware.civil import format_utc
from smets1.headend.duis.codes import ServicePath
from smets1.headend.duis.request import MAX_REQUEST_OCTETS, DuisError
from smets1.headend.head_end import HeadEnd
from smets1.headend.store import StoredResponse

__all__ = ["HEAD_END", "add_routes", "make_app"]

_log = logging.getLogger(__name__)

HEAD_END: Final = web.AppKey("head_end", HeadEnd)
_MAX_WAIT_S: Final = 3600.0
_MAX_LISTED: Final = 1000


def make_app(head_end: HeadEnd) -> web.Application:
    """An application of its own; `add_routes` puts the same routes into another one."""
    app = web.Application(client_max_size=MAX_REQUEST_OCTETS)
    add_routes(app, head_end)
    return app


def add_routes(app: web.Application, head_end: HeadEnd) -> None:
    app[HEAD_END] = head_end
    for path in ServicePath:
        app.router.add_post(f"/api/v1/{path}", _submit)
    app.router.add_get("/api/v1/responses", _responses)


async def _submit(request: web.Request) -> web.Response:
    path = request.path.rsplit("/", 1)[-1]
    try:
        wait_s = _seconds(request.query.get("wait"))
        body = await request.read()
        answer = await request.app[HEAD_END].submit(body, path, wait_s=wait_s)
    except web.HTTPRequestEntityTooLarge:
        _log.info("%s: a body of more than %d octets", request.remote, MAX_REQUEST_OCTETS)
        return _problem(request, 413, f"the body has more than {MAX_REQUEST_OCTETS} octets")
    except DuisError as error:
        _log.info("%s: %s", request.remote, error)
        return _problem(request, 400, str(error))
    except InputError as error:
        return _problem(request, 400, str(error))
    except LostError as error:
        _log.error("%s", error)
        return _problem(request, 503, "the head end's storage is not available")
    return web.Response(body=answer, content_type="application/xml", charset="UTF-8")


async def _responses(request: web.Request) -> web.Response:
    try:
        user = request.query.get("user")
        found = request.app[HEAD_END].responses(
            user=None if user is None else parse_eui64(user),
            after=_number(request.query.get("after"), 0),
            limit=min(_number(request.query.get("limit"), 100), _MAX_LISTED),
        )
    except InputError as error:
        return _problem(request, 400, str(error))
    return web.json_response({"responses": [_listed(response) for response in found]})


def _listed(response: StoredResponse) -> dict[str, object]:
    return {
        "number": response.number,
        "request": response.key,
        "user": format_eui64(response.user),
        "created": format_utc(response.created_utc_us),
        "delivered": response.is_delivered,
        "xml": response.xml.decode(),
    }


def _problem(request: web.Request, status: int, text: str) -> web.Response:
    accepted = request.headers.get("Accept", "*/*")
    if "json" in accepted and "xml" not in accepted and "*/*" not in accepted:
        return web.json_response({"error": text}, status=status)
    return web.Response(text=text + "\n", status=status)


def _seconds(text: str | None) -> float | None:
    """Raises InputError unless a number of seconds from 0 to 3600."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _MAX_WAIT_S:
        raise InputError(f"wait={text[:20]} is not a number of seconds from 0 to {_MAX_WAIT_S:.0f}")
    return seconds


def _number(text: str | None, default: int) -> int:
    """Raises InputError unless a whole number from 0."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"{text[:20]!r} is not a whole number")
    return int(text)
