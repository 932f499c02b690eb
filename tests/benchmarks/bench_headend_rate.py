"""Head end: 500 requests a second through one worker, over mosquitto, to 1 000 homes. Prints; asserts nothing.

    python tests/benchmarks/bench_headend_rate.py [SECONDS] [RATE] [HOMES]

Requests come at their rate whether earlier ones are answered or not (open loop), each for the next home. From
`submit` to the final signed response: parse, checks, store (SQLite on disk, synchronous=FULL), mosquitto, a hub
that answers at once (`light_homes.py`, a process of its own), the response. The WAN end keeps nothing of its
own: what is under way is in the store. The time on the simulated air is not in it, for there is none.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "src")]  # the requests are those of the tests
# ruff: noqa: E402

from tests.benchmarks.bench_wan import _mosquitto
from tests.headend.conftest import S1SP, request_xml

from smets1.eui64 import format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import NvmStore
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import EmulatorLoop, run
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.signature import XmlSigner
from smets1.headend.head_end import HeadEnd
from smets1.headend.inventory import InventoryDevice
from smets1.headend.pki import TestPki
from smets1.headend.store import Store

_HUB = 0x00DB000000000000


async def _serve(url: str, folder: Path, seconds: int, rate: int, homes: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    civil = CivilClock(loop, time.time_ns() // 1000 - loop.now_us())
    wan = HeadEndWan(
        MqttLink(MqttSettings.parse(url), "bench", random.Random(1)),
        None,
        civil,
        rng=random.Random(2),
    )
    seed = SeedTree(1)
    head_end = HeadEnd(
        store=Store.open(folder / "requests.db"),
        wan=wan,
        dco=Dco(NvmStore.open(folder / "dco.nvm").device("dco"), random_octets=random.Random(3).randbytes),
        civil=civil,
        signer=XmlSigner(TestPki(lambda label: seed.octets(40, label)).issue(S1SP, "S1SP")),
        random_octets=random.Random(4).randbytes,
    )
    with head_end.store.together():
        for number in range(homes):
            hub = _HUB + 16 * number
            for eui64, device_type in ((hub, DeviceType.CHF), (hub + 1, DeviceType.ESME)):
                head_end.inventory.put(InventoryDevice(eui64=eui64, device_type=device_type, hub=hub))
    head_end.store.flush()
    await wan.start()
    await head_end.start()
    requests = [
        request_xml(
            "4.18",
            "<sr:ReadMeterBalance/>",
            target=format_eui64(_HUB + 16 * (number % homes) + 1),
            counter=number,
        )
        for number in range((seconds + 2) * rate)
    ]
    gc.collect()
    gc.freeze()
    waits_ms: list[float] = []

    async def ask(xml: bytes, is_counted: bool) -> None:
        began = time.perf_counter()
        answer = await head_end.submit(xml, wait_s=60)
        assert b"MeterBalance>" in answer, answer
        if is_counted:
            waits_ms.append((time.perf_counter() - began) * 1e3)

    began = time.perf_counter()
    cpu = time.process_time()
    tasks: list[asyncio.Task[None]] = []
    for number, xml in enumerate(requests):
        due = began + number / rate
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        if number == 2 * rate:
            cpu = time.process_time()
        tasks.append(asyncio.create_task(ask(xml, number >= 2 * rate)))
    await asyncio.gather(*tasks)
    cpu = (time.process_time() - cpu) / len(waits_ms)
    waits_ms.sort()
    p50, p90, p99 = (waits_ms[int(len(waits_ms) * share)] for share in (0.5, 0.9, 0.99))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"  {rate} a second to {homes} homes, {len(waits_ms)} requests; CPU {cpu * 1e3:.2f} ms each, {peak} MiB"
    )
    print(f"  {'':8}{'ours':>12}{'aim':>12}")
    for name, ours, aim in (
        ("p50", p50, "10"),
        ("p90", p90, ""),
        ("p99", p99, "100"),
        ("longest", waits_ms[-1], ""),
    ):
        print(f"  {name:8}{ours:>9.1f} ms{aim and aim + ' ms':>12}")
    await head_end.close()
    await wan.close()
    head_end.store.close()


def _tell_of_the_machine(folder: Path) -> None:
    """What is measured is worth nothing where others work beside it, or the disk is slow: so say it."""
    waits_ms = []
    with (folder / "probe").open("wb") as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            waits_ms.append((time.perf_counter() - began) * 1e3)
    began, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.3:
        pass
    share = 0.3 / (time.perf_counter() - began)
    print(
        f"  this machine, now: fdatasync {sorted(waits_ms)[25]:.1f} ms, {share:.0%} of a core for one process"
    )


def main() -> None:
    seconds, rate, homes = (
        int(argument) for argument in (sys.argv[1:] + ["10", "500", "1000"][len(sys.argv) - 1 :])
    )
    with tempfile.TemporaryDirectory() as folder, _mosquitto(Path(folder)) as url:
        _tell_of_the_machine(Path(folder))
        port = url.rpartition(":")[2]
        hubs = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("light_homes.py")), port], stdout=subprocess.PIPE
        )
        try:
            assert hubs.stdout is not None
            hubs.stdout.readline()
            run(_serve(url, Path(folder), seconds, rate, homes), speed=1.0)
        finally:
            hubs.terminate()
            hubs.wait()


if __name__ == "__main__":
    main()
