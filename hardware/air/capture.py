"""A capture of the whole air as a pcapng file, link type 195: each frame as it was sent, with FCS."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from smets1.errors import InputError
from smets1.eui64 import Eui64
from smets1.hardware.air.channel import Fate
from smets1.hardware.air.medium import Air
from smets1.hardware.fcs import append_fcs
from smets1.hardware.pcapng import PcapngWriter

__all__ = ["Capture"]


class Capture:
    """Writes from now until `close`; acknowledgements, collided and corrupted frames included."""

    def __init__(self, air: Air, file: Path | BinaryIO, *, epoch_utc_us: int = 0) -> None:
        """`epoch_utc_us`: what the scheduler's 0 is, since 1970 UTC.

        Raises InputError where the file cannot be written.
        """
        if isinstance(file, Path):
            try:
                file = file.open("wb")
            except OSError as error:
                raise InputError(f"capture {file}: {error.strerror}") from error
        self.frame_count = 0
        self._writer = PcapngWriter(file, epoch_utc_us=epoch_utc_us)
        self._untap = air.tap(self._on_frame)
        self._is_open = True

    def _on_frame(self, time_us: int, psdu: bytes, sender: Eui64, fate: Fate) -> None:
        self.frame_count += 1
        octets = append_fcs(psdu)
        if fate is Fate.BAD_FCS:
            octets = octets[:-2] + bytes(octet ^ 0xFF for octet in octets[-2:])
        self._writer.write(time_us, octets)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        """Frames still on the air are left out."""
        if self._is_open:
            self._is_open = False
            self._untap()
            self._writer.close()
