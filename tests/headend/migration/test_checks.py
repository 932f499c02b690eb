"""Each of the 18 checks finds what it is for, and a home that is in order passes them all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.headend.migration.samples import (
    HOME,
    HUB,
    MPAN,
    MPRN,
    Books,
    device,
    with_device,
    without,
)

from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.checks import CHECKS, validate
from smets1.headend.migration.files import CommissionedBy, Installation, SupplyStatus
from smets1.headend.migration.registry import EligibleProducts, Registry
from smets1.tools.migration.parties import GAS_SUPPLIER

assert HOME.electricity is not None
assert HOME.gas is not None
EXTRA_ESME = device(DeviceType.ESME, 0x20)
OTHER_CERTIFICATE = replace(HOME.electricity, certificate="0" * 40)
DORMANT_GAS = replace(HOME.gas, status=SupplyStatus.DORMANT)

# check -> home, books: what makes it fail
FAULTS: list[tuple[int, Installation, Books]] = [
    (1, replace(HOME, hub=HUB + 0x99), Books()),
    (2, HOME, Books(enrolled=frozenset({HUB}))),
    (3, without(DeviceType.ESME), Books()),
    (3, replace(HOME, devices=(*HOME.devices, EXTRA_ESME)), Books()),
    (4, replace(HOME, devices=(*HOME.devices, device(DeviceType.GSME, 0x20))), Books()),
    (5, without(DeviceType.GPF), Books()),
    (6, replace(HOME, devices=(*HOME.devices, device(DeviceType.PPMID, 0x20))), Books()),
    (7, replace(HOME, devices=(*HOME.devices, device(DeviceType.HCALCS, 0x20))), Books()),
    (8, with_device(4, manufacturer="1234"), Books()),
    (9, with_device(5, device=HUB + 4), Books()),
    (10, HOME, Books(enrolled=frozenset({HUB + 3}))),
    (10, HOME, Books(elsewhere=frozenset({HUB + 3}))),
    (11, with_device(2, firmware="00000002"), Books()),
    (11, HOME, Books(products=EligibleProducts())),
    (12, replace(HOME, gas=None), Books()),
    (12, without(DeviceType.GSME), Books()),
    (13, replace(HOME, electricity=replace(HOME.electricity, mpxn=MPAN[:-1] + "9")), Books()),
    (14, replace(HOME, gas=replace(HOME.gas, mpxn="00000012345")), Books()),
    (15, HOME, Books(points=frozenset({MPRN}))),
    (16, HOME, Books(registry=Registry())),
    (16, replace(HOME, gas=DORMANT_GAS), Books()),
    (16, replace(HOME, gas=replace(HOME.gas, supplier=GAS_SUPPLIER)), Books()),
    (17, HOME, Books(unauthorised=frozenset({MPAN}))),
    (18, replace(HOME, electricity=OTHER_CERTIFICATE), Books()),
    (18, replace(HOME, gas=DORMANT_GAS, commissioned_by=CommissionedBy.SUPPLIER), Books()),
]


def test_a_home_in_order() -> None:
    assert validate(HOME, Books()) == ()
    single = replace(without(DeviceType.GSME), gas=None)
    books = Books()
    books.group_id = "CA"
    assert [failure.check for failure in validate(HOME, books)] == [11], "on the EPCL of another group"
    assert 12 not in [failure.check for failure in validate(single, Books())]


@pytest.mark.parametrize(("check", "home", "books"), FAULTS)
def test_a_check_finds_its_fault(check: int, home: Installation, books: Books) -> None:
    failures = validate(home, books)
    found = [failure for failure in failures if failure.check == check]
    assert len(found) == 1, failures
    assert found[0].clause == f"5.10.{check}"
    assert found[0].reason.startswith(CHECKS[check - 1].title)


def test_there_are_18_and_all_are_tried() -> None:
    assert [check.number for check in CHECKS] == list(range(1, 19))
    assert {check for check, _, _ in FAULTS} == set(range(1, 19))


def test_every_failure_is_listed() -> None:
    home = replace(with_device(4, manufacturer="1234"), gas=replace(DORMANT_GAS, mpxn="12"))
    failures = validate(home, Books(enrolled=frozenset({HUB}), unauthorised=frozenset({MPAN})))
    assert [failure.check for failure in failures] == [2, 8, 10, 14, 16, 17]


def test_leading_zeros_of_an_mprn_do_not_count() -> None:
    """Uplift 1.2, 4.2."""
    assert validate(replace(HOME, gas=replace(HOME.gas, mpxn="000" + MPRN)), Books()) == ()
