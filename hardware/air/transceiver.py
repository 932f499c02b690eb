"""One transceiver chip: channel access, acknowledgement wait, repeats. Its antenna is a `Channel`.

Times of a lone acknowledged frame of n octets (no FCS) given at 0, with a back-off of b units:
assessment from 320 b to 320 b + 128, first symbol at 320 b + 320, last at + 32 (n + 8), the
acknowledgement's first symbol 192 later, its last 352 after that.

The receiver is on from the start; a device that sleeps turns it off. The chip finishes what it is
at before it turns to the next thing: a frame given while its own acknowledgement is due, during an
energy scan or the inter-frame spacing begins its back-off after that.

Left out: the beacon-enabled (slotted) mode, guaranteed time slots, MAC security.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from smets1.errors import ClosedError, MisuseError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.air.channel import Channel, Emission, EnergyScan
from smets1.hardware.ieee802154 import (
    ACK_FRAME_OCTETS,
    ACK_WAIT_US,
    BACKOFF_UNIT_US,
    BROADCAST_PAN,
    BROADCAST_SHORT,
    CCA_US,
    COMMAND_DATA_REQUEST,
    FCS_OCTETS,
    LONG_SPACING_US,
    MAX_BACKOFFS,
    MAX_EXPONENT,
    MAX_FRAME_OCTETS,
    MAX_SHORT_SPACING_OCTETS,
    MIN_EXPONENT,
    NO_SHORT,
    OCTET_US,
    PHY_OVERHEAD_OCTETS,
    SHORT_SPACING_US,
    TURNAROUND_US,
    FramePeek,
    airtime_us,
    peek,
)
from smets1.hardware.radio import CHANNELS, RadioListener, TransmitOutcome

if TYPE_CHECKING:
    from smets1.hardware.air.medium import Air
    from smets1.hardware.clock import Timer

__all__ = ["AirRadio"]

_NEVER = 1 << 62
_OVERHEAD_OCTETS = PHY_OVERHEAD_OCTETS + FCS_OCTETS


class AirRadio:
    """A `FrameRadio` on the air. Made by `Air.radio`, never directly."""

    __slots__ = (
        "_air",
        "_at",
        "_backoffs",
        "_exponent",
        "_free_us",
        "_head",
        "_is_on",
        "_on_since_serial",
        "_on_since_us",
        "_pending_eui64s",
        "_pending_shorts",
        "_psdu",
        "_retries_left",
        "_timer",
        "_turn",
        "_wants_ack",
        "channel",
        "eui64",
        "has_short",
        "index",
        "is_closed",
        "is_coordinator",
        "is_promiscuous",
        "listener",
        "name",
        "pan_id",
        "pends_always",
        "short_address",
    )

    def __init__(self, air: Air, index: int, eui64: Eui64, name: str, channel: Channel) -> None:
        self.eui64 = eui64
        self.name = name
        self.index = index
        self.channel = channel
        self.listener: RadioListener | None = None
        self.pan_id = BROADCAST_PAN
        self.short_address = BROADCAST_SHORT
        self.has_short = False
        self.is_coordinator = False
        self.is_promiscuous = False
        self.is_closed = False
        self.pends_always = False  # as chips without a table of sources acknowledge a data request
        self._air = air
        self._at = air.scheduler.call_at_us
        self._is_on = True
        self._on_since_us = air.scheduler.now_us()  # hears what starts from here on
        self._on_since_serial = air.emission_count  # and what is emitted after this one
        self._pending_shorts: frozenset[int] = frozenset()
        self._pending_eui64s: frozenset[Eui64] = frozenset()
        self._psdu: bytes | None = None  # the frame at hand; None: idle
        self._head: FramePeek | None = None
        self._wants_ack = False
        self._retries_left = 0
        self._backoffs = 0
        self._exponent = MIN_EXPONENT
        self._free_us = 0  # no back-off begins before
        self._turn = 0  # counts transmissions, so that a late event knows that it is late
        self._timer: Timer | None = None
        channel.enter(self)

    def __repr__(self) -> str:
        return f"<AirRadio {self.name} channel {self.channel.number}>"

    # --- FrameRadio ---

    def attach(self, listener: RadioListener) -> None:
        self.listener = listener

    def set_channel(self, channel: int) -> None:
        """Raises MisuseError for a channel outside 11..26."""
        if channel not in CHANNELS:
            raise MisuseError(f"channel {channel} is not one of 11..26")
        self._check_open()
        if channel != self.channel.number:
            self.channel.leave(self)
            self.channel = self._air.channel(channel)
            self.channel.enter(self)
            self._hear_from_now()

    def set_pan(self, pan_id: int, short_address: int, *, coordinator: bool) -> None:
        self._check_open()
        is_waiting = self.index in self.channel.waiting
        self.channel.leave(self)
        self.pan_id = pan_id
        self.short_address = short_address
        self.has_short = short_address not in (BROADCAST_SHORT, NO_SHORT)
        self.is_coordinator = coordinator
        self.channel.enter(self)
        if is_waiting:
            self.channel.waiting[self.index] = self

    def set_receiver(self, on: bool) -> None:
        if on and not self._is_on:
            self._hear_from_now()
        self._is_on = on

    def set_pending(self, shorts: Collection[int], extendeds: Collection[Eui64]) -> None:
        self._pending_shorts = frozenset(shorts)
        self._pending_eui64s = frozenset(extendeds)

    def transmit(self, psdu: bytes, *, retries: int = 3) -> None:
        """Raises MisuseError while the last frame is not done with, or unless it has 1..125 octets."""
        if self._psdu is not None:
            raise MisuseError("the radio has a frame already: wait for on_transmitted")
        if not 0 < len(psdu) <= MAX_FRAME_OCTETS:
            raise MisuseError(f"a frame has 1..{MAX_FRAME_OCTETS} octets without FCS, not {len(psdu)}")
        self._check_open()
        self._psdu = psdu = bytes(psdu)
        self._head = head = peek(psdu)
        self._wants_ack = head is not None and head.is_ack_requested
        self._retries_left = retries
        self._contend(self._air.scheduler.now_us())

    def scan_energy(self, channel: int, duration_us: int) -> None:
        """Listen to the power on a channel, deaf to frames meanwhile. Raises MisuseError: no such channel."""
        if channel not in CHANNELS:
            raise MisuseError(f"channel {channel} is not one of 11..26")
        self._check_open()
        now_us = self._air.scheduler.now_us()
        scan = EnergyScan(self, now_us, now_us + duration_us)
        scanned = self._air.channel(channel)
        for emission in scanned.emissions:
            scanned.note_energy(scan, emission)
        scanned.scans.append(scan)
        self._on_since_us = max(self._on_since_us, scan.end_us)
        self._on_since_serial = _NEVER
        self._free_us = max(self._free_us, scan.end_us)
        self._at(scan.end_us, self._on_scanned, scanned, scan)

    def close(self) -> None:
        """Power off. A frame on its way is cut off; nothing is called any more."""
        if self.is_closed:
            return
        self.is_closed = True
        self._turn += 1
        if self._timer is not None:
            self._timer.cancel()
        self.channel.leave(self)
        self.listener = None

    # --- beyond FrameRadio ---

    def set_promiscuous(self, on: bool) -> None:
        """Hand over every intact frame on the channel, acknowledgements too; answer only what is for us."""
        self._check_open()
        self.is_promiscuous = on
        if on:
            self.channel.promiscuous[self.index] = self
        else:
            self.channel.promiscuous.pop(self.index, None)

    @property
    def is_receiver_on(self) -> bool:
        return self._is_on

    # --- sending ---

    def _contend(self, from_us: int) -> None:
        self._backoffs = 0
        self._exponent = MIN_EXPONENT
        self._back_off(max(from_us, self._free_us))

    def _back_off(self, from_us: int) -> None:
        when_us = from_us + self._air.draw_bits(self._exponent) * BACKOFF_UNIT_US + CCA_US
        self._timer = self._at(when_us, self._on_assessed, when_us)

    def _on_assessed(self, now_us: int) -> None:
        """Clear channel assessment has ended (unslotted CSMA-CA, 7.5.1.4, figure 69)."""
        channel = self.channel
        psdu = self._psdu
        if psdu is None or self.is_closed:
            return
        if now_us - CCA_US < self._free_us:  # an acknowledgement or an energy scan has come in between
            self._back_off(self._free_us)
        elif channel.busy_until_us > now_us - CCA_US and channel.is_busy(self, now_us):
            self._backoffs += 1
            if self._backoffs > MAX_BACKOFFS:
                self._finish(TransmitOutcome.CHANNEL_BUSY, now_us)
                return
            self._exponent = min(self._exponent + 1, MAX_EXPONENT)
            self._back_off(now_us)
        else:
            start_us = now_us + TURNAROUND_US
            end_us = start_us + (_OVERHEAD_OCTETS + len(psdu)) * OCTET_US
            emission = Emission(start_us, end_us, self, self.eui64, psdu, self._head)
            self._turn += 1
            self._free_us = end_us
            self._air.emit(channel, emission)

    def on_sent(self, channel: Channel, now_us: int, *, is_answered: bool) -> None:
        """The last symbol of the frame has gone. `is_answered`: somebody acknowledges it."""
        if not self._wants_ack:
            self._finish(TransmitOutcome.SENT, now_us)
            return
        if channel is self.channel:
            channel.waiting[self.index] = self
        if not is_answered:
            self._give_up_at(now_us + ACK_WAIT_US)

    def awaits(self, head: FramePeek) -> bool:
        """Whether this acknowledgement is for the frame at hand: nothing but the sequence number says so."""
        return self._head is not None and head.sequence == self._head.sequence

    def on_acknowledgement(self, head: FramePeek, now_us: int) -> None:
        """The one waited for."""
        pending = head.is_frame_pending
        self._finish(TransmitOutcome.ACKED_PENDING if pending else TransmitOutcome.ACKED, now_us)

    def on_answer_missed(self, turn: int, sent_us: int) -> None:
        """An acknowledgement for us went over without our hearing it. Late or repeated calls do nothing."""
        if turn == self._turn and self._psdu is not None:
            self._give_up_at(sent_us + ACK_WAIT_US)

    def turn(self) -> int:
        """Which of its transmissions this is."""
        return self._turn

    def _give_up_at(self, when_us: int) -> None:
        self._timer = self._at(when_us, self._on_no_ack, self._turn, when_us)

    def _on_no_ack(self, turn: int, now_us: int) -> None:
        if turn != self._turn:
            return
        self._turn += 1
        self.channel.waiting.pop(self.index, None)
        if self._retries_left > 0:
            self._retries_left -= 1
            self._contend(now_us)
        else:
            self._finish(TransmitOutcome.NO_ACK, now_us)

    def _finish(self, outcome: TransmitOutcome, now_us: int) -> None:
        psdu = self._psdu
        if psdu is None:
            return
        self._turn += 1
        self._psdu = None
        self.channel.waiting.pop(self.index, None)
        is_long = len(psdu) + FCS_OCTETS > MAX_SHORT_SPACING_OCTETS
        spacing_us = LONG_SPACING_US if is_long else SHORT_SPACING_US
        # an assessment and a turnaround lie between the back-off and the first symbol anyway
        self._free_us = max(self._free_us, now_us + spacing_us - CCA_US - TURNAROUND_US)
        if self.listener is not None:
            self.listener.on_transmitted(outcome)

    # --- receiving ---

    def is_listening(self, emission: Emission) -> bool:
        """On, tuned in since its first symbol, and with a host."""
        return self._is_on and self.listener is not None and self.is_tuned(emission)

    def is_tuned(self, emission: Emission) -> bool:
        """Enough for the acknowledgement that it waits for: the receiver need not be on.

        Where a loop in real time runs behind, its time of now is ahead of the events it still has to
        run; then the order of events decides, so that a busy machine does not deafen a radio.
        """
        return emission.serial > self._on_since_serial or self._on_since_us <= emission.start_us

    def _hear_from_now(self) -> None:
        now_us = self._air.scheduler.now_us()
        if now_us >= self._on_since_us:  # else an energy scan goes on
            self._on_since_us = now_us
            self._on_since_serial = self._air.emission_count

    def acknowledge(self, head: FramePeek, received_us: int) -> Emission:
        """The acknowledgement that the chip sends by itself, 192 us after the frame's last symbol."""
        pending = head.command_id == COMMAND_DATA_REQUEST and (
            self.pends_always
            or head.source_short in self._pending_shorts
            or head.source_eui64 in self._pending_eui64s
        )
        psdu, peeked = _ACKS[pending][head.sequence]
        start_us = received_us + TURNAROUND_US
        self._free_us = end_us = start_us + _ACK_US
        return Emission(start_us, end_us, self, self.eui64, psdu, peeked)

    def on_received(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        """To the host, unless that has gone meanwhile."""
        if self.listener is not None:
            self.listener.on_frame(psdu, lqi, rssi_dbm)

    def _on_scanned(self, channel: Channel, scan: EnergyScan) -> None:
        channel.scans.remove(scan)
        if scan.end_us >= self._on_since_us:  # no longer scan goes on
            self._on_since_serial = self._air.emission_count
        if self.listener is not None:
            self.listener.on_energy(channel.number, scan.peak_dbm)

    def _check_open(self) -> None:
        if self.is_closed:
            raise ClosedError(f"radio {format_eui64(self.eui64)} is closed")


def _ack(sequence: int, *, pending: bool) -> tuple[bytes, FramePeek]:
    psdu = bytes((0x12 if pending else 0x02, 0x00, sequence))
    head = peek(psdu)
    assert head is not None
    return psdu, head


_ACK_US = airtime_us(ACK_FRAME_OCTETS)
_ACKS = [[_ack(sequence, pending=pending) for sequence in range(256)] for pending in (False, True)]
