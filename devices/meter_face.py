"""The front of a living meter: keys that a person presses now, and what the glass shows now.

`panel.py` decides what a key does; this gives it the meter's clock, commits what a key has changed before
the glass shows it, and wakes at the panel's own times (20 s idle in Vend Mode, the end of a screen, the 30
s for B). Only the keypad's lock is kept in NVM: half-typed codes and open menus end with a power cut, as on
the wall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smets1.devices.keypad import KeypadEntry
from smets1.devices.meter import MeterCore
from smets1.devices.panel import Identity, Panel
from smets1.devices.special_codes import Engineering
from smets1.devices.tokens import TopUpDesk, TopUpResult
from smets1.errors import InputError
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm
from smets1.hardware.clock import Scheduler, Timer

__all__ = ["METER_KEYS", "MeterFace"]

METER_KEYS: Final = "0123456789AB"
_PASSED_OVER: Final = " -"  # a code may be given as it is printed, in groups
_NVM_KEY: Final = "meter/keypad"


class MeterFace:
    """Keys and glass of one meter device. `commit` is called after whatever has changed the meter."""

    def __init__(
        self,
        meter: MeterCore,
        desk: TopUpDesk,
        *,
        identity: Callable[[], Identity],
        civil: CivilClock,
        scheduler: Scheduler,
        nvm: Nvm,
        commit: Callable[[list[TopUpResult]], None],
    ) -> None:
        """`identity`: what the glass shows of the device, asked at every look."""
        stored = nvm.get(_NVM_KEY)
        keypad = None if stored is None else KeypadEntry.decode(stored)
        self.panel = Panel(meter, desk, identity=identity(), keypad=keypad)
        self._identity = identity
        self._civil = civil
        self._scheduler = scheduler
        self._nvm = nvm
        self._commit = commit
        self._timer: Timer | None = None
        self._is_closed = False

    # --- keys --------------------------------------------------------------------------------------

    def press(self, keys: str, *, is_held: bool = False) -> list[TopUpResult]:
        """One key after the other, at this instant; blanks and hyphens are passed over. Results of codes.

        Raises InputError for a key that is not there, before any is pressed.
        """
        wanted = check_keys(keys, METER_KEYS)
        results: list[TopUpResult] = []
        self.panel.identity = self._identity()
        for key in wanted:
            results += self.panel.press(key, utc_us=self._civil.utc_us(), is_held=is_held)
        self._after(results)
        return results

    def unlock(self, result: TopUpResult) -> None:
        """An engineering code that came by whatever way may have ended the keypad's lock."""
        if result.special is not None and result.special.engineering is Engineering.UNLOCK_KEYPAD:
            keypad = self.panel.keypad
            keypad.locked_until_us, keypad.refused_in_a_row = 0, 0
            self._put()

    def _after(self, results: list[TopUpResult]) -> None:
        self._put()
        self._commit(results)
        self.arm()

    def _put(self) -> None:
        octets = self.panel.encode()
        if self._nvm.get(_NVM_KEY) != octets:
            self._nvm.put(_NVM_KEY, octets)

    # --- glass -------------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """All of what is shown now: a page with its title and every value, Vend Mode, a menu."""
        return self._look().lines(utc_us=self._civil.utc_us())

    def lcd(self) -> str:
        """The one line on the glass at this instant."""
        return self._look().lcd(utc_us=self._civil.utc_us())

    def pages(self) -> dict[str, list[str]]:
        """Every page that keys 0 to 9 would show now, by its key."""
        panel = self._look()
        return {key: panel.page(int(key), utc_us=self._civil.utc_us()) for key in "0123456789"}

    def _look(self) -> Panel:
        self.panel.meter.advance(self._civil.utc_us())
        self.panel.identity = self._identity()
        return self.panel

    # --- time --------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Wake at the panel's next instant; again after the clock was set."""
        self.stop_timer()
        due_us = self.panel.next_timer_us()
        if due_us is not None and not self._is_closed:
            self._timer = self._scheduler.call_at_us(self._civil.scheduler_us(due_us), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._after(self.panel.on_timer(utc_us=self._civil.utc_us()))

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        self._is_closed = True
        self.stop_timer()


def check_keys(keys: str, known: str) -> str:
    """The keys to press, without blanks and hyphens. Raises InputError, one line, for any other."""
    wanted = "".join(key for key in keys.upper() if key not in _PASSED_OVER)
    unknown = next((key for key in wanted if key not in known), None)
    if unknown is not None:
        raise InputError(f"there is no key {unknown!r}: the keys are {' '.join(known)}")
    return wanted
