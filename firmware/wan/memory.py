"""A broker in this process and in scheduler time, with the semantics of MQTT that the ends rely on.

Persistent sessions, QoS 1, retained messages, wills, take-over by a second client of the same name. Each
transfer takes `latency_us`. What is on its way when a connection breaks is lost towards the broker and kept
by the broker towards the client, exactly as with TCP and a persistent session.

`fault` is asked about each transfer and may break the connection around it or deliver it twice; so a test can
lose the link at any message. Left out: QoS 0 and 2, MQTT's own limits on sizes and queues, authentication.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.errors import ClosedError, LostError, MisuseError
from smets1.firmware.wan.link import BackOff, WanListener, Will, topic_matches
from smets1.hardware.clock import Scheduler, Timer

__all__ = ["Fault", "MemoryBroker", "MemoryLink", "Transfer"]

DEFAULT_LATENCY_US: Final = 20_000


@unique
class Fault(IntEnum):
    """What befalls a transfer."""

    NONE = 0
    LOST = 1  # the connection breaks before it arrives
    UNACKNOWLEDGED = 2  # it arrives, then the connection breaks before the sender knows
    TWICE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One message between one client and the broker."""

    index: int  # counts all transfers of the broker, from 0
    client_id: str
    to_broker: bool
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    topic: str
    payload: bytes
    retain: bool = False


class _Session:
    """What the broker knows of one client name; outlives its connections."""

    def __init__(self) -> None:
        self.filters: list[str] = []
        self.queue: deque[_Message] = deque()  # not yet acknowledged by the client, oldest first
        self.flying = 0  # how many of the queue are on their way
        self.link: MemoryLink | None = None
        self.will: Will | None = None


class MemoryBroker:
    """The broker. `latency_us` applies to each of the two ways."""

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        latency_us: int = DEFAULT_LATENCY_US,
        fault: Callable[[Transfer], Fault] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.fault = fault
        self.transfer_count = 0
        self._latency_us = latency_us
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}
        self._is_running = True

    @property
    def is_running(self) -> bool:
        return self._is_running

    def link(self, client_id: str, rng: random.Random) -> MemoryLink:
        """A client; `rng` gives the jitter of its back-off."""
        return MemoryLink(self, client_id, rng)

    def cut(self, client_id: str) -> None:
        """Break a client's connection, if it has one; the client tries again by itself."""
        session = self._sessions.get(client_id)
        if session is not None and session.link is not None:
            self._break(session, "connection lost")

    def stop(self, *, forget: bool = False) -> None:
        """The broker dies. `forget`: with all it had, as a broker without persistence does."""
        self._is_running = False
        for session in self._sessions.values():
            session.will = None  # nobody is left to publish it
            if session.link is not None:
                self._break(session, "broker died")
        if forget:
            self._sessions.clear()
            self._retained.clear()

    def start(self) -> None:
        self._is_running = True

    # --- for MemoryLink ---------------------------------------------------------------------------

    def accept(self, link: MemoryLink, will: Will | None) -> bool:
        """A client connects; True where a session was waiting for it."""
        session = self._sessions.get(link.client_id)
        was_known = session is not None
        if session is None:
            session = self._sessions[link.client_id] = _Session()
        if session.link is not None and session.link is not link:
            self._break(session, "taken over by another client of the same name")
        session.link, session.will, session.flying = link, will, 0
        return was_known

    def subscribe(self, link: MemoryLink, topic_filter: str) -> None:
        session = self._sessions[link.client_id]
        if topic_filter not in session.filters:
            session.filters.append(topic_filter)
        for topic, payload in self._retained.items():
            if topic_matches(topic_filter, topic):
                session.queue.append(_Message(topic=topic, payload=payload))
        self._pump(session)

    def unsubscribe(self, link: MemoryLink, topic_filter: str) -> None:
        session = self._sessions[link.client_id]
        if topic_filter in session.filters:
            session.filters.remove(topic_filter)

    def send(self, link: MemoryLink, topic: str, payload: bytes, *, retain: bool) -> None:
        """A client publishes."""
        fault = self._judge(link.client_id, topic, to_broker=True)
        when_us = self.scheduler.now_us() + self._latency_us
        message = _Message(topic=topic, payload=payload, retain=retain)
        self.scheduler.call_at_us(when_us, self._arrive, link, link.epoch, message, fault)

    def leave(self, link: MemoryLink) -> None:
        """A client says good-bye. What it has sent and is still on its way arrives before the good-bye."""
        session = self._sessions.get(link.client_id)
        if session is not None and session.link is link:
            session.link, session.will, session.flying = None, None, 0

    # --- inside -----------------------------------------------------------------------------------

    def _judge(self, client_id: str, topic: str, *, to_broker: bool) -> Fault:
        index = self.transfer_count
        self.transfer_count += 1
        if self.fault is None:
            return Fault.NONE
        return self.fault(Transfer(index=index, client_id=client_id, to_broker=to_broker, topic=topic))

    def _arrive(self, link: MemoryLink, epoch: int, message: _Message, fault: Fault) -> None:
        if not self._is_running or link.epoch != epoch:
            return
        if fault != Fault.LOST:
            for _ in range(2 if fault == Fault.TWICE else 1):
                self._route(message)
        if fault in (Fault.LOST, Fault.UNACKNOWLEDGED):
            self.cut(link.client_id)

    def _route(self, message: _Message) -> None:
        if message.retain:
            self._retained[message.topic] = message.payload
        for session in list(self._sessions.values()):
            if any(topic_matches(topic_filter, message.topic) for topic_filter in session.filters):
                session.queue.append(message)
                self._pump(session)

    def _pump(self, session: _Session) -> None:
        """Put what is queued and not yet on its way on its way."""
        link = session.link
        if link is None:
            return
        while session.flying < len(session.queue):
            message = session.queue[session.flying]
            session.flying += 1
            fault = self._judge(link.client_id, message.topic, to_broker=False)
            when_us = self.scheduler.now_us() + self._latency_us
            self.scheduler.call_at_us(when_us, self._deliver, session, link, link.epoch, message, fault)

    def _deliver(
        self, session: _Session, link: MemoryLink, epoch: int, message: _Message, fault: Fault
    ) -> None:
        if session.link is not link or link.epoch != epoch:
            return  # still in the queue: delivered at the next connection
        if fault in (Fault.NONE, Fault.TWICE):
            session.queue.popleft()
            session.flying -= 1
        if fault != Fault.LOST:
            for _ in range(2 if fault == Fault.TWICE else 1):
                link.receive(message.topic, message.payload)
        if fault in (Fault.LOST, Fault.UNACKNOWLEDGED) and session.link is link:
            self._break(session, "connection lost")

    def _break(self, session: _Session, reason: str) -> None:
        link, will = session.link, session.will
        session.link, session.will, session.flying = None, None, 0
        if will is not None:
            self._route(_Message(topic=will.topic, payload=will.payload, retain=True))
        if link is not None:
            link.lose(reason)


class MemoryLink:
    """A client of a `MemoryBroker`; made by `MemoryBroker.link`. Connecting takes no time."""

    def __init__(self, broker: MemoryBroker, client_id: str, rng: random.Random) -> None:
        self.client_id = client_id
        self.epoch = 0  # counts breaks of the connection
        self._broker = broker
        self._back_off = BackOff(rng)
        self._listener: WanListener | None = None
        self._filters: list[str] = []
        self._old_filters: dict[str, None] = {}  # to be unsubscribed at the next connection
        self._will: Will | None = None
        self._is_up = False
        self._is_closed = False
        self._timer: Timer | None = None

    @property
    def is_up(self) -> bool:
        return self._is_up

    def attach(self, listener: WanListener) -> None:
        self._listener = listener

    def subscribe(self, topic_filter: str) -> None:
        if topic_filter not in self._filters:
            self._filters.append(topic_filter)
            if self._is_up:
                self._broker.subscribe(self, topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        if topic_filter in self._filters:
            self._filters.remove(topic_filter)
        if self._is_up:
            self._broker.unsubscribe(self, topic_filter)
        else:
            self._old_filters[topic_filter] = None

    async def connect(self, will: Will | None = None) -> None:
        if self._listener is None:
            raise MisuseError("attach a listener before connecting a WAN link")
        if self._is_closed:
            raise ClosedError("this WAN link was closed")
        if not self._broker.is_running:
            raise LostError("the WAN broker in memory is not running")
        self._will = will
        self._connect()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self._is_up:
            self._broker.send(self, topic, payload, retain=retain)

    async def close(self) -> None:
        self._is_closed = True
        self._is_up = False
        if self._timer is not None:
            self._timer.cancel()
        self._broker.leave(self)

    def cut_power(self) -> None:
        """End as a killed process does: no good-bye, no new attempt; the broker publishes the will."""
        self._is_closed = True
        self._broker.cut(self.client_id)

    # --- for MemoryBroker ---------------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes) -> None:
        if self._is_up and self._listener is not None:
            self._listener.on_message(topic, payload)

    def lose(self, reason: str) -> None:
        self.epoch += 1
        self._is_up = False
        if self._is_closed:
            return
        self._try_later()
        if self._listener is not None:
            self._listener.on_down(reason)

    def _connect(self) -> None:
        self._timer = None
        if self._is_closed:
            return
        if not self._broker.is_running:
            self._try_later()
            return
        self._broker.accept(self, self._will)
        self._is_up = True
        self._back_off.reset()
        for topic_filter in self._old_filters:
            self._broker.unsubscribe(self, topic_filter)
        self._old_filters.clear()
        for topic_filter in self._filters:
            self._broker.subscribe(self, topic_filter)
        if self._listener is not None:
            self._listener.on_up()

    def _try_later(self) -> None:
        scheduler = self._broker.scheduler
        self._timer = scheduler.call_at_us(scheduler.now_us() + self._back_off.next_us(), self._connect)
