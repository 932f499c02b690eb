"""The layers of one node, put together; news between them carried upwards; the network kept in NVM.

The parts above fill the handler tables: `stack_parent`, `stack_joining`, `stack_leaving`, `stack`.
"""

from __future__ import annotations

import random
import struct
from typing import ClassVar, Final

import cbor2

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.aps import ApsLayer
from smets1.firmware.zigbee.binding_tables import BindingTable, GroupTable
from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import RadioAction
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.firmware.zigbee.nwk_tables import CAPABILITY_RX_ON, DEFAULT_TIMEOUT, Neighbour, Relationship
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.stack_events import (
    HanConfig,
)
from smets1.firmware.zigbee.timers import TimerQueue
from smets1.firmware.zigbee.trust_centre import TrustCentre
from smets1.firmware.zigbee.zdo import Zdo
from smets1.hardware.radio import (
    ApsMessage,
    NetworkInfo,
    NodeRole,
    TransmitOutcome,
)

__all__ = ["StackCore"]


_DEVICE_RECORD: Final = struct.Struct("<HBBB")
_OLD_DEVICE_RECORD: Final = struct.Struct("<HBB")  # before end devices told their timeout
_NO_NEIGHBOUR: Final = 0xFF


class StackCore:
    """Construction, the verbs, NVM."""

    __slots__ = (
        "_is_down",
        "_now_us",
        "_nvm",
        "_rng",
        "_sleepy",
        "aps",
        "config",
        "eui64",
        "events",
        "info",
        "keys",
        "mac",
        "nwk",
        "role",
        "timers",
        "trust_centre",
        "trust_centre_eui64",
        "zdo",
    )

    _aps_class: ClassVar[type[ApsLayer]] = ApsLayer
    """A stick whose host cuts messages into fragments itself has another."""

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
        self.nwk.end_device_timeout = config.end_device_timeout
        self.nwk.concentrator_period_us = config.concentrator_period_us
        self.aps = self._aps_class(self.nwk, self.keys, rng, self.timers)
        self.aps.is_sleepy_address = self._is_sleepy
        self.aps.window_size = config.fragment_window
        self.aps.groups = GroupTable(nvm)
        self.zdo = Zdo(self.nwk, config.manufacturer_code, BindingTable(nvm), self._send_zdp)
        self.aps.endpoints_with = self.zdo.endpoints_with
        for descriptor in config.endpoints:
            self.zdo.endpoints[descriptor.endpoint] = descriptor
        self.trust_centre: TrustCentre | None = None
        if role is NodeRole.COORDINATOR:
            may_join = config.may_join or (lambda _: True)
            self.trust_centre = TrustCentre(self.nwk, self.aps, self.keys, nvm, rng, self.timers, may_join)
            self.nwk.admits = self.trust_centre.admits
        self._sleepy: set[int] = set()
        self._now_us = 0
        self._is_down = False

    # --- the verbs ------------------------------------------------------------------------------------

    def receive(self, psdu: bytes, lqi: int, *, now_us: int) -> None:
        self._now_us = now_us
        self.mac.receive(psdu, lqi, now_us)
        if self.mac.events:
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
                    self._nwk_handlers[type(item)](self, item, now_us)
            elif aps.events:
                news, aps.events = aps.events, []
                for item in news:
                    self._aps_handlers[type(item)](self, item, now_us)
            elif zdo.events:
                news, zdo.events = zdo.events, []
                for item in news:
                    self._zdo_handlers[type(item)](self, item, now_us)
            else:
                break
        if self.trust_centre is not None and self.trust_centre.events:
            self._report_joined(self.trust_centre)
        if nwk.is_dirty or nwk.dirty_devices:
            self._put_network()

    # --- what every part uses -------------------------------------------------------------------------

    def _send_zdp(self, message: ApsMessage, handle: int) -> None:
        self.aps.send(message, handle, now_us=self._now_us)

    def _is_sleepy(self, short_address: int) -> bool:
        neighbour = self.nwk.neighbours.get(short_address)
        return short_address in self._sleepy if neighbour is None else neighbour.is_sleepy

    # --- NVM ------------------------------------------------------------------------------------------

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
            timeout = DEFAULT_TIMEOUT if neighbour is None else neighbour.timeout
            self._nvm.put(name, _DEVICE_RECORD.pack(short_address, capability, relationship, timeout))
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

    def _restore_devices(self) -> None:
        for name in self._nvm.keys("net/dev/"):
            record = self._nvm.get(name)
            if record is not None and len(record) == _OLD_DEVICE_RECORD.size:
                record += bytes((DEFAULT_TIMEOUT,))
            if record is None or len(record) != _DEVICE_RECORD.size:
                raise DecodeError("NVM", 0, f"record {name}")
            short_address, capability, relationship, timeout = _DEVICE_RECORD.unpack(record)
            eui64 = int(name[-16:], 16)
            self.nwk.learn_address(short_address, eui64)
            if relationship == _NO_NEIGHBOUR:
                if not capability & CAPABILITY_RX_ON:
                    self._sleepy.add(short_address)
            elif relationship != Relationship.UNAUTHENTICATED_CHILD:
                neighbour = Neighbour(short_address, eui64, Relationship(relationship), capability)
                neighbour.timeout = timeout
                self.nwk.neighbours[short_address] = neighbour

    @property
    def channels(self) -> tuple[int, ...]:
        """Where the network may be: what the device can do, less what the network manager has ruled out."""
        allowed = tuple(number for number in self.config.channels if number in self.zdo.manager_channels)
        return allowed or self.config.channels

    def _put_manager(self) -> None:
        record = [self.zdo.manager, list(self.zdo.manager_channels)]
        self._nvm.put("manager", cbor2.dumps(record))

    def _restore_manager(self) -> None:
        stored = self._nvm.get("manager")
        if stored is None:
            return
        match load_strict(stored):
            case [int(manager), list(channels)]:
                self.zdo.manager = manager
                self.zdo.manager_channels = tuple(number for number in channels if isinstance(number, int))
            case _:
                raise DecodeError("NVM", 0, "record manager")

    def flush(self) -> None:
        """Before power-off: what is only put lazily."""
        self.keys.put_received_now()
        self._put_network()
        self._nvm.commit()

    def _report_joined(self, trust_centre: TrustCentre) -> None:
        raise NotImplementedError

    # --- who takes what: filled by the parts above ------------------------------------------------------

    _nwk_handlers: ClassVar[Handlers] = {}
    _aps_handlers: ClassVar[Handlers] = {}
    _zdo_handlers: ClassVar[Handlers] = {}
