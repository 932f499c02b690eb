"""What a home file makes of meters and factory data, and two homes of one seed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smets1.devices.prepayment import PaymentMode
from smets1.errors import InputError
from smets1.firmware.civil import from_datetime
from smets1.firmware.crypto.cbke import CbkeSuite, TestCa
from smets1.firmware.crypto.mmo import install_code_key
from smets1.tools.duis_ask import ask
from smets1.tools.home_config import HomeConfig, Role
from smets1.tools.home_file import default_home, parse_home
from smets1.tools.home_parts import electricity_meter, factory, gas_meter, top_up_desk

HOUR_US = 3_600_000_000


def home(text: str) -> HomeConfig:
    return parse_home(text, Path("home.toml"))


def part(config: HomeConfig, role: Role):  # type: ignore[no-untyped-def]
    device = config.device(role)
    assert device is not None
    return device


def test_factory_data_follow_seed_and_address() -> None:
    config = default_home()
    esme, ihd = part(config, Role.ESME), part(config, Role.IHD)

    def made(seed: int, device: object):  # type: ignore[no-untyped-def]
        return factory(replace(config, seed=seed), device, TestCa(CbkeSuite.SUITE_1, random.Random(1)))  # type: ignore[arg-type]

    one = made(1, esme)
    assert one.identity == made(1, esme).identity
    assert one.identity != made(2, esme).identity
    assert one.identity != made(1, ihd).identity
    assert one.install_key == install_code_key(esme.install_code)
    assert (one.eui64, one.device_type, one.firmware_version) == (esme.eui64, 1, 1)
    assert made(1, ihd).device_type == 6


def test_a_meter_has_what_the_file_says() -> None:
    config = home(
        "[prepayment]\nbalance_pounds = 3\nemergency_credit_limit_pounds = 8\nlow_credit_threshold_pounds = 1.5\n"
        '[prepayment.gas]\nmode = "credit"\n'
        "[tariff.electricity]\nunit_rate_pence = 25.5\nstanding_charge_pence = 60\n"
        '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 1000\n'
    )
    start_us = from_datetime(config.start)
    meter = electricity_meter(config, part(config, Role.ESME))
    assert meter.account.balance_mp == 300_000
    assert meter.account.mode is PaymentMode.PREPAYMENT
    assert meter.account.config.emergency_credit_limit_mp == 800_000
    assert meter.account.config.low_credit_threshold_mp == 150_000
    assert meter.price_mp_per_kwh == 25_500
    meter.advance(start_us + 2 * HOUR_US)
    assert meter.reading == 2000
    assert meter.account.balance_mp == 300_000 - 2 * 25_500
    gas = gas_meter(config, part(config, Role.GSME))
    assert gas.account.mode is PaymentMode.CREDIT


def test_a_load_belongs_to_the_meter_that_it_names() -> None:
    config = home(
        '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 500\ndevice = "00-DB-12-34-56-78-90-A0"\n'
    )
    meter = electricity_meter(config, part(config, Role.ESME))
    meter.advance(from_datetime(config.start) + HOUR_US)
    assert meter.reading == 500


def test_without_a_load_there_is_the_profile_of_the_seed() -> None:
    def day_wh(seed: int) -> int:
        config = replace(default_home(), seed=seed)
        meter = electricity_meter(config, part(config, Role.ESME))
        meter.advance(from_datetime(config.start) + 24 * HOUR_US)
        return meter.reading

    assert day_wh(1) == day_wh(1)
    assert day_wh(1) != day_wh(2)
    assert 3_000 < day_wh(1) < 30_000


def test_the_voltage_of_the_street_is_that_of_the_seed() -> None:
    def week(seed: int) -> list[int]:
        config = replace(default_home(), seed=seed)
        meter = electricity_meter(config, part(config, Role.ESME))
        start_us = from_datetime(config.start)
        return [meter.street.mv(start_us + index * HOUR_US // 2) for index in range(336)]

    assert week(1) == week(1) != week(2)
    assert len(set(week(1))) > 300, "it is another one each half hour"
    assert all(235_000 < mv < 246_000 for mv in week(1))


def test_a_csv_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none"):
        config = home(f'[[load]]\nfuel = "electricity"\nkind = "csv"\nfile = "{tmp_path / "none.csv"}"\n')
        electricity_meter(config, part(config, Role.ESME))


def test_two_meters_take_their_own_tokens() -> None:
    config = default_home()
    desks = [top_up_desk(config, part(config, role)) for role in (Role.ESME, Role.GSME)]
    assert "TESTKEY" not in repr(desks)


async def test_what_a_home_gives_back_is_read_by_duis(smets1_home: Any, tmp_path: Path) -> None:
    csv = tmp_path / "solar.csv"
    hours = [f"2023-01-16T{hour:02}:00:00Z" for hour in range(4)]
    rows = [f"{kwh},{hour},x" for hour, kwh in zip(hours, (0.5, 1.5, 0, 0), strict=True)]
    csv.write_text("\n".join(["Consumption (kWh),Start,End", *rows]) + "\n")
    toml = (
        "[han]\nreport_interval_s = 1800\n"
        '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 100\n'
        f'[[load]]\nfuel = "electricity"\nexport = true\nkind = "csv"\nfile = "{csv}"\n'
    )
    living = await smets1_home(toml=toml, start="2023-01-16T00:00:00Z")
    await living.clock.advance(hours=3)
    answer = await ask(living, "4.2", living.esme.eui64)
    assert answer.value("ActiveExportRegister", "Value") == "2000"
    assert living.esme.meter.reactive_export_varh == 658
    assert living.esme.meter.reading == 300
