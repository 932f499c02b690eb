"""The DCO's side: takes files by itself, finds homes viable or not, drops what is overdue, keeps what it must."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.headend.migration.samples import HEADER, HOME, HUB, NOW_UTC_US, PKI, encrypted, mef

from smets1.errors import RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.sua import SuaState
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import read_command
from smets1.headend.dco import Dco
from smets1.headend.migration.dco_desk import DcoDesk
from smets1.headend.migration.envelope import FileRefusedError, FileSigner, Receiver
from smets1.headend.migration.files import (
    EncryptedInstallation,
    FileKind,
    MasterKeyInformation,
    MigrationCommonFile,
    MigrationCommonValidationFile,
    MigrationFile,
    SuaKeyDetail,
    SuaKeyDetails,
    ValidatedInstallation,
    ValidationFailure,
)
from smets1.headend.migration.sua_envelope import SuaCredential, seal_credential
from smets1.headend.migration.timers import Verdict
from smets1.tools.migration.parties import RP, S1SP

HOUR_US = 3_600_000_000
KEYS = {meter: bytes([index]) * 16 for index, meter in enumerate(HOME.meters)}


class Desk:
    """A DCO with everything around it; files are signed and given at `now_utc_us`."""

    def __init__(self, nvm: MemoryNvm | None = None) -> None:
        self.nvm = nvm or MemoryNvm()
        self.now_utc_us = NOW_UTC_US
        self.signers = {party: FileSigner(PKI.credentials[party], MemoryNvm()) for party in (RP, S1SP)}
        self.open(self.nvm)

    def open(self, nvm: MemoryNvm) -> None:
        self.nvm = nvm
        self.dco = Dco(nvm, random_octets=bytes)
        self.desk = DcoDesk(
            self.dco,
            receiver=Receiver(PKI.verifier(), nvm),
            nvm=nvm,
            group_keys={"DA": PKI.group_key("DA")},
            requesting_parties=frozenset({RP}),
            s1sps=frozenset({S1SP}),
        )

    def give(self, kind: FileKind, content: MigrationFile, *, by: int = RP) -> None:
        octets = self.signers[by].sign(kind, content, now_utc_us=self.now_utc_us)
        self.desk.take(kind, octets, now_utc_us=self.now_utc_us)

    def give_all(self, home: EncryptedInstallation | None = None, *, is_valid: bool = True) -> None:
        failures = () if is_valid else (ValidationFailure(check=1, clause="5.10.1", reason="no"),)
        validated = ValidatedInstallation(hub=HUB, failures=failures)
        self.give(FileKind.MCF, MigrationCommonFile(header=HEADER, installations=(HOME,)))
        mvf = MigrationCommonValidationFile(header=HEADER, installations=(validated,))
        self.give(FileKind.MVF, mvf, by=S1SP)
        self.give(FileKind.MEF, mef(home or sealed()))

    def take_over(self) -> tuple[bool, str]:
        found = self.desk.take_over(HEADER, HUB, now_utc_us=self.now_utc_us)
        return found.is_viable, found.clause


def sealed(**hubs: int) -> EncryptedInstallation:
    details = tuple(
        SuaKeyDetail(
            device=meter,
            encrypted=seal_credential(
                SuaCredential(key=key, generation=0, counter=7),
                device=meter,
                hub=hubs.get("hub", HUB),
                group_id="DA",
                recipient=PKI.group_key("DA").public_key(),
                ephemeral=ec.derive_private_key(meter, ec.SECP256R1()),
            ),
        )
        for meter, key in KEYS.items()
    )
    master = MasterKeyInformation(encrypted_master_key=None, sua_keys=SuaKeyDetails(details=details))
    return replace(encrypted(), master_key=master)


def rotate(desk: Desk, meter: int) -> None:
    offer = desk.dco.offer_rotation(meter, bytes(32), instruction_id="r", now_utc_us=desk.now_utc_us)
    _, values = read_command(AUTHORISATION, offer.instruction.frame)
    device = SuaState(generation=0, counter=8, key=KEYS[meter])
    held = device.stage(values["generation"], values["wrapped_key"]).activate()
    assert desk.dco.confirm_rotation(meter, *held.confirmation(meter))


def test_a_viable_home_and_its_way_back() -> None:
    desk = Desk()
    desk.give_all()
    assert desk.take_over() == (True, "")
    assert desk.take_over() == (True, ""), "asked again, the same"
    assert all(desk.dco.is_enrolled(meter) for meter in HOME.meters)
    desk.open(desk.nvm.after_power_cut())
    assert desk.take_over() == (True, "")
    desk.desk.discard(HUB)
    desk.desk.discard(HUB)
    assert not any(desk.dco.is_enrolled(meter) for meter in HOME.meters)


def test_no_way_back_after_a_rotation() -> None:
    """16.11, whatever the S1SP says: or it could strand every home that it ever migrated."""
    desk = Desk()
    desk.give_all()
    assert desk.take_over() == (True, "")
    rotate(desk, HOME.meters[0])
    with pytest.raises(RefusedError, match=r"16\.11"):
        desk.desk.discard(HUB)
    assert all(desk.dco.is_enrolled(meter) for meter in HOME.meters), "neither key is gone"
    assert desk.take_over()[0]
    assert desk.dco.generation(HOME.meters[0]) == 1, "asked again, the new key stays"


@pytest.mark.parametrize(
    ("home", "is_valid", "clause"),
    [
        (sealed(), False, "5.10"),
        (sealed(hub=HUB + 1), True, "16.7"),
        (encrypted(), True, "16.7"),
        (replace(sealed(), hub=HUB + 9), True, "16.5"),
    ],
)
def test_homes_that_are_not_viable(home: EncryptedInstallation, is_valid: bool, clause: str) -> None:
    desk = Desk()
    desk.give_all(home, is_valid=is_valid)
    assert desk.take_over() == (False, clause)
    assert not any(desk.dco.is_enrolled(meter) for meter in HOME.meters)


def test_what_is_overdue_is_dropped() -> None:
    desk = Desk()
    desk.give_all()
    desk.now_utc_us += 48 * HOUR_US
    assert desk.desk.expire(now_utc_us=desk.now_utc_us) == []
    desk.now_utc_us += 1
    assert desk.desk.expire(now_utc_us=desk.now_utc_us) == [(1, Verdict.DROP_SILENT_MEF)]
    assert desk.take_over() == (False, "16.5")


def test_a_set_that_was_heard_of_is_kept_for_60_days() -> None:
    desk = Desk()
    desk.give_all()
    assert desk.take_over()[0]
    desk.now_utc_us += 60 * 24 * HOUR_US
    assert desk.desk.expire(now_utc_us=desk.now_utc_us) == []
    assert desk.desk.expire(now_utc_us=desk.now_utc_us + 1) == [(1, Verdict.DROP_OLD_MEF)]
    assert all(desk.dco.is_enrolled(meter) for meter in HOME.meters), "keys in use stay"


def test_files_out_of_order() -> None:
    desk = Desk()
    with pytest.raises(FileRefusedError) as caught:
        desk.give(FileKind.MEF, mef(sealed()))
    assert caught.value.clause == "16.4"
    desk.give_all()
    with pytest.raises(FileRefusedError) as caught:
        desk.give(FileKind.MCF, MigrationCommonFile(header=HEADER, installations=(HOME,)))
    assert caught.value.clause == "5.9.6"
    with pytest.raises(FileRefusedError) as caught:
        desk.give(FileKind.MEF, mef(sealed()))
    assert caught.value.clause == "5.9.6"
    other = replace(HEADER, group_id="CA", file_set=2)
    with pytest.raises(FileRefusedError) as caught:
        desk.give(FileKind.MCF, MigrationCommonFile(header=other, installations=(HOME,)))
    assert caught.value.clause == "5.4A"
