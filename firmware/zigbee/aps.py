"""APS layer: delivers once, repeats until acknowledged, protects with link keys, fragments what is long.

Theory. An acknowledgement is asked for end to end; a repeat is the same APS frame with the same APS counter,
but sealed anew, since its frame counter must be above the last. The receiver knows a repeat by a window of
the last 64 APS counters of each sender. Senders count per destination, so that a busy hub does not wrap that
window for a device that it seldom talks to.

Source: Zigbee 05-3474-21, 2.2.8 (functional description), 2.2.8.4.5 (fragmentation), 4.4 (security).
"""

from __future__ import annotations

from typing import Final

from smets1.errors import DecodeError, SecurityError
from smets1.firmware.zigbee.aps_fragments import IncomingTransfer
from smets1.firmware.zigbee.aps_frames import ApsFrameType, ApsHeader, Fragment, decode_aps_command
from smets1.firmware.zigbee.aps_sending import (
    INTERFRAME_US,
    MAX_BLOCKS,
    MAX_RETRIES,
    SLEEPY_WAIT_US,
    ApsSender,
    pack_header,
)
from smets1.firmware.zigbee.aps_tables import ACK_WAIT_US, ApsCommandHeard, ApsStatus, HeardCounters
from smets1.firmware.zigbee.nwk_events import NwkData
from smets1.firmware.zigbee.security import NEW_LIFE_STEP, LinkKeyEntry
from smets1.firmware.zigbee.security_header import AuxiliaryHeader, KeyIdentifier, open_link
from smets1.hardware.radio import ApsIndication, ApsSecurity, KeyOrigin

__all__ = ["ApsLayer"]


SOURCE_LIMIT: Final = 4096
ZDP_PROFILE: Final = 0x0000
ALL_ENDPOINTS: Final = 0xFF


class ApsLayer(ApsSender):
    """The whole APS layer."""

    __slots__ = ()

    # --- from NWK -------------------------------------------------------------------------------------

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
        elif entry is None and key_id is KeyIdentifier.KEY_TRANSPORT and self.swap_entry is not None:
            entry = self.swap_entry
            if entry.partner != source:  # its counters are another's
                entry.partner, entry.rx_counter = source, -1
        if entry is None:
            raise SecurityError("no link key shared with the sender")
        counter = aux.frame_counter
        if counter <= entry.rx_counter:
            raise SecurityError("frame counter is not new")
        payload = open_link(entry.cipher(key_id), data.payload, offset, body, source, counter)
        if 0 <= entry.rx_counter <= counter - NEW_LIFE_STEP:
            # it has been switched off and on: its APS counters start anywhere, and none is a repeat
            self._heard.pop(data.source, None)
        self._is_first_of_key = entry.rx_counter < 0
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
        endpoints = [header.destination_endpoint]
        if header.destination_endpoint == ALL_ENDPOINTS:
            endpoints = self.endpoints_with(header.profile_id, header.cluster_id)
        if header.group is not None:
            endpoints = self.groups.endpoints(header.group)
            if not endpoints or (entry is None and not data.is_broadcast) or header.fragment:
                return
        if header.fragment is not Fragment.NONE:
            whole = self._collect(header, payload, data, entry, now_us)
            if whole is None:
                return
            payload = whole
        else:
            if header.wants_ack and not data.is_broadcast and header.group is None:
                self._acknowledge(header, data.source, entry, now_us)
            if not data.is_broadcast and self._is_repeat(data.source, header.counter, now_us):
                if entry is None or not self._is_first_of_key:
                    return
                # new life, new key: its counters have begun anew, by chance where they were before
                self._heard[data.source] = HeardCounters(header.counter, now_us)
        if entry is not None and self._nwk.addresses.get(data.source) != entry.partner:
            # The link key proves who is there; whoever missed its announcement can answer now.
            self._nwk.learn_address(data.source, entry.partner)
        for endpoint in endpoints:
            self.events.append(
                ApsIndication(
                    source=data.source,
                    source_eui64=self._nwk.addresses.get(data.source) if entry is None else entry.partner,
                    source_endpoint=header.source_endpoint,
                    destination_endpoint=endpoint,
                    cluster_id=header.cluster_id,
                    profile_id=header.profile_id,
                    payload=payload,
                    security=_security_of(entry),
                    is_broadcast=data.is_broadcast or header.group is not None,
                    lqi=data.lqi,
                )
            )

    def _is_repeat(self, source: int, counter: int, now_us: int) -> bool:
        heard = self._heard.get(source)
        if heard is None:
            if len(self._heard) >= SOURCE_LIMIT:
                del self._heard[next(iter(self._heard))]
            self._heard[source] = HeardCounters(counter, now_us)
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
            ack = pack_header(
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

    # --- fragments ------------------------------------------------------------------------------------

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
