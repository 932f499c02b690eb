"""HDLC-lite: how a Spinel frame is told from the next one on a serial line.

A frame is its octets and a CRC-16/X-25 (low octet first), between flags 7E; one flag may end a frame and
begin the next. 7E, 7D, XON 11, XOFF 13 and F8 inside are sent as 7D and the octet xor 20.

Whatever else arrives (the stick's boot messages, a garbled octet) costs the frame it is in, never the
one after the next flag. Source: draft-rquattle-spinel-unified-00, A.1.2; RFC 1662, C.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

__all__ = ["FLAG", "MAX_FRAME_OCTETS", "HdlcDecoder", "crc", "hdlc_frame"]

FLAG: Final = 0x7E
ESCAPE: Final = 0x7D
_FLIP: Final = 0x20
MAX_FRAME_OCTETS: Final = 2048
"""Larger than any Spinel frame (1300): a line that never sends a flag must not fill the memory."""

_ESCAPED: Final = (ESCAPE, FLAG, 0x11, 0x13, 0xF8)  # the escape itself first, for replacing one by one
_CRC_OCTETS: Final = 2
_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def crc(octets: bytes) -> int:
    """CRC-16/X-25, 0..0xFFFF; `crc(b"123456789") == 0x906E`."""
    # the library computes the same polynomial most significant bit first
    value = crc_hqx(octets.translate(_REVERSED), 0xFFFF) ^ 0xFFFF
    return _REVERSED[value & 0xFF] << 8 | _REVERSED[value >> 8]


def hdlc_frame(octets: bytes) -> bytes:
    """One Spinel frame as it goes on the line, flags on both sides."""
    body = octets + crc(octets).to_bytes(2, "little")
    for octet in _ESCAPED:
        body = body.replace(bytes((octet,)), bytes((ESCAPE, octet ^ _FLIP)))
    return bytes((FLAG,)) + body + bytes((FLAG,))


class HdlcDecoder:
    """Any octets in, in any portions; whole, checked frames out. Raises nothing."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._is_overlong = False
        self.bad_count = 0
        """Frames that were thrown away: a wrong CRC, a stray escape, no end."""

    def feed(self, octets: bytes) -> list[bytes]:
        """Spinel frames without CRC that these octets complete."""
        frames = []
        *ended, rest = octets.split(bytes((FLAG,)))
        for part in ended:
            self._hold(part)
            frame = self._take()
            if frame is not None:
                frames.append(frame)
        self._hold(rest)
        return frames

    def _hold(self, part: bytes) -> None:
        if len(self._held) + len(part) > 2 * (MAX_FRAME_OCTETS + _CRC_OCTETS):
            self._is_overlong = True
            self._held.clear()
        if not self._is_overlong:
            self._held += part

    def _take(self) -> bytes | None:
        """A flag has come: what is held is a frame, nothing (flags in a row), or garbage."""
        held, was_overlong = bytes(self._held), self._is_overlong
        self._held.clear()
        self._is_overlong = False
        if not held and not was_overlong:
            return None
        body = None if was_overlong else _unescape(held)
        if body is None or len(body) <= _CRC_OCTETS or len(body) > MAX_FRAME_OCTETS + _CRC_OCTETS:
            self.bad_count += 1
            return None
        frame = body[:-_CRC_OCTETS]
        if crc(frame) != int.from_bytes(body[-_CRC_OCTETS:], "little"):
            self.bad_count += 1
            return None
        return frame


def _unescape(held: bytes) -> bytes | None:
    """None for an escape with nothing behind it."""
    first, *others = held.split(bytes((ESCAPE,)))
    body = bytearray(first)
    for part in others:
        if not part:
            return None
        body.append(part[0] ^ _FLIP)
        body += part[1:]
    return bytes(body)
