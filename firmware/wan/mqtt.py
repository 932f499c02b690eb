"""A link over a real MQTT broker, by aiomqtt. Any broker that speaks MQTT 3.1.1 with QoS 1 will do.

Time-outs and waits here are about the outside world, so they count real seconds whatever the loop's speed
is; the loop cannot run at speed max at all with this link. A persistent session needs the same client name
every time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import re
import socket
import ssl
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import aiomqtt

from smets1.errors import ClosedError, InputError, LostError, MisuseError
from smets1.firmware.wan.link import BackOff, WanListener, Will
from smets1.firmware.wan.messages import MAX_MESSAGE_OCTETS
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop

__all__ = ["MqttLink", "MqttSettings"]

CALL_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
KEEPALIVE_S: Final = 30
MAX_INFLIGHT: Final = 100
"""Publishes on their way at once. Mosquitto's own limit towards a client is 20 and does not apply here."""

MAX_FILTERS: Final = 500
"""Subscribed to, or not any more, in one packet."""

_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_log = logging.getLogger(__name__)
_paho_log = logging.getLogger(__name__ + ".paho")  # what it calls an error, this link repairs and reports
_paho_log.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """Where the broker is and who we are to it. `ca` alone checks the broker; `cert` and `key` prove us."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool = False
    ca: Path | None = None  # PEM; None with use_tls: the system's authorities
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(
        cls, url: str, *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
    ) -> MqttSettings:
        """`mqtt://[user[:password]@]host[:port]`, `mqtts://...` for TLS. Raises InputError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        is_plain = not parts.path.strip("/") and not parts.query and not parts.fragment
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not is_plain:
            shown = re.sub(r"//.*@", "//...@", url)
            raise InputError(f"{shown!r} is not a broker: write mqtt://HOST:PORT, or mqtts:// for TLS")
        use_tls = parts.scheme == "mqtts"
        if not use_tls and (ca or cert or key):
            raise InputError("certificates need a broker address that begins with mqtts://")
        return cls(
            host=parts.hostname,
            port=port or (8883 if use_tls else 1883),
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            use_tls=use_tls,
            ca=ca,
            cert=cert,
            key=key,
        )

    def tls_context(self) -> ssl.SSLContext | None:
        """None without TLS. Raises InputError naming the file that cannot be used."""
        if not self.use_tls:
            return None
        if (self.cert is None) != (self.key is None):
            raise InputError("a WAN client certificate and its key go together: give both or none")
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"WAN: {self.ca} is not a file of PEM certificates: {error}") from None
        if self.cert is not None and self.key is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as error:
                raise InputError(f"WAN: {self.cert} and {self.key} do not make a pair: {error}") from None
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class _Publish:
    topic: str
    payload: bytes
    retain: bool


class MqttLink:
    """One client of a broker. `client_id` must be the broker's only client of that name."""

    def __init__(self, settings: MqttSettings, client_id: str, rng: random.Random) -> None:
        if not _CLIENT_ID.fullmatch(client_id):
            raise MisuseError(f"{client_id!r} cannot be an MQTT client name")
        self._settings = settings
        self._client_id = client_id
        self._back_off = BackOff(rng)
        self._listener: WanListener | None = None
        self._will: Will | None = None
        self._tls: ssl.SSLContext | None = None
        self._filters: list[str] = []
        self._new_filters: list[str] = []
        self._old_filters: list[str] = []
        self._publishes: deque[_Publish] = deque()
        self._work = asyncio.Event()  # there is something to send
        self._idle = asyncio.Event()  # nothing is left to send, all of it acknowledged
        self._idle.set()
        self._inflight = 0
        self._is_up = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self._is_up

    @property
    def broker(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def attach(self, listener: WanListener) -> None:
        self._listener = listener

    def subscribe(self, topic_filter: str) -> None:
        if topic_filter not in self._filters:
            self._filters.append(topic_filter)
            if self._is_up:
                self._new_filters.append(topic_filter)
                self._work.set()
        if topic_filter in self._old_filters:
            self._old_filters.remove(topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        for filters in (self._filters, self._new_filters):
            if topic_filter in filters:
                filters.remove(topic_filter)
        if topic_filter not in self._old_filters:
            self._old_filters.append(topic_filter)
            self._work.set()

    async def connect(self, will: Will | None = None) -> None:
        if self._listener is None:
            raise MisuseError("attach a listener before connecting a WAN link")
        if self._is_closed or self._task is not None:
            raise ClosedError("this WAN link was closed, or is connected already")
        if _speed() == MAX_SPEED:
            raise MisuseError(
                "MQTT cannot be waited for at speed max, where time jumps ahead of the outside world: "
                "use the WAN memory:, or a finite speed (for example --speed 60)"
            )
        self._will = will
        self._tls = self._settings.tls_context()
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(first), name=f"mqtt {self._client_id}")
        try:
            await first
        except BaseException:
            await self._cancel()
            raise

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if len(payload) > MAX_MESSAGE_OCTETS:
            raise MisuseError(f"a WAN message of {len(payload)} octets is too long")
        if self._is_up:
            self._publishes.append(_Publish(topic=topic, payload=payload, retain=retain))
            self._idle.clear()
            self._work.set()

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S * _speed()):
                    await self._idle.wait()
        await self._cancel()

    async def _cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- the connection, again and again -----------------------------------------------------------

    async def _run(self, first: asyncio.Future[None]) -> None:
        while True:
            try:
                await self._one_connection(first)
                reason = "connection lost"
            except* (aiomqtt.MqttError, OSError) as group:
                reason = _reason(group)
            if not first.done():
                first.set_exception(LostError(self._unreachable(reason)))
                return
            if self._is_up:
                self._is_up = False
                _log.warning("WAN broker %s: %s; trying again", self.broker, reason)
                self._tell_down(reason)
            else:
                _log.debug("WAN broker %s: still not there: %s", self.broker, reason)
            await asyncio.sleep(self._back_off.next_us() / 1e6 * _speed())

    async def _one_connection(self, first: asyncio.Future[None]) -> None:
        async with self._client() as client:
            client.pending_calls_threshold = 2 * MAX_INFLIGHT
            if self._filters:
                await client.subscribe([(topic_filter, 1) for topic_filter in self._filters])
            self._new_filters.clear()
            self._publishes.clear()
            self._inflight = 0
            self._idle.set()
            self._is_up = True
            self._back_off.reset()
            if not first.done():
                first.set_result(None)
            if self._listener is not None:
                self._listener.on_up()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(client, group))
                async for _ in client.messages:  # see _queue_type: only the end of the connection comes here
                    pass

    def _client(self) -> aiomqtt.Client:
        settings, will = self._settings, self._will
        return aiomqtt.Client(
            settings.host,
            settings.port,
            identifier=self._client_id,
            logger=_paho_log,
            username=settings.username,
            password=settings.password,
            clean_session=False,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            timeout=CALL_TIMEOUT_S * _speed(),
            keepalive=KEEPALIVE_S,
            max_inflight_messages=MAX_INFLIGHT,
            tls_context=self._tls,
            queue_type=self._queue_type(),
            socket_options=_NO_DELAY,
        )

    def _queue_type(self) -> type[asyncio.Queue[aiomqtt.Message]]:
        """A queue that hands over at once: from queue to reader, aiomqtt makes a task for each message."""
        link = self

        class Handover(asyncio.Queue[aiomqtt.Message]):
            def put_nowait(self, item: aiomqtt.Message) -> None:
                link._receive(item)

        return Handover

    def _receive(self, message: aiomqtt.Message) -> None:
        if self._listener is None or self._is_closed:
            return
        try:
            self._listener.on_message(message.topic.value, message.payload)
        except Exception:  # a bug of the listener must not look like a broken connection
            _log.exception("WAN message on %s failed", message.topic.value)

    async def _send(self, client: aiomqtt.Client, group: asyncio.TaskGroup) -> None:
        """Start publishes in order, up to MAX_INFLIGHT at once."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._old_filters:
                gone, self._old_filters = self._old_filters[:MAX_FILTERS], self._old_filters[MAX_FILTERS:]
                await client.unsubscribe(gone)
            while self._new_filters:
                new, self._new_filters = self._new_filters[:MAX_FILTERS], self._new_filters[MAX_FILTERS:]
                await client.subscribe([(topic_filter, 1) for topic_filter in new])
            while self._publishes and self._inflight < MAX_INFLIGHT:
                self._inflight += 1
                group.create_task(self._publish(client, self._publishes.popleft()))

    async def _publish(self, client: aiomqtt.Client, message: _Publish) -> None:
        # No time limit of its own, which would cost a task and a timer each: the keep-alive ends a dead
        # connection, and with it all that is under way.
        await client.publish(message.topic, message.payload, qos=1, retain=message.retain, timeout=math.inf)
        self._inflight -= 1
        if self._publishes:
            self._work.set()
        elif self._inflight == 0:
            self._idle.set()

    def _tell_down(self, reason: str) -> None:
        if self._listener is not None and not self._is_closed:
            self._listener.on_down(reason)

    def _unreachable(self, reason: str) -> str:
        hint = ""
        if self._settings.use_tls and "timed out" in reason:
            hint = " (a refused client certificate also shows like this)"
        return f"WAN broker {self.broker} cannot be reached: {reason}{hint}"


def _speed() -> float:
    """How many loop seconds a real second has."""
    loop = asyncio.get_running_loop()
    return loop.speed if isinstance(loop, EmulatorLoop) else 1.0


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    """The innermost first error, in one line."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, aiomqtt.MqttError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
    return " ".join(text.split()) or type(error).__name__
