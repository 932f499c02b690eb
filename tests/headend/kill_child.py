"""A head end as a process of its own, to be killed: `kill_child.py FOLDER HTTP_PORT BROKER_URL [STORE [NUMBER WORKERS]]`.

With a number it is one of several workers, which share the store, the DCO's keys in the same database, and
`HOMES` homes.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

from aiohttp import web

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm, NvmStore
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import EmulatorLoop, run
from smets1.headend.api import make_app
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.signature import XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.pki import TestPki
from smets1.headend.sql_nvm import SqlNvm
from smets1.headend.store import Store

ESME, CHF, S1SP = 0x00DB1234567890A0, 0x00DB1234567890A2, 0x90B3D51F30000001
SUA_KEY = bytes(range(16))
HOMES, HOME_STEP = 6, 0x1000


async def serve(folder: Path, port: int, url: str, store: str, worker: int, workers: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    civil = CivilClock(loop, time.time_ns() // 1000 - loop.now_us())
    name = f"{worker}" if workers > 1 else ""
    dco_nvm: Nvm = NvmStore.open(folder / "dco.nvm").device("dco") if not name else SqlNvm.open(store, "dco")
    dco = Dco(dco_nvm, random_octets=random.Random(1).randbytes, desk=name)
    wan = HeadEndWan(
        MqttLink(MqttSettings.parse(url), f"kill-s1sp{name}", random.Random(2)),
        None if name else NvmStore.open(folder / "headend.nvm").device("wan"),
        civil,
        rng=random.Random(3),
        hubs=() if name else None,
    )
    seed = SeedTree(1)
    head_end = HeadEnd(
        store=Store.open(store),
        wan=wan,
        dco=dco,
        civil=civil,
        signer=XmlSigner(TestPki(lambda label: seed.octets(40, label)).issue(S1SP, "S1SP")),
        random_octets=random.Random(4).randbytes,
        settings=HeadEndSettings(worker=worker, workers=workers),
    )
    head_end.sharing.on_hubs = wan.serve
    for home in range(HOMES if name else 1):
        hub, meter = CHF + home * HOME_STEP, ESME + home * HOME_STEP
        dco.enrol(meter, SUA_KEY)
        for eui64, device_type in ((meter, DeviceType.ESME), (hub, DeviceType.CHF)):
            head_end.inventory.put(InventoryDevice(eui64=eui64, device_type=device_type, hub=hub))
    await wan.start()
    await head_end.start()
    runner = web.AppRunner(make_app(head_end), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await loop.create_future()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    where = arguments[3] if len(arguments) > 3 else str(Path(arguments[0]) / "requests.db")
    number, count = (int(text) for text in (arguments[4:] or ("0", "1")))
    run(serve(Path(arguments[0]), int(arguments[1]), arguments[2], where, number, count))
