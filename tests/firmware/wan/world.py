"""A hub, a head end and a broker in memory, in virtual time, each of which may lose its power.

The device is a counter in NVM; its own commit is the effect. It is either in the hub's store (effect and answer
in one commit) or idempotent by itself, as a meter with a SUA counter is.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from smets1.errors import LostError
from smets1.firmware.civil import CivilClock, parse_utc
from smets1.firmware.nvm import MemoryNvm, NvmView
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.hub_end import Execute, HubWanEnd
from smets1.firmware.wan.memory import Fault, MemoryBroker, MemoryLink, Transfer
from smets1.firmware.wan.messages import (
    HubStatus,
    WanEvent,
    WanRequest,
    WanResponse,
    WanStatus,
)
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run

HUB = 0x00DB1234567890A2
METER = 0x00DB1234567890A0
GAS = 0x00DB1234567890A1
EPOCH_UTC_US = parse_utc("2024-01-01T00:00:00Z")
HOUR_US = 3_600_000_000


class World:
    """A broker, a hub with a counting device, a head end; each end may lose its power and start again."""

    def __init__(self, fault: Callable[[Transfer], Fault] | None = None) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.civil = CivilClock(loop, EPOCH_UTC_US)
        self.broker = MemoryBroker(loop, fault=fault)
        self.hub_nvm = MemoryNvm()
        self.head_nvm = MemoryNvm()
        self.events: list[WanEvent] = []
        self.statuses: list[HubStatus] = []
        self.executed: list[str] = []
        self.execute: Execute = self.count
        self.hub: HubWanEnd
        self.head: HeadEndWan

    def request(
        self, request_id: str, *, target: int = METER, frame: bytes = b"", ttl_us: int = HOUR_US
    ) -> WanRequest:
        return WanRequest(
            request_id=request_id,
            expires_utc_us=self.civil.utc_us() + ttl_us,
            target=target,
            endpoint=1,
            cluster_id=0x0702,
            frame=frame,
        )

    async def count(self, request: WanRequest) -> WanResponse:
        """The device: leaves its effect uncommitted, so that the answer's commit carries both."""
        await asyncio.sleep(0.5)
        self.executed.append(request.request_id)
        value = int(self.hub_nvm.get("count") or b"0") + 1
        self.hub_nvm.put("count", str(value).encode())
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE, frame=request.frame)

    @property
    def effect_count(self) -> int:
        return int(self.hub_nvm.get("count") or b"0")

    async def start_hub(self) -> None:
        link = self.broker.link(f"hub-{HUB:016x}", random.Random(1))

        async def execute(request: WanRequest) -> WanResponse:
            return await self.execute(request)

        self.hub = HubWanEnd(
            link,
            HUB,
            NvmView(self.hub_nvm, "wan/"),
            self.civil,
            execute,
            rng=random.Random(2),
            on_lost=ignore_lost,
        )
        await self.hub.start()

    async def start_head(self) -> None:
        self.head = HeadEndWan(
            self.broker.link("head-end", random.Random(3)),
            self.head_nvm,
            self.civil,
            rng=random.Random(4),
            on_event=lambda hub, event: self.events.append(event),
            on_status=lambda hub, status: self.statuses.append(status),
            on_lost=ignore_lost,
        )
        await self.head.start()

    async def start(self) -> None:
        await self.start_hub()
        await self.start_head()

    async def kill_hub(self, *, cut_at_commit: int | None = None, is_written: bool = False) -> None:
        """Power off between two instructions; NVM keeps what was committed."""
        self.hub_nvm.cut_power()
        _cut_power(self.hub.link)
        await self.hub.close()
        self.hub_nvm = self.hub_nvm.after_power_cut(cut_at_commit=cut_at_commit, is_written=is_written)

    async def kill_head(self) -> None:
        self.head_nvm.cut_power()
        _cut_power(self.head.link)
        await self.head.close()
        self.head_nvm = self.head_nvm.after_power_cut()

    async def close(self) -> None:
        await self.hub.close()
        await self.head.close()


def ignore_lost(_: LostError) -> None:
    """An end that lost its NVM: these tests start it again."""


def _cut_power(link: object) -> None:
    assert isinstance(link, MemoryLink)
    link.cut_power()


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test coroutine in virtual time."""

    @functools.wraps(test)
    def wrapped(**fixtures: Any) -> None:
        run(test(**fixtures), speed=MAX_SPEED)

    return wrapped
