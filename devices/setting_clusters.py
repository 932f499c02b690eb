"""The settings of a meter over ZigBee: by Smart Energy's own commands and attributes where it has them.

    Metering            SetSupplyStatus, ResetLoadLimitCounter, SetUncontrolledFlowThreshold
    Price               PublishCalorificValue, PublishConversionFactor (to a gas meter)
    Device Management   PublishChangeOfTenancy, the instantaneous power thresholds
    Time                what the meter's clock shows
    DeviceInformation   load limit, clock synchronisation, voltage: ours, Smart Energy 1.2 has none

Whether a command needs an authorisation code is `authorisation.CRITICAL`'s to say, not decided here.

Source: SE 1.2 07-5356-19, D.3.3.3.1 (metering), D.4.2.4 (price), D.13 (device management); DUIS 5.4 services
3.2, 6.4 to 6.7, 6.11, 6.25, 6.27.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from smets1.devices.battery import SupplyDepletionState
from smets1.devices.load_limit import LimitedSupply, LoadLimit, LoadLimiter
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore, MeterCore
from smets1.devices.meter_clusters import ENDPOINT, MeterClusters, at_present, due_us
from smets1.devices.parameter_service import ParameterService
from smets1.devices.parameters import Access
from smets1.devices.schedule import FutureKind
from smets1.devices.tamper import SupplyTamperState
from smets1.devices.voltage import Excursion
from smets1.errors import InputError, RefusedError
from smets1.firmware.civil import CivilClock, from_zigbee_s, zigbee_s
from smets1.firmware.time_keeper import TimeKeeper, TimeVerdict
from smets1.firmware.zcl.clusters.general import TimeStatus
from smets1.firmware.zcl.clusters.metering import SupplyStatus, UnitOfMeasure
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Status

__all__ = ["SettingClusters"]

_State = TypeVar("_State")

_AT_ONCE: Final = 0
_CANCELLED: Final = 0xFFFFFFFF  # SE 1.2: a start time that takes a pending command back
_MJ_PER_M3: Final = 0x01
_DL_PER_M3: Final = 10_000
_NO_LIMIT: Final = 0xFFFFFF
_UINT8_MAX: Final = 0xFE

_TAMPER: Final = {
    SupplyStatus.SUPPLY_OFF: SupplyTamperState.LOCKED,
    SupplyStatus.SUPPLY_UNCHANGED: SupplyTamperState.UNCHANGED,
}
_DEPLETION: Final = {
    SupplyStatus.SUPPLY_OFF: SupplyDepletionState.LOCKED,
    SupplyStatus.SUPPLY_UNCHANGED: SupplyDepletionState.UNCHANGED,
}
_LIMITED: Final = {  # after an overload the meter goes off and is ready again
    SupplyStatus.SUPPLY_OFF_ARMED: LimitedSupply.DISABLE,
    SupplyStatus.SUPPLY_UNCHANGED: LimitedSupply.UNCHANGED,
}
_VOLTAGE_COUNTERS: Final = {
    Excursion.AVERAGE_OVER: "average_over_voltage_counter",
    Excursion.AVERAGE_UNDER: "average_under_voltage_counter",
    Excursion.EXTREME_OVER: "extreme_over_voltage_counter",
    Excursion.EXTREME_UNDER: "extreme_under_voltage_counter",
    Excursion.SAG: "voltage_sag_counter",
    Excursion.SWELL: "voltage_swell_counter",
}


class SettingClusters:
    """Binds what can be set on one meter, and what it senses, to its clusters."""

    def __init__(
        self,
        core: ZclCore,
        clusters: MeterClusters,
        parameters: ParameterService,
        civil: CivilClock,
        clock: TimeKeeper,
        *,
        on_clock: Callable[[TimeVerdict], None],
    ) -> None:
        """`on_clock`: the clock was judged by a command; the shell compares it with the hub's."""
        self._meter: MeterCore = clusters.meter
        self._clusters = clusters
        self._book = parameters.book
        self._parameters = parameters
        self._civil = civil
        self._present = partial(at_present, clusters.meter, civil)
        self._clock = clock
        self._on_clock = on_clock
        self.information = core.obtain_server(ENDPOINT, "device_information")
        self.management = core.obtain_server(ENDPOINT, "device_management")
        self._bind_common(core)
        if isinstance(self._meter, GasMeterCore):
            self._bind_gas(core, self._meter)
        elif isinstance(self._meter, ElectricityMeterCore):
            self._bind_electricity(self._meter)
            self._bind_voltage(self._meter)

    def _now(self) -> int:
        return self._civil.utc_us()

    def touch(self) -> None:
        """The core has lived on: what has changed by itself may have to be reported."""
        self.management.touch("change_of_tenancy_update_date_time")

    def on_parameters(self) -> None:
        """Parameters have been written: who follows the meter hears of what it shows of them."""
        if isinstance(self._meter, ElectricityMeterCore):
            self.management.touch("low_medium_threshold", "medium_high_threshold")

    # --- both fuels -------------------------------------------------------------------------------

    def _bind_common(self, core: ZclCore) -> None:
        meter, clusters = self._meter, self._clusters
        clusters.metering.bind("supply_tamper_state", lambda: _code(_TAMPER, meter.tamper.state))
        self.information.bind("open_sensors", lambda: int(meter.tamper.open))
        self.information.bind("tamper_count", lambda: meter.tamper.count)
        self.management.bind(
            "change_of_tenancy_update_date_time",
            lambda: max(0, zigbee_s(meter.tenancy_from_us)) if meter.tenancy_from_us else 0,
        )
        time = core.obtain_server(ENDPOINT, "time")
        time.bind("time", self._civil.zigbee_utc_s)
        time.set("time_status", int(TimeStatus(0)))  # no master: the hub is
        time.bind("last_set_time", lambda: self.information.get("clock_last_set"))
        clusters.obey(clusters.metering, "set_supply_status", self._set_supply_status)
        clusters.obey(self.information, "synchronise_clock", self._synchronise)
        tenancy = core.obtain_client(ENDPOINT, "device_management")
        clusters.obey(tenancy, "publish_change_of_tenancy", self._change_tenancy)

    def _set_supply_status(self, fields: Values, context: CommandContext) -> Answer:
        """All four states or none; what the meter's fuel does not have must come as unchanged."""
        meter, unchanged = self._meter, SupplyStatus.SUPPLY_UNCHANGED
        tamper = _choose(_TAMPER, fields["supply_tamper_state"])
        is_gas = isinstance(meter, GasMeterCore)
        for name, allowed in (
            ("supply_depletion_state", is_gas),
            ("load_limit_supply_state", not is_gas),
            ("supply_uncontrolled_flow_state", is_gas),
        ):
            if not allowed and fields[name] != unchanged:
                raise RefusedError(Status.INVALID_FIELD, f"{name} is not for this fuel")
        if isinstance(meter, GasMeterCore):
            depletion = _choose(_DEPLETION, fields["supply_depletion_state"])
            if fields["supply_uncontrolled_flow_state"] != SupplyStatus.SUPPLY_OFF_ARMED:
                raise RefusedError(Status.INVALID_VALUE, "uncontrolled flow closes the valve and arms it")
            meter.set_depletion_state(depletion, utc_us=self._now())
        elif isinstance(meter, ElectricityMeterCore):
            limited = _choose(_LIMITED, fields["load_limit_supply_state"])
            if limited is not meter.limiter.limit.supply:
                self._book.write(
                    "load_limit_supply_state", int(limited), writer=Access.SMSO, utc_us=self._now()
                )
        meter.set_tamper_state(tamper, utc_us=self._now())
        return Status.SUCCESS

    def _synchronise(self, fields: Values, context: CommandContext) -> Answer:
        verdict = self._clock.on_command(
            from_zigbee_s(fields["current_time"] or 0), tolerance_us=fields["tolerance_s"] * 1_000_000
        )
        self._on_clock(verdict)
        return reply(
            "clock_state", device_time=self._civil.zigbee_utc_s(), clock_status=int(self._clock.status)
        )

    def _change_tenancy(self, fields: Values, context: CommandContext) -> Answer:
        now_us, at_s = self._now(), fields["implementation_date_time"]
        from_us = now_us if at_s in (_AT_ONCE, None, _CANCELLED) else from_zigbee_s(at_s)
        if from_us > now_us:
            self._clusters.schedule(FutureKind.TENANCY, from_us, b"", issuer_id=fields["issuer_event_id"])
        else:
            self._meter.change_tenancy(utc_us=now_us, from_us=from_us)
        self.touch()
        return Status.SUCCESS

    # --- electricity ------------------------------------------------------------------------------

    def _bind_electricity(self, meter: ElectricityMeterCore) -> None:
        clusters, metering, present = self._clusters, self._clusters.metering, self._present
        metering.bind("demand_limit", lambda: meter.limiter.limit.threshold_w or _NO_LIMIT)
        metering.bind("load_limit_supply_state", lambda: _code(_LIMITED, meter.limiter.limit.supply))
        metering.bind("load_limit_counter", present(lambda: min(meter.limiter.counter, _UINT8_MAX)))
        metering.bind("current_summation_received", present(lambda: meter.export_wh))
        self.information.bind("reactive_import_register", present(lambda: meter.reactive_import_varh))
        self.information.bind("reactive_export_register", present(lambda: meter.reactive_export_varh))
        for level in ("low_medium", "medium_high"):
            self.management.bind(f"{level}_threshold", self._power_threshold(level))
        clusters.obey(metering, "reset_load_limit_counter", self._reset_load_limit_counter)
        clusters.obey(self.information, "set_load_limit", self._set_load_limit)

    def _power_threshold(self, level: str) -> Callable[[], int]:
        return lambda: int(self._book.value(f"{level}_power_threshold"))

    def _electricity(self) -> ElectricityMeterCore:
        assert isinstance(self._meter, ElectricityMeterCore), "bound for electricity only"
        return self._meter

    def _reset_load_limit_counter(self, fields: Values, context: CommandContext) -> Answer:
        self._electricity().reset_load_limit_counter(utc_us=self._now())
        return Status.SUCCESS

    def _set_load_limit(self, fields: Values, context: CommandContext) -> Answer:
        meter, now_us, at_s = self._electricity(), self._now(), fields["implementation_date_time"]
        if at_s in (None, _CANCELLED):
            meter.future.cancel(FutureKind.LOAD_LIMIT)
            return Status.SUCCESS
        limiter = LoadLimiter()
        try:
            limiter.limit = LoadLimit(
                threshold_w=fields["threshold_w"],
                period_s=fields["period_s"],
                restoration_s=fields["restoration_s"],
                supply=_choose(_LIMITED, fields["supply_state"]),
            )
        except InputError as error:
            raise RefusedError(Status.INVALID_VALUE, str(error)) from None
        due = due_us(at_s, utc_us=now_us)
        if due is None:
            meter.set_load_limit(limiter.limit, utc_us=now_us)
        else:
            issuer_id = fields["issuer_event_id"]
            self._clusters.schedule(FutureKind.LOAD_LIMIT, due, limiter.encode(), issuer_id=issuer_id)
        return Status.SUCCESS

    def _bind_voltage(self, meter: ElectricityMeterCore) -> None:
        self.information.bind("rms_voltage", self._present(lambda: meter.voltage_mv))
        for kind, name in _VOLTAGE_COUNTERS.items():
            self.information.bind(name, self._voltage_counter(meter, kind))
        self._clusters.obey(self.information, "reset_voltage_counters", self._reset_voltage_counters)
        self._parameters.reset_voltage_counters = lambda: meter.reset_voltage_counters(utc_us=self._now())

    def _voltage_counter(self, meter: ElectricityMeterCore, kind: Excursion) -> Callable[[], int]:
        return self._present(lambda: meter.voltage.counters[kind])

    def _reset_voltage_counters(self, fields: Values, context: CommandContext) -> Answer:
        self._electricity().reset_voltage_counters(utc_us=self._now())
        return Status.SUCCESS

    # --- gas --------------------------------------------------------------------------------------

    def _bind_gas(self, core: ZclCore, meter: GasMeterCore) -> None:
        clusters, metering, price = self._clusters, self._clusters.metering, self._clusters.price
        battery_days = self._present(lambda: min(meter.battery.remaining_days, 0xFFFE))
        metering.bind("supply_depletion_state", lambda: _code(_DEPLETION, meter.battery.depletion))
        metering.set("supply_uncontrolled_flow_state", int(SupplyStatus.SUPPLY_OFF_ARMED))
        metering.bind("remaining_battery_life", self._present(lambda: meter.battery.percent))
        metering.bind("remaining_battery_life_in_days", battery_days)
        metering.bind("uncontrolled_flow_threshold", lambda: meter.flow_check.rate_dl_per_h)
        metering.update(
            uncontrolled_flow_threshold_unit_of_measure=int(UnitOfMeasure.CUBIC_METRES),
            uncontrolled_flow_threshold_multiplier=1,
            uncontrolled_flow_threshold_divisor=_DL_PER_M3,
        )
        metering.bind("flow_stabilization_period", lambda: meter.flow_check.stabilisation_ds)
        metering.bind("flow_measurement_period", lambda: meter.flow_check.check_s)
        price.bind("conversion_factor", lambda: meter.conversion.factor_x100000)
        price.set("conversion_factor_trailing_digit", 0x50)
        price.bind("calorific_value", lambda: meter.conversion.calorific_value_x10)
        price.set("calorific_value_unit", _MJ_PER_M3)
        price.set("calorific_value_trailing_digit", 0x10)
        publisher = core.obtain_client(ENDPOINT, "price")
        clusters.obey(publisher, "publish_calorific_value", self._set_calorific_value)
        clusters.obey(publisher, "publish_conversion_factor", self._set_conversion_factor)
        clusters.obey(metering, "set_uncontrolled_flow_threshold", self._set_flow_threshold)

    def _set_calorific_value(self, fields: Values, context: CommandContext) -> Answer:
        if fields["calorific_value_unit"] != _MJ_PER_M3:
            raise RefusedError(Status.INVALID_FIELD, "the calorific value is in MJ/m3")
        self._set_number(
            "calorific_value", fields, digits=1, trailing=fields["calorific_value_trailing_digit"]
        )
        return Status.SUCCESS

    def _set_conversion_factor(self, fields: Values, context: CommandContext) -> Answer:
        self._set_number(
            "conversion_factor", fields, digits=5, trailing=fields["conversion_factor_trailing_digit"]
        )
        return Status.SUCCESS

    def _set_number(self, name: str, fields: Values, *, digits: int, trailing: int) -> None:
        """A decimal number, whose digits right of the point stand in the high nibble of `trailing`."""
        start_s = fields["start_time"]
        if start_s is None or from_zigbee_s(start_s) > self._now():
            raise RefusedError(Status.INVALID_FIELD, f"{name} cannot be dated")
        scaled, rest = divmod(fields[name] * 10**digits, 10 ** (trailing >> 4))
        if rest:
            raise RefusedError(Status.INVALID_VALUE, f"{name} has {digits} digits right of the point")
        self._book.write(name, scaled, writer=Access.SMSO, utc_us=self._now())

    def _set_flow_threshold(self, fields: Values, context: CommandContext) -> Answer:
        if fields["unit_of_measure"] != UnitOfMeasure.CUBIC_METRES or not fields["divisor"]:
            raise RefusedError(Status.INVALID_FIELD, "the flow threshold is in m3/h, and its divisor not 0")
        volume = fields["uncontrolled_flow_threshold"] * fields["multiplier"] * _DL_PER_M3
        rate, rest = divmod(volume, fields["divisor"])
        if rest:
            raise RefusedError(Status.INVALID_VALUE, "the flow threshold has 4 digits right of the point")
        values = {
            "uncontrolled_gas_flow_rate": rate,
            "flow_stabilisation_period": fields["stabilisation_period"],
            "flow_measurement_period": fields["measurement_period"],
        }
        self._book.write_all(values, writer=Access.SMSO, utc_us=self._now())
        return Status.SUCCESS


def _choose(table: Mapping[SupplyStatus, _State], code: int) -> _State:
    """Raises RefusedError for a state that has no meaning there."""
    try:
        return table[SupplyStatus(code)]
    except (KeyError, ValueError):
        raise RefusedError(Status.INVALID_VALUE, f"there is no such supply state {code}") from None


def _code(table: Mapping[SupplyStatus, _State], state: _State) -> int:
    return next(int(code) for code, each in table.items() if each is state)
