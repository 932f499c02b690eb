"""What a host keeps beside its stick: link keys with their origin, addresses, group members.

The stick has keys and addresses too, but not where a key came from, which Smart Energy's rules ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.hardware.radio import KeyOrigin, LinkKey

__all__ = ["Groups", "ModemMemory", "Records"]

_KEY: Final = "ezsp/key/"
_INSTALL: Final = "ezsp/install/"
_DEVICE: Final = "ezsp/dev/"
_GROUPS: Final = "ezsp/groups"
GROUP_LIMIT: Final = 8
"""Entries of a stick's multicast table."""


class Records(Protocol):
    """Non-volatile memory, as `firmware/nvm.py` has it."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, value: bytes) -> None: ...
    def delete(self, key: str) -> None: ...
    def keys(self, prefix: str = "") -> list[str]: ...
    def commit(self) -> None: ...


class ModemMemory:
    """Loads itself; a change of a key is durable on return, one of an address with the next commit."""

    def __init__(self, nvm: Records) -> None:
        self._nvm = nvm
        self.keys: dict[Eui64, LinkKey] = {}
        self.install_keys: dict[Eui64, bytes] = {}
        self.shorts: dict[Eui64, int] = {}
        self.addresses: dict[int, Eui64] = {}
        for name in nvm.keys(_KEY):
            stored = nvm.get(name)
            if stored is None or len(stored) != 17:
                raise DecodeError("NVM", 0, f"record {name}")
            partner = int(name[-16:], 16)
            self.keys[partner] = LinkKey(partner=partner, key=stored[1:], origin=KeyOrigin(stored[0]))
        for name in nvm.keys(_INSTALL):
            self.install_keys[int(name[-16:], 16)] = nvm.get(name) or b""
        for name in nvm.keys(_DEVICE):
            self._note(int(name[-16:], 16), int.from_bytes(nvm.get(name) or b"\xff\xff", "big"))

    def set_key(self, key: LinkKey) -> None:
        if key.origin is KeyOrigin.INSTALL_CODE:
            self.install_keys[key.partner] = key.key
            self._nvm.put(f"{_INSTALL}{key.partner:016x}", key.key)
        self.keys[key.partner] = key
        self._nvm.put(f"{_KEY}{key.partner:016x}", bytes((key.origin,)) + key.key)
        self._nvm.commit()

    def forget(self, partner: Eui64) -> None:
        """Everything about a partner."""
        self.keys.pop(partner, None)
        self.install_keys.pop(partner, None)
        self.addresses.pop(self.shorts.pop(partner, -1), None)
        for prefix in (_KEY, _INSTALL, _DEVICE):
            self._nvm.delete(f"{prefix}{partner:016x}")
        self._nvm.commit()

    def clear(self) -> None:
        """The network is left."""
        for partner in {**self.keys, **self.install_keys, **self.shorts}:
            self.forget(partner)

    def learn(self, eui64: Eui64, short_address: int) -> None:
        if self.shorts.get(eui64) != short_address:
            self._note(eui64, short_address)
            self._nvm.put(f"{_DEVICE}{eui64:016x}", short_address.to_bytes(2, "big"))

    def _note(self, eui64: Eui64, short_address: int) -> None:
        self.addresses.pop(self.shorts.get(eui64, -1), None)
        other = self.addresses.get(short_address)
        if other is not None:
            self.shorts.pop(other, None)
        self.shorts[eui64] = short_address
        self.addresses[short_address] = eui64

    def groups(self) -> list[tuple[int, int]]:
        stored = self._nvm.get(_GROUPS) or b""
        starts = range(0, len(stored) - 2, 3)
        return [(int.from_bytes(stored[at : at + 2], "big"), stored[at + 2]) for at in starts]

    def set_groups(self, members: list[tuple[int, int]]) -> None:
        octets = b"".join(group.to_bytes(2, "big") + bytes((endpoint,)) for group, endpoint in members)
        self._nvm.put(_GROUPS, octets)
        self._nvm.commit()


class Groups:
    """`GroupMembers` over the stick's multicast table; `on_change` writes it there."""

    def __init__(self, memory: ModemMemory, on_change: Callable[[], None]) -> None:
        self._memory = memory
        self._on_change = on_change
        self.members = memory.groups()

    def groups(self, endpoint: int) -> list[int]:
        return [group for group, member in self.members if member == endpoint]

    def endpoints(self, group: int) -> list[int]:
        return sorted(endpoint for other, endpoint in self.members if other == group)

    def add(self, group: int, endpoint: int) -> bool:
        if (group, endpoint) in self.members:
            return True
        if len(self.members) >= GROUP_LIMIT:
            return False
        self._set([*self.members, (group, endpoint)])
        return True

    def remove(self, group: int, endpoint: int) -> bool:
        if (group, endpoint) not in self.members:
            return False
        self._set([member for member in self.members if member != (group, endpoint)])
        return True

    def remove_all(self, endpoint: int) -> None:
        self._set([member for member in self.members if member[1] != endpoint])

    def _set(self, members: list[tuple[int, int]]) -> None:
        self.members = members
        self._memory.set_groups(members)
        self._on_change()
