"""What both ends of the WAN have in common: commit first, then send; one timer; the link's ups and downs.

Everything that an end decides in one turn of the scheduler is committed by one NVM commit at the end of
that turn (`_flush`), and only then sent. Under load there are at most `MAX_COMMITS` in any `COMMIT_SPAN_US`,
and a burst of messages shares them; a lone request never waits. What is only tidied away waits for the next
commit, `TIDY_US` at most.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from smets1.errors import ClosedError, DecodeError, LostError
from smets1.eui64 import Eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm
from smets1.firmware.wan.link import WanLink
from smets1.firmware.wan.messages import WanTopic, topic_parts
from smets1.firmware.wan.outbox import Outbox
from smets1.hardware.clock import Timer

__all__ = ["WanEnd"]

COMMIT_SPAN_US: Final = 2_000
MAX_COMMITS: Final = 3
TIDY_US: Final = 1_000_000

_log = logging.getLogger(__name__)


class WanEnd:
    """Base of both ends. `on_lost` hears, once, that NVM has failed: nothing works from then on."""

    def __init__(
        self,
        link: WanLink,
        nvm: Nvm,
        civil: CivilClock,
        *,
        rng: random.Random,
        on_lost: Callable[[LostError], None] | None = None,
    ) -> None:
        self.link = link
        self.malformed_count = 0  # messages of the peer that could not be read
        self._nvm = nvm
        self._civil = civil
        self._scheduler = civil.scheduler
        self._outbox = Outbox(rng)
        self._on_lost = on_lost
        self._lost: LostError | None = None
        self._is_open = False
        self._flush_timer: Timer | None = None
        self._flush_at_us = 0
        self._flushes_us: deque[int] = deque(maxlen=MAX_COMMITS)  # when the last ones were
        self._repeat_timer: Timer | None = None
        self._repeat_at_us: int | None = None
        link.attach(self)

    @property
    def is_up(self) -> bool:
        """Whether the link to the broker stands; the other end may still be away."""
        return self.link.is_up

    @property
    def unanswered_count(self) -> int:
        """Messages that the other end does not yet have, as far as we know."""
        return len(self._outbox)

    # --- the link's listener -----------------------------------------------------------------------

    def on_message(self, topic: str, payload: bytes) -> None:
        if not self._is_open or self._lost is not None:
            return
        try:
            hub, kind = topic_parts(topic)
            self._receive(hub, kind, payload)
        except DecodeError as error:
            self.malformed_count += 1
            if self.malformed_count.bit_count() == 1:  # 1, 2, 4, 8 ...: a flood must not fill the log
                _log.warning("WAN: %s: %s (message %d like it)", topic[:80], error, self.malformed_count)
        except LostError as error:
            self._lose(error)

    def on_up(self) -> None:
        self._outbox.hasten(now_us=self._scheduler.now_us())
        self._greet()
        self._flush_soon()

    def on_down(self, reason: str) -> None:
        _log.debug("WAN link down: %s", reason)

    # --- for the two ends --------------------------------------------------------------------------

    def _receive(self, hub: Eui64, kind: WanTopic, payload: bytes) -> None:
        """Octets of the peer. Raises DecodeError."""
        raise NotImplementedError

    def _greet(self) -> None:
        """The link is up: say what is not in the outbox."""

    def _flushed(self) -> None:
        """The turn's changes are durable: say what is not in the outbox, tell who waits."""

    def _next_deadline_us(self) -> int | None:
        """Scheduler time at which `_on_deadline` wants to be called; None: never."""
        return None

    def _on_deadline(self) -> None:
        pass

    def _flush_soon(self) -> None:
        """At the end of this turn, or a moment later where commits crowd: commit, then send."""
        is_crowded = len(self._flushes_us) == MAX_COMMITS
        self._flush_by(self._flushes_us[0] + COMMIT_SPAN_US if is_crowded else self._scheduler.now_us())

    def _tidy_soon(self) -> None:
        """Something to commit that nobody waits for and that does no harm if it is lost."""
        self._flush_by(self._scheduler.now_us() + TIDY_US)

    def _flush_by(self, at_us: int) -> None:
        if not self._is_open or self._lost is not None:
            return
        at_us = max(at_us, self._scheduler.now_us())
        if self._flush_timer is not None:
            if self._flush_at_us <= at_us:
                return
            self._flush_timer.cancel()
        self._flush_at_us = at_us
        self._flush_timer = self._scheduler.call_at_us(at_us, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        if not self._is_open or self._lost is not None:
            return
        try:
            self._nvm.commit()
        except LostError as error:
            self._lose(error)
            return
        self._flushes_us.append(self._scheduler.now_us())
        self._flushed()
        if self.link.is_up:
            for message in self._outbox.take_due(now_us=self._scheduler.now_us()):
                self.link.publish(message.topic, message.payload)
        self._arm()

    def _arm(self) -> None:
        times_us = [self._next_deadline_us()]
        if self.link.is_up:
            times_us.append(self._outbox.next_timer_us())
        next_us = min((at_us for at_us in times_us if at_us is not None), default=None)
        if next_us == self._repeat_at_us:
            return
        if self._repeat_timer is not None:
            self._repeat_timer.cancel()
        self._repeat_at_us = next_us
        self._repeat_timer = None
        if next_us is not None:
            self._repeat_timer = self._scheduler.call_at_us(next_us, self._on_timer)

    def _on_timer(self) -> None:
        self._repeat_timer = self._repeat_at_us = None
        if not self._is_open or self._lost is not None:
            return
        try:
            self._on_deadline()
        except LostError as error:
            self._lose(error)
        self._flush_soon()

    def _lose(self, error: LostError) -> None:
        """NVM has failed: from here on nothing may be acknowledged."""
        if self._lost is not None:
            return
        self._lost = error
        self._stop_timers()
        if self._on_lost is not None:
            self._on_lost(error)
        else:
            _log.error("WAN end stopped: %s", error)

    def _stop_timers(self) -> None:
        for timer in (self._flush_timer, self._repeat_timer):
            if timer is not None:
                timer.cancel()
        self._flush_timer = self._repeat_timer = self._repeat_at_us = None

    def _require_working(self) -> None:
        """Raises the LostError that stopped this end, if one did."""
        if self._lost is not None:
            raise LostError(str(self._lost)) from self._lost
        if not self._is_open:
            raise ClosedError("the WAN end is not started, or closed")
