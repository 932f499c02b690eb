"""What was done to the house by hand outlives the meter's program: appliances, the street, clocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.devices.meter_cores import FLAT, START, dump, meter, twin

from smets1.devices.days import HOUR_US, SECOND_US
from smets1.devices.load import ConstantLoad, GasFlow, Household
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.state import pack_state
from smets1.errors import DecodeError, MisuseError
from smets1.firmware.nvm import MemoryNvm
from smets1.tools.controls import control

TOML = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 50\n" + "".join(
    f'[[load]]\nfuel = "{fuel}"\nkind = "constant"\nwatts = 1000\n' for fuel in ("electricity", "gas")
)


def house(watts: int = 1000) -> Household:
    return Household(ConstantLoad(watts=watts, start_utc_us=START))


def reborn(subject: ElectricityMeterCore) -> ElectricityMeterCore:
    """The same meter after a restart, behind which a house of the same file stands."""
    nvm = MemoryNvm()
    subject.save(nvm)
    other = meter(house())
    assert other.restore(nvm)
    return other


def test_what_runs_runs_on_to_the_last_unit() -> None:
    subject = meter(house())
    subject.switch_appliance("kettle", is_on=True, watts=2000, utc_us=START + HOUR_US)
    subject.switch_appliance("lamp", is_on=True, watts=60, utc_us=START + HOUR_US + 7)
    subject.switch_appliance("lamp", is_on=False, watts=None, utc_us=START + 2 * HOUR_US)
    subject.advance(START + 2 * HOUR_US + 1234567)
    other = reborn(subject)
    for each in (subject, other):
        each.advance(START + 5 * HOUR_US + 1)
        each.switch_appliance("lamp", is_on=True, watts=None, utc_us=START + 6 * HOUR_US)
        each.switch_appliance("kettle", is_on=False, watts=None, utc_us=START + 6 * HOUR_US)
        each.advance(START + 9 * HOUR_US)
    assert other.power_w == subject.power_w == 1060
    assert dump(other) == dump(subject)
    assert other.registers.quantity == subject.registers.quantity


def test_nothing_flows_to_what_is_switched_on_while_power_is_gone() -> None:
    subject = meter(house())
    subject.switch_appliance("heater", is_on=True, watts=3000, utc_us=START)
    subject.power_off(utc_us=START + HOUR_US)
    other = reborn(subject)
    other.outage(START + 3 * HOUR_US)
    other.advance(START + 4 * HOUR_US)
    assert other.reading == 8000, "two hours of four kilowatts"


def test_a_gas_fire_is_plugged_in_behind_a_gas_meter() -> None:
    subject = GasMeterCore(flow=GasFlow(load=house()), now_us=START, tariff=FLAT)
    subject.switch_appliance("fire", is_on=True, watts=6000, utc_us=START)
    subject.advance(START + HOUR_US)
    assert 6990 <= subject.registers.energy_uwh // 1_000_000 <= 7000
    other = twin(subject)
    other.advance(START + 2 * HOUR_US)
    assert 13_990 <= other.registers.energy_uwh // 1_000_000 <= 14_000


def test_a_load_without_a_house_has_no_sockets() -> None:
    with pytest.raises(MisuseError):
        meter().switch_appliance("lamp", is_on=True, watts=60, utc_us=START)


def test_the_street_keeps_the_voltage_that_it_was_given() -> None:
    subject = meter(house())
    subject.set_voltage(190_000, utc_us=START + 60 * SECOND_US)
    subject.set_voltage(195_000, utc_us=START + 600 * SECOND_US)
    subject.advance(START + 900 * SECOND_US)
    other = reborn(subject)
    assert other.voltage_mv == 195_000
    for each in (subject, other):
        each.advance(START + 2 * HOUR_US)
    assert other.voltage.profile == subject.voltage.profile
    assert other.voltage.counters == subject.voltage.counters
    other.set_voltage(None, utc_us=START + 3 * HOUR_US)
    assert reborn(other).voltage_mv > 230_000


def test_voltages_set_for_a_year_do_not_pile_up() -> None:
    street = meter(house()).street
    for day in range(400):
        street.set(200_000 + day, utc_us=START + day * 24 * HOUR_US)
    assert len(street.encode()) < 100
    assert street.mean_mv(START + 398 * 24 * HOUR_US, START + 399 * 24 * HOUR_US) == 200_398


@pytest.mark.parametrize(
    "fields",
    [
        {"names": ["kettle"], "rows": []},
        {"names": ["kettle"], "rows": [[2000, 1, 5]]},
        {"names": [], "rows": 3},
        {"names": ["kettle"]},
    ],
)
def test_a_damaged_record_of_the_house(fields: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        house().decode_into(pack_state("house", 1, fields))


async def test_a_home_that_is_killed_has_all_of_it_when_it_comes_back(
    smets1_home: Any, tmp_path: Path
) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    await home.clock.advance(hours=1)
    esme, gsme, ihd = home.esme.eui64, home.gsme.eui64, home.ihd.eui64
    await control(home, esme, "appliances", {"name": "kettle", "on": True, "watts": 2000})
    await control(home, gsme, "appliances", {"name": "fire", "on": True, "watts": 6000})
    await control(home, esme, "voltage", {"mv": 260_000})
    await control(home, esme, "clock", {"drift_ppm": 500, "offset_s": 90})
    await control(home, ihd, "clock", {"drift_ppm": -300})
    await home.power_off()

    again = await smets1_home(toml=TOML, nvm_dir=tmp_path, waits=False)
    assert again.esme.civil.drift_ppm == 500
    assert again.ihd.civil.drift_ppm == -300
    assert 89_000_000 < again.esme.civil.utc_us() - again.clock.utc_us < 91_000_000
    assert again.esme.meter.power_w == 3000
    assert again.esme.meter.voltage_mv == 260_000
    assert again.gsme.meter.flow_ml_per_h == home.gsme.meter.flow_ml_per_h > 600_000
    await again.joined()
    await again.clock.advance(minutes=30)
    assert abs(again.esme.civil.utc_us() - again.clock.utc_us) < 5_000_000, "the hub has set it right"
    assert again.esme.civil.drift_ppm == 500


async def test_a_meter_whose_mains_are_cut_finds_the_kettle_still_on(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await control(home, home.esme.eui64, "appliances", {"name": "kettle", "on": True, "watts": 2000})
    eui64, before = home.esme.eui64, home.esme.meter.reading
    await control(home, eui64, "power", {"on": False})
    await home.clock.advance(hours=2)
    await control(home, eui64, "power", {"on": True})
    await home.clock.advance(hours=1)
    home.esme.meter.advance(home.esme.civil.utc_us())
    assert 2990 <= home.esme.meter.reading - before <= 3050
