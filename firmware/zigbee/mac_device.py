"""The device's side of the MAC: scans, associating with a parent, asking it for data.

Source: IEEE 802.15.4-2006, 7.5.2 (scans), 7.5.3 (association), 7.5.6.3 (data request).
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zigbee.mac_events import (
    Associated,
    EnergyMeasured,
    MacStatus,
    Polled,
    Realigned,
    ScanEnergy,
    Scanned,
    SetChannel,
)
from smets1.firmware.zigbee.mac_frames import (
    AddressMode,
    AssociationRequest,
    AssociationResponse,
    AssociationStatus,
    CoordinatorRealignment,
    MacCommand,
    MacFrame,
    MacFrameType,
)
from smets1.firmware.zigbee.mac_queue import BROADCAST, STATUS_OF, FrameKind, MacCore, Outgoing
from smets1.hardware.radio import TransmitOutcome

__all__ = ["MacDevice"]


SCAN_UNIT_US: Final = 15_360  # aBaseSuperframeDuration, 960 symbols
RESPONSE_WAIT_US: Final = 32 * SCAN_UNIT_US  # macResponseWaitTime
FRAME_WAIT_US: Final = 40_000  # macMaxFrameTotalWaitTime is 19.5 ms; a simulated parent may be slower
ASSOCIATION_POLLS: Final = 4


class MacDevice(MacCore):
    __slots__ = ()

    # --- scans ----------------------------------------------------------------------------------------

    def scan_active(self, channels: tuple[int, ...], exponent: int) -> None:
        """Beacon requests on each channel; ends in Scanned."""
        self._begin_scan(channels, exponent)
        self._scan_next_active(0)

    def scan_orphan(self, channels: tuple[int, ...]) -> None:
        """Ask on each channel who is our parent; ends in Realigned. Source: IEEE 802.15.4-2006, 7.5.2.1.4."""
        self._begin_scan(channels, 0)
        self._is_orphan_scan = True
        self._scan_unit_us = RESPONSE_WAIT_US
        self._scan_next_active(0)

    def _end_orphan_scan(self, realignment: CoordinatorRealignment | None) -> None:
        self._end_scan()
        self.events.append(Realigned(realignment=realignment))

    def _orphan_notification(self) -> bytes:
        return MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.SHORT,
            destination_pan=BROADCAST,
            destination=BROADCAST,
            source_mode=AddressMode.EXTENDED,
            source_pan=BROADCAST,
            source=self.eui64,
            payload=bytes((MacCommand.ORPHAN_NOTIFICATION,)),
        ).encode()

    def ask_beacons(self) -> None:
        """One beacon request on our own channel, without a scan: whoever conflicts with us will answer."""
        self._enqueue(Outgoing(self._beacon_request(), 0, FrameKind.OTHER))

    def _beacon_request(self) -> bytes:
        return MacFrame(
            frame_type=MacFrameType.MAC_COMMAND,
            sequence=self._next_sequence(),
            destination_mode=AddressMode.SHORT,
            destination_pan=BROADCAST,
            destination=BROADCAST,
            payload=bytes((MacCommand.BEACON_REQUEST,)),
        ).encode()

    def scan_energy(self, channels: tuple[int, ...], exponent: int) -> None:
        """Ends in EnergyMeasured."""
        self._begin_scan(channels, exponent)
        self._scan_next_energy()

    def _begin_scan(self, channels: tuple[int, ...], exponent: int) -> None:
        self._is_scanning = True
        self._is_orphan_scan = False
        self._scan_channels = list(channels)
        self._scan_unit_us = SCAN_UNIT_US * (2**exponent + 1)
        self._beacons = []
        self._energy = []
        self._show_filter()
        self.update_receiver()

    def _scan_next_active(self, now_us: int) -> None:
        if not self._is_scanning:
            return
        if not self._scan_channels and self._is_orphan_scan:
            self._end_orphan_scan(None)
            return
        if not self._scan_channels:
            beacons = tuple(self._beacons)
            self._beacons = []
            self._end_scan()
            self.events.append(Scanned(beacons=beacons))
            return
        self.actions.append(SetChannel(channel=self._scan_channels[0]))
        question = self._orphan_notification() if self._is_orphan_scan else self._beacon_request()
        self._enqueue(Outgoing(question, 0, FrameKind.SCAN))

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
        self._is_scanning = self._is_orphan_scan = False
        if self._scan_timer is not None:
            self._scan_timer.cancel()
            self._scan_timer = None
        self.actions.append(SetChannel(channel=self.channel))
        self._show_filter()
        self.update_receiver()

    @property
    def is_scanning(self) -> bool:
        return self._is_scanning

    # --- association ----------------------------------------------------------------------------------

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
        self._enqueue(Outgoing(frame.encode(), 0, FrameKind.ASSOCIATE))

    def _on_associate_sent(self, outcome: TransmitOutcome, now_us: int) -> None:
        if STATUS_OF[outcome] is not MacStatus.SUCCESS:
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

    # --- polling --------------------------------------------------------------------------------------

    def poll(self, parent: int) -> None:
        """One data request; ends in Polled. Ignored while one is under way."""
        if self._poll_wait is None and not self._is_scanning:
            self._poll_wait = self._timers.at(1 << 62, self._on_poll_timeout)
            self.update_receiver()
            self._send_data_request(parent)

    @property
    def is_polling(self) -> bool:
        return self._poll_wait is not None

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
        self._enqueue(Outgoing(frame.encode(), 0, FrameKind.POLL))

    def _on_poll_sent(self, outcome: TransmitOutcome, now_us: int) -> None:
        if self._poll_wait is None:
            return  # a poll of the association, which has its own timer
        if outcome is TransmitOutcome.ACKED_PENDING:
            self._poll_wait.cancel()
            self._poll_wait = self._timers.at(now_us + FRAME_WAIT_US, self._on_poll_timeout)
        elif outcome is TransmitOutcome.ACKED:
            self._end_poll(MacStatus.NO_DATA)
        else:
            self._end_poll(STATUS_OF[outcome])

    def _on_poll_timeout(self, now_us: int) -> None:
        self._end_poll(MacStatus.NO_DATA)

    def _end_poll(self, status: MacStatus) -> None:
        if self._poll_wait is not None:
            self._poll_wait.cancel()
            self._poll_wait = None
            self.update_receiver()
            self.events.append(Polled(status=status))
