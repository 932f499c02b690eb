"""A device on two airs at once: the simulated one, and another that only its stick is on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from bench_rcp import CHANNEL, HUB, METER, STICK, Bench, RadioEar, message, play

from smets1.errors import MisuseError
from smets1.hardware.air import Air
from smets1.hardware.clock import EmulatorLoop, run
from smets1.hardware.radio import COORDINATOR, KeyOrigin, NodeRole, TransmitOutcome
from smets1.hardware.rcp import BridgeRadio, MemoryCable, RcpRadio
from smets1.tools.dongle import Dongle
from smets1.tools.home import open_home
from smets1.tools.home_config import RadioKind
from smets1.tools.home_file import parse_radio
from smets1.tools.script.transcript import read_transcript

NEAR, FAR = METER, METER + 1
ACKED_DATA = 0x8861


class TwoAirs(Bench):
    """`air` is the simulated one; `real` stands for the world."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Air(self.loop, random.Random(8))
        self.cable = MemoryCable(self.loop)

    async def bridge(self, eui64: int) -> BridgeRadio:
        dongle = Dongle(self.real, self.cable.stick, STICK)
        await dongle.start()
        self.dongles.append(dongle)
        stick = RcpRadio(self.cable.host, eui64, self.loop)
        self.radios.append(stick)
        return BridgeRadio(self.air.radio(eui64), stick)


@pytest.mark.parametrize("role", [NodeRole.ROUTER, NodeRole.SLEEPY_END_DEVICE])
def test_one_network_on_both_airs(role: NodeRole) -> None:
    """The hub forms it; a device on each air joins and they talk to each other by way of the hub."""

    async def scene(bench: TwoAirs) -> None:
        hub = bench.node(await bench.bridge(HUB), NodeRole.COORDINATOR)
        near = bench.node(bench.air.radio(NEAR), NodeRole.ROUTER)
        far = bench.node(bench.real.radio(FAR), role, poll_interval_us=300_000)
        await asyncio.sleep(1)
        await hub.form()
        await bench.join(hub, near)
        await bench.join(hub, far)
        await asyncio.sleep(20)
        assert near.network is not None
        assert far.network is not None
        assert near.network.pan_id == far.network.pan_id
        assert far.network.parent_short == COORDINATOR
        await near.send(message(COORDINATOR, b"near up"))
        await far.send(message(COORDINATOR, b"far up"))
        assert [each.payload for each in bench.ears[HUB].messages] == [b"near up", b"far up"]
        for target, node in ((NEAR, near), (FAR, far)):
            short = await hub.find_short(target)
            await hub.send(message(short, b"down" * 40))
            assert bench.ears[node.eui64].messages[-1].payload == b"down" * 40
        key = await near.request_partner_key(FAR)
        assert key.origin is KeyOrigin.PARTNER
        await near.send(message(await near.find_short(FAR), b"across"))
        assert bench.ears[FAR].messages[-1].payload == b"across"

    play(TwoAirs, scene)


def test_without_its_stick_the_air_goes_on() -> None:
    async def scene(bench: TwoAirs) -> None:
        hub = bench.node(await bench.bridge(HUB), NodeRole.COORDINATOR)
        near = bench.node(bench.air.radio(NEAR), NodeRole.ROUTER)
        far = bench.node(bench.real.radio(FAR), NodeRole.ROUTER)
        await asyncio.sleep(1)
        await hub.form()
        await bench.join(hub, near)
        await bench.join(hub, far)
        bench.cable.unplug()
        await near.send(message(COORDINATOR, b"alone"))
        await asyncio.sleep(5)
        bench.cable.plug()
        await asyncio.sleep(5)
        await far.send(message(COORDINATOR, b"again"))
        assert [each.payload for each in bench.ears[HUB].messages] == [b"alone", b"again"]

    play(TwoAirs, scene)


def test_who_was_heard_on_one_side_is_spoken_to_there() -> None:
    async def scene(bench: TwoAirs) -> None:
        radio = await bench.bridge(HUB)
        ear = RadioEar()
        radio.attach(ear)
        radio.set_channel(CHANNEL)
        radio.set_pan(0x1A62, 0, coordinator=True)
        await asyncio.sleep(1)
        sent: dict[str, list[bytes]] = {"near": [], "far": []}
        bench.air.tap(lambda start_us, psdu, *_: sent["near"].append(psdu))
        bench.real.tap(lambda start_us, psdu, *_: sent["far"].append(psdu))
        far_ear = RadioEar()
        far = bench.real.radio(FAR)
        far.attach(far_ear)
        far.set_channel(CHANNEL)
        far.set_pan(0x1A62, 5, coordinator=False)

        def frame(destination: int, source: int, number: int) -> bytes:
            addresses = b"".join(value.to_bytes(2, "little") for value in (0x1A62, destination, source))
            return ACKED_DATA.to_bytes(2, "little") + bytes((number,)) + addresses + b"hello"

        radio.transmit(frame(5, 0, 1))
        with pytest.raises(MisuseError):
            radio.transmit(frame(5, 0, 2))
        await asyncio.sleep(0.2)
        assert ear.outcomes == [TransmitOutcome.ACKED], "one side is enough"
        assert sent["near"]
        assert sent["far"]
        far.transmit(frame(0, 5, 3))
        await asyncio.sleep(0.2)
        assert ear.frames == [frame(0, 5, 3)]
        assert far_ear.outcomes == [TransmitOutcome.ACKED]
        sent["near"].clear()
        radio.transmit(frame(5, 0, 4))
        await asyncio.sleep(0.2)
        assert ear.outcomes == [TransmitOutcome.ACKED] * 2
        assert sent["near"] == []
        radio.scan_energy(CHANNEL, 10_000)
        await asyncio.sleep(0.5)
        assert [channel for channel, _ in ear.energies] == [CHANNEL]
        radio.close()

    play(TwoAirs, scene)


def test_a_home_with_a_display_on_real_radio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub bridges; meters are simulated; the display runs elsewhere, in another home file, on the other air."""
    assert parse_radio("air+rcp:/dev/ttyACM0").kind is RadioKind.BRIDGE
    home_toml = """
seed = 7
[[device]]
role = "esme"
[[device]]
role = "chf"
radio = "air+rcp:/dev/ttyACM0"
[[device]]
role = "gpf"
[[device]]
role = "ihd"
runs_here = false
"""
    display_toml = """
seed = 7
[headend]
runs_here = false
[[device]]
role = "esme"
runs_here = false
[[device]]
role = "chf"
runs_here = false
[[device]]
role = "gpf"
runs_here = false
[[device]]
role = "ihd"
"""

    path = tmp_path / "home.pcapng"

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        cable = MemoryCable(loop)
        monkeypatch.setattr("smets1.tools.home_radios.open_pipe", lambda port, *baud: cable.host)
        display = await open_home(toml=display_toml, waits=False)
        dongle = Dongle(display.air, cable.stick, STICK)
        await dongle.start()
        home = await open_home(toml=home_toml, capture=path)
        await display.joined(300)
        await asyncio.sleep(20)
        assert "connected" in display.ihd.screen["home"][0]
        assert home.device(display.ihd.eui64) is None
        keys.extend(home.keys.lines())
        await display.close()
        await home.close()
        await dongle.close()

    keys: list[str] = []
    run(scene(), speed=20)
    names = {0x00DB1234567890A0: "esme", 0x00DB1234567890A2: "chf", 0x00DB1234567890A5: "ihd"}
    commands = read_transcript(path.read_bytes(), keys, names)
    assert {"esme", "chf", "ihd"} <= {each.sender for each in commands}, "of both sides, in one capture"
