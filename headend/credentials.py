"""Whose credentials a device has. A SMETS1 device holds no certificates: the S1SP keeps them for it.

For each device and remote party role (Supplier, NetworkOperator) there are an owner, certificates and two
floors: the least numbers that a message and a top-up of that party may bear. The S1SP places them when a
meter is commissioned and when it is asked to (6.15.1, 6.21, 6.23), and shows them (6.24.1). A change with an
execution date waits here until then; another for the same device and role takes its place.

All is in the head end's store. Source: migration guide, 3.3.4 (who is told); DUIS-5.4.xsd, RemotePartyRole.
**Assumption**: that nothing of this reaches a device of Group ID DA, which knows its SUA key only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import Final, Self

import cbor2

from smets1.errors import DecodeError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.hardware.clock import Timer
from smets1.headend.certificates import CertificateUse
from smets1.headend.store import Store

__all__ = ["CredentialBook", "Credentials", "PartyRole"]

_log = logging.getLogger(__name__)

_HELD: Final = "credentials"
_PENDING: Final = "credentials due"


@unique
class PartyRole(StrEnum):
    """The remote parties whose credentials a SMETS1 device has. Source: DUIS-5.4.xsd, RemotePartyRole."""

    SUPPLIER = "Supplier"
    NETWORK_OPERATOR = "NetworkOperator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One party's, on one device."""

    role: PartyRole
    owner: Eui64
    certificates: tuple[tuple[CertificateUse, bytes], ...] = field(repr=False)  # DER, in the enum's order
    floor: int = 0
    top_up_floor: int | None = None

    def encode(self) -> bytes:
        pairs = [[use.value, der] for use, der in self.certificates]
        return cbor2.dumps([self.role.value, self.owner, pairs, self.floor, self.top_up_floor])

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Our own record. Raises DecodeError."""
        match load_strict(octets):
            case [str(role), int(owner), list(pairs), int(floor), int() | None as top_up_floor]:
                return cls(
                    role=PartyRole(role),
                    owner=owner,
                    certificates=tuple((CertificateUse(use), bytes(der)) for use, der in pairs),
                    floor=floor,
                    top_up_floor=top_up_floor,
                )
            case _:
                raise DecodeError("store", 0, "not a record of credentials")

    def over(self, before: Credentials | None) -> Credentials:
        """What the device has after this change: those of the same owner that it does not name stay."""
        if before is None or before.owner != self.owner:
            return self
        kept = dict(before.certificates) | dict(self.certificates)
        return replace(self, certificates=tuple((use, kept[use]) for use in CertificateUse if use in kept))


class CredentialBook:
    """`on_due(device, credentials)`: a change that had an execution date has been made.

    Writers commit with the store's own commit; `start` it once there is an event loop.
    """

    def __init__(
        self, store: Store, civil: CivilClock, *, on_due: Callable[[Eui64, Credentials], None]
    ) -> None:
        self._store = store
        self._civil = civil
        self._on_due = on_due
        self._timer: Timer | None = None
        self._is_running = False
        self.is_mine: Callable[[Eui64], bool] = lambda _device: True
        """Whether what waits for a device is this worker's to do."""

    def start(self) -> None:
        self._is_running = True
        self._arm()

    def stop(self) -> None:
        self._is_running = False
        self._arm()

    def find(self, device: Eui64, role: PartyRole) -> Credentials | None:
        octets = self._store.record(_HELD, _name(device, role))
        return None if octets is None else Credentials.decode(octets)

    def place(self, device: Eui64, credentials: Credentials) -> Credentials:
        """Now; what the device has of that party from here on."""
        held = credentials.over(self.find(device, credentials.role))
        self._store.put_record(_HELD, _name(device, held.role), held.encode())
        return held

    def place_at(self, device: Eui64, credentials: Credentials, due_utc_us: int) -> None:
        """At a time to come, in place of what waited for that device and role."""
        record = cbor2.dumps([due_utc_us, device, credentials.encode()])
        self._store.put_record(_PENDING, _name(device, credentials.role), record)
        self._arm()

    def cancel(self, device: Eui64, role: PartyRole) -> None:
        """Withdraw what waits, if anything does."""
        self._store.delete_record(_PENDING, _name(device, role))
        self._arm()

    def _waiting(self) -> list[tuple[int, Eui64, Credentials]]:
        found = []
        for octets in self._store.records(_PENDING).values():
            match load_strict(octets):
                case [int(due_utc_us), int(device), bytes(record)]:
                    found.append((due_utc_us, device, Credentials.decode(record)))
                case _:
                    raise DecodeError("store", 0, "not a record of credentials that wait")
        return sorted((item for item in found if self.is_mine(item[1])), key=lambda item: item[:2])

    def _run_due(self) -> None:
        self._timer = None
        now_utc_us = self._civil.utc_us()
        for due_utc_us, device, credentials in self._waiting():
            if due_utc_us > now_utc_us:
                break
            with self._store.together():
                self._store.delete_record(_PENDING, _name(device, credentials.role))
                held = self.place(device, credentials)
                _log.info("%s: credentials of its %s replaced", format_eui64(device), held.role)
                self._on_due(device, held)
            self._store.flush()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting() if self._is_running else []
        if waiting:
            when_us = self._civil.scheduler_us(max(waiting[0][0], self._civil.utc_us()))
            self._timer = self._civil.scheduler.call_at_us(when_us, self._run_due)


def _name(device: Eui64, role: PartyRole) -> str:
    return f"{device:016x}/{role}"
