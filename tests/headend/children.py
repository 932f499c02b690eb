"""Processes that a test starts and kills, and what asks them over HTTP however often they die."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import aiohttp
from lxml import etree
from tests.headend.conftest import code_of

_ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Ours, and the repository on the path: pytest's own command, unlike `python -m pytest`, does not put it there."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(_ROOT)])}


class Process:
    """One of our children, and its next lives."""

    def __init__(self, child: str, *arguments: str) -> None:
        self._command = [sys.executable, str(Path(__file__).with_name(child)), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, env=environment())

    def kill(self) -> None:
        if self._process is not None:
            assert self._process.poll() is None, "it has died by itself"
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


async def post(session: aiohttp.ClientSession, xml: bytes, *urls: str) -> str:
    """To one head end after another, until one says that it has it: at once (I99), or since before a kill (E40)."""
    for url in cycle(urls):  # for ever
        try:
            async with session.post(f"{url}/serviceS", data=xml) as answer:
                body = await answer.read()
                if answer.status == 200:
                    return code_of(etree.fromstring(body))
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("give a url")
