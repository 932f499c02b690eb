"""Our ZigBee stack as it is on a stick: its host sees device object answers, cuts and joins fragments, scans.

What differs from a device's own stack is here; all the rest is `firmware/zigbee`. On such a stick the link
keys that the host imports count as established ones, since only the host can know.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from smets1.errors import SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps import ApsLayer
from smets1.firmware.zigbee.aps_fragments import OutgoingTransfer
from smets1.firmware.zigbee.aps_frames import ApsFrameType, ApsHeader, Fragment
from smets1.firmware.zigbee.aps_sending import SLEEPY_WAIT_US, pack_header
from smets1.firmware.zigbee.aps_tables import Sending
from smets1.firmware.zigbee.nwk import Handlers
from smets1.firmware.zigbee.nwk_events import EnergyFound, NetworksFound, NwkData, Renumbered
from smets1.firmware.zigbee.security import LinkKeyEntry
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.firmware.zigbee.stack import ZigbeeStack
from smets1.firmware.zigbee.zdp_frames import ZdpCluster
from smets1.hardware.radio import (
    ApsIndication,
    ApsMessage,
    ApsSecurity,
    KeyOrigin,
    NetworkInfo,
    NodeRole,
)

__all__ = ["FragmentHeard", "Looped", "Moved", "NcpAps", "NcpStack"]

ZDP_RESPONSE: Final = 0x8000


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentHeard:
    """One block of a long message, decrypted and neither collected nor acknowledged."""

    header: ApsHeader
    source: int
    payload: bytes
    partner: Eui64 | None  # whose link key protected it
    lqi: int


@dataclass(frozen=True, slots=True)
class Looped:
    """What the host has sent to its own stick, or its device object's answer to that."""

    indication: ApsIndication


@dataclass(frozen=True, slots=True)
class Moved:
    """The same network with another channel, PAN identifier or short address."""

    before: NetworkInfo
    now: NetworkInfo


class _OneBlock(OutgoingTransfer):
    """A single block, repeated until it is acknowledged; its host holds the others."""

    __slots__ = ("_number", "_octets")

    def __init__(self, octets: bytes, number: int, count: int) -> None:
        self._octets = octets
        self._number = number
        super().__init__(bytes(count), 1, 1)

    @property
    def is_done(self) -> bool:
        return self._start != self._number

    def block(self, number: int) -> bytes:
        return self._octets

    def repeat_window(self) -> None:
        self._start = self._number
        self._queue.clear()
        self._queue.append(self._number)

    def acknowledge(self, start: int, bits: int) -> bool:
        if start != self._number or self._queue or not bits & 1:
            return False
        self._start = self._number + 1
        return True


class NcpAps(ApsLayer):
    """APS whose fragments are the host's affair."""

    heard: ApsHeader | None = None
    """The header of the last data frame that was taken."""

    def last_counter(self, destination: int) -> int:
        """The APS counter of what was last sent there."""
        return self._counters.get(destination, 0)

    def send_block(
        self, message: ApsMessage, counter: int | None, number: int, count: int, handle: int, *, now_us: int
    ) -> None:
        """One block; the first gets a counter, which the others share. Ends in ApsConfirm."""
        entry = self.link_entry(message)
        destination = message.destination
        if counter is None:
            counter = self._next_counter(destination)
        sending = Sending(destination, counter, handle, now_us)
        sending.entry = entry
        sending.wants_ack = True
        sending.transfer = _OneBlock(message.payload, number, count)
        sending.header = pack_header(
            0x40,
            message.destination_endpoint,
            message.cluster_id,
            message.profile_id,
            message.source_endpoint,
            counter,
        )
        self._next_id = key = self._next_id + 1
        self._sending[key] = sending
        self._waiting[destination << 8 | counter] = key
        if self.is_sleepy_address(destination):
            sending.wait_us = SLEEPY_WAIT_US
        self._transmit(now_us, key)

    def acknowledge_block(
        self, message: ApsMessage, counter: int, number: int, bits: int, *, now_us: int
    ) -> None:
        """Tell the sender of a fragment that its window has come. `message` is addressed to it."""
        entry = self.link_entry(message)
        heard = ApsHeader(
            frame_type=ApsFrameType.DATA,
            counter=counter,
            destination_endpoint=message.source_endpoint,
            source_endpoint=message.destination_endpoint,
            cluster_id=message.cluster_id,
            profile_id=message.profile_id,
        )
        self._acknowledge(
            heard,
            message.destination,
            entry,
            now_us,
            fragment=Fragment.PART if number else Fragment.FIRST,
            block=number,
            ack_bits=bits,
        )

    def _on_data(
        self,
        header: ApsHeader,
        payload: bytes,
        data: NwkData,
        entry: LinkKeyEntry | None,
        key_id: KeyIdentifier | None,
        now_us: int,
    ) -> None:
        self.heard = header
        super()._on_data(header, payload, data, entry, key_id, now_us)

    def _collect(
        self, header: ApsHeader, payload: bytes, data: NwkData, entry: LinkKeyEntry | None, now_us: int
    ) -> bytes | None:
        """Blocks go up as they come: nothing is kept here, so repeats are the host's affair as well."""
        if not data.is_broadcast:
            partner = None if entry is None else entry.partner
            self.events.append(
                FragmentHeard(
                    header=header, source=data.source, payload=payload, partner=partner, lqi=data.lqi
                )
            )
        return None


class NcpStack(ZigbeeStack):
    """A node whose application is at the other end of a serial line."""

    _aps_class: ClassVar[type[ApsLayer]] = NcpAps
    aps: NcpAps

    passes_requests = False
    """Whether the host hears of device object requests that were answered here, too."""
    wanted_pan: int | None = None
    """While joining: the extended PAN identifier of the only network to join."""
    has_seen_network = False
    is_host_scanning = False
    extended_timeouts: frozenset[int] = frozenset()

    @property
    def is_down(self) -> bool:
        """On a network, and without a parent at present."""
        return self._is_down

    # --- scans for the host ---------------------------------------------------------------------------

    def scan_for_host(
        self, channels: tuple[int, ...], exponent: int, *, is_energy: bool, now_us: int
    ) -> bool:
        """Ends in EnergyFound or NetworksFound among the events. False: another scan is under way."""
        if self.mac.is_scanning or self.is_host_scanning:
            return False
        self.is_host_scanning = True
        (self.nwk.measure_energy if is_energy else self.nwk.scan)(channels, exponent)
        self.settle(now_us)
        return True

    def _on_energy_or_host(self, found: EnergyFound, now_us: int) -> None:
        if self.is_host_scanning:
            self.is_host_scanning = False
            self.events.append(found)
        else:
            self._on_energy_found(found, now_us)

    def _on_networks_or_host(self, found: NetworksFound, now_us: int) -> None:
        if self.is_host_scanning:
            self.is_host_scanning = False
            self.events.append(found)
            return
        wanted = self.wanted_pan
        if wanted is not None and self._join is not None:
            networks = tuple(network for network in found.networks if network.extended_pan_id == wanted)
            found = NetworksFound(networks=networks)
        self.has_seen_network |= any(network.permits_join for network in found.networks)
        self._on_networks(found, now_us)

    # --- the channel ----------------------------------------------------------------------------------

    def use_channels(self, channels: tuple[int, ...]) -> None:
        """Where it may be moved to, and looks for a network that has moved."""
        self.config = replace(self.config, channels=channels)

    def ask_scan(self, destination: int, mask: int, exponent: int, count: int, *, now_us: int) -> None:
        """Mgmt_NWK_Update_req: `count` measurements of energy by one node."""
        self._now_us = now_us
        payload = struct.pack("<IBB", mask, exponent, count)
        self.zdo.tell(destination, ZdpCluster.MGMT_NWK_UPDATE_REQ, payload)
        self.settle(now_us)

    def _on_renumbered_or_host(self, event: Renumbered, now_us: int) -> None:
        before = self.info
        self._on_renumbered(event, now_us)
        if before is not None and self.info is not None:
            self.events.append(Moved(before, self.info))

    # --- what the host hears --------------------------------------------------------------------------

    def _on_any_indication(self, indication: ApsIndication, now_us: int) -> None:
        self._on_indication(indication, now_us)  # application data are among the events then
        if indication.profile_id == 0 and indication.destination_endpoint == 0:
            cluster_id = indication.cluster_id
            is_news = cluster_id & ZDP_RESPONSE or cluster_id == ZdpCluster.DEVICE_ANNCE
            if is_news or self.passes_requests:
                self.events.append(indication)

    def _on_fragment(self, heard: FragmentHeard, now_us: int) -> None:
        self.events.append(heard)

    def _is_sleepy(self, short_address: int) -> bool:
        return short_address in self.extended_timeouts or super()._is_sleepy(short_address)

    # --- to itself ------------------------------------------------------------------------------------

    def loop_back(self, message: ApsMessage, now_us: int) -> None:
        """The host talks to its own stick: the device object answers, or the host hears itself."""
        looped = self._own_indication(message)
        if message.profile_id == 0 and message.destination_endpoint == 0:
            self._now_us = now_us
            self.zdo.receive(looped, now_us)
            self.settle(now_us)
        else:
            self.events.append(Looped(looped))

    def _send_zdp(self, message: ApsMessage, handle: int) -> None:
        if self.info is not None and message.destination == self.nwk.short_address:
            self.events.append(Looped(self._own_indication(message)))
        else:
            super()._send_zdp(message, handle)

    def _own_indication(self, message: ApsMessage) -> ApsIndication:
        return ApsIndication(
            source=self.nwk.short_address,
            source_eui64=self.eui64,
            source_endpoint=message.source_endpoint,
            destination_endpoint=message.destination_endpoint,
            cluster_id=message.cluster_id,
            profile_id=message.profile_id,
            payload=message.payload,
            security=ApsSecurity.NETWORK_KEY,
            is_broadcast=False,
            lqi=255,
        )

    # --- blocks ---------------------------------------------------------------------------------------

    def submit_block(
        self, message: ApsMessage, counter: int | None, number: int, count: int, handle: int, *, now_us: int
    ) -> None:
        """As `submit`, for one block of a message that the host has cut."""
        self._now_us = now_us
        self.aps.send_block(message, counter, number, count, handle, now_us=now_us)
        self.stay_awake(now_us)
        self.settle(now_us)

    def stay_awake(self, now_us: int) -> None:
        if self.role is NodeRole.SLEEPY_END_DEVICE:
            self._stay_awake(now_us)

    # --- keys -----------------------------------------------------------------------------------------

    def let_join(self, eui64: Eui64, key: bytes) -> None:
        """A transient key: what a device may join with; an established key with it stays beside."""
        known = self.keys.links.get(eui64)
        if known is None or known.origin is KeyOrigin.INSTALL_CODE:
            self.keys.set_link_key(eui64, key, KeyOrigin.INSTALL_CODE)
        elif self.keys.install_keys.get(eui64) != key:
            self.keys.install_keys[eui64] = key
            self._nvm.put(f"key/install/{eui64:016x}", key)
            self._nvm.delete(f"ctr/install/{eui64:016x}")
            self._nvm.commit()

    def forbid_join(self, eui64: Eui64) -> None:
        """The transient key has expired."""
        self.keys.install_keys.pop(eui64, None)
        self._nvm.delete(f"key/install/{eui64:016x}")
        self._nvm.commit()

    def set_network_counter(self, counter: int) -> None:
        self.keys.nwk_out.value = counter
        self.keys.nwk_out.reserve()
        self._nvm.commit()

    def may_secure(self, message: ApsMessage) -> bool:
        try:
            self.aps.link_entry(message)
        except SecurityError:
            return False
        return True

    # --- who takes what -------------------------------------------------------------------------------

    _nwk_handlers: ClassVar[Handlers] = {
        **ZigbeeStack._nwk_handlers,
        EnergyFound: _on_energy_or_host,
        NetworksFound: _on_networks_or_host,
        Renumbered: _on_renumbered_or_host,
    }
    _aps_handlers: ClassVar[Handlers] = {
        **ZigbeeStack._aps_handlers,
        ApsIndication: _on_any_indication,
        FragmentHeard: _on_fragment,
    }
