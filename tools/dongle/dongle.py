"""The shell of a simulated stick: a line on one side, a radio on our air on the other.

Needs no more of the line than `BytePipe`, so it also runs in virtual time on a `MemoryCable`.
"""

from __future__ import annotations

from typing import Final

from smets1.eui64 import Eui64
from smets1.hardware.air import Air
from smets1.hardware.radio import TransmitOutcome
from smets1.hardware.rcp.pipe import BytePipe
from smets1.hardware.rcp.spinel import Status
from smets1.tools.dongle.rcp_stick import Configure, PowerCycle, RcpStick, ScanEnergy, Transmit
from smets1.tools.dongle.shell import StickShell

__all__ = ["Dongle"]

_COORDINATOR: Final = 0x0000


class Dongle(StickShell):
    """One stick. `eui64` is what its factory gave it; a host may set another address."""

    def __init__(self, air: Air, pipe: BytePipe, eui64: Eui64) -> None:
        super().__init__(air, pipe, eui64)
        self._stick = RcpStick(eui64)

    @property
    def stick(self) -> RcpStick:
        return self._stick

    def reset(self, cause: Status = Status.RESET_WATCHDOG) -> None:
        """What a flaky stick does by itself."""
        self._stick.reset(cause)
        self._drain()

    def on_octets(self, octets: bytes) -> None:
        self._stick.receive(octets)
        self._drain()

    def _power_on(self) -> None:
        self._stick = RcpStick(self.eui64)

    # --- the antenna ----------------------------------------------------------------------------------------

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        self._stick.on_frame(psdu, lqi, rssi_dbm, now_us=self._air.scheduler.now_us())
        self._drain()

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        self._stick.on_transmitted(outcome)
        self._drain()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self._stick.on_energy(channel, rssi_dbm)
        self._drain()

    def _drain(self) -> None:
        for order in self._stick.take_orders():
            match order:
                case PowerCycle():
                    self._power_off()
                case Configure():
                    self._configure(order)
                case Transmit(psdu, retries):
                    assert self._radio is not None
                    self._radio.transmit(psdu, retries=retries)
                case ScanEnergy(channel, duration_us):
                    assert self._radio is not None
                    self._radio.scan_energy(channel, duration_us)
        octets = self._stick.take_octets()
        if octets:
            self.pipe.write(octets)

    def _configure(self, wanted: Configure) -> None:
        radio = self._radio
        if radio is None or radio.eui64 != wanted.eui64:
            radio = self._new_radio(wanted.eui64)
        radio.set_channel(wanted.channel)
        if (radio.pan_id, radio.short_address) != (wanted.pan_id, wanted.short_address):
            # the firmware has no word for a coordinator, and 0 is what they are called
            is_coordinator = wanted.short_address == _COORDINATOR
            radio.set_pan(wanted.pan_id, wanted.short_address, coordinator=is_coordinator)
        radio.set_receiver(wanted.is_receiving)
        radio.set_promiscuous(wanted.is_promiscuous)
        radio.set_pending(wanted.pending_shorts, wanted.pending_eui64s)
        radio.pends_always = wanted.pends_always
