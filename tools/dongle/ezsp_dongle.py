"""The shell of a simulated EZSP stick: a line on one side, a radio on our air on the other, a memory.

Needs no more of the line than `BytePipe`, so it also runs in virtual time on a `MemoryCable`.
"""

from __future__ import annotations

import random

from smets1.eui64 import Eui64
from smets1.firmware.nvm import MemoryNvm, Nvm
from smets1.firmware.zigbee.mac_events import (
    RadioAction,
    ScanEnergy,
    SetChannel,
    SetPan,
    SetPending,
    SetReceiver,
    Transmit,
)
from smets1.hardware.air import Air
from smets1.hardware.clock import Timer
from smets1.hardware.ezsp.ash import ResetCode
from smets1.hardware.ezsp.commands import VERSIONS
from smets1.hardware.radio import TransmitOutcome
from smets1.hardware.rcp.pipe import BytePipe
from smets1.tools.dongle.ezsp_stick import EzspStick
from smets1.tools.dongle.shell import StickShell

__all__ = ["EzspDongle"]


class EzspDongle(StickShell):
    """One stick. Its tokens (`stick.nvm`) survive unplugging and resets, as those of a chip do."""

    def __init__(
        self,
        air: Air,
        pipe: BytePipe,
        eui64: Eui64,
        rng: random.Random,
        *,
        version: int = VERSIONS[0],
        nvm: Nvm | None = None,
    ) -> None:
        super().__init__(air, pipe, eui64)
        self.stick = EzspStick(eui64, MemoryNvm() if nvm is None else nvm, rng, version=version)
        self._timer: Timer | None = None
        self._is_draining = False

    def reset(self, code: ResetCode = ResetCode.WATCHDOG) -> None:
        """What a flaky stick does by itself."""
        self.stick.power_cycle(code)
        self._drain()

    # --- the line -------------------------------------------------------------------------------------

    def on_octets(self, octets: bytes) -> None:
        self.stick.receive(octets, now_us=self._now_us())
        self._drain()

    def _power_on(self) -> None:
        self.stick.power_cycle()

    def _power_off(self) -> None:
        self._cancel_timer()
        super()._power_off()

    # --- the antenna ----------------------------------------------------------------------------------

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        self.stick.on_frame(psdu, lqi, rssi_dbm, now_us=self._now_us())
        self._drain()

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        self.stick.on_transmitted(outcome, now_us=self._now_us())
        self._drain()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self.stick.on_energy(channel, rssi_dbm, now_us=self._now_us())
        self._drain()

    # --- the dull part --------------------------------------------------------------------------------

    def _now_us(self) -> int:
        return self._air.scheduler.now_us()

    def _drain(self) -> None:
        if self._is_closed or self._is_draining:
            return
        self._is_draining = True
        try:
            while True:
                for _ in self.stick.take_orders():
                    self._new_radio(self.stick.eui64)
                actions = self.stick.stack.take_actions()
                if not actions:
                    break
                for action in actions:
                    self._act(action)
        finally:
            self._is_draining = False
        octets = self.stick.take_octets()
        if octets:
            self.pipe.write(octets)
        self._cancel_timer()
        next_us = self.stick.next_timer_us()
        if next_us is not None:
            self._timer = self._air.scheduler.call_at_us(next_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.stick.on_timer(now_us=self._now_us())
        self._drain()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _act(self, action: RadioAction) -> None:
        radio = self._radio
        assert radio is not None
        match action:
            case Transmit(psdu=psdu):
                radio.transmit(psdu)
            case SetChannel(channel=channel):
                radio.set_channel(channel)
            case SetPan():
                radio.set_pan(action.pan_id, action.short_address, coordinator=action.is_coordinator)
            case SetReceiver(is_on=is_on):
                radio.set_receiver(is_on)
            case SetPending(shorts=shorts, extendeds=extendeds):
                radio.set_pending(shorts, extendeds)
            case ScanEnergy(channel=channel, duration_us=duration_us):
                radio.scan_energy(channel, duration_us)
