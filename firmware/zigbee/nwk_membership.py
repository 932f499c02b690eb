"""How a node comes to be on a network, and stops: scan, join, rejoin, leave.

Source: Zigbee 05-3474-21, 3.6.1 (network and device maintenance), 3.4.4, 3.4.6, 3.4.7.
"""

from __future__ import annotations

import random
from typing import ClassVar, Final

from smets1.errors import DecodeError
from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import (
    Associated,
    EnergyMeasured,
    MacData,
    MacStatus,
    Polled,
    Realigned,
    Scanned,
)
from smets1.firmware.zigbee.mac_frames import AssociationStatus, ZigbeeBeacon
from smets1.firmware.zigbee.nwk import FIRST_BROADCAST, Handlers
from smets1.firmware.zigbee.nwk_conflict import NwkConflict
from smets1.firmware.zigbee.nwk_events import (
    DeviceLeft,
    EnergyFound,
    JoinEnded,
    LeftNetwork,
    NetworkFound,
    NetworksFound,
    ParentLost,
    RejoinEnded,
)
from smets1.firmware.zigbee.nwk_frames import Leave, NwkHeader, RejoinRequest, RejoinResponse
from smets1.firmware.zigbee.nwk_tables import Neighbour, Relationship
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import BROADCAST_RX_ON, CHANNELS, COORDINATOR, NodeRole

__all__ = ["NwkLayer"]


REJOIN_WAIT_US: Final = 500_000
REJOIN_POLL_US: Final = 100_000
REJOIN_TRIES: Final = 3
PARENT_FAILURES: Final = 3
STACK_PROFILE_PRO: Final = 2


class NwkLayer(NwkConflict):
    """The whole NWK layer."""

    __slots__ = (
        "_candidate",
        "_is_rejoin_secured",
        "_is_rejoining",
        "_rejoin_exponent",
        "_rejoin_targets",
        "_rejoin_timer",
        "_rejoin_tries",
    )

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        super().__init__(mac, keys, rng, timers, role)
        self._candidate: NetworkFound | None = None
        self._rejoin_targets: list[NetworkFound] = []
        self._rejoin_timer: Deadline | None = None
        self._rejoin_tries = 0
        self._rejoin_exponent = 0
        self._is_rejoining = False
        self._is_rejoin_secured = True

    # --- looking for a network ------------------------------------------------------------------------

    def scan(self, channels: tuple[int, ...], exponent: int) -> None:
        """Ends in NetworksFound."""
        self.mac.scan_active(channels, exponent)

    def measure_energy(self, channels: tuple[int, ...], exponent: int) -> None:
        """Ends in EnergyFound."""
        self.mac.scan_energy(channels, exponent)

    def _on_energy(self, measured: EnergyMeasured, now_us: int) -> None:
        self.events.append(EnergyFound(levels_dbm=measured.levels_dbm))

    def _on_scanned(self, scanned: Scanned, now_us: int) -> None:
        networks = []
        for heard in scanned.beacons:
            try:
                beacon = ZigbeeBeacon.decode(heard.beacon.payload)
            except DecodeError:
                self.counters.malformed += 1
                continue
            if beacon.stack_profile != STACK_PROFILE_PRO or beacon.protocol_version != 2:
                continue
            networks.append(
                NetworkFound(
                    channel=heard.channel,
                    pan_id=heard.pan_id,
                    extended_pan_id=beacon.extended_pan_id,
                    short_address=heard.source,
                    permits_join=heard.beacon.permits_association,
                    depth=beacon.depth,
                    has_capacity=beacon.has_router_capacity
                    if self.is_router
                    else beacon.has_end_device_capacity,
                    update_id=beacon.update_id,
                    lqi=heard.lqi,
                )
            )
        networks.sort(key=lambda network: (-network.lqi, network.depth, network.short_address))
        if self._is_rejoining:
            self._on_rejoin_scan(networks, now_us)
        else:
            self.events.append(NetworksFound(networks=tuple(networks)))

    # --- joining --------------------------------------------------------------------------------------

    def associate(self, network: NetworkFound) -> None:
        """Ends in JoinEnded."""
        self._candidate = network
        self.mac.associate(
            channel=network.channel,
            pan_id=network.pan_id,
            parent=network.short_address,
            capability=self.capability,
        )

    def _on_associated(self, associated: Associated, now_us: int) -> None:
        network = self._candidate
        status = associated.status
        if (
            status == AssociationStatus.SUCCESSFUL
            and not COORDINATOR < associated.short_address < FIRST_BROADCAST
        ):
            status = AssociationStatus.PAN_ACCESS_DENIED  # no address that a device can have
        elif status == AssociationStatus.SUCCESSFUL and network is not None:
            self._adopt(network, associated.short_address)
            self.accepts_unsecured = True
        self.events.append(JoinEnded(status=status))

    def _adopt(self, network: NetworkFound, short_address: int) -> None:
        self.extended_pan_id = network.extended_pan_id
        self.update_id = network.update_id
        self.depth = min(network.depth + 1, 15)
        self.short_address = short_address
        self._set_parent(network.short_address, network.lqi)

    def _set_parent(self, parent: int, lqi: int) -> None:
        for neighbour in self.neighbours.values():
            if neighbour.relationship is Relationship.PARENT:
                neighbour.relationship = Relationship.SIBLING
        known = self.neighbours.get(parent)
        if known is None:
            known = Neighbour(parent, self.addresses.get(parent), Relationship.PARENT, 0x0E)
            self.neighbours[parent] = known
        known.relationship = Relationship.PARENT
        known.lqi = lqi
        known.failures = known.age = 0
        self.parent = parent
        self.parent_failures = 0

    # --- a parent that answers, and one that does not -------------------------------------------------

    def poll(self) -> None:
        """Ends in the MAC's Polled, which `stack` hears of as well."""
        if self.parent is not None:
            self.mac.poll(self.parent)

    def _on_polled(self, polled: Polled, now_us: int) -> None:
        if polled.status is MacStatus.NO_ACK:
            self.on_parent_failure(now_us)
        elif polled.status is not MacStatus.CHANNEL_ACCESS_FAILURE:
            self.parent_failures = 0
            self.note_shown(now_us)
        self.events.append(polled)

    def on_parent_failure(self, now_us: int) -> None:
        if self._apply_update():
            return  # a sleeping child hears of a new PAN identifier last: its parent is there already
        self.parent_failures += 1
        if self.parent_failures == PARENT_FAILURES and not self._is_rejoining:
            self.events.append(ParentLost())

    # --- rejoin ---------------------------------------------------------------------------------------

    def rejoin(self, channels: tuple[int, ...], exponent: int, *, is_secured: bool = True) -> None:
        """Find a parent of our network and get back in; ends in RejoinEnded."""
        self._is_rejoining = True
        self._is_rejoin_secured = is_secured
        self.stop_keep_alive()
        self.stop_link_status()
        self.mac.is_beaconing = False
        self.mac.scan_active(channels, exponent)

    def look_for_parent(self, channels: tuple[int, ...], exponent: int) -> None:
        """Ask by orphan notification where our parent is, and rejoin there; ends in RejoinEnded.

        A realignment proves nothing: it only tells where to ask; the rejoin under the network key decides.
        Where it names another channel or PAN, the beacon there tells what else is new.
        Source: 3.6.1.4.3 (joining or rejoining through orphaning).
        """
        self._is_rejoining = self._is_rejoin_secured = True
        self._rejoin_exponent = exponent
        self.stop_keep_alive()
        self.mac.scan_orphan(channels)

    def _on_realigned(self, event: Realigned, now_us: int) -> None:
        if not self._is_rejoining:
            return
        found = event.realignment
        self._rejoin_targets = []
        if found is not None and found.channel in CHANNELS and found.coordinator_short < FIRST_BROADCAST:
            if (found.channel, found.pan_id) != (self.mac.channel, self.mac.pan_id):
                self.mac.scan_active((found.channel,), self._rejoin_exponent)
                return
            parent = NetworkFound(
                channel=found.channel,
                pan_id=found.pan_id,
                extended_pan_id=self.extended_pan_id,
                short_address=found.coordinator_short,
                permits_join=False,
                depth=max(0, self.depth - 1),
                has_capacity=True,
                update_id=self.update_id,
                lqi=255,
            )
            self._rejoin_targets = [parent]
        self._rejoin_tries = 0
        self._try_rejoin(now_us)

    def _on_rejoin_scan(self, networks: list[NetworkFound], now_us: int) -> None:
        self._rejoin_targets = [
            network
            for network in networks
            if network.extended_pan_id == self.extended_pan_id and network.short_address != self.short_address
        ]
        self._rejoin_tries = 0
        self._try_rejoin(now_us)

    def _try_rejoin(self, now_us: int) -> None:
        if not self._is_rejoining:
            return
        if self._rejoin_tries >= REJOIN_TRIES:
            del self._rejoin_targets[:1]
            self._rejoin_tries = 0
        if not self._rejoin_targets:
            self._end_rejoin(is_back=False)
            return
        self._rejoin_tries += 1
        network = self._candidate = self._rejoin_targets[0]
        self.mac.configure(
            channel=network.channel,
            pan_id=network.pan_id,
            short_address=self.short_address,
            is_coordinator=False,
        )
        self.send_command(
            network.short_address,
            RejoinRequest(capability=self.capability),
            now_us=now_us,
            is_secured=self._is_rejoin_secured,
            on_sent=self._on_rejoin_sent,
        )

    def _on_rejoin_sent(self, status: MacStatus, now_us: int) -> None:
        if status is not MacStatus.SUCCESS:
            self._rejoin_timer = self._timers.at(now_us + REJOIN_POLL_US, self._try_rejoin)
            return
        self._rejoin_timer = self._timers.at(now_us + REJOIN_WAIT_US, self._try_rejoin)
        if not self.mac.is_rx_on_idle and self._candidate is not None:
            self._timers.at(now_us + REJOIN_POLL_US, self._poll_for_rejoin, self._candidate.short_address)

    def _poll_for_rejoin(self, now_us: int, parent: int) -> None:
        if self._is_rejoining:
            self.mac.poll(parent)
            self._timers.at(now_us + REJOIN_POLL_US, self._poll_for_rejoin, parent)

    def _on_rejoin_response(
        self, command: RejoinResponse, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        network = self._candidate
        if not self._is_rejoining:
            self.on_unasked_rejoin_response(command, header, data)
            return
        if (
            network is None
            or header.is_secured is not self._is_rejoin_secured
            or header.source != network.short_address
            or header.destination_eui64 not in (None, self.eui64)
        ):
            return
        is_usable = COORDINATOR < command.short_address < FIRST_BROADCAST
        if command.status != AssociationStatus.SUCCESSFUL or not is_usable:
            del self._rejoin_targets[:1]
            self._rejoin_tries = 0
            self._try_rejoin(now_us)
            return
        self._adopt(network, command.short_address)
        self.mac.configure(
            channel=network.channel,
            pan_id=network.pan_id,
            short_address=command.short_address,
            is_coordinator=False,
        )
        self._end_rejoin(is_back=True)

    def _end_rejoin(self, *, is_back: bool) -> None:
        self._is_rejoining = False
        if self._rejoin_timer is not None:
            self._rejoin_timer.cancel()
            self._rejoin_timer = None
        if is_back and not self._is_rejoin_secured:
            self.accepts_unsecured = True
        self.events.append(RejoinEnded(is_back=is_back))

    # --- leave ----------------------------------------------------------------------------------------

    def ask_to_leave(self, short_address: int, *, now_us: int, is_rejoin: bool = False) -> None:
        """Tell a child (or a router in range) to go."""
        self.send_command(short_address, Leave(is_request=True, is_rejoin=is_rejoin), now_us=now_us)

    def announce_leave(self, *, now_us: int, is_rejoin: bool = False) -> None:
        """Say that we go; the caller resets the layer when the frame has gone."""
        command = Leave(is_request=False, is_rejoin=is_rejoin)
        if self.role is NodeRole.SLEEPY_END_DEVICE and self.parent is not None:
            self.send_command(self.parent, command, now_us=now_us)
        else:
            self.send_command(BROADCAST_RX_ON, command, now_us=now_us)

    def _on_leave(self, command: Leave, header: NwkHeader, data: MacData, now_us: int) -> None:
        if not header.is_secured:
            return
        if command.is_request:
            is_allowed = data.source == self.parent or (self.is_router and header.source == COORDINATOR)
            if is_allowed and self.role is not NodeRole.COORDINATOR:
                self.events.append(LeftNetwork(is_rejoin=command.is_rejoin))
            return
        neighbour = self.neighbours.get(header.source)
        eui64 = self.addresses.get(header.source)
        if header.source != data.source or command.is_rejoin or eui64 is None:
            return
        if header.source_eui64 not in (None, eui64):
            return
        was_child = neighbour is not None and neighbour.is_child
        self.routes.pop(header.source, None)
        self.forget_device(eui64)
        self.refresh_beacon()
        self.events.append(DeviceLeft(eui64=eui64, short_address=header.source, was_child=was_child))

    def reset(self) -> None:
        """Forget the network. Keys are the stack's affair."""
        self.stop_keep_alive()
        self._pending_update = None
        for neighbour in self.neighbours.values():
            if neighbour.deadline is not None:
                neighbour.deadline.cancel()
        self.neighbours.clear()
        self.dirty_devices |= dict.fromkeys(self.shorts)
        self.addresses.clear()
        self.shorts.clear()
        self.guests.clear()
        self._answering.clear()
        self.routes.clear()
        self._pending.clear()
        self._broadcasts.clear()
        self._discoveries.clear()
        self._sent.clear()
        self._waits.clear()
        self.stop_link_status()
        self.stop_concentrator()
        self._is_rejoining = False
        self.accepts_unsecured = False
        self.short_address = 0xFFFF
        self.parent = None
        self.parent_failures = 0
        self.extended_pan_id = 0
        self.depth = 0
        self.mac.reset()
        self.is_dirty = True

    # --- who takes what -------------------------------------------------------------------------------

    _mac_handlers: ClassVar[Handlers] = {
        **NwkConflict._mac_handlers,
        Scanned: _on_scanned,
        EnergyMeasured: _on_energy,
        Associated: _on_associated,
        Polled: _on_polled,
        Realigned: _on_realigned,
    }
    _command_handlers: ClassVar[Handlers] = {
        **NwkConflict._command_handlers,
        Leave: _on_leave,
        RejoinResponse: _on_rejoin_response,
    }
