"""A top-up from afar waits while somebody types a code at the meter, and is then judged as ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smets1.devices.vend_hold import VendHold, is_top_up
from smets1.errors import NoAnswerError
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT, ResultType
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import command_frame
from smets1.tools.duis_ask import ask

TOML = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 20\n"


def top_up(code: bytes = b"1" * 20, sequence: int = 1) -> bytes:
    fields = {"originating_device": 2, "top_up_code": code}
    return command_frame(PREPAYMENT, "consumer_top_up", fields, sequence=sequence)


def once(cluster: Any, frame: bytes) -> bytes:
    fields = {"instruction_id": b"12345678", "cluster": cluster.cluster_id, "frame": frame}
    return command_frame(AUTHORISATION, "execute_once", fields)


def test_what_is_a_top_up() -> None:
    off = command_frame(METERING, "local_change_supply", {"proposed_supply_status": 2})
    assert is_top_up(PREPAYMENT.cluster_id, top_up())
    assert is_top_up(AUTHORISATION.cluster_id, once(PREPAYMENT, top_up()))
    assert not is_top_up(METERING.cluster_id, top_up())
    assert not is_top_up(METERING.cluster_id, off)
    assert not is_top_up(AUTHORISATION.cluster_id, once(METERING, off))
    assert not is_top_up(AUTHORISATION.cluster_id, once(AUTHORISATION, once(PREPAYMENT, top_up())))
    whole = once(PREPAYMENT, top_up())
    for end in range(len(whole)):
        assert not is_top_up(AUTHORISATION.cluster_id, whole[:end])


def test_the_newest_of_equal_questions_is_obeyed_in_its_turn() -> None:
    vending, done = True, []
    hold = VendHold(lambda: vending)

    def offer(name: str, frame: bytes, who: int) -> bool:
        return hold.offer(PREPAYMENT.cluster_id, frame, lambda: done.append(name), who=who)

    assert offer("first", top_up(sequence=1), 1)
    assert offer("other code", top_up(b"2" * 20), 1)
    assert offer("other asker", top_up(sequence=1), 2)
    assert offer("again", top_up(sequence=9), 1)
    hold.release()
    assert done == []
    vending = False
    hold.release()
    hold.release()
    assert done == ["other code", "other asker", "again"]
    assert not offer("now", top_up(), 1)
    assert len(hold) == 0


async def test_a_top_up_by_duis_waits_for_the_end_of_vend_mode(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme = home.esme
    before_mp = esme.account.balance_mp
    esme.press("A123")
    token = home.headend.make_utrn(esme.eui64, pounds=10)
    waiting = asyncio.get_running_loop().create_task(ask(home, "2.2", esme.eui64, token=token))
    await home.clock.advance(seconds=15)
    assert len(esme.hold) == 1
    assert esme.shown[0] == "Vend Mode"
    esme.press("4")  # somebody types slowly
    await home.clock.advance(seconds=15)
    assert not waiting.done()
    assert esme.account.balance_mp <= before_mp
    await home.clock.advance(seconds=10)
    answer = await waiting
    assert b'MessageSuccess="true"' in answer.xml
    assert esme.account.balance_mp > before_mp
    assert esme.desk.accepted_count == 1


async def test_a_top_up_at_the_ppmid_waits_too(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme, token = home.esme, home.headend.make_utrn(home.esme.eui64, pounds=10)
    esme.press("A1")
    waiting = asyncio.get_running_loop().create_task(home.ppmid.enter_utrn(token))
    await home.clock.advance(seconds=5)
    assert (esme.desk.accepted_count, len(esme.hold)) == (0, 1)
    esme.press("B")  # "Incomplete"; the display would give up after 15 s
    assert (await waiting).result is ResultType.ACCEPTED
    assert esme.desk.accepted_count == 1


async def test_a_top_up_for_gas_waits_when_the_meter_wakes_under_somebodys_fingers(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=2)
    gsme, token = home.gsme, home.headend.make_utrn(home.gsme.eui64, pounds=10)
    waiting = asyncio.get_running_loop().create_task(home.ppmid.enter_utrn(token, "gas"))
    gsme.press("A")
    for _ in range(150):
        gsme.press("1")
        if len(gsme.hold):
            break
        await home.clock.advance(seconds=15)
    assert len(gsme.hold) == 1
    await home.clock.advance(seconds=10)
    assert gsme.desk.accepted_count == 0
    await home.clock.advance(hours=1)
    assert gsme.desk.accepted_count == 1
    # A hub that had asked again meanwhile is told of a duplicate: the display's own command bears no id.
    assert (await waiting).result in (ResultType.ACCEPTED, ResultType.REJECTED_DUPLICATE_TOP_UP)


async def test_the_display_that_gave_up_may_ask_again(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    esme, token = home.esme, home.headend.make_utrn(home.esme.eui64, pounds=10)
    esme.press("A1")
    for _ in range(2):
        with pytest.raises(NoAnswerError):
            await home.ppmid.enter_utrn(token)
        esme.press("2")
    assert len(esme.hold) == 1, "the newest of two equal ones"
    await home.clock.advance(seconds=21)
    assert (esme.desk.accepted_count, esme.desk.refused_count) == (1, 1), (
        "the one credited, the typed one not"
    )


async def test_a_meter_that_loses_power_in_vend_mode_answers_nobody(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    home.esme.press("A1")
    exchange = asyncio.get_running_loop().create_task(
        home.wire.hub.exchange(1, PREPAYMENT.cluster_id, top_up())
    )
    await home.clock.advance(seconds=5)
    assert not exchange.done()
    await home.cut_power(home.esme.eui64)
    await home.clock.advance(seconds=3)
    with pytest.raises(NoAnswerError):
        await exchange
