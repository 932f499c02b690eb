"""The inside of a gas meter: volume and its energy, the valve, the battery, the network data log."""

from __future__ import annotations

from smets1.devices.battery import Battery, BatteryEvent, SupplyDepletionState
from smets1.devices.days import HALF_HOUR_US
from smets1.devices.event_log import AlertCode
from smets1.devices.gas_flow import FlowCheck, NetworkDataLog
from smets1.devices.load import GasConversion, GasFlow, Load
from smets1.devices.meter_core import MeterCore
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.state import StateReader
from smets1.devices.supply import OffReason
from smets1.devices.tamper import GAS_SENSORS
from smets1.devices.tariff import Tariff

__all__ = ["GasMeterCore"]

_UNIT = 1_000_000  # ul in a litre


class GasMeterCore(MeterCore):
    """Quantity is volume: ul, litres (dm3) on air. Energy follows from the meter's own conversion."""

    sensors = GAS_SENSORS

    def __init__(
        self,
        *,
        flow: GasFlow,
        now_us: int,
        tariff: Tariff,
        conversion: GasConversion | None = None,
        prepayment: PrepaymentConfig | None = None,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
    ) -> None:
        self.flow = flow
        self.conversion = conversion or GasConversion()
        # The registers when the present conversion began: earlier volume keeps its energy.
        self._base_quantity = 0
        self._base_energy_uwh = 0
        self.network = NetworkDataLog()
        self.flow_check = FlowCheck()
        self.battery = Battery()
        self._is_valve_open = True
        super().__init__(
            now_us=now_us, tariff=tariff, prepayment=prepayment, mode=mode, balance_mp=balance_mp
        )

    # --- flow ------------------------------------------------------------------------------------

    def _source(self, utc_us: int) -> int:
        return self.flow.volume_ul(utc_us + self._load_shift_us)

    @property
    def house(self) -> Load:
        return self.flow.load

    def _energy_at(self, quantity: int) -> int:
        return self._base_energy_uwh + self.conversion.energy_uwh(quantity - self._base_quantity)

    @property
    def volume_dm3(self) -> int:
        return self.reading

    @property
    def flow_ml_per_h(self) -> int:
        """0 while the valve is not open."""
        return self.flow.flow_ml_per_h(self.now_us + self._load_shift_us) if self._is_flowing else 0

    @property
    def demand(self) -> int:
        return self.flow_ml_per_h // 1000

    def set_conversion(self, conversion: GasConversion, *, utc_us: int) -> None:
        """SRV 6.6: for gas that flows from now on."""
        self.advance(utc_us)
        self._base_quantity = self.registers.quantity
        self._base_energy_uwh = self.registers.energy_uwh
        self.conversion = conversion

    def _flow(self, to_us: int) -> None:
        is_flowing, quantity = self._is_flowing, self.registers.quantity
        for edge_us in self.network.edges(self.now_us, to_us):
            drawn = self._source(edge_us) - self._source_mark if is_flowing else 0
            self.network.record(edge_us, (quantity + drawn) // _UNIT)

    # --- valve -----------------------------------------------------------------------------------

    def _more_edges(self) -> list[int | None]:
        return [self.flow_check.until_us]

    def _on_edge(self) -> None:
        if self.flow_check.on_timer(utc_us=self.now_us) and self.supply.is_on:
            self.supply.disable(OffReason.EVENT, utc_us=self.now_us)
            self.supply.clear(OffReason.EVENT)
            self._note(
                AlertCode.DISABLED_THEN_ARMED_UNCONTROLLED_FLOW, f"{self.flow_check.open_taps_l_per_h} l/h"
            )

    def _switched(self) -> None:
        is_open = self.supply.is_on
        if is_open is self._is_valve_open:
            return
        self._is_valve_open = is_open
        self.battery.move_valve()
        if is_open:
            self.flow_check.begin(utc_us=self.now_us)
        else:
            self.flow_check.cancel()

    def set_open_taps(self, litres_per_hour: int, *, utc_us: int) -> None:
        """What will flow uncontrolled when the valve opens. For tests, scenarios and rigs."""
        self.advance(utc_us)
        self.flow_check.open_taps_l_per_h = litres_per_hour

    def set_flow_check(self, *, rate_dl_per_h: int, check_s: int, stabilisation_ds: int, utc_us: int) -> None:
        """SRV 6.7. For the next opening of the valve."""
        self.advance(utc_us)
        check = self.flow_check
        check.rate_dl_per_h, check.check_s, check.stabilisation_ds = rate_dl_per_h, check_s, stabilisation_ds

    # --- battery ---------------------------------------------------------------------------------

    def _on_half_hour(self, *, is_charged: bool) -> None:
        super()._on_half_hour(is_charged=is_charged)
        if self._is_awake:
            self.battery.sleep(HALF_HOUR_US)
            self.battery.wake()
            self._take_battery()

    def _take_battery(self) -> None:
        for event in self.battery.take_events():
            self._note(AlertCode.LOW_BATTERY, f"{event.name.lower()}, {self.battery.percent} %")
            is_locking = self.battery.depletion is SupplyDepletionState.LOCKED
            if event is BatteryEvent.EMPTY and is_locking:
                self._then_switched(self.supply.disable(OffReason.EVENT, utc_us=self.now_us))
                self._note(AlertCode.DISABLED_AND_LOCKED, "battery empty")

    def set_depletion_state(self, state: SupplyDepletionState, *, utc_us: int) -> None:
        """SRV 6.7."""
        self.advance(utc_us)
        self.battery.depletion = state

    def set_low_battery(self, percent: int, *, utc_us: int) -> None:
        """From how little charge on the meter says so; at once where there is no more."""
        self.advance(utc_us)
        self.battery.low_percent = percent
        self._take_battery()

    def drain_battery(self, percent: int, *, utc_us: int) -> None:
        """For tests and scenarios: what is left from now on."""
        self.advance(utc_us)
        self.battery.drain_to(percent)
        self._take_battery()

    def replace_battery(self, *, utc_us: int) -> None:
        """A person puts in a new one; supply locked by the empty one stays off until the supplier arms it."""
        self.advance(utc_us)
        self.battery.replace()

    def _on_power_back(self, since_us: int) -> None:
        self._note(AlertCode.GSME_POWER_LOSS, f"{(self.now_us - since_us) // 1_000_000} s")

    def _shift_timers(self, delta_us: int) -> None:
        if self.flow_check.until_us is not None:
            self.flow_check.until_us += delta_us

    # --- NVM -------------------------------------------------------------------------------------

    def _more_records(self) -> dict[str, bytes]:
        return {
            **super()._more_records(),
            "network": self.network.encode(),
            "flow_check": self.flow_check.encode(),
            "battery": self.battery.encode(),
        }

    def _restore_more(self, records: dict[str, bytes]) -> None:
        super()._restore_more(records)
        if "network" in records:
            self.network = NetworkDataLog.decode(records["network"])
        if "flow_check" in records:
            self.flow_check = FlowCheck.decode(records["flow_check"])
        if "battery" in records:
            self.battery = Battery.decode(records["battery"])
        self._is_valve_open = self.supply.is_on

    def _core_fields(self) -> dict[str, object]:
        return {
            **super()._core_fields(),
            "conversion": [
                self.conversion.calorific_value_x10,
                self.conversion.factor_x100000,
                self._base_quantity,
                self._base_energy_uwh,
            ],
        }

    def _decode_core(self, octets: bytes) -> StateReader:
        reader = super()._decode_core(octets)
        value, factor, self._base_quantity, self._base_energy_uwh = reader.wholes("conversion", 4)
        self.conversion = GasConversion(calorific_value_x10=value, factor_x100000=factor)
        return reader
