"""The binding and group tables of a node: whom a cluster's news goes to, and who answers to a group address.

Both live in NVM: a change is durable before it is acknowledged. Who leaves its network forgets them.

Source: Zigbee 05-3474-21, 2.2.4.5 (group table), 2.4.3.2 (binding), Tables 2.25 and 2.26.
"""

from __future__ import annotations

from typing import Final

import cbor2

from smets1.errors import DecodeError
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.zdp_frames import BindRequest

__all__ = ["BINDING_LIMIT", "GROUP_LIMIT", "BindingTable", "GroupTable"]

BINDING_LIMIT: Final = 64
GROUP_LIMIT: Final = 16  # apsMaxGroupTableEntries of one endpoint
_BINDINGS: Final = "aps/bind"
_GROUPS: Final = "aps/group"


class BindingTable:
    """Entries in the order in which they were made, as Mgmt_Bind lists them."""

    __slots__ = ("_nvm", "entries")

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self.entries: list[BindRequest] = []
        for octets in _load(nvm, _BINDINGS):
            if not isinstance(octets, bytes):
                raise DecodeError("NVM", 0, f"record {_BINDINGS}")
            self.entries.append(BindRequest.decode(octets))

    def add(self, binding: BindRequest) -> bool:
        """Durable on return; one that is there already is no error. False: the table is full."""
        if binding in self.entries:
            return True
        if len(self.entries) >= BINDING_LIMIT:
            return False
        self.entries.append(binding)
        self._commit()
        return True

    def remove(self, binding: BindRequest) -> bool:
        """Durable on return. False: there is no such entry."""
        if binding not in self.entries:
            return False
        self.entries.remove(binding)
        self._commit()
        return True

    def of(self, endpoint: int, cluster_id: int) -> list[BindRequest]:
        """Whom one cluster of one endpoint is bound to."""
        return [
            binding
            for binding in self.entries
            if binding.source_endpoint == endpoint and binding.cluster_id == cluster_id
        ]

    def clear(self) -> None:
        """The network is left; uncommitted."""
        self.entries.clear()
        self._nvm.delete(_BINDINGS)

    def _commit(self) -> None:
        self._nvm.put(_BINDINGS, cbor2.dumps([binding.encode() for binding in self.entries]))
        self._nvm.commit()


class GroupTable:
    """Pairs of group address and endpoint. Every change is durable on return."""

    __slots__ = ("_members", "_nvm")

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self._members: list[tuple[int, int]] = []
        for pair in _load(nvm, _GROUPS):
            match pair:
                case [int(group), int(endpoint)]:
                    self._members.append((group, endpoint))
                case _:
                    raise DecodeError("NVM", 0, f"record {_GROUPS}")

    def endpoints(self, group: int) -> list[int]:
        """Which endpoints a message to this group is for, ascending."""
        return sorted(endpoint for number, endpoint in self._members if number == group)

    def groups(self, endpoint: int) -> list[int]:
        """The groups of an endpoint, in the order in which they were added."""
        return [group for group, number in self._members if number == endpoint]

    def add(self, group: int, endpoint: int) -> bool:
        """False: the endpoint has as many as it can. Being a member already is no error."""
        if (group, endpoint) in self._members:
            return True
        if len(self.groups(endpoint)) >= GROUP_LIMIT:
            return False
        self._members.append((group, endpoint))
        self._commit()
        return True

    def remove(self, group: int, endpoint: int) -> bool:
        """False: it was no member."""
        if (group, endpoint) not in self._members:
            return False
        self._members.remove((group, endpoint))
        self._commit()
        return True

    def remove_all(self, endpoint: int) -> None:
        self._members = [member for member in self._members if member[1] != endpoint]
        self._commit()

    def clear(self) -> None:
        """The network is left; uncommitted."""
        self._members.clear()
        self._nvm.delete(_GROUPS)

    def _commit(self) -> None:
        self._nvm.put(_GROUPS, cbor2.dumps([list(member) for member in self._members]))
        self._nvm.commit()


def _load(nvm: Nvm, name: str) -> list[object]:
    stored = nvm.get(name)
    if stored is None:
        return []
    entries = load_strict(stored)
    if not isinstance(entries, list):
        raise DecodeError("NVM", 0, f"record {name}")
    return entries
