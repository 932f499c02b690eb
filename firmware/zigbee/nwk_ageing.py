"""End devices that fall silent: a parent forgets them, so a child tells its parent how long it may sleep.

Theory. After joining, an end device asks its parent for a time (End Device Timeout Request) and shows within
a third of it that it is there, by a data poll or any other frame. A parent that has heard nothing for that
time strikes the child off; should it come back after all, its polls are answered with "leave and rejoin".
A router back from a power cut tells the others which children it believes it has (Parent_annce): whoever has
heard such a child since keeps it, and says so.

Source: Zigbee 05-3474-21, 3.6.10 (end-device ageing), 3.4.11, 3.4.12, 2.4.3.1.12 (Parent_annce).
"""

from __future__ import annotations

import random
from typing import ClassVar, Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.mac import MacLayer
from smets1.firmware.zigbee.mac_events import MacData
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_frames import (
    EndDeviceTimeoutRequest,
    EndDeviceTimeoutResponse,
    NwkHeader,
)
from smets1.firmware.zigbee.nwk_parent import NwkParent
from smets1.firmware.zigbee.nwk_tables import DEFAULT_TIMEOUT, Neighbour, Relationship
from smets1.firmware.zigbee.security import KeyMaterial
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import NodeRole

__all__ = ["NwkAgeing", "timeout_us"]

MAX_TIMEOUT: Final = 14
KEEP_ALIVE_BY_POLL: Final = 0b01
ASK_TRIES: Final = 3
ASK_WAIT_US: Final = 2_000_000


def timeout_us(timeout: int) -> int:
    """Requested timeout enumeration, 0..14. Source: Table 3.53."""
    return 10_000_000 if timeout == 0 else 60_000_000 << timeout


class NwkAgeing(NwkParent):
    __slots__ = ("_keep_alive_timer", "_shown_us", "_timeout_asks", "end_device_timeout")

    def __init__(
        self, mac: MacLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue, role: NodeRole
    ) -> None:
        super().__init__(mac, keys, rng, timers, role)
        self.end_device_timeout = DEFAULT_TIMEOUT
        self._keep_alive_timer: Deadline | None = None
        self._shown_us = 0  # child: when its parent last acknowledged a poll
        self._timeout_asks = 0

    # --- the parent's side ------------------------------------------------------------------------------

    def begin(
        self, *, channel: int, pan_id: int, extended_pan_id: int, short_address: int, now_us: int
    ) -> None:
        super().begin(
            channel=channel,
            pan_id=pan_id,
            extended_pan_id=extended_pan_id,
            short_address=short_address,
            now_us=now_us,
        )
        for child in self.neighbours.values():
            if child.relationship is Relationship.CHILD and child.deadline is None:
                self._watch_child(child, now_us)

    def _on_child_accepted(self, child: Neighbour, now_us: int) -> None:
        super()._on_child_accepted(child, now_us)
        self._watch_child(child, now_us)

    def _watch_child(self, child: Neighbour, now_us: int) -> None:
        """From now on it must be heard in time. A timer that fires too early is set again: that is cheap."""
        if child.is_router or not self.is_router:
            return
        if child.deadline is not None:
            child.deadline.cancel()
        child.heard_us = max(child.heard_us, now_us)
        child.deadline = self._timers.at(now_us + timeout_us(child.timeout), self._on_child_age, child)

    def _on_child_age(self, now_us: int, child: Neighbour) -> None:
        if self.neighbours.get(child.short_address) is not child or not child.is_child:
            return
        due_us = child.heard_us + timeout_us(child.timeout)
        if due_us > now_us:
            child.deadline = self._timers.at(due_us, self._on_child_age, child)
        else:
            self._strike_off(child)

    def _strike_off(self, child: Neighbour) -> None:
        """No child of ours any more; who and where it is stays known, for it may have another parent."""
        self._remove_neighbour(child.short_address)
        self.mac.cancel_indirect(child.short_address)
        if child.eui64 is not None:
            self.dirty_devices[child.eui64] = None
        self.refresh_beacon()

    def _on_timeout_request(
        self, command: EndDeviceTimeoutRequest, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        child = self.neighbours.get(data.source)
        if child is None or child.relationship is not Relationship.CHILD or child.is_router:
            return
        if not header.is_secured or header.source != data.source:
            return
        is_valid = command.timeout <= MAX_TIMEOUT and command.configuration == 0
        if is_valid:
            child.timeout = command.timeout
            if child.eui64 is not None:
                self.dirty_devices[child.eui64] = None
            self._watch_child(child, now_us)
        response = EndDeviceTimeoutResponse(
            status=0 if is_valid else 1, parent_information=KEEP_ALIVE_BY_POLL
        )
        self.send_command(data.source, response, now_us=now_us)

    # --- a parent's power cut ---------------------------------------------------------------------------

    def unheard_children(self) -> list[Eui64]:
        """End devices that were ours when the power went; none of them has been heard since."""
        return sorted(
            child.eui64
            for child in self.neighbours.values()
            if child.relationship is Relationship.CHILD
            and not child.is_router
            and not child.is_heard
            and child.eui64 is not None
        )

    def keep_or_release(self, eui64s: tuple[Eui64, ...]) -> tuple[Eui64, ...]:
        """Another router names its children: ours are those that we have heard; the rest we let go."""
        kept = []
        for eui64 in eui64s:
            child = self.find_child(eui64)
            if child is None or child.is_router:
                continue
            if child.is_heard:
                kept.append(eui64)
            else:
                self._strike_off(child)
        return tuple(kept)

    def release_children(self, eui64s: tuple[Eui64, ...]) -> None:
        """Another router has them."""
        for eui64 in eui64s:
            child = self.find_child(eui64)
            if child is not None and not child.is_router and not child.is_heard:
                self._strike_off(child)

    # --- the child's side -------------------------------------------------------------------------------

    def ask_timeout(self, now_us: int) -> None:
        """After joining or rejoining: tell the parent how long we may be silent."""
        self.stop_keep_alive()
        if self.is_router or self.parent is None:
            return
        self._timeout_asks = 0
        self._ask_timeout(now_us)

    def _ask_timeout(self, now_us: int) -> None:
        if self.parent is None or self._timeout_asks >= ASK_TRIES:
            self._keep_alive_timer = None
            return  # an older parent knows nothing of this, and forgets nobody
        self._timeout_asks += 1
        command = EndDeviceTimeoutRequest(timeout=self.end_device_timeout)
        self.send_command(self.parent, command, now_us=now_us)
        self._keep_alive_timer = self._timers.at(now_us + ASK_WAIT_US, self._ask_timeout)

    def stop_keep_alive(self) -> None:
        if self._keep_alive_timer is not None:
            self._keep_alive_timer.cancel()
            self._keep_alive_timer = None

    def _on_timeout_response(
        self, command: EndDeviceTimeoutResponse, header: NwkHeader, data: MacData, now_us: int
    ) -> None:
        if not header.is_secured or self.is_router or data.source != self.parent:
            return
        self.stop_keep_alive()
        if command.status == 0 and command.parent_information & KEEP_ALIVE_BY_POLL:
            self._shown_us = now_us
            self._rest()

    def _rest(self) -> None:
        when_us = self._shown_us + timeout_us(self.end_device_timeout) // 3
        self._keep_alive_timer = self._timers.at(when_us, self._keep_alive)

    def note_shown(self, now_us: int) -> None:
        """The parent has acknowledged a poll: it knows that we are there."""
        self._shown_us = now_us

    def _keep_alive(self, now_us: int) -> None:
        """A poll of its own only where nothing else was asked in the time: a battery pays for each waking."""
        if self.parent is None:
            return
        if self._shown_us + timeout_us(self.end_device_timeout) // 3 <= now_us:
            self.mac.poll(self.parent)
            self._shown_us = now_us
        self._rest()

    # --- who takes what -------------------------------------------------------------------------------

    _command_handlers: ClassVar[Handlers] = {
        **NwkParent._command_handlers,
        EndDeviceTimeoutRequest: _on_timeout_request,
        EndDeviceTimeoutResponse: _on_timeout_response,
    }
