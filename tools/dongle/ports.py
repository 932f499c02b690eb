"""The stick's end of a line that other programs open: a pseudo-terminal, or a TCP port.

A pty stays when its host goes, as a serial line does; nobody can tell that the host has gone. On TCP one
host at a time is served; when it hangs up the next one may come.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import tty
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from smets1.errors import InputError, LostError
from smets1.hardware.rcp.pipe import FdPipe, PipeListener

__all__ = ["PtyPort", "TcpPort"]

_PTYS: Final = "/dev/pts/"


class PtyPort(FdPipe):
    """A pty; `path` is what a host opens, `link` a symbolic link to it where one is wanted."""

    def __init__(self, link: Path | None = None) -> None:
        super().__init__()
        self.link = link
        self.path = ""
        self._held = ExitStack()

    def __str__(self) -> str:
        return str(self.link or self.path)

    async def open(self, listener: PipeListener) -> None:
        """Raises InputError where the link cannot be made, or its name is taken by something else."""
        with ExitStack() as held:
            if self.link is not None:
                held.enter_context(_claim(self.link))
            ours, theirs = os.openpty()
            # raw, or the terminal would echo and translate; our own hold on the far side keeps it from
            # reporting an error whenever no host has it open
            held.callback(os.close, ours)
            held.callback(os.close, theirs)
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            self.path = os.ttyname(theirs)
            if self.link is not None:
                _link(self.link, self.path)
                held.callback(_unlink, self.link, self.path)
            self._held = held.pop_all()
        self._start(ours, listener)

    def _release(self) -> None:
        self._held.close()


def _claim(link: Path) -> socket.socket:
    """The name of a link, for as long as the socket is open. Raises InputError: a stick that runs has it.

    A name in Linux's abstract space, which the kernel takes back however a process ends: a file beside the
    link would stay, and a lock on the pty is what hosts themselves use.
    """
    try:
        folder = link.parent.stat()
    except OSError as error:
        raise InputError(f"{link}: {error.strerror}") from None
    place = hashlib.sha256(os.fsencode(f"{folder.st_dev}/{folder.st_ino}/{link.name}")).hexdigest()
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0smets1-stick-{place}")
    except OSError:
        claim.close()
        raise InputError(
            f"{link} is the name of a stick that runs: end that, or choose another name"
        ) from None
    return claim


def _link(link: Path, path: str) -> None:
    is_stale = link.is_symlink()  # of a run that was killed
    if is_stale and not (target := os.readlink(link)).startswith(_PTYS):
        raise InputError(f"{link} leads to {target}, which is no pty: choose another name")
    if not is_stale and link.exists():
        raise InputError(f"{link} exists and is no link: choose another name")
    try:
        if is_stale:
            link.unlink()
        link.symlink_to(path)
    except OSError as error:  # whose filename is the pty's
        raise InputError(f"{link}: {error.strerror}") from None


def _unlink(link: Path, path: str) -> None:
    if link.is_symlink() and os.readlink(link) == path:
        link.unlink()


class TcpPort(FdPipe):
    """A listening port, one host at a time. Port 0: a free one, told by `port` after `listen`."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.host = host
        self.port = port
        self._server: socket.socket | None = None
        self._client: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    async def open(self, listener: PipeListener) -> None:
        """Listens; a host may come at any time afterwards. Raises LostError: the port is in use."""
        if self._server is None:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM)
            try:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.setblocking(False)
                server.bind((self.host, self.port))
                server.listen(1)
            except OSError as error:
                server.close()
                raise LostError(f"{self}: {error.strerror or error}") from None
            self._server = server
            self.port = server.getsockname()[1]
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._server, listener))

    async def _accept(self, server: socket.socket, listener: PipeListener) -> None:
        client, _ = await asyncio.get_running_loop().sock_accept(server)
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._start(client.fileno(), listener)

    def close(self) -> None:
        """For good. After `on_lost` the port still listens, and `open` waits for the next host."""
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
        super().close()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _lose(self, reason: str) -> None:
        FdPipe.close(self)
        if self._listener is not None:
            self._listener.on_lost(reason)

    def _release(self) -> None:
        assert self._client is not None
        self._client.close()
        self._client = None
