"""Errors, sorted by whose fault it is. A catcher acts on the class, never on the text."""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "DecodeError",
    "EmulatorError",
    "InputError",
    "LostError",
    "MisuseError",
    "NoAnswerError",
    "RefusedError",
    "SecurityError",
]


class EmulatorError(Exception):
    """Base of every error that this package raises on purpose."""


class DecodeError(EmulatorError):
    """The peer's octets are wrong. `status` is the code to answer with, where the protocol has one."""

    def __init__(self, layer: str, offset: int, reason: str, status: int | None = None) -> None:
        super().__init__(f"{layer}: octet {offset}: {reason}")
        self.layer = layer
        self.offset = offset
        self.reason = reason
        self.status = status


class SecurityError(EmulatorError):
    """The peer, or an attacker: drop in silence, count, raise an alert where specified."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefusedError(EmulatorError):
    """A proper "no" from the other side. `status` is that side's own code."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(reason or f"refused with status 0x{status:02X}")
        self.status = status
        self.reason = reason


class NoAnswerError(EmulatorError):
    """Nobody answered, however often asked. The caller decides whether to ask again."""

    def __init__(self, what: str, attempts: int = 1, waited_us: int = 0) -> None:
        super().__init__(f"no answer: {what} ({attempts} attempts, {waited_us / 1e6:.3f} s)")
        self.attempts = attempts
        self.waited_us = waited_us


class LostError(EmulatorError):
    """Radio, WAN or storage is gone; a supervisor closes and restarts what used it."""


class InputError(EmulatorError):
    """What a person or a file gave cannot be used. The text is one line: what, where, what to do."""


class ClosedError(EmulatorError):
    """Our own code used something after closing it."""


class MisuseError(EmulatorError):
    """Our own code, or a user's, broke a rule of the interface; the text says which."""
