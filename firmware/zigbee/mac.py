"""MAC sublayer above the transceiver: scans, beacons, association, polling, and the indirect queue.

The transceiver itself does channel access, acknowledgements and repeats (`hardware/radio.py`). This
layer keeps one frame in it at a time. Work for the radio is left in `actions`, news for NWK in `events`.

Source: IEEE 802.15.4-2006, 7.1 (services), 7.5; Zigbee 05-3474-21, annex D (MAC constants).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.mac_frames import (
    AddressMode,
    AssociationRequest,
    AssociationResponse,
    AssociationStatus,
    Beacon,
    CoordinatorRealignment,
    MacCommand,
    MacFrame,
    MacFrameType,
    data_frame,
)
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import TransmitOutcome

__all__ = [
    "Associated",
    "AssociationAsked",
    "BeaconHeard",
    "EnergyMeasured",
    "MacConfirm",
    "MacData",
    "MacEvent",
    "MacLayer",
    "MacStatus",
    "OrphanHeard",
    "Polled",
    "PolledBy",
    "Realigned",
    "ScanEnergy",
    "Scanned",
    "SetChannel",
    "SetPan",
    "SetPending",
    "SetReceiver",
    "Transmit",
]

BROADCAST: Final = 0xFFFF
BEACON_JITTER_US: Final = 30_000
SCAN_UNIT_US: Final = 15_360  # aBaseSuperframeDuration, 960 symbols
RESPONSE_WAIT_US: Final = 32 * SCAN_UNIT_US  # macResponseWaitTime
INDIRECT_US: Final = 7_680_000  # macTransactionPersistenceTime as ZigBee sets it
FRAME_WAIT_US: Final = 40_000  # macMaxFrameTotalWaitTime is 19.5 ms; a simulated parent may be slower
REPEAT_WINDOW_US: Final = 500_000
REPEAT_TABLE_SIZE: Final = 2048
ASSOCIATION_POLLS: Final = 4
INDIRECT_LIMIT: Final = 16
BUSY_TRIES: Final = 3  # CSMA begun anew: five assessments are few where routers repeat a broadcast
_EXTENDED_KEY: Final = 1 << 64


@unique
class MacStatus(IntEnum):
    """Source: IEEE 802.15.4-2006, Table 78."""

    SUCCESS = 0x00
    CHANNEL_ACCESS_FAILURE = 0xE1
    NO_ACK = 0xE9
    NO_DATA = 0xEB
    TRANSACTION_EXPIRED = 0xF0
    TRANSACTION_OVERFLOW = 0xF1


# --- work for the radio ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transmit:
    psdu: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetChannel:
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPan:
    pan_id: int
    short_address: int
    is_coordinator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReceiver:
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPending:
    shorts: tuple[int, ...]
    extendeds: tuple[Eui64, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanEnergy:
    channel: int
    duration_us: int


RadioAction = Transmit | SetChannel | SetPan | SetReceiver | SetPending | ScanEnergy


# --- news for NWK -----------------------------------------------------------------------------------


@dataclass(slots=True)
class MacData:
    """A data frame; mutable only because that makes it three times cheaper. Do not change it."""

    source: int  # short address
    is_broadcast: bool
    payload: bytes
    lqi: int


@dataclass(frozen=True, slots=True)
class MacConfirm:
    handle: int
    status: MacStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconHeard:
    channel: int
    pan_id: int
    source: int
    beacon: Beacon
    lqi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    beacons: tuple[BeaconHeard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyMeasured:
    levels_dbm: tuple[tuple[int, int], ...]  # (channel, level)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationAsked:
    eui64: Eui64
    capability: int
    lqi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Associated:
    """How our own association ended; status None: no answer."""

    status: int | None
    short_address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """How our own poll ended: SUCCESS (a frame came), NO_DATA, NO_ACK or CHANNEL_ACCESS_FAILURE."""

    status: MacStatus


@dataclass(frozen=True, slots=True)
class PolledBy:
    """A device has asked us for data: it is alive, and thinks that we are its parent."""

    source: int | None  # short address, None: it gave its EUI-64


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanHeard:
    eui64: Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class Realigned:
    realignment: CoordinatorRealignment


MacEvent = (
    MacData
    | MacConfirm
    | Scanned
    | EnergyMeasured
    | AssociationAsked
    | Associated
    | Polled
    | PolledBy
    | OrphanHeard
    | Realigned
    | BeaconHeard
)


class _Outgoing:
    """A frame on its way; `child` is the indirect queue it came from."""

    __slots__ = ("busy_tries", "child", "deadline", "handle", "kind", "psdu")

    def __init__(self, psdu: bytes, handle: int, kind: int, child: int | None = None) -> None:
        self.psdu = psdu
        self.handle = handle
        self.kind = kind
        self.child = child
        self.busy_tries = 0
        self.deadline: Deadline | None = None


_DATA, _BEACON_REQUEST, _ASSOCIATE, _POLL, _OTHER = range(5)
_STATUS: Final = {
    TransmitOutcome.SENT: MacStatus.SUCCESS,
    TransmitOutcome.ACKED: MacStatus.SUCCESS,
    TransmitOutcome.ACKED_PENDING: MacStatus.SUCCESS,
    TransmitOutcome.NO_ACK: MacStatus.NO_ACK,
    TransmitOutcome.CHANNEL_BUSY: MacStatus.CHANNEL_ACCESS_FAILURE,
}


class MacLayer:
    """One node's MAC. `timers` is shared by the layers of the node."""

    __slots__ = (
        "_association_polls",
        "_beacons",
        "_busy",
        "_energy",
        "_in_flight",
        "_indirect",
        "_is_associating",
        "_is_scanning",
        "_parent",
        "_pending_shown",
        "_poll_wait",
        "_queue",
        "_receiver_on",
        "_repeats",
        "_rng",
        "_scan_channels",
        "_scan_unit_us",
        "_timers",
        "actions",
        "beacon_payload",
        "channel",
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
        self.sequence = rng.randrange(256)
        self.dropped_count = 0
        self._rng = rng
        self._timers = timers
        self._queue: deque[_Outgoing] = deque()
        self._in_flight: _Outgoing | None = None
        self._busy = False
        self._indirect: dict[int, deque[_Outgoing]] = {}
        self._pending_shown: tuple[int, ...] = ()
        self._repeats: dict[int, int] = {}
        self._receiver_on = True
        self._is_scanning = False
        self._scan_channels: list[int] = []
        self._scan_unit_us = 0
        self._beacons: list[BeaconHeard] = []
        self._energy: list[tuple[int, int]] = []
        self._is_associating = False
        self._association_polls = 0
        self._parent = BROADCAST
        self._poll_wait: Deadline | None = None

    # --- state that NWK sets ----------------------------------------------------------------------

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
        self._is_scanning = self._is_associating = False
        self._show_filter()
        self.update_receiver()

    def update_receiver(self) -> None:
        is_on = self.is_rx_on_idle or self._is_scanning or self._is_associating or self._poll_wait is not None
        if is_on != self._receiver_on:
            self._receiver_on = is_on
            self.actions.append(SetReceiver(is_on=is_on))

    # --- requests from NWK ------------------------------------------------------------------------

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
        self._enqueue(_Outgoing(psdu, handle, _DATA))

    def send_indirect(self, destination: int, payload: bytes, handle: int, *, now_us: int) -> None:
        """A data frame kept until the child asks for it, 7.68 s at most; a MacConfirm follows."""
        sequence = self._next_sequence()
        psdu = data_frame(self.pan_id, destination, self.short_address, sequence, payload, wants_ack=True)
        self._queue_indirect(destination, _Outgoing(psdu, handle, _DATA, destination), now_us)

    def cancel_indirect(self, short_address: int) -> None:
        for item in self._indirect.pop(short_address, ()):
            if item.deadline is not None:
                item.deadline.cancel()
        self._show_pending()

    def scan_active(self, channels: tuple[int, ...], exponent: int) -> None:
        """Beacon requests on each channel; ends in Scanned."""
        self._begin_scan(channels, exponent)
        self._scan_next_active(0)

    def scan_energy(self, channels: tuple[int, ...], exponent: int) -> None:
        """Ends in EnergyMeasured."""
        self._begin_scan(channels, exponent)
        self._scan_next_energy()

    def associate(self, *, channel: int, pan_id: int, parent: int, capability: int) -> None:
        """Ends in Associated."""
        self._is_associating = True
        self._parent = parent
        self._association_polls = 0
        self.configure(channel=channel, pan_id=pan_id, short_address=BROADCAST, is_coordinator=False)
        self.update_receiver()
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.SHORT,
            destination_pan=pan_id,
            destination=parent,
            source_mode=AddressMode.EXTENDED,
            source_pan=BROADCAST,
            source=self.eui64,
            payload=AssociationRequest(capability=capability).encode(),
            wants_ack=True,
        )
        self._enqueue(_Outgoing(frame.encode(), 0, _ASSOCIATE))

    def respond_association(
        self, eui64: Eui64, short_address: int, status: AssociationStatus, handle: int, *, now_us: int
    ) -> None:
        """Into the indirect queue of the asker; a MacConfirm follows."""
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.EXTENDED,
            destination_pan=self.pan_id,
            destination=eui64,
            source_mode=AddressMode.EXTENDED,
            source_pan=self.pan_id,
            source=self.eui64,
            payload=AssociationResponse(short_address=short_address, status=status).encode(),
            wants_ack=True,
        )
        child = eui64 | _EXTENDED_KEY
        self._queue_indirect(child, _Outgoing(frame.encode(), handle, _OTHER, child), now_us)

    def poll(self, parent: int) -> None:
        """One data request; ends in Polled. Ignored while one is under way."""
        if self._poll_wait is None and not self._is_scanning:
            self._poll_wait = self._timers.at(1 << 62, self._on_poll_timeout)
            self.update_receiver()
            self._send_data_request(parent)

    @property
    def is_polling(self) -> bool:
        return self._poll_wait is not None

    def realign(self, eui64: Eui64, short_address: int) -> None:
        """Answer an orphan that is our child."""
        realignment = CoordinatorRealignment(
            pan_id=self.pan_id,
            coordinator_short=self.short_address,
            channel=self.channel,
            short_address=short_address,
        )
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.EXTENDED,
            destination_pan=BROADCAST,
            destination=eui64,
            source_mode=AddressMode.EXTENDED,
            source_pan=self.pan_id,
            source=self.eui64,
            payload=realignment.encode(),
            wants_ack=True,
        )
        self._enqueue(_Outgoing(frame.encode(), 0, _OTHER))

    # --- from the radio -----------------------------------------------------------------------------

    def receive(self, psdu: bytes, lqi: int, now_us: int) -> None:
        """A frame off the air. Anything foreign is counted and dropped."""
        if psdu and psdu[0] & 7 == 0 and not self._is_scanning and not self.is_coordinator:
            return  # a beacon that somebody else asked for: only a coordinator looks for conflicts in it
        try:
            frame = MacFrame.decode(psdu)
            if frame.frame_type is MacFrameType.DATA:
                self._on_data(frame, lqi, now_us)
            elif frame.frame_type is MacFrameType.MAC_COMMAND:
                self._on_command(frame, lqi, now_us)
            elif frame.frame_type is MacFrameType.BEACON:
                self._on_beacon(frame, lqi)
        except DecodeError:
            self.dropped_count += 1

    def on_transmitted(self, outcome: TransmitOutcome, now_us: int) -> None:
        item = self._in_flight
        if item is not None and outcome is TransmitOutcome.CHANNEL_BUSY and item.busy_tries < BUSY_TRIES:
            item.busy_tries += 1
            self.actions.append(Transmit(item.psdu))
            return
        self._in_flight = None
        self._busy = False
        if item is not None:
            if item.kind in (_DATA, _OTHER):
                self._on_sent(item, outcome)
            elif item.kind == _POLL:
                self._on_poll_sent(outcome, now_us)
            elif item.kind == _ASSOCIATE:
                self._on_associate_sent(outcome, now_us)
            else:
                self._timers.at(now_us + self._scan_unit_us, self._on_scan_time)
        self._feed_radio()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self._energy.append((channel, rssi_dbm))
        self._scan_next_energy()

    # --- receiving ----------------------------------------------------------------------------------

    def _is_repeat(self, source: int, sequence: int, now_us: int) -> bool:
        """The transceiver of the sender repeats a frame whose acknowledgement was lost."""
        last = self._repeats.get(source)
        if last is None and len(self._repeats) >= REPEAT_TABLE_SIZE:
            del self._repeats[next(iter(self._repeats))]
        self._repeats[source] = now_us << 8 | sequence
        return last is not None and last & 0xFF == sequence and now_us - (last >> 8) < REPEAT_WINDOW_US

    def _on_data(self, frame: MacFrame, lqi: int, now_us: int) -> None:
        source = frame.source
        if (
            source is None
            or frame.source_mode is not AddressMode.SHORT
            or frame.destination_pan != self.pan_id
            or self._is_scanning
        ):
            self.dropped_count += 1
            return
        if self._poll_wait is not None and source == self._parent and frame.destination != BROADCAST:
            self._end_poll(MacStatus.SUCCESS)
            if frame.is_pending:
                self.poll(self._parent)
        if self._is_repeat(source, frame.sequence, now_us):
            return
        if frame.payload:
            self.events.append(MacData(source, frame.destination == BROADCAST, frame.payload, lqi))

    def _on_command(self, frame: MacFrame, lqi: int, now_us: int) -> None:
        if not frame.payload:
            raise DecodeError("MAC command", 0, "no command identifier")
        command = frame.payload[0]
        if command == MacCommand.BEACON_REQUEST:
            if self.is_beaconing:
                # all routers in range answer at once: without jitter most of their beacons collide
                when_us = now_us + self._rng.randrange(BEACON_JITTER_US)
                self._timers.at(when_us, self._answer_beacon_request)
            return
        source = frame.source
        if source is None:
            raise DecodeError("MAC command", 0, "no source address")
        is_extended = frame.source_mode is AddressMode.EXTENDED
        child = source | _EXTENDED_KEY if is_extended else source
        if self._is_repeat(child, frame.sequence, now_us):
            return
        if command == MacCommand.DATA_REQUEST:
            self.events.append(PolledBy(None if is_extended else source))
            self._release_indirect(child)
        elif command == MacCommand.ASSOCIATION_REQUEST and is_extended:
            if self.is_beaconing:
                capability = AssociationRequest.decode(frame.payload).capability
                self.events.append(AssociationAsked(eui64=source, capability=capability, lqi=lqi))
        elif command == MacCommand.ASSOCIATION_RESPONSE and self._is_associating:
            self._end_association(AssociationResponse.decode(frame.payload))
        elif command == MacCommand.ORPHAN_NOTIFICATION and is_extended and self.is_beaconing:
            self.events.append(OrphanHeard(eui64=source))
        elif command == MacCommand.COORDINATOR_REALIGNMENT:
            self.events.append(Realigned(realignment=CoordinatorRealignment.decode(frame.payload)))

    def _on_beacon(self, frame: MacFrame, lqi: int) -> None:
        if frame.source is None or frame.source_pan is None or frame.source_mode is not AddressMode.SHORT:
            return
        heard = BeaconHeard(
            channel=self.channel if not self._is_scanning else self._scan_channels[0],
            pan_id=frame.source_pan,
            source=frame.source,
            beacon=Beacon.decode(frame.payload),
            lqi=lqi,
        )
        if self._is_scanning:
            self._beacons.append(heard)
        else:
            self.events.append(heard)

    def _answer_beacon_request(self, now_us: int) -> None:
        if not self.is_beaconing or self._is_scanning:
            return
        beacon = Beacon(
            is_pan_coordinator=self.is_coordinator,
            permits_association=self.is_permitting,
            payload=self.beacon_payload,
        )
        frame = MacFrame(
            frame_type=MacFrameType.BEACON,
            sequence=self._next_sequence(),
            source_mode=AddressMode.SHORT,
            source_pan=self.pan_id,
            source=self.short_address,
            payload=beacon.encode(),
        )
        self._enqueue(_Outgoing(frame.encode(), 0, _OTHER))

    # --- sending ------------------------------------------------------------------------------------

    def _next_sequence(self) -> int:
        self.sequence = (self.sequence + 1) & 0xFF
        return self.sequence

    def _enqueue(self, item: _Outgoing) -> None:
        self._queue.append(item)
        if not self._busy:
            self._feed_radio()

    def _feed_radio(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            item = self._in_flight = self._queue.popleft()
            self.actions.append(Transmit(item.psdu))

    def _on_sent(self, item: _Outgoing, outcome: TransmitOutcome) -> None:
        status = _STATUS[outcome]
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

    # --- indirect queue -----------------------------------------------------------------------------

    def _queue_indirect(self, child: int, item: _Outgoing, now_us: int) -> None:
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

    def _on_indirect_expired(self, now_us: int, item: _Outgoing) -> None:
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
            shorts = tuple(child for child in children if child < _EXTENDED_KEY)
            extendeds = tuple(child & ~_EXTENDED_KEY for child in children if child >= _EXTENDED_KEY)
            self.actions.append(SetPending(shorts=shorts, extendeds=extendeds))

    # --- scans --------------------------------------------------------------------------------------

    def _begin_scan(self, channels: tuple[int, ...], exponent: int) -> None:
        self._is_scanning = True
        self._scan_channels = list(channels)
        self._scan_unit_us = SCAN_UNIT_US * (2**exponent + 1)
        self._beacons = []
        self._energy = []
        self._show_filter()
        self.update_receiver()

    def _scan_next_active(self, now_us: int) -> None:
        if not self._is_scanning:
            return
        if not self._scan_channels:
            beacons = tuple(self._beacons)
            self._beacons = []
            self._end_scan()
            self.events.append(Scanned(beacons=beacons))
            return
        self.actions.append(SetChannel(channel=self._scan_channels[0]))
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.SHORT,
            destination_pan=BROADCAST,
            destination=BROADCAST,
            payload=bytes((MacCommand.BEACON_REQUEST,)),
        )
        self._enqueue(_Outgoing(frame.encode(), 0, _BEACON_REQUEST))

    def _on_scan_time(self, now_us: int) -> None:
        if self._is_scanning:
            del self._scan_channels[:1]
            self._scan_next_active(now_us)

    def _scan_next_energy(self) -> None:
        if self._scan_channels:
            channel = self._scan_channels.pop(0)
            self.actions.append(ScanEnergy(channel=channel, duration_us=self._scan_unit_us))
            return
        levels = tuple(self._energy)
        self._end_scan()
        self.events.append(EnergyMeasured(levels_dbm=levels))

    def _end_scan(self) -> None:
        self._is_scanning = False
        self.actions.append(SetChannel(channel=self.channel))
        self._show_filter()
        self.update_receiver()

    # --- association and polling ----------------------------------------------------------------------

    def _on_associate_sent(self, outcome: TransmitOutcome, now_us: int) -> None:
        if _STATUS[outcome] is not MacStatus.SUCCESS:
            self._end_association(None)
        else:
            self._timers.at(now_us + RESPONSE_WAIT_US, self._on_association_time)

    def _on_association_time(self, now_us: int) -> None:
        if not self._is_associating:
            return
        if self._association_polls == ASSOCIATION_POLLS:
            self._end_association(None)
            return
        self._association_polls += 1
        self._send_data_request(self._parent)
        self._timers.at(now_us + RESPONSE_WAIT_US // 2, self._on_association_time)

    def _end_association(self, response: AssociationResponse | None) -> None:
        self._is_associating = False
        if response is None:
            self.update_receiver()
            self.events.append(Associated(status=None, short_address=BROADCAST))
            return
        if response.status == AssociationStatus.SUCCESSFUL:
            self.short_address = response.short_address
            self._show_filter()
        self.update_receiver()
        self.events.append(Associated(status=response.status, short_address=response.short_address))

    def _send_data_request(self, parent: int) -> None:
        """Under our short address, or by EUI-64 while there is none. Source: 7.3.4."""
        self._parent = parent
        has_short = self.short_address < 0xFFFE
        frame = MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.SHORT,
            destination_pan=self.pan_id,
            destination=parent,
            source_mode=AddressMode.SHORT if has_short else AddressMode.EXTENDED,
            source_pan=self.pan_id,
            source=self.short_address if has_short else self.eui64,
            payload=bytes((MacCommand.DATA_REQUEST,)),
            wants_ack=True,
        )
        self._enqueue(_Outgoing(frame.encode(), 0, _POLL))

    def _on_poll_sent(self, outcome: TransmitOutcome, now_us: int) -> None:
        if self._poll_wait is None:
            return  # a poll of the association, which has its own timer
        if outcome is TransmitOutcome.ACKED_PENDING:
            self._poll_wait.cancel()
            self._poll_wait = self._timers.at(now_us + FRAME_WAIT_US, self._on_poll_timeout)
        elif outcome is TransmitOutcome.ACKED:
            self._end_poll(MacStatus.NO_DATA)
        else:
            self._end_poll(_STATUS[outcome])

    def _on_poll_timeout(self, now_us: int) -> None:
        self._end_poll(MacStatus.NO_DATA)

    def _end_poll(self, status: MacStatus) -> None:
        if self._poll_wait is not None:
            self._poll_wait.cancel()
            self._poll_wait = None
            self.update_receiver()
            self.events.append(Polled(status=status))
