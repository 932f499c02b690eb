"""The air itself: carries each frame to whom it reaches, and tells what became of it.

A lone acknowledged exchange costs three events: the channel assessment, the end of the frame, the
end of the acknowledgement. Whom a frame is for is looked up by address, so that the cost does not
grow with the number of radios; only broadcasts visit the radios of their PAN, and promiscuous
radios visit everything.

A frame is judged at its end, for each receiver: was it listening from the first symbol, did
something else overlap, what do the faults say? Two frames that overlap at a receiver destroy each
other, however strong (no capture effect).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from random import Random
from typing import TypeAlias

from smets1.errors import MisuseError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.air.channel import Channel, Emission, Fate
from smets1.hardware.air.faults import CLEAR_LINK, STRANGER, Faults, Link, lqi_of
from smets1.hardware.air.transceiver import AirRadio
from smets1.hardware.clock import Scheduler
from smets1.hardware.ieee802154 import (
    BROADCAST_SHORT,
    MAX_FRAME_OCTETS,
    TURNAROUND_US,
    FramePeek,
    FrameType,
    airtime_us,
    peek,
)
from smets1.hardware.radio import CHANNELS

__all__ = ["Air", "Tap"]

Tap: TypeAlias = Callable[[int, bytes, Eui64, Fate], object]
"""(start of the preamble in us, MAC header and payload, sender, what became of it)."""

_DUPLICATE_US = 2_000
_NOISE_DBM = -40


class Air:
    """A 2.4 GHz medium in this process. `faults` may be changed at any time."""

    def __init__(self, scheduler: Scheduler, rng: Random) -> None:
        """Two streams are drawn from `rng`: back-offs, and faults."""
        self.scheduler = scheduler
        self.faults = Faults()
        self.draw_bits = Random(rng.getrandbits(64)).getrandbits
        self._fault_rng = Random(rng.getrandbits(64))
        self._channels = {number: Channel(number, self.faults) for number in CHANNELS}
        self._radios: dict[Eui64, AirRadio] = {}
        self._radio_count = 0
        self.emission_count = 0
        self._taps: list[Tap] = []
        self._untold: deque[Emission] = deque()  # frames that the taps wait for, by start
        self._at = scheduler.call_at_us

    def radio(self, eui64: Eui64, name: str | None = None, *, is_clone: bool = False) -> AirRadio:
        """A transceiver on channel 11, no PAN, receiver on.

        Raises MisuseError where an open radio has that EUI-64, unless a clone is what is wanted.
        """
        present = self._radios.get(eui64)
        if present is not None and not present.is_closed and not is_clone:
            raise MisuseError(f"a radio {format_eui64(eui64)} is on the air already")
        self._radio_count += 1
        name = name or format_eui64(eui64)
        radio = AirRadio(self, self._radio_count, eui64, name, self._channels[CHANNELS[0]])
        self._radios[eui64] = radio
        return radio

    def channel(self, number: int) -> Channel:
        return self._channels[number]

    def tap(self, callback: Tap) -> Callable[[], None]:
        """Tell of every frame, acknowledgements too, in order of start, once its fate is known.

        A frame is told as it was sent, whatever happened to it. Returns what undoes the tap.
        """
        self._taps.append(callback)
        return lambda: self._taps.remove(callback)

    def inject(
        self,
        channel: int,
        psdu: bytes,
        *,
        sender: Eui64 = STRANGER,
        has_good_fcs: bool = True,
        heard_by: Collection[Eui64] | None = None,
        rssi_dbm: int | None = None,
    ) -> int:
        """Put 0..125 octets (without FCS) on the air as a stranger's radio does; returns their end in us.

        They start 192 us from now, whether the channel is free or not. `sender` names whose link
        faults apply and what taps are told; `heard_by` limits who is in range.
        """
        if len(psdu) > MAX_FRAME_OCTETS:
            raise MisuseError(f"a frame has at most {MAX_FRAME_OCTETS} octets without FCS, not {len(psdu)}")
        psdu = bytes(psdu)
        start_us = self.scheduler.now_us() + TURNAROUND_US
        emission = Emission(start_us, start_us + airtime_us(len(psdu)), None, sender, psdu, peek(psdu))
        emission.has_good_fcs = has_good_fcs
        emission.heard_by = None if heard_by is None else frozenset(heard_by)
        emission.rssi_dbm = rssi_dbm
        self.emit(self._channels[channel], emission)
        return emission.end_us

    def interfere(
        self,
        duration_us: int,
        *,
        channels: Collection[int] = CHANNELS,
        heard_by: Collection[Eui64] | None = None,
        rssi_dbm: int = _NOISE_DBM,
    ) -> None:
        """A burst of noise from now: who hears it finds the channel busy and receives nothing intact."""
        now_us = self.scheduler.now_us()
        for number in sorted(channels):
            noise = Emission(now_us, now_us + duration_us, None, STRANGER, None, None)
            noise.heard_by = None if heard_by is None else frozenset(heard_by)
            noise.rssi_dbm = rssi_dbm
            self._channels[number].occupy(noise)

    # --- from here on: for the radios ---

    def emit(self, channel: Channel, emission: Emission) -> None:
        """Occupy the channel from `start_us`, one turnaround ahead, and judge the frame at its end."""
        self.emission_count += 1
        emission.serial = self.emission_count
        channel.occupy(emission)
        if self._taps:
            self._untold.append(emission)
        head = emission.head
        is_ack = head is not None and head.frame_type == FrameType.ACKNOWLEDGMENT
        self._at(emission.end_us, self._on_ack_end if is_ack else self._on_frame_end, channel, emission)

    def _on_frame_end(self, channel: Channel, emission: Emission) -> None:
        sender, head = emission.sender, emission.head
        fate = Fate.UNHEARD
        if sender is not None and sender.is_closed:  # lost its power on the way
            self._settle(emission, Fate.CORRUPTED)
            return
        if head is not None:
            for radio in tuple(channel.find(head)):  # a copy: listeners may retune
                if radio is sender or not radio.is_listening(emission):
                    continue
                fate = max(fate, self._receive(channel, emission, radio, head))
        if channel.promiscuous:
            self._overhear(channel, emission)
        self._settle(emission, fate)
        if sender is not None:
            sender.on_sent(channel, emission.end_us, is_answered=emission.is_answered)

    def _on_ack_end(self, channel: Channel, emission: Emission) -> None:
        fate = Fate.UNHEARD
        head = emission.head
        assert head is not None
        if emission.sender is None or not emission.sender.is_closed:
            for radio in tuple(channel.waiting.values()):
                if radio is not emission.sender and radio.awaits(head):
                    fate = max(fate, self._receive_ack(channel, emission, radio))
            if channel.promiscuous:
                self._overhear(channel, emission)
        self._settle(emission, fate)
        if emission.answers is not None:
            asker, turn = emission.answers
            asker.on_answer_missed(turn, emission.start_us - TURNAROUND_US)

    def _receive(self, channel: Channel, emission: Emission, radio: AirRadio, head: FramePeek) -> Fate:
        """One receiver that the frame is for, and that listens: acknowledge and hand over."""
        is_clean = self.faults.is_clear and emission.is_plain
        octets = emission.psdu if is_clean else self._arrive(channel, emission, radio)
        assert octets is not None
        if octets is not emission.psdu:
            if isinstance(octets, Fate):
                return octets
            garbled = peek(octets)
            if garbled is None or not channel.accepts(radio, garbled):
                return Fate.CORRUPTED
            head = garbled
        if head.is_ack_requested and head.destination_short != BROADCAST_SHORT:
            answer = radio.acknowledge(head, emission.end_us)
            if emission.sender is not None:
                emission.is_answered = True
                answer.answers = (emission.sender, emission.sender.turn())
            self.emit(channel, answer)
        if is_clean and emission.rssi_dbm is None:
            radio.on_received(octets, CLEAR_LINK.lqi, CLEAR_LINK.rssi_dbm)
        else:
            self._hand_over(emission, radio, octets)
        return Fate.RECEIVED

    def _receive_ack(self, channel: Channel, emission: Emission, radio: AirRadio) -> Fate:
        if not radio.is_tuned(emission):
            return Fate.UNHEARD
        octets = self._arrive(channel, emission, radio)
        if isinstance(octets, Fate):
            return octets
        head = emission.head if octets is emission.psdu else peek(octets)
        if head is None or head.frame_type != FrameType.ACKNOWLEDGMENT or not radio.awaits(head):
            return Fate.CORRUPTED
        radio.on_acknowledgement(head, emission.end_us)
        return Fate.RECEIVED

    def _overhear(self, channel: Channel, emission: Emission) -> None:
        """Hand the frame to promiscuous radios that it is not for."""
        head = emission.head
        for radio in tuple(channel.promiscuous.values()):
            if radio is emission.sender or not radio.is_listening(emission):
                continue
            if head is None or not channel.accepts(radio, head):
                octets = self._arrive(channel, emission, radio)
                if not isinstance(octets, Fate):
                    self._hand_over(emission, radio, octets)

    def _arrive(self, channel: Channel, emission: Emission, radio: AirRadio) -> bytes | Fate:
        """The octets that come out of a listening chip, or why none do."""
        octets = emission.psdu
        assert octets is not None
        if self.faults.is_clear and emission.is_plain:
            return octets
        if not channel.is_audible(emission, radio):
            return Fate.UNHEARD
        if channel.is_disturbed(emission, radio):
            return Fate.COLLIDED
        if not emission.has_good_fcs:
            return Fate.CORRUPTED
        link = self._link(emission, radio)
        if link.is_faulty:
            if self._happens(link.loss):
                return Fate.LOST
            if self._happens(link.corrupt):
                return Fate.CORRUPTED
            if self._happens(link.undetected):
                return self._flip_bits(octets)
        return octets

    def _hand_over(self, emission: Emission, radio: AirRadio, octets: bytes) -> None:
        """To the host, at once or as late and as often as the faults want."""
        link = CLEAR_LINK if self.faults.is_clear else self._link(emission, radio)
        rssi_dbm = link.rssi_dbm if emission.rssi_dbm is None else emission.rssi_dbm
        lqi = link.lqi if emission.rssi_dbm is None else lqi_of(rssi_dbm)
        if not link.is_faulty:
            radio.on_received(octets, lqi, rssi_dbm)
            return
        when_us = emission.end_us + link.delay_us
        if link.jitter_us:
            when_us += self._fault_rng.randrange(link.jitter_us + 1)
        if self._happens(link.reorder):
            when_us += link.reorder_us
        if self._happens(link.duplicate):
            self._at(when_us + _DUPLICATE_US, radio.on_received, octets, lqi, rssi_dbm)
        if when_us == emission.end_us:
            radio.on_received(octets, lqi, rssi_dbm)
        else:
            self._at(when_us, radio.on_received, octets, lqi, rssi_dbm)

    def _link(self, emission: Emission, radio: AirRadio) -> Link:
        return self.faults.link(emission.sender_eui64, radio.eui64) or CLEAR_LINK

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._fault_rng.random() < probability

    def _flip_bits(self, octets: bytes) -> bytes:
        """One to three bits flipped; not empty."""
        garbled = bytearray(octets)
        count = 1 + self._fault_rng.randrange(3)
        for bit in self._fault_rng.sample(range(8 * len(garbled)), count):
            garbled[bit >> 3] ^= 1 << (bit & 7)
        return bytes(garbled)

    def _settle(self, emission: Emission, fate: Fate) -> None:
        """The frame is over: tell the taps, waiting for those that started before it."""
        emission.fate = fate if emission.has_good_fcs else Fate.BAD_FCS
        untold = self._untold
        while untold and untold[0].fate is not None:
            told = untold.popleft()
            assert told.psdu is not None
            for tap in tuple(self._taps):
                tap(told.start_us, told.psdu, told.sender_eui64, told.fate or Fate.UNHEARD)
