"""A foreign host in a node process: lines of JSON both ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


class Host:
    """The node process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[dict[str, Any]] = []

    async def wait(
        self, event: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """The next event of that name that fits. Fails where the host ends or reports a fatal error."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while True:
                line = await self.process.stdout.readline()
                assert line, f"the host has ended; it said {self.seen}"
                if not line.startswith(b"{"):
                    continue  # its own log
                told = json.loads(line)
                self.seen.append(told)
                assert told["event"] not in ("fatal", "error"), self.seen
                if told["event"] == event and fits(told):
                    return told

    def ask(self, **fields: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(fields).encode() + b"\n")


@asynccontextmanager
async def node_process(script: Path, options: dict[str, Any]) -> AsyncIterator[Host]:
    """`script` with its options as one JSON argument; the end of its input stops it."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(script),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Host(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
