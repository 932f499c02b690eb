"""Nine keys, A and B: what each does in each situation, as a person at the meter sees it."""

from __future__ import annotations

import pytest

from smets1.devices.changes import PrepaymentChange
from smets1.devices.days import DAY_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.keypad import KeypadState
from smets1.devices.load import ConstantLoad, GasFlow
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.panel import Identity, Panel
from smets1.devices.prepayment import PaymentMode
from smets1.devices.special_codes import Engineering, VendKind, make_special_code
from smets1.devices.supply import OffReason, SupplyState
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.devices.tariff import Tariff
from smets1.devices.tokens import Refusal, TopUpDesk
from smets1.errors import InputError
from smets1.firmware.utrn import ValueClass, make_utrn

POUND = 100_000
ESME, SUPPLIER = 0x00DB1234567890A0, 0x90B3D51F30010000
KEY = bytes(range(16))
START = 19_733 * DAY_US + 12 * 60 * MINUTE_US
TARIFF = Tariff.flat(price_mp_per_kwh=28_620, standing_charge_mp=50_000)
IDENTITY = Identity(mpxn="1234567890123", firmware="0A0B0C0D", engineering_pin="7413")


def panel(
    *, balance_mp=10 * POUND, mode=PaymentMode.PREPAYMENT, watts=0, identity=IDENTITY, tariff=TARIFF
) -> Panel:
    meter = ElectricityMeterCore(
        load=ConstantLoad(watts=watts, start_utc_us=START),
        now_us=START,
        tariff=tariff,
        mode=mode,
        balance_mp=balance_mp,
    )
    return Panel(meter, TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME), identity=identity)


class Person:
    """Presses a key each half second."""

    def __init__(self, subject: Panel) -> None:
        self.panel, self.now_us = subject, START

    def press(self, keys: str, *, is_held: bool = False):
        results = []
        for key in keys:
            self.now_us += SECOND_US // 2
            results += self.panel.press(key, utc_us=self.now_us, is_held=is_held)
        return results

    def wait(self, seconds: float) -> None:
        self.now_us += int(seconds * SECOND_US)
        self.panel.meter.advance(self.now_us)
        self.panel.on_timer(utc_us=self.now_us)

    @property
    def lines(self) -> list[str]:
        return self.panel.lines(utc_us=self.now_us)

    @property
    def lcd(self) -> str:
        return self.panel.lcd(utc_us=self.now_us)


def token(counter=1, pounds=10) -> str:
    return make_utrn(
        KEY, originator=SUPPLIER, target=ESME, counter=counter, value=pounds, value_class=ValueClass.POUNDS
    )


def code(counter=1, **what) -> str:
    return make_special_code(KEY, originator=SUPPLIER, target=ESME, counter=counter, **what)


NOUGHT = ["£0.00", "0.00 kWh"]
PAGES = {
    "0": ["TIME", "11 Jan 2024", "12:00:00", "0.000 kW", "1234567890123", "0A0B0C0D"],
    "1": ["TODAY", *NOUGHT, "YESTERDAY", *NOUGHT],
    "2": ["THIS WEEK", *NOUGHT, "LAST WEEK", *NOUGHT],
    "3": ["THIS MONTH", *NOUGHT, "LAST MONTH", *NOUGHT],
    "4": ["MONTHS", "NONE YET"],
    "5": ["DEBT", "NOT USED"],
    "6": ["TARIFF", "RATE R01", "28.62p/kWh", "50.00p/DAY", ">R01 0000000kWh"],
    "7": ["CREDIT", "£10.00"],
    "8": ["FRIENDLY CREDIT", "NOT USED"],
    "9": ["TOTAL", "00000000 kWh", "CODES", "ACCEPTED 0", "REJECTED 0"],
}


@pytest.mark.parametrize("key", PAGES)
def test_each_key_has_its_page(key):
    person = Person(panel())
    person.press(key)
    assert person.lines == PAGES[key]


def test_title_for_2_s_then_each_value_for_4_s_then_the_status_page():
    person = Person(panel())
    person.press("5")
    shown = []
    for _ in range(8):
        shown.append(person.lcd)
        person.wait(1)
    assert shown == ["DEBT"] * 2 + ["NOT USED"] * 4 + ["£10.00"] * 2, "the status page turns on"


def test_a_gas_meters_pages_are_in_cubic_metres():
    meter = GasMeterCore(flow=GasFlow(load=ConstantLoad(watts=0)), now_us=START, tariff=TARIFF)
    subject = Panel(meter, TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME), identity=IDENTITY)
    person = Person(subject)
    person.press("9")
    assert person.lines[:2] == ["TOTAL", "00000.000 m3"]
    person.press("0")
    assert person.lines[3] == "0.000 m3/h"


def test_not_commissioned():
    person = Person(panel(identity=Identity(is_commissioned=False)))
    assert person.lines == ["STATUS", "COMMISSION"]
    person.press("0")
    assert person.lines[:3] == ["STATUS", "COMMISSION", "11 Jan 2024"]
    person.press("9")
    assert person.lines[0] == "TOTAL"


def test_a_top_up_at_the_keypad():
    person = Person(panel())
    person.press("A")
    assert person.lines == ["Vend Mode", ""]
    (result,) = person.press(token() + "B")
    assert result.is_accepted
    assert person.lcd == "£10.00"
    person.wait(2)
    assert person.lcd == "Added"
    person.wait(20)
    assert person.lines == ["STATUS", "SUPPLY ON", "£20.00"]


def test_20_s_idle_submits():
    person = Person(panel())
    person.press("A" + token())
    person.wait(19)
    assert person.panel.meter.account.balance_mp == 10 * POUND
    person.wait(1)
    assert person.panel.meter.account.balance_mp == 20 * POUND


def test_a_in_vend_mode_is_backspace_and_takes_no_emergency_credit():
    person = Person(panel(balance_mp=POUND))
    person.press("A" + token() + "9" + "A")
    assert person.press("B")[0].is_accepted
    assert not person.panel.meter.account.is_emergency_taken


def test_a_on_the_credit_page_takes_the_emergency_credit_that_is_offered():
    person = Person(panel(balance_mp=POUND))
    person.press("7")
    assert person.lines == ["CREDIT", "£1.00", "A FOR EMERGENCY"]
    person.press("A")
    assert person.panel.meter.account.is_emergency_taken
    assert person.panel.keypad.state is KeypadState.IDLE
    person.press("A")
    assert person.panel.keypad.state is KeypadState.VEND_MODE


def test_a_then_b_switch_an_armed_supply_on():
    person = Person(panel())
    person.panel.meter.disable_supply(utc_us=START)
    person.panel.meter.arm_supply(utc_us=START)
    assert person.lines == ["STATUS", "READY", "PRESS A THEN B"]
    person.press("B")
    assert person.panel.meter.supply.state is SupplyState.ARMED
    person.press("A")
    assert person.lines == ["READY", "PRESS B"]
    person.press("B")
    assert person.panel.meter.supply.is_on


def test_b_later_than_30_s_after_a_does_nothing():
    person = Person(panel())
    person.panel.meter.disable_supply(utc_us=START)
    person.panel.meter.arm_supply(utc_us=START)
    person.press("A")
    person.wait(31)
    assert person.lines == ["STATUS", "READY", "PRESS A THEN B"]
    person.press("B")
    assert person.panel.meter.supply.state is SupplyState.ARMED


def test_a_second_a_while_armed_opens_vend_mode():
    """Else nobody could type a code at a meter that is ready."""
    person = Person(panel())
    person.panel.meter.disable_supply(utc_us=START)
    person.panel.meter.arm_supply(utc_us=START)
    person.press("AA")
    assert person.panel.keypad.state is KeypadState.VEND_MODE


def test_five_refused_entries_lock_the_keypad_and_are_told():
    person = Person(panel())
    for _ in range(5):
        (result,) = person.press("A123B")
        assert result.refusal is Refusal.INCOMPLETE
        person.wait(5)
    assert AlertCode.MANUAL_ENTRY_SUSPENDED in [e.code for e in person.panel.meter.take_events()]
    person.wait(20)
    person.press("A")
    assert person.lines == ["Key Locked"]


def test_the_engineering_menu_opens_with_its_pin_only():
    person = Person(panel())
    person.press("9", is_held=True)
    person.press("74")
    assert person.lines == ["ENGINEERING", "PIN **"]
    person.press("13B")
    assert person.lines == ["ENGINEERING", "1 TO 6"]
    person.panel.meter.feel(Sensor.MAGNET, is_open=True, utc_us=person.now_us)
    person.press("2")
    assert person.lines == ["TAMPER", "COUNT 1", "OPEN 08"]
    person.press("A")
    assert person.lines[0] == "STATUS"


def test_three_wrong_pins_lock_the_menu_and_are_logged():
    person = Person(panel())
    person.press("9", is_held=True)
    person.press("1111B2222B3333B")
    assert [e.code for e in person.panel.meter.take_events()] == [AlertCode.UNAUTHORISED_ACCESS]
    person.press("9", is_held=True)
    assert person.lines[0] == "STATUS"
    person.wait(600)
    person.press("9", is_held=True)
    assert person.lines == ["ENGINEERING", "PIN "]
    person.wait(60)
    assert person.lines[0] == "STATUS"


def test_no_pin_no_menu_and_the_pin_is_in_no_repr():
    person = Person(panel(identity=Identity()))
    person.press("9", is_held=True)
    assert person.lines[0] == "TOTAL"
    assert "7413" not in repr(IDENTITY)


# --- supply and engineering codes -------------------------------------------------------------------


@pytest.mark.parametrize("mode", PaymentMode)
def test_a_supply_code_switches_off_and_another_makes_ready(mode):
    person = Person(panel(mode=mode))
    (off,) = person.press("A" + code(supply_is_ready=False) + "B")
    assert off.is_accepted
    assert off.amount_mp == 0
    assert person.lcd == "Accepted"
    assert person.panel.meter.supply.reasons is OffReason.SUPPLY_CODE
    assert person.panel.meter.account.balance_mp == 10 * POUND
    person.wait(30)
    assert person.lines == ["STATUS", "OFF CODE ENTRY", "OFF CODE 10"]
    person.press("A" + code(counter=2, supply_is_ready=True) + "B")
    assert person.panel.meter.supply.state is SupplyState.ARMED


def test_a_special_code_works_once_and_only_here():
    subject = panel()
    person = Person(subject)
    text = code(engineering=Engineering.CLEAR_EVENT_LOG)
    assert person.press("A" + text + "B")[0].is_accepted
    person.wait(30)
    (again,) = person.press("A" + text + "B")
    assert not again.is_accepted
    person.wait(30)
    foreign = make_special_code(
        bytes(16), originator=SUPPLIER, target=ESME, counter=9, engineering=Engineering.CLEAR_TAMPER
    )
    assert not person.press("A" + foreign + "B")[0].is_accepted


def test_clearing_the_event_log_leaves_one_security_entry():
    person = Person(panel())
    person.panel.meter.note(AlertCode.JOINED_HAN, utc_us=START)
    person.press("A" + code(engineering=Engineering.CLEAR_EVENT_LOG) + "B")
    assert not person.panel.meter.log.events
    assert person.panel.meter.log.security[-1].code == AlertCode.EVENT_LOG_CLEARED


def test_clearing_tamper_arms_a_locked_supply():
    person = Person(panel())
    meter = person.panel.meter
    meter.set_tamper_state(SupplyTamperState.LOCKED, utc_us=START)
    meter.feel(Sensor.MAGNET, is_open=True, utc_us=START)
    person.press("A" + code(engineering=Engineering.CLEAR_TAMPER) + "B")
    assert meter.supply.state is SupplyState.ARMED
    assert meter.tamper.count == 0


def test_an_engineering_code_of_an_unknown_function_is_refused():
    text = make_utrn(KEY, originator=SUPPLIER, target=ESME, counter=1, value=99, value_class=3)
    person = Person(panel())
    assert person.press("A" + text + "B")[0].refusal is Refusal.NOT_FOR_THIS_DEVICE


# --- vends that deduct or set ---------------------------------------------------------------------------


def shown_in_turn(person: Person) -> list[str]:
    shown = []
    for _ in range(8):
        shown.append(person.lcd)
        person.wait(2)
    return shown


def test_a_vend_that_deducts_shows_adjusted():
    person = Person(panel())
    (result,) = person.press("A" + code(vend=VendKind.DEDUCT, pounds=3) + "B")
    assert (result.is_accepted, result.amount_mp, result.balance_mp) == (True, -3 * POUND, 7 * POUND)
    assert shown_in_turn(person) == ["-£3.00", "Adjusted"] * 4
    (again,) = person.press("A" + code(vend=VendKind.DEDUCT, pounds=3) + "B")
    assert not again.is_accepted
    assert person.panel.meter.account.balance_mp == 7 * POUND


def test_a_vend_that_sets_shows_set():
    person = Person(panel())
    (result,) = person.press("A" + code(vend=VendKind.SET, pounds=25) + "B")
    assert (result.is_accepted, result.amount_mp, result.balance_mp) == (True, 15 * POUND, 25 * POUND)
    assert shown_in_turn(person) == ["£25.00", "Set"] * 4
    person.press("A" + code(counter=2, vend=VendKind.SET) + "B")
    assert person.panel.meter.account.balance_mp == 0
    assert person.panel.meter.account.total_added_mp == 0


def test_a_deduction_below_nought_is_account_low():
    person = Person(panel())
    text = code(vend=VendKind.DEDUCT, pounds=11)
    assert person.press("A" + text + "B")[0].refusal is Refusal.ACCOUNT_LOW
    assert person.lcd == "Account Low"
    person.wait(5)
    assert person.press("A" + token(counter=2) + "B")[0].is_accepted
    person.wait(20)
    assert person.press("A" + text + "B")[0].is_accepted, "refused, it was not used up"
    assert person.panel.meter.account.balance_mp == 9 * POUND


def test_what_sets_above_the_most_is_account_high_and_in_credit_mode_it_is_refused():
    person = Person(panel())
    meter = person.panel.meter
    meter.change_prepayment(PrepaymentChange(limits=(("max_meter_balance_mp", 20 * POUND),)), utc_us=START)
    text = code(vend=VendKind.SET, pounds=21)
    assert person.press("A" + text + "B")[0].refusal is Refusal.ABOVE_MAX_BALANCE
    person.wait(5)
    meter.set_payment_mode(PaymentMode.CREDIT, utc_us=person.now_us)
    assert person.press("A" + text + "B")[0].refusal is Refusal.NOT_PREPAYMENT
    with pytest.raises(InputError, match="0 to 2047 pounds"):
        code(vend=VendKind.SET, pounds=2048)


def test_key_a_while_locked_is_refused_and_told():
    person = Person(panel())
    for _ in range(5):
        person.press("A123B")
        person.wait(5)
    person.wait(20)
    person.panel.meter.take_events()
    person.press("A")
    assert person.lines == ["Key Locked"]
    assert [event.code for event in person.panel.meter.take_events()] == [AlertCode.ENTRY_REFUSED_LOCKED_OUT]
    assert person.panel.desk.refused[-1].refusal is Refusal.KEYPAD_LOCKED


def test_key_9_shows_counts_and_the_last_five_vends_in_blocks_of_five():
    person = Person(panel())
    texts = [token(counter, pounds=counter) for counter in range(1, 7)]
    for text in texts:
        person.press("A" + text + "B")
        person.wait(20)
    person.press("A" + texts[0] + "B")
    person.wait(5)
    person.press("9")
    assert person.lines[:2] == ["TOTAL", "00000000 kWh"]
    lines = person.lines[2:]
    assert lines[:3] == ["CODES", "ACCEPTED 6", "REJECTED 1"]
    assert len(lines) == 3 + 5 * 4
    latest = texts[5]
    assert lines[3:7] == [
        "£6.00",
        "11 Jan 12:02",
        f"{latest[:5]}-{latest[5:10]}",
        f"{latest[10:15]}-{latest[15:]}",
    ]
    assert [line for line in lines if line.startswith("£")] == [f"£{n}.00" for n in (6, 5, 4, 3, 2)]
