"""What the device object of each device answers is what the device is."""

from __future__ import annotations

from smets1.firmware.zcl.status import Side
from smets1.firmware.zigbee.zdp_frames import ZdpCluster, decode_simple_descriptor

DEVICE_IDS = {
    "esme": {1: 0x0501},
    "gsme": {1: 0x0501},
    "chf": {1: 0x0500, 2: 0x0501},
    "ppmid": {1: 0x0506},
    "ihd": {1: 0x0502},
}


async def ask_endpoints(asker, device) -> dict[int, tuple[int, int, list[int], list[int]]]:
    """endpoint -> (profile, device, server clusters, client clusters), as asked over the air."""
    short = device.port.network.short_address
    about = short.to_bytes(2, "little")
    active = await asker.port.ask_zdp(short, ZdpCluster.ACTIVE_EP_REQ, about)
    assert active[:3] == b"\0" + about
    found = {}
    for endpoint in active[4 : 4 + active[3]]:
        octets = await asker.port.ask_zdp(short, ZdpCluster.SIMPLE_DESC_REQ, about + bytes((endpoint,)))
        assert octets[:4] == b"\0" + about + bytes((len(octets) - 4,))
        told = decode_simple_descriptor(octets[4:])
        assert told.endpoint == endpoint
        found[endpoint] = (
            told.profile_id,
            told.device_id,
            list(told.input_clusters),
            list(told.output_clusters),
        )
    return found


def is_so(device, device_ids: dict[int, int]) -> dict[int, tuple[int, int, list[int], list[int]]]:
    core = device.app.core
    return {
        endpoint: (
            0x0109,
            device_ids[endpoint],
            core.clusters_of(endpoint, Side.SERVER),
            core.clusters_of(endpoint, Side.CLIENT),
        )
        for endpoint in core.endpoints
    }


async def test_every_device_tells_its_endpoints(smets1_home):
    home = await smets1_home(seed=7)
    await home.clock.advance(minutes=5)
    for name, device_ids in DEVICE_IDS.items():
        device = getattr(home, name)
        asker = home.esme if name == "chf" else home.chf
        if name == "gsme":
            device.port.set_poll_interval(1_000_000)  # else it sleeps through the question
        told = await ask_endpoints(asker, device)
        assert sorted(told) == sorted(device_ids)
        assert told == is_so(device, device_ids), name


async def test_a_mirror_that_goes_is_told_no_more(smets1_home):
    home = await smets1_home(seed=7)
    await home.clock.advance(minutes=5)
    assert sorted(await ask_endpoints(home.esme, home.chf)) == [1, 2]
    home.chf.mirror.remove()
    assert sorted(await ask_endpoints(home.esme, home.chf)) == [1]
    home.chf.mirror.create()
    assert await ask_endpoints(home.esme, home.chf) == is_so(home.chf, DEVICE_IDS["chf"])
