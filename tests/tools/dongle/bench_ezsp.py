"""A workbench: an air, simulated EZSP sticks on it, our `EzspRadio` on them through the real bellows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from bench_rcp import CHANNEL, HUB, INSTALL_KEY, METER, Ear

from smets1.firmware.nvm import MemoryNvm
from smets1.hardware.air import Air
from smets1.hardware.clock import EmulatorLoop
from smets1.hardware.ezsp.modem import ModemConfig
from smets1.hardware.ezsp.radio import EzspRadio
from smets1.hardware.radio import KeyOrigin, LinkKey, NodeRole
from smets1.hardware.rcp import MemoryCable
from smets1.tools.dongle import EzspDongle


class EzspBench:
    """Made inside a running `EmulatorLoop`."""

    def __init__(self, seed: int = 7, version: int = 13) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.loop = loop
        self.version = version
        self.rng = random.Random(seed)
        self.air = Air(loop, random.Random(seed))
        self.cables: dict[int, MemoryCable] = {}
        self.dongles: dict[int, EzspDongle] = {}
        self.ears: dict[int, Ear] = {}
        self.radios: list[EzspRadio] = []

    async def node(
        self,
        eui64: int,
        role: NodeRole,
        *,
        is_stick_of: int | None = None,
        key_limit: int = 127,
        **options: Any,
    ) -> EzspRadio:
        """Powered up, on a stick of its own; `key_limit`: how large a key table it has memory for."""
        cable = self.cables[eui64] = MemoryCable(self.loop)
        stick = eui64 if is_stick_of is None else is_stick_of
        rng = random.Random(self.rng.getrandbits(64))
        dongle = EzspDongle(self.air, cable.stick, stick, rng, version=self.version)
        dongle.stick.key_limit = key_limit
        self.dongles[eui64] = dongle
        await dongle.start()
        options.setdefault("channels", (CHANNEL,))
        radio = EzspRadio(
            cable.host,
            eui64,
            self.loop,
            MemoryNvm(),
            role,
            ModemConfig(**options),
            rng=random.Random(self.rng.getrandbits(64)),
        )
        self.ears[eui64] = ear = Ear()
        radio.attach(ear)
        self.radios.append(radio)
        await radio.start()
        return radio

    async def pair(self, **options: Any) -> tuple[EzspRadio, EzspRadio]:
        """A hub and a meter, a router, that has joined it."""
        hub = await self.node(HUB, NodeRole.COORDINATOR, **options)
        await hub.form()
        node = await self.node(METER, NodeRole.ROUTER, **options)
        await self.join(hub, node)
        return hub, node

    async def join(self, hub: EzspRadio, node: EzspRadio) -> None:
        """By install code; then both ends have what key establishment would have given them."""
        hub.set_link_key(LinkKey(partner=node.eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await hub.permit_join(254)
        await node.join(LinkKey(partner=hub.eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        key = bytes(self.rng.randbytes(16))
        hub.set_link_key(LinkKey(partner=node.eui64, key=key, origin=KeyOrigin.ESTABLISHED))
        node.set_link_key(LinkKey(partner=hub.eui64, key=key, origin=KeyOrigin.ESTABLISHED))
        await asyncio.sleep(1)

    async def close(self) -> None:
        for radio in self.radios:
            await radio.close()
        for dongle in self.dongles.values():
            await dongle.close()
