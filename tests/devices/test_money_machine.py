"""No order of top-ups, refusals, consumption, mode and clock changes and power cuts breaks the rules of money.

`money_machine.py` has the machine and its rules. A run is repeatable from its seed: a failure prints the steps, the
seed and the command that repeats it.

    SMETS1_MONEY_SEED=17 SMETS1_MONEY_EXAMPLES=500 .venv/bin/python -m pytest tests/devices/test_money_machine.py

That it would notice is shown too: each fault below, put into the devices, is found, most within the usual number
of examples, all within five times as many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.devices.money_machine import GasMoneyMachine, MoneyMachine

from smets1.devices import supply, tokens
from smets1.devices.account import Account
from smets1.devices.meter_life import MeterLife
from smets1.devices.prepayment import NonDisablementCalendar
from smets1.devices.supply import OffReason, SupplyMachine, SupplyOutcome, SupplyState
from smets1.devices.tokens import TopUpDesk
from smets1.firmware.utrn import CounterCache

SEED = int(os.environ.get("SMETS1_MONEY_SEED", "1"))
EXAMPLES = int(os.environ.get("SMETS1_MONEY_EXAMPLES", "60"))
STEPS = 40
THIS = "tests/devices/test_money_machine.py"


def live(machine: type[MoneyMachine], number: int, *, finds: bool = False) -> None:
    """`finds`: a fault is expected, and need not be told in its shortest form."""
    how = settings(
        max_examples=5 * EXAMPLES if finds else EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=False,
        phases=(Phase.generate,) if finds else (Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(machine), settings=how)
    except BaseException as error:
        error.add_note(
            f"seed {number}; again: SMETS1_MONEY_SEED={number} SMETS1_MONEY_EXAMPLES={EXAMPLES} "
            f".venv/bin/python -m pytest {THIS} -k {machine.__name__}"
        )
        raise


@pytest.mark.parametrize("machine", [MoneyMachine, GasMoneyMachine], ids=lambda each: each.__name__)
def test_no_order_of_events_breaks_the_rules(machine: type[MoneyMachine]) -> None:
    live(machine, SEED)


@pytest.mark.sweep
@pytest.mark.parametrize("number", range(2, 32))
@pytest.mark.parametrize("machine", [MoneyMachine, GasMoneyMachine], ids=lambda each: each.__name__)
def test_no_order_of_events_of_many_seeds_breaks_the_rules(machine: type[MoneyMachine], number: int) -> None:
    live(machine, number)


# --- would it notice? -------------------------------------------------------------------------------


def emergency_below_zero(account: Account, amount_fine: int) -> None:
    from_balance = min(amount_fine, max(account.balance_fine, 0))
    account.balance_fine -= from_balance
    if account.is_emergency_taken:
        account.emergency_fine -= amount_fine - from_balance
    else:
        account.balance_fine -= amount_fine - from_balance


def on_without_a_person(machine: SupplyMachine, reason: OffReason) -> bool:
    machine.reasons &= ~reason
    if machine.state is SupplyState.OFF and not machine.reasons:
        machine.state = SupplyState.ON
    return False


def decoded_as_on(octets: bytes) -> SupplyMachine:
    return SupplyMachine()


def armed_without_credit(machine: SupplyMachine) -> SupplyOutcome:
    machine.clear(OffReason(0x1F))
    return SupplyOutcome.DONE


def forgiven(original: Callable[..., Any]) -> Callable[..., Any]:
    def set_mode(account: Account, mode: Any) -> Any:
        account.emergency_fine = account.emergency_lent_fine
        return original(account, mode)

    return set_mode


def without_grace(original: Callable[..., Any]) -> Callable[..., Any]:
    def set_mode(account: Account, mode: Any) -> Any:
        original(account, mode)
        account.grace_until_us = 0
        return account.settle()

    return set_mode


def hours_charged_again(original: Callable[..., Any]) -> Callable[..., Any]:
    def set_clock(meter: MeterLife, to_us: int, *, utc_us: int) -> None:
        original(meter, to_us, utc_us=utc_us)
        meter.account.charged_us = meter.account.now_us

    return set_clock


def rounded_in_nvm(original: Callable[..., Any]) -> Callable[..., Any]:
    def decode(octets: bytes, *, config: Any) -> Account:
        account = original(octets, config=config)
        account.balance_fine = account.balance_fine // 10**12 * 10**12
        return account

    return decode


def obeyed_each_time(desk: TopUpDesk, meter: Any, special: Any, counter: int, *, source: Any) -> Any:
    cache = desk.cache
    result = OBEY(desk, meter, special, counter, source=source)
    desk.cache = cache
    return result


OBEY = TopUpDesk._obey

FAULTS: dict[str, tuple[Any, str, Any]] = {
    "a used counter is good again": (CounterCache, "problem", lambda cache, counter: None),
    "counters are not kept over a power cut": (TopUpDesk, "save", lambda desk, nvm: None),
    "a hundredth counter makes room": (
        CounterCache,
        "accept",
        lambda c, n: CounterCache((*c.counters[1:], n)),
    ),
    "a supply code can be typed again": (TopUpDesk, "_obey", obeyed_each_time),
    "emergency credit goes below zero": (Account, "_charge", emergency_below_zero),
    "emergency credit is lent twice": (Account, "is_emergency_taken", False),
    "a change of mode forgives emergency credit": (Account, "set_mode", forgiven(Account.set_mode)),
    "credit switches on": (SupplyMachine, "clear", on_without_a_person),
    "a power cut switches on": (SupplyMachine, "decode", decoded_as_on),
    "Arm does without credit": (SupplyMachine, "arm", armed_without_credit),
    "B counts after a minute": (supply, "CONFIRM_WINDOW_US", 60_000_000),
    "supply ends at the next half hour only": (MeterLife, "_crossing_us", lambda meter, end_us: None),
    "friendly hours never end": (NonDisablementCalendar, "is_running", lambda calendar, utc_us: True),
    "there are no friendly hours": (NonDisablementCalendar, "is_running", lambda calendar, utc_us: False),
    "a change of mode interrupts": (Account, "set_mode", without_grace(Account.set_mode)),
    "an hour lived twice is charged twice": (
        MeterLife,
        "set_clock",
        hours_charged_again(MeterLife.set_clock),
    ),
    "a restart rounds the balance": (Account, "decode", rounded_in_nvm(Account.decode)),
    "a refused token is credited": (tokens.MeterCore, "check_credit", lambda meter, amount_mp, utc_us: None),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_it_would_notice(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, instead = FAULTS[fault]
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(Exception) as found:
        live(MoneyMachine, SEED, finds=True)
    assert any("SMETS1_MONEY_SEED" in note for note in found.value.__notes__)
