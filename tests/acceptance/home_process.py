"""A home as its user runs it: `smets1 run` in a process of its own, spoken to by HTTP, killed or stopped.

Waits are for conditions, in real time; their time-outs only end a test that has failed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

SRC = Path(__file__).resolve().parents[2] / "src"
PATIENCE_S = 60.0


def environment(**more: str) -> dict[str, str]:
    """What a child process needs to find this tree's package, installed or not."""
    return {**os.environ, "PYTHONPATH": str(SRC), **more}


def smets1(*words: str | Path, timeout_s: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
    """One command of the command line, run to its end; `more` goes into its environment."""
    return subprocess.run(
        [sys.executable, "-m", "smets1.tools.cli", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=timeout_s, env=environment(**more),
    )  # fmt: skip


def until(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Look now and then, until it is so."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.02)


class HomeProcess:
    """`with HomeProcess(home_toml, "--speed", "60") as home:` then `home.post(...)`. Listens on a free port."""

    def __init__(self, *words: str | Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._listening: queue.Queue[str | None] = queue.Queue()
        command = [sys.executable, "-m", "smets1.tools.cli", "run", *map(str, words)]
        self.process = subprocess.Popen(
            [*command, "--http", "127.0.0.1:0", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_events, args=(self.process.stdout,)),
            threading.Thread(target=self._read_errors, args=(self.process.stderr,)),
        ]
        for reader in self._readers:
            reader.start()
        url = self._listening.get(timeout=PATIENCE_S)
        if url is None:
            self.kill()
            raise AssertionError(f"the home ended before it listened: {self.errors}")
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read_events(self, stream: IO[str]) -> None:
        for line in stream:
            event = json.loads(line)
            self.events.append(event)
            if "listening" in event:
                self._listening.put(event["listening"])
        self._listening.put(None)

    def _read_errors(self, stream: IO[str]) -> None:
        self.errors.extend(stream)

    # --- its end -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9, as a power cut."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ctrl-C; its exit code."""
        self._end(signal.SIGINT)
        return self.process.returncode

    def _end(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=PATIENCE_S)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    # --- HTTP --------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def post(self, path: str, octets: bytes) -> tuple[int, bytes]:
        """HTTP status and body."""
        headers = {"Content-Type": "application/xml"}
        request = urllib.request.Request(self.url + path, data=octets, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def devices(self) -> dict[str, dict[str, Any]]:
        """What `GET /api/v1/home` says of each device, by EUI-64."""
        return {device["eui64"]: device for device in self.get("/api/v1/home")["devices"]}

    def wait_keyed(self) -> None:
        """All devices are on the network with an established key."""
        until(lambda: all(device["is_keyed"] for device in self.devices().values()), "all devices keyed")

    def final_responses(self) -> list[dict[str, Any]]:
        responses: Sequence[dict[str, Any]] = self.get("/api/v1/responses")["responses"]
        return [each for each in responses if each["request"] is not None]


class Mosquitto:
    """The real broker on a free port of loopback."""

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._program, self._config = program, folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n")
        self.start()

    def start(self) -> None:
        """Also again, on the same port, after `close`."""
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens, "mosquitto listens", 10)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
