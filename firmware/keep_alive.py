"""Is the trust centre still there? A value machine that says when to ask it, and when to look for it.

A device reads the Keep-Alive cluster of the trust centre every base plus a random part of the jitter; both
are what it reads. Three answers missed in a row: the trust centre is lost, and the device looks for
its network again after a minute, then after two, and so on up to 15 minutes apart, until it is heard.

Source: SE 1.2b 15-0131-02, annex A (Keep-Alive), 5.4.2.2.3.5 (loss of the trust centre).
"""

from __future__ import annotations

from enum import IntEnum, unique
from random import Random
from typing import Final

__all__ = ["BASE_MINUTES", "JITTER_S", "KeepAlive", "KeepAliveStep"]

BASE_MINUTES: Final = 10
JITTER_S: Final = 300
_MISSES: Final = 3
_S: Final = 1_000_000
_FIRST_REJOIN_US: Final = 60 * _S
_LAST_REJOIN_US: Final = 900 * _S


@unique
class KeepAliveStep(IntEnum):
    """What is due."""

    NOTHING = 0
    ASK = 1  # read base and jitter; then `on_answer` or `on_miss`
    REJOIN = 2  # look for the network; `on_back` when it is found


class KeepAlive:
    """One device's. Time: any monotonic count of microseconds."""

    def __init__(self, rng: Random, *, now_us: int, shortest_us: int = 0) -> None:
        """`shortest_us`: a sleeping device need not ask more often than it wakes."""
        self._rng = rng
        self._shortest_us = shortest_us
        self._base_us = BASE_MINUTES * 60 * _S
        self._jitter_us = JITTER_S * _S
        self.misses = 0
        self._rejoin_pause_us = _FIRST_REJOIN_US
        self._is_rejoin_due = False
        self._due_us = now_us + self._interval_us()

    @property
    def is_lost(self) -> bool:
        return self.misses >= _MISSES

    @property
    def due_us(self) -> int:
        """When `next_step` is something."""
        return self._due_us

    def next_step(self, *, now_us: int) -> KeepAliveStep:
        if now_us < self._due_us:
            return KeepAliveStep.NOTHING
        return KeepAliveStep.REJOIN if self._is_rejoin_due else KeepAliveStep.ASK

    def _interval_us(self) -> int:
        return max(self._base_us + self._rng.randint(0, self._jitter_us), self._shortest_us)

    def on_answer(self, base_minutes: int, jitter_s: int, *, now_us: int) -> None:
        """What the trust centre has now, off the air; out of range is taken as the nearest in range."""
        self._base_us = min(max(base_minutes, 1), 255) * 60 * _S
        self._jitter_us = min(max(jitter_s, 0), 512) * _S
        self.misses = 0
        self._is_rejoin_due = False
        self._rejoin_pause_us = _FIRST_REJOIN_US
        self._due_us = now_us + self._interval_us()

    def on_miss(self, *, now_us: int) -> None:
        """No answer."""
        self.misses = min(self.misses + 1, _MISSES)
        if not self.is_lost:
            self._due_us = now_us + self._interval_us()
            return
        self._is_rejoin_due = True
        self._due_us = now_us + self._rejoin_pause_us
        self._rejoin_pause_us = min(2 * self._rejoin_pause_us, _LAST_REJOIN_US)

    def on_rejoining(self, *, now_us: int) -> None:
        """The look for the network has begun: what comes next is a question, once it is found."""
        self._is_rejoin_due = False
        self._due_us = now_us

    def on_back(self, *, now_us: int) -> None:
        """On the network, again perhaps: is the trust centre there? Soon where that is in doubt."""
        if self.misses:
            self._is_rejoin_due = False
            self._due_us = min(self._due_us, now_us + _S)
