"""The exported clusters: complete, and each command's payload there reads what ours has written."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.declare import Cluster, Command
from smets1.firmware.zcl.fields import Field, Payload
from smets1.firmware.zcl.frame import ZclHeader, command_frame
from smets1.firmware.zcl.status import Side

_REASON = "zigpy is not installed (it is in the extra [radio])"
ZigpyCluster = pytest.importorskip("zigpy.zcl", reason=_REASON).Cluster
zigpy_export = pytest.importorskip("smets1.firmware.zcl.zigpy_export", reason=_REASON)
plain_values = zigpy_export.plain_values

pytestmark = pytest.mark.outsider

EXPORTED = zigpy_export.export_clusters()
COMMANDS = [(cluster, command) for cluster in CLUSTERS.values() for command in cluster.commands]


def test_every_cluster_is_there_in_full() -> None:
    for cluster_id, cluster in CLUSTERS.items():
        other = EXPORTED[cluster_id]
        assert {a.id for a in other.AttributeDefs} == {a.attribute_id for a in cluster.server}
        for side, theirs in ((Side.CLIENT, other.ServerCommandDefs), (Side.SERVER, other.ClientCommandDefs)):
            assert {c.id for c in theirs} == {c.command_id for c in cluster.commands if c.sender is side}


def test_prepayment_is_no_longer_empty() -> None:
    assert len(list(EXPORTED[0x0705].AttributeDefs)) > 50
    assert EXPORTED[0x0705].commands_by_name["consumer_top_up"].schema is not None


def a_value(rng: random.Random, field: Field, cluster: Cluster) -> Any:
    if field.octets is not None:
        return rng.randbytes(field.octets if field.octets >= 0 else rng.randrange(20))
    kind = field.type
    assert kind is not None
    if kind.minimum is not None and kind.maximum is not None:
        return rng.randint(kind.minimum, kind.maximum)
    samples: dict[str, Any] = {
        "bool": True,
        "octstr": rng.randbytes(5),
        "octstr16": rng.randbytes(300),
        "string": "Liberty",
    }
    if kind.name in samples:
        return samples[kind.name]
    return kind.decode(bytes(rng.randrange(1, 12) for _ in range(40)), 0)[0]


def some_values(rng: random.Random, payload: Payload, cluster: Cluster) -> dict[str, Any]:
    """Values for each field that the ones before it ask for; an optional tail stops anywhere."""
    values: dict[str, Any] = {}
    counts = {field.count for field in payload.fields if field.count}
    for field in payload.fields:
        if field.is_optional and rng.random() < 0.2:
            break
        if field.when is not None:
            name, operator, operand = field.when
            if not (values[name] & operand if operator == "&" else values[name] == operand):
                continue
        if field.name in counts:
            values[field.name] = rng.randrange(3)
        elif field.is_repeated:
            number = values[field.count] if field.count else rng.randrange(3)
            if field.records is not None:
                values[field.name] = [some_values(rng, field.records, cluster) for _ in range(number)]
            else:
                values[field.name] = [a_value(rng, field, cluster) for _ in range(number)]
        else:
            values[field.name] = a_value(rng, field, cluster)
    return values


@pytest.mark.parametrize(("cluster", "command"), COMMANDS, ids=[f"{c.name}.{d.name}" for c, d in COMMANDS])
def test_each_command_reads_the_same_there(cluster: Cluster, command: Command) -> None:
    rng = random.Random(command.name)
    for _ in range(20):
        values = some_values(rng, command.payload, cluster)
        frame = command_frame(cluster, command.name, values, sender=command.sender)
        _, payload = ZclHeader.decode(frame)
        theirs = EXPORTED[cluster.cluster_id]
        schema = (theirs.server_commands if command.sender is Side.CLIENT else theirs.client_commands)[
            command.command_id
        ].schema
        read, rest = schema.deserialize(payload)
        assert rest == b""
        assert plain_values(read, command.payload) == command.payload.decode(payload)
        assert read.serialize() == payload


def test_the_registry_is_touched_only_on_request() -> None:
    price = CLUSTERS[0x0700]
    before = ZigpyCluster._registry[0x0700]
    zigpy_export.export_cluster(price)
    assert ZigpyCluster._registry[0x0700] is before


def test_the_core_does_not_import_zigpy() -> None:
    code = "import sys, smets1.tools.home, smets1.tools.cli; assert 'zigpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
