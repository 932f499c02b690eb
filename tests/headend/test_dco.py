"""The DCO alone: what it consents to, what it refuses, and what a power cut leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.headend.conftest import ESME, GSME, START_UTC_US, SUA_KEY

from smets1.errors import LostError, RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.seed import SeedTree
from smets1.firmware.sua import SuaState, compute_confirmation, compute_sua
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import command_frame, read_command
from smets1.headend.dco import AnomalyLimits, AuthorisationRequest, Dco
from smets1.headend.duis.codes import UserRole
from smets1.headend.srv.critical import Instruction

DAY_US = 86_400_000_000


def supply(status: int, **changes: Any) -> Instruction:
    values = {
        "provider_id": 1,
        "issuer_event_id": 2,
        "request_date_time": 3,
        "implementation_date_time": 0,
        "proposed_supply_status": status,
        "supply_control_bits": 1,
    } | changes
    return Instruction(cluster_id=METERING.cluster_id, frame=command_frame(METERING, "change_supply", values))


DISABLE = AuthorisationRequest(
    instruction_id="a", device=ESME, srv="7.2", role=UserRole.IS, instruction=supply(0)
)


def make(nvm: MemoryNvm | None = None, **limits: int) -> Dco:
    dco = Dco(
        nvm or MemoryNvm(),
        random_octets=SeedTree(1).random("dco").randbytes,
        limits=AnomalyLimits(**limits),
    )
    dco.enrol(ESME, SUA_KEY)
    return dco


def test_one_code_for_exactly_one_instruction() -> None:
    dco = make()
    given = dco.authorise(DISABLE, now_utc_us=START_UTC_US)
    assert given.counter == 1
    assert given.sua == compute_sua(SUA_KEY, ESME, 1, DISABLE.instruction.octets)
    assert given.sua.hex() not in repr(given)
    assert dco.authorise(DISABLE, now_utc_us=START_UTC_US + 1) == given
    other = dco.authorise(replace(DISABLE, instruction_id="b"), now_utc_us=START_UTC_US)
    assert other.counter == 2
    assert other.sua != given.sua
    with pytest.raises(RefusedError, match="another instruction"):
        dco.authorise(replace(DISABLE, instruction=supply(0, provider_id=9)), now_utc_us=START_UTC_US)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": GSME}, "no SUA key"),
        ({"srv": "4.18"}, "not a critical service"),
        ({"srv": "99.9"}, "not a critical service"),
        ({"role": UserRole.ED}, "role ED"),
        ({"instruction": supply(2)}, "not what 7.2 stands for"),
        ({"srv": "7.3"}, "not what 7.3 stands for"),
        ({"instruction": Instruction(cluster_id=0x0705, frame=DISABLE.instruction.frame)}, "stands for"),
        ({"instruction": Instruction(cluster_id=0x0702, frame=b"\x01\x00")}, "stands for"),
    ],
)
def test_refusals(changes: dict[str, Any], reason: str) -> None:
    dco = make()
    with pytest.raises(RefusedError, match=reason):
        dco.authorise(replace(DISABLE, **changes), now_utc_us=START_UTC_US)
    assert dco.authorise(DISABLE, now_utc_us=START_UTC_US).counter == 1, "a refusal uses up no counter"


def test_anomaly_limits() -> None:
    dco = make(per_device=3, in_all=5)
    dco.enrol(GSME, SUA_KEY)
    for name in "abc":
        dco.authorise(replace(DISABLE, instruction_id=name), now_utc_us=START_UTC_US)
    with pytest.raises(RefusedError, match="anomaly"):
        dco.authorise(replace(DISABLE, instruction_id="d"), now_utc_us=START_UTC_US + DAY_US - 1)
    for name in "ef":
        dco.authorise(
            replace(DISABLE, instruction_id=name, device=GSME, role=UserRole.GS), now_utc_us=START_UTC_US
        )
    with pytest.raises(RefusedError, match="all devices"):
        dco.authorise(
            replace(DISABLE, instruction_id="g", device=GSME, role=UserRole.GS), now_utc_us=START_UTC_US
        )
    later = dco.authorise(replace(DISABLE, instruction_id="h"), now_utc_us=START_UTC_US + 2 * DAY_US)
    assert later.counter == 4


@pytest.mark.parametrize("is_written", [False, True])
def test_no_counter_twice_whatever_is_cut(is_written: bool) -> None:
    nvm = MemoryNvm()
    make(nvm).authorise(DISABLE, now_utc_us=START_UTC_US)
    nvm = nvm.after_power_cut(cut_at_commit=1, is_written=is_written)
    with pytest.raises(LostError):
        make(nvm).authorise(replace(DISABLE, instruction_id="b"), now_utc_us=START_UTC_US)
    nvm = nvm.after_power_cut()
    given = make(nvm).authorise(replace(DISABLE, instruction_id="c"), now_utc_us=START_UTC_US)
    assert given.counter == (3 if is_written else 2)


def test_rotation_with_a_device() -> None:
    dco = make()
    device = SuaState(generation=0, counter=0, key=SUA_KEY)
    offer = dco.offer_rotation(ESME, bytes(32), instruction_id="r", now_utc_us=START_UTC_US)
    again = dco.offer_rotation(ESME, b"\x01" * 32, instruction_id="r", now_utc_us=START_UTC_US)
    assert again == offer, "while unconfirmed, the same key"
    authorisation = offer.authorisation
    device = device.authorise(ESME, authorisation.counter, authorisation.sua, offer.instruction.octets)
    name, values = read_command(AUTHORISATION, offer.instruction.frame)
    assert name == "rotate_key"
    device = device.stage(values["generation"], values["wrapped_key"]).activate()
    assert not dco.confirm_rotation(ESME, 1, bytes(16))
    assert not dco.confirm_rotation(ESME, 2, device.confirmation(ESME)[1])
    assert dco.generation(ESME) == 0
    assert dco.confirm_rotation(ESME, *device.confirmation(ESME))
    assert dco.confirm_rotation(ESME, *device.confirmation(ESME)), "saying it again is no error"
    assert dco.generation(ESME) == 1
    assert not dco.confirm_rotation(ESME, 0, compute_confirmation(SUA_KEY, ESME, 0))
    given = dco.authorise(DISABLE, now_utc_us=START_UTC_US)
    assert given.counter == 2, "the counter goes on over a rotation"
    device.authorise(ESME, given.counter, given.sua, DISABLE.instruction.octets)
    with pytest.raises(RefusedError, match="32 octets"):
        dco.offer_rotation(ESME, b"short", instruction_id="s", now_utc_us=START_UTC_US)


def test_keys_survive_and_do_not_show() -> None:
    nvm = MemoryNvm()
    dco = make(nvm)
    dco.offer_rotation(ESME, bytes(32), instruction_id="r", now_utc_us=START_UTC_US)
    assert SUA_KEY.hex() not in repr(dco._get(ESME))
    assert repr(SUA_KEY) not in repr(dco._get(ESME))
    revived = make(nvm.after_power_cut())
    assert revived._get(ESME) == dco._get(ESME)
    revived.enrol(ESME, bytes(16))
    assert revived._get(ESME) == dco._get(ESME), "enrolled once"
    nvm.put(f"device/{ESME:016x}", b"\x00")
    with pytest.raises(LostError):
        dco.generation(ESME)


class FullDisk(MemoryNvm):
    """A storage whose commits fail while `is_full`; what was put stays pending, as in `NvmStore`."""

    is_full = False

    def commit(self) -> None:
        if self.is_full:
            raise LostError("the disk is full")
        super().commit()


def test_what_could_not_be_committed_is_not_said_when_asked_again() -> None:
    nvm = FullDisk()
    dco = make(nvm)
    offer = dco.offer_rotation(ESME, bytes(32), instruction_id="r", now_utc_us=START_UTC_US)
    _, values = read_command(AUTHORISATION, offer.instruction.frame)
    device = SuaState(generation=0, counter=1, key=SUA_KEY)
    held = device.stage(values["generation"], values["wrapped_key"]).activate()
    nvm.is_full = True
    for _ in range(2):
        with pytest.raises(LostError):
            dco.confirm_rotation(ESME, *held.confirmation(ESME))
        with pytest.raises(LostError):
            dco.authorise(DISABLE, now_utc_us=START_UTC_US)
    nvm.is_full = False
    assert dco.confirm_rotation(ESME, *held.confirmation(ESME))
    assert make(nvm.after_power_cut()).generation(ESME) == 1
