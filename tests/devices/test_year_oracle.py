"""Twelve months of a real home in prepayment, with weekly top-ups, against an oracle of its own.

At every UTC midnight the registers are equal to 1 Wh (1 litre of gas) and the balance to 1/1000 pence.
"""

from __future__ import annotations

import pytest
from tests.devices.meter_cores import any_meter
from year_oracle import DAY_S, FILE, FIRST, GAS_RATE, LAST, OPENING, STANDING, TOP_UP, Oracle, epoch_s
from year_terms import DEBTS, ELECTRICITY, with_debt_rates

from smets1.devices.load_csv import read_csv_load
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.tariff import Tariff
from smets1.firmware.nvm import MemoryNvm

US = 1_000_000


def make_meter(path, *, is_gas: bool):
    """Gas counts from zero at the start, as the oracle does: the file has none before November."""
    gas = Tariff.flat(price_mp_per_kwh=GAS_RATE, standing_charge_mp=STANDING)
    return any_meter(
        read_csv_load(path, fuel="gas" if is_gas else "electricity"),
        is_gas=is_gas,
        now_us=epoch_s(FIRST) * US,
        tariff=gas if is_gas else ELECTRICITY,
        prepayment=with_debt_rates(PrepaymentConfig()),
        mode=PaymentMode.PREPAYMENT,
        balance_mp=OPENING,
    )


@pytest.mark.parametrize(
    "is_gas", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["electricity", "gas"]
)
def test_every_midnight_of_a_year(shared_dir, is_gas):
    path = shared_dir / "data" / FILE
    oracle = Oracle(path, "gas_kwh" if is_gas else "elec_import_kwh", is_gas=is_gas)
    meter = make_meter(path, is_gas=is_gas)
    meter.set_debts(**DEBTS, utc_us=meter.now_us)
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
