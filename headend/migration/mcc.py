"""The Migration Control Centre, thin: takes Migration Authorisations, plans a day's homes, reports.

A home goes on its day where every active supplier has authorised it for the week (split supply: both; the
later date counts), or where all its meters are dormant: those suppliers are deemed to have authorised
(4.27). A supplier may stop what has not begun, for all its homes and the rest of the week (4.23).
Source: guide 2.6.2, 4.5.5; TMAD 4.17, 4.23, 4.27; Migration Reporting Regime (report names).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from smets1.errors import InputError
from smets1.eui64 import Eui64
from smets1.firmware.civil import from_datetime, to_datetime
from smets1.headend.migration.envelope import FileRefusedError, FileSigner, Receiver
from smets1.headend.migration.files import (
    Authorisation,
    CommissionedBy,
    FileKind,
    MigrationAuthorisationFile,
    MigrationOutcome,
    MigrationReport,
    ReportRow,
    Supply,
    SupplyStatus,
)
from smets1.headend.migration.registry import Registry

__all__ = ["Mcc", "Plan", "week_of"]

_DEADLINE: Final = timedelta(days=4) - timedelta(hours=10)  # Thursday 10:00 before a Monday
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One home that is to be migrated on a day."""

    hub: Eui64
    day: date
    electricity: Supply
    gas: Supply | None
    commissioned_by: CommissionedBy
    is_priority: bool

    @property
    def supplies(self) -> list[Supply]:
        return [self.electricity] if self.gas is None else [self.electricity, self.gas]

    @property
    def is_all_dormant(self) -> bool:
        return all(supply.status is SupplyStatus.DORMANT for supply in self.supplies)

    @property
    def active_suppliers(self) -> set[Eui64]:
        return {s.supplier for s in self.supplies if s.status is SupplyStatus.ACTIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """One line of an MA."""

    supplier: Eui64
    week: date
    line: Authorisation


def week_of(utc_us: int) -> date:
    """The Monday of the Migration Week in which an instant is (UTC)."""
    day = to_datetime(utc_us).date()
    return day - timedelta(days=day.weekday())


class Mcc:
    """`now_utc_us` gives civil time. Authorisations are kept for this run; reports are signed."""

    def __init__(
        self,
        *,
        registry: Registry,
        receiver: Receiver,
        signer: FileSigner,
        group_id: str,
        now_utc_us: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._receiver = receiver
        self._signer = signer
        self._group_id = group_id
        self._now_utc_us = now_utc_us
        self._given: dict[tuple[date, str], _Given] = {}  # by week and meter point
        self._stopped: dict[tuple[date, Eui64], None] = {}
        self._rows: dict[Eui64, tuple[int, ReportRow]] = {}

    # --- authorisations -----------------------------------------------------------------------------

    def take_ma(self, octets: bytes) -> MigrationAuthorisationFile:
        """A supplier's file; what is in it. Raises FileRefusedError."""
        received = self._receiver.take(
            octets,
            FileKind.MA,
            senders=None,
            now_utc_us=self._now_utc_us(),
            check=self._check,
            owner_of=lambda content: content.supplier,
        )
        content = received.content
        assert isinstance(content, MigrationAuthorisationFile)
        week = date.fromisoformat(content.migration_week)
        for line in content.authorisations:
            given = _Given(supplier=content.supplier, week=week, line=line)
            for mpxn in filter(None, (line.mpan, line.mprn)):
                self._given[week, mpxn.lstrip("0")] = given
        return content

    def _check(self, content: MigrationAuthorisationFile) -> None:
        try:
            week = date.fromisoformat(content.migration_week)
        except ValueError:
            raise FileRefusedError("5.9.1", f"MigrationWeek {content.migration_week} is no date") from None
        if week.weekday() != 0:
            raise FileRefusedError("4.17", f"a Migration Week begins on a Monday, not on {week}")
        if content.group_id != self._group_id:
            raise FileRefusedError("4.17", f"this is Group ID {self._group_id}, not {content.group_id}")
        start = datetime(week.year, week.month, week.day, tzinfo=UTC)
        if self._now_utc_us() > from_datetime(start - _DEADLINE):
            raise FileRefusedError("4.17", "it came after Thursday 10:00 of the week before")
        for line in content.authorisations:
            for mpxn in filter(None, (line.mpan, line.mprn)):
                registration = self._registry.find(mpxn)
                if registration is None or registration.supplier != content.supplier:
                    raise FileRefusedError("4.17", f"{mpxn} is not registered to the supplier")
            if line.migrate_on is not None and not _is_in_week(line.migrate_on, week):
                raise FileRefusedError("4.17", f"MigrateOn {line.migrate_on} is not in the week")

    def stop(self, supplier: Eui64, week: date) -> None:
        """4.23: none of the supplier's homes that have not begun is begun in the rest of the week."""
        self._stopped[week, supplier] = None

    def is_stopped(self, plan: Plan) -> bool:
        week = plan.day - timedelta(days=plan.day.weekday())
        return any((week, supplier) in self._stopped for supplier in plan.active_suppliers)

    def is_authorised(self, mpxn: str) -> bool:
        """For the S1SP: authorised for this week or the next and not stopped; dormant is deemed so."""
        registration = self._registry.find(mpxn)
        if registration is None:
            return False
        if registration.status is SupplyStatus.DORMANT:
            return True
        week = week_of(self._now_utc_us())
        given = [self._given.get((each, mpxn.lstrip("0"))) for each in (week, week + 7 * _DAY)]
        return any(
            one is not None
            and one.supplier == registration.supplier
            and (one.week, one.supplier) not in self._stopped
            for one in given
        )

    # --- planning -----------------------------------------------------------------------------------

    def plan(
        self, hub: Eui64, mpan: str, mprn: str | None, week: date, *, dormant_day: int = 0
    ) -> Plan | None:
        """When and how a home is migrated in a week; None: not in that week.

        `dormant_day`: days after Monday on which the MCC puts an all-dormant home. Raises InputError for a
        meter point that nobody is registered for.
        """
        points = [mpan] if mprn is None else [mpan, mprn]
        lines = [self._line(mpxn, week) for mpxn in points]
        supplies = [self._supply(mpxn, line) for mpxn, line in zip(points, lines, strict=True)]
        electricity, gas = supplies[0], supplies[1] if len(supplies) > 1 else None
        active = [line for line, s in zip(lines, supplies, strict=True) if s.status is SupplyStatus.ACTIVE]
        given = [line for line in active if line is not None]
        if len(given) < len(active):
            return None
        days = [week if line.migrate_on is None else date.fromisoformat(line.migrate_on) for line in given]
        is_whole = len(given) == len(supplies) and len({s.supplier for s in supplies}) == 1
        return Plan(
            hub=hub,
            day=max(days) if days else week + dormant_day * _DAY,
            electricity=electricity,
            gas=gas,
            commissioned_by=given[0].commissioned_by if is_whole else CommissionedBy.COMMISSIONING_PARTY,
            is_priority=any(line.is_priority for line in given),
        )

    def _line(self, mpxn: str, week: date) -> Authorisation | None:
        registration = self._registry.find(mpxn)
        if registration is None:
            raise InputError(f"nobody is registered for {mpxn}")
        given = self._given.get((week, mpxn.lstrip("0")))
        if given is None or given.supplier != registration.supplier:
            return None
        return given.line

    def _supply(self, mpxn: str, line: Authorisation | None) -> Supply:
        registration = self._registry.find(mpxn)
        assert registration is not None, "looked up before"
        return Supply(
            mpxn=mpxn,
            supplier=registration.supplier,
            status=registration.status,
            certificate=None if line is None else line.certificate,
            network=None if line is None else line.network,
        )

    # --- reports ------------------------------------------------------------------------------------

    def note(self, plan: Plan, outcome: MigrationOutcome, reason: str = "") -> None:
        """How a home ended, or stands: the latest word counts."""
        gas = None if plan.gas is None else plan.gas.mpxn
        row = ReportRow(
            hub=plan.hub, mpan=plan.electricity.mpxn, mprn=gas, outcome=outcome, reason=reason[:200]
        )
        self._rows[plan.hub] = (self._now_utc_us(), row)

    def report(self, report_id: str, *, from_utc_us: int, to_utc_us: int, limit: int = 250) -> list[bytes]:
        """S1MIG-001 (completed successfully) or S1MIG-002 (unsuccessfully): one or more signed files."""
        is_success = report_id == "S1MIG-001"
        rows = [
            row
            for at_utc_us, row in self._rows.values()
            if from_utc_us <= at_utc_us < to_utc_us
            and (row.outcome is MigrationOutcome.COMMISSIONED) is is_success
        ]
        return [
            self._signer.sign(
                FileKind.REPORT,
                MigrationReport(
                    report=report_id, from_utc_us=from_utc_us, to_utc_us=to_utc_us, rows=tuple(part)
                ),
                now_utc_us=self._now_utc_us(),
            )
            for part in _parts(rows, limit)
        ]


def _is_in_week(text: str, week: date) -> bool:
    try:
        return week <= date.fromisoformat(text) < week + 7 * _DAY
    except ValueError:
        return False


def _parts(rows: list[ReportRow], limit: int) -> Iterable[list[ReportRow]]:
    """At least one, so that a quiet period has its report too."""
    return [rows[at : at + limit] for at in range(0, max(len(rows), 1), limit)]
