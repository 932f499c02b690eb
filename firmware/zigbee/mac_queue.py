"""MAC state, and the way of a frame into the radio: at once, or when a sleeping child asks for it.

Source: IEEE 802.15.4-2006, 7.1.1 (data service), 7.5.6.3 (indirect transmission); Zigbee 05-3474-21, annex D.
"""

from __future__ import annotations

import random
from collections import deque
from enum import IntEnum, unique
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.mac_events import (
    BeaconHeard,
    MacConfirm,
    MacEvent,
    MacStatus,
    RadioAction,
    SetChannel,
    SetPan,
    SetPending,
    SetReceiver,
    Transmit,
)
from smets1.firmware.zigbee.mac_frames import data_frame
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import TransmitOutcome

__all__ = ["BROADCAST", "EXTENDED_KEY", "STATUS_OF", "FrameKind", "MacCore", "Outgoing"]


BROADCAST: Final = 0xFFFF
INDIRECT_US: Final = 7_680_000  # macTransactionPersistenceTime as ZigBee sets it
INDIRECT_LIMIT: Final = 16
EXTENDED_KEY: Final = 1 << 64
"""Added to an EUI-64, so that both kinds of address are keys of one table."""


@unique
class FrameKind(IntEnum):
    """What a frame in the radio is for, and so who hears how it went."""

    DATA = 0
    SCAN = 1  # a beacon request or an orphan notification
    ASSOCIATE = 2
    POLL = 3
    OTHER = 4


class Outgoing:
    """A frame on its way; `child` is the indirect queue it came from."""

    __slots__ = ("busy_tries", "child", "deadline", "handle", "kind", "psdu")

    def __init__(self, psdu: bytes, handle: int, kind: int, child: int | None = None) -> None:
        self.psdu = psdu
        self.handle = handle
        self.kind = kind
        self.child = child
        self.busy_tries = 0
        self.deadline: Deadline | None = None


STATUS_OF: Final = {
    TransmitOutcome.SENT: MacStatus.SUCCESS,
    TransmitOutcome.ACKED: MacStatus.SUCCESS,
    TransmitOutcome.ACKED_PENDING: MacStatus.SUCCESS,
    TransmitOutcome.NO_ACK: MacStatus.NO_ACK,
    TransmitOutcome.CHANNEL_BUSY: MacStatus.CHANNEL_ACCESS_FAILURE,
}


class MacCore:
    """State, the queue into the radio, and the frames that wait for sleeping children."""

    __slots__ = (
        "_association_polls",
        "_beacons",
        "_busy",
        "_energy",
        "_in_flight",
        "_indirect",
        "_is_associating",
        "_is_orphan_scan",
        "_is_scanning",
        "_parent",
        "_pending_shown",
        "_poll_wait",
        "_queue",
        "_receiver_on",
        "_repeats",
        "_rng",
        "_scan_channels",
        "_scan_timer",
        "_scan_unit_us",
        "_timers",
        "actions",
        "beacon_payload",
        "channel",
        "deaf_to",
        "dropped_count",
        "eui64",
        "events",
        "is_beaconing",
        "is_coordinator",
        "is_permitting",
        "is_rx_on_idle",
        "pan_id",
        "sequence",
        "short_address",
    )

    def __init__(self, eui64: Eui64, rng: random.Random, timers: TimerQueue, *, is_rx_on_idle: bool) -> None:
        self.eui64 = eui64
        self.actions: list[RadioAction] = []
        self.events: list[MacEvent] = []
        self.channel = 11
        self.pan_id = BROADCAST
        self.short_address = BROADCAST
        self.is_coordinator = False
        self.is_beaconing = False  # answers beacon requests
        self.is_permitting = False
        self.is_rx_on_idle = is_rx_on_idle
        self.beacon_payload = b""
        self.deaf_to: bytes | None = None  # NWK destination, as on the air, of frames that NWK drops unread
        self.sequence = rng.randrange(256)
        self.dropped_count = 0
        self._rng = rng
        self._timers = timers
        self._queue: deque[Outgoing] = deque()
        self._in_flight: Outgoing | None = None
        self._busy = False
        self._indirect: dict[int, deque[Outgoing]] = {}
        self._pending_shown: tuple[int, ...] = ()
        self._repeats: dict[int, tuple[int, bytes]] = {}
        self._receiver_on = True
        self._is_scanning = False
        self._is_orphan_scan = False
        self._scan_channels: list[int] = []
        self._scan_timer: Deadline | None = None
        self._scan_unit_us = 0
        self._beacons: list[BeaconHeard] = []
        self._energy: list[tuple[int, int]] = []
        self._is_associating = False
        self._association_polls = 0
        self._parent = BROADCAST
        self._poll_wait: Deadline | None = None

    # --- state that NWK sets --------------------------------------------------------------------------

    def configure(self, *, channel: int, pan_id: int, short_address: int, is_coordinator: bool) -> None:
        if channel != self.channel or self.pan_id == BROADCAST:
            self.actions.append(SetChannel(channel=channel))
        self.channel = channel
        self.pan_id = pan_id
        self.short_address = short_address
        self.is_coordinator = is_coordinator
        self._show_filter()

    def _show_filter(self) -> None:
        pan_id = BROADCAST if self._is_scanning else self.pan_id
        self.actions.append(
            SetPan(pan_id=pan_id, short_address=self.short_address, is_coordinator=self.is_coordinator)
        )

    def reset(self) -> None:
        """Forget the network; frames on their way are lost."""
        self._queue.clear()
        for queue in self._indirect.values():
            for item in queue:
                if item.deadline is not None:
                    item.deadline.cancel()
        self._indirect.clear()
        self._repeats.clear()
        self._show_pending()
        self.pan_id = self.short_address = BROADCAST
        self.is_coordinator = self.is_beaconing = self.is_permitting = False
        self._is_scanning = self._is_orphan_scan = self._is_associating = False
        self._show_filter()
        self.update_receiver()

    def update_receiver(self) -> None:
        is_on = self.is_rx_on_idle or self._is_scanning or self._is_associating or self._poll_wait is not None
        if is_on != self._receiver_on:
            self._receiver_on = is_on
            self.actions.append(SetReceiver(is_on=is_on))

    # --- data -----------------------------------------------------------------------------------------

    def send(self, destination: int, payload: bytes, handle: int = 0) -> None:
        """A data frame at once; a MacConfirm follows. handle 0: only a failure of interest to nobody."""
        self.sequence = sequence = (self.sequence + 1) & 0xFF
        psdu = data_frame(
            self.pan_id,
            destination,
            self.short_address,
            sequence,
            payload,
            wants_ack=destination != BROADCAST,
        )
        self._enqueue(Outgoing(psdu, handle, FrameKind.DATA))

    def send_indirect(self, destination: int, payload: bytes, handle: int, *, now_us: int) -> None:
        """A data frame kept until the child asks for it, 7.68 s at most; a MacConfirm follows."""
        sequence = self._next_sequence()
        psdu = data_frame(self.pan_id, destination, self.short_address, sequence, payload, wants_ack=True)
        self._queue_indirect(destination, Outgoing(psdu, handle, FrameKind.DATA, destination), now_us)

    def cancel_indirect(self, short_address: int) -> None:
        for item in self._indirect.pop(short_address, ()):
            if item.deadline is not None:
                item.deadline.cancel()
        self._show_pending()

    # --- the radio takes one frame at a time ----------------------------------------------------------

    def _next_sequence(self) -> int:
        self.sequence = (self.sequence + 1) & 0xFF
        return self.sequence

    def _enqueue(self, item: Outgoing) -> None:
        self._queue.append(item)
        if not self._busy:
            self._feed_radio()

    def _feed_radio(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            item = self._in_flight = self._queue.popleft()
            self.actions.append(Transmit(item.psdu))

    def _on_sent(self, item: Outgoing, outcome: TransmitOutcome) -> None:
        status = STATUS_OF[outcome]
        if item.child is not None:
            if status is not MacStatus.SUCCESS:
                if item.deadline is not None and item.deadline.callback is not None:
                    self._indirect.setdefault(item.child, deque()).appendleft(item)  # next time, perhaps
                    self._show_pending()
                    return
                status = MacStatus.TRANSACTION_EXPIRED
            elif item.deadline is not None:
                item.deadline.cancel()
        if item.handle:
            self.events.append(MacConfirm(item.handle, status))

    # --- indirect queue -------------------------------------------------------------------------------

    def _queue_indirect(self, child: int, item: Outgoing, now_us: int) -> None:
        queue = self._indirect.setdefault(child, deque())
        if len(queue) >= INDIRECT_LIMIT:
            self.events.append(MacConfirm(item.handle, MacStatus.TRANSACTION_OVERFLOW))
            return
        item.deadline = self._timers.at(now_us + INDIRECT_US, self._on_indirect_expired, item)
        queue.append(item)
        if len(queue) == 1:
            self._show_pending()

    def _release_indirect(self, child: int) -> None:
        queue = self._indirect.get(child)
        if not queue:
            return
        item = queue.popleft()
        if queue:
            # the frame-pending bit says: ask again at once
            item.psdu = bytes((item.psdu[0] | 0x10,)) + item.psdu[1:]
        else:
            item.psdu = bytes((item.psdu[0] & ~0x10,)) + item.psdu[1:]
            del self._indirect[child]
            self._show_pending()
        self._queue.appendleft(item)
        self._feed_radio()

    def _on_indirect_expired(self, now_us: int, item: Outgoing) -> None:
        assert item.child is not None
        queue = self._indirect.get(item.child)
        if queue is None or item not in queue:
            return  # in the radio at this moment; `_on_sent` decides
        queue.remove(item)
        if not queue:
            del self._indirect[item.child]
            self._show_pending()
        if item.handle:
            self.events.append(MacConfirm(item.handle, MacStatus.TRANSACTION_EXPIRED))

    def _show_pending(self) -> None:
        children = tuple(self._indirect)
        if children != self._pending_shown:
            self._pending_shown = children
            shorts = tuple(child for child in children if child < EXTENDED_KEY)
            extendeds = tuple(child & ~EXTENDED_KEY for child in children if child >= EXTENDED_KEY)
            self.actions.append(SetPending(shorts=shorts, extendeds=extendeds))
