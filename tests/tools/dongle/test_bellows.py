"""bellows and zigpy, as published, on our simulated EZSP stick over a pty: what a home-automation hub does.

They form the network, admit our IHD and a meter by install code, interview them, read them. The IHD keeps
Smart Energy's rules, under which a hub without key establishment may read Basic; the meter is lenient.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bench_rcp import CHANNEL, INSTALL_KEY, METER, STICK
from plain_devices import READING_WH, PlainMeter, ihd_config, ihd_on, make_ihd, make_router
from test_ports import command, told

from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.nvm import MemoryNvm
from smets1.hardware.air import Air, Capture
from smets1.hardware.clock import EmulatorLoop, run
from smets1.hardware.ezsp.modem import ModemConfig
from smets1.hardware.ezsp.radio import EzspRadio
from smets1.hardware.radio import KeyOrigin, LinkKey, NodeRole
from smets1.hardware.rcp import open_pipe
from smets1.tools.dongle import EzspDongle, PtyPort

pytestmark = [pytest.mark.outsider, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
_REASON = "bellows is not installed (it is in the extra [radio])"
application = pytest.importorskip("bellows.zigbee.application", reason=_REASON)
t = pytest.importorskip("zigpy.types", reason=_REASON)

SMART_ENERGY, HOME_AUTOMATION = 0x0109, 0x0104


class SmartEnergyHub(application.ControllerApplication):  # type: ignore[misc,name-defined]
    """zigpy 2.4 drops answers on profiles that it does not know; a program for Smart Energy says that it does."""

    def packet_received(self, packet: Any) -> None:
        if packet.profile_id == SMART_ENERGY:
            packet = packet.replace(profile_id=HOME_AUTOMATION)
        super().packet_received(packet)


def theirs(eui64: Eui64) -> Any:
    return t.EUI64(eui64.to_bytes(8, "little"))


@asynccontextmanager
async def hub(path: str, kind: Any = SmartEnergyHub) -> AsyncIterator[Any]:
    config = {
        "device": {"path": path, "baudrate": 115200},
        "database_path": None,
        "use_thread": False,
        "ota": {"enabled": False},
        "startup_energy_scan": False,
        "topology_scan_enabled": False,
        "network": {"channel": CHANNEL},
    }
    app = await kind.new(config, auto_form=True)
    try:
        yield app
    finally:
        await app.shutdown()


class Joins:
    """A zigpy listener: who was interviewed."""

    def __init__(self) -> None:
        self.initialized: asyncio.Queue[Any] = asyncio.Queue()

    def device_initialized(self, device: Any) -> None:
        self.initialized.put_nowait(device)


async def admit(app: Any, joins: Joins, eui64: Eui64, install_key: bytes) -> None:
    await app.permit_with_link_key(node=theirs(eui64), link_key=t.KeyData(install_key), time_s=60)


async def scene(path: Path, version: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    air = Air(loop, random.Random(7))
    capture = Capture(air, path / "bellows.pcapng")
    dongle = EzspDongle(air, PtyPort(path / "ttyEZSP"), STICK, random.Random(2), version=version)
    await dongle.start()
    ihd = make_ihd(air, loop)
    node = make_router(air, loop)
    meter = PlainMeter(node, loop, is_lenient=True)
    try:
        async with asyncio.timeout(60), hub(str(path / "ttyEZSP")) as app:
            info = app.state.network_info
            assert app._ezsp.ezsp_version == version
            assert (info.channel, app.state.node_info.ieee) == (CHANNEL, theirs(STICK))
            joins = Joins()
            app.add_listener(joins)

            await admit(app, joins, ihd.eui64, ihd.factory.install_key)
            ihd.start()
            device = await joins.initialized.get()
            assert device.ieee == theirs(ihd.eui64)
            assert (device.manufacturer, device.model) == (ihd.factory.manufacturer, ihd.factory.model)
            descriptors = {
                descriptor.endpoint: descriptor for descriptor in ihd.port.stack.zdo.endpoints.values()
            }
            assert set(device.endpoints) - {0} == set(descriptors)
            assert set(device.endpoints[1].in_clusters) == set(descriptors[1].input_clusters)
            assert set(device.endpoints[1].out_clusters) == set(descriptors[1].output_clusters)
            read, failed = await device.endpoints[1].basic.read_attributes(["model", "zcl_version"])
            assert (read, failed) == ({"model": ihd.factory.model, "zcl_version": 3}, {})

            await admit(app, joins, METER, INSTALL_KEY)
            await node.join(LinkKey(partner=0, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
            device = await joins.initialized.get()
            assert (device.ieee, device.model) == (theirs(METER), "PlainMeter")
            metering = device.endpoints[1].in_clusters[0x0702]
            read, failed = await metering.read_attributes(["current_summ_delivered"])
            assert (list(read.values()), failed) == ([READING_WH], {})
            assert node.network is not None
            assert node.network.trust_centre == STICK
            counters = await app._ezsp.read_counters()
            assert sum(counters.values()) > 10
            energy = await app.energy_scan(
                t.Channels.from_channel_list([11, CHANNEL]), duration_exp=2, count=1
            )
            assert set(energy) == {11, CHANNEL}
    finally:
        await ihd.close()
        meter.app.close()
        await node.close()
        await dongle.close()
        capture.close()


@pytest.mark.parametrize("version", [13, 14])
def test_it_forms_admits_interviews_and_reads(version: int, tmp_path: Path) -> None:
    run(scene(tmp_path, version), speed=1)


async def back(path: Path) -> None:
    """A hub that starts again finds its network in the stick's tokens."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    dongle = EzspDongle(Air(loop, random.Random(7)), PtyPort(path / "tty"), STICK, random.Random(2))
    await dongle.start()
    try:
        async with asyncio.timeout(60):
            async with hub(str(path / "tty")) as app:
                first = app.state.network_info
            async with hub(str(path / "tty")) as app:
                again = app.state.network_info
        assert again.network_key.key == first.network_key.key
        assert again.network_key.tx_counter > first.network_key.tx_counter
        assert (again.pan_id, again.extended_pan_id) == (first.pan_id, first.extended_pan_id)
    finally:
        await dongle.close()


def test_the_network_outlives_the_hub(tmp_path: Path) -> None:
    run(back(tmp_path), speed=1)


def test_nobody_joins_without_a_key(tmp_path: Path, program: Any) -> None:
    async def refused() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        air = Air(loop, random.Random(7))
        dongle = EzspDongle(air, PtyPort(tmp_path / "tty"), STICK, random.Random(2))
        await dongle.start()
        node = make_router(air, loop)
        try:
            async with hub(str(tmp_path / "tty")) as app:
                await app.permit_with_link_key(
                    node=theirs(METER + 1), link_key=t.KeyData(INSTALL_KEY), time_s=60
                )
                key = LinkKey(partner=0, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE)
                with pytest.raises(Exception, match="admit"):
                    await node.join(key)
        finally:
            await node.close()
            await dongle.close()

    run(refused(), speed=1)


def is_described(app: Any, eui64: Eui64) -> bool:
    device = app.devices.get(theirs(eui64))
    return device is not None and 1 in device.endpoints and device.endpoints[1].profile_id is not None


async def plain(path: Path) -> None:
    """zigpy with nothing of ours in it: all that it hears of Smart Energy's profile it drops, so the meter says

    that it is of home automation's; an interview of the IHD needs the device object only.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    air = Air(loop, random.Random(7))
    dongle = EzspDongle(air, PtyPort(path / "tty"), STICK, random.Random(2))
    await dongle.start()
    node = make_router(air, loop)
    meter = PlainMeter(node, loop, is_lenient=True, profile_id=HOME_AUTOMATION)
    ihd = make_ihd(air, loop)
    try:
        async with asyncio.timeout(60), hub(str(path / "tty"), application.ControllerApplication) as app:
            joins = Joins()
            app.add_listener(joins)
            await admit(app, joins, METER, INSTALL_KEY)
            await node.join(LinkKey(partner=0, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
            device = await joins.initialized.get()
            assert (device.ieee, device.model) == (theirs(METER), "PlainMeter")
            read, failed = await device.endpoints[1].basic.read_attributes(["zcl_version"])
            assert (read, failed) == ({"zcl_version": 3}, {})
            metering = device.endpoints[1].in_clusters[0x0702]
            read, failed = await metering.read_attributes(["current_summ_delivered"])
            assert (list(read.values()), failed) == ([READING_WH], {})
            await admit(app, joins, ihd.eui64, ihd.factory.install_key)
            ihd.start()
            while not is_described(app, ihd.eui64):  # noqa: ASYNC110 - zigpy tells at the interview's end only
                await asyncio.sleep(0.1)
            endpoint = app.devices[theirs(ihd.eui64)].endpoints[1]
            assert endpoint.profile_id == SMART_ENERGY
            assert set(endpoint.out_clusters) >= {0x0700, 0x0702}
    finally:
        await ihd.close()
        meter.app.close()
        await node.close()
        await dongle.close()


def test_zigpy_as_it_is(tmp_path: Path) -> None:
    run(plain(tmp_path), speed=1)


async def by_command(path: Path) -> None:
    """bellows on one stick of the command, our IHD with its own driver on the other."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    nvm = MemoryNvm()
    eui64 = ihd_config().eui64
    modem = ModemConfig(channels=(CHANNEL,))
    port = EzspRadio(
        open_pipe(f"{path / 'tty2'}"), eui64, loop, nvm, NodeRole.END_DEVICE, modem, rng=random.Random(4)
    )
    ihd = ihd_on(port, nvm, loop)
    try:
        async with asyncio.timeout(60), hub(str(path / "tty1")) as app:
            joins = Joins()
            app.add_listener(joins)
            await admit(app, joins, eui64, ihd.factory.install_key)
            ihd.start()
            device = await joins.initialized.get()
            assert (device.ieee, device.model) == (theirs(eui64), ihd.factory.model)
            read, failed = await device.endpoints[1].basic.read_attributes(["zcl_version"])
            assert (read, failed) == ({"zcl_version": 3}, {})
    finally:
        await ihd.close()


@pytest.mark.parametrize("version", [13, 14])
def test_the_command_and_both_ends_on_its_sticks(repository: Path, tmp_path: Path, version: int) -> None:
    words = ["--ezsp", "--ezsp-version", str(version), "--eui64", format_eui64(ihd_config().eui64 - 1)]
    words += ["--link", str(tmp_path / "tty1"), "--link", str(tmp_path / "tty2"), "--json"]
    with command(repository, *words) as process:
        assert [told(process)["port"] for _ in range(2)] == [str(tmp_path / "tty1"), str(tmp_path / "tty2")]
        run(by_command(tmp_path), speed=1)
