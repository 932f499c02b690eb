"""Loads: cumulative, exact at the ends of intervals, never falling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.devices.days import DAY_US, HALF_HOUR_US, HOUR_US
from smets1.devices.load import (
    ApplianceLoad,
    ConstantLoad,
    GasConversion,
    GasFlow,
    RepeatedLoad,
    ShiftedLoad,
    SumLoad,
    TableLoad,
)
from smets1.errors import MisuseError


def table(*energies: int, start_us: int = 0) -> TableLoad:
    starts = [start_us + i * HALF_HOUR_US for i in range(len(energies))]
    return TableLoad(
        starts_us=starts, ends_us=[s + HALF_HOUR_US for s in starts], energies_uwh=list(energies)
    )


def test_constant_load_of_a_kilowatt_is_a_kilowatt_hour_an_hour():
    load = ConstantLoad(watts=1000, start_utc_us=5 * HOUR_US)
    assert load.energy_uwh(6 * HOUR_US) == 1_000_000_000
    assert load.energy_uwh(4 * HOUR_US) == 0
    assert load.power_mw(5 * HOUR_US) == 1_000_000
    assert load.power_mw(0) == 0


def test_table_is_exact_at_boundaries_and_linear_within():
    load = table(1000, 0, 7)
    assert [load.energy_uwh(i * HALF_HOUR_US) for i in range(-1, 5)] == [0, 0, 1000, 1000, 1007, 1007]
    assert load.energy_uwh(HALF_HOUR_US // 4) == 250
    assert load.window() == (0, 3 * HALF_HOUR_US)
    assert load.total_uwh() == 1007
    assert load.power_mw(3 * HALF_HOUR_US) == 0


def test_table_power_is_the_slope():
    load = table(500_000_000)  # half a kWh in half an hour
    assert load.power_mw(1) == 1_000_000


@pytest.mark.parametrize(
    ("starts", "ends", "energies"),
    [([0, 10], [20, 30], [1, 1]), ([0], [0], [1]), ([0], [10], [-1]), ([0, 5], [5], [1, 1])],
)
def test_table_refuses_what_is_no_table(starts, ends, energies):
    with pytest.raises(MisuseError):
        TableLoad(starts_us=starts, ends_us=ends, energies_uwh=energies)


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=10),
    st.lists(st.integers(-HALF_HOUR_US, 12 * HALF_HOUR_US), min_size=2, max_size=20),
)
def test_no_load_ever_falls(energies, instants):
    load = SumLoad(loads=(table(*energies), ShiftedLoad(load=table(*energies), offset_us=777)))
    readings = [load.energy_uwh(at) for at in sorted(instants)]
    assert readings == sorted(readings)


def test_repeated_load_lives_its_span_again():
    load = RepeatedLoad(load=table(10, 20), start_us=0, end_us=2 * HALF_HOUR_US)
    assert load.energy_uwh(DAY_US) == 24 * 30
    assert load.energy_uwh(3 * HALF_HOUR_US) == 40
    assert load.power_mw(2 * HALF_HOUR_US) == load.power_mw(0)


def test_appliance_consumes_while_it_is_on():
    kettle = ApplianceLoad(watts=3000)
    kettle.switch(True, utc_us=HOUR_US)
    kettle.switch(True, utc_us=HOUR_US + 1)  # already on
    kettle.switch(False, utc_us=2 * HOUR_US)
    assert kettle.energy_uwh(HOUR_US) == 0
    assert kettle.energy_uwh(9 * HOUR_US) == 3_000_000_000
    assert kettle.power_mw(HOUR_US) == 3_000_000
    assert kettle.power_mw(3 * HOUR_US) == 0
    with pytest.raises(MisuseError):
        kettle.switch(True, utc_us=HOUR_US)


def test_gas_conversion_is_the_formula_of_the_bill():
    # kWh = m3 x 1.02264 x 39.5 / 3.6; a cubic metre is 10^9 microlitres, a kWh 10^9 uWh
    conversion = GasConversion()
    assert conversion.energy_uwh(1_000_000_000) == 11_220_633_333
    assert conversion.volume_ul(11_220_633_334) == 1_000_000_000


@given(st.integers(0, 10**14))
def test_gas_conversion_loses_less_than_a_microlitre(volume_ul):
    conversion = GasConversion()
    assert volume_ul - 1 <= conversion.volume_ul(conversion.energy_uwh(volume_ul)) <= volume_ul


def test_gas_flow_is_the_slope_of_the_volume():
    flow = GasFlow(load=ConstantLoad(watts=11_220))  # about a cubic metre an hour
    assert flow.volume_ul(HOUR_US) // 1_000_000 == 999
    assert 999_000 <= flow.flow_ml_per_h(HOUR_US) <= 1_000_000
