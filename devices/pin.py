"""A PIN at a meter's or a display's keys: three wrong ones in a row lock it for ten minutes.

Source: SMETS1 1.2 (Privacy PIN protection); the engineering menu's PIN: Uplift 1.2. How many tries, and how
long the lock lasts, is ours.
"""

from __future__ import annotations

import hmac
from typing import Final

from smets1.devices.days import MINUTE_US

__all__ = ["PIN_LOCK_US", "PIN_TRIES", "PinGate", "PrivacyLock"]

PIN_TRIES: Final = 3
PIN_LOCK_US: Final = 10 * MINUTE_US
OPEN_US: Final = MINUTE_US


class PinGate:
    """What has been typed, and whether it may be tried."""

    __slots__ = ("_locked_until_us", "_misses", "typed")

    def __init__(self) -> None:
        self.typed = ""
        self._misses = 0
        self._locked_until_us = 0

    def is_locked(self, utc_us: int) -> bool:
        return utc_us < self._locked_until_us

    def type(self, digit: str, *, longest: int = 8) -> None:
        self.typed = (self.typed + digit)[-longest:]

    def try_typed(self, pin: str, *, utc_us: int) -> bool:
        """Whether what was typed is the PIN; it is forgotten. The third wrong one in a row locks."""
        typed, self.typed = self.typed, ""
        if self.is_locked(utc_us):
            return False
        if hmac.compare_digest(typed.encode(), pin.encode()):
            self._misses = 0
            return True
        self._misses += 1
        if self._misses >= PIN_TRIES:
            self._misses, self._locked_until_us = 0, utc_us + PIN_LOCK_US
        return False


class PrivacyLock:
    """What hides a household's data from who does not know its PIN. Without a PIN it is always open.

    Once opened it closes a minute after the last key.
    """

    def __init__(self) -> None:
        self._pin = ""
        self._gate = PinGate()
        self._open_until_us = 0

    def set_pin(self, pin: str) -> None:
        """Empty: no protection. A new one counts at once."""
        if pin != self._pin:
            self._pin, self._open_until_us = pin, 0

    def is_closed(self, utc_us: int) -> bool:
        return bool(self._pin) and utc_us >= self._open_until_us

    @property
    def typed_count(self) -> int:
        return len(self._gate.typed)

    def on_key(self, utc_us: int) -> None:
        """Somebody is there: what is open stays so."""
        if not self.is_closed(utc_us):
            self._open_until_us = utc_us + OPEN_US

    def type(self, digit: str) -> None:
        self._gate.type(digit, longest=4)

    def forget(self) -> None:
        """What was typed."""
        self._gate.typed = ""

    def enter(self, utc_us: int) -> bool:
        """Try what was typed."""
        if self._gate.try_typed(self._pin, utc_us=utc_us):
            self._open_until_us = utc_us + OPEN_US
        return not self.is_closed(utc_us)
