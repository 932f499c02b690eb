"""The device's side of Critical Instructions and of the key rotation."""

from __future__ import annotations

import csv

import pytest

from smets1.devices.authorisation import CRITICAL, AuthorisationCore, critical_srv, is_critical
from smets1.errors import DecodeError, SecurityError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.sua import compute_sua, instruction_octets, is_confirmation, wrap_key
from smets1.firmware.zcl.clusters.smets1 import MANUFACTURER_CODE, CriticalStatus
from smets1.firmware.zcl.frame import ZclHeader
from smets1.firmware.zcl.status import FrameType, Side

ESME = 0x00DB1234567890A0
KEY, NEW_KEY = bytes(range(16)), bytes(range(16, 32))
METERING, AUTHORISATION = 0x0702, 0xFC01
DISABLE = (
    ZclHeader(frame_type=FrameType.CLUSTER, sequence=1, command_id=0x0B).encode() + b"\x00" * 18 + b"\x00"
)
GET_PROFILE = ZclHeader(frame_type=FrameType.CLUSTER, sequence=1, command_id=0x00).encode() + bytes(6)
ROTATE = ZclHeader(
    frame_type=FrameType.CLUSTER, manufacturer_code=MANUFACTURER_CODE, sequence=1, command_id=0x01
).encode()


def core(nvm=None) -> AuthorisationCore:
    subject = AuthorisationCore(device=ESME, nvm=nvm if nvm is not None else MemoryNvm())
    if not subject.has_key:
        subject.provision(KEY)
    return subject


def ask(subject, counter, *, key=KEY, device=ESME, cluster=METERING, frame=DISABLE, signed=None):
    instruction = instruction_octets(cluster, frame if signed is None else signed)
    sua = compute_sua(key, device, counter, instruction)
    return subject.authorise(counter=counter, sua=sua, cluster_id=cluster, frame=frame)


def test_granted_once_and_committed_before_it_is_executed():
    nvm = MemoryNvm()
    subject = core(nvm)
    assert ask(subject, 1).is_granted
    assert core(nvm.after_power_cut()).counter == 1
    assert ask(subject, 1).status is CriticalStatus.COUNTER_USED
    assert ask(core(nvm.after_power_cut()), 1).status is CriticalStatus.COUNTER_USED


def test_counters_may_be_left_out_but_not_go_back():
    subject = core()
    assert ask(subject, 10).is_granted
    assert ask(subject, 9).status is CriticalStatus.COUNTER_USED
    assert ask(subject, 11).is_granted


@pytest.mark.parametrize(
    "forgery",
    [
        {"key": NEW_KEY},
        {"device": ESME + 1},  # right code, for another device
        {"signed": DISABLE + b"\x01"},  # right code, for another instruction
    ],
)
def test_a_wrong_code_is_refused_and_uses_up_no_counter(forgery):
    subject = core()
    assert ask(subject, 5, **forgery).status is CriticalStatus.WRONG_CODE
    assert ask(subject, 5).is_granted


@pytest.mark.parametrize("sua", [b"", bytes(15), bytes(16), bytes(17)])
def test_codes_of_any_length_are_only_wrong(sua):
    verdict = core().authorise(counter=1, sua=sua, cluster_id=METERING, frame=DISABLE)
    assert (verdict.status, verdict.is_granted) == (CriticalStatus.WRONG_CODE, False)


def test_what_is_not_critical_must_come_without():
    assert ask(core(), 1, frame=GET_PROFILE).status is CriticalStatus.NOT_CRITICAL
    assert ask(core(), 1, cluster=0x0000).status is CriticalStatus.NOT_CRITICAL


def test_a_frame_that_is_none_is_malformed():
    assert ask(core(), 1, frame=b"\x01").status is CriticalStatus.MALFORMED


def test_a_device_without_a_key_obeys_nobody():
    subject = AuthorisationCore(device=ESME, nvm=MemoryNvm())
    assert ask(subject, 1).status is CriticalStatus.NO_KEY
    with pytest.raises(SecurityError):
        subject.stage(1, bytes(24))
    with pytest.raises(SecurityError):
        subject.confirmation()
    assert (subject.generation, subject.counter, subject.is_push_due) == (0, 0, False)


def test_rotation():
    nvm = MemoryNvm()
    subject = core(nvm)
    assert ask(subject, 1, cluster=AUTHORISATION, frame=ROTATE).is_granted
    answer = subject.stage(1, wrap_key(KEY, NEW_KEY))
    assert answer.generation == 1
    assert is_confirmation(answer.confirmation, NEW_KEY, ESME, 1)
    subject.drop_old_key()
    assert ask(subject, 2).status is CriticalStatus.WRONG_CODE
    assert ask(subject, 2, key=NEW_KEY).is_granted
    assert ask(core(nvm.after_power_cut()), 3, key=NEW_KEY).is_granted


def test_rotation_asked_for_again_is_confirmed_again():
    subject = core()
    first = subject.stage(1, wrap_key(KEY, NEW_KEY))
    assert subject.stage(1, wrap_key(KEY, NEW_KEY)) == first  # before the old key is dropped
    subject.drop_old_key()
    assert subject.stage(1, wrap_key(KEY, NEW_KEY)) == first  # and after
    subject.drop_old_key()
    assert subject.generation == 1


def test_power_cut_between_staging_and_dropping_leaves_either_key_good():
    for key in (KEY, NEW_KEY):
        nvm = MemoryNvm()
        core(nvm).stage(1, wrap_key(KEY, NEW_KEY))
        again = core(nvm.after_power_cut())
        assert again.is_push_due
        assert ask(again, 1, key=key).is_granted
    assert ask(again, 2, key=KEY).status is CriticalStatus.WRONG_CODE  # the new key was used: it stays


@pytest.mark.parametrize("generation", [0, 2, 7])
def test_rotation_to_a_wrong_generation_is_refused(generation):
    subject = core()
    with pytest.raises(SecurityError):
        subject.stage(generation, wrap_key(KEY, NEW_KEY))
    assert ask(subject, 1).is_granted


def test_rotation_with_a_foreign_wrapped_key_is_refused():
    subject = core()
    with pytest.raises(SecurityError):
        subject.stage(1, wrap_key(NEW_KEY, NEW_KEY))
    with pytest.raises(DecodeError):
        subject.stage(1, b"short")
    assert (subject.generation, subject.is_push_due) == (0, False)


def test_the_generation_is_pushed_until_acknowledged():
    nvm = MemoryNvm()
    subject = core(nvm)
    assert not subject.is_push_due
    subject.stage(1, wrap_key(KEY, NEW_KEY))
    subject.drop_old_key()
    subject.acknowledge(0)
    assert core(nvm.after_power_cut()).is_push_due
    subject.acknowledge(1)
    assert not subject.is_push_due
    assert not core(nvm.after_power_cut()).is_push_due


def test_no_key_in_the_repr():
    assert KEY.hex() not in repr(core()) + repr(vars(core())["_state"])


def test_direction_and_frame_type_matter():
    response = ZclHeader(
        frame_type=FrameType.CLUSTER, sender=Side.SERVER, sequence=1, command_id=0x0B
    ).encode()
    read = ZclHeader(frame_type=FrameType.GLOBAL, sequence=1, command_id=0x00).encode()
    write = ZclHeader(frame_type=FrameType.GLOBAL, sequence=1, command_id=0x02).encode()
    assert is_critical(METERING, DISABLE)
    assert critical_srv(METERING, DISABLE) == ("7.1", "7.2", "7.3")
    assert not is_critical(METERING, response)
    assert not is_critical(0x000A, read)
    assert is_critical(0x000A, write)
    assert not is_critical(METERING, b"")
    assert critical_srv(METERING, read) == ()


def test_the_table_names_every_critical_smets1_service_of_the_catalogue(shared_dir):
    with (shared_dir / "facts" / "srv-catalogue.csv").open() as file:
        wanted = {
            row["srv"] for row in csv.DictReader(file) if row["smets1"] == "yes" and row["critical"] == "yes"
        }
    at_the_hub = {"8.7.1", "8.8.1"}  # change the hub's device log, not a meter
    at_the_dsp = {"6.23"}
    named = {srv for command in CRITICAL for srv in command.srvs}
    assert named <= wanted
    assert wanted - named - at_the_hub - at_the_dsp == set()
