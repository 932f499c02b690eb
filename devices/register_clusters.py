"""A meter's further registers on the HAN: time of use, blocks and their counters, load limit.

How many TOU and block registers there are follows the tariff, so these are bound anew when it changes
(`sync`). With one TOU register blocks stand in the "no tier" set, as Smart Energy has it.

Source: SE 1.2 07-5356-19, D.3.2.2 (attribute sets 0x01 and 0x07); `meter_data.py` for what is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from smets1.devices.meter import ElectricityMeterCore, MeterCore
from smets1.devices.meter_clusters import ENDPOINT, at_present
from smets1.firmware.civil import CivilClock, zigbee_s
from smets1.firmware.zcl.execute import ZclCore

__all__ = ["RegisterClusters", "block_counters_uwh"]

_UNIT: Final = 1_000_000  # uWh in a Wh
_BLOCK_TIERS: Final = 8  # TOU registers that may have blocks
_U16_MAX: Final = 0xFFFE


def block_counters_uwh(meter: MeterCore, tou: int) -> list[int]:
    """Of one TOU register: what fell into each block in the present block period."""
    counters = [0] * meter.tariff.block_count
    for block, part in meter.tariff.split(tou, 0, meter.registers.counters_uwh[tou]):
        counters[block] += part
    return counters


class RegisterClusters:
    """Binds the registers of one meter core to endpoint 1; `metering` is there already."""

    def __init__(self, core: ZclCore, meter: MeterCore, civil: CivilClock) -> None:
        self.meter = meter
        self._present = partial(at_present, meter, civil)
        self.metering = core.server(ENDPOINT, "metering")
        self.data = core.obtain_server(ENDPOINT, "meter_data")
        self._shape = (0, 0)
        self.sync()
        self.data.bind("tenancy_from", lambda: max(0, zigbee_s(meter.tenancy_from_us)))
        if isinstance(meter, ElectricityMeterCore):
            self._bind_load_limit(meter)
            self.data.bind("average_voltage_period", lambda: meter.voltage.settings.average_period_s)

    # --- time of use and blocks -------------------------------------------------------------------

    @property
    def register_names(self) -> list[str]:
        """Of Metering: what a gas meter reports to its mirror besides the rest."""
        return [*self._tier_names(), *(name for name, _, _ in self._block_names())]

    @property
    def counter_names(self) -> list[str]:
        return [name for name, _, _ in self._counter_names()]

    @property
    def data_names(self) -> list[str]:
        """Of MeterData: what a gas meter reports to its mirror."""
        return ["tenancy_from", *self.counter_names]

    def sync(self) -> None:
        """After any change: have the attributes that the tariff asks for."""
        registers = self.meter.registers
        shape = (len(registers.tou_uwh), len(registers.block_uwh))
        if shape == self._shape:
            return
        if self._shape[0] == 1:
            for name, _, _ in self._block_names():
                self.metering.unset(name)
        self._shape = shape
        for tou, name in enumerate(self._tier_names()):
            self.metering.bind(name, self._tier_getter(tou))
        for name, tou, block in self._block_names():
            self.metering.bind(name, self._block_getter(tou, block))
        for name, tou, block in self._counter_names():
            self.data.bind(name, self._counter_getter(tou, block))

    def _tier_names(self) -> list[str]:
        return [f"current_tier{tou + 1}_summation_delivered" for tou in range(self._shape[0])]

    def _places(self) -> list[tuple[int, int]]:
        """(TOU register, block) of those that there are; none where prices know no blocks."""
        tous, blocks = self._shape
        if blocks < 2 or tous > _BLOCK_TIERS:
            return []
        return [(tou, block) for tou in range(tous) for block in range(blocks)]

    def _block_names(self) -> list[tuple[str, int, int]]:
        tier = "current_no_tier" if self._shape[0] == 1 else "current_tier{}"
        return [
            (f"{tier.format(tou + 1)}_block{block + 1}_summation_delivered", tou, block)
            for tou, block in self._places()
        ]

    def _counter_names(self) -> list[tuple[str, int, int]]:
        return [(f"tier{tou + 1}_block{block + 1}_counter", tou, block) for tou, block in self._places()]

    def _tier_getter(self, tou: int) -> Callable[[], int]:
        return self._present(lambda: self.meter.registers.tou_uwh[tou] // _UNIT)

    def _block_getter(self, tou: int, block: int) -> Callable[[], int]:
        return self._present(lambda: self.meter.registers.block_uwh[block][tou] // _UNIT)

    def _counter_getter(self, tou: int, block: int) -> Callable[[], int]:
        def counter() -> int:
            counters = block_counters_uwh(self.meter, tou)
            return counters[block] // _UNIT if block < len(counters) else 0

        return self._present(counter)

    # --- electricity ------------------------------------------------------------------------------

    def _bind_load_limit(self, meter: ElectricityMeterCore) -> None:
        data = self.data.bind
        data("load_limit_count", self._present(lambda: meter.limiter.counter))
        data("load_limit_period", lambda: min(meter.limiter.limit.period_s, _U16_MAX))
        data("load_limit_restoration_period", lambda: meter.limiter.limit.restoration_s)
