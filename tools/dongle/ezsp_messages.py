"""Messages between the host and the air: unicasts, broadcasts, groups, blocks of long ones; the addresses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.aps_frames import ApsHeader, Fragment
from smets1.firmware.zigbee.aps_sending import HEADER_OCTETS, LINK_OCTETS, NSDU_OCTETS
from smets1.firmware.zigbee.aps_tables import ApsConfirm, ApsStatus
from smets1.firmware.zigbee.nwk import FIRST_BROADCAST
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.ezsp.statuses import (
    ApsOption,
    BindingType,
    IncomingType,
    OutgoingType,
    PolicyId,
    Status,
)
from smets1.hardware.radio import BROADCAST_RX_ON, ApsIndication, ApsMessage, ApsSecurity
from smets1.tools.dongle.ezsp_core import Answer, Answers
from smets1.tools.dongle.ezsp_network import EzspNetwork
from smets1.tools.dongle.ezsp_settings import ConfigId, Counter
from smets1.tools.dongle.ezsp_stack import FragmentHeard, Looped

__all__ = ["EzspMessages"]

FRAGMENT_OCTETS: Final = 2
_NOBODY: Final = 0xFFFF
_NO_EUI64: Final = 0
_NO_INDEX: Final = 0xFF
_BLOCK_BITS: Final = 0xFF


@dataclass(frozen=True, slots=True)
class _Sent:
    """What messageSentHandler will tell of a message."""

    kind: int
    destination: int
    aps: Values
    tag: int
    message: bytes


class EzspMessages(EzspNetwork):
    def _forget(self) -> None:
        self._sent: dict[int, _Sent] = {}
        self._addresses: dict[int, tuple[Eui64, int]] = {}
        self._groups: dict[int, Values] = {}
        self._extended: set[Eui64] = set()
        super()._forget()

    # --- sending --------------------------------------------------------------------------------------

    def _message(self, destination: int, aps: Values, message: bytes) -> ApsMessage:
        options = aps["options"]
        return ApsMessage(
            destination=destination,
            destination_endpoint=aps["destination_endpoint"],
            source_endpoint=aps["source_endpoint"],
            cluster_id=aps["cluster_id"],
            profile_id=aps["profile_id"],
            payload=message,
            is_secured=options & ApsOption.ENCRYPTION != 0,
            wants_ack=options & ApsOption.RETRY != 0,
        )

    def _problem(self, message: ApsMessage, aps: Values) -> Status | None:
        """Why a message cannot be sent."""
        if self.stack.info is None:
            return Status.NETWORK_DOWN
        room = NSDU_OCTETS - HEADER_OCTETS - (LINK_OCTETS if message.is_secured else 0)
        room -= FRAGMENT_OCTETS if aps["options"] & ApsOption.FRAGMENT else 0
        if len(message.payload) > room:
            return Status.MESSAGE_TOO_LONG
        return None if self.stack.may_secure(message) else Status.APS_ENCRYPTION_ERROR

    def _send_unicast(self, kind: int, destination: int, aps: Values, tag: int, message: bytes) -> Answer:
        short_address = destination
        if kind == OutgoingType.VIA_ADDRESS_TABLE:
            short_address = self._addresses.get(destination, (_NO_EUI64, _NOBODY))[1]
        elif kind != OutgoingType.DIRECT:
            return {"status": Status.INVALID_CALL, "sequence": 0}
        if short_address >= FIRST_BROADCAST:
            return {"status": Status.BAD_ARGUMENT, "sequence": 0}
        outgoing = self._message(short_address, aps, message)
        problem = self._problem(outgoing, aps)
        if problem is not None:
            return {"status": problem, "sequence": 0}
        sent = _Sent(kind, destination, aps, tag, message)
        if short_address == self.stack.nwk.short_address:
            self.stack.loop_back(outgoing, self._now_us)
            self._tell_sent(sent, Status.SUCCESS)
            return {"status": Status.SUCCESS, "sequence": aps["sequence"]}
        handle = self._new_handle()
        self._sent[handle] = sent
        if aps["options"] & ApsOption.FRAGMENT:
            number = aps["group_id"] & 0xFF
            counter = aps["sequence"] if number else None
            self.stack.submit_block(
                outgoing, counter, number, aps["group_id"] >> 8, handle, now_us=self._now_us
            )
        else:
            self.stack.submit(outgoing, handle, now_us=self._now_us)
        return self._taken(handle, short_address)

    def _taken(self, handle: int, destination: int) -> Answer:
        """The message has its APS counter now."""
        sequence = self.stack.aps.last_counter(destination)
        sent = self._sent[handle]
        if sent.aps["options"] & ApsOption.FRAGMENT and sent.aps["group_id"] & 0xFF:
            sequence = sent.aps["sequence"]
        self._sent[handle] = replace(sent, aps={**sent.aps, "sequence": sequence})
        return {"status": Status.SUCCESS, "sequence": sequence}

    def _send_broadcast(self, destination: int, aps: Values, tag: int, message: bytes, **_: int) -> Answer:
        if destination < FIRST_BROADCAST:
            return {"status": Status.BAD_ARGUMENT, "sequence": 0}
        outgoing = self._message(destination, aps, message)
        problem = self._problem(outgoing, {**aps, "options": 0})
        if problem is not None:
            return {"status": problem, "sequence": 0}
        handle = self._new_handle()
        self._sent[handle] = _Sent(OutgoingType.BROADCAST, destination, aps, tag, message)
        self.count(Counter.APS_TX_BROADCAST)
        self.stack.submit(outgoing, handle, now_us=self._now_us)
        return self._taken(handle, destination)

    def _send_multicast(self, aps: Values, tag: int, message: bytes, **rest: int) -> Answer:
        destination = rest.get("broadcast_address", BROADCAST_RX_ON)
        plain = self._message(destination, {**aps, "options": 0}, message)
        outgoing = replace(plain, group=aps["group_id"], wants_ack=False)
        problem = self._problem(outgoing, {**aps, "options": 0})
        if problem is not None:
            return {"status": problem, "sequence": 0}
        handle = self._new_handle()
        self._sent[handle] = _Sent(OutgoingType.MULTICAST, aps["group_id"], aps, tag, message)
        self.stack.submit(outgoing, handle, now_us=self._now_us)
        return self._taken(handle, destination)

    def _send_reply(self, destination: int, aps: Values, message: bytes) -> Answer:
        """To a fragment: the acknowledgement of its window. To anything else: a message like any other."""
        outgoing = self._message(destination, aps, message)
        problem = self._problem(outgoing, aps)
        if problem is not None:
            return {"status": problem}
        if not aps["options"] & ApsOption.FRAGMENT:
            self.stack.submit(outgoing, self._new_handle(), now_us=self._now_us)
            return {"status": Status.SUCCESS}
        self.stack.aps.acknowledge_block(
            outgoing,
            aps["sequence"],
            aps["group_id"] & 0xFF,
            aps["group_id"] >> 8 or _BLOCK_BITS,
            now_us=self._now_us,
        )
        self.stack.stay_awake(self._now_us)
        self.stack.settle(self._now_us)
        return {"status": Status.SUCCESS}

    def _payload_length(self) -> Answer:
        return {"octets": NSDU_OCTETS - HEADER_OCTETS}

    def _tell_sent(self, sent: _Sent, status: Status) -> None:
        with_message = self.policies[PolicyId.MESSAGE_CONTENTS_IN_CALLBACK] & 1
        self._call_back(
            "messageSentHandler",
            kind=sent.kind,
            destination=sent.destination,
            aps=sent.aps,
            tag=sent.tag,
            status=status,
            message=sent.message if with_message else b"",
        )

    def _on_confirm(self, confirm: ApsConfirm) -> None:
        sent = self._sent.pop(confirm.handle, None)
        if sent is None:
            return
        is_sent = confirm.status is ApsStatus.SUCCESS
        if sent.kind == OutgoingType.DIRECT:
            self.count(Counter.APS_TX_UNICAST_SUCCESS if is_sent else Counter.APS_TX_UNICAST_FAILED)
            for _ in range(confirm.attempts - 1):
                self.count(Counter.APS_TX_UNICAST_RETRY)
        self._tell_sent(sent, Status.SUCCESS if is_sent else Status.DELIVERY_FAILED)

    # --- receiving ------------------------------------------------------------------------------------

    def _tell_message(self, indication: ApsIndication, kind: IncomingType, header: ApsHeader | None) -> None:
        options = ApsOption.ENABLE_ROUTE_DISCOVERY
        if indication.security in (ApsSecurity.LINK_KEY, ApsSecurity.INSTALL_CODE_KEY):
            options |= ApsOption.ENCRYPTION
        group = 0
        sequence = 0
        if header is not None:
            options |= ApsOption.RETRY if header.wants_ack else ApsOption.NONE
            sequence = header.counter
            group = header.group or 0
        aps = {
            "profile_id": indication.profile_id,
            "cluster_id": indication.cluster_id,
            "source_endpoint": indication.source_endpoint,
            "destination_endpoint": indication.destination_endpoint,
            "options": options,
            "group_id": group,
            "sequence": sequence,
        }
        self._hand_over(
            kind, aps, indication.source, indication.source_eui64, indication.lqi, indication.payload
        )

    def _hand_over(
        self, kind: IncomingType, aps: Values, source: int, eui64: Eui64 | None, lqi: int, message: bytes
    ) -> None:
        values: Values = {
            "kind": kind,
            "aps": aps,
            "sender": source,
            "binding_index": _NO_INDEX,
            "address_index": _NO_INDEX,
            "lqi": lqi,
            "rssi_dbm": self._rssi_dbm,
            "message": message,
        }
        if self.version >= 14:
            known = eui64 or self.stack.nwk.addresses.get(source, _NO_EUI64)
            values.update(eui64=known, timestamp=self._now_us // 1000 & 0xFFFFFFFF)
        self._call_back("incomingMessageHandler", **values)

    def _on_indication(self, indication: ApsIndication) -> None:
        header = self.stack.aps.heard
        kind = IncomingType.UNICAST
        if header is not None and header.group is not None:
            kind = IncomingType.MULTICAST
        elif indication.is_broadcast:
            kind = IncomingType.BROADCAST
        is_unicast = kind is IncomingType.UNICAST
        self.count(Counter.APS_RX_UNICAST if is_unicast else Counter.APS_RX_BROADCAST)
        self._tell_message(indication, kind, header)

    def _on_fragment(self, heard: FragmentHeard) -> None:
        header = heard.header
        options = ApsOption.FRAGMENT | ApsOption.RETRY
        if heard.partner is not None:
            options |= ApsOption.ENCRYPTION
        is_first = header.fragment is Fragment.FIRST
        aps = {
            "profile_id": header.profile_id,
            "cluster_id": header.cluster_id,
            "source_endpoint": header.source_endpoint,
            "destination_endpoint": header.destination_endpoint,
            "options": options,
            # the low octet is the number of the block, the high one of the first how many there are
            "group_id": header.block << 8 if is_first else header.block,
            "sequence": header.counter,
        }
        self._hand_over(IncomingType.UNICAST, aps, heard.source, heard.partner, heard.lqi, heard.payload)

    def _on_event(self, event: object) -> None:
        match event:
            case ApsIndication():
                self._on_indication(event)
            case ApsConfirm():
                self._on_confirm(event)
            case FragmentHeard():
                self._on_fragment(event)
            case Looped(indication):
                self._tell_message(indication, IncomingType.UNICAST, None)
            case _:
                super()._on_event(event)

    # --- addresses ------------------------------------------------------------------------------------

    def _look_up(self, eui64: Eui64) -> int:
        if eui64 == self.eui64:
            return self.stack.nwk.short_address
        known = self.stack.nwk.shorts.get(eui64)
        if known is not None:
            return known
        return next((short for other, short in self._addresses.values() if other == eui64), _NOBODY)

    def _node_by_eui64(self, eui64: Eui64) -> Answer:
        short_address = self._look_up(eui64)
        status = Status.NOT_FOUND if short_address == _NOBODY else Status.SUCCESS
        return {"status": status, "short_address": short_address}

    def _eui64_by_node(self, short_address: int) -> Answer:
        known = self.stack.nwk.addresses.get(short_address)
        if known is None and short_address == self.stack.nwk.short_address:
            known = self.eui64
        if known is None:
            entries = self._addresses.values()
            known = next((other for other, short in entries if short == short_address), None)
        if known is None:
            return {"status": Status.FATAL, "eui64": _NO_EUI64}
        return {"status": Status.SUCCESS, "eui64": known}

    def _address_entry(self, index: int) -> tuple[Eui64, int] | None:
        """None past the end of the table."""
        if index >= self.configuration[ConfigId.ADDRESS_TABLE_SIZE]:
            return None
        return self._addresses.get(index, (_NO_EUI64, _NOBODY))

    def _address_info(self, index: int) -> Answer:
        entry = self._address_entry(index)
        eui64, short_address = entry or (_NO_EUI64, _NOBODY)
        status = Status.INDEX_OUT_OF_RANGE if entry is None else Status.SUCCESS
        return {"status": status, "eui64": eui64, "short_address": short_address}

    def _set_address_info(self, index: int, eui64: Eui64, short_address: int) -> Answer:
        if self._address_entry(index) is None:
            return {"status": Status.INDEX_OUT_OF_RANGE}
        self._addresses[index] = (eui64, short_address)
        self._tell_stack(index)
        return {"status": Status.SUCCESS}

    def _tell_stack(self, index: int) -> None:
        """What the host knows the stack needs as well: which link key belongs to an address."""
        eui64, short_address = self._addresses[index]
        if eui64 not in (_NO_EUI64, 0xFFFFFFFFFFFFFFFF) and short_address < FIRST_BROADCAST:
            self.stack.nwk.learn_address(short_address, eui64)
            self.stack.settle(self._now_us)

    def _set_address_eui64(self, index: int, eui64: Eui64) -> Answer:
        entry = self._address_entry(index)
        return self._set_address_info(index, eui64, _NOBODY if entry is None else entry[1])

    def _set_address_short(self, index: int, short_address: int) -> Answer:
        entry = self._address_entry(index)
        if entry is not None:
            self._addresses[index] = (entry[0], short_address)
            self._tell_stack(index)
        return {}

    def _is_address_active(self, index: int) -> Answer:
        return {
            "is_active": any(
                sent.destination == index and sent.kind == OutgoingType.VIA_ADDRESS_TABLE
                for sent in self._sent.values()
            )
        }

    def _replace_address(
        self, index: int, new_eui64: Eui64, new_short: int, new_extended_timeout: bool
    ) -> Answer:
        entry = self._address_entry(index)
        old_eui64, old_short = entry or (_NO_EUI64, _NOBODY)
        answer = {
            "status": Status.INDEX_OUT_OF_RANGE if entry is None else Status.SUCCESS,
            "old_eui64": old_eui64,
            "old_short": old_short,
            "old_extended_timeout": old_eui64 in self._extended,
        }
        if entry is not None:
            self._addresses[index] = (new_eui64, new_short)
            self._tell_stack(index)
            self._set_extended(new_eui64, new_extended_timeout)
        return answer

    def _set_extended(self, eui64: Eui64, is_extended: bool) -> Answer:
        """A sleeping device fetches its messages late: their acknowledgement is waited for longer."""
        (self._extended.add if is_extended else self._extended.discard)(eui64)
        shorts = (self._look_up(other) for other in self._extended)
        self.stack.extended_timeouts = frozenset(short for short in shorts if short != _NOBODY)
        return {"status": Status.SUCCESS}

    def _get_extended(self, eui64: Eui64) -> Answer:
        is_extended = eui64 in self._extended
        return {"status": Status.SUCCESS if is_extended else Status.FATAL, "is_extended": is_extended}

    # --- groups and bindings --------------------------------------------------------------------------

    def _get_group(self, index: int) -> Answer:
        if index >= self.configuration[ConfigId.MULTICAST_TABLE_SIZE]:
            status = Status.INDEX_OUT_OF_RANGE
        else:
            status = Status.SUCCESS
        empty = {"group": 0, "endpoint": 0, "network_index": 0}
        return {"status": status, "entry": self._groups.get(index, empty)}

    def _set_group(self, index: int, entry: Values) -> Answer:
        if index >= self.configuration[ConfigId.MULTICAST_TABLE_SIZE]:
            return {"status": Status.INDEX_OUT_OF_RANGE}
        self._groups[index] = entry
        self._apply_settings()
        return {"status": Status.SUCCESS}

    def _apply_settings(self) -> None:
        super()._apply_settings()
        members = self.stack.aps.groups
        members.clear()
        for entry in self._groups.values():
            if entry["endpoint"]:
                members.add(entry["group"], entry["endpoint"])

    def _source_route(self, destination: int, relays: list[int]) -> Answer:
        """Routes are found by the stack itself; a host that knows better is thanked."""
        return {"status": Status.SUCCESS}

    def _get_binding(self, index: int) -> Answer:
        """What others have asked the device object to bind."""
        entries = self.stack.zdo.bindings.entries
        record = dict.fromkeys(
            ("kind", "local_endpoint", "cluster_id", "remote_endpoint", "identifier", "network_index"), 0
        )
        if index >= self.configuration[ConfigId.BINDING_TABLE_SIZE]:
            return {"status": Status.INDEX_OUT_OF_RANGE, "binding": record}
        if index < len(entries):
            bound = entries[index]
            record.update(
                kind=BindingType.MULTICAST if bound.destination is None else BindingType.UNICAST,
                local_endpoint=bound.source_endpoint,
                cluster_id=bound.cluster_id,
                remote_endpoint=bound.destination_endpoint or 0,
                identifier=(bound.group or 0) if bound.destination is None else bound.destination,
            )
        return {"status": Status.SUCCESS, "binding": record}

    def _no_binding(self, **_values: Any) -> Answer:
        return {"status": Status.INDEX_OUT_OF_RANGE}

    _answers: ClassVar[Answers] = {
        **EzspNetwork._answers,
        "sendUnicast": _send_unicast,
        "sendBroadcast": _send_broadcast,
        "sendMulticast": _send_multicast,
        "sendReply": _send_reply,
        "maximumPayloadLength": _payload_length,
        "lookupNodeIdByEui64": _node_by_eui64,
        "lookupEui64ByNodeId": _eui64_by_node,
        "getAddressTableInfo": _address_info,
        "setAddressTableInfo": _set_address_info,
        "getAddressTableRemoteEui64": _address_info,
        "getAddressTableRemoteNodeId": _address_info,
        "setAddressTableRemoteEui64": _set_address_eui64,
        "setAddressTableRemoteNodeId": _set_address_short,
        "addressTableEntryIsActive": _is_address_active,
        "replaceAddressTableEntry": _replace_address,
        "setExtendedTimeout": _set_extended,
        "getExtendedTimeout": _get_extended,
        "getMulticastTableEntry": _get_group,
        "setMulticastTableEntry": _set_group,
        "setSourceRoute": _source_route,
        "clearBindingTable": EzspNetwork._accepted,
        "getBinding": _get_binding,
        "setBinding": _no_binding,
        "deleteBinding": _no_binding,
    }
