"""Every kind of response that can be built is one that the schema accepts."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import DSP, ESME, NS, S1SP, START_UTC_US, SUPPLIER, request_xml

from smets1.errors import InputError
from smets1.headend.duis.codes import DccAlertCode, ResponseCode
from smets1.headend.duis.request import RequestId, XmlNode, parse_request
from smets1.headend.duis.response import DebugEntry, DeviceTime, ResponseBuilder, node
from smets1.headend.duis.schema import SchemaValidator
from smets1.headend.duis.signature import Credential, Verifier, XmlSigner

ALERT_ID = RequestId(ESME, SUPPLIER, 77)
REQUEST = parse_request(request_xml("4.18", "<sr:ReadMeterBalance/>"))
TIME = DeviceTime(utc_us=START_UTC_US + 250_000, is_from_gsme=False)


@pytest.fixture
def builder(credentials: dict[int, Credential]) -> ResponseBuilder:
    return ResponseBuilder(dsp=DSP, signer=XmlSigner(credentials[S1SP]))


def test_every_code(builder: ResponseBuilder, schema: Any) -> None:
    for code in ResponseCode:
        schema(etree.fromstring(builder.service(REQUEST, code, now_utc_us=START_UTC_US)))


def test_alerts(builder: ResponseBuilder, schema: Any, pki: Any, credentials: dict[int, Credential]) -> None:
    for code in DccAlertCode:
        alert = builder.command_failure(REQUEST, code, device=ESME, now_utc_us=START_UTC_US)
        schema(etree.fromstring(alert))
    octets = builder.s1sp_alert(
        ALERT_ID,
        "S1SP1",
        device=ESME,
        now_utc_us=START_UTC_US,
        request_id=REQUEST.request_id,
        utrn="73946144332040217315",
        information="for a test",
    )
    root = etree.fromstring(octets)
    schema(root)
    inner = root.find(".//sr:S1SPAlert", NS)
    assert inner is not None
    verifier = Verifier(pki.store_of(credentials[S1SP]))
    verified, _ = verifier.verify(etree.tostring(inner, with_tail=False), now_utc_us=START_UTC_US)
    assert verified.findtext("sr:UTRN", namespaces=NS) == "73946144332040217315"
    schema(etree.fromstring(builder.s1sp_alert(ALERT_ID, "X", device=ESME, now_utc_us=START_UTC_US)))
    octets = builder.device_alert(ALERT_ID, 0x8F32, "supply armed", now_utc_us=START_UTC_US, time=TIME)
    schema(etree.fromstring(octets))
    assert b"<ra:GBCSHexAlertCode>8F32<" in octets
    assert b"2024-03-01T12:00:00.250Z" in octets


def test_device_answers(builder: ResponseBuilder, schema: Any) -> None:
    data = node("ReadMeterBalanceRsp", [node("MeterBalance", -5), None], MessageSuccess=True)
    good = builder.device_answer(REQUEST, now_utc_us=START_UTC_US, data=data, time=TIME)
    schema(etree.fromstring(good))
    assert b'MessageSuccess="true"><ra:MeterBalance>-5<' in good
    entry = DebugEntry(error="<&>" * 200, response_code=0x86)
    bad = builder.device_answer(REQUEST, now_utc_us=START_UTC_US, data=None, time=None, debug=(entry,))
    schema(etree.fromstring(bad))
    schema(etree.fromstring(builder.pre_command(REQUEST, b"\xdf", now_utc_us=START_UTC_US)))


def test_nodes() -> None:
    assert node("a") is None
    assert node("a", True) == XmlNode("a", "true")
    tree = node("a", [node("b", 1), node("c"), node("b", 2)], x=1)
    assert tree is not None
    assert tree.value("b") == "1"
    assert tree.find("c", "d") is None
    assert tree.attributes == (("x", "1"),)


def test_schema_by_folder(shared_dir: Any, tmp_path: Any) -> None:
    validator = SchemaValidator(shared_dir / "schemas")
    good = etree.fromstring(REQUEST.xml)
    assert validator.explain(good) is None
    bad = etree.fromstring(REQUEST.xml.replace(b"ReadMeterBalance", b"ReadNothing"))
    assert "ReadNothing" in (validator.explain(bad) or "")
    with pytest.raises(InputError, match=r"DUIS-5\.4\.xsd"):
        SchemaValidator(tmp_path)
