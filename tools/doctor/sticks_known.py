"""Serial ports of this machine, and which radio stick a USB id belongs to.

Many sticks bear the id of their serial converter, which other things bear too: a name is then only likely,
and what the firmware says of itself is what counts. Source: the vendors' descriptors.
"""

from __future__ import annotations

import grp
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["KNOWN_STICKS", "SerialPort", "access_problem", "serial_ports"]

KNOWN_STICKS: Final[dict[tuple[int, int], str]] = {
    (0x1A86, 0x55D4): "Sonoff ZBDongle-E (EFR32MG21)",
    (0x10C4, 0xEA60): "a CP210x converter: SkyConnect, ZBT-1, Sonoff or SMLight stick",
    (0x303A, 0x4001): "Home Assistant ZBT-2 (EFR32MG24)",
    (0x303A, 0x831A): "Home Assistant ZBT-2 (EFR32MG24)",
    (0x1366, 0x0105): "Silicon Labs development kit (J-Link)",
    (0x1915, 0x521F): "nRF52840 dongle in its boot loader",
    (0x1915, 0xCAFE): "nRF52840 dongle with OpenThread RCP",
    (0x1A86, 0x7523): "a CH340 converter",
    (0x0403, 0x6001): "an FTDI converter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPort:
    path: str
    vendor_id: int | None
    product_id: int | None
    product: str  # what the USB descriptor says, "" where it says nothing

    @property
    def likely(self) -> str:
        """The stick that this may be; "" for an id that is in no table."""
        if self.vendor_id is None or self.product_id is None:
            return ""
        return KNOWN_STICKS.get((self.vendor_id, self.product_id), "")


def serial_ports() -> list[SerialPort]:
    """Those with a USB device behind them, by path: the serial ports of a mainboard are no sticks."""
    from serial.tools import list_ports  # here, since it is slow to import

    return sorted(
        (
            SerialPort(path=port.device, vendor_id=port.vid, product_id=port.pid, product=port.product or "")
            for port in list_ports.comports()
            if port.vid is not None
        ),
        key=lambda port: port.path,
    )


def access_problem(path: str) -> tuple[str, str] | None:
    """Why this user cannot open the port, and what to do; None where it can."""
    try:
        mode = Path(path).stat()
    except OSError as error:
        return f"{path}: {error.strerror}", "plug the stick in, and look at `ls /dev/serial/by-id`"
    if not stat.S_ISCHR(mode.st_mode):
        return f"{path} is no serial port", "give the path of a port, as /dev/ttyACM0"
    if os.access(path, os.R_OK | os.W_OK):
        return None
    try:
        group = grp.getgrgid(mode.st_gid).gr_name
    except KeyError:
        group = str(mode.st_gid)
    return f"{path} may not be opened by this user", f"sudo usermod -aG {group} $USER, then log in again"
