"""POSTs responses and alerts to their users' own addresses, until each is taken.

What is undelivered is in the store, so nothing is lost when the head end is killed, and a user that
answers anything but 2xx is asked again with growing pauses. One user's broken address delays no
other user, and nobody is sent more than so many a second. A response may arrive twice where the
connection breaks after the user took it: its ResponseID tells. Needs sockets, so it is not for runs
at speed max.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import aiohttp

from smets1.eui64 import Eui64, format_eui64
from smets1.headend.head_end import HeadEnd
from smets1.headend.store import StoredResponse

__all__ = ["CallbackPoster"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_BATCH: Final = 100
_LOOK_EVERY_S: Final = 1.0
_MOST_A_SECOND: Final = 100.0  # to one user


class CallbackPoster:
    """Run `run()` as one task beside the head end; cancel it to stop."""

    def __init__(
        self,
        head_end: HeadEnd,
        *,
        first_pause_s: float = _FIRST_PAUSE_S,
        most_a_second: float = _MOST_A_SECOND,
    ) -> None:
        """`most_a_second`: a user who comes back after a long time is not flooded with what waits."""
        self._head_end = head_end
        self._first_pause_s = first_pause_s
        self._spacing_s = 1 / most_a_second
        self._news: dict[Eui64, asyncio.Event] = {}

    async def run(self) -> None:
        users = [user for user in self._head_end.users.all() if user.callback_url is not None]
        self._news = {user.eui64: asyncio.Event() for user in users}
        self._head_end.on_response = self._on_response
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as group:
            for user in users:
                assert user.callback_url is not None
                group.create_task(self._serve(session, user.eui64, user.callback_url))

    def _on_response(self, response: StoredResponse) -> None:
        news = self._news.get(response.user)
        if news is not None:
            news.set()

    async def _serve(self, session: aiohttp.ClientSession, user: Eui64, url: str) -> None:
        """One user's responses, in order."""
        store, sharing = self._head_end.store, self._head_end.sharing
        pause_s = self._first_pause_s
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            self._news[user].clear()
            waiting = store.undelivered(user=user, limit=_BATCH) if sharing.posts_for(user) else []
            if not waiting:
                # Of what other workers answer nobody tells us, nor of the end of one that POSTed: we look.
                longest_s = _LOOK_EVERY_S if sharing.is_shared else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(longest_s):
                        await self._news[user].wait()
                continue
            for response in waiting:
                await asyncio.sleep(max(next_s - loop.time(), 0))
                next_s = loop.time() + self._spacing_s
                while not await self._post(session, user, url, response):
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    if not sharing.posts_for(user):
                        break
                else:
                    pause_s = self._first_pause_s
                    store.mark_delivered(response.number)
                    continue
                break  # another worker goes on with it

    @staticmethod
    async def _post(session: aiohttp.ClientSession, user: Eui64, url: str, response: StoredResponse) -> bool:
        headers = {"Content-Type": "application/xml"}
        try:
            async with session.post(url, data=response.xml, headers=headers) as answer:
                if answer.status // 100 == 2:
                    return True
                reason = f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
        _log.warning("response %d to %s not taken: %s", response.number, format_eui64(user), reason)
        return False
