"""A home that is closed, or killed, and opened again on the same NVM: everything goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from tshark import Step

from smets1.errors import ClosedError, LostError
from smets1.eui64 import format_eui64
from smets1.firmware.zcl.clusters.prepayment import ResultType
from smets1.hardware.ieee802154 import FrameType
from smets1.headend.rotation import RotationResult
from smets1.tools.duis_ask import answers, ask
from smets1.tools.home import Home

TOML = "[han]\nreport_interval_s = 600\n[prepayment]\nbalance_pounds = 20\n"
METERING = 0x0702


def associations(home: Home) -> list[int]:
    """Who sends an association request (command 0x01, from an extended address), from now on."""
    seen: list[int] = []

    def tap(_time_us: int, psdu: bytes, source: int, _fate: object) -> None:
        if psdu[0] & 0x07 == FrameType.MAC_COMMAND and psdu[-2] == 0x01 and len(psdu) == 19:
            seen.append(source)

    home.air.tap(tap)
    return seen


def joins(home: Home) -> Callable[[], int]:
    """How many devices the trust centre has admitted afresh."""
    fresh: list[int] = []
    before = home.chf.on_device_joined

    def note(device: Any) -> None:
        if not device.is_rejoin:
            fresh.append(device.eui64)
        before(device)

    home.chf.on_device_joined = note  # type: ignore[method-assign]
    return lambda: len(fresh)


def keys(home: Home) -> dict[str, bytes]:
    found = {"network": home.chf.port.network_key}
    for device in home.devices[0:]:
        if device is not home.chf:
            key = device.port.link_key(home.chf.eui64)
            found[format_eui64(device.eui64)] = key.key
            other = home.chf.port.link_key(device.eui64)
            assert other.key == key.key
    return found


def state(home: Home) -> dict[str, Any]:
    """What must be the same before and after."""
    for meter in (home.esme, home.gsme):
        meter.meter.advance(home.clock.utc_us)
    return {
        "keys": keys(home),
        "shorts": [d.port.network.short_address for d in home.devices],
        "pan": home.chf.port.network.pan_id,
        "energy": home.esme.meter.reading,
        "volume": home.gsme.meter.reading,
        "balances": [m.account.balance_mp for m in (home.esme, home.gsme)],
        "sua": [(m.authorisation.generation, m.authorisation.counter) for m in (home.esme, home.gsme)],
        "supply": [m.meter.supply.state for m in (home.esme, home.gsme)],
        "listed": [entry.eui64 for entry in home.chf.device_log.listed()],
        "types": [entry.device_type for entry in home.chf.device_log.listed()],
        "mirror": home.chf.gas.values["metering"]["current_summation_delivered"],
        "mirror time": home.chf.gas.reported_utc_us,
        "inventory": [d.eui64 for d in home.headend.inventory.home_of(home.esme.eui64)],
        "log": [e.code for e in home.esme.meter.log.security],
    }


@pytest.mark.slow
async def test_closed_and_opened_again(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    assert (await home.ppmid.enter_utrn(token)).is_accepted
    assert await home.headend.rotate_sua_key(home.gsme.eui64) is RotationResult.ROTATED
    assert (await ask(home, "7.2", home.esme.eui64)).code == "I0"
    await home.clock.advance(hours=2)
    before, counter = state(home), home.esme.port.stack.keys.nwk_out.value
    closed_us = home.clock.utc_us
    await home.close()

    again = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    assert again.clock.utc_us - closed_us < 120_000_000
    assert state(again) == before
    assert again.esme.port.stack.keys.nwk_out.value > counter
    answer = await again.ppmid.enter_utrn(token)
    assert answer.result is ResultType.REJECTED_DUPLICATE_TOP_UP
    fresh = again.headend.make_utrn(again.esme.eui64, pounds=10)
    assert fresh != token
    assert (await again.ppmid.enter_utrn(fresh)).is_accepted
    assert (await ask(again, "7.3", again.gsme.eui64)).code != "E20"
    assert (await ask(again, "7.3", again.esme.eui64)).code == "I0"  # the SUA counter goes on


@pytest.mark.slow
async def test_nobody_joins_afresh(smets1_home: JudgedHomes, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path, waits=False)
    count, asked = joins(home), associations(home)
    await home.joined()
    assert count() == 4
    assert set(asked) == {d.eui64 for d in home.devices if d is not home.chf}
    await home.close()
    again = await smets1_home(toml=TOML, nvm_dir=tmp_path, waits=False)
    count, asked = joins(again), associations(again)
    await again.joined()
    await again.clock.advance(hours=1)
    assert count() == 0
    assert asked == [], "no association request"
    assert again.ihd.screen
    hub, meter, gas_meter = shorts(again, "chf", "esme", "gsme")
    joining = ("Association Request", "Transport Key", "Request Key")
    await smets1_home.tell(
        Step("ZCL: Report Attributes", METERING, meter),
        Step("ZCL: Report Attributes", METERING, gas_meter, hub),
        never=[
            Step(name) for name in (*joining, "ZCL Key Establishment: Initiate Key Establishment Request")
        ],
    )


async def test_killed_and_opened_again(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    await home.clock.advance(hours=3, minutes=7)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    assert (await home.ppmid.enter_utrn(token)).is_accepted
    assert await home.headend.rotate_sua_key(home.esme.eui64) is RotationResult.ROTATED
    before, counter = state(home), home.esme.port.stack.keys.nwk_out.value
    killed_us = home.clock.utc_us
    await home.power_off()

    again = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    assert 0 <= again.clock.utc_us - killed_us < 180_000_000, "time goes on, and never back"
    after = state(again)
    assert again.esme.port.stack.keys.nwk_out.value > counter
    for name in ("keys", "shorts", "pan", "sua", "supply", "listed", "types", "inventory"):
        assert after[name] == before[name], name
    assert 0 <= after["energy"] - before["energy"] < 100
    assert 0 <= before["balances"][0] - after["balances"][0] < 2000
    answer = await again.ppmid.enter_utrn(token)
    assert answer.result is ResultType.REJECTED_DUPLICATE_TOP_UP
    assert (await ask(again, "7.2", again.esme.eui64)).code == "I0"


@pytest.mark.parametrize(
    "after_ms", [60, *(pytest.param(ms, marks=pytest.mark.slow) for ms in (0, 5, 20, 40, 80, 120, 200))]
)
async def test_killed_in_the_middle_of_a_top_up(smets1_home: Any, tmp_path: Path, after_ms: int) -> None:
    """Whenever the power goes: the token counts once, and DUIS answers once."""
    home = await smets1_home(nvm_dir=tmp_path)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    work = asyncio.get_running_loop().create_task(ask(home, "2.2", home.esme.eui64, token=token))
    await home.clock.advance(seconds=after_ms / 1000)
    await home.power_off()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    again = await smets1_home(nvm_dir=tmp_path)
    await again.clock.advance(minutes=5)
    responses = answers(again)
    if after_ms > 0:
        assert again.esme.account.balance_mp == 1_000_000
        assert len(responses) == 1
    await again.ppmid.enter_utrn(token)
    assert again.esme.account.balance_mp == 1_000_000


async def test_killed_between_a_rotation_and_its_answer(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    work = asyncio.get_running_loop().create_task(home.headend.rotate_sua_key(home.esme.eui64))
    while home.esme.authorisation.generation == 0:  # noqa: ASYNC110 - the meter tells nobody
        await asyncio.sleep(0.001)
    await home.power_off()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    again = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    await again.clock.advance(minutes=40)
    assert again.esme.authorisation.generation == 1
    assert not again.esme.authorisation.is_push_due
    assert (await ask(again, "7.2", again.esme.eui64)).code == "I0"


async def test_what_was_removed_from_the_device_log_stays_away(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    assert home.chf.device_log.remove(home.ihd.eui64)
    home.chf.nvm.commit()
    ihd = home.ihd.eui64
    await home.close()
    again = await smets1_home(toml=TOML, nvm_dir=tmp_path, waits=False)
    assert again.chf.device_log.get(ihd) is None
    assert [e.device_type for e in again.chf.device_log.listed()] == [0, 7]


async def test_a_key_file_of_the_second_run_has_all_keys(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path / "nvm", keys=tmp_path / "first")
    await home.clock.advance(minutes=2)
    await home.close()
    again = await smets1_home(toml=TOML, nvm_dir=tmp_path / "nvm", keys=tmp_path / "second")
    await again.clock.advance(minutes=2)

    def in_force(name: str) -> set[str]:
        lines = (tmp_path / name).read_text().splitlines()
        return {line.split(",")[0] for line in lines if "IC " not in line}

    assert in_force("second") == in_force("first")


class FullDisk:
    """Takes the place of a device's memory."""

    def commit(self) -> None:
        raise LostError("the disk is full")


async def test_a_disk_that_fails_at_the_end_leaves_nothing_open(smets1_home: Any, tmp_path: Path) -> None:
    capture = tmp_path / "air.pcapng"
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path / "nvm", capture=capture)
    home.ihd.nvm = home.ppmid.nvm = FullDisk()
    with pytest.raises(LostError, match="the disk is full"):
        await home.close()
    for device in home.devices:
        with pytest.raises(ClosedError):
            await device.port.permit_join(1)
    with pytest.raises(ClosedError):
        home._store.commit()
    size = capture.stat().st_size
    home.air.inject(11, b"\x03\x08\x00\xff\xff\xff\xff\x07")
    await asyncio.sleep(1)
    assert capture.stat().st_size == size  # the capture has ended
    again = await smets1_home(toml=TOML, nvm_dir=tmp_path / "nvm")  # its lock is free again
    await again.close()


async def test_two_runs_are_the_same_octets(smets1_home: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        home = await smets1_home(seed=7, toml=TOML, capture=tmp_path / name)
        await home.clock.advance(hours=2)
        await home.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size > 20_000


async def test_a_meter_goes_on_reporting_to_who_configured_it_before_the_power_cut(
    smets1_home: JudgedHomes, tmp_path: Path
) -> None:
    home = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    meter = home.esme.port.network.short_address
    wanted = {"unit_of_measure": (5, 60, None)}  # none of what displays configure anew
    await home.chf.app.configure_reporting(meter, 1, "metering", wanted)
    for device in home.devices:
        device.power_off()
    await home.close()

    again = await smets1_home(toml=TOML, nvm_dir=tmp_path)
    heard: list[Any] = []
    client = again.chf.app.core.obtain_client(1, "metering")
    client.handle_reports(lambda values, context: heard.append((context.source_eui64, sorted(values))))
    await again.clock.advance(minutes=5)
    assert 4 <= len(heard) <= 60
    assert set(map(str, heard)) == {str((again.esme.eui64, sorted(wanted)))}
    hub, meter = shorts(again, "chf", "esme")
    report = Step("ZCL: Report Attributes", METERING, meter, hub)
    await smets1_home.tell(*[report] * len(heard), never=[Step("ZCL: Configure Reporting", source=hub)])
