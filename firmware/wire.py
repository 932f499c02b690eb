"""The ribbon between a Secure hub and the electricity meter it sits on.

In the Secure set the hub is plugged into the ESME: what the head end asks of the ESME does not
cross the HAN. The frames are the same ZCL frames as on the air; what carries them inside the real
product is not public, so here a frame simply arrives `LATENCY_US` later, or not at all while cut. An end may
put its answer off; who asked waits for it as long as the other end has power, ten minutes at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import getLogger
from typing import Final, TypeAlias

from smets1.errors import LostError, NoAnswerError
from smets1.hardware.clock import Scheduler

__all__ = ["LATENCY_US", "Held", "Wire", "WireEnd", "WireHandler"]

_log = getLogger(__name__)

LATENCY_US: Final = 20_000
ANSWER_TIMEOUT_US: Final = 2_000_000

HELD_TIMEOUT_US: Final = 600_000_000

Held: TypeAlias = asyncio.Future[bytes | None]
WireHandler = Callable[[int, int, bytes], bytes | Held | None]
"""(endpoint, cluster id, ZCL frame) -> the answering ZCL frame, or None; or it says: later."""


class Wire:
    """Two ends of one ribbon. `cut` loses what is under way in either direction."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.is_cut = False
        self.hub = WireEnd(self)
        self.meter = WireEnd(self)
        self.hub.peer, self.meter.peer = self.meter, self.hub
        self.taps: list[Callable[[str, int, int, bytes], None]] = []
        """Each frame as (direction, endpoint, cluster id, frame), when it is handed to the ribbon."""

    def tap(self, sender: WireEnd, endpoint: int, cluster_id: int, frame: bytes) -> None:
        direction = "hub>meter" if sender is self.hub else "meter>hub"
        for tap in self.taps:
            tap(direction, endpoint, cluster_id, frame)


class WireEnd:
    """One end; its owner sets `handler` and asks the other end with `exchange`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.peer: WireEnd = self
        self.handler: WireHandler | None = None
        self._held: list[Held] = []  # what this end will answer later

    async def exchange(self, endpoint: int, cluster_id: int, frame: bytes) -> bytes | None:
        """Hand over one ZCL frame and wait for what the other end answers (None: it has no answer).

        Raises NoAnswerError where the ribbon is cut or nobody is powered at the other end.
        """
        scheduler = self._wire.scheduler
        answer = self.tell(endpoint, cluster_id, frame)
        started_us = scheduler.now_us()
        while True:
            done, _ = await asyncio.wait({answer}, timeout=ANSWER_TIMEOUT_US / 1e6)
            if done:
                return answer.result()
            waited_us = scheduler.now_us() - started_us
            is_held = answer in self.peer._held and waited_us < HELD_TIMEOUT_US
            if not is_held or self.peer.handler is None:  # nobody there, or not any more
                answer.cancel()
                self.peer._forget(answer)
                raise NoAnswerError("the meter on the ribbon", 1, waited_us)

    def tell(self, endpoint: int, cluster_id: int, frame: bytes) -> Held:
        """Hand over one frame; its answer may come. Who is losing power does not wait for it."""
        scheduler = self._wire.scheduler
        self._wire.tap(self, endpoint, cluster_id, frame)
        answer: Held = asyncio.get_running_loop().create_future()
        scheduler.call_at_us(
            scheduler.now_us() + LATENCY_US, self.peer._deliver, answer, endpoint, cluster_id, frame
        )
        return answer

    def _deliver(self, answer: Held, endpoint: int, cluster_id: int, frame: bytes) -> None:
        if self._wire.is_cut or self.handler is None:
            return
        try:
            reply = self.handler(endpoint, cluster_id, frame)
        except LostError as error:  # what is not durable is not acknowledged
            _log.error("no answer over the ribbon: %s", error)
            return
        if isinstance(reply, asyncio.Future):
            self._held.append(answer)
            reply.add_done_callback(lambda done: self._answer_held(answer, endpoint, cluster_id, done))
            return
        self._answer(answer, endpoint, cluster_id, reply)

    def _answer_held(self, answer: Held, endpoint: int, cluster_id: int, reply: Held) -> None:
        if not reply.cancelled() and not self._wire.is_cut:
            self._answer(answer, endpoint, cluster_id, reply.result())
        self._forget(answer)

    def _forget(self, answer: asyncio.Future[bytes | None]) -> None:
        if answer in self._held:
            self._held.remove(answer)

    def _answer(self, answer: Held, endpoint: int, cluster_id: int, reply: bytes | None) -> None:
        if reply is not None:
            self._wire.tap(self, endpoint, cluster_id, reply)
        scheduler = self._wire.scheduler
        scheduler.call_at_us(scheduler.now_us() + LATENCY_US, self._settle, answer, reply)

    def _settle(self, answer: Held, reply: bytes | None) -> None:
        if not self._wire.is_cut and not answer.done():
            answer.set_result(reply)
