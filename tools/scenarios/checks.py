"""What is refused before anything is handed over; the two verification points."""

from __future__ import annotations

from dataclasses import replace

from smets1.eui64 import format_eui64
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.envelope import read_kept
from smets1.headend.migration.files import (
    FileKind,
    MigrationCommonFile,
    MigrationCommonValidationFile,
    MigrationHeader,
)
from smets1.headend.migration.progress import Stage
from smets1.headend.migration.smso import Account
from smets1.tools.home_config import Role
from smets1.tools.migration.parties import RP, S1SP
from smets1.tools.scenarios.base import DONE, DORMANT, Expected, Set, scenario

__all__: list[str] = []


@scenario("a privacy PIN is left on an active meter: rejected at the first verification point", "2.4.1 i)")
async def configuration_fails_first_verification(stage: Set) -> None:
    home = await stage.start()
    stage.real(home).esme.parameters.set("privacy_pin", "1234")
    stage.say("[fault] the supplier has left a privacy PIN on the ESME")
    await stage.week.run_day([home])
    stage.expect_rejected(home, "S1SR configuration", "before the MCF")
    pin = stage.real(home).esme.parameters.book.value("privacy_pin")
    stage.expect(pin == "1234", "an active supplier's configuration is not touched")


@scenario("the currency is changed after the MVF: rejected at the second verification point", "2.4.1 ii)")
async def configuration_fails_second_verification(stage: Set) -> None:
    home = await stage.start()
    found = await stage.week.validate(stage.week.plan([home]))
    assert found is not None, "it passes the first"
    stage.real(home).ppmid.parameters.set("currency", "EUR")
    stage.say("[fault] the PPMID is set to EUR between the two verification points")
    mef = await stage.week.hand_over(*found)
    stage.expect(mef is None, "there is no MEF")
    stage.expect_rejected(home, "S1SR configuration", "before the MEF")


@scenario("a dormant home gets part 1 by the help desk, part 2 by the RP, and only what differs", "2.4.2")
async def dormant_two_part_configuration(stage: Set) -> None:
    home = await stage.start(authorise=False, **DORMANT)
    esme, gsme = stage.real(home).esme, stage.real(home).gsme
    esme.parameters.set("supplier_name", "Dormant Energy")
    esme.parameters.set("keypad_lock", 60)
    gsme.parameters.set("alerts_enabled", False)
    before = esme.authorisation.counter
    part_1 = await stage.rig.smso.configure(home.hub, parts=frozenset({1}))
    stage.say(f"the SMSO's help desk, part 1: {', '.join(part_1)}")
    stage.expect(part_1 == ["ESME supplier_name = ''"], "part 1 changes the one thing that differs")
    stage.expect(esme.authorisation.counter == before + 1, "by one Critical Instruction under the SMSO's key")
    await stage.week.run_day([home])
    told = [line.text for line in stage.week.story if "part 2" in line.text]
    stage.expect(len(told) == 2, "part 2 changes two things, by the RP, before the MCF")
    stage.expect(esme.parameters.book.value("keypad_lock") == 600, "the ESME's keypad lock is as required")
    stage.expect(gsme.parameters.book.value("alerts_enabled") is True, "the GSME's alerts are on")
    stage.expect_home(home, DONE)


@scenario("a dormant home whose part 1 was left undone is rejected, for another week", "2.4.2")
async def dormant_part_1_left_undone(stage: Set) -> None:
    home = await stage.start(authorise=False, **DORMANT)
    stage.real(home).ihd.parameters.set("supplier_contact", "0800 000 000")
    await stage.week.run_day([home])
    stage.expect_rejected(home, "S1SR configuration", "before the MCF")


@scenario("a third-party device, or a HAN repeater, is on the HAN: excluded", "2.5, 1 and 3")
async def third_party_device(stage: Set) -> None:
    home = await stage.start()
    stage.rig.smso.change_home(replace(home.smso, third_party=(0xCAFE_0000_0000_0001,)))
    await stage.week.run_day([home])
    stage.expect_rejected(home, "2.5", "before the MCF")


@scenario("a PPMID of the books is not on the CHF Whitelist", "table 1 (device checks); 16.12")
async def display_not_on_whitelist(stage: Set) -> None:
    home = await stage.start()
    hub, ppmid = stage.real(home).chf, stage.real(home).ppmid
    hub.device_log.remove(ppmid.eui64)
    stage.say(f"[fault] {format_eui64(ppmid.eui64)} is taken off the hub's log")
    await stage.week.run_day([home])
    stage.expect_rejected(home, "16.12", "before the MCF")


@scenario("the SMSO's prepayment key is not the meter's", "table 1 (prepayment key verification)")
async def prepayment_key_not_verified(stage: Set) -> None:
    home = await stage.start()
    stage.rig.smso.mistake_prepayment_key(stage.real(home).gsme.eui64, bytes(16))
    await stage.week.run_day([home])
    stage.expect_rejected(home, "prepayment key", "before the MCF")


@scenario("the hub is out of reach: nothing of the home can be checked", "table 3, 2; guide 2.6.4")
async def hub_out_of_reach(stage: Set) -> None:
    home = await stage.start()
    broker = stage.real(home).broker
    assert broker is not None, "in memory"
    broker.stop()
    stage.say("[fault] the WAN is down")
    await stage.week.run_day([home])
    stage.expect_rejected(home, "table 3, 2", "before the MCF")


@scenario("the CHF Whitelist never lists CHF, GPF or ESME, and the GSME only as heard", "16.12, 16.13")
async def chf_whitelist(stage: Set) -> None:
    home = await stage.start()
    facts = await stage.rig.smso.facts(home.hub)
    listed = facts.whitelist or {}
    for role in (Role.CHF, Role.ESME):
        stage.expect(
            getattr(stage.real(home), role.value).eui64 not in listed, f"the {role.value} is not listed"
        )
    gpf = home.smso.first(DeviceType.GPF)
    stage.expect(gpf not in listed, "the gpf is not listed")
    heard = listed.get(stage.real(home).gsme.eui64)
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect(
        heard is not None and now_utc_us - heard < 3_600_000_000, "the GSME is listed, with its time"
    )
    stage.expect(len(listed) == 3, "with PPMID and IHD it lists three devices")
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)


@scenario("a home that is enrolled already is refused, and stays as it is", "5.10.2")
async def enrolled_already(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    stage.say("[fault] the Requesting Party files an enrolled home again")
    common = MigrationCommonFile(
        header=MigrationHeader(group_id="DA", requesting_party=RP, s1sp=S1SP, file_set=2),
        installations=(stage.week.entry(home),),
    )
    mcf = stage.rig.signer(RP).sign(FileKind.MCF, common, now_utc_us=stage.rig.civil.utc_us())
    mvf = read_kept(stage.rig.s1sp.take_mcf(mcf), FileKind.MVF)
    assert isinstance(mvf, MigrationCommonValidationFile), "as asked for"
    clauses = [failure.clause for failure in mvf.installations[0].failures]
    stage.expect(clauses == ["5.10.2", "5.10.10", "5.10.15"], f"the MVF lists {', '.join(clauses)}")
    stage.say("the home stays as it was:")
    stage.expect_home(home, DONE)


@scenario("the books say other firmware than the meter has: found at Installing, handed back", "C1, 16.9")
async def identity_differs(stage: Set) -> None:
    home = await stage.start(model_suffix="X")
    await stage.week.run_day([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, account=Account.SUPPLIER))
    stage.expect(stage.progress(home).clause == "C1", "for C1: Installing a SMETS1 Electricity Meter")
    stage.expect(not stage.rig.dco.is_enrolled(stage.real(home).esme.eui64), "the DCO has deleted its keys")
