"""The battery of a gas meter: what sleeping, waking and moving the valve take from it.

Charge is a whole number of nAh. The figures are ours, chosen so that a meter that wakes each half hour
lasts some 19 years: they stand for a model, not for a measurement.

Low (10 %, where nothing else is configured) is told once, empty once. What an empty battery does to the
supply is SupplyDepletionState: before the last charge is gone the meter closes its valve where it is told to.

Source: SMETS1 (RemainingBatteryCapacity, SupplyDepletionState, 0x8F1F low battery).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import HOUR_US
from smets1.devices.state import StateReader, pack_state

__all__ = ["EMPTY_PERCENT", "LOW_PERCENT", "Battery", "BatteryEvent", "SupplyDepletionState"]

CAPACITY_NAH: Final = 19_000_000_000  # 19 Ah: one D cell of lithium thionyl chloride
SLEEP_NA: Final = 20_000  # 20 uA
WAKE_NAH: Final = 45_000
VALVE_NAH: Final = 500_000
LOW_PERCENT: Final = 10
EMPTY_PERCENT: Final = 1  # below this the valve may not move any more, so the meter acts here


@unique
class SupplyDepletionState(IntEnum):
    """What an empty battery does to the supply. Source: DUIS SupplyDepletionState."""

    UNCHANGED = 0
    LOCKED = 1


@unique
class BatteryEvent(IntEnum):
    LOW = 0
    EMPTY = 1


class Battery:
    """One meter's battery. Time comes as spans slept through, so a set clock does not move it."""

    __slots__ = ("_told", "capacity_nah", "depletion", "low_percent", "used_nah")

    def __init__(self, *, capacity_nah: int = CAPACITY_NAH) -> None:
        self.capacity_nah = capacity_nah
        self.used_nah = 0
        self.depletion = SupplyDepletionState.UNCHANGED
        self.low_percent = LOW_PERCENT
        self._told = -1  # highest BatteryEvent that was told

    @property
    def percent(self) -> int:
        """Rounded down; RemainingBatteryLife of the Metering cluster."""
        return max(0, self.capacity_nah - self.used_nah) * 100 // self.capacity_nah

    @property
    def remaining_days(self) -> int:
        """At the pace of a meter that wakes each half hour. RemainingBatteryCapacity."""
        daily = SLEEP_NA * 24 + WAKE_NAH * 48
        return max(0, self.capacity_nah - self.used_nah) // daily

    def sleep(self, span_us: int) -> None:
        self.used_nah += SLEEP_NA * span_us // HOUR_US

    def wake(self) -> None:
        self.used_nah += WAKE_NAH

    def move_valve(self) -> None:
        self.used_nah += VALVE_NAH

    def drain_to(self, percent: int) -> None:
        """For a test or a scenario."""
        self.used_nah = self.capacity_nah * (100 - percent) // 100

    def replace(self) -> None:
        self.used_nah, self._told = 0, -1

    def take_events(self) -> list[BatteryEvent]:
        """Each event once for each battery."""
        reached = -1
        if self.percent < EMPTY_PERCENT:
            reached = BatteryEvent.EMPTY
        elif self.percent <= self.low_percent:
            reached = BatteryEvent.LOW
        events = [event for event in BatteryEvent if self._told < event <= reached]
        self._told = max(self._told, reached)
        return events

    def encode(self) -> bytes:
        return pack_state(
            "battery",
            2,
            {
                "charge": [self.capacity_nah, self.used_nah],
                "depletion": int(self.depletion),
                "told": self._told,
                "low_percent": self.low_percent,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> Battery:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="battery", versions=(1, 2))
        capacity, used = reader.wholes("charge", 2)
        if capacity <= 0 or used < 0:
            raise reader.bad("charge", "is not a battery's")
        battery = cls(capacity_nah=capacity)
        battery.used_nah = used
        battery.depletion = SupplyDepletionState(reader.whole("depletion", 0, 1))
        battery._told = reader.whole("told", -1, 1)
        if reader.version > 1:
            battery.low_percent = reader.whole("low_percent", EMPTY_PERCENT, 100)
        return battery
