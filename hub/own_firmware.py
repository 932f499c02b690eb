"""The hub's own firmware: started at its hour, kept where the hub then reaches the WAN, else given up.

Source: SMETS1 Uplift 1.2 (dual image, activation apart from download); the proof is our design.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from smets1.firmware.civil import CivilClock
from smets1.firmware.images import ImageSlots
from smets1.firmware.upkeep import start_instant_us
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Status

__all__ = ["HubFirmware"]

_LONGEST_REST_S: Final = 3600.0
_TRIAL_S: Final = 3600
_PROOF_EVERY_S: Final = 60


class HubFirmware:
    """`is_well()`: what the running image finds of itself, which is whether the WAN is up."""

    def __init__(
        self,
        images: ImageSlots,
        civil: CivilClock,
        *,
        is_well: Callable[[], bool],
        on_version: Callable[[int], None],
    ) -> None:
        self.images = images
        self._civil = civil
        self._is_well = is_well
        self._on_version = on_version
        self._stirred = asyncio.Event()
        images.on_boot()

    def activate(self, fields: Values) -> Status:
        """The word of the head end (SRV 11.3)."""
        start_us = start_instant_us(int(fields["activation_time"]), now_utc_us=self._civil.utc_us())
        if not self.images.obey(int(fields["file_version"]), start_us):
            return Status.NOT_FOUND
        self._stirred.set()
        return Status.SUCCESS

    async def run(self) -> None:
        """For as long as the hub has power."""
        while True:
            if self.images.is_on_trial:
                await self._prove()
            self._stirred.clear()
            due_us = self.images.due_utc_us
            left_s = _LONGEST_REST_S if due_us is None else max(0, due_us - self._civil.utc_us()) / 1e6
            if due_us is not None and left_s == 0:
                self._on_version(self.images.activate())
                continue
            try:
                async with asyncio.timeout(min(left_s, _LONGEST_REST_S)):
                    await self._stirred.wait()
            except TimeoutError:
                continue

    async def _prove(self) -> None:
        for _ in range(_TRIAL_S // _PROOF_EVERY_S):
            if self._is_well():
                self.images.confirm()
                return
            await asyncio.sleep(_PROOF_EVERY_S)
        if self.images.roll_back():
            self._on_version(self.images.version)
