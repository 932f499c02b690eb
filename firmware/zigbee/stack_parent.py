"""A node and its parent: a sleeping one asks it for frames, an orphaned one looks for it or another again.

Source: Zigbee 05-3474-21, 3.6.1.4.2 (rejoin), 2.5.4.5.6; Smart Energy 1.x, 5.4.2.2.3 (rejoin and back-off).
"""

from __future__ import annotations

import random
from typing import ClassVar, Final

from smets1.errors import DecodeError, NoAnswerError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.crypto.mmo import mmo_hash
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.mac_events import MacStatus, Polled
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_events import (
    NwkData,
    ParentLost,
    RejoinEnded,
)
from smets1.firmware.zigbee.stack_core import StackCore
from smets1.firmware.zigbee.stack_events import (
    HanConfig,
    NetworkDown,
    NetworkUp,
    ProcedureEnded,
)
from smets1.firmware.zigbee.timers import Deadline
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    COORDINATOR,
    ApsMessage,
    NetworkInfo,
    NodeRole,
)

__all__ = ["JOIN_POLL_US", "KEY_WAIT_US", "StackParent"]


KEY_WAIT_US: Final = 12_000_000
JOIN_POLL_US: Final = 200_000
AWAKE_POLL_US: Final = 250_000
AWAKE_US: Final = 2_000_000
REJOIN_FIRST_US: Final = 60_000_000
REJOIN_LAST_US: Final = 900_000_000
PARENT_ANNOUNCE_US: Final = 10_000_000  # apsParentAnnounceBaseTimer
PARENT_ANNOUNCE_JITTER_US: Final = 10_000_000  # apsParentAnnounceJitterMax


class StackParent(StackCore):
    __slots__ = (
        "_awake_until_us",
        "_is_rejoining",
        "_orphan_rounds",
        "_poll_handles",
        "_poll_interval_us",
        "_poll_timer",
        "_rejoin_count",
        "_rejoin_timer",
        "_rejoin_wait_us",
    )

    def __init__(
        self, *, eui64: Eui64, role: NodeRole, config: HanConfig, nvm: Nvm, rng: random.Random
    ) -> None:
        super().__init__(eui64=eui64, role=role, config=config, nvm=nvm, rng=rng)
        self._poll_interval_us = config.poll_interval_us
        self._poll_timer: Deadline | None = None
        self._poll_handles: list[int] = []
        self._awake_until_us = 0
        self._rejoin_wait_us = 0
        self._rejoin_count = 0
        self._rejoin_timer: Deadline | None = None
        self._is_rejoining = False
        self._orphan_rounds: dict[int, tuple[int, ...]] = {}
        """How often a rejoin has failed -> channels on which to ask as an orphan before the next."""

    # --- data -----------------------------------------------------------------------------------------

    def submit(self, message: ApsMessage, handle: int, *, now_us: int) -> None:
        """Ends in an ApsConfirm with this handle. Raises SecurityError where no link key is shared."""
        self._now_us = now_us
        self.aps.send(message, handle, now_us=now_us)
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._stay_awake(now_us)
        self.settle(now_us)

    def ask_zdp(self, destination: int, cluster_id: int, payload: bytes, handle: int, *, now_us: int) -> None:
        """Ends in ZdpAnswered, if an answer comes."""
        self._now_us = now_us
        self.zdo.ask(destination, cluster_id, payload, handle)
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._stay_awake(now_us)
        self.settle(now_us)

    def _on_nwk_data(self, data: NwkData, now_us: int) -> None:
        self.aps.on_nwk_data(data, now_us)
        if self._awake_until_us:
            self._stay_awake(now_us)
        self.keys.put_received(now_us)

    # --- on the network -------------------------------------------------------------------------------

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
            self.nwk.learn_coordinator(self.trust_centre_eui64)
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

    def _come_back(self, now_us: int) -> None:
        mac = self.mac
        self._begin(mac.channel, mac.pan_id, self.nwk.extended_pan_id, self.nwk.short_address, now_us)
        self.zdo.announce(BROADCAST_RX_ON)
        self.nwk.ask_timeout(now_us)
        self._stay_awake(now_us)

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
        self._restore_manager()
        self.nwk.parent = None if parent < 0 else parent
        self.nwk.depth = depth
        self.nwk.update_id = update_id
        self._begin(channel, pan_id, extended_pan_id, short_address, now_us)
        self.events.append(ProcedureEnded(handle, None, True))
        if self.nwk.is_router:
            wait_us = PARENT_ANNOUNCE_US + self._rng.randrange(PARENT_ANNOUNCE_JITTER_US)
            self.timers.at(now_us + wait_us, self._announce_children)
        else:
            self.nwk.poll()
        self.settle(now_us)
        return True

    def _announce_children(self, now_us: int) -> None:
        """After a power cut: whom we have not heard since may have another parent by now."""
        children = self.nwk.unheard_children()
        if self.info is not None and children:
            self._now_us = now_us
            self.zdo.announce_children(children)

    # --- polling --------------------------------------------------------------------------------------

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

    # --- losing the parent ----------------------------------------------------------------------------

    def rejoin(self, *, now_us: int) -> None:
        """From above: the trust centre does not answer (Smart Energy keep-alive)."""
        if self.info is not None and not self._is_down:
            self._start_rejoin(now_us, "trust centre does not answer")
            self.settle(now_us)

    def _on_parent_lost(self, lost: ParentLost, now_us: int) -> None:
        if not self.nwk.is_router and self.info is not None:  # a router is nobody's child for long
            known = self.info.channel
            others = tuple(channel for channel in self.channels if channel != known)
            self._orphan_rounds = {0: (known,), 1: others}
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
        """The channel that we know, then all, each first as an orphan; later every fourth time without the
        network key.
        """
        if self.info is None or not self._is_down:
            return
        channels = self._orphan_rounds.pop(self._rejoin_count, ())
        if channels:
            self._is_rejoining = True
            self.nwk.look_for_parent(channels, self.config.scan_exponent)
            return
        self._rejoin_count += 1
        channels = (self.info.channel,) if self._rejoin_count == 1 else self.channels
        is_secured = self._rejoin_count % 4 != 0
        self._is_rejoining = True
        self.nwk.rejoin(channels, self.config.scan_exponent, is_secured=is_secured)

    def _on_rejoin_ended(self, ended: RejoinEnded, now_us: int) -> None:
        self._is_rejoining = False
        if self.info is None:
            return
        if ended.is_back:
            if self.nwk.accepts_unsecured:
                known = self.keys.links.get(self.trust_centre_eui64)
                self.aps.swap_entry = None if known is None else self.keys.joining_entry(mmo_hash(known.key))
                self.timers.at(now_us + KEY_WAIT_US, self._on_no_key_at_rejoin)
                if not self.mac.is_rx_on_idle:
                    self.timers.at(now_us + JOIN_POLL_US, self._poll_for_rejoin_key)
                return
            self._come_back(now_us)
        elif self._rejoin_count <= 1:
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
            self.aps.swap_entry = None
            self._try_rejoin(now_us)

    # --- who takes what -------------------------------------------------------------------------------

    _nwk_handlers: ClassVar[Handlers] = {
        **StackCore._nwk_handlers,
        NwkData: _on_nwk_data,
        ParentLost: _on_parent_lost,
        RejoinEnded: _on_rejoin_ended,
        Polled: _on_polled,
    }
