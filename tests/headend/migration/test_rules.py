"""Rules of time and shape: the UTRN Period, timers of file sets, shapes of the groups, the disconnection."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tests.headend.migration.samples import HEADER, HOME, encrypted, mef

from smets1.errors import RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.headend.migration.envelope import FileRefusedError
from smets1.headend.migration.file_set import (
    GROUPS,
    check_header,
    check_shape,
    missing_keys,
    required_files,
)
from smets1.headend.migration.files import (
    EncryptedInstallation,
    FileKind,
    MasterKeyInformation,
    MigrationCommonFile,
)
from smets1.headend.migration.registry import MONTH_US, EligibleProducts, EpclEntry
from smets1.headend.migration.separation import Interface, Separation
from smets1.headend.migration.timers import FileSetTimes, Verdict
from smets1.headend.migration.utrn_period import UTRN_PERIOD_US, Channel, Maker, rule

HOUR_US = 3_600_000_000
SECOND_US = 1_000_000
BEGUN = {"ESME": 1_000 * HOUR_US, "GSME": 1_001 * HOUR_US}  # each meter's own 8.1.1


def maker(channel: Channel, now_utc_us: int, begun_utc_us: int, *, pence: int = 500) -> tuple[Maker, str]:
    """Before its beginning nobody knows of it."""
    known = begun_utc_us if now_utc_us >= begun_utc_us else None
    ruling = rule(channel, amount_pence=pence, begun_utc_us=known, is_with_dcc=True, now_utc_us=now_utc_us)
    assert bool(ruling.reason) is (ruling.maker is Maker.NOBODY)
    return ruling.maker, ruling.clause


def test_the_boundaries_of_the_utrn_period() -> None:
    """8.1.1 -1 s, +1 s, +48 h -1 s, +48 h +1 s, by payment provider and supplier, per device."""
    began_s = time.monotonic()
    for begun in BEGUN.values():
        end = begun + UTRN_PERIOD_US
        expected = {
            begun - SECOND_US: ((Maker.SMSO, ""), (Maker.NOBODY, "6.7"), (Maker.NOBODY, "3.14C")),
            begun: ((Maker.S1SP, ""), (Maker.NOBODY, "3.14C"), (Maker.S1SP, "")),
            begun + SECOND_US: ((Maker.S1SP, ""), (Maker.NOBODY, "3.14C"), (Maker.S1SP, "")),
            end - SECOND_US: ((Maker.S1SP, ""), (Maker.NOBODY, "3.14C"), (Maker.S1SP, "")),
            end: ((Maker.NOBODY, "3.14D"), (Maker.NOBODY, "3.14C"), (Maker.S1SP, "")),
            end + SECOND_US: ((Maker.NOBODY, "3.14D"), (Maker.NOBODY, "3.14C"), (Maker.S1SP, "")),
        }
        for now, wanted in expected.items():
            found = tuple(maker(channel, now, begun) for channel in Channel)
            assert found == wanted, now - begun
            assert {maker(channel, now, begun, pence=-1) for channel in Channel} == {(Maker.NOBODY, "3.14B")}
    assert time.monotonic() - began_s < 1


def test_before_the_switch_the_supplier_asks_the_smso() -> None:
    ruling = rule(Channel.SMSO, amount_pence=0, begun_utc_us=None, is_with_dcc=False, now_utc_us=1)
    assert ruling.maker is Maker.SMSO


@pytest.mark.parametrize(
    ("times", "after_us", "verdict"),
    [
        (FileSetTimes(mvf_utc_us=0, mcf_utc_us=0), 24 * HOUR_US, Verdict.DROP_SET),
        (FileSetTimes(mvf_utc_us=0, mef_utc_us=0), 24 * HOUR_US, Verdict.DROP_SET),
        (FileSetTimes(mvf_utc_us=0, mcf_utc_us=0, mef_utc_us=0), 48 * HOUR_US, Verdict.DROP_SILENT_MEF),
        (
            FileSetTimes(mvf_utc_us=0, mcf_utc_us=0, mef_utc_us=0, heard_utc_us=9),
            1440 * HOUR_US,
            Verdict.DROP_OLD_MEF,
        ),
    ],
)
def test_timers_of_a_file_set(times: FileSetTimes, after_us: int, verdict: Verdict) -> None:
    assert times.verdict(after_us) is Verdict.KEEP, "at its exact end it is still kept"
    assert times.verdict(after_us + 1) is verdict


def test_an_mef_that_comes_late() -> None:
    assert not FileSetTimes(mvf_utc_us=0).is_late_mef(24 * HOUR_US)
    assert FileSetTimes(mvf_utc_us=0).is_late_mef(24 * HOUR_US + 1)
    assert not FileSetTimes().is_late_mef(99 * HOUR_US)


def of_another_group(**changes: bytes | None) -> EncryptedInstallation:
    master = MasterKeyInformation(encrypted_master_key=b"key", sua_keys=None)
    home = EncryptedInstallation(hub=HOME.hub, s1sp_group_information=b"info", master_key=master)
    return replace(home, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_its_shape(group: str) -> None:
    header = replace(HEADER, group_id=group)
    right, wrong = (encrypted(), of_another_group()) if group == "DA" else (of_another_group(), encrypted())
    check_shape(mef(right, header=header))
    with pytest.raises(FileRefusedError) as caught:
        check_shape(mef(right, wrong, header=header))
    assert caught.value.clause == {"CA": "12.15", "DA": "16.16", "EA": "14.16", "EB": "14.16"}[group]
    assert (FileKind.MGF in required_files(group)) is (group != "DA")


def test_a_shape_between_the_groups() -> None:
    both = MasterKeyInformation(
        encrypted_master_key=b"key",
        sua_keys=encrypted().master_key.sua_keys,  # type: ignore[union-attr]
    )
    for home in (
        replace(encrypted(), master_key=both),
        replace(encrypted(), master_key=None),
        replace(encrypted(), s1sp_group_information=b"info"),
    ):
        with pytest.raises(FileRefusedError):
            check_shape(mef(home))
    with pytest.raises(FileRefusedError):
        check_shape(mef(header=replace(HEADER, group_id="ZZ")))


def test_every_field_of_the_header_counts() -> None:
    common = MigrationCommonFile(header=HEADER, installations=(HOME,))
    assert check_header(HEADER, common) is common
    for changes in ({"file_set": 2}, {"s1sp": 1}, {"requesting_party": 1}, {"group_id": "CA"}):
        with pytest.raises(FileRefusedError) as caught:
            check_header(replace(HEADER, **changes), common)  # type: ignore[arg-type]
        assert caught.value.clause == "16.4"
    with pytest.raises(FileRefusedError):
        check_header(HEADER, None)


def test_a_key_for_each_meter_and_no_other() -> None:
    home = encrypted()
    assert missing_keys(HOME, home) == []
    sua_keys = home.master_key.sua_keys  # type: ignore[union-attr]
    assert sua_keys is not None
    for details in (
        sua_keys.details[:1],
        sua_keys.details * 2,
        (*sua_keys.details, replace(sua_keys.details[0], device=1)),
    ):
        master = MasterKeyInformation(encrypted_master_key=None, sua_keys=replace(sua_keys, details=details))
        assert missing_keys(HOME, replace(home, master_key=master))


def test_the_disconnection_cannot_be_undone() -> None:
    products, nvm = EligibleProducts(), MemoryNvm()
    separation = Separation(nvm, products, "DA")
    assert separation.due_utc_us(0) is None
    with pytest.raises(RefusedError, match=r"3\.14E"):
        separation.cut(0)
    products.add(EpclEntry(group_id="DA", combination=HOME.combination, approved_utc_us=0))
    year_us = 12 * MONTH_US
    assert separation.due_utc_us(year_us - 1) is None, "another entry may come"
    assert separation.due_utc_us(year_us) == 15 * MONTH_US
    separation.require(Interface.UTRN)
    separation.cut(year_us)
    for again in (separation, Separation(nvm.after_power_cut(), EligibleProducts(), "DA")):
        for interface in Interface:
            with pytest.raises(RefusedError, match=r"3\.14E"):
                again.require(interface)
        assert all(line.is_cut for line in again.audit())
