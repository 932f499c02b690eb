"""A capture of the whole air as a pcapng file, link type 195: each frame as it was sent, with FCS.

Frames of real RCP sticks may be noted beside those of the air: as our stack gave them to a stick, or had them
from one, each once, without acknowledgements and a stick's own repeats.
"""

from __future__ import annotations

from logging import getLogger
from pathlib import Path
from typing import BinaryIO, Final

from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64
from smets1.hardware.air.channel import Fate
from smets1.hardware.air.medium import Air
from smets1.hardware.fcs import append_fcs
from smets1.hardware.pcapng import PcapngWriter

__all__ = ["Capture"]


_LOG = getLogger(__name__)
_SAME_US: Final = 50_000
"""Octets that come again within this are one frame, heard by more than one stick."""


class Capture:
    """Writes from now until `close`; acknowledgements, collided and corrupted frames included.

    A disk that is full ends the capture, never the air: that is logged once, and said again by `close`.
    """

    def __init__(self, air: Air, file: Path | BinaryIO, *, epoch_utc_us: int = 0) -> None:
        """`epoch_utc_us`: what the scheduler's 0 is, since 1970 UTC.

        Raises InputError where the file cannot be written.
        """
        self._name = "capture"
        if isinstance(file, Path):
            self._name = f"capture {file}"
            try:
                file = file.open("wb")
            except OSError as error:
                raise InputError(f"capture {file}: {error.strerror}") from error
        self.frame_count = 0
        self._writer = PcapngWriter(file, epoch_utc_us=epoch_utc_us)
        self._untap = air.tap(self._on_frame)
        self._noted: dict[bytes, int] = {}
        self._is_open = True
        self._failure = ""

    def _on_frame(self, time_us: int, psdu: bytes, sender: Eui64, fate: Fate) -> None:
        self.frame_count += 1
        octets = append_fcs(psdu)
        if fate is Fate.BAD_FCS:
            octets = octets[:-2] + bytes(octet ^ 0xFF for octet in octets[-2:])
        try:
            self._writer.write(time_us, octets)
        except OSError as error:
            self._fail(error)

    def note(self, time_us: int, psdu: bytes) -> None:
        """A frame that a real stick sends or hears. Several sticks hear the same one."""
        for old in [old for old, when_us in self._noted.items() if time_us - when_us > _SAME_US]:
            del self._noted[old]
        if psdu not in self._noted and self._is_open and not self._failure:
            self._noted[psdu] = time_us
            self._on_frame(time_us, psdu, 0, Fate.RECEIVED)

    def flush(self) -> None:
        try:
            self._writer.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self._failure:
            self._failure = f"{self._name}: {error.strerror or error}: what follows is not in it"
            self._untap()
            _LOG.warning("%s", self._failure)

    def close(self) -> None:
        """Frames still on the air are left out. Raises LostError, once: the file is not whole."""
        if not self._is_open:
            return
        self._is_open = False
        if not self._failure:
            self._untap()
        try:
            self._writer.close()
        except OSError as error:
            self._failure = self._failure or f"{self._name}: {error.strerror or error}: it is not whole"
        if self._failure:
            raise LostError(self._failure)
