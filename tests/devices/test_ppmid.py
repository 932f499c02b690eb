"""What a person does at the prepayment display, and what the meter makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from smets1.devices.display_panel import Act, Request
from smets1.devices.special_codes import VendKind, make_special_code
from smets1.devices.supply import SupplyState
from smets1.errors import RefusedError
from smets1.firmware.zcl.clusters.prepayment import ResultType
from smets1.tools.duis_ask import ask
from smets1.tools.home_parts import SUPPLIER
from smets1.tools.trial_keys import prepayment_key

# 10 kW at 34 p a kWh: a pound is gone in less than 20 minutes.
HUNGRY = (
    "[han]\nreport_interval_s = 60\n"
    '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 10000\n'
    "[prepayment]\nbalance_pounds = 2\nemergency_credit_limit_pounds = 3\nemergency_credit_threshold_pounds = 1\n"
)
TOML = "[han]\nreport_interval_s = 600\n[prepayment]\nbalance_pounds = 20\n"


async def until(home: Any, is_so: Any, hours: float = 12) -> None:
    """Let minutes pass until something is so."""
    for _ in range(int(hours * 60)):
        home.esme.meter.advance(home.clock.utc_us)
        if is_so():
            return
        await home.clock.advance(minutes=1)
    raise AssertionError("it never was so")


async def test_from_credit_to_emergency_to_dark_and_back(smets1_home: Any) -> None:
    home = await smets1_home(toml=HUNGRY)
    meter, ppmid = home.esme.meter, home.ppmid
    with pytest.raises(RefusedError):  # not yet on offer
        await ppmid.activate_emergency_credit()
    await until(home, lambda: meter.account.balance_mp < 100_000)
    await home.clock.advance(minutes=2)
    assert any("mergency" in line for page in ppmid.screen.values() for line in page)
    await ppmid.activate_emergency_credit()
    with pytest.raises(RefusedError):
        await ppmid.activate_emergency_credit()
    await until(home, lambda: meter.account.balance_mp <= 0)
    assert meter.supply.is_on, "emergency credit holds it"
    await until(home, lambda: not meter.supply.is_on)
    assert meter.supply.state is SupplyState.OFF
    assert meter.account.emergency_mp == 0
    dark_wh = meter.reading
    with pytest.raises(RefusedError):  # nothing to confirm
        await ppmid.confirm_supply()
    await home.clock.advance(hours=3)
    meter.advance(home.clock.utc_us)
    assert meter.reading == dark_wh

    answer = await ppmid.enter_utrn(home.headend.make_utrn(home.esme.eui64, pounds=10))
    assert answer.result is ResultType.ACCEPTED_SUPPLY_ARMED
    await home.clock.advance(hours=1)
    meter.advance(home.clock.utc_us)
    assert meter.supply.state is SupplyState.ARMED, "it never switches itself on"
    assert meter.reading == dark_wh
    await ppmid.confirm_supply()
    assert meter.supply.is_on
    await home.clock.advance(minutes=6)
    meter.advance(home.clock.utc_us)
    assert meter.reading - dark_wh >= 1000
    with pytest.raises(RefusedError):
        await ppmid.confirm_supply()


@pytest.mark.slow
async def test_supply_stays_off_over_a_restart(smets1_home: Any, tmp_path: Any) -> None:
    home = await smets1_home(toml=HUNGRY, nvm_dir=tmp_path)
    await until(home, lambda: not home.esme.meter.supply.is_on)
    await home.power_off()
    again = await smets1_home(toml=HUNGRY, nvm_dir=tmp_path)
    await again.clock.advance(hours=1)
    again.esme.meter.advance(again.clock.utc_us)
    assert again.esme.meter.supply.state is SupplyState.OFF


@pytest.mark.parametrize("digits", ["", "1", "12345678901234567890", "x" * 20, "1" * 40])
async def test_what_is_no_token(smets1_home: Any, digits: str) -> None:
    home = await smets1_home()
    answer = await home.ppmid.enter_utrn(digits)
    assert not answer.is_accepted
    assert (answer.amount_mp, answer.balance_mp) == (0, None)
    assert home.esme.account.balance_mp == 0


async def test_the_answer_shows_at_once(smets1_home: Any) -> None:
    home = await smets1_home()
    await home.clock.advance(minutes=1)
    await home.ppmid.enter_utrn(home.headend.make_utrn(home.esme.eui64, pounds=10))
    assert any("10.00" in line for line in home.ppmid.screen["home"]), home.ppmid.screen


async def test_the_person_need_not_know_about_7_3(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    assert (await ask(home, "7.2", home.esme.eui64)).code == "I0"
    with pytest.raises(RefusedError):
        await home.ppmid.confirm_supply()
    assert home.esme.meter.supply.state is SupplyState.OFF
    assert (await ask(home, "7.3", home.esme.eui64)).code == "I0"
    await home.ppmid.confirm_supply()
    assert home.esme.meter.supply.is_on


async def test_codes_that_deduct_set_or_switch_are_answered_as_what_they_did(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=1)
    key = prepayment_key(home.config.seed, home.esme.eui64)
    shown = []
    for counter, what in enumerate(
        (
            {"vend": VendKind.DEDUCT, "pounds": 3},
            {"vend": VendKind.SET, "pounds": 25},
            {"supply_is_ready": False},
            {"vend": VendKind.DEDUCT, "pounds": 26},
        )
    ):
        code = make_special_code(
            key, originator=SUPPLIER, target=home.esme.eui64, counter=counter + 1, **what
        )
        shown.append(await home.ppmid.ask_meter(Request(act=Act.TOP_UP, fuel="electricity", digits=code)))
    assert shown == [
        ["Accepted", "Adjusted -£3.00", "Balance £16.99"],
        ["Accepted", "Added £8.00", "Balance £25.00"],
        ["Accepted", "Balance £25.00"],
        ["Not accepted", "Refused by the meter"],
    ]
    assert home.esme.meter.supply.state is SupplyState.OFF
