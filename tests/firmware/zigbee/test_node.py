"""Whole nodes on the loopback air, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from han import HUB, INSTALL_KEY, Han, establish, message, play

from smets1.errors import MisuseError, NoAnswerError, RefusedError, SecurityError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.zdp_frames import ZdpCluster, decode_simple_descriptor
from smets1.hardware.air import LinkFault
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    ApsSecurity,
    KeyOrigin,
    LinkKey,
    NodeRole,
    SimpleDescriptor,
)

ESME, GSME, PPMID, IHD = (0x00DB1234567890A0 + n for n in (0, 1, 4, 5))
SLEEPY = NodeRole.SLEEPY_END_DEVICE


def test_form_join_and_talk_both_ways() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert hub.network is not None
        assert esme.network is not None
        assert esme.network.pan_id == hub.network.pan_id
        assert esme.network.trust_centre == HUB
        assert esme.network.parent_short == 0
        (device,) = han.ear(hub).joined
        assert (device.eui64, device.short_address) == (ESME, esme.network.short_address)
        assert not device.is_rejoin
        assert not device.is_sleepy
        await hub.send(message(esme.network.short_address, b"down"))
        await esme.send(message(0, b"up"))
        (down,), (up,) = han.ear(esme).messages, han.ear(hub).messages
        assert (down.payload, down.security, down.source_eui64) == (b"down", ApsSecurity.LINK_KEY, HUB)
        assert (up.payload, up.source_eui64, up.cluster_id, up.profile_id) == (b"up", ESME, 0x0702, 0x0109)

    play(main())


def test_two_runs_give_the_same_octets_and_another_seed_others() -> None:
    async def main(seed: int) -> list[tuple[int, bytes]]:
        han = Han(seed)
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        await esme.send(message(0, b"up"))
        return han.frames

    first = play(main(7))
    assert first == play(main(7))
    assert first != play(main(8))


def test_who_is_not_on_the_whitelist_is_refused() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        han.whitelist = {ESME}
        with pytest.raises(RefusedError):
            await han.joined(hub, GSME)
        await han.joined(hub, ESME)
        assert [device.eui64 for device in han.ear(hub).joined] == [ESME]

    play(main())


def test_no_network_and_a_closed_network_are_no_answer() -> None:
    async def main() -> None:
        han = Han()
        lone = han.node(ESME, NodeRole.ROUTER)
        key = LinkKey(partner=HUB, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE)
        with pytest.raises(NoAnswerError):
            await lone.join(key)
        hub = await han.hub()
        hub.set_link_key(LinkKey(partner=ESME, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        with pytest.raises(NoAnswerError):
            await lone.join(key)
        assert lone.network is None
        await hub.permit_join(254)
        await lone.join(key)
        await asyncio.sleep(300)
        assert hub.stack.mac.is_permitting is False

    play(main())


def test_a_wrong_install_code_gets_no_network_key() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = han.node(ESME, NodeRole.ROUTER)
        hub.set_link_key(LinkKey(partner=ESME, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await hub.permit_join(254)
        with pytest.raises(NoAnswerError):
            await esme.join(LinkKey(partner=HUB, key=bytes(16), origin=KeyOrigin.INSTALL_CODE))
        assert esme.network is None
        assert not han.ear(hub).joined
        await asyncio.sleep(30)
        assert hub.stack.nwk.find_child(ESME) is None  # given up: its place is free again
        await esme.join(LinkKey(partner=HUB, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))

    play(main())


def test_application_traffic_needs_an_established_key() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME, is_keyed=False)
        with pytest.raises(SecurityError):
            await esme.send(message(0))
        await esme.send(message(0, b"plain", is_secured=False))
        assert han.ear(hub).messages[-1].security is ApsSecurity.NETWORK_KEY
        esme.set_link_key(LinkKey(partner=HUB, key=bytes(16), origin=KeyOrigin.ESTABLISHED))
        hub.set_link_key(LinkKey(partner=ESME, key=bytes(15) + b"x", origin=KeyOrigin.ESTABLISHED))
        with pytest.raises(NoAnswerError):  # under another key: dropped without acknowledgement
            await esme.send(message(0, b"wrong key"))
        assert len(han.ear(hub).messages) == 1

    play(main())


def test_a_sleeping_device_fetches_what_waits_for_it() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, SLEEPY)
        assert han.ear(hub).joined[-1].is_sleepy
        assert gsme.network is not None
        await asyncio.sleep(10)  # it has gone back to sleep
        start_us = han.scheduler.now_us()
        with pytest.raises(NoAnswerError):
            await hub.send(message(gsme.network.short_address))
        assert 7_600_000 < han.scheduler.now_us() - start_us < 8_000_000
        assert await gsme.poll() is False
        gsme.set_poll_interval(2_000_000)
        await hub.send(message(gsme.network.short_address, b"wait for it"))
        await gsme.send(message(0, b"up"))
        assert [heard.payload for heard in han.ear(gsme).messages] == [b"wait for it"]
        assert [heard.payload for heard in han.ear(hub).messages] == [b"up"]

    play(main())


def test_a_partner_key_joins_two_devices() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme, ppmid = await han.joined(hub, ESME), await han.joined(hub, PPMID)
        key = await ppmid.request_partner_key(ESME)
        await asyncio.sleep(1)
        assert key.origin is KeyOrigin.PARTNER
        assert key.partner == ESME
        other = esme.link_key(PPMID)
        assert other is not None
        assert other.key == key.key
        assert han.ear(esme).keys[-1].partner == PPMID
        assert (await ppmid.request_partner_key(ESME)).key == key.key
        await ppmid.send(message(await ppmid.find_short(ESME), b"top-up"))
        heard = han.ear(esme).messages[-1]
        assert (heard.payload, heard.security, heard.source_eui64) == (b"top-up", ApsSecurity.LINK_KEY, PPMID)

    play(main())


def test_no_partner_key_before_cbke() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        ppmid = await han.joined(hub, PPMID)
        await han.joined(hub, ESME, is_keyed=False)
        with pytest.raises(NoAnswerError):
            await ppmid.request_partner_key(ESME)

    play(main())


@pytest.mark.parametrize("size", [66, 128, 500, 1500])
@pytest.mark.parametrize("window", [1, 3])
def test_a_long_message_travels_in_fragments(size: int, window: int) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub(fragment_window=window)
        esme = await han.joined(hub, ESME, fragment_window=window)
        gsme = await han.joined(hub, GSME, SLEEPY, fragment_window=window)
        gsme.set_poll_interval(500_000)
        payload = bytes(n & 0xFF for n in range(size))
        for node in (esme, gsme):
            assert node.network is not None
            await node.send(message(0, payload))
            await hub.send(message(node.network.short_address, payload))
            assert [heard.payload for heard in han.ear(node).messages] == [payload]
        assert [heard.payload for heard in han.ear(hub).messages] == [payload, payload]
        with pytest.raises(MisuseError):
            await esme.send(message(0, bytes(20_000)))

    play(main())


@pytest.mark.parametrize("seed", range(3))
def test_on_a_bad_air_everything_acknowledged_was_delivered_once(seed: int) -> None:
    async def main() -> None:
        han = Han(seed)
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert esme.network is not None
        han.air.faults.set_default(LinkFault(loss=0.35))
        sent = []
        for number in range(300):
            payload = number.to_bytes(2, "big")
            try:
                await hub.send(message(esme.network.short_address, payload))
                sent.append(payload)
            except NoAnswerError:
                pass
        heard = [indication.payload for indication in han.ear(esme).messages]
        assert len(heard) == len(set(heard))
        assert set(sent) <= set(heard)
        assert len(sent) > 280

    play(main())


def test_frames_repeated_by_a_stranger_change_nothing() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        assert esme.network is not None
        await esme.send(message(0, b"once"))
        recorded = [psdu for _, psdu in han.frames if len(psdu) > 20]
        for psdu in recorded:
            again = psdu[:2] + bytes((psdu[2] ^ 0x80,)) + psdu[3:]
            han.air.inject(esme.network.channel, again)
            await asyncio.sleep(0.05)
        assert [heard.payload for heard in han.ear(hub).messages] == [b"once"]
        assert hub.stack.nwk.counters.replayed > 0
        await esme.send(message(0, b"still here"))

    play(main())


def test_the_hub_restarts_and_nobody_notices() -> None:
    async def main() -> None:
        han = Han()
        nvm = MemoryNvm()
        hub = await han.hub(nvm=nvm)
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, SLEEPY)
        await hub.send(message(esme.network.short_address, b"one"))  # type: ignore[union-attr]
        before = (hub.stack.keys.nwk_out.value, hub.stack.keys.links[ESME].out.value)
        hub.power_off()
        await asyncio.sleep(5)
        nvm = nvm.after_power_cut()
        hub = han.node(HUB, NodeRole.COORDINATOR, nvm)
        assert await hub.start() is True
        assert hub.network is not None
        assert esme.network is not None
        assert gsme.network is not None
        assert hub.network.pan_id == esme.network.pan_id
        await hub.send(message(esme.network.short_address, b"two"))
        after = (hub.stack.keys.nwk_out.value, hub.stack.keys.links[ESME].out.value)
        assert all(new > old for new, old in zip(after, before, strict=True))
        await esme.send(message(0, b"three"))
        await gsme.send(message(0, b"four"))
        assert [heard.payload for heard in han.ear(hub).messages] == [b"three", b"four"]
        assert [heard.payload for heard in han.ear(esme).messages] == [b"one", b"two"]

    play(main())


def test_a_device_restarts() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        for eui64, role in ((ESME, NodeRole.ROUTER), (GSME, SLEEPY), (IHD, NodeRole.END_DEVICE)):
            nvm = MemoryNvm()
            node = await han.joined(hub, eui64, role, nvm=nvm)
            await node.send(message(0, b"before"))
            node.power_off()
            node = han.node(eui64, role, nvm.after_power_cut())
            assert await node.start() is True
            await node.send(message(0, b"after"))
            assert han.ear(hub).messages[-1].payload == b"after"

    play(main())


def test_a_new_node_has_nothing_to_start_from() -> None:
    async def main() -> None:
        han = Han()
        assert await han.node(ESME, NodeRole.ROUTER).start() is False

    play(main())


@pytest.mark.parametrize("role", [SLEEPY, NodeRole.END_DEVICE])
def test_a_lost_parent_is_found_again(role: NodeRole) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, role)
        gsme.set_poll_interval(5_000_000)
        han.air.faults.move_away(HUB)
        if role is NodeRole.END_DEVICE:
            with pytest.raises(NoAnswerError):
                await gsme.send(message(0))
        await asyncio.sleep(60)
        assert len(han.ear(gsme).downs) == 1
        han.air.faults.bring_back(HUB)
        await asyncio.sleep(200)
        assert len(han.ear(gsme).ups) == 2
        assert han.ear(hub).joined[-1].is_rejoin
        await gsme.send(message(0, b"back"))
        assert han.ear(hub).messages[-1].payload == b"back"

    play(main())


def test_a_device_joins_through_a_router_and_moves_out_of_the_hubs_reach() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        han.air.faults.cut(HUB, GSME)
        han.air.faults.cut(GSME, HUB)
        han.air.faults.cut(HUB, IHD)
        han.air.faults.cut(IHD, HUB)
        gsme = await han.joined(hub, GSME, SLEEPY)
        ihd = await han.joined(hub, IHD)
        assert gsme.network is not None
        assert ihd.network is not None
        assert esme.network is not None
        assert gsme.network.parent_short == esme.network.short_address
        assert [device.eui64 for device in han.ear(hub).joined] == [ESME, GSME, IHD]
        assert han.ear(hub).joined[1].is_sleepy
        gsme.set_poll_interval(1_000_000)
        for node in (gsme, ihd):
            assert node.network is not None
            await node.send(message(0, b"up"))
            await hub.send(message(node.network.short_address, b"down"))
            assert han.ear(node).messages[-1].payload == b"down"
        await ihd.send(message(gsme.network.short_address, b"x", is_secured=False))
        assert han.ear(gsme).messages[-1].payload == b"x"

    play(main())


def test_routes_heal_when_a_router_in_the_middle_goes() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        for middle in (ESME, PPMID):
            await han.joined(hub, middle)
        for end, other in ((HUB, IHD), (IHD, HUB)):
            han.air.faults.cut(end, other)
        ihd = await han.joined(hub, IHD)
        await asyncio.sleep(60)
        assert ihd.network is not None
        await ihd.send(message(0, b"one"))
        used = ESME if ihd.network.parent_short == hub.stack.nwk.shorts[ESME] else PPMID
        han.air.faults.move_away(used)
        for _ in range(6):
            try:
                await ihd.send(message(0, b"two"))
                break
            except NoAnswerError:
                await asyncio.sleep(10)
        assert han.ear(hub).messages[-1].payload == b"two"
        await hub.send(message(ihd.network.short_address, b"three"))

    play(main())


@pytest.mark.parametrize("role", [SLEEPY, NodeRole.ROUTER])
def test_the_hub_removes_a_device(role: NodeRole) -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        gsme = await han.joined(hub, GSME, role)
        gsme.set_poll_interval(1_000_000)
        await hub.remove_device(GSME)
        await asyncio.sleep(2)
        assert han.ear(hub).left == [GSME]
        assert han.ear(gsme).downs == ["removed"]
        assert gsme.network is None
        assert hub.link_key(GSME) is None
        assert hub.stack.nwk.find_child(GSME) is None
        again = await han.joined(hub, IHD)
        assert again.network is not None

    play(main())


def test_a_device_leaves_and_joins_again() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        await esme.leave()
        await asyncio.sleep(1)
        assert esme.network is None
        assert han.ear(esme).downs == ["left"]
        assert han.ear(hub).left == [ESME]
        await hub.permit_join(254)
        await esme.join(LinkKey(partner=HUB, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        establish(hub, esme)
        await esme.send(message(0, b"again"))
        assert han.ear(hub).messages[-1].payload == b"again"

    play(main())


def test_the_network_key_is_changed_under_way() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        esme = await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(1_000_000)
        old = hub.network_key
        await hub.update_network_key()
        await asyncio.sleep(60)
        assert hub.network_key != old
        assert esme.network_key == hub.network_key == gsme.network_key
        await esme.send(message(0, b"new key"))
        await gsme.send(message(0, b"new key too"))

    play(main())


def test_who_missed_a_key_change_comes_back_through_the_trust_centre() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        await han.joined(hub, ESME)
        gsme = await han.joined(hub, GSME, SLEEPY)
        gsme.set_poll_interval(10_000_000)
        han.air.faults.move_away(GSME)
        await hub.update_network_key()
        await asyncio.sleep(60)
        await hub.update_network_key()
        await asyncio.sleep(60)
        han.air.faults.bring_back(GSME)
        await asyncio.sleep(3600)
        assert gsme.network_key == hub.network_key
        await gsme.send(message(0, b"healed"))

    play(main())


def test_the_device_object_answers() -> None:
    async def main() -> None:
        han = Han()
        hub = await han.hub()
        endpoint = SimpleDescriptor(
            endpoint=1, profile_id=0x0109, device_id=0x0501, input_clusters=(0, 0x0702)
        )
        esme = await han.joined(hub, ESME, endpoints=(endpoint,), manufacturer_code=0x1234)
        assert esme.network is not None
        short = esme.network.short_address
        about = short.to_bytes(2, "little")
        assert await hub.ask_zdp(short, ZdpCluster.ACTIVE_EP_REQ, about) == b"\0" + about + b"\x01\x01"
        simple = await hub.ask_zdp(short, ZdpCluster.SIMPLE_DESC_REQ, about + b"\x01")
        assert decode_simple_descriptor(simple[4:]) == endpoint
        match = about + b"\x09\x01\x01\x02\x07\x00"
        assert await hub.ask_zdp(short, ZdpCluster.MATCH_DESC_REQ, match) == b"\0" + about + b"\x01\x01"
        node = await hub.ask_zdp(short, ZdpCluster.NODE_DESC_REQ, about)
        assert node[3] & 7 == 1
        assert node[6:8] == b"\x34\x12"
        assert (await hub.ask_zdp(short, ZdpCluster.MGMT_LQI_REQ, b"\0"))[0] == 0
        assert (await hub.ask_zdp(short, 0x0055, b"\0"))[:1] == b"\x84"
        await esme.send(message(BROADCAST_RX_ON, b"to all", is_secured=False))
        await asyncio.sleep(0.1)
        assert han.ear(hub).messages[-1].is_broadcast

    play(main())
