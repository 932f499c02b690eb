"""Cores of both meters in a house of one kilowatt, without a device around them."""

from __future__ import annotations

from typing import Any

from smets1.devices.days import DAY_US
from smets1.devices.load import ApplianceLoad, ConstantLoad, GasFlow, Load
from smets1.devices.load_limit import LoadLimit
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.prepayment import PaymentMode
from smets1.devices.tariff import Tariff
from smets1.firmware.nvm import MemoryNvm

POUND = 100_000
START = 19_733 * DAY_US  # 2024-01-11
FLAT = Tariff.flat(price_mp_per_kwh=30_000, standing_charge_mp=40_000)
PAYMENT_CONTROLS = (
    (PaymentMode.CREDIT, True, True, 0x0C94),
    (PaymentMode.PREPAYMENT, True, True, 0x0497),
    (PaymentMode.PREPAYMENT, True, False, 0x0097),
    (PaymentMode.PREPAYMENT, False, True, 0x0C97),
    (PaymentMode.PREPAYMENT, False, False, 0x0897),
)
"""As real devices show them: mode, debts suspended in emergency credit, while disabled, attribute."""


def any_meter(load: Load, *, is_gas: bool, **options: Any) -> ElectricityMeterCore | GasMeterCore:
    if is_gas:
        return GasMeterCore(flow=GasFlow(load=load), **options)
    return ElectricityMeterCore(load=load, **options)


def meter(load=None, *, mode=PaymentMode.CREDIT, balance_mp=0, config=None, tariff=FLAT, **more):
    return ElectricityMeterCore(
        load=load or ConstantLoad(watts=1000, start_utc_us=START),
        now_us=START,
        tariff=tariff,
        prepayment=config,
        mode=mode,
        balance_mp=balance_mp,
        **more,
    )


def gas_meter(watts: int = 11_220, **more) -> GasMeterCore:
    flow = GasFlow(load=ConstantLoad(watts=watts, start_utc_us=START))
    return GasMeterCore(flow=flow, now_us=START, tariff=FLAT, **more)


def codes(subject) -> list[int]:
    return [entry.code for entry in subject.take_events()]


def twin(subject):
    """The same meter after a restart of its program."""
    nvm = MemoryNvm()
    subject.save(nvm)
    nvm.commit()
    if isinstance(subject, GasMeterCore):
        other = GasMeterCore(flow=subject.flow, now_us=START, tariff=FLAT)
    else:
        other = meter(subject.load, export=subject.export)
        other.street = subject.street
    assert other.restore(nvm)
    return other


def dump(subject) -> dict[str, bytes]:
    nvm = MemoryNvm()
    subject.save(nvm)
    return {key: nvm.get(key) for key in nvm.keys("") if "/profile" not in key}


def limited(**settings):
    """A meter that cuts off above 5 kW, and a kettle of 6 kW."""
    kettle = ApplianceLoad(watts=6000)
    subject = meter(kettle)
    subject.set_load_limit(LoadLimit(threshold_w=5000, **settings), utc_us=START)
    return subject, kettle
