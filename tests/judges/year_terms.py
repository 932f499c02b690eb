"""The year of year_oracle.py in a meter's own terms: its tariff of two rates, its debts."""

from __future__ import annotations

from dataclasses import replace

from year_oracle import (
    DAILY_DEBT,
    DAILY_RATE,
    DAY_RATE,
    NIGHT_RATE,
    PAYMENT_DEBT,
    SHARE_PERCENT,
    STANDING,
)

from smets1.devices.prepayment import DebtRate, PrepaymentConfig
from smets1.devices.tariff import SwitchingTable, Tariff

ELECTRICITY = Tariff(
    prices_up_per_kwh=((DAY_RATE * 1000, NIGHT_RATE * 1000),),
    standing_charge_up=STANDING * 1000,
    switching=SwitchingTable.daily((0, 1), (7 * 60, 0)),
)
DEBTS = {"time_1_mp": DAILY_DEBT, "time_2_mp": 0, "payment_mp": PAYMENT_DEBT}


def with_debt_rates(config: PrepaymentConfig) -> PrepaymentConfig:
    return replace(
        config,
        debt_rates=(DebtRate(rate_mp=DAILY_RATE), DebtRate()),
        debt_per_payment_bp=SHARE_PERCENT * 100,
    )
