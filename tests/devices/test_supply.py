"""Rows of the supply table, and that nothing switches itself on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.devices.days import SECOND_US
from smets1.devices.supply import SupplyMachine, SupplyOutcome, SupplyState
from smets1.errors import DecodeError
from smets1.firmware.zcl.clusters.metering import SupplyStatus
from smets1.firmware.zcl.clusters.smets1 import OffReason


def off(reason: OffReason = OffReason.MANUAL) -> SupplyMachine:
    machine = SupplyMachine()
    assert machine.disable(reason, utc_us=0) is SupplyOutcome.DONE
    return machine


def armed() -> SupplyMachine:
    machine = off()
    assert machine.arm() is SupplyOutcome.DONE
    return machine


def test_states_are_those_of_zigbee():
    assert (SupplyState.OFF, SupplyState.ARMED, SupplyState.ON) == (
        SupplyStatus.SUPPLY_OFF,
        SupplyStatus.SUPPLY_OFF_ARMED,
        SupplyStatus.SUPPLY_ON,
    )


def test_a_then_b_within_30_s_confirms():
    machine = armed()
    assert machine.press_a(utc_us=100) is SupplyOutcome.DONE
    assert machine.press_b(utc_us=100 + 30 * SECOND_US) is SupplyOutcome.DONE
    assert machine.is_on


def test_b_after_30_s_is_too_late_and_a_opens_anew():
    machine = armed()
    machine.press_a(utc_us=0)
    assert machine.press_b(utc_us=30 * SECOND_US + 1) is SupplyOutcome.TOO_LATE
    assert machine.press_b(utc_us=31 * SECOND_US) is SupplyOutcome.TOO_LATE
    machine.press_a(utc_us=32 * SECOND_US)
    assert machine.press_b(utc_us=33 * SECOND_US) is SupplyOutcome.DONE


def test_b_without_a_does_nothing():
    assert armed().press_b(utc_us=0) is SupplyOutcome.TOO_LATE


@pytest.mark.parametrize("state", ["on", "off"])
def test_keys_and_ppmid_do_nothing_where_it_is_not_armed(state):
    machine = SupplyMachine() if state == "on" else off()
    before = machine.state
    for outcome in (machine.press_a(utc_us=0), machine.press_b(utc_us=1), machine.confirm()):
        assert outcome is SupplyOutcome.NOT_ARMED
    assert machine.state is before


def test_the_ppmid_confirms_without_keys():
    machine = armed()
    assert machine.confirm() is SupplyOutcome.DONE
    assert machine.is_on


@pytest.mark.parametrize(
    ("reason", "bit"),
    [
        (OffReason.MANUAL, 0x01),
        (OffReason.NO_CREDIT, 0x02),
        (OffReason.OVERLOAD, 0x04),
        (OffReason.EVENT, 0x08),
        (OffReason.SUPPLY_CODE, 0x10),
    ],
)
def test_off_reasons_are_a_bit_mask(reason, bit):
    assert off(reason).reasons == bit


def test_every_reason_has_to_end_before_it_arms():
    machine = off(OffReason.MANUAL | OffReason.NO_CREDIT)
    assert machine.arm() is SupplyOutcome.NO_CREDIT
    assert (machine.state, machine.reasons) == (SupplyState.OFF, OffReason.NO_CREDIT)
    assert machine.clear(OffReason.NO_CREDIT)
    assert machine.state is SupplyState.ARMED


def test_overload_is_off_for_20_s_then_ready():
    machine = off(OffReason.OVERLOAD)
    assert machine.next_timer_us() == 20 * SECOND_US
    assert not machine.on_timer(utc_us=20 * SECOND_US - 1)
    assert machine.on_timer(utc_us=20 * SECOND_US)
    assert machine.state is SupplyState.ARMED
    assert machine.next_timer_us() is None


def test_remote_enable_switches_on_but_not_without_credit():
    assert off().enable() is SupplyOutcome.DONE
    assert off(OffReason.NO_CREDIT).enable() is SupplyOutcome.NO_CREDIT
    assert armed().enable() is SupplyOutcome.DONE
    assert SupplyMachine().enable() is SupplyOutcome.UNCHANGED


def test_disabling_again_changes_nothing_and_armed_goes_off():
    machine = armed()
    assert machine.disable(OffReason.MANUAL, utc_us=0) is SupplyOutcome.DONE
    assert machine.disable(OffReason.MANUAL, utc_us=0) is SupplyOutcome.UNCHANGED
    assert machine.arm() is SupplyOutcome.DONE
    assert machine.arm() is SupplyOutcome.UNCHANGED


ACTIONS = {
    "disable": lambda m, t: m.disable(OffReason.MANUAL, utc_us=t),
    "no credit": lambda m, t: m.disable(OffReason.NO_CREDIT, utc_us=t),
    "overload": lambda m, t: m.disable(OffReason.OVERLOAD, utc_us=t),
    "credit": lambda m, t: m.clear(OffReason.NO_CREDIT),
    "arm": lambda m, t: m.arm(),
    "timer": lambda m, t: m.on_timer(utc_us=t),
    "a": lambda m, t: m.press_a(utc_us=t),
    "b": lambda m, t: m.press_b(utc_us=t),
    "ppmid": lambda m, t: m.confirm(),
    "enable": lambda m, t: m.enable(),
    "power cut": lambda m, t: None,
}


@given(st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(0, 25)), max_size=40))
def test_only_a_person_or_an_enable_switches_on(steps):
    machine, now_us = SupplyMachine(), 0
    for name, seconds in steps:
        now_us += seconds * SECOND_US
        before, reasons = machine.state, machine.reasons
        if name == "power cut":
            machine = SupplyMachine.decode(machine.encode())
            assert (machine.state, machine.reasons) == (before, reasons)
        ACTIONS[name](machine, now_us)
        if machine.is_on and before is not SupplyState.ON:
            assert name in ("b", "ppmid", "enable")
            assert not reasons & OffReason.NO_CREDIT
        assert (machine.state is SupplyState.OFF) == bool(machine.reasons)


def test_damaged_state_is_a_decode_error():
    octets = off().encode()
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            SupplyMachine.decode(octets[:length])
