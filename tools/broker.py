"""An MQTT broker inside this process, where none is installed: amqtt, in a thread and loop of its own.

Its own thread, because a broker lives in real time whatever the speed of the emulator's loop is. For tests,
a demo and one machine; a rig runs mosquitto. Left out: TLS, passwords, persistence (what it has queued dies
with the process; hub and head end say it again). Speaks MQTT 3.1.1 only. Binds to loopback unless told
otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any, Final, Self

from smets1.errors import InputError, LostError, MisuseError

__all__ = ["EmbeddedBroker", "free_port"]

START_TIMEOUT_S: Final = 10.0
_PLUGINS: Final[Mapping[str, Any]] = {
    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
}


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """`with EmbeddedBroker() as broker:` then connect to `broker.url`. Port 0: a free one."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Returns when it listens. Raises InputError: amqtt is not installed, or the port is in use."""
        if self._thread is not None:
            raise MisuseError("the embedded broker is running already")
        try:
            import amqtt.broker  # noqa: F401 - optional, and slow to import
        except ImportError:
            raise InputError(
                "the embedded broker needs amqtt: pip install 'smets1[broker]', or run mosquitto"
            ) from None
        _quieten()
        self.port = self.port or free_port(self.host)
        _require_free(self.host, self.port)
        self._ready.clear()
        self._error = None
        self._thread = threading.Thread(target=self._run, name="amqtt", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise LostError(f"the embedded broker did not start in {START_TIMEOUT_S:.0f} s")
        self._raise_error()

    def close(self) -> None:
        """Stop and wait for the end. Closing twice is allowed."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(START_TIMEOUT_S)

    def _raise_error(self) -> None:
        """What the thread found out about starting."""
        if self._error is not None and self._thread is not None:
            self._thread.join()
            self._thread = None
            raise InputError(f"the embedded broker cannot use {self.host}:{self.port}: {self._error}")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # handed to the thread that called start
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker
        from amqtt.contexts import BrokerConfig, ListenerConfig

        writers: set[asyncio.StreamWriter] = set()

        class ClosingBroker(Broker):  # type: ignore[misc]  # amqtt ships no types
            """amqtt leaves connections open at shutdown; Python 3.12's server would wait for them forever."""

            async def stream_connected(
                self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
            ) -> None:
                writers.add(writer)
                try:
                    await super().stream_connected(reader, writer, listener_name)
                finally:
                    writers.discard(writer)
                    writer.close()

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        listener = ListenerConfig(bind=f"{self.host}:{self.port}")
        broker = ClosingBroker(BrokerConfig(listeners={"default": listener}, plugins=dict(_PLUGINS)))
        await broker.start()
        self._ready.set()
        await self._stop.wait()
        for writer in list(writers):
            writer.close()
        await asyncio.sleep(0.01)  # real seconds: let the handlers of those connections see the end
        await broker.shutdown()


def _quieten() -> None:
    """amqtt and its state machine tell every packet at INFO; only what someone must act on is let through."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"the embedded broker cannot use {host}:{port}: {reason}: give another port"
            ) from None
