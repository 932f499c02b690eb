"""The DCO as a party of its own: timers, limits, key packages; attackers with half of the whole."""

from __future__ import annotations

from smets1.devices.meter_device import MeterDevice
from smets1.errors import LostError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.civil import zigbee_s
from smets1.firmware.sua import compute_sua
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.headend.dco import AnomalyLimits, AuthorisationRequest
from smets1.headend.duis.codes import UserRole
from smets1.headend.migration.envelope import read_kept
from smets1.headend.migration.files import FileKind, MigrationGroupEncryptedFile
from smets1.headend.migration.progress import Row, Stage
from smets1.headend.migration.smso import Account
from smets1.headend.migration.sua_envelope import open_credential
from smets1.headend.srv import frames
from smets1.headend.srv.critical import Authorisation, Instruction
from smets1.headend.vault import VaultNvm
from smets1.tools.home_config import Role
from smets1.tools.migration.rig import GROUP, HomeBooks
from smets1.tools.scenarios.base import DONE, Expected, Set, scenario

__all__: list[str] = []


@scenario(
    "the S1SP is silent for 48 hours after the MEF: the DCO drops it, the home is handed back", "guide, 13"
)
async def dco_drops_silent_mef(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.rig.s1sp.close()
    stage.say("[fault] the S1SP is killed before it has asked the DCO anything")
    await stage.switch_off(home)
    await stage.hours(48.5)
    dropped = stage.rig.own_desk.expire(now_utc_us=stage.rig.civil.utc_us())
    stage.say(f"the DCO drops: {', '.join(verdict for _, verdict in dropped)}")
    stage.expect(bool(dropped), "the DCO has dropped the MEF")
    await stage.switch_on_again(home)
    stage.rig.restart_s1sp()
    await stage.week.until_ended([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, account=Account.SUPPLIER))
    stage.expect(stage.progress(home).clause == "16.5", "for want of a DCO Required File Set")


@scenario(
    "the S1SP is killed after taking the MEF and comes back within 48 hours: it goes on", "guide, step 13"
)
async def s1sp_restarts_in_time(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.rig.s1sp.close()
    stage.say("[fault] the S1SP is killed before it has asked the DCO anything")
    await stage.hours(3)
    stage.rig.restart_s1sp()
    stage.say("the S1SP is back, from what it had committed")
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


@scenario("the S1SP is killed between the two meters: it goes on with the ESME", "2.3; 16.11")
async def s1sp_restarts_between_meters(stage: Set) -> None:
    home = await stage.start()
    stage.week.give_mef(await stage.file(home))
    await stage.wait_for(lambda: stage.real(home).gsme.authorisation.generation == 1)
    await stage.rig.s1sp.close()
    stage.say("[fault] the S1SP's migration desk is killed: the GSME has rotated, the answer is on its way")
    await stage.hours(0.5)
    stage.rig.restart_s1sp()
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)
    generation = stage.real(home).gsme.authorisation.generation
    stage.expect(generation == 1, "the GSME was not rotated a second time")


@scenario("MCF and MEF do not come within 24 hours of the MVF: the DCO drops the set", "guide, step 13")
async def dco_drops_late_set(stage: Set) -> None:
    home = await stage.start()
    found = await stage.week.validate(stage.week.plan([home]))
    stage.expect(found is not None, "MCF and MVF are with the DCO")
    await stage.switch_off(home)
    await stage.hours(23.9)
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect(
        not stage.rig.own_desk.expire(now_utc_us=now_utc_us), "a little before 24 hours it keeps them"
    )
    await stage.hours(0.2)
    dropped = stage.rig.own_desk.expire(now_utc_us=stage.rig.civil.utc_us())
    stage.expect([verdict.name for _, verdict in dropped] == ["DROP_SET"], "after 24 hours all is dropped")


@scenario("more instructions than the DCO finds ordinary: it consents to no more", "guide 2.6.8 (anomalies)")
async def dco_anomaly_threshold(stage: Set) -> None:
    home = await stage.start()
    stage.rig.own_dco.set_limits(AnomalyLimits(per_device=0))
    stage.say("[fault] the DCO's limit for one device is used up")
    await stage.week.run_day([home])
    stage.expect_home(home, Expected(stage=Stage.ROLLED_BACK, row=Row.GSME_FAILED, account=Account.SUPPLIER))


@scenario("Activate Firmware at a PPMID: refused until the DCO's key package has it", "Uplift 1.2, 7.1")
async def ppmid_key_package(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    ppmid = stage.real(home).ppmid.eui64
    request = _activation(stage, ppmid)
    now_utc_us = stage.rig.civil.utc_us()
    stage.expect(
        ppmid not in stage.rig.own_dco.package_of(home.hub), "a home of before the uplift has no PPMID key"
    )
    stage.expect_refusal(
        "no SUA key", lambda: stage.rig.dco.authorise(request, now_utc_us=now_utc_us), "11.3 at the PPMID"
    )
    stage.rig.own_dco.extend_package(home.hub, ppmid, bytes(range(16)))
    stage.say("the DCO's key package of the home is updated with the PPMID's key")
    given = stage.rig.dco.authorise(request, now_utc_us=now_utc_us)
    stage.expect(given.counter == 1, "now the DCO authorises it")
    stage.expect(stage.rig.own_dco.package_of(home.hub) == [ppmid], "and the package lists it")


def _activation(stage: Set, ppmid: Eui64) -> AuthorisationRequest:
    values = {"file_version": 2, "activation_time": zigbee_s(stage.rig.civil.utc_us())}
    cluster = DEVICE_INFORMATION.cluster_id
    frame = frames.command(cluster, "activate_firmware", values)
    return AuthorisationRequest(
        instruction_id="activate",
        device=ppmid,
        srv="11.3",
        role=UserRole.IS,
        instruction=Instruction(cluster_id=cluster, frame=frame),
    )


@scenario("[attack] an S1SP without the DCO: it can neither command nor learn a key", "guide 2.6.8; 5.4A")
async def attack_s1sp_alone(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    esme = stage.real(home).esme
    key = _key_of(esme)  # the judge's eye, not the attacker's
    seen = b"".join(octets for _, octets in stage.week.files) + _records(stage)
    stage.expect(key not in seen and key.hex().encode() not in seen, "no file and no record of it has a key")
    instruction = stage.supply_off(home)
    for guess in (bytes(16), b"\xff" * 16):
        await _expect_unmoved(stage, home, instruction, Authorisation(counter=2**40, sua=guess))
    replayed = Authorisation(counter=1, sua=compute_sua(key, esme.eui64, 1, instruction.octets))
    await _expect_unmoved(stage, home, instruction, replayed, what="a used counter")
    stage.expect_refusal(
        "16.11", lambda: stage.rig.dco_desk.discard(home.hub), "the DCO is told to forget a migrated home"
    )
    stage.expect(stage.is_dco_key_held(home, Role.ESME), "the DCO still has the key of the ESME")


@scenario("[attack] the old SMSO after the rotation: its key commands nothing any more", "6.7; guide 2.6.4")
async def attack_old_smso(stage: Set) -> None:
    home = await stage.start()
    esme = stage.real(home).esme
    await stage.week.run_day([home])
    instruction = stage.supply_off(home)
    refused = ""
    try:
        await stage.rig.smso.critical(esme.eui64, instruction)
    except RefusedError as error:
        refused = str(error)
    stage.expect("6.7" in refused, "the account is the DCC's: the SMSO does not even reach the device")
    await _expect_unmoved(stage, home, instruction, stage.rig.smso.authorise(esme.eui64, instruction))


@scenario("[attack] a DCO without the S1SP: it has no way to any device", "guide 2.6.8; 2.2")
async def attack_dco_alone(stage: Set) -> None:
    home = await stage.start()
    await stage.week.run_day([home])
    esme = stage.real(home).esme
    values = vars(stage.rig.own_desk) | vars(stage.rig.own_dco)
    stage.expect(
        not any(hasattr(value, "ask") for value in values.values()),
        "nothing that the DCO holds can ask a device",
    )
    stage.expect(esme.meter.supply.state.name == "ON", "whatever it signs, the supply stays on")
    stolen = VaultNvm(stage.rig.dco_store.device("dco"), bytes(32), random_octets=bytes)
    names = stolen.keys("device/")
    stage.expect(len(names) == 2, "on the DCO's stolen disk there are two records of keys")
    try:
        stolen.get(names[0])
        is_open = True
    except LostError:
        is_open = False
    stage.expect(not is_open, "which do not open without the vault's key")


@scenario("[attack] a Requesting Party with all files: it opens no EncryptedSUAKey", "11.1, 11.3")
async def attack_requesting_party(stage: Set) -> None:
    home = await stage.start()
    mef = await stage.file(home)
    content = read_kept(mef, FileKind.MEF)
    assert isinstance(content, MigrationGroupEncryptedFile), "as asked for"
    keys = content.installations[0].master_key
    assert keys is not None
    assert keys.sua_keys is not None
    held = [_key_of(device) for device in (stage.real(home).esme, stage.real(home).gsme)]
    for detail in keys.sua_keys.details:
        stage.expect(not any(key in detail.encrypted for key in held), "a ciphertext shows no key")
        other = stage.rig.pki.group_key("the Requesting Party's guess")
        try:
            open_credential(detail.encrypted, device=detail.device, hub=home.hub, group_id=GROUP, key=other)
            is_open = True
        except Exception:
            is_open = False
        stage.expect(not is_open, "and opens under no key but the DCO's")
    stage.week.give_mef(mef)
    await stage.week.until_ended([home])
    stage.expect_home(home, DONE)


async def _expect_unmoved(
    stage: Set,
    home: HomeBooks,
    instruction: Instruction,
    given: Authorisation,
    *,
    what: str = "an authorisation that is not the DCO's",
) -> None:
    """The instruction goes over the S1SP's WAN to the ESME, which must not obey."""
    prober, esme = stage.rig.prober, stage.real(home).esme
    reason = "obeyed"
    try:
        await prober.critical(home.hub, esme.eui64, instruction, lambda _device, _what: given)
    except RefusedError as error:
        reason = str(error)
    stage.say(f"the ESME is told to disable its supply with {what}: {reason}")
    stage.expect("refused" in reason, "the ESME refuses")
    stage.expect(esme.meter.supply.state.name == "ON", "the supply stays on")


def _key_of(device: MeterDevice) -> bytes:
    """What nobody but the device and the DCO has; for the judge alone."""
    state = device.authorisation._state
    assert state is not None, "a meter has a key"
    return state.key


def _records(stage: Set) -> bytes:
    """Everything in the S1SP's own store."""
    store = stage.rig.s1sp_store
    parts = [store.device(device) for device in store.device_names()]
    names = [(part, key) for part in parts for key in part.keys("")]
    return b"".join(part.get(key) or b"" for part, key in names)
