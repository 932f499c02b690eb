"""Broadcasts: each router passes each on once, and again while a neighbouring router is not heard doing so.

A sleeping child cannot hear them: what is meant for all goes to it by unicast, through the indirect queue.
Source: Zigbee 05-3474-21, 3.6.5.
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zigbee.mac_events import MacData, MacStatus
from smets1.firmware.zigbee.nwk import STALE_AFTER_FAILURES, NwkCore
from smets1.firmware.zigbee.nwk_frames import NwkHeader
from smets1.firmware.zigbee.nwk_tables import BroadcastEntry, Relationship
from smets1.hardware.radio import (
    BROADCAST_ALL,
    BROADCAST_ROUTERS,
    BROADCAST_RX_ON,
    NodeRole,
)

__all__ = ["BROADCAST_LIFE_US", "NwkBroadcast"]


BROADCAST_LIFE_US: Final = 9_000_000  # nwkNetworkBroadcastDeliveryTime
BROADCAST_JITTER_US: Final = 64_000  # nwkcMaxBroadcastJitter
PASSIVE_ACK_US: Final = 500_000  # nwkPassiveAckTimeout
BROADCAST_RETRIES: Final = 2  # nwkMaxBroadcastRetries


class NwkBroadcast(NwkCore):
    """`NwkCore` with the broadcast transaction table."""

    __slots__ = ()

    def _broadcast(self, header: bytes, payload: bytes, destination: int, sequence: int, now_us: int) -> None:
        entry = self._new_broadcast(self.short_address, sequence, now_us)
        entry.header, entry.payload = header, payload
        if self.is_router:
            self._send_broadcast(now_us, entry, destination)
        else:
            self._hand_to_parent(now_us, entry)

    def _hand_to_parent(self, now_us: int, entry: BroadcastEntry) -> None:
        """An end device lets its parent broadcast, and sees to it that the parent has the frame."""
        if self.parent is None or not entry.header:
            return

        def on_sent(status: MacStatus, sent_us: int) -> None:
            if status is MacStatus.SUCCESS or entry.tries > BROADCAST_RETRIES:
                entry.header = entry.payload = b""
            else:
                self._timers.at(sent_us + PASSIVE_ACK_US, self._hand_to_parent, entry)

        entry.tries += 1
        self._transmit(self.parent, entry.header, entry.payload, 0, now_us, on_sent=on_sent)

    def _new_broadcast(self, source: int, sequence: int, now_us: int) -> BroadcastEntry:
        if now_us >= self._broadcast_due_us:
            self._broadcast_due_us = now_us + BROADCAST_LIFE_US
            for key in [key for key, entry in self._broadcasts.items() if entry.expires_us <= now_us]:
                del self._broadcasts[key]
        entry = BroadcastEntry(now_us + BROADCAST_LIFE_US)
        self._broadcasts[source << 8 | sequence] = entry
        return entry

    def _send_broadcast(self, now_us: int, entry: BroadcastEntry, destination: int) -> None:
        """On the air, and by unicast to each sleeping child; again if a router is not heard passing it on."""
        if not entry.header:
            return
        if entry.tries == 0 and destination == BROADCAST_ALL:
            for neighbour in list(self.neighbours.values()):
                if neighbour.is_sleepy and neighbour.relationship is Relationship.CHILD:
                    self._transmit(neighbour.short_address, entry.header, entry.payload, 0, now_us)
        routers = [
            short_address
            for short_address, neighbour in self.neighbours.items()
            if neighbour.is_router and neighbour.age <= 3 and neighbour.failures < STALE_AFTER_FAILURES
        ]
        if entry.tries and all(short_address in entry.heard for short_address in routers):
            entry.header = entry.payload = b""
            return
        self._transmit(BROADCAST_ALL, entry.header, entry.payload, 0, now_us)
        entry.tries += 1
        if entry.tries <= BROADCAST_RETRIES and routers:
            self._timers.at(now_us + PASSIVE_ACK_US, self._send_broadcast, entry, destination)
        else:
            entry.header = entry.payload = b""

    def _is_new_broadcast(self, header: NwkHeader, data: MacData, payload: bytes, now_us: int) -> bool:
        """Note a broadcast heard; pass it on if that is our part. False: known already."""
        entry = self._broadcasts.get(header.source << 8 | header.sequence)
        if entry is not None and entry.expires_us > now_us:
            entry.heard.add(data.source)
            return False
        if header.source == self.short_address:
            return False
        entry = self._new_broadcast(header.source, header.sequence, now_us)
        entry.heard.add(data.source)
        entry.heard.add(header.source)
        if self.is_router and header.radius > 1:
            head = NwkHeader(
                frame_type=header.frame_type,
                destination=header.destination,
                source=header.source,
                radius=header.radius - 1,
                sequence=header.sequence,
                source_eui64=header.source_eui64,
            )
            entry.header, entry.payload = head.encode(), payload
            when_us = now_us + self._rng.randrange(BROADCAST_JITTER_US)
            self._timers.at(when_us, self._send_broadcast, entry, header.destination)
        return True

    def _is_for_us(self, broadcast: int) -> bool:
        if broadcast == BROADCAST_ALL:
            return True
        if broadcast == BROADCAST_RX_ON:
            return self.role is not NodeRole.SLEEPY_END_DEVICE
        return broadcast == BROADCAST_ROUTERS and self.is_router
