"""Hostile octets into a whole living home: nothing breaks down, and strangers change nothing.

A batch of frames is given to every device at one instant of the home's time, so that whatever differs between
the records before and after was done by those frames; between batches the home lives on. At the end it must still
be a healthy home. `tests/firmware/zigbee/test_fuzz.py` does the same to bare stacks.

What strangers may do by the specification is left out: a MAC association request and a NWK rejoin request are
answered to whoever is welcome, before any proof of who asks (802.15.4 has no security here).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from smets1.errors import DecodeError
from smets1.firmware.device import Device
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.security import is_protected
from smets1.firmware.zigbee.mac_frames import MacFrame
from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_frames import NwkHeader
from smets1.hardware.clock import MAX_SPEED, run
from smets1.hardware.radio import ApsIndication, ApsMessage, ApsSecurity
from smets1.tools.home import Home, open_home

BATCH = 500
MAX_OCTETS = 125
SE_PROFILE = 0x0109


@dataclass
class Recorder(logging.Handler):
    """Errors, and anything that was logged with a traceback."""

    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.DEBUG)

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.texts.append(self.format(record))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    handler = Recorder()
    logger = logging.getLogger()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def node(device: Device) -> HanNode:
    port = device.port
    assert isinstance(port, HanNode)
    return port


def network_state(device: Device) -> dict[str, object]:
    """Keys, counters, tables."""
    stack = node(device).stack
    keys, nwk = stack.keys, stack.nwk
    return {
        "links": {eui64: (e.key, e.origin, e.rx_counter, e.out.value) for eui64, e in keys.links.items()},
        "networks": {number: (key.key, dict(key.rx_counters)) for number, key in keys.networks.items()},
        "active": None if keys.active is None else keys.active.sequence,
        "neighbours": {short: (n.eui64, n.relationship) for short, n in nwk.neighbours.items()},
        "addresses": dict(nwk.addresses),
        "routes": {short: (route.next_hop, route.cost) for short, route in nwk.routes.items()},
        "info": stack.info,
    }


def records(home: Home, device: Device) -> dict[str, bytes | None]:
    return {key: device.nvm.get(key) for key in device.nvm.keys("")}


def meter_state(home: Home) -> dict[str, object]:
    """Registers, money, supply, authorisation; the hub's whitelist and mirror."""
    meters = (home.esme, home.gsme)
    for meter in meters:  # registers are brought up to date when somebody looks
        meter.meter.advance(home.civil.utc_us())
    return {
        "readings": [meter.meter.reading for meter in meters],
        "balances": [meter.account.balance_mp for meter in meters],
        "supplies": [meter.meter.supply.state for meter in meters],
        "generations": [meter.authorisation.generation for meter in meters],
        "log": home.chf.device_log.entries(),
        "mirror": repr(home.chf.gas.values),
        "waiting": home.chf.gas.waiting_count,
    }


def snapshot(home: Home) -> dict[str, object]:
    state: dict[str, object] = {"meters": meter_state(home)}
    for device in home.devices:
        state[repr(device)] = (network_state(device), records(home, device))
    return state


async def settle() -> None:
    """Let everything run that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


class Air:
    """Real frames of the home, and frames like them."""

    def __init__(self, home: Home, rng: random.Random) -> None:
        self.frames: list[bytes] = []
        self._known: set[bytes] = set()
        self._rng = rng
        home.air.tap(self._on_frame)

    def _on_frame(self, _time_us: int, psdu: bytes, _sender: int, _fate: object) -> None:
        if len(psdu) > 5:
            self.frames.append(psdu)
            self._known.add(_network_part(psdu))
            if len(self.frames) > 4000:
                del self.frames[:1000]

    def stranger(self) -> bytes:
        """0..125 octets that nobody who holds a key has made."""
        while True:
            octets = self._mutate()
            if not self._is_allowed(octets):
                return octets

    def _mutate(self) -> bytes:
        rng = self._rng
        frame = bytearray(rng.choice(self.frames))
        kind = rng.randrange(8)
        if kind == 0:
            return rng.randbytes(rng.randrange(MAX_OCTETS + 1))
        if kind == 1:
            return bytes(frame[: rng.randrange(len(frame))])
        if kind == 2:
            frame += rng.randbytes(rng.randrange(1, 20))
        if kind == 3:  # a real head, another body
            at = rng.randrange(len(frame))
            return bytes(frame[:at] + rng.randbytes(rng.randrange(40)))[:MAX_OCTETS]
        if kind == 4 and len(frame) > 10:
            frame[10] &= 0xFD  # the security bit of NWK off: payload in the clear
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        return bytes(frame[:MAX_OCTETS])

    def _is_allowed(self, octets: bytes) -> bool:
        """Authentic after all (only its MAC header has changed), or a request that needs no proof."""
        if not octets:
            return False
        part = _network_part(octets)
        if part and part in self._known:
            return True
        is_mac_command = octets[0] & 7 == 3
        is_nwk_rejoin = octets[0] & 7 == 1 and b"\x06" in octets[9:]
        return (is_mac_command and b"\x01" in octets[3:]) or is_nwk_rejoin


def _network_part(psdu: bytes) -> bytes:
    """The NWK frame of a MAC data frame, empty where there is none.

    Without the security level, which the receiver replaces by its own before it looks: whoever changes that
    alone has repeated an authentic frame, not made one. Source: Zigbee 05-3474-21, 4.3.1.2.
    """
    try:
        frame = MacFrame.decode(psdu)
        header, offset = NwkHeader.decode(frame.payload)
    except DecodeError:
        return b""
    octets = bytearray(frame.payload)
    if header.is_secured and offset < len(octets):
        octets[offset] &= 0xF8
    return bytes(octets)


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    found = []
    for who, was in before.items():
        if after[who] != was:
            found.append(f"{who}: {_difference(was, after[who])}")
    return found


def _difference(was: Any, now: Any) -> str:
    if isinstance(was, tuple):
        return "; ".join(_difference(a, b) for a, b in zip(was, now, strict=True) if a != b)
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return ", ".join(f"{key}: {was.get(key)!r} -> {now.get(key)!r}" for key in keys)[:600]


async def healthy(home: Home) -> None:
    """It still works: a top-up is taken, the gas meter fills its mirror."""
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    balance_mp = home.esme.account.balance_mp
    assert (await home.ppmid.enter_utrn(token)).is_accepted
    assert home.esme.account.balance_mp > balance_mp + 900_000
    now_us = home.civil.utc_us()
    await home.clock.advance(minutes=65)
    assert (home.chf.gas.reported_utc_us or 0) > now_us
    assert all(device.keyed.is_set() for device in home.devices)


# --- strangers ------------------------------------------------------------------------------------------


async def strangers(count: int, seed: int) -> None:
    home = await open_home(seed=seed, balance_pounds=10)
    rng = random.Random(seed)
    air = Air(home, rng)
    await home.clock.advance(minutes=35)
    for _ in range(max(1, count // BATCH)):
        await settle()
        before = snapshot(home)
        for number in range(BATCH):
            victim = home.devices[number % len(home.devices)]
            node(victim).on_frame(air.stranger(), rng.randrange(256), -50)
        await settle()
        # Where the specification wants an answer (a router tells the hub who asked it), the device's own
        # counter of sent frames goes on, and now and then its ceiling in NVM with it.
        assert [change for change in changes(before, snapshot(home)) if ": ctr/" not in change] == []
        await home.clock.advance(seconds=31)
    tallies = [node(device).stack.nwk.counters for device in home.devices]
    assert min(tally.bad_mic for tally in tallies) > count // 100, "they have come as far as the key"
    assert min(tally.malformed for tally in tallies) > count // 1000
    await healthy(home)
    await home.close()


def test_strangers_change_nothing(recorder: Recorder) -> None:
    run(strangers(20_000, 5), speed=MAX_SPEED)
    assert recorder.texts == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_million_strangers(recorder: Recorder, seed: int) -> None:
    run(strangers(250_000, 100 + seed), speed=MAX_SPEED)
    assert recorder.texts == []


async def one_authentic_frame() -> list[str]:
    home = await open_home(seed=5)
    await home.clock.advance(minutes=5)
    heard: list[bytes] = []
    home.air.tap(lambda _time_us, psdu, _sender, _fate: heard.append(psdu))
    before = snapshot(home)
    await home.ppmid.read_gas()
    found = changes(before, snapshot(home))
    await home.close()
    return found


def test_the_snapshot_sees_what_an_authentic_frame_does() -> None:
    found = run(one_authentic_frame(), speed=MAX_SPEED)
    assert any("Chf" in text and "links" in text for text in found), found


async def shouting(count: int) -> None:
    """Through the air, collisions and acknowledgements and all."""
    home = await open_home(seed=6, balance_pounds=10)
    rng = random.Random(6)
    air = Air(home, rng)
    await home.clock.advance(minutes=10)
    network = node(home.chf).network
    assert network is not None
    for _ in range(count):
        home.air.inject(network.channel, air.stranger(), has_good_fcs=rng.random() < 0.95)
        await asyncio.sleep(rng.random() * 0.05)
    home.air.interfere(1)
    await home.clock.advance(minutes=30)
    await healthy(home)
    await home.close()


def test_a_stranger_shouts_on_the_channel(recorder: Recorder) -> None:
    run(shouting(500), speed=MAX_SPEED)
    assert recorder.texts == []


# --- insiders: a bought or broken device that holds the keys -----------------------------------------------


def mutate_zcl(rng: random.Random, seen: list[tuple[int, bytes]]) -> tuple[int, bytes]:
    """(cluster, ZCL frame): random, or a real one changed; sometimes on another cluster."""
    cluster_id, octets = rng.choice(seen)
    if rng.random() < 0.2:
        cluster_id = rng.choice(list(CLUSTERS))
    if rng.random() < 0.2:
        return cluster_id, rng.randbytes(rng.randrange(60))
    frame = bytearray(octets)
    for _ in range(rng.randrange(1, 5)):
        frame[rng.randrange(len(frame))] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    if rng.random() < 0.3:
        del frame[rng.randrange(len(frame)) :]
    if rng.random() < 0.1:
        frame += rng.randbytes(20)
    if len(frame) > 2 and rng.random() < 0.3:
        frame[2] = rng.randrange(32)  # command id
        frame[0] = rng.choice((0x01, 0x09, 0x00, 0x08, 0x11, 0x19, 0x05, 0x0D))
    return cluster_id, bytes(frame)


def listen(home: Home) -> list[tuple[int, bytes]]:
    """Every application payload that devices are given from now on."""
    seen: list[tuple[int, bytes]] = []
    for device in home.devices:
        original = device.app.on_message

        def on_message(indication: ApsIndication, original: Any = original) -> None:
            if indication.payload:
                seen.append((indication.cluster_id, indication.payload))
            original(indication)

        device.app.on_message = on_message  # type: ignore[method-assign]
    return seen


def indication(
    home: Home, sender: Device, cluster_id: int, payload: bytes, rng: random.Random
) -> ApsIndication:
    network = node(sender).network
    assert network is not None
    return ApsIndication(
        source=network.short_address, source_eui64=sender.eui64, source_endpoint=rng.choice((1, 1, 2, 9)),
        destination_endpoint=rng.choice((1, 1, 1, 2, 0xFF, 7)), cluster_id=cluster_id, profile_id=SE_PROFILE,
        payload=payload, security=ApsSecurity.LINK_KEY, is_broadcast=rng.random() < 0.05, lqi=255,
    )  # fmt: skip


async def zcl_insider(count: int, seed: int, *, is_keyed: bool) -> None:
    """ZCL from the PPMID (or, to the PPMID, from the meter): with its link key, or the network key alone."""
    home = await open_home(seed=seed, balance_pounds=10)
    seen = listen(home)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    await home.clock.advance(minutes=5)
    await home.ppmid.enter_utrn(token)
    await home.clock.advance(minutes=35)
    heard = list(dict.fromkeys(seen))
    rng = random.Random(seed)
    for _ in range(max(1, count // BATCH)):
        await settle()
        before = snapshot(home)
        for number in range(BATCH):
            victim = home.devices[number % len(home.devices)]
            sender = home.esme if victim is home.ppmid else home.ppmid
            cluster_id, payload = mutate_zcl(rng, heard)
            message = indication(home, sender, cluster_id, payload, rng)
            if not is_keyed:
                if not is_protected(cluster_id):
                    continue
                message = replace(message, security=ApsSecurity.NETWORK_KEY)
            victim.on_message(message)
        if not is_keyed:
            assert without_counters(snapshot(home)) == without_counters(before)
        await settle()
        await home.clock.advance(seconds=60)
    # A storm of answers may have cost a display its parent for a moment: it is back without a person.
    await home.joined(600)
    await home.close()


def without_counters(state: dict[str, object]) -> dict[str, object]:
    """What a refusal may touch is left out: when the hub last heard whom, counters of its own answers."""
    kept: dict[str, object] = {"meters": {**state["meters"], "log": None}}  # type: ignore[dict-item]
    for who, value in state.items():
        if who != "meters":
            assert isinstance(value, tuple)
            kept[who] = {
                key: octets for key, octets in value[1].items() if not key.startswith(("ctr/", "device_log"))
            }
    return kept


@pytest.mark.parametrize("is_keyed", [True, False])
def test_zcl_from_an_insider(recorder: Recorder, is_keyed: bool) -> None:
    run(zcl_insider(1_000, 8, is_keyed=is_keyed), speed=MAX_SPEED)
    assert recorder.texts == []


@pytest.mark.slow
def test_much_shouting(recorder: Recorder) -> None:
    run(shouting(20_000), speed=MAX_SPEED)
    run(aps_insider(20_000), speed=MAX_SPEED)
    assert recorder.texts == []


@pytest.mark.slow
@pytest.mark.parametrize("is_keyed", [True, False])
def test_much_zcl_from_an_insider(recorder: Recorder, is_keyed: bool) -> None:
    run(zcl_insider(20_000, 9, is_keyed=is_keyed), speed=MAX_SPEED)
    assert recorder.texts == []


async def aps_insider(count: int) -> None:
    """Random NWK commands, APS frames and ZDP requests, sealed with the right keys, through the air."""
    home = await open_home(seed=10, balance_pounds=10)
    await home.clock.advance(minutes=5)
    rng = random.Random(10)
    attacker = node(home.ihd)
    shorts = [info.short_address for info in (node(d).network for d in home.devices) if info is not None]
    for number in range(count):
        destination = rng.choice((*shorts, 0xFFFF, 0xFFFD, 0xFFFC, 0x1234))
        kind = number % 3
        now_us = home.civil.utc_us()
        if kind == 0:  # APS header and all at random
            start = bytes(
                (rng.choice((0x00, 0x01, 0x02, 0x20, 0x21, 0x40, 0x48, 0x80, 0xC0, rng.randrange(256))),)
            )
            attacker.stack.nwk.send(
                destination, start + rng.randbytes(rng.randrange(50)), 0, now_us=attacker._scheduler.now_us()
            )
            attacker._drain()
        elif destination != shorts[-1]:
            is_zdp = kind == 1
            message = ApsMessage(
                destination=destination, destination_endpoint=0 if is_zdp else 1, source_endpoint=0 if is_zdp else 1,
                cluster_id=rng.choice((0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x13, 0x1F, 0x21, 0x22, 0x31, 0x32, 0x36, 0x38,
                                       0x8000, 0x8036, rng.randrange(0x10000))),
                profile_id=0 if is_zdp else rng.choice((SE_PROFILE, 0x0104, rng.randrange(0x10000))),
                payload=rng.randbytes(rng.randrange(70)), is_secured=False, wants_ack=rng.random() < 0.5,
            )  # fmt: skip
            attacker.submit(message)
        await asyncio.sleep(0.05)
        assert home.civil.utc_us() > now_us
    await home.clock.advance(minutes=5)
    await healthy(home)
    await home.close()


def test_nwk_aps_and_zdp_from_an_insider(recorder: Recorder) -> None:
    run(aps_insider(600), speed=MAX_SPEED)
    assert recorder.texts == []
