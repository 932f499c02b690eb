"""A remote top-up that comes while a person is typing a code: it waits until Vend Mode has ended.

The meter judges one code at a time, and the keypad has it. Who asks over the air may give up meanwhile and
ask again: of equal questions only the newest is kept, so that the second does not find the first one's
credit. What waits is not in NVM; a power cut ends Vend Mode too, and who asked asks again.

Source: Secure Liberty 100 manual (a meter left in Vend Mode can delay a remote top-up).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from smets1.errors import DecodeError
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import ZclHeader
from smets1.firmware.zcl.status import FrameType, Side

__all__ = ["VendHold", "is_top_up"]

_TOP_UP: Final = PREPAYMENT.command("consumer_top_up", Side.CLIENT).command_id
_ONCE: Final = AUTHORISATION.command("execute_once", Side.CLIENT)


def is_top_up(cluster_id: int, frame: bytes) -> bool:
    """Whether a ZCL frame from outside is ConsumerTopUp, bare or within execute_once. Any octets."""
    try:
        header, payload = ZclHeader.decode(frame)
        if header.frame_type is not FrameType.CLUSTER or header.sender is not Side.CLIENT:
            return False
        if (cluster_id, header.command_id) == (AUTHORISATION.cluster_id, _ONCE.command_id):
            fields = _ONCE.payload.decode(payload)
            inner_id, inner = int(fields["cluster"]), bytes(fields["frame"])
            return inner_id == PREPAYMENT.cluster_id and is_top_up(inner_id, inner)
    except DecodeError:
        return False
    return (cluster_id, header.command_id) == (PREPAYMENT.cluster_id, _TOP_UP)


class VendHold:
    """`is_vending`: whether the keypad is in Vend Mode now."""

    def __init__(self, is_vending: Callable[[], bool]) -> None:
        self._is_vending = is_vending
        self._held: dict[Hashable, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def offer(self, cluster_id: int, frame: bytes, obey: Callable[[], None], *, who: Hashable) -> bool:
        """True: `obey` is called later. `who` asks; asking the same again takes the place of the first."""
        if not self._is_vending() or not is_top_up(cluster_id, frame):
            return False
        header, payload = ZclHeader.decode(frame)
        key = (who, cluster_id, header.command_id, payload)
        self._held.pop(key, None)
        self._held[key] = obey
        return True

    def release(self) -> None:
        """Something has happened at the keypad: where Vend Mode is over, what waited is obeyed, in order."""
        while self._held and not self._is_vending():
            self._held.pop(next(iter(self._held)))()
