"""Whose homes go when: authorisations, split supply, dormant homes, displays, stops, commissioning, hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from smets1.eui64 import format_eui64
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.files import (
    CommissionedBy,
    FileKind,
    SupplyStatus,
)
from smets1.headend.migration.mcc import week_of
from smets1.headend.migration.progress import Stage
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.headend.migration.smso import Account
from smets1.tools.home_config import Role
from smets1.tools.migration.parties import GAS_SUPPLIER, SUPPLIER
from smets1.tools.migration.rig import HomeBooks
from smets1.tools.scenarios.base import DONE, DORMANT, Set, scenario

__all__: list[str] = []

_HOUR_US = 3_600_000_000


@scenario("split supply, both authorise for different days: the later one counts", "guide 2.3.5, 4.5.5")
async def split_supply_later_day(stage: Set) -> None:
    stage.begin()
    await stage.rig.start()
    home = stage.rig.add_books(stage.config, gas_supplier=GAS_SUPPLIER)
    stage.week.authorise([home], only=SUPPLIER, migrate_on="2023-01-17")
    stage.week.authorise([home], only=GAS_SUPPLIER, migrate_on="2023-01-19")
    await stage.week.to_day(hour=6, day=3)
    plan = stage.week.plan([home])[0]
    stage.expect(plan.day.isoformat() == "2023-01-19", "it is planned for the Thursday")
    stage.expect(plan.commissioned_by is CommissionedBy.COMMISSIONING_PARTY, "and commissioned by the CP")
    await stage.week.switch_on(home, stage.config)
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)
    told = sorted(alert for alert in home.alerts if alert.startswith("N55"))
    stage.expect(
        told == ["N55 to gas supplier", "N55 to supplier"], "each N55 goes to the meter's own supplier"
    )


@scenario("split supply, the gas supplier has not authorised: the home does not go", "guide 4.5.5; 4.17")
async def split_supply_one_missing(stage: Set) -> None:
    stage.begin()
    await stage.rig.start()
    home = stage.rig.add_books(stage.config, gas_supplier=GAS_SUPPLIER)
    stage.week.authorise([home], only=SUPPLIER)
    await stage.week.to_day(hour=6)
    stage.expect(not stage.week.plan([home]), "nothing is planned")
    stage.expect(stage.rig.smso.account(home.hub) is Account.SUPPLIER, "the account is the suppliers'")


@scenario("active electricity, dormant gas: the active supplier's word is enough", "guide 2.3.5, 4.5.5; 4.27")
async def active_and_dormant(stage: Set) -> None:
    home = await stage.start(gas=SupplyStatus.DORMANT, gas_supplier=GAS_SUPPLIER)
    await stage.week.run_day([home])
    stage.expect(stage.week.plans[home.hub].gas is not None, "both meters go")
    stage.expect_home(home, DONE)
    stage.expect("N42 to gas supplier" not in home.alerts, "the dormant supplier has given no credentials")


@scenario("an all-dormant home needs no authorisation: it is deemed given", "4.27; guide 2.6.6")
async def all_dormant(stage: Set) -> None:
    home = await stage.start(authorise=False, **DORMANT)
    await stage.week.run_day([home])
    stage.expect(not stage.week.of_kind(FileKind.MA), "there is no MA")
    stage.expect_home(home, DONE)


@scenario("more than one display in an all-dormant home: the one that joined last is filed", "4.34A; 16.17")
async def dormant_newest_display(stage: Set) -> None:
    home = await stage.start(authorise=False, **DORMANT)
    older = stage.extra_display(Role.PPMID, 1, 1_500_000_000_000_000)
    _join_times(home, 1_600_000_000_000_000)
    stage.rig.smso.change_home(replace(home.smso, devices=(*home.smso.devices, older)))
    stage.real(home).chf.device_log.add(
        replace(stage.real(home).chf.device_log.listed()[-1], eui64=older.device)
    )
    await stage.week.run_day([home])
    mcf = stage.week.of_kind(FileKind.MCF)[0].decode()
    newest = stage.real(home).ppmid.eui64
    stage.expect(format_eui64(newest) in mcf, "the MCF has the PPMID that joined last")
    stage.expect(format_eui64(older.device) not in mcf, "and not the older one")
    stage.expect_home(home, DONE)


def _join_times(home: HomeBooks, utc_us: int) -> None:
    """The books say when the PPMID joined."""
    devices = tuple(
        replace(entry, joined_utc_us=utc_us) if entry.device_type is DeviceType.PPMID else entry
        for entry in home.smso.devices
    )
    home.smso = replace(home.smso, devices=devices)


@scenario("more than one display in an active home: rejected until the supplier chooses", "2.5, 2")
async def active_two_displays(stage: Set) -> None:
    home = await stage.start()
    second = stage.extra_display(Role.IHD, 1, 1_500_000_000_000_000)
    home.smso = replace(home.smso, devices=(*home.smso.devices, second))
    log = stage.real(home).chf.device_log
    log.add(replace(log.listed()[-1], eui64=second.device))
    stage.rig.smso.change_home(home.smso)
    silent = stage.extra_display(Role.IHD, 1, 0).device
    await stage.week.run_day([home])
    stage.expect_rejected(home, "2.5", "before the MCF")
    log.remove(silent)
    ihd = stage.real(home).ihd.eui64
    kept = tuple(entry for entry in home.smso.devices if entry.device != silent)
    stage.rig.smso.change_home(replace(home.smso, devices=kept, chosen=frozenset({ihd})))
    stage.say("the supplier has the second IHD taken away")
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)


@scenario("a supplier stops its migrations: what has not begun does not begin", "4.23")
async def supplier_stops(stage: Set) -> None:
    home = await stage.start()
    found = await stage.week.validate(stage.week.plan([home]))
    assert found is not None, "it passes"
    stage.rig.mcc.stop(SUPPLIER, week_of(stage.rig.civil.utc_us()))
    stage.say("the supplier to the MCC: stop migrating my homes")
    mef = await stage.week.hand_over(*found)
    stage.expect(mef is None, "there is no MEF")
    stage.expect_rejected(home, "4.23", "before the MEF")


@scenario("a stop does not reach a home that has begun", "4.23")
async def supplier_stops_too_late(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    stage.rig.mcc.stop(SUPPLIER, week_of(stage.rig.civil.utc_us()))
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


@scenario("the supplier commissions its own devices, from the SCF", "guide 4.5.6.3, 7.2.2")
async def supplier_commissions(stage: Set) -> None:
    stage.begin()
    stage.week.commissions_itself = True
    home = await stage.start()
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)
    cof = stage.week.of_kind(FileKind.COF)[0].decode()
    stage.expect(f"<OriginatorID>{format_eui64(SUPPLIER)}<" in cof, "the requests were the supplier's")


@scenario("SCFs come every hour, each with what has ended since the one before", "guide, steps 18 and 19")
async def hourly_scf(stage: Set) -> None:
    stage.begin(policy=S1spPolicy(attempt_us=2 * _HOUR_US, pause_us=_HOUR_US // 12))
    homes = await stage.move_in(2)
    stage.week.authorise(homes)
    await stage.switch_on_all(homes)
    stage.week.give_mef(await stage.file(*homes))
    await stage.wait_for(lambda: stage.progress(homes[1]).stage is Stage.SECURING)
    mend = stage.cut_off(homes[1], Role.GSME)
    for _ in range(16):
        if stage.week.of_kind(FileKind.SCF):
            break
        await stage.hours(0.25)
    told = [format_eui64(home.hub) in stage.week.of_kind(FileKind.SCF)[0].decode() for home in homes]
    stage.expect(told == [True, False], "the first SCF tells of the home that has ended, and of no other")
    mend()
    await stage.week.until_ended(homes)
    stage.expect(len(stage.week.of_kind(FileKind.SCF)) >= 2, "the other home in a later SCF")
    for home in homes:
        stage.expect(stage.progress(home).stage is Stage.COMMISSIONED, "both are commissioned")
    scfs = [octets.decode() for octets in stage.week.of_kind(FileKind.SCF)]
    counts = [sum(format_eui64(home.hub) in scf for scf in scfs) for home in homes]
    stage.expect(counts == [1, 1], "each home is in exactly one SCF")


@scenario("a priority home goes first", "4.40; guide 4.3.8")
async def priority_first(stage: Set) -> None:
    homes = await stage.move_in(2)
    stage.week.authorise(homes[:1])
    stage.week.is_priority = True
    stage.week.authorise(homes[1:])
    await stage.switch_on_all(homes)
    await stage.week.run_day(homes)
    mcf = stage.week.of_kind(FileKind.MCF)[0].decode()
    first, second = (mcf.index(f"<CHFIdentifier>{format_eui64(home.hub)}") for home in homes)
    stage.expect(second < first, "the priority home is first in the MCF")
    for home in homes:
        stage.expect_home(home, DONE)


@scenario("Installing is done six days ahead, and not again on the day", "16.9")
async def installed_ahead(stage: Set) -> None:
    await _install_ahead(stage, days=6, is_valid=True)


@scenario("Installing was done eight days ahead: it is done again", "16.9")
async def installed_too_early(stage: Set) -> None:
    await _install_ahead(stage, days=8, is_valid=False)


async def _install_ahead(stage: Set, *, days: int, is_valid: bool) -> None:
    stage.begin(start="2023-01-08T06:00:00Z" if days == 8 else "2023-01-10T06:00:00Z")
    await stage.rig.start()
    home = stage.rig.add_books(stage.config)
    await stage.week.switch_on(home, stage.config)
    fault = await stage.rig.s1sp.install_ahead(stage.week.entry(home))
    stage.expect(fault is None, "the S1SP installs the home ahead of its day")
    began_utc_us = stage.rig.civil.utc_us()
    await stage.switch_off(home)
    stage.week.authorise([home], week=date(2023, 1, 16))
    await stage.hours(days * 24)
    await stage.switch_on_again(home)
    await stage.week.run_day([home])
    installed_utc_us = stage.progress(home).installed_utc_us
    text = "the steps of then count" if is_valid else "the steps are done again on the day"
    stage.expect((installed_utc_us - began_utc_us < 3_600_000_000) is is_valid, text)
    is_later = stage.progress(home).secured_utc_us > began_utc_us + days * 86_400_000_000
    stage.expect(is_later, "Securing is not ahead")
    stage.expect_home(home, DONE)
