"""Several head-end workers on one store: which requests, schedules and changes are whose.

The hubs are hashed into as many shares as there are workers (`worker_of`). Worker n holds share n while it
lives; when it ends, however it ends, another one takes its share after `GRACE_S`, and gives it back when
worker n is there again. Who holds what is in the database (`leases`), so a share has one holder at a
time. Whoever takes a share begins with its unfinished requests: they ask their hubs by the same ids as
before, and the DCO for the same codes, so nothing is executed twice.

Any worker takes any request at its door; one for a hub of another's is accepted into the store, where its
holder finds it within `EVERY_S`. What is kept in memory of the store's books (inventory, schedules) is read
anew when another worker has changed it: each change raises a count that is looked at before every request.

The store must be PostgreSQL: SQLite has one writer at a time. The DCO's keys must be where every worker
reaches them (`sql_nvm`). A WAN end is each worker's own. One worker alone does none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from smets1.errors import LostError, MisuseError
from smets1.eui64 import Eui64
from smets1.firmware.wan.head_end import worker_of
from smets1.headend.inventory import Inventory
from smets1.headend.leases import Leases
from smets1.headend.schedules import ScheduleBook
from smets1.headend.store import Store, StoredRequest, StoredResponse

__all__ = ["EVERY_S", "GRACE_S", "WorkSharing"]

_log = logging.getLogger(__name__)

EVERY_S: Final = 0.1
GRACE_S: Final = 2.0
"""How long a share may be nobody's: a worker that is started again at once keeps its hubs."""
_OVERLAP: Final = 1_000
"""Rows that are looked at again: a later number may be committed before an earlier one."""


class WorkSharing:
    """`take` is called once for each request that another worker, or a former life, has left to us."""

    def __init__(
        self,
        store: Store,
        inventory: Inventory,
        schedules: ScheduleBook,
        *,
        worker: int,
        workers: int,
        take: Callable[[StoredRequest], None],
        grace_s: float = GRACE_S,
    ) -> None:
        """Raises MisuseError where there is no such worker."""
        if not 0 <= worker < workers:
            raise MisuseError(f"worker {worker} of {workers}: they are numbered from 0")
        self._store = store
        self._inventory = inventory
        self._schedules = schedules
        self._worker = worker
        self._workers = workers
        self._take = take
        self._grace_s = grace_s
        self._leases = Leases(store)
        self._is_announced = False
        self._held = set() if workers > 1 else {0}  # shares; membership and sorted only
        self._free_since_s: dict[int, float] = {}
        self._taken: dict[str, Eui64] = {}  # keys that are in hand here, and their targets
        self._seen = 0  # highest row number
        self._books = store.book_count()
        self.on_hubs: Callable[[Sequence[Eui64]], None] = lambda _hubs: None
        """Told which hubs are ours, whenever that has changed. Only where there are other workers."""
        self.on_change: Callable[[], None] = lambda: None
        """Shares have come or gone: before one is given back, and after one is taken."""

    @property
    def is_shared(self) -> bool:
        return self._workers > 1

    @property
    def shares(self) -> tuple[int, ...]:
        """Held here, its own among them unless somebody else still has it."""
        return tuple(sorted(self._held))

    def is_mine(self, device: Eui64) -> bool:
        """Whether this worker serves a device's hub. One of no known hub goes by its own EUI-64."""
        if not self.is_shared:
            return True
        known = self._inventory.find(device)
        hub = known.hub if known is not None and known.hub else device
        return worker_of(hub, self._workers) in self._held

    def claim(self, stored: StoredRequest) -> None:
        """It is in hand here: it is not to be taken a second time."""
        if self.is_shared:
            self._taken[stored.key] = stored.target

    def release(self, key: str) -> None:
        """It has its response, durably."""
        self._taken.pop(key, None)

    def drop_foreign(self) -> set[str]:
        """What was in hand here and is another worker's now; it is not in hand any more."""
        foreign = {key for key, target in self._taken.items() if not self.is_mine(target)}
        for key in foreign:
            del self._taken[key]
        return foreign

    def posts_for(self, user: Eui64) -> bool:
        """Whether this worker POSTs a user's responses, its own and the others'."""
        return worker_of(user, self._workers) in self._held

    # --- who holds what ---

    def start(self) -> None:
        """Take what is ours. Raises LostError, InputError (the store cannot be shared)."""
        if self.is_shared:
            self._settle()
        self.refresh()
        self.take_up()

    async def run(self) -> None:
        """Look again and again, where there are others. Raises LostError: then nothing is held any more."""
        try:
            while self.is_shared:
                await asyncio.sleep(EVERY_S)
                self._settle()
                self.refresh()
                self.take_up()
        except LostError:
            self._held.clear()
            self._changed()
            raise

    def stop(self) -> None:
        """Hand everything over, before the end."""
        if not self.is_shared:
            return
        with contextlib.suppress(LostError):
            for share in self.shares:
                self._leave(share)

    def _settle(self) -> None:
        if not self._is_announced:
            self._is_announced = self._leases.announce(self._worker)
            if not self._is_announced:
                return  # a former life of ours has not ended yet
        living, taken = self._leases.look()
        for share in self.shares:
            if share != self._worker and share in living:
                self._leave(share)
        for share in range(self._workers):
            if share not in taken and self._may_take(share, living) and self._leases.take(share):
                self._enter(share)

    def _may_take(self, share: int, living: set[int]) -> bool:
        if share == self._worker:
            return True
        if share in living:
            self._free_since_s.pop(share, None)
            return False
        now_s = asyncio.get_running_loop().time()
        return now_s - self._free_since_s.setdefault(share, now_s) >= self._grace_s

    def _enter(self, share: int) -> None:
        self._free_since_s.pop(share, None)
        if share != self._worker:
            _log.warning("worker %d takes the hubs of worker %d, which is gone", self._worker, share)
        self._held.add(share)
        self._seen = 0  # what waits for these hubs may be as old as it likes
        self._read_books()
        self._changed()

    def _leave(self, share: int) -> None:
        _log.info("worker %d gives share %d back", self._worker, share)
        self._held.discard(share)
        self._changed()
        self._store.flush()
        self._leases.give(share)  # last: from here on another one works for these hubs

    def _changed(self) -> None:
        self.on_change()
        self._tell_hubs()

    def _tell_hubs(self) -> None:
        hubs = self._inventory.hubs()
        self.on_hubs([hub for hub in hubs if worker_of(hub, self._workers) in self._held])

    # --- the store's books and requests ---

    def refresh(self) -> None:
        """Read anew what others have changed. Raises LostError."""
        if self.is_shared and self._store.book_count() != self._books:
            self._read_books()
            self._tell_hubs()

    def _read_books(self) -> None:
        self._books = self._store.book_count()
        self._inventory.reload()
        self._schedules.reload()

    def take_up(self) -> None:
        """Everything unfinished that is ours and not in hand. Raises LostError."""
        for number, key, target in self._store.unfinished_after(max(self._seen - _OVERLAP, 0)):
            self._seen = max(self._seen, number)
            if key not in self._taken and self.is_mine(target):
                stored = self._store.find_request(key)
                if stored is not None:
                    self.claim(stored)
                    self._take(stored)

    async def wait_for_response(self, key: str, wait_s: float) -> StoredResponse | None:
        """To a request of another worker. Raises LostError."""
        response: StoredResponse | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while (response := self._store.response_to(key)) is None:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(EVERY_S)
        return response
