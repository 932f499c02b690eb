"""A population of light homes: active, dormant, split, single fuel, and some with an ailment; from one seed.

`migrate_population` takes it through one Migration Week, a few hundred homes to a file set, and `Tally`
counts what each home came to, beside what the files and reports say: `Tally.faults` is what does not add up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

from smets1.eui64 import Eui64
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.migration.envelope import read_kept
from smets1.headend.migration.files import (
    CommissioningOutcomeFile,
    FileKind,
    MigrationReport,
    S1spCommissioningFile,
    SupplyStatus,
)
from smets1.headend.migration.progress import Stage
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.tools.home_config import DeviceConfig, HomeConfig, Role
from smets1.tools.home_file import default_home
from smets1.tools.migration.light import Ailment, LightHome
from smets1.tools.migration.parties import GAS_SUPPLIER, SUPPLIER
from smets1.tools.migration.rehearsal import Rehearsal
from smets1.tools.migration.rig import HomeBooks, Rig, RigOptions
from smets1.tools.trial_keys import prepayment_key, sua_key

__all__ = ["Member", "Tally", "make_population", "migrate_population", "run_population"]

_FIRST: Final = 0x00DB_2000_0000_0000
_STEP: Final = 0x10
_FAULTY: Final = 0.02
_HOUR_US: Final = 3_600_000_000
_POLICY: Final = S1spPolicy(attempt_us=_HOUR_US // 6, pause_us=_HOUR_US // 12, attempts=3)
_DUAL: Final = (Role.CHF, Role.GPF, Role.ESME, Role.GSME, Role.PPMID, Role.IHD)
_SINGLE: Final = (Role.CHF, Role.ESME, Role.PPMID)
_AILMENTS: Final = tuple(ailment for ailment in Ailment if ailment is not Ailment.NONE)
_EXPECTED: Final = {
    Ailment.NONE: Stage.COMMISSIONED,
    Ailment.GSME_KEY: Stage.ROLLED_BACK,
    Ailment.ESME_KEY: Stage.STRANDED,
    Ailment.SILENT_GSME: Stage.STRANDED,
    Ailment.PRIVACY_PIN: None,
    Ailment.FIRMWARE: None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One home of the population, before it is on anybody's books."""

    index: int
    config: HomeConfig
    electricity: SupplyStatus
    gas: SupplyStatus | None
    gas_supplier: Eui64
    ailment: Ailment

    @property
    def expected(self) -> Stage | None:
        return _EXPECTED[self.ailment]


@dataclass(slots=True)
class Tally:
    """What came of all; `faults`: what does not add up, home by home."""

    homes: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    in_scf: int = 0
    in_cof: int = 0
    in_reports: int = 0
    faults: list[str] = field(default_factory=list)


def make_population(count: int, rng: Random) -> list[Member]:
    """Half active, a quarter dormant, a fifth split, the rest single fuel; 2 % of all with an ailment."""
    return [_member(index, rng) for index in range(count)]


def _member(index: int, rng: Random) -> Member:
    ailment = rng.choice(_AILMENTS) if rng.random() < _FAULTY else Ailment.NONE
    kind = rng.random()
    active, dormant = SupplyStatus.ACTIVE, SupplyStatus.DORMANT
    electricity, gas, supplier = active, active, SUPPLIER
    roles: tuple[Role, ...] = _DUAL
    if 0.5 <= kind < 0.75:
        electricity, gas = dormant, dormant
    elif 0.75 <= kind < 0.95:
        supplier, gas = GAS_SUPPLIER, rng.choice((active, dormant))
    elif kind >= 0.95 and ailment not in (Ailment.GSME_KEY, Ailment.SILENT_GSME):
        roles = _SINGLE
    base = default_home()
    devices = tuple(_device(d, index) for d in base.devices if d.role in roles)
    return Member(
        index=index,
        config=replace(base, seed=index, devices=devices),
        electricity=electricity,
        gas=None if roles is _SINGLE else gas,
        gas_supplier=supplier,
        ailment=ailment,
    )


def _device(device: DeviceConfig, index: int) -> DeviceConfig:
    return replace(device, eui64=_FIRST + index * _STEP + (device.eui64 & 0xF), mpxn="")


def _move_in(rig: Rig, member: Member) -> HomeBooks:
    """On the books, and on the WAN."""
    books = rig.add_books(
        member.config,
        index=member.index,
        electricity=member.electricity,
        gas=member.gas,
        gas_supplier=member.gas_supplier,
        model_suffix=" rev B" if member.ailment is Ailment.FIRMWARE else "",
        is_eligible=member.ailment is not Ailment.FIRMWARE,
    )
    seed, meters = member.config.seed, books.smso.meters
    home = LightHome(
        books.smso.devices,
        sua_keys={meter: sua_key(seed, meter) for meter in meters},
        prepayment_keys={meter: prepayment_key(seed, meter) for meter in meters},
        civil=rig.civil,
        ailment=member.ailment,
    )
    wrong = {Ailment.GSME_KEY: Role.GSME, Ailment.ESME_KEY: Role.ESME}.get(member.ailment)
    if wrong is not None:
        meter = next(device.eui64 for device in member.config.devices if device.role is wrong)
        rig.smso.mistake_key(meter, bytes(16))
    rig.add_link(books.hub, home)
    return books


async def migrate_population(
    rig: Rig,
    members: list[Member],
    *,
    batch: int = 200,
    on_batch: Callable[[int], None] = lambda _done: None,
) -> Tally:
    """Authorisations on the Thursday, then a file set after the other from the Monday on."""
    tally, week = Tally(homes=len(members)), Rehearsal(rig, is_lean=True)
    await rig.start()
    parts = [members[at : at + batch] for at in range(0, len(members), batch)]
    books = [[_move_in(rig, member) for member in part] for part in parts]
    for homes in books:
        week.authorise(homes)
    await week.to_day(hour=6)
    done = 0
    for part, homes in zip(parts, books, strict=True):
        await week.run_day(homes)
        _count(rig, week, part, homes, tally)
        done += len(part)
        on_batch(done)
        await asyncio.sleep(0)
    week.reports()
    _count_files(week, tally)
    if tally.in_reports != tally.homes:
        tally.faults.append(f"{tally.in_reports} homes in the reports, of {tally.homes}")
    return tally


def run_population(
    count: int,
    *,
    seed: int = 1,
    folder: Path | None = None,
    nvm_dir: Path | None = None,
    on_batch: Callable[[int], None] = lambda _done: None,
) -> Tally:
    """All in virtual time; every file into `folder`, every record into `nvm_dir`, where they are given."""

    async def main() -> Tally:
        rig = Rig(RigOptions(folder=folder, nvm_dir=nvm_dir, policy=_POLICY))
        try:
            return await migrate_population(rig, make_population(count, Random(seed)), on_batch=on_batch)
        finally:
            await rig.close()

    return run(main(), speed=MAX_SPEED)


def _count(rig: Rig, week: Rehearsal, part: list[Member], homes: list[HomeBooks], tally: Tally) -> None:
    """What each home came to, against what was to be, and against every file of its set."""
    scf, cof = _count_files(week, tally)
    for member, books in zip(part, homes, strict=True):
        home = rig.s1sp.home(books.hub)
        end = None if home is None else home.stage
        tally.ends[str(end or "rejected")] += 1
        name = f"home {books.hub:016X} ({member.ailment})"
        if end is not member.expected:
            tally.faults.append(f"{name}: is {end}, expected {member.expected}")
        if scf[books.hub] != (0 if end is None else 1):
            tally.faults.append(f"{name}: {scf[books.hub]} times in SCFs")
        if cof[books.hub] != int(end is Stage.COMMISSIONED):
            tally.faults.append(f"{name}: {cof[books.hub]} times in COFs")
        told = sum(alert.startswith("N55") for alert in books.alerts)
        if told != len(books.smso.meters) * int(end is Stage.COMMISSIONED):
            tally.faults.append(f"{name}: {told} alerts N55")
    if home := next((rig.s1sp.home(b.hub) for b in homes if rig.s1sp.home(b.hub)), None):
        rig.forget_set(home.file_set, [b.hub for b in homes])


def _count_files(week: Rehearsal, tally: Tally) -> tuple[Counter[Eui64], Counter[Eui64]]:
    """The homes of the SCFs and COFs that came since, which are then let go."""
    scf: Counter[Eui64] = Counter()
    cof: Counter[Eui64] = Counter()
    for kind, octets in week.files:
        tally.files[kind] += 1
        if kind not in (FileKind.SCF, FileKind.COF, FileKind.REPORT):
            continue
        content = read_kept(octets, kind)
        if isinstance(content, S1spCommissioningFile):
            scf.update(line.hub for line in content.installations)
        elif isinstance(content, CommissioningOutcomeFile):
            cof.update(line.hub for line in content.installations)
        elif isinstance(content, MigrationReport):
            tally.in_reports += len(content.rows)
    tally.in_scf += scf.total()
    tally.in_cof += cof.total()
    week.files.clear()
    return scf, cof
