"""Deadlines of all layers of one node, in one heap; the shell asks for the earliest."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

__all__ = ["Deadline", "TimerQueue"]


class Deadline:
    """One thing to do later. Cancelled ones stay in the heap until their time; that is cheaper."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., None] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None
        self.args = ()


class TimerQueue:
    """Callbacks get `now_us` first, then their own arguments. Equal times run in the order asked."""

    __slots__ = ("_count", "_heap", "has_new")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Deadline]] = []
        self._count = 0
        self.has_new = False  # since the shell last asked for the earliest

    def at(self, when_us: int, callback: Callable[..., None], *args: Any) -> Deadline:
        deadline = Deadline(callback, args)
        self._count += 1
        self.has_new = True
        heapq.heappush(self._heap, (when_us, self._count, deadline))
        return deadline

    def next_timer_us(self) -> int | None:
        self.has_new = False
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run_next(self, now_us: int) -> bool:
        """Run one callback that is due; False when none is."""
        heap = self._heap
        while heap and heap[0][0] <= now_us:
            deadline = heapq.heappop(heap)[2]
            callback = deadline.callback
            if callback is not None:
                deadline.callback = None
                callback(now_us, *deadline.args)
                return True
        return False

    def clear(self) -> None:
        for _, _, deadline in self._heap:
            deadline.cancel()
        self._heap.clear()
