"""A population of light homes adds up, home by home; and the count notices where it does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.migration.files import FileKind, SupplyStatus
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.headend.migration.smso import Smso
from smets1.tools.home_config import Role
from smets1.tools.migration.light import Ailment
from smets1.tools.migration.population import Member, Tally, make_population, migrate_population
from smets1.tools.migration.rig import Rig, RigOptions

HOUR_US = 3_600_000_000
POLICY = S1spPolicy(attempt_us=HOUR_US // 6, pause_us=HOUR_US // 12, attempts=3)


def migrate(members: list[Member], *, batch: int, prepare: Callable[[Rig], Any] = lambda _rig: None) -> Tally:
    async def main() -> Tally:
        rig = Rig(RigOptions(policy=POLICY))
        prepare(rig)
        try:
            return await migrate_population(rig, members, batch=batch)
        finally:
            await rig.close()

    return run(main(), speed=MAX_SPEED)


def with_every_ailment(count: int) -> list[Member]:
    members = make_population(count, random.Random(5))
    for index, ailment in enumerate(Ailment):
        dual = next(m for m in members[index:] if m.gas is not None and m.ailment is Ailment.NONE)
        members[dual.index] = replace(dual, ailment=ailment)
    return members


def test_the_mixture() -> None:
    members = make_population(2000, random.Random(5))
    faulty = sum(member.ailment is not Ailment.NONE for member in members)
    dormant = sum(member.electricity is SupplyStatus.DORMANT for member in members)
    single = sum(member.gas is None for member in members)
    assert 25 <= faulty <= 55, "about 2 %"
    assert 430 <= dormant <= 570
    assert 70 <= single <= 130
    assert {member.ailment for member in members} == set(Ailment)
    addresses = [device.eui64 for member in members for device in member.config.devices]
    assert len(addresses) == len(set(addresses))


def test_a_population_adds_up() -> None:
    members = with_every_ailment(24)
    tally = migrate(members, batch=9)
    assert tally.faults == []
    assert sum(tally.ends.values()) == tally.homes == 24
    assert tally.ends["rolled back"] >= 1
    assert tally.ends["stranded"] >= 2
    assert tally.ends["rejected"] >= 2
    assert tally.in_scf == 24 - tally.ends["rejected"]
    assert tally.in_cof == tally.ends["commissioned"]
    assert tally.in_reports == 24
    assert tally.files[FileKind.MEF] == 3


def test_what_does_not_add_up_is_told() -> None:
    """The SMSO's key of one home is wrong, and the population does not know of it."""
    members = make_population(4, random.Random(5))
    gsme = next(d.eui64 for m in members for d in m.config.devices if d.role is Role.GSME)

    def spoil(rig: Rig) -> None:
        add = rig.smso.add_home

        def add_home(home: Any, **keys: Any) -> None:
            add(home, **keys)
            if gsme in home.meters:
                assert isinstance(rig.smso, Smso)
                rig.smso.mistake_key(gsme, bytes(16))

        rig.smso.add_home = add_home  # type: ignore[method-assign]

    tally = migrate(members, batch=4, prepare=spoil)
    assert len(tally.faults) == 1
    assert "is rolled back, expected commissioned" in tally.faults[0]
    assert tally.in_cof == 3


@pytest.mark.slow
def test_a_thousand_homes() -> None:
    assert migrate(make_population(1000, random.Random(1)), batch=200).faults == []
