"""Fragmentation of long APS messages: what one side still has to send, what the other still misses.

Blocks travel in windows; each window is acknowledged with a bit per block (bits past its end are 1).
Smart Energy uses windows of one block. Source: Zigbee 05-3474-21, 2.2.8.4.5.
"""

from __future__ import annotations

from collections import deque

from smets1.errors import DecodeError
from smets1.eui64 import Eui64

__all__ = ["IncomingTransfer", "OutgoingTransfer"]


class OutgoingTransfer:
    """Gives block numbers to send, window by window."""

    __slots__ = ("_payload", "_queue", "_size", "_start", "_window", "count")

    def __init__(self, payload: bytes, block_octets: int, window_size: int) -> None:
        self._payload = payload
        self._size = block_octets
        self._window = window_size
        self._start = 0
        self._queue: deque[int] = deque()
        self.count = -(-len(payload) // block_octets)
        self.repeat_window()

    @property
    def is_done(self) -> bool:
        return self._start >= self.count

    @property
    def has_more_to_send(self) -> bool:
        return bool(self._queue)

    def block(self, number: int) -> bytes:
        return self._payload[number * self._size : (number + 1) * self._size]

    def take_block(self) -> int | None:
        return self._queue.popleft() if self._queue else None

    def repeat_window(self) -> None:
        """No acknowledgement came: all of the window again."""
        self._queue = deque(range(self._start, min(self._start + self._window, self.count)))

    def acknowledge(self, start: int, bits: int) -> bool:
        """False where it is about another window, an old one for instance."""
        if start != self._start or self._queue:
            return False
        end = min(start + self._window, self.count)
        self._queue = deque(number for number in range(start, end) if not bits >> (number - start) & 1)
        if not self._queue:
            self._start = end
            self.repeat_window()
        return True


class IncomingTransfer:
    """Collects the blocks of one message."""

    __slots__ = ("_blocks", "_count", "_is_taken", "_window", "partner")

    def __init__(self, partner: Eui64 | None, window_size: int) -> None:
        self.partner = partner  # whose link key protected the first block; the others must have the same
        self._window = window_size
        self._blocks: dict[int, bytes] = {}
        self._count: int | None = None
        self._is_taken = False

    def add(self, number: int, count: int | None, payload: bytes) -> bool:
        """A block, and how many there are if it is the first. True once: now all are there.

        Raises DecodeError for a number that cannot be.
        """
        if count is not None:
            is_other = self._count is not None and count != self._count
            if count == 0 or is_other or any(known >= count for known in self._blocks):
                raise DecodeError("APS", 9, "block count")
            self._count = count
        if number >= (self._count or 256):
            raise DecodeError("APS", 9, "block number")
        if self._is_taken:
            return False
        self._blocks.setdefault(number, payload)
        return self._count is not None and len(self._blocks) == self._count

    def acknowledgement(self, number: int) -> tuple[int, int] | None:
        """(first block of the window, bits) when the window's last block has come or none is missing."""
        start = number - number % self._window
        end = start + self._window
        if self._count is not None:
            end = min(end, self._count)
        bits = 0xFF
        if not self._is_taken:
            for wanted in range(start, end):
                if wanted not in self._blocks:
                    bits &= ~(1 << (wanted - start))
        if bits == 0xFF or number == end - 1:
            return start, bits
        return None

    def take_payload(self) -> bytes:
        """All of it, once; the transfer stays, to acknowledge repeats."""
        payload = b"".join(self._blocks[number] for number in range(len(self._blocks)))
        self._blocks.clear()
        self._is_taken = True
        return payload
