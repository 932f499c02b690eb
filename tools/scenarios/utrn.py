"""The UTRN Period (3.14B to D), and the cut that ends all that (3.14E, 3.14F)."""

from __future__ import annotations

from smets1.errors import RefusedError
from smets1.headend.migration.commissioning import Request, requests_of
from smets1.headend.migration.progress import Stage
from smets1.headend.migration.registry import MONTH_US
from smets1.headend.migration.utrn_period import UTRN_PERIOD_US, Channel
from smets1.tools.home_config import Role
from smets1.tools.migration.rig import HomeBooks
from smets1.tools.scenarios.base import BOTH, Set, scenario

__all__: list[str] = []

_SECOND_US = 1_000_000


@scenario(
    "tokens at 8.1.1 -1 s, +1 s, +48 h -1 s, +48 h +1 s, by every way, each meter by itself", "3.14B to D"
)
async def utrn_period_boundaries(stage: Set) -> None:
    home = await _migrated_not_commissioned(stage)
    _expect_before(stage, home, Role.ESME)
    _expect_before(stage, home, Role.GSME)
    await _commission(stage, home, Role.ESME)
    await stage.hours(1 / 3600)
    _expect_within(stage, home, Role.ESME, "1 s after its 8.1.1")
    _expect_before(stage, home, Role.GSME)
    await stage.hours(1)
    await _commission(stage, home, Role.GSME)
    await stage.hours(1 / 3600)
    _expect_within(stage, home, Role.GSME, "1 s after its 8.1.1")
    await stage.switch_off(home)
    for role in (Role.ESME, Role.GSME):
        begun = stage.rig.s1sp.period_begun_utc_us(getattr(stage.real(home), role.value).eui64)
        assert begun is not None, "commissioned"
        await stage.week.wait_until(begun + UTRN_PERIOD_US - _SECOND_US)
        _expect_token(stage, home, role, "1 s before the end of its UTRN Period")
        await stage.week.wait_until(begun + UTRN_PERIOD_US + _SECOND_US)
        stage.expect_no_top_up(home, role, Channel.RNSP, "3.14D", "1 s after the end")
        stage.expect(len(stage.token(home, role, Channel.DCC)) == 20, "the supplier goes on by the DCC")


async def _migrated_not_commissioned(stage: Set) -> HomeBooks:
    stage.begin()
    stage.week.holds_back = True
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.wait_for(lambda: stage.progress(home).stage is Stage.MIGRATED)
    for request in _requests(stage, home):
        if request.srv != "8.1.1":
            await stage.rig.cp.send(request)
    return home


def _requests(stage: Set, home: HomeBooks) -> list[Request]:
    entry = stage.rig.s1sp.installation(home.hub)
    assert entry is not None, "filed"
    dsp = stage.rig.head_end.settings.dsp
    return list(requests_of(entry, dsp=dsp, now_utc_us=stage.rig.civil.utc_us()))


async def _commission(stage: Set, home: HomeBooks, role: Role) -> None:
    device = getattr(stage.real(home), role.value).eui64
    request = next(r for r in _requests(stage, home) if r.srv == "8.1.1" and r.target == device)
    code = await stage.rig.cp.send(request)
    stage.expect(code == "I0", f"8.1.1 of the {role.value.upper()} succeeds")


def _expect_before(stage: Set, home: HomeBooks, role: Role) -> None:
    """Before its 8.1.1, the account being the DCC's."""
    stage.expect_top_up(home, role, Channel.RNSP, "before its 8.1.1, made by the SMSO itself")
    stage.expect_no_top_up(home, role, Channel.SMSO, "6.7", "the supplier at the SMSO, after the switch")
    stage.expect_no_top_up(home, role, Channel.DCC, "3.14C", "the supplier by the DCC, too early")


def _expect_within(stage: Set, home: HomeBooks, role: Role, when: str) -> None:
    stage.expect_top_up(home, role, Channel.RNSP, f"{when}, passed on by the SMSO, made by the S1SP")
    stage.expect_top_up(home, role, Channel.DCC, f"{when}, by the DCC")
    stage.expect_no_top_up(home, role, Channel.SMSO, "3.14C", "the supplier at the SMSO")


def _expect_token(stage: Set, home: HomeBooks, role: Role, when: str) -> None:
    for channel in (Channel.RNSP, Channel.DCC):
        is_there = len(stage.token(home, role, channel)) == 20
        stage.expect(is_there, f"{when}: a token by {channel} for the {role.value.upper()}")


@scenario("a negative top-up is refused by every way", "3.14B")
async def utrn_negative(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    _expect_no_negative(stage, home, Channel.RNSP)
    _expect_no_negative(stage, home, Channel.DCC)
    token = stage.token(home, Role.ESME, Channel.RNSP, pence=0)
    stage.expect(len(token) == 20, "nothing at all is not negative")


def _expect_no_negative(stage: Set, home: HomeBooks, channel: Channel) -> None:
    stage.expect_refusal(
        "3.14B", lambda: stage.token(home, Role.ESME, channel, pence=-500), f"-£5.00 by {channel}"
    )


@scenario("after 8.1.1 the SMSO is not capable of making a token: its key is gone", "3.14C(a)")
async def smso_makes_no_more_tokens(stage: Set) -> None:
    home = await stage.start()
    before = stage.token(home, Role.ESME, Channel.SMSO)
    await stage.week.run_day([home])
    for role in BOTH:
        device = getattr(stage.real(home), role.value).eui64
        stage.expect(
            stage.rig.smso.prepayment_key(device) is None, f"the SMSO has no key of the {role.value.upper()}"
        )
    token = stage.token(home, Role.ESME, Channel.RNSP)
    stage.expect(token != before, "the S1SP counts on from where the SMSO stopped")
    stage.expect_top_up(home, Role.ESME, Channel.RNSP, "and the meter takes it")


@scenario("15 months after the Last EPCL Entry every interface to the SMSO is cut, for good", "3.14E, 3.14F")
async def disconnection(stage: Set) -> None:
    year_us, days_to_monday_us = 12 * MONTH_US, 4 * 86_400_000_000
    home = await stage.start(approved_ago_us=year_us - days_to_monday_us)
    await stage.week.run_day([home])
    separation = stage.rig.separation
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect(separation.due_utc_us(now_utc_us) is None, "while the EPCL may grow nothing is due")
    stage.expect_refusal("3.14E", lambda: separation.cut(now_utc_us), "a cut before the Last EPCL Entry")
    await stage.switch_off(home)
    await stage.hours(6)
    now_utc_us = stage.rig.civil.utc_us()
    due_utc_us = separation.due_utc_us(now_utc_us) or 0
    stage.expect(due_utc_us > now_utc_us, "12 months without another entry: it is the Last EPCL Entry")
    stage.expect(not separation.is_due(due_utc_us - 1), "within 15 months of it the cut may wait")
    stage.expect(separation.is_due(due_utc_us), "no longer")
    separation.cut(now_utc_us)
    stage.say("every interface between S1SP and SMSO is disconnected")
    lines = separation.audit()
    stage.expect(all(line.is_cut for line in lines), f"the audit finds all {len(lines)} cut")
    stage.expect_refusal("3.14E", lambda: stage.rig.s1sp.take_mcf(b"<x/>"), "a migration file")
    stage.expect_refusal("3.14E", lambda: stage.rig.smso.hand_back(home.hub), "an account switch")
    await stage.rig.s1sp.close()
    stage.rig.reopen_separation()
    try:
        stage.rig.separation.cut(0)
        stage.rig.smso.require_account(home.hub)
        refused = ""
    except RefusedError as error:
        refused = str(error)
    stage.expect("3.14E" in refused, "after a restart it is as cut as before: nothing undoes it")
