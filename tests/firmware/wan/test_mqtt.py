"""The MQTT link against real brokers: mosquitto (with and without TLS) and the embedded amqtt.

Waits are for conditions, in real time; the time-outs only end a test that has failed.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from smets1.errors import InputError, LostError, MisuseError
from smets1.firmware.civil import CivilClock, parse_utc
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.link import Will
from smets1.firmware.wan.messages import WanEvent, WanRequest, WanResponse, WanStatus
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.tools.broker import EmbeddedBroker, free_port

HUB = 0x00DB1234567890A2
METER = 0x00DB1234567890A0


class Mosquitto:
    """A real broker on a free port of loopback, which can be killed and started again."""

    def __init__(self, folder: Path, *extra: str) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        if os.geteuid() == 0:
            extra = ("user root", *extra)  # or it could not read our keys
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "log_dest none", *extra]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 5
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.kill()
                    pytest.fail("mosquitto did not start")
                time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(params=["mosquitto", "amqtt"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto").url
    else:
        pytest.importorskip("amqtt")
        with EmbeddedBroker() as broker:
            yield broker.url


def at_speed(speed: float) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def wrapped(**fixtures: Any) -> None:
            run(test(**fixtures), speed=speed)

        return wrapped

    return decorate


async def _until(condition: Callable[[], bool], real_s: float = 20.0) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    async with asyncio.timeout(real_s * loop.speed):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another program
            await asyncio.sleep(0.005 * loop.speed)


class World:
    """A hub that echoes, and a head end, each with its own link."""

    def __init__(self, settings: MqttSettings) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.civil = CivilClock(loop, parse_utc("2024-01-01T00:00:00Z"))
        self.executed: list[str] = []
        self.events: list[WanEvent] = []
        self.nvm = MemoryNvm()
        self.settings = settings
        self.hub = self.new_hub()
        self.head = HeadEndWan(
            MqttLink(settings, "head-end", random.Random(2)),
            MemoryNvm(),
            self.civil,
            rng=random.Random(3),
            on_event=lambda hub, event: self.events.append(event),
        )

    def new_hub(self) -> HubWanEnd:
        link = MqttLink(self.settings, f"hub-{HUB:016x}", random.Random(1))
        return HubWanEnd(link, HUB, self.nvm, self.civil, self.execute, rng=random.Random(4))

    async def execute(self, request: WanRequest) -> WanResponse:
        self.executed.append(request.request_id)
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE, frame=request.frame)

    def request(self, request_id: str) -> WanRequest:
        return WanRequest(
            request_id=request_id,
            expires_utc_us=self.civil.utc_us() + 24 * 3_600_000_000,
            target=METER,
            endpoint=1,
            cluster_id=0,
            frame=request_id.encode(),
        )

    async def close(self) -> None:
        await self.hub.close()
        await self.head.close()


@pytest.mark.outsider
@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_round_trip(url: str, speed: float) -> None:
    async def main() -> None:
        world = World(MqttSettings.parse(url))
        await world.head.start()
        await world.hub.start()
        await _until(lambda: world.head.is_online(HUB))
        names = [f"r{number}" for number in range(50)]
        answers = await asyncio.gather(*(world.head.ask(HUB, world.request(name)) for name in names))
        assert [answer.frame.decode() for answer in answers] == names
        assert world.executed == names
        event = world.hub.report(METER, 1, 0xFC01, b"alert")
        await _until(lambda: world.events == [event] and world.hub.unanswered_count == 0)
        await world.hub.close()
        await _until(lambda: not world.head.is_online(HUB))
        await world.close()

    run(main(), speed=speed)


@pytest.mark.outsider
def test_request_for_a_hub_that_is_away_waits_at_the_broker(url: str) -> None:
    async def main() -> None:
        world = World(MqttSettings.parse(url))
        await world.hub.start()
        await world.head.start()
        await world.head.ask(HUB, world.request("first"))
        await world.hub.close()
        asking = asyncio.create_task(world.head.ask(HUB, world.request("second")))
        await _until(lambda: not world.head.is_online(HUB))
        world.hub = world.new_hub()
        await world.hub.start()
        assert (await asking).status == WanStatus.DONE
        assert world.executed == ["first", "second"]
        assert world.hub.boot_count == 2
        await world.close()

    run(main(), speed=1.0)


@pytest.mark.outsider
@at_speed(10.0)
async def test_broker_is_killed_under_load(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    """Mosquitto without persistence forgets all it had acknowledged; both ends say it again."""
    caplog.set_level(logging.CRITICAL, logger="smets1.firmware.wan.mqtt")
    world = World(MqttSettings.parse(mosquitto.url))
    await world.hub.start()
    await world.head.start()
    names = [f"r{number}" for number in range(300)]
    asking = [asyncio.create_task(world.head.ask(HUB, world.request(name))) for name in names]
    sent = [world.hub.report(METER, 1, 0xFC01, name.encode()) for name in names]
    await _until(lambda: len(world.executed) > 20)
    mosquitto.kill()
    await _until(lambda: not world.hub.is_up and not world.head.is_up)
    mosquitto.start()
    answers = await asyncio.gather(*asking)
    assert [answer.frame.decode() for answer in answers] == names
    assert sorted(world.executed) == sorted(names)
    await _until(lambda: len(world.events) == len(sent) and world.hub.unanswered_count == 0)
    assert sorted(event.event_id for event in world.events) == sorted(event.event_id for event in sent)
    await world.close()


# --- TLS ------------------------------------------------------------------------------------------------


def _openssl(folder: Path, *arguments: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificate(folder: Path, name: str, subject: str) -> None:
    """A P-256 key and a certificate signed by the test authority."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
    (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\nkeyUsage=digitalSignature\n")
    _openssl(folder, "req", *key, "-out", f"{name}.csr", "-subj", subject)
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    _openssl(
        folder,
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        *signing,
        "-extfile",
        f"{name}.ext",
        "-out",
        f"{name}.pem",
    )


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key"]
    use = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(
        tmp_path, "req", "-x509", *key, "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority", *use
    )
    _certificate(tmp_path, "server", "/CN=127.0.0.1")
    _certificate(tmp_path, "client", f"/CN={HUB:016x}")
    return tmp_path


@pytest.mark.outsider
# aiomqtt leaves the socket of a connection that never stood to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_mutual_tls(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smets1.firmware.wan.mqtt.CALL_TIMEOUT_S", 1.0)
    folder = certificates
    broker = Mosquitto(
        folder,
        f"cafile {folder}/ca.pem",
        f"certfile {folder}/server.pem",
        f"keyfile {folder}/server.key",
        "require_certificate true",
    )
    broker.start()
    secured = broker.url.replace("mqtt:", "mqtts:")

    async def main() -> None:
        with_all = MqttSettings.parse(
            secured, ca=folder / "ca.pem", cert=folder / "client.pem", key=folder / "client.key"
        )
        world = World(with_all)
        await world.hub.start()
        await world.head.start()
        assert (await world.head.ask(HUB, world.request("a"))).status == WanStatus.DONE
        await world.close()
        strangers = [
            (MqttSettings.parse(secured), "self-signed certificate"),
            (MqttSettings.parse(broker.url), "timed out"),
            (MqttSettings.parse(secured, ca=folder / "ca.pem"), "refused client certificate"),
        ]
        for stranger, why in strangers:
            with pytest.raises(LostError, match=f"cannot be reached: .*{why}") as caught:
                await World(stranger).hub.start()
            assert "\n" not in str(caught.value)

    try:
        run(main(), speed=100.0)
    finally:
        broker.kill()


def test_bad_certificate_files(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for settings in (
        MqttSettings.parse("mqtts://h", ca=tmp_path / "missing.pem"),
        MqttSettings.parse("mqtts://h", ca=bad),
        MqttSettings.parse("mqtts://h", cert=bad, key=bad),
        MqttSettings.parse("mqtts://h", cert=bad),
    ):
        with pytest.raises(InputError):
            settings.tls_context()


# --- what can go wrong at start -----------------------------------------------------------------------------


@at_speed(1.0)
async def test_nobody_listens() -> None:
    port = free_port()
    world = World(MqttSettings.parse(f"mqtt://127.0.0.1:{port}"))
    with pytest.raises(LostError) as caught:
        await world.hub.start()
    assert str(caught.value) == f"WAN broker 127.0.0.1:{port} cannot be reached: Connection refused"
    await world.close()


def test_speed_max_is_refused() -> None:
    async def main() -> None:
        world = World(MqttSettings.parse("mqtt://127.0.0.1:1"))
        with pytest.raises(MisuseError, match="finite speed"):
            await world.hub.start()

    run(main(), speed=MAX_SPEED)


@at_speed(1.0)
async def test_misuse() -> None:
    settings = MqttSettings.parse("mqtt://127.0.0.1:1")
    with pytest.raises(MisuseError):
        MqttLink(settings, "a b", random.Random(1))
    link = MqttLink(settings, "a", random.Random(1))
    with pytest.raises(MisuseError, match="listener"):
        await link.connect(Will(topic="t", payload=b""))
    with pytest.raises(MisuseError, match="too long"):
        link.publish("t", bytes(70_000))
    link.publish("t", b"dropped: not up")
    await link.close()
    await link.close()


@pytest.mark.parametrize(
    ("url", "host", "port", "use_tls"),
    [
        ("mqtt://127.0.0.1:1884", "127.0.0.1", 1884, False),
        ("mqtt://broker", "broker", 1883, False),
        ("mqtts://broker/", "broker", 8883, True),
        ("mqtt://[::1]:9", "::1", 9, False),
    ],
)
def test_addresses(url: str, host: str, port: int, use_tls: bool) -> None:
    settings = MqttSettings.parse(url)
    assert (settings.host, settings.port, settings.use_tls) == (host, port, use_tls)


def test_password_is_not_shown() -> None:
    settings = MqttSettings.parse("mqtt://me:s%40cret@h")
    assert (settings.username, settings.password) == ("me", "s@cret")
    assert "cret" not in repr(settings)
    with pytest.raises(InputError) as caught:
        MqttSettings.parse("http://me:secret@h")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mqtt:",
        "mqtt://",
        "127.0.0.1:1883",
        "http://h",
        "mqtt://h:port",
        "mqtt://h:99999",
        "mqtt://h/t",
        "mqtt://[x",
    ],
)
def test_bad_addresses(url: str) -> None:
    with pytest.raises(InputError):
        MqttSettings.parse(url)
    with pytest.raises(InputError, match="mqtts"):
        MqttSettings.parse("mqtt://h", ca=Path("x"))
