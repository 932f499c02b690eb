"""Homes whose captures go through tshark when they are closed: nothing malformed, nothing left sealed.

homes = JudgedHomes(make, tmp_path)      in the place of the factory `smets1_home`
home = await homes(seed=3)
meter, hub = shorts(home, "esme", "chf")
await homes.tell(Step(..., source=meter))    closes it: what tshark reads, and that it comes in this order
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from tshark import TSHARK, Row, Step, faults, follow, read_capture, run_tshark

from smets1.tools.home import Home

__all__ = ["JudgedHomes", "shorts"]


def shorts(home: Home, *names: str) -> list[int]:
    """Short addresses of its devices now, in that order."""
    networks = [getattr(home, name).port.network for name in names]
    return [network.short_address for network in networks]


class JudgedHomes:
    """In the place of the factory `smets1_home`; one capture a home, read once."""

    def __init__(self, make: Callable[..., Awaitable[Home]], folder: Path) -> None:
        self._make = make
        self._folder = folder
        self._opened: list[tuple[Home, Path]] = []
        self._judged: dict[int, list[Row]] = {}

    async def __call__(self, **options: Any) -> Home:
        path = self._folder / f"judged-{len(self._opened)}.pcapng"
        if "capture" in options:  # the test's own affair
            return await self._make(**options)
        home = await self._make(capture=path, **options)
        self._opened.append((home, path))
        return home

    async def judge(self, number: int = -1) -> list[Row]:
        """Close one home; what tshark reads of it, without fault."""
        number %= len(self._opened)
        if number not in self._judged:
            home, path = self._opened[number]
            keys = home.keys.lines()
            await home.close()
            self._judged[number] = read_capture(path, keys)
        rows = self._judged[number]
        found = faults(rows)
        assert not found, found[:20]
        return rows

    async def tell(self, *steps: Step, never: Iterable[Step] = ()) -> None:
        """Close the last home: its air is without fault, and says these steps in this order, and never those."""
        if TSHARK is None:
            await self._opened[-1][0].close()
        else:
            rows = await self.judge()
            follow(rows, *steps)
            strayed = [row for row in rows for step in never if step.fits(row)]
            assert not strayed, strayed[:5]

    async def run_tshark(self, *options: str) -> list[str]:
        """Lines of what else tshark says of the last home, judged."""
        await self.judge()
        home, path = self._opened[-1]
        return list(run_tshark(path, home.keys.lines(), *options))

    async def judge_all(self) -> None:
        for number in range(len(self._opened) if TSHARK else 0):
            await self.judge(number)
