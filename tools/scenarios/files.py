"""Files that are refused, each with its clause, while the rest of the batch goes on.

Every scenario here has two homes in two file sets: one whose MEF is spoilt, and one whose MEF is sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial

from smets1.headend.migration.envelope import MAX_FILE_OCTETS, FileSigner, read_kept
from smets1.headend.migration.files import (
    EncryptedInstallation,
    FileKind,
    MasterKeyInformation,
    MigrationCommonFile,
    MigrationGroupEncryptedFile,
    SuaKeyDetails,
)
from smets1.headend.migration.mcc import week_of
from smets1.headend.migration.progress import Stage
from smets1.headend.migration.smso import Account
from smets1.tools.migration.parties import GAS_SUPPLIER, RP
from smets1.tools.migration.rig import HomeBooks
from smets1.tools.scenarios.base import DONE, METERS, Expected, Set, scenario

__all__: list[str] = []


Change = Callable[[MigrationGroupEncryptedFile], MigrationGroupEncryptedFile]


async def _two_homes(stage: Set) -> tuple[HomeBooks, HomeBooks]:
    homes = await stage.move_in(2)
    stage.week.authorise(homes)
    await stage.switch_on_all(homes)
    return homes[0], homes[1]


def _content(mef: bytes) -> MigrationGroupEncryptedFile:
    content = read_kept(mef, FileKind.MEF)
    assert isinstance(content, MigrationGroupEncryptedFile), "as asked for"
    return content


def _sign(stage: Set, content: MigrationGroupEncryptedFile) -> bytes:
    return stage.rig.signer(RP).sign(FileKind.MEF, content, now_utc_us=stage.rig.civil.utc_us())


async def _spoil(stage: Set, clause: str, text: str, make: Callable[[bytes], bytes]) -> None:
    """The first home's MEF is spoilt and refused by both; the second's goes on."""
    spoilt, sound = await _two_homes(stage)
    bad = make(await stage.file(spoilt))
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect_refusal(
        clause,
        lambda: stage.rig.dco_desk.take(FileKind.MEF, bad, now_utc_us=now_utc_us),
        f"the DCO, {text}",
    )
    stage.expect_refusal(clause, lambda: stage.rig.s1sp.take_mef(bad), f"the S1SP, {text}")
    stage.week.take_back()
    account = stage.rig.smso.account(spoilt.hub)
    stage.expect(account is Account.SUPPLIER, "the refused home is the supplier's again")
    stage.expect(stage.rig.s1sp.home(spoilt.hub) is None, "nothing was begun with it")
    await stage.week.run_day([sound])
    stage.expect_home(sound, DONE)
    stage.expect(
        stage.real(spoilt).gsme.authorisation.generation == 0, "the refused home's keys are as they were"
    )


async def _change(stage: Set, clause: str, text: str, change: Change) -> None:
    await _spoil(stage, clause, text, lambda mef: _sign(stage, change(_content(mef))))


def _homes(content: MigrationGroupEncryptedFile, **changes: object) -> MigrationGroupEncryptedFile:
    homes = tuple(replace(home, **changes) for home in content.installations)  # type: ignore[arg-type]
    return replace(content, installations=homes)


@scenario(
    "an MCF of another group, for another S1SP, tampered, sent again: refused, the batch goes on", "5.9"
)
async def mcf_refused(stage: Set) -> None:
    home = await stage.start(METERS)
    found = await stage.rig.rp.prepare(stage.week.plan([home]))
    assert found is not None, "the home passes"
    content = read_kept(found.mcf, FileKind.MCF)
    assert isinstance(content, MigrationCommonFile), "as asked for"
    tampered = found.mcf.replace(b"<Priority>false", b"<Priority>true")
    stage.expect_refusal("5.9.2", lambda: stage.rig.s1sp.take_mcf(tampered), "the S1SP, a word changed")
    for clause, change, text in (
        ("16.1", {"group_id": "CA"}, "Group ID CA"),
        ("5.9.4", {"s1sp": RP}, "another S1SP"),
    ):
        other = replace(content, header=replace(content.header, **change))
        octets = stage.rig.signer(RP).sign(FileKind.MCF, other, now_utc_us=stage.rig.civil.utc_us())
        stage.expect_refusal(clause, partial(stage.rig.s1sp.take_mcf, octets), f"the S1SP, {text}")
    stage.expect(stage.rig.s1sp.home(home.hub) is None, "nothing was begun")
    await stage.week.run_day([home])
    stage.expect_home(home, DONE)
    stage.expect_refusal(
        "5.9.5", lambda: stage.rig.s1sp.take_mcf(stage.week.of_kind(FileKind.MCF)[0]), "the same MCF again"
    )


@scenario("an MEF for DA with EncryptedS1SPGroupInformation", "16.16")
async def mef_with_group_information(stage: Set) -> None:
    await _change(
        stage,
        "16.16",
        "EncryptedS1SPGroupInformation for DA",
        lambda content: _homes(content, s1sp_group_information=b"WAN details"),
    )


@scenario("an MEF for DA with an EncryptedMasterKey in place of SUAKeyDetails", "16.16")
async def mef_with_master_key(stage: Set) -> None:
    key = MasterKeyInformation(encrypted_master_key=bytes(40), sua_keys=None)
    await _change(
        stage, "16.16", "EncryptedMasterKey for DA", lambda content: _homes(content, master_key=key)
    )


@scenario("an MEF for DA without any key", "16.16")
async def mef_without_keys(stage: Set) -> None:
    await _change(stage, "16.16", "no SUAKeyDetails", lambda content: _homes(content, master_key=None))


@scenario("an MEF of another Group ID than its MCF", "16.4, 16.5")
async def mef_of_another_group(stage: Set) -> None:
    await _change(
        stage,
        "16.4",
        "Group ID CA",
        lambda content: replace(content, header=replace(content.header, group_id="CA")),
    )


@scenario("an MEF whose Migration Header is not that of any MCF", "16.4, 16.5")
async def mef_with_mixed_headers(stage: Set) -> None:
    await _change(
        stage,
        "16.4",
        "another file set",
        lambda content: replace(content, header=replace(content.header, file_set=77)),
    )


@scenario("an MEF more than 24 hours after its MVF", "guide 7.2.1, step 13")
async def mef_expired(stage: Set) -> None:
    home, sound = await _two_homes(stage)
    mef = await stage.file(home)
    for each in (home, sound):
        await stage.switch_off(each)
    await stage.hours(24.1)
    stage.expect_refusal("5.20", lambda: stage.rig.s1sp.take_mef(mef), "the S1SP, a day late")
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect_refusal(
        "16.4",
        lambda: stage.rig.dco_desk.take(FileKind.MEF, mef, now_utc_us=now_utc_us),
        "the DCO, set dropped",
    )
    stage.week.take_back()
    stage.expect(stage.rig.smso.account(home.hub) is Account.SUPPLIER, "the account is the supplier's again")
    await stage.switch_on_again(sound)
    await stage.week.run_day([sound])
    stage.expect_home(sound, DONE)


@scenario("an MEF with one octet changed on its way", "5.9.2")
async def mef_tampered(stage: Set) -> None:
    def tamper(mef: bytes) -> bytes:
        at = mef.index(b"<EncryptedSUAKey>") + 40
        return mef[:at] + bytes([mef[at] ^ 1 if chr(mef[at] ^ 1).isalnum() else 65]) + mef[at + 1 :]

    await _spoil(stage, "5.9.2", "an octet of a ciphertext is another", tamper)


@scenario("an MEF signed by somebody whom nobody knows", "5.9.2")
async def mef_of_a_stranger(stage: Set) -> None:
    def forge(mef: bytes) -> bytes:
        signer = FileSigner(stage.rig.pki.stranger, stage.rig.nvm("stranger"))
        return signer.sign(FileKind.MEF, _content(mef), now_utc_us=stage.rig.civil.utc_us())

    await _spoil(stage, "5.9.2", "an unknown certificate", forge)


@scenario("an MEF signed by a supplier, who may not send one", "5.9.3")
async def mef_of_a_supplier(stage: Set) -> None:
    def forge(mef: bytes) -> bytes:
        signer = stage.rig.signer(stage.rig.books[next(iter(stage.rig.books))].electricity.supplier)
        return signer.sign(FileKind.MEF, _content(mef), now_utc_us=stage.rig.civil.utc_us())

    await _spoil(stage, "5.9.3", "a supplier's signature", forge)


@scenario("an MEF of 200 MB", "5.9.1")
async def mef_of_200_mb(stage: Set) -> None:
    def swell(mef: bytes) -> bytes:
        blown = mef.replace(b"<Content>", b"<Content>" + b" " * (200 * 1024 * 1024), 1)
        assert len(blown) > 100 * MAX_FILE_OCTETS, "large"
        return blown

    await _spoil(stage, "5.9.1", "200 MB", swell)


@scenario("an MEF that is no XML, or opens a document type", "5.9.1")
async def mef_not_well_formed(stage: Set) -> None:
    await _spoil(stage, "5.9.1", "a document type with an entity", _with_doctype)


def _with_doctype(mef: bytes) -> bytes:
    bomb = b'<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    return mef.replace(b"?>", b"?>" + bomb, 1)


@scenario("an MEF sent again: its counter is used, nothing happens twice", "5.9.5")
async def mef_replayed(stage: Set) -> None:
    home = await stage.start()
    mef = await stage.file(home)
    stage.week.give_mef(mef)
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)
    counter = stage.real(home).gsme.authorisation.counter
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect_refusal("5.9.5", lambda: stage.rig.s1sp.take_mef(mef), "the S1SP, a replay")
    stage.expect_refusal(
        "5.9.5",
        lambda: stage.rig.dco_desk.take(FileKind.MEF, mef, now_utc_us=now_utc_us),
        "the DCO, a replay",
    )
    again = _sign(stage, _content(mef))
    stage.expect_refusal("5.9.6", lambda: stage.rig.s1sp.take_mef(again), "the same under a new counter")
    stage.expect(stage.real(home).gsme.authorisation.counter == counter, "the GSME was asked nothing more")
    stage.expect(stage.progress(home).stage is Stage.COMMISSIONED, "the home stays commissioned")


@scenario("an MEF that names a home which the MCF has not", "5.25.1.1")
async def mef_with_a_foreign_home(stage: Set) -> None:
    spoilt, sound = await _two_homes(stage)
    content = _content(await stage.file(spoilt))
    extra = replace(content.installations[0], hub=sound.hub)
    bad = _sign(stage, replace(content, installations=(*content.installations, extra)))
    stage.expect_refusal("5.25.1.1", lambda: stage.rig.s1sp.take_mef(bad), "a home that the MCF has not")
    stage.expect(stage.rig.s1sp.home(sound.hub) is None, "nothing was begun with it")
    await stage.week.run_day([sound])
    stage.expect_home(sound, DONE)


@scenario(
    "the EncryptedSUAKeys of two meters are exchanged: the DCO does not find the home viable", "16.7; 11.3"
)
async def mef_keys_exchanged(stage: Set) -> None:
    home = await stage.start()
    mef = _sign(stage, _exchange(_content(await stage.file(home))))
    stage.week.give_mef(mef)
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, account=Account.SUPPLIER))
    stage.expect(stage.progress(home).clause == "16.7", "for 16.7, which the SCF says")


def _exchange(content: MigrationGroupEncryptedFile) -> MigrationGroupEncryptedFile:
    def swap(home: EncryptedInstallation) -> EncryptedInstallation:
        assert home.master_key is not None
        assert home.master_key.sua_keys is not None
        first, second = home.master_key.sua_keys.details
        swapped = (
            replace(first, encrypted=second.encrypted),
            replace(second, encrypted=first.encrypted),
        )
        keys = SuaKeyDetails(details=swapped)
        return replace(home, master_key=replace(home.master_key, sua_keys=keys))

    return replace(content, installations=tuple(swap(home) for home in content.installations))


@scenario("an MEF without the key of the GSME: not viable, handed back", "16.7")
async def mef_lacks_a_meter(stage: Set) -> None:
    home = await stage.start()
    content = _content(await stage.file(home))
    first = content.installations[0]
    assert first.master_key is not None
    assert first.master_key.sua_keys is not None
    esme = stage.real(home).esme.eui64
    kept = tuple(detail for detail in first.master_key.sua_keys.details if detail.device == esme)
    keys = MasterKeyInformation(encrypted_master_key=None, sua_keys=SuaKeyDetails(details=kept))
    stage.week.give_mef(_sign(stage, _homes(content, master_key=keys)))
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, account=Account.SUPPLIER))
    stage.expect(stage.progress(home).clause == "16.7", "for 16.7, which the SCF says")


@scenario("an MA after Thursday 10:00, and one for another's meter point", "4.17; guide 4.5.5")
async def ma_refused(stage: Set) -> None:
    stage.begin()
    await stage.rig.start()
    home = stage.rig.add_books(stage.config)
    foreign = replace(home, electricity=replace(home.electricity, supplier=GAS_SUPPLIER), gas=None)
    stage.expect_refusal(
        "4.17", lambda: stage.week.authorise([foreign]), "on Thursday, for another supplier's meter point"
    )
    await stage.week.to_day(hour=6)
    await stage.week.switch_on(home, stage.config)
    stage.expect_refusal("4.17", lambda: stage.week.authorise([home], week=_this_week(stage)), "a late MA")
    stage.expect(not stage.week.plan([home]), "nothing is planned")
    stage.expect(stage.rig.smso.account(home.hub) is Account.SUPPLIER, "the account is the supplier's")


def _this_week(stage: Set) -> date:
    return week_of(stage.rig.civil.utc_us())
