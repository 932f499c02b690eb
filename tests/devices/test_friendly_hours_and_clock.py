"""A clock that is set while friendly hours hold supply: what stands outside them now is off at once."""

from __future__ import annotations

import pytest
from tests.devices.meter_cores import any_meter

from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.load import ConstantLoad
from smets1.devices.prepayment import FriendlyHours, NonDisablementCalendar, PaymentMode, PrepaymentConfig
from smets1.devices.supply import SupplyState
from smets1.devices.tariff import Tariff

MIDNIGHT = 20_150 * DAY_US  # in winter
MORNINGS = NonDisablementCalendar(
    hours=(FriendlyHours(weekdays=tuple(range(7)), start_minute=0, end_minute=10 * 60),)
)


@pytest.mark.parametrize("is_gas", [False, True], ids=["electricity", "gas"])
@pytest.mark.parametrize(
    ("by_us", "state"),
    [
        (-3 * HOUR_US - 7 * MINUTE_US, SupplyState.OFF),  # an evening
        (-30 * MINUTE_US, SupplyState.ON),  # the same morning
        (-SECOND_US, SupplyState.ON),
        (9 * HOUR_US, SupplyState.OFF),  # their end is passed over, and counts
        (30 * MINUTE_US, SupplyState.ON),
    ],
)
def test_where_the_clock_comes_to_stand_decides(by_us: int, state: SupplyState, is_gas: bool) -> None:
    now_us = MIDNIGHT + 2 * HOUR_US
    meter = any_meter(
        ConstantLoad(watts=1000, start_utc_us=now_us),
        is_gas=is_gas,
        now_us=now_us,
        tariff=Tariff.flat(price_mp_per_kwh=20_000),
        prepayment=PrepaymentConfig(calendar=MORNINGS),
        mode=PaymentMode.PREPAYMENT,
        balance_mp=-1,
    )
    meter.advance(now_us + SECOND_US)
    assert meter.supply.state is SupplyState.ON
    meter.set_clock(now_us + SECOND_US + by_us, utc_us=now_us + SECOND_US)
    assert meter.supply.state is state
