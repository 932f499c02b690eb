"""What comes of tariffs, prices and accounts that suppliers write: charges, dates, displays.

DCC's reference requests against one whole home (six devices, air, hub, WAN, DCO), both fuels, in virtual time.
That each is read back as it was written is `test_written_and_read.py`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.headend.reference_supplier import Supplier
from tests.headend.reference_table import read_back, reference_requests

from smets1.devices.account import Zone
from smets1.devices.event_log import AlertCode
from smets1.devices.prepayment import PaymentMode
from smets1.firmware.civil import parse_utc

pytestmark = pytest.mark.outsider

START = "2026-01-16T05:00:00Z"  # a Friday
TOML = """
[han]
gas_wake_s = 60
report_interval_s = 1800
[prepayment]
balance_pounds = 50
[[load]]
fuel = "electricity"
kind = "constant"
watts = 1000
[[load]]
fuel = "gas"
kind = "constant"
watts = 2000
"""


@pytest.fixture
async def supplier(
    smets1_home: Any, duis_schema: etree.XMLSchema, duis_templates: Path, duis_parser: Path
) -> Any:
    home = await smets1_home(toml=TOML, start=START)
    found = Supplier(home, dict(reference_requests(duis_templates)), duis_schema)
    await home.clock.advance(minutes=3)
    yield found
    parsed = read_back(duis_parser, found.octets)
    assert [document["header"]["responseCode"] for document in parsed] == ["I0"] * len(found.octets)


# --- tariffs -----------------------------------------------------------------------------------------------


async def test_the_account_is_charged_by_the_tariff_that_was_written(supplier: Supplier) -> None:
    """The hybrid tariff of the test data, 1 kW, Friday 05:00 to Saturday; reckoned by the minute from its words."""
    home = supplier.home
    await supplier.template("ECS01a_1.1.1_FUTURE_DATED_TOU_BLOCK", (">40000<", ">1500<"))
    meter = home.esme.meter
    change = meter.snapshots[-1]
    await home.clock.advance(hours=20)
    meter.advance(home.clock.utc_us)
    cost, used = _hybrid_cost(change.utc_us, meter.now_us)
    assert meter.registers.energy_uwh - change.quantity == used
    assert change.balance_fine - meter.account.balance_fine == cost


def _hybrid_cost(start_us: int, end_us: int) -> tuple[int, int]:
    """(cost in 10^-12 of 1/1000 pence, uWh) of 1 kW; winter: weekdays block 2 until 07:00 and then block 1,
    weekends TOU 1; 20p a day at midnight."""
    prices = {1: (2289, 3546, 10_000), 2: (4002, 6969, 1_500)}
    used = {1: 0, 2: 0}
    cost = total = 0
    at = start_us
    while at < end_us:
        end = min(at // 60_000_000 * 60_000_000 + 60_000_000, end_us)
        energy = (end * 1000 * 1_000_000 // 3_600_000_000) - (at * 1000 * 1_000_000 // 3_600_000_000)
        day, minute = at // 86_400_000_000, at % 86_400_000_000 // 60_000_000
        if (day + 3) % 7 >= 5:
            cost += energy * 2121 * 1000
        else:
            register = 2 if minute < 420 else 1
            low, high, threshold_wh = prices[register]
            below = max(0, min(energy, threshold_wh * 1_000_000 - used[register]))
            cost += (below * low + (energy - below) * high) * 1000
            used[register] += energy
        total += energy
        at = end
        if at % 86_400_000_000 == 0:
            cost += 20_000 * 10**12
    return cost, total


async def test_a_tariff_waits_in_the_meter_until_its_time(supplier: Supplier) -> None:
    home = supplier.home
    old = home.esme.meter.tariff
    soon = ("2030-01-15T09:00:00.00Z", "2026-01-16T07:00:00.00Z")
    await supplier.template("ECS01a_1.1.1_FUTURE_DATED", soon, at_once=False)
    await supplier.template("GCS01a_1.1.1_FUTURE_DATED", soon, at_once=False)
    await supplier.template("ECS03_1.6_FUTURE_DATED", soon, at_once=False)
    await supplier.template("GCS05_2.1_FUTURE_DATED", soon, at_once=False)
    await home.clock.advance_to(parse_utc("2026-01-16T06:59:59Z"))
    assert home.esme.account is home.esme.meter.account
    assert home.esme.meter.tariff == old
    await home.clock.advance(seconds=2)
    assert home.esme.meter.tariff.tou_count == 3  # one TOU register and two of blocks
    assert home.gsme.account.config.emergency_credit_limit_mp == 10_000_000
    assert home.gsme.meter.tariff.prices_up_per_kwh == ((9_600_000,), (10_200_000,), (10_750_000,))
    for meter, count in ((home.esme.meter, 2), (home.gsme.meter, 2)):
        done = [entry for entry in meter.log.events if entry.code == AlertCode.FUTURE_COMMAND_EXECUTED]
        assert len(done) == count
    later = ("2030-01-15T09:00:00.00Z", "2026-01-16T08:00:00.00Z")
    await supplier.template("ECS01b_1.2.1_FUTURE_DATED", later, at_once=False)
    await supplier.template("ECS01b_1.2.1_CANCELLATION", at_once=False)
    await supplier.template("GCS02_1.6_FUTURE_DATED", later, at_once=False)
    await supplier.template("GCS02_1.6_CANCELLATION", at_once=False)
    present = home.esme.meter.tariff
    await home.clock.advance(hours=1)
    assert (home.esme.meter.tariff, home.gsme.account.mode) == (present, PaymentMode.PREPAYMENT)


# --- accounts ----------------------------------------------------------------------------------------------


async def test_emergency_credit_is_taken_where_it_is_offered(supplier: Supplier) -> None:
    esme = supplier.home.esme
    refused = await supplier.read("ECS09_2.5", may_fail=True)
    assert dict(refused.attributes)["MessageSuccess"] == "false"
    await supplier.template("ECS03_1.6_IMMEDIATE", (">556677<", ">0<"))
    balance = ("1200000", str(50_000 - esme.account.balance_mp))
    await supplier.template("ECS04a_1.5", balance)
    await supplier.template("ECS09_2.5")
    assert esme.account.is_emergency_taken
    assert esme.account.zone is Zone.LOW_CREDIT
    assert (await supplier.read("ECS19_4.3")).value("EmergencyCreditBalance") == str(
        esme.account.emergency_mp
    )


async def test_two_tariffs_at_once_come_one_after_the_other(supplier: Supplier) -> None:
    """Their frames do not mix: the second is whole when both are done."""
    home = supplier.home
    await asyncio.gather(
        supplier.template("ECS01a_1.1.1_IMMEDIATE_BLOCK"), supplier.template("ECS01a_1.1.1_IMMEDIATE_TOU")
    )
    assert home.esme.meter.tariff.prices_up_per_kwh == ((21_210_000 // 10, 3_127_000, 4_744_000),)


async def test_displays_learn_of_prices_modes_and_debts_unasked(supplier: Supplier) -> None:
    home = supplier.home
    await home.clock.advance(minutes=6)  # both displays have asked for both prices
    displays = (home.ihd.model, home.ppmid.model)
    await supplier.template("ECS01a_1.1.1_IMMEDIATE_TOU")
    await supplier.template("ECS02_1.6_IMMEDIATE")
    await home.clock.advance(seconds=15)
    for model in displays:
        assert model.electricity.price_mp_per_kwh == home.esme.meter.price_mp_per_kwh == 3127
        assert model.electricity.values["payment_control_configuration"] == 0x0C94
    await supplier.template("GCS01a_1.1.1_IMMEDIATE_TOU")
    await home.clock.advance(seconds=15)
    for model in displays:
        assert model.gas.price_mp_per_kwh == home.gsme.meter.price_mp_per_kwh
    await home.clock.advance_to(parse_utc("2026-01-16T07:00:20Z"))  # the tariff switches, and nobody asks
    for model in displays:
        assert model.electricity.price_mp_per_kwh == 4744
