"""A read of the gas mirror after a command waits until the meter has told the mirror, and not for ever."""

from __future__ import annotations

from typing import Any

from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.frame import command_frame, general_frame
from smets1.firmware.zcl.general import ReadAttributes
from smets1.hub.mirror_lag import MirrorLag
from smets1.tools.duis_ask import ask

COMMAND = command_frame(
    PREPAYMENT,
    "select_available_emergency_credit",
    {"command_issue_date_time": 1, "originating_device": 0, "site_id": b"", "meter_serial_number": b""},
)


def test_a_whole_report_after_the_command_catches_up() -> None:
    lag = MirrorLag()
    lag.on_report("prepayment")
    lag.on_answered(PREPAYMENT.cluster_id, COMMAND)
    assert lag.is_behind
    lag.on_report("metering")
    assert lag.is_behind, "the account went out before the command"
    lag.on_report("prepayment")
    assert lag.is_behind
    lag.on_report("metering")
    assert not lag.is_behind


def test_questions_leave_the_mirror_as_it_is() -> None:
    lag = MirrorLag()
    lag.on_answered(PRICE.cluster_id, general_frame(ReadAttributes((1,))))
    lag.on_answered(PRICE.cluster_id, command_frame(PRICE, "get_current_price", {"command_options": 0}))
    assert not lag.is_behind
    for cluster_id, frame in (
        (PRICE.cluster_id, b""),
        (0xABCD, COMMAND),
        (PRICE.cluster_id, b"\x01\x00\xff"),
    ):
        lag = MirrorLag()
        lag.on_answered(cluster_id, frame)
        assert lag.is_behind, "what cannot be read may have changed anything"


async def test_a_top_up_is_read_at_once(smets1_home: Any) -> None:
    home = await smets1_home(toml="[han]\ngas_wake_s = 60\n")
    await home.clock.advance(minutes=2)
    gas = home.gsme.eui64
    before_mp = int((await ask(home, "4.18", gas)).value("MeterBalance"))
    answer = await ask(home, "2.2", gas, token=home.headend.make_utrn(gas, pounds=5), wait_s=300)
    assert answer.code == "I0"
    asked_us = home.clock.utc_us
    read = await ask(home, "4.18", gas)
    assert int(read.value("MeterBalance")) > before_mp + 499_000
    assert home.clock.utc_us - asked_us < 12_000_000


async def test_a_meter_that_is_gone_after_its_answer_is_not_waited_for_twice(smets1_home: Any) -> None:
    home = await smets1_home(toml="[han]\ngas_wake_s = 60\n")
    await home.clock.advance(minutes=2)
    gas = home.gsme.eui64
    answer = await ask(home, "2.2", gas, token=home.headend.make_utrn(gas, pounds=5), wait_s=300)
    assert answer.code == "I0"
    home.air.faults.move_away(gas)
    waits_s = []
    for _ in range(2):
        asked_us = home.clock.utc_us
        assert (await ask(home, "4.18", gas, wait_s=300)).code == "I0"
        waits_s.append((home.clock.utc_us - asked_us) / 1e6)
    assert 14 < waits_s[0] < 17
    assert waits_s[1] < 2
