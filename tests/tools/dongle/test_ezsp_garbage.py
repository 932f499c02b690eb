"""Garbage on the serial line of an EZSP stick, into either end: nobody falls over, and a reset finds all well."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest
from bench_ezsp import EzspBench
from bench_rcp import CHANNEL, HUB, STICK, message, play

from smets1.errors import EmulatorError
from smets1.firmware.nvm import MemoryNvm
from smets1.hardware.air import Air
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.ezsp import AshLink, AshReset, AshRole, AshUp, EzspFrame, commands
from smets1.hardware.ezsp.ash import AshFrame, AshType
from smets1.hardware.radio import COORDINATOR
from smets1.hardware.rcp import MemoryCable
from smets1.tools.dongle import EzspDongle, EzspStick

pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")

QUICK: Final = 20_000
sizes = pytest.mark.parametrize(
    "octet_count", [QUICK, pytest.param(1_000_000, marks=pytest.mark.slow, id="million")]
)
versions = pytest.mark.parametrize("version", [13, 14])


def command(rng: random.Random, version: int) -> bytes:
    """An EZSP command of the table, or of none, with parameters that are random and may be too few."""
    known = commands(version)
    frame_id = rng.choice(list(known.values())).frame_id if rng.random() < 0.95 else rng.randrange(1 << 16)
    parameters = rng.randbytes(rng.choice((0, 1, 2, 3, 4, 8, 10, 20, 40, 60, 100)))
    return EzspFrame(sequence=rng.randrange(256), frame_id=frame_id, parameters=parameters).encode()


def line_octets(rng: random.Random, frame: bytes) -> bytes:
    """Noise, a frame with a true checksum and anything in it, or a real one with a wrong bit."""
    kind = rng.random()
    if kind < 0.3:
        return rng.randbytes(rng.randrange(1, 80))
    if kind < 0.31:  # rarely: each costs a reset
        ending = rng.choice((AshType.ERROR, AshType.RSTACK))
        return AshFrame(kind=ending, data=bytes((2, rng.randrange(256)))).encode()
    octets = AshFrame(
        kind=rng.choice((AshType.DATA, AshType.ACK, AshType.NAK, AshType.DATA)),
        frame_number=rng.randrange(8),
        ack_number=rng.randrange(8),
        is_repeat=rng.random() < 0.5,
        data=frame if kind < 0.8 else frame[: rng.randrange(3, 5)],
    ).encode()
    if kind > 0.9:
        at = rng.randrange(len(octets))
        octets = octets[:at] + bytes((octets[at] ^ 1 << rng.randrange(8),)) + octets[at + 1 :]
    return octets


@sizes
def test_into_the_stick(octet_count: int) -> None:
    rng = random.Random(octet_count)
    stick = EzspStick(STICK, MemoryNvm(), random.Random(1), version=13)
    fed, now_us = 0, 0
    while fed < octet_count:
        octets = line_octets(rng, command(rng, 13))
        fed += len(octets)
        now_us += 1_000
        stick.receive(octets, now_us=now_us)
        stick.take_octets()
        stick.take_orders()
    host = AshLink(AshRole.HOST)
    stick.receive(b"\x7e", now_us=now_us)
    stick.take_octets()
    host.reset(now_us=now_us)
    stick.receive(host.take_octets(), now_us=now_us)
    host.receive(stick.take_octets(), now_us=now_us)
    assert any(isinstance(event, AshUp) for event in host.take_events())


@versions
@sizes
def test_commands_of_random_parameters(version: int, octet_count: int) -> None:
    """Over a sound line, so that all of them are obeyed: form, join, leave, scan, send, whatever they say."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        cable = MemoryCable(loop)
        air = Air(loop, random.Random(7))
        dongle = EzspDongle(air, cable.stick, STICK, random.Random(2), version=version)
        await dongle.start()
        host = Host(cable, loop)
        await cable.host.open(host)
        rng = random.Random(octet_count)
        fed = resets = 0
        while fed < octet_count:
            await host.reset()
            resets += 1
            for _ in range(60):
                frame = command(rng, version)
                fed += len(frame)
                host.submit(frame)
                await asyncio.sleep(0.005)
        await host.reset()
        assert host.answers > octet_count / 200
        await dongle.close()

    run(scene(), speed=MAX_SPEED)


class Host:
    """The least that an ASH host is."""

    def __init__(self, cable: MemoryCable, loop: EmulatorLoop) -> None:
        self.link = AshLink(AshRole.HOST)
        self.cable, self.loop = cable, loop
        self.up = asyncio.Event()
        self.answers = 0

    async def reset(self) -> None:
        """To a stick that obeys: connected, and a version agreed on."""
        self.up.clear()
        self.link.reset(now_us=self.loop.now_us())
        self._flush()
        async with asyncio.timeout(5):
            await self.up.wait()
        self.submit(bytes((0, 0, 0, 13)))

    def submit(self, frame: bytes) -> None:
        try:
            self.link.submit(frame, now_us=self.loop.now_us())
        except EmulatorError:
            return  # the stick has given up: the next reset mends it
        self._flush()

    def on_octets(self, octets: bytes) -> None:
        self.link.receive(octets, now_us=self.loop.now_us())
        for event in self.link.take_events():
            if isinstance(event, AshUp):
                self.up.set()
            elif not isinstance(event, AshReset):
                self.answers += 1
        self._flush()

    def on_lost(self, reason: str) -> None: ...

    def _flush(self) -> None:
        octets = self.link.take_octets()
        if octets:
            self.cable.host.write(octets)


@versions
@sizes
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_into_bellows_and_our_driver(version: int, octet_count: int) -> None:
    """The stick is given up and opened again as often as it takes; then it is on its network, with its keys."""

    async def scene(bench: EzspBench) -> None:
        _, node = await bench.pair()
        rng = random.Random(octet_count)
        fed = 0
        while fed < octet_count:
            if not node._is_open:  # given up, and not back yet
                await asyncio.sleep(0.5)
                continue
            octets = line_octets(rng, command(rng, version))
            fed += len(octets)
            node._line.on_octets(octets)
            if rng.random() < 0.1:
                await asyncio.sleep(0.2)
        assert node.lost_count > 0
        await asyncio.sleep(60)
        assert node.network is not None
        assert node.network.channel == CHANNEL
        await node.send(message(COORDINATOR, b"still here"))
        await asyncio.sleep(1)
        assert bench.ears[HUB].messages[-1].payload == b"still here"

    play(lambda: EzspBench(version=version), scene)
