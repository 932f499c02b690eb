"""Twelve months of a real home in prepayment, with weekly top-ups, against an oracle of its own.

At every UTC midnight the registers are equal to 1 Wh (1 litre of gas) and the balance to 1/1000 pence.
"""

from __future__ import annotations

import pytest
from year_oracle import (
    DAILY_DEBT,
    DAILY_RATE,
    DAY_RATE,
    DAY_S,
    FILE,
    FIRST,
    GAS_RATE,
    LAST,
    NIGHT_RATE,
    OPENING,
    PAYMENT_DEBT,
    SHARE_PERCENT,
    STANDING,
    TOP_UP,
    Oracle,
    epoch_s,
)

from smets1.devices.load import GasFlow
from smets1.devices.load_csv import read_csv_load
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.prepayment import DebtRate, PaymentMode, PrepaymentConfig
from smets1.devices.tariff import DayProfile, Season, SwitchingTable, Tariff
from smets1.firmware.nvm import MemoryNvm

US = 1_000_000


def tariff(*, is_gas: bool) -> Tariff:
    if is_gas:
        return Tariff.flat(price_mp_per_kwh=GAS_RATE, standing_charge_mp=STANDING)
    return Tariff(
        prices_up_per_kwh=((DAY_RATE * 1000, NIGHT_RATE * 1000),),
        standing_charge_up=STANDING * 1000,
        switching=SwitchingTable(
            seasons=(Season(month=1, day=1, week=0),),
            weeks=((0,) * 7,),
            days=(DayProfile(switches=((0, 1), (7 * 60, 0))),),
        ),
    )


def make_meter(path, *, is_gas: bool):
    options = {
        "now_us": epoch_s(FIRST) * US,
        "tariff": tariff(is_gas=is_gas),
        "prepayment": PrepaymentConfig(
            debt_rates=(DebtRate(rate_mp=DAILY_RATE), DebtRate()), debt_per_payment_bp=SHARE_PERCENT * 100
        ),
        "mode": PaymentMode.PREPAYMENT,
        "balance_mp": OPENING,
    }
    load = read_csv_load(path, fuel="gas" if is_gas else "electricity")
    if is_gas:
        # From zero at the start, as the oracle counts: the file has no gas before November.
        return GasMeterCore(flow=GasFlow(load=load), **options)
    return ElectricityMeterCore(load=load, **options)


@pytest.mark.parametrize(
    "is_gas", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["electricity", "gas"]
)
def test_every_midnight_of_a_year(shared_dir, is_gas):
    path = shared_dir / "data" / FILE
    oracle = Oracle(path, "gas_kwh" if is_gas else "elec_import_kwh", is_gas=is_gas)
    meter = make_meter(path, is_gas=is_gas)
    meter.set_debts(time_1_mp=DAILY_DEBT, time_2_mp=0, payment_mp=PAYMENT_DEBT, utc_us=meter.now_us)
    days = (LAST - FIRST).days + 1
    assert days == 365
    for day in range(days):
        midnight_s = epoch_s(FIRST) + day * DAY_S
        oracle.live_a_day(midnight_s)
        end_us = (midnight_s + DAY_S) * US
        meter.advance(end_us)
        assert meter.reading == oracle.reading, f"register on day {day}"
        assert meter.account.balance_mp == oracle.balance_mp, f"balance on day {day}"
        assert meter.daily.entries[-1].utc_us == end_us
        if day % 7 == 6:
            meter.add_credit(TOP_UP, source=0, utc_us=end_us)
            oracle.top_up()
        if day % 90 == 89:  # a restart of the program now and then changes nothing
            nvm = MemoryNvm()
            meter.save(nvm)
            meter = make_meter(path, is_gas=is_gas)
            assert meter.restore(nvm)
    assert meter.supply.is_on
    assert meter.account.time_debt_fine == [0, 0]
    assert meter.account.payment_debt_fine == oracle.payment_debt * 10**12
    assert oracle.reading > 1_000_000 / (1 if not is_gas else 10)
