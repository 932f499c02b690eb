"""Several head-end workers on one store: which requests, schedules and changes are whose.

A worker serves the hubs that `worker_of` gives it, and no others. Any worker takes any request at its door;
one for another's hub is accepted into the store, where its worker finds it within `EVERY_S`. What is kept in
memory of the store's books (inventory, schedules) is read anew when another worker has changed it: each
change raises a count that is looked at before every request.

The store must be PostgreSQL: SQLite has one writer at a time. Each worker has a WAN end, and a DCO's key
store, of its own; a hub stays with its worker as long as their number stays. One worker alone does none of
this.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from smets1.errors import MisuseError
from smets1.eui64 import Eui64
from smets1.firmware.wan.head_end import worker_of
from smets1.headend.inventory import Inventory
from smets1.headend.schedules import ScheduleBook
from smets1.headend.store import Store, StoredRequest, StoredResponse

__all__ = ["EVERY_S", "WorkSharing"]

EVERY_S: Final = 0.1
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
        self._taken: set[str] = set()  # keys that are in hand here; membership only
        self._seen = 0  # highest row number
        self._books = store.book_count()

    @property
    def is_shared(self) -> bool:
        return self._workers > 1

    def is_mine(self, device: Eui64) -> bool:
        """Whether this worker serves a device's hub. One of no known hub goes by its own EUI-64."""
        if not self.is_shared:
            return True
        known = self._inventory.find(device)
        hub = known.hub if known is not None and known.hub else device
        return worker_of(hub, self._workers) == self._worker

    def claim(self, stored: StoredRequest) -> None:
        """It is in hand here: it is not to be taken a second time."""
        if self.is_shared:
            self._taken.add(stored.key)

    def release(self, key: str) -> None:
        """It has its response, durably."""
        self._taken.discard(key)

    def posts_for(self, user: Eui64) -> bool:
        """Whether this worker POSTs a user's responses, its own and the others'."""
        return worker_of(user, self._workers) == self._worker

    def refresh(self) -> None:
        """Read anew what others have changed. Raises LostError."""
        if self.is_shared and (count := self._store.book_count()) != self._books:
            self._books = count
            self._inventory.reload()
            self._schedules.reload()

    def take_up(self) -> None:
        """Everything unfinished that is ours and not in hand. Raises LostError."""
        for number, stored in self._store.unfinished_after(max(self._seen - _OVERLAP, 0)):
            self._seen = max(self._seen, number)
            if stored.key not in self._taken and self.is_mine(stored.target):
                self.claim(stored)
                self._take(stored)

    async def run(self) -> None:
        """Look again and again, where there are others. Raises LostError."""
        while self.is_shared:
            await asyncio.sleep(EVERY_S)
            self.refresh()
            self.take_up()

    async def wait_for_response(self, key: str, wait_s: float) -> StoredResponse | None:
        """To a request of another worker. Raises LostError."""
        response: StoredResponse | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while (response := self._store.response_to(key)) is None:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(EVERY_S)
        return response
