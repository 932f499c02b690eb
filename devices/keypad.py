"""Typing a code at the meter: Vend Mode, as the Liberty 100 has it.

A opens Vend Mode; digits; A is backspace; B, or 20 s idle, submits. 20, 40 or 60 digits are judged as
one, two or three codes, or as one that is longer; anything else is "Incomplete". What came of it is shown: a
refusal for 4 s, an accepted amount and "Added", "Adjusted" or "Set" in turn, four times; after retain credit
"Accepted" and the refund code. After five entries refused in a row "Key Locked" shows for 20 s and key A
stays without effect for the configured time.

The machine decides nothing about codes: `press` and `on_timer` hand back what is to be judged, and the
caller tells it the results. Source: Secure Liberty 100 manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import MINUTE_US, SECOND_US
from smets1.devices.screens import LCD_WIDTH, STERLING, block_lines, format_money
from smets1.devices.special_codes import VendKind
from smets1.devices.state import StateReader, pack_state
from smets1.devices.tokens import REFUSALS, Refusal, TopUpResult

__all__ = ["CODE_DIGITS", "MAX_DIGITS", "KeypadEntry", "KeypadState"]

IDLE_US: Final = 20 * SECOND_US
REFUSED_US: Final = 4 * SECOND_US
ACCEPTED_US: Final = 2 * SECOND_US
ACCEPTED_TURNS: Final = 4
LOCKED_TEXT_US: Final = 20 * SECOND_US
MAX_REFUSED: Final = 5
CODE_DIGITS: Final = 20
MAX_DIGITS: Final = 60
DEFAULT_LOCK_US: Final = 10 * MINUTE_US


_DONE: Final = {VendKind.ADD: "Added", VendKind.DEDUCT: "Adjusted", VendKind.SET: "Set"}


@unique
class KeypadState(IntEnum):
    IDLE = 0
    VEND_MODE = 1
    JUDGING = 2  # codes have been handed out; `show` is awaited
    SHOWING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    lines: tuple[str, ...]
    until_us: int


class KeypadEntry:
    """One meter's keypad. `lock_us`: how long key A is without effect after five refused entries."""

    def __init__(self, *, lock_us: int = DEFAULT_LOCK_US) -> None:
        self.lock_us = lock_us
        self.symbol = STERLING
        self.state = KeypadState.IDLE
        self.digits = ""
        self.refused_in_a_row = 0
        self.locked_until_us = 0
        self._idle_from_us = 0
        self._screens: list[_Screen] = []

    @property
    def is_in_vend_mode(self) -> bool:
        """A top-up from afar waits meanwhile: it can be delayed by a meter left in Vend Mode."""
        return self.state in (KeypadState.VEND_MODE, KeypadState.JUDGING)

    def is_locked(self, utc_us: int) -> bool:
        return utc_us < self.locked_until_us

    def press(self, key: str, *, utc_us: int) -> list[str]:
        """One key, "0".."9", "A" or "B". Returns codes to be judged; [""] stands for an incomplete entry.

        An empty list: nothing to judge. Other keys do nothing.
        """
        self.on_screen_end(utc_us=utc_us)
        if self.state is KeypadState.IDLE:
            self._open(key, utc_us)
            return []
        if self.state is not KeypadState.VEND_MODE:
            return []
        self._idle_from_us = utc_us
        if key == "B":
            return self._submit()
        if key == "A":
            self.digits = self.digits[:-1]
        elif len(key) == 1 and key in "0123456789" and len(self.digits) < MAX_DIGITS:
            self.digits += key
        return []

    def _open(self, key: str, utc_us: int) -> None:
        if key != "A":
            return
        if self.is_locked(utc_us):
            self._show([("Key Locked",)], LOCKED_TEXT_US, utc_us)
            return
        self.state, self.digits, self._idle_from_us = KeypadState.VEND_MODE, "", utc_us

    def _submit(self) -> list[str]:
        digits, self.digits = self.digits, ""
        if not digits:
            self.state = KeypadState.IDLE
            return []
        self.state = KeypadState.JUDGING
        if len(digits) % CODE_DIGITS:
            return [""]
        return [digits[start : start + CODE_DIGITS] for start in range(0, len(digits), CODE_DIGITS)]

    def show(self, results: list[TopUpResult], *, utc_us: int) -> bool:
        """What became of the codes handed out. True where this has locked the keypad."""
        screens: list[_Screen] = []
        at_us = utc_us
        for result in results:
            if result.refusal is not None:
                self.refused_in_a_row += 1
                at_us += REFUSED_US
                screens.append(_Screen(lines=(REFUSALS[result.refusal].text,), until_us=at_us))
                continue
            self.refused_in_a_row = 0
            money_mp = result.balance_mp if result.vend is VendKind.SET else result.amount_mp
            shown = [format_money(money_mp, self.symbol), _DONE[result.vend]]
            if result.special is not None:
                shown = ["Accepted", *block_lines(result.refund)]
            elif result.has_new_tariff:
                shown.append("New tariff")
            for text in shown * ACCEPTED_TURNS:
                at_us += ACCEPTED_US
                screens.append(_Screen(lines=(text,), until_us=at_us))
        self.state, self._screens = KeypadState.SHOWING, screens
        if self.refused_in_a_row < MAX_REFUSED:
            return False
        self.refused_in_a_row = 0
        self.locked_until_us = utc_us + self.lock_us
        text = REFUSALS[Refusal.KEYPAD_LOCKED].text
        screens.append(_Screen(lines=(text,), until_us=at_us + LOCKED_TEXT_US))
        return True

    def _show(self, texts: list[tuple[str, ...]], each_us: int, utc_us: int) -> None:
        self.state = KeypadState.SHOWING
        self._screens = [
            _Screen(lines=lines, until_us=utc_us + each_us * (turn + 1)) for turn, lines in enumerate(texts)
        ]

    def lines(self, *, utc_us: int) -> list[str] | None:
        """What the LCD shows of this; None: nothing, the page of the last key stands."""
        if self.state is KeypadState.VEND_MODE:
            groups = [self.digits[start : start + 5] for start in range(0, len(self.digits), 5)]
            return ["Vend Mode", "-".join(groups)[-LCD_WIDTH:]]
        if self.state is KeypadState.JUDGING:
            return ["Vend Mode", "Wait"]
        return next((list(screen.lines) for screen in self._screens if utc_us < screen.until_us), None)

    def next_timer_us(self) -> int | None:
        if self.state is KeypadState.VEND_MODE:
            return self._idle_from_us + IDLE_US
        return self._screens[-1].until_us if self.state is KeypadState.SHOWING else None

    def on_timer(self, *, utc_us: int) -> list[str]:
        """As `press`: 20 s idle submits what was typed."""
        self.on_screen_end(utc_us=utc_us)
        if self.state is KeypadState.VEND_MODE and utc_us >= self._idle_from_us + IDLE_US:
            return self._submit()
        return []

    def on_screen_end(self, *, utc_us: int) -> None:
        """Back to idle once everything has been shown."""
        if self.state is KeypadState.SHOWING and utc_us >= self._screens[-1].until_us:
            self.state, self._screens = KeypadState.IDLE, []

    def encode(self) -> bytes:
        """Only the lock outlives a power cut: otherwise pulling the main switch would open it."""
        return pack_state("keypad", 1, {"refused": self.refused_in_a_row, "locked": self.locked_until_us})

    @classmethod
    def decode(cls, octets: bytes, *, lock_us: int = DEFAULT_LOCK_US) -> KeypadEntry:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="keypad", versions=(1,))
        keypad = cls(lock_us=lock_us)
        keypad.refused_in_a_row = reader.whole("refused", 0, MAX_REFUSED)
        keypad.locked_until_us = reader.whole("locked", 0)
        return keypad
