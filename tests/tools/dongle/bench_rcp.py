"""A workbench: an air, simulated sticks on it, nodes on the air or on sticks, in virtual or real time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.node import HanConfig, HanNode
from smets1.hardware.air import Air
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.radio import (
    ApsIndication,
    ApsMessage,
    FrameRadio,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    TransmitOutcome,
)
from smets1.hardware.rcp import MemoryCable, RcpRadio
from smets1.tools.dongle import Dongle

HUB = 0x00DB1234567890A2
METER = 0x00DB1234567890A0
STICK = 0x00DB000000000001
CHANNEL = 15
INSTALL_KEY = bytes.fromhex("66B6900981E1EE3CA4206B6B861C02BB")


class Ear:
    """A HanListener that remembers."""

    def __init__(self) -> None:
        self.messages: list[ApsIndication] = []
        self.joined: list[JoinedDevice] = []
        self.arrived = asyncio.Event()

    def on_message(self, indication: ApsIndication) -> None:
        self.messages.append(indication)
        self.arrived.set()

    def on_device_joined(self, device: JoinedDevice) -> None:
        self.joined.append(device)

    def on_device_left(self, eui64: int) -> None: ...
    def on_network_up(self, info: NetworkInfo) -> None: ...
    def on_network_down(self, reason: str) -> None: ...
    def on_link_key(self, key: LinkKey) -> None: ...


class RadioEar:
    """A RadioListener that remembers."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.signals: list[tuple[int, int]] = []
        self.outcomes: list[TransmitOutcome] = []
        self.energies: list[tuple[int, int]] = []
        self.told = asyncio.Event()

    async def more(self) -> None:
        """Wait for the next frame or outcome."""
        self.told.clear()
        await self.told.wait()

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        self.frames.append(psdu)
        self.signals.append((lqi, rssi_dbm))
        self.told.set()

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        self.outcomes.append(outcome)
        self.told.set()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self.energies.append((channel, rssi_dbm))


class Bench:
    """Made inside a running `EmulatorLoop`."""

    def __init__(self, seed: int = 7) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.loop = loop
        self.seed = seed
        self.air = Air(loop, random.Random(seed))
        self.cables: list[MemoryCable] = []
        self.dongles: list[Dongle] = []
        self.nodes: list[HanNode] = []
        self.radios: list[RcpRadio] = []
        self.ears: dict[int, Ear] = {}

    async def rcp(self, eui64: int) -> RcpRadio:
        """A radio on a simulated stick of its own."""
        cable = MemoryCable(self.loop)
        dongle = Dongle(self.air, cable.stick, STICK + len(self.dongles))
        await dongle.start()
        self.cables.append(cable)
        self.dongles.append(dongle)
        radio = RcpRadio(cable.host, eui64, self.loop)
        self.radios.append(radio)
        return radio

    def node(self, radio: FrameRadio, role: NodeRole, **options: Any) -> HanNode:
        options.setdefault("channels", (CHANNEL,))
        rng = random.Random(self.seed * 1000 + radio.eui64)
        node = HanNode(radio, self.loop, MemoryNvm(), rng, role, HanConfig(**options))
        self.ears[radio.eui64] = ear = Ear()
        node.attach(ear)
        self.nodes.append(node)
        return node

    async def join(self, hub: HanNode, node: HanNode) -> None:
        hub.set_link_key(LinkKey(partner=node.eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await hub.permit_join(254)
        await node.join(LinkKey(partner=hub.eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        key = LinkKey(partner=node.eui64, key=bytes(range(16)), origin=KeyOrigin.ESTABLISHED)
        hub.set_link_key(key)
        node.set_link_key(LinkKey(partner=hub.eui64, key=key.key, origin=key.origin))

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()
        for radio in self.radios:
            radio.close()
        for dongle in self.dongles:
            await dongle.close()


class _Closed(Protocol):
    async def close(self) -> None: ...


_B = TypeVar("_B", bound=_Closed)


def play(make: Callable[[], _B], scene: Callable[[_B], Awaitable[None]]) -> None:
    """Run a scene on a bench of its own to its end at speed max, and close what it opened."""

    async def main() -> None:
        bench = make()
        try:
            await scene(bench)
        finally:
            await bench.close()

    run(main(), speed=MAX_SPEED)


def message(destination: int, payload: bytes) -> ApsMessage:
    return ApsMessage(
        destination=destination,
        destination_endpoint=1,
        source_endpoint=1,
        cluster_id=0x0702,
        profile_id=0x0109,
        payload=payload,
    )
