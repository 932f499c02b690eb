"""zigbee-herdsman (the library of Zigbee2MQTT), as published, with its Ember adapter on our simulated EZSP stick.

It forms the network, admits our IHD and a lenient meter by install code, interviews and reads them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_rcp import CHANNEL, METER, STICK
from node_process import node_process
from plain_devices import READING_WH, PlainMeter, ihd_config, make_ihd, make_router
from test_zigbee_on_host import NETWORK_KEY, PAN

from smets1.eui64 import Eui64
from smets1.firmware.crypto.mmo import install_code_key
from smets1.hardware.air import Air
from smets1.hardware.clock import EmulatorLoop, run
from smets1.hardware.radio import KeyOrigin, LinkKey
from smets1.tools.dongle import EzspDongle, TcpPort

pytestmark = pytest.mark.outsider

METER_CODE = bytes.fromhex("83FED3407A939723A5C639B26916D505C3B5")  # the specification's example


@pytest.fixture
def herdsman(outsiders_dir: Path, program: Callable[[str], str]) -> Path:
    program("node")
    module = outsiders_dir / "node_modules" / "zigbee-herdsman"
    if not module.is_dir():
        pytest.skip("zigbee-herdsman is not installed: run ./tools/outsiders")
    return module


def options(module: Path, save: Path, port: object) -> dict[str, object]:
    return {
        "port": str(port),
        "save": str(save),
        "module": str(module),
        "channel": CHANNEL,
        "pan": PAN,
        "networkKey": list(bytes.fromhex(NETWORK_KEY)),
    }


def is_of(eui64: Eui64) -> Callable[[dict[str, object]], bool]:
    return lambda told: told["eui64"] == f"{eui64:016x}"


async def scene(module: Path, path: Path, version: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    air = Air(loop, random.Random(7))
    dongle = EzspDongle(air, TcpPort("127.0.0.1", 0), STICK, random.Random(2), version=version)
    await dongle.start()
    ihd = make_ihd(air, loop)
    config = ihd_config()
    node = make_router(air, loop)
    meter = PlainMeter(node, loop, is_lenient=True)
    script = Path(__file__).with_name("zigbee_herdsman.js")
    script_options = options(module, path / "herdsman", dongle.pipe)
    try:
        async with node_process(script, script_options) as outsider:
            up = await outsider.wait("up")
            assert up["result"] == "reset"
            assert up["version"]["meta"]["ezsp"] == version
            assert up["network"]["panID"] == PAN
            assert up["network"]["channel"] == CHANNEL
            assert dongle.stick.stack.keys.active is not None
            assert dongle.stick.stack.keys.active.key == bytes.fromhex(NETWORK_KEY)

            outsider.ask(admit=f"{ihd.eui64:016x}", code=config.install_code.hex())
            await outsider.wait("admitting")
            ihd.start()
            told = await outsider.wait("interviewed", is_of(ihd.eui64))
            assert (told["manufacturer"], told["model"]) == (ihd.factory.manufacturer, ihd.factory.model)
            known = ihd.port.stack.zdo.endpoints[1]  # type: ignore[attr-defined]
            (first,) = (row for row in told["endpoints"] if row["endpoint"] == 1)
            assert (tuple(first["input"]), tuple(first["output"])) == (
                known.input_clusters,
                known.output_clusters,
            )
            outsider.ask(read=f"{ihd.eui64:016x}", cluster="genBasic", attributes=["zclVersion", "modelId"])
            told = await outsider.wait("read")
            assert told["values"] == {"zclVersion": 3, "modelId": ihd.factory.model}

            outsider.ask(admit=f"{METER:016x}", code=METER_CODE.hex())
            await outsider.wait("admitting")
            key = install_code_key(METER_CODE)
            await node.join(LinkKey(partner=0, key=key, origin=KeyOrigin.INSTALL_CODE))
            await outsider.wait("interviewed", is_of(METER))
            outsider.ask(read=f"{METER:016x}", cluster="seMetering", attributes=["currentSummDelivered"])
            told = await outsider.wait("read")
            assert told["values"] == {"currentSummDelivered": READING_WH}
        async with node_process(script, {**script_options, "port": str(dongle.pipe)}) as outsider:
            up = await outsider.wait("up")
            assert up["result"] == "resumed"
    finally:
        await ihd.close()
        meter.app.close()
        await node.close()
        await dongle.close()


@pytest.mark.parametrize("version", [13, pytest.param(14, marks=pytest.mark.slow)])
def test_it_forms_admits_interviews_and_reads(herdsman: Path, tmp_path: Path, version: int) -> None:
    run(scene(herdsman, tmp_path, version), speed=1)
