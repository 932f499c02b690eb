"""The shell of a meter: what is critical, status push, what a person may do and what the hub may not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smets1.devices.event_log import AlertCode
from smets1.devices.meter_device import PUSH_PAUSE_S
from smets1.devices.supply import SupplyState
from smets1.firmware.sua import compute_sua, instruction_octets
from smets1.firmware.zcl.clusters.general import TIME
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, CriticalStatus
from smets1.firmware.zcl.frame import ZclFrame, command_frame, general_frame
from smets1.firmware.zcl.general import DefaultResponse, ReadAttributes, WriteAttributes
from smets1.firmware.zcl.records import TypedValue
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.headend.rotation import RotationResult
from smets1.tools.duis_ask import ask
from smets1.tools.trial_keys import sua_key

TOML = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 20\n"
OFF = {
    "provider_id": 1,
    "issuer_event_id": 1,
    "request_date_time": 0,
    "implementation_date_time": 0,
    "proposed_supply_status": 0,
    "supply_control_bits": 1,
}


def bare(meter: Any, cluster: Any, frame: bytes, *, via: Via = Via.WIRE, endpoint: int = 1) -> Any:
    """The meter's answer to a frame that comes as it is: a Default Response or a (name, values) pair."""
    context = CommandContext(now_us=meter.scheduler.now_us(), via=via)
    answer = ZclFrame.decode(meter.app.execute(endpoint, cluster.cluster_id, frame, context))
    if answer.header.frame_type is FrameType.GLOBAL:
        return answer.general()
    return answer.command(cluster)


def critical(device: int, key: bytes, counter: int, frame: bytes, cluster: Any = METERING) -> bytes:
    sua = compute_sua(key, device, counter, instruction_octets(cluster.cluster_id, frame))
    fields = {"counter": counter, "sua": sua, "cluster": cluster.cluster_id, "frame": frame}
    return command_frame(AUTHORISATION, "critical_instruction", fields)


def refusals(meter: Any, code: AlertCode) -> int:
    return sum(entry.code == code for entry in (*meter.meter.log.security, *meter.meter.log.events))


# --- bare critical instructions --------------------------------------------------------------------


@pytest.mark.parametrize("via", [Via.WIRE, Via.WAN])
async def test_change_supply_without_a_code_is_refused_and_logged(smets1_home: Any, via: Via) -> None:
    home = await smets1_home(toml=TOML)
    answer = bare(home.esme, METERING, command_frame(METERING, "change_supply", OFF), via=via)
    assert isinstance(answer, DefaultResponse)
    assert answer.status == Status.NOT_AUTHORIZED
    assert home.esme.meter.supply.is_on
    assert refusals(home.esme, AlertCode.NO_AUTHORITY) == 1
    assert int(AlertCode.NO_AUTHORITY) == 0x8F30


async def test_over_the_ribbon_too(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    frame = command_frame(METERING, "change_supply", OFF)
    answer = await home.wire.hub.exchange(1, METERING.cluster_id, frame)
    assert ZclFrame.decode(answer).general().status == Status.NOT_AUTHORIZED
    assert home.esme.meter.supply.is_on


async def test_what_a_client_asks_is_not_what_a_server_publishes(smets1_home: Any) -> None:
    """GetCurrentPrice and PublishPrice share a number; only the second is critical."""
    home = await smets1_home(toml=TOML)
    assert PRICE.command("get_current_price", Side.CLIENT).command_id == 0x00
    answer = bare(home.esme, PRICE, command_frame(PRICE, "get_current_price", {"command_options": 0}))
    assert answer[0] == "publish_price"
    assert answer[1]["price"] == home.esme.meter.price_mp_per_kwh
    assert refusals(home.esme, AlertCode.NO_AUTHORITY) == 0


async def test_local_change_supply_is_not_for_the_head_end(smets1_home: Any) -> None:
    """It would be a way to enable supply without a code."""
    home = await smets1_home(toml=TOML)
    await ask(home, "7.2", home.esme.eui64)
    await ask(home, "7.3", home.esme.eui64)
    assert home.esme.meter.supply.state is SupplyState.ARMED
    frame = command_frame(METERING, "local_change_supply", {"proposed_supply_status": 2})
    answer = bare(home.esme, METERING, frame)
    assert isinstance(answer, DefaultResponse)
    assert answer.status == Status.NOT_AUTHORIZED
    assert home.esme.meter.supply.state is SupplyState.ARMED
    await home.ppmid.confirm_supply()
    assert home.esme.meter.supply.is_on


async def test_rotate_key_without_a_code(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    fields = {"generation": 1, "wrapped_key": bytes(24)}
    answer = bare(home.esme, AUTHORISATION, command_frame(AUTHORISATION, "rotate_key", fields))
    assert answer.status == Status.NOT_AUTHORIZED
    assert home.esme.authorisation.generation == 0


# --- authorised ones -------------------------------------------------------------------------------


async def test_a_code_is_good_once(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, seed=1)
    esme = home.esme
    frame = command_frame(METERING, "change_supply", OFF)
    whole = critical(esme.eui64, sua_key(1, esme.eui64), 1 << 40, frame)
    name, values = bare(esme, AUTHORISATION, whole)
    assert (name, values["status"]) == ("critical_result", CriticalStatus.EXECUTED)
    assert not esme.meter.supply.is_on
    assert esme.authorisation.counter == 1 << 40
    name, values = bare(esme, AUTHORISATION, whole)
    assert values["status"] == CriticalStatus.COUNTER_USED
    assert refusals(esme, AlertCode.UNAUTHORISED_ACCESS) == 1


async def test_a_code_is_for_one_device_one_frame_one_key(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, seed=1)
    esme, gsme = home.esme, home.gsme
    frame = command_frame(METERING, "change_supply", OFF)
    other = command_frame(METERING, "change_supply", OFF | {"issuer_event_id": 2})
    key = sua_key(1, esme.eui64)
    for wrong in (
        critical(gsme.eui64, key, 1 << 40, frame),
        critical(esme.eui64, sua_key(1, gsme.eui64), 1 << 40, frame),
        critical(esme.eui64, key, 1 << 40, frame).replace(frame, other),
    ):
        _, values = bare(esme, AUTHORISATION, wrong)
        assert values["status"] == CriticalStatus.WRONG_CODE
    assert esme.meter.supply.is_on
    assert esme.authorisation.counter == 0
    assert refusals(esme, AlertCode.TRUSTED_SOURCE_AUTHENTICATION_FAILURE) == 3
    assert bare(gsme, AUTHORISATION, critical(esme.eui64, key, 1 << 40, frame))[1]["status"] != 0


async def test_ten_malformed_commands_in_an_hour_are_unusual(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme, noise = home.esme, b"\x01\x00\x0b"  # ChangeSupply without its fields
    for hour in (1, 2):
        for _ in range(15):
            bare(esme, METERING, noise)
        assert refusals(esme, AlertCode.MALFORMED_COMMANDS) == hour
        await home.clock.advance(hours=1)
    for _ in range(9):
        bare(esme, METERING, noise)
    assert refusals(esme, AlertCode.MALFORMED_COMMANDS) == 2


async def test_a_meter_logs_that_it_has_joined_once_commissioned(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    for meter in (home.esme, home.gsme):
        assert refusals(meter, AlertCode.JOINED_HAN) == refusals(meter, AlertCode.COMMISSIONED) == 1
    await home.cut_power(home.esme.eui64)
    await home.restore_power(home.esme.eui64)
    await home.joined()
    assert refusals(home.esme, AlertCode.COMMISSIONED) == 1


async def test_what_is_not_critical_must_come_without(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, seed=1)
    esme = home.esme
    frame = general_frame(ReadAttributes((0,)))
    _, values = bare(esme, AUTHORISATION, critical(esme.eui64, sua_key(1, esme.eui64), 9, frame, METERING))
    assert values["status"] == CriticalStatus.NOT_CRITICAL


async def test_after_rotation_the_old_key_is_worth_nothing(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, seed=1)
    frame = command_frame(METERING, "change_supply", OFF)
    for meter in (home.gsme, home.esme):
        assert await home.headend.rotate_sua_key(meter.eui64) is RotationResult.ROTATED
        assert refusals(meter, AlertCode.CREDENTIALS_UPDATED) == 1
        old = critical(meter.eui64, sua_key(1, meter.eui64), 1 << 40, frame)
        assert bare(meter, AUTHORISATION, old)[1]["status"] == CriticalStatus.WRONG_CODE
        assert meter.meter.supply.is_on
    answer = await ask(home, "7.2", home.esme.eui64)  # the DCO uses the new one
    assert answer.code == "I0"
    assert not home.esme.meter.supply.is_on


async def test_the_status_push_stops_when_it_is_acknowledged(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    pushes: list[int] = []
    home.wire.taps.append(lambda way, _endpoint, cluster, _frame: pushes.append(cluster) if way == "meter>hub"
                          and cluster == AUTHORISATION.cluster_id and _frame[4] == 2 else None)  # fmt: skip
    assert await home.headend.rotate_sua_key(home.esme.eui64) is RotationResult.ROTATED
    await home.clock.advance(seconds=10)
    assert len(pushes) == 1
    assert not home.esme.authorisation.is_push_due
    await home.clock.advance(seconds=4 * PUSH_PAUSE_S)
    assert len(pushes) == 1


@pytest.mark.slow
async def test_the_status_push_goes_on_while_the_wan_is_down(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    assert await home.headend.rotate_sua_key(home.esme.eui64) is RotationResult.ROTATED
    home._wan.memory.stop()
    await home.clock.advance(seconds=2 * PUSH_PAUSE_S)
    assert home.esme.authorisation.is_push_due
    home._wan.memory.start()
    await home.clock.advance(seconds=3 * PUSH_PAUSE_S)
    assert not home.esme.authorisation.is_push_due


async def test_the_clock_is_not_written_without_a_code(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    before_us = home.esme.civil.utc_us()
    answer = bare(home.esme, TIME, general_frame(WriteAttributes((TypedValue(0, 0xE2, 1),))))
    status = answer.status if isinstance(answer, DefaultResponse) else answer.failed[0].status
    assert status != Status.SUCCESS
    assert home.esme.civil.utc_us() == before_us


# --- hostile input ---------------------------------------------------------------------------------


async def test_no_octets_off_the_ribbon_break_the_meter(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    rng = random.Random(5)
    whole = critical(home.esme.eui64, bytes(16), 1, command_frame(METERING, "change_supply", OFF))
    samples = [whole[:n] for n in range(len(whole))]
    samples += [rng.randbytes(rng.randrange(40)) for _ in range(300)]
    clusters = [AUTHORISATION, METERING, PREPAYMENT, PRICE]
    for octets in samples:
        for cluster in clusters:
            home.esme._on_ribbon(1, cluster.cluster_id, octets)
    assert home.esme.meter.supply.is_on
    assert home.esme.authorisation.counter == 0
