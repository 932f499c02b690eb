"""ASH as a value machine: numbered EZSP frames over a line that loses and garbles octets, either end of it.

Up to three frames are under way; a gap is answered with NAK, and all from the gap on is sent again. A stick
whose frames are never acknowledged gives up, says ERROR and waits to be reset; so does a host, which then
resets it. Source: Silicon Labs UG101, 3, 5 and 7. Left out: a host's asking for no callbacks (nRdy).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.errors import MisuseError
from smets1.hardware.ezsp.ash import (
    ASH_VERSION,
    CANCEL,
    MAX_DATA_OCTETS,
    AshDecoder,
    AshFrame,
    AshType,
    ResetCode,
)

__all__ = ["AshData", "AshDown", "AshLink", "AshReset", "AshRole", "AshUp"]

WINDOW: Final = 3
_NUMBERS: Final = 8
ACK_WAIT_US: Final = 800_000
MAX_TIMEOUTS: Final = 4
RESET_WAIT_US: Final = 2_500_000
_CANCELS: Final = bytes((CANCEL,)) * 32
MAX_QUEUE: Final = 256


@unique
class AshRole(IntEnum):
    STICK = 0
    HOST = 1


@dataclass(frozen=True, slots=True)
class AshData:
    """An EZSP frame has arrived, in order and once."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class AshUp:
    """Host: the stick has reset; frames may be sent."""

    code: int


@dataclass(frozen=True, slots=True)
class AshReset:
    """Stick: the host has asked for a reset. Whoever is above starts anew, then calls `restart`."""


@dataclass(frozen=True, slots=True)
class AshDown:
    """The link has failed. Nothing gets through until the next reset."""

    reason: str


class AshLink:
    """One end. `submit` EZSP frames, `receive` octets, take octets and events."""

    def __init__(self, role: AshRole) -> None:
        self.role = role
        self.is_connected = False
        self.repeat_count = 0
        self._decoder = AshDecoder()
        self._octets = bytearray()
        self._events: list[object] = []
        self._queue: deque[bytes] = deque()
        self._sent: deque[tuple[int, bytes]] = deque()  # frame number, data; not acknowledged yet
        self._next_number = 0
        self._expected = 0
        self._is_rejecting = False
        self._timeouts = 0
        self._failed_code: int | None = None
        self._due_us: int | None = None

    @property
    def bad_count(self) -> int:
        """Frames that could not be read."""
        return self._decoder.bad_count

    @property
    def is_idle(self) -> bool:
        """All that was submitted has been acknowledged."""
        return not self._queue and not self._sent

    # --- from above -------------------------------------------------------------------------------------

    def submit(self, frame: bytes, *, now_us: int) -> None:
        """An EZSP frame to send. Raises MisuseError for one of no or too many octets."""
        if not 1 <= len(frame) <= MAX_DATA_OCTETS:
            raise MisuseError(f"an EZSP frame has 1..{MAX_DATA_OCTETS} octets, not {len(frame)}")
        if self._failed_code is None and len(self._queue) < MAX_QUEUE:
            self._queue.append(bytes(frame))
            self._send_more(now_us)

    def reset(self, *, now_us: int) -> None:
        """Host: have the stick reset; ends in AshUp or AshDown."""
        self._forget()
        self._octets += _CANCELS + AshFrame(kind=AshType.RST).encode()
        self._due_us = now_us + RESET_WAIT_US

    def restart(self, code: ResetCode) -> None:
        """Stick: power is on, or a reset is done; the host is told why."""
        self._forget()
        self.is_connected = True
        data = bytes((ASH_VERSION, code))
        # the octet that cancels keeps what the line held from being the head of our first frame
        self._octets += bytes((CANCEL,)) + AshFrame(kind=AshType.RSTACK, data=data).encode()

    def take_octets(self) -> bytes:
        octets = bytes(self._octets)
        self._octets.clear()
        return octets

    def take_events(self) -> list[object]:
        events = self._events
        self._events = []
        return events

    def next_timer_us(self) -> int | None:
        return self._due_us

    def on_timer(self, *, now_us: int) -> None:
        if self._due_us is None or now_us < self._due_us:
            return
        self._due_us = None
        if not self.is_connected:
            self._fail("the stick does not answer a reset", now_us)
        elif self._sent:
            self._timeouts += 1
            if self._timeouts > MAX_TIMEOUTS:
                self._fail("frames are not acknowledged", now_us)
            else:
                self._repeat(now_us)

    # --- from the line ----------------------------------------------------------------------------------

    def receive(self, octets: bytes, *, now_us: int) -> None:
        """Octets off the line, in portions of any size."""
        for frame in self._decoder.feed(octets):
            if frame is None:
                self._reject()
            elif frame.kind is AshType.RST:
                if self.role is AshRole.STICK:
                    self._forget()
                    self._events.append(AshReset())
            elif frame.kind in (AshType.RSTACK, AshType.ERROR):
                self._on_stick_state(frame, now_us)
            elif self._failed_code is not None:
                self._say_failed()
            elif self.is_connected:
                self._on_acknowledged(frame, now_us)
                if frame.kind is AshType.DATA:
                    self._on_data(frame)
        if self._failed_code is None and self.is_connected:
            self._send_more(now_us)

    def _on_stick_state(self, frame: AshFrame, now_us: int) -> None:
        if self.role is not AshRole.HOST:
            return
        if frame.kind is AshType.ERROR:
            self._fail(f"the stick has failed, code 0x{frame.data[1]:02X}", now_us)
        elif frame.data[0] == ASH_VERSION:
            self._forget()
            self.is_connected = True
            self._events.append(AshUp(frame.data[1]))

    def _on_acknowledged(self, frame: AshFrame, now_us: int) -> None:
        """Every frame but a reset tells what its sender expects next. A number out of range tells nothing."""
        numbers = [number for number, _ in self._sent]
        expected = [(number + 1) % _NUMBERS for number in numbers]
        if frame.ack_number in expected:
            for _ in range(expected.index(frame.ack_number) + 1):
                self._sent.popleft()
            self._timeouts = 0
            self._due_us = now_us + ACK_WAIT_US if self._sent else None
        if frame.kind is AshType.NAK and self._sent and frame.ack_number == self._sent[0][0]:
            self._repeat(now_us)

    def _on_data(self, frame: AshFrame) -> None:
        if frame.frame_number == self._expected:
            self._expected = (self._expected + 1) % _NUMBERS
            self._is_rejecting = False
            self._octets += AshFrame(kind=AshType.ACK, ack_number=self._expected).encode()
            self._events.append(AshData(frame.data))
        elif frame.is_repeat:
            self._octets += AshFrame(kind=AshType.ACK, ack_number=self._expected).encode()
        else:
            self._reject()

    def _reject(self) -> None:
        """Once for each gap, or both ends would talk of nothing else."""
        if self.is_connected and self._failed_code is None and not self._is_rejecting:
            self._is_rejecting = True
            self._octets += AshFrame(kind=AshType.NAK, ack_number=self._expected).encode()

    # --- to the line ------------------------------------------------------------------------------------

    def _send_more(self, now_us: int) -> None:
        while self.is_connected and self._queue and len(self._sent) < WINDOW:
            number, data = self._next_number, self._queue.popleft()
            self._next_number = (number + 1) % _NUMBERS
            self._sent.append((number, data))
            self._put(number, data, is_repeat=False)
            if self._due_us is None:
                self._due_us = now_us + ACK_WAIT_US

    def _repeat(self, now_us: int) -> None:
        for number, data in self._sent:
            self.repeat_count += 1
            self._put(number, data, is_repeat=True)
        self._due_us = now_us + (ACK_WAIT_US << self._timeouts)

    def _put(self, number: int, data: bytes, *, is_repeat: bool) -> None:
        frame = AshFrame(
            kind=AshType.DATA,
            frame_number=number,
            ack_number=self._expected,
            is_repeat=is_repeat,
            data=data,
        )
        self._octets += frame.encode()

    def _fail(self, reason: str, now_us: int) -> None:
        self._forget()
        if self.role is AshRole.STICK:
            self._failed_code = ResetCode.ACK_TIMEOUTS
            self._say_failed()
        self._events.append(AshDown(reason))

    def _say_failed(self) -> None:
        if self.role is AshRole.STICK and self._failed_code is not None:
            self._octets += AshFrame(
                kind=AshType.ERROR, data=bytes((ASH_VERSION, self._failed_code))
            ).encode()

    def _forget(self) -> None:
        self._queue.clear()
        self._sent.clear()
        self._next_number = self._expected = self._timeouts = 0
        self._is_rejecting = self.is_connected = False
        self._failed_code = None
        self._due_us = None
