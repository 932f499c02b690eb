"""A certificate for each hub, by `smets1 keys` and a real mosquitto, as docs/wan.md writes it.

The broker takes the name in the certificate for the client's, and lets each hub to its own topics only.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.firmware.wan.test_mqtt import METER, Mosquitto, World, at_speed

from smets1.errors import LostError, NoAnswerError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock, parse_utc
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import EmulatorLoop
from smets1.tools.cli import main as smets1

pytestmark = pytest.mark.outsider

ONE, TWO = 0x00DB1234567890A2, 0x00DB1234567891A2
S1SP = 0x90B3D51F30000001
NOW = parse_utc("2024-03-01T12:00:00Z")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    folder = tmp_path / "pki"
    assert smets1(["keys", "make", str(folder)]) == 0
    parties = {"broker": S1SP + 9, "headend": S1SP, f"{ONE:016x}": ONE, f"{TWO:016x}": TWO}
    for name, eui64 in parties.items():
        host = ["--host", "127.0.0.1"] if name == "broker" else []
        arguments = ["keys", "issue", str(folder), "--name", name, "--eui64", format_eui64(eui64), *host]
        assert smets1(arguments) == 0
    return folder


@pytest.fixture
def url(pki: Path, tmp_path: Path) -> Iterator[str]:
    acl = tmp_path / "acl"
    acl.write_text("pattern readwrite hub/%u/#\nuser headend\ntopic readwrite hub/#\n")
    acl.chmod(0o700)
    broker = Mosquitto(
        tmp_path,
        f"cafile {pki}/authority.pem",
        f"certfile {pki}/broker.pem",
        f"keyfile {pki}/broker.key",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {acl}",
    )
    broker.start()
    yield broker.url.replace("mqtt:", "mqtts:")
    broker.kill()


def settings(url: str, pki: Path, name: str) -> MqttSettings:
    return MqttSettings.parse(
        url, ca=pki / "authority.pem", cert=pki / f"{name}.pem", key=pki / f"{name}.key"
    )


def civil() -> CivilClock:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    return CivilClock(loop, NOW - loop.now_us())


def hub_end(link: MqttLink, hub: Eui64, executed: list[Eui64]) -> HubWanEnd:
    async def execute(request: WanRequest) -> WanResponse:
        executed.append(hub)
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE, frame=b"done")

    return HubWanEnd(link, hub, MemoryNvm(), civil(), execute, rng=random.Random(hub))


def ask_for(request_id: str, *, lifetime_s: int = 600) -> WanRequest:
    return WanRequest(
        request_id=request_id,
        expires_utc_us=NOW + lifetime_s * 1_000_000,
        target=METER,
        endpoint=1,
        cluster_id=0x0702,
        frame=b"\x00\x01\x00\x00\x00",
    )


@at_speed(1.0)
async def test_each_hub_has_its_own_topics(url: str, pki: Path) -> None:
    executed: list[Eui64] = []
    head = HeadEndWan(
        MqttLink(settings(url, pki, "headend"), "s1sp", random.Random(1)),
        MemoryNvm(),
        civil(),
        rng=random.Random(2),
        grace_us=0,
    )
    one = hub_end(MqttLink(settings(url, pki, f"{ONE:016x}"), "one", random.Random(3)), ONE, executed)
    await one.start()
    await head.start()
    assert (await head.ask(ONE, ask_for("a"))).frame == b"done"

    # The second hub's name, under the first hub's certificate: it hears nothing, and nobody hears it.
    impostor = hub_end(MqttLink(settings(url, pki, f"{ONE:016x}"), "two", random.Random(4)), TWO, executed)
    try:
        await impostor.start()
    except LostError:
        pass  # a broker may also refuse the subscription
    with pytest.raises(NoAnswerError):
        await head.ask(TWO, ask_for("b", lifetime_s=2))
    assert executed == [ONE]
    await impostor.close()

    two = hub_end(MqttLink(settings(url, pki, f"{TWO:016x}"), "true-two", random.Random(5)), TWO, executed)
    await two.start()
    assert (await head.ask(TWO, ask_for("c"))).frame == b"done"
    assert executed == [ONE, TWO]
    for end in (one, two, head):
        await end.close()


# aiomqtt leaves the socket of a connection that never stood to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@at_speed(100.0)
async def test_another_authoritys_certificate_is_refused(url: str, pki: Path) -> None:
    other = pki.parent / "other"
    assert smets1(["keys", "make", str(other)]) == 0
    name = f"{ONE:016x}"
    arguments = ["keys", "issue", str(other), "--name", name, "--eui64", format_eui64(ONE)]
    assert smets1(arguments) == 0
    stranger = MqttSettings.parse(
        url, ca=pki / "authority.pem", cert=other / f"{name}.pem", key=other / f"{name}.key"
    )
    with pytest.raises(LostError, match="cannot be reached"):
        await World(stranger).hub.start()
    doubtful = MqttSettings.parse(
        url, ca=other / "authority.pem", cert=pki / f"{name}.pem", key=pki / f"{name}.key"
    )
    with pytest.raises(LostError, match="cannot be reached"):
        await World(doubtful).hub.start()
