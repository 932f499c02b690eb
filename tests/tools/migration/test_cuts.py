"""The rotation of both meters, cut at every message and frame, and killed at every commit.

While the link is down every run must be in exactly one row of the SUA table; once it is back, in row 1. It is in
row 2 instead where the SMSO's key of the GSME was wrong, and where the GSME lost its power between noting a
counter as used and obeying: then it refuses, and says that it has the old key. The keys of device and DCO must
agree; and no home may be handed back unless its GSME is confirmed to hold the old key. How many cut points
there were is printed:

    pytest -s -m "slow or sweep" tests/tools/migration/test_cuts.py
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from smets1.errors import LostError
from smets1.eui64 import format_eui64
from smets1.firmware.nvm import DeviceNvm
from smets1.firmware.wan.memory import Fault
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.migration.progress import KeyState, Row, Stage
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.headend.migration.smso import Account
from smets1.tools.home_config import Role
from smets1.tools.migration.rehearsal import Rehearsal
from smets1.tools.migration.rig import HomeBooks, Rig
from smets1.tools.scenarios.base import METERS, Set

MINUTE_US: Final = 60_000_000
POLICY: Final = S1spPolicy(
    attempt_us=10 * MINUTE_US, pause_us=MINUTE_US, attempts=2, report_us=600 * MINUTE_US
)
ENDS: Final = (Stage.STRANDED, Stage.ROLLED_BACK, Stage.MIGRATED)
NEVER: Final = 1_000_000


class Cut:
    """What happens at the n-th event: n = 0 before the first. `is_after`: the n-th itself still happens.

    Counts on, so that one with `at=NEVER` tells how many events there are.
    """

    is_kill = False  # a party is dead, and does not come to an end by itself
    ends: tuple[Row, ...] = (Row.BOTH_ROTATED,)

    def __init__(self, stage: Set, home: HomeBooks, at: int, *, is_after: bool) -> None:
        self.stage, self.home, self.at, self.is_after = stage, home, at, is_after
        self.count = 0
        self.has_happened = False
        self.arm()

    def arm(self) -> None:
        raise NotImplementedError

    async def mend(self) -> None:
        raise NotImplementedError


class WanCut(Cut):
    """A message is lost, or arrives and nobody hears that it did; then the link is down."""

    def arm(self) -> None:
        broker = self.stage.real(self.home).broker
        assert broker is not None
        self.broker = broker
        broker.fault = self.judge

    def judge(self, _transfer: Any) -> Fault:
        self.count += 1
        if self.count <= self.at or self.has_happened:
            return Fault.LOST if self.has_happened else Fault.NONE
        self.has_happened = True
        scheduler = self.broker.scheduler
        scheduler.call_at_us(scheduler.now_us() + 20_001, self.broker.stop)
        return Fault.UNACKNOWLEDGED if self.is_after else Fault.LOST

    async def mend(self) -> None:
        self.broker.fault = None
        self.broker.start()


class HanCut(Cut):
    """From one frame on (acknowledgements are frames too) the gas meter is out of reach.

    Cut after a frame is cut before the next one.
    """

    def arm(self) -> None:
        home = self.stage.real(self.home)
        self.faults, self.gsme = home.air.faults, home.gsme.eui64
        self.undo = home.air.tap(self.on_frame)
        if self.at == 0:
            self.cut()

    def cut(self) -> None:
        self.has_happened = True
        self.faults.move_away(self.gsme)

    def on_frame(self, *_: Any) -> None:
        self.count += 1
        if self.count == self.at:
            self.cut()

    async def mend(self) -> None:
        self.undo()
        self.faults.bring_back(self.gsme)


class WireCut(Cut):
    """From one frame on nothing passes the ribbon between hub and electricity meter."""

    def arm(self) -> None:
        self.wire = self.stage.real(self.home).wire
        self.wire.taps.append(self.on_frame)

    def on_frame(self, *_: Any) -> None:
        self.count += 1
        if self.count == self.at + 1:
            self.has_happened = self.wire.is_cut = True

    async def mend(self) -> None:
        self.wire.is_cut = False


class Kill(Cut):
    """The n-th commit of a store is the last of the process: written or not, it dies."""

    is_kill = True

    def on_commit(self, commit: Callable[[], None]) -> None:
        self.count += 1
        if self.count <= self.at:
            commit()
            return
        if self.count == self.at + 1 and self.is_after:
            commit()
        self.has_happened = True
        raise LostError("killed")


class HeadEndKill(Kill):
    """S1SP, DCO and SMSO die together, at a commit of one of them, and begin again from their disks."""

    async def mend(self) -> None:
        stage, dead = self.stage, self.stage.rig
        await dead.power_off()
        await asyncio.sleep(60)
        stage.rig = Rig(dead.options, after=dead)
        stage.week = Rehearsal(stage.rig)
        stage.week.holds_back = True
        await stage.rig.take_over(dead)


class NvmKill(HeadEndKill):
    store = ""

    def arm(self) -> None:
        store = getattr(self.stage.rig, self.store)
        commit = store.commit
        store.commit = lambda: self.on_commit(commit) if store._pending else None


class S1spKill(NvmKill):
    store = "s1sp_store"


class DcoKill(NvmKill):
    store = "dco_store"


class SmsoKill(NvmKill):
    store = "smso_store"


class RequestsKill(HeadEndKill):
    """At a commit of the S1SP's database of requests."""

    def arm(self) -> None:
        store, cut = self.stage.rig.store, self
        inner = store._connection

        class Connection:
            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

            def commit(self) -> None:
                if cut.has_happened:
                    inner.rollback()
                cut.on_commit(inner.commit)

        store._connection = Connection()


class DeviceKill(Kill):
    """A device dies at one of its own commits: what it has not committed it has never known."""

    role = Role.CHF

    def arm(self) -> None:
        home = self.stage.real(self.home)
        self.device = getattr(home, self.role.value)
        self.name = format_eui64(self.device.eui64)
        self.store = home._store
        self.plain_commit = self.store.commit
        self.commit()
        self.store.commit = self.on_store_commit

    def commit(self) -> None:
        """A commit as it was, and what the device will find if it is the last."""
        self.plain_commit()
        nvm = self.store.device(self.name)
        self.durable = {key: nvm.get(key) for key in nvm.keys()}  # noqa: SIM118 - not a dict

    def on_store_commit(self) -> None:
        if self.has_happened:
            self.plain_commit()
        elif not any(name == self.name for name, _ in self.store._pending):
            self.commit()
        else:
            try:
                self.on_commit(self.commit)
            except LostError:
                self.die()
                raise

    def die(self) -> None:
        """No commit but that of others from here on, and nothing remembered."""
        self.device.power_off()
        pending = self.store._pending
        for at in [at for at in pending if at[0] == self.name]:
            del pending[at]
        self.store._devices[self.name]._store = _Burnt()
        self.store._devices[self.name] = DeviceNvm(self.store, self.name, dict(self.durable))
        if self.role is Role.CHF:
            self.device.wan.link.cut_power()

    async def mend(self) -> None:
        self.store.commit = self.plain_commit
        if not self.has_happened:
            return
        home = self.stage.real(self.home)
        home.devices.remove(self.device)
        if self.role is Role.CHF:
            await self.device.wan.close()
        await asyncio.sleep(60)
        await home.restore_power(self.device.eui64)


class _Burnt:
    """The memory of a device without power."""

    def note(self, *_: Any) -> None:
        raise LostError("killed")

    def commit(self) -> None:
        raise LostError("killed")


class GsmeKill(DeviceKill):
    role = Role.GSME
    ends = (Row.BOTH_ROTATED, Row.GSME_FAILED)


class EsmeKill(DeviceKill):
    role = Role.ESME


# --- one run ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    row: Row | None  # while the link was down; None: killed before or between the meters' turns
    end: Row
    count: int
    has_happened: bool


async def prepare(stage: Set, *, is_mistaken: bool, folder: Path | None) -> HomeBooks:
    """To the moment in which the first meter's turn comes."""
    stage.begin(policy=POLICY, nvm_dir=folder)
    stage.week.holds_back = True
    home = await stage.start(METERS)
    if is_mistaken:
        stage.rig.smso.mistake_key(stage.real(home).gsme.eui64, bytes(16))
    stage.week.give_mef(await stage.file(home))
    await stage.wait_for(lambda: stage.progress(home).stage is Stage.SECURING)
    return home


async def until_end(stage: Set, home: HomeBooks, cut: Cut) -> None:
    for _ in range(90 * 6):
        if stage.progress(home).stage in ENDS or (cut.is_kill and cut.has_happened):
            break
        await asyncio.sleep(10)
    await asyncio.sleep(30)  # the pushes and their acknowledgements


def is_agreed(stage: Set, device: Any) -> bool:
    """Whether the device holds a key of the DCO's: the one in use, or the one on offer."""
    held = device.authorisation.confirmation()
    return stage.rig.dco.recognises(device.eui64, held.generation, held.confirmation)


def check_cut(stage: Set, home: HomeBooks, where: str) -> None:
    """While the link is still down: one row, no roll-back on a guess, keys that agree."""
    progress, real = stage.progress(home), stage.real(home)
    is_back = stage.rig.smso.account(home.hub) is Account.SUPPLIER
    if progress.stage in (Stage.ROLL_BACK, Stage.ROLLED_BACK) or is_back:
        assert progress.gsme is KeyState.NOT_ROTATED, where
        assert real.gsme.authorisation.generation == real.esme.authorisation.generation == 0, where
        return
    for device, state in ((real.gsme, progress.gsme), (real.esme, progress.esme)):
        if state is KeyState.ROTATED:
            assert device.authorisation.generation == 1, where
        if device.authorisation.generation:
            assert is_agreed(stage, device), where


async def check_mended(stage: Set, home: HomeBooks, where: str, *, rows: tuple[Row, ...]) -> Row:
    """The link is back: the end, by the devices' pushes, or when the S1SP asks again."""
    for _ in range(4):
        if stage.progress(home).stage in (Stage.MIGRATED, Stage.ROLLED_BACK):
            break
        await stage.hours(0.6)
        await stage.rig.s1sp.ask_again(home.hub)
    progress, account = stage.progress(home), stage.rig.smso.account(home.hub)
    row = progress.row
    assert row in rows, f"{where}: {progress}"
    is_back = row is Row.GSME_FAILED
    assert progress.stage is (Stage.ROLLED_BACK if is_back else Stage.MIGRATED), f"{where}: {progress}"
    assert account is (Account.SUPPLIER if is_back else Account.DCC), where
    for device in (stage.real(home).gsme, stage.real(home).esme):
        if is_back:
            assert device.authorisation.generation == 0, where
            assert not stage.rig.dco.is_enrolled(device.eui64), where
        else:
            assert device.authorisation.generation == stage.rig.dco.generation(device.eui64) == 1, where
            assert is_agreed(stage, device), where
    return row


def one(
    kind: type[Cut],
    at: int,
    *,
    is_after: bool = False,
    is_mistaken: bool = False,
    is_short: bool = False,
) -> Outcome:
    """One run in virtual time, with parties and a home of its own. `is_short`: mended after a minute."""
    where = f"{kind.__name__} {'after' if is_after else 'before'} {at}{', wrong key' * is_mistaken}"
    rows = (Row.GSME_FAILED,) if is_mistaken else kind.ends

    async def main(folder: Path | None) -> Outcome:
        stage = Set(lambda _line: None)
        try:
            home = await prepare(stage, is_mistaken=is_mistaken, folder=folder)
            cut = kind(stage, home, at, is_after=is_after)
            if is_short:
                return await short_cut(stage, home, cut, where)
            await until_end(stage, home, cut)
            row, count = stage.progress(home).row, cut.count
            if not cut.is_kill:
                assert stage.progress(home).stage in ENDS, where
                assert isinstance(row, Row), where
            if not isinstance(cut, HeadEndKill):  # nobody is there to be asked
                check_cut(stage, home, where)
            if cut.has_happened:
                await cut.mend()
            end = await check_mended(stage, home, where, rows=rows)
            return Outcome(row, end, count, cut.has_happened)
        finally:
            await stage.rig.close()

    if not issubclass(kind, HeadEndKill):
        return run(main(None), speed=MAX_SPEED)
    with tempfile.TemporaryDirectory() as name:
        return run(main(Path(name)), speed=MAX_SPEED)


async def short_cut(stage: Set, home: HomeBooks, cut: Cut, where: str) -> Outcome:
    """The link is back before anybody has given up."""
    for _ in range(600):
        if cut.has_happened or stage.progress(home).stage in ENDS:
            break
        await asyncio.sleep(1)
    await asyncio.sleep(60)
    check_cut(stage, home, where)
    row = stage.progress(home).row
    await cut.mend()
    end = await check_mended(stage, home, where, rows=(Row.BOTH_ROTATED,))
    return Outcome(row, end, cut.count, cut.has_happened)


# --- tests -----------------------------------------------------------------------------------------

LINKS: Final = (WanCut, HanCut, WireCut)
KILLS: Final = (S1spKill, RequestsKill, DcoKill, DeviceKill, GsmeKill, EsmeKill)
_ROWS: Final = {
    False: {Row.BOTH_ROTATED, Row.GSME_SILENT, Row.ESME_SILENT},
    True: {Row.GSME_FAILED, Row.GSME_SILENT},
}


def _every() -> list[Any]:
    """Those that take a minute or more are for `make slow` alone."""
    quick = (*LINKS, DeviceKill, GsmeKill, EsmeKill)
    return [
        pytest.param(
            kind, wrong, marks=pytest.mark.slow if kind in quick and not wrong else pytest.mark.sweep
        )
        for kind in (*LINKS, *KILLS, SmsoKill)
        for wrong in (False, True)
        if kind not in (WireCut, EsmeKill, SmsoKill) or wrong is (kind is SmsoKill)
    ]


@pytest.mark.parametrize("is_mistaken", [False, True])
@pytest.mark.parametrize("kind", [*LINKS, *KILLS])
def test_some_cuts(kind: type[Cut], is_mistaken: bool) -> None:
    """A seeded sample."""
    count = one(kind, NEVER, is_mistaken=is_mistaken).count
    if is_mistaken and kind in (WireCut, EsmeKill):
        assert count == 0, "the electricity meter's turn never comes"
        return
    rng = random.Random(f"{kind.__name__} {is_mistaken}")
    for at in rng.sample(range(count), 1 if issubclass(kind, HeadEndKill) else 2):
        outcome = one(kind, at, is_after=rng.random() < 0.5, is_mistaken=is_mistaken)
        assert outcome.has_happened
        assert outcome.row in _ROWS[is_mistaken] or issubclass(kind, Kill)


@pytest.mark.parametrize("kind", LINKS)
def test_some_short_cuts(kind: type[Cut]) -> None:
    rng = random.Random(f"short {kind.__name__}")
    for at in rng.sample(range(one(kind, NEVER).count), 2):
        assert one(kind, at, is_after=rng.random() < 0.5, is_short=True).has_happened


@pytest.mark.sweep
@pytest.mark.parametrize("kind", LINKS)
def test_every_short_cut(kind: type[Cut]) -> None:
    """Down for a minute, then back: row 1, always."""
    count, covered = one(kind, NEVER).count, 0
    for is_after in (False, True) if kind is WanCut else (False,):
        for at in range(count):
            covered += one(kind, at, is_after=is_after, is_short=True).has_happened
    print(f"\n{kind.__name__}, down for a minute: {covered} cut points of {count} events; in the end row 1")
    assert covered >= count


@pytest.mark.parametrize(("kind", "is_mistaken"), _every())
def test_every_cut(kind: type[Cut], is_mistaken: bool) -> None:
    """All of them; how many there were is printed."""
    count = one(kind, NEVER, is_mistaken=is_mistaken).count
    sides = (False,) if kind in (HanCut, WireCut) else (False, True)  # after one is before the next
    rows: Counter[Row] = Counter()
    ends: Counter[Row] = Counter()
    for is_after in sides:
        for at in range(count + (kind is HanCut)):
            outcome = one(kind, at, is_after=is_after, is_mistaken=is_mistaken)
            assert outcome.has_happened
            rows[outcome.row or outcome.end] += 1
            ends[outcome.end] += 1
    print(
        f"\n{kind.__name__}{', wrong key' * is_mistaken}: {rows.total()} cut points of {count} events; "
        f"while down {_told(rows)}; in the end {_told(ends)}"
    )
    assert issubclass(kind, Kill) or set(rows) <= _ROWS[is_mistaken]


def _told(rows: Counter[Row]) -> str:
    return ", ".join(f"row {row}: {number}" for row, number in sorted(rows.items()))
