"""bellows' EZSP on a line of ours: serial port, TCP, or a cable inside this process, in its time.

bellows is imported when a radio needs it, not before. Messages off the air are taken out of its stream and
read by our own table, which has one form of them for all versions; blocks of long ones must be: bellows' own
reassembly does not know version 14's order of fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from smets1.errors import DecodeError, InputError, LostError
from smets1.hardware.ezsp.commands import commands
from smets1.hardware.ezsp.frames import EzspFrame
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.rcp.pipe import BytePipe

__all__ = ["EzspLine", "require_bellows"]

_FIRST_LONG_VERSION: Final = 8
_OPEN_TRIES: Final = 2


def require_bellows() -> Any:
    """bellows' `ezsp` module. Raises InputError, one line, where it is not installed."""
    try:
        import bellows.ezsp as bellows_ezsp
    except ImportError:
        raise InputError("radio ezsp: needs bellows: pip install 'smets1[radio]'") from None
    return bellows_ezsp


class _Transport:
    """What bellows' ASH writes to."""

    def __init__(self, pipe: BytePipe, on_closed: Callable[[], None]) -> None:
        self._pipe = pipe
        self._on_closed = on_closed
        self._is_closed = False

    def write(self, octets: bytes) -> None:
        if not self._is_closed:
            self._pipe.write(bytes(octets))

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._pipe.close()
            self._on_closed()


@cache
def _ezsp_class() -> Any:
    base: Any = require_bellows().EZSP
    import bellows.types as bellows_types

    class PipedEzsp(base):  # type: ignore[misc]  # bellows has no types
        """bellows' EZSP, messages off the air handed to `on_message`."""

        on_message: Callable[[Values], None] = staticmethod(lambda values: None)
        types = bellows_types

        def take_gateway(self, gateway: Any) -> None:
            self._gw = gateway

        def frame_received(self, data: bytes) -> None:
            values = _message(bytes(data), self.ezsp_version)
            if values is None:
                super().frame_received(data)
            else:
                self.on_message(values)

    return PipedEzsp


@cache
def _gateway_class() -> Any:
    from bellows.uart import Gateway

    class PatientGateway(Gateway):  # type: ignore[misc]  # bellows has no types
        """bellows never cancels a sending, and complains of its end where nobody waits any more."""

        async def send_data(self, data: bytes) -> None:
            task = asyncio.get_running_loop().create_task(super().send_data(data))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(task)

    return PatientGateway


def _message(octets: bytes, version: int) -> Values | None:
    """The fields of incomingMessageHandler; None for anything else."""
    if version < _FIRST_LONG_VERSION:
        return None
    handler = commands(14 if version >= 14 else 13)["incomingMessageHandler"]
    try:
        frame = EzspFrame.decode(octets)
        if frame.frame_id != handler.frame_id:
            return None
        return handler.answer.decode(frame.parameters)[0]
    except DecodeError:
        return None


class EzspLine:
    """One stick, opened and closed any number of times. `on_lost` is told once for each opening."""

    def __init__(
        self, pipe: BytePipe, on_message: Callable[[Values], None], on_lost: Callable[[str], None]
    ) -> None:
        self.pipe = pipe
        self.ezsp: Any = None
        self._on_message = on_message
        self._on_lost = on_lost
        self._ash: Any = None
        self._is_up = False

    async def open(self) -> Any:
        """bellows' EZSP, its version agreed on. Raises LostError (no stick, or one that does not answer)."""
        require_bellows()
        from bellows.ash import AshProtocol

        reason = "no answer"
        for _ in range(_OPEN_TRIES):
            ezsp = _ezsp_class()({"path": str(self.pipe)}, self)
            ezsp.on_message = self._on_message
            gateway = _gateway_class()(ezsp)
            self._ash = AshProtocol(gateway)
            await self.pipe.open(self)
            self._ash.connection_made(_Transport(self.pipe, self._on_transport_closed))
            ezsp.take_gateway(gateway)
            self.ezsp = ezsp
            try:
                await ezsp.startup_reset()
            except Exception as error:  # bellows has no common ancestor of what may go wrong
                reason = str(error) or type(error).__name__
                self.pipe.close()
                continue
            self._is_up = True
            return ezsp
        raise LostError(f"{self.pipe}: no EZSP stick answers ({reason})")

    def close(self) -> None:
        self._is_up = False
        ash, self._ash = self._ash, None
        if ash is not None:
            ash.close()
        self.pipe.close()

    # --- PipeListener ---------------------------------------------------------------------------------------

    def on_octets(self, octets: bytes) -> None:
        if self._ash is not None:
            self._ash.data_received(octets)

    def on_lost(self, reason: str) -> None:
        """The line is gone."""
        ash, self._ash = self._ash, None
        if ash is not None:
            ash.connection_lost(ConnectionResetError(reason))
        self._tell_lost(reason)

    # --- what bellows calls an application ----------------------------------------------------------------

    def connection_lost(self, error: BaseException | None) -> None:
        """The stick has reset by itself, or acknowledges nothing any more."""
        asyncio.get_running_loop().call_soon(self._tell_lost, f"the stick has failed: {error!r}")

    def give_up(self, reason: str) -> None:
        """A stick that does not answer is reset, as one that was pulled out."""
        self._tell_lost(reason)

    def _tell_lost(self, reason: str) -> None:
        if self._is_up:
            self.close()
            self._on_lost(reason)

    def _on_transport_closed(self) -> None:
        ash, self._ash = self._ash, None
        if ash is not None:
            ash.connection_lost(None)
