"""Leaving: of a node's own will, told to by its parent or the trust centre; removing another.

Source: Zigbee 05-3474-21, 3.6.1.10 (leave), 2.4.3.3.5 (Mgmt_Leave), 4.6.3.6 (Remove-Device).
"""

from __future__ import annotations

import random
from typing import ClassVar

from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.aps_frames import (
    RemoveDevice,
)
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_events import (
    LeftNetwork,
)
from smets1.firmware.zigbee.nwk_tables import Neighbour
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.stack_events import (
    HanConfig,
    LeftDevice,
    NetworkDown,
    ProcedureEnded,
)
from smets1.firmware.zigbee.stack_joining import StackJoining
from smets1.firmware.zigbee.zdo import LeaveAsked
from smets1.hardware.radio import (
    NodeRole,
)

__all__ = ["StackLeaving"]


class StackLeaving(StackJoining):
    __slots__ = ("_leave_handle",)

    def __init__(
        self, *, eui64: Eui64, role: NodeRole, config: HanConfig, nvm: Nvm, rng: random.Random
    ) -> None:
        super().__init__(eui64=eui64, role=role, config=config, nvm=nvm, rng=rng)
        self._leave_handle = 0

    # --- leaving --------------------------------------------------------------------------------------

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
            self.zdo.bindings.clear()
            self.zdo.forget_manager()
            self._nvm.delete("manager")
            self.aps.groups.clear()
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

    # --- told to --------------------------------------------------------------------------------------

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

    # --- removing another -----------------------------------------------------------------------------

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

    # --- who takes what -------------------------------------------------------------------------------

    _nwk_handlers: ClassVar[Handlers] = {
        **StackJoining._nwk_handlers,
        LeftNetwork: _on_told_to_leave,
    }
    _zdo_handlers: ClassVar[Handlers] = {
        **StackJoining._zdo_handlers,
        LeaveAsked: _on_leave_asked,
    }
