"""Sending half of APS: protect, repeat until acknowledged, cut what is long into fragments.

Source: Zigbee 05-3474-21, 2.2.8.4.1 (transmission), 2.2.8.4.4 (repeats), 2.2.8.4.5 (fragmentation).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

from smets1.errors import SecurityError
from smets1.firmware.zigbee.aps_fragments import IncomingTransfer, OutgoingTransfer
from smets1.firmware.zigbee.aps_frames import ApsCommand, ApsFrameType, ApsHeader, Fragment, command_header
from smets1.firmware.zigbee.aps_tables import ACK_WAIT_US, ApsConfirm, ApsStatus, HeardCounters, Sending
from smets1.firmware.zigbee.binding_tables import GroupTable
from smets1.firmware.zigbee.nwk_events import NwkConfirm, NwkStatus
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.firmware.zigbee.security import NEW_LIFE_STEP, KeyMaterial, LinkKeyEntry
from smets1.firmware.zigbee.security_header import seal_link
from smets1.firmware.zigbee.timers import TimerQueue
from smets1.hardware.radio import ApsMessage, KeyOrigin

__all__ = ["ApsSender"]


SLEEPY_WAIT_US: Final = 7_680_000 + ACK_WAIT_US
REPEATS_US: Final = 9_000_000  # nwkNetworkBroadcastDeliveryTime; repeats of a message take less
MAX_RETRIES: Final = 3  # apscMaxFrameRetries
NSDU_OCTETS: Final = 90  # 127 less FCS 2, MAC 9, NWK 8, auxiliary 14, MIC 4
HEADER_OCTETS: Final = 8
LINK_OCTETS: Final = 13 + 4
INTERFRAME_US: Final = 50_000  # apscInterframeDelay as Smart Energy sets it
MAX_BLOCKS: Final = 64
pack_header = struct.Struct("<BBHHBB").pack
_pack_group_header = struct.Struct("<BHHHBB").pack
_GROUP_DELIVERY: Final = 0x0C


class ApsSender:
    """The sending half, and the state of the layer."""

    __slots__ = (
        "_counters",
        "_heard",
        "_incoming",
        "_is_first_of_key",
        "_next_id",
        "_nwk",
        "_rng",
        "_sending",
        "_timers",
        "_waiting",
        "bad_key_count",
        "endpoints_with",
        "events",
        "groups",
        "is_sleepy_address",
        "join_entry",
        "keys",
        "malformed_count",
        "swap_entry",
        "window_size",
    )

    def __init__(self, nwk: NwkLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue) -> None:
        self.keys = keys
        self.events: list[object] = []
        self.groups: GroupTable
        self.endpoints_with: Callable[[int, int], list[int]] = lambda _profile_id, _cluster_id: []
        self.join_entry: LinkKeyEntry | None = None
        """While joining: the install-code key, shared with a trust centre that is not known yet."""
        self.swap_entry: LinkKeyEntry | None = None
        """While rejoining without the network key: the hashed key that a new trust centre would have."""
        self.is_sleepy_address: Callable[[int], bool] = lambda _: False
        self.window_size = 1
        self.malformed_count = 0
        self.bad_key_count = 0
        self._nwk = nwk
        self._rng = rng
        self._timers = timers
        self._next_id = 0
        self._sending: dict[int, Sending] = {}
        self._waiting: dict[int, int] = {}  # destination << 8 | counter -> id of what waits for its ack
        self._counters: dict[int, int] = {}
        self._heard: dict[int, HeardCounters] = {}
        self._is_first_of_key = False  # the frame at hand is the first that came under its link key
        self._incoming: dict[int, IncomingTransfer] = {}

    @property
    def is_waiting(self) -> bool:
        """An acknowledgement is due: a sleeping device stays awake for it."""
        return bool(self._waiting)

    def forget_sender(self, short_address: int, now_us: int) -> None:
        """A device has (re)joined: its counters start anywhere.

        Unless it was heard just now: an announcement may come late, by way of others, and a rejoin be quick,
        while messages that are here already are still being repeated.
        """
        heard = self._heard.get(short_address)
        if heard is not None and now_us - heard.when_us > REPEATS_US:
            del self._heard[short_address]

    def reset(self) -> None:
        """The network is gone; whatever was on its way has failed."""
        for key in list(self._sending):
            self._finish(key, ApsStatus.NO_ACK, self._sending[key].started_us)
        self._heard.clear()
        self._counters.clear()
        self._incoming.clear()

    # --- data -----------------------------------------------------------------------------------------

    def link_entry(self, message: ApsMessage) -> LinkKeyEntry | None:
        """The key to protect a message with; None where it asks for none. Raises SecurityError."""
        if not message.is_secured:
            return None
        if message.destination >= 0xFFF8:
            raise SecurityError("no link key is shared with all the receivers of a broadcast")
        eui64 = self._nwk.addresses.get(message.destination)
        entry = None if eui64 is None else self.keys.links.get(eui64)
        if entry is None or entry.origin is KeyOrigin.INSTALL_CODE:
            raise SecurityError(f"no link key for application traffic with 0x{message.destination:04X}")
        return entry

    def send(self, message: ApsMessage, handle: int, *, now_us: int) -> None:
        """Ends in an ApsConfirm, if `handle` is not 0. Raises SecurityError where a link key is missing."""
        entry = self.link_entry(message)
        destination = message.destination
        is_broadcast = destination >= 0xFFF8
        wants_ack = message.wants_ack and not is_broadcast and message.group is None
        counter = self._next_counter(destination)
        sending = Sending(destination, counter, handle, now_us)
        sending.entry = entry
        sending.payload = message.payload
        sending.wants_ack = wants_ack
        control = (0x08 if is_broadcast else 0) | (0x20 if entry else 0) | (0x40 if wants_ack else 0)
        group = message.group
        pack, endpoint = pack_header, message.destination_endpoint
        if group is not None:
            control = _GROUP_DELIVERY | (0x20 if entry else 0)
            pack, endpoint = _pack_group_header, group
        sending.header = pack(
            control,
            endpoint,
            message.cluster_id,
            message.profile_id,
            message.source_endpoint,
            counter,
        )
        room = NSDU_OCTETS - HEADER_OCTETS - (LINK_OCTETS if entry else 0)
        self._next_id = key = self._next_id + 1
        self._sending[key] = sending
        if len(message.payload) > room:
            if is_broadcast or group is not None or len(message.payload) > MAX_BLOCKS * (room - 2):
                self._finish(key, ApsStatus.ASDU_TOO_LONG, now_us)
                return
            sending.wants_ack = True
            sending.transfer = OutgoingTransfer(message.payload, room - 2, self.window_size)
        if sending.wants_ack:
            self._waiting[destination << 8 | counter] = key
            if self.is_sleepy_address(destination):
                sending.wait_us = SLEEPY_WAIT_US
        self._transmit(now_us, key)

    def _next_counter(self, destination: int) -> int:
        counter = self._counters.get(destination)
        if counter is None:
            # a restart may begin with the same random numbers, but not with the same frame counter
            counter = self._rng.randrange(256) + 67 * (self.keys.nwk_out.value // NEW_LIFE_STEP) & 0xFF
        for _ in range(256):
            counter = (counter + 1) & 0xFF
            if destination << 8 | counter not in self._waiting:
                break
        self._counters[destination] = counter
        return counter

    def _transmit(self, now_us: int, key: int) -> None:
        sending = self._sending.get(key)
        if sending is None:
            return
        sending.tries += 1
        if sending.transfer is not None:
            self._transmit_block(now_us, key)
            return
        entry = sending.entry
        if entry is None:
            nsdu = sending.header + sending.payload
        else:
            counter = entry.out.next()
            nsdu = seal_link(entry.cipher(0), 0, sending.header, sending.payload, self._nwk.eui64, counter)
        if sending.wants_ack:
            sending.deadline = self._timers.at(now_us + sending.wait_us, self._on_ack_timeout, key)
        self._nwk.send(sending.destination, nsdu, key, now_us=now_us)

    def _transmit_block(self, now_us: int, key: int) -> None:
        """Send the next block of the window; when all of it is out, wait for its acknowledgement."""
        sending = self._sending.get(key)
        if sending is None or sending.transfer is None:
            return
        transfer = sending.transfer
        number = transfer.take_block()
        if number is None:
            return
        plain, _ = ApsHeader.decode(sending.header)
        header = ApsHeader(
            frame_type=ApsFrameType.DATA,
            counter=sending.counter,
            is_secured=sending.entry is not None,
            wants_ack=True,
            destination_endpoint=plain.destination_endpoint,
            cluster_id=plain.cluster_id,
            profile_id=plain.profile_id,
            source_endpoint=plain.source_endpoint,
            fragment=Fragment.PART if number else Fragment.FIRST,
            block=number or transfer.count,
        ).encode()
        nsdu = self._protect(sending.entry, header, transfer.block(number))
        if transfer.has_more_to_send:
            self._timers.at(now_us + INTERFRAME_US, self._transmit_block, key)
        else:
            sending.deadline = self._timers.at(now_us + sending.wait_us, self._on_ack_timeout, key)
        self._nwk.send(sending.destination, nsdu, key, now_us=now_us)

    def _protect(self, entry: LinkKeyEntry | None, header: bytes, payload: bytes) -> bytes:
        if entry is None:
            return header + payload
        return seal_link(entry.cipher(0), 0, header, payload, self._nwk.eui64, entry.out.next())

    # --- commands -------------------------------------------------------------------------------------

    def command_frame(self, entry: LinkKeyEntry | None, key_id: int, command: ApsCommand) -> bytes:
        """A whole APS command frame; `entry` None: no APS security."""
        header = command_header(self._next_counter(0xFFFF), is_secured=entry is not None)
        if entry is None:
            return header + command.encode()
        return seal_link(
            entry.cipher(key_id), key_id, header, command.encode(), self._nwk.eui64, entry.out.next()
        )

    def send_command(
        self,
        destination: int,
        entry: LinkKeyEntry | None,
        key_id: int,
        command: ApsCommand,
        *,
        now_us: int,
        handle: int = 0,
    ) -> None:
        """NWK-secured; an ApsConfirm tells when it has gone, if `handle` is not 0."""
        key = 0
        if handle:
            self._next_id = key = self._next_id + 1
            self._sending[key] = Sending(destination, 0, handle, now_us)
        self._nwk.send(destination, self.command_frame(entry, key_id, command), key, now_us=now_us)

    # --- how it went ----------------------------------------------------------------------------------

    def _on_ack_timeout(self, now_us: int, key: int) -> None:
        sending = self._sending.get(key)
        if sending is None:
            return
        if sending.tries > MAX_RETRIES:
            self._finish(key, ApsStatus.NO_ACK, now_us)
            return
        if sending.transfer is not None:
            sending.transfer.repeat_window()
        self._transmit(now_us, key)

    def _finish(self, key: int, status: ApsStatus, now_us: int) -> None:
        sending = self._sending.pop(key)
        if sending.deadline is not None:
            sending.deadline.cancel()
        if sending.wants_ack:
            self._waiting.pop(sending.destination << 8 | sending.counter, None)
        if sending.handle:
            waited_us = now_us - sending.started_us
            self.events.append(ApsConfirm(sending.handle, status, sending.tries, waited_us))

    def on_nwk_confirm(self, confirm: NwkConfirm, now_us: int) -> None:
        sending = self._sending.get(confirm.handle)
        if sending is None:
            return
        if not sending.wants_ack:
            is_sent = confirm.status is NwkStatus.SUCCESS
            self._finish(confirm.handle, ApsStatus.SUCCESS if is_sent else ApsStatus.NO_ACK, now_us)
        elif confirm.status is NwkStatus.EXPIRED:
            # a sleeping child did not fetch it in 7.68 s: it sleeps longer than repeats can last
            self._finish(confirm.handle, ApsStatus.NO_ACK, now_us)
