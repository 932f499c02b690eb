"""Being a parent: beacons, who may join, children that come (back), fall silent, or lose their way.

Theory. An association and an unsecured rejoin prove nothing: anybody may ask under any EUI-64. So who asks
becomes a *guest*, at an address that nobody has, for 20 s, and what we know of the device itself stays as it
is: its place among our children, its address, its frame counters. The guest replaces all that with its first
frame under the network key from the new address, which nobody can have recorded before.

Source: Zigbee 05-3474-21, 3.6.1.4 (joining), 3.6.1.4.2 (rejoining), 3.6.10 (end-device ageing).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ClassVar, Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_frames import UpdateStatus
from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import AssociationAsked, MacData, MacStatus, OrphanHeard, PolledBy
from smets1.firmware.zigbee.mac_frames import AssociationStatus, ZigbeeBeacon
from smets1.firmware.zigbee.nwk import NOBODY, Handlers
from smets1.firmware.zigbee.nwk_concentrator import NwkConcentrator
from smets1.firmware.zigbee.nwk_events import ChildJoined
from smets1.firmware.zigbee.nwk_frames import (
    Leave,
    NwkHeader,
    RejoinRequest,
    RejoinResponse,
)
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
from smets1.hardware.radio import COORDINATOR, NodeRole

__all__ = ["NwkParent", "capability_of"]


AUTHENTICATION_US: Final = 20_000_000  # how long a child may be on the network without its key
GUEST_LIMIT: Final = 16  # at once; who is refused asks again
MAX_PERMIT_S: Final = 254


def capability_of(role: NodeRole) -> int:
    """Capability information octet. Source: Table 3.46."""
    base = CAPABILITY_ALLOCATE
    if role is NodeRole.SLEEPY_END_DEVICE:
        return base
    base |= CAPABILITY_MAINS | CAPABILITY_RX_ON
    return base if role is NodeRole.END_DEVICE else base | CAPABILITY_ROUTER


class NwkParent(NwkConcentrator):
    """Admits children and keeps them. `admits` is asked before a child may associate."""

    __slots__ = (
        "_answering",
        "_permit_timer",
        "admits",
        "allows_unsecured_rejoin",
        "capability",
        "depth",
        "extended_pan_id",
        "max_children",
        "update_id",
    )

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
        self._permit_timer: Deadline | None = None
        self._answering: dict[int, int] = {}

    # --- on the network -------------------------------------------------------------------------------

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
        self.start_concentrator(now_us)
        self.is_dirty = True

    def refresh_beacon(self) -> None:
        children = sum(
            1 for neighbour in self.neighbours.values() if neighbour.relationship is Relationship.CHILD
        )
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

    # --- children that associate ----------------------------------------------------------------------

    def _on_association_asked(self, asked: AssociationAsked, now_us: int) -> None:
        status = AssociationStatus.SUCCESSFUL
        if not self.mac.is_permitting or self._is_settled(asked.eui64) or not self.admits(asked.eui64):
            status = AssociationStatus.PAN_ACCESS_DENIED
        elif len(self.neighbours) >= self.max_children:
            status = AssociationStatus.PAN_AT_CAPACITY
        if status is not AssociationStatus.SUCCESSFUL:
            self.mac.respond_association(asked.eui64, 0xFFFF, status, 0, now_us=now_us)
            return
        guest = self._add_guest(asked.eui64, asked.capability, asked.lqi, now_us)
        if guest is None:
            return
        handle = self._track(guest)
        self.mac.respond_association(asked.eui64, guest.short_address, status, handle, now_us=now_us)

    def _is_settled(self, eui64: Eui64) -> bool:
        """We ourselves and the coordinator are nobody's children."""
        return eui64 in (self.eui64, self.addresses.get(COORDINATOR))

    def _track(self, guest: Neighbour) -> int:
        """A MAC handle whose confirm says that the guest has its association response."""
        self._mac_handle = handle = self._mac_handle + 1
        self._sent[handle] = (0, NOBODY, b"", b"")

        def on_sent(status: MacStatus, now_us: int) -> None:
            # An unacknowledged response may still have arrived; if not, the key sent to it is merely lost.
            self._report_guest(guest, UpdateStatus.STANDARD_UNSECURED_JOIN)

        self._waits[handle] = on_sent
        return handle

    def _report_guest(self, guest: Neighbour, status: UpdateStatus) -> None:
        if guest.eui64 is not None and self.guests.get(guest.eui64) is guest:
            self.events.append(
                ChildJoined(
                    eui64=guest.eui64,
                    short_address=guest.short_address,
                    capability=guest.capability,
                    status=status,
                )
            )

    def _fresh_address(self) -> int:
        while True:
            short_address = self._rng.randrange(1, 0xFFF8)
            if short_address not in self.addresses and short_address not in self.neighbours:
                return short_address

    def _add_guest(self, eui64: Eui64, capability: int, lqi: int, now_us: int) -> Neighbour | None:
        """A place for one who claims to be `eui64`; None: there are too many such already.

        The same claim again gets the same place, so that nobody can fill our table under one name.
        """
        guest = self.guests.get(eui64)
        if guest is None:
            if len(self.guests) >= GUEST_LIMIT:
                return None
            guest = Neighbour(self._fresh_address(), eui64, Relationship.UNAUTHENTICATED_CHILD, capability)
            self.guests[eui64] = self.neighbours[guest.short_address] = guest
        elif guest.capability != capability:
            guest.set_capability(capability)
        guest.lqi = lqi
        if guest.deadline is not None:
            guest.deadline.cancel()
        guest.deadline = self._timers.at(now_us + AUTHENTICATION_US, self._on_unauthenticated, guest)
        return guest

    def _on_unauthenticated(self, now_us: int, guest: Neighbour) -> None:
        if guest.eui64 is not None and self.guests.get(guest.eui64) is guest:
            self.drop_guest(guest.eui64)

    def _on_child_accepted(self, child: Neighbour, now_us: int) -> None:
        self.forget_route(child.short_address)
        self.refresh_beacon()

    # --- children that come back ----------------------------------------------------------------------

    def _on_rejoin_request(
        self, command: RejoinRequest, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        eui64 = header.source_eui64
        if not self.is_router or not self.mac.is_beaconing or eui64 is None or header.source != data.source:
            return
        if self._is_settled(eui64):
            return
        capability = command.capability
        if header.is_secured:
            child: Neighbour | None = self._take_back(eui64, header.source, capability, data.lqi, now_us)
            status = UpdateStatus.STANDARD_SECURED_REJOIN
        elif self.allows_unsecured_rejoin and self.admits(eui64):
            child = self._add_guest(eui64, capability, data.lqi, now_us)
            status = UpdateStatus.STANDARD_TRUST_CENTRE_REJOIN
        else:
            child = None
        if child is None:
            return
        accepted, secured = child, header.is_secured

        def on_sent(sent: MacStatus, sent_us: int) -> None:
            if sent is not MacStatus.SUCCESS:
                return
            if not secured:
                self._report_guest(accepted, status)
            else:
                self.events.append(
                    ChildJoined(
                        eui64=eui64,
                        short_address=accepted.short_address,
                        capability=capability,
                        status=status,
                    )
                )

        self._note_answering(header.source, now_us)
        self.send_command(
            header.source,
            RejoinResponse(short_address=child.short_address, status=AssociationStatus.SUCCESSFUL),
            now_us=now_us,
            destination_eui64=eui64,
            is_secured=secured,
            is_indirect=child.is_sleepy,
            on_sent=on_sent,
        )

    def _take_back(self, eui64: Eui64, wish: int, capability: int, lqi: int, now_us: int) -> Neighbour:
        """Our child as of now, under the network key: at the address it has, if nobody else has it."""
        known = self.shorts.get(eui64)
        if 0 < wish < 0xFFF8 and self.addresses.get(wish, eui64) == eui64:
            short_address = wish
        elif known is not None and known != COORDINATOR:
            short_address = known
        else:
            short_address = self._fresh_address()
        self.drop_guest(eui64)
        self.mac.cancel_indirect(short_address)
        self.learn_address(short_address, eui64)
        self._remove_neighbour(short_address)
        self.forget_route(short_address)
        child = Neighbour(short_address, eui64, Relationship.CHILD, capability)
        child.lqi = lqi
        child.is_heard = True
        self.neighbours[short_address] = child
        self.dirty_devices[eui64] = None
        self._on_child_accepted(child, now_us)
        return child

    def _note_answering(self, short_address: int, now_us: int) -> None:
        """Whoever rejoins may fetch the answer under an address that is nobody's here."""
        self._answering = {old: when for old, when in self._answering.items() if when > now_us}
        if len(self._answering) < GUEST_LIMIT:
            self._answering[short_address] = now_us + AUTHENTICATION_US

    # --- children we have -----------------------------------------------------------------------------

    def _on_polled_by(self, polled: PolledBy, now_us: int) -> None:
        source = polled.source
        known = None if source is None else self.neighbours.get(source)
        if known is not None:
            known.heard_us = now_us  # a poll proves nothing, but it is what the specification counts
        if source is None or known is not None or not self.is_router or not self.mac.is_beaconing:
            return
        if self._answering.get(source, 0) > now_us:
            return
        # It thinks that we are its parent, and we do not: tell it to come back properly. Source: 3.6.10.4
        if self.keys.active is None:
            return
        self._note_answering(source, now_us)
        command = Leave(is_request=True, is_rejoin=True)

        def on_sent(status: MacStatus, sent_us: int) -> None:
            if status is not MacStatus.SUCCESS:  # asleep again already: at its next poll, then
                self.send_command(source, command, now_us=sent_us, is_indirect=True)

        self.send_command(source, command, now_us=now_us, is_indirect=False, on_sent=on_sent)

    def _on_orphan(self, orphan: OrphanHeard, now_us: int) -> None:
        child = self.find_child(orphan.eui64)
        if child is not None:
            self.mac.realign(orphan.eui64, child.short_address)

    # --- who takes what -------------------------------------------------------------------------------

    _mac_handlers: ClassVar[Handlers] = {
        **NwkConcentrator._mac_handlers,
        AssociationAsked: _on_association_asked,
        PolledBy: _on_polled_by,
        OrphanHeard: _on_orphan,
    }
    _command_handlers: ClassVar[Handlers] = {
        **NwkConcentrator._command_handlers,
        RejoinRequest: _on_rejoin_request,
    }
