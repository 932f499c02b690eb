"""Asyncio tasks of one device that run beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["is_cancelled", "together"]


def is_cancelled() -> bool:
    """Whether the present task is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all; the first that fails ends the others, and its error is raised once they have ended.

    Unlike asyncio's TaskGroup, one that is cancelled ends as cancelled, even where its tasks trip over what
    has been closed meanwhile; and one that fails leaves no request to cancel behind, as that of Python 3.11
    does: who perseveres would take it for the order to end.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        failed = next((task for task in tasks if _has_failed(task)), None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failed is not None:
        await failed


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
