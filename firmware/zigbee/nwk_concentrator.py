"""Many devices talk to one hub: routes to it by one flood, routes back as lists of relays.

Theory. The hub floods a many-to-one route request; every router then knows its next hop towards the hub,
without asking. Before a router (or a parent, for its end device) sends to the hub along such a route, it
sends a route record once, to which each relay adds itself; the hub answers along that list, written into
the frame (a source route). A list that fails is forgotten and the hub asks for a route in the usual way.

Source: Zigbee 05-3474-21, 3.6.3.5.2 (many-to-one), 3.6.3.5.4 (route record), 3.6.3.3.2 (source routing),
3.4.5.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import ClassVar, Final

from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import MacData, MacStatus
from smets1.firmware.zigbee.nwk import MAX_RADIUS, Handlers
from smets1.firmware.zigbee.nwk_frames import (
    NetworkStatus,
    NetworkStatusCode,
    NwkFrameType,
    NwkHeader,
    RouteRecord,
    RouteRequest,
)
from smets1.firmware.zigbee.nwk_routing import NwkRouting
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import BROADCAST_ROUTERS, NodeRole

__all__ = ["NwkConcentrator"]

FIRST_US: Final = 5_000_000
MAX_RELAYS: Final = 5  # nwkMaxSourceRoute as common stacks set it
SOURCE_ROUTE_LIMIT: Final = 1024
ROOM_OCTETS: Final = 90  # of payload, beside a plain header; a source route takes 2 and 2 a relay
WITH_ROUTE_RECORD: Final = 1
_PLAIN_HEADER_OCTETS: Final = 8


class NwkConcentrator(NwkRouting):
    __slots__ = ("_concentrator_timer", "_concentrators", "concentrator_period_us", "source_routes")

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        super().__init__(mac, keys, rng, timers, role)
        self.concentrator_period_us = 0  # hub: how often to flood; 0: never
        self.source_routes: dict[int, tuple[int, ...]] = {}  # hub: relays, nearest to the device first
        self._concentrators: dict[int, set[int]] = {}  # router: hub -> for whom it has had a route record
        self._concentrator_timer: Deadline | None = None

    # --- the hub ----------------------------------------------------------------------------------------

    def start_concentrator(self, now_us: int) -> None:
        self.stop_concentrator()
        if self.role is NodeRole.COORDINATOR and self.concentrator_period_us:
            self._concentrator_timer = self._timers.at(now_us + FIRST_US, self._flood_many_to_one)

    def stop_concentrator(self) -> None:
        if self._concentrator_timer is not None:
            self._concentrator_timer.cancel()
            self._concentrator_timer = None
        self.source_routes.clear()
        self._concentrators.clear()

    def forget_route(self, short_address: int) -> None:
        """The device is elsewhere by now."""
        self.routes.pop(short_address, None)
        self.source_routes.pop(short_address, None)

    def _flood_many_to_one(self, now_us: int) -> None:
        identifier = self._next_request_id()
        self._note_discovery(self.short_address, identifier, self.short_address, 0, now_us)
        request = RouteRequest(
            identifier=identifier,
            destination=BROADCAST_ROUTERS,
            path_cost=0,
            many_to_one=WITH_ROUTE_RECORD,
        )
        self.send_command(BROADCAST_ROUTERS, request, now_us=now_us, radius=MAX_RADIUS)
        self._concentrator_timer = self._timers.at(
            now_us + self.concentrator_period_us, self._flood_many_to_one
        )

    def _on_route_record(self, command: RouteRecord, header: NwkHeader, data: MacData, now_us: int) -> None:
        """For us: the way back. (On its way to the hub it is `_forward` that adds a relay.)"""
        if self.role is not NodeRole.COORDINATOR or header.source == self.short_address:
            return
        relays = command.relays
        if not relays or len(relays) > MAX_RELAYS or relays[-1] != data.source:
            self.source_routes.pop(header.source, None)
            return
        if header.source not in self.source_routes and len(self.source_routes) >= SOURCE_ROUTE_LIMIT:
            del self.source_routes[next(iter(self.source_routes))]
        self.source_routes[header.source] = relays

    def _route(self, destination: int, header: bytes, payload: bytes, handle: int, now_us: int) -> None:
        relays = self.source_routes.get(destination)
        if relays is not None and self._takes_source_route(destination, header, payload, relays):
            plain, _ = NwkHeader.decode(header)
            listed = replace(plain, relays=relays, relay_index=len(relays) - 1).encode()
            self._transmit(relays[-1], listed, payload, handle, now_us)
            return
        if self._concentrators and destination in self._concentrators:
            self._record_route(destination, header, now_us)
        super()._route(destination, header, payload, handle, now_us)

    def _takes_source_route(
        self, destination: int, header: bytes, payload: bytes, relays: tuple[int, ...]
    ) -> bool:
        neighbour = self.neighbours.get(destination)
        is_near = neighbour is not None and neighbour.failures == 0
        fits = len(payload) + 2 + 2 * len(relays) <= ROOM_OCTETS
        return len(header) == _PLAIN_HEADER_OCTETS and fits and not is_near

    # --- routers on the way -----------------------------------------------------------------------------

    def _on_route_request(self, command: RouteRequest, header: NwkHeader, data: MacData, now_us: int) -> None:
        if not command.many_to_one:
            super()._on_route_request(command, header, data, now_us)
            return
        if not self.is_router or header.source == self.short_address:
            return
        cost = command.path_cost + self._cost_of(data.source, data.lqi)
        entry = self._note_discovery(header.source, command.identifier, data.source, cost, now_us)
        if entry is None:
            return
        if header.source not in self.neighbours:
            self._set_route(header.source, data.source, cost)
        if command.many_to_one == WITH_ROUTE_RECORD:
            self._concentrators[header.source] = set()
        if header.radius > 1:
            self._pass_later(command, header, entry, cost, now_us)

    def _record_route(self, hub: int, header: bytes, now_us: int) -> None:
        """Before the first frame from `source` along this route: our own, or one of our end device."""
        source = int.from_bytes(header[4:6], "little")
        recorded = self._concentrators[hub]
        child = self.neighbours.get(source)
        is_child = child is not None and child.is_child and not child.is_router
        hop = self.next_hop(hub)
        if source in recorded or hop is None or not (is_child or source == self.short_address):
            return
        if hop == hub and not is_child:
            return  # the hub hears us itself
        recorded.add(source)
        command = RouteRecord(relays=(self.short_address,) if is_child else ())
        self.send_command(
            hub,
            command,
            now_us=now_us,
            radius=MAX_RADIUS,
            next_hop=hop,
            source=source,
            has_source_eui64=False,
        )

    def _forward(self, header: NwkHeader, payload: bytes, data: MacData, now_us: int) -> None:
        if header.frame_type is NwkFrameType.NWK_COMMAND and payload[:1] == b"\x05":
            payload = self._with_us(payload)
        super()._forward(header, payload, data, now_us)

    def _with_us(self, payload: bytes) -> bytes:
        """A route record that we pass on; what we cannot read, the hub will refuse."""
        if len(payload) < 2 or len(payload) != 2 + 2 * payload[1] or payload[1] >= MAX_RELAYS:
            return payload
        count = payload[1] + 1
        return payload[:1] + bytes((count,)) + payload[2:] + self.short_address.to_bytes(2, "little")

    # --- lists that fail --------------------------------------------------------------------------------

    def _on_link_failure(
        self, hop: int, header: bytes, payload: bytes, handle: int, status: MacStatus, now_us: int
    ) -> bool:
        if header and header[1] & 0x04 and status is MacStatus.NO_ACK:
            listed, _ = NwkHeader.decode(header)
            if listed.source != self.short_address:
                self._report_failure(
                    header, listed.destination, NetworkStatusCode.SOURCE_ROUTE_FAILURE, now_us
                )
                return False
            self.source_routes.pop(listed.destination, None)
            plain = replace(listed, relays=None, relay_index=0).encode()
            self._route(listed.destination, plain, payload, handle, now_us)
            return True
        return super()._on_link_failure(hop, header, payload, handle, status, now_us)

    def _on_network_status(
        self, command: NetworkStatus, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        super()._on_network_status(command, header, data, now_us)
        if command.status in (
            NetworkStatusCode.SOURCE_ROUTE_FAILURE,
            NetworkStatusCode.NO_ROUTE_AVAILABLE,
            NetworkStatusCode.NON_TREE_LINK_FAILURE,
        ):
            self.source_routes.pop(command.destination, None)

    # --- who takes what -------------------------------------------------------------------------------

    _command_handlers: ClassVar[Handlers] = {
        **NwkRouting._command_handlers,
        RouteRequest: _on_route_request,
        RouteRecord: _on_route_record,
    }
