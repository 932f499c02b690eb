"""A hub as a process of its own, to be killed: `kill_hub_child.py FOLDER BROKER_URL`.

What it does for a top-up is to count it, in its own NVM and in one commit with the answer, as a hub does.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

from tests.headend.conftest import CHF, FakeHub

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import NvmStore
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import read_command
from smets1.hardware.clock import EmulatorLoop, run


async def serve(folder: Path, url: str) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    nvm = NvmStore.open(folder / "hub.nvm").device("hub")
    fake = FakeHub()

    async def execute(request: WanRequest) -> WanResponse:
        await asyncio.sleep(0.005)
        _, outer = read_command(AUTHORISATION, request.frame)
        _, values = read_command(PREPAYMENT, outer["frame"])
        key = f"effect/{values['top_up_code'].decode()}"
        count = int.from_bytes(nvm.get(key) or b"", "big") + 1
        nvm.put(key, count.to_bytes(2, "big"))
        return fake._execute(request)  # and no await from here on: one commit

    civil = CivilClock(loop, time.time_ns() // 1000 - loop.now_us())
    link = MqttLink(MqttSettings.parse(url), "kill-hub", random.Random(5))
    end = HubWanEnd(link, CHF, nvm, civil, execute, rng=random.Random(6))
    await end.start()
    await loop.create_future()


if __name__ == "__main__":
    run(serve(Path(sys.argv[1]), sys.argv[2]))
