"""The DCO in a process of its own: killed, or its answer lost, at a call of a real home's rotation."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from smets1.errors import LostError
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.migration.files import FileKind
from smets1.headend.migration.progress import Row, Stage
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.tools.scenarios.base import METERS, Set

MINUTE_US = 60_000_000
POLICY = S1spPolicy(attempt_us=30 * MINUTE_US, pause_us=5 * MINUTE_US, attempts=6)
NEVER = 10_000


def migrate(at: int, *, is_after: bool) -> int:
    """The n-th call of the S1SP kills the DCO, before it is made or before its answer is read; how many."""

    async def main(folder: Path) -> int:
        stage = Set(lambda _line: None)
        stage.begin(policy=POLICY, nvm_dir=folder, has_dco_process=True)
        try:
            home = await stage.start(METERS)
            process = stage.rig.dco_process
            assert process is not None
            mef = await stage.file(home)
            stage.rig.dco_desk.take(FileKind.MEF, mef, now_utc_us=stage.rig.civil.utc_us())
            exchange, calls, first = process.client._exchange, 0, process.pid

            def spoil(octets: bytes) -> bytes:
                nonlocal calls
                calls += 1
                if calls != at:
                    return exchange(octets)
                if is_after:
                    exchange(octets)
                process.kill()
                raise LostError("killed")

            process.client._exchange = spoil
            stage.rig.s1sp.take_mef(mef)
            for _ in range(240):
                if stage.progress(home).stage is Stage.MIGRATED:
                    break
                await asyncio.sleep(60)
            await asyncio.sleep(120)  # pushes, and what is answered to them
            progress = stage.progress(home)
            assert (progress.stage, progress.row) == (Stage.MIGRATED, Row.BOTH_ROTATED), progress
            for device in (stage.real(home).gsme, stage.real(home).esme):
                held = device.authorisation.confirmation()
                assert held.generation == stage.rig.dco.generation(device.eui64) == 1
                assert stage.rig.dco.recognises(device.eui64, 1, held.confirmation)
            assert (process.pid != first) is (at <= calls)
            return calls - 4  # those of this judgement
        finally:
            await stage.rig.close()

    with tempfile.TemporaryDirectory() as name:
        return run(main(Path(name)), speed=MAX_SPEED)


@pytest.mark.parametrize(("at", "is_after"), [(1, True), (4, False)])
def test_killed_at_a_call(at: int, is_after: bool) -> None:
    migrate(at, is_after=is_after)


@pytest.mark.sweep
@pytest.mark.parametrize("is_after", [False, True])
def test_killed_at_every_call(is_after: bool) -> None:
    calls = migrate(NEVER, is_after=is_after)
    assert calls > 6
    for at in range(1, calls + 1):
        migrate(at, is_after=is_after)
    print(f"\nthe DCO killed {'after' if is_after else 'before'} each of {calls} calls")
