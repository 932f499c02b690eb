"""The machine itself: Python, packages, clock, disk, and programs that seize serial ports."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from smets1 import __version__
from smets1.tools.doctor.finding import Finding, State

__all__ = ["examine_machine"]

_OLDEST: Final = (3, 11)
_SMETS1_END: Final = 2040  # later than the last SMETS1 meter will be in service
_FREE_OCTETS: Final = 512 << 20
_EXTRAS: Final = {
    "bellows": ("radio", "needed for ezsp: radios"),
    "amqtt": ("broker", "needed for an embedded broker"),
    "psycopg": ("postgresql", "needed for a PostgreSQL store"),
}
_SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
_SEIZERS: Final = ("ModemManager", "brltty", "zigbee2mqtt", "zigbeed", "otbr-agent")


def examine_machine(now: datetime | None = None) -> list[Finding]:
    """All that needs no stick and no home file. `now`: the system's clock where None."""
    return [_python(), *_extras(), _clock(now or datetime.now(UTC)), _disk(), *_seizers()]


def _python() -> Finding:
    version = platform.python_version()
    text = f"smets1 {__version__} on Python {version}, {platform.system()} {platform.machine()}"
    if sys.version_info < _OLDEST:  # pragma: no cover - it would not have been imported
        return Finding(what="python", state=State.BAD, text=text, advice="install Python 3.11 or later")
    if sys.maxsize < 1 << 32:
        advice = "a 64-bit system has ready-made wheels of all packages"
        return Finding(what="python", state=State.NOTE, text=f"{text}, 32 bits", advice=advice)
    return Finding(what="python", state=State.OK, text=text)


def _extras() -> list[Finding]:
    return [
        Finding(what=f"package {name}", state=State.OK, text="installed")
        if importlib.util.find_spec(name) is not None
        else Finding(
            what=f"package {name}",
            state=State.NOTE,
            text=f"missing: {why}",
            advice=f"pip install 'smets1[{extra}]'",
        )
        for name, (extra, why) in _EXTRAS.items()
    ]


def _clock(now: datetime) -> Finding:
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    built = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    if now.year >= _SMETS1_END or now.date() < built.date():
        advice = "set the clock (sudo timedatectl set-ntp true): certificates and tokens have dates"
        return Finding(what="clock", state=State.BAD, text=f"{text} cannot be", advice=advice)
    if not Path("/run/systemd/system").is_dir():
        return Finding(what="clock", state=State.OK, text=text)  # no systemd to ask, as in a container
    if not _SYNCHRONISED.exists() and not _is_kept_by_chrony():
        advice = "sudo timedatectl set-ntp true; a Raspberry Pi has no clock of its own"
        return Finding(what="clock", state=State.NOTE, text=f"{text}, not synchronised", advice=advice)
    return Finding(what="clock", state=State.OK, text=f"{text}, synchronised")


def _is_kept_by_chrony() -> bool:
    return Path("/run/chrony/chronyd.pid").exists() or Path("/run/chronyd.pid").exists()


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / (1 << 30):.1f} GiB free here"
    if free < _FREE_OCTETS:
        return Finding(
            what="disk", state=State.BAD, text=text, advice="captures and NVM need 0.5 GiB: make room"
        )
    return Finding(what="disk", state=State.OK, text=text)


def _seizers() -> list[Finding]:
    """Programs that run and are known to open serial ports of sticks."""
    running = set()
    for entry in Path("/proc").glob("[0-9]*/comm"):
        try:
            running.add(entry.read_text().strip())
        except OSError:  # it has ended meanwhile
            continue
    return [
        Finding(
            what=f"program {name}",
            state=State.NOTE,
            text="runs, and may hold or disturb a stick's port",
            advice=f"sudo systemctl stop {name}",
        )
        for name in _SEIZERS
        if name[:15] in running
    ]
