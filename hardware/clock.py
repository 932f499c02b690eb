"""The crystal: one clock for a whole process, in whole microseconds from an arbitrary start.

Everything that happens later asks a `Scheduler`. There are two: `HeapScheduler`, a bare timer
queue that a test or a fleet drives by hand, and `EmulatorLoop`, an asyncio loop whose time runs at
a chosen speed (1 = real, 60 = a minute a second, MAX = straight to the next timer).

Under MAX nothing outside the process may be waited for: time would run ahead of it. The loop
refuses sockets and threads there, and says so.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, Final, Protocol, Self, TypeVar, TypeVarTuple, Unpack, cast

from smets1.errors import MisuseError

__all__ = ["MAX_SPEED", "EmulatorLoop", "HeapScheduler", "Scheduler", "Timer", "run"]

MAX_SPEED: Final = float("inf")
"""Jump to the next timer as soon as nothing is left to do now."""

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Timer(Protocol):
    """A callback that has been asked for and not yet run."""

    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """What a driver or shell needs of time. Callbacks at the same microsecond run in the order asked."""

    def now_us(self) -> int: ...
    def call_at_us(self, when_us: int, callback: Callable[..., object], *args: Any) -> Timer: ...


class _HeapTimer:
    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object] | None, args: tuple[Any, ...]) -> None:
        self.callback = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None
        self.args = ()


class HeapScheduler:
    """A bare timer queue; some million events a second. Raises what a callback raises."""

    def __init__(self, start_us: int = 0) -> None:
        self._now_us = start_us
        self._heap: list[tuple[int, int, _HeapTimer]] = []
        self._count = 0

    def now_us(self) -> int:
        return self._now_us

    def call_at_us(self, when_us: int, callback: Callable[..., object], *args: Any) -> Timer:
        timer = _HeapTimer(callback, args)
        self._count += 1
        heapq.heappush(self._heap, (max(when_us, self._now_us), self._count, timer))
        return timer

    def next_us(self) -> int | None:
        """When the next live timer is due, or None."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def step(self) -> bool:
        """Run the next timer, moving time to it; False when there is none."""
        heap = self._heap
        while heap:
            when_us, _, timer = heapq.heappop(heap)
            if timer.callback is not None:
                self._now_us = when_us
                timer.callback(*timer.args)
                return True
        return False

    def run_until(self, until_us: int) -> None:
        """Run all that is due up to and including `until_us`, and leave time there."""
        while (next_us := self.next_us()) is not None and next_us <= until_us:
            self.step()
        self._now_us = max(self._now_us, until_us)


class _LoopTimer:
    """A timer of `call_at_us`: what asyncio's own handles are, less their context and their representation.

    The loop takes it for a handle, so it has the two names that the loop looks at.
    """

    __slots__ = ("_args", "_callback", "_cancelled", "_loop")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], loop: EmulatorLoop) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._loop = loop
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled, self._callback, self._args = True, None, ()

    def cancelled(self) -> bool:
        return self._cancelled

    def _run(self) -> None:
        assert self._callback is not None, "not cancelled"
        try:
            self._callback(*self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            what = f"Exception in a timer of {self._callback!r}"
            self._loop.call_exception_handler({"message": what, "exception": error})


class _WarpSelector(selectors.BaseSelector):
    """The one place where the loop waits; it waits in the loop's own time."""

    def __init__(self) -> None:
        self.inner = selectors.DefaultSelector()
        self.loop: EmulatorLoop | None = None

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.modify(fileobj, events, data)

    def get_map(self) -> Any:
        return self.inner.get_map()

    def close(self) -> None:
        self.inner.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if loop is None:
            return self.inner.select(timeout)
        wait = loop.release_due(idle=timeout != 0)
        if wait == 0 and loop.skips_sockets():
            return []
        return self.inner.select(None if wait is None else min(wait, _LONGEST_WAIT_S))


_LONGEST_WAIT_S: Final = 3600.0  # a loop that all but stands would wait longer than a selector can
_INNER_TURNS: Final = 64  # turns between two looks at signals
_EPSILON_US = 0.25  # asyncio hands times over as float seconds; this undoes their rounding


def _require_speed(speed: float) -> None:
    if not speed > 0:
        raise MisuseError(f"speed must be above 0, not {speed}")


class EmulatorLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose `time()` runs at `speed` and starts at 0. Also a `Scheduler`.

    Timers are kept here as whole microseconds with a running number, so that equal times run in
    the order asked and a run never depends on float rounding; asyncio's own heap stays empty.

    A loop that is late (a busy machine, a speed that it cannot hold) catches up one instant at a time:
    time stands at the timer that runs and never passes one that has not run. So a stall of the machine
    is none in the emulated world, and whatever comes before a time-out there still comes before it.
    """

    _stopping: bool  # of asyncio; typeshed does not know them
    _debug: bool

    def __new__(cls, speed: float = 1.0) -> Self:
        # Here, since asyncio's destructor stumbles over a loop whose __init__ did not end.
        _require_speed(speed)
        return super().__new__(cls)

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._base_us = 0
        self._anchor_ns = time.monotonic_ns()
        self._latest_us = 0
        self._is_held = False  # time stands at _latest_us while what was due then runs
        self._heap: list[tuple[int, int, asyncio.TimerHandle | _LoopTimer]] = []
        self._count = 0
        self._turns = 0
        selector = _WarpSelector()
        super().__init__(selector)
        self._inner_ready = cast(Any, self)._ready
        selector.loop = self

    @property
    def speed(self) -> float:
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Change speed at this instant; time goes on from where it is. Raises MisuseError unless > 0."""
        _require_speed(speed)
        self._base_us = self._latest_us = self.now_us()
        self._anchor_ns = time.monotonic_ns()
        self._speed = speed

    def now_us(self) -> int:
        if self._speed == MAX_SPEED:
            return self._base_us
        if not self._is_held:
            now_us, heap = self._running_us(), self._heap
            while heap and heap[0][2].cancelled():
                heapq.heappop(heap)
            self._latest_us = max(self._latest_us, min(now_us, heap[0][0]) if heap else now_us)
        return self._latest_us

    def _running_us(self) -> int:
        """Where time would be if the loop were never late."""
        return self._base_us + int((time.monotonic_ns() - self._anchor_ns) * self._speed) // 1000

    def time(self) -> float:
        return self.now_us() / 1e6

    def call_at_us(self, when_us: int, callback: Callable[..., object], *args: Any) -> Timer:
        timer = _LoopTimer(callback, args, self)
        self._count += 1
        heapq.heappush(self._heap, (when_us, self._count, timer))
        return timer

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._heap, (math.ceil(when * 1e6 - _EPSILON_US), self._count, timer))
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """One turn of asyncio's loop. At speed max, many turns that need no look outside are taken before it.

        Nothing changes by that but the time it takes: timers of one instant run in the order asked, then
        whatever they have called for, and only then does time go on.
        """
        if self._speed == MAX_SPEED and not self._debug:
            ready, heap = self._inner_ready, self._heap
            for _ in range(_INNER_TURNS):
                if ready:
                    self._run_ready()
                elif heap:
                    self._run_next_instant()
                else:
                    break
                if self._stopping:
                    return
        super()._run_once()  # type: ignore[misc]

    def _run_ready(self) -> None:
        """What is ready, and behind it what is due at this very instant; what those call for, next time."""
        ready, heap = self._inner_ready, self._heap
        while heap and heap[0][0] <= self._base_us:
            ready.append(heapq.heappop(heap)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _run_next_instant(self) -> None:
        heap = self._heap
        when_us, _, timer = heapq.heappop(heap)
        if timer._cancelled:
            return
        now_us = self._base_us
        if when_us > now_us:
            now_us = self._base_us = when_us
        if not heap or heap[0][0] > now_us:  # alone in its instant, as nearly all are
            timer._run()
            return
        due: deque[Any] = deque((timer,))
        while heap and heap[0][0] <= now_us:
            due.append(heapq.heappop(heap)[2])
        try:
            while due:
                timer = due.popleft()
                if not timer._cancelled:
                    timer._run()
        finally:
            self._inner_ready.extend(due)  # nothing, unless the program is being ended

    def release_due(self, *, idle: bool) -> float | None:
        """Hand timers that are due to the loop; answer how many real seconds it may wait (None: forever).

        `idle` says that nothing is ready to run now; under MAX only then does time jump.
        """
        heap = self._heap
        while heap and heap[0][2].cancelled():
            heapq.heappop(heap)
        if idle and heap and self._speed == MAX_SPEED:
            self._base_us = max(self._base_us, heap[0][0])
        self._is_held = False
        now_us = self.now_us()
        self._is_held = bool(heap) and heap[0][0] <= now_us
        while heap and heap[0][0] <= now_us:
            timer = heapq.heappop(heap)[2]
            if not timer.cancelled():
                self._inner_ready.append(timer)
        if not idle or self._inner_ready:
            return 0
        if not heap:
            return None
        return max(0.0, (heap[0][0] - now_us) / 1e6 / self._speed)

    def skips_sockets(self) -> bool:
        """Under MAX only signals can wake the loop from outside: looking now and then is enough."""
        self._turns += 1
        return self._speed == MAX_SPEED and self._turns % 64 != 0

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        self._refuse_foreign("a thread")
        return super().run_in_executor(executor, func, *args)

    def _add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        own_pipe = cast(Any, self)._ssock
        if own_pipe is not None and fd != own_pipe.fileno():
            self._refuse_foreign("a socket")
        return cast(Any, super())._add_reader(fd, callback, *args)

    def _add_writer(self, fd: Any, callback: Any, *args: Any) -> Any:
        self._refuse_foreign("a socket")
        return cast(Any, super())._add_writer(fd, callback, *args)

    def _refuse_foreign(self, what: str) -> None:
        if self._speed == MAX_SPEED:
            raise MisuseError(
                f"{what} cannot be waited for at speed max, where time jumps ahead of the outside "
                "world: run at a finite speed (for example --speed 60)"
            )


def run(main: Coroutine[Any, Any, _T], *, speed: float = 1.0) -> _T:
    """Run a coroutine to its end on a fresh `EmulatorLoop`, as asyncio.run does."""
    with asyncio.Runner(loop_factory=lambda: EmulatorLoop(speed)) as runner:
        return runner.run(main)
