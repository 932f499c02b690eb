"""docs/wan.md's promises: the AsyncAPI file fits the code, and the foreign head end of the examples works."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import MAX_IDS, WanRequest, WanResponse, WanStatus
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import EmulatorLoop, run
from smets1.tools.broker import EmbeddedBroker

_REPOSITORY = Path(__file__).parents[3]
_VECTORS = json.loads((_REPOSITORY / "tests/vectors/wan_messages.json").read_text())["messages"]
HUB = 0x00DB1234567890A2
METER = 0x00DB1234567890A0


@pytest.fixture
def asyncapi() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load((_REPOSITORY / "docs/asyncapi.yaml").read_text())
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector["kind"])
def test_asyncapi_names_every_field(asyncapi: dict[str, Any], vector: dict[str, Any]) -> None:
    schema = asyncapi["components"]["schemas"][vector["kind"]]
    fields = cbor2.loads(bytes.fromhex(vector["octets"]))
    assert set(schema["properties"]) == set(fields)
    assert set(schema["required"]) | {"device_utc_us"} >= set(fields)
    assert schema["properties"]["kind"]["const"] == vector["kind"]
    assert f"hub/{{hub}}/{vector['kind']}" == asyncapi["channels"][vector["kind"]]["address"]


def test_asyncapi_values(asyncapi: dict[str, Any]) -> None:
    schemas = asyncapi["components"]["schemas"]
    assert schemas["response"]["properties"]["status"]["enum"] == [int(status) for status in WanStatus]
    assert schemas["receipt"]["properties"]["ids"]["maxItems"] == MAX_IDS


def test_wan_md_names_every_status() -> None:
    text = (_REPOSITORY / "docs/wan.md").read_text()
    for status in WanStatus:
        assert f"| {status.value} | {status.name} |" in text


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    pytest.importorskip("amqtt")
    with EmbeddedBroker() as embedded:
        yield embedded


@pytest.mark.outsider
def test_foreign_head_end(broker: EmbeddedBroker) -> None:
    """The example as a process of its own, against our end of the hub."""
    asked: list[WanRequest] = []

    async def execute(request: WanRequest) -> WanResponse:
        asked.append(request)
        frame = bytes.fromhex("18010100000025efcdab000000")  # Read Attributes Response, uint48
        return WanResponse(request_id=request.request_id, status=WanStatus.DONE, frame=frame)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        link = MqttLink(MqttSettings.parse(broker.url), "hub", random.Random(1))
        nvm = MemoryNvm()
        # A hub whose clock is behind: what the example asks for has not expired.
        hub = HubWanEnd(
            link, HUB, nvm, CivilClock(loop, 1_700_000_000_000_000), execute, rng=random.Random(2)
        )
        await hub.start()
        example = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_REPOSITORY / "docs/examples/foreign_head_end.py"),
            *("--broker", f"{broker.host}:{broker.port}"),
            *("--hub", "00-DB-12-34-56-78-90-A2", "--meter", "00-DB-12-34-56-78-90-A0"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await example.communicate()
        assert example.returncode == 0
        assert int(output) == 0xABCDEF
        async with asyncio.timeout(10):
            while hub.unanswered_count:  # noqa: ASYNC110 - its receipt is on the way
                await asyncio.sleep(0.01)
        await hub.close()

    run(main())
    assert [(request.target, request.cluster_id, request.frame.hex()) for request in asked] == [
        (METER, 0x0702, "0001000000")
    ]
