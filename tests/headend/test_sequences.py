"""What must wait: sequences, future-dated requests and their cancellation, signed Pre-Commands."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree
from tests.headend.conftest import ESME, NETWORK, SUPPLIER, Rig, code_of, request_xml

from smets1.headend.duis.signature import Credential, XmlSigner

A0 = "00-DB-12-34-56-78-90-A0"
USER = "90-B3-D5-1F-30-01-00-00"
BALANCE = "<sr:ReadMeterBalance/>"
DAY_S = 86_400


def after(xml: bytes, preceding: int, user: str = USER) -> bytes:
    """`xml` as the successor of another request of the same device."""
    mark = f"<sr:PrecedingServiceRequestID>{user}:{A0}:{preceding}</sr:PrecedingServiceRequestID>"
    return xml.replace(b"<sr:CommandVariant>", mark.encode() + b"<sr:CommandVariant>")


def dated(when: str) -> str:
    return f"<sr:ReadMeterBalance><sr:ExecutionDateTime>{when}</sr:ExecutionDateTime></sr:ReadMeterBalance>"


def answers(rig: Rig) -> dict[int, str]:
    """Counter of the request -> code of its response."""
    return {
        int((response.key or "").split(":")[2]): code_of(etree.fromstring(response.xml))
        for response in rig.head_end.responses()
    }


async def test_a_successor_waits_for_its_predecessor(rig: Rig) -> None:
    successor = after(request_xml("7.4", "<sr:ReadSupplyStatus/>", counter=2), 1)
    assert code_of(await rig.ask(successor, wait_s=60)) == "I99"
    assert not rig.hub.asked
    await rig.ask(request_xml("4.18", BALANCE, counter=1))
    await asyncio.sleep(1)
    assert answers(rig) == {1: "I0", 2: "I0"}
    assert [response.key for response in rig.head_end.responses()] == [f"{USER}:{A0}:1", f"{USER}:{A0}:2"]
    third = after(request_xml("7.4", "<sr:ReadSupplyStatus/>", counter=3), 2)
    assert code_of(await rig.ask(third)) == "I0", "the predecessor was done before"


async def test_a_chain_over_a_restart(rig: Rig) -> None:
    for counter in (3, 2):
        await rig.ask(after(request_xml("4.18", BALANCE, counter=counter), counter - 1), wait_s=None)
    await rig.restart()
    await rig.ask(request_xml("4.18", BALANCE, counter=1))
    await asyncio.sleep(1)
    assert answers(rig) == {1: "I0", 2: "I0", 3: "I0"}


@pytest.mark.parametrize("failure", ["no", "never", "expired"])
async def test_without_success_before_it_a_request_is_not_carried_out(
    rig: Rig, schema: Any, failure: str
) -> None:
    successor = after(request_xml("7.4", "<sr:ReadSupplyStatus/>", counter=2), 1)
    await rig.ask(successor, wait_s=None)
    if failure == "no":
        del rig.hub.meters[ESME].attributes[1, 0x0705, "credit_remaining"]
        await rig.ask(request_xml("4.18", BALANCE, counter=1))
    elif failure == "expired":
        rig.hub.is_expiring = True
        await rig.ask(request_xml("4.18", BALANCE, counter=1))
    asked = len(rig.hub.asked)
    await asyncio.sleep(DAY_S + 60)
    assert answers(rig)[2] == "E31"
    assert len(rig.hub.asked) == asked
    schema(etree.fromstring(rig.head_end.responses()[-1].xml))


async def test_nobody_follows_another_users_request(rig: Rig) -> None:
    xml = after(request_xml("7.4", "<sr:ReadSupplyStatus/>", counter=2), 1, "90-B3-D5-1F-30-02-00-00")
    assert code_of(await rig.ask(xml)) == "E31"


async def test_cancellation_withdraws_what_still_waits(rig: Rig, schema: Any) -> None:
    for counter, when in ((1, "2024-03-05T00:00:00Z"), (2, "2024-03-06T00:00:00Z")):
        assert code_of(await rig.ask(request_xml("4.18", dated(when), counter=counter), wait_s=None)) == "I99"
    supply = "<sr:ReadInstantaneousPrepayValues><sr:ExecutionDateTime>2024-03-05T00:00:00Z</sr:ExecutionDateTime></sr:ReadInstantaneousPrepayValues>"
    await rig.ask(request_xml("4.3", supply, counter=3), wait_s=None)
    await rig.restart()
    cancelled = await rig.ask(request_xml("4.18", dated("3000-12-31T00:00:00.00Z"), counter=4))
    schema(cancelled)
    assert code_of(cancelled) == "I0"
    await asyncio.sleep(7 * DAY_S)
    assert answers(rig) == {1: "E41", 2: "E41", 3: "I0", 4: "I0"}
    assert len(rig.hub.asked) == 1
    await rig.restart()
    await asyncio.sleep(DAY_S)
    assert len(rig.head_end.responses()) == 4


async def test_a_cancellation_is_one_request_too(rig: Rig) -> None:
    xml = request_xml("4.18", dated("3000-12-31T00:00:00Z"))
    assert [code_of(await rig.ask(xml)) for _ in range(2)] == ["I0", "E40"]


# --- signed Pre-Commands -------------------------------------------------------------------------


def sign_pre_command(payload: bytes, credential: Credential) -> bytes:
    """As a user does: r | s over all but the tag and the empty signature."""
    assert credential.key is not None
    r, s = decode_dss_signature(credential.key.sign(payload[1:-1], ec.ECDSA(hashes.SHA256())))
    return payload[:-1] + b"\x40" + r.to_bytes(32, "big") + s.to_bytes(32, "big")


async def transform(rig: Rig, counter: int) -> bytes:
    xml = request_xml("7.2", "<sr:DisableSupply/>", cv=4, counter=counter)
    signed = etree.tostring(XmlSigner(rig.credentials[SUPPLIER]).sign(etree.fromstring(xml)))
    answer = await rig.ask(signed, "serviceT")
    return base64.b64decode(answer.findtext(".//{*}PreCommand/{*}GBCSPayload") or "")


async def send(rig: Rig, payload: bytes, counter: int) -> str:
    text = base64.b64encode(payload).decode()
    body = f"<sr:SignedPreCommand><sr:GBCSPayload>{text}</sr:GBCSPayload></sr:SignedPreCommand>"
    xml = request_xml("7.2", body, cv=5, counter=counter)
    signed = etree.tostring(XmlSigner(rig.credentials[SUPPLIER]).sign(etree.fromstring(xml)))
    return code_of(await rig.ask(signed))


async def test_a_pre_command_must_be_signed_by_its_originator(make_rig: Any) -> None:
    rig: Rig = await make_rig(signatures="require")
    payload = await transform(rig, 1)
    flipped = bytearray(sign_pre_command(payload, rig.credentials[SUPPLIER]))
    flipped[-1] ^= 1
    assert await send(rig, payload, 1) == "E100"
    assert await send(rig, sign_pre_command(payload, rig.credentials[NETWORK]), 1) == "E100"
    assert await send(rig, bytes(flipped), 1) == "E100"
    assert not rig.hub.asked
    assert await send(rig, sign_pre_command(payload, rig.credentials[SUPPLIER]), 1) == "I0"
    assert rig.hub.meters[ESME].executed == ["critical_instruction", "change_supply"]


async def test_a_pre_command_must_be_what_was_transformed(make_rig: Any) -> None:
    """Even a true signature of the user's own does not make another request of it."""
    rig: Rig = await make_rig(signatures="require")
    payload = await transform(rig, 1)
    other = payload.replace(b"DisableSupply", b"DisableSupplx")
    assert other != payload
    assert await send(rig, sign_pre_command(other, rig.credentials[SUPPLIER]), 1) == "E43"
    never = payload.replace((1).to_bytes(8, "big"), (2).to_bytes(8, "big"), 1)
    assert await send(rig, sign_pre_command(never, rig.credentials[SUPPLIER]), 2) == "E43"
    await rig.restart()
    assert await send(rig, sign_pre_command(payload, rig.credentials[SUPPLIER]), 1) == "I0"
