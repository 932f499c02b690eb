"""Keys and frame counters of one node, and how they survive a power cut.

Outgoing counters must never be used twice under one key. Writing each to NVM would cost a commit a
frame, so a *ceiling* is durable before the first counter under it is used, and a restart begins at the
ceiling. Incoming counters are put without a commit, every few seconds of traffic: a power cut may
forget the last of them, which lets an attacker repeat only what he recorded in that time.

Source: Zigbee 05-3474-21, 4.3.1 (network key), 4.4.1 (link keys), 4.5.3 (derived keys).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cbor2

from smets1.errors import DecodeError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.crypto.ccm import FrameCipher, key_load_key, key_transport_key
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.security_header import KeyIdentifier
from smets1.hardware.radio import KeyOrigin, LinkKey

__all__ = ["COUNTER_LIMIT", "NEW_LIFE_STEP", "KeyMaterial", "LinkKeyEntry", "NetworkKey", "OutgoingCounter"]

COUNTER_STEP: Final = 1024
NEW_LIFE_STEP: Final = 512
"""A restart skips at least so many values more: who sees such a gap knows that the sender began anew."""
COUNTER_LIMIT: Final = 0xFFFFFFFF
RX_PUT_INTERVAL_US: Final = 10_000_000


class OutgoingCounter:
    """Gives each value once, over power cuts too."""

    __slots__ = ("_ceiling", "_name", "_nvm", "value")

    def __init__(self, nvm: Nvm, name: str) -> None:
        stored = nvm.get(name)
        self._nvm = nvm
        self._name = name
        self.value = int.from_bytes(stored, "big") + NEW_LIFE_STEP if stored else 0
        self._ceiling = self.value

    def next(self) -> int:
        """Raises SecurityError when all are used up: the key must be replaced."""
        value = self.value
        if value >= self._ceiling:
            if value >= COUNTER_LIMIT - COUNTER_STEP:
                raise SecurityError("frame counters of a key are used up")
            self.reserve()
            self._nvm.commit()
        self.value = value + 1
        return value

    def reserve(self) -> None:
        """Put a new ceiling; the caller commits."""
        self._ceiling = self.value + COUNTER_STEP
        self._nvm.put(self._name, self._ceiling.to_bytes(4, "big"))


class NetworkKey:
    __slots__ = ("cipher", "key", "rx_counters", "sequence")

    def __init__(self, key: bytes, sequence: int) -> None:
        self.key = key
        self.sequence = sequence
        self.cipher = FrameCipher(key)
        self.rx_counters: dict[Eui64, int] = {}


class LinkKeyEntry:
    """A link key, its derived keys (made when first needed) and its counters."""

    __slots__ = ("_ciphers", "is_rx_dirty", "key", "origin", "out", "partner", "rx_counter")

    def __init__(self, partner: Eui64, key: bytes, origin: KeyOrigin, out: OutgoingCounter) -> None:
        self.partner = partner
        self.key = key
        self.origin = origin
        self.out = out
        self.rx_counter = -1
        self.is_rx_dirty = False
        self._ciphers: dict[int, FrameCipher] = {}

    def cipher(self, key_id: int) -> FrameCipher:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            cipher = self._ciphers[key_id] = FrameCipher(_DERIVE[key_id](self.key))
        return cipher


def _same(key: bytes) -> bytes:
    return key


_DERIVE: Final[dict[int, Callable[[bytes], bytes]]] = {
    KeyIdentifier.DATA: _same,
    KeyIdentifier.KEY_TRANSPORT: key_transport_key,
    KeyIdentifier.KEY_LOAD: key_load_key,
}


class KeyMaterial:
    """All keys of one node. Loads itself from NVM; every change of a key is committed."""

    __slots__ = (
        "_is_nwk_rx_dirty",
        "_nvm",
        "_put_due_us",
        "_rx_dirty",
        "active",
        "install_keys",
        "links",
        "networks",
        "nwk_out",
    )

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self.networks: dict[int, NetworkKey] = {}
        self.active: NetworkKey | None = None
        self.links: dict[Eui64, LinkKeyEntry] = {}
        self.install_keys: dict[Eui64, bytes] = {}
        """Trust centre: what a whitelisted device will join (again) with, beside its established key."""
        self.nwk_out = OutgoingCounter(nvm, "ctr/nwk")
        self._rx_dirty: list[LinkKeyEntry] = []
        self._is_nwk_rx_dirty = False
        self._put_due_us = 0
        self._load()

    # --- network key ----------------------------------------------------------------------------

    def set_network_key(self, key: bytes, sequence: int, *, is_active: bool = True) -> None:
        """Add a network key, and use it. Uncommitted: the caller commits it with its network."""
        present = self.networks.get(sequence)
        if present is None or present.key != key:
            present = self.networks[sequence] = NetworkKey(key, sequence)
        if is_active:
            self.active = present
        while len(self.networks) > 2:  # the active one and one more, as a chip keeps
            oldest = next(number for number, entry in self.networks.items() if entry is not self.active)
            del self.networks[oldest]
        self._put_networks()

    def switch_network_key(self, sequence: int) -> bool:
        entry = self.networks.get(sequence)
        if entry is None:
            return False
        self.active = entry
        self._put_networks()
        self._nvm.commit()
        return True

    def clear_networks(self) -> None:
        """Left the network. The outgoing counter goes on: the same key may come back."""
        self.networks.clear()
        self.active = None
        self._nvm.delete("key/nwk")
        self._nvm.delete("rx/nwk")

    def forget_neighbour(self, eui64: Eui64) -> None:
        for entry in self.networks.values():
            entry.rx_counters.pop(eui64, None)

    def note_network_rx(self) -> None:
        self._is_nwk_rx_dirty = True

    # --- link keys ------------------------------------------------------------------------------

    def set_link_key(self, partner: Eui64, key: bytes, origin: KeyOrigin) -> None:
        """Add or replace, durable on return. The same key again keeps its counters: no nonce may repeat."""
        if origin is KeyOrigin.INSTALL_CODE and self.install_keys.get(partner) != key:
            self.install_keys[partner] = key
            self._nvm.put(f"key/install/{partner:016x}", key)
            self._nvm.delete(f"ctr/install/{partner:016x}")
        present = self.links.get(partner)
        if present is not None and present.key == key:
            present.origin = origin
        else:
            self._nvm.delete(f"ctr/aps/{partner:016x}")
            self._nvm.delete(f"rx/aps/{partner:016x}")
            out = self._outgoing(partner, origin)
            out.reserve()
            self.links[partner] = LinkKeyEntry(partner, key, origin, out)
        self._nvm.put(f"key/link/{partner:016x}", bytes((origin,)) + key)
        self._nvm.commit()

    def set_swapped_key(self, partner: Eui64, hashed_key: bytes) -> None:
        """Trust centre out of a backup: what a device will rejoin with, beside its install-code key."""
        entry = LinkKeyEntry(
            partner, hashed_key, KeyOrigin.INSTALL_CODE, self._outgoing(partner, KeyOrigin.INSTALL_CODE)
        )
        self.links[partner] = entry
        self._nvm.put(f"key/link/{partner:016x}", bytes((KeyOrigin.INSTALL_CODE,)) + hashed_key)
        self._nvm.commit()

    def _outgoing(self, partner: Eui64, origin: KeyOrigin) -> OutgoingCounter:
        """An install-code key comes back at every fresh join: its counter goes on; others begin at 0."""
        kind = "install" if origin is KeyOrigin.INSTALL_CODE else "aps"
        return OutgoingCounter(self._nvm, f"ctr/{kind}/{partner:016x}")

    def install_entry(self, partner: Eui64) -> LinkKeyEntry | None:
        """Trust centre: the key that a device joins with, whatever it was given since."""
        install_key = self.install_keys.get(partner)
        present = self.links.get(partner)
        if install_key is None or (present is not None and present.key == install_key):
            return present
        out = self._outgoing(partner, KeyOrigin.INSTALL_CODE)  # not in `links`: for this join only
        return LinkKeyEntry(partner, install_key, KeyOrigin.INSTALL_CODE, out)

    def joining_entry(self, key: bytes) -> LinkKeyEntry:
        """For the receiving side of a join whose trust centre is not known yet; it seals nothing."""
        return LinkKeyEntry(0, key, KeyOrigin.INSTALL_CODE, OutgoingCounter(self._nvm, "ctr/join"))

    def link_key(self, partner: Eui64) -> LinkKey | None:
        entry = self.links.get(partner)
        return None if entry is None else LinkKey(partner=partner, key=entry.key, origin=entry.origin)

    def remove_link_key(self, partner: Eui64) -> None:
        """Everything about a partner; uncommitted."""
        self.links.pop(partner, None)
        self.install_keys.pop(partner, None)
        for prefix in ("key/link", "key/install", "ctr/aps", "ctr/install", "rx/aps"):
            self._nvm.delete(f"{prefix}/{partner:016x}")

    def note_link_rx(self, entry: LinkKeyEntry, counter: int) -> None:
        entry.rx_counter = counter
        if not entry.is_rx_dirty and entry.partner in self.links:
            entry.is_rx_dirty = True
            self._rx_dirty.append(entry)

    # --- NVM --------------------------------------------------------------------------------------

    def put_received(self, now_us: int) -> None:
        """Put incoming counters that have moved, if the last time is some seconds ago."""
        if now_us >= self._put_due_us:
            self._put_due_us = now_us + RX_PUT_INTERVAL_US
            self.put_received_now()

    def put_received_now(self) -> None:
        for entry in self._rx_dirty:
            entry.is_rx_dirty = False
            if self.links.get(entry.partner) is entry:
                counter = entry.rx_counter.to_bytes(4, "big")
                self._nvm.put(f"rx/aps/{entry.partner:016x}", counter)
        self._rx_dirty.clear()
        if self._is_nwk_rx_dirty and self.active is not None:
            self._is_nwk_rx_dirty = False
            counters = self.active.rx_counters
            flat = [number for eui64 in sorted(counters) for number in (eui64, counters[eui64])]
            self._nvm.put("rx/nwk", cbor2.dumps([self.active.sequence, *flat]))

    def _put_networks(self) -> None:
        active = -1 if self.active is None else self.active.sequence
        keys = [[sequence, entry.key] for sequence, entry in self.networks.items()]
        self._nvm.put("key/nwk", cbor2.dumps([active, keys]))

    def _load(self) -> None:
        self._load_networks()
        for name in self._nvm.keys("key/install/"):
            self.install_keys[int(name[-16:], 16)] = self._nvm.get(name) or b""
        for name in self._nvm.keys("key/link/"):
            stored = self._nvm.get(name)
            if stored is None or len(stored) != 17:
                raise DecodeError("NVM", 0, f"record {name}")
            partner = int(name[-16:], 16)
            origin = KeyOrigin(stored[0])
            entry = LinkKeyEntry(partner, stored[1:], origin, self._outgoing(partner, origin))
            received = self._nvm.get(f"rx/aps/{partner:016x}")
            if received is not None:
                entry.rx_counter = int.from_bytes(received, "big")
            self.links[partner] = entry

    def _load_networks(self) -> None:
        stored = self._nvm.get("key/nwk")
        if stored is None:
            return
        match load_strict(stored):
            case [int(active), list(keys)]:
                for item in keys:
                    match item:
                        case [int(sequence), bytes(key)]:
                            self.networks[sequence] = NetworkKey(key, sequence)
                        case _:
                            raise DecodeError("NVM", 0, "record key/nwk")
            case _:
                raise DecodeError("NVM", 0, "record key/nwk")
        self.active = self.networks.get(active)
        received = self._nvm.get("rx/nwk")
        if received is None or self.active is None:
            return
        match load_strict(received):
            case [int(sequence), *flat] if sequence == self.active.sequence:
                numbers = [number for number in flat if isinstance(number, int)]
                self.active.rx_counters = dict(zip(numbers[::2], numbers[1::2], strict=True))
