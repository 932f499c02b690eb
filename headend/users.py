"""Service users: who may speak at the front door, in which roles, and where their answers go.

The default table is that of the reference home: the originators of DCC's reference requests.
Which roles they have is an **assumption**, made so that each of those requests is eligible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from smets1.eui64 import Eui64, parse_eui64
from smets1.headend.duis.codes import DeviceType, UserRole

__all__ = ["DEFAULT_DSP", "DEFAULT_USERS", "ServiceUser", "UserTable"]

DEFAULT_DSP: Final = parse_eui64("90-B3-D5-1F-30-00-00-02")

_ELECTRICITY: Final = frozenset({UserRole.IS, UserRole.ES, UserRole.ED, UserRole.RSA, UserRole.OU})
_GAS: Final = frozenset({UserRole.GS, UserRole.GT, UserRole.RSA, UserRole.OU})
_ANY: Final = frozenset(UserRole)
_BY_DEVICE: Final = {
    DeviceType.ESME: _ELECTRICITY,
    DeviceType.HCALCS: _ELECTRICITY,
    DeviceType.GSME: _GAS,
    DeviceType.GPF: _GAS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUser:
    """One EUI-64 that sends requests."""

    eui64: Eui64
    name: str
    roles: tuple[UserRole, ...]
    callback_url: str | None = None  # responses are POSTed here; None: kept to be read
    is_active: bool = True
    duis_version: Decimal = Decimal("5.4")  # what the user's own system understands

    def roles_for(self, device: DeviceType | None) -> tuple[UserRole, ...]:
        """The user's roles that have to do with a device of this type (None: no device)."""
        fitting = _BY_DEVICE.get(device, _ANY) if device else _ANY
        return tuple(role for role in self.roles if role in fitting)


class UserTable:
    """The users that a head end knows."""

    def __init__(self, users: Iterable[ServiceUser]) -> None:
        self._users = {user.eui64: user for user in users}

    def find(self, eui64: Eui64) -> ServiceUser | None:
        return self._users.get(eui64)

    def all(self) -> list[ServiceUser]:
        return [self._users[eui64] for eui64 in sorted(self._users)]


def _user(text: str, name: str, *roles: UserRole) -> ServiceUser:
    return ServiceUser(eui64=parse_eui64(text), name=name, roles=roles)


DEFAULT_USERS: Final = (
    _user("90-B3-D5-1F-30-01-00-00", "supplier", UserRole.IS, UserRole.GS),
    _user("90-B3-D5-1F-30-02-00-00", "network operator", UserRole.ED, UserRole.GT),
    _user("90-B3-D5-1F-30-03-00-00", "other user", UserRole.OU, UserRole.RSA),
    _user("90-B3-D5-1F-30-01-00-08", "export supplier", UserRole.ES),
    _user("90-B3-D5-1F-30-00-00-02", "DSP", UserRole.IS, UserRole.GS, UserRole.OU),
)
