"""One seed, a tree of streams: all randomness of a run comes from here, and repeats with it.

A stream is named by a path, such as `("device", "00-DB-...", "mac")`. Streams are independent: one that
draws more does not move another, so adding a device leaves all other devices' octets as they were.
A rig with production keys takes those from the operating system instead; nothing else changes.
"""

from __future__ import annotations

import hashlib
import random
from typing import Self

__all__ = ["SeedTree"]


class SeedTree:
    """The root, or (by `child`) a branch, of the tree. `seed` is any int."""

    __slots__ = ("_seed",)

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @property
    def seed(self) -> int:
        return self._seed

    def random(self, *path: str) -> random.Random:
        """A fresh generator; the same path gives the same numbers again from the start."""
        return random.Random(int.from_bytes(self._digest(b"random", path), "big"))

    def octets(self, count: int, *path: str) -> bytes:
        """`count` octets; the same path gives the same octets (a longer call only adds at the end)."""
        root = self._digest(b"octets", path)
        blocks = (
            hashlib.sha256(root + index.to_bytes(4, "big")).digest() for index in range((count + 31) // 32)
        )
        return b"".join(blocks)[:count]

    def child(self, *path: str) -> Self:
        """The branch under a path; it shares no stream with its parent."""
        return type(self)(int.from_bytes(self._digest(b"child", path), "big"))

    def _digest(self, kind: bytes, path: tuple[str, ...]) -> bytes:
        # Every part goes in with its length, so that ("ab", "c") and ("a", "bc") differ.
        parts = [kind, str(self._seed).encode(), *(part.encode() for part in path)]
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
