"""WAN messages: vectors, round trips, and peers that cannot write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import DecodeError
from smets1.firmware.wan.messages import (
    MAX_IDS,
    MAX_MESSAGE_OCTETS,
    HubStatus,
    WanEvent,
    WanReceipt,
    WanRequest,
    WanResponse,
    WanStatus,
    WanTopic,
    request_id_of,
    topic,
    topic_filter,
    topic_parts,
)

_VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wan_messages.json").read_text())["messages"]
_CLASSES: dict[str, Any] = {
    "request": WanRequest,
    "response": WanResponse,
    "event": WanEvent,
    "receipt": WanReceipt,
    "status": HubStatus,
}
_ids = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)
_eui64s = st.integers(0, 2**64 - 1)
_times = st.integers(0, 2**63 - 1)
_octet = st.integers(0, 255)
_clusters = st.integers(0, 0xFFFF)
_messages = st.one_of(
    st.builds(
        WanRequest,
        request_id=_ids,
        expires_utc_us=_times,
        target=_eui64s,
        endpoint=_octet,
        cluster_id=_clusters,
        frame=st.binary(),
    ),
    st.builds(
        WanResponse,
        request_id=_ids,
        status=st.sampled_from(WanStatus),
        frame=st.binary(),
        device_utc_us=st.none() | _times,
        from_gsme=st.booleans(),
    ),
    st.builds(
        WanEvent,
        event_id=_ids,
        source=_eui64s,
        endpoint=_octet,
        cluster_id=_clusters,
        frame=st.binary(),
        utc_us=_times,
    ),
    st.builds(WanReceipt, ids=st.lists(_ids, min_size=1, max_size=20).map(tuple)),
    st.builds(HubStatus, online=st.booleans(), boot_count=st.integers(0, 2**32 - 1), utc_us=_times),
)


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector["kind"])
def test_vectors(vector: dict[str, Any]) -> None:
    fields = dict(vector["fields"])
    if "frame" in fields:
        fields["frame"] = bytes.fromhex(fields["frame"])
    if "status" in fields:
        fields["status"] = WanStatus(fields["status"])
    if "ids" in fields:
        fields["ids"] = tuple(fields["ids"])
    message = _CLASSES[vector["kind"]](**fields)
    assert message.encode().hex() == vector["octets"]
    assert _CLASSES[vector["kind"]].decode(bytes.fromhex(vector["octets"])) == message


@given(_messages)
def test_round_trip_and_truncation(message: Any) -> None:
    octets = message.encode()
    assert type(message).decode(octets) == message
    for index in range(len(octets)):
        with pytest.raises(DecodeError):
            type(message).decode(octets[:index])
    with pytest.raises(DecodeError):
        type(message).decode(octets + b"\xf6")


@given(st.binary(max_size=300), st.sampled_from(sorted(_CLASSES)))
def test_random_octets(octets: bytes, kind: str) -> None:
    with pytest.raises(DecodeError):
        _CLASSES[kind].decode(octets)
    assert request_id_of(octets) is None


@given(_messages, st.data())
def test_flipped_octets(message: Any, data: st.DataObject) -> None:
    octets = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(_octet)
    try:
        type(message).decode(bytes(octets))
    except DecodeError:
        pass


def _fields(kind: str) -> dict[str, Any]:
    octets = next(vector["octets"] for vector in _VECTORS if vector["kind"] == kind)
    return dict(cbor2.loads(bytes.fromhex(octets)))


@pytest.mark.parametrize("kind", sorted(_CLASSES))
def test_every_field_is_needed_and_typed(kind: str) -> None:
    fields = _fields(kind)
    decode = _CLASSES[kind].decode
    for name in fields:
        if name == "device_utc_us":  # the one optional field
            decode(cbor2.dumps({key: value for key, value in fields.items() if key != name}))
            continue
        for bad in (None, -1, 1.0, "", [], {}, 2**64 - 1, [0], [""], "é", "x" * 65):
            with pytest.raises(DecodeError):
                decode(cbor2.dumps({**fields, name: bad}))
        with pytest.raises(DecodeError):
            decode(cbor2.dumps({key: value for key, value in fields.items() if key != name}))


@pytest.mark.parametrize("kind", sorted(_CLASSES))
def test_unknown_keys_are_ignored_and_versions_refused(kind: str) -> None:
    fields, cls = _fields(kind), _CLASSES[kind]
    assert cls.decode(cbor2.dumps({**fields, "later": {"a": [1]}})) == cls.decode(cbor2.dumps(fields))
    for version in (0, 2, True, 1.0, "1"):
        with pytest.raises(DecodeError):
            cls.decode(cbor2.dumps({**fields, "version": version}))
    with pytest.raises(DecodeError, match="kind"):
        cls.decode(cbor2.dumps({**fields, "kind": "other"}))


def test_size_limits() -> None:
    fields = _fields("request")
    with pytest.raises(DecodeError, match="longer"):
        WanRequest.decode(cbor2.dumps({**fields, "frame": bytes(MAX_MESSAGE_OCTETS)}))
    ids = tuple("x" * 60 + f"{number:04}" for number in range(MAX_IDS))
    octets = WanReceipt(ids=ids).encode()
    assert len(octets) < MAX_MESSAGE_OCTETS
    assert WanReceipt.decode(octets).ids == ids
    with pytest.raises(DecodeError):
        WanReceipt.decode(WanReceipt(ids=(*ids, "one more")).encode())


def test_request_id_of_a_broken_request() -> None:
    fields = _fields("request")
    assert request_id_of(cbor2.dumps({**fields, "target": 7})) == "s1sp-0001"
    assert request_id_of(cbor2.dumps({**fields, "request_id": "a b"})) is None
    assert request_id_of(cbor2.dumps([1])) is None
    assert request_id_of(bytes(MAX_MESSAGE_OCTETS + 1)) is None


def test_topics() -> None:
    hub = 0x00DB1234567890A3
    assert topic(hub, WanTopic.REQUEST) == "hub/00db1234567890a3/request"
    assert topic_filter(WanTopic.EVENT) == "hub/+/event"
    for kind in WanTopic:
        assert topic_parts(topic(hub, kind)) == (hub, kind)
    for bad in (
        "",
        "hub",
        "hub/00DB1234567890A3/request",
        "hub/00db1234567890a3/other",
        "x/00db1234567890a3/event",
    ):
        with pytest.raises(DecodeError):
            topic_parts(bad)
