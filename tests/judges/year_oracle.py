"""An oracle of one home's year in prepayment that knows nothing of the meters it judges.

It reads the CSV itself, lives in whole hours, and adds whole numbers. Its unit of money is 10^-12 of 1/1000 pence,
so that nothing is rounded before the comparison.
"""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

HOUR_S, DAY_S = 3600, 86_400
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
