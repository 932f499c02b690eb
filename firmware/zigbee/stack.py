"""The layers of one node, put together: routes news upwards, forms, joins, rejoins, and keeps NVM true.

Six verbs, as every layer: `receive`, `on_transmitted` and `on_energy` from the radio, `submit` and the
procedures from above, `on_timer`/`next_timer_us`, `take_actions` for the radio, `take_events` upwards.

Source: Zigbee 05-3474-21, 2.5.4.5 (network manager of the device object), 4.6.3 (joining securely).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2

from smets1.errors import DecodeError, EmulatorError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.aps import ApsCommandHeard, ApsConfirm, ApsLayer
from smets1.firmware.zigbee.aps_frames import (
    KeyType,
    RemoveDevice,
    RequestKey,
    SwitchKey,
    TransportKey,
    Tunnel,
    UpdateDevice,
    UpdateStatus,
)
from smets1.firmware.zigbee.mac import MacLayer, MacStatus, Polled, RadioAction
from smets1.firmware.zigbee.nwk import NwkConfirm, NwkData
from smets1.firmware.zigbee.nwk_membership import (
    ChildJoined,
    DeviceLeft,
    EnergyFound,
    JoinEnded,
    LeftNetwork,
    NetworkFound,
    NetworksFound,
    NwkLayer,
    ParentLost,
    RejoinEnded,
)
from smets1.firmware.zigbee.nwk_tables import CAPABILITY_RX_ON, Neighbour, Relationship
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.firmware.zigbee.trust_centre import TrustCentre
from smets1.firmware.zigbee.zdo import Announced, LeaveAsked, PermitAsked, Zdo, ZdpAnswered
from smets1.firmware.zigbee.zdp_frames import BindRequest, SimpleDescriptor, ZdpCluster
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    COORDINATOR,
    ApsIndication,
    ApsMessage,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    TransmitOutcome,
)

__all__ = [
    "HanConfig",
    "LeftDevice",
    "LinkKeyArrived",
    "NetworkDown",
    "NetworkUp",
    "ProcedureEnded",
    "ZigbeeStack",
]

KEY_WAIT_US: Final = 12_000_000
JOIN_POLL_US: Final = 200_000
MAX_CANDIDATES: Final = 4
ASSOCIATIONS: Final = 3  # with one parent that does not answer
JOIN_SCANS: Final = 3  # Smart Energy: three scans at once, then the application backs off
AWAKE_POLL_US: Final = 250_000
AWAKE_US: Final = 2_000_000
REJOIN_FIRST_US: Final = 60_000_000
REJOIN_LAST_US: Final = 900_000_000
PERMIT_OCTETS: Final = struct.Struct("<BB")
_DEVICE_RECORD: Final = struct.Struct("<HBB")
_NO_NEIGHBOUR: Final = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class HanConfig:
    """What a product fixes about its radio; nothing here changes while it runs."""

    channels: tuple[int, ...] = tuple(range(11, 27))
    scan_exponent: int = 3  # (2^n + 1) * 15.36 ms a channel
    extended_pan_id: int | None = None  # coordinator; None: its EUI-64
    pan_id: int | None = None  # coordinator; None: at random, free on the channel
    network_key: bytes | None = field(default=None, repr=False)  # coordinator; None: at random
    endpoints: tuple[SimpleDescriptor, ...] = ()
    manufacturer_code: int = 0x0000
    may_join: Callable[[Eui64], bool] | None = None  # the whitelist; None: whoever has a link key here
    max_children: int = 1024
    link_status_period_us: int = 15_000_000
    fragment_window: int = 1
    poll_interval_us: int | None = None  # sleepy end device, at power-up


# --- news for the shell -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkUp:
    info: NetworkInfo


@dataclass(frozen=True, slots=True)
class NetworkDown:
    reason: str


@dataclass(frozen=True, slots=True)
class LinkKeyArrived:
    key: LinkKey


@dataclass(frozen=True, slots=True)
class ProcedureEnded:
    """form, join, restore, poll, remove or leave: `error` None where it went well."""

    handle: int
    error: EmulatorError | None = None
    value: bool = False


class ZigbeeStack:
    """One node. Procedures take a `handle` and end in one event that bears it."""

    def __init__(
        self, *, eui64: Eui64, role: NodeRole, config: HanConfig, nvm: Nvm, rng: random.Random
    ) -> None:
        self.eui64 = eui64
        self.role = role
        self.config = config
        self.events: list[object] = []
        self.info: NetworkInfo | None = None
        self.trust_centre_eui64: Eui64 = eui64 if role is NodeRole.COORDINATOR else 0
        self._nvm = nvm
        self._rng = rng
        self.timers = TimerQueue()
        self.keys = KeyMaterial(nvm)
        is_rx_on = role is not NodeRole.SLEEPY_END_DEVICE
        self.mac = MacLayer(eui64, rng, self.timers, is_rx_on_idle=is_rx_on)
        self.nwk = NwkLayer(self.mac, self.keys, rng, self.timers, role)
        self.nwk.max_children = config.max_children
        self.nwk.link_status_period_us = config.link_status_period_us
        self.aps = ApsLayer(self.nwk, self.keys, rng, self.timers)
        self.aps.is_sleepy_address = self._is_sleepy
        self.aps.window_size = config.fragment_window
        self.zdo = Zdo(self.nwk, config.manufacturer_code, self._send_zdp)
        for descriptor in config.endpoints:
            self.zdo.endpoints[descriptor.endpoint] = descriptor
        self.trust_centre: TrustCentre | None = None
        if role is NodeRole.COORDINATOR:
            may_join = config.may_join or (lambda _: True)
            self.trust_centre = TrustCentre(self.nwk, self.aps, self.keys, nvm, rng, self.timers, may_join)
            self.nwk.admits = self.trust_centre.admits
        self._sleepy: set[int] = set()
        self._now_us = 0
        self._join: _Join | None = None
        self._form_handle = 0
        self._form_levels: dict[int, int] = {}
        self._poll_interval_us = config.poll_interval_us
        self._poll_timer: Deadline | None = None
        self._poll_handles: list[int] = []
        self._awake_until_us = 0
        self._rejoin_wait_us = 0
        self._rejoin_count = 0
        self._rejoin_timer: Deadline | None = None
        self._is_rejoining = False
        self._is_down = False
        self._leave_handle = 0
        self._removing: dict[Eui64, int] = {}
        self._nwk_handlers: dict[type, Callable[[Any, int], None]] = {
            NwkData: self._on_nwk_data,
            NwkConfirm: self.aps.on_nwk_confirm,
            ChildJoined: self._on_child_joined,
            DeviceLeft: self._on_device_left,
            LeftNetwork: self._on_told_to_leave,
            ParentLost: self._on_parent_lost,
            RejoinEnded: self._on_rejoin_ended,
            JoinEnded: self._on_join_ended,
            NetworksFound: self._on_networks,
            EnergyFound: self._on_energy_found,
            Polled: self._on_polled,
        }
        self._aps_handlers: dict[type, Callable[[Any, int], None]] = {
            ApsIndication: self._on_indication,
            ApsConfirm: self._on_aps_confirm,
            ApsCommandHeard: self._on_aps_command,
        }
        self._zdo_handlers: dict[type, Callable[[Any, int], None]] = {
            Announced: self._on_announced,
            PermitAsked: self._on_permit_asked,
            LeaveAsked: self._on_leave_asked,
            ZdpAnswered: lambda event, now_us: self.events.append(event),
            BindRequest: lambda event, now_us: None,
        }
        self._command_handlers: dict[type, Callable[[ApsCommandHeard, Any, int], None]] = {
            TransportKey: self._on_transport_key,
            UpdateDevice: self._on_update_device,
            RemoveDevice: self._on_remove_device,
            RequestKey: self._on_request_key,
            SwitchKey: self._on_switch_key,
            Tunnel: self._on_tunnel,
        }

    # --- the verbs --------------------------------------------------------------------------------------

    def receive(self, psdu: bytes, lqi: int, *, now_us: int) -> None:
        self._now_us = now_us
        self.mac.receive(psdu, lqi, now_us)
        self.settle(now_us)

    def on_transmitted(self, outcome: TransmitOutcome, *, now_us: int) -> None:
        self._now_us = now_us
        self.mac.on_transmitted(outcome, now_us)
        if self.mac.events:
            self.settle(now_us)

    def on_energy(self, channel: int, rssi_dbm: int, *, now_us: int) -> None:
        self._now_us = now_us
        self.mac.on_energy(channel, rssi_dbm)
        self.settle(now_us)

    def on_timer(self, *, now_us: int) -> None:
        self._now_us = now_us
        while self.timers.run_next(now_us):
            self.settle(now_us)

    def next_timer_us(self) -> int | None:
        return self.timers.next_timer_us()

    def take_actions(self) -> list[RadioAction]:
        actions = self.mac.actions
        self.mac.actions = []
        return actions

    def take_events(self) -> list[object]:
        events = self.events
        self.events = []
        return events

    def submit(self, message: ApsMessage, handle: int, *, now_us: int) -> None:
        """Ends in an ApsConfirm with this handle. Raises SecurityError where no link key is shared."""
        self._now_us = now_us
        self.aps.send(message, handle, now_us=now_us)
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._stay_awake(now_us)
        self.settle(now_us)

    def settle(self, now_us: int) -> None:
        """Carry news upwards until there is none."""
        mac, nwk, aps, zdo = self.mac, self.nwk, self.aps, self.zdo
        while True:
            if mac.events:
                heard, mac.events = mac.events, []
                for event in heard:
                    nwk.on_mac_event(event, now_us)
            elif nwk.events:
                news, nwk.events = nwk.events, []
                for item in news:
                    self._nwk_handlers[type(item)](item, now_us)
            elif aps.events:
                news, aps.events = aps.events, []
                for item in news:
                    self._aps_handlers[type(item)](item, now_us)
            elif zdo.events:
                news, zdo.events = zdo.events, []
                for item in news:
                    self._zdo_handlers[type(item)](item, now_us)
            else:
                break
        if self.trust_centre is not None and self.trust_centre.events:
            self._report_joined(self.trust_centre)
        if nwk.is_dirty or nwk.dirty_devices:
            self._put_network()

    # --- data -------------------------------------------------------------------------------------------

    def _on_nwk_data(self, data: NwkData, now_us: int) -> None:
        self.aps.on_nwk_data(data, now_us)
        if self._awake_until_us:
            self._stay_awake(now_us)
        self.keys.put_received(now_us)

    def _on_indication(self, indication: ApsIndication, now_us: int) -> None:
        is_zdp = indication.profile_id == 0 and indication.destination_endpoint == 0
        tells_more = is_zdp and indication.cluster_id == ZdpCluster.DEVICE_ANNCE
        if self.trust_centre is not None and self.trust_centre.is_expecting and not tells_more:
            self.trust_centre.on_heard(indication.source, now_us)
        if is_zdp:
            self.zdo.receive(indication, now_us)
        else:
            self.events.append(indication)

    def _on_aps_confirm(self, confirm: ApsConfirm, now_us: int) -> None:
        self.events.append(confirm)

    def _send_zdp(self, message: ApsMessage, handle: int) -> None:
        self.aps.send(message, handle, now_us=self._now_us)

    def ask_zdp(self, destination: int, cluster_id: int, payload: bytes, handle: int, *, now_us: int) -> None:
        """Ends in ZdpAnswered, if an answer comes."""
        self._now_us = now_us
        self.zdo.ask(destination, cluster_id, payload, handle)
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._stay_awake(now_us)
        self.settle(now_us)

    def _is_sleepy(self, short_address: int) -> bool:
        neighbour = self.nwk.neighbours.get(short_address)
        return short_address in self._sleepy if neighbour is None else neighbour.is_sleepy

    # --- forming ----------------------------------------------------------------------------------------

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
        self._form_levels = dict(found.levels_dbm)
        self.nwk.scan(self.config.channels, self.config.scan_exponent)

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

    def _begin(
        self, channel: int, pan_id: int, extended_pan_id: int, short_address: int, now_us: int
    ) -> None:
        """On the network; durable before anybody is told."""
        self.nwk.begin(
            channel=channel,
            pan_id=pan_id,
            extended_pan_id=extended_pan_id,
            short_address=short_address,
            now_us=now_us,
        )
        if self.trust_centre_eui64 and short_address != COORDINATOR:
            self.nwk.learn_address(COORDINATOR, self.trust_centre_eui64)
        self.info = NetworkInfo(
            pan_id=pan_id,
            extended_pan_id=extended_pan_id,
            channel=channel,
            short_address=short_address,
            parent_short=self.nwk.parent,
            trust_centre=self.trust_centre_eui64,
        )
        self._is_down = False
        self._put_network()
        self._nvm.commit()
        self._arm_poll(now_us)
        self.events.append(NetworkUp(self.info))

    # --- joining ----------------------------------------------------------------------------------------

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
        self._stay_awake(now_us)
        self.events.append(ProcedureEnded(join.handle))

    # --- the children of a router, and of the coordinator -------------------------------------------------

    def _on_child_joined(self, child: ChildJoined, now_us: int) -> None:
        self.nwk.refresh_beacon()
        self.aps.forget_sender(child.short_address)
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
        child = self.nwk.neighbours.get(annce.short_address)
        if child is None or child.eui64 != annce.eui64:
            former = self.nwk.find_child(annce.eui64)
            if former is not None:  # it has another parent now
                self.nwk.forget_device(annce.eui64)
            self.nwk.routes.pop(annce.short_address, None)
        self.nwk.learn_address(annce.short_address, annce.eui64)
        self.aps.forget_sender(annce.short_address)
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

    # --- APS commands -----------------------------------------------------------------------------------

    def _on_aps_command(self, heard: ApsCommandHeard, now_us: int) -> None:
        handler = self._command_handlers.get(type(heard.command))
        if handler is not None:
            handler(heard, heard.command, now_us)

    def _on_transport_key(self, heard: ApsCommandHeard, command: TransportKey, now_us: int) -> None:
        """Only from the trust centre, and each kind of key only under the derived key meant for it."""
        if command.key_type is KeyType.STANDARD_NETWORK:
            if heard.key_id is not KeyIdentifier.KEY_TRANSPORT or command.destination != self.eui64:
                return
            if self._join is not None:
                if command.source == heard.eui64:
                    self.keys.set_network_key(command.key, command.key_sequence)
                    self._end_join(self._join, command.source, now_us)
            elif heard.eui64 == self.trust_centre_eui64:
                self._on_network_key(command, now_us)
        elif command.key_type is KeyType.APPLICATION_LINK:
            is_from_trust_centre = heard.eui64 == self.trust_centre_eui64
            if heard.key_id is KeyIdentifier.KEY_LOAD and is_from_trust_centre:
                self.keys.set_link_key(command.partner, command.key, KeyOrigin.PARTNER)
                key = LinkKey(partner=command.partner, key=command.key, origin=KeyOrigin.PARTNER)
                self.events.append(LinkKeyArrived(key))

    def _on_network_key(self, command: TransportKey, now_us: int) -> None:
        """A later network key: at a rejoin without one it is used at once, else at Switch-Key."""
        is_rejoin = self.nwk.accepts_unsecured
        self.keys.set_network_key(command.key, command.key_sequence, is_active=is_rejoin)
        self._nvm.commit()
        if is_rejoin:
            self.nwk.accepts_unsecured = False
            self._come_back(now_us)

    def _on_update_device(self, heard: ApsCommandHeard, command: UpdateDevice, now_us: int) -> None:
        if self.trust_centre is not None and self.trust_centre.on_update_device(heard, command, now_us):
            self.nwk.forget_device(command.device)
            self._forget_left(command.device)

    def _on_remove_device(self, heard: ApsCommandHeard, command: RemoveDevice, now_us: int) -> None:
        if heard.eui64 != self.trust_centre_eui64 or heard.key_id is not KeyIdentifier.DATA:
            return
        child = self.nwk.find_child(command.target)
        if command.target == self.eui64:
            self._on_told_to_leave(LeftNetwork(is_rejoin=False), now_us)
        elif child is not None:
            self._dismiss(child, now_us)

    def _on_request_key(self, heard: ApsCommandHeard, command: RequestKey, now_us: int) -> None:
        if self.trust_centre is not None:
            self.trust_centre.on_request_key(heard, command, now_us)

    def _on_switch_key(self, heard: ApsCommandHeard, command: SwitchKey, now_us: int) -> None:
        if heard.source == COORDINATOR and self.trust_centre is None:
            self.keys.switch_network_key(command.key_sequence)

    def _on_tunnel(self, heard: ApsCommandHeard, command: Tunnel, now_us: int) -> None:
        """The network key for a child of ours that cannot read NWK security yet."""
        child = self.nwk.find_child(command.destination)
        if heard.source == COORDINATOR and child is not None:
            self.nwk.send_unsecured(child.short_address, command.frame, 0, now_us=now_us)

    def request_partner_key(self, partner: Eui64, *, now_us: int) -> bool:
        """Ends in LinkKeyArrived. False where there is no established key to ask under."""
        entry = self.keys.links.get(self.trust_centre_eui64)
        if entry is None or entry.origin is not KeyOrigin.ESTABLISHED:
            return False
        command = RequestKey(key_type=KeyType.APPLICATION_MASTER, partner=partner)
        self.aps.send_command(COORDINATOR, entry, KeyIdentifier.DATA, command, now_us=now_us)
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._stay_awake(now_us)
        self.settle(now_us)
        return True

    # --- leaving ----------------------------------------------------------------------------------------

    def leave(self, handle: int, *, now_us: int) -> None:
        """Say so, then forget the network and every key; ends in ProcedureEnded."""
        self._leave_handle = handle
        self._go(now_us, "left")
        self.settle(now_us)

    def _go(self, now_us: int, reason: str) -> None:
        if self.info is not None:
            self.nwk.announce_leave(now_us=now_us)
        self.timers.at(now_us + 100_000, self._gone, reason)

    def _gone(self, now_us: int, reason: str) -> None:
        if self.info is not None:
            self.keys.clear_networks()
            for partner in list(self.keys.links):
                self.keys.remove_link_key(partner)
            self._close_network(reason)
        handle, self._leave_handle = self._leave_handle, 0
        if handle:
            self.events.append(ProcedureEnded(handle))

    def _close_network(self, reason: str) -> None:
        self.info = None
        self._is_down = True
        self._stop_poll()
        self.aps.reset()
        self.nwk.reset()
        self._nvm.delete("net")
        self._put_network()
        self._nvm.commit()
        self.events.append(NetworkDown(reason))

    def _on_told_to_leave(self, left: LeftNetwork, now_us: int) -> None:
        if self.info is None or self.role is NodeRole.COORDINATOR:
            return
        if left.is_rejoin:
            self._start_rejoin(now_us, "told to rejoin")
        else:
            self._go(now_us, "removed")

    def _on_leave_asked(self, event: LeaveAsked, now_us: int) -> None:
        child = self.nwk.find_child(event.eui64) if event.eui64 else None
        if event.eui64 == 0:
            # the answer goes first
            self.timers.at(
                now_us + 50_000,
                lambda at_us: self._on_told_to_leave(LeftNetwork(is_rejoin=event.is_rejoin), at_us),
            )
        elif child is not None:
            self._dismiss(child, now_us)

    def _dismiss(self, child: Neighbour, now_us: int) -> None:
        self.nwk.ask_to_leave(child.short_address, now_us=now_us)

    def remove_device(self, eui64: Eui64, handle: int, *, now_us: int) -> None:
        """Coordinator: make it leave; ends in ProcedureEnded when it has, or after 8 s without it."""
        self._now_us = now_us
        assert self.trust_centre is not None
        parent = self.trust_centre.parent_of(eui64)
        short_address = self.nwk.shorts.get(eui64)
        self._removing[eui64] = handle
        if parent is not None:
            router = self.keys.links.get(self.nwk.addresses.get(parent, 0))
            self.aps.send_command(
                parent, router, KeyIdentifier.DATA, RemoveDevice(target=eui64), now_us=now_us
            )
        elif short_address is not None:
            self.nwk.ask_to_leave(short_address, now_us=now_us)
        wait_us = 0 if short_address is None else 8_000_000
        self.timers.at(now_us + wait_us, self._on_removal_timeout, eui64)
        self.settle(now_us)

    def _on_removal_timeout(self, now_us: int, eui64: Eui64) -> None:
        if eui64 in self._removing:
            is_known = eui64 in self.nwk.shorts
            self.nwk.forget_device(eui64)
            handle = self._removing.pop(eui64)
            self._forget_removed(eui64)
            if is_known:
                self.events.append(LeftDevice(eui64))
            self.events.append(ProcedureEnded(handle))

    def _forget_removed(self, eui64: Eui64) -> None:
        self.keys.remove_link_key(eui64)
        if self.trust_centre is not None:
            self.trust_centre.forget(eui64)
        self._put_network()
        self._nvm.commit()

    # --- polling ----------------------------------------------------------------------------------------

    def set_poll_interval(self, interval_us: int | None, *, now_us: int) -> None:
        self._poll_interval_us = interval_us
        self._arm_poll(now_us)

    def poll(self, handle: int, *, now_us: int) -> None:
        """One data request; ends in ProcedureEnded whose `value` tells whether a frame came."""
        self._poll_handles.append(handle)
        self.nwk.poll()
        self.settle(now_us)

    def _stay_awake(self, now_us: int) -> None:
        """A sleeping device that has just talked asks for the answer quickly."""
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._awake_until_us = now_us + AWAKE_US
            self._arm_poll(now_us)

    def _stop_poll(self) -> None:
        if self._poll_timer is not None:
            self._poll_timer.cancel()
            self._poll_timer = None

    def _arm_poll(self, now_us: int) -> None:
        self._stop_poll()
        if self.role is not NodeRole.SLEEPY_END_DEVICE or self.info is None:
            return
        if self._is_down and not self.aps.is_waiting:
            return  # nothing to ask for until the parent is found again
        if now_us < self._awake_until_us or self.aps.is_waiting:
            interval_us: int | None = AWAKE_POLL_US
            if self._poll_interval_us is not None:
                interval_us = min(AWAKE_POLL_US, self._poll_interval_us)
        else:
            self._awake_until_us = 0
            interval_us = self._poll_interval_us
        if interval_us is not None:
            self._poll_timer = self.timers.at(now_us + interval_us, self._on_poll_time)

    def _on_poll_time(self, now_us: int) -> None:
        self.nwk.poll()
        self._arm_poll(now_us)

    def _on_polled(self, polled: Polled, now_us: int) -> None:
        if polled.status is MacStatus.NO_ACK and self.info is not None:
            self._arm_retry_poll(now_us)
        elif polled.status is not MacStatus.CHANNEL_ACCESS_FAILURE:
            self._on_parent_alive(now_us)
        handles, self._poll_handles = self._poll_handles, []
        for handle in handles:
            error = None
            if polled.status in (MacStatus.NO_ACK, MacStatus.CHANNEL_ACCESS_FAILURE):
                error = NoAnswerError("the parent does not answer a poll")
            is_frame = polled.status is MacStatus.SUCCESS
            self.events.append(ProcedureEnded(handle, error, is_frame))

    def _on_parent_alive(self, now_us: int) -> None:
        """The parent answers after all; has it forgotten us, it will tell us to rejoin."""
        is_idle = not self._is_rejoining and not self.nwk.accepts_unsecured
        if self._is_down and self.info is not None and is_idle:
            self._is_down = False
            self.events.append(NetworkUp(self.info))
            self._arm_poll(now_us)

    def _arm_retry_poll(self, now_us: int) -> None:
        """An unanswered poll is repeated soon: three in a row mean that the parent is lost."""
        if not self._is_down and self.nwk.parent_failures < 3:
            self.timers.at(now_us + AWAKE_POLL_US, self._retry_poll)

    def _retry_poll(self, now_us: int) -> None:
        if 0 < self.nwk.parent_failures < 3 and not self._is_down:
            self.nwk.poll()

    # --- losing the parent ------------------------------------------------------------------------------

    def rejoin(self, *, now_us: int) -> None:
        """From above: the trust centre does not answer (Smart Energy keep-alive)."""
        if self.info is not None and not self._is_down:
            self._start_rejoin(now_us, "trust centre does not answer")
            self.settle(now_us)

    def _on_parent_lost(self, lost: ParentLost, now_us: int) -> None:
        self._start_rejoin(now_us, "parent does not answer")

    def _start_rejoin(self, now_us: int, reason: str) -> None:
        if self.info is None or self._is_down or self.role is NodeRole.COORDINATOR:
            return
        self._is_down = True
        self._stop_poll()
        self._rejoin_wait_us = REJOIN_FIRST_US
        self._rejoin_count = 0
        if self._rejoin_timer is not None:
            self._rejoin_timer.cancel()
        self.events.append(NetworkDown(reason))
        self._try_rejoin(now_us)

    def _try_rejoin(self, now_us: int) -> None:
        """The channel that we know first, then all; every fourth time without the network key."""
        if self.info is None or not self._is_down:
            return
        self._rejoin_count += 1
        channels = (self.info.channel,) if self._rejoin_count == 1 else self.config.channels
        is_secured = self._rejoin_count % 4 != 0
        self._is_rejoining = True
        self.nwk.rejoin(channels, self.config.scan_exponent, is_secured=is_secured)

    def _on_rejoin_ended(self, ended: RejoinEnded, now_us: int) -> None:
        self._is_rejoining = False
        if self.info is None:
            return
        if ended.is_back:
            if self.nwk.accepts_unsecured:
                self.timers.at(now_us + KEY_WAIT_US, self._on_no_key_at_rejoin)
                if not self.mac.is_rx_on_idle:
                    self.timers.at(now_us + JOIN_POLL_US, self._poll_for_rejoin_key)
                return
            self._come_back(now_us)
        elif self._rejoin_count == 1:
            self._try_rejoin(now_us)
        else:
            self._rejoin_timer = self.timers.at(now_us + self._rejoin_wait_us, self._try_rejoin)
            self._rejoin_wait_us = min(2 * self._rejoin_wait_us, REJOIN_LAST_US)

    def _poll_for_rejoin_key(self, now_us: int) -> None:
        if self.nwk.accepts_unsecured and self._is_down:
            self.nwk.poll()
            self.timers.at(now_us + JOIN_POLL_US, self._poll_for_rejoin_key)

    def _on_no_key_at_rejoin(self, now_us: int) -> None:
        if self.nwk.accepts_unsecured and self._is_down:
            self.nwk.accepts_unsecured = False
            self._try_rejoin(now_us)

    def _come_back(self, now_us: int) -> None:
        mac = self.mac
        self._begin(mac.channel, mac.pan_id, self.nwk.extended_pan_id, self.nwk.short_address, now_us)
        self.zdo.announce(BROADCAST_RX_ON)
        self._stay_awake(now_us)

    # --- NVM --------------------------------------------------------------------------------------------

    def _put_network(self) -> None:
        """Put (uncommitted) whatever of the network has changed."""
        nwk = self.nwk
        for eui64 in nwk.dirty_devices:
            name = f"net/dev/{eui64:016x}"
            short_address = nwk.shorts.get(eui64)
            if short_address is None:
                self._nvm.delete(name)
                continue
            neighbour = nwk.neighbours.get(short_address)
            relationship = _NO_NEIGHBOUR if neighbour is None else neighbour.relationship
            capability = (
                (0 if short_address in self._sleepy else CAPABILITY_RX_ON)
                if neighbour is None
                else neighbour.capability
            )
            self._nvm.put(name, _DEVICE_RECORD.pack(short_address, capability, relationship))
        nwk.dirty_devices.clear()
        if nwk.is_dirty:
            nwk.is_dirty = False
            if self.info is not None:
                parent = -1 if nwk.parent is None else nwk.parent
                record = [
                    self.mac.channel,
                    self.mac.pan_id,
                    nwk.extended_pan_id,
                    nwk.short_address,
                    parent,
                    nwk.depth,
                    nwk.update_id,
                    self.trust_centre_eui64,
                ]
                self._nvm.put("net", cbor2.dumps(record))

    def restore(self, handle: int, *, now_us: int) -> bool:
        """Resume the network in NVM, in silence; an end device looks whether its parent is there.

        False where NVM holds none. Else ends in ProcedureEnded.
        """
        stored = self._nvm.get("net")
        if stored is None or self.keys.active is None:
            return False
        match load_strict(stored):
            case [
                int(channel),
                int(pan_id),
                int(extended_pan_id),
                int(short_address),
                int(parent),
                int(depth),
                int(update_id),
                int(trust_centre),
            ]:
                pass
            case _:
                raise DecodeError("NVM", 0, "record net")
        self.trust_centre_eui64 = trust_centre
        self._restore_devices()
        self.nwk.parent = None if parent < 0 else parent
        self.nwk.depth = depth
        self.nwk.update_id = update_id
        self._begin(channel, pan_id, extended_pan_id, short_address, now_us)
        self.events.append(ProcedureEnded(handle, None, True))
        if not self.nwk.is_router:
            self.nwk.poll()
        self.settle(now_us)
        return True

    def _restore_devices(self) -> None:
        for name in self._nvm.keys("net/dev/"):
            record = self._nvm.get(name)
            if record is None or len(record) != _DEVICE_RECORD.size:
                raise DecodeError("NVM", 0, f"record {name}")
            short_address, capability, relationship = _DEVICE_RECORD.unpack(record)
            eui64 = int(name[-16:], 16)
            self.nwk.learn_address(short_address, eui64)
            if relationship == _NO_NEIGHBOUR:
                if not capability & CAPABILITY_RX_ON:
                    self._sleepy.add(short_address)
            elif relationship != Relationship.UNAUTHENTICATED_CHILD:
                self.nwk.neighbours[short_address] = Neighbour(
                    short_address, eui64, Relationship(relationship), capability
                )

    def flush(self) -> None:
        """Before power-off: what is only put lazily."""
        self.keys.put_received_now()
        self._put_network()
        self._nvm.commit()


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


@dataclass(frozen=True, slots=True)
class LeftDevice:
    """Coordinator: a device has gone, of itself or removed."""

    eui64: Eui64
