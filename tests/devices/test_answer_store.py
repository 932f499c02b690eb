"""A hub that dies between the meter's commit and its own: the repeat gets the first answer, and does nothing."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import NS, request_xml

from smets1.devices.answer_store import KEPT, AnswerStore
from smets1.errors import DecodeError
from smets1.eui64 import format_eui64
from smets1.firmware.nvm import MemoryNvm


def test_it_keeps_the_newest_over_a_restart() -> None:
    nvm = MemoryNvm()
    store = AnswerStore(nvm)
    for number in range(KEPT + 5):
        store.put(bytes((number,)), b"answer %d" % number)
    nvm.commit()
    again = AnswerStore(nvm.after_power_cut())
    assert again.find(bytes((4,))) is None
    assert again.find(bytes((5,))) == b"answer 5"
    assert again.find(bytes((KEPT + 4,))) == b"answer %d" % (KEPT + 4)


def test_an_answer_that_was_not_committed_is_not_there() -> None:
    nvm = MemoryNvm()
    AnswerStore(nvm).put(b"a", b"x")
    assert AnswerStore(nvm.after_power_cut()).find(b"a") is None


@pytest.mark.parametrize("octets", [b"\x01", b"\x81\x01", b"\xff"])
def test_a_record_that_is_not_ours(octets: bytes) -> None:
    nvm = MemoryNvm()
    nvm.put("answers", octets)
    with pytest.raises(DecodeError):
        AnswerStore(nvm)


def _done(xml: bytes) -> str | None:
    data = etree.fromstring(xml).find(".//ra:SMETSData/*", NS)
    assert data is not None, xml
    return data.get("MessageSuccess")


async def _lose_the_first_answer(home: Any, work: Any) -> bytes:
    """The hub loses its first answer as it would by losing power before its commit; it is asked again."""
    execute, lost = home.chf.execute, []

    async def forgetful(request: Any) -> Any:
        response = await execute(request)
        if not lost:
            lost.append(response)
            response = await execute(request)
        return response

    home.chf.wan._execute = forgetful
    answer: bytes = await work
    assert lost
    return answer


@pytest.mark.parametrize("name", ["esme", "gsme"])
async def test_a_top_up_is_credited_once_and_said_to_be(smets1_home: Any, name: str) -> None:
    home = await smets1_home(seed=4, toml="[han]\ngas_wake_s = 60\n")
    meter = getattr(home, name)
    before = meter.account.balance_mp
    token = home.headend.make_utrn(meter.eui64, pounds=10)
    body = f"<sr:TopUpDevice><sr:UTRN>{token}</sr:UTRN></sr:TopUpDevice>"
    xml = request_xml("2.2", body, target=format_eui64(meter.eui64), counter=1)
    assert _done(await _lose_the_first_answer(home, home.headend.submit(xml, wait_s=3600))) == "true"
    assert meter.desk.accepted_count == 1
    assert meter.account.balance_mp > before
    # Another request with the same token is another instruction, and is a duplicate.
    again = request_xml("2.2", body, target=format_eui64(meter.eui64), counter=2)
    assert _done(await home.headend.submit(again, wait_s=3600)) == "false"


async def test_a_critical_instruction_is_obeyed_once_and_said_to_be(smets1_home: Any) -> None:
    home = await smets1_home(seed=4)
    xml = request_xml("7.2", "<sr:DisableSupply/>", counter=1)
    counter = home.esme.authorisation.counter
    assert _done(await _lose_the_first_answer(home, home.headend.submit(xml, wait_s=3600))) == "true"
    assert home.esme.authorisation.counter == counter + 1


async def test_only_the_head_end_may_ask_so(smets1_home: Any) -> None:
    """A display that wraps a command gets nothing done by it."""
    home = await smets1_home(seed=4)
    await home.clock.advance(minutes=2)
    short = await home.ppmid.port.find_short(home.esme.eui64)
    home.ppmid.app.command(
        short, 1, "authorisation", "execute_once", instruction_id=b"x", cluster=0x0702, frame=b"\x01\x00\x00"
    )
    await home.clock.advance(seconds=5)
    assert home.esme.answers.find(b"x") is None
