"""The shell of one stick: a pipe below, the FrameRadio face above.

It can be used at once, before the port is open: what is wanted is kept and applied when the stick is up.
A port that is lost is opened again, every second, for as long as the radio is not closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from logging import getLogger
from typing import Any, Final

from smets1.errors import ClosedError, LostError, MisuseError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.clock import Scheduler, Timer
from smets1.hardware.ieee802154 import MAX_FRAME_OCTETS
from smets1.hardware.radio import CHANNELS, RadioListener
from smets1.hardware.rcp.host import (
    Energy,
    Heard,
    RcpHost,
    Refused,
    StickInfo,
    StickLost,
    StickUp,
    Transmitted,
)
from smets1.hardware.rcp.pipe import BytePipe
from smets1.hardware.rcp.spinel import Property

__all__ = ["RcpRadio"]

_log = getLogger(__name__)
_REOPEN_S: Final = 1.0


class RcpRadio:
    """A `FrameRadio` on a stick. `eui64` is put into the stick: the device's own, not the stick's."""

    def __init__(self, pipe: BytePipe, eui64: Eui64, scheduler: Scheduler) -> None:
        """`attach` starts it, in the running event loop."""
        self._pipe = pipe
        self._eui64 = eui64
        self._scheduler = scheduler
        self._host = RcpHost()
        self._listener: RadioListener | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._lost = asyncio.Event()
        self._is_busy = False
        self._is_closed = False
        self.up = asyncio.Event()
        """Set while the stick is up."""
        self.lost_count = 0
        self.tap: Callable[[bytes], object] = lambda psdu: None
        """Told each frame that is sent or heard, for a capture."""
        self._want(Property.MAC_15_4_LADDR, eui64)
        self.set_channel(CHANNELS[0])
        self.set_pan(0xFFFF, 0xFFFF, coordinator=False)
        self.set_receiver(True)
        self.set_pending((), ())

    @property
    def eui64(self) -> Eui64:
        return self._eui64

    @property
    def info(self) -> StickInfo | None:
        """What the stick says of itself; None before it was up for the first time."""
        return self._host.info

    # --- FrameRadio ---------------------------------------------------------------------------------------

    def attach(self, listener: RadioListener) -> None:
        self._listener = listener
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._stay_open())

    def set_channel(self, channel: int) -> None:
        """Raises MisuseError for a channel outside 11..26."""
        if channel not in CHANNELS:
            raise MisuseError(f"channel {channel} is not one of 11..26")
        self._want(Property.PHY_CHAN, channel)

    def set_pan(self, pan_id: int, short_address: int, *, coordinator: bool) -> None:
        """A stick cannot be told that it is a coordinator; those with short address 0 behave as one."""
        self._want(Property.MAC_15_4_PANID, pan_id)
        self._want(Property.MAC_15_4_SADDR, short_address)

    def set_receiver(self, on: bool) -> None:
        self._want(Property.MAC_RAW_STREAM_ENABLED, on)

    def set_pending(self, shorts: Collection[int], extendeds: Collection[Eui64]) -> None:
        self._want(Property.MAC_SRC_MATCH_SHORT_ADDRESSES, tuple(sorted(shorts)))
        self._want(Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES, tuple(sorted(extendeds)))

    def transmit(self, psdu: bytes, *, retries: int = 3) -> None:
        """Raises MisuseError while the last frame is not done with, or unless it has 1..125 octets."""
        self._check_open()
        if self._is_busy:
            raise MisuseError("the radio has a frame already: wait for on_transmitted")
        if not 0 < len(psdu) <= MAX_FRAME_OCTETS:
            raise MisuseError(f"a frame has 1..{MAX_FRAME_OCTETS} octets without FCS, not {len(psdu)}")
        self._is_busy = True
        self.tap(bytes(psdu))
        self._host.transmit(bytes(psdu), retries=retries, now_us=self._scheduler.now_us())
        self._drain_octets()

    def scan_energy(self, channel: int, duration_us: int) -> None:
        self._check_open()
        self._host.scan_energy(channel, duration_us, now_us=self._scheduler.now_us())
        self._drain_octets()

    def close(self) -> None:
        """Nothing is called any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._listener = None
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._pipe.close()
        self.up.clear()

    # --- PipeListener -------------------------------------------------------------------------------------

    def on_octets(self, octets: bytes) -> None:
        self._host.receive(octets, now_us=self._scheduler.now_us())
        self._drain()

    def on_lost(self, reason: str) -> None:
        _log.warning("%s: %s: %s", format_eui64(self._eui64), self._pipe, reason)
        self._pipe.close()
        self.up.clear()
        self._lost.set()
        self._host.on_closed()
        self._drain()

    # --- the dull part --------------------------------------------------------------------------------------

    async def _stay_open(self) -> None:
        while True:
            self._lost.clear()
            try:
                await self._pipe.open(self)
            except LostError as error:
                _log.warning("%s: %s", format_eui64(self._eui64), error)
            else:
                self._host.on_open(now_us=self._scheduler.now_us())
                self._drain()
                await self._lost.wait()
                self.lost_count += 1
            await asyncio.sleep(_REOPEN_S)

    def _want(self, prop: Property, value: Any) -> None:
        self._check_open()
        self._host.want(prop, value, now_us=self._scheduler.now_us())
        self._drain_octets()

    def _drain(self) -> None:
        """Events up, octets down, one timer."""
        for event in self._host.take_events():
            self._dispatch(event)
        self._drain_octets()

    def _drain_octets(self) -> None:
        """Alone after a call from above: `FrameRadio` calls nobody back from within a call."""
        octets = self._host.take_octets()
        if octets:
            self._pipe.write(octets)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_us = self._host.next_timer_us()
        if next_us is not None and not self._is_closed:
            self._timer = self._scheduler.call_at_us(next_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._host.on_timer(now_us=self._scheduler.now_us())
        self._drain()

    def _dispatch(self, event: object) -> None:
        match event:
            case StickUp(info):
                _log.info("%s: %s: %s", format_eui64(self._eui64), self._pipe, info.version)
                self.up.set()
            case StickLost(reason):
                self.on_lost(reason)
            case Refused(prop, status):
                _log.warning(
                    "%s: %s: the stick refuses %s: status %d",
                    format_eui64(self._eui64),
                    self._pipe,
                    prop.name,
                    status,
                )
            case Transmitted(outcome):
                self._is_busy = False
                if self._listener is not None:
                    self._listener.on_transmitted(outcome)
            case Heard(psdu, lqi, rssi_dbm):
                self.tap(psdu)
                if self._listener is not None:
                    self._listener.on_frame(psdu, lqi, rssi_dbm)
            case Energy(channel, rssi_dbm):
                if self._listener is not None:
                    self._listener.on_energy(channel, rssi_dbm)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"radio {format_eui64(self._eui64)} is closed")
