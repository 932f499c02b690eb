"""Delivery to the gas meter, which sleeps: what waits for it is given to it one by one while it is awake.

Instructions of the head end and of displays stand in one queue (`gpf.py`), 24 h at most. A report of the
meter shows that it is awake; so does its last answer, for a while. Whoever has asked waits for the answer,
or for the word that the meter did not wake in time. A read of the mirror waits for the meter's report on
what was carried out just before (`mirror_lag.py`).

Source: SE 1.2 07-5356-19, D.3.4.3 (mirror).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from smets1.errors import EmulatorError, NoAnswerError, RefusedError
from smets1.firmware.device import ENDPOINT, Device
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.server import LATER, Answer, CommandContext, Via
from smets1.firmware.zcl.status import Status
from smets1.hub.gpf import LONGEST_WAIT_US, GasProxy, WaitingInstruction
from smets1.hub.mirror_lag import MirrorLag

__all__ = ["GasDelivery"]

_ANSWER_US: Final = 10_000_000
_STAYS_US: Final = 2_000_000
"""Having answered, the gas meter listens at least this long (`devices/gsme.py` has 4 s)."""
_EXPIRY_EVERY_S: Final = 60
_MIRROR_LAG_S: Final = 15


class GasDelivery:
    """`ask`: the meter over the HAN, as `ZclApplication.relay` without its destination; its errors too."""

    def __init__(
        self,
        hub: Device,
        gas: GasProxy,
        *,
        ask: Callable[..., Coroutine[Any, Any, bytes]],
        on_not_retrieved: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._gas = gas
        self._ask = ask
        self._on_not_retrieved = on_not_retrieved
        self._is_awake = asyncio.Event()
        self._lag = MirrorLag()
        self._mirror_moved = asyncio.Event()
        self._answered_us = -_STAYS_US

    # --- what is to be delivered --------------------------------------------------------------------------

    async def exchange(self, endpoint: int, cluster_id: int, frame: bytes, *, expires_utc_us: int) -> bytes:
        """The meter's answer to a frame of the head end, when it has woken.

        Raises NoAnswerError (it did not wake in time), RefusedError (too much waits already).
        """
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def settle(frame: bytes | None) -> None:
            if not answer.done():
                answer.set_result(frame)

        waits = self._gas.wait(
            WaitingInstruction(
                endpoint=endpoint,
                cluster_id=cluster_id,
                frame=frame,
                expires_utc_us=min(expires_utc_us, self._latest_utc_us()),
                source_endpoint=ENDPOINT,
                settle=settle,
            )
        )
        if not waits:
            raise RefusedError(Status.INSUFFICIENT_SPACE, "too much waits for the gas meter")
        if self._hub.scheduler.now_us() - self._answered_us < _STAYS_US:
            self._is_awake.set()  # the next of several frames; the meter has not gone back to sleep
        answering = await answer
        if answering is None:
            raise NoAnswerError("the gas meter did not wake in time")
        return answering

    def pass_on(
        self, mirror_endpoint: int, cluster: str, command: str, fields: Values, context: CommandContext
    ) -> Answer:
        """What a person does at a display for gas: waits for the meter like everything else."""
        if context.via is not Via.HAN:
            raise RefusedError(Status.NOT_AUTHORIZED, "the head end commands the meter, not its mirror")
        app = self._hub.app

        def settle(answer: bytes | None) -> None:
            if answer is not None:
                app.send_answer(context, answer)

        waits = self._gas.wait(
            WaitingInstruction(
                endpoint=ENDPOINT,
                cluster_id=context.cluster_id,
                frame=command_frame(cluster_named(cluster), command, dict(fields), sequence=context.sequence),
                expires_utc_us=self._latest_utc_us(),
                source_endpoint=mirror_endpoint,
                settle=settle,
            )
        )
        return LATER if waits else Status.INSUFFICIENT_SPACE

    def _latest_utc_us(self) -> int:
        return self._hub.civil.utc_us() + LONGEST_WAIT_US

    # --- the meter wakes ------------------------------------------------------------------------------------

    def on_report(self, cluster: str) -> None:
        """The meter has reported these attributes to its mirror."""
        self._lag.on_report(cluster)
        self._mirror_moved.set()

    def on_awake(self) -> None:
        """The meter is awake and has been told whether something waits."""
        if self._gas.waiting_count:
            self._is_awake.set()

    async def serve(self) -> None:
        """While the meter is awake, give it what waits. For as long as the hub has power."""
        while True:
            await self._is_awake.wait()
            self._is_awake.clear()
            while (item := self._gas.take()) is not None:
                if not await self._give(item):
                    break

    async def _give(self, item: WaitingInstruction) -> bool:
        """False where the meter does not answer; the instruction then waits on."""
        try:
            answer = await self._ask(
                item.endpoint,
                item.cluster_id,
                item.frame,
                source_endpoint=item.source_endpoint,
                timeout_us=_ANSWER_US,
            )
        except NoAnswerError as error:
            self._hub.log.info("gas meter gone to sleep: %s", error)
            self._gas.put_back(item)
            self.settle_expired()
            return False
        except EmulatorError as error:  # one bad instruction must not end the service of the others
            self._hub.log.warning("gas meter: command on 0x%04X: %s", item.cluster_id, error)
            item.settle(None)
            return True
        self._answered_us = self._hub.scheduler.now_us()
        self._lag.on_answered(item.cluster_id, item.frame)
        item.settle(answer)
        return True

    async def wait_for_mirror(self) -> None:
        """What the gas meter has just done is in its mirror, where it tells of it in time."""
        try:
            async with asyncio.timeout(_MIRROR_LAG_S):
                while self._lag.is_behind:
                    self._mirror_moved.clear()
                    await self._mirror_moved.wait()
        except TimeoutError:
            self._hub.log.info("gas meter: no report since its last command")
            self._lag = MirrorLag()  # the next read does not wait again

    # --- the meter does not wake ----------------------------------------------------------------------------

    async def expire(self) -> None:
        """For as long as the hub has power."""
        while True:
            await asyncio.sleep(_EXPIRY_EVERY_S)
            self.settle_expired()

    def settle_expired(self) -> None:
        for item in self._gas.expire(utc_us=self._hub.civil.utc_us()):
            self._hub.log.warning("gas meter: command on 0x%04X not retrieved", item.cluster_id)
            item.settle(None)
            self._on_not_retrieved()

    def give_up(self) -> None:
        """The mirror goes, and with it what waits."""
        for item in self._gas.remove():
            item.settle(None)
