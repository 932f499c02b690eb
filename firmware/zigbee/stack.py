"""The layers of one node, put together: routes news upwards, forms, joins, rejoins, and keeps NVM true.

Six verbs, as every layer: `receive`, `on_transmitted` and `on_energy` from the radio, `submit` and the
procedures from above, `on_timer`/`next_timer_us`, `take_actions` for the radio, `take_events` upwards.

Source: Zigbee 05-3474-21, 2.5.4.5 (network manager of the device object), 4.6.3 (joining securely).
"""

from __future__ import annotations

from typing import ClassVar

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_frames import (
    KeyType,
    RemoveDevice,
    RequestKey,
    SwitchKey,
    TransportKey,
    Tunnel,
    UpdateDevice,
)
from smets1.firmware.zigbee.aps_tables import ApsCommandHeard, ApsConfirm
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_events import (
    LeftNetwork,
    NwkConfirm,
)
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.stack_events import (
    LinkKeyArrived,
)
from smets1.firmware.zigbee.stack_leaving import StackLeaving
from smets1.firmware.zigbee.zdo import ZdpAnswered
from smets1.firmware.zigbee.zdp_frames import ZdpCluster
from smets1.hardware.radio import (
    COORDINATOR,
    ApsIndication,
    KeyOrigin,
    LinkKey,
    NodeRole,
)

__all__ = ["ZigbeeStack"]


class ZigbeeStack(StackLeaving):
    """One node. Procedures take a `handle` and end in one event that bears it."""

    __slots__ = ()

    # --- data -----------------------------------------------------------------------------------------

    def _on_indication(self, indication: ApsIndication, now_us: int) -> None:
        is_zdp = indication.profile_id == 0 and indication.destination_endpoint == 0
        tells_more = is_zdp and indication.cluster_id == ZdpCluster.DEVICE_ANNCE
        if self.trust_centre is not None and self.trust_centre.is_expecting and not tells_more:
            self.trust_centre.on_heard(indication.source, now_us)
        if is_zdp:
            self.zdo.receive(indication, now_us)
        else:
            self.events.append(indication)

    def _on_nwk_confirm(self, confirm: NwkConfirm, now_us: int) -> None:
        self.aps.on_nwk_confirm(confirm, now_us)

    def _pass_on(self, event: ApsConfirm | ZdpAnswered, now_us: int) -> None:
        self.events.append(event)

    # --- APS commands ---------------------------------------------------------------------------------

    def _on_aps_command(self, heard: ApsCommandHeard, now_us: int) -> None:
        handler = self._command_handlers.get(type(heard.command))
        if handler is not None:
            handler(self, heard, heard.command, now_us)

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
            elif self.nwk.accepts_unsecured and command.source == heard.eui64:
                self._on_new_trust_centre(command, now_us)
        elif command.key_type is KeyType.APPLICATION_LINK:
            is_from_trust_centre = heard.eui64 == self.trust_centre_eui64
            if heard.key_id is KeyIdentifier.KEY_LOAD and is_from_trust_centre:
                self.keys.set_link_key(command.partner, command.key, KeyOrigin.PARTNER)
                key = LinkKey(partner=command.partner, key=command.key, origin=KeyOrigin.PARTNER)
                self.events.append(LinkKeyArrived(key))

    def _on_new_trust_centre(self, command: TransportKey, now_us: int) -> None:
        """Another hub has taken over from a backup: it knows the hash of our key, and nobody else does.

        The hash is good for joining only; key establishment with the new hub follows.
        Source: SE 1.2 07-5356-19, 5.4.2.2.3.6 (trust centre swap-out).
        """
        entry, self.aps.swap_entry = self.aps.swap_entry, None
        if entry is None or entry.partner != command.source:
            return
        self.keys.remove_link_key(self.trust_centre_eui64)
        self.keys.set_link_key(command.source, entry.key, KeyOrigin.INSTALL_CODE)
        self.keys.note_link_rx(self.keys.links[command.source], entry.rx_counter)
        self.trust_centre_eui64 = command.source
        self._on_network_key(command, now_us)

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
        self.nwk.drop_guest(command.target)
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
        child = self.nwk.guests.get(command.destination)
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

    # --- who takes what -------------------------------------------------------------------------------

    _nwk_handlers: ClassVar[Handlers] = {
        **StackLeaving._nwk_handlers,
        NwkConfirm: _on_nwk_confirm,
    }
    _aps_handlers: ClassVar[Handlers] = {
        ApsIndication: _on_indication,
        ApsConfirm: _pass_on,
        ApsCommandHeard: _on_aps_command,
    }
    _zdo_handlers: ClassVar[Handlers] = {
        **StackLeaving._zdo_handlers,
        ZdpAnswered: _pass_on,
    }
    _command_handlers: ClassVar[Handlers] = {
        TransportKey: _on_transport_key,
        UpdateDevice: _on_update_device,
        RemoveDevice: _on_remove_device,
        RequestKey: _on_request_key,
        SwitchKey: _on_switch_key,
        Tunnel: _on_tunnel,
    }
