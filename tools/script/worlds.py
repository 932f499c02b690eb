"""A script in one world after another, and what their captures do not have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from smets1.hardware.clock import MAX_SPEED
from smets1.tools.arguments import UsageError
from smets1.tools.home_radios import require_sticks
from smets1.tools.new_file import make_folder
from smets1.tools.script.comparison import Difference, compare, differences_text
from smets1.tools.script.player import AS_WRITTEN, Script, World, home_on, play_script, read_script
from smets1.tools.script.transcript import Command, read_transcript

__all__ = ["Outcome", "run_worlds"]

_PLAIN: Final = str.maketrans(dict.fromkeys(":/,@ ", "-"))


@dataclass(slots=True, kw_only=True)
class Outcome:
    """`differences[n]` compares world n + 1 with the first."""

    title: str
    worlds: list[World]
    differences: list[list[Difference]]

    @property
    def is_passed(self) -> bool:
        return all(world.is_passed for world in self.worlds)

    @property
    def is_same(self) -> bool:
        return not any(self.differences)

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "worlds": [
                {"radios": each.radios, "is_passed": each.is_passed, "held": each.held, "reason": each.reason}
                for each in self.worlds
            ],
            "differences": [
                {"between": [self.worlds[0].radios, world.radios], "found": [asdict(one) for one in found]}
                for world, found in zip(self.worlds[1:], self.differences, strict=True)
            ],
        }


def run_worlds(
    path: Path,
    radios: Sequence[str],
    *,
    out: Path | None = None,
    speed: float = MAX_SPEED,
    say: Callable[[str], None] = print,
) -> Outcome:
    """`radios`: one text a world (see `play_script`); `out`: captures and keys stay there.

    Raises InputError, LostError.
    """
    script = read_script(path)
    if len(set(radios)) != len(radios):
        raise UsageError("--on: the same radios twice are the same octets twice")
    for each in radios or (AS_WRITTEN,):
        require_sticks(home_on(script, each))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if out is None else out
        make_folder(folder, "--out")
        worlds = [_play(script, each, folder, speed=speed, say=say) for each in radios or (AS_WRITTEN,)]
        transcripts = [_transcript(world) for world in worlds] if len(worlds) > 1 else []
        if out is not None:
            for world in worlds:
                _write_keys(world)
    outcome = Outcome(title=script.title, worlds=worlds, differences=[])
    for world, transcript in zip(worlds[1:], transcripts[1:], strict=True):
        found = compare(
            transcripts[0], transcript, first_steps=worlds[0].step_starts, second_steps=world.step_starts
        )
        outcome.differences.append(found)
        _tell(found, worlds[0], world, (len(transcripts[0]), len(transcript)), say)
    return outcome


def _play(script: Script, radios: str, folder: Path, *, speed: float, say: Callable[[str], None]) -> World:
    say(f"{script.title}, on {radios}\n")
    world = play_script(script, radios, folder / f"{radios.translate(_PLAIN)}.pcapng", say=say, speed=speed)
    end = f"as it should be ({world.held} findings)" if world.is_passed else "NOT as it should be"
    say(f"\non {radios}: {end}\n")
    return world


def _transcript(world: World) -> list[Command]:
    return read_transcript(world.capture.read_bytes(), world.keys, world.names)


def _write_keys(world: World) -> None:
    path = world.capture.with_suffix(".keys")
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in world.keys), encoding="ascii")


def _tell(
    found: list[Difference], first: World, second: World, counts: tuple[int, int], say: Callable[[str], None]
) -> None:
    if not all(counts):
        say("no capture to compare: what EZSP sticks say to each other we do not hear (hardware/README.md)")
        return
    worlds = f"{first.radios} ({counts[0]} commands) and {second.radios} ({counts[1]})"
    say(f"{worlds}: {len(found) or 'no'} differences")
    for line in differences_text(found, first.radios, second.radios):
        say(f"  {line}")
    say("")
