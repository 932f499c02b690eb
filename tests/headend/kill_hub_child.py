"""Hubs as a process of their own, to be killed: `kill_hub_child.py FOLDER BROKER_URL [HOMES]`.

What one does for a top-up or a Critical Instruction is to count it, in its own NVM and in one commit with the
answer, as a hub does.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

from tests.headend.conftest import CHF, ESME, FakeHub
from tests.headend.kill_child import HOME_STEP

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import NvmStore
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import read_command
from smets1.hardware.clock import EmulatorLoop, run


def effect_of(request: WanRequest) -> str:
    """The NVM key under which it is counted."""
    name, outer = read_command(AUTHORISATION, request.frame)
    if name == "critical_instruction":
        return f"effect/supply/{outer['counter']}"
    _, values = read_command(PREPAYMENT, outer["frame"])
    return f"effect/{values['top_up_code'].decode()}"


async def serve_home(store: NvmStore, civil: CivilClock, url: str, home: int) -> None:
    nvm = store.device(f"hub{home}" if home else "hub")
    fake = FakeHub()
    fake.meters = {ESME + home * HOME_STEP: fake.meters[ESME]}

    async def execute(request: WanRequest) -> WanResponse:
        await asyncio.sleep(0.005)
        key = effect_of(request)
        count = int.from_bytes(nvm.get(key) or b"", "big") + 1
        nvm.put(key, count.to_bytes(2, "big"))
        return fake._execute(request)  # and no await from here on: one commit

    link = MqttLink(MqttSettings.parse(url), f"kill-hub{home}", random.Random(5 + home))
    end = HubWanEnd(link, CHF + home * HOME_STEP, nvm, civil, execute, rng=random.Random(6 + home))
    await end.start()


async def serve(folder: Path, url: str, homes: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    store = NvmStore.open(folder / "hub.nvm")
    civil = CivilClock(loop, time.time_ns() // 1000 - loop.now_us())
    for home in range(homes):
        await serve_home(store, civil, url, home)
    await loop.create_future()


if __name__ == "__main__":
    run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1))
