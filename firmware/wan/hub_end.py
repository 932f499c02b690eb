"""The hub's end of the WAN: executes each request once, keeps answers and events until they are receipted.

A request is executed once, however often it is delivered: its answer is committed to NVM before it is sent,
and a repeat gets the stored answer. Requests for one device run in the order received, those for several run
together.

A power cut between the device's effect and the stored answer: the head end asks again, and the hub, having
no answer, executes again. Where the effect happens in this process's own NVM store (the CHF, the GPF),
`execute` closes the gap: it leaves its records uncommitted, or it calls `record` and commits itself; either
way effect and answer are in one commit. Where the effect happens in another device, that device makes the
repeat harmless: it keeps its answers (Critical Instructions, `execute_once`), or is read or written again.

What is kept: an answer until it is receipted *and* its request has expired for `RETENTION_US` (from expiry on
a repeat would be refused unexecuted), at most `MAX_ANSWERS`, where those receipted make room; events until
receipted, at most `MAX_EVENTS`. With a full store of answers that nobody receipts, new requests are dropped;
the oldest event makes room.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import cbor2

from smets1.errors import DecodeError, LostError, NoAnswerError, RefusedError, SecurityError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm
from smets1.firmware.wan.end import WanEnd
from smets1.firmware.wan.link import WanLink, Will
from smets1.firmware.wan.messages import (
    HubStatus,
    WanEvent,
    WanReceipt,
    WanRequest,
    WanResponse,
    WanStatus,
    WanTopic,
    request_id_of,
    topic,
)
from smets1.firmware.wan.outbox import OutgoingMessage

__all__ = ["Execute", "HubWanEnd"]

Execute = Callable[[WanRequest], Awaitable[WanResponse]]

RETENTION_US: Final = 3_600_000_000
MAX_ANSWERS: Final = 10_000
MAX_EVENTS: Final = 10_000
MAX_WAITING: Final = 1_000
"""Requests not yet executed; more are dropped unread, and the head end asks again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A stored answer. In NVM: CBOR array [order, expires, is_receipted, response octets]."""

    order: int  # counts answers, so that they are sent again in the order given
    expires_utc_us: int
    is_receipted: bool
    response: bytes

    def encode(self) -> bytes:
        return cbor2.dumps([self.order, self.expires_utc_us, self.is_receipted, self.response])


class HubWanEnd(WanEnd):
    """One hub's end. Keys in `nvm`: `boot`, `answer/<request id>`, `event/<event id>`."""

    def __init__(
        self,
        link: WanLink,
        hub_eui64: Eui64,
        nvm: Nvm,
        civil: CivilClock,
        execute: Execute,
        *,
        rng: random.Random,
        on_lost: Callable[[LostError], None] | None = None,
    ) -> None:
        super().__init__(link, nvm, civil, rng=rng, on_lost=on_lost)
        self.hub_eui64 = hub_eui64
        self.boot_count = 0
        self.dropped_count = 0  # requests beyond MAX_WAITING
        self._name = format_eui64(hub_eui64)
        self._execute = execute
        self._answers: dict[str, _Answer] = {}
        self._ends: list[tuple[int, str]] = []  # heap: when a receipted answer may be forgotten
        self._events: dict[str, bytes] = {}
        self._queues: dict[Eui64, deque[WanRequest]] = {}
        self._waiting: set[str] = set()  # ids queued or being executed; membership only
        self._tasks: dict[Eui64, asyncio.Task[None]] = {}
        self._order = 0
        self._event_number = 0

    # --- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load what is owed, count this start, connect.

        Raises LostError (NVM, or the broker is not reachable) or InputError (link settings).
        """
        self._load()
        self.boot_count += 1
        self._nvm.put("boot", self.boot_count.to_bytes(4, "big"))
        self._nvm.commit()
        self._is_open = True
        for kind in (WanTopic.REQUEST, WanTopic.RECEIPT):
            self.link.subscribe(topic(self.hub_eui64, kind))
        will = Will(topic=topic(self.hub_eui64, WanTopic.STATUS), payload=self._status(online=False))
        try:
            await self.link.connect(will)
        except BaseException:
            self._is_open = False
            raise

    async def close(self) -> None:
        """Say offline and stop. What was being executed is not answered; the head end will ask again."""
        if self._is_open and self.link.is_up:
            self.link.publish(topic(self.hub_eui64, WanTopic.STATUS), self._status(online=False), retain=True)
        self._is_open = False
        self._stop_timers()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        await self.link.close()

    def _load(self) -> None:
        now_us = self._scheduler.now_us()
        self.boot_count = int.from_bytes(self._nvm.get("boot") or b"", "big")
        owed: list[tuple[int, OutgoingMessage]] = []
        for key in self._nvm.keys("answer/"):
            request_id = key.removeprefix("answer/")
            order, expires_utc_us, is_receipted, response = _array(self._nvm.get(key), 4)
            answer = _Answer(
                order=order, expires_utc_us=expires_utc_us, is_receipted=is_receipted, response=response
            )
            self._answers[request_id] = answer
            if is_receipted:
                heapq.heappush(self._ends, (expires_utc_us + RETENTION_US, request_id))
            else:
                owed.append((order, self._outgoing(request_id, WanTopic.RESPONSE, response)))
        for key in self._nvm.keys("event/"):
            event_id = key.removeprefix("event/")
            order, payload = _array(self._nvm.get(key), 2)
            self._events[event_id] = payload
            owed.append((order, self._outgoing(event_id, WanTopic.EVENT, payload)))
        owed.sort(key=lambda item: item[0])
        for _, message in owed:
            self._outbox.add(message, now_us=now_us)
        self._order = max((answer.order for answer in self._answers.values()), default=0)
        self._order = max([self._order, *(order for order, _ in owed)])

    # --- towards the head end ----------------------------------------------------------------------

    def report(self, source: Eui64, endpoint: int, cluster_id: int, frame: bytes) -> WanEvent:
        """Make and publish an event for a ZCL frame that a device sent unasked. See `publish_event`."""
        self._event_number += 1
        event = WanEvent(
            event_id=f"{self.hub_eui64:016x}-{self.boot_count}-{self._event_number}",
            source=source,
            endpoint=endpoint,
            cluster_id=cluster_id,
            frame=frame,
            utc_us=self._civil.utc_us(),
        )
        self.publish_event(event)
        return event

    def publish_event(self, event: WanEvent) -> None:
        """Keep the event in NVM until receipted, and send it.

        It is durable after the next commit of `nvm`, which this end makes at the end of the turn; to
        acknowledge it to its source earlier, commit first. Raises LostError.
        """
        self._require_working()
        while len(self._events) >= MAX_EVENTS:
            oldest = next(iter(self._events))
            _log.warning("hub %s: event %s dropped: too many", self._name, oldest)
            self._forget_event(oldest)
        payload = event.encode()
        self._order += 1
        self._events[event.event_id] = payload
        self._nvm.put(f"event/{event.event_id}", cbor2.dumps([self._order, payload]))
        message = self._outgoing(event.event_id, WanTopic.EVENT, payload)
        self._outbox.add(message, now_us=self._scheduler.now_us())
        self._flush_soon()

    def record(self, request: WanRequest, response: WanResponse) -> None:
        """Put the answer of a request into NVM, uncommitted, for `execute` to commit with its own records.

        Only the first answer of a request counts. Raises LostError.
        """
        self._require_working()
        if request.request_id in self._answers:
            return
        response = replace(response, request_id=request.request_id)
        self._order += 1
        answer = _Answer(
            order=self._order,
            expires_utc_us=request.expires_utc_us,
            is_receipted=False,
            response=response.encode(),
        )
        self._put_answer(request.request_id, answer)
        message = self._outgoing(request.request_id, WanTopic.RESPONSE, answer.response)
        self._outbox.add(message, now_us=self._scheduler.now_us())
        self._flush_soon()

    def _greet(self) -> None:
        self.link.publish(topic(self.hub_eui64, WanTopic.STATUS), self._status(online=True), retain=True)

    def _status(self, *, online: bool) -> bytes:
        return HubStatus(online=online, boot_count=self.boot_count, utc_us=self._civil.utc_us()).encode()

    def _outgoing(self, message_id: str, kind: WanTopic, payload: bytes) -> OutgoingMessage:
        # Answers and events share one outbox; a head end may have chosen an id that is also an event's.
        return OutgoingMessage(
            message_id=f"{kind.name}/{message_id}", topic=topic(self.hub_eui64, kind), payload=payload
        )

    # --- from the head end -------------------------------------------------------------------------

    def _receive(self, hub: Eui64, kind: WanTopic, payload: bytes) -> None:
        if hub != self.hub_eui64:
            raise DecodeError("WAN topic", 4, "another hub's")
        if kind == WanTopic.REQUEST:
            self._on_request(payload)
        elif kind == WanTopic.RECEIPT:
            self._on_receipt(WanReceipt.decode(payload))

    def _on_request(self, payload: bytes) -> None:
        try:
            request = WanRequest.decode(payload)
        except DecodeError:
            request_id = request_id_of(payload)
            if request_id is not None and request_id not in self._answers:
                self._answer_unstored(request_id, WanStatus.MALFORMED)
            raise
        if (answer := self._answers.get(request.request_id)) is not None:
            self._say_again(request.request_id, answer)
        elif request.request_id in self._waiting:
            pass  # a repeat of what is being done
        elif self._is_expired(request):
            self._answer_unstored(request.request_id, WanStatus.EXPIRED)
        elif len(self._waiting) >= MAX_WAITING or not self._has_room():
            self.dropped_count += 1
            _log.warning("hub %s: request %s dropped: too many", self._name, request.request_id)
        else:
            self._waiting.add(request.request_id)
            self._queues.setdefault(request.target, deque()).append(request)
            if request.target not in self._tasks:
                self._tasks[request.target] = asyncio.create_task(self._work(request.target))

    def _say_again(self, request_id: str, answer: _Answer) -> None:
        message = self._outgoing(request_id, WanTopic.RESPONSE, answer.response)
        if answer.is_receipted:  # receipted once, yet asked again: the head end has lost it
            self.link.publish(message.topic, message.payload)
        else:
            self._outbox.hasten(now_us=self._scheduler.now_us(), message_id=message.message_id)
            self._flush_soon()

    def _answer_unstored(self, request_id: str, status: WanStatus) -> None:
        """An answer that a repeat would get again, without help of NVM."""
        response = WanResponse(request_id=request_id, status=status)
        self.link.publish(topic(self.hub_eui64, WanTopic.RESPONSE), response.encode())

    def _is_expired(self, request: WanRequest) -> bool:
        return self._civil.utc_us() > request.expires_utc_us

    def _has_room(self) -> bool:
        """For one more answer: what was receipted first makes it."""
        self._forget_old_answers(most=MAX_ANSWERS - 1)
        return len(self._answers) < MAX_ANSWERS

    async def _work(self, target: Eui64) -> None:
        """Execute one device's requests, one after the other, until none is left."""
        queue = self._queues[target]
        try:
            while queue and self._lost is None:
                request = queue.popleft()
                try:
                    await self._work_one(request)
                finally:
                    self._waiting.discard(request.request_id)
        except LostError as error:
            self._lose(error)
        finally:
            del self._queues[target]
            self._tasks.pop(target, None)

    async def _work_one(self, request: WanRequest) -> None:
        if self._is_expired(request):
            self._answer_unstored(request.request_id, WanStatus.EXPIRED)
            return
        try:
            response = await self._execute(request)
        except NoAnswerError:
            response = WanResponse(request_id=request.request_id, status=WanStatus.UNREACHABLE)
        except (RefusedError, SecurityError) as error:
            _log.info("request %s refused: %s", request.request_id, error)
            response = WanResponse(request_id=request.request_id, status=WanStatus.REFUSED)
        except LostError:
            raise
        except Exception:  # the one broad catch of this shell: a bug must not stop the hub
            _log.exception("request %s failed", request.request_id)
            response = WanResponse(request_id=request.request_id, status=WanStatus.FAILED)
        # No await between here and the put: what `execute` left uncommitted is in the same commit.
        self.record(request, response)

    def _on_receipt(self, receipt: WanReceipt) -> None:
        for message_id in receipt.ids:
            if message_id in self._events:
                self._forget_event(message_id)
            answer = self._answers.get(message_id)
            if answer is not None and not answer.is_receipted:
                self._outbox.remove(f"{WanTopic.RESPONSE.name}/{message_id}")
                self._put_answer(message_id, replace(answer, is_receipted=True))
                heapq.heappush(self._ends, (answer.expires_utc_us + RETENTION_US, message_id))
        self._forget_old_answers()
        self._tidy_soon()  # a receipt that is lost comes again, since we say again what it was for

    # --- what is kept ------------------------------------------------------------------------------

    def _put_answer(self, request_id: str, answer: _Answer) -> None:
        self._answers[request_id] = answer
        self._nvm.put(f"answer/{request_id}", answer.encode())

    def _forget_event(self, event_id: str) -> None:
        del self._events[event_id]
        self._nvm.delete(f"event/{event_id}")
        self._outbox.remove(f"{WanTopic.EVENT.name}/{event_id}")

    def _forget_old_answers(self, most: int | None = None) -> None:
        now_utc_us = self._civil.utc_us()
        most = MAX_ANSWERS if most is None else most
        while self._ends and (self._ends[0][0] <= now_utc_us or len(self._answers) > most):
            _, request_id = heapq.heappop(self._ends)
            self._answers.pop(request_id, None)
            self._nvm.delete(f"answer/{request_id}")


def _array(octets: bytes | None, count: int) -> list[Any]:  # Any: what is in our own record is known
    """One of our own records. Raises LostError: NVM holds what we did not write."""
    try:
        value = load_strict(octets or b"")
    except DecodeError as error:
        raise LostError(f"NVM record of the WAN is damaged: {error}") from None
    if not isinstance(value, list) or len(value) != count:
        raise LostError("NVM record of the WAN is damaged")
    return value
