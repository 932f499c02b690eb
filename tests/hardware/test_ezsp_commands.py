"""Our tables of EZSP commands against bellows' own: every parameter list, octet by octet, in both versions."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smets1.errors import DecodeError
from smets1.hardware.ezsp import EzspFrame, commands, commands_by_id
from smets1.hardware.ezsp.commands import VERSIONS
from smets1.hardware.ezsp.schema import STRUCTS, Schema, schema
from smets1.hardware.ezsp.statuses import Status, from_sl_status, to_sl_status

# Where two foreign programs differ: bellows sends one octet of flags that zigbee-herdsman leaves out.
MORE_IN_BELLOWS = {(14, "importTransientKey"): b"\0"}


def some_value(kind: str, values: dict[str, Any], rng: random.Random) -> Any:
    """A value that every reader of this kind takes (numbers that bellows has enums for stay small)."""
    sizes = {"u8": 8, "u16": 16, "u32": 32, "eui": 64}
    if kind in sizes:
        return rng.randrange(1 << sizes[kind])
    match kind:
        case "i8":
            return rng.randrange(-128, 128)
        case "bool":
            return rng.random() < 0.5
        case "key" | "o8":
            return rng.randbytes(16 if kind == "key" else 8)
        case "lv" | "lv32":
            return rng.randbytes(rng.randrange(20))
        case "status" | "error" | "sl":
            return 0
        case "u16*" | "u16s":
            return [rng.randrange(1 << 16) for _ in range(rng.randrange(5))]
    if kind.startswith("u16["):
        return [rng.randrange(1 << 16) for _ in range(values[kind[4:-1]])]
    return some_values(schema(STRUCTS[kind], 13), rng)


def some_values(fields: Schema, rng: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, kind in fields.fields:
        if name.endswith("_count") and any(other == f"u16[{name}]" for _, other in fields.fields):
            values[name] = rng.randrange(5)
        else:
            values[name] = some_value(kind, values, rng)
    return values


CASES = [
    pytest.param(version, name, id=f"{version}-{name}") for version in VERSIONS for name in commands(version)
]


@pytest.mark.parametrize(("version", "name"), CASES)
def test_bellows_reads_what_we_write_and_the_other_way_round(version: int, name: str) -> None:
    bellows_types = pytest.importorskip("bellows.types")
    protocol = pytest.importorskip(f"bellows.ezsp.v{version}")
    theirs = getattr(protocol, f"EZSPv{version}").COMMANDS[name]
    ours = commands(version)[name]
    assert theirs[0] == ours.frame_id
    rng = random.Random(f"{version} {name}")
    for their_fields, our_fields in ((theirs[1], ours.request), (theirs[2], ours.answer)):
        for _ in range(20):
            values = some_values(our_fields, rng)
            octets = our_fields.encode(values)
            more = MORE_IN_BELLOWS.get((version, name), b"") if our_fields is ours.request else b""
            octets += more
            if name == "addEndpoint" and our_fields is ours.request:
                # bellows leaves the counts to its caller and reads such lists to the end: compare the writing
                numbers = [value for value in values.values() if isinstance(value, int)]
                lists = [bellows_types.List[bellows_types.uint16_t](v) for v in list(values.values())[-2:]]
                assert bellows_types.serialize_dict((*numbers, *lists), {}, their_fields) == octets
                continue
            if isinstance(their_fields, dict):
                read, rest = bellows_types.deserialize_dict(octets, their_fields)
                assert rest == b""
                assert len(read) == len(our_fields.fields) + len(more)
                written = bellows_types.serialize_dict(tuple(read.values()), {}, their_fields)
            else:
                record, rest = their_fields.deserialize(octets)
                assert rest == b""
                written = record.serialize()
            assert written == octets
            decoded, rest = our_fields.decode(octets)
            assert (decoded, rest) == (values, more)


@pytest.mark.parametrize("version", VERSIONS)
def test_random_octets(version: int) -> None:
    rng = random.Random(version)
    for command in commands(version).values():
        for fields in (command.request, command.answer):
            for length in range(40):
                try:
                    fields.decode(rng.randbytes(length))
                except DecodeError:
                    pass


def test_numbers_are_unique() -> None:
    for version in VERSIONS:
        assert len(commands(version)) == len(commands_by_id(version))


def test_statuses_as_bellows_maps_them() -> None:
    types = pytest.importorskip("bellows.types")
    for status in Status:
        assert types.sl_Status.from_ember_status(types.EmberStatus(status)) == to_sl_status(status)
        assert to_sl_status(from_sl_status(to_sl_status(status))) == to_sl_status(status)
    assert from_sl_status(0xFFFF) is Status.FATAL
    assert to_sl_status(0x77) == to_sl_status(Status.FATAL)


def test_headers() -> None:
    legacy = EzspFrame(sequence=1, frame_id=0, parameters=b"\x04", is_legacy=True)
    assert legacy.encode() == bytes.fromhex("01000004")
    assert EzspFrame.decode(legacy.encode(), is_legacy=True) == legacy
    answer = EzspFrame(sequence=2, frame_id=0x0115, parameters=b"\x07", is_response=True)
    assert answer.encode() == bytes.fromhex("028001150107")
    assert EzspFrame.decode(answer.encode()) == answer
    callback = EzspFrame(sequence=2, frame_id=0x19, parameters=b"\x90", is_response=True, is_callback=True)
    assert callback.encode() == bytes.fromhex("02900119" + "0090")
    for cut in range(5):
        with pytest.raises(DecodeError):
            EzspFrame.decode(answer.encode()[:cut])
