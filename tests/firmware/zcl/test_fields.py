"""The notation of command payloads and its compiled codec."""

from __future__ import annotations

import random

import pytest

from smets1.errors import DecodeError, MisuseError
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.fields import Field, Payload
from smets1.firmware.zcl.types import ZclDate

COMMANDS = [
    pytest.param(command, id=f"{cluster.name}-{command.sender.name.lower()}-{command.name}")
    for cluster in CLUSTERS.values()
    for command in cluster.commands
]


def test_fixed_run_with_odd_widths() -> None:
    payload = Payload("a:u8 b:u24 c:i24 d:u48 e:u32")
    values = {"a": 1, "b": 0x030201, "c": -1, "d": 5, "e": 6}
    octets = bytes.fromhex("01 010203 ffffff 050000000000 06000000")
    assert payload.encode(values) == octets
    assert payload.decode(octets) == values


def test_none_is_not_available() -> None:
    assert Payload("a:u8 b:u24 c:u32").encode({"a": None, "b": None, "c": 1}).hex() == "ffffffff01000000"


def test_optional_tail_stops_where_the_sender_stopped() -> None:
    payload = Payload("a:u8 [b:u16 c:octstr]")
    assert payload.decode(b"\x01") == {"a": 1}
    assert payload.decode(b"\x01\x02\x00") == {"a": 1, "b": 2}
    assert payload.encode({"a": 1, "b": 2}) == b"\x01\x02\x00"
    assert payload.decode(b"\x01\x02\x00\x01x") == {"a": 1, "b": 2, "c": b"x"}
    with pytest.raises(DecodeError):
        payload.decode(b"\x01\x02")


def test_repeats() -> None:
    counted = Payload("n:u8 items:u24*n rest:u8")
    assert counted.encode({"items": [1, 2], "rest": 9}).hex() == "02" + "010000" + "020000" + "09"
    assert counted.decode(bytes.fromhex("0201000002000009")) == {"n": 2, "items": [1, 2], "rest": 9}
    with pytest.raises(DecodeError):
        counted.decode(bytes.fromhex("0301000002000009"))
    to_end = Payload("a:u8 pairs:{x:u8 y:octstr}*")
    values = {"a": 1, "pairs": [{"x": 2, "y": b"z"}, {"x": 3, "y": b""}]}
    assert to_end.decode(to_end.encode(values)) == values
    assert to_end.decode(b"\x01") == {"a": 1, "pairs": []}


def test_conditions() -> None:
    payload = Payload("status:e8 when:status=0x00 a:u16 data:octstr when:status=0x97 time:utc")
    assert payload.decode(payload.encode({"status": 0, "a": 1, "data": b"x"})) == {
        "status": 0,
        "a": 1,
        "data": b"x",
    }
    assert payload.encode({"status": 0x97, "time": 5}).hex() == "9705000000"
    assert payload.encode({"status": 0x95}) == b"\x95"
    masked = Payload("control:bm8 when:control&0x02 b:u8")
    assert masked.decode(b"\x01") == {"control": 1}
    assert masked.decode(b"\x03\x07") == {"control": 3, "b": 7}


def test_later_revisions_append_fields() -> None:
    assert Payload("a:u8").decode(b"\x01\x02\x03") == {"a": 1}


def test_misuse_is_told_by_name() -> None:
    payload = Payload("amount:i32 label:octstr")
    with pytest.raises(MisuseError, match="label"):
        payload.encode({"amount": 1})
    with pytest.raises(MisuseError, match="amount"):
        payload.encode({"amount": 1 << 40, "label": b""})
    with pytest.raises(MisuseError, match="colour"):
        payload.encode({"amount": 1, "label": b"", "colour": 1})
    with pytest.raises(MisuseError):
        Payload("a:u7")
    with pytest.raises(MisuseError):
        Payload("a b")


def sample(field: Field, rng: random.Random) -> object:
    """A value that the field can carry."""
    if field.is_repeated:
        count = rng.randrange(4)
        if field.records is not None:
            return [{inner.name: sample(inner, rng) for inner in field.records.fields} for _ in range(count)]
        return [_one(field, rng) for _ in range(count)]
    return _one(field, rng)


def _one(field: Field, rng: random.Random) -> object:
    if field.octets is not None:
        return rng.randbytes(rng.randrange(60) if field.octets < 0 else field.octets)
    assert field.type is not None
    if field.type.minimum is not None:
        assert field.type.maximum is not None
        return rng.randint(field.type.minimum, field.type.maximum)
    return {
        "bool": bool(rng.getrandbits(1)), "octstr": rng.randbytes(rng.randrange(30)), "string": "message",
        "octstr16": rng.randbytes(rng.randrange(300)), "date": ZclDate(126, 11, 20, 5),
    }[field.type.name]  # fmt: skip


def sample_values(payload: Payload, rng: random.Random) -> dict[str, object]:
    values: dict[str, object] = {}
    for field in payload.fields:
        if field.when is None or (
            values[field.when[0]] == field.when[2]
            if field.when[1] == "="
            else values[field.when[0]] & field.when[2]  # type: ignore[operator]
        ):
            values[field.name] = sample(field, rng)
    for count, name in payload.counts:
        values[count] = len(values[name])  # type: ignore[arg-type]
    return values


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_round_trips_and_survives_truncation(command) -> None:  # type: ignore[no-untyped-def]
    rng = random.Random(command.name)
    for _ in range(5):
        values = sample_values(command.payload, rng)
        octets = command.payload.encode(values)
        assert command.payload.decode(octets) == values
        for size in range(len(octets)):
            try:
                command.payload.decode(octets[:size])
            except DecodeError:
                pass
    for _ in range(100):
        try:
            command.payload.decode(rng.randbytes(rng.randrange(40)))
        except DecodeError:
            pass
