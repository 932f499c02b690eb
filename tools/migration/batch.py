"""A migration week of real emulated homes: orders in, what each came to out, and every file on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smets1.eui64 import format_eui64
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.migration.envelope import read_kept
from smets1.headend.migration.files import FileKind, MigrationReport, ReportRow
from smets1.headend.migration.progress import HomeProgress, Stage
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.tools.migration.orders import HomeFault, Order
from smets1.tools.migration.parties import GAS_SUPPLIER, SUPPLIER
from smets1.tools.migration.rehearsal import Rehearsal, StoryLine
from smets1.tools.migration.rig import HomeBooks, Rig, RigOptions

__all__ = ["HomeResult", "migrate"]

_HOUR_US: Final = 3_600_000_000
_POLICY: Final = S1spPolicy(attempt_us=_HOUR_US, pause_us=_HOUR_US // 4, attempts=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeResult:
    """What a home came to. `outcome` as in the reports, or NotAuthorised; `row` of the SUA table, or 0."""

    where: str
    hub: str
    mpan: str
    mprn: str
    outcome: str
    row: int
    reason: str
    account: str

    @property
    def is_commissioned(self) -> bool:
        return self.outcome == "Commissioned"


def migrate(
    orders: list[Order],
    *,
    seed: int = 7,
    folder: Path | None = None,
    captures: bool = False,
    by_supplier: bool = False,
    has_dco_process: bool = False,
    on_line: Callable[[StoryLine], None] = lambda _line: None,
) -> list[HomeResult]:
    """Thursday's authorisations to the reports, in virtual time. Raises InputError, LostError.

    `folder`: every file is written there; `captures`: the air of each home too, with its keys.
    `by_supplier`: the suppliers commission their devices themselves. `has_dco_process`: the DCO runs apart.
    """

    async def main() -> list[HomeResult]:
        rig = Rig(RigOptions(seed=seed, folder=folder, policy=_POLICY, has_dco_process=has_dco_process))
        week = Rehearsal(rig, on_line=on_line, commissions_itself=by_supplier)
        try:
            return await _migrate(orders, rig, week, folder if captures else None)
        finally:
            await rig.close()

    return run(main(), speed=MAX_SPEED)


async def _migrate(orders: list[Order], rig: Rig, week: Rehearsal, captures: Path | None) -> list[HomeResult]:
    await rig.start()
    books = [_move_in(rig, order, index) for index, order in enumerate(orders)]
    week.authorise(books)
    await week.to_day(hour=6)
    for order, home in zip(orders, books, strict=True):
        options: dict[str, Any] = {}
        if captures is not None:
            name = f"{home.hub:016x}"
            options = {"capture": captures / f"{name}.pcapng", "keys": captures / f"{name}.keys"}
        await week.switch_on(home, order.config, **options)
        _spoil(rig, week, order, home)
    await week.run_day(books)
    week.reports()
    rows = _report_rows(week)
    return [_result(rig, order, home, rows) for order, home in zip(orders, books, strict=True)]


def _move_in(rig: Rig, order: Order, index: int) -> HomeBooks:
    is_eligible = order.fault is not HomeFault.NOT_ELIGIBLE
    return rig.add_books(
        order.config,
        index=index,
        electricity=order.electricity,
        gas=order.gas,
        gas_supplier=GAS_SUPPLIER if order.is_split else SUPPLIER,
        is_eligible=is_eligible,
        model_suffix="" if is_eligible else " rev B",
    )


def _spoil(rig: Rig, week: Rehearsal, order: Order, home: HomeBooks) -> None:
    """The fault, which nobody but the story is told of."""
    if order.fault is HomeFault.NONE:
        return
    real = home.home
    assert real is not None, "switched on"
    week.say("[fault]", f"home {format_eui64(home.hub)[-8:]}: {order.fault}")
    if order.fault in (HomeFault.GSME_KEY, HomeFault.ESME_KEY):
        meter = real.gsme if order.fault is HomeFault.GSME_KEY else real.esme
        rig.smso.mistake_key(meter.eui64, bytes(16))
    elif order.fault is HomeFault.PRIVACY_PIN:
        real.esme.parameters.set("privacy_pin", "1234")
    elif order.fault is HomeFault.GSME_AWAY:
        before, faults, gsme = rig.s1sp.on_change, real.air.faults, real.gsme.eui64

        def move_away(progress: HomeProgress) -> None:
            before(progress)
            if progress.hub == home.hub and progress.stage is Stage.SECURING:
                faults.move_away(gsme)

        rig.s1sp.on_change = move_away


def _report_rows(week: Rehearsal) -> dict[int, ReportRow]:
    rows: dict[int, ReportRow] = {}
    for octets in week.of_kind(FileKind.REPORT):
        report = read_kept(octets, FileKind.REPORT)
        assert isinstance(report, MigrationReport)
        rows.update((row.hub, row) for row in report.rows)
    return rows


def _result(rig: Rig, order: Order, home: HomeBooks, rows: dict[int, ReportRow]) -> HomeResult:
    row, progress = rows.get(home.hub), rig.s1sp.home(home.hub)
    found = None if progress is None else progress.row
    return HomeResult(
        where=order.where,
        hub=format_eui64(home.hub),
        mpan=home.smso.mpan,
        mprn=home.smso.mprn or "",
        outcome="NotAuthorised" if row is None else row.outcome.value,
        row=0 if found is None else int(found),
        reason="" if row is None else row.reason,
        account=str(rig.smso.account(home.hub)),
    )
