"""The `rcp:` driver on simulated sticks, in virtual time: as a frame radio, and below our whole stack."""

from __future__ import annotations

import asyncio
import random

import pytest
from bench_rcp import CHANNEL, HUB, INSTALL_KEY, METER, STICK, Bench, RadioEar, message, play

from smets1.errors import ClosedError, MisuseError, NoAnswerError
from smets1.hardware.air import LinkFault
from smets1.hardware.radio import COORDINATOR, KeyOrigin, LinkKey, NodeRole, TransmitOutcome
from smets1.hardware.rcp import RcpRadio
from smets1.hardware.rcp.hdlc import hdlc_frame
from smets1.hardware.rcp.spinel import Command, Property, SpinelFrame, Status, encode_value

PAN = 0x1A62


async def raw(bench: Bench, eui64: int, short: int) -> tuple[RcpRadio, RadioEar]:
    """A radio on a stick that is up and on our PAN."""
    radio = await bench.rcp(eui64)
    ear = RadioEar()
    radio.attach(ear)
    radio.set_channel(CHANNEL)
    radio.set_pan(PAN, short, coordinator=short == 0)
    async with asyncio.timeout(5):
        await radio.up.wait()
    await asyncio.sleep(0.2)
    return radio, ear


def data(destination: int, source: int, *, sequence: int = 1, ack: bool = True) -> bytes:
    control = (0x8861 if ack else 0x8841).to_bytes(2, "little")
    addresses = b"".join(value.to_bytes(2, "little") for value in (PAN, destination, source))
    return control + bytes((sequence,)) + addresses + b"hello"


def poll(destination: int, source: int) -> bytes:
    addresses = b"".join(value.to_bytes(2, "little") for value in (PAN, destination, source))
    return b"\x63\x88\x01" + addresses + b"\x04"


# --- as a frame radio -------------------------------------------------------------------------------------


def test_what_a_stick_says_of_itself() -> None:
    async def scene(bench: Bench) -> None:
        radio, _ = await raw(bench, METER, 5)
        assert radio.info is not None
        assert radio.info.hardware_eui64 == STICK
        assert radio.info.api_version == 11
        assert radio.info.protocol == (4, 3)
        assert radio.eui64 == METER

    play(Bench, scene)


def test_frames_go_over_and_are_acknowledged() -> None:
    async def scene(bench: Bench) -> None:
        one, one_ear = await raw(bench, METER, 5)
        other, other_ear = await raw(bench, HUB, 0)
        one.transmit(data(0, 5))
        with pytest.raises(MisuseError):
            one.transmit(data(0, 5))
        await asyncio.sleep(0.1)
        assert one_ear.outcomes == [TransmitOutcome.ACKED]
        assert other_ear.frames == [data(0, 5)]
        lqi, rssi_dbm = other_ear.signals[0]
        assert lqi > 0
        assert -100 < rssi_dbm < 0
        other.transmit(data(0xFFFF, 0, ack=False))
        await asyncio.sleep(0.1)
        assert other_ear.outcomes == [TransmitOutcome.SENT]
        assert one_ear.frames == [data(0xFFFF, 0, ack=False)]
        one.transmit(data(9, 5), retries=1)
        await asyncio.sleep(0.2)
        assert one_ear.outcomes[-1] is TransmitOutcome.NO_ACK

    play(Bench, scene)


def test_retries_are_made_by_the_stick() -> None:
    async def scene(bench: Bench) -> None:
        one, ear = await raw(bench, METER, 5)
        sent: list[bytes] = []
        bench.air.tap(lambda start_us, psdu, sender, fate: sent.append(psdu))
        for retries in (0, 3):
            sent.clear()
            one.transmit(data(9, 5), retries=retries)
            await asyncio.sleep(0.5)
            assert sent == [data(9, 5)] * (1 + retries)
        assert ear.outcomes == [TransmitOutcome.NO_ACK] * 2

    play(Bench, scene)


def test_a_busy_channel_is_told() -> None:
    async def scene(bench: Bench) -> None:
        one, ear = await raw(bench, METER, 5)
        bench.air.interfere(2_000_000, channels=(CHANNEL,))
        one.transmit(data(9, 5), retries=0)
        await asyncio.sleep(1)
        assert ear.outcomes == [TransmitOutcome.CHANNEL_BUSY]

    play(Bench, scene)


def test_the_pending_bit_is_set_for_those_who_are_waited_for() -> None:
    async def scene(bench: Bench) -> None:
        child, ear = await raw(bench, METER, 5)
        parent, _ = await raw(bench, HUB, 0)
        for shorts, outcome in (
            ((), TransmitOutcome.ACKED),
            ((5, 7), TransmitOutcome.ACKED_PENDING),
            ((7,), TransmitOutcome.ACKED),
        ):
            parent.set_pending(shorts, ())
            await asyncio.sleep(0.1)
            child.transmit(poll(0, 5))
            await asyncio.sleep(0.1)
            assert ear.outcomes[-1] is outcome

    play(Bench, scene)


def test_a_receiver_that_is_off_is_deaf_but_sends() -> None:
    async def scene(bench: Bench) -> None:
        one, one_ear = await raw(bench, METER, 5)
        other, other_ear = await raw(bench, HUB, 0)
        one.set_receiver(False)
        await asyncio.sleep(0.1)
        other.transmit(data(5, 0), retries=0)
        await asyncio.sleep(0.1)
        assert other_ear.outcomes == [TransmitOutcome.NO_ACK]
        one.transmit(data(0, 5))
        await asyncio.sleep(0.1)
        assert one_ear.outcomes == [TransmitOutcome.ACKED]
        one.set_receiver(True)
        await asyncio.sleep(0.1)
        other.transmit(data(5, 0), retries=0)
        await asyncio.sleep(0.1)
        assert one_ear.frames == [data(5, 0)]

    play(Bench, scene)


def test_energy_is_measured() -> None:
    async def scene(bench: Bench) -> None:
        one, ear = await raw(bench, METER, 5)
        bench.air.interfere(1_000_000, channels=(20,), rssi_dbm=-50)
        one.scan_energy(20, 140_000)
        await asyncio.sleep(0.3)
        one.scan_energy(21, 140_000)
        await asyncio.sleep(0.3)
        assert [channel for channel, _ in ear.energies] == [20, 21]
        assert ear.energies[0][1] >= -50 > ear.energies[1][1]

    play(Bench, scene)


# --- when things go wrong ---------------------------------------------------------------------------------


def test_a_stick_that_resets_comes_back_as_it_was() -> None:
    async def scene(bench: Bench) -> None:
        one, one_ear = await raw(bench, METER, 5)
        other, other_ear = await raw(bench, HUB, 0)
        other.set_pending((5,), ())
        other.transmit(data(9, 0))
        bench.dongles[1].reset(Status.RESET_WATCHDOG)
        await asyncio.sleep(0.5)
        assert len(other_ear.outcomes) == 1
        one.transmit(poll(0, 5))
        await asyncio.sleep(0.2)
        assert one_ear.outcomes == [TransmitOutcome.ACKED_PENDING]
        assert other_ear.frames[-1] == poll(0, 5)

    play(Bench, scene)


def test_a_stick_that_is_pulled_out_and_put_back() -> None:
    async def scene(bench: Bench) -> None:
        one, one_ear = await raw(bench, METER, 5)
        other, _ = await raw(bench, HUB, 0)
        one.transmit(data(0, 5))
        bench.cables[0].unplug()
        await asyncio.sleep(0.01)
        assert one_ear.outcomes == [TransmitOutcome.NO_ACK]
        assert not one.up.is_set()
        one.transmit(data(0, 5))  # nobody there: ends all the same
        one.scan_energy(20, 100_000)
        await asyncio.sleep(3)
        assert one_ear.outcomes == [TransmitOutcome.NO_ACK] * 2
        assert one_ear.energies == [(20, 0)]  # unknown: nobody would choose that channel
        one.set_pan(PAN, 6, coordinator=False)  # as wanted by the time it is back
        bench.cables[0].plug()
        async with asyncio.timeout(5):
            await one.up.wait()
        await asyncio.sleep(0.2)
        one.transmit(data(0, 6))
        other.transmit(data(6, 0))
        await asyncio.sleep(0.2)
        assert one_ear.outcomes[-1] is TransmitOutcome.ACKED
        assert one_ear.frames == [data(6, 0)]
        assert one.lost_count == 1

    play(Bench, scene)


def test_a_frame_that_waits_for_the_stick_goes_out_when_it_is_up() -> None:
    async def scene(bench: Bench) -> None:
        _, other_ear = await raw(bench, HUB, 0)
        one = await bench.rcp(METER)
        ear = RadioEar()
        one.attach(ear)
        one.set_channel(CHANNEL)
        one.set_pan(PAN, 5, coordinator=False)
        one.transmit(data(0, 5))
        await asyncio.sleep(0.5)
        assert ear.outcomes == [TransmitOutcome.ACKED]
        assert other_ear.frames == [data(0, 5)]

    play(Bench, scene)


def test_a_stick_that_falls_silent_is_lost_and_looked_for_again() -> None:
    async def scene(bench: Bench) -> None:
        one, ear = await raw(bench, METER, 5)
        cable = bench.cables[0]
        cable.garble = lambda octets: b""
        one.transmit(data(0, 5))
        one.set_channel(20)
        await asyncio.sleep(20)
        assert ear.outcomes == [TransmitOutcome.NO_ACK]
        assert not one.up.is_set()
        assert one.lost_count >= 1
        cable.garble = lambda octets: octets
        async with asyncio.timeout(15):
            await one.up.wait()
        assert one.info is not None

    play(Bench, scene)


def test_something_else_than_a_radio_co_processor_is_not_used() -> None:
    """A Thread NCP has no raw MAC."""

    async def scene(bench: Bench) -> None:
        radio = await bench.rcp(METER)
        cable = bench.cables[0]

        def without_raw(octets: bytes) -> bytes:
            # the answer to CAPS is replaced, whatever its transaction
            for transaction in range(1, 16):
                head = SpinelFrame(
                    transaction=transaction, command=Command.PROP_VALUE_IS, prop=Property.CAPS
                ).encode()
                if head in octets:
                    return hdlc_frame(head + b"\x22")
            return octets

        cable.garble = without_raw
        radio.attach(RadioEar())
        await asyncio.sleep(5)
        assert radio.info is None
        assert radio.lost_count >= 2

    play(Bench, scene)


@pytest.mark.parametrize(
    "octet_count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow, id="million")]
)
def test_garbage_from_the_stick_does_no_harm(octet_count: int) -> None:
    """Random octets and whole frames of random octets arrive at the driver; then it works as before."""

    async def scene(bench: Bench) -> None:
        one, ear = await raw(bench, METER, 5)
        await raw(bench, HUB, 0)
        rng = random.Random(7)
        fed = 0
        while fed < octet_count:
            octets = rng.randbytes(rng.randrange(1, 60))
            if rng.random() < 0.7:
                octets = hdlc_frame(bytes((0x80 | rng.randrange(16), 6, rng.choice((0, 57, 113)))) + octets)
            one.on_octets(octets)
            fed += len(octets)
        one.on_octets(b"\x7e")
        await asyncio.sleep(20)
        ear.outcomes.clear()
        one.transmit(data(0, 5))
        await asyncio.sleep(1)
        assert ear.outcomes == [TransmitOutcome.ACKED]

    play(Bench, scene)


def test_after_close_nothing_is_possible_and_nothing_is_called() -> None:
    async def scene(bench: Bench) -> None:
        one, ear = await raw(bench, METER, 5)
        one.transmit(data(0, 5))
        one.close()
        one.close()
        await asyncio.sleep(1)
        assert ear.outcomes == []
        with pytest.raises(ClosedError):
            one.transmit(data(0, 5))

    play(Bench, scene)


# --- below our whole stack --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [NodeRole.ROUTER, NodeRole.END_DEVICE, NodeRole.SLEEPY_END_DEVICE])
def test_hub_and_device_on_sticks(role: NodeRole) -> None:
    async def scene(bench: Bench) -> None:
        hub = bench.node(await bench.rcp(HUB), NodeRole.COORDINATOR)
        device = bench.node(await bench.rcp(METER), role)
        await hub.form()
        await bench.join(hub, device)
        if role is NodeRole.SLEEPY_END_DEVICE:
            device.set_poll_interval(500_000)
        assert device.network is not None
        for number in range(3):
            await device.send(message(COORDINATOR, b"up %d" % number))
            await hub.send(message(device.network.short_address, b"down %d" % number))
        assert [heard.payload for heard in bench.ears[HUB].messages] == [b"up 0", b"up 1", b"up 2"]
        assert [heard.payload for heard in bench.ears[METER].messages] == [b"down 0", b"down 1", b"down 2"]

    play(Bench, scene)


def test_a_device_on_the_air_and_one_on_a_stick_share_a_network() -> None:
    async def scene(bench: Bench) -> None:
        hub = bench.node(bench.air.radio(HUB), NodeRole.COORDINATOR)
        real = bench.node(await bench.rcp(METER), NodeRole.ROUTER)
        far = bench.node(bench.air.radio(METER + 1), NodeRole.END_DEVICE)
        bench.air.faults.set_link(HUB, METER + 1, LinkFault(loss=1.0))
        bench.air.faults.set_link(METER + 1, HUB, LinkFault(loss=1.0))
        await hub.form()
        await bench.join(hub, real)
        await asyncio.sleep(20)
        await bench.join(hub, far)  # only the one on the stick is in its reach
        assert far.network is not None
        assert real.network is not None
        assert far.network.parent_short == real.network.short_address
        await far.send(message(COORDINATOR, b"through the stick"))
        assert bench.ears[HUB].messages[-1].payload == b"through the stick"

    play(Bench, scene)


def test_a_stick_that_is_pulled_out_while_joining() -> None:
    async def scene(bench: Bench) -> None:
        hub = bench.node(bench.air.radio(HUB), NodeRole.COORDINATOR)
        device = bench.node(await bench.rcp(METER), NodeRole.ROUTER)
        await hub.form()
        hub.set_link_key(LinkKey(partner=METER, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
        await hub.permit_join(254)
        for pause_s in (0.05, 0.2, 0.3):
            bench.loop.call_later(pause_s, bench.cables[0].unplug)
            with pytest.raises(NoAnswerError):
                await device.join(LinkKey(partner=HUB, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE))
            bench.cables[0].plug()
            await asyncio.sleep(3)
        await bench.join(hub, device)
        await device.send(message(COORDINATOR, b"here again"))
        assert bench.ears[HUB].messages[-1].payload == b"here again"

    play(Bench, scene)


def test_a_line_that_garbles_one_portion_in_twenty() -> None:
    async def scene(bench: Bench) -> None:
        hub = bench.node(bench.air.radio(HUB), NodeRole.COORDINATOR)
        device = bench.node(await bench.rcp(METER), NodeRole.ROUTER)
        await hub.form()
        await bench.join(hub, device)
        rng = random.Random(7)
        garbled = 0

        def garble(octets: bytes) -> bytes:
            nonlocal garbled
            if rng.random() < 0.95:
                return octets
            garbled += 1
            wrong = bytearray(octets)
            wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
            return bytes(wrong)

        bench.cables[0].garble = garble
        told = 0
        for number in range(100):
            try:
                await device.send(message(COORDINATOR, b"%d" % number))
            except NoAnswerError:
                continue
            told += 1
        assert garbled > 20
        assert told >= 95
        payloads = [heard.payload for heard in bench.ears[HUB].messages]
        assert len(payloads) == len(set(payloads)) >= told  # each once, and all that were acknowledged

    play(Bench, scene)


# --- what only other hosts use ----------------------------------------------------------------------------


async def ask(bench: Bench, prop: Property, value: object, number: int = 0) -> None:
    """Set a property of a stick behind its driver's back."""
    frame = SpinelFrame(
        transaction=15, command=Command.PROP_VALUE_SET, prop=prop, payload=encode_value(prop, value)
    )
    bench.dongles[number].on_octets(hdlc_frame(frame.encode()))
    await asyncio.sleep(0.05)


def test_without_source_matching_every_child_is_told_to_stay_awake() -> None:
    async def scene(bench: Bench) -> None:
        child, ear = await raw(bench, METER, 5)
        await raw(bench, HUB, 0)
        for is_matching, outcome in ((False, TransmitOutcome.ACKED_PENDING), (True, TransmitOutcome.ACKED)):
            await ask(bench, Property.MAC_SRC_MATCH_ENABLED, is_matching, 1)
            child.transmit(poll(0, 5))
            await asyncio.sleep(0.1)
            assert ear.outcomes[-1] is outcome

    play(Bench, scene)


def test_a_sniffer_hears_what_is_for_others() -> None:
    async def scene(bench: Bench) -> None:
        one, _ = await raw(bench, METER, 5)
        await raw(bench, HUB, 0)
        _, sniffer = await raw(bench, HUB + 1, 9)
        one.transmit(data(0, 5))
        await asyncio.sleep(0.1)
        assert sniffer.frames == []
        await ask(bench, Property.MAC_PROMISCUOUS_MODE, 2, 2)
        one.transmit(data(0, 5, sequence=2))
        await asyncio.sleep(0.1)
        assert sniffer.frames == [data(0, 5, sequence=2), b"\x02\x00\x02"]  # its acknowledgement too

    play(Bench, scene)


def test_more_children_than_the_stick_has_room_for() -> None:
    async def scene(bench: Bench) -> None:
        child, ear = await raw(bench, METER, 5)
        parent, _ = await raw(bench, HUB, 0)
        for shorts, outcome in (
            (range(100, 200), TransmitOutcome.ACKED_PENDING),  # one too many poll rather than a lost frame
            (range(100, 110), TransmitOutcome.ACKED),
        ):
            parent.set_pending(shorts, ())
            await asyncio.sleep(0.1)
            child.transmit(poll(0, 5))
            await asyncio.sleep(0.1)
            assert ear.outcomes[-1] is outcome

    play(Bench, scene)
