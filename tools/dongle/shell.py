"""What the shells of all simulated sticks share: a line that a host opens, loses and opens again; an air."""

from __future__ import annotations

import asyncio
from logging import getLogger
from typing import Final

from smets1.errors import LostError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.air import Air, AirRadio
from smets1.hardware.radio import RadioListener
from smets1.hardware.rcp.pipe import BytePipe, PipeListener

__all__ = ["StickShell"]

_log = getLogger(__name__)
_REOPEN_S: Final = 0.2


class StickShell(PipeListener, RadioListener):
    """Subclasses say what a stick does with octets and frames, and at the end of its power."""

    def __init__(self, air: Air, pipe: BytePipe, eui64: Eui64) -> None:
        self.pipe = pipe
        self.eui64 = eui64
        self._air = air
        self._radio: AirRadio | None = None
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Power on, in the running event loop. Raises LostError where the line cannot be had."""
        await self.pipe.open(self)
        self._drain()

    async def close(self) -> None:
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
        self.pipe.close()
        self._power_off()

    def on_lost(self, reason: str) -> None:
        """The host hung up: the stick loses its power with its line, and waits for the next host."""
        _log.info("%s: %s", format_eui64(self.eui64), reason)
        self._power_off()
        self._power_on()
        if not self._is_closed:
            self._task = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        while True:
            try:
                await self.pipe.open(self)
            except LostError:
                await asyncio.sleep(_REOPEN_S)
            else:
                self._drain()
                return

    def _new_radio(self, eui64: Eui64) -> AirRadio:
        """In place of the one before: an address is part of a radio of our air.

        Two sticks with one address are a mistake that real air allows too.
        """
        self._power_off()
        self._radio = radio = self._air.radio(eui64, is_clone=True)
        radio.attach(self)
        return radio

    def _power_off(self) -> None:
        """The antenna falls silent."""
        if self._radio is not None:
            self._radio.close()
            self._radio = None

    def _power_on(self) -> None:
        """The chip starts anew."""
        raise NotImplementedError

    def _drain(self) -> None:
        """Orders to the antenna, octets to the line."""
        raise NotImplementedError
