"""The frame check sequence of IEEE 802.15.4, quick enough to put on every captured frame.

The standard library computes the same polynomial (x^16 + x^12 + x^5 + 1) most significant bit
first in `binascii.crc_hqx`; 802.15.4 sends the least significant bit first. So: reverse the bits
of each octet, run it, reverse the bits of the result.

Source: IEEE 802.15.4-2006, 7.2.1.9.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

__all__ = ["append_fcs", "fcs", "has_good_fcs"]

_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def fcs(frame: bytes) -> int:
    """MAC header and payload, no FCS -> 0..0xFFFF, low octet first on air.

    ITU-T CRC-16, start 0; `fcs(b"\\x02\\x00\\x6a") == 0x79E4`.
    """
    crc = crc_hqx(frame.translate(_REVERSED), 0)
    return _REVERSED[crc & 0xFF] << 8 | _REVERSED[crc >> 8]


def append_fcs(frame: bytes) -> bytes:
    """The frame as it is on the air, its FCS behind it."""
    return frame + fcs(frame).to_bytes(2, "little")


def has_good_fcs(octets: bytes) -> bool:
    """Whether octets off the air, FCS included, check. The CRC over a frame and its FCS is 0."""
    return len(octets) >= 2 and crc_hqx(octets.translate(_REVERSED), 0) == 0
