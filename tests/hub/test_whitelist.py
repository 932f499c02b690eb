"""Who may be on the HAN, and what the hub obeys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from smets1.errors import NoAnswerError
from smets1.firmware.crypto.mmo import format_install_code
from smets1.firmware.wan.messages import WanRequest, WanStatus
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.smets1 import HUB_CONTROL, DeviceLogOperation
from smets1.firmware.zcl.frame import ZclFrame, command_frame
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import Status
from smets1.tools.home_file import parse_home

TOML = "[han]\nreport_interval_s = 600\n[prepayment]\nbalance_pounds = 20\n"


def wan(home: Any, target: int, cluster: Any, frame: bytes, endpoint: int = 1) -> WanRequest:
    return WanRequest(
        request_id=f"{home.clock.utc_us:040x}",
        expires_utc_us=home.clock.utc_us + 3_600_000_000,
        target=target,
        endpoint=endpoint,
        cluster_id=cluster if isinstance(cluster, int) else cluster.cluster_id,
        frame=frame,
    )


async def obey(home: Any, name: str, **fields: Any) -> Any:
    answer = await home.chf.execute(
        wan(home, home.chf.eui64, HUB_CONTROL, command_frame(HUB_CONTROL, name, fields))
    )
    assert answer.status is WanStatus.DONE
    frame = ZclFrame.decode(answer.frame)
    return frame.command(HUB_CONTROL)[1] if frame.header.frame_type else frame.general().status


async def test_a_device_that_is_not_listed_cannot_join(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, waits=False)
    home.chf.device_log.remove(home.ihd.eui64)
    with pytest.raises(NoAnswerError, match="Ihd"):
        await home.joined(timeout_s=900)
    assert home.ihd.port.network is None
    assert not [e for e in home.chf.device_log.listed() if e.eui64 == home.ihd.eui64]
    for device in (home.esme, home.gsme, home.ppmid):
        assert device.keyed.is_set()


async def test_added_later_it_may(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, waits=False)
    ihd = next(device for device in home.config.devices if device.eui64 == home.ihd.eui64)
    home.chf.device_log.remove(ihd.eui64)
    await home.clock.advance(minutes=10)
    assert not home.ihd.keyed.is_set()
    answer = await obey(
        home,
        "update_device_log",
        operation=DeviceLogOperation.ADD,
        device=ihd.eui64,
        device_type=6,
        install_code=ihd.install_code,
    )
    assert answer == {"status": 0, "device": ihd.eui64}
    await home.joined(timeout_s=7200)


async def test_a_wrong_install_code_cannot(smets1_home: Any) -> None:
    config = parse_home(TOML, None)
    home = await smets1_home(config=config, waits=False)
    wrong = replace(home.ihd.factory, install_key=bytes(16))
    home.ihd.factory = wrong
    with pytest.raises(NoAnswerError, match="Ihd"):
        await home.joined(timeout_s=900)
    assert home.ihd.port.network_key is None or home.ihd.port.network is None


async def test_who_establishes_no_key_in_an_hour_is_sent_away_and_may_try_again(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, waits=False)
    establish, left = home.ihd.key_service.establish, []

    async def fail(*_: Any, **__: Any) -> None:
        raise NoAnswerError("key establishment")

    home.ihd.key_service.establish = fail
    home.ihd.on_network_down = lambda reason, before=home.ihd.on_network_down: (
        left.append((home.clock.utc_us, reason)), before(reason),
    )  # fmt: skip
    began_us = home.clock.utc_us
    await home.clock.advance(minutes=59)
    assert home.ihd.port.network is not None
    assert left == []
    await home.clock.advance(minutes=2)
    ((when_us, _),) = left
    assert 3600 <= (when_us - began_us) / 1e6 < 3660
    home.ihd.key_service.establish = establish
    await home.joined(timeout_s=7200)
    await home.clock.advance(hours=2)
    assert len(left) == 1
    assert home.ihd.keyed.is_set()


async def test_removed_it_is_off_and_stays_off(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    answer = await obey(
        home,
        "update_device_log",
        operation=DeviceLogOperation.REMOVE,
        device=home.ihd.eui64,
        device_type=6,
        install_code=b"",
    )
    assert answer["status"] == 0
    await home.clock.advance(minutes=5)
    assert home.ihd.port.network is None
    await home.clock.advance(hours=2)
    assert not home.ihd.keyed.is_set()
    again = await obey(
        home, "update_device_log", operation=1, device=home.ihd.eui64, device_type=6, install_code=b""
    )
    assert again == Status.NOT_FOUND


@pytest.mark.parametrize("code", [b"", bytes(18), format_install_code(bytes(16))[:-1]])
async def test_an_install_code_with_a_wrong_crc(smets1_home: Any, code: bytes) -> None:
    home = await smets1_home(toml=TOML)
    status = await obey(
        home, "update_device_log", operation=0, device=0x0102030405060708, device_type=6, install_code=code
    )
    assert status == Status.INVALID_FIELD
    assert home.chf.device_log.get(0x0102030405060708) is None


async def test_at_most_sixteen_are_listed(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    code = format_install_code(bytes(range(16)))
    for n in range(13):
        answer = await obey(
            home, "update_device_log", operation=0, device=0x0102030405060700 + n, device_type=6,
            install_code=code,
        )  # fmt: skip
        assert answer["status"] == 0
    status = await obey(
        home, "update_device_log", operation=0, device=0x0102030405060799, device_type=6, install_code=code
    )
    assert status == Status.INSUFFICIENT_SPACE
    page = await obey(home, "read_device_log", first_index=0)
    assert page["total"] == 16
    assert page["count"] == len(page["entries"]) == 5


async def test_the_log_says_when_each_was_heard(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML + '[[device]]\nrole="chf"\n[[device]]\nrole="esme"\n'
                             '[[device]]\nrole="ihd"\n[[device]]\nrole="ppmid"\nruns_here=false\n')  # fmt: skip
    await home.clock.advance(minutes=30)
    entries = {
        entry["device"]: entry for entry in (await obey(home, "read_device_log", first_index=0))["entries"]
    }
    ihd, ppmid = entries[home.ihd.eui64], entries[0x00DB1234567890A4]
    assert ppmid["last_communication"] == 0xFFFFFFFF
    assert 0 <= home.civil.zigbee_utc_s() - ihd["last_communication"] < 1800
    assert (ihd["device_type"], ppmid["device_type"]) == (6, 7)


# --- whom the hub obeys ----------------------------------------------------------------------------


async def test_the_hub_obeys_the_head_end_only(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    frame = command_frame(HUB_CONTROL, "read_device_log", {"first_index": 0})
    context = CommandContext(now_us=home.chf.scheduler.now_us(), via=Via.WIRE)
    answer = ZclFrame.decode(home.chf.app.execute(1, HUB_CONTROL.cluster_id, frame, context))
    assert answer.general().status == Status.NOT_AUTHORIZED


async def test_the_head_end_does_not_command_the_mirror(smets1_home: Any) -> None:
    """Its commands go to the meter itself; on the mirror nobody could be answered."""
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=1)
    fields = {"originating_device": 0, "top_up_code": b"0" * 20}
    frame = command_frame(PREPAYMENT, "consumer_top_up", fields)
    gpf = home.chf.gpf_factory.eui64
    answer = await home.chf.execute(wan(home, gpf, PREPAYMENT, frame, endpoint=2))
    assert ZclFrame.decode(answer.frame).general().status == Status.NOT_AUTHORIZED
    assert home.chf.gas.waiting_count == 0


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x04\x00\x01"])
async def test_a_frame_that_is_none(smets1_home: Any, octets: bytes) -> None:
    home = await smets1_home(toml=TOML)
    for device in (*home.devices, home.chf.gpf_factory):
        answer = await home.chf.execute(wan(home, device.eui64, PREPAYMENT, octets))
        assert answer.status is WanStatus.MALFORMED
        answer = await home.chf.execute(wan(home, device.eui64, 0x4321, b"\x00\x01\x00\x00\x00"))
        assert answer.status is WanStatus.MALFORMED
    assert home.chf.gas.waiting_count == 0


async def test_what_the_hub_says_of_itself(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    home.air.faults.move_away(home.gsme.eui64)
    await home.clock.advance(minutes=5)
    frame = command_frame(
        PREPAYMENT, "get_top_up_log", {"latest_end_time": 0xFFFFFFFE, "number_of_records": 0}
    )
    asked = asyncio.ensure_future(home.chf.execute(wan(home, home.gsme.eui64, PREPAYMENT, frame)))
    await home.clock.advance(seconds=1)
    network = home.esme.port.network  # as another device knows it
    told = await obey(home, "read_hub_status")
    assert told == {
        "boot_count": home.chf.wan.boot_count,
        "wan_status": 1,
        "han_channel": network.channel,
        "han_pan_id": network.pan_id,
        "device_log_count": 3,  # the gas meter, the PPMID and the IHD
        "queued_for_gas_meter": 1,
    }
    server = home.chf.app.core.server(1, HUB_CONTROL)
    assert {name: server.get(name) for name in told} == told
    asked.cancel()


async def test_an_unknown_target(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    frame = command_frame(PREPAYMENT, "consumer_top_up", {"originating_device": 0, "top_up_code": b"0"})
    answer = await home.chf.execute(wan(home, 0x1122334455667788, PREPAYMENT, frame))
    assert answer.status is WanStatus.UNKNOWN_TARGET
