"""A head end as a process of its own, to be measured: `hostile_child.py STORE`; it prints its port.

It demands signatures, and its hub counts what it is asked. GET /usage: most memory so far, lines logged since
the last time, how often the hub was asked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from aiohttp import web
from tests.headend.conftest import CHF, ESME, S1SP, START_UTC_US, FakeHub, make_credentials, make_pki

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.hardware.clock import EmulatorLoop, run
from smets1.headend.api import make_app
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.signature import Verifier, XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.store import Store


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def take(self) -> list[str]:
        taken, self.lines = self.lines, []
        return taken


def peak_kib() -> int:
    """Since this program began. (`getrusage` would count what the process that started us had, too.)"""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0])


async def serve(store: str) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    lines, hub = Lines(), FakeHub()
    logging.getLogger().addHandler(lines)
    logging.getLogger().setLevel(logging.INFO)
    pki = make_pki()
    credentials = make_credentials(pki)
    head_end = HeadEnd(
        store=Store.open(store),
        wan=hub,
        dco=Dco(MemoryNvm(), random_octets=bytes),
        civil=CivilClock(loop, START_UTC_US - loop.now_us()),
        signer=XmlSigner(credentials[S1SP]),
        random_octets=bytes,
        verifier=Verifier(pki.store_of(*credentials.values())),
        settings=HeadEndSettings(signatures="require"),
    )
    for eui64, device_type in ((ESME, DeviceType.ESME), (CHF, DeviceType.CHF)):
        head_end.inventory.put(InventoryDevice(eui64=eui64, device_type=device_type, hub=CHF))
    await head_end.start()

    async def usage(_request: web.Request) -> web.Response:
        return web.json_response({"peak_kib": peak_kib(), "lines": lines.take(), "asked": len(hub.asked)})

    app = make_app(head_end)
    app.router.add_get("/usage", usage)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await loop.create_future()


if __name__ == "__main__":
    run(serve(sys.argv[1]))
