"""A line of octets between a host and a stick: serial port, TCP, or a cable inside this process.

One small interface for both ends. A pipe may be opened again after it was lost: a stick that is pulled
out and put back. `open_pipe` reads the port of a radio spec:

    /dev/ttyACM0   /dev/ttyUSB0@115200   tcp://192.0.2.7:6638
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from smets1.errors import InputError, LostError
from smets1.hardware.clock import Scheduler

__all__ = [
    "BytePipe",
    "CableEnd",
    "FdPipe",
    "MemoryCable",
    "PipeListener",
    "SerialPipe",
    "TcpPipe",
    "open_pipe",
]

DEFAULT_BAUD: Final = 460_800  # OpenThread's RCP images; the older ones of some sticks are at 115 200
MAX_UNSENT_OCTETS: Final = 1 << 16
_READ_OCTETS: Final = 4096


class PipeListener(Protocol):
    """Who hears one end."""

    def on_octets(self, octets: bytes) -> None: ...
    def on_lost(self, reason: str) -> None:
        """Unplugged, or the other end hung up. The pipe may be opened again."""


class BytePipe(Protocol):
    """One end of a line. `write` never blocks and may lose octets, as a serial line does."""

    async def open(self, listener: PipeListener) -> None:
        """Raises LostError where there is nothing to open."""

    def write(self, octets: bytes) -> None: ...
    def close(self) -> None: ...


def open_pipe(port: str) -> BytePipe:
    """A pipe, not open yet, from the text of a radio spec. Raises InputError."""
    if port.startswith("tcp://"):
        host, colon, number = port.removeprefix("tcp://").rpartition(":")
        if not colon or not host or not number.isdigit() or not 0 < int(number) < 65_536:
            raise InputError(f"{port!r} is no address: write tcp://HOST:PORT")
        return TcpPipe(host.strip("[]"), int(number))
    match = re.fullmatch(r"(.+?)(?:@(\d{4,7}))?", port)
    if match is None:
        raise InputError("the port is missing: write /dev/ttyACM0, /dev/ttyACM0@115200 or tcp://HOST:PORT")
    return SerialPipe(match[1], int(match[2] or DEFAULT_BAUD))


class FdPipe:
    """What all pipes over a file descriptor share. Subclasses open it and set `_fd`."""

    def __init__(self) -> None:
        self._fd = -1
        self._listener: PipeListener | None = None
        self._unsent = bytearray()
        self._is_waiting = False

    def _start(self, fd: int, listener: PipeListener) -> None:
        self._fd = fd
        self._listener = listener
        asyncio.get_running_loop().add_reader(fd, self._on_readable)

    def write(self, octets: bytes) -> None:
        if self._fd < 0 or len(self._unsent) + len(octets) > MAX_UNSENT_OCTETS:
            return  # nobody reads at the other end
        self._unsent += octets
        if not self._is_waiting:
            self._flush()

    def close(self) -> None:
        if self._fd < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.remove_writer(self._fd)
        self._is_waiting = False
        self._unsent.clear()
        self._fd = -1
        self._release()

    def _release(self) -> None:
        """Give back what `open` took."""
        raise NotImplementedError

    def _flush(self) -> None:
        try:
            del self._unsent[: os.write(self._fd, self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        should_wait = bool(self._unsent)
        if should_wait != self._is_waiting:
            self._is_waiting = should_wait
            loop = asyncio.get_running_loop()
            if should_wait:
                loop.add_writer(self._fd, self._flush)
            else:
                loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        try:
            octets = os.read(self._fd, _READ_OCTETS)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if not octets:
            self._lose("the other end hung up")
        elif self._listener is not None:
            self._listener.on_octets(octets)

    def _lose(self, reason: str) -> None:
        self.close()
        if self._listener is not None:
            self._listener.on_lost(reason)


class SerialPipe(FdPipe):
    """A serial port, or the far side of somebody's pty."""

    def __init__(self, path: str, baud: int = DEFAULT_BAUD) -> None:
        super().__init__()
        self.path = path
        self.baud = baud
        self._serial: Any = None

    def __str__(self) -> str:
        return self.path

    async def open(self, listener: PipeListener) -> None:
        import serial  # here, since it is slow to import and the air does without

        try:
            # pyserial opens without blocking; only it knows how to set odd speeds on each system
            self._serial = serial.Serial(self.path, self.baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:
            raise LostError(f"{self.path}: {getattr(error, 'strerror', None) or error}") from None
        self._start(self._serial.fileno(), listener)

    def _release(self) -> None:
        self._serial.close()


class TcpPipe(FdPipe):
    """A stick on the network, or a simulated one."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    async def open(self, listener: PipeListener) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            await loop.sock_connect(self._socket, (self.host, self.port))
        except OSError as error:
            self._socket.close()
            raise LostError(f"{self}: {error.strerror or error}") from None
        except asyncio.CancelledError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start(self._socket.fileno(), listener)

    def _release(self) -> None:
        assert self._socket is not None
        self._socket.close()


class MemoryCable:
    """A cable in this process, in its time. `host` and `stick` are its ends.

    Faults: `garble` is handed each portion of octets and returns what arrives; `unplug` loses what is
    under way and tells both ends; nothing can be opened until `plug`.
    """

    def __init__(self, scheduler: Scheduler, latency_us: int = 1_000) -> None:
        self.scheduler = scheduler
        self.latency_us = latency_us
        self.is_plugged = True
        self.garble: Callable[[bytes], bytes] = lambda octets: octets
        self.host = CableEnd(self, "host")
        self.stick = CableEnd(self, "stick")
        self.host.peer, self.stick.peer = self.stick, self.host

    def unplug(self) -> None:
        self.is_plugged = False
        for end in (self.host, self.stick):
            end.lose("unplugged")

    def plug(self) -> None:
        self.is_plugged = True


class CableEnd:
    """One end of a `MemoryCable`."""

    def __init__(self, cable: MemoryCable, name: str) -> None:
        self.cable = cable
        self.name = name
        self.peer: CableEnd = self
        self._listener: PipeListener | None = None
        self._opening = 0  # counts, so that octets of an earlier opening do not arrive in a later one

    def __str__(self) -> str:
        return f"memory:{self.name}"

    async def open(self, listener: PipeListener) -> None:
        if not self.cable.is_plugged:
            raise LostError("unplugged")
        self._opening += 1
        self._listener = listener

    def write(self, octets: bytes) -> None:
        cable = self.cable
        if self._listener is not None and cable.is_plugged and self.peer._listener is not None:
            when_us = cable.scheduler.now_us() + cable.latency_us
            cable.scheduler.call_at_us(when_us, self.peer._deliver, self.peer._opening, cable.garble(octets))

    def close(self) -> None:
        self._listener = None

    def lose(self, reason: str) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_lost(reason)

    def _deliver(self, opening: int, octets: bytes) -> None:
        if opening == self._opening and self._listener is not None and self.cable.is_plugged:
            self._listener.on_octets(octets)
