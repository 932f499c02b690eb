"""Sticks that are pulled out at the worst moment and put back: joining, key establishment, upgrade, top-up.

Devices recover by themselves, and what was acknowledged before is still there. EZSP and RCP alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest

from smets1.errors import NoAnswerError
from smets1.firmware.device import Device
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.zcl.clusters.prepayment import ResultType
from smets1.firmware.zigbee.mac_frames import MacCommand, MacFrame, MacFrameType
from smets1.hardware.radio import KeyOrigin
from smets1.hardware.rcp import MemoryCable
from smets1.tools.home import Home
from smets1.tools.home_file import parse_home
from smets1.tools.home_radios import with_radios

pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")

MakeHome = Callable[..., Awaitable[Home]]
RADIOS: Final = {"rcp": ("rcp:simulated",), "ezsp": ("ezsp:simulated@13", "ezsp:simulated@14")}
HOME: Final = "[han]\ngas_wake_s = 60\n[prepayment]\nbalance_pounds = 0\nmax_meter_balance_pounds = 500\n"
NEW: Final = 2
each_radio = pytest.mark.parametrize("radio", RADIOS)
each_end = pytest.mark.parametrize("end", ["device", "hub"])


async def make(smets1_home: MakeHome, radio: str, *, waits: bool) -> Home:
    config = with_radios(parse_home(HOME, Path("home.toml")), *RADIOS[radio])
    return await smets1_home(seed=7, config=config, waits=waits)


def is_keyed(device: Device) -> bool:
    network = device.port.network
    key = None if network is None else device.port.link_key(network.trust_centre)
    return key is not None and key.origin is KeyOrigin.ESTABLISHED


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    """To a fiftieth of a second."""
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - it watches what has no event
            await asyncio.sleep(0.02)


async def pull(cable: MemoryCable, seconds: float) -> None:
    cable.unplug()
    await asyncio.sleep(seconds)
    cable.plug()


def cable_of(home: Home, end: str, device: Device) -> MemoryCable:
    return home.radios.cables[home.chf.eui64 if end == "hub" else device.eui64]


@each_radio
@each_end
async def test_at_the_moment_of_association(smets1_home: MakeHome, radio: str, end: str) -> None:
    """The request of the PPMID is on the air; the answer has not come."""
    home = await make(smets1_home, radio, waits=False)
    asked = asyncio.Event()

    def hear(start_us: int, psdu: bytes, *_: object) -> None:
        if psdu[0] & 7 == MacFrameType.MAC_COMMAND:
            frame = MacFrame.decode(psdu)
            is_request = frame.payload[0] == MacCommand.ASSOCIATION_REQUEST
            if is_request and frame.source == home.ppmid.eui64:
                asked.set()

    home.air.tap(hear)
    async with asyncio.timeout(60):
        await asked.wait()
    assert not is_keyed(home.ppmid)
    await pull(cable_of(home, end, home.ppmid), 3)
    await home.joined(1200)
    assert all(is_keyed(each) for each in (home.esme, home.gsme, home.ppmid, home.ihd))


@each_radio
@each_end
@pytest.mark.parametrize("later_s", [0.0, 0.02, 0.04])
async def test_in_the_middle_of_key_establishment(
    smets1_home: MakeHome, radio: str, end: str, later_s: float
) -> None:
    """The PPMID is on the network and has no key of its own yet."""
    home = await make(smets1_home, radio, waits=False)
    await until(lambda: home.ppmid.port.network is not None, 60)
    await asyncio.sleep(later_s)
    assert not is_keyed(home.ppmid)
    await pull(cable_of(home, end, home.ppmid), 3)
    await home.joined(1200)
    assert is_keyed(home.ppmid)
    token = home.headend.make_utrn(home.esme.eui64, pounds=5)
    assert (await home.ppmid.enter_utrn(token)).is_accepted


@each_radio
@each_end
@pytest.mark.parametrize("name", ["esme", "gsme"])
async def test_in_the_middle_of_an_upgrade(smets1_home: MakeHome, radio: str, end: str, name: str) -> None:
    """The download goes on where it was, to the end: no block that was there is fetched again."""
    home = await make(smets1_home, radio, waits=True)
    device: Device = getattr(home, name)
    header = OtaHeader(
        manufacturer_code=device.factory.manufacturer_code,
        image_type=device.factory.device_type,
        file_version=NEW,
    )
    octets = OtaFile.make(header, Random(1).randbytes(6000)).encode()
    home.chf.ota.server.add(octets)
    home.chf.ota.notify(header)
    await until(lambda: device.images.offset > 1000, 3600)
    before = device.images.offset
    assert before < len(octets)
    await pull(cable_of(home, end, device), 30)
    assert device.images.offset >= before
    lowest = device.images.offset
    async with asyncio.timeout(3 * 3600):
        while device.images.staged_version != NEW:
            await asyncio.sleep(1)
            if device.images.download is not None:
                assert device.images.offset >= lowest
    assert device.port.network is not None


@each_radio
async def test_no_accepted_top_up_is_lost_or_counted_twice(smets1_home: MakeHome, radio: str) -> None:
    """Sticks of meter, display and hub are pulled while tokens are typed; what has no answer is typed again."""
    home = await make(smets1_home, radio, waits=True)
    rng = Random(3)
    ends = [home.radios.cables[each.eui64] for each in (home.esme, home.ppmid, home.chf)]
    unanswered = 0
    for _ in range(12):
        token = home.headend.make_utrn(home.esme.eui64, pounds=2)
        pulling = asyncio.get_running_loop().create_task(pull_later(rng.choice(ends), rng.uniform(0, 0.02)))
        while True:
            try:
                answer = await home.ppmid.enter_utrn(token)
            except NoAnswerError:
                unanswered += 1
                await asyncio.sleep(5)
                continue
            break
        assert answer.is_accepted or answer.result is ResultType.REJECTED_DUPLICATE_TOP_UP
        await pulling
        await asyncio.sleep(30)
    assert unanswered > 0
    assert home.esme.account.total_added_mp == 12 * 200_000


async def pull_later(cable: MemoryCable, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await pull(cable, 8)
