"""Reads a script and plays it, in one world after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smets1.errors import EmulatorError
from smets1.eui64 import Eui64
from smets1.hardware.clock import MAX_SPEED
from smets1.hardware.clock import run as run_loop
from smets1.tools.home import open_home
from smets1.tools.home_config import HomeConfig
from smets1.tools.home_file import home_of
from smets1.tools.home_radios import with_radios
from smets1.tools.script.steps import Act, Stage, read_step
from smets1.tools.toml_reader import read_toml

__all__ = ["AS_WRITTEN", "Script", "World", "home_on", "play_script", "read_script"]

AS_WRITTEN: Final = "file"
"""The world that the script's own home file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    title: str
    home: HomeConfig
    steps: tuple[tuple[str, Act], ...]  # what it is called in a story, and the doing


@dataclass(slots=True, kw_only=True)
class World:
    """One playing of a script, and what came of it."""

    radios: str  # as given: "air:", "ezsp:simulated@13,ezsp:simulated@14", "file"
    capture: Path
    held: int = 0
    reason: str = ""  # why it is not as it should be; empty: it is
    keys: list[str] = field(default_factory=list, repr=False)  # as `KeyRing.lines`
    names: dict[Eui64, str] = field(default_factory=dict)
    step_starts: list[int] = field(default_factory=list)  # UTC us; of the step with that index

    @property
    def is_passed(self) -> bool:
        return not self.reason


def read_script(path: Path) -> Script:
    """Raises InputError (one line: file, line, what to do)."""
    root = read_toml(path)
    title = root.text("title", path.stem)
    home = home_of(root, path)
    tables = root.tables("step")
    if not tables:
        root.refuse(None, "a script has at least one [[step]]")
    steps = tuple((table.text("do"), read_step(table, home)) for table in tables)
    root.done()
    return Script(title=title, home=home, steps=steps)


def home_on(script: Script, radios: str) -> HomeConfig:
    """The home of a script on `radios`, as `play_script` takes them. Raises InputError."""
    return script.home if radios == AS_WRITTEN else with_radios(script.home, *radios.split(","))


def play_script(
    script: Script, radios: str, capture: Path, *, say: Callable[[str], None], speed: float = MAX_SPEED
) -> World:
    """`radios`: comma-separated, taken by the devices in turn; `AS_WRITTEN`: those of the file.

    A finite `speed` is for sticks that are really there. Raises InputError, LostError.
    """
    world = World(radios=radios, capture=capture)
    run_loop(_play(script, home_on(script, radios), world, say), speed=speed)
    return world


async def _play(script: Script, config: HomeConfig, world: World, say: Callable[[str], None]) -> None:
    home = await open_home(config=config, capture=world.capture, waits=False)
    stage = Stage(home, say)
    try:
        for number, (kind, act) in enumerate(script.steps, 1):
            world.step_starts.append(home.clock.utc_us)
            try:
                await act(stage)
            except EmulatorError as error:
                world.reason = f"step {number} ({kind}): {error}"
                say(world.reason)
                break
    finally:
        world.held = stage.held
        world.keys = home.keys.lines()
        world.names = {each.eui64: each.role.value for each in config.devices}
        await home.close()
