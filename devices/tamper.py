"""Covers, magnets and tilt: what the meter's own switches feel, and what it does about it.

A sensor that opens is one event, logged and sent; it counts again only after it has closed. Where the
supply tamper state is LOCKED the supply goes off as well and stays off (off reason EVENT): no key and no
credit brings it back, only the supplier's Arm. "Locked" is that absence of a way back, not a further state.

Source: GBCS table 16.2 (cover, magnet, tilt; 0x8F3F, 0x8F73 to 0x8F78, 0x81BE); DUIS 5.4 services 6.25 and
6.7 (SupplyTamperState). Which code goes with which sensor is our reading.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.devices.event_log import AlertCode
from smets1.devices.state import StateReader, pack_state

__all__ = ["TAMPER_CODES", "Sensor", "SupplyTamperState", "TamperMachine"]


@unique
class SupplyTamperState(IntEnum):
    """What a tamper event does to the supply. Source: DUIS SupplyTamperState."""

    UNCHANGED = 0
    LOCKED = 1


class Sensor(IntFlag):
    """Bit mask as the machine keeps it."""

    METER_COVER = 0x01
    TERMINAL_COVER = 0x02
    BATTERY_COVER = 0x04
    MAGNET = 0x08
    TILT = 0x10


TAMPER_CODES: Final = {
    Sensor.METER_COVER: AlertCode.METER_COVER_REMOVED,
    Sensor.TERMINAL_COVER: AlertCode.TERMINAL_COVER_REMOVED,
    Sensor.BATTERY_COVER: AlertCode.BATTERY_COVER_REMOVED,
    Sensor.MAGNET: AlertCode.STRONG_MAGNETIC_FIELD,
    Sensor.TILT: AlertCode.OTHER_PHYSICAL_ACCESS,
}

ELECTRICITY_SENSORS: Final = Sensor.METER_COVER | Sensor.TERMINAL_COVER | Sensor.MAGNET
GAS_SENSORS: Final = Sensor.METER_COVER | Sensor.BATTERY_COVER | Sensor.MAGNET | Sensor.TILT


class TamperMachine:
    """The sensors of one meter; `fitted` are those it has."""

    __slots__ = ("count", "fitted", "open", "state")

    def __init__(self, *, fitted: Sensor) -> None:
        self.fitted = fitted
        self.open = Sensor(0)
        self.state = SupplyTamperState.UNCHANGED
        self.count = 0

    def feel(self, sensor: Sensor, is_open: bool) -> AlertCode | None:
        """One sensor opens or closes. The code to log where it has newly opened."""
        if not sensor & self.fitted:
            return None
        was_open = bool(self.open & sensor)
        self.open = self.open | sensor if is_open else self.open & ~sensor
        if was_open or not is_open:
            return None
        self.count += 1
        return TAMPER_CODES[sensor]

    def encode(self) -> bytes:
        """Sensors are remembered open: a cover taken off in a power cut shows as a change at its end."""
        return pack_state(
            "tamper", 1, {"open": int(self.open), "state": int(self.state), "count": self.count}
        )

    def decode_into(self, octets: bytes) -> None:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="tamper", versions=(1,))
        self.open = Sensor(reader.whole("open", 0, 0x1F))
        self.state = SupplyTamperState(reader.whole("state", 0, 1))
        self.count = reader.whole("count", 0)
