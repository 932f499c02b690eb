"""The head end's end of the WAN: asks hubs, keeps each request until answered or expired, takes events once.

A request is committed to NVM before it is sent, and sent again when the link comes back, when its hub comes
back, and now and then (see `outbox`). An answer is committed before it is receipted and before `ask`
returns it; it stays until `forget`, so that a head end that was killed may `ask` the same request again and
gets the same answer. Events are handed to `on_event` once each: the mark "seen" is put before `on_event` is
called and committed after it, so an `on_event` that puts its own records into the same NVM store has both
in one commit.

Several workers share the hubs by `worker_of`: each gives only its own hubs to `HeadEndWan` (an empty list to
begin with, and `serve` as they come and go), and a client name of its own to its link. A worker without a
list takes all hubs there are.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import cbor2

from smets1.errors import DecodeError, LostError, NoAnswerError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import NoNvm, Nvm
from smets1.firmware.wan.end import WanEnd
from smets1.firmware.wan.link import WanLink
from smets1.firmware.wan.messages import (
    MAX_IDS,
    HubStatus,
    WanEvent,
    WanReceipt,
    WanRequest,
    WanResponse,
    WanTopic,
    topic,
    topic_filter,
)
from smets1.firmware.wan.outbox import OutgoingMessage

__all__ = ["HeadEndWan", "OnEvent", "OnStatus", "worker_of"]

OnEvent = Callable[[Eui64, WanEvent], None]
OnStatus = Callable[[Eui64, HubStatus], None]

GRACE_US: Final = 30_000_000
"""How long after a request's expiry an answer is waited for: the hub may have begun just before."""
MAX_ANSWERED: Final = 10_000
"""Answers kept for `ask` of the same request, where nobody calls `forget`."""
MAX_SEEN: Final = 100_000
"""Event ids remembered to tell repeats."""

_FROM_HUB: Final = (WanTopic.RESPONSE, WanTopic.EVENT, WanTopic.STATUS)
_log = logging.getLogger(__name__)


def worker_of(hub: Eui64, workers: int) -> int:
    """Which of `workers` (0..workers-1) serves a hub; the same on every machine."""
    return int.from_bytes(hashlib.sha256(hub.to_bytes(8, "big")).digest()[:8], "big") % workers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """In NVM: CBOR array [order, hub, expires, request octets, response octets or null]."""

    order: int
    hub: Eui64
    expires_utc_us: int
    request: bytes
    response: bytes | None

    def encode(self) -> bytes:
        return cbor2.dumps([self.order, self.hub, self.expires_utc_us, self.request, self.response])


class HeadEndWan(WanEnd):
    """One worker's end. Keys in `nvm`: `ask/<request id>`, `seen/<event id>`."""

    def __init__(
        self,
        link: WanLink,
        nvm: Nvm | None,
        civil: CivilClock,
        *,
        rng: random.Random,
        hubs: Iterable[Eui64] | None = None,
        on_event: OnEvent | None = None,
        on_status: OnStatus | None = None,
        on_lost: Callable[[LostError], None] | None = None,
        grace_us: int = GRACE_US,
    ) -> None:
        """`nvm` None: nothing is kept here, since the caller asks again by the same ids what it has no answer
        to, and knows events that it has had; the hub keeps an answer for an hour beyond its request's expiry.
        """
        super().__init__(link, nvm or NoNvm(), civil, rng=rng, on_lost=on_lost)
        self.on_event = on_event
        self.on_status = on_status
        self._hubs = None if hubs is None else dict.fromkeys(hubs)
        self._grace_us = grace_us
        self._asked: dict[str, _Asked] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()  # ids in _asked that have their answer
        self._waiters: dict[str, list[asyncio.Future[WanResponse]]] = {}
        self._told: list[tuple[str, WanResponse]] = []  # in this turn; waiters hear after the commit
        self._ends: list[tuple[int, str]] = []  # heap: when to give a request up
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._receipts: dict[Eui64, list[str]] = {}
        self._statuses: dict[Eui64, HubStatus] = {}
        self._order = 0

    # --- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load what is still to be asked, connect.

        Raises LostError (NVM, or the broker is not reachable) or InputError (link settings).
        """
        self._load()
        self._is_open = True
        if self._hubs is None:
            for kind in _FROM_HUB:
                self.link.subscribe(topic_filter(kind))
        else:
            for hub in self._hubs:
                self._subscribe(hub)
        try:
            await self.link.connect()
        except BaseException:
            self._is_open = False
            raise

    async def close(self) -> None:
        """Stop. Who waits in `ask` is cancelled; its request stays in NVM and goes on at the next start."""
        self._is_open = False
        self._stop_timers()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.cancel()
        self._waiters.clear()
        await self.link.close()

    def add_hub(self, hub: Eui64) -> None:
        """This worker also serves `hub`; no effect where it takes all hubs."""
        if self._hubs is not None and hub not in self._hubs:
            self._hubs[hub] = None
            if self._is_open:
                self._subscribe(hub)

    def serve(self, hubs: Iterable[Eui64]) -> None:
        """From now on these hubs and no others, where this worker has a list.

        What was asked of a hub that goes is dropped, and who waits for it gets LostError: another worker
        asks it again, by the same ids. Raises LostError.
        """
        if self._hubs is None:
            return
        wanted = dict.fromkeys(hubs)
        gone = {hub for hub in self._hubs if hub not in wanted}
        for hub in [hub for hub in self._hubs if hub in gone]:
            del self._hubs[hub]
            self._statuses.pop(hub, None)
            self._receipts.pop(hub, None)
            self._unsubscribe(hub)
        for request_id in [name for name, record in self._asked.items() if record.hub in gone]:
            self._drop(request_id)
            for waiter in self._waiters.pop(request_id, []):
                if not waiter.done():
                    waiter.set_exception(LostError(f"request {request_id}: its hub is another worker's now"))
        for hub in wanted:
            self.add_hub(hub)
        if gone and self._is_open:
            self._tidy_soon()

    def _unsubscribe(self, hub: Eui64) -> None:
        for kind in _FROM_HUB:
            self.link.unsubscribe(topic(hub, kind))

    def _subscribe(self, hub: Eui64) -> None:
        for kind in _FROM_HUB:
            self.link.subscribe(topic(hub, kind))

    def _load(self) -> None:
        asked: list[tuple[str, _Asked]] = []
        for key in self._nvm.keys("ask/"):
            order, hub, expires_utc_us, request, response = _array(self._nvm.get(key), 5)
            if self._hubs is not None and hub not in self._hubs:
                self._nvm.delete(key)  # another worker's since
                continue
            record = _Asked(
                order=order, hub=hub, expires_utc_us=expires_utc_us, request=request, response=response
            )
            asked.append((key.removeprefix("ask/"), record))
        for request_id, record in sorted(asked, key=lambda item: item[1].order):
            self._asked[request_id] = record
            if record.response is None:
                self._expect(request_id, record)
            else:
                self._answered[request_id] = None
        seen = [
            (_array(self._nvm.get(key), 1)[0], key.removeprefix("seen/")) for key in self._nvm.keys("seen/")
        ]
        self._seen = OrderedDict((event_id, None) for _, event_id in sorted(seen))
        orders = [record.order for record in self._asked.values()] + [order for order, _ in seen]
        self._order = max(orders, default=0)

    # --- asking ------------------------------------------------------------------------------------

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse:
        """Send a request and wait for its answer, however long the hub is away, until the request expires.

        Asking again with the same request id waits for, or returns, the answer of the first. A caller that is
        cancelled does not withdraw the request. Raises NoAnswerError when it has expired without an answer
        (whether the device has executed it is then not known; a response with status EXPIRED says that it has
        not), LostError when NVM has failed.
        """
        self._require_working()
        self.add_hub(hub)
        request_id = request.request_id
        record = self._asked.get(request_id)
        if record is not None and record.response is not None:
            return WanResponse.decode(record.response)
        waiter: asyncio.Future[WanResponse] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(request_id, []).append(waiter)
        if record is None:
            self._order += 1
            record = _Asked(
                order=self._order,
                hub=hub,
                expires_utc_us=request.expires_utc_us,
                request=request.encode(),
                response=None,
            )
            self._put(request_id, record)
            self._expect(request_id, record)
            self._flush_soon()
        return await waiter

    def forget(self, request_id: str) -> None:
        """The caller has taken note of the answer, or no longer wants it; committed soon.

        Raises LostError.
        """
        self._require_working()
        self._drop(request_id)
        for waiter in self._waiters.pop(request_id, []):
            waiter.cancel()
        self._tidy_soon()

    def pending(self) -> list[tuple[Eui64, WanRequest]]:
        """Requests asked and neither forgotten nor given up, answered or not; oldest first. For a restart."""
        return [(record.hub, WanRequest.decode(record.request)) for record in self._asked.values()]

    def is_online(self, hub: Eui64) -> bool:
        """What the hub's retained status says; False for one that has never been heard of."""
        status = self._statuses.get(hub)
        return status is not None and status.online

    def status(self, hub: Eui64) -> HubStatus | None:
        return self._statuses.get(hub)

    def _expect(self, request_id: str, record: _Asked) -> None:
        message = OutgoingMessage(
            message_id=request_id, topic=topic(record.hub, WanTopic.REQUEST), payload=record.request
        )
        self._outbox.add(message, now_us=self._scheduler.now_us())
        heapq.heappush(self._ends, (record.expires_utc_us + self._grace_us, request_id))

    def _put(self, request_id: str, record: _Asked) -> None:
        self._asked[request_id] = record
        self._nvm.put(f"ask/{request_id}", record.encode())

    def _drop(self, request_id: str) -> None:
        if self._asked.pop(request_id, None) is not None:
            self._nvm.delete(f"ask/{request_id}")
            self._answered.pop(request_id, None)
            self._outbox.remove(request_id)

    # --- from hubs ---------------------------------------------------------------------------------

    def _receive(self, hub: Eui64, kind: WanTopic, payload: bytes) -> None:
        if self._hubs is not None and hub not in self._hubs:
            self._unsubscribe(hub)  # the broker remembers what a former life of ours subscribed to
            return
        if kind == WanTopic.RESPONSE:
            self._on_response(hub, WanResponse.decode(payload), payload)
        elif kind == WanTopic.EVENT:
            self._on_event(hub, WanEvent.decode(payload))
        elif kind == WanTopic.STATUS:
            self._on_status(hub, HubStatus.decode(payload))

    def _on_response(self, hub: Eui64, response: WanResponse, payload: bytes) -> None:
        request_id = response.request_id
        record = self._asked.get(request_id)
        if record is not None and record.hub != hub:
            _log.warning("hub %s answers request %s of another hub", format_eui64(hub), request_id)
            return
        if record is None:
            _log.info("hub %s answers request %s, which nobody waits for", format_eui64(hub), request_id)
        elif record.response is None:
            self._put(request_id, replace(record, response=payload))
            self._outbox.remove(request_id)
            self._answered[request_id] = None
            self._told.append((request_id, response))
            while len(self._answered) > MAX_ANSWERED:
                self._drop(next(iter(self._answered)))
        # A repeat of an answer that we have is receipted again: the first receipt was lost.
        self._receipts.setdefault(hub, []).append(request_id)
        self._flush_soon()

    def _on_event(self, hub: Eui64, event: WanEvent) -> None:
        # A hub's ids count only for that hub, so that one hub cannot silence another's events.
        seen_id = f"{hub:016x}/{event.event_id}"
        if seen_id not in self._seen:
            self._order += 1
            self._nvm.put(f"seen/{seen_id}", cbor2.dumps([self._order]))
            try:
                if self.on_event is not None:
                    self.on_event(hub, event)
            except LostError:
                raise
            except Exception:  # a bug of the listener: not receipted, so the hub will say it again
                _log.exception("event %s of hub %s failed", event.event_id, format_eui64(hub))
                self._nvm.delete(f"seen/{seen_id}")
                return
            self._seen[seen_id] = None
            while len(self._seen) > MAX_SEEN:
                oldest, _ = self._seen.popitem(last=False)
                self._nvm.delete(f"seen/{oldest}")
        self._receipts.setdefault(hub, []).append(event.event_id)
        self._flush_soon()

    def _on_status(self, hub: Eui64, status: HubStatus) -> None:
        before, self._statuses[hub] = self._statuses.get(hub), status
        if status.online and status != before:  # a retained status comes again at each connection of ours
            now_us, to_hub = self._scheduler.now_us(), topic(hub, WanTopic.REQUEST)
            if before is None or status.boot_count != before.boot_count:
                self._outbox.restart(now_us=now_us, topic=to_hub)  # what it had in memory is gone
            else:
                self._outbox.hasten(now_us=now_us, topic=to_hub)
            self._flush_soon()
        if self.on_status is not None:
            self.on_status(hub, status)

    # --- after the commit ---------------------------------------------------------------------------

    def _flushed(self) -> None:
        for hub, ids in self._receipts.items():
            for start in range(0, len(ids), MAX_IDS):
                receipt = WanReceipt(ids=tuple(ids[start : start + MAX_IDS]))
                self.link.publish(topic(hub, WanTopic.RECEIPT), receipt.encode())
        self._receipts.clear()
        told, self._told = self._told, []
        for request_id, response in told:
            for waiter in self._waiters.pop(request_id, []):
                if not waiter.done():
                    waiter.set_result(response)

    def _next_deadline_us(self) -> int | None:
        while self._ends:
            end_utc_us, request_id = self._ends[0]
            record = self._asked.get(request_id)
            if record is not None and record.response is None:
                return self._civil.scheduler_us(end_utc_us)
            heapq.heappop(self._ends)
        return None

    def _on_deadline(self) -> None:
        """Give up what has expired without an answer."""
        now_utc_us = self._civil.utc_us()
        while self._ends and self._ends[0][0] <= now_utc_us:
            _, request_id = heapq.heappop(self._ends)
            record = self._asked.get(request_id)
            if record is None or record.response is not None:
                continue
            error = NoAnswerError(
                f"hub {format_eui64(record.hub)}, request {request_id}", self._outbox.sent_count(request_id)
            )
            self._drop(request_id)
            for waiter in self._waiters.pop(request_id, []):
                if not waiter.done():
                    waiter.set_exception(error)

    def _lose(self, error: LostError) -> None:
        super()._lose(error)
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(LostError(str(error)))
        self._waiters.clear()


def _array(octets: bytes | None, count: int) -> list[Any]:  # Any: what is in our own record is known
    """One of our own records. Raises LostError: NVM holds what we did not write."""
    try:
        value = load_strict(octets or b"")
    except DecodeError as error:
        raise LostError(f"NVM record of the WAN is damaged: {error}") from None
    if not isinstance(value, list) or len(value) != count:
        raise LostError("NVM record of the WAN is damaged")
    return value
