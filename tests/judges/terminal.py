"""A terminal for tests: a real pty with a program in it, and pyte, which draws what the program writes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
PATIENCE_S = 60.0  # of real time; only ends a test that has failed


class Terminal:
    """The program is the leader of the terminal's session, so that Ctrl-C and Ctrl-Z reach it as a person's do."""

    def __init__(self, command: str, *, columns: int = 100, lines: int = 30, **environment: str) -> None:
        """`command`: of sh; `$smets1` in it is this tree's command."""
        pyte = pytest.importorskip("pyte")
        self.screen: Any = pyte.Screen(columns, lines)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.written = b""
        self._master, self._slave = pty.openpty()
        self.resize(columns, lines)
        self.settings_before = self.settings()
        inherited = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec <"$0" >"$0" 2>&1; {command}', os.ttyname(self._slave)],
            start_new_session=True,
            env={
                **inherited,
                "PYTHONPATH": str(SRC),
                "TERM": "xterm-256color",
                "smets1": f"{sys.executable} -m smets1.tools.cli",
                **environment,
            },
        )

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def look(self, wait_s: float = 0.05) -> str:
        """Draw what was written up to now; all lines of the screen."""
        while select.select([self._master], [], [], wait_s)[0]:
            octets = os.read(self._master, 65_536)
            self.written += octets
            self._stream.feed(octets)
            wait_s = 0
        return "\n".join(row.rstrip() for row in self.screen.display)

    def sees(self, *texts: str) -> str:
        """Look until all of them are on the screen."""
        end = time.monotonic() + PATIENCE_S
        while True:
            screen = self.look()
            if all(text in screen for text in texts):
                return screen
            assert time.monotonic() < end, f"{texts} not on\n{screen}"
            assert self.process.poll() is None or self.look() != screen, f"ended, {texts} not on\n{screen}"

    def wrote(self, text: str) -> None:
        """Look until it has been written, even if something else stands there by now."""
        end = time.monotonic() + PATIENCE_S
        while text.encode() not in self.written:
            screen = self.look()
            assert time.monotonic() < end, f"{text} was not written\n{screen}"

    def ended(self) -> int:
        """The exit code; reads on meanwhile, as a program whose terminal is full would wait."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still there\n{self.look()}"
            self.look()
        self.look()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)
