"""What an IHD or a PPMID has read of the home so far, and how it asks: a value machine.

A display polls the electricity meter over the HAN and the gas meter's mirror in the hub. It knows only
what it has heard; the age of it shows as "connected" or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from smets1.devices.days import HOUR_US, SECOND_US, date_of_day, local_day, local_midnight_us
from smets1.devices.display_history import UseHistory
from smets1.devices.message_list import MessageList
from smets1.devices.screens import POWER_THRESHOLDS_W, STERLING, FuelView, HomeView, display_pages, hours_page
from smets1.devices.supply import SupplyState
from smets1.firmware.civil import from_zigbee_s, local_uk
from smets1.firmware.nvm import MemoryNvm, Nvm
from smets1.firmware.zcl.clusters.prepayment import CreditStatus, PaymentControl

__all__ = [
    "ACCOUNT_ATTRIBUTES",
    "ACCOUNT_STATE",
    "GAS_METER_ATTRIBUTES",
    "METER_ATTRIBUTES",
    "POWER_THRESHOLDS",
    "SILENT_US",
    "DisplayModel",
    "FuelReadings",
]

METER_ATTRIBUTES: Final = (
    "current_summation_delivered",
    "supply_status",
    "instantaneous_demand",
    "current_day_consumption_delivered",
    "current_week_consumption_delivered",
    "current_month_consumption_delivered",
)
GAS_METER_ATTRIBUTES: Final = (
    "current_summation_delivered",
    "supply_status",
    "reading_snapshot_time",
    "current_day_alternative_consumption_delivered",
    "current_week_alternative_consumption_delivered",
    "current_month_alternative_consumption_delivered",
)
"""Of a gas meter the displays show kWh, which stand in the alternative set."""
ACCOUNT_STATE: Final = (
    "payment_control_configuration",
    "credit_remaining",
    "emergency_credit_remaining",
    "credit_status",
    "accumulated_debt",
    "emergency_credit_limit_allowance",
)
"""What of a prepayment account changes when it does, apart from what was used and its cost."""
ACCOUNT_ATTRIBUTES: Final = (
    *ACCOUNT_STATE,
    "current_day_cost_consumption_delivered",
    "current_week_cost_consumption_delivered",
    "current_month_cost_consumption_delivered",
)
POWER_THRESHOLDS: Final = ("low_medium_threshold", "medium_high_threshold")
"""Of the electricity meter's device_management: where the traffic light changes."""
SILENT_US: Final = 180 * SECOND_US
"""Silence that a display puts up with where it hears a report every half minute."""

_DAYS_SHOWN: Final = 7
_TENANCY_KEY: Final = "display/tenancy"  # as last told by the electricity meter
_GAS_TENANCY_KEY: Final = "display/tenancy/gas"


@dataclass(slots=True)
class FuelReadings:
    """Attribute values of one meter, by name, and when they came."""

    history: UseHistory
    values: dict[str, Any] = field(default_factory=dict)
    heard_utc_us: int | None = None
    price_mp_per_kwh: int | None = None
    standing_mp: int | None = None  # a day

    def take(self, values: Mapping[str, Any], *, utc_us: int) -> None:
        self.values.update(values)
        self.heard_utc_us = utc_us
        register = values.get("current_summation_delivered")
        if register is not None:
            self.history.note(int(register), utc_us=utc_us)

    def view(self, *, is_gas: bool, utc_us: int, symbol: str = STERLING) -> FuelView:
        """As the glass shows it at `utc_us`."""
        get = self.values.get
        status = CreditStatus(get("credit_status") or 0)
        supply = get("supply_status")
        kind = "alternative_" if is_gas else ""
        is_taken = bool(status & CreditStatus.EMERGENCY_CREDIT_SELECTED)
        return FuelView(
            is_gas=is_gas,
            is_prepayment=bool((get("payment_control_configuration") or 0) & PaymentControl.PREPAYMENT),
            balance_mp=get("credit_remaining"),
            emergency_mp=get("emergency_credit_remaining") if is_taken else None,
            emergency_limit_mp=get("emergency_credit_limit_allowance"),
            is_emergency_offered=bool(status & CreditStatus.EMERGENCY_CREDIT_AVAILABLE) and not is_taken,
            is_emergency_in_use=bool(status & CreditStatus.EMERGENCY_CREDIT_IN_USE),
            is_low=bool(status & CreditStatus.LOW_CREDIT),
            debt_mp=get("accumulated_debt"),
            supply=SupplyState(supply) if supply in tuple(SupplyState) else None,
            power_w=None if is_gas else get("instantaneous_demand"),
            price_mp_per_kwh=self.price_mp_per_kwh,
            today_wh=get(f"current_day_{kind}consumption_delivered"),
            week_wh=get(f"current_week_{kind}consumption_delivered"),
            month_wh=get(f"current_month_{kind}consumption_delivered"),
            today_mp=get("current_day_cost_consumption_delivered"),
            week_mp=get("current_week_cost_consumption_delivered"),
            month_mp=get("current_month_cost_consumption_delivered"),
            register=get("current_summation_delivered"),
            symbol=symbol,
            history=self._last_days(utc_us),
        )

    def _last_days(self, utc_us: int) -> tuple[tuple[str, int | None], ...]:
        if self.heard_utc_us is None:
            return ()
        days = self.history.last_days(_DAYS_SHOWN, utc_us=utc_us)
        return tuple((short_date(day), use) for day, use in days if use is not None)


def short_date(day: int) -> str:
    """As "Sun 2 Jun"."""
    date = date_of_day(day)
    return f"{date:%a} {date.day} {date:%b}"


class DisplayModel:
    """The memory of one display."""

    def __init__(
        self, *, is_ppmid: bool, has_gas: bool, silent_us: int = SILENT_US, nvm: Nvm | None = None
    ) -> None:
        """`silent_us`: not heard from the electricity meter for this long, the display says so.

        `nvm`: where the history of consumption is kept; None: forgotten at the end.
        """
        memory = MemoryNvm() if nvm is None else nvm
        self.silent_us = silent_us
        self.is_ppmid = is_ppmid
        self.has_gas = has_gas
        self.electricity = FuelReadings(UseHistory("electricity", memory))
        self.gas = FuelReadings(UseHistory("gas", memory))
        self.messages = MessageList(memory)
        self.symbol = STERLING
        self.supplier = ("", "")  # name, contact
        self._memory = memory

    def on_tenancy(self, since_s: int, *, is_gas: bool = False) -> None:
        """When the household changed, as one of the meters has it (0: never).

        What an earlier one saw goes: its messages, and the history of what it used of either fuel. The two
        suppliers may tell their meters at different times; what is later than the date stays.
        """
        key = _GAS_TENANCY_KEY if is_gas else _TENANCY_KEY
        told, known = since_s.to_bytes(4, "big"), self._memory.get(key)
        if told == known:
            return
        if known is not None:
            since_us = from_zigbee_s(since_s)
            self.messages.forget(since_us)
            for readings in (self.electricity, self.gas):
                readings.history.forget(since_us)
        self._memory.put(key, told)

    def view(self, *, utc_us: int) -> HomeView:
        heard = self.electricity.heard_utc_us
        is_connected = heard is not None and utc_us - heard < self.silent_us
        local = local_uk(utc_us)
        messages = self.messages.shown(utc_us)
        return HomeView(
            time_text=f"{local:%a} {local.day} {local:%b %H:%M}" if heard is not None else "",
            is_connected=is_connected,
            is_ppmid=self.is_ppmid,
            electricity=self.electricity.view(is_gas=False, utc_us=utc_us, symbol=self.symbol),
            gas=self.gas.view(is_gas=True, utc_us=utc_us, symbol=self.symbol) if self.has_gas else None,
            messages=tuple(message.text for message in messages),
            is_confirmation_wanted=any(message.wants_confirmation for message in messages),
            supplier=self.supplier,
            thresholds_w=self._thresholds_w,
        )

    @property
    def _thresholds_w(self) -> tuple[int, int]:
        """As the meter has them (SRV 6.12)."""
        get, (low, high) = self.electricity.values.get, POWER_THRESHOLDS
        return get(low, POWER_THRESHOLDS_W[0]), get(high, POWER_THRESHOLDS_W[1])

    def hours_page(self, fuel: str, days_back: int, *, utc_us: int) -> list[str]:
        """What was used in each hour of a local day, so many days before this one."""
        readings = self.gas if fuel == "gas" else self.electricity
        day = local_day(utc_us) - days_back
        begins_us = local_midnight_us(day)
        hours = [
            (f"{local_uk(begins_us + index * HOUR_US):%H}", use)
            for index, use in enumerate(readings.history.hours(day))
        ]
        return hours_page(fuel, short_date(day), hours, is_gas=readings is self.gas)

    def pages(self, *, utc_us: int) -> dict[str, list[str]]:
        """Page name -> its lines, as the glass shows them."""
        return display_pages(self.view(utc_us=utc_us))
