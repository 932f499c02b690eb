"""What a meter is told for a later time."""

from __future__ import annotations

import pytest
from tests.devices.meter_cores import FLAT, START, codes, gas_meter, meter, twin

from smets1.devices.billing import SnapshotCause
from smets1.devices.days import HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.event_log import AlertCode
from smets1.devices.load_limit import LoadLimit, LoadLimiter
from smets1.devices.prepayment import PrepaymentConfig
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.supply import SupplyState
from smets1.devices.tariff import Tariff


def test_a_future_tariff_begins_at_its_time():
    subject = meter()
    later = Tariff.flat(price_mp_per_kwh=60_000)
    due_us = START + HOUR_US + 6 * MINUTE_US  # a whole number of Wh
    subject.schedule(
        FutureCommand(kind=FutureKind.TARIFF, due_us=due_us, payload=later.encode(), issuer_id=7),
        utc_us=START,
    )
    subject = twin(subject)
    subject.advance(due_us - 1)
    assert subject.tariff == FLAT
    subject.advance(START + 2 * HOUR_US)
    assert subject.tariff == later
    assert subject.account.balance_mp == -(30_000 * 66 + 60_000 * 54) // 60
    assert AlertCode.FUTURE_COMMAND_EXECUTED in codes(subject)
    assert [s.cause for s in subject.snapshots] == [SnapshotCause.TARIFF_CHANGE]


@pytest.mark.parametrize(
    ("kind", "payload", "check"),
    [
        (FutureKind.PAYMENT_MODE, b"\x01", lambda m: m.account.is_prepayment),
        (FutureKind.SUPPLY, b"\x00", lambda m: m.supply.state is SupplyState.OFF),
        (
            FutureKind.PREPAYMENT,
            PrepaymentConfig(emergency_credit_limit_mp=1).encode(),
            lambda m: m.account.config.emergency_credit_limit_mp == 1,
        ),
    ],
)
def test_mode_supply_and_limits_at_a_later_time(kind, payload, check):
    subject = meter()
    subject.schedule(FutureCommand(kind=kind, due_us=START + 7, payload=payload), utc_us=START)
    subject.advance(START + 6)
    assert not check(subject)
    subject.advance(START + 7)
    assert check(subject)


def test_a_future_load_limit():
    subject, wanted = meter(), LoadLimiter()
    wanted.set_limit(LoadLimit(threshold_w=500, period_s=60))
    command = FutureCommand(kind=FutureKind.LOAD_LIMIT, due_us=START + HOUR_US, payload=wanted.encode())
    subject.schedule(command, utc_us=START)
    subject.advance(START + HOUR_US + 59 * SECOND_US)
    assert subject.supply.is_on
    subject.advance(START + HOUR_US + 60 * SECOND_US)
    assert subject.supply.state is SupplyState.OFF


@pytest.mark.parametrize(
    ("subject", "kind", "payload"),
    [
        (meter(), FutureKind.TARIFF, b"nonsense"),
        (meter(), FutureKind.SUPPLY, b"\x09"),
        (gas_meter(), FutureKind.SUPPLY, b"\x02"),
        (gas_meter(), FutureKind.LOAD_LIMIT, LoadLimiter().encode()),
    ],
)
def test_what_cannot_be_carried_out_is_told_and_gone(subject, kind, payload):
    subject.schedule(FutureCommand(kind=kind, due_us=START + 7, payload=payload), utc_us=START)
    subject.advance(START + HOUR_US)
    assert codes(subject) == [AlertCode.FUTURE_COMMAND_FAILED]
    assert not subject.future.pending


def test_a_later_command_replaces_and_an_empty_one_takes_back():
    subject = meter()
    for price in (1000, 2000):
        payload = Tariff.flat(price_mp_per_kwh=price).encode()
        command = FutureCommand(kind=FutureKind.TARIFF, due_us=START + HOUR_US, payload=payload)
        subject.schedule(command, utc_us=START)
    assert subject.future.cancel(FutureKind.SUPPLY) is False
    subject.advance(START + HOUR_US)
    assert subject.price_mp_per_kwh == 2000
