"""What carries WAN messages, as one small interface: `memory:` (virtual time) and MQTT implement it.

A link is a client of a broker with a fixed name, so that the broker keeps its subscriptions and queued
messages while it is away (MQTT persistent session). Delivery is QoS 1: at least once, in order while the link
holds. A link never stores: what is published while it is down is dropped, because the ends keep outboxes of
their own and say everything again at `on_up`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["BackOff", "WanLink", "WanListener", "Will", "topic_matches"]

FIRST_WAIT_US: Final = 1_000_000
LONGEST_WAIT_US: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker publishes, retained, when the link breaks without a good-bye."""

    topic: str
    payload: bytes


class WanListener(Protocol):
    """Who hears a link. Called from the event loop; must not block."""

    def on_message(self, topic: str, payload: bytes) -> None: ...
    def on_up(self) -> None:
        """Connected, or connected again, and subscribed."""

    def on_down(self, reason: str) -> None:
        """Lost; the link tries again by itself until it is closed."""


class WanLink(Protocol):
    """One client of a broker."""

    @property
    def is_up(self) -> bool: ...
    def attach(self, listener: WanListener) -> None:
        """Before `connect`."""

    def subscribe(self, topic_filter: str) -> None:
        """At QoS 1; remembered, and asked for again at each connection."""

    def unsubscribe(self, topic_filter: str) -> None:
        """Also what a former life of the client subscribed to, which the broker may remember."""

    async def connect(self, will: Will | None = None) -> None:
        """Returns when the first connection stands.

        Raises LostError (broker not reachable) or InputError (settings). Later losses it repairs itself.
        """

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """At QoS 1, in the order called; dropped while the link is down."""

    async def close(self) -> None:
        """Say good-bye (the will is not published) and stop. Closing twice is allowed."""


def topic_matches(topic_filter: str, topic: str) -> bool:
    """Source: MQTT 3.1.1, 4.7.1 (`+` one level, `#` all that follows and the parent)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(levels) or part not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


class BackOff:
    """How long to wait before trying again: doubling, each time shortened at random by up to a half.

    The jitter keeps a thousand hubs from knocking at a restarted broker in step.
    """

    __slots__ = ("_first_us", "_longest_us", "_random", "_wait_us")

    def __init__(
        self, rng: random.Random, *, first_us: int = FIRST_WAIT_US, longest_us: int = LONGEST_WAIT_US
    ) -> None:
        self._random = rng
        self._first_us = first_us
        self._longest_us = longest_us
        self._wait_us = first_us

    def next_us(self) -> int:
        wait_us = self._wait_us
        self._wait_us = min(2 * wait_us, self._longest_us)
        return wait_us - self._random.randrange(wait_us // 2 + 1)

    def reset(self) -> None:
        self._wait_us = self._first_us
