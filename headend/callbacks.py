"""POSTs responses and alerts to their users' own addresses, until each is taken.

What is undelivered is in the store, so nothing is lost when the head end is killed, and a user that
answers anything but 2xx is asked again with growing pauses. A response that its user refuses holds up
no other: DCC Boxed's nodes refuse more than 100 kB for good. One user's broken address delays no other
user, and nobody is sent more than so many a second. A response may arrive twice where the connection
breaks after the user took it: its ResponseID tells. Needs sockets, so it is not for runs at speed max.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

import aiohttp

from smets1.errors import LostError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.clock import EmulatorLoop
from smets1.headend.head_end import HeadEnd
from smets1.headend.store import StoredResponse

__all__ = ["CallbackPoster"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
_PATIENCE_S: Final = 30.0
_MANY: Final = 5
"""So many refusals in a row, and it is not the responses that are at fault but the user's server."""
_BATCH: Final = 100
_LOOK_EVERY_S: Final = 1.0
_MOST_A_SECOND: Final = 100.0  # to one user


@unique
class _Verdict(Enum):
    TAKEN = "taken"
    REFUSED = "refused"  # this one; the next may be taken
    UNREACHABLE = "unreachable"


@dataclass(slots=True)
class _Line:
    """How things stand with one user."""

    pause_s: float  # before the next attempt, where nothing is taken
    next_s: float = 0.0  # no POST before
    refused: dict[int, tuple[float, float]] = field(
        default_factory=dict
    )  # number: when again, pause after that
    refusals: int = 0  # in a row


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
        timeout = aiohttp.ClientTimeout(total=_real_s(_PATIENCE_S))
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for user in users:
                assert user.callback_url is not None
                group.create_task(self._serve(session, user.eui64, user.callback_url))

    def _on_response(self, response: StoredResponse) -> None:
        news = self._news.get(response.user)
        if news is not None:
            news.set()

    async def _serve(self, session: aiohttp.ClientSession, user: Eui64, url: str) -> None:
        """One user's responses for ever."""
        line = _Line(self._first_pause_s)
        while True:
            self._news[user].clear()
            try:
                is_more = await self._post_due(session, user, url, line)
            except LostError as error:  # what could not be read or marked now is undelivered still
                _log.error("responses to %s: %s", format_eui64(user), error)
                await asyncio.sleep(_real_s(_LOOK_EVERY_S))
                continue
            if not is_more:
                await self._wait_for_news(user, line)

    async def _post_due(self, session: aiohttp.ClientSession, user: Eui64, url: str, line: _Line) -> bool:
        """What waits, first what was never refused; whether to look again at once. Raises LostError."""
        loop, sharing = asyncio.get_running_loop(), self._head_end.sharing
        limit = _BATCH + len(line.refused)
        found = self._head_end.store.undelivered(user=user, limit=limit) if sharing.posts_for(user) else []
        for response in sorted(found, key=lambda response: response.number in line.refused):
            at_s, pause_s = line.refused.get(response.number, (0.0, self._first_pause_s))
            if at_s > loop.time():
                continue
            await asyncio.sleep(max(line.next_s - loop.time(), 0))
            line.next_s = loop.time() + _real_s(self._spacing_s)
            match await self._post(session, user, url, response):
                case _Verdict.TAKEN:
                    self._head_end.store.mark_delivered(response.number)
                    line.refused.pop(response.number, None)
                    line.pause_s, line.refusals = self._first_pause_s, 0
                    continue
                case _Verdict.REFUSED:
                    next_pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    line.refused[response.number] = loop.time() + _real_s(pause_s), next_pause_s
                    line.refusals += 1
            if line.refusals == 0 or line.refusals >= _MANY:
                await asyncio.sleep(_real_s(line.pause_s))
                line.pause_s, line.refusals = min(2 * line.pause_s, _LONGEST_PAUSE_S), 0
                return True
            if not sharing.posts_for(user):
                return True  # another worker goes on with it
        return len(found) == limit

    async def _wait_for_news(self, user: Eui64, line: _Line) -> None:
        """Until there is something new, or something refused is due again."""
        loop = asyncio.get_running_loop()
        waits_s = [max(at_s - loop.time(), 0) for at_s, _ in line.refused.values()]
        if self._head_end.sharing.is_shared:
            # Of what other workers answer nobody tells us, nor of the end of one that POSTed: we look.
            waits_s.append(_real_s(_LOOK_EVERY_S))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(waits_s, default=None)):
                await self._news[user].wait()

    @staticmethod
    async def _post(
        session: aiohttp.ClientSession, user: Eui64, url: str, response: StoredResponse
    ) -> _Verdict:
        headers = {"Content-Type": "application/xml"}
        try:
            async with session.post(url, data=response.xml, headers=headers) as answer:
                if answer.status // 100 == 2:
                    return _Verdict.TAKEN
                verdict, reason = _Verdict.REFUSED, f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            verdict, reason = _Verdict.UNREACHABLE, str(error) or type(error).__name__
        _log.warning("response %d to %s not taken: %s", response.number, format_eui64(user), reason)
        return verdict


def _real_s(seconds: float) -> float:
    """Of the loop's seconds, as many as are so many real ones: the users do not live in our time."""
    loop = asyncio.get_running_loop()
    return seconds * loop.speed if isinstance(loop, EmulatorLoop) else seconds
