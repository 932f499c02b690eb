"""ASH framing: how an EZSP frame is told from the next one on a serial line.

A frame is a control octet, data, and a CRC-CCITT (high octet first), ended by a flag 7E. Octets that mean
something to the line are sent as 7D and the octet xor 20. The data of a DATA frame are XORed with a fixed
pseudo-random sequence, so that they hold few octets to escape.

Whatever else arrives costs the frame it is in, never the one after the next flag.
Source: Silicon Labs UG101 (UART-EZSP gateway protocol reference), 2 and 4.
"""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Self

from smets1.errors import DecodeError

__all__ = [
    "ASH_VERSION",
    "CANCEL",
    "FLAG",
    "MAX_DATA_OCTETS",
    "AshDecoder",
    "AshFrame",
    "AshType",
    "ResetCode",
]

FLAG: Final = 0x7E
ESCAPE: Final = 0x7D
XON: Final = 0x11
XOFF: Final = 0x13
SUBSTITUTE: Final = 0x18  # the line itself has found an error: the frame is lost
CANCEL: Final = 0x1A  # forget what has come since the last flag
_FLIP: Final = 0x20
_ESCAPED: Final = (ESCAPE, FLAG, XON, XOFF, SUBSTITUTE, CANCEL)  # the escape itself first
ASH_VERSION: Final = 2
MAX_DATA_OCTETS: Final = 220
"""An EZSP frame has 200 octets at most; version 14 and later somewhat more."""
_MAX_RAW_OCTETS: Final = 2 * (MAX_DATA_OCTETS + 3)
_CRC_OCTETS: Final = 2


@unique
class ResetCode(IntEnum):
    """Why the stick has reset, or given up. Source: UG101, table 3."""

    UNKNOWN = 0x00
    EXTERNAL = 0x01
    POWER_ON = 0x02
    WATCHDOG = 0x03
    ASSERT = 0x06
    BOOTLOADER = 0x09
    SOFTWARE = 0x0B
    ACK_TIMEOUTS = 0x51


@unique
class AshType(IntEnum):
    DATA = 0x00
    ACK = 0x80
    NAK = 0xA0
    RST = 0xC0
    RSTACK = 0xC1
    ERROR = 0xC2


def _sequence(count: int) -> bytes:
    """The pseudo-random octets: a shift register of seed 42, polynomial B8. Source: UG101, 4.3."""
    octets = bytearray()
    state = 0x42
    for _ in range(count):
        octets.append(state)
        state = state >> 1 ^ 0xB8 if state & 1 else state >> 1
    return bytes(octets)


_MASK: Final = int.from_bytes(_sequence(256), "big")


def _randomize(data: bytes) -> bytes:
    mask = _MASK >> 8 * (256 - len(data))
    return (int.from_bytes(data, "big") ^ mask).to_bytes(len(data), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class AshFrame:
    """One frame. Which fields count depends on `kind`; `data` of RSTACK and ERROR: version, reset code."""

    kind: AshType
    frame_number: int = 0  # 0..7, DATA
    ack_number: int = 0  # 0..7, the frame expected next; DATA, ACK, NAK
    is_repeat: bool = False  # DATA
    is_not_ready: bool = False  # ACK, NAK: the host asks for no callbacks
    data: bytes = b""

    def encode(self) -> bytes:
        """As it goes on the line, flag behind it."""
        if self.kind is AshType.DATA:
            control = self.frame_number << 4 | self.is_repeat << 3 | self.ack_number
            body = bytes((control,)) + _randomize(self.data)
        elif self.kind in (AshType.ACK, AshType.NAK):
            body = bytes((self.kind | self.is_not_ready << 3 | self.ack_number,))
        else:
            body = bytes((self.kind,)) + self.data
        body += crc_hqx(body, 0xFFFF).to_bytes(_CRC_OCTETS, "big")
        for octet in _ESCAPED:
            body = body.replace(bytes((octet,)), bytes((ESCAPE, octet ^ _FLIP)))
        return body + bytes((FLAG,))

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Unescaped octets between two flags, CRC included. Raises DecodeError."""
        if len(octets) < 1 + _CRC_OCTETS:
            raise DecodeError("ASH", len(octets), "shorter than a control octet and a CRC")
        if crc_hqx(octets, 0xFFFF):
            raise DecodeError("ASH", len(octets) - _CRC_OCTETS, "CRC")
        control, data = octets[0], octets[1:-_CRC_OCTETS]
        if not control & 0x80:
            return cls._decode_data(control, data)
        short = AshType.ACK if control & 0xE0 == AshType.ACK else AshType.NAK
        if control & 0xE0 == short:
            if data:
                raise DecodeError("ASH", 1, "an acknowledgement with data")
            return cls(kind=short, ack_number=control & 7, is_not_ready=control & 8 != 0)
        if control == AshType.RST and not data:
            return cls(kind=AshType.RST)
        if control in (AshType.RSTACK, AshType.ERROR) and len(data) == 2:
            return cls(kind=AshType(control), data=data)
        raise DecodeError("ASH", 0, f"control octet {control:02X} with {len(data)} octets")

    @classmethod
    def _decode_data(cls, control: int, data: bytes) -> Self:
        if not 1 <= len(data) <= MAX_DATA_OCTETS:
            raise DecodeError("ASH", 1, f"{len(data)} octets of data")
        return cls(
            kind=AshType.DATA,
            frame_number=control >> 4,
            ack_number=control & 7,
            is_repeat=control & 8 != 0,
            data=_randomize(data),
        )


class AshDecoder:
    """Octets off the line in portions of any size -> frames; what does not decode is counted."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._is_lost = False
        self._is_escaped = False
        self.bad_count = 0

    def feed(self, octets: bytes) -> list[AshFrame | None]:
        """Frames in order; None for one that was there and could not be read: its sender must repeat it."""
        frames: list[AshFrame | None] = []
        for octet in octets:
            if octet == FLAG:
                self._end(frames)
            elif octet == CANCEL:
                self._restart()
            elif octet == SUBSTITUTE:
                self._is_lost = True
            elif octet in (XON, XOFF):
                continue
            elif octet == ESCAPE:
                self._is_escaped = True
            elif len(self._raw) >= _MAX_RAW_OCTETS:
                self._is_lost = True
            else:
                self._raw.append(octet ^ _FLIP if self._is_escaped else octet)
                self._is_escaped = False
        return frames

    def _restart(self) -> None:
        self._raw.clear()
        self._is_lost = self._is_escaped = False

    def _end(self, frames: list[AshFrame | None]) -> None:
        raw, is_lost = bytes(self._raw), self._is_lost or self._is_escaped
        self._restart()
        if not raw and not is_lost:
            return  # flags in a row
        try:
            if is_lost:
                raise DecodeError("ASH", len(raw), "garbled on the line")
            frames.append(AshFrame.decode(raw))
        except DecodeError:
            self.bad_count += 1
            frames.append(None)
