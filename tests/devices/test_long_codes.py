"""A vend with a tariff (40 or 60 digits) and retain credit, typed at a meter: what each does, and what refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.devices.test_panel import ESME, KEY, POUND, START, SUPPLIER, Person, code, panel, token

from smets1.devices.billing import SnapshotCause
from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US
from smets1.devices.event_log import AlertCode
from smets1.devices.prepayment import PaymentMode
from smets1.devices.special_codes import VendKind
from smets1.devices.state import pack_state
from smets1.devices.supply import SupplyState
from smets1.devices.tariff_codes import SecondRate, TariffVend, join_codes, make_tariff_code
from smets1.devices.tokens import Refusal, TopUpDesk, TopUpResult
from smets1.errors import DecodeError, InputError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.utrn import CounterCache, decode_utrn, digits_of_ptut, ptut_of_digits, verify
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice
from smets1.tools.duis_ask import ask
from smets1.tools.trial_keys import prepayment_key

NIGHT = SecondRate(rate_mp_per_kwh=9_500, from_minute=30, to_minute=450)


def long_code(counter: int = 1, *, pence: int = 1000, key: bytes = KEY, **what: Any) -> str:
    given = {"unit_rate_mp_per_kwh": 31_250, "standing_charge_mp": 61_640, **what}
    return make_tariff_code(key, originator=SUPPLIER, target=ESME, counter=counter, pence=pence, **given)


def typed(person: Person, text: str) -> TopUpResult:
    (result,) = person.press("A" + text + "B")
    return result


def shown(person: Person, seconds: int = 60) -> Iterator[str]:
    """Each text on the glass, once as long as it stands."""
    last = ""
    for _ in range(seconds):
        if person.lcd != last:
            last = person.lcd
            yield last
        person.wait(1)


# --- a vend with a tariff -----------------------------------------------------------------------------


def test_forty_digits_credit_and_set_the_new_prices() -> None:
    person = Person(panel())
    meter = person.panel.meter
    result = typed(person, long_code())
    assert (result.is_accepted, result.amount_mp, result.has_new_tariff) == (True, 10 * POUND, True)
    assert meter.account.balance_mp == 20 * POUND
    assert meter.price_mp_per_kwh == 31_250
    assert meter.account.standing_charge_fine == 61_640 * 10**12
    assert [entry.cause for entry in meter.snapshots] == [SnapshotCause.TARIFF_CHANGE]
    assert list(shown(person))[:9] == [*["£10.00", "Added", "New tariff"] * 3]
    person.wait(60)
    person.press("6")
    assert person.lines[:4] == ["TARIFF", "RATE R01", "31.25p/kWh", "61.64p/DAY"]
    assert meter.supply.state is SupplyState.ON, "a change of tariff does not interrupt"


def test_sixty_digits_set_a_day_and_a_night_rate() -> None:
    person = Person(panel(watts=1000))
    meter = person.panel.meter
    text = long_code(second=NIGHT)
    assert len(text) == 60
    assert typed(person, text).is_accepted
    midnight = START - START % DAY_US + DAY_US
    rates = []
    for minute in (-1, 0, 29, 30, 449, 450, 720):
        meter.advance(midnight + minute * MINUTE_US)
        rates.append(meter.price_mp_per_kwh)
    assert rates == [31_250, 31_250, 31_250, 9_500, 9_500, 31_250, 31_250]
    assert meter.registers.tou_uwh[1] == 7_000_000_000, "seven hours of a kilowatt at night"


def test_a_night_rate_that_runs_over_midnight() -> None:
    person = Person(panel())
    second = SecondRate(rate_mp_per_kwh=5_000, from_minute=22 * 60, to_minute=5 * 60)
    assert typed(person, long_code(second=second)).is_accepted
    midnight = START - START % DAY_US + DAY_US
    tous = [person.panel.meter.tariff.tou_at(midnight + hour * HOUR_US) for hour in (-3, -2, 0, 4, 5, 21, 22)]
    assert tous == [0, 1, 1, 1, 0, 0, 1]


def test_what_follows_a_long_code_is_a_code_of_its_own() -> None:
    person = Person(panel())
    results = person.press("A" + long_code(1) + token(2, pounds=5) + "B")
    assert [(each.amount_mp, each.has_new_tariff) for each in results] == [
        (10 * POUND, True),
        (5 * POUND, False),
    ]
    assert join_codes([token(1)] * 3) == [token(1)] * 3


def test_a_long_code_works_once_at_one_meter_in_prepayment() -> None:
    person = Person(panel())
    assert typed(person, long_code()).is_accepted
    person.wait(60)
    assert typed(person, long_code()).refusal is Refusal.DUPLICATE
    person.wait(60)
    assert typed(person, token(1)).refusal is Refusal.DUPLICATE, "its counter is used up"
    person.wait(60)
    assert typed(person, long_code(3, key=bytes(16))).refusal is Refusal.NOT_AUTHENTIC
    credit = Person(panel(mode=PaymentMode.CREDIT))
    assert typed(credit, long_code()).refusal is Refusal.NOT_PREPAYMENT
    assert credit.panel.meter.price_mp_per_kwh == 28_620


def test_a_long_code_that_is_refused_for_its_amount_leaves_the_tariff() -> None:
    person = Person(panel(balance_mp=21_470 * POUND))
    assert typed(person, long_code()).refusal is Refusal.ABOVE_MAX_BALANCE
    assert person.panel.meter.price_mp_per_kwh == 28_620
    assert not person.panel.meter.snapshots


@pytest.mark.parametrize("part", [1, 2])
def test_no_part_can_be_exchanged_for_another_codes(part: int) -> None:
    """Lower prices of an older code behind the head of a new one."""
    old = long_code(1, second=NIGHT, unit_rate_mp_per_kwh=1)
    new = long_code(2, second=SecondRate(rate_mp_per_kwh=30_000, from_minute=0, to_minute=60))
    start = part * 20
    forged = new[:start] + old[start : start + 20] + new[start + 20 :]
    person = Person(panel())
    assert typed(person, forged).refusal is Refusal.NOT_AUTHENTIC
    assert person.panel.meter.price_mp_per_kwh == 28_620
    assert person.panel.meter.account.balance_mp == 10 * POUND


@pytest.mark.parametrize("position", range(60))
def test_a_mistyped_digit_of_any_part_is_found(position: int) -> None:
    text = long_code(second=NIGHT)
    wrong = str((int(text[position]) + 1) % 10)
    person = Person(panel())
    results = person.press("A" + text[:position] + wrong + text[position + 1 :] + "B")
    assert not any(each.is_accepted for each in results)
    assert person.panel.meter.price_mp_per_kwh == 28_620


def test_a_head_without_its_parts_is_incomplete_or_invalid() -> None:
    text = long_code(second=NIGHT)
    for cut in (20, 40):
        person = Person(panel())
        results = person.press("A" + text[:cut] + "B")
        assert not any(each.is_accepted for each in results)


def test_a_power_cut_in_the_commit_leaves_all_or_nothing() -> None:
    for is_written in (False, True):
        person = Person(panel())
        desk, meter = person.panel.desk, person.panel.meter
        nvm = MemoryNvm()
        meter.save(nvm)
        desk.save(nvm)
        nvm.commit()
        assert typed(person, long_code()).is_accepted
        meter.save(nvm)
        desk.save(nvm)
        if is_written:
            nvm.commit()
        nvm = nvm.after_power_cut()
        again = Person(panel())
        assert again.panel.meter.restore(nvm)
        assert again.panel.desk.restore(nvm)
        again.now_us = again.panel.meter.now_us
        assert again.panel.meter.price_mp_per_kwh == (31_250 if is_written else 28_620)
        assert typed(again, long_code()).is_accepted is not is_written
        assert again.panel.meter.account.balance_mp == 20 * POUND


@given(
    st.integers(0, 8191),
    st.integers(0, (1 << 21) - 1),
    st.integers(0, (1 << 21) - 1),
    st.none() | st.tuples(st.integers(0, (1 << 21) - 1), st.integers(0, 1439), st.integers(0, 1438)),
)
def test_parts_say_what_was_put_in(
    pence: int, standing: int, rate: int, night: tuple[int, int, int] | None
) -> None:
    second = None
    if night is not None:
        to_minute = night[2] if night[2] != night[1] else 1439
        second = SecondRate(
            rate_mp_per_kwh=night[0],
            from_minute=night[1],
            to_minute=to_minute if night[1] != to_minute else 0,
        )
    vend = TariffVend(
        value=pence, value_class=0, standing_charge_mp=standing, unit_rate_mp_per_kwh=rate, second=second
    )
    parts = vend.encode()
    assert TariffVend.decode(parts) == vend
    assert vend.tariff.tou_count == len(parts)
    assert vend.amount_mp == pence * 1000


@given(st.integers(0, (1 << 57) - 1), st.integers(0, (1 << 57) - 1))
def test_parts_of_any_bits_are_read_or_refused(first: int, second: int) -> None:
    parts = [digits_of_ptut(first), digits_of_ptut(second)]
    assert [ptut_of_digits(part) for part in parts] == [first, second]
    for count in (1, 2):
        try:
            vend = TariffVend.decode(parts[:count])
        except DecodeError:
            continue
        assert vend.encode() == parts[:count]


def test_what_a_long_code_cannot_carry() -> None:
    for what in (
        {"unit_rate_mp_per_kwh": 1 << 21},
        {"standing_charge_mp": -1},
        {"second": SecondRate(rate_mp_per_kwh=1, from_minute=5, to_minute=5)},
        {"second": SecondRate(rate_mp_per_kwh=1, from_minute=5, to_minute=1440)},
        {"pence": 8193},
    ):
        with pytest.raises(InputError):
            long_code(**what)


# --- retain credit ------------------------------------------------------------------------------------


def midnights(person: Person, count: int) -> None:
    person.wait(count * DAY_US // 1_000_000)


def test_retain_credit_gives_a_refund_code_and_rests_the_standing_charge() -> None:
    person = Person(panel(balance_mp=1_234_567))
    meter = person.panel.meter
    result = typed(person, code(retains_credit=True))
    assert (result.is_accepted, result.amount_mp, result.balance_mp) == (True, -1_234_000, 567)
    refund = result.refund
    assert (
        list(shown(person))[:6]
        == ["Accepted", f"{refund[:5]}-{refund[5:10]}", f"{refund[10:15]}-{refund[15:]}"] * 2
    )
    supplier = verify(refund, key=KEY, originator=ESME, target=SUPPLIER, cache=CounterCache())
    assert (supplier.is_good, supplier.amount_mp, supplier.counter) == (True, 1_234_000, 1)
    cost_fine = meter.registers.cost_fine
    midnights(person, 40)
    assert meter.account.balance_mp == 567, "no standing charge in forty days"
    assert meter.registers.cost_fine == cost_fine
    person.press("0")
    assert person.lines[-3:] == ["REFUND", f"{refund[:5]}-{refund[5:10]}", f"{refund[10:15]}-{refund[15:]}"]


def test_standing_charges_are_due_again_from_the_next_top_up_on() -> None:
    for text in (token(2), code(2, vend=VendKind.SET, pounds=10), long_code(2, standing_charge_mp=50_000)):
        person = Person(panel())
        assert typed(person, code(retains_credit=True)).is_accepted
        midnights(person, 3)
        assert typed(person, text).is_accepted
        assert person.panel.meter.account.balance_mp == 10 * POUND
        midnights(person, 2)
        assert person.panel.meter.account.balance_mp == 9 * POUND


def test_a_change_of_mode_ends_it_too() -> None:
    person = Person(panel())
    assert typed(person, code(retains_credit=True)).is_accepted
    meter = person.panel.meter
    meter.set_payment_mode(PaymentMode.CREDIT, utc_us=person.now_us)
    midnights(person, 1)
    assert meter.account.balance_mp == -50_000


@pytest.mark.parametrize("balance_mp", [0, 999, -5 * POUND])
def test_nothing_to_give_back_is_account_low(balance_mp: int) -> None:
    person = Person(panel(balance_mp=balance_mp))
    assert typed(person, code(retains_credit=True)).refusal is Refusal.ACCOUNT_LOW
    assert person.panel.meter.account.balance_mp == balance_mp


def test_credit_that_was_lent_is_not_given_back() -> None:
    person = Person(panel(balance_mp=POUND))
    assert person.panel.meter.take_emergency(utc_us=person.now_us)
    assert typed(person, code(retains_credit=True)).refusal is Refusal.ACCOUNT_LOW


def test_retain_credit_works_once_and_only_in_prepayment() -> None:
    person = Person(panel())
    assert typed(person, code(retains_credit=True)).is_accepted
    person.wait(60)
    assert typed(person, token(2)).is_accepted
    person.wait(60)
    person.press("AB")  # supply had ended with the credit, and is ready again
    assert typed(person, code(retains_credit=True)).refusal is Refusal.DUPLICATE
    credit = Person(panel(mode=PaymentMode.CREDIT))
    assert typed(credit, code(retains_credit=True)).refusal is Refusal.NOT_PREPAYMENT


def test_more_than_a_code_can_carry_stays_in_the_meter() -> None:
    person = Person(panel(balance_mp=100 * POUND + 57_000))
    result = typed(person, code(retains_credit=True))
    assert (result.amount_mp, result.balance_mp) == (-100 * POUND, 57_000)
    assert decode_utrn(result.refund).amount_mp == 100 * POUND


def test_supply_ends_where_nothing_is_left_and_is_back_with_the_next_code() -> None:
    person = Person(panel(watts=1000))
    meter = person.panel.meter
    assert typed(person, code(retains_credit=True)).is_accepted
    person.wait(3600)
    assert meter.supply.state is SupplyState.OFF
    assert AlertCode.CREDIT_BELOW_DISABLEMENT_THRESHOLD in [event.code for event in meter.take_events()]
    assert typed(person, token(2)).is_accepted
    assert meter.supply.state is SupplyState.ARMED


def test_both_survive_a_restart() -> None:
    person = Person(panel())
    refund = typed(person, code(retains_credit=True)).refund
    nvm = MemoryNvm()
    person.panel.meter.save(nvm)
    person.panel.desk.save(nvm)
    nvm.commit()
    again = panel()
    assert again.meter.restore(nvm)
    assert again.desk.restore(nvm)
    assert again.desk.refund == refund
    again.meter.advance(START + 9 * DAY_US)
    assert again.meter.account.balance_mp == 0


def test_an_image_from_before_there_were_refunds_still_loads() -> None:
    desk = TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME)
    fields = {"cache": CounterCache().encode(), "counts": [3, 4], "vends": [], "vend_digits": []}
    desk.decode_into(pack_state("tokens", 1, {**fields, "refused": [], "refused_digits": []}))
    assert (desk.accepted_count, desk.refund) == (3, "")


def test_a_used_special_code_is_a_duplicate_and_a_foreign_one_not_authentic() -> None:
    person = Person(panel())
    assert typed(person, code(supply_is_ready=False)).is_accepted
    person.wait(60)
    assert typed(person, code(supply_is_ready=False)).refusal is Refusal.DUPLICATE
    person.wait(60)
    foreign = code(7, supply_is_ready=True)
    digits = ptut_of_digits(foreign) ^ 1
    assert typed(person, digits_of_ptut(digits)).refusal is Refusal.NOT_AUTHENTIC


# --- in a whole home ----------------------------------------------------------------------------------


async def test_the_home_follows_a_tariff_that_was_typed_in(smets1_home: Any) -> None:
    home = await smets1_home(
        toml="[han]\nreport_interval_s = 60\n[prepayment]\nbalance_pounds = 5\n", start="2023-01-16T12:00:00Z"
    )
    await home.clock.advance(minutes=5)
    text = make_tariff_code(
        prepayment_key(home.config.seed, home.esme.eui64),
        originator=SUPPLIER,
        target=home.esme.eui64,
        counter=1,
        pence=1000,
        unit_rate_mp_per_kwh=31_250,
        standing_charge_mp=61_640,
        second=NIGHT,
    )
    (result,) = home.esme.press("A" + text + "B")
    assert result.is_accepted
    await home.clock.advance(minutes=3)
    for display in (home.ihd, home.ppmid):
        assert display.screen["electricity cost"][-1].endswith("31.25p")
        assert "£14.9" in " ".join(display.screen["electricity credit"])
    answer = await ask(home, "4.11.1", home.esme.eui64)
    assert answer.code == "I0", answer.xml
    assert b"31250" in answer.xml
    assert b"9500" in answer.xml
    await home.clock.advance(hours=13)
    assert home.ihd.screen["electricity cost"][-1].endswith("9.50p"), "it is night"


# --- refused numbers ----------------------------------------------------------------------------------


def test_the_last_refused_numbers_stand_in_the_engineering_menu() -> None:
    """Each with time, source, number, type and reason."""
    person = Person(panel())
    for text in (
        token(1, pounds=9)[:-1] + str((int(token(1, pounds=9)[-1]) + 1) % 10),
        digits_of_ptut(ptut_of_digits(code(2, supply_is_ready=False)) ^ 1),
        digits_of_ptut(ptut_of_digits(token(3)) ^ 1),
    ):
        assert typed(person, text).refusal is not None
        person.wait(30)
    person.panel.desk.enter(
        person.panel.meter, long_code(4, key=bytes(16)), source=OriginatingDevice(2), utc_us=person.now_us
    )
    assert [entry.kind for entry in person.panel.desk.refused] == ["?", "SUPPLY", "VEND", "TARIFF"]
    person.press("9", is_held=True)
    person.press("7413B6")
    lines = person.lines
    assert lines[0] == "REFUSED CODES"
    assert lines[1::3] == ["Invalid", "Invalid", "Invalid", "Incorrect"]
    assert [line.split()[0] for line in lines[2::3]] == ["TARIFF", "VEND", "SUPPLY", "?"]
    assert [line.split()[-1] for line in lines[3::3]] == ["HAN", "KEY", "KEY", "KEY"]
    assert all(len(line) <= 16 for line in lines)
