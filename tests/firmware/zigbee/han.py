"""A small HAN for the tests of this folder: an air, a coordinator, devices, all in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from smets1.firmware.nvm import MemoryNvm, Nvm
from smets1.firmware.zigbee.node import HanConfig, HanNode
from smets1.hardware.air import Air
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.radio import (
    ApsIndication,
    ApsMessage,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
)

HUB = 0x00DB1234567890A2
INSTALL_KEY = bytes.fromhex("66B6900981E1EE3CA4206B6B861C02BB")


@dataclass
class Ear:
    """A HanListener that remembers."""

    messages: list[ApsIndication] = field(default_factory=list)
    joined: list[JoinedDevice] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    ups: list[NetworkInfo] = field(default_factory=list)
    downs: list[str] = field(default_factory=list)
    keys: list[LinkKey] = field(default_factory=list)

    def on_message(self, indication: ApsIndication) -> None:
        self.messages.append(indication)

    def on_device_joined(self, device: JoinedDevice) -> None:
        self.joined.append(device)

    def on_device_left(self, eui64: int) -> None:
        self.left.append(eui64)

    def on_network_up(self, info: NetworkInfo) -> None:
        self.ups.append(info)

    def on_network_down(self, reason: str) -> None:
        self.downs.append(reason)

    def on_link_key(self, key: LinkKey) -> None:
        self.keys.append(key)


def play(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end at speed max."""
    return run(main, speed=MAX_SPEED)


class Han:
    """Nodes on one air; made inside a running `EmulatorLoop`."""

    def __init__(self, seed: int = 7, channels: tuple[int, ...] = (11, 15)) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.scheduler = loop
        self.seed = seed
        self.channels = channels
        self.air = Air(loop, random.Random(seed))
        self.ears: dict[int, Ear] = {}
        self.whitelist: set[int] | None = None
        self.frames: list[tuple[int, bytes]] = []
        self.air.tap(lambda time_us, psdu, sender, fate: self.frames.append((time_us, psdu)))

    def node(self, eui64: int, role: NodeRole, nvm: Nvm | None = None, **options: Any) -> HanNode:
        options.setdefault("channels", self.channels)
        config = HanConfig(may_join=self._may_join, **options)
        rng = random.Random(self.seed * 1000 + eui64)
        node = HanNode(self.air.radio(eui64), self.scheduler, nvm or MemoryNvm(), rng, role, config)
        self.ears[eui64] = Ear()
        node.attach(self.ears[eui64])
        return node

    def _may_join(self, eui64: int) -> bool:
        return self.whitelist is None or eui64 in self.whitelist

    async def hub(self, **options: Any) -> HanNode:
        hub = self.node(HUB, NodeRole.COORDINATOR, **options)
        await hub.form()
        return hub

    async def joined(
        self,
        hub: HanNode,
        eui64: int,
        role: NodeRole = NodeRole.ROUTER,
        *,
        is_keyed: bool = True,
        **options: Any,
    ) -> HanNode:
        """A device that has joined and, as after CBKE, shares an established key with the hub."""
        node = self.node(eui64, role, **options)
        hub.set_link_key(LinkKey(partner=eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await hub.permit_join(254)
        await node.join(LinkKey(partner=hub.eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await asyncio.sleep(2)
        if is_keyed:
            establish(hub, node)
        return node

    def ear(self, node: HanNode) -> Ear:
        return self.ears[node.eui64]


def establish(one: HanNode, other: HanNode, origin: KeyOrigin = KeyOrigin.ESTABLISHED) -> bytes:
    key = random.Random(one.eui64 ^ other.eui64).randbytes(16)
    one.set_link_key(LinkKey(partner=other.eui64, key=key, origin=origin))
    other.set_link_key(LinkKey(partner=one.eui64, key=key, origin=origin))
    return key


def message(destination: int, payload: bytes = b"hello", **options: Any) -> ApsMessage:
    fields: dict[str, Any] = {
        "destination": destination,
        "destination_endpoint": 1,
        "source_endpoint": 1,
        "cluster_id": 0x0702,
        "profile_id": 0x0109,
        "payload": payload,
    }
    return ApsMessage(**(fields | options))
