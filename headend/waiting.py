"""Who waits at the front door for a final response, and hears it first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from smets1.headend.sharing import WorkSharing
from smets1.headend.store import Store, StoredResponse

__all__ = ["Waiters"]


class _ElsewhereError(Exception):
    """The request that is waited for has gone to another worker."""


class Waiters:
    """By the request's key. `announce` is told of a response that its waiter did not take."""

    def __init__(
        self, store: Store, sharing: WorkSharing, announce: Callable[[StoredResponse], None]
    ) -> None:
        self._store = store
        self._sharing = sharing
        self._announce = announce
        self._waiters: dict[str, list[asyncio.Future[StoredResponse]]] = {}

    def expect(self, key: str) -> asyncio.Future[StoredResponse]:
        """Before the work begins, for `wait` afterwards."""
        waiter: asyncio.Future[StoredResponse] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(key, []).append(waiter)
        return waiter

    def tell(self, key: str, response: StoredResponse) -> bool:
        """Whether anybody has waited."""
        waiters = [waiter for waiter in self._waiters.pop(key, []) if not waiter.done()]
        for waiter in waiters:
            waiter.set_result(response)
        return bool(waiters)

    def send_elsewhere(self, keys: Iterable[str]) -> None:
        """Another worker carries these out: its response is found in the store."""
        for key in keys:
            for waiter in self._waiters.pop(key, []):
                if not waiter.done():
                    waiter.set_exception(_ElsewhereError())

    def close(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.cancel()

    async def wait(
        self, key: str, waiter: asyncio.Future[StoredResponse], wait_s: float
    ) -> StoredResponse | None:
        """The response where it comes in time; it then counts as delivered."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        response: StoredResponse | None
        try:
            response = await asyncio.wait_for(asyncio.shield(waiter), wait_s)
        except TimeoutError:
            if not waiter.done():
                waiter.cancel()
                return None
            response = waiter.result()  # it came in the same turn of the loop
        except _ElsewhereError:
            return await self.wait_for_another(key, max(until_s - loop.time(), 0))
        except asyncio.CancelledError:
            waiter.cancel()
            if (lost := self._store.response_to(key)) is not None:
                self._announce(lost)  # the caller went away with the answer already on its way to it
            raise
        self._store.mark_delivered(response.number)
        return response

    async def wait_for_another(self, key: str, wait_s: float) -> StoredResponse | None:
        """As `wait`, of a request that another worker carries out."""
        response = await self._sharing.wait_for_response(key, wait_s)
        if response is not None:
            self._store.mark_delivered(response.number)
        return response
