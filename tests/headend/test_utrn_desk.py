"""The token desk: a device accepts what it makes, and no counter comes twice."""

from __future__ import annotations

import pytest
from tests.headend.conftest import ESME, GSME, PREPAYMENT_KEY, SUPPLIER, Rig

from smets1.errors import InputError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.utrn import CounterCache, verify
from smets1.headend.utrn_desk import UtrnDesk

KEY = bytes(range(16, 32))


def test_a_device_accepts_them() -> None:
    desk = UtrnDesk(MemoryNvm())
    desk.enrol(ESME, KEY)
    cache = CounterCache(counters=())
    for pounds, pence, amount_mp in ((10, None, 1_000_000), (None, 1250, 1_250_000), (None, 0, 0)):
        token = desk.make(ESME, originator=SUPPLIER, pounds=pounds, pence=pence)
        check = verify(token, key=KEY, originator=SUPPLIER, target=ESME, cache=cache)
        assert check.is_good, check.reasons
        assert check.amount_mp == amount_mp
        assert check.counter is not None
        cache = cache.accept(check.counter)
    assert cache.highest == 3


def test_counters_survive_a_power_cut() -> None:
    nvm = MemoryNvm()
    desk = UtrnDesk(nvm)
    desk.enrol(ESME, KEY, counter=7)
    first = desk.make(ESME, originator=SUPPLIER, pounds=10)
    revived = UtrnDesk(nvm.after_power_cut())
    revived.enrol(ESME, KEY, counter=7)
    assert revived.make(ESME, originator=SUPPLIER, pounds=10) != first


def test_through_the_head_end(rig: Rig) -> None:
    token = rig.head_end.make_utrn(ESME, pounds=10)
    cache = CounterCache(counters=())
    check = verify(token, key=PREPAYMENT_KEY, originator=SUPPLIER, target=ESME, cache=cache)
    assert check.amount_mp == 1_000_000
    for device in (GSME, 1):
        with pytest.raises(InputError):
            rig.head_end.make_utrn(device, pounds=10)


def test_refusals() -> None:
    desk = UtrnDesk(MemoryNvm())
    desk.enrol(ESME, KEY)
    for arguments in ({}, {"pounds": 1, "pence": 1}, {"pounds": 9000}, {"pounds": -1}, {"pence": 8192}):
        with pytest.raises(InputError):
            desk.make(ESME, originator=SUPPLIER, **arguments)
    with pytest.raises(InputError, match="no prepayment key"):
        desk.make(GSME, originator=SUPPLIER, pounds=1)
