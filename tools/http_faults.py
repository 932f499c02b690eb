"""What is wrong with the air, over HTTP while the home runs. Bodies: the keys of `[faults]`, in JSON.

    GET    /api/v1/faults                 what is set; `plan`: rows that hold or are to come, with their id
    POST   /api/v1/faults                 these in place of all that were set; {} clears all
    PATCH  /api/v1/faults                 these beside those that are set: {"away": [{"device": EUI64}]}
    DELETE /api/v1/faults/plan/ID         one cut, absence, partition or interference
    DELETE /api/v1/faults/node/EUI64      what holds at one device, and its position
    DELETE /api/v1/faults/link/FROM/TO    what holds in one direction of one link
    DELETE /api/v1/faults/default         what holds on every link

Times of a plan count from the request. Each answers as GET does; a mistake is 400 and one line and changes
nothing, what is not set cannot be taken away: 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from smets1.errors import InputError
from smets1.tools.fault_file import faults_of_json
from smets1.tools.home import Home
from smets1.tools.home_config import FaultsConfig
from smets1.tools.http_request import eui64_of

__all__ = ["add_fault_routes"]

_PATH = "/api/v1/faults"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_fault_routes(app: web.Application, home: Home) -> None:
    """GET, POST, PATCH and DELETE of a home's faults."""
    faults = home.faults

    def answer() -> web.Response:
        return web.json_response(faults.snapshot())

    async def asked_for(request: web.Request) -> FaultsConfig:
        return faults_of_json(await request.read(), {device.eui64 for device in home.config.devices})

    async def get(_request: web.Request) -> web.Response:
        return answer()

    async def post(request: web.Request) -> web.Response:
        faults.set(await asked_for(request))
        return answer()

    async def patch(request: web.Request) -> web.Response:
        faults.add(await asked_for(request))
        return answer()

    def delete(remove: Callable[[web.Request], bool]) -> _Handler:
        async def act(request: web.Request) -> web.Response:
            if not remove(request):
                raise web.HTTPNotFound(text="no such fault is set (any more)")
            return answer()

        return act

    app.router.add_get(_PATH, get)
    app.router.add_post(_PATH, post)
    app.router.add_patch(_PATH, patch)
    app.router.add_delete(f"{_PATH}/default", delete(lambda _: faults.remove_default()))
    app.router.add_delete(
        f"{_PATH}/plan/{{id}}", delete(lambda request: faults.remove_planned(_number(request)))
    )
    app.router.add_delete(
        f"{_PATH}/node/{{eui64}}", delete(lambda request: faults.remove_node(eui64_of(request)))
    )
    app.router.add_delete(
        f"{_PATH}/link/{{from}}/{{to}}",
        delete(lambda request: faults.remove_link(eui64_of(request, "from"), eui64_of(request, "to"))),
    )


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError("the id of a planned fault is a number, as GET shows it")
    return int(text)
