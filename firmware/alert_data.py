"""What our devices put into the data of a PublishEvent: number, count of those held back, words.

ASSUMPTION. Smart Energy leaves EventData to the maker. The number lets whoever receives an event twice (an
acknowledgement was lost) tell that it is the same one; it rises by one for each alert of a device, for ever.

Source: SE 1.2 07-5356-19, D.12.2.4.1 (Publish Event); DUIS 5.4 (ThrottledAlertCount).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from smets1.errors import DecodeError

__all__ = ["LAST_GASP", "AlertData"]

LAST_GASP: Final = 0x8FF0
"""Event of an electricity meter whose power goes, our number: DCC tells of it as a Power Outage Event."""

_HEAD: Final = Struct("<BIH")
_VERSION: Final = 1
_MAX_DETAIL_OCTETS: Final = 48  # the frame stays in one piece


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertData:
    """In EventData: version (1), number (4), throttled count (2), UTF-8; low octets first."""

    number: int  # 0..2^32-1
    throttled_count: int = 0  # how many like it were held back before this one; 65535: that or more
    detail: str = ""

    def encode(self) -> bytes:
        head = _HEAD.pack(_VERSION, self.number & 0xFFFFFFFF, min(self.throttled_count, 0xFFFF))
        text = self.detail.encode()[:_MAX_DETAIL_OCTETS].decode("utf-8", "ignore")
        return head + text.encode()

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """EventData off the air. Raises DecodeError, and no other exception."""
        if len(octets) < _HEAD.size or octets[0] != _VERSION:
            raise DecodeError("alert data", 0, "not of this form")
        _, number, throttled_count = _HEAD.unpack_from(octets)
        try:
            detail = octets[_HEAD.size :].decode()
        except UnicodeDecodeError:
            raise DecodeError("alert data", _HEAD.size, "the words are no UTF-8") from None
        return cls(number=number, throttled_count=throttled_count, detail=detail)
