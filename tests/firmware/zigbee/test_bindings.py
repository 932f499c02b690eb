"""Bindings asked for over the air, kept over a power cut; messages to a group."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from han import HUB, Han, message, play

from smets1.errors import RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.binding_tables import BINDING_LIMIT
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.zdp_frames import BindRequest, ZdpCluster, ZdpStatus
from smets1.hardware.radio import BROADCAST_RX_ON, BoundTarget, NodeRole, SimpleDescriptor

ESME, PPMID = (0x00DB1234567890A0 + n for n in (0, 4))
METERING = 0x0702
ENDPOINT = SimpleDescriptor(endpoint=1, profile_id=0x0109, device_id=0x0501, input_clusters=(METERING,))


def short(node: HanNode) -> int:
    assert node.network is not None
    return node.network.short_address


def request(destination: int | None = PPMID, **fields: Any) -> BindRequest:
    values = {"source": ESME, "source_endpoint": 1, "cluster_id": METERING, "destination": destination}
    return BindRequest(**(values | fields))


def test_a_binding_outlives_a_power_cut_until_it_is_undone() -> None:
    async def main() -> None:
        han, nvm = Han(), MemoryNvm()
        hub = await han.hub()
        esme = await han.joined(hub, ESME, nvm=nvm)
        ppmid = await han.joined(hub, PPMID)
        esme.set_endpoints((ENDPOINT,))
        await ppmid.bind(ESME, 1, METERING, 3)
        esme.power_off()
        nvm = nvm.after_power_cut()
        esme = han.node(ESME, NodeRole.ROUTER, nvm)
        assert await esme.start()
        target = BoundTarget(short_address=short(ppmid), endpoint=3)
        assert esme.bound_targets(1, METERING) == [target]
        assert esme.bound_targets(2, METERING) == esme.bound_targets(1, 0x0705) == []
        listed = await hub.ask_zdp(short(esme), ZdpCluster.MGMT_BIND_REQ, b"\0")
        assert listed == b"\0\1\0\1" + request(destination_endpoint=3).encode()
        undo = request(destination_endpoint=3).encode()
        for status in (ZdpStatus.SUCCESS, ZdpStatus.NO_ENTRY):
            assert await ppmid.ask_zdp(short(esme), ZdpCluster.UNBIND_REQ, undo) == bytes((status,))
        assert esme.bound_targets(1, METERING) == []
        assert "aps/bind" in nvm.after_power_cut().keys()  # noqa: SIM118 - not a dict
        esme.power_off()
        esme = han.node(ESME, NodeRole.ROUTER, nvm.after_power_cut())
        assert esme.bound_targets(1, METERING) == []

    play(main())


def test_what_cannot_be_bound_is_refused() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        esme.set_endpoints((ENDPOINT,))
        for asked, status in (
            (request(source=PPMID), ZdpStatus.NOT_SUPPORTED),
            (request(source_endpoint=9), ZdpStatus.INVALID_EP),
        ):
            answer = await hub.ask_zdp(short(esme), ZdpCluster.BIND_REQ, asked.encode())
            assert answer == bytes((status,))
        for number in range(BINDING_LIMIT):
            asked = request(destination=number + 1)
            assert await hub.ask_zdp(short(esme), ZdpCluster.BIND_REQ, asked.encode()) == b"\0"
        with pytest.raises(RefusedError) as caught:
            await hub.bind(ESME, 1, METERING, 1)
        assert caught.value.status == ZdpStatus.TABLE_FULL

    play(main())


def test_a_device_that_leaves_forgets_its_bindings_and_groups() -> None:
    async def main() -> None:
        han, nvm = Han(), MemoryNvm()
        hub = await han.hub()
        esme = await han.joined(hub, ESME, nvm=nvm)
        esme.set_endpoints((ENDPOINT,))
        await hub.bind(ESME, 1, METERING, 1)
        esme.group_members.add(7, 1)
        await esme.leave()
        assert not any(key.startswith("aps/") for key in nvm.after_power_cut().keys())  # noqa: SIM118
        assert esme.bound_targets(1, METERING) == []
        assert esme.group_members.groups(1) == []

    play(main())


def test_a_message_to_all_endpoints_reaches_those_that_have_the_cluster() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        esme.set_endpoints(
            (
                SimpleDescriptor(endpoint=3, profile_id=0x0109, device_id=0, output_clusters=(METERING,)),
                SimpleDescriptor(endpoint=1, profile_id=0x0109, device_id=0, input_clusters=(METERING,)),
                SimpleDescriptor(endpoint=2, profile_id=0x0109, device_id=0, input_clusters=(0x0003,)),
                SimpleDescriptor(endpoint=4, profile_id=0x0104, device_id=0, input_clusters=(METERING,)),
            )
        )
        assert esme.network is not None
        to_all = message(esme.network.short_address, b"all of you", destination_endpoint=0xFF)
        await hub.send(to_all)  # acknowledged
        await hub.send(replace(to_all, destination=BROADCAST_RX_ON, is_secured=False))
        await hub.send(replace(to_all, cluster_id=0x0009))  # nobody there has it
        await asyncio.sleep(2)
        heard = [(each.destination_endpoint, each.is_broadcast) for each in han.ear(esme).messages]
        assert heard == [(1, False), (3, False), (1, True), (3, True)]

    play(main())


def test_a_group_message_reaches_each_endpoint_that_is_a_member_and_nobody_else() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme, ppmid = await han.joined(hub, ESME), await han.joined(hub, PPMID)
        for endpoint in (5, 2):
            assert esme.group_members.add(0x1234, endpoint)
        assert ppmid.group_members.add(0x1235, 1)
        await hub.send(message(BROADCAST_RX_ON, b"to some", group=0x1234, is_secured=False))
        await asyncio.sleep(2)
        heard = han.ear(esme).messages
        assert [(each.destination_endpoint, each.payload) for each in heard] == [
            (2, b"to some"),
            (5, b"to some"),
        ]
        assert all(each.is_broadcast for each in heard)
        assert han.ear(ppmid).messages == []
        assert hub.bound_targets(1, METERING) == []
        assert hub.eui64 == HUB

    play(main())
