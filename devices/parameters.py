"""Configuration parameters: for each device one typed registry, what they are and what they must be.

A parameter is declared once: name, type, unit, range, default, part, who may read and write, source. Those
that a core lives by are read from it and written through its own methods, so there is no second copy; the
others (names, texts, what DUIS cannot reach) are kept here and in NVM.

Values are int, bool or str; on the wire they travel as CBOR (DeviceInformation 0xFC03). `diff` compares what
is with what must be: `enrolment.py` has the table for enrolment.

Source: SMETS1 configuration data items, DUIS 5.4 services 2.1 and 6.x; names are those of
the documents in snake_case. "Part": seen by the consumer (1) or operation (2), as the configuration before
enrolment is split (migration guide, 4.3.7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, unique
from typing import Any, Final

from smets1.devices.battery import EMPTY_PERCENT, LOW_PERCENT, SupplyDepletionState
from smets1.devices.billing import BillingPeriod
from smets1.devices.electricity_meter import ElectricityMeterCore
from smets1.devices.gas_meter import GasMeterCore
from smets1.devices.load_limit import MAX_PERIOD_S, MIN_PERIOD_S, LimitedSupply
from smets1.devices.meter import MeterCore
from smets1.devices.prepayment import HARD_LIMIT_MP, DebtPeriod, PaymentMode, PrepaymentConfig
from smets1.devices.state import StateReader, pack_state
from smets1.devices.tamper import SupplyTamperState
from smets1.errors import InputError, RefusedError
from smets1.firmware.zcl.status import Status

__all__ = [
    "CAD_PARAMETERS",
    "DISPLAY_PARAMETERS",
    "ELECTRICITY_PARAMETERS",
    "GAS_PARAMETERS",
    "Access",
    "Difference",
    "Parameter",
    "ParameterBook",
    "Value",
    "parameters_of",
]

Value = int | bool | str


@unique
class Access(Enum):
    """Who asks. The consumer stands at the device or reads the HAN; the others come by the head end."""

    SUPPLIER = "supplier"
    NETWORK = "network operator"
    SMSO = "SMSO"
    CONSUMER = "consumer"


_ALL: Final = frozenset(Access)
_REMOTE: Final = frozenset({Access.SUPPLIER, Access.SMSO})
_NETWORK: Final = frozenset({Access.NETWORK, Access.SMSO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One line of a registry."""

    name: str
    default: Value  # its type is the parameter's
    unit: str = ""  # "mp" 1/1000 pence, "mV", "W", "s", "l/h"; empty: a number, a choice, a text
    low: int | None = None  # of a number; of a text, the least length
    high: int | None = None
    choices: type[IntEnum] | None = None
    pattern: str = ""  # of a text: what it looks like, as a regular expression; empty: any
    part: int = 2
    readers: frozenset[Access] = _REMOTE | {Access.NETWORK}
    writers: frozenset[Access] = _REMOTE  # empty: read only
    source: str = ""
    is_secret: bool = False  # a difference shows only that it is set
    is_critical: bool = True  # over the WAN only inside a Critical Instruction
    get: Callable[[Any], Value] | None = None  # from the core; None: kept in the book
    set: Callable[[Any, Any, int], None] | None = None  # (core, value, utc_us)

    @property
    def kind(self) -> str:
        if isinstance(self.default, bool):
            return "bool"
        return "text" if isinstance(self.default, str) else "choice" if self.choices else "number"

    @property
    def takes(self) -> str:
        """What fits, in words."""
        if isinstance(self.default, bool):
            return "true or false"
        if self.choices is not None:
            return ", ".join(f"{int(each)} {each.name.lower()}" for each in self.choices)
        if isinstance(self.default, str):
            return (
                f"a text of the form {self.pattern}" if self.pattern else f"at most {self.longest} characters"
            )
        ends = " ".join(
            f"{word} {end}" for word, end in (("from", self.low), ("to", self.high)) if end is not None
        )
        return " ".join(f"whole numbers {ends} {self.unit}".split())

    @property
    def longest(self) -> int:
        """Characters of a text."""
        return 64 if self.high is None else self.high

    def fits(self, value: object) -> bool:
        """Type and range."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, bool):
            return True
        if isinstance(value, str):
            is_short = len(value) <= self.longest
            return value.isprintable() and is_short and (not self.pattern or _looks_like(self.pattern, value))
        assert isinstance(value, int), "the one kind left"
        if self.choices is not None:
            return value in tuple(self.choices)
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def _looks_like(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A parameter that is not as it must be."""

    name: str
    part: int
    present: Value | None  # None: the device has no such parameter
    required: Value

    def __str__(self) -> str:
        shown = "(no such parameter)" if self.present is None else repr(self.present)
        return f"part {self.part} {self.name}: is {shown}, must be {self.required!r}"


class ParameterBook:
    """The parameters of one device. `core`: its meter core, or None (a display)."""

    def __init__(
        self,
        parameters: Iterable[Parameter],
        core: MeterCore | None = None,
        *,
        presets: Mapping[str, Value] | None = None,
    ) -> None:
        """`presets`: what the installer has set, until somebody writes (kept parameters only)."""
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._core = core
        self._kept: dict[str, Value] = dict(presets or {})

    @property
    def names(self) -> list[str]:
        """In the registry's order, which is that of list_parameters."""
        return list(self._parameters)

    def parameter(self, name: str) -> Parameter:
        """Raises RefusedError(NOT_FOUND)."""
        found = self._parameters.get(name)
        if found is None:
            raise RefusedError(Status.NOT_FOUND, f"there is no parameter {name!r:.40}")
        return found

    def value(self, name: str) -> Value:
        """As it is now, whoever asks. Raises RefusedError(NOT_FOUND)."""
        parameter = self.parameter(name)
        if parameter.get is not None:
            return parameter.get(self._core)
        return self._kept.get(name, parameter.default)

    def read(self, name: str, *, reader: Access) -> Value:
        """Raises RefusedError (NOT_FOUND, NOT_AUTHORIZED)."""
        if reader not in self.parameter(name).readers:
            raise RefusedError(Status.NOT_AUTHORIZED, f"{name} is not for the {reader.value}")
        return self.value(name)

    def write(self, name: str, value: object, *, writer: Access, utc_us: int) -> None:
        """Raises RefusedError (NOT_FOUND, READ_ONLY, NOT_AUTHORIZED, INVALID_VALUE), and changes nothing."""
        parameter = self.parameter(name)
        if not parameter.writers:
            raise RefusedError(Status.READ_ONLY, f"{name} is read only")
        if writer not in parameter.writers:
            raise RefusedError(Status.NOT_AUTHORIZED, f"{name} is not for the {writer.value} to write")
        if not parameter.fits(value):
            shown = "that" if parameter.is_secret else f"{value!r:.40}"
            raise RefusedError(
                Status.INVALID_VALUE, f"{name} does not take {shown}: it takes {parameter.takes}"
            )
        if parameter.set is None:
            assert isinstance(value, int | str), "fits() has seen its type"
            self._kept[name] = value
            return
        try:
            parameter.set(self._core, value, utc_us)
        except InputError as error:
            raise RefusedError(Status.INVALID_VALUE, str(error)) from None

    def write_all(self, values: Mapping[str, object], *, writer: Access, utc_us: int) -> None:
        """All or none. Raises RefusedError as `write`.

        Values that are only allowed together (a lower threshold below an upper one) may come in any order.
        """
        for name, value in values.items():
            parameter = self.parameter(name)
            if not parameter.fits(value) or parameter.set is None:
                self.write(name, value, writer=writer, utc_us=utc_us)  # refuses, or has no neighbours
        before = {name: self.value(name) for name in values}
        try:
            self._write_until_done(dict(values), writer=writer, utc_us=utc_us)
        except RefusedError:
            self._write_until_done(dict(before), writer=Access.SMSO, utc_us=utc_us)
            raise

    def _write_until_done(self, left: dict[str, object], *, writer: Access, utc_us: int) -> None:
        """Write what can be written, as long as that helps the rest. Raises the last refusal."""
        while left:
            refusal, count = None, len(left)
            for name, value in list(left.items()):
                try:
                    self.write(name, value, writer=writer, utc_us=utc_us)
                except RefusedError as error:
                    refusal = error
                else:
                    del left[name]
            if refusal is not None and len(left) == count:
                raise refusal

    def diff(self, required: Mapping[str, tuple[int, Value]]) -> list[Difference]:
        """`required`: name -> (part, value). What differs, in the order asked."""
        found = []
        for name, (part, must) in required.items():
            present = self.value(name) if name in self._parameters else None
            if present != must or type(present) is not type(must):
                is_hidden = name in self._parameters and self._parameters[name].is_secret
                shown = "(set)" if is_hidden and present else present
                found.append(Difference(name=name, part=part, present=shown, required=must))
        return found

    def encode(self) -> bytes:
        """Only what is kept here; what the core keeps is in its own records."""
        names = sorted(self._kept)
        values = [self._kept[name] for name in names]
        return pack_state("parameters", 1, {"names": names, "values": values})

    def decode_into(self, octets: bytes) -> None:
        """Raises DecodeError. Parameters that this version does not know are dropped."""
        reader = StateReader(octets, kind="parameters", versions=(1,))
        names, values = reader.items("names"), reader.items("values")
        if len(names) != len(values):
            raise reader.bad("values", "do not fit the names")
        kept: dict[str, Value] = {}
        for name, value in zip(names, values, strict=True):
            parameter = self._parameters.get(name) if isinstance(name, str) else None
            if parameter is None:
                continue
            if not parameter.fits(value) or not isinstance(value, int | str):
                raise reader.bad("values", f"do not fit {parameter.name}")
            kept[parameter.name] = value
        self._kept = kept


# --- the registries -----------------------------------------------------------------------------------


def _account(name: str, field: str, default: Value, **more: Any) -> Parameter:
    """A field of PrepaymentConfig."""

    def write(core: MeterCore, value: Any, utc_us: int) -> None:
        core.set_prepayment(replace(core.account.config, **{field: value}), utc_us=utc_us)

    return Parameter(
        name=name,
        default=default,
        source="DUIS 2.1, 4.13",
        get=lambda core: getattr(core.account.config, field),
        set=write,
        **more,
    )


def _money(name: str, field: str, default: int, *, low: int = 0, **more: Any) -> Parameter:
    return _account(name, field, default, unit="mp", low=low, high=HARD_LIMIT_MP, **more)


def _rate(index: int) -> Parameter:
    def write(core: MeterCore, value: Any, utc_us: int) -> None:
        first, second = core.account.config.debt_rates
        rates = (
            (replace(first, rate_mp=value), second) if index == 0 else (first, replace(second, rate_mp=value))
        )
        core.set_prepayment(replace(core.account.config, debt_rates=rates), utc_us=utc_us)

    return Parameter(
        name=f"debt_recovery_rate_{index + 1}",
        default=0,
        unit="mp",
        low=0,
        high=HARD_LIMIT_MP,
        source="DUIS 2.3",
        get=lambda core: core.account.config.debt_rates[index].rate_mp,
        set=write,
    )


def _rate_period(index: int) -> Parameter:
    def write(core: MeterCore, value: Any, utc_us: int) -> None:
        rates = list(core.account.config.debt_rates)
        rates[index] = replace(rates[index], period=DebtPeriod(value))
        core.set_prepayment(replace(core.account.config, debt_rates=(rates[0], rates[1])), utc_us=utc_us)

    return Parameter(
        name=f"debt_recovery_rate_period_{index + 1}",
        default=DebtPeriod.DAILY.value,
        choices=DebtPeriod,
        source="DUIS 2.3",
        get=lambda core: core.account.config.debt_rates[index].period.value,
        set=write,
    )


def _set_rate_cap(core: MeterCore, value: Any, utc_us: int) -> None:
    cap_mp = None if value == HARD_LIMIT_MP else value
    core.set_prepayment(replace(core.account.config, debt_rate_cap_mp=cap_mp), utc_us=utc_us)


def _get_rate_cap(core: MeterCore) -> int:
    cap_mp = core.account.config.debt_rate_cap_mp
    return HARD_LIMIT_MP if cap_mp is None else min(cap_mp, HARD_LIMIT_MP)


def _text(name: str, *, part: int, source: str, high: int = 64, pattern: str = "") -> Parameter:
    return Parameter(
        name=name, default="", part=part, source=source, high=high, pattern=pattern, readers=_ALL
    )


_LIMITS: Final = PrepaymentConfig()

_COMMON: Final = (
    # what the consumer sees, and DUIS cannot reach
    Parameter(name="privacy_pin", default="", part=1, high=4, pattern="([0-9]{4})?",
              readers=frozenset({Access.SMSO}), is_secret=True, source="guide 4.3.7; DUIS 3.5"),
    _text("supplier_name", part=1, source="guide 4.3.7; DUIS 3.4", high=15),
    _text("supplier_contact", part=1, source="guide 4.3.7; DUIS 3.4", high=18),
    Parameter(name="currency", default="GBP", part=1, high=3, pattern="GBP|EUR", readers=_ALL,
              source="guide 4.3.7; CurrencyUnit"),
    Parameter(name="clock_synchronisation_interval", default=86_400, unit="s", low=3600, high=604_800,
              source="SE 1.2, 5.12"),
)  # fmt: skip

_METER: Final = (
    *_COMMON,
    Parameter(
        name="payment_mode",
        default=PaymentMode.CREDIT.value,
        choices=PaymentMode,
        readers=_ALL,
        source="DUIS 1.6, 6.2.9",
        get=lambda core: core.account.mode.value,
        set=lambda core, value, utc_us: core.set_payment_mode(PaymentMode(value), utc_us=utc_us),
    ),
    _money("low_credit_threshold", "low_credit_threshold_mp", _LIMITS.low_credit_threshold_mp, readers=_ALL),
    _money(
        "emergency_credit_limit", "emergency_credit_limit_mp", _LIMITS.emergency_credit_limit_mp, readers=_ALL
    ),
    _money(
        "emergency_credit_threshold", "emergency_credit_threshold_mp", _LIMITS.emergency_credit_threshold_mp
    ),
    _money("disablement_threshold", "disablement_threshold_mp", 0, low=-HARD_LIMIT_MP),
    _money("max_meter_balance", "max_meter_balance_mp", _LIMITS.max_meter_balance_mp),
    _money("max_credit_threshold", "max_credit_threshold_mp", _LIMITS.max_credit_threshold_mp),
    _account("debt_recovery_per_payment", "debt_per_payment_bp", 0, unit="1/100 %", low=0, high=10_000),
    Parameter(
        name="debt_recovery_rate_cap",
        default=HARD_LIMIT_MP,  # as good as none
        unit="mp",
        low=0,
        high=HARD_LIMIT_MP,
        source="DUIS 2.3; a week's",
        get=_get_rate_cap,
        set=_set_rate_cap,
    ),
    _rate(0),
    _rate_period(0),
    _rate(1),
    _rate_period(1),
    _account("suspend_debt_disabled", "suspend_debt_disabled", True),
    _account("suspend_debt_emergency", "suspend_debt_emergency", True),
    Parameter(
        name="supply_tamper_state",
        default=SupplyTamperState.UNCHANGED.value,
        choices=SupplyTamperState,
        source="DUIS 6.25, 6.7",
        get=lambda core: core.tamper.state.value,
        set=lambda core, value, utc_us: core.set_tamper_state(SupplyTamperState(value), utc_us=utc_us),
    ),
    Parameter(
        name="billing_period",
        default=BillingPeriod.NONE.value,
        choices=BillingPeriod,
        source="DUIS 6.8, 6.2.3",
        get=lambda core: core.billing.calendar.period.value,
        set=lambda core, value, utc_us: core.set_billing_calendar(
            replace(core.billing.calendar, period=BillingPeriod(value)), utc_us=utc_us
        ),
    ),
    Parameter(name="keypad_lock", default=600, unit="s", low=0, high=86_400, source="Liberty 100"),
    Parameter(name="alerts_enabled", default=True, source="SMETS Alerts"),
)


def _limit(name: str, field: str, default: int, **more: Any) -> Parameter:
    def write(core: ElectricityMeterCore, value: Any, utc_us: int) -> None:
        core.set_load_limit(replace(core.limiter.limit, **{field: value}), utc_us=utc_us)

    return Parameter(
        name=name,
        default=default,
        source="DUIS 6.4.1, 4.15",
        get=lambda core: int(getattr(core.limiter.limit, field)),
        set=write,
        **more,
    )


def _set_threshold(core: ElectricityMeterCore, value: Any, utc_us: int) -> None:
    core.set_load_limit(replace(core.limiter.limit, threshold_w=value or None), utc_us=utc_us)


def _set_limited_supply(core: ElectricityMeterCore, value: Any, utc_us: int) -> None:
    core.set_load_limit(replace(core.limiter.limit, supply=LimitedSupply(value)), utc_us=utc_us)


def _voltage(name: str, field: str, default: int, unit: str) -> Parameter:
    def write(core: ElectricityMeterCore, value: Any, utc_us: int) -> None:
        settings = replace(core.voltage.settings, **{field: value})
        core.set_voltage_settings(settings, utc_us=utc_us, resets_counters=False)

    return Parameter(
        name=name,
        default=default,
        unit=unit,
        low=0,
        high=1_000_000 if unit == "mV" else 86_400,
        writers=_NETWORK,
        is_critical=False,
        source="DUIS 6.5, 6.2.1",
        get=lambda core: getattr(core.voltage.settings, field),
        set=write,
    )


ELECTRICITY_PARAMETERS: Final = (
    *_METER,
    _text("mpan", part=2, source="DUIS 6.20.1", high=13, pattern="([0-9]{13})?"),
    Parameter(
        name="load_limit_power_threshold",
        default=0,  # 0: no limit
        unit="W",
        low=0,
        high=100_000,
        source="DUIS 6.4.1, 4.15",
        get=lambda core: core.limiter.limit.threshold_w or 0,
        set=_set_threshold,
    ),
    _limit("load_limit_period", "period_s", MIN_PERIOD_S, unit="s", low=MIN_PERIOD_S, high=MAX_PERIOD_S),
    _limit("load_limit_restoration_period", "restoration_s", 0, unit="s", low=0, high=86_400),
    Parameter(
        name="load_limit_supply_state",
        default=LimitedSupply.DISABLE.value,
        choices=LimitedSupply,
        source="DUIS 6.4.1, 4.15",
        get=lambda core: core.limiter.limit.supply.value,
        set=_set_limited_supply,
    ),
    _voltage("average_rms_over_voltage_threshold", "average_over_mv", 253_000, "mV"),
    _voltage("average_rms_under_voltage_threshold", "average_under_mv", 216_200, "mV"),
    _voltage("average_rms_voltage_measurement_period", "average_period_s", 1800, "s"),
    _voltage("rms_extreme_over_voltage_threshold", "extreme_over_mv", 262_200, "mV"),
    _voltage("rms_extreme_over_voltage_measurement_period", "extreme_over_s", 10, "s"),
    _voltage("rms_extreme_under_voltage_threshold", "extreme_under_mv", 200_000, "mV"),
    _voltage("rms_extreme_under_voltage_measurement_period", "extreme_under_s", 10, "s"),
    _voltage("rms_voltage_sag_threshold", "sag_mv", 207_000, "mV"),
    _voltage("rms_voltage_sag_measurement_period", "sag_s", 1, "s"),
    _voltage("rms_voltage_swell_threshold", "swell_mv", 257_000, "mV"),
    _voltage("rms_voltage_swell_measurement_period", "swell_s", 1, "s"),
    Parameter(name="low_medium_power_threshold", default=500, unit="W", low=0, high=100_000, part=1,
              readers=_ALL, is_critical=False, source="DUIS 6.12, 6.2.5"),
    Parameter(name="medium_high_power_threshold", default=2000, unit="W", low=0, high=100_000, part=1,
              readers=_ALL, is_critical=False, source="DUIS 6.12, 6.2.5"),
)  # fmt: skip


def _set_conversion(field: str) -> Callable[[GasMeterCore, Any, int], None]:
    def write(core: GasMeterCore, value: Any, utc_us: int) -> None:
        core.set_conversion(replace(core.conversion, **{field: value}), utc_us=utc_us)

    return write


def _flow(name: str, field: str, default: int, *, unit: str, low: int, high: int) -> Parameter:
    def write(core: GasMeterCore, value: Any, utc_us: int) -> None:
        fields = ("rate_dl_per_h", "check_s", "stabilisation_ds")
        present = {each: getattr(core.flow_check, each) for each in fields}
        core.set_flow_check(**{**present, field: value}, utc_us=utc_us)

    return Parameter(
        name=name,
        default=default,
        unit=unit,
        low=low,
        high=high,
        source="DUIS 6.7, 6.2.8",
        get=lambda core: int(getattr(core.flow_check, field)),
        set=write,
    )


GAS_PARAMETERS: Final = (
    *_METER,
    _text("mprn", part=2, source="DUIS 6.20.1", high=10, pattern="[0-9]*"),
    Parameter(
        name="calorific_value",
        default=395,
        unit="1/10 MJ/m3",
        low=1,
        high=9999,
        source="DUIS 6.6, 6.2.8",
        get=lambda core: core.conversion.calorific_value_x10,
        set=_set_conversion("calorific_value_x10"),
    ),
    Parameter(
        name="conversion_factor",
        default=102_264,
        unit="1/100000",
        low=1,
        high=999_999,
        source="DUIS 6.6, 6.2.8",
        get=lambda core: core.conversion.factor_x100000,
        set=_set_conversion("factor_x100000"),
    ),
    _flow("uncontrolled_gas_flow_rate", "rate_dl_per_h", 300, unit="1/10 l/h", low=0, high=65_535),
    _flow("flow_stabilisation_period", "stabilisation_ds", 0, unit="1/10 s", low=0, high=255),
    _flow("flow_measurement_period", "check_s", 10, unit="s", low=1, high=65_535),
    Parameter(
        name="supply_depletion_state",
        default=SupplyDepletionState.UNCHANGED.value,
        choices=SupplyDepletionState,
        source="DUIS 6.7, 6.2.8",
        get=lambda core: core.battery.depletion.value,
        set=lambda core, value, utc_us: core.set_depletion_state(SupplyDepletionState(value), utc_us=utc_us),
    ),
    Parameter(
        name="low_battery_threshold",
        default=LOW_PERCENT,
        unit="%",
        low=EMPTY_PERCENT,
        high=50,
        source="0x8F1F; the figure is ours",
        get=lambda core: core.battery.low_percent,
        set=lambda core, value, utc_us: core.set_low_battery(value, utc_us=utc_us),
    ),
)

DISPLAY_PARAMETERS: Final = _COMMON
"""A display's traffic light follows the power thresholds of the electricity meter."""

CAD_PARAMETERS: Final = tuple(parameter for parameter in _COMMON if parameter.name != "privacy_pin")
"""A consumer access device has no glass to hide."""


def parameters_of(core: MeterCore | None) -> tuple[Parameter, ...]:
    """The registry of a meter, or of a display (None)."""
    if isinstance(core, ElectricityMeterCore):
        return ELECTRICITY_PARAMETERS
    return GAS_PARAMETERS if isinstance(core, GasMeterCore) else DISPLAY_PARAMETERS
