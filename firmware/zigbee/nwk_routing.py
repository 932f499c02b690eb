"""Mesh routing: route request and reply, link status, what happens when a link fails.

A request floods the routers, each adding the cost of the link it came over; the destination (or the parent
of a sleeping one) answers along the cheapest path. Links are taken as symmetrical (nwkSymLink), so one
request makes routes both ways. Source: Zigbee 05-3474-21, 3.6.3.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Final

from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import MacData, MacStatus
from smets1.firmware.zigbee.nwk import FIRST_BROADCAST, Handlers
from smets1.firmware.zigbee.nwk_broadcast import NwkBroadcast
from smets1.firmware.zigbee.nwk_events import NwkConfirm, NwkStatus
from smets1.firmware.zigbee.nwk_frames import (
    LinkStatus,
    LinkStatusEntry,
    NetworkStatus,
    NetworkStatusCode,
    NwkHeader,
    RouteReply,
    RouteRequest,
)
from smets1.firmware.zigbee.nwk_tables import (
    DiscoveryEntry,
    PendingFrame,
    PendingQueue,
    Relationship,
    Route,
    link_cost,
)
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import BROADCAST_ROUTERS, NodeRole

__all__ = ["NwkRouting"]

DISCOVERY_US: Final = 10_000_000  # nwkcRouteDiscoveryTime
REQUEST_RETRY_US: Final = 254_000  # nwkcRREQRetryInterval
REQUEST_TRIES: Final = 4  # nwkcInitialRREQRetries and the first
REQUEST_JITTER_US: Final = (
    4_000,
    128_000,
)  # nwkcMinRREQJitter, nwkcMaxRREQJitter, doubled as 3.6.3.5.2 has it
REQUEST_RADIUS: Final = 30
ROUTE_LIMIT: Final = 1024
PENDING_LIMIT: Final = 16
LINK_STATUS_JITTER_US: Final = 1_000_000
LINK_STATUS_ENTRIES: Final = 20  # in one frame
ROUTER_AGE_LIMIT: Final = 3


class NwkRouting(NwkBroadcast):
    __slots__ = (
        "_discoveries",
        "_discovery_due_us",
        "_link_status_timer",
        "_pending",
        "_request_id",
        "link_status_period_us",
        "routes",
    )

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        super().__init__(mac, keys, rng, timers, role)
        self.routes: dict[int, Route] = {}
        self.link_status_period_us = 15_000_000
        self._request_id = rng.randrange(256)
        self._discoveries: dict[int, DiscoveryEntry] = {}
        self._discovery_due_us = 0
        self._pending: dict[int, PendingQueue] = {}
        self._link_status_timer: Deadline | None = None

    def _next_hop_by_route(self, destination: int) -> int | None:
        route = self.routes.get(destination)
        return None if route is None else route.next_hop

    # --- asking for a route -------------------------------------------------------------------------

    def _discover(self, destination: int, header: bytes, payload: bytes, handle: int, now_us: int) -> None:
        """Keep the frame, and ask; its confirm comes when the answer does, or does not."""
        if not self.is_router:
            if handle:
                self.events.append(NwkConfirm(handle, NwkStatus.INVALID_REQUEST))
            return
        queue = self._pending.get(destination)
        if queue is None:
            queue = self._pending[destination] = deque()
            self._request_route(now_us, destination, self._next_request_id(), 0)
        if len(queue) >= PENDING_LIMIT:
            self._give_up(queue.popleft(), destination, now_us)
        queue.append(PendingFrame(header, payload, handle))

    def _next_request_id(self) -> int:
        self._request_id = (self._request_id + 1) & 0xFF
        return self._request_id

    def _request_route(self, now_us: int, destination: int, identifier: int, tries: int) -> None:
        if destination not in self._pending:
            return
        if tries == REQUEST_TRIES:
            for frame in self._pending.pop(destination):
                self._give_up(frame, destination, now_us)
            return
        self._note_discovery(self.short_address, identifier, self.short_address, 0, now_us)
        request = RouteRequest(identifier=identifier, destination=destination, path_cost=0)
        self.send_command(BROADCAST_ROUTERS, request, now_us=now_us, radius=REQUEST_RADIUS)
        # the last wait is longer: the answer has to come back over as many hops
        wait_us = REQUEST_RETRY_US * (4 if tries == REQUEST_TRIES - 1 else 1)
        self._timers.at(now_us + wait_us, self._request_route, destination, identifier, tries + 1)

    def _give_up(self, frame: PendingFrame, destination: int, now_us: int) -> None:
        self.counters.unroutable += 1
        if frame.handle:
            self.events.append(NwkConfirm(frame.handle, NwkStatus.ROUTE_DISCOVERY_FAILED))
        self._report_failure(frame.header, destination, NetworkStatusCode.NO_ROUTE_AVAILABLE, now_us)

    def _report_failure(
        self, header: bytes, destination: int, status: NetworkStatusCode, now_us: int
    ) -> None:
        """Tell the source of a frame that we were to forward. Source: 3.6.3.7.1."""
        source = int.from_bytes(header[4:6], "little")
        if source == self.short_address:
            return
        hop = self.next_hop(source)
        if hop is not None:
            command = NetworkStatus(status=status, destination=destination)
            self.send_command(source, command, now_us=now_us, radius=REQUEST_RADIUS, next_hop=hop)

    def _flush(self, destination: int, now_us: int) -> None:
        for frame in self._pending.pop(destination, ()):
            self._route(destination, frame.header, frame.payload, frame.handle, now_us)

    def _set_route(self, destination: int, next_hop: int, cost: int) -> None:
        if destination == self.short_address:
            return
        if destination not in self.routes and len(self.routes) >= ROUTE_LIMIT:
            del self.routes[next(iter(self.routes))]
        self.routes[destination] = Route(next_hop=next_hop, cost=cost)

    # --- answering and passing on -------------------------------------------------------------------

    def _note_discovery(
        self, originator: int, identifier: int, sender: int, cost: int, now_us: int
    ) -> DiscoveryEntry | None:
        """The reverse path, if this request is new or came cheaper than before; else None."""
        if now_us >= self._discovery_due_us:
            self._discovery_due_us = now_us + DISCOVERY_US
            for old in [k for k, entry in self._discoveries.items() if entry.expires_us <= now_us]:
                del self._discoveries[old]
        key = originator << 8 | identifier
        entry = self._discoveries.get(key)
        if entry is not None and entry.expires_us > now_us and cost >= entry.forward_cost:
            return None
        entry = DiscoveryEntry(sender=sender, forward_cost=cost, expires_us=now_us + DISCOVERY_US)
        self._discoveries[key] = entry
        return entry

    def _cost_of(self, sender: int, lqi: int) -> int:
        neighbour = self.neighbours.get(sender)
        cost = link_cost(lqi)
        return cost if neighbour is None else max(cost, neighbour.outgoing_cost)

    def _on_route_request(self, command: RouteRequest, header: NwkHeader, data: MacData, now_us: int) -> None:
        if not self.is_router or header.source == self.short_address:
            return
        cost = command.path_cost + self._cost_of(data.source, data.lqi)
        entry = self._note_discovery(header.source, command.identifier, data.source, cost, now_us)
        if entry is None:
            return
        if header.source not in self.neighbours:
            self._set_route(header.source, data.source, cost)
        child = self.neighbours.get(command.destination)
        is_ours = child is not None and child.relationship is Relationship.CHILD and not child.is_router
        if command.destination == self.short_address or is_ours:
            reply = RouteReply(
                identifier=command.identifier,
                originator=header.source,
                responder=command.destination,
                path_cost=0,
            )
            self.send_command(data.source, reply, now_us=now_us, radius=REQUEST_RADIUS)
        elif header.radius > 1:
            self._pass_later(command, header, entry, cost, now_us)

    def _pass_later(
        self, command: RouteRequest, header: NwkHeader, entry: DiscoveryEntry, cost: int, now_us: int
    ) -> None:
        low_us, high_us = REQUEST_JITTER_US
        onward = replace(command, path_cost=min(cost, 255))
        when_us = now_us + self._rng.randrange(low_us, high_us)
        self._timers.at(when_us, self._pass_request_on, onward, header, entry)

    def _pass_request_on(
        self, now_us: int, request: RouteRequest, header: NwkHeader, entry: DiscoveryEntry
    ) -> None:
        if self._discoveries.get(header.source << 8 | request.identifier) is not entry:
            return  # a cheaper copy came meanwhile and goes instead
        self.send_command(
            BROADCAST_ROUTERS,
            request,
            now_us=now_us,
            radius=header.radius - 1,
            source=header.source,
            sequence=header.sequence,
            has_source_eui64=False,
        )

    def _on_route_reply(self, command: RouteReply, header: NwkHeader, data: MacData, now_us: int) -> None:
        entry = self._discoveries.get(command.originator << 8 | command.identifier)
        if not self.is_router or entry is None or entry.expires_us <= now_us:
            return
        cost = command.path_cost + self._cost_of(data.source, data.lqi)
        if cost >= entry.residual_cost:
            return
        entry.residual_cost = cost
        self._set_route(command.responder, data.source, cost)
        if command.originator == self.short_address:
            self._flush(command.responder, now_us)
            return
        onward = RouteReply(
            identifier=command.identifier,
            originator=command.originator,
            responder=command.responder,
            path_cost=min(cost, 255),
        )
        self.send_command(entry.sender, onward, now_us=now_us, radius=REQUEST_RADIUS)

    # --- links that come and go -----------------------------------------------------------------------

    def _on_network_status(
        self, command: NetworkStatus, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        if command.status in (
            NetworkStatusCode.NO_ROUTE_AVAILABLE,
            NetworkStatusCode.NON_TREE_LINK_FAILURE,
            NetworkStatusCode.TREE_LINK_FAILURE,
        ):
            self.routes.pop(command.destination, None)

    def _on_link_failure(
        self, hop: int, header: bytes, payload: bytes, handle: int, status: MacStatus, now_us: int
    ) -> bool:
        """A frame was not acknowledged by the next hop. A router looks for another way, once."""
        if hop == self.parent and not self.is_router:
            if status is MacStatus.NO_ACK:  # a busy channel says nothing about the parent
                self.on_parent_failure(now_us)
            return False
        if status is not MacStatus.NO_ACK or hop >= FIRST_BROADCAST or not header:
            return False
        destination = int.from_bytes(header[2:4], "little")
        route = self.routes.get(destination)
        if route is not None and route.next_hop == hop:
            del self.routes[destination]
        elif hop != destination:
            return False
        if header[0] & 3:  # a command: whoever sent it sends it again if it matters
            return False
        self._report_failure(header, destination, NetworkStatusCode.NON_TREE_LINK_FAILURE, now_us)
        neighbour = self.neighbours.get(destination)
        if neighbour is not None and neighbour.failures < 3:
            return False  # the link may only be noisy: APS repeats
        if not self.is_router or not header[1] & 0x02:
            return False
        if neighbour is not None and not neighbour.is_router:
            return False  # our own end device: nobody else knows a way to it
        self._discover(destination, header, payload, handle, now_us)
        return True

    def on_parent_failure(self, now_us: int) -> None:
        """An end device's parent did not acknowledge."""
        raise NotImplementedError

    def start_link_status(self, now_us: int) -> None:
        """Routers tell each other every 15 s how well they hear whom. 0 turns it off."""
        if self._link_status_timer is not None:
            self._link_status_timer.cancel()
            self._link_status_timer = None
        if self.is_router and self.link_status_period_us:
            when_us = now_us + self._rng.randrange(LINK_STATUS_JITTER_US)
            self._link_status_timer = self._timers.at(when_us, self._send_link_status)

    def stop_link_status(self) -> None:
        if self._link_status_timer is not None:
            self._link_status_timer.cancel()
            self._link_status_timer = None

    def _send_link_status(self, now_us: int) -> None:
        costs = []
        for short_address in sorted(self.neighbours):
            neighbour = self.neighbours[short_address]
            if not neighbour.is_router:
                continue
            neighbour.age += 1
            if neighbour.age > ROUTER_AGE_LIMIT:
                neighbour.outgoing_cost = 0
                if neighbour.relationship is Relationship.SIBLING:
                    self._remove_neighbour(short_address)
                continue
            cost = link_cost(neighbour.lqi)
            costs.append((short_address, cost, min(neighbour.outgoing_cost, 7)))
        for status in _in_frames(tuple(costs)):
            self.send_command(BROADCAST_ROUTERS, status, now_us=now_us)
        jitter_us = self._rng.randrange(-LINK_STATUS_JITTER_US, LINK_STATUS_JITTER_US)
        self._link_status_timer = self._timers.at(
            now_us + self.link_status_period_us + jitter_us, self._send_link_status
        )

    def _on_link_status(self, command: LinkStatus, header: NwkHeader, data: MacData, now_us: int) -> None:
        if not self.is_router or header.source_eui64 is None or header.source != data.source:
            return
        neighbour = self._note_router(data.source, header.source_eui64, data.lqi)
        if neighbour is None:
            return
        neighbour.age = 0
        neighbour.failures = 0
        neighbour.lqi = data.lqi
        for entry in command.entries:
            if entry.neighbour == self.short_address:
                neighbour.outgoing_cost = entry.incoming_cost
                break

    # --- who takes what -------------------------------------------------------------------------------

    _command_handlers: ClassVar[Handlers] = {
        **NwkBroadcast._command_handlers,
        RouteRequest: _on_route_request,
        RouteReply: _on_route_reply,
        LinkStatus: _on_link_status,
    }


@lru_cache(maxsize=128)  # most of the time nothing has changed since the last one
def _in_frames(costs: tuple[tuple[int, int, int], ...]) -> tuple[LinkStatus, ...]:
    """(neighbour, cost from it, cost to it) each; as many as fit into a frame.

    Each frame begins with the last neighbour of the one before. Source: 3.4.8.3.3.
    """
    entries = [
        LinkStatusEntry(neighbour=neighbour, incoming_cost=incoming, outgoing_cost=outgoing)
        for neighbour, incoming, outgoing in costs
    ]
    starts = range(0, max(1, len(entries) - 1), LINK_STATUS_ENTRIES - 1)
    parts = [tuple(entries[start : start + LINK_STATUS_ENTRIES]) for start in starts]
    last = len(parts) - 1
    return tuple(
        LinkStatus(entries=part, is_first=number == 0, is_last=number == last)
        for number, part in enumerate(parts)
    )
