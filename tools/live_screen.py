"""What `smets1 run` shows of a living home on a terminal: devices, one face at a time, last frames, events.

Drawing looks at the home as its own displays do and changes nothing. Needs rich (the extra `terminal`).
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Final

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from smets1.devices.display_device import DisplayDevice
from smets1.devices.gsme import Gsme
from smets1.devices.meter_device import MeterDevice
from smets1.devices.screens import format_money, format_reading
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.device import Device
from smets1.hardware.air import Fate
from smets1.hardware.ieee802154 import FrameType, peek
from smets1.tools.events import event_mark
from smets1.tools.home import Home
from smets1.tools.home_config import DeviceConfig, Role

__all__ = ["FACE_ROLES", "HELP", "LiveScreen"]

FACE_ROLES: Final = (Role.ESME, Role.GSME, Role.PPMID, Role.IHD)
HELP: Final = (
    "TAB next face · meter: 0-9 A B, e holds 9 · display: ← → ENTER BACKSPACE 0-9\n"
    "t £10 code · p power · SPACE pause · +/- speed · q quit"
)
_FRAMES, _EVENTS = 40, 40
_FACE_WIDTH: Final = 36  # the widest glass and its frame
_WIDE: Final = 120  # columns from which on a row has room for the EUI-64
_EUI64: Final = re.compile(r"(?:[0-9A-F]{2}-){6}([0-9A-F]{2}-[0-9A-F]{2})")
_BROADCAST: Final = 0xFFFF


class _Events(logging.Handler):
    """The last lines of what the home says of itself."""

    def __init__(self, home: Home) -> None:
        super().__init__(logging.INFO)
        self._home = home
        self.lines: deque[str] = deque(maxlen=_EVENTS)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = _EUI64.sub(r"..\1", record.getMessage())
        except Exception:  # a handler must never break what logs
            self.handleError(record)
            return
        self.lines.append(f"{str(self._home.clock)[11:19]} {event_mark(record)}{text}")


class LiveScreen:
    """Collects between `begin` and `end`; `draw` gives a whole screen for so many columns and lines."""

    def __init__(self, home: Home, *, listening: str = "") -> None:
        self._home = home
        self._listening = listening
        self._events = _Events(home)
        self._frames: deque[tuple[str, str, str, str]] = deque(maxlen=_FRAMES)
        self.faces: list[DeviceConfig] = [
            each for each in home.config.devices if each.runs_here and each.role in FACE_ROLES
        ]
        self._roles = {each.eui64: each.role.value.upper() for each in home.config.devices}
        self._untap: Callable[[], None] = lambda: None
        self.chosen = 0
        self.note = ""
        self.pace = ""

    def begin(self) -> None:
        logger = logging.getLogger("smets1")
        logger.setLevel(logging.INFO)
        logger.addHandler(self._events)
        self._untap = self._home.air.tap(self.on_frame)

    def end(self) -> None:
        logging.getLogger("smets1").removeHandler(self._events)
        self._untap()

    @property
    def face(self) -> MeterDevice | DisplayDevice | None:
        """The device that a person stands before; None while it has no power, or where there is none."""
        if not self.faces:
            return None
        device = self._home.device(self.faces[self.chosen].eui64)
        return device if isinstance(device, MeterDevice | DisplayDevice) else None

    # --- frames -----------------------------------------------------------------------------------------

    def on_frame(self, time_us: int, psdu: bytes, sender: Eui64 | None, fate: Fate) -> None:
        """Keep every frame but acknowledgements, which would push the others out."""
        head = peek(psdu)
        if head is None or head.frame_type == FrameType.ACKNOWLEDGMENT:
            return
        to = "all" if head.destination_short == _BROADCAST else self._name_of_short(head.destination_short)
        kind = FrameType(head.frame_type).name.lower().replace("_", " ")
        frm = "?" if sender is None else self._name(self._home.device(sender), format_eui64(sender))
        size = f"{len(psdu):3d} octets" if fate is Fate.RECEIVED else f"{len(psdu):3d} {fate.name.lower()}"
        self._frames.append((str(self._home.clock)[11:19], f"{frm} → {to}", kind, size))

    def _name_of_short(self, short_address: int | None) -> str:
        for device in self._home.devices:
            network = device.port.network
            if network is not None and network.short_address == short_address:
                return self._name(device, "")
        return "?" if short_address is None else f"0x{short_address:04X}"

    def _name(self, device: Device | None, otherwise: str) -> str:
        return otherwise if device is None else self._roles.get(device.eui64, otherwise)

    # --- drawing ----------------------------------------------------------------------------------------

    def draw(self, columns: int) -> RenderableType:
        layout = Layout()
        top, bottom = Layout(size=12), Layout()
        top.split_row(Layout(self._draw_devices(columns)), Layout(self._draw_face(), size=_FACE_WIDTH))
        bottom.split_row(Layout(self._draw_frames()), Layout(self._draw_events()))
        layout.split_column(
            Layout(self._draw_head(), size=1), top, bottom, Layout(Text(HELP, style="dim"), size=2)
        )
        return layout

    def _draw_head(self) -> RenderableType:
        clock = str(self._home.clock)[:19].replace("T", " ")
        text = "  ".join(part for part in (f"{clock} UTC", self.pace, self._listening, self.note) if part)
        return Text(text, style="bold", no_wrap=True, overflow="ellipsis")

    def _draw_devices(self, columns: int) -> RenderableType:
        is_wide = columns >= _WIDE
        table = Table(expand=True, box=None, pad_edge=False)
        for column in ("", *(["EUI-64"] if is_wide else []), "HAN"):
            table.add_column(column, no_wrap=True)
        for column in ("register", "balance"):
            table.add_column(column, no_wrap=True, justify="right")
        table.add_column("supply", no_wrap=True)
        for config in self._home.config.devices:
            if config.runs_here and config.role is not Role.GPF:
                cells = self._cells(config)
                table.add_row(cells[0], *([format_eui64(config.eui64)] if is_wide else []), *cells[1:])
        return Panel(table, title="home", padding=0)

    def _cells(self, config: DeviceConfig) -> list[str]:
        name, device = config.role.value.upper(), self._home.device(config.eui64)
        if device is None:
            return [name, "dark"]
        han = "keyed" if device.keyed.is_set() else "joins"
        if not isinstance(device, MeterDevice):
            return [name, han]
        balance = format_money(device.account.balance_mp)  # brings the meter to now
        reading = format_reading(device.meter.reading, is_gas=isinstance(device, Gsme))
        return [name, han, reading, balance, device.meter.supply.state.name]

    def _draw_face(self) -> RenderableType:
        if not self.faces:
            return Panel("", title="no face")
        face, title = self.face, self.faces[self.chosen].role.value.upper()
        if face is None:
            return Panel("no power", title=title)
        lines: list[RenderableType] = [Text(line, no_wrap=True) for line in face.shown]
        if isinstance(face, MeterDevice):
            lines.append(Text(f"LCD [{face.face.lcd()}]", style="reverse"))
        return Panel(Group(*lines), title=title, padding=0)

    def _draw_frames(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for _ in range(4):
            table.add_column(no_wrap=True)
        for row in reversed(self._frames):
            table.add_row(*row)
        return Panel(table, title="last frames", padding=0)

    def _draw_events(self) -> RenderableType:
        lines = "\n".join(reversed(self._events.lines))
        return Panel(Text(lines, no_wrap=True, overflow="ellipsis"), title="events", padding=0)
