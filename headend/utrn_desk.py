"""The desk that makes UTRNs: prepayment keys per device, a counter that never goes back.

In the real system a supplier makes its own tokens and, for a migrated home, the S1SP answers
payment providers. A counter is committed before its token is given out, so no two tokens are equal.
The token's form for DA devices is an **assumption**, see `firmware.utrn`.
"""

from __future__ import annotations

from typing import Final

from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.nvm import Nvm
from smets1.firmware.utrn import ValueClass, make_utrn, value_for_pence

__all__ = ["UtrnDesk"]

_KEY_OCTETS: Final = 16
_COUNTER_OCTETS: Final = 4


class UtrnDesk:
    """Keys in `nvm`: `key/<EUI-64>` (secret), `counter/<EUI-64>` (the last one used)."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm

    def enrol(self, device: Eui64, prepayment_key: bytes, *, counter: int = 0) -> None:
        """Take over a device's key (16 octets). One that is enrolled already keeps its counter."""
        assert len(prepayment_key) == _KEY_OCTETS, "a prepayment key has 16 octets"
        name = f"{device:016x}"
        self._nvm.put(f"key/{name}", prepayment_key)
        if self._nvm.get(f"counter/{name}") is None:
            self._nvm.put(f"counter/{name}", counter.to_bytes(_COUNTER_OCTETS, "big"))
        self._nvm.commit()

    def key_of(self, device: Eui64) -> bytes:
        """Secret. Raises InputError for an unknown device."""
        key = self._nvm.get(f"key/{device:016x}")
        if key is None:
            raise InputError(f"{format_eui64(device)} has no prepayment key here")
        return key

    def credentials(self, device: Eui64) -> tuple[bytes, int] | None:
        """Key (secret) and last counter, for who takes the device over; None: not known here."""
        key = self._nvm.get(f"key/{device:016x}")
        return None if key is None else (key, self._last_counter(f"{device:016x}"))

    def forget(self, device: Eui64) -> None:
        """No token can be made here any more; again is no error."""
        for kind in ("key", "counter"):
            self._nvm.delete(f"{kind}/{device:016x}")
        self._nvm.commit()

    def make(
        self, device: Eui64, *, originator: Eui64, pounds: int | None = None, pence: int | None = None
    ) -> str:
        """The 20 digits of a new token, for whole pounds (0..8191) or pence.

        Raises InputError for an unknown device or an amount that no token can carry.
        """
        if (pounds is None) == (pence is None):
            raise InputError("give an amount either in pounds or in pence")
        if pounds is not None:
            value, value_class = pounds, ValueClass.POUNDS
        else:
            assert pence is not None
            value, value_class = value_for_pence(pence)
        name = f"{device:016x}"
        key = self.key_of(device)
        counter = self._last_counter(name) + 1
        token = make_utrn(
            key,
            originator=originator,
            target=device,
            counter=counter,
            value=value,
            value_class=value_class,
        )
        self._nvm.put(f"counter/{name}", counter.to_bytes(_COUNTER_OCTETS, "big"))
        self._nvm.commit()
        return token

    def _last_counter(self, name: str) -> int:
        stored = self._nvm.get(f"counter/{name}")
        if stored is None or len(stored) != _COUNTER_OCTETS:
            raise LostError("the UTRN desk's counter is damaged")
        return int.from_bytes(stored, "big")
