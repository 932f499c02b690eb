"""The header of an EZSP frame: sequence, frame control, number of the command.

Until both ends have agreed on a version a host writes three octets (`version` only); from version 8 on five.
Source: Silicon Labs UG100, 3.2 and 3.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from smets1.errors import DecodeError

__all__ = ["EzspFrame"]

_RESPONSE: Final = 0x80
_CALLBACK: Final = 0x10  # an asynchronous one
_FORMAT_1: Final = 0x01  # frame control, high octet: five octets of header
_HEADER: Final = struct.Struct("<BBBH")
_LEGACY: Final = struct.Struct("<BBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class EzspFrame:
    """A command (host to stick), its answer, or a callback."""

    sequence: int  # 0..255; an answer has that of its command
    frame_id: int
    parameters: bytes = b""
    is_response: bool = False
    is_callback: bool = False
    is_legacy: bool = False

    def encode(self) -> bytes:
        control = (_RESPONSE if self.is_response else 0) | (_CALLBACK if self.is_callback else 0)
        if self.is_legacy:
            head = _LEGACY.pack(self.sequence, control, self.frame_id)
        else:
            head = _HEADER.pack(self.sequence, control, _FORMAT_1, self.frame_id)
        return head + self.parameters

    @classmethod
    def decode(cls, octets: bytes, *, is_legacy: bool = False) -> Self:
        """Raises DecodeError."""
        layout = _LEGACY if is_legacy else _HEADER
        if len(octets) < layout.size:
            raise DecodeError("EZSP", len(octets), "shorter than its header")
        if is_legacy:
            sequence, control, frame_id = layout.unpack_from(octets)
        else:
            sequence, control, form, frame_id = layout.unpack_from(octets)
            if form & 0x03 != _FORMAT_1:
                raise DecodeError("EZSP", 2, f"frame format {form & 3}")
        return cls(
            sequence=sequence,
            frame_id=frame_id,
            parameters=octets[layout.size :],
            is_response=control & _RESPONSE != 0,
            is_callback=control & (_CALLBACK | 0x08) != 0,
            is_legacy=is_legacy,
        )
