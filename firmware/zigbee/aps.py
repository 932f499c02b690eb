"""APS layer: delivers once, repeats until acknowledged, protects with link keys, fragments what is long.

Theory. An acknowledgement is asked for end to end; a repeat is the same APS frame with the same APS counter,
but sealed anew, since its frame counter must be above the last. The receiver knows a repeat by a window of
the last 64 APS counters of each sender. Senders count per destination, so that a busy hub does not wrap that
window for a device that it seldom talks to.

Source: Zigbee 05-3474-21, 2.2.8 (functional description), 2.2.8.4.5 (fragmentation), 4.4 (security).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.errors import DecodeError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_fragments import IncomingTransfer, OutgoingTransfer
from smets1.firmware.zigbee.aps_frames import (
    ApsCommand,
    ApsFrameType,
    ApsHeader,
    Fragment,
    command_header,
    decode_aps_command,
)
from smets1.firmware.zigbee.nwk import NwkConfirm, NwkData, NwkStatus
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.firmware.zigbee.security import KeyMaterial, LinkKeyEntry
from smets1.firmware.zigbee.security_header import AuxiliaryHeader, KeyIdentifier, open_link, seal_link
from smets1.firmware.zigbee.timers import Deadline, TimerQueue
from smets1.hardware.radio import ApsIndication, ApsMessage, ApsSecurity, KeyOrigin

__all__ = ["ApsCommandHeard", "ApsConfirm", "ApsLayer", "ApsStatus"]

ACK_WAIT_US: Final = 1_600_000  # apscAckWaitDuration: 0.05 s * 2 * nwkMaxDepth, and security processing
SLEEPY_WAIT_US: Final = 7_680_000 + ACK_WAIT_US
MAX_RETRIES: Final = 3  # apscMaxFrameRetries
FRAME_LIFE_US: Final = 60_000_000  # after this silence a sender's counters are forgotten
WINDOW_MASK: Final = (1 << 64) - 1
NSDU_OCTETS: Final = 90  # 127 less FCS 2, MAC 9, NWK 8, auxiliary 14, MIC 4
HEADER_OCTETS: Final = 8
LINK_OCTETS: Final = 13 + 4
INTERFRAME_US: Final = 50_000  # apscInterframeDelay as Smart Energy sets it
MAX_BLOCKS: Final = 64
SOURCE_LIMIT: Final = 4096
ZDP_PROFILE: Final = 0x0000
_pack_header = struct.Struct("<BBHHBB").pack


@unique
class ApsStatus(IntEnum):
    """Source: Table 2.27."""

    SUCCESS = 0x00
    ASDU_TOO_LONG = 0xA0
    NO_ACK = 0xA7
    NO_SHORT_ADDRESS = 0xA9
    SECURITY_FAIL = 0xAD


@dataclass(frozen=True, slots=True)
class ApsConfirm:
    handle: int
    status: ApsStatus
    attempts: int
    waited_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApsCommandHeard:
    """An APS command, its protection checked. `eui64` and `key_id` are None where it had no APS security."""

    command: ApsCommand
    source: int
    eui64: Eui64 | None
    key_id: KeyIdentifier | None
    origin: KeyOrigin | None


class _Sending:
    """A message on its way, until acknowledged (or, without acknowledgement, gone)."""

    __slots__ = (
        "counter",
        "deadline",
        "destination",
        "entry",
        "handle",
        "header",
        "payload",
        "started_us",
        "transfer",
        "tries",
        "wait_us",
        "wants_ack",
    )

    def __init__(self, destination: int, counter: int, handle: int, now_us: int) -> None:
        self.destination = destination
        self.counter = counter
        self.handle = handle
        self.started_us = now_us
        self.tries = 0
        self.wait_us = ACK_WAIT_US
        self.wants_ack = False
        self.header = b""
        self.payload = b""
        self.entry: LinkKeyEntry | None = None
        self.deadline: Deadline | None = None
        self.transfer: OutgoingTransfer | None = None


class _Heard:
    """The last APS counters of one sender."""

    __slots__ = ("last", "mask", "when_us")

    def __init__(self, counter: int, now_us: int) -> None:
        self.restart(counter, now_us)

    def restart(self, counter: int, now_us: int) -> None:
        self.last = counter
        self.mask = 1
        self.when_us = now_us

    def is_repeat(self, counter: int, now_us: int) -> bool:
        if now_us - self.when_us > FRAME_LIFE_US:
            self.restart(counter, now_us)
            return False
        self.when_us = now_us
        ahead = (counter - self.last) & 0xFF
        if ahead == 0:
            return True
        if ahead < 128:
            self.last = counter
            self.mask = (self.mask << ahead | 1) & WINDOW_MASK
            return False
        behind = 256 - ahead
        if behind < 64:
            bit = 1 << behind
            if self.mask & bit:
                return True
            self.mask |= bit
            return False
        self.restart(counter, now_us)
        return False


class ApsLayer:
    __slots__ = (
        "_counters",
        "_heard",
        "_incoming",
        "_next_id",
        "_nwk",
        "_rng",
        "_sending",
        "_timers",
        "_waiting",
        "bad_key_count",
        "events",
        "groups",
        "is_sleepy_address",
        "join_entry",
        "keys",
        "malformed_count",
        "window_size",
    )

    def __init__(self, nwk: NwkLayer, keys: KeyMaterial, rng: random.Random, timers: TimerQueue) -> None:
        self.keys = keys
        self.events: list[object] = []
        self.groups: set[int] = set()
        self.join_entry: LinkKeyEntry | None = None
        """While joining: the install-code key, shared with a trust centre that is not known yet."""
        self.is_sleepy_address: Callable[[int], bool] = lambda _: False
        self.window_size = 1
        self.malformed_count = 0
        self.bad_key_count = 0
        self._nwk = nwk
        self._rng = rng
        self._timers = timers
        self._next_id = 0
        self._sending: dict[int, _Sending] = {}
        self._waiting: dict[int, int] = {}  # destination << 8 | counter -> id of what waits for its ack
        self._counters: dict[int, int] = {}
        self._heard: dict[int, _Heard] = {}
        self._incoming: dict[int, IncomingTransfer] = {}

    @property
    def is_waiting(self) -> bool:
        """An acknowledgement is due: a sleeping device stays awake for it."""
        return bool(self._waiting)

    def forget_sender(self, short_address: int) -> None:
        """A device has (re)joined: its counters start anywhere."""
        self._heard.pop(short_address, None)

    def reset(self) -> None:
        """The network is gone; whatever was on its way has failed."""
        for key in list(self._sending):
            self._finish(key, ApsStatus.NO_ACK, self._sending[key].started_us)
        self._heard.clear()
        self._counters.clear()
        self._incoming.clear()

    # --- sending ------------------------------------------------------------------------------------

    def link_entry(self, message: ApsMessage) -> LinkKeyEntry | None:
        """The key to protect a message with; None where it asks for none. Raises SecurityError."""
        if not message.is_secured:
            return None
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
        wants_ack = message.wants_ack and not is_broadcast
        counter = self._next_counter(destination)
        sending = _Sending(destination, counter, handle, now_us)
        sending.entry = entry
        sending.payload = message.payload
        sending.wants_ack = wants_ack
        control = (0x08 if is_broadcast else 0) | (0x20 if entry else 0) | (0x40 if wants_ack else 0)
        sending.header = _pack_header(
            control,
            message.destination_endpoint,
            message.cluster_id,
            message.profile_id,
            message.source_endpoint,
            counter,
        )
        room = NSDU_OCTETS - HEADER_OCTETS - (LINK_OCTETS if entry else 0)
        self._next_id = key = self._next_id + 1
        self._sending[key] = sending
        if len(message.payload) > room:
            if is_broadcast or len(message.payload) > MAX_BLOCKS * (room - 2):
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
            counter = self._rng.randrange(256)
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
            self._sending[key] = _Sending(destination, 0, handle, now_us)
        self._nwk.send(destination, self.command_frame(entry, key_id, command), key, now_us=now_us)

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

    # --- from NWK -----------------------------------------------------------------------------------

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

    def on_nwk_data(self, data: NwkData, now_us: int) -> None:
        """Foreign octets. Whatever cannot be accepted is counted and dropped."""
        try:
            header, offset = ApsHeader.decode(data.payload)
            entry: LinkKeyEntry | None = None
            key_id: KeyIdentifier | None = None
            if header.is_secured:
                entry, key_id, payload = self._unprotect(data, offset)
            else:
                payload = data.payload[offset:]
            if header.frame_type is ApsFrameType.DATA:
                self._on_data(header, payload, data, entry, key_id, now_us)
            elif header.frame_type is ApsFrameType.ACKNOWLEDGEMENT:
                self._on_ack(header, data, entry, key_id, now_us)
            else:
                self._on_command(payload, data, entry, key_id)
        except DecodeError:
            self.malformed_count += 1
        except SecurityError:
            self.bad_key_count += 1

    def _unprotect(self, data: NwkData, offset: int) -> tuple[LinkKeyEntry, KeyIdentifier, bytes]:
        aux, body = AuxiliaryHeader.decode(data.payload, offset)
        key_id = aux.key_id
        source = aux.source
        if source is None:
            source = self._nwk.addresses.get(data.source)
        if source is None or key_id is KeyIdentifier.NETWORK:
            raise SecurityError("no link key is meant")
        entry = self.keys.links.get(source)
        joining = self.join_entry
        if joining is not None and key_id is KeyIdentifier.KEY_TRANSPORT:
            joining.partner = source
            entry = joining
        if entry is None:
            raise SecurityError("no link key shared with the sender")
        counter = aux.frame_counter
        if counter <= entry.rx_counter:
            raise SecurityError("frame counter is not new")
        payload = open_link(entry.cipher(key_id), data.payload, offset, body, source, counter)
        self.keys.note_link_rx(entry, counter)
        return entry, key_id, payload

    def _on_data(
        self,
        header: ApsHeader,
        payload: bytes,
        data: NwkData,
        entry: LinkKeyEntry | None,
        key_id: KeyIdentifier | None,
        now_us: int,
    ) -> None:
        if entry is not None:
            if key_id is not KeyIdentifier.DATA:
                raise SecurityError("a transport or load key protects no data")
            if entry.origin is KeyOrigin.INSTALL_CODE and header.profile_id != ZDP_PROFILE:
                raise SecurityError("the install-code key protects no application traffic")
        if not data.is_secured:
            raise SecurityError("application data without the network key")
        if header.group is not None and header.group not in self.groups:
            return
        if header.fragment is not Fragment.NONE:
            whole = self._collect(header, payload, data, entry, now_us)
            if whole is None:
                return
            payload = whole
        else:
            if header.wants_ack and not data.is_broadcast:
                self._acknowledge(header, data.source, entry, now_us)
            if not data.is_broadcast and self._is_repeat(data.source, header.counter, now_us):
                return
        if entry is not None and self._nwk.addresses.get(data.source) != entry.partner:
            # The link key proves who is there; whoever missed its announcement can answer now.
            self._nwk.learn_address(data.source, entry.partner)
        self.events.append(
            ApsIndication(
                source=data.source,
                source_eui64=self._nwk.addresses.get(data.source) if entry is None else entry.partner,
                source_endpoint=header.source_endpoint,
                destination_endpoint=header.destination_endpoint if header.group is None else 0xFF,
                cluster_id=header.cluster_id,
                profile_id=header.profile_id,
                payload=payload,
                security=_security_of(entry),
                is_broadcast=data.is_broadcast,
                lqi=data.lqi,
            )
        )

    def _is_repeat(self, source: int, counter: int, now_us: int) -> bool:
        heard = self._heard.get(source)
        if heard is None:
            if len(self._heard) >= SOURCE_LIMIT:
                del self._heard[next(iter(self._heard))]
            self._heard[source] = _Heard(counter, now_us)
            return False
        return heard.is_repeat(counter, now_us)

    def _acknowledge(
        self,
        header: ApsHeader,
        source: int,
        entry: LinkKeyEntry | None,
        now_us: int,
        *,
        fragment: Fragment = Fragment.NONE,
        block: int = 0,
        ack_bits: int = 0,
    ) -> None:
        """Endpoints swapped, same counter, same protection as what it acknowledges. Source: 2.2.5.2.3."""
        if fragment is Fragment.NONE:
            ack = _pack_header(
                0x22 if entry else 0x02,
                header.source_endpoint,
                header.cluster_id,
                header.profile_id,
                header.destination_endpoint,
                header.counter,
            )
        else:
            ack = ApsHeader(
                frame_type=ApsFrameType.ACKNOWLEDGEMENT,
                counter=header.counter,
                is_secured=entry is not None,
                destination_endpoint=header.source_endpoint,
                cluster_id=header.cluster_id,
                profile_id=header.profile_id,
                source_endpoint=header.destination_endpoint,
                fragment=fragment,
                block=block,
                ack_bits=ack_bits,
            ).encode()
        self._nwk.send(source, self._protect(entry, ack, b""), 0, now_us=now_us)

    def _on_ack(
        self,
        header: ApsHeader,
        data: NwkData,
        entry: LinkKeyEntry | None,
        key_id: KeyIdentifier | None,
        now_us: int,
    ) -> None:
        key = self._waiting.get(data.source << 8 | header.counter)
        sending = None if key is None else self._sending.get(key)
        if key is None or sending is None or header.is_command_ack or not data.is_secured:
            return
        if sending.entry is not None and (
            entry is None or entry.partner != sending.entry.partner or key_id is not KeyIdentifier.DATA
        ):
            raise SecurityError("acknowledgement without the protection of what it acknowledges")
        transfer = sending.transfer
        if transfer is None:
            if header.fragment is Fragment.NONE:
                self._finish(key, ApsStatus.SUCCESS, now_us)
            return
        if header.fragment is Fragment.NONE or not transfer.acknowledge(header.block, header.ack_bits):
            return
        if sending.deadline is not None:
            sending.deadline.cancel()
        if transfer.is_done:
            self._finish(key, ApsStatus.SUCCESS, now_us)
            return
        sending.tries = 1
        self._timers.at(now_us + INTERFRAME_US, self._transmit_block, key)

    def _on_command(
        self,
        payload: bytes,
        data: NwkData,
        entry: LinkKeyEntry | None,
        key_id: KeyIdentifier | None,
    ) -> None:
        if not data.is_secured and (entry is None or key_id is not KeyIdentifier.KEY_TRANSPORT):
            raise SecurityError("a command without the network key")
        self.events.append(
            ApsCommandHeard(
                command=decode_aps_command(payload),
                source=data.source,
                eui64=None if entry is None else entry.partner,
                key_id=key_id,
                origin=None if entry is None else entry.origin,
            )
        )

    # --- fragments ----------------------------------------------------------------------------------

    def _collect(
        self, header: ApsHeader, payload: bytes, data: NwkData, entry: LinkKeyEntry | None, now_us: int
    ) -> bytes | None:
        """The whole payload when its last missing block arrives; else None."""
        if data.is_broadcast:
            return None
        key = data.source << 8 | header.counter
        transfer = self._incoming.get(key)
        partner = None if entry is None else entry.partner
        if transfer is None or transfer.partner != partner:
            if header.fragment is Fragment.FIRST and header.block > MAX_BLOCKS:
                raise DecodeError("APS", 9, "too many blocks")
            transfer = self._incoming[key] = IncomingTransfer(partner, self.window_size)
            self._timers.at(now_us + SLEEPY_WAIT_US * (MAX_RETRIES + 1), self._drop_incoming, key, transfer)
        if header.fragment is Fragment.FIRST:
            number, count = 0, header.block
        else:
            number, count = header.block, None
        is_now_whole = transfer.add(number, count, payload)
        answer = transfer.acknowledgement(number)
        if answer is not None:
            start, bits = answer
            self._acknowledge(
                header,
                data.source,
                entry,
                now_us,
                fragment=Fragment.PART if start else Fragment.FIRST,
                block=start,
                ack_bits=bits,
            )
        if not is_now_whole:
            return None
        self._is_repeat(data.source, header.counter, now_us)
        # kept as long as the sender may repeat its last block, not longer: the counter will come round
        self._timers.at(now_us + ACK_WAIT_US * (MAX_RETRIES + 1), self._drop_incoming, key, transfer)
        return transfer.take_payload()

    def _drop_incoming(self, now_us: int, key: int, transfer: IncomingTransfer) -> None:
        if self._incoming.get(key) is transfer:
            del self._incoming[key]


def _security_of(entry: LinkKeyEntry | None) -> ApsSecurity:
    if entry is None:
        return ApsSecurity.NETWORK_KEY
    if entry.origin is KeyOrigin.INSTALL_CODE:
        return ApsSecurity.INSTALL_CODE_KEY
    return ApsSecurity.LINK_KEY
