"""The rows of the SUA key rotation table, and the mitigations of its error scenarios (2.3)."""

from __future__ import annotations

from collections.abc import Callable

from smets1.headend.migration.files import (
    FileKind,
    GroupInstallation,
    MigrationGroupFile,
    MigrationHeader,
)
from smets1.headend.migration.progress import KeyState, Row, Stage
from smets1.headend.migration.smso import Account
from smets1.headend.migration.utrn_period import Channel
from smets1.tools.home_config import Role
from smets1.tools.migration.parties import RP, S1SP
from smets1.tools.migration.rig import GROUP, HomeBooks
from smets1.tools.scenarios.base import BOTH, DONE, SINGLE, Expected, Set, scenario

__all__: list[str] = []


@scenario("both keys are rotated, the home is commissioned", "table 2, row 1")
async def row_1_both_rotated(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)
    for role in BOTH:
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
    await _push_tells(stage, Role.GSME)


async def _push_tells(stage: Set, role: Role) -> None:
    home = await stage.start()
    mend = await _lose_answer_of(stage, home, role, "response")
    await stage.hours(1)
    held = getattr(stage.progress(home), role.value)
    stage.expect(held is KeyState.ROTATED, f"the {role.value.upper()}'s own push has told the S1SP")
    mend()
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


def _expect_top_ups(stage: Set, home: HomeBooks) -> None:
    for role in BOTH:
        stage.expect_top_up(home, role, Channel.RNSP, "stranded, and the payment provider still works")


async def _lose_answer_of(stage: Set, home: HomeBooks, role: Role, *topics: str) -> Callable[[], None]:
    """Give the MEF; from the moment the meter has the new key, what the hub says is lost. What mends it."""
    stage.week.give_mef(await stage.file(home))
    if role is Role.GSME:
        await stage.wait_for(lambda: stage.real(home).gsme.authorisation.generation == 1)
    else:  # before it is asked: over the wire its answer comes within the same millisecond
        await stage.wait_for(lambda: stage.progress(home).gsme is KeyState.ROTATED)
    return stage.lose_on_wan(home, *topics)


@scenario("the GSME is silent for good: stranded, never rolled back; top-ups go on", "table 2, row 3; 2.3.2")
async def row_3_gsme_silent(stage: Set) -> None:
    home = await stage.start()
    await _lose_answer_of(stage, home, Role.GSME, "response", "event")
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.GSME_SILENT, rotated=(Role.GSME,)))
    _expect_top_ups(stage, home)


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
    stage.expect_home(home, DONE)


@scenario(
    "the GSME never got the instruction: stranded; within reach again, it is asked again", "table 2, row 3"
)
async def row_3_asked_again(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.wait_for(lambda: stage.progress(home).stage is Stage.SECURING)
    mend = stage.cut_off(home, Role.GSME)
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.GSME_SILENT))
    mend()
    stage.say("[fault over] the GSME is within reach; the S1SP is told to ask it again")
    await stage.rig.s1sp.ask_again(home.hub)
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


@scenario("the ESME's answer is lost, its status push tells: row 1 after all", "table 2, row 4; table 3, 3")
async def row_4_answer_lost_push_tells(stage: Set) -> None:
    await _push_tells(stage, Role.ESME)


@scenario("the ESME is silent for good after rotating: stranded, not rolled back", "table 2, row 4; 2.3.2")
async def row_4_esme_silent(stage: Set) -> None:
    home = await stage.start()
    mend = await _lose_answer_of(stage, home, Role.ESME, "response", "event")
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.ESME_SILENT, rotated=BOTH))
    _expect_top_ups(stage, home)
    mend()
    await stage.hours(2)
    await stage.week.until_ended([home])
    stage.expect(stage.progress(home).stage is Stage.COMMISSIONED, "the link returns: the push ends it well")


@scenario("the ESME does not take its new key after the GSME did: stranded", "table 2, row 5; 16.11")
async def row_5_esme_refuses(stage: Set) -> None:
    home = await stage.start()
    esme = stage.real(home).esme
    stage.rig.smso.mistake_key(esme.eui64, bytes(16))
    stage.say("[fault] the SMSO's books hold a wrong SUA key of the ESME")
    await stage.week.run_day([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.ESME_FAILED, rotated=(Role.GSME,)))
    _expect_top_ups(stage, home)
    stage.week.reports()
    report = stage.week.of_kind(FileKind.REPORT)[-1]
    stage.expect(b"Stranded" in report and b"S1MIG-002" in report, "S1MIG-002 tells the supplier of it")


@scenario(
    "GSME unreachable at first, then it refuses: only then is the home rolled back", "table 2, rows 3, 2"
)
async def row_3_then_confirmed_not_rotated(stage: Set) -> None:
    home = await stage.start()
    stage.rig.smso.mistake_key(stage.real(home).gsme.eui64, bytes(16))
    stage.say("[fault] the SMSO's books hold a wrong SUA key of the GSME")
    mef = await stage.file(home)
    stage.week.give_mef(mef)
    await stage.wait_for(lambda: stage.progress(home).stage is Stage.SECURING)
    mend = stage.cut_off(home, Role.GSME)
    await stage.hours(0.6)
    progress = stage.progress(home)
    stage.expect(progress.gsme is KeyState.UNKNOWN, "no answer: its key is unknown")
    stage.expect(progress.stage is Stage.SECURING, "nothing is rolled back on a guess")
    stage.expect(stage.rig.smso.account(home.hub) is Account.DCC, "the account is still the DCC's")
    mend()
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, row=Row.GSME_FAILED, account=Account.SUPPLIER))


@scenario("a single-fuel home has no GSME: the ESME alone is secured", "2.3 (rows 1 to 3 do not apply)")
async def single_fuel(stage: Set) -> None:
    home = await stage.start(SINGLE)
    await stage.week.run_day([home])
    stage.expect_home(home, Expected(stage=Stage.COMMISSIONED, rotated=(Role.ESME,)))
    stage.expect_top_up(home, Role.ESME, Channel.RNSP, "a payment provider within the UTRN Period")


@scenario(
    "a single-fuel home whose ESME refuses is stranded: no roll-back there", "2.3; table 2, row 5; 16.11"
)
async def single_fuel_esme_refuses(stage: Set) -> None:
    home = await stage.start(SINGLE)
    stage.rig.smso.mistake_key(stage.real(home).esme.eui64, bytes(16))
    await stage.week.run_day([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.ESME_FAILED))
    stage.expect_top_up(home, Role.ESME, Channel.RNSP, "stranded, and the payment provider still works")


@scenario("no SIM or APN changes: a Migration Group File is refused", "table 3, 1; 16.15")
async def mitigation_1_no_wan_change(stage: Set) -> None:
    home = await stage.start()
    group = MigrationGroupFile(
        header=MigrationHeader(group_id=GROUP, requesting_party=RP, s1sp=S1SP, file_set=1),
        installations=(GroupInstallation(hub=home.hub, imsi="234150000000001", address="10.0.0.1"),),
    )
    mgf = stage.rig.signer(RP).sign(FileKind.MGF, group, now_utc_us=stage.rig.civil.utc_us())
    stage.expect_refusal("16.15", lambda: stage.rig.s1sp.take_mgf(mgf), "an MGF for Group ID DA")
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)


@scenario("the ESME did not speak with the SMSO within 2 hours: not filed", "table 3, 2")
async def mitigation_2_esme_silent(stage: Set) -> None:
    await _silent_meter(stage, Role.ESME)


@scenario("the GSME is not heard: not filed", "table 3, 2")
async def mitigation_2_gsme_silent(stage: Set) -> None:
    await _silent_meter(stage, Role.GSME)


async def _silent_meter(stage: Set, role: Role) -> None:
    home = await stage.start()
    device = getattr(stage.real(home), role.value)
    await device.close()
    stage.say(f"[fault] the {role.value.upper()} is dead")
    await stage.week.run_day([home])
    stage.expect_rejected(home, "table 3, 2", "before the MCF")


@scenario("the GSME pushes its status again and again until it is heard", "table 3, 3")
async def mitigation_3_push_retries(stage: Set) -> None:
    home = await stage.start()
    mend = await _lose_answer_of(stage, home, Role.GSME, "response", "event")
    await stage.hours(1.2)
    stage.expect(stage.progress(home).gsme is KeyState.UNKNOWN, "an hour of lost pushes: still unknown")
    stage.expect(stage.real(home).gsme.authorisation.is_push_due, "the GSME goes on pushing")
    mend()
    await stage.hours(1)
    stage.expect(not stage.real(home).gsme.authorisation.is_push_due, "heard and acknowledged, it stops")
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


@scenario("the HAN fails while the ESME is secured: its way is the wire to the hub", "table 3, 4")
async def mitigation_4_esme_needs_no_han(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.wait_for(lambda: stage.progress(home).gsme is KeyState.ROTATED)
    for role in (Role.ESME, Role.GSME, Role.PPMID, Role.IHD):
        stage.cut_off(home, role)
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


@scenario("firmware that is not on the EPCL never reaches a device", "table 3, 5; 5.10.11; 3.7")
async def mitigation_5_firmware_not_eligible(stage: Set) -> None:
    home = await stage.start(is_eligible=False)
    await stage.week.run_day([home])
    stage.expect_rejected(home, "5.10.11", "MVF")


@scenario("the ESME's hardware dies after the GSME rotated: stranded and reported", "table 3, 6")
async def mitigation_6_hardware_dies(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.wait_for(lambda: stage.real(home).gsme.authorisation.generation == 1)
    esme = stage.real(home).esme
    await esme.close()
    stage.say("[fault] the ESME is dead")
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.STRANDED, row=Row.ESME_SILENT, rotated=(Role.GSME,)))
    stage.expect_top_up(home, Role.GSME, Channel.RNSP, "the other meter takes tokens")


@scenario("handed back, put right, authorised anew for a later week: it migrates", "2.3.2; table 1")
async def migrates_again_in_a_later_week(stage: Set) -> None:
    home = await stage.start()
    gsme = stage.real(home).gsme
    right_key = stage.rig.smso.mistake_key(gsme.eui64, bytes(16))
    await stage.week.run_day([home])
    stage.expect(stage.progress(home).stage is Stage.ROLLED_BACK, "the home is handed back")
    stage.rig.smso.mistake_key(gsme.eui64, right_key)
    stage.say("the SMSO has put its books right")
    await stage.switch_off(home)
    await stage.hours(7 * 24 - 2)
    stage.expect(not stage.week.plan([home]), "without a new authorisation nothing is planned")
    stage.week.authorise([home])
    await stage.week.to_day(hour=6)
    await stage.switch_on_again(home)
    await stage.week.run_day([home])
    stage.expect_home(home, DONE, is_later=True)
