"""The inside of an electricity meter: export, reactive energy, voltage, load limit and outages.

Export and reactive energy come from loads of their own and flow while supply is on, as import does.
Without a reactive load it follows import at a usual power factor of 0.95.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from smets1.devices.days import SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load import Load, RatioLoad
from smets1.devices.load_limit import LimitedSupply, LoadLimit, LoadLimiter
from smets1.devices.meter_core import MeterCore
from smets1.devices.metering import ProfileLog
from smets1.devices.power_log import PowerEventLog, outage_code
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.state import StateReader
from smets1.devices.supply import OffReason
from smets1.devices.tamper import ELECTRICITY_SENSORS
from smets1.devices.tariff import Tariff
from smets1.devices.voltage import MainsVoltage, VoltageEvent, VoltageMonitor, VoltageSettings

__all__ = ["ElectricityMeterCore"]

_TAN_PHI_PERMILLE: Final = 329  # power factor 0.95
_UNIT: Final = 1_000_000  # uWh in a Wh


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnStreet:
    """The street's voltage in the meter's own time."""

    street: MainsVoltage
    shift_us: int

    def mv(self, utc_us: int) -> int:
        return self.street.mv(utc_us + self.shift_us)

    def mean_mv(self, start_us: int, end_us: int) -> int:
        return self.street.mean_mv(start_us + self.shift_us, end_us + self.shift_us)


class ElectricityMeterCore(MeterCore):
    """Quantity is energy: uWh, Wh on air."""

    has_remote_enable = True
    sensors = ELECTRICITY_SENSORS

    def __init__(
        self,
        *,
        load: Load,
        now_us: int,
        tariff: Tariff,
        prepayment: PrepaymentConfig | None = None,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
        export: Load | None = None,
        reactive_import: Load | None = None,
        reactive_export: Load | None = None,
        voltage_rng: Random | None = None,
    ) -> None:
        self.load = load
        self.export = export
        self._further: dict[str, Load] = {
            "reactive_import": reactive_import or RatioLoad(load=load, permille=_TAN_PHI_PERMILLE)
        }
        if export is not None:
            self._further["export"] = export
            self._further["reactive_export"] = reactive_export or RatioLoad(
                load=export, permille=_TAN_PHI_PERMILLE
            )
        elif reactive_export is not None:
            self._further["reactive_export"] = reactive_export
        self.profiles = {name: ProfileLog() for name in self._further}
        """Half-hour logs of export and reactive energy, by name."""
        self.limiter = LoadLimiter()
        self.street = MainsVoltage(voltage_rng)
        self.voltage = VoltageMonitor(utc_us=now_us)
        self.power_events = PowerEventLog()
        super().__init__(
            now_us=now_us, tariff=tariff, prepayment=prepayment, mode=mode, balance_mp=balance_mp
        )
        self._totals = dict.fromkeys(self._further, 0)
        self._further_marks: dict[str, int] = {}
        self._profile_marks = dict.fromkeys(self._further, 0)
        self._mark_further()

    # --- flow ------------------------------------------------------------------------------------

    def _source(self, utc_us: int) -> int:
        return self.load.energy_uwh(utc_us + self._load_shift_us)

    @property
    def house(self) -> Load:
        return self.load

    def _energy_at(self, quantity: int) -> int:
        return quantity

    @property
    def power_w(self) -> int:
        """InstantaneousDemand: 0 while supply is not on."""
        return self.load.power_mw(self.now_us + self._load_shift_us) // 1000 if self._is_flowing else 0

    @property
    def export_power_w(self) -> int:
        if self.export is None or not self._is_flowing:
            return 0
        return self.export.power_mw(self.now_us + self._load_shift_us) // 1000

    @property
    def demand(self) -> int:
        return self.power_w

    @property
    def export_wh(self) -> int:
        return self.registers.export_uwh // _UNIT

    @property
    def reactive_import_varh(self) -> int:
        return self.registers.reactive_import_uvarh // _UNIT

    @property
    def reactive_export_varh(self) -> int:
        return self.registers.reactive_export_uvarh // _UNIT

    def _mark_further(self) -> None:
        at_us = self.now_us + self._load_shift_us
        self._further_marks = {name: load.energy_uwh(at_us) for name, load in self._further.items()}

    def _flow(self, to_us: int) -> None:
        is_flowing = self._is_flowing
        for name, load in self._further.items():
            total = load.energy_uwh(to_us + self._load_shift_us)
            if is_flowing:
                self._totals[name] += total - self._further_marks[name]
            self._further_marks[name] = total
        registers = self.registers
        registers.export_uwh = self._totals.get("export", registers.export_uwh)
        registers.reactive_import_uvarh = self._totals["reactive_import"]
        registers.reactive_export_uvarh = self._totals.get("reactive_export", registers.reactive_export_uvarh)

    def _on_half_hour(self, *, is_charged: bool) -> None:
        super()._on_half_hour(is_charged=is_charged)
        for name, log in self.profiles.items():
            reading = self._totals[name] // _UNIT
            log.record(self.now_us, reading - self._profile_marks[name])
            self._profile_marks[name] = reading

    # --- time ------------------------------------------------------------------------------------

    def _more_edges(self) -> list[int | None]:
        return [self.limiter.next_timer_us(), self.voltage.next_timer_us() if self._is_awake else None]

    def _on_edge(self) -> None:
        if self._is_awake:
            self._take_voltage(self.voltage.on_timer(self._own_street, utc_us=self.now_us))
        if self.limiter.on_timer(utc_us=self.now_us, energy_uwh=self.registers.quantity):
            self._note(AlertCode.LOAD_LIMIT_EXCEEDED, f"above {self.limiter.limit.threshold_w} W")
            if self.limiter.limit.supply is LimitedSupply.DISABLE:
                self._overload()

    def _overload(self) -> None:
        self.supply.disable(OffReason.OVERLOAD, utc_us=self.now_us)
        restored_us = self.now_us + self.limiter.limit.restoration_s * SECOND_US
        self.supply.overload_until_us = max(self.supply.overload_until_us or 0, restored_us)

    def _switched(self) -> None:
        self.limiter.follow(
            utc_us=self.now_us,
            energy_uwh=self.registers.quantity,
            is_on=self.supply.is_on and self._has_power,
        )

    def _shift_timers(self, delta_us: int) -> None:
        self.limiter.shift(delta_us)

    def _on_clock_set(self) -> None:
        self._mark_further()
        self.voltage.restart(utc_us=self.now_us)

    def _on_power_back(self, since_us: int) -> None:
        self.voltage.restart(utc_us=self.now_us)
        self.power_events.outage(since_us, self.now_us)
        self._note(outage_code(self.now_us - since_us), f"{(self.now_us - since_us) // SECOND_US} s")
        self._switched()

    # --- load limit and voltage ------------------------------------------------------------------

    def set_load_limit(self, limit: LoadLimit, *, utc_us: int) -> None:
        """SRV 6.4.1."""
        self.advance(utc_us)
        self.limiter.set_limit(limit)
        self._switched()

    def reset_load_limit_counter(self, *, utc_us: int) -> None:
        """SRV 6.4.2."""
        self.advance(utc_us)
        self.limiter.counter = 0

    def set_voltage(self, mv: int | None, *, utc_us: int) -> None:
        """The street has this voltage from now on; None: its own again. For tests, scenarios and rigs."""
        self.advance(utc_us)
        self.street.set(mv, utc_us=self.now_us + self._load_shift_us)
        self._take_voltage(self.voltage.look(self._own_street.mv(self.now_us), utc_us=self.now_us))

    def set_voltage_settings(
        self, settings: VoltageSettings, *, utc_us: int, resets_counters: bool = True
    ) -> None:
        """SRV 6.5."""
        self.advance(utc_us)
        self.voltage.set_settings(settings, utc_us=self.now_us, resets=resets_counters)

    def reset_voltage_counters(self, *, utc_us: int) -> None:
        """SRV 6.27."""
        self.advance(utc_us)
        self.voltage.reset_counters()

    @property
    def _own_street(self) -> _OwnStreet:
        return _OwnStreet(street=self.street, shift_us=self._load_shift_us)

    @property
    def voltage_mv(self) -> int:
        return self._own_street.mv(self.now_us) if self._has_power else 0

    def _take_voltage(self, events: list[VoltageEvent]) -> None:
        for event in events:
            self.power_events.voltage(event)

    def _act(self, command: FutureCommand) -> None:
        if command.kind is not FutureKind.LOAD_LIMIT:
            super()._act(command)
            return
        self.set_load_limit(LoadLimiter.decode(command.payload).limit, utc_us=self.now_us)

    # --- NVM -------------------------------------------------------------------------------------

    def _profiles(self) -> dict[str, ProfileLog]:
        return {**super()._profiles(), **{f"profile_{name}": log for name, log in self.profiles.items()}}

    def _more_records(self) -> dict[str, bytes]:
        return {
            **super()._more_records(),
            "load_limit": self.limiter.encode(),
            "voltage": self.voltage.encode(),
            "power_log": self.power_events.encode(),
            "street": self.street.encode(),
        }

    def _restore_more(self, records: dict[str, bytes]) -> None:
        super()._restore_more(records)
        if "load_limit" in records:
            self.limiter = LoadLimiter.decode(records["load_limit"])
        if "voltage" in records:
            self.voltage = VoltageMonitor.decode(records["voltage"])
        if "power_log" in records:
            self.power_events = PowerEventLog.decode(records["power_log"])
        if "street" in records:
            self.street.decode_into(records["street"])

    def _core_fields(self) -> dict[str, object]:
        return {
            **super()._core_fields(),
            "further": [self._totals.get(name, 0) for name in _FURTHER],
            "further_marks": [self._profile_marks.get(name, 0) for name in _FURTHER],
        }

    def _decode_core(self, octets: bytes) -> StateReader:
        reader = super()._decode_core(octets)
        if reader.version > 1:
            totals = dict(zip(_FURTHER, reader.wholes("further", len(_FURTHER)), strict=True))
            marks = dict(zip(_FURTHER, reader.wholes("further_marks", len(_FURTHER)), strict=True))
            self._totals = {name: totals[name] for name in self._further}
            self._profile_marks = {name: marks[name] for name in self._further}
        self._mark_further()
        return reader


_FURTHER: Final = ("export", "reactive_import", "reactive_export")
