"""Tokens at a meter: accepted once, and each refusal with its own text, answer and alert."""

from __future__ import annotations

import pytest

from smets1.devices.event_log import AlertCode
from smets1.devices.load import ConstantLoad
from smets1.devices.meter import ElectricityMeterCore
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.supply import SupplyState
from smets1.devices.tariff import Tariff
from smets1.devices.tokens import NO_CREDIT_REMAINING, REFUSALS, Refusal, TopUpDesk
from smets1.errors import DecodeError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.utrn import ValueClass, check_digit, make_utrn
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice, ResultType

POUND = 100_000
ESME, SUPPLIER = 0x00DB1234567890A0, 0x90B3D51F30010000
KEY = bytes(range(16))
WAN, METER, PPMID = OriginatingDevice


def meter(balance_mp=0, mode=PaymentMode.PREPAYMENT, **config) -> ElectricityMeterCore:
    return ElectricityMeterCore(
        load=ConstantLoad(watts=0),
        now_us=0,
        tariff=Tariff.flat(price_mp_per_kwh=30_000),
        prepayment=PrepaymentConfig(**config),
        mode=mode,
        balance_mp=balance_mp,
    )


def desk() -> TopUpDesk:
    return TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME)


def token(counter=1, pounds=10, *, key=KEY, target=ESME) -> str:
    return make_utrn(
        key,
        originator=SUPPLIER,
        target=target,
        counter=counter,
        value=pounds,
        value_class=ValueClass.POUNDS,
    )


def enter(subject, core, text, source=METER, **options):
    return subject.enter(core, text, source=source, utc_us=core.now_us + 1, **options)


def test_accepted_once():
    subject, core = desk(), meter(5 * POUND)
    result = enter(subject, core, token())
    assert (result.result, result.amount_mp, result.credit_remaining) == (
        ResultType.ACCEPTED,
        10 * POUND,
        15 * POUND,
    )
    assert core.account.balance_mp == 15 * POUND
    assert subject.vends[-1].grouped.count("-") == 3
    assert core.account.top_ups[0].source == METER
    assert AlertCode.CREDIT_ADDED_LOCALLY in [event.code for event in core.take_events()]


@pytest.mark.parametrize("source", list(OriginatingDevice))
def test_duplicate_from_any_source(source):
    subject, core = desk(), meter()
    enter(subject, core, token())
    result = enter(subject, core, token(), source)
    assert (result.refusal, result.result) == (Refusal.DUPLICATE, ResultType.REJECTED_DUPLICATE_TOP_UP)
    assert result.credit_remaining == NO_CREDIT_REMAINING
    assert core.account.balance_mp == 10 * POUND


def test_a_token_that_arms_the_supply_says_so():
    subject, core = desk(), meter(0)
    core.advance(10**6)
    assert core.supply.state is SupplyState.OFF
    assert enter(subject, core, token()).result is ResultType.ACCEPTED_SUPPLY_ARMED


def test_a_token_that_is_too_small_says_that_supply_is_disabled():
    subject, core = desk(), meter(-20 * POUND)
    core.advance(10**6)
    assert enter(subject, core, token()).result is ResultType.ACCEPTED_SUPPLY_DISABLED


def far(text: str) -> str:
    """A number with a right check digit that is outside the range of tokens."""
    digits = "9" + text[1:19]
    return digits + check_digit(digits)


MISTYPED = token()[:-1] + str((int(token()[-1]) + 1) % 10)


@pytest.mark.parametrize(
    ("text", "refusal", "screen", "result", "alert"),
    [
        (token(target=ESME + 1), Refusal.NOT_AUTHENTIC, "Invalid", 0x01, 0x8F63),
        (token(key=bytes(16)), Refusal.NOT_AUTHENTIC, "Invalid", 0x01, 0x8F63),
        (far(token()), Refusal.NOT_FOR_THIS_DEVICE, "Invalid", 0x01, 0x8F64),
        (MISTYPED, Refusal.INCORRECT, "Incorrect", 0x01, None),
        ("4195113009200818730", Refusal.INCOMPLETE, "Incomplete", 0x01, None),
        ("", Refusal.INCOMPLETE, "Incomplete", 0x01, None),
        ("\x00é" * 10, Refusal.INCOMPLETE, "Incomplete", 0x01, None),
        (token(pounds=501), Refusal.ABOVE_MAX_CREDIT, "Account High", 0x06, 0x8F5B),
        (token(pounds=499), Refusal.ABOVE_MAX_BALANCE, "Account High", 0x04, 0x8F47),
    ],
)
def test_each_refusal_has_its_reason(text, refusal, screen, result, alert):
    subject, core = desk(), meter(max_credit_threshold_mp=500 * POUND, max_meter_balance_mp=400 * POUND)
    core.advance(0)
    core.take_events()
    found = enter(subject, core, text)
    facts = REFUSALS[refusal]
    assert (found.refusal, facts.text, found.result, facts.result) == (refusal, screen, result, result)
    assert found.credit_remaining == 0xFFFFFFFF
    assert [event.code for event in core.take_events()] == ([] if alert is None else [alert])
    assert (core.account.balance_mp, subject.accepted_count, subject.refused_count) == (0, 0, 1)
    entry = subject.refused[-1]
    assert (entry.refusal, entry.source, entry.utc_us) == (refusal, METER, core.now_us)


def test_every_refusal_has_its_facts():
    assert set(REFUSALS) == set(Refusal)


def test_a_token_refused_for_its_amount_is_good_later():
    subject, core = desk(), meter(max_meter_balance_mp=5 * POUND)
    assert enter(subject, core, token()).refusal is Refusal.ABOVE_MAX_BALANCE
    core.set_prepayment(PrepaymentConfig(), utc_us=core.now_us + 1)
    assert enter(subject, core, token()).is_accepted


def test_credit_mode_takes_no_token():
    subject, core = desk(), meter(mode=PaymentMode.CREDIT)
    assert enter(subject, core, token()).refusal is Refusal.NOT_PREPAYMENT
    core.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=core.now_us + 1)
    assert enter(subject, core, token()).is_accepted


def test_a_far_counter_fails_at_the_keypad_and_passes_with_the_whole_counter():
    subject, core = desk(), meter()
    text = token(counter=1_700_000_000)
    assert enter(subject, core, text).refusal is Refusal.NOT_AUTHENTIC
    assert enter(subject, core, text, WAN, counter=1_700_000_000).is_accepted


def test_the_last_100_counters_are_kept():
    subject, core = desk(), meter()
    texts = [token(counter, pounds=1) for counter in range(1, 103)]
    assert all(enter(subject, core, text).is_accepted for text in texts)
    assert len(subject.cache.counters) == 100
    assert {enter(subject, core, text).refusal for text in texts} == {Refusal.DUPLICATE}
    assert core.account.balance_mp == 102 * POUND


def test_the_log_does_not_hold_the_whole_number():
    subject, core = desk(), meter()
    text = token(key=bytes(16))
    enter(subject, core, text)
    detail = core.log.security[-1].detail
    assert text[-5:] in detail
    assert text[:10] not in detail


def test_no_key_in_the_repr():
    assert KEY.hex() not in repr(desk())
    assert str(KEY) not in repr(desk())


@pytest.mark.parametrize("is_written", [False, True])
def test_power_cut_in_the_commit_credits_once(is_written):
    subject, core = desk(), meter(5 * POUND)
    nvm = MemoryNvm()
    core.save(nvm)
    subject.save(nvm)
    nvm.commit()
    enter(subject, core, token())
    core.save(nvm)
    subject.save(nvm)
    if is_written:
        nvm.commit()
    nvm = nvm.after_power_cut()
    subject, core = desk(), meter()
    assert core.restore(nvm)
    assert subject.restore(nvm)
    again = enter(subject, core, token())
    assert again.is_accepted is not is_written
    assert core.account.balance_mp == 15 * POUND


def test_state_round_trip_and_every_truncation():
    subject, core = desk(), meter()
    enter(subject, core, token())
    enter(subject, core, token())
    octets = subject.encode()
    again = desk()
    again.decode_into(octets)
    assert again.encode() == octets
    assert (again.vends, again.refused) == (subject.vends, subject.refused)
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            again.decode_into(octets[:length])
    assert not desk().restore(MemoryNvm())
