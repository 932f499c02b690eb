"""The cut between the S1SP and the SMSO that cannot be undone, and its audit.

At the latest 15 months after the Last EPCL Entry every interface to the S1SP that only the migration needs is
disconnected (3.14E); an independent audit says that it is (3.14F). Here the interfaces are named, each use
asks `require`, and the cut is one committed record: no method takes it back, and a restart finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from smets1.errors import LostError, RefusedError
from smets1.firmware.nvm import Nvm
from smets1.headend.migration.registry import MONTH_US, EligibleProducts

__all__ = ["AuditLine", "Interface", "Separation"]

_KEY: Final = "separated"
_MONTHS: Final = 15
_REFUSED: Final = 0x7E


@unique
class Interface(StrEnum):
    """Ways from other systems into the S1SP that no enduring service needs."""

    MIGRATION_FILES = "migration files of the Requesting Party"
    ACCOUNTS = "account switch at the SMSO"
    UTRN = "UTRN requests passed on by the SMSO"
    SHARED_WAN = "the SMSO's use of the WAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    interface: Interface
    is_cut: bool


class Separation:
    """`nvm` holds one record once it is done."""

    def __init__(self, nvm: Nvm, products: EligibleProducts, group_id: str) -> None:
        self._nvm = nvm
        self._products = products
        self._group_id = group_id
        stored = nvm.get(_KEY)
        if stored is not None and len(stored) != 8:
            raise LostError("the record of the disconnection is damaged")
        self.cut_utc_us = None if stored is None else int.from_bytes(stored, "big")

    def due_utc_us(self, now_utc_us: int) -> int | None:
        """By when it must be done; None while the list may still grow."""
        last = self._products.last_entry_utc_us(self._group_id, now_utc_us=now_utc_us)
        return None if last is None else last + _MONTHS * MONTH_US

    def cut(self, now_utc_us: int) -> None:
        """For good. Raises RefusedError before there is a Last EPCL Entry; a second time changes nothing."""
        if self.cut_utc_us is not None:
            return
        if self.due_utc_us(now_utc_us) is None:
            raise RefusedError(_REFUSED, "TMAD 3.14E: there is no Last EPCL Entry yet")
        self._nvm.put(_KEY, now_utc_us.to_bytes(8, "big"))
        self._nvm.commit()
        self.cut_utc_us = now_utc_us

    def is_due(self, now_utc_us: int) -> bool:
        due_utc_us = self.due_utc_us(now_utc_us)
        return self.cut_utc_us is None and due_utc_us is not None and now_utc_us >= due_utc_us

    def require(self, interface: Interface) -> None:
        """Raises RefusedError where the interface is gone."""
        if self.cut_utc_us is not None:
            raise RefusedError(_REFUSED, f"TMAD 3.14E: disconnected: {interface}")

    def audit(self) -> list[AuditLine]:
        """Each interface tried as its user would (3.14F)."""
        return [AuditLine(interface=each, is_cut=self._refuses(each)) for each in Interface]

    def _refuses(self, interface: Interface) -> bool:
        try:
            self.require(interface)
        except RefusedError:
            return True
        return False
