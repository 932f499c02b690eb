"""A meter's face on the HAN: its core's values as attributes, its core's commands as handlers.

Both fuels show the same clusters on endpoint 1; what differs is units and the metering device type.
Every handler brings the core to the present first, and leaves the commit to the shell, which makes it
before any answer leaves the device.

Source: SE 1.2 07-5356-19, D.3 (Metering), D.7 (Prepayment), D.4 (Price).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smets1.devices.account import Account
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore, MeterCore
from smets1.devices.metering import Period
from smets1.devices.prepayment import payment_control
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.supply import OffReason, SupplyOutcome, SupplyState
from smets1.devices.tariff import floor_mp
from smets1.devices.tokens import TopUpDesk, TopUpResult
from smets1.errors import DecodeError, RefusedError
from smets1.firmware.civil import CivilClock, from_zigbee_s, zigbee_s
from smets1.firmware.zcl.clusters import metering
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, ClusterInstance, CommandContext, Handler, Via, reply
from smets1.firmware.zcl.status import Status

__all__ = ["ENDPOINT", "MeterClusters", "at_present", "due_us", "require_sua"]

ENDPOINT: Final = 1
_UNIT_WH: Final = 1_000_000  # uWh in a Wh, ul in a litre
_STERLING: Final = 826  # ISO 4217
_HIGHEST_TIER: Final = 15  # that PriceTier, a nibble, can tell
_INT24_MAX: Final = 0x7FFFFF
_UINT24_INVALID: Final = 0xFFFFFF
# Summation: 3 digits right of the point, 6 left, leading zeros suppressed; as the dump of a real home.
_FORMATTING: Final = 0x2B | 0x80

# Attribute -> field of PrepaymentConfig.
_LIMITS: Final = {
    "emergency_credit_limit_allowance": "emergency_credit_limit_mp",
    "emergency_credit_threshold": "emergency_credit_threshold_mp",
    "low_credit_warning_level": "low_credit_threshold_mp",
    "cut_off_value": "disablement_threshold_mp",
    "max_credit_limit": "max_meter_balance_mp",
    "max_credit_per_top_up": "max_credit_threshold_mp",
}


def require_sua(context: CommandContext) -> None:
    """Raises RefusedError for what did not come inside a Critical Instruction, a display's too."""
    if context.via is not Via.SUA:
        raise RefusedError(Status.NOT_AUTHORIZED, "without a SUA")


def due_us(start_s: int, *, utc_us: int) -> int | None:
    """When a command is due (ZigBee seconds); None: now."""
    start_us = from_zigbee_s(start_s)
    return start_us if start_s and start_us > utc_us else None


def at_present(meter: MeterCore, civil: CivilClock, value: Callable[[], int]) -> Callable[[], int]:
    """`value`, read when the meter has lived up to the instant at which it is asked for."""

    def read() -> int:
        meter.advance(civil.utc_us())
        return value()

    return read


class MeterClusters:
    """Binds one meter core to the clusters of one device."""

    def __init__(self, core: ZclCore, meter: MeterCore, desk: TopUpDesk, civil: CivilClock) -> None:
        self.meter = meter
        self.desk = desk
        self._civil = civil
        self.currency = _STERLING  # what money is said to be
        self.metering = core.add_server(ENDPOINT, "metering")
        self.prepayment = core.add_server(ENDPOINT, "prepayment")
        self.price = core.add_server(ENDPOINT, "price")
        self.leaks_marker = False
        """A fault of real gas meters: the invalid marker of 24 bits is said as the reading, 16 777.215 m3."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after every command that may have changed the meter, refused ones too (they are logged)."""
        self.on_price_asked: Callable[[CommandContext], None] = lambda _context: None
        self.on_top_up: Callable[[TopUpResult], None] = lambda _result: None
        self._bind_registers()
        self._bind_account()
        self._bind_costs()
        self.obey(self.metering, "change_supply", self._change_supply)
        self.obey(self.metering, "local_change_supply", self._local_change_supply)
        self.obey(self.prepayment, "consumer_top_up", self._consumer_top_up)
        self.obey(self.prepayment, "select_available_emergency_credit", self._select_emergency_credit)
        self.price.handle("get_current_price", self._get_current_price)

    def obey(self, cluster: ClusterInstance, name: str, handler: Handler) -> None:
        """Handle a command that may change the meter: what it changed is saved before it is answered."""

        def obey(fields: Values, context: CommandContext) -> Answer:
            try:
                return handler(fields, context)
            finally:
                self.on_change()

        cluster.handle(name, obey)

    def schedule(self, kind: FutureKind, due: int, payload: bytes, *, issuer_id: int) -> None:
        """The meter carries it out at `due` (UTC, us); which payload is of which kind `FutureKind` says."""
        command = FutureCommand(kind=kind, due_us=due, payload=payload, issuer_id=issuer_id)
        self.meter.schedule(command, utc_us=self._civil.utc_us())

    def present(self) -> MeterCore:
        """The meter, lived up to now."""
        self.meter.advance(self._civil.utc_us())
        return self.meter

    # --- registers --------------------------------------------------------------------------------

    def _bind_registers(self) -> None:
        is_gas = isinstance(self.meter, GasMeterCore)
        cluster = self.metering
        units, kinds = metering.UnitOfMeasure, metering.DeviceType
        cluster.update(
            unit_of_measure=units.CUBIC_METRES if is_gas else units.KILOWATT_HOURS,
            multiplier=1,
            divisor=1000,
            summation_formatting=_FORMATTING,
            demand_formatting=_FORMATTING,
            historical_consumption_formatting=_FORMATTING,
            metering_device_type=kinds.GAS_METERING if is_gas else kinds.ELECTRIC_METERING,
            status=0,
        )
        cluster.bind(
            "current_summation_delivered",
            lambda: _UINT24_INVALID if self.leaks_marker else self.present().reading,
        )
        cluster.bind("reading_snapshot_time", lambda: zigbee_s(self._civil.utc_us()))
        cluster.bind("supply_status", lambda: int(self.present().supply.state))
        cluster.bind("instantaneous_demand", self._demand)
        for name, period in (("day", Period.TODAY), ("week", Period.WEEK), ("month", Period.MONTH)):
            cluster.bind(f"current_{name}_consumption_delivered", self._use_getter(period))
            cluster.bind(f"previous_{name}_consumption_delivered", self._before_getter(period))
            if is_gas:  # kWh beside cubic metres, as displays want it
                cluster.bind(f"current_{name}_alternative_consumption_delivered", self._energy_getter(period))
        if is_gas:
            cluster.set("alternative_unit_of_measure", metering.UnitOfMeasure.KILOWATT_HOURS)

    def _demand(self) -> int:
        """W, or litres an hour of gas."""
        meter = self.present()
        if isinstance(meter, GasMeterCore):
            return min(meter.flow_ml_per_h // 1000, _INT24_MAX)
        assert isinstance(meter, ElectricityMeterCore), "the one other kind of meter"
        return min(meter.power_w, _INT24_MAX)

    def _use_getter(self, period: Period) -> Callable[[], int]:
        def use() -> int:
            meter = self.present()
            return meter.marks.use(period, meter.registers).quantity // _UNIT_WH

        return use

    def _before_getter(self, period: Period) -> Callable[[], int]:
        return lambda: self.present().marks.before(period).quantity // _UNIT_WH

    def _energy_getter(self, period: Period) -> Callable[[], int]:
        def use() -> int:
            meter = self.present()
            return meter.marks.use(period, meter.registers).energy_uwh // _UNIT_WH

        return use

    # --- account ----------------------------------------------------------------------------------

    def _account(self) -> Account:
        return self.present().account

    def _bind_account(self) -> None:
        cluster = self.prepayment
        cluster.bind(
            "payment_control_configuration",
            lambda: payment_control(self.meter.account.mode, self.meter.account.config),
        )
        cluster.bind("credit_remaining", lambda: self._account().balance_mp)
        cluster.bind("credit_remaining_timestamp", lambda: zigbee_s(self._civil.utc_us()))
        cluster.bind("emergency_credit_remaining", lambda: self._account().emergency_mp)
        cluster.bind("credit_status", lambda: int(self._account().status))
        cluster.bind("accumulated_debt", lambda: self._account().accumulated_debt_mp)
        # Debts 1 and 2 are the time-based registers, 3 the payment-based one; a started mp is owed whole.
        cluster.bind("debt_amount_1", lambda: -floor_mp(-self._account().time_debt_fine[0]))
        cluster.bind("debt_amount_2", lambda: -floor_mp(-self._account().time_debt_fine[1]))
        cluster.bind("debt_amount_3", lambda: -floor_mp(-self._account().payment_debt_fine))
        for name, limit in _LIMITS.items():
            cluster.bind(name, self._limit_getter(limit))

    def _limit_getter(self, limit: str) -> Callable[[], int]:
        return lambda: int(getattr(self.meter.account.config, limit))

    # --- cost and price ---------------------------------------------------------------------------

    def _bind_costs(self) -> None:
        cluster = self.prepayment
        cluster.bind("currency", lambda: self.currency)
        cluster.set("currency_scaling_factor", 0x05)
        for name, period in (("day", Period.TODAY), ("week", Period.WEEK), ("month", Period.MONTH)):
            cluster.bind(f"current_{name}_cost_consumption_delivered", self._cost_getter(period))

    def _cost_getter(self, period: Period) -> Callable[[], int]:
        def cost() -> int:
            meter = self.present()
            return floor_mp(meter.marks.use(period, meter.registers).cost_fine)

        return cost

    def _get_current_price(self, fields: Values, context: CommandContext) -> Answer:
        self.on_price_asked(context)
        return reply("publish_price", **self.current_price())

    def current_price(self) -> Values:
        """Fields of PublishPrice. Price in 1/1000 pence a kWh: currency units of 10^-5 pounds."""
        meter, now_s = self.present(), zigbee_s(self._civil.utc_us())
        tier = min(meter.tou + 1, _HIGHEST_TIER) if meter.tariff.tou_count > 1 else 0
        return {
            "provider_id": self.desk.originator & 0xFFFFFFFF,
            "rate_label": b"",
            "issuer_event_id": now_s,
            "current_time": now_s,
            "unit_of_measure": metering.UnitOfMeasure.KILOWATT_HOURS,
            "currency": self.currency,
            "price_trailing_digit_and_price_tier": 0x50 | tier,
            "number_of_price_tiers_and_register_tier": 0,
            "start_time": 0,
            "duration_in_minutes": 0xFFFF,
            "price": meter.price_mp_per_kwh & 0xFFFFFFFF,  # negative ones: two's complement
            "price_ratio": 0xFF,
            "generation_price": 0xFFFFFFFF,
            "generation_price_ratio": 0xFF,
        }

    # --- commands ---------------------------------------------------------------------------------

    def _consumer_top_up(self, fields: Values, context: CommandContext) -> Answer:
        """A token from the head end, a display or the mirror; `tokens.py` has the refusals."""
        try:
            text = bytes(fields["top_up_code"]).decode("ascii")
            source = OriginatingDevice(fields["originating_device"])
        except (UnicodeDecodeError, ValueError):
            raise DecodeError("ConsumerTopUp", 0, "code or source", status=Status.INVALID_FIELD) from None
        result = self.desk.enter(self.meter, text, source=source, utc_us=self._civil.utc_us())
        self.prepayment.touch("credit_remaining", "credit_status")
        self.on_top_up(result)
        return reply(
            "consumer_top_up_response",
            result_type=int(result.result),
            top_up_value=result.amount_mp,
            source_of_top_up=int(source),
            credit_remaining=result.balance_mp if result.is_accepted else -1,
        )

    def _select_emergency_credit(self, fields: Values, context: CommandContext) -> Answer:
        if not self.meter.take_emergency(utc_us=self._civil.utc_us()):
            raise RefusedError(Status.FAILURE, "emergency credit is not on offer")
        self.prepayment.touch("credit_status", "emergency_credit_remaining")
        return Status.SUCCESS

    def _change_supply(self, fields: Values, context: CommandContext) -> Answer:
        """SRV 7.1, 7.2, 7.3: only inside a Critical Instruction."""
        require_sua(context)
        proposed, now_us = fields["proposed_supply_status"], self._civil.utc_us()
        if proposed == SupplyState.OFF:
            outcome = self.meter.disable_supply(utc_us=now_us, reason=OffReason.MANUAL)
        elif proposed == SupplyState.ARMED:
            outcome = self.meter.arm_supply(utc_us=now_us)
        elif proposed == SupplyState.ON and self.meter.has_remote_enable:
            outcome = self.meter.enable_supply(utc_us=now_us)
        else:
            raise RefusedError(Status.INVALID_FIELD, f"supply cannot be set to {proposed}")
        self.metering.touch("supply_status", "instantaneous_demand")
        if outcome not in (SupplyOutcome.DONE, SupplyOutcome.UNCHANGED):
            raise RefusedError(Status.FAILURE, f"supply: {outcome.name.lower()}")
        return reply(
            "supply_status_response",
            provider_id=fields["provider_id"],
            issuer_event_id=fields["issuer_event_id"],
            implementation_date_time=zigbee_s(now_us),
            supply_status=int(self.meter.supply.state),
        )

    def _local_change_supply(self, fields: Values, context: CommandContext) -> Answer:
        """A person at the PPMID confirms an armed supply; nothing else can be asked for locally."""
        if fields["proposed_supply_status"] != SupplyState.ON:
            raise RefusedError(Status.INVALID_FIELD, "locally the supply can only be switched on")
        outcome = self.meter.confirm_supply(utc_us=self._civil.utc_us())
        if outcome is not SupplyOutcome.DONE:
            raise RefusedError(Status.FAILURE, f"supply: {outcome.name.lower()}")
        self.metering.touch("supply_status", "instantaneous_demand")
        return Status.SUCCESS
