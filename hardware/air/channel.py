"""One radio channel: who is tuned to it, found by address, and what occupies it, and when.

Everything is put on the air exactly one turnaround time (192 us) before its first symbol: after a
clear channel assessment, or after the end of the frame that it acknowledges. So emissions come in
order of their start, and whoever assesses the channel or judges a frame at its end already knows
all that overlaps it: no event ever has to be taken back.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum, unique
from typing import TYPE_CHECKING

from smets1.eui64 import Eui64
from smets1.hardware.air.faults import NOISE_FLOOR_DBM, Faults
from smets1.hardware.ieee802154 import (
    BROADCAST_PAN,
    BROADCAST_SHORT,
    CCA_US,
    TURNAROUND_US,
    FramePeek,
    FrameType,
)

if TYPE_CHECKING:
    from smets1.hardware.air.transceiver import AirRadio

__all__ = ["Channel", "Emission", "EnergyScan", "Fate"]


_MEMORY_US = TURNAROUND_US + CCA_US  # an assessment may still ask for what ended so long before a start


@unique
class Fate(IntEnum):
    """What became of a frame; of several receivers the highest counts."""

    UNHEARD = 0  # nobody it was for was there, in range, listening
    LOST = 1
    CORRUPTED = 2  # received with a bad FCS
    COLLIDED = 3
    RECEIVED = 4
    BAD_FCS = 5  # injected so: everybody who heard it dropped it


class Emission:
    """A frame, or noise (`psdu` is None), on a channel from `start_us` up to `end_us`."""

    __slots__ = (
        "answers",
        "end_us",
        "fate",
        "has_good_fcs",
        "head",
        "heard_by",
        "is_answered",
        "overlaps",
        "psdu",
        "rssi_dbm",
        "sender",
        "sender_eui64",
        "serial",
        "start_us",
    )

    def __init__(  # made for every frame: keywords would cost
        self,
        start_us: int,
        end_us: int,
        sender: AirRadio | None,
        sender_eui64: Eui64,
        psdu: bytes | None,
        head: FramePeek | None,
    ) -> None:
        self.start_us = start_us
        self.end_us = end_us
        self.sender = sender  # None: a stranger's radio, or noise
        self.sender_eui64 = sender_eui64
        self.psdu = psdu
        self.head = head
        self.has_good_fcs = True
        self.heard_by: frozenset[Eui64] | None = None  # None: all in range
        self.rssi_dbm: int | None = None  # None: as the link says
        self.overlaps: list[Emission] | None = None
        self.answers: tuple[AirRadio, int] | None = None  # an acknowledgement: to whom, and which turn
        self.is_answered = False  # an acknowledgement of it will be on the air
        self.fate: Fate | None = None  # None: not over yet
        self.serial = 0  # in order of emission over the whole air

    @property
    def is_plain(self) -> bool:
        """Nothing about the emission itself keeps anybody from receiving it."""
        return self.overlaps is None and self.has_good_fcs and self.heard_by is None


class EnergyScan:
    """The highest power that one radio has seen on a channel in a time."""

    __slots__ = ("end_us", "peak_dbm", "radio", "start_us")

    def __init__(self, radio: AirRadio, start_us: int, end_us: int) -> None:
        self.radio = radio
        self.start_us = start_us
        self.end_us = end_us
        self.peak_dbm = NOISE_FLOOR_DBM


class Channel:
    """Occupancy and address tables of one channel of one air."""

    def __init__(self, number: int, faults: Faults) -> None:
        self.number = number
        self.busy_until_us = -CCA_US  # nothing is known to be on the air after this
        self.emissions: list[Emission] = []
        self.promiscuous: dict[int, AirRadio] = {}
        self.waiting: dict[int, AirRadio] = {}  # for an acknowledgement
        self.scans: list[EnergyScan] = []
        self._faults = faults
        self._radios: dict[int, AirRadio] = {}  # every dict of radios: by running number
        self._by_pan: dict[int, dict[int, AirRadio]] = {}
        self._by_short: dict[tuple[int | None, int], list[AirRadio]] = {}
        self._by_eui64: dict[Eui64, list[AirRadio]] = {}

    # --- who is here ---

    def enter(self, radio: AirRadio) -> None:
        """Note a radio's addresses; again after each change, with `leave` in between."""
        self._radios[radio.index] = radio
        self._by_pan.setdefault(radio.pan_id, {})[radio.index] = radio
        self._by_eui64.setdefault(radio.eui64, []).append(radio)
        if radio.pan_id != BROADCAST_PAN and radio.has_short:
            self._by_short.setdefault((radio.pan_id, radio.short_address), []).append(radio)
        if radio.is_promiscuous:
            self.promiscuous[radio.index] = radio

    def leave(self, radio: AirRadio) -> None:
        self._radios.pop(radio.index, None)
        self.promiscuous.pop(radio.index, None)
        self.waiting.pop(radio.index, None)
        _remove(self._by_eui64, radio.eui64, radio)
        _remove(self._by_short, (radio.pan_id, radio.short_address), radio)
        group = self._by_pan.get(radio.pan_id)
        if group is not None:
            group.pop(radio.index, None)
            if not group:
                del self._by_pan[radio.pan_id]

    def find(self, head: FramePeek) -> Collection[AirRadio]:
        """The radios whose filter passes this header, by lookup. Do not change radios meanwhile.

        Source: IEEE 802.15.4-2006, 7.5.6.2, third level of filtering. Acknowledgements pass none.
        """
        pan = head.destination_pan
        if head.frame_type == FrameType.ACKNOWLEDGMENT:
            return ()
        if head.destination_short is not None:
            if head.destination_short == BROADCAST_SHORT:
                return (self._radios if pan == BROADCAST_PAN else self._group(pan)).values()
            if pan != BROADCAST_PAN:
                return self._by_short.get((pan, head.destination_short), ())
            radios = self._radios.values()
            return [r for r in radios if r.has_short and r.short_address == head.destination_short]
        if head.destination_eui64 is not None:
            namesakes = self._by_eui64.get(head.destination_eui64, ())
            return [radio for radio in namesakes if pan in (radio.pan_id, BROADCAST_PAN)]
        if head.frame_type == FrameType.BEACON:
            return list((self._group(BROADCAST_PAN) | self._group(head.source_pan)).values())
        return [radio for radio in self._group(head.source_pan).values() if radio.is_coordinator]

    def accepts(self, radio: AirRadio, head: FramePeek) -> bool:
        """Whether this one radio's filter passes the header."""
        return any(found is radio for found in self.find(head))

    def _group(self, pan: int | None) -> dict[int, AirRadio]:
        return self._by_pan.get(pan, {}) if pan is not None else {}

    # --- what is on the air ---

    def occupy(self, emission: Emission) -> None:
        """Put on the air; finds what it overlaps, both ways."""
        start_us, end_us = emission.start_us, emission.end_us
        if self.busy_until_us <= start_us - _MEMORY_US:
            self.emissions.clear()
        else:
            self.emissions = [other for other in self.emissions if other.end_us > start_us - _MEMORY_US]
            for other in self.emissions:
                if other.end_us > start_us and other.start_us < end_us:
                    _add_overlap(other, emission)
                    _add_overlap(emission, other)
        self.emissions.append(emission)
        self.busy_until_us = max(self.busy_until_us, end_us)
        for scan in self.scans:
            self.note_energy(scan, emission)

    def is_busy(self, radio: AirRadio, now_us: int) -> bool:
        """Clear channel assessment by `radio` over the 128 us up to now, by carrier sense."""
        floor_us = now_us - CCA_US
        if self.busy_until_us <= floor_us:
            self.emissions.clear()
            return False
        self.emissions = [emission for emission in self.emissions if emission.end_us > floor_us]
        for emission in self.emissions:
            if emission.sender is radio:
                if emission.end_us > now_us:  # its own acknowledgement is due
                    return True
            elif emission.start_us < now_us and self.is_audible(emission, radio):
                return True
        return False

    def is_audible(self, emission: Emission, radio: AirRadio) -> bool:
        """Whether this radio's antenna gets anything of it."""
        if emission.heard_by is not None and radio.eui64 not in emission.heard_by:
            return False
        return self._faults.is_heard(emission.sender_eui64, radio.eui64)

    def is_disturbed(self, emission: Emission, radio: AirRadio) -> bool:
        """Whether something else that `radio` hears, or sends itself, overlaps the emission."""
        return emission.overlaps is not None and any(
            other.sender is radio or self.is_audible(other, radio) for other in emission.overlaps
        )

    def note_energy(self, scan: EnergyScan, emission: Emission) -> None:
        """Raise the scan's peak if the emission is heard in its time."""
        radio = scan.radio
        overlaps = emission.start_us < scan.end_us and emission.end_us > scan.start_us
        if not overlaps or emission.sender is radio or not self.is_audible(emission, radio):
            return
        link = self._faults.link(emission.sender_eui64, radio.eui64)
        if link is not None:
            rssi_dbm = link.rssi_dbm if emission.rssi_dbm is None else emission.rssi_dbm
            scan.peak_dbm = max(scan.peak_dbm, rssi_dbm)


def _add_overlap(emission: Emission, other: Emission) -> None:
    if emission.overlaps is None:
        emission.overlaps = []
    emission.overlaps.append(other)


def _remove(table: dict, key: object, radio: AirRadio) -> None:  # type: ignore[type-arg]
    radios = table.get(key)
    if radios is not None and radio in radios:
        radios.remove(radio)
        if not radios:
            del table[key]
