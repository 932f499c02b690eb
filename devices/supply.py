"""The contactor or valve: on, off or armed, and why it is off.

It never switches itself on. Whatever ends the reason for being off leads to ARMED ("READY" on the
meter), and a person confirms: key A, then key B within 30 s, or the PPMID. The one exception is a
supplier's explicit Enable (SRV 7.1, electricity only), which is a person's act elsewhere.

Source: Liberty 100 manual as condensed in facts (off reasons, A then B, overload 20 s);
ZigBee SE 1.2, Metering attribute SupplyStatus (0 off, 1 armed, 2 on).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import SECOND_US
from smets1.devices.state import StateReader, pack_state
from smets1.firmware.zcl.clusters.smets1 import OffReason

__all__ = ["CONFIRM_WINDOW_US", "OVERLOAD_US", "OffReason", "SupplyMachine", "SupplyOutcome", "SupplyState"]

CONFIRM_WINDOW_US: Final = 30 * SECOND_US
OVERLOAD_US: Final = 20 * SECOND_US


@unique
class SupplyState(IntEnum):
    """Metering attribute 0x0014 SupplyStatus."""

    OFF = 0
    ARMED = 1
    ON = 2


@unique
class SupplyOutcome(IntEnum):
    """What came of a command to the switch."""

    DONE = 0
    UNCHANGED = 1  # it was so already
    NO_CREDIT = 2  # refused: only credit ends this reason
    NOT_ARMED = 3  # refused: nothing to confirm
    TOO_LATE = 4  # refused: B without A in the last 30 s


class SupplyMachine:
    """A value machine; every change is asked for with the time. Starts ON."""

    __slots__ = ("confirm_until_us", "overload_until_us", "reasons", "state")

    def __init__(self) -> None:
        self.state = SupplyState.ON
        self.reasons = OffReason(0)
        self.confirm_until_us: int | None = None  # key A has been pressed; B counts until then
        self.overload_until_us: int | None = None

    @property
    def is_on(self) -> bool:
        return self.state is SupplyState.ON

    def disable(self, reason: OffReason, *, utc_us: int) -> SupplyOutcome:
        """Off at once, from any state. Reasons add up, and each has to end."""
        if self.state is SupplyState.OFF and self.reasons & reason == reason:
            return SupplyOutcome.UNCHANGED
        self.state = SupplyState.OFF
        self.reasons |= reason
        self.confirm_until_us = None
        if reason & OffReason.OVERLOAD:
            self.overload_until_us = utc_us + OVERLOAD_US
        return SupplyOutcome.DONE

    def clear(self, reason: OffReason) -> bool:
        """A reason has ended. True where that was the last one and the supply is now armed."""
        self.reasons &= ~reason
        if reason & OffReason.OVERLOAD:
            self.overload_until_us = None
        if self.state is not SupplyState.OFF or self.reasons:
            return False
        self.state = SupplyState.ARMED
        return True

    def arm(self) -> SupplyOutcome:
        """The supplier's Arm (SRV 7.3): ends every reason but the want of credit."""
        if self.state is not SupplyState.OFF:
            return SupplyOutcome.UNCHANGED
        return SupplyOutcome.DONE if self.clear(~OffReason.NO_CREDIT) else SupplyOutcome.NO_CREDIT

    def enable(self) -> SupplyOutcome:
        """The supplier's Enable (SRV 7.1): on without a person at the meter, but not without credit."""
        if self.is_on:
            return SupplyOutcome.UNCHANGED
        if self.state is SupplyState.OFF and self.arm() is not SupplyOutcome.DONE:
            return SupplyOutcome.NO_CREDIT
        return self.confirm()

    def press_a(self, *, utc_us: int) -> SupplyOutcome:
        """Key A at the meter: opens 30 s in which B confirms."""
        if self.state is not SupplyState.ARMED:
            return SupplyOutcome.NOT_ARMED
        self.confirm_until_us = utc_us + CONFIRM_WINDOW_US
        return SupplyOutcome.DONE

    def press_b(self, *, utc_us: int) -> SupplyOutcome:
        """Key B at the meter, up to and including 30 s after A."""
        if self.state is not SupplyState.ARMED:
            return SupplyOutcome.NOT_ARMED
        if self.confirm_until_us is None or utc_us > self.confirm_until_us:
            self.confirm_until_us = None
            return SupplyOutcome.TOO_LATE
        return self.confirm()

    def confirm(self) -> SupplyOutcome:
        """A person says yes: B after A, or the PPMID."""
        if self.state is not SupplyState.ARMED:
            return SupplyOutcome.NOT_ARMED
        self.state = SupplyState.ON
        self.confirm_until_us = None
        return SupplyOutcome.DONE

    def shift(self, delta_us: int) -> None:
        """The clock is set: what runs keeps its length."""
        if self.confirm_until_us is not None:
            self.confirm_until_us += delta_us
        if self.overload_until_us is not None:
            self.overload_until_us += delta_us

    def next_timer_us(self) -> int | None:
        return self.overload_until_us

    def on_timer(self, *, utc_us: int) -> bool:
        """True where an overload has been sat out and the supply is now armed."""
        if self.overload_until_us is None or utc_us < self.overload_until_us:
            return False
        return self.clear(OffReason.OVERLOAD)

    def encode(self) -> bytes:
        return pack_state(
            "supply",
            1,
            {
                "state": int(self.state),
                "reasons": int(self.reasons),
                "overload_until_us": self.overload_until_us,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> SupplyMachine:
        """From NVM. An opened confirmation window does not outlive a power cut. Raises DecodeError."""
        reader = StateReader(octets, kind="supply", versions=(1,))
        machine = cls()
        machine.state = SupplyState(reader.whole("state", 0, 2))
        machine.reasons = OffReason(reader.whole("reasons", 0, 0x1F))
        machine.overload_until_us = reader.whole_or_none("overload_until_us")
        return machine
