"""Octets from outside: refused in one line, bounded, and by no other exception."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import DSP, NETWORK, NS, SUPPLIER, Rig, code_of, request_xml
from tests.headend.hostile_documents import sign, sign_as_templates_do

from smets1.errors import SecurityError
from smets1.headend.duis.request import MAX_REQUEST_OCTETS, DuisError, RequestId, parse_request
from smets1.headend.duis.signature import Credential, Verifier

GOOD = request_xml("4.18", "<sr:ReadMeterBalance/>")
SR = NS["sr"]


def test_good_one() -> None:
    request = parse_request(GOOD)
    assert str(request.request_id) == "90-B3-D5-1F-30-01-00-00:00-DB-12-34-56-78-90-A0:1000"
    assert (request.srv, request.body.name) == ("4.18", "ReadMeterBalance")
    assert RequestId.parse(str(request.request_id).lower()) == request.request_id


def test_truncated_anywhere() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(DuisError) as caught:
            parse_request(GOOD[:size])
        assert "\n" not in str(caught.value)


def test_random_octets_and_flipped_ones() -> None:
    rng = random.Random(11)
    for _ in range(300):
        with pytest.raises(DuisError):
            parse_request(rng.randbytes(rng.randrange(200)))
    for _ in range(2000):
        octets = bytearray(GOOD)
        octets[rng.randrange(len(octets))] = rng.randrange(256)
        try:
            parse_request(bytes(octets))
        except DuisError:
            continue


BOMB = b'<!DOCTYPE a [<!ENTITY b "' + b"ha" * 1000 + b'"><!ENTITY c "' + b"&b;" * 1000 + b'">]><a>&c;</a>'
DECLARED = GOOD.replace(b"<sr:Request ", b'<!DOCTYPE sr:Request SYSTEM "file:///etc/passwd"><sr:Request ', 1)


@pytest.mark.parametrize(
    "octets",
    [
        BOMB,
        DECLARED,
        DECLARED.decode().encode("utf-16"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + GOOD,
        b'<?xml version="1.0" encoding="UTF-7"?>' + GOOD,
        b"<?php evil ?>" + GOOD,
        GOOD + b"<?php evil ?>",
        GOOD.replace(b"<sr:Header>", b"<sr:Header><?pi?>"),
        GOOD.replace(b"1000", b"&unknown;"),
        b"<a>" * 5000 + b"</a>" * 5000,
        GOOD.replace(b"<sr:ReadMeterBalance/>", b"<sr:ReadMeterBalance>" + b"<sr:a/>" * 30_000 + b"</sr:ReadMeterBalance>"),
        GOOD.replace(b"<sr:ReadMeterBalance/>", b"<sr:ReadMeterBalance>" + b"<sr:a>" * 40 + b"</sr:a>" * 40 + b"</sr:ReadMeterBalance>"),
        GOOD.replace(SR.encode(), b"http://www.example.org/"),
        GOOD.replace(b"sr:Request ", b"sr:Response ").replace(b"/sr:Request>", b"/sr:Response>"),
        GOOD.replace(b'schemaVersion="5.4"', b""),
        GOOD.replace(b'schemaVersion="5.4"', b'schemaVersion="five"'),
        GOOD.replace(b"<sr:Body>", b"<sr:Body/><sr:Body>"),
        GOOD.replace(b"<sr:ReadMeterBalance/>", b""),
        GOOD.replace(b"<sr:ReadMeterBalance/>", b"<sr:ReadMeterBalance/><sr:ReadMeterBalance/>"),
        GOOD.replace(b":1000<", b":18446744073709551616<"),
        GOOD.replace(b":1000<", b":01<"),
        GOOD.replace(b":1000<", b":-1<"),
        GOOD.replace(b"90-B3", b"90B3"),
        GOOD.replace(b"<sr:CommandVariant>1<", b"<sr:CommandVariant>10<"),
        GOOD.replace(b"<sr:CommandVariant>1<", b"<sr:CommandVariant>one<"),
        GOOD.replace(b"<sr:CommandVariant>1</sr:CommandVariant>", b""),
        GOOD.replace(b"<sr:CommandVariant>", b"<sr:FirstInSequence>maybe</sr:FirstInSequence><sr:CommandVariant>"),
        GOOD.replace(b"<sr:CommandVariant>1", b"<sr:CommandVariant>1</sr:CommandVariant><sr:CommandVariant>1"),
        GOOD.replace(b">4.18<", b">4.18; DROP TABLE request<"),
    ],
)  # fmt: skip
def test_refused(octets: bytes) -> None:
    with pytest.raises(DuisError) as caught:
        parse_request(octets)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_huge_document_costs_nothing() -> None:
    huge = b"<a>" + b" " * 100_000_000 + b"</a>"
    tracemalloc.start()
    with pytest.raises(DuisError, match=str(MAX_REQUEST_OCTETS)):
        parse_request(huge)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_comment_inside_a_value_does_not_cut_it() -> None:
    body = "<sr:TopUpDevice><sr:UTRN>7394614433<!-- x -->2040217315</sr:UTRN></sr:TopUpDevice>"
    assert parse_request(request_xml("2.2", body)).body.value("UTRN") == "73946144332040217315"


# --- signatures ----------------------------------------------------------------------------------


async def test_signed_requests_only(make_rig: Any, schema: Any) -> None:
    rig: Rig = await make_rig(signatures="require")
    good = sign(GOOD, rig.credentials[SUPPLIER])
    unsigned = await rig.ask(GOOD)
    schema(unsigned)
    assert code_of(unsigned) == "E100"
    assert code_of(await rig.ask(good)) == "I0"
    assert code_of(await rig.ask(good)) == "E40", "a replay"
    forged = sign(GOOD, rig.credentials[NETWORK])
    assert code_of(await rig.ask(forged)) == "E100", "signed by somebody else"


async def test_the_form_of_signature_in_dccs_templates(make_rig: Any) -> None:
    rig: Rig = await make_rig(signatures="require")
    signed = sign_as_templates_do(GOOD, rig.credentials[SUPPLIER])
    assert signed.count(b"<ds:Transform ") == 1
    assert code_of(await rig.ask(signed.replace(b":1000<", b":1001<"))) == "E100"
    assert code_of(await rig.ask(signed)) == "I0"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b":1000<", b":1001<"),
        (b"<sr:ReadMeterBalance/>", b"<sr:ReadMeterBalance> </sr:ReadMeterBalance>"),
        (b"ecdsa-sha256", b"rsa-sha1"),
        (b"xmlenc#sha256", b"xmlenc#sha512"),
        (b'URI=""', b'URI="#x"'),
        (b"X509SerialNumber>", b"X509SerialNumber>9"),
        (b"SMETS1 TEST CA", b"ANOTHER CA"),
        (b"<ds:X509IssuerSerial>", b"<ds:X509Certificate>AAAA</ds:X509Certificate><ds:X509IssuerSerial>"),
    ],
)
async def test_tampered(make_rig: Any, old: bytes, new: bytes) -> None:
    rig: Rig = await make_rig(signatures="require")
    good = sign(GOOD, rig.credentials[SUPPLIER])
    assert old in good
    response = await rig.ask(good.replace(old, new, 1))
    if b"X509Certificate>" in new:  # what the document says of itself is not what we trust
        assert code_of(response) in ("I0", "E100")
    else:
        assert code_of(response) == "E100"
        assert not rig.hub.asked


def test_signature_wrapping(pki: Any, credentials: dict[int, Credential]) -> None:
    good = etree.fromstring(sign(GOOD, credentials[SUPPLIER]))
    verifier = Verifier(pki.store_of(*credentials.values()))
    evil = etree.fromstring(request_xml("7.2", "<sr:DisableSupply/>"))
    signature = good[-1]
    # the genuine signature moved to another document
    evil.append(signature)
    with pytest.raises(SecurityError):
        verifier.verify(etree.tostring(evil), now_utc_us=10**15)
    # the genuine document hidden inside another one
    outer = etree.fromstring(request_xml("7.2", "<sr:DisableSupply/>"))
    outer[1].append(etree.fromstring(sign(GOOD, credentials[SUPPLIER])))
    with pytest.raises(SecurityError):
        verifier.verify(etree.tostring(outer), now_utc_us=10**15)
    # two signatures
    twice = etree.fromstring(sign(GOOD, credentials[SUPPLIER]))
    twice.append(etree.fromstring(etree.tostring(twice[-1])))
    with pytest.raises(SecurityError):
        verifier.verify(etree.tostring(twice), now_utc_us=10**15)


def test_expired_certificate_and_foreign_ones(pki: Any, credentials: dict[int, Credential]) -> None:
    signed = sign(GOOD, credentials[SUPPLIER])
    with pytest.raises(SecurityError):
        Verifier(pki.store_of(credentials[DSP])).verify(signed, now_utc_us=10**15)
    with pytest.raises(SecurityError):
        Verifier(pki.store_of(credentials[SUPPLIER])).verify(signed, now_utc_us=5 * 10**15)


def test_the_same_seed_gives_the_same_pki(pki: Any, credentials: dict[int, Credential]) -> None:
    again = pki.issue(SUPPLIER, "U1")
    assert again.certificate == credentials[SUPPLIER].certificate
    assert "PrivateKey" not in repr(again)
