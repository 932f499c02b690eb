"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any

__all__ = ["Finding", "State"]


@unique
class State(StrEnum):
    OK = "ok"
    NOTE = "note"  # works, and is worth knowing
    BAD = "bad"  # does not work: `advice` says what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    what: str  # "clock", "stick /dev/ttyACM0", ...
    state: State
    text: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # for programs

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"what": self.what, "state": self.state.value, "text": self.text}
        if self.advice:
            row["advice"] = self.advice
        return row | self.facts
