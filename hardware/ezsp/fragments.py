"""Long APS messages as an EZSP host sees them: it cuts and joins, the stick carries blocks.

Windows of one block, as Smart Energy has them: each block is acknowledged before the next is sent.
Source: Zigbee 05-3474-21, 2.2.8.4.5; Silicon Labs UG100, EmberApsFrame (group id of a fragment).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_BLOCKS", "PLAIN_OCTETS", "SECURED_OCTETS", "Collector", "cut"]

PLAIN_OCTETS: Final = 82
SECURED_OCTETS: Final = 65
"""What fits into one unfragmented frame, without and with a link key."""
_FRAGMENT_OCTETS: Final = 2
MAX_BLOCKS: Final = 64
_LIFE_US: Final = 20_000_000


def cut(payload: bytes, *, is_secured: bool) -> list[bytes]:
    """The blocks of a message; one that fits into a frame is a single one, whole."""
    room = SECURED_OCTETS if is_secured else PLAIN_OCTETS
    if len(payload) <= room:
        return [payload]
    size = room - _FRAGMENT_OCTETS
    return [payload[start : start + size] for start in range(0, len(payload), size)]


@dataclass(slots=True)
class _Transfer:
    count: int
    started_us: int
    blocks: dict[int, bytes]
    is_done: bool = False


class Collector:
    """Blocks in, whole messages out. Foreign octets: anything odd is dropped and not acknowledged."""

    def __init__(self) -> None:
        self._transfers: dict[tuple[int, int], _Transfer] = {}

    def add(
        self, sender: int, sequence: int, group_id: int, block: bytes, *, now_us: int
    ) -> tuple[bool, bytes | None]:
        """(whether to acknowledge, the whole message once it is there)."""
        for key in [key for key, old in self._transfers.items() if now_us - old.started_us > _LIFE_US]:
            del self._transfers[key]
        number, count = group_id & 0xFF, group_id >> 8
        transfer = self._transfers.get((sender, sequence))
        if transfer is None:
            if number or not 1 < count <= MAX_BLOCKS:
                return False, None
            transfer = self._transfers[sender, sequence] = _Transfer(count, now_us, {})
        if number >= transfer.count:
            return False, None
        if transfer.is_done:
            return True, None  # its acknowledgement was lost
        transfer.blocks.setdefault(number, block)
        if len(transfer.blocks) < transfer.count:
            return True, None
        whole = b"".join(transfer.blocks[at] for at in range(transfer.count))
        transfer.is_done = True
        transfer.blocks.clear()
        return True, whole
