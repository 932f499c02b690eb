"""Two transcripts, command by command: what only one of them has, and what comes at another place.

Each pair of devices is a conversation of its own, since chance decides which of two neighbours speaks first.
Inside one the order counts; times do not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum, unique

from smets1.tools.script.transcript import Command

__all__ = ["Difference", "Kind", "compare", "differences_text"]

_Place = tuple[str, str, str]  # sender, receiver, layer


@unique
class Kind(StrEnum):
    FIRST_ONLY = "only the first"
    SECOND_ONLY = "only the second"
    MOVED = "both, at another place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    kind: Kind
    sender: str
    receiver: str
    layer: str
    name: str
    count: int
    steps: tuple[int, ...]  # in which steps of the script, from 1; 0: before the first


def compare(
    first: Iterable[Command],
    second: Iterable[Command],
    *,
    first_steps: Sequence[int] = (),
    second_steps: Sequence[int] = (),
) -> list[Difference]:
    """`first_steps`, `second_steps`: when each step of a script began, in the time of that transcript."""
    ours, theirs = _conversations(first, first_steps), _conversations(second, second_steps)
    found = []
    for place in sorted({**ours, **theirs}):
        found += _compare_one(place, ours.get(place, []), theirs.get(place, []))
    return found


def _conversations(commands: Iterable[Command], steps: Sequence[int]) -> dict[_Place, list[tuple[str, int]]]:
    """Names and steps of what one says to another."""
    found: dict[_Place, list[tuple[str, int]]] = defaultdict(list)
    for each in commands:
        found[each.sender, each.receiver, each.layer].append((each.name, bisect_right(steps, each.time_us)))
    return found


def _compare_one(
    place: _Place, ours: list[tuple[str, int]], theirs: list[tuple[str, int]]
) -> list[Difference]:
    matcher = SequenceMatcher(None, [name for name, _ in ours], [name for name, _ in theirs], autojunk=False)
    lost: dict[str, list[int]] = defaultdict(list)
    gained: dict[str, list[int]] = defaultdict(list)
    for what, from_1, to_1, from_2, to_2 in matcher.get_opcodes():
        if what != "equal":
            for name, step in ours[from_1:to_1]:
                lost[name].append(step)
            for name, step in theirs[from_2:to_2]:
                gained[name].append(step)
    found = []
    for name in sorted({**lost, **gained}):
        first, second = lost.get(name, []), gained.get(name, [])
        moved = min(len(first), len(second))
        for kind, steps in (
            (Kind.MOVED, first[:moved]),
            (Kind.FIRST_ONLY, first[moved:]),
            (Kind.SECOND_ONLY, second[moved:]),
        ):
            if steps:
                found.append(_difference(kind, place, name, steps))
    return found


def _difference(kind: Kind, place: _Place, name: str, steps: list[int]) -> Difference:
    sender, receiver, layer = place
    return Difference(
        kind=kind,
        sender=sender,
        receiver=receiver,
        layer=layer,
        name=name,
        count=len(steps),
        steps=tuple(dict.fromkeys(steps)),
    )


def differences_text(differences: Iterable[Difference], first: str, second: str) -> list[str]:
    """Lines for a person; `first` and `second` say what was compared."""
    words = {Kind.FIRST_ONLY: f"only {first}", Kind.SECOND_ONLY: f"only {second}", Kind.MOVED: "other order"}
    lines = []
    for each in differences:
        steps = ", ".join(str(step) for step in each.steps)
        who = f"{each.sender} -> {each.receiver}"
        lines.append(f"{words[each.kind]}: {who:16} {each.layer} {each.name} x{each.count} (step {steps})")
    return lines
