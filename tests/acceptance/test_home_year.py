"""Months of one real home at speed max, every frame on the air, against an oracle that reads the CSV itself.

Prepayment on both fuels, a top-up each week by every way there is (head end, PPMID, the meter's own keys), displays
that hear of the meters every five minutes. At each UTC midnight the registers equal the file to 1 Wh (1 litre) and
the balance equals the oracle's to 1/1000 pence.

    PYTHONPATH=tests/judges python tests/acceptance/test_home_year.py DATA.csv DAYS     the same, and how long it took
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from year_oracle import DAY_S, FILE, FIRST, GAS_RATE, LAST, NIGHT_RATE, OPENING, STANDING, TOP_UP, Oracle
from year_terms import DEBTS, ELECTRICITY, with_debt_rates

from smets1.devices.meter_device import MeterDevice
from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.duis_ask import ask
from smets1.tools.home import Home, open_home

US = 1_000_000
REPORT_S = 300


def toml(path: Path, start: str) -> str:
    """Before the tariff of the day begins, at once, the flat prices of the night are charged."""
    return f"""
start = {start}T00:00:00Z
[han]
report_interval_s = {REPORT_S}
[[load]]
fuel = "electricity"
kind = "csv"
file = "{path}"
[[load]]
fuel = "gas"
kind = "csv"
file = "{path}"
[tariff.electricity]
unit_rate_pence = {NIGHT_RATE / 1000}
standing_charge_pence = {STANDING / 1000}
[tariff.gas]
unit_rate_pence = {GAS_RATE / 1000}
standing_charge_pence = {STANDING / 1000}
[prepayment]
balance_pounds = {OPENING // 100_000}
max_meter_balance_pounds = 5000
max_credit_threshold_pounds = 100
"""


def without_gaps(path: Path, folder: Path) -> Path:
    """The file for the home: where it has no gas reading none was used, else the home would take another year's."""
    filled = folder / "readings.csv"
    filled.write_text(path.read_text().replace(",NA", ",0"))
    return filled


def configure(home: Home) -> None:
    """What a home file cannot say: two rates, and debts."""
    home.esme.meter.set_tariff(ELECTRICITY, utc_us=home.clock.utc_us)
    for device in (home.esme, home.gsme):
        config = with_debt_rates(device.account.config)
        device.meter.set_prepayment(config, utc_us=home.clock.utc_us)
        device.meter.set_debts(**DEBTS, utc_us=home.clock.utc_us)


async def top_up(home: Home, device: MeterDevice, week: int) -> None:
    """By the head end, the PPMID, the keys, in turn."""
    token = home.headend.make_utrn(device.eui64, pence=TOP_UP // 1000)
    if week % 3 == 0:
        answer = await ask(home, "2.2", device.eui64, token=token, wait_s=3600)
        assert answer.code == "I0"
    elif week % 3 == 1:
        answer_there = await home.ppmid.enter_utrn(token, "gas" if device is home.gsme else "electricity")
        assert answer_there.is_accepted
    else:
        assert [result.is_accepted for result in device.press(f"A {token} B")] == [True]


async def live(home: Home, path: Path, days: int) -> int:
    """Day after day; how many frames went over the air."""
    oracles = {
        home.esme: Oracle(path, "elec_import_kwh", is_gas=False),
        home.gsme: Oracle(path, "gas_kwh", is_gas=True),
    }
    first_s = int(home.config.start.timestamp())
    frames = 0

    def count(*_: Any) -> None:
        nonlocal frames
        frames += 1

    home.air.tap(count)
    configure(home)
    for day in range(days):
        midnight_s = first_s + (day + 1) * DAY_S
        await home.clock.advance_to(midnight_s * US)
        assert home.clock.utc_us == midnight_s * US
        for device, oracle in oracles.items():
            oracle.live_a_day(midnight_s - DAY_S)
            account = device.account
            assert device.meter.reading == oracle.reading, f"register of {device} on day {day}"
            assert account.balance_mp == oracle.balance_mp, f"balance of {device} on day {day}"
            assert device.meter.supply.is_on
            for display in (home.ppmid, home.ihd):
                heard_us = display.model.electricity.heard_utc_us
                assert heard_us is not None
                assert home.clock.utc_us - heard_us <= (REPORT_S + 5) * US, f"{display} on day {day}"
        if day % 7 == 6:
            for device, oracle in oracles.items():
                await top_up(home, device, day // 7)
                oracle.top_up()
    return frames


async def judge(make: Any, shared_dir: Path, folder: Path, start: str, days: int) -> None:
    path = shared_dir / "data" / FILE
    home = await make(seed=7, toml=toml(without_gaps(path, folder), start))
    assert await live(home, path, days) > 35_000 * days
    for device in (home.esme, home.gsme):
        assert device.desk.refused_count == 0
        assert device.desk.accepted_count == days // 7


@pytest.mark.slow
async def test_two_weeks_of_a_real_home(smets1_home: Any, shared_dir: Path, tmp_path: Path) -> None:
    """Across the end of summer time, in the first days of the gas readings' winter."""
    await judge(smets1_home, shared_dir, tmp_path, "2022-11-01", 15)


@pytest.mark.sweep
async def test_twelve_months_of_a_real_home(smets1_home: Any, shared_dir: Path, tmp_path: Path) -> None:
    await judge(smets1_home, shared_dir, tmp_path, str(FIRST), (LAST - FIRST).days + 1)


if __name__ == "__main__":

    async def main() -> None:
        path = Path(sys.argv[1])
        with TemporaryDirectory() as folder:
            home = await open_home(seed=7, toml=toml(without_gaps(path, Path(folder)), str(FIRST)))
        began_s, cpu_s = time.perf_counter(), time.process_time()
        frames = await live(home, path, int(sys.argv[2]))
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        print(f"{sys.argv[2]} days, {frames} frames: {took_s:.0f} s, {cpu_s:.0f} s of one core")
        await home.close()

    run(main(), speed=MAX_SPEED)
