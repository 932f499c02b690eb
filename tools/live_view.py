"""`smets1 run` on a terminal: the home live, and keys to press.

Drawn four times a second of real time, whatever the home's speed: SIGALRM wakes the loop, so that a home
that is paused, or one that runs as fast as it can, is drawn too and hears its keys. What a key does to a
device is the device's own business (`press`); what is seen is `live_screen.py`'s.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.live import Live

from smets1.devices.display_device import DisplayDevice
from smets1.devices.meter_device import MeterDevice
from smets1.devices.ppmid import Ppmid
from smets1.devices.supply import SupplyState
from smets1.errors import EmulatorError, MisuseError
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop
from smets1.tools.home import Home
from smets1.tools.live_screen import LiveScreen

__all__ = ["SPEEDS", "LiveView"]

SPEEDS: Final = (1.0, 10.0, 60.0, 300.0, 1200.0)
_LOOK_S: Final = 0.05  # how soon a key is felt
_LOOKS_A_DRAWING: Final = 5
_PAUSED: Final = 1e-12  # time stands, for a person
_TOP_UP_POUNDS: Final = 10
_KEYS: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.)?|.", re.DOTALL)
_NAMED: Final = {
    **dict.fromkeys(("\x1b[D", "\x1bOD"), "<"),
    **dict.fromkeys(("\x1b[C", "\x1bOC"), ">"),
    **dict.fromkeys("\r\n", "OK"),
    **dict.fromkeys("\x7f\b", "BACK"),
}


class LiveView:
    """`with LiveView(home, stop=...) as view:` draws until it is left; `stop` is called at the key q.

    Standard input and output must be a terminal; what it was set to before comes back at the end.
    """

    def __init__(self, home: Home, *, stop: Callable[[], None], listening: str = "") -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, EmulatorLoop):
            raise MisuseError("a home runs in an EmulatorLoop")
        self._loop = loop
        self._home = home
        self._stop = stop
        self.screen = LiveScreen(home, listening=listening)
        self.speed = loop.speed
        self._looks = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    # --- the terminal -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.screen.begin()
        self._terminal = termios.tcgetattr(sys.stdin)
        self._loop.add_signal_handler(signal.SIGALRM, self._look)
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._take_terminal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_terminal_back()
        self._loop.remove_signal_handler(signal.SIGALRM)
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self.screen.end()
        for task in self._tasks:
            task.cancel()

    def _take_terminal(self) -> None:
        tty.setcbreak(sys.stdin)
        self._live.start()
        self._draw()
        signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)

    def _give_terminal_back(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._live.stop()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._terminal)

    def _suspend(self) -> None:
        """Ctrl-Z: the shell has its terminal, and the home's time stands until `fg`."""
        self._give_terminal_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._loop.set_speed(self._loop.speed)  # time goes on from where it was
        self._take_terminal()

    def _look(self) -> None:
        self._looks += 1
        is_pressed = bool(select.select([sys.stdin], [], [], 0)[0])
        if is_pressed:
            octets = os.read(sys.stdin.fileno(), 1024)
            if not octets:  # the terminal has gone away
                self._stop()
            for key in _KEYS.findall(octets.decode("utf-8", "ignore")):
                self.press(key)
        if is_pressed or self._looks % _LOOKS_A_DRAWING == 0:
            self._draw()

    def _draw(self) -> None:
        pace = "max" if self.speed == MAX_SPEED else f"{self.speed:g}"
        self.screen.pace = "paused" if self._loop.speed == _PAUSED else f"speed {pace}"
        self._live.update(self.screen.draw(self._console.width), refresh=True)

    # --- what a person does -----------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """A key of the terminal, as the terminal sends it. What cannot be done stands in the first line."""
        acts: dict[str, Callable[[], None]] = {
            "\t": lambda: self._turn(1),
            "\x1b[Z": lambda: self._turn(-1),
            "q": self._stop,
            " ": self._pause,
            "+": lambda: self._change_speed(1),
            "-": lambda: self._change_speed(-1),
            "t": self._top_up,
            "p": self._switch_power,
            "e": lambda: self._press("9", is_held=True),
        }
        self.screen.note = ""
        try:
            if key in acts:
                acts[key]()
            elif key in _NAMED:
                self._press(_NAMED[key])
            elif key.isprintable():
                self._press(key)
        except EmulatorError as error:
            self.screen.note = str(error)

    def _press(self, key: str, *, is_held: bool = False) -> None:
        face = self.screen.face
        if face is None:
            self.screen.note = "no power, no keys: p brings it back"
        elif isinstance(face, MeterDevice):
            face.press(key, is_held=is_held)
        elif not is_held:
            face.press(key)

    def _turn(self, step: int) -> None:
        self.screen.chosen = (self.screen.chosen + step) % max(1, len(self.screen.faces))

    def _pause(self) -> None:
        self._loop.set_speed(self.speed if self._loop.speed == _PAUSED else _PAUSED)

    def _change_speed(self, step: int) -> None:
        beyond = [speed for speed in SPEEDS if (speed - self.speed) * step > 0]
        if beyond:
            self.speed = min(beyond) if step > 0 else max(beyond)
        self._loop.set_speed(self.speed)

    def _top_up(self) -> None:
        """A new code, typed at the chosen face."""
        face = self.screen.face
        if isinstance(face, MeterDevice):
            code = self._home.headend.make_utrn(face.eui64, pounds=_TOP_UP_POUNDS)
            if face.meter.supply.state is SupplyState.ARMED:
                face.press("A")  # past READY
            face.press(f"A{code}B")
            self.screen.note = f"typed: A {code} B"
        elif isinstance(face, Ppmid):
            code = self._home.headend.make_utrn(self._meter_of(face).eui64, pounds=_TOP_UP_POUNDS)
            face.press(f"{code} OK")
            self.screen.note = f"typed: {code} OK"
        else:
            self.screen.note = "codes are typed at a meter or the PPMID: TAB"

    def _meter_of(self, display: DisplayDevice) -> MeterDevice:
        """The meter whose credit page the display shows; turns to the electricity's where it shows none."""
        if display.panel.page == "gas credit":
            return self._home.gsme
        while display.panel.page != "electricity credit":
            before = display.panel.page
            display.press(">")
            if display.panel.page == before:
                raise MisuseError("the PPMID is busy: BACK first")
        return self._home.esme

    def _switch_power(self) -> None:
        """The chosen device loses its mains or battery, or has it again."""
        if self.screen.faces:
            eui64 = self.screen.faces[self.screen.chosen].eui64
            has_power = self._home.device(eui64) is not None
            self._spawn((self._home.cut_power if has_power else self._home.restore_power)(eui64))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def told() -> None:
            try:
                await work
            except EmulatorError as error:
                self.screen.note = str(error)

        task = self._loop.create_task(told())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
