"""Key establishment on a live device: `KeyEstablishment` joined to a `ZclApplication`.

    service = KeyEstablishmentService(app, engine, scheduler, endpoint=1, on_established=store_key)
    key = await service.establish(0x0000, 1, peer_eui64=hub)

The service owns the Key Establishment cluster of the endpoint, both sides of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from smets1.errors import ClosedError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.crypto.cbke import CbkeSuite
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.clusters.key_establishment import KEY_ESTABLISHMENT, TerminateStatus
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.key_establishment import (
    KeyEstablished,
    KeyEstablishment,
    KeyEstablishmentEvent,
    KeyMessage,
)
from smets1.firmware.zcl.server import LATER, Answer, ClusterInstance, CommandContext, Reply
from smets1.firmware.zcl.status import Side
from smets1.hardware.clock import Scheduler, Timer

__all__ = ["KeyEstablishmentService"]


class KeyEstablishmentService:
    """Shell of the state machine: commands in, messages out, one timer.

    `find_eui64(short address)`: whose certificate a sender must show, if the network knows; None: any.
    `on_event`: each outcome, of sessions that others began too; before `establish` returns.
    """

    def __init__(
        self,
        app: ZclApplication,
        engine: KeyEstablishment,
        scheduler: Scheduler,
        *,
        endpoint: int = 1,
        find_eui64: Callable[[int], Eui64 | None] = lambda short_address: None,
        on_event: Callable[[KeyEstablishmentEvent], None] | None = None,
    ) -> None:
        self._app = app
        self._engine = engine
        self._scheduler = scheduler
        self._endpoint = endpoint
        self._find_eui64 = find_eui64
        self._on_event = on_event
        self._peer_endpoints: dict[int, int] = {}  # by short address
        self._waiting: dict[int, asyncio.Future[KeyEstablished]] = {}
        self._timer: Timer | None = None
        core = app.core
        for instance in (
            core.add_server(endpoint, KEY_ESTABLISHMENT),
            core.add_client(endpoint, KEY_ESTABLISHMENT),
        ):
            instance.set("key_establishment_suite", engine.suites)
            self._listen(instance)

    async def establish(
        self,
        destination: int,
        destination_endpoint: int,
        *,
        suite: CbkeSuite = CbkeSuite.SUITE_1,
        peer_eui64: Eui64 | None = None,
    ) -> KeyEstablished:
        """Establish a key as initiator. One attempt; how long to wait after a failure is the caller's.

        Raises RefusedError with a TerminateStatus, NoAnswerError.
        """
        future: asyncio.Future[KeyEstablished] = asyncio.get_running_loop().create_future()
        self._waiting[destination] = future
        self._peer_endpoints[destination] = destination_endpoint
        now_us = self._scheduler.now_us()
        self._engine.start(destination, suite=suite, peer_eui64=peer_eui64, now_us=now_us)
        self._drain(None)
        try:
            return await future
        finally:
            if self._waiting.get(destination) is future:
                del self._waiting[destination]

    def forget(self, short_address: int) -> None:
        """The device has left: drop what is under way with it."""
        self._engine.forget(short_address)
        self._fail(short_address, ClosedError("the device has left"))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for short_address in list(self._waiting):
            self._fail(short_address, ClosedError("the device was closed"))

    # --- commands ---------------------------------------------------------------------------------------

    def _listen(self, instance: ClusterInstance) -> None:
        for command in instance.cluster.commands:
            if command.sender is not instance.side:
                instance.handle(command.name, partial(self._on_command, command.name))

    def _on_command(self, name: str, values: Values, context: CommandContext) -> Answer:
        if context.source is None:
            return None  # keys are established over the HAN only
        peer = context.source
        sender = Side.CLIENT if context.side is Side.SERVER else Side.SERVER
        if sender is Side.CLIENT:
            self._peer_endpoints[peer] = context.source_endpoint
        self._engine.receive(
            peer,
            sender,
            name,
            values,
            peer_eui64=self._find_eui64(peer),
            now_us=self._scheduler.now_us(),
        )
        return self._drain(context)

    def _drain(self, context: CommandContext | None) -> Answer:
        """Send what the machine wants sent; what answers the command in hand goes back as its answer."""
        answer: Answer = None if context is None or context.side is Side.CLIENT else LATER
        for message in self._engine.take_messages():
            is_answer = context is not None and message.peer == context.source
            if is_answer and answer is LATER and message.sender is Side.SERVER:
                answer = Reply(message.command, message.values)
            else:
                self._post(message)
        for event in self._engine.take_events():
            self._tell(event)
        self._arm()
        return None if answer is LATER else answer

    def _post(self, message: KeyMessage) -> None:
        self._app.command(
            message.peer,
            self._peer_endpoints.get(message.peer, self._endpoint),
            KEY_ESTABLISHMENT,
            message.command,
            source_endpoint=self._endpoint,
            sender=message.sender,
            **message.values,
        )

    def _tell(self, event: KeyEstablishmentEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
        if not event.is_initiator:
            return
        if isinstance(event, KeyEstablished):
            future = self._waiting.get(event.peer)
            if future is not None and not future.done():
                future.set_result(event)
        elif event.status is None:
            self._fail(event.peer, NoAnswerError("key establishment"))
        else:
            known = event.status in TerminateStatus.__members__.values()
            name = TerminateStatus(event.status).name if known else f"0x{event.status:02X}"
            self._fail(event.peer, RefusedError(event.status, f"key establishment terminated: {name}"))

    def _fail(self, short_address: int, error: Exception) -> None:
        future = self._waiting.get(short_address)
        if future is not None and not future.done():
            future.set_exception(error)

    # --- timer ------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due_us = self._engine.next_timer_us()
        self._timer = None if due_us is None else self._scheduler.call_at_us(due_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._engine.on_timer(now_us=self._scheduler.now_us())
        self._drain(None)
