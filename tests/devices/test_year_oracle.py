"""Twelve months of a real home in prepayment, with weekly top-ups, against an oracle of its own.

The oracle knows nothing of the meter: it reads the CSV itself, lives in whole hours, and adds whole numbers. Its
unit of money is 10^-12 of 1/1000 pence, so that nothing is rounded before the comparison. At every UTC midnight
the registers are equal to 1 Wh (1 litre of gas) and the balance to 1/1000 pence.
"""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from smets1.devices.load import GasFlow
from smets1.devices.load_csv import read_csv_load
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.prepayment import DebtRate, PaymentMode, PrepaymentConfig
from smets1.devices.tariff import DayProfile, Season, SwitchingTable, Tariff
from smets1.firmware.nvm import MemoryNvm

HOUR_S, DAY_S, US = 3600, 86_400, 1_000_000
FIRST, LAST = dt.date(2022, 7, 1), dt.date(2023, 6, 30)
FILE = "n3rgy_hourly_electricity_gas.csv"

# p/kWh x 1000; electricity is cheap from 0 to 7 h UTC. Pence x 1000 a day. Debt: pence x 1000.
DAY_RATE, NIGHT_RATE, GAS_RATE, STANDING = 30_123, 9_877, 7_345, 51_230
OPENING, TOP_UP = 6_000_000, 4_500_000
DAILY_DEBT, DAILY_RATE, PAYMENT_DEBT, SHARE_PERCENT = 3_000_000, 12_345, 20_000_000, 15


def epoch_s(date: dt.date) -> int:
    return int(dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC).timestamp())


class Oracle:
    """Integers only. `hours`: second since 1970 at which an hour begins -> uWh."""

    def __init__(self, path, column: str, *, is_gas: bool) -> None:
        self.hours: dict[int, int] = {}
        with path.open() as file:
            for row in csv.DictReader(file):
                if row[column] == "NA":
                    continue
                local = dt.datetime.fromisoformat(row["local_time"]).replace(tzinfo=ZoneInfo("Europe/London"))
                self.hours[int(local.timestamp())] = int(Decimal(row[column]) * 10**9)
        self.is_gas = is_gas
        self.source_uwh = 0  # as the file has it, since the first midnight
        self.ul = self.metered_uwh = 0
        self.money = OPENING * 10**12
        self.daily_debt, self.payment_debt = DAILY_DEBT, PAYMENT_DEBT

    def live_a_day(self, midnight_s: int) -> None:
        for hour in range(24):
            start_s = midnight_s + hour * HOUR_S
            self.source_uwh += self.hours.get(start_s, 0)
            if self.is_gas:
                # m3 = kWh x 3.6 / (39.5 x 1.02264), rounded down to a ul; and back to uWh in the meter
                self.ul = self.source_uwh * 36 * 10**5 // (395 * 102_264)
                metered, rate = self.ul * 395 * 102_264 // (36 * 10**5), GAS_RATE
            else:
                metered, rate = self.source_uwh, NIGHT_RATE if hour < 7 else DAY_RATE
            # 1 uWh at 1/1000 p per kWh is 10^-9 of 1/1000 p
            self.money -= (metered - self.metered_uwh) * rate * 1000
            self.metered_uwh = metered
        instalment = min(DAILY_RATE, self.daily_debt)
        self.daily_debt -= instalment
        self.money -= (instalment + STANDING) * 10**12

    def top_up(self) -> None:
        share = min(TOP_UP * SHARE_PERCENT // 100, self.payment_debt)
        self.payment_debt -= share
        self.money += (TOP_UP - share) * 10**12

    @property
    def balance_mp(self) -> int:
        return self.money // 10**12

    @property
    def reading(self) -> int:
        return (self.ul if self.is_gas else self.source_uwh) // 10**6


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
