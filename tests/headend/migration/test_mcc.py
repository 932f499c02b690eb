"""What the MCC takes of suppliers, plans of it, and reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from tests.headend.migration.samples import HUB, MPAN, MPRN, PKI, make_registry

from smets1.eui64 import Eui64
from smets1.firmware.nvm import MemoryNvm
from smets1.headend.migration.envelope import FileRefusedError, FileSigner, Receiver, read_kept
from smets1.headend.migration.files import (
    Authorisation,
    CommissionedBy,
    FileKind,
    MigrationAuthorisationFile,
    MigrationOutcome,
    MigrationReport,
    SupplyStatus,
)
from smets1.headend.migration.mcc import Mcc, week_of
from smets1.headend.migration.registry import Registration
from smets1.tools.migration.parties import GAS_SUPPLIER, MCC, NETWORK, SUPPLIER

DAY_US = 86_400_000_000
THURSDAY_10_UTC_US = 1_673_517_600_000_000  # 2023-01-12T10:00:00Z
WEEK = date(2023, 1, 16)
LINE = Authorisation(
    mpan=MPAN,
    mprn=MPRN,
    commissioned_by=CommissionedBy.SUPPLIER,
    certificate=PKI.certificate(SUPPLIER),
    network=None,
    migrate_on="2023-01-18",
    is_priority=True,
)
MA = MigrationAuthorisationFile(
    group_id="DA", supplier=SUPPLIER, migration_week=WEEK.isoformat(), authorisations=(LINE,)
)


class Office:
    """An MCC, and suppliers who write to it."""

    def __init__(self) -> None:
        self.now_utc_us = THURSDAY_10_UTC_US
        self.registry = make_registry()
        self.nvm = MemoryNvm()
        self.mcc = Mcc(
            registry=self.registry,
            receiver=Receiver(PKI.verifier(), self.nvm),
            signer=FileSigner(PKI.credentials[MCC], MemoryNvm()),
            group_id="DA",
            now_utc_us=lambda: self.now_utc_us,
        )

    def give(self, ma: MigrationAuthorisationFile, *, by: Eui64 = SUPPLIER) -> None:
        signer = FileSigner(PKI.credentials[by], MemoryNvm())
        self.mcc.take_ma(signer.sign(FileKind.MA, ma, now_utc_us=self.now_utc_us))


def test_a_week_is_planned_of_it() -> None:
    office = Office()
    office.give(MA)
    plan = office.mcc.plan(HUB, MPAN, MPRN, WEEK)
    assert plan is not None
    assert (plan.day, plan.commissioned_by, plan.is_priority) == (
        date(2023, 1, 18),
        CommissionedBy.SUPPLIER,
        True,
    )
    assert office.mcc.is_authorised("00" + MPRN), "leading zeros do not count"
    assert office.mcc.plan(HUB, MPAN, MPRN, date(2023, 1, 23)) is None, "another week needs another MA"
    office.now_utc_us += 14 * DAY_US
    assert not office.mcc.is_authorised(MPAN)


def test_a_change_of_supplier_ends_an_authorisation() -> None:
    office = Office()
    office.give(MA)
    new = Registration(supplier=GAS_SUPPLIER, network_operator=NETWORK, status=SupplyStatus.ACTIVE)
    office.registry.register(MPRN, new)
    assert office.mcc.plan(HUB, MPAN, MPRN, WEEK) is None
    assert not office.mcc.is_authorised(MPRN)


@pytest.mark.parametrize(
    ("ma", "by", "late_us"),
    [
        (MA, SUPPLIER, 1),
        (MA, GAS_SUPPLIER, 0),
        (replace(MA, migration_week="2023-01-17"), SUPPLIER, 0),
        (replace(MA, group_id="CA"), SUPPLIER, 0),
        (replace(MA, supplier=GAS_SUPPLIER), GAS_SUPPLIER, 0),
        (replace(MA, authorisations=(replace(LINE, migrate_on="2023-01-23"),)), SUPPLIER, 0),
        (replace(MA, authorisations=(replace(LINE, mprn="4199999999"),)), SUPPLIER, 0),
    ],
)
def test_an_ma_is_refused_and_nothing_remembered(
    ma: MigrationAuthorisationFile, by: Eui64, late_us: int
) -> None:
    office = Office()
    office.now_utc_us += late_us
    with pytest.raises(FileRefusedError) as caught:
        office.give(ma, by=by)
    assert caught.value.clause == "4.17"
    assert office.nvm.keys() == []
    assert office.mcc.plan(HUB, MPAN, MPRN, WEEK) is None


def test_a_stop_stops_what_the_supplier_has() -> None:
    office = Office()
    office.give(MA)
    office.mcc.stop(SUPPLIER, WEEK)
    assert not office.mcc.is_authorised(MPAN)
    office.now_utc_us += 7 * DAY_US
    assert week_of(office.now_utc_us) == WEEK


def test_the_reports() -> None:
    office = Office()
    office.give(MA)
    plan = office.mcc.plan(HUB, MPAN, MPRN, WEEK)
    assert plan is not None
    for index in range(5):
        outcome = MigrationOutcome.COMMISSIONED if index % 2 else MigrationOutcome.STRANDED
        office.mcc.note(replace(plan, hub=HUB + index), outcome, "why")
    office.mcc.note(replace(plan, hub=HUB), MigrationOutcome.COMMISSIONED)
    rows = {}
    for report_id in ("S1MIG-001", "S1MIG-002"):
        for octets in office.mcc.report(report_id, from_utc_us=0, to_utc_us=office.now_utc_us + 1, limit=2):
            report = read_kept(octets, FileKind.REPORT)
            assert isinstance(report, MigrationReport)
            assert len(report.rows) <= 2
            rows.update({row.hub - HUB: (report_id, row.outcome) for row in report.rows})
    done, stranded = MigrationOutcome.COMMISSIONED, MigrationOutcome.STRANDED
    assert rows == {
        0: ("S1MIG-001", done),
        1: ("S1MIG-001", done),
        3: ("S1MIG-001", done),
        2: ("S1MIG-002", stranded),
        4: ("S1MIG-002", stranded),
    }
    assert len(office.mcc.report("S1MIG-001", from_utc_us=0, to_utc_us=1)) == 1, "a quiet time has a report"
