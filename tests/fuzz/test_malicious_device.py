"""A malicious device with all its keys, whose frames are well formed and mean harm: nothing breaks down.

The IHD's keys are the attacker's. Frames are given to each other device as its radio would, sealed under the
network key and, at APS, mostly under the IHD's own link key with the victim. What one device with the network key may
do to the network (it can bear any name there) heals; what it must never do: raise anything, take or make a
key of others, move money, switch a supply, change what the head end alone may change.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from grammar import Grammar
from test_home_air import BATCH, MAX_OCTETS, Recorder, healthy, node, recorder, settle

from smets1.firmware.device import Device
from smets1.firmware.zigbee import nwk_frames as nwk
from smets1.firmware.zigbee.aps_frames import command_header
from smets1.firmware.zigbee.security_header import seal_link, seal_network
from smets1.hardware.clock import MAX_SPEED, run
from smets1.hardware.radio import ApsIndication, ApsSecurity, KeyOrigin
from smets1.tools.home import Home, open_home

__all__ = ["recorder"]


class Attacker:
    """Seals what a grammar makes; `kinds` of it: nwk, command, aps, zdp, zcl, app."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home = home
        self.rng = random.Random(seed)
        self.own = node(home.ihd)
        network = self.own.network
        assert network is not None
        self.network = network
        self.source = network.short_address
        shorts = [info.short_address for info in (node(d).network for d in home.devices) if info is not None]
        eui64s = [device.eui64 for device in home.devices]
        self.grammar = Grammar(self.rng, shorts, eui64s, network.extended_pan_id)

    def ask(self, victim: Device) -> None:
        """One ZCL frame to the victim's application, as if a link key were shared with everybody."""
        instances = tuple(victim.app.core._instances.values())
        endpoint, cluster_id, frame = self.grammar.zcl(instances)
        victim.on_message(
            ApsIndication(
                source=self.source, source_eui64=self.own.eui64, source_endpoint=self.rng.choice((1, 2)),
                destination_endpoint=endpoint, cluster_id=cluster_id, profile_id=0x0109, payload=frame,
                security=ApsSecurity.LINK_KEY, is_broadcast=self.rng.random() < 0.05, lqi=255,
            )
        )  # fmt: skip

    def strike(self, victim: Device, kind: str) -> None:
        """One frame into the victim's radio, or at once to its application."""
        if kind == "app":
            self.ask(victim)
            return
        stack = node(victim).stack
        if stack.info is None:
            return
        is_broadcast = self.rng.random() < 0.1
        own = 0xFFFF if is_broadcast else stack.nwk.short_address
        frame_type = nwk.NwkFrameType.NWK_COMMAND if kind == "nwk" else nwk.NwkFrameType.DATA
        header = self.grammar.nwk_header(frame_type, own, self.source)
        payload = self._payload(victim, kind)
        active = self.own.stack.keys.active
        assert active is not None
        counter = self.own.stack.keys.nwk_out.next()
        frame = seal_network(active.cipher, header, payload, self.own.eui64, counter, active.sequence)
        head = b"\x41\x88" + bytes((self.rng.randrange(256),))
        addresses = stack.info.pan_id, own, self.source
        mac = head + b"".join(part.to_bytes(2, "little") for part in addresses)
        if len(mac + frame) <= MAX_OCTETS:
            node(victim).on_frame(mac + frame, 255, -40)

    def _payload(self, victim: Device, kind: str) -> bytes:
        grammar = self.grammar
        entry = self.own.stack.keys.links.get(victim.eui64)
        is_secured = entry is not None and self.rng.random() < 0.8
        if kind == "nwk":
            return grammar.nwk_command()
        if kind == "command":
            key_id = self.rng.choice((0, 0, 2, 3))
            head, body = command_header(self.rng.randrange(256), is_secured=is_secured), grammar.aps_command()
        else:
            key_id, profile_id, endpoint = 0, 0x0109, 1
            if kind == "zdp":
                cluster_id, body = grammar.zdp()
                profile_id = 0
            else:
                endpoint, cluster_id, body = grammar.zcl(tuple(victim.app.core._instances.values()))
            head = grammar.aps_header(is_secured=is_secured, cluster_id=cluster_id, profile_id=profile_id)
            if kind == "zcl" and self.rng.random() < 0.9:  # no fragment: it gets to the application
                pack = bytes((0x20 if is_secured else 0x00, endpoint)), cluster_id, profile_id
                head = pack[0] + b"".join(part.to_bytes(2, "little") for part in pack[1:])
                head += bytes((1, self.rng.randrange(256)))
            elif kind == "zdp":
                head = bytes((0x20 if is_secured else 0x00, 0)) + cluster_id.to_bytes(2, "little")
                head += bytes((0, 0, 0, self.rng.randrange(256)))
        if not is_secured or entry is None:
            return head + body
        return seal_link(entry.cipher(key_id), key_id, head, body, self.own.eui64, entry.out.next())


def precious(home: Home) -> dict[str, object]:
    """What nobody but the head end, the customer with a token, or the other end of a key may change."""
    attacker = home.ihd.eui64
    keys: dict[str, object] = {}
    for device in home.devices:
        if device is home.ihd:
            continue
        links = node(device).stack.keys.links
        keys[repr(device)] = {
            eui64: entry.key
            for eui64, entry in links.items()
            if eui64 != attacker and entry.origin is KeyOrigin.ESTABLISHED
        }
    meters = (home.esme, home.gsme)
    return {
        "keys": keys,
        "network keys": {
            repr(device): sorted(key.key for key in node(device).stack.keys.networks.values())
            for device in home.devices
        },
        "balances": [meter.account.balance_mp for meter in meters],
        "modes": [meter.account.mode for meter in meters],
        "supplies": [meter.meter.supply.state for meter in meters],
        "sua": [(meter.authorisation.generation, meter.authorisation.counter) for meter in meters],
        "log": [entry.eui64 for entry in home.chf.device_log.entries()],
        "versions": [device.images.version for device in home.devices],
        "mirror": repr({name: home.chf.gas.values[name] for name in sorted(home.chf.gas.values)}),
    }


async def malice(kinds: tuple[str, ...], count: int, seed: int) -> dict[str, Any]:
    home = await open_home(seed=seed, balance_pounds=10)
    await home.clock.advance(minutes=35)
    attacker = Attacker(home, seed)
    victims = [device for device in home.devices if device is not home.ihd]
    for batch in range(max(1, count // BATCH)):
        await settle()
        before = precious(home)
        for number in range(BATCH):
            attacker.strike(victims[number % len(victims)], kinds[number % len(kinds)])
            if number % 50 == 0:
                await settle()
        await settle()
        after = precious(home)
        assert after == before, batch
        await home.clock.advance(seconds=40)
    await home.joined(3600)
    await home.clock.advance(minutes=61)
    await healthy(home)
    tallies = {repr(device): node(device).stack.nwk.counters for device in victims}
    await home.close()
    return tallies


ALL = ("nwk", "command", "aps", "zdp", "zcl", "app")


@pytest.mark.parametrize(
    "kinds", [("nwk",), ("command",), ("aps",), ("zdp",), ("zcl",), ("app",)], ids="-".join
)
def test_one_layer(recorder: Recorder, kinds: tuple[str, ...]) -> None:
    run(malice(kinds, 2_000, 21), speed=MAX_SPEED)
    assert recorder.texts == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_all_layers_at_length(recorder: Recorder, seed: int) -> None:
    run(malice(ALL, 40_000, 30 + seed), speed=MAX_SPEED)
    assert recorder.texts == []
