"""Rows of Consumer Top Up Response and of the supply commands in SE 1.2 D.7, over ZigBee."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.devices.supplier import ESME, KEY, START_US, SUPPLIER, Bench, token

from smets1.devices.days import MINUTE_US, SECOND_US
from smets1.devices.load_limit import LoadLimit
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.special_codes import VendKind, make_special_code
from smets1.devices.supply import SupplyState
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT, OriginatingDevice, ResultType
from smets1.firmware.zcl.server import Via
from smets1.headend.srv.frames import command, parse_command, parse_read, read_attributes
from smets1.headend.srv.steps import RefusedByDeviceError

POUND = 100_000
REFUSED = -1  # 0xFFFFFFFF as int32


def bench(balance_mp: int = 10 * POUND, mode: PaymentMode = PaymentMode.PREPAYMENT, **config: Any) -> Bench:
    return Bench(prepayment=PrepaymentConfig(**config), mode=mode, balance_mp=balance_mp, watts=0)


def top_up(subject: Bench, text: str, source: int = 2) -> dict[str, Any]:
    frame = command(
        PREPAYMENT.cluster_id,
        "consumer_top_up",
        {"originating_device": source, "top_up_code": text.encode()},
    )
    answer = subject.execute(PREPAYMENT.cluster_id, frame, via=Via.HAN)
    return parse_command(PREPAYMENT.cluster_id, "consumer_top_up_response", answer)


def used(subject: Bench) -> dict[str, Any]:
    top_up(subject, token())
    return top_up(subject, token())


def deduct(subject: Bench) -> dict[str, Any]:
    text = make_special_code(
        KEY, originator=SUPPLIER, target=ESME, counter=1, vend=VendKind.DEDUCT, pounds=11
    )
    return top_up(subject, text)


Row = tuple[int, Callable[[], Bench], Callable[[Bench], dict[str, Any]]]
ROWS: dict[str, Row] = {
    "00 accepted": (0x00, bench, lambda b: top_up(b, token())),
    "01 invalid, of another key": (0x01, bench, lambda b: top_up(b, token(key=bytes([9] * 16)))),
    "01 invalid, no token": (0x01, bench, lambda b: top_up(b, "1" * 20)),
    "01 invalid, not 20 digits": (0x01, bench, lambda b: top_up(b, "123")),
    "02 duplicate": (0x02, bench, used),
    "03 error, credit mode": (0x03, lambda: bench(mode=PaymentMode.CREDIT), lambda b: top_up(b, token())),
    "03 error, account low": (0x03, bench, deduct),
    "04 max credit": (0x04, lambda: bench(max_meter_balance_mp=12 * POUND), lambda b: top_up(b, token())),
    "06 too large": (0x06, lambda: bench(max_credit_threshold_mp=POUND), lambda b: top_up(b, token())),
    "11 accepted, supply disabled": (0x11, lambda: bench(-9 * POUND), lambda b: top_up(b, token())),
    "12 accepted, supply armed": (0x12, lambda: bench(-POUND), lambda b: top_up(b, token())),
}


@pytest.mark.parametrize("row", ROWS)
def test_result_type(row: str) -> None:
    result, make, act = ROWS[row]
    assert row.startswith(f"{result:02X} ")
    subject = make()
    subject.time.now_us += SECOND_US
    subject.meter.advance(subject.time.now_us)
    before_mp = subject.meter.account.balance_mp
    answer = act(subject)
    assert answer["result_type"] == result
    assert answer["source_of_top_up"] == OriginatingDevice.IN_HOME_DISPLAY_DEVICE
    after_mp = subject.meter.account.balance_mp
    if result in (0x00, 0x11, 0x12):
        assert (answer["top_up_value"], answer["credit_remaining"]) == (5 * POUND, after_mp)
        assert after_mp == before_mp + 5 * POUND
    else:
        assert (answer["top_up_value"], answer["credit_remaining"]) == (0, REFUSED)
        assert after_mp == before_mp + (5 * POUND if row == "02 duplicate" else 0)


def test_result_type_05_keypad_lock_is_the_keypads_alone() -> None:
    """Five refused entries lock key A; a display may still send a code."""
    subject = bench()
    for _ in range(5):
        subject.time.now_us += 30 * SECOND_US
        for key in "A1B":
            subject.panel.press(key, utc_us=subject.time.now_us)
    subject.time.now_us += MINUTE_US
    subject.panel.press("A", utc_us=subject.time.now_us)
    last = subject.desk.refused[-1].refusal
    assert last.name == "KEYPAD_LOCKED"
    assert top_up(subject, token())["result_type"] == 0x00


def test_result_type_10_supply_enabled_never_comes_of_a_top_up() -> None:
    """A person confirms: every way to be off, and a top-up that ends the want of credit."""
    for reason in ("disable_supply", None):
        subject = bench(-POUND)
        if reason:
            getattr(subject.meter, reason)(utc_us=START_US)
        subject.time.now_us += SECOND_US
        assert top_up(subject, token())["result_type"] != ResultType.ACCEPTED_SUPPLY_ENABLED
        assert not subject.meter.supply.is_on


@pytest.mark.parametrize("source", list(OriginatingDevice))
def test_each_source_is_validated_and_a_refusal_is_logged_with_it(source: OriginatingDevice) -> None:
    """Time, source, number, type and reason."""
    subject = bench()
    subject.time.now_us += SECOND_US
    text = token(key=bytes([9] * 16))
    assert top_up(subject, text, source)["source_of_top_up"] == source
    entry = subject.desk.refused[-1]
    assert (entry.utc_us, entry.source, entry.digits) == (subject.time.now_us, source, text)
    assert entry.refusal.name == "NOT_AUTHENTIC"
    logged = subject.meter.log.security[-1]
    assert (logged.code, logged.utc_us) == (0x8F63, subject.time.now_us)
    assert logged.detail.startswith(source.name)


def test_a_source_that_is_none_is_refused_before_it_is_judged() -> None:
    subject = bench()
    with pytest.raises(RefusedByDeviceError):
        top_up(subject, token(), source=7)
    assert top_up(subject, token())["result_type"] == 0x00


# --- supply ---------------------------------------------------------------------------------------------


def change_supply(subject: Bench, proposed: int) -> dict[str, Any]:
    values = {
        "provider_id": 1,
        "issuer_event_id": 7,
        "request_date_time": 0,
        "implementation_date_time": 0,
        "proposed_supply_status": proposed,
        "supply_control_bits": 0,
    }
    frame = command(METERING.cluster_id, "change_supply", values)
    answer = subject.execute(METERING.cluster_id, frame, via=Via.SUA)
    return parse_command(METERING.cluster_id, "supply_status_response", answer)


def supply_status(subject: Bench) -> int:
    frame = read_attributes(METERING.cluster_id, ["supply_status"])
    octets = subject.carry_out(METERING.cluster_id, frame, via=Via.HAN)
    return int(parse_read(METERING.cluster_id, ["supply_status"], octets)["supply_status"])


def test_supply_status_0x0014_off_armed_on_and_the_response_to_change_supply() -> None:
    subject = bench()
    assert supply_status(subject) == 2
    for proposed in (SupplyState.OFF, SupplyState.ARMED, SupplyState.ON):
        answer = change_supply(subject, proposed)
        assert (answer["supply_status"], answer["issuer_event_id"]) == (proposed, 7)
        assert supply_status(subject) == proposed


def test_local_change_supply_confirms_what_is_armed_and_nothing_else() -> None:
    subject = bench()

    def confirm(proposed: int = 2) -> None:
        frame = command(METERING.cluster_id, "local_change_supply", {"proposed_supply_status": proposed})
        answer = subject.execute(METERING.cluster_id, frame, via=Via.HAN)
        parse_command(METERING.cluster_id, None, answer)

    change_supply(subject, SupplyState.OFF)
    with pytest.raises(RefusedByDeviceError):
        confirm()
    change_supply(subject, SupplyState.ARMED)
    with pytest.raises(RefusedByDeviceError):
        confirm(0)
    confirm()
    assert supply_status(subject) == 2


def test_reset_load_limit_counter() -> None:
    subject = Bench(prepayment=PrepaymentConfig(), watts=2000)
    subject.meter.set_load_limit(LoadLimit(threshold_w=1000, period_s=30), utc_us=START_US)
    subject.meter.advance(START_US + 31 * SECOND_US)
    assert subject.meter.limiter.counter == 1
    subject.meter.reset_load_limit_counter(utc_us=START_US + MINUTE_US)
    assert subject.meter.limiter.counter == 0
