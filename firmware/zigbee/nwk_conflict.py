"""Two networks with one PAN identifier, two devices with one short address: found, and told apart again.

Theory. A router that hears a beacon with our PAN identifier and another extended one reports it to the hub,
the network manager: it announces a new PAN identifier and, when that has gone round, all change to it.
Beacons are not secured, so one forged beacon must not move a home: the hub wants to have heard of it three
times, each a minute after the last, and routers and hub ask for beacons meanwhile, to see whether it is
still so. Who patiently forges beacons for minutes can move the home from one PAN identifier to the next;
the specification gives no way to tell that from the truth.

A short address that two devices announce is given up by both: a router picks another, an end device is
given one by its parent.

Source: Zigbee 05-3474-21, 3.6.1.9 (address conflicts), 3.6.1.13 (PAN identifier conflicts), 3.4.9, 3.4.10.
"""

from __future__ import annotations

import random
from typing import ClassVar, Final

from smets1.errors import DecodeError
from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import BeaconHeard, MacData
from smets1.firmware.zigbee.mac_frames import AssociationStatus, ZigbeeBeacon
from smets1.firmware.zigbee.nwk import FIRST_BROADCAST, MAX_RADIUS, Handlers
from smets1.firmware.zigbee.nwk_ageing import NwkAgeing
from smets1.firmware.zigbee.nwk_broadcast import BROADCAST_LIFE_US
from smets1.firmware.zigbee.nwk_events import Renumbered
from smets1.firmware.zigbee.nwk_frames import (
    NetworkReport,
    NetworkStatus,
    NetworkStatusCode,
    NetworkUpdate,
    NwkCommand,
    NwkFrameType,
    NwkHeader,
    RejoinResponse,
)
from smets1.firmware.zigbee.nwk_tables import Neighbour
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.timers import TimerQueue
from smets1.hardware.radio import BROADCAST_ALL, BROADCAST_RX_ON, COORDINATOR, NodeRole

__all__ = ["NwkConflict"]

SIGHTINGS: Final = 3
SIGHTING_GAP_US: Final = 60_000_000
LOOK_AGAIN_US: Final = 61_000_000
SIGHTINGS_LIFE_US: Final = 600_000_000
LAST_PAN_ID: Final = 0x3FFF


class NwkConflict(NwkAgeing):
    __slots__ = ("_pending_update", "_sighted_us", "_sighting_count")

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        super().__init__(mac, keys, rng, timers, role)
        self._sighting_count = 0
        self._sighted_us = -SIGHTINGS_LIFE_US
        self._pending_update: tuple[int, int, int] | None = None  # update and PAN identifier, channel

    def _flood(self, command: NwkCommand, destination: int, now_us: int) -> None:
        """A command that every router passes on, once."""
        header = NwkHeader(
            frame_type=NwkFrameType.NWK_COMMAND,
            destination=destination,
            source=self.short_address,
            radius=MAX_RADIUS,
            sequence=self._next_sequence(),
            source_eui64=self.eui64,
        )
        self._broadcast(header.encode(), command.encode(), destination, header.sequence, now_us)

    # --- PAN identifiers --------------------------------------------------------------------------------

    def _on_foreign_beacon(self, heard: BeaconHeard, now_us: int) -> None:
        if heard.pan_id != self.mac.pan_id or not self.is_router or not self.mac.is_beaconing:
            return
        try:
            beacon = ZigbeeBeacon.decode(heard.beacon.payload)
        except DecodeError:
            self.counters.malformed += 1
            return
        if beacon.extended_pan_id != self.extended_pan_id:
            self._on_pan_conflict(now_us)

    def _on_pan_conflict(self, now_us: int) -> None:
        since_us = now_us - self._sighted_us
        if since_us < SIGHTING_GAP_US:
            return
        self._sighting_count = 1 if since_us > SIGHTINGS_LIFE_US else self._sighting_count + 1
        self._sighted_us = now_us
        if self.role is not NodeRole.COORDINATOR:
            report = NetworkReport(extended_pan_id=self.extended_pan_id, pan_ids=(self.mac.pan_id,))
            hop = self.next_hop(COORDINATOR)
            if hop is not None:
                self.send_command(COORDINATOR, report, now_us=now_us, radius=MAX_RADIUS, next_hop=hop)
        elif self._sighting_count >= SIGHTINGS:
            self._sighting_count = 0
            self.change_pan_id(now_us)
            return
        if self._sighting_count < SIGHTINGS:
            self._timers.at(now_us + LOOK_AGAIN_US, self._look_again)

    def _look_again(self, now_us: int) -> None:
        if self.mac.is_beaconing:
            self.mac.ask_beacons()

    def _on_network_report(
        self, command: NetworkReport, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        if self.role is not NodeRole.COORDINATOR or command.extended_pan_id != self.extended_pan_id:
            return
        if self.mac.pan_id in command.pan_ids:
            self._on_pan_conflict(now_us)

    def change_pan_id(self, now_us: int) -> None:
        """Coordinator: tell all, and change when the news has gone round."""
        pan_id = self.mac.pan_id
        while pan_id == self.mac.pan_id:
            pan_id = self._rng.randrange(1, LAST_PAN_ID)
        update_id = (self.update_id + 1) & 0xFF
        command = NetworkUpdate(extended_pan_id=self.extended_pan_id, update_id=update_id, pan_id=pan_id)
        self._flood(command, BROADCAST_ALL, now_us)
        self._await_update(update_id, pan_id, now_us)

    def _on_network_update(
        self, command: NetworkUpdate, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        is_newer = 0 < (command.update_id - self.update_id) & 0xFF < 0x80
        if header.source == COORDINATOR and command.extended_pan_id == self.extended_pan_id and is_newer:
            self._await_update(command.update_id, command.pan_id, now_us)

    def change_channel(self, channel: int, update_id: int, now_us: int) -> None:
        """The network manager has said so; all change when that has gone round. Source: 2.4.3.3.9."""
        if 0 < (update_id - self.update_id) & 0xFF < 0x80:
            self._await_update(update_id, self.mac.pan_id, now_us, channel)

    def _await_update(self, update_id: int, pan_id: int, now_us: int, channel: int | None = None) -> None:
        update = update_id, pan_id, self.mac.channel if channel is None else channel
        if self._pending_update != update:
            self._pending_update = update
            self._timers.at(now_us + BROADCAST_LIFE_US, self._on_update_time, self._pending_update)

    def _on_update_time(self, now_us: int, update: tuple[int, int, int]) -> None:
        if self._pending_update == update:
            self._apply_update()

    def _apply_update(self) -> bool:
        """False where none is due."""
        if self._pending_update is None:
            return False
        update_id, pan_id, channel = self._pending_update
        self._pending_update = None
        if self.short_address >= 0xFFF8 or self.extended_pan_id == 0:
            return False  # off the network by now
        self.update_id = update_id
        self.mac.configure(
            channel=channel,
            pan_id=pan_id,
            short_address=self.short_address,
            is_coordinator=self.role is NodeRole.COORDINATOR,
        )
        self.refresh_beacon()
        self.is_dirty = True
        self.events.append(Renumbered(is_address=False))
        return True

    # --- short addresses --------------------------------------------------------------------------------

    def on_address_conflict(self, short_address: int, now_us: int) -> None:
        """We have heard two devices announce it: tell all. Source: 3.6.1.9.2."""
        if not self.is_router:
            return
        status = NetworkStatus(status=NetworkStatusCode.ADDRESS_CONFLICT, destination=short_address)
        self._flood(status, BROADCAST_RX_ON, now_us)
        self._give_up_address(short_address, now_us)

    def _on_status(self, command: NetworkStatus, header: NwkHeader, data: MacData, now_us: int) -> None:
        if command.status == NetworkStatusCode.ADDRESS_CONFLICT:
            self._give_up_address(command.destination, now_us)
        else:
            self._on_network_status(command, header, data, now_us)

    def _give_up_address(self, short_address: int, now_us: int) -> None:
        if not self.is_router or short_address == COORDINATOR:
            return
        if short_address == self.short_address:
            self._take_address(self._fresh_address())
            return
        child = self.neighbours.get(short_address)
        if child is not None and child.is_child and not child.is_router:
            self._renumber_child(child, now_us)
        else:
            eui64 = self.addresses.get(short_address)
            if eui64 is not None:
                self._forget_address(short_address)

    def _forget_address(self, short_address: int) -> None:
        """Whoever keeps it will say so."""
        eui64 = self.addresses.pop(short_address)
        self.shorts.pop(eui64, None)
        self.routes.pop(short_address, None)
        self.dirty_devices[eui64] = None

    def _take_address(self, short_address: int) -> None:
        self.short_address = short_address
        self.learn_address(short_address, self.eui64)
        self.mac.configure(
            channel=self.mac.channel,
            pan_id=self.mac.pan_id,
            short_address=short_address,
            is_coordinator=False,
        )
        self.is_dirty = True
        self.events.append(Renumbered(is_address=True))

    def _renumber_child(self, child: Neighbour, now_us: int) -> None:
        """An unasked rejoin response; the child is at both addresses until it is heard at the new one."""
        eui64 = child.eui64
        if eui64 is None:
            return
        fresh = self._add_guest(eui64, child.capability, child.lqi, now_us)
        if fresh is not None:
            response = RejoinResponse(short_address=fresh.short_address, status=AssociationStatus.SUCCESSFUL)
            self.send_command(child.short_address, response, now_us=now_us, destination_eui64=eui64)

    def on_unasked_rejoin_response(self, command: RejoinResponse, header: NwkHeader, data: MacData) -> None:
        """Our parent has another address for us."""
        is_ours = header.destination_eui64 == self.eui64 and data.source == self.parent
        is_usable = COORDINATOR < command.short_address < FIRST_BROADCAST
        if header.is_secured and is_ours and is_usable and command.status == AssociationStatus.SUCCESSFUL:
            self._take_address(command.short_address)

    # --- who takes what -------------------------------------------------------------------------------

    _mac_handlers: ClassVar[Handlers] = {
        **NwkAgeing._mac_handlers,
        BeaconHeard: _on_foreign_beacon,
    }
    _command_handlers: ClassVar[Handlers] = {
        **NwkAgeing._command_handlers,
        NetworkReport: _on_network_report,
        NetworkUpdate: _on_network_update,
        NetworkStatus: _on_status,
    }
