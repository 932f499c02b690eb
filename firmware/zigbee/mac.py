"""MAC sublayer above the transceiver: scans, beacons, association, polling, and the indirect queue.

The transceiver itself does channel access, acknowledgements and repeats (`hardware/radio.py`). This
layer keeps one frame in it at a time. Work for the radio is left in `actions`, news for NWK in `events`.

Source: IEEE 802.15.4-2006, 7.1 (services), 7.5; Zigbee 05-3474-21, annex D (MAC constants).


Parts: `mac_queue` (the way into the radio), `mac_device` (scanning, associating, polling), and here
receiving, and being a parent.
"""

from __future__ import annotations

from typing import Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.mac_device import MacDevice
from smets1.firmware.zigbee.mac_events import (
    AssociationAsked,
    BeaconHeard,
    MacData,
    MacStatus,
    OrphanHeard,
    PolledBy,
    Transmit,
)
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
    split_data_frame,
)
from smets1.firmware.zigbee.mac_queue import BROADCAST, EXTENDED_KEY, FrameKind, Outgoing
from smets1.hardware.radio import TransmitOutcome

__all__ = ["MacLayer"]


BEACON_JITTER_US: Final = 30_000
REPEAT_WINDOW_US: Final = 500_000
REPEAT_TABLE_SIZE: Final = 2048
BUSY_TRIES: Final = 3  # CSMA begun anew: five assessments are few where routers repeat a broadcast


class MacLayer(MacDevice):
    """One node's MAC. `timers` is shared by the layers of the node."""

    __slots__ = ()

    # --- from the radio -------------------------------------------------------------------------------

    def receive(self, psdu: bytes, lqi: int, now_us: int) -> None:
        """A frame off the air. Anything foreign is counted and dropped."""
        if psdu and psdu[0] & 7 == 0 and not self._is_scanning and not self._is_conflicting(psdu):
            return  # a beacon that somebody else asked for
        plain = split_data_frame(psdu)
        if plain is not None:
            self._on_data(*plain, psdu, lqi, now_us)
            return
        try:
            frame = MacFrame.decode(psdu)
            if frame.frame_type is MacFrameType.DATA:
                self._on_other_data(frame, psdu, lqi, now_us)
            elif frame.frame_type is MacFrameType.MAC_COMMAND:
                self._on_command(frame, psdu, lqi, now_us)
            elif frame.frame_type is MacFrameType.BEACON:
                self._on_beacon(frame, lqi)
        except DecodeError:
            self.dropped_count += 1

    def _is_conflicting(self, psdu: bytes) -> bool:
        """A beacon with our PAN identifier, but not of our network, judged without decoding it.

        Where beacons have the shape of ours, as all ZigBee ones do: source PAN at 3, extended PAN id at 14.
        """
        is_same_pan = psdu[3:5] == self.pan_id.to_bytes(2, "little")
        return self.is_beaconing and is_same_pan and psdu[14:22] != self.beacon_payload[3:11]

    def on_transmitted(self, outcome: TransmitOutcome, now_us: int) -> None:
        item = self._in_flight
        if item is not None and outcome is TransmitOutcome.CHANNEL_BUSY and item.busy_tries < BUSY_TRIES:
            item.busy_tries += 1
            self.actions.append(Transmit(item.psdu))
            return
        self._in_flight = None
        self._busy = False
        if item is not None:
            if item.kind in (FrameKind.DATA, FrameKind.OTHER):
                self._on_sent(item, outcome)
            elif item.kind == FrameKind.POLL:
                self._on_poll_sent(outcome, now_us)
            elif item.kind == FrameKind.ASSOCIATE:
                self._on_associate_sent(outcome, now_us)
            else:
                self._scan_timer = self._timers.at(now_us + self._scan_unit_us, self._on_scan_time)
        self._feed_radio()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self._energy.append((channel, rssi_dbm))
        self._scan_next_energy()

    # --- receiving ------------------------------------------------------------------------------------

    def _is_repeat(self, source: int, psdu: bytes, now_us: int) -> bool:
        """The transceiver of the sender repeats a frame whose acknowledgement was lost.

        All its octets count, not the sequence number alone: anybody can guess that, and hide a frame to come.
        """
        last = self._repeats.get(source)
        if last is None and len(self._repeats) >= REPEAT_TABLE_SIZE:
            del self._repeats[next(iter(self._repeats))]
        self._repeats[source] = (now_us, psdu)
        return last is not None and last[1] == psdu and now_us - last[0] < REPEAT_WINDOW_US

    def _on_other_data(self, frame: MacFrame, psdu: bytes, lqi: int, now_us: int) -> None:
        """With the source PAN spelt out, or an address that ZigBee has no use for."""
        if frame.source_mode is not AddressMode.SHORT or frame.destination is None:
            self.dropped_count += 1
            return
        assert frame.source is not None
        assert frame.destination_pan is not None
        pan_id, destination = frame.destination_pan, frame.destination
        self._on_data(pan_id, destination, frame.source, frame.payload, psdu, lqi, now_us)

    def _on_data(
        self, pan_id: int, destination: int, source: int, payload: bytes, psdu: bytes, lqi: int, now_us: int
    ) -> None:
        if pan_id != self.pan_id or self._is_scanning:
            self.dropped_count += 1
            return
        if self._poll_wait is not None and source == self._parent and destination != BROADCAST:
            self._end_poll(MacStatus.SUCCESS)
            if psdu[0] & 0x10:  # frame pending
                self.poll(self._parent)
        if not payload or payload[2:4] == self.deaf_to:
            return
        is_broadcast = destination == BROADCAST  # nobody acknowledges it: no transceiver repeats it
        if is_broadcast or not self._is_repeat(source, psdu, now_us):
            self.events.append(MacData(source, is_broadcast, payload, lqi))

    def _on_command(self, frame: MacFrame, psdu: bytes, lqi: int, now_us: int) -> None:
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
        child = source | EXTENDED_KEY if is_extended else source
        if self._is_repeat(child, psdu, now_us):
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
        elif command == MacCommand.COORDINATOR_REALIGNMENT and self._is_orphan_scan and is_extended:
            self._end_orphan_scan(CoordinatorRealignment.decode(frame.payload))

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

    # --- being a parent -------------------------------------------------------------------------------

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
        self._enqueue(Outgoing(frame.encode(), 0, FrameKind.OTHER))

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
        child = eui64 | EXTENDED_KEY
        self._queue_indirect(child, Outgoing(frame.encode(), handle, FrameKind.OTHER, child), now_us)

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
        self._enqueue(Outgoing(frame.encode(), 0, FrameKind.OTHER))
