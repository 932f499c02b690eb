"""What one end must say until the other end has it: a value machine that only knows when.

Each message is due at once, then again after `FIRST_REPEAT_US`, doubling to `LONGEST_REPEAT_US`. Repeats
matter when a broker has lost what it had acknowledged, so they are hastened when the link comes back. A
message that has been sent often is hastened less: on a line that breaks every second, saying everything
again at each return fills the broker's queue faster than it empties. The order of messages that are due
together is the order in which they were added.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Final

__all__ = ["Outbox", "OutgoingMessage"]

FIRST_REPEAT_US: Final = 30_000_000
LONGEST_REPEAT_US: Final = 3_600_000_000
FIRST_HASTE_US: Final = 1_000_000
"""How soon after it was first sent `hasten` may send it again; doubles with each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """`message_id` is the request or event id; it is unique in its outbox."""

    message_id: str
    topic: str
    payload: bytes


class _Entry:
    __slots__ = ("due_us", "message", "order", "sent_count", "sent_us", "wait_us")

    def __init__(self, message: OutgoingMessage, order: int, due_us: int) -> None:
        self.message = message
        self.order = order
        self.due_us = due_us
        self.wait_us = FIRST_REPEAT_US
        self.sent_count = 0
        self.sent_us = due_us  # when it was taken last


class Outbox:
    """In memory; its owner keeps the same messages in NVM and adds them again at start, in order."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[int, int, str]] = []  # due, order, id; stale items are skipped
        self._order = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._entries

    def add(self, message: OutgoingMessage, *, now_us: int) -> None:
        """Due now. A second message of the same id takes the place of the first."""
        self._order += 1
        entry = _Entry(message, self._order, now_us)
        self._entries[message.message_id] = entry
        self._push(entry)

    def remove(self, message_id: str) -> bool:
        """The other end has it; False where it was not here."""
        return self._entries.pop(message_id, None) is not None

    def sent_count(self, message_id: str) -> int:
        """How often it has been taken; 0 for one that is not here."""
        entry = self._entries.get(message_id)
        return entry.sent_count if entry is not None else 0

    def hasten(self, *, now_us: int, message_id: str | None = None, topic: str | None = None) -> None:
        """The other end may not have got these: due earlier than planned, now where not sent often yet.

        Means all messages, or the one of that id, or those to that topic.
        """
        for entry in self._select(message_id, topic):
            haste_us = FIRST_HASTE_US << min(entry.sent_count - 1, 30) if entry.sent_count else 0
            due_us = max(now_us, entry.sent_us + haste_us)
            if due_us < entry.due_us:
                entry.due_us = due_us
                self._push(entry)

    def restart(self, *, now_us: int, topic: str | None = None) -> None:
        """The other end has surely not got these (all, or those to that topic): as if just added."""
        for entry in self._select(None, topic):
            entry.due_us, entry.wait_us, entry.sent_count = now_us, FIRST_REPEAT_US, 0
            self._push(entry)

    def take_due(self, *, now_us: int) -> list[OutgoingMessage]:
        """What is to be sent now, oldest first; each is due again later."""
        taken: list[_Entry] = []
        while self._heap and self._heap[0][0] <= now_us:
            due_us, order, message_id = heapq.heappop(self._heap)
            entry = self._entries.get(message_id)
            if entry is None or entry.order != order or entry.due_us != due_us:
                continue
            entry.due_us = now_us + entry.wait_us - self._random.randrange(entry.wait_us // 4)
            entry.wait_us = min(2 * entry.wait_us, LONGEST_REPEAT_US)
            entry.sent_count += 1
            entry.sent_us = now_us
            taken.append(entry)
        for entry in taken:
            self._push(entry)
        return [entry.message for entry in sorted(taken, key=lambda entry: entry.order)]

    def next_timer_us(self) -> int | None:
        """When the next message is due; None: never."""
        while self._heap:
            due_us, order, message_id = self._heap[0]
            entry = self._entries.get(message_id)
            if entry is not None and entry.order == order and entry.due_us == due_us:
                return due_us
            heapq.heappop(self._heap)
        return None

    def _select(self, message_id: str | None, topic: str | None) -> list[_Entry]:
        if message_id is not None:
            entry = self._entries.get(message_id)
            return [] if entry is None else [entry]
        return [entry for entry in self._entries.values() if topic is None or entry.message.topic == topic]

    def _push(self, entry: _Entry) -> None:
        heapq.heappush(self._heap, (entry.due_us, entry.order, entry.message.message_id))
