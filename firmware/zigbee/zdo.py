"""ZigBee device object: what endpoint 0 of a node answers, and what it asks of others.

Requests and answers are a table from cluster to handler; a handler gives the octets of the answer (without
the transaction number), or None for silence. Source: Zigbee 05-3474-21, 2.4, 2.5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.binding_tables import BindingTable
from smets1.firmware.zigbee.nwk import FIRST_BROADCAST
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.firmware.zigbee.nwk_tables import Neighbour, Relationship
from smets1.firmware.zigbee.zdp_frames import (
    AddressResponse,
    BindRequest,
    DeviceAnnce,
    MatchDescRequest,
    MgmtLqiResponse,
    NeighbourRecord,
    NodeDescriptor,
    ParentAnnce,
    ZdpCluster,
    ZdpReader,
    ZdpStatus,
    encode_simple_descriptor,
)
from smets1.hardware.radio import (
    BROADCAST_ROUTERS,
    BROADCAST_RX_ON,
    CHANNELS,
    COORDINATOR,
    ApsIndication,
    ApsMessage,
    NodeRole,
    SimpleDescriptor,
    channel_mask,
    channels_in,
    zdp_message,
)

__all__ = [
    "Announced",
    "ChannelAsked",
    "LeaveAsked",
    "ManagerChanged",
    "PermitAsked",
    "ScanAsked",
    "Zdo",
    "ZdpAnswered",
]

RESPONSE: Final = 0x8000
PARENT_ANNCE_CHILDREN: Final = 8  # in one unfragmented broadcast
MAX_SCAN_EXPONENT: Final = 5
MAX_SCAN_COUNT: Final = 8
CHANGE_CHANNEL: Final = 0xFE
CHANGE_MANAGER: Final = 0xFF
LQI_RECORDS: Final = 2  # what fits into one unfragmented answer


@dataclass(frozen=True, slots=True)
class Announced:
    """A device has (re)joined somewhere."""

    announcement: DeviceAnnce


@dataclass(frozen=True, slots=True)
class PermitAsked:
    duration_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanAsked:
    """Mgmt_NWK_Update: measure the energy of channels, `count` times, and tell `source` each time."""

    source: int
    transaction: int
    channels: tuple[int, ...]
    exponent: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelAsked:
    """Mgmt_NWK_Update of the network manager: another channel for all."""

    channel: int
    update_id: int


@dataclass(frozen=True, slots=True)
class ManagerChanged:
    """Mgmt_NWK_Update of the network manager: another manager, or other channels; see `Zdo.manager`."""


@dataclass(frozen=True, slots=True)
class LeaveAsked:
    """Mgmt_Leave: `eui64` 0 or our own means ourselves; else one of our children."""

    eui64: Eui64
    is_rejoin: bool


@dataclass(frozen=True, slots=True)
class ZdpAnswered:
    """An answer to `ask`; `payload` without the transaction number."""

    handle: int
    source: int
    payload: bytes


_Handler = Callable[["Zdo", ApsIndication, bytes, int], bytes | None]


class Zdo:
    """`send` hands an APS message down; endpoints may be changed at any time."""

    __slots__ = (
        "_asked",
        "_nwk",
        "_send",
        "_transaction",
        "bindings",
        "endpoints",
        "events",
        "malformed_count",
        "manager",
        "manager_channels",
        "manufacturer_code",
    )

    def __init__(
        self,
        nwk: NwkLayer,
        manufacturer_code: int,
        bindings: BindingTable,
        send: Callable[[ApsMessage, int], None],
    ) -> None:
        self.events: list[object] = []
        self.endpoints: dict[int, SimpleDescriptor] = {}
        self.bindings = bindings
        self.malformed_count = 0
        self.manager = COORDINATOR  # nwkManagerAddr
        self.manager_channels: tuple[int, ...] = tuple(CHANNELS)  # apsChannelMask as the manager set it
        self._nwk = nwk
        self._send = send
        self.manufacturer_code = manufacturer_code
        self._transaction = 0
        self._asked: dict[tuple[int, int], int] = {}

    def endpoints_with(self, profile_id: int, cluster_id: int) -> list[int]:
        """Which of ours have a cluster of a profile, on either side; ascending."""
        return [
            endpoint
            for endpoint, descriptor in sorted(self.endpoints.items())
            if descriptor.profile_id == profile_id
            and (cluster_id in descriptor.input_clusters or cluster_id in descriptor.output_clusters)
        ]

    # --- asking -----------------------------------------------------------------------------------------

    def ask(self, destination: int, cluster_id: int, payload: bytes, handle: int) -> None:
        """A request; the answer comes as ZdpAnswered with this handle, if it comes."""
        transaction = self._next_transaction()
        self._asked[cluster_id, transaction] = handle
        self._put(destination, cluster_id, bytes((transaction,)) + payload)

    def tell(self, destination: int, cluster_id: int, payload: bytes) -> None:
        """An announcement, or a request whose answer is of no interest."""
        self._put(destination, cluster_id, bytes((self._next_transaction(),)) + payload)

    def forget(self, handle: int) -> None:
        for key in [key for key, asked in self._asked.items() if asked == handle]:
            del self._asked[key]

    def _next_transaction(self) -> int:
        self._transaction = (self._transaction + 1) & 0xFF
        return self._transaction

    def _put(self, destination: int, cluster_id: int, payload: bytes) -> None:
        self._send(zdp_message(destination, cluster_id, payload), 0)

    # --- answering --------------------------------------------------------------------------------------

    def receive(self, indication: ApsIndication, now_us: int) -> None:
        """A ZDP payload off the air. Anything malformed is counted and dropped."""
        try:
            self._receive(indication, now_us)
        except DecodeError:
            self.malformed_count += 1

    def _receive(self, indication: ApsIndication, now_us: int) -> None:
        payload = indication.payload
        if not payload:
            raise DecodeError("ZDP", 0, "no transaction number")
        transaction, body = payload[0], payload[1:]
        cluster_id = indication.cluster_id
        if cluster_id == ZdpCluster.PARENT_ANNCE | RESPONSE:
            self._on_parent_annce_rsp(body)
            return
        if cluster_id & RESPONSE:
            handle = self._asked.pop((cluster_id & ~RESPONSE, transaction), None)
            if handle is not None:
                self.events.append(ZdpAnswered(handle, indication.source, body))
            return
        handler = self._handlers.get(cluster_id)
        if handler is None:
            if indication.is_broadcast:
                return
            answer: bytes | None = bytes((ZdpStatus.NOT_SUPPORTED,))
        else:
            answer = handler(self, indication, body, now_us)
        if answer is not None:
            self._put(indication.source, cluster_id | RESPONSE, bytes((transaction,)) + answer)

    def _address_answer(self, status: ZdpStatus, eui64: Eui64, short: int, kind: int, start: int) -> bytes:
        answer = AddressResponse(status=status, eui64=eui64, short_address=short)
        if kind == 1 and status is ZdpStatus.SUCCESS:
            children = sorted(n.short_address for n in self._nwk.neighbours.values() if n.is_child)
            part = tuple(children[start : start + 20])
            answer = replace(answer, associated=part, start_index=start)
        return answer.encode()

    def _on_nwk_addr(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        reader = ZdpReader(body, "NWK_addr_req")
        eui64, kind, start = reader.uint(8), reader.uint(1), reader.uint(1)
        if eui64 == self._nwk.eui64:
            return self._address_answer(ZdpStatus.SUCCESS, eui64, self._nwk.short_address, kind, start)
        child = self._nwk.find_child(eui64)
        if child is not None and child.is_sleepy:  # it cannot hear the broadcast: its parent answers
            return self._address_answer(ZdpStatus.SUCCESS, eui64, child.short_address, 0, 0)
        if indication.is_broadcast:
            return None
        return self._address_answer(ZdpStatus.DEVICE_NOT_FOUND, eui64, 0xFFFF, 0, 0)

    def _on_ieee_addr(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        reader = ZdpReader(body, "IEEE_addr_req")
        short, kind, start = reader.uint(2), reader.uint(1), reader.uint(1)
        if short == self._nwk.short_address:
            return self._address_answer(ZdpStatus.SUCCESS, self._nwk.eui64, short, kind, start)
        child = self._nwk.neighbours.get(short)
        if child is not None and child.is_child and child.eui64 is not None:
            return self._address_answer(ZdpStatus.SUCCESS, child.eui64, short, 0, 0)
        return self._address_answer(ZdpStatus.DEVICE_NOT_FOUND, 0, short, 0, 0)

    def _is_us(self, short: int) -> bool:
        return short == self._nwk.short_address

    def _status_about(self, status: ZdpStatus, short: int) -> bytes:
        return bytes((status,)) + short.to_bytes(2, "little")

    def _on_node_desc(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        short = ZdpReader(body, "Node_Desc_req").uint(2)
        if not self._is_us(short):
            return self._status_about(ZdpStatus.DEVICE_NOT_FOUND, short)
        role = self._nwk.role
        descriptor = NodeDescriptor(
            logical_type=min(role, NodeRole.END_DEVICE),
            capability=self._nwk.capability,
            manufacturer_code=self.manufacturer_code,
            server_mask=0x0001 if role is NodeRole.COORDINATOR else 0,
        )
        return self._status_about(ZdpStatus.SUCCESS, short) + descriptor.encode()

    def _on_power_desc(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        short = ZdpReader(body, "Power_Desc_req").uint(2)
        if not self._is_us(short):
            return self._status_about(ZdpStatus.DEVICE_NOT_FOUND, short)
        is_sleepy = self._nwk.role is NodeRole.SLEEPY_END_DEVICE
        # mode, available sources; current source and level (100 %): Source: 2.3.2.4
        descriptor = b"\x42\xc4" if is_sleepy else b"\x10\xc1"
        return self._status_about(ZdpStatus.SUCCESS, short) + descriptor

    def _on_simple_desc(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        reader = ZdpReader(body, "Simple_Desc_req")
        short, endpoint = reader.uint(2), reader.uint(1)
        if not self._is_us(short):
            return self._status_about(ZdpStatus.DEVICE_NOT_FOUND, short) + b"\0"
        descriptor = self.endpoints.get(endpoint)
        if descriptor is None:
            status = ZdpStatus.NOT_ACTIVE if 0 < endpoint < 0xF1 else ZdpStatus.INVALID_EP
            return self._status_about(status, short) + b"\0"
        octets = encode_simple_descriptor(descriptor)
        return self._status_about(ZdpStatus.SUCCESS, short) + bytes((len(octets),)) + octets

    def _on_active_ep(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        short = ZdpReader(body, "Active_EP_req").uint(2)
        if not self._is_us(short):
            return self._status_about(ZdpStatus.DEVICE_NOT_FOUND, short) + b"\0"
        endpoints = bytes(sorted(self.endpoints))
        return self._status_about(ZdpStatus.SUCCESS, short) + bytes((len(endpoints),)) + endpoints

    def _on_match_desc(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        request = MatchDescRequest.decode(body)
        if not self._is_us(request.short_address) and request.short_address < 0xFFF8:
            if indication.is_broadcast:
                return None
            return self._status_about(ZdpStatus.DEVICE_NOT_FOUND, request.short_address) + b"\0"
        matching = bytes(
            endpoint
            for endpoint, descriptor in sorted(self.endpoints.items())
            if descriptor.profile_id == request.profile_id
            and (
                any(cluster in descriptor.input_clusters for cluster in request.input_clusters)
                or any(cluster in descriptor.output_clusters for cluster in request.output_clusters)
            )
        )
        if not matching and indication.is_broadcast:
            return None
        answer = self._status_about(ZdpStatus.SUCCESS, self._nwk.short_address)
        return answer + bytes((len(matching),)) + matching

    # --- announcements ----------------------------------------------------------------------------------

    def announce(self, destination: int) -> None:
        annce = DeviceAnnce(
            short_address=self._nwk.short_address,
            eui64=self._nwk.eui64,
            capability=self._nwk.capability,
        )
        self.tell(destination, ZdpCluster.DEVICE_ANNCE, annce.encode())

    def _on_device_annce(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        annce = DeviceAnnce.decode(body)
        if annce.eui64 != self._nwk.eui64 and 0 < annce.short_address < 0xFFF8:
            self.events.append(Announced(annce))
        return None

    def _on_parent_annce(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        """Another router names its children: those that we also have are ours only if heard since."""
        annce = ParentAnnce.decode(body)
        ours = self._nwk.keep_or_release(annce.children)
        if not ours:
            return None
        return bytes((ZdpStatus.SUCCESS,)) + ParentAnnce(children=ours).encode()

    def announce_children(self, children: list[Eui64]) -> None:
        for start in range(0, len(children), PARENT_ANNCE_CHILDREN):
            part = ParentAnnce(children=tuple(children[start : start + PARENT_ANNCE_CHILDREN]))
            self.tell(BROADCAST_ROUTERS, ZdpCluster.PARENT_ANNCE, part.encode())

    def _on_parent_annce_rsp(self, body: bytes) -> None:
        reader = ZdpReader(body, "Parent_annce_rsp")
        if reader.uint(1) == ZdpStatus.SUCCESS:
            self._nwk.release_children(ParentAnnce.decode(body[1:]).children)

    # --- binding ----------------------------------------------------------------------------------------

    def _on_bind(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        request = BindRequest.decode(body)
        if request.source != self._nwk.eui64:
            return bytes((ZdpStatus.NOT_SUPPORTED,))
        if request.source_endpoint not in self.endpoints:
            return bytes((ZdpStatus.INVALID_EP,))
        if not self.bindings.add(request):
            return bytes((ZdpStatus.TABLE_FULL,))
        return bytes((ZdpStatus.SUCCESS,))

    def _on_unbind(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        request = BindRequest.decode(body)
        if request.source != self._nwk.eui64:
            return bytes((ZdpStatus.NOT_SUPPORTED,))
        return bytes((ZdpStatus.SUCCESS if self.bindings.remove(request) else ZdpStatus.NO_ENTRY,))

    def _on_mgmt_bind(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        start = ZdpReader(body, "Mgmt_Bind_req").uint(1)
        entries = self.bindings.entries
        part = entries[start : start + LQI_RECORDS]
        head = bytes((ZdpStatus.SUCCESS, len(entries), start, len(part)))
        return head + b"".join(binding.encode() for binding in part)

    # --- management -------------------------------------------------------------------------------------

    def _on_mgmt_lqi(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        start = ZdpReader(body, "Mgmt_Lqi_req").uint(1)
        known = [n for _, n in sorted(self._nwk.neighbours.items()) if n.eui64 is not None][:255]
        part = tuple(self._record(neighbour) for neighbour in known[start : start + LQI_RECORDS])
        return MgmtLqiResponse(
            status=ZdpStatus.SUCCESS, total=len(known), start_index=start, neighbours=part
        ).encode()

    def _record(self, neighbour: Neighbour) -> NeighbourRecord:
        kind = 1 if neighbour.is_router else 2
        relationship = min(neighbour.relationship, Relationship.PREVIOUS_CHILD)
        if neighbour.relationship is Relationship.UNAUTHENTICATED_CHILD:
            relationship = Relationship.CHILD
        return NeighbourRecord(
            extended_pan_id=self._nwk.extended_pan_id,
            eui64=neighbour.eui64 or 0,
            short_address=neighbour.short_address,
            device_type=0 if neighbour.short_address == 0 else kind,
            rx_on_when_idle=0 if neighbour.is_sleepy else 1,
            relationship=relationship,
            permit_joining=2,
            depth=min(self._nwk.depth + 1, 15) if neighbour.is_child else self._nwk.depth,
            lqi=neighbour.lqi,
        )

    def _on_mgmt_rtg(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        start = ZdpReader(body, "Mgmt_Rtg_req").uint(1)
        routes = sorted(self._nwk.routes.items())[:255]
        part = routes[start : start + 8]
        head = bytes((ZdpStatus.SUCCESS, len(routes), start, len(part)))
        return head + b"".join(
            destination.to_bytes(2, "little") + b"\0" + route.next_hop.to_bytes(2, "little")
            for destination, route in part
        )

    def _on_mgmt_leave(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        reader = ZdpReader(body, "Mgmt_Leave_req")
        eui64, options = reader.uint(8), reader.uint(1)
        if indication.source != 0 or indication.is_broadcast:  # the trust centre only, as Smart Energy has it
            return bytes((ZdpStatus.NOT_AUTHORIZED,))
        is_own = eui64 in (0, self._nwk.eui64)
        if not is_own and self._nwk.find_child(eui64) is None:
            return bytes((ZdpStatus.DEVICE_NOT_FOUND,))
        self.events.append(LeaveAsked(0 if is_own else eui64, options & 0x80 != 0))
        return bytes((ZdpStatus.SUCCESS,))

    def _on_mgmt_permit(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        reader = ZdpReader(body, "Mgmt_Permit_Joining_req")
        duration_s, _ = reader.uint(1), reader.uint(1)
        self.events.append(PermitAsked(duration_s))
        return None if indication.is_broadcast else bytes((ZdpStatus.SUCCESS,))

    def _on_mgmt_nwk_update(self, indication: ApsIndication, body: bytes, now_us: int) -> bytes | None:
        """Scan (duration 0..5), change the channel (0xFE), or the manager and its channels (0xFF).

        Only the manager may change anything: else any device of the home could carry it off.
        Source: 2.4.3.3.9, 2.4.4.3.9.
        """
        reader = ZdpReader(body, "Mgmt_NWK_Update_req")
        mask, duration = reader.uint(4), reader.uint(1)
        channels = channels_in(mask)
        if duration <= MAX_SCAN_EXPONENT:
            count = reader.uint(1)
            if not indication.is_broadcast and channels and 0 < count <= MAX_SCAN_COUNT:
                self.events.append(
                    ScanAsked(
                        source=indication.source,
                        transaction=indication.payload[0],
                        channels=channels,
                        exponent=duration,
                        count=count,
                    )
                )
                return None  # the answer is what was measured
        elif duration in (CHANGE_CHANNEL, CHANGE_MANAGER):
            update_id = reader.uint(1)
            manager = reader.uint(2) if duration == CHANGE_MANAGER else self.manager
            if indication.source == self.manager:
                if duration == CHANGE_MANAGER:
                    if not channels or manager >= FIRST_BROADCAST:
                        return None if indication.is_broadcast else _notify(ZdpStatus.INV_REQUESTTYPE)
                    self.manager, self.manager_channels = manager, channels
                    self.events.append(ManagerChanged())
                    return None
                if len(channels) == 1:
                    self.events.append(ChannelAsked(channel=channels[0], update_id=update_id))
                    return None
            elif not indication.is_broadcast:
                return _notify(ZdpStatus.NOT_AUTHORIZED)
        return None if indication.is_broadcast else _notify(ZdpStatus.INV_REQUESTTYPE)

    def tell_channel(self, channel: int, update_id: int, destination: int = BROADCAST_RX_ON) -> None:
        payload = struct.pack("<IBB", 1 << channel, CHANGE_CHANNEL, update_id)
        self.tell(destination, ZdpCluster.MGMT_NWK_UPDATE_REQ, payload)

    def forget_manager(self) -> None:
        """The network is left."""
        self.manager, self.manager_channels = COORDINATOR, tuple(CHANNELS)

    def tell_manager(self, manager: int, channels: tuple[int, ...], update_id: int) -> None:
        payload = struct.pack("<IBBH", channel_mask(channels), CHANGE_MANAGER, update_id, manager)
        self.tell(BROADCAST_RX_ON, ZdpCluster.MGMT_NWK_UPDATE_REQ, payload)

    def refuse_scan(self, asked: ScanAsked) -> None:
        """Something else is being looked for at this moment."""
        self._notify_scan(asked, _notify(ZdpStatus.NOT_PERMITTED))

    def report_scan(
        self, asked: ScanAsked, levels_dbm: tuple[tuple[int, int], ...], transmissions: int, failures: int
    ) -> None:
        self._notify_scan(asked, _notify(ZdpStatus.SUCCESS, levels_dbm, transmissions, failures))

    def _notify_scan(self, asked: ScanAsked, answer: bytes) -> None:
        cluster_id = ZdpCluster.MGMT_NWK_UPDATE_REQ | RESPONSE
        self._put(asked.source, cluster_id, bytes((asked.transaction,)) + answer)

    # --- who takes what -------------------------------------------------------------------------------

    _handlers: ClassVar[dict[int, _Handler]] = {
        ZdpCluster.NWK_ADDR_REQ: _on_nwk_addr,
        ZdpCluster.IEEE_ADDR_REQ: _on_ieee_addr,
        ZdpCluster.NODE_DESC_REQ: _on_node_desc,
        ZdpCluster.POWER_DESC_REQ: _on_power_desc,
        ZdpCluster.SIMPLE_DESC_REQ: _on_simple_desc,
        ZdpCluster.ACTIVE_EP_REQ: _on_active_ep,
        ZdpCluster.MATCH_DESC_REQ: _on_match_desc,
        ZdpCluster.DEVICE_ANNCE: _on_device_annce,
        ZdpCluster.PARENT_ANNCE: _on_parent_annce,
        ZdpCluster.BIND_REQ: _on_bind,
        ZdpCluster.UNBIND_REQ: _on_unbind,
        ZdpCluster.MGMT_LQI_REQ: _on_mgmt_lqi,
        ZdpCluster.MGMT_RTG_REQ: _on_mgmt_rtg,
        ZdpCluster.MGMT_BIND_REQ: _on_mgmt_bind,
        ZdpCluster.MGMT_LEAVE_REQ: _on_mgmt_leave,
        ZdpCluster.MGMT_PERMIT_JOINING_REQ: _on_mgmt_permit,
        ZdpCluster.MGMT_NWK_UPDATE_REQ: _on_mgmt_nwk_update,
    }


def _notify(
    status: ZdpStatus,
    levels_dbm: tuple[tuple[int, int], ...] = (),
    transmissions: int = 0,
    failures: int = 0,
) -> bytes:
    """Mgmt_NWK_Update_notify. Energy: 0 at -100 dBm, 255 at -20 dBm or more, straight between."""
    mask = channel_mask(channel for channel, _ in levels_dbm)
    energies = bytes(max(0, min(255, (level_dbm + 100) * 255 // 80)) for _, level_dbm in levels_dbm)
    head = struct.pack("<BIHHB", status, mask, transmissions & 0xFFFF, failures & 0xFFFF, len(energies))
    return head + energies
