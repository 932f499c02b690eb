"""One device with two antennas: on the simulated air and, by an RCP stick, on the real one (`air+rcp:`).

A `FrameRadio` over two others. Acknowledgements are a transceiver's own affair and name one address, so one
stick can serve one device: what is bridged is that device's network, whose frames it routes between both
sides as any ZigBee router does. A hub so equipped has simulated meters and a real display in one network.

Each neighbour is spoken to on the side where it was last heard, on both before that; broadcasts go to both.
While the stick is away the air goes on alone. Source: IEEE 802.15.4-2006, 7.5.6. Left out: two devices with
the same address, one on each side.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from smets1.errors import MisuseError
from smets1.eui64 import Eui64
from smets1.hardware.ieee802154 import peek
from smets1.hardware.radio import FrameRadio, RadioListener, TransmitOutcome
from smets1.hardware.rcp.radio import RcpRadio

__all__ = ["BridgeRadio"]

_BEST: Final = (
    TransmitOutcome.ACKED_PENDING,
    TransmitOutcome.ACKED,
    TransmitOutcome.SENT,
    TransmitOutcome.NO_ACK,
    TransmitOutcome.CHANNEL_BUSY,
)
_KNOWN: Final = 1_000
"""Neighbours remembered; strangers that only pass by push out the oldest."""


class _Side:
    """Who hears one of the two radios."""

    def __init__(self, bridge: BridgeRadio, index: int) -> None:
        self._bridge = bridge
        self._index = index

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        self._bridge.on_side_frame(self._index, psdu, lqi, rssi_dbm)

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        self._bridge.on_side_transmitted(self._index, outcome)

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self._bridge.on_side_energy(self._index, channel, rssi_dbm)


class BridgeRadio:
    """`air` and `stick` have the same EUI-64."""

    def __init__(self, air: FrameRadio, stick: RcpRadio) -> None:
        """Raises MisuseError where the two are not one device."""
        if air.eui64 != stick.eui64:
            raise MisuseError("both sides of a bridge are one device")
        self._stick = stick
        self._sides: tuple[FrameRadio, FrameRadio] = (air, stick)
        self._listener: RadioListener | None = None
        self._heard_on: dict[int, int] = {}  # short address or EUI-64, which cannot be mistaken -> side
        self._waits: dict[int, None] = {}  # sides that have not finished the present frame
        self._outcomes: list[TransmitOutcome] = []
        self._scans: dict[int, int] = {}
        self._scan_dbm: list[int] = []

    @property
    def eui64(self) -> Eui64:
        return self._stick.eui64

    def attach(self, listener: RadioListener) -> None:
        self._listener = listener
        for index, side in enumerate(self._sides):
            side.attach(_Side(self, index))

    def set_channel(self, channel: int) -> None:
        for side in self._sides:
            side.set_channel(channel)

    def set_pan(self, pan_id: int, short_address: int, *, coordinator: bool) -> None:
        for side in self._sides:
            side.set_pan(pan_id, short_address, coordinator=coordinator)

    def set_receiver(self, on: bool) -> None:
        for side in self._sides:
            side.set_receiver(on)

    def set_pending(self, shorts: Collection[int], extendeds: Collection[Eui64]) -> None:
        for side in self._sides:
            side.set_pending(shorts, extendeds)

    def close(self) -> None:
        self._listener = None
        for side in self._sides:
            side.close()

    # --- sending ------------------------------------------------------------------------------------------

    def transmit(self, psdu: bytes, *, retries: int = 3) -> None:
        """Raises MisuseError while the last frame is not done with."""
        if self._waits:
            raise MisuseError("the radio has a frame already: wait for on_transmitted")
        self._outcomes.clear()
        self._waits = dict.fromkeys(self._sides_for(psdu))
        for index in list(self._waits):
            self._sides[index].transmit(psdu, retries=retries)

    def _sides_for(self, psdu: bytes) -> list[int]:
        head = peek(psdu)
        target = None
        if head is not None and head.is_ack_requested:
            target = head.destination_short if head.destination_eui64 is None else head.destination_eui64
        known = None if target is None else self._heard_on.get(target)
        sides = self._sides_there()
        return [known] if known in sides else sides

    def _sides_there(self) -> list[int]:
        return [0, 1] if self._stick.up.is_set() else [0]

    def on_side_transmitted(self, index: int, outcome: TransmitOutcome) -> None:
        if index not in self._waits:
            return
        del self._waits[index]
        self._outcomes.append(outcome)
        if not self._waits and self._listener is not None:
            self._listener.on_transmitted(min(self._outcomes, key=_BEST.index))

    # --- hearing ------------------------------------------------------------------------------------------

    def on_side_frame(self, index: int, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        head = peek(psdu)
        if head is not None:
            source = head.source_short if head.source_eui64 is None else head.source_eui64
            if source is not None:
                self._heard_on.pop(source, None)
                self._heard_on[source] = index
                if len(self._heard_on) > _KNOWN:
                    del self._heard_on[next(iter(self._heard_on))]
        if self._listener is not None:
            self._listener.on_frame(psdu, lqi, rssi_dbm)

    def scan_energy(self, channel: int, duration_us: int) -> None:
        """The louder side counts."""
        self._scan_dbm.clear()
        self._scans = dict.fromkeys(self._sides_there(), channel)
        for index in list(self._scans):
            self._sides[index].scan_energy(channel, duration_us)

    def on_side_energy(self, index: int, channel: int, rssi_dbm: int) -> None:
        if self._scans.pop(index, None) != channel:
            return
        self._scan_dbm.append(rssi_dbm)
        if not self._scans and self._listener is not None:
            self._listener.on_energy(channel, max(self._scan_dbm))
