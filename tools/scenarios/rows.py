"""The rows of the SUA key rotation table, and the mitigations of its error scenarios (2.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smets1.headend.migration.progress import KeyState, Row, Stage
from smets1.headend.migration.smso import Account
from smets1.headend.migration.utrn_period import Channel
from smets1.tools.home_config import Role
from smets1.tools.migration.rig import HomeBooks
from smets1.tools.scenarios.base import Expected, Set, scenario

__all__: list[str] = []

_BOTH = (Role.GSME, Role.ESME)
_DONE = Expected(stage=Stage.COMMISSIONED, row=Row.BOTH_ROTATED, rotated=_BOTH)


@scenario("both keys are rotated, the home is commissioned", "table 2, row 1")
async def row_1_both_rotated(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    stage.expect_home(home, _DONE)
    for role in _BOTH:
        stage.expect_top_up(home, role, Channel.RNSP, "a payment provider within the UTRN Period")
        stage.expect_top_up(home, role, Channel.DCC, "the supplier by the DCC")


@scenario("the GSME does not take its new key: handed back to the SMSO", "table 2, row 2; 16.11")
async def row_2_gsme_refuses(stage: Set) -> None:
    home = await stage.start()
    gsme = stage.real(home).gsme
    stage.rig.smso.mistake_key(gsme.eui64, bytes(16))
    stage.say("[fault] the SMSO's books hold a wrong SUA key of the GSME")
    await stage.week.run_day([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, row=Row.GSME_FAILED, account=Account.SUPPLIER))
    stage.expect(not stage.rig.dco.is_enrolled(gsme.eui64), "the DCO has deleted its keys")
    stage.expect(stage.progress(home).esme is KeyState.NOT_ATTEMPTED, "the ESME was never asked")
    stage.expect_top_up(home, Role.ESME, Channel.RNSP, "the SMSO makes tokens as ever")
    stage.expect_top_up(home, Role.GSME, Channel.SMSO, "the supplier operates the home again")


@scenario(
    "the GSME's answer is lost, its status push tells: the home goes on to row 1",
    "table 2, row 3; table 3, 3",
)
async def row_3_answer_lost_push_tells(stage: Set) -> None:
    home = await stage.start()
    mend = await _lose_answer_of(stage, home, Role.GSME, "response")
    await stage.hours(1)
    stage.expect(stage.progress(home).gsme is KeyState.ROTATED, "the GSME's own push has told the S1SP")
    mend()
    await stage.week.until_ended([home])
    stage.expect_home(home, _DONE)


async def _lose_answer_of(stage: Set, home: HomeBooks, role: Role, *topics: str) -> Callable[[], None]:
    """Give the MEF; from the moment the meter has the new key, what the hub says is lost. What mends it."""
    stage.week.give_mef(await stage.file(home))
    device = getattr(stage.real(home), role.value)
    for _ in range(7_200_000):
        if device.authorisation.generation:
            break
        await asyncio.sleep(0.001)
    return stage.lose_on_wan(home, *topics)


@scenario("the GSME is silent for good: stranded, never rolled back; top-ups go on", "table 2, row 3; 2.3.2")
async def row_3_gsme_silent(stage: Set) -> None:
    home = await stage.start()
    await _lose_answer_of(stage, home, Role.GSME, "response", "event")
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.GSME_SILENT, rotated=(Role.GSME,)))
    for role in _BOTH:
        stage.expect_top_up(home, role, Channel.RNSP, "stranded, and the payment provider still works")


@scenario(
    "stranded with a silent GSME; the link returns and its push completes the migration", "table 2, row 3"
)
async def row_3_link_returns(stage: Set) -> None:
    home = await stage.start()
    mend = await _lose_answer_of(stage, home, Role.GSME, "response", "event")
    await stage.week.until_ended([home])
    stage.expect(stage.progress(home).stage is Stage.STRANDED, "the home is stranded")
    mend()
    stage.say("[fault over] the WAN is whole again")
    await stage.hours(2)
    await stage.week.until_ended([home])
    stage.expect_home(home, _DONE)
