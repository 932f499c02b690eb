"""The trust centre in the coordinator: who may join, and who gets which key.

A device that associates gets the network key under the key-transport key of its own install-code link key,
straight from us where we are its parent, else tunnelled through its parent. It counts as joined once it has
shown, by a secured frame, that it could read that key. Application link keys between two devices are made
here, on request of one of them, and only where both have established keys with us.

Source: Zigbee 05-3474-21, 4.6.3 (joining), 4.6.3.4 (network key update), 4.6.3.5 (application link keys);
Smart Energy 1.x, 5.4 (registration).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.aps import ApsLayer
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
from smets1.firmware.zigbee.aps_tables import ApsCommandHeard
from smets1.firmware.zigbee.nwk_events import ChildJoined
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.firmware.zigbee.nwk_tables import CAPABILITY_RX_ON
from smets1.firmware.zigbee.security import KeyMaterial, LinkKeyEntry
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import BROADCAST_ALL, JoinedDevice, KeyOrigin

__all__ = ["TrustCentre"]

KEY_REPEAT_US: Final = 4_000_000
KEY_TRIES: Final = 3
JOIN_LIFE_US: Final = 20_000_000
SWITCH_DELAY_US: Final = 10_000_000


@dataclass(slots=True)
class _Joining:
    """A device that was let in and has not yet shown that it has the network key."""

    eui64: Eui64
    short_address: int
    parent: int | None  # None: we are
    is_sleepy: bool
    is_rejoin: bool
    entry: LinkKeyEntry
    tries: int = 0
    deadline: Deadline | None = None


class TrustCentre:
    """`may_join` is the whitelist. News: JoinedDevice in `events`."""

    def __init__(
        self,
        nwk: NwkLayer,
        aps: ApsLayer,
        keys: KeyMaterial,
        nvm: Nvm,
        rng: random.Random,
        timers: TimerQueue,
        may_join: Callable[[Eui64], bool],
    ) -> None:
        self.events: list[JoinedDevice] = []
        self.refused_count = 0
        self._nwk = nwk
        self._aps = aps
        self._keys = keys
        self._nvm = nvm
        self._rng = rng
        self._timers = timers
        self._may_join = may_join
        self._joining: dict[int, _Joining] = {}
        self._announcement_due: dict[Eui64, int] = {}
        self._parents: dict[Eui64, int] = {}

    def admits(self, eui64: Eui64) -> bool:
        """On the whitelist, and with a link key to bring it the network key."""
        is_welcome = self._may_join(eui64) and (eui64 in self._keys.install_keys or eui64 in self._keys.links)
        if not is_welcome:
            self.refused_count += 1
        return is_welcome

    def parent_of(self, eui64: Eui64) -> int | None:
        """The router that told us of the device; None: it is our own child, or unknown."""
        return self._parents.get(eui64)

    # --- joining --------------------------------------------------------------------------------------

    def on_child_joined(self, child: ChildJoined, now_us: int) -> None:
        """A device is our own child now."""
        is_sleepy = not child.capability & CAPABILITY_RX_ON
        self._on_joined(child.eui64, child.short_address, None, is_sleepy, child.status, now_us)

    def on_update_device(self, heard: ApsCommandHeard, command: UpdateDevice, now_us: int) -> bool:
        """A router reports a child of its own. True where the device has left."""
        if command.status == UpdateStatus.DEVICE_LEFT:
            return heard.eui64 is not None and self._parents.get(command.device) == heard.source
        if not self.admits(command.device):
            router = None if heard.eui64 is None else self._keys.links.get(heard.eui64)
            self._aps.send_command(
                heard.source, router, KeyIdentifier.DATA, RemoveDevice(target=command.device), now_us=now_us
            )
            return False
        if self._nwk.addresses.get(command.short_address, command.device) != command.device:
            # its new parent did not know that this address is somebody's: let it be given another
            router = None if heard.eui64 is None else self._keys.links.get(heard.eui64)
            self._aps.send_command(
                heard.source, router, KeyIdentifier.DATA, RemoveDevice(target=command.device), now_us=now_us
            )
            return False
        self._on_joined(command.device, command.short_address, heard.source, False, command.status, now_us)
        return False

    def _on_joined(
        self,
        eui64: Eui64,
        short_address: int,
        parent: int | None,
        is_sleepy: bool,
        status: int,
        now_us: int,
    ) -> None:
        if status == UpdateStatus.STANDARD_SECURED_REJOIN:
            self._aps.forget_sender(short_address, now_us)
            self._settle_at(eui64, short_address, parent)
            return  # it has the key; its announcement follows
        is_rejoin = status == UpdateStatus.STANDARD_TRUST_CENTRE_REJOIN
        entry = self._keys.links.get(eui64) if is_rejoin else self._keys.install_entry(eui64)
        if entry is None:
            return
        self._forget_joining(short_address)
        joining = _Joining(eui64, short_address, parent, is_sleepy, is_rejoin, entry)
        self._joining[short_address] = joining
        self._send_network_key(now_us, joining)

    def _send_network_key(self, now_us: int, joining: _Joining) -> None:
        active = self._keys.active
        if active is None or self._joining.get(joining.short_address) is not joining:
            return
        if joining.tries == KEY_TRIES:
            joining.deadline = self._timers.at(now_us + JOIN_LIFE_US, self._give_up, joining)
            return
        joining.tries += 1
        command = TransportKey(
            key_type=KeyType.STANDARD_NETWORK,
            key=active.key,
            key_sequence=active.sequence,
            destination=joining.eui64,
            source=self._nwk.eui64,
        )
        frame = self._aps.command_frame(joining.entry, KeyIdentifier.KEY_TRANSPORT, command)
        if joining.parent is None:
            self._nwk.send_unsecured(joining.short_address, frame, 0, now_us=now_us)
        else:
            tunnel = Tunnel(destination=joining.eui64, frame=frame)
            self._aps.send_command(joining.parent, None, 0, tunnel, now_us=now_us)
        wait_us = KEY_REPEAT_US * (3 if joining.is_sleepy else 1)
        joining.deadline = self._timers.at(now_us + wait_us, self._send_network_key, joining)

    def _give_up(self, now_us: int, joining: _Joining) -> None:
        self._forget_joining(joining.short_address)

    def _forget_joining(self, short_address: int) -> None:
        joining = self._joining.pop(short_address, None)
        if joining is not None and joining.deadline is not None:
            joining.deadline.cancel()

    def _settle_at(self, eui64: Eui64, short_address: int, parent: int | None) -> None:
        """The device is there, and has shown that it has the network key."""
        if parent is None:
            self._parents.pop(eui64, None)
        else:
            self._nwk.learn_address(short_address, eui64)
            self._parents[eui64] = parent

    def _accept(self, joining: _Joining) -> None:
        """Until now anybody may have asked under this EUI-64; only from here on is anything replaced."""
        self._forget_joining(joining.short_address)
        self._settle_at(joining.eui64, joining.short_address, joining.parent)
        entry = joining.entry
        if not joining.is_rejoin and entry.origin is KeyOrigin.INSTALL_CODE:
            entry.rx_counter = -1  # a device from the factory counts from 0

    def on_heard(self, short_address: int, now_us: int) -> None:
        """A frame under the network key came from there: it has the key."""
        joining = self._joining.get(short_address)
        if joining is not None:
            self._accept(joining)
            self._announcement_due[joining.eui64] = now_us + JOIN_LIFE_US
            self._report(joining.eui64, short_address, joining.is_sleepy, joining.is_rejoin)

    def on_announced(self, eui64: Eui64, short_address: int, *, is_sleepy: bool, now_us: int) -> None:
        """Part of the join that was just reported, or a device that has come back."""
        due_us = self._announcement_due.pop(eui64, 0)
        joining = self._joining.get(short_address)
        if joining is not None and joining.eui64 == eui64:
            self._accept(joining)
            self._report(eui64, short_address, is_sleepy, joining.is_rejoin)
        elif now_us >= due_us:
            self._report(eui64, short_address, is_sleepy, True)

    def _report(self, eui64: Eui64, short_address: int, is_sleepy: bool, is_rejoin: bool) -> None:
        self.events.append(
            JoinedDevice(eui64=eui64, short_address=short_address, is_sleepy=is_sleepy, is_rejoin=is_rejoin)
        )

    @property
    def is_expecting(self) -> bool:
        return bool(self._joining)

    # --- keys -----------------------------------------------------------------------------------------

    def on_request_key(self, heard: ApsCommandHeard, command: RequestKey, now_us: int) -> None:
        """Answered only under an established key, for a partner that has one as well; else silence."""
        asker = None if heard.eui64 is None else self._keys.links.get(heard.eui64)
        if asker is None or heard.key_id is not KeyIdentifier.DATA:
            return
        if asker.origin is not KeyOrigin.ESTABLISHED:
            return
        if command.partner is None:
            return  # the trust-centre link key itself comes by CBKE only
        partner = self._keys.links.get(command.partner)
        if partner is None or partner.origin is not KeyOrigin.ESTABLISHED or partner is asker:
            self.refused_count += 1
            return
        key = self._pair_key(asker.partner, partner.partner)
        self._send_pair_key(partner, asker.partner, key, False, now_us)
        self._send_pair_key(asker, partner.partner, key, True, now_us)

    def _pair_key(self, one: Eui64, other: Eui64) -> bytes:
        """The same key whenever the same two ask."""
        low, high = sorted((one, other))
        name = f"key/pair/{low:016x}/{high:016x}"
        key = self._nvm.get(name)
        if key is None:
            key = self._rng.randbytes(16)
            self._nvm.put(name, key)
            self._nvm.commit()
        return key

    def _send_pair_key(
        self, entry: LinkKeyEntry, partner: Eui64, key: bytes, is_initiator: bool, now_us: int
    ) -> None:
        short_address = self._nwk.shorts.get(entry.partner)
        if short_address is not None:
            command = TransportKey(
                key_type=KeyType.APPLICATION_LINK, key=key, partner=partner, is_initiator=is_initiator
            )
            self._aps.send_command(short_address, entry, KeyIdentifier.KEY_LOAD, command, now_us=now_us)

    def forget(self, eui64: Eui64) -> None:
        """A removed device: its keys, and those it shares with others. The caller commits."""
        self._parents.pop(eui64, None)
        for name in self._nvm.keys("key/pair/"):
            if f"{eui64:016x}" in name:
                self._nvm.delete(name)
        for joining in [joining for joining in self._joining.values() if joining.eui64 == eui64]:
            self._forget_joining(joining.short_address)

    def update_network_key(self, now_us: int) -> None:
        """A new network key to every device, under its own link key; ten seconds later all switch."""
        active = self._keys.active
        if active is None:
            return
        sequence = (active.sequence + 1) & 0xFF
        key = self._rng.randbytes(16)
        self._keys.set_network_key(key, sequence, is_active=False)
        self._nvm.commit()
        for eui64, entry in list(self._keys.links.items()):
            short_address = self._nwk.shorts.get(eui64)
            if short_address is None:
                continue
            command = TransportKey(
                key_type=KeyType.STANDARD_NETWORK,
                key=key,
                key_sequence=sequence,
                destination=eui64,
                source=self._nwk.eui64,
            )
            self._aps.send_command(short_address, entry, KeyIdentifier.KEY_TRANSPORT, command, now_us=now_us)
        self._timers.at(now_us + SWITCH_DELAY_US, self._switch_network_key, sequence)

    def _switch_network_key(self, now_us: int, sequence: int) -> None:
        self._aps.send_command(BROADCAST_ALL, None, 0, SwitchKey(key_sequence=sequence), now_us=now_us)
        # our own switch waits until the broadcast has gone round under the old key
        self._timers.at(now_us + SWITCH_DELAY_US, self._switch_ourselves, sequence)

    def _switch_ourselves(self, now_us: int, sequence: int) -> None:
        self._keys.switch_network_key(sequence)
