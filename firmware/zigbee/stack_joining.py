"""Forming a network, joining one, and what happens as others join it.

Source: Zigbee 05-3474-21, 2.5.4.5 (network manager), 4.6.3 (joining securely); Smart Energy 1.x, 5.4.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from smets1.errors import EmulatorError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.aps_frames import (
    UpdateDevice,
    UpdateStatus,
)
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_events import (
    ChildJoined,
    DeviceLeft,
    EnergyFound,
    JoinEnded,
    NetworkFound,
    NetworksFound,
    Renumbered,
)
from smets1.firmware.zigbee.nwk_tables import CAPABILITY_RX_ON
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.stack_events import (
    HanConfig,
    LeftDevice,
    ProcedureEnded,
)
from smets1.firmware.zigbee.stack_parent import JOIN_POLL_US, KEY_WAIT_US, StackParent
from smets1.firmware.zigbee.timers import Deadline
from smets1.firmware.zigbee.trust_centre import TrustCentre
from smets1.firmware.zigbee.zdo import Announced, ChannelAsked, ManagerChanged, PermitAsked, ScanAsked
from smets1.firmware.zigbee.zdp_frames import ZdpCluster
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    COORDINATOR,
    KeyOrigin,
    LinkKey,
    NodeRole,
)

__all__ = ["StackJoining"]


MAX_CANDIDATES: Final = 4
ASSOCIATIONS: Final = 3  # with one parent that does not answer
JOIN_SCANS: Final = 3  # Smart Energy: three scans at once, then the application backs off
PERMIT_OCTETS: Final = struct.Struct("<BB")


@dataclass(slots=True)
class _Join:
    handle: int
    link_key: LinkKey
    candidates: list[NetworkFound] = field(default_factory=list)
    network: NetworkFound | None = None
    refused_status: int | None = None
    scans: int = 0
    associations: int = 0
    deadline: Deadline | None = None


class StackJoining(StackParent):
    __slots__ = ("_form_handle", "_form_levels", "_join", "_removing", "_scan")

    def __init__(
        self, *, eui64: Eui64, role: NodeRole, config: HanConfig, nvm: Nvm, rng: random.Random
    ) -> None:
        super().__init__(eui64=eui64, role=role, config=config, nvm=nvm, rng=rng)
        self._join: _Join | None = None
        self._scan: ScanAsked | None = None
        self._form_handle = 0
        self._form_levels: dict[int, int] = {}
        self._removing: dict[Eui64, int] = {}

    # --- forming --------------------------------------------------------------------------------------

    def form(self, handle: int, *, now_us: int) -> None:
        """Quietest channel with the fewest networks; ends in ProcedureEnded."""
        self._form_handle = handle
        if len(self.config.channels) == 1:
            self._form_levels = {self.config.channels[0]: 0}
            self.nwk.scan(self.config.channels, self.config.scan_exponent)
        else:
            self.nwk.measure_energy(self.config.channels, self.config.scan_exponent)
        self.settle(now_us)

    def _on_energy_found(self, found: EnergyFound, now_us: int) -> None:
        if not self._form_handle:
            self._report_energy(found, now_us)
            return
        self._form_levels = dict(found.levels_dbm)
        self.nwk.scan(self.config.channels, self.config.scan_exponent)

    # --- what the network manager asks ------------------------------------------------------------------

    def _on_scan_asked(self, asked: ScanAsked, now_us: int) -> None:
        if self._scan is not None or self.mac.is_scanning or self._join is not None or self._is_down:
            self.zdo.refuse_scan(asked)
            return
        self._scan = asked
        self.nwk.measure_energy(asked.channels, asked.exponent)

    def _report_energy(self, found: EnergyFound, now_us: int) -> None:
        asked, self._scan = self._scan, None
        if asked is None:
            return
        counters = self.nwk.counters
        self._now_us = now_us
        self.zdo.report_scan(asked, found.levels_dbm, counters.transmissions, counters.failures)
        if asked.count > 1:
            self._on_scan_asked(replace(asked, count=asked.count - 1), now_us)

    def _on_channel_asked(self, asked: ChannelAsked, now_us: int) -> None:
        if asked.channel in self.channels:
            self.nwk.change_channel(asked.channel, asked.update_id, now_us)

    def _on_manager_changed(self, event: ManagerChanged, now_us: int) -> None:
        self._put_manager()
        self._nvm.commit()

    def set_manager(self, manager: int, channels: tuple[int, ...], *, now_us: int) -> None:
        """As network manager: who is it from now on, and the channels for all; durable on return."""
        self._now_us = now_us
        self.zdo.tell_manager(manager, channels, self.nwk.update_id)
        self.zdo.manager, self.zdo.manager_channels = manager, channels
        self._on_manager_changed(ManagerChanged(), now_us)
        self.settle(now_us)

    def change_channel(self, channel: int, *, destination: int = BROADCAST_RX_ON, now_us: int) -> None:
        """As network manager: all whom the broadcast reaches, and this node, when the news has gone round."""
        self._now_us = now_us
        update_id = (self.nwk.update_id + 1) & 0xFF
        self.zdo.tell_channel(channel, update_id, destination)
        self.nwk.change_channel(channel, update_id, now_us)
        self.settle(now_us)

    def _end_form(self, networks: tuple[NetworkFound, ...], now_us: int) -> None:
        others = dict.fromkeys(self.config.channels, 0)
        for network in networks:
            others[network.channel] = others.get(network.channel, 0) + 1
        channel = min(
            self.config.channels,
            key=lambda number: (others[number], self._form_levels.get(number, 0), number),
        )
        taken = {network.pan_id for network in networks}
        pan_id = self.config.pan_id
        while pan_id is None or (pan_id in taken and self.config.pan_id is None):
            pan_id = self._rng.randrange(1, 0x3FFF)
        key = self.config.network_key or self._rng.randbytes(16)
        self.keys.set_network_key(key, 0)
        extended_pan_id = self.config.extended_pan_id or self.eui64
        self._begin(channel, pan_id, extended_pan_id, COORDINATOR, now_us)
        handle, self._form_handle = self._form_handle, 0
        self.events.append(ProcedureEnded(handle))

    def _on_renumbered(self, event: Renumbered, now_us: int) -> None:
        if self.info is None:
            return
        self.info = replace(
            self.info,
            pan_id=self.mac.pan_id,
            channel=self.mac.channel,
            short_address=self.nwk.short_address,
        )
        self._put_network()
        self._nvm.commit()
        if event.is_address:
            self.zdo.announce(BROADCAST_RX_ON)
            self._stay_awake(now_us)

    # --- joining --------------------------------------------------------------------------------------

    def join(self, link_key: LinkKey, handle: int, *, now_us: int) -> None:
        """One attempt, over at most a few of the networks in range; ends in ProcedureEnded."""
        self._now_us = now_us
        self._join = _Join(handle, link_key)
        self.nwk.scan(self.config.channels, self.config.scan_exponent)
        self.settle(now_us)

    def _on_networks(self, found: NetworksFound, now_us: int) -> None:
        if self._form_handle:
            self._end_form(found.networks, now_us)
        elif self._join is not None:
            open_ones = [n for n in found.networks if n.permits_join and n.has_capacity]
            self._join.candidates = open_ones[:MAX_CANDIDATES]
            self._join.scans += 1
            if (
                not open_ones and self._join.scans < JOIN_SCANS
            ):  # a beacon request is sent once: it may be lost
                self.nwk.scan(self.config.channels, self.config.scan_exponent)
            else:
                self._join_next(now_us)

    def _join_next(self, now_us: int) -> None:
        join = self._join
        assert join is not None
        if join.candidates:
            join.network = join.candidates.pop(0)
            join.associations = 1
            self.nwk.associate(join.network)
            return
        self._join = None
        self.aps.join_entry = None
        self.nwk.reset()
        error: EmulatorError
        if join.refused_status is not None:
            error = RefusedError(join.refused_status, "the network does not admit this device")
        elif join.network is None:
            error = NoAnswerError("no network that lets devices join")
        else:
            error = NoAnswerError("the network key did not come")
        self.events.append(ProcedureEnded(join.handle, error))

    def _on_join_ended(self, ended: JoinEnded, now_us: int) -> None:
        join = self._join
        if join is None:
            return
        if ended.status is None and join.associations < ASSOCIATIONS and join.network is not None:
            join.associations += 1
            self.nwk.associate(join.network)
            return
        if ended.status != 0:
            if ended.status is not None:
                join.refused_status = ended.status
            self._join_next(now_us)
            return
        self.aps.join_entry = self.keys.joining_entry(join.link_key.key)
        join.deadline = self.timers.at(now_us + KEY_WAIT_US, self._on_no_key, join)
        if not self.mac.is_rx_on_idle:
            self.timers.at(now_us + JOIN_POLL_US, self._poll_for_key, join)

    def _poll_for_key(self, now_us: int, join: _Join) -> None:
        if self._join is join and self.aps.join_entry is not None:
            self.nwk.poll()
            self.timers.at(now_us + JOIN_POLL_US, self._poll_for_key, join)

    def _on_no_key(self, now_us: int, join: _Join) -> None:
        if self._join is join:
            self.aps.join_entry = None
            self.nwk.reset()
            self._join_next(now_us)

    def _end_join(self, join: _Join, trust_centre: Eui64, now_us: int) -> None:
        network = join.network
        received = self.aps.join_entry
        assert network is not None
        assert received is not None
        self._join = None
        self.aps.join_entry = None
        if join.deadline is not None:
            join.deadline.cancel()
        self.trust_centre_eui64 = trust_centre
        self.keys.set_link_key(trust_centre, join.link_key.key, KeyOrigin.INSTALL_CODE)
        entry = self.keys.links[trust_centre]
        self.keys.note_link_rx(entry, received.rx_counter)
        self._begin(network.channel, network.pan_id, network.extended_pan_id, self.nwk.short_address, now_us)
        self.zdo.announce(BROADCAST_RX_ON)
        self.nwk.ask_timeout(now_us)
        self._stay_awake(now_us)
        self.events.append(ProcedureEnded(join.handle))

    # --- the children of a router, and of the coordinator ---------------------------------------------

    def _on_child_joined(self, child: ChildJoined, now_us: int) -> None:
        self.nwk.refresh_beacon()
        if child.status is UpdateStatus.STANDARD_SECURED_REJOIN:
            self.aps.forget_sender(child.short_address, now_us)
        if self.trust_centre is not None:
            self.trust_centre.on_child_joined(child, now_us)
        else:
            self._report_child(child.eui64, child.short_address, child.status, now_us)

    def _report_child(self, eui64: Eui64, short_address: int, status: UpdateStatus, now_us: int) -> None:
        command = UpdateDevice(device=eui64, short_address=short_address, status=status)
        entry = self.keys.links.get(self.trust_centre_eui64)
        self.aps.send_command(COORDINATOR, entry, KeyIdentifier.DATA, command, now_us=now_us)

    def _on_device_left(self, left: DeviceLeft, now_us: int) -> None:
        self._sleepy.discard(left.short_address)
        if self.trust_centre is not None:
            self._forget_left(left.eui64)
        elif left.was_child:
            self._report_child(left.eui64, left.short_address, UpdateStatus.DEVICE_LEFT, now_us)

    def _forget_left(self, eui64: Eui64) -> None:
        self.events.append(LeftDevice(eui64))
        handle = self._removing.pop(eui64, 0)
        if handle:
            self._forget_removed(eui64)
            self.events.append(ProcedureEnded(handle))

    def _on_announced(self, event: Announced, now_us: int) -> None:
        annce = event.announcement
        is_sleepy = not annce.capability & CAPABILITY_RX_ON
        knows = (
            self.trust_centre is not None
            or annce.eui64 in self.keys.links
            or annce.eui64 in self.nwk.shorts
            or annce.short_address in self.nwk.addresses
        )
        if not knows:
            return
        other = self.nwk.addresses.get(annce.short_address)
        if other is not None and other != annce.eui64 and self.nwk.is_router:
            self.nwk.on_address_conflict(annce.short_address, now_us)
            return  # both announce themselves again, at other addresses
        child = self.nwk.neighbours.get(annce.short_address)
        if child is None or child.eui64 != annce.eui64:
            former = self.nwk.find_child(annce.eui64)
            if former is not None:  # it has another parent now
                self.nwk.forget_device(annce.eui64)
            self.nwk.forget_route(annce.short_address)
        elif child.capability != annce.capability:
            child.set_capability(annce.capability)
            self.nwk.dirty_devices[annce.eui64] = None
        self.nwk.learn_address(annce.short_address, annce.eui64)
        self.aps.forget_sender(annce.short_address, now_us)
        (self._sleepy.add if is_sleepy else self._sleepy.discard)(annce.short_address)
        if self.trust_centre is not None:
            self.trust_centre.on_announced(
                annce.eui64, annce.short_address, is_sleepy=is_sleepy, now_us=now_us
            )

    def _report_joined(self, trust_centre: TrustCentre) -> None:
        for device in trust_centre.events:
            self.events.append(device)
        trust_centre.events = []
        self._put_network()
        self._nvm.commit()

    def permit_join(self, duration_s: int, *, now_us: int) -> None:
        """This node, and all routers."""
        self._now_us = now_us
        duration_s = max(0, min(duration_s, 254))
        self.nwk.permit_join(duration_s, now_us)
        self.zdo.tell(0xFFFC, ZdpCluster.MGMT_PERMIT_JOINING_REQ, PERMIT_OCTETS.pack(duration_s, 1))
        self.settle(now_us)

    def _on_permit_asked(self, event: PermitAsked, now_us: int) -> None:
        self.nwk.permit_join(event.duration_s, now_us)

    def _forget_removed(self, eui64: Eui64) -> None:
        self.keys.remove_link_key(eui64)
        if self.trust_centre is not None:
            self.trust_centre.forget(eui64)
        self._put_network()
        self._nvm.commit()

    # --- who takes what -------------------------------------------------------------------------------

    _nwk_handlers: ClassVar[Handlers] = {
        **StackParent._nwk_handlers,
        ChildJoined: _on_child_joined,
        DeviceLeft: _on_device_left,
        JoinEnded: _on_join_ended,
        NetworksFound: _on_networks,
        EnergyFound: _on_energy_found,
        Renumbered: _on_renumbered,
    }
    _zdo_handlers: ClassVar[Handlers] = {
        **StackParent._zdo_handlers,
        Announced: _on_announced,
        PermitAsked: _on_permit_asked,
        ScanAsked: _on_scan_asked,
        ChannelAsked: _on_channel_asked,
        ManagerChanged: _on_manager_changed,
    }
