"""How a node comes to be on a network, and stops: form, join, rejoin, permit, leave.

Source: Zigbee 05-3474-21, 3.6.1 (network and device maintenance), 3.4.4, 3.4.6, 3.4.7.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_frames import UpdateStatus
from smets1.firmware.zigbee.mac import (
    Associated,
    AssociationAsked,
    BeaconHeard,
    EnergyMeasured,
    MacData,
    MacLayer,
    MacStatus,
    OrphanHeard,
    Polled,
    PolledBy,
    Scanned,
)
from smets1.firmware.zigbee.mac_frames import AssociationStatus, ZigbeeBeacon
from smets1.firmware.zigbee.nwk_frames import (
    EndDeviceTimeoutRequest,
    EndDeviceTimeoutResponse,
    Leave,
    NwkHeader,
    RejoinRequest,
    RejoinResponse,
)
from smets1.firmware.zigbee.nwk_routing import NwkRouting
from smets1.firmware.zigbee.nwk_tables import (
    CAPABILITY_ALLOCATE,
    CAPABILITY_MAINS,
    CAPABILITY_ROUTER,
    CAPABILITY_RX_ON,
    Neighbour,
    Relationship,
)
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import BROADCAST_RX_ON, COORDINATOR, NodeRole

__all__ = [
    "ChildJoined",
    "DeviceLeft",
    "EnergyFound",
    "JoinEnded",
    "LeftNetwork",
    "NetworkFound",
    "NetworksFound",
    "NwkLayer",
    "ParentLost",
    "RejoinEnded",
    "capability_of",
]

AUTHENTICATION_US: Final = 20_000_000  # how long a child may be on the network without its key
REJOIN_WAIT_US: Final = 500_000
REJOIN_POLL_US: Final = 100_000
REJOIN_TRIES: Final = 3
PARENT_FAILURES: Final = 3
MAX_PERMIT_S: Final = 254
STACK_PROFILE_PRO: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFound:
    """One beacon: a router of a network, as seen by who looks for one."""

    channel: int
    pan_id: int
    extended_pan_id: int
    short_address: int
    permits_join: bool
    depth: int
    has_capacity: bool
    update_id: int
    lqi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworksFound:
    networks: tuple[NetworkFound, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFound:
    levels_dbm: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinEnded:
    """Our association: status 0 associated (not yet keyed), None no answer, else an association status."""

    status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejoinEnded:
    is_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildJoined:
    """We are its parent now; `status` says how it came."""

    eui64: Eui64
    short_address: int
    capability: int
    status: UpdateStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLeft:
    """Our child, or a node in range, has said that it leaves (or never got its key)."""

    eui64: Eui64
    short_address: int
    was_child: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftNetwork:
    """We have been told to leave."""

    is_rejoin: bool


@dataclass(frozen=True, slots=True)
class ParentLost:
    pass


def capability_of(role: NodeRole) -> int:
    """Capability information octet. Source: Table 3.46."""
    base = CAPABILITY_ALLOCATE
    if role is NodeRole.SLEEPY_END_DEVICE:
        return base
    base |= CAPABILITY_MAINS | CAPABILITY_RX_ON
    return base if role is NodeRole.END_DEVICE else base | CAPABILITY_ROUTER


class NwkLayer(NwkRouting):
    """The whole NWK layer. `admits` is asked before a child may associate."""

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        super().__init__(mac, keys, rng, timers, role)
        self.capability = capability_of(role)
        self.extended_pan_id = 0
        self.depth = 0
        self.update_id = 0
        self.max_children = 1024
        self.allows_unsecured_rejoin = True
        self.admits: Callable[[Eui64], bool] = lambda _: True
        self.parent_failures = 0
        self._permit_timer: Deadline | None = None
        self._candidate: NetworkFound | None = None
        self._rejoin_targets: list[NetworkFound] = []
        self._rejoin_timer: Deadline | None = None
        self._rejoin_tries = 0
        self._is_rejoining = False
        self._is_rejoin_secured = True
        self._mac_handlers |= {
            Scanned: self._on_scanned,
            EnergyMeasured: self._on_energy,
            AssociationAsked: self._on_association_asked,
            Associated: self._on_associated,
            Polled: self._on_polled,
            PolledBy: self._on_polled_by,
            OrphanHeard: self._on_orphan,
            BeaconHeard: self._on_foreign_beacon,
        }
        self._command_handlers |= {
            Leave: self._on_leave,
            RejoinRequest: self._on_rejoin_request,
            RejoinResponse: self._on_rejoin_response,
            EndDeviceTimeoutRequest: self._on_timeout_request,
        }

    # --- being a parent -------------------------------------------------------------------------------

    def begin(
        self, *, channel: int, pan_id: int, extended_pan_id: int, short_address: int, now_us: int
    ) -> None:
        """On the network as of now: formed, joined with a key, or restored from NVM."""
        self.extended_pan_id = extended_pan_id
        self.short_address = short_address
        self.learn_address(short_address, self.eui64)
        self.mac.configure(
            channel=channel,
            pan_id=pan_id,
            short_address=short_address,
            is_coordinator=self.role is NodeRole.COORDINATOR,
        )
        self.accepts_unsecured = False
        self.mac.is_beaconing = self.is_router
        self.refresh_beacon()
        self.start_link_status(now_us)
        self.is_dirty = True

    def refresh_beacon(self) -> None:
        children = sum(1 for neighbour in self.neighbours.values() if neighbour.is_child)
        has_capacity = self.is_router and children < self.max_children
        self.mac.beacon_payload = ZigbeeBeacon(
            has_router_capacity=has_capacity,
            depth=min(self.depth, 15),
            has_end_device_capacity=has_capacity,
            extended_pan_id=self.extended_pan_id,
            update_id=self.update_id,
        ).encode()

    def permit_join(self, duration_s: int, now_us: int) -> None:
        """0 closes; anything else is 254 s at most (Smart Energy forbids "for ever")."""
        if self._permit_timer is not None:
            self._permit_timer.cancel()
            self._permit_timer = None
        self.mac.is_permitting = self.is_router and duration_s > 0
        if self.mac.is_permitting:
            when_us = now_us + min(duration_s, MAX_PERMIT_S) * 1_000_000
            self._permit_timer = self._timers.at(when_us, self._end_permit)

    def _end_permit(self, now_us: int) -> None:
        self.mac.is_permitting = False

    def _on_association_asked(self, asked: AssociationAsked, now_us: int) -> None:
        status = AssociationStatus.SUCCESSFUL
        if not self.mac.is_permitting or not self.admits(asked.eui64):
            status = AssociationStatus.PAN_ACCESS_DENIED
        elif len(self.neighbours) >= self.max_children:
            status = AssociationStatus.PAN_AT_CAPACITY
        if status is not AssociationStatus.SUCCESSFUL:
            self.mac.respond_association(asked.eui64, 0xFFFF, status, 0, now_us=now_us)
            return
        short_address = self._address_for(asked.eui64)
        self._add_child(short_address, asked.eui64, asked.capability, asked.lqi, now_us)
        handle = self._track(asked.eui64, short_address, asked.capability)
        self.mac.respond_association(asked.eui64, short_address, status, handle, now_us=now_us)

    def _track(self, eui64: Eui64, short_address: int, capability: int) -> int:
        """A MAC handle whose confirm says that the child has its association response."""
        self._mac_handle = handle = self._mac_handle + 1
        self._sent[handle] = (0, short_address, b"", b"")

        def on_sent(status: MacStatus, now_us: int) -> None:
            # An unacknowledged response may still have arrived; if not, the key sent to it is merely lost.
            child = self.neighbours.get(short_address)
            if child is not None and child.relationship is Relationship.UNAUTHENTICATED_CHILD:
                self.events.append(
                    ChildJoined(
                        eui64=eui64,
                        short_address=short_address,
                        capability=capability,
                        status=UpdateStatus.STANDARD_UNSECURED_JOIN,
                    )
                )

        self._waits[handle] = on_sent
        return handle

    def _address_for(self, eui64: Eui64, wish: int | None = None) -> int:
        """The address a device has already, or wishes if nobody else has it, or a random one."""
        known = self.shorts.get(eui64)
        if wish is not None and wish < 0xFFF8 and self.addresses.get(wish, eui64) == eui64 and wish:
            return wish
        if known is not None and known != COORDINATOR:
            return known
        while True:
            short_address = self._rng.randrange(1, 0xFFF8)
            if short_address not in self.addresses and short_address not in self.neighbours:
                return short_address

    def _add_child(
        self, short_address: int, eui64: Eui64, capability: int, lqi: int, now_us: int
    ) -> Neighbour:
        self.mac.cancel_indirect(short_address)
        self.learn_address(short_address, eui64)
        self._remove_neighbour(short_address)
        self.routes.pop(short_address, None)
        child = Neighbour(short_address, eui64, Relationship.UNAUTHENTICATED_CHILD, capability)
        child.lqi = lqi
        child.deadline = self._timers.at(now_us + AUTHENTICATION_US, self._on_unauthenticated, short_address)
        self.neighbours[short_address] = child
        # a new association is a new life: its counters may have started again
        self.keys.forget_neighbour(eui64)
        return child

    def _on_unauthenticated(self, now_us: int, short_address: int) -> None:
        child = self.neighbours.get(short_address)
        if child is not None and child.relationship is Relationship.UNAUTHENTICATED_CHILD:
            assert child.eui64 is not None
            eui64 = child.eui64
            self.forget_device(eui64)
            self.events.append(DeviceLeft(eui64=eui64, short_address=short_address, was_child=True))

    def _on_polled_by(self, polled: PolledBy, now_us: int) -> None:
        source = polled.source
        if source is None or source in self.neighbours or not self.is_router or not self.mac.is_beaconing:
            return
        # It thinks that we are its parent, and we do not: tell it to come back properly. Source: 3.6.10.4
        if self.keys.active is not None:
            self.send_command(source, Leave(is_request=True, is_rejoin=True), now_us=now_us)

    def _on_orphan(self, orphan: OrphanHeard, now_us: int) -> None:
        child = self.find_child(orphan.eui64)
        if child is not None:
            self.mac.realign(orphan.eui64, child.short_address)

    def _on_foreign_beacon(self, heard: BeaconHeard, now_us: int) -> None:
        """A beacon that somebody else asked for. (PAN identifier conflicts would be found here.)"""

    # --- looking for a network --------------------------------------------------------------------------

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
        if associated.status == AssociationStatus.SUCCESSFUL and network is not None:
            self._adopt(network, associated.short_address)
            self.accepts_unsecured = True
        self.events.append(JoinEnded(status=associated.status))

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

    # --- a parent that answers, and one that does not ----------------------------------------------------

    def poll(self) -> None:
        """Ends in the MAC's Polled, which `stack` hears of as well."""
        if self.parent is not None:
            self.mac.poll(self.parent)

    def _on_polled(self, polled: Polled, now_us: int) -> None:
        if polled.status is MacStatus.NO_ACK:
            self.on_parent_failure(now_us)
        elif polled.status is not MacStatus.CHANNEL_ACCESS_FAILURE:
            self.parent_failures = 0
        self.events.append(polled)

    def on_parent_failure(self, now_us: int) -> None:
        self.parent_failures += 1
        if self.parent_failures == PARENT_FAILURES and not self._is_rejoining:
            self.events.append(ParentLost())

    # --- rejoin ---------------------------------------------------------------------------------------

    def rejoin(self, channels: tuple[int, ...], exponent: int, *, is_secured: bool = True) -> None:
        """Find a parent of our network and get back in; ends in RejoinEnded."""
        self._is_rejoining = True
        self._is_rejoin_secured = is_secured
        self.stop_link_status()
        self.mac.is_beaconing = False
        self.mac.scan_active(channels, exponent)

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
        if (
            not self._is_rejoining
            or network is None
            or header.is_secured is not self._is_rejoin_secured
            or header.source != network.short_address
            or header.destination_eui64 not in (None, self.eui64)
        ):
            return
        if command.status != AssociationStatus.SUCCESSFUL:
            del self._rejoin_targets[:1]
            self._rejoin_tries = 0
            self._try_rejoin(now_us)
            return
        self._adopt(network, command.short_address)
        self._end_rejoin(is_back=True)

    def _end_rejoin(self, *, is_back: bool) -> None:
        self._is_rejoining = False
        if self._rejoin_timer is not None:
            self._rejoin_timer.cancel()
            self._rejoin_timer = None
        if is_back and not self._is_rejoin_secured:
            self.accepts_unsecured = True
        self.events.append(RejoinEnded(is_back=is_back))

    def _on_rejoin_request(
        self, command: RejoinRequest, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        eui64 = header.source_eui64
        if not self.is_router or not self.mac.is_beaconing or eui64 is None or header.source != data.source:
            return
        is_secured = header.is_secured
        if not is_secured and (not self.allows_unsecured_rejoin or not self.admits(eui64)):
            return
        previous = self.find_child(eui64)
        if is_secured or previous is None or previous.relationship is not Relationship.CHILD:
            short_address = self._address_for(eui64, header.source)
            counters = {seq: key.rx_counters.get(eui64) for seq, key in self.keys.networks.items()}
            child = self._add_child(short_address, eui64, command.capability, data.lqi, now_us)
            if is_secured:
                for sequence, counter in counters.items():  # a secured rejoin is no new life
                    if counter is not None:
                        self.keys.networks[sequence].rx_counters[eui64] = counter
                child.relationship = Relationship.CHILD
                if child.deadline is not None:
                    child.deadline.cancel()
                    child.deadline = None
                self.dirty_devices[eui64] = None
        else:  # whoever this is has proven nothing: our child stays as it is
            short_address = previous.short_address
        status = (
            UpdateStatus.STANDARD_SECURED_REJOIN if is_secured else UpdateStatus.STANDARD_TRUST_CENTRE_REJOIN
        )

        def on_sent(sent: MacStatus, sent_us: int) -> None:
            if sent is MacStatus.SUCCESS:
                self.events.append(
                    ChildJoined(
                        eui64=eui64,
                        short_address=short_address,
                        capability=command.capability,
                        status=status,
                    )
                )

        response = RejoinResponse(short_address=short_address, status=AssociationStatus.SUCCESSFUL)
        self._respond_rejoin(header.source, eui64, response, command.capability, is_secured, on_sent, now_us)

    def _respond_rejoin(
        self,
        destination: int,
        eui64: Eui64,
        response: RejoinResponse,
        capability: int,
        is_secured: bool,
        on_sent: Callable[[MacStatus, int], None],
        now_us: int,
    ) -> None:
        """To the address that the device still has; a sleeping one fetches it there."""
        if destination not in self.neighbours:
            guest = Neighbour(destination, eui64, Relationship.NONE, capability)
            self.neighbours[destination] = guest
            self._timers.at(now_us + AUTHENTICATION_US, self._drop_guest, destination, guest)
        self.send_command(
            destination,
            response,
            now_us=now_us,
            destination_eui64=eui64,
            is_secured=is_secured,
            on_sent=on_sent,
        )

    def _drop_guest(self, now_us: int, short_address: int, guest: Neighbour) -> None:
        if self.neighbours.get(short_address) is guest:
            self._remove_neighbour(short_address)

    # --- leave ------------------------------------------------------------------------------------------

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
        for neighbour in self.neighbours.values():
            if neighbour.deadline is not None:
                neighbour.deadline.cancel()
        self.neighbours.clear()
        self.dirty_devices |= dict.fromkeys(self.shorts)
        self.addresses.clear()
        self.shorts.clear()
        self.routes.clear()
        self._pending.clear()
        self._broadcasts.clear()
        self._discoveries.clear()
        self._sent.clear()
        self._waits.clear()
        self.stop_link_status()
        self._is_rejoining = False
        self.accepts_unsecured = False
        self.short_address = 0xFFFF
        self.parent = None
        self.parent_failures = 0
        self.extended_pan_id = 0
        self.depth = 0
        self.mac.reset()
        self.is_dirty = True

    # --- end-device timeout -----------------------------------------------------------------------------

    def _on_timeout_request(
        self, command: EndDeviceTimeoutRequest, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        child = self.neighbours.get(data.source)
        if child is None or not child.is_child or child.is_router:
            return
        is_valid = command.timeout <= 14
        if is_valid:
            child.timeout_us = 10_000_000 if command.timeout == 0 else 60_000_000 << command.timeout
        response = EndDeviceTimeoutResponse(status=0 if is_valid else 1, parent_information=0b01)
        self.send_command(data.source, response, now_us=now_us)
