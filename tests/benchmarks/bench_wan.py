"""WAN: a head end asks a hub, beside a bare aiomqtt echo over the same broker in the same run. Prints; asserts nothing.

    python tests/benchmarks/bench_wan.py [COUNT]

"one by one" waits for each answer (QoS 1 round trip); "together" asks all at once. NVM is SQLite on disk, both ends.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiomqtt

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import NvmStore
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import EmulatorLoop, run
from smets1.tools.broker import EmbeddedBroker, free_port

HUB = 0x00DB1234567890A2
FRAME = bytes(60)
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)  # without it a round trip is 88 ms


@contextmanager
def _mosquitto(folder: Path) -> Iterator[str]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nset_tcp_nodelay true\n"
    )
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program is not None
    process = subprocess.Popen(
        [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(0.3)
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def _measure(name: str, ask: Callable[[str], Awaitable[object]], count: int) -> None:
    await ask("warm-up")
    waits_ms = []
    begin = time.perf_counter()
    for number in range(count):
        start = time.perf_counter()
        await ask(f"s{number}")
        waits_ms.append((time.perf_counter() - start) * 1e3)
    alone_s = time.perf_counter() - begin
    begin = time.perf_counter()
    await asyncio.gather(*(ask(f"p{number}") for number in range(count)))
    together_s = time.perf_counter() - begin
    waits_ms.sort()
    p50, p99 = waits_ms[count // 2], waits_ms[count * 99 // 100]
    print(
        f"  {name:14} one by one: p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, {count / alone_s:6.0f}/s"
        f"   together: {count / together_s:6.0f}/s"
    )


async def _bare(settings: MqttSettings, count: int) -> None:
    """The least that a request and its answer can cost with this client and broker."""
    waiters: dict[bytes, asyncio.Future[None]] = {}
    tasks = []
    async with (
        aiomqtt.Client(
            settings.host, settings.port, identifier="bare-asker", socket_options=NO_DELAY
        ) as asker,
        aiomqtt.Client(settings.host, settings.port, identifier="bare-echo", socket_options=NO_DELAY) as echo,
    ):
        asker.pending_calls_threshold = echo.pending_calls_threshold = 10**6
        await asker.subscribe("answer", qos=1)
        await echo.subscribe("question", qos=1)

        async def answer() -> None:
            async with asyncio.TaskGroup() as group:
                async for message in echo.messages:
                    group.create_task(echo.publish("answer", message.payload, qos=1))

        async def listen() -> None:
            async for message in asker.messages:
                waiters.pop(bytes(message.payload)).set_result(None)

        tasks = [asyncio.create_task(answer()), asyncio.create_task(listen())]

        async def ask(text: str) -> None:
            payload = text.encode().ljust(200)
            waiters[payload] = asyncio.get_running_loop().create_future()
            sending = asyncio.create_task(asker.publish("question", payload, qos=1))
            await waiters[payload]
            waiters.pop(payload, None)
            await sending

        await _measure("bare aiomqtt", ask, count)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wan(settings: MqttSettings, count: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    civil = CivilClock(loop, 1_700_000_000_000_000)

    async def execute(request: WanRequest) -> WanResponse:
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE, frame=request.frame)

    with NvmStore.open(folder / "hub.nvm") as hub_store, NvmStore.open(folder / "head.nvm") as head_store:
        hub = HubWanEnd(
            MqttLink(settings, "bench-hub", random.Random(1)),
            HUB,
            hub_store.device("wan"),
            civil,
            execute,
            rng=random.Random(2),
        )
        head = HeadEndWan(
            MqttLink(settings, "bench-head", random.Random(3)),
            head_store.device("wan"),
            civil,
            rng=random.Random(4),
        )
        await hub.start()
        await head.start()

        async def ask(text: str) -> None:
            request = WanRequest(
                request_id=text,
                expires_utc_us=civil.utc_us() + 60_000_000,
                target=HUB,
                endpoint=1,
                cluster_id=0x0702,
                frame=FRAME,
            )
            await head.ask(HUB, request)
            head.forget(text)

        await _measure("head end, hub", ask, count)
        print(f"  {'':14} commits: head end {head_store.commit_count}, hub {hub_store.commit_count}")
        await head.close()
        await hub.close()


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for title, broker in (("mosquitto", _mosquitto(folder)), ("amqtt", _amqtt())):
            print(f"{title}, {count} requests")
            with broker as url:
                settings = MqttSettings.parse(url)
                run(_bare(settings, count))
                sub = folder / title
                run(_wan(settings, count, sub))


@contextmanager
def _amqtt() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.url


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 900)
