"""EmberZNet's NCP firmware as a value machine, its network layer being our own stack: keys, and the whole.

The trust centre of such a stick lets devices join under transient keys that the host imports, one a device
(install codes) or one for all; the policy tells which count. Keys that the host imports into the key table,
or as the trust centre's, count as established.

Source: Silicon Labs UG100, 9 to 11 (security, trust centre). Left out: certificate-based key establishment
on the stick (consumer images have a stub there), requests for a new trust-centre link key (Smart Energy has
key establishment), network keys that the host chooses, bindings, Green Power, ZLL, manufacturing tests.
"""

from __future__ import annotations

from typing import ClassVar, Final

from smets1.eui64 import Eui64
from smets1.firmware.zigbee.security import LinkKeyEntry
from smets1.firmware.zigbee.stack_events import LinkKeyArrived
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.ezsp.statuses import KeyEvent, KeyKind, PolicyId, SecurityBit, Status, TrustCentrePolicy
from smets1.hardware.radio import KeyOrigin, NodeRole
from smets1.tools.dongle.ezsp_core import Answer, Answers
from smets1.tools.dongle.ezsp_messages import EzspMessages
from smets1.tools.dongle.ezsp_settings import ConfigId

__all__ = ["EzspStick"]

_NO_INDEX: Final = 0xFF
_ANYBODY: Final = (0, 0xFFFFFFFFFFFFFFFF)
_NO_KEY: Final = bytes(16)
_KEY_WAIT_US: Final = 5_000_000
_NO_KEY_DATA: Final[Values] = {"bitmask": 0, "outgoing_counter": 0, "incoming_counter": 0, "ttl_s": 0}
_NO_CONTEXT: Final[Values] = {
    "kind": 0,
    "key_index": 0,
    "derived": 0,
    "eui64": 0,
    "multi_network_index": 0,
    "flags": 0,
    "algorithm": 0,
}
_HAS_COUNTERS: Final = 0x0001 | 0x0002 | 0x0008  # outgoing, incoming, partner EUI-64
_CURRENT_HAS_LINK_KEY: Final = 0x10


class EzspStick(EzspMessages):
    """The whole stick."""

    def _forget(self) -> None:
        self._transient: dict[Eui64, tuple[bytes, int]] = {}  # key, and when it expires
        self._asked: dict[Eui64, int] = {}
        super()._forget()

    # --- who may join ---------------------------------------------------------------------------------

    def may_join(self, eui64: Eui64) -> bool:
        """Asked at each association, and each time that a router reports a device."""
        policy = self.policies[PolicyId.TRUST_CENTER]
        known = self.stack.keys.links.get(eui64)
        key = self._transient_key(eui64)
        if key is None and not policy & TrustCentrePolicy.JOINS_USE_INSTALL_CODE_KEY:
            key = self._transient_key(_ANYBODY[0])
        if key is not None and policy & TrustCentrePolicy.ALLOW_JOINS:
            self.stack.let_join(eui64, key)
            return True
        return known is not None and known.origin is not KeyOrigin.INSTALL_CODE

    def _transient_key(self, eui64: Eui64) -> bytes | None:
        key, expires_us = self._transient.get(eui64, (None, 0))
        return key if self._now_us < expires_us else None

    def _import_transient(self, eui64: Eui64, key: bytes, flags: int = 0) -> Answer:
        eui64 = _ANYBODY[0] if eui64 in _ANYBODY else eui64
        life_us = self.configuration[ConfigId.TRANSIENT_KEY_TIMEOUT_S] * 1_000_000
        expires_us = self._now_us + life_us
        self._transient[eui64] = (key, expires_us)
        self.stack.timers.at(expires_us, self._on_transient_over, eui64, expires_us)
        return {"status": Status.SUCCESS}

    def _on_transient_over(self, now_us: int, eui64: Eui64, expires_us: int) -> None:
        if self._transient.get(eui64, (b"", 0))[1] == expires_us:
            del self._transient[eui64]
            self.stack.forbid_join(eui64)

    def _clear_transient(self) -> Answer:
        for eui64 in self._transient:
            self.stack.forbid_join(eui64)
        self._transient.clear()
        return {}

    def _transient_answer(self, eui64: Eui64, index: int) -> Answer:
        key = self._transient_key(eui64)
        context = {**_NO_CONTEXT, "kind": KeyKind.TC_LINK_WITH_TIMEOUT, "eui64": eui64, "key_index": index}
        left_s = max(0, self._transient.get(eui64, (b"", 0))[1] - self._now_us) // 1_000_000
        return {
            "status": Status.NOT_FOUND if key is None else Status.SUCCESS,
            "context": context,
            "key": key or _NO_KEY,
            "data": {**_NO_KEY_DATA, "ttl_s": min(left_s, 0xFFFF)},
        }

    def _export_transient(self, eui64: Eui64) -> Answer:
        return self._transient_answer(eui64, 0)

    def _export_transient_at(self, index: int) -> Answer:
        known = list(self._transient)
        return self._transient_answer(known[index] if index < len(known) else _ANYBODY[1], index)

    # --- the key table --------------------------------------------------------------------------------

    def _key_name(self, index: int) -> str:
        return f"stick/key/{index:02x}"

    def _key_owner(self, index: int) -> Eui64 | None:
        stored = self.nvm.get(self._key_name(index))
        return None if stored is None else int.from_bytes(stored, "big")

    @property
    def _key_indexes(self) -> range:
        return range(self.configuration[ConfigId.KEY_TABLE_SIZE])

    def _index_of(self, eui64: Eui64) -> int:
        return next((index for index in self._key_indexes if self._key_owner(index) == eui64), _NO_INDEX)

    def _free_index(self) -> int:
        return next((index for index in self._key_indexes if self._key_owner(index) is None), _NO_INDEX)

    def _import_link(self, index: int, eui64: Eui64, key: bytes) -> Answer:
        if index == _NO_INDEX:
            index = self._free_index()
        if index not in self._key_indexes:
            return {"status": Status.INDEX_OUT_OF_RANGE}
        if eui64 in _ANYBODY:
            return {"status": Status.BAD_ARGUMENT}
        replaced, elsewhere = self._key_owner(index), self._index_of(eui64)
        if replaced is not None and replaced != eui64:
            self.stack.keys.remove_link_key(replaced)
        if elsewhere not in (_NO_INDEX, index):
            self.nvm.delete(self._key_name(elsewhere))
        self.nvm.put(self._key_name(index), eui64.to_bytes(8, "big"))
        self.stack.keys.set_link_key(eui64, key, KeyOrigin.ESTABLISHED)
        return {"status": Status.SUCCESS}

    def _link_answer(self, eui64: Eui64 | None, index: int) -> Answer:
        entry = None if eui64 is None else self.stack.keys.links.get(eui64)
        if entry is None or index == _NO_INDEX:
            status = Status.NOT_FOUND
            entry_eui64, key, data = 0, _NO_KEY, _NO_KEY_DATA
        else:
            status, entry_eui64, key, data = Status.SUCCESS, entry.partner, entry.key, _key_data(entry)
        context = {**_NO_CONTEXT, "kind": KeyKind.APP_LINK, "eui64": entry_eui64, "key_index": index}
        return {
            "status": status,
            "eui64": entry_eui64,
            "index": index,
            "key": key,
            "data": data,
            "context": context,
        }

    def _export_link_at(self, index: int) -> Answer:
        if index not in self._key_indexes:
            answer = self._link_answer(None, index)
            assert isinstance(answer, dict)
            return {**answer, "status": Status.INDEX_OUT_OF_RANGE}
        return self._link_answer(self._key_owner(index), index)

    def _export_link(self, eui64: Eui64) -> Answer:
        return self._link_answer(eui64, self._index_of(eui64))

    def _find_key(self, eui64: Eui64, is_link_key: bool) -> Answer:
        return {"index": self._index_of(eui64)}

    def _erase_key(self, index: int) -> Answer:
        owner = self._key_owner(index)
        if index not in self._key_indexes:
            return {"status": Status.INDEX_OUT_OF_RANGE}
        if owner is None:
            return {"status": Status.TABLE_ENTRY_ERASED}
        self.nvm.delete(self._key_name(index))
        self.stack.keys.remove_link_key(owner)
        self.nvm.commit()
        return {"status": Status.SUCCESS}

    def _clear_keys(self) -> Answer:
        for index in self._key_indexes:
            self._erase_key(index)
        return {"status": Status.SUCCESS}

    # --- keys by context ------------------------------------------------------------------------------

    def _security_record(self) -> tuple[int, bytes]:
        """The bits and the preconfigured key that the network was formed or joined with."""
        stored = self.nvm.get("stick/security")
        return (0, _NO_KEY) if stored is None else (int.from_bytes(stored[:2], "little"), stored[2:])

    def _entry(self, context: Values) -> LinkKeyEntry | None:
        """The link key that a context names."""
        links = self.stack.keys.links
        match context["kind"]:
            case KeyKind.TC_LINK if self.stack.role is not NodeRole.COORDINATOR:
                return links.get(self.stack.trust_centre_eui64)
            case KeyKind.APP_LINK:
                eui64 = context["eui64"] if context["flags"] & 2 else self._key_owner(context["key_index"])
                return None if eui64 is None else links.get(eui64)
        return None

    def _key(self, context: Values) -> bytes | None:
        if context["kind"] == KeyKind.NETWORK:
            keys = self.stack.keys
            if context["key_index"] == 0:
                return None if keys.active is None else keys.active.key
            others = [network.key for network in keys.networks.values() if network is not keys.active]
            return others[0] if others else _NO_KEY
        if context["kind"] == KeyKind.TC_LINK and self.stack.role is NodeRole.COORDINATOR:
            return self._security_record()[1]
        entry = self._entry(context)
        return None if entry is None else entry.key

    def _export_key(self, context: Values) -> Answer:
        key = self._key(context)
        status = Status.NOT_FOUND if key is None else Status.SUCCESS
        return {"status": status, "key": key or _NO_KEY, "context": context}

    def _check_context(self, context: Values) -> Answer:
        return {"status": Status.NOT_FOUND if self._key(context) is None else Status.SUCCESS}

    def _import_key(self, context: Values, key: bytes) -> Answer:
        status = Status.BAD_ARGUMENT
        trust_centre = self.stack.trust_centre_eui64
        if context["kind"] == KeyKind.APP_LINK:
            answer = self._import_link(context["key_index"], context["eui64"], key)
            assert isinstance(answer, dict)
            status = answer["status"]
        elif context["kind"] == KeyKind.TC_LINK and self.stack.info is None:
            status = Status.INVALID_CALL
        elif context["kind"] == KeyKind.TC_LINK and self.stack.role is not NodeRole.COORDINATOR:
            self.stack.keys.set_link_key(trust_centre, key, KeyOrigin.ESTABLISHED)
            status = Status.SUCCESS
        return {"status": status, "context": context}

    def _network_key(self) -> Answer:
        keys = self.stack.keys
        active = keys.active
        others = [number for number, network in keys.networks.items() if network is not active]
        info = {
            "is_set": active is not None,
            "has_alternate": bool(others),
            "sequence": 0 if active is None else active.sequence,
            "alternate_sequence": others[0] if others else 0,
            "frame_counter": keys.nwk_out.value,
        }
        return {"status": Status.SUCCESS, "info": info}

    def _aps_key(self, context: Values) -> Answer:
        entry = self._entry(context)
        return {
            "status": Status.NOT_FOUND if entry is None else Status.SUCCESS,
            "eui64": 0 if entry is None else entry.partner,
            "data": _NO_KEY_DATA if entry is None else _key_data(entry),
            "context": context,
        }

    def _security_state(self) -> Answer:
        bits, _ = self._security_record()
        is_joined = self.stack.info is not None
        kept = bits & (
            SecurityBit.TRUST_CENTER_USES_HASHED_LINK_KEY | SecurityBit.TRUST_CENTER_GLOBAL_LINK_KEY
        )
        state = {
            "bitmask": kept | _CURRENT_HAS_LINK_KEY if is_joined else 0,
            "trust_centre": self.stack.trust_centre_eui64 if is_joined else 0,
        }
        return {"status": Status.SUCCESS if is_joined else Status.NOT_JOINED, "state": state}

    # --- keys from the trust centre -------------------------------------------------------------------

    def _request_link(self, partner: Eui64) -> Answer:
        if not self.stack.request_partner_key(partner, now_us=self._now_us):
            return {"status": Status.INVALID_CALL}
        when_us = self._now_us + _KEY_WAIT_US
        self._asked[partner] = when_us
        self.stack.timers.at(when_us, self._on_no_key, partner)
        return {"status": Status.SUCCESS}

    def _on_no_key(self, now_us: int, partner: Eui64) -> None:
        if now_us >= self._asked.get(partner, now_us + 1):
            del self._asked[partner]
            self._tell_key(partner, KeyEvent.KEY_ESTABLISHMENT_TIMEOUT)

    def _tell_key(self, partner: Eui64, status: KeyEvent) -> None:
        self._call_back("zigbeeKeyEstablishmentHandler", partner=partner, status=status)

    def _on_event(self, event: object) -> None:
        if not isinstance(event, LinkKeyArrived):
            super()._on_event(event)
            return
        key = event.key
        self._asked.pop(key.partner, None)
        if self._index_of(key.partner) == _NO_INDEX:
            index = self._free_index()
            if index != _NO_INDEX:
                self.nvm.put(self._key_name(index), key.partner.to_bytes(8, "big"))
                self.nvm.commit()
        self._tell_key(key.partner, KeyEvent.APP_LINK_KEY_ESTABLISHED)

    _answers: ClassVar[Answers] = {
        **EzspMessages._answers,
        "importTransientKey": _import_transient,
        "clearTransientLinkKeys": _clear_transient,
        "exportTransientKeyByEui": _export_transient,
        "exportTransientKeyByIndex": _export_transient_at,
        "importLinkKey": _import_link,
        "exportLinkKeyByIndex": _export_link_at,
        "exportLinkKeyByEui": _export_link,
        "findKeyTableEntry": _find_key,
        "eraseKeyTableEntry": _erase_key,
        "clearKeyTable": _clear_keys,
        "exportKey": _export_key,
        "checkKeyContext": _check_context,
        "importKey": _import_key,
        "getNetworkKeyInfo": _network_key,
        "getApsKeyInfo": _aps_key,
        "getCurrentSecurityState": _security_state,
        "requestLinkKey": _request_link,
    }


def _key_data(entry: LinkKeyEntry) -> Values:
    return {
        "bitmask": _HAS_COUNTERS,
        "outgoing_counter": entry.out.value,
        "incoming_counter": max(entry.rx_counter, 0),
        "ttl_s": 0,
    }
