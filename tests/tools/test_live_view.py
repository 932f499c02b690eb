"""`smets1 run` on a real pty with a person's keys; what is drawn, as golden screens.

make golden        writes tests/vectors/live and the screen in README.md anew
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal

from smets1.firmware.civil import from_datetime
from smets1.hardware.air import Fate
from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.home import Home, open_home

pytest.importorskip("rich")
from rich.console import Console

from smets1.tools.live_screen import HELP, LiveScreen
from smets1.tools.live_view import SPEEDS, LiveView

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "vectors" / "live"
WRITE = "SMETS1_WRITE_GOLDEN"
RUN = "$smets1 run --seed 7 --http 127.0.0.1:0"
Open = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[Open]:
    opened: list[Terminal] = []

    def new(command: str, **options: Any) -> Terminal:
        opened.append(Terminal(command, **options))
        return opened[-1]

    yield new
    for each in opened:
        each.close()


# --- on a pty --------------------------------------------------------------------------------------------


def test_keys_reach_the_buttons_of_meters_and_displays(terminal: Open) -> None:
    there = terminal(f"{RUN} --speed 60")
    there.sees("ESME", "GSME", "CHF", "PPMID", "IHD", "keyed", "last frames", "events", "http://127.0.0.1:")
    there.sees(*HELP.splitlines(), "STATUS", "SUPPLY ON", "LCD [", "→", "octets", "speed 60")
    there.type("--")  # at 60 a page is gone before anybody has read it
    there.sees("speed 1 ")
    there.type("9")
    there.sees("TOTAL", "00000000 kWh")
    there.type("a739")
    there.sees("Vend Mode", "739")
    there.type("\t\t")
    there.sees(" PPMID ─", "Electricity credit")
    there.type("\x1b[C")
    there.sees("ELECTRICITY ", "Balance")
    there.type("7394\x7f")
    there.sees("ELECTRICITY TOP UP", "739 ", "BACK to correct")
    there.type("\x1b[A\x1bOP")  # keys that no face has press nothing, not even the A at the end of Up
    there.type("x")
    there.sees("there is no key 'X'", "739 ")
    there.type("\t")
    there.sees(" IHD ─")
    there.type("q")
    assert there.ended() == 0
    assert "supply on" in there.look()


def test_pause_speed_and_power(terminal: Open) -> None:
    there = terminal(f"{RUN} --speed 300")
    there.sees("keyed", "speed 300")
    there.type(" ")
    stood = there.sees("paused").split()[1]
    for _ in range(30):  # looks, of 50 ms each, at a home that must not move
        there.look()
    assert there.look().split()[1] == stood
    there.type("p")
    there.type("+")
    there.sees("speed 1200", "no power")
    there.type("3")
    there.sees("no power, no keys")
    there.type("p")
    there.sees("SUPPLY ON")
    there.type("t")
    there.sees("typed: A ", "£29.9")


@pytest.mark.parametrize(("key", "speed"), [("\x03", "60"), ("\x03", "max"), ("q", "max")])
def test_the_terminal_is_left_as_it_was(terminal: Open, key: str, speed: str) -> None:
    http = "" if speed == "max" else "--http 127.0.0.1:0"
    there = terminal(f"trap : INT; $smets1 run --seed 7 --speed {speed} {http}; echo ended $?")
    there.sees("last frames", "keyed")
    assert there.settings() != there.settings_before
    there.type(key)
    there.sees("ended 0")
    assert there.settings() == there.settings_before
    *_, after = there.written.split(b"\x1b[?1049l")
    assert b"seed 7" in after, "the summary stands on the ordinary screen"
    assert there.written.rindex(b"\x1b[?25h") > there.written.rindex(b"\x1b[?25l"), "the cursor is back"


def test_ctrl_z_gives_the_terminal_back_until_fg(terminal: Open) -> None:
    """Under a shell with job control, as a person's is."""
    there = terminal(f"bash --norc -i -c 'set -m; {RUN} --speed 60; echo stopped $?; fg; echo ended $?'")
    there.sees("last frames", "keyed")
    there.type("\x1a")
    there.wrote("stopped 1")  # the next view may stand there before we look
    there.sees("last frames", "speed 60")
    there.type("q")
    there.sees("ended 0")
    assert there.settings() == there.settings_before


def test_it_fits_itself_to_the_terminal(terminal: Open) -> None:
    there = terminal(f"{RUN} --speed 60", columns=80, lines=24)
    assert "EUI-64" not in there.sees("last frames", "GSME    keyed", "q quit")
    there.resize(130, 40)
    there.sees("EUI-64", "00-DB-12-34-56-78-90-A0", "q quit")
    there.resize(20, 6)  # nothing useful fits, and nothing breaks
    there.look(0.6)
    there.resize(80, 24)
    there.sees("last frames", "GSME    keyed", "q quit")


def test_where_there_is_no_live_view_events_are_lines(terminal: Open) -> None:
    for options, environment in (("--plain", {}), ("", {"TERM": "dumb"})):
        there = terminal(f"{RUN} --speed 1200 --for 5m {options}", **environment)
        assert there.ended() == 0
        assert b"listening on http://" in there.written
        assert b"\x1b[" not in there.written
    piped = terminal(f"{RUN} --speed max --for 10m | cat".replace("--http 127.0.0.1:0", ""))
    assert piped.ended() == 0
    assert "Gsme" in piped.look()
    assert b"\x1b[" not in piped.written


def test_without_rich_one_line_says_so(terminal: Open) -> None:
    hide = "import sys; sys.modules['rich'] = None"
    command = "from smets1.tools.cli import main; sys.exit(main(sys.argv[1:]))"
    there = terminal(f'$python -c "{hide}; {command}" run --speed max --for 5m', python=sys.executable)
    assert there.ended() == 0
    there.look()
    assert there.written.count(b"pip install 'smets1[terminal]'") == 1
    assert b"Traceback" not in there.written
    assert b"keyed" in there.written


# --- what is drawn ---------------------------------------------------------------------------------------


def glass(screen: LiveScreen, columns: int, lines: int) -> str:
    """The text that a terminal of this size shows."""
    pyte = pytest.importorskip("pyte")
    out = io.StringIO()
    console = Console(file=out, width=columns, height=lines, force_terminal=True, color_system=None)
    console.print(screen.draw(columns), end="")
    drawn = pyte.Screen(columns, lines)
    pyte.Stream(drawn).feed(out.getvalue().rstrip("\n").replace("\n", "\r\n"))
    return "".join(row.rstrip() + "\n" for row in drawn.display)


def in_a_home(story: Callable[[Home], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def whole() -> None:
        home = await open_home(seed=7, **options)
        await story(home)
        await home.close()

    run(whole(), speed=MAX_SPEED)


async def until(home: Home, **time_of_day: int) -> None:
    await home.clock.advance_to(from_datetime(home.config.start.replace(**time_of_day)))


def judge(name: str, found: str) -> None:
    path = GOLDEN / name
    if WRITE in os.environ:
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_golden_screens() -> None:
    async def story(home: Home) -> None:
        screen = LiveScreen(home, listening="http://127.0.0.1:8079")
        screen.pace = "speed 60"
        await until(home, hour=9)
        judge("esme_80x24.txt", glass(screen, 80, 24))
        home.esme.press("A7394")
        judge("vend_mode_100x28.txt", glass(screen, 100, 28))
        screen.chosen = 1
        home.gsme.press("9", is_held=True)
        judge("engineering_menu_80x24.txt", glass(screen, 80, 24))
        screen.chosen = 2
        home.ppmid.press(">")
        judge("ppmid_130x30.txt", glass(screen, 130, 30))
        await home.cut_power(home.ihd.eui64)
        screen.chosen = 3
        judge("no_power_80x24.txt", glass(screen, 80, 24))

    in_a_home(story, toml="start = 2023-01-16T07:00:00Z")


TRAFFIC = re.compile(
    r"\d\d:\d\d:\d\d (CHF|ESME|GSME|PPMID|IHD) → (all|CHF|ESME|GSME|PPMID|IHD) +(data|mac command) +\d+ \w+ *"
)


def test_the_screen_in_the_readme_is_the_programs() -> None:
    """What changes with every improvement of the firmware, frames, only has to look as it does now."""

    async def story(home: Home) -> None:
        screen = LiveScreen(home, listening="http://127.0.0.1:8079")
        screen.pace = "speed 60"
        screen.begin()
        await until(home, hour=17, minute=59)
        token = home.headend.make_utrn(home.esme.eui64, pounds=10)
        assert (await home.ppmid.enter_utrn(token)).is_accepted
        await until(home, hour=18, second=10)
        home.esme.press("A73944332")
        found = glass(screen, 100, 24)
        screen.end()
        readme = REPOSITORY / "README.md"
        before, mark, rest = readme.read_text(encoding="utf-8").partition("<!-- live view: begin -->\n```\n")
        quoted, end, after = rest.partition("```\n<!-- live view: end -->")
        assert mark
        assert end
        if WRITE in os.environ:
            readme.write_text(before + mark + found + end + after, encoding="utf-8")
            quoted = found
        ours, theirs = found.splitlines(), quoted.splitlines()
        traffic = [number for number, line in enumerate(ours) if TRAFFIC.search(line)]
        assert len(traffic) > 5
        for number, (line, other) in enumerate(zip(ours, theirs, strict=True)):
            if number in traffic:
                assert TRAFFIC.search(other)
            else:
                assert line == other

    in_a_home(story, toml="start = 2023-01-16T15:00:00Z")


def test_every_frame_of_the_air_but_acknowledgements_is_told() -> None:
    async def story(home: Home) -> None:
        screen, told = LiveScreen(home), []
        screen.begin()
        home.air.tap(lambda time_us, psdu, sender, fate: told.append((psdu, fate)))
        await home.clock.advance(seconds=10)
        frames = [(psdu, fate) for psdu, fate in told if psdu[0] & 7 != 2]
        assert len(frames) > 5
        assert len(screen._frames) > 5
        assert [row[3] for row in screen._frames] == [
            f"{len(psdu):3d} {'octets' if fate is Fate.RECEIVED else fate.name.lower()}"
            for psdu, fate in frames[-len(screen._frames) :]
        ]
        assert any("CHF →" in row[1] for row in screen._frames)
        screen.end()

    in_a_home(story)


def test_looking_changes_nothing_on_the_air() -> None:
    """The same octets at the same instants whether somebody looks or not."""
    runs: list[list[tuple[int, bytes]]] = []
    for looks in (False, True):

        async def story(home: Home, looks: bool = looks) -> None:
            screen, told = LiveScreen(home), []
            runs.append(told)
            home.air.tap(lambda time_us, psdu, sender, fate: told.append((time_us, psdu)))
            for minute in range(1, 30):
                await until(home, minute=minute, second=minute * 7 % 60, microsecond=331)
                for number in range(len(screen.faces) if looks else 0):
                    screen.chosen = number
                    glass(screen, 100, 30)

        in_a_home(story)
    assert len(runs[0]) > 1000
    assert runs[0] == runs[1]


# --- what keys do to the home ------------------------------------------------------------------------------


def test_codes_are_typed_where_the_person_stands() -> None:
    async def story(home: Home) -> None:
        view = LiveView(home, stop=lambda: None)
        before_mp = home.esme.account.balance_mp
        view.press("t")
        assert home.esme.account.balance_mp - before_mp == 1_000_000
        assert view.screen.note.startswith("typed: A ")
        view.press("\t")
        view.press("t")
        assert home.gsme.account.balance_mp > 1_490_000
        view.press("\t")
        view.press("t")
        assert home.ppmid.shown[-1] == "Please wait"
        await home.clock.advance(minutes=1)
        assert home.esme.account.balance_mp > before_mp + 1_990_000
        view.press("\t")
        view.press("t")
        assert "TAB" in view.screen.note
        view.press("\x1b[Z")
        assert type(view.screen.face).__name__ == "Ppmid"

    in_a_home(story, balance_pounds=5)


def test_speeds_go_up_and_down_and_power_comes_and_goes() -> None:
    async def story(home: Home) -> None:
        view = LiveView(home, stop=lambda: None)
        for _ in range(9):
            view.press("-")
        assert view.speed == SPEEDS[0]
        for _ in range(9):
            view.press("+")
        assert view.speed == SPEEDS[-1]
        view.press("p")
        await home.clock.advance(hours=1)
        assert home.device(home.config.devices[0].eui64) is None
        view.press("3")
        assert "no power" in view.screen.note
        view.press("p")
        await home.clock.advance(seconds=1)
        assert home.esme.meter.supply.is_on

    in_a_home(story)
