"""Devices of ours for foreign coordinators, which have no key establishment."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

from bench_rcp import CHANNEL, METER

from smets1.devices.ihd import Ihd
from smets1.firmware.civil import CivilClock
from smets1.firmware.crypto.cbke import CbkeSuite, TestCa
from smets1.firmware.device import Board
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.application import SE_PROFILE, ZclApplication
from smets1.firmware.zcl.server import ClusterInstance
from smets1.firmware.zigbee.node import HanConfig, HanNode
from smets1.hardware.air import Air
from smets1.hardware.clock import EmulatorLoop
from smets1.hardware.radio import (
    ApsIndication,
    ApsMessage,
    ApsSecurity,
    HanPort,
    JoinedDevice,
    LinkKey,
    NetworkInfo,
    NodeRole,
    SimpleDescriptor,
)
from smets1.tools.home_config import DeviceConfig, Role
from smets1.tools.home_file import parse_home
from smets1.tools.home_parts import factory

READING_WH = 1_234_567


class PlainMeter:
    """A node and a ZCL application without the shell of our devices, since that insists on CBKE."""

    def __init__(
        self, node: HanNode, loop: EmulatorLoop, *, is_lenient: bool, profile_id: int = SE_PROFILE
    ) -> None:
        self.node = node
        self.is_lenient = is_lenient
        self.app = ZclApplication(han=self, post=self.post, scheduler=loop)
        self.app.core.add_server(1, "basic").update(zcl_version=3, model_identifier="PlainMeter")
        self.metering: ClusterInstance = self.app.core.add_server(1, "metering")
        self.metering.update(current_summation_delivered=READING_WH)
        self.tasks: set[asyncio.Task[None]] = set()
        node.set_endpoints(
            (
                SimpleDescriptor(
                    endpoint=1, profile_id=profile_id, device_id=0x0501, input_clusters=(0x0000, 0x0702)
                ),
            )
        )
        node.attach(self)

    async def send(self, message: ApsMessage) -> None:
        """There is no link key to secure anything with."""
        await self.node.send(replace(message, is_secured=False))

    def post(self, message: ApsMessage) -> None:
        task = asyncio.get_running_loop().create_task(self.send(message))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_message(self, indication: ApsIndication) -> None:
        if self.is_lenient and indication.security is ApsSecurity.NETWORK_KEY:
            indication = replace(indication, security=ApsSecurity.LINK_KEY)
        self.app.on_message(indication)

    def on_device_joined(self, device: JoinedDevice) -> None: ...
    def on_device_left(self, eui64: int) -> None: ...
    def on_network_up(self, info: NetworkInfo) -> None: ...
    def on_network_down(self, reason: str) -> None: ...
    def on_link_key(self, key: LinkKey) -> None: ...


def make_router(air: Air, loop: EmulatorLoop) -> HanNode:
    """A node for such a meter."""
    config = HanConfig(channels=(CHANNEL,))
    return HanNode(air.radio(METER), loop, MemoryNvm(), random.Random(8), NodeRole.ROUTER, config)


def make_ihd(air: Air, loop: EmulatorLoop) -> Ihd:
    """The reference home's IHD, switched off, with a memory of its own."""
    nvm = MemoryNvm()
    config = HanConfig(channels=(CHANNEL,))
    radio = air.radio(ihd_config().eui64)
    return ihd_on(HanNode(radio, loop, nvm, random.Random(4), NodeRole.END_DEVICE, config), nvm, loop)


def ihd_config() -> DeviceConfig:
    return next(each for each in parse_home("", Path("home.toml")).devices if each.role is Role.IHD)


def ihd_on(node: HanPort, nvm: MemoryNvm, loop: EmulatorLoop) -> Ihd:
    """That IHD on any radio."""
    config, device = parse_home("", Path("home.toml")), ihd_config()
    board = Board(
        port=node,
        scheduler=loop,
        civil=CivilClock(loop, 1_700_000_000_000_000 - loop.now_us()),
        nvm=nvm,
        rng=random.Random(5),
    )
    identity = factory(config, device, TestCa(CbkeSuite.SUITE_1, random.Random(3)))
    return Ihd(identity, board, esme=None, has_gas=False)
