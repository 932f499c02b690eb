"""The gas meter: asleep between wakings, mirrored, commanded by way of the hub."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from smets1.devices.supply import SupplyState
from smets1.errors import RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.frame import ZclFrame, command_frame
from smets1.firmware.zcl.status import Status
from smets1.tools.duis_ask import answers, ask

TOML = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 20\n"
MINUTE_US = 60_000_000


def watch(home: Any, sender: Eui64) -> list[int]:
    """Times of the frames that a device sends from now on."""
    times: list[int] = []

    def on_frame(time_us: int, psdu: bytes, source: Eui64, fate: object) -> None:
        if source == sender:
            times.append(time_us)

    home.air.tap(on_frame)
    return times


def wakings(times: list[int]) -> list[tuple[int, int]]:
    """Bursts of frames: (start, end); a gap of ten seconds ends one."""
    bursts: list[tuple[int, int]] = []
    for time_us in times:
        if bursts and time_us - bursts[-1][1] < 10_000_000:
            bursts[-1] = (bursts[-1][0], time_us)
        else:
            bursts.append((time_us, time_us))
    return bursts


async def test_it_wakes_every_half_hour_and_is_silent_in_between(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=5)
    times = watch(home, home.gsme.eui64)
    await home.clock.advance(hours=6)
    # A single data request now and then is the network layer's: it tells the parent that the meter lives.
    bursts = [(start, end) for start, end in wakings(times) if end > start]
    signs = len(wakings(times)) - len(bursts)
    assert len(bursts) == 12
    assert signs <= 5
    for (first, _), (second, _) in pairwise(bursts):
        assert 30 * MINUTE_US <= second - first < 31 * MINUTE_US
    for start, end in bursts:
        assert end - start < 10_000_000, "awake a few seconds, with nothing waiting for it"
    assert len(times) < 12 * 60


@pytest.mark.slow
async def test_the_mirror_holds_what_the_meter_said(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(hours=7)
    mirror, gsme = home.chf.gas, home.gsme
    age_us = home.clock.utc_us - mirror.reported_utc_us
    assert 0 <= age_us < 31 * MINUTE_US
    assert mirror.values["metering"]["supply_status"] == SupplyState.ON
    assert mirror.values["prepayment"]["credit_remaining"] >= gsme.account.balance_mp
    assert 0 < mirror.values["metering"]["current_summation_delivered"] <= gsme.meter.reading
    assert mirror.values["metering"]["metering_device_type"] == 128


async def test_a_command_waits_for_the_waking(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=10)
    before_us = home.clock.utc_us
    answer = await ask(home, "7.2", home.gsme.eui64)
    assert answer.code == "I0"
    assert 10 * MINUTE_US < home.clock.utc_us - before_us < 31 * MINUTE_US
    assert not home.gsme.meter.supply.is_on
    status = await ask(home, "7.4", home.gsme.eui64, wait_s=10)
    if status.value("SupplyState") != "Disabled":  # the mirror learns of it before the meter sleeps again
        await home.clock.advance(seconds=10)
        status = await ask(home, "7.4", home.gsme.eui64, wait_s=10)
    assert status.value("SupplyState") == "Disabled"


async def test_several_commands_in_one_waking(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=10)
    before_us = home.clock.utc_us
    token = home.headend.make_utrn(home.gsme.eui64, pounds=5)
    answers = await asyncio.gather(
        ask(home, "2.2", home.gsme.eui64, token=token),
        ask(home, "7.2", home.gsme.eui64),
        ask(home, "11.2", home.gsme.eui64),
        home.ppmid.enter_utrn(home.headend.make_utrn(home.gsme.eui64, pounds=6), "gas"),
    )
    assert [answer.code for answer in answers[:3]] == ["I0"] * 3
    assert answers[3].is_accepted
    assert home.clock.utc_us - before_us < 32 * MINUTE_US, "all in the next waking"
    assert home.chf.gas.waiting_count == 0


async def test_a_top_up_for_gas_at_the_ppmid(smets1_home: Any) -> None:
    home = await smets1_home()
    await home.clock.advance(minutes=3)
    token = home.headend.make_utrn(home.gsme.eui64, pounds=10)
    before_us = home.clock.utc_us
    answer = await home.ppmid.enter_utrn(token, "gas")
    assert answer.is_accepted
    assert (answer.amount_mp, answer.balance_mp) == (1_000_000, 1_000_000)
    assert home.gsme.account.balance_mp == 1_000_000
    assert 5 * MINUTE_US < home.clock.utc_us - before_us < 31 * MINUTE_US
    again = await home.ppmid.enter_utrn(token, "gas")
    assert not again.is_accepted
    assert home.gsme.account.balance_mp == 1_000_000


async def test_emergency_credit_for_gas_at_the_ppmid(smets1_home: Any) -> None:
    """The hub passes on what a person does; it needs no code, though the same from the head end does."""
    toml = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 0.5\n"
    home = await smets1_home(toml=toml)
    await home.clock.advance(minutes=1)
    await home.ppmid.activate_emergency_credit("gas")
    assert home.gsme.account.emergency_mp > 0
    with pytest.raises(RefusedError):
        await home.ppmid.activate_emergency_credit("gas")


async def test_what_is_critical_needs_a_code_though_it_waited(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    frame = command_frame(
        METERING, "change_supply", {"provider_id": 1, "issuer_event_id": 1, "request_date_time": 0,
        "implementation_date_time": 0, "proposed_supply_status": 0, "supply_control_bits": 1},
    )  # fmt: skip
    from smets1.firmware.wan.messages import WanRequest

    request = WanRequest(request_id="x" * 40, expires_utc_us=home.clock.utc_us + 3_600_000_000,
                         target=home.gsme.eui64, endpoint=1, cluster_id=METERING.cluster_id, frame=frame)  # fmt: skip
    answer = await home.chf.execute(request)
    assert ZclFrame.decode(answer.frame).general().status == Status.NOT_AUTHORIZED
    assert home.gsme.meter.supply.is_on
    assert answer.from_gsme


@pytest.mark.slow
async def test_a_command_that_is_never_fetched_expires_after_a_day(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    home.air.faults.move_away(home.gsme.eui64)
    before_us = home.clock.utc_us
    answer = await ask(home, "7.2", home.gsme.eui64, wait_s=3 * 86_400)
    assert answer.code.startswith("E")
    assert 23.9 * 3600e6 < home.clock.utc_us - before_us < 24.2 * 3600e6
    await home.clock.advance(minutes=2)
    assert home.chf.gas.waiting_count == 0
    assert len(answers(home)) == 1
    alerts = [response.xml for response in home.headend.responses() if b"819D" in response.xml]
    assert len(alerts) == 1, "a command that was not retrieved"
    home.air.faults.bring_back(home.gsme.eui64)
    await home.clock.advance(hours=3)
    assert home.gsme.meter.supply.is_on, "it was too late"


@pytest.mark.slow
async def test_out_of_reach_and_back(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=5)
    home.air.faults.move_away(home.gsme.eui64)
    await home.clock.advance(hours=4)
    old_us = home.chf.gas.reported_utc_us
    assert home.clock.utc_us - old_us > 3 * 3600e6
    home.air.faults.bring_back(home.gsme.eui64)
    await home.clock.advance(hours=2)
    assert home.clock.utc_us - home.chf.gas.reported_utc_us < 31 * MINUTE_US


async def test_a_key_press_at_the_meter_wakes_it(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    assert (await ask(home, "7.2", home.gsme.eui64)).code == "I0"
    assert (await ask(home, "7.3", home.gsme.eui64)).code == "I0"
    await home.clock.advance(minutes=1)
    assert home.gsme.meter.supply.state is SupplyState.ARMED
    assert home.gsme.press_to_confirm()
    await home.clock.advance(seconds=10)
    assert home.chf.gas.values["metering"]["supply_status"] == SupplyState.ON


async def test_a_key_press_while_it_is_awake_is_reported_too(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    assert (await ask(home, "7.2", home.gsme.eui64)).code == "I0"
    assert (await ask(home, "7.3", home.gsme.eui64)).code == "I0"  # answered while it is still awake
    assert home.gsme.press_to_confirm()
    await home.clock.advance(minutes=1)
    assert home.chf.gas.values["metering"]["supply_status"] == SupplyState.ON
