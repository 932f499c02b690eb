"""The Key Establishment state machine: two of them and a link; then everything that can go wrong."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from smets1.errors import MisuseError, NoAnswerError, RefusedError
from smets1.firmware.crypto.cbke import CbkeSuite, Suite2Certificate, TestCa
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.clusters.key_establishment import KEY_ESTABLISHMENT, TerminateStatus
from smets1.firmware.zcl.key_establishment import (
    KeyEstablished,
    KeyEstablishment,
    KeyEstablishmentFailed,
    KeyMessage,
)
from smets1.firmware.zcl.key_service import KeyEstablishmentService
from smets1.firmware.zcl.status import Side
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.radio import ApsIndication, ApsMessage, ApsSecurity

HUB, METER, DISPLAY = 0x0000, 0x1234, 0x2345
HUB_EUI, METER_EUI = 0x00DB1234567890A2, 0x00DB1234567890A0
CAS = {suite: TestCa(suite, random.Random(suite)) for suite in CbkeSuite}
BOTH = {METER: METER_EUI, HUB: HUB_EUI}


def machine(eui64: int, seed: int, suites: Any = (CbkeSuite.SUITE_1,), **options: Any) -> KeyEstablishment:
    identities = {suite: CAS[suite].issue(eui64, rng=random.Random(f"{eui64}")) for suite in suites}
    return KeyEstablishment(identities, random.Random(seed), **options)


class Link:
    """Carries messages between machines through the real octets; may change or lose them."""

    def __init__(self, **machines: KeyEstablishment) -> None:
        self.machines = {METER: machines["meter"], HUB: machines["hub"]}
        self.trace: list[str] = []
        self.now_us = 0

    def spoil(self, message: KeyMessage) -> KeyMessage | None:
        return message

    def run(self) -> None:
        while True:
            moved = [self.move(source) for source in self.machines]
            if not any(moved):
                return

    def move(self, source: int) -> bool:
        messages = self.machines[source].take_messages()
        for original in messages:
            message = self.spoil(original)
            if message is None:
                continue
            command = KEY_ESTABLISHMENT.command(message.command, message.sender)
            values = command.payload.decode(command.payload.encode(message.values))
            self.trace.append(message.command)
            self.machines[message.peer].receive(
                source, message.sender, message.command, values, peer_eui64=BOTH[source], now_us=self.now_us
            )
        return bool(messages)

    def outcome(self, who: int) -> Any:
        events = self.machines[who].take_events()
        assert len(events) == 1, events
        return events[0]


@pytest.mark.parametrize("suite", list(CbkeSuite))
def test_both_sides_agree(suite: CbkeSuite) -> None:
    link = Link(meter=machine(METER_EUI, 1, (suite,)), hub=machine(HUB_EUI, 2, tuple(CbkeSuite)))
    link.machines[METER].start(HUB, suite=suite, peer_eui64=HUB_EUI, now_us=0)
    link.run()
    meter, hub = link.outcome(METER), link.outcome(HUB)
    assert isinstance(meter, KeyEstablished)
    assert isinstance(hub, KeyEstablished)
    assert meter.key == hub.key
    assert len(meter.key) == 16
    assert (meter.peer_eui64, hub.peer_eui64, meter.suite) == (HUB_EUI, METER_EUI, suite)
    assert (meter.is_initiator, hub.is_initiator) == (True, False)
    assert link.machines[METER].next_timer_us() is None
    assert link.machines[HUB].next_timer_us() is None
    assert [name.rpartition("_")[0] for name in link.trace[::2]] == [
        "initiate_key_establishment",
        "ephemeral_data",
        "confirm_key_data",
    ]
    assert meter.key.hex() not in repr(meter)
    assert "mac" not in repr(KeyMessage(peer=1, sender=Side.CLIENT, command="x", values={"mac": b"1"}))


def test_each_time_another_key_and_the_same_seed_the_same() -> None:
    def once(link: Link) -> bytes:
        link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)
        link.run()
        link.outcome(HUB)
        key: bytes = link.outcome(METER).key
        return key

    first = Link(meter=machine(METER_EUI, 1), hub=machine(HUB_EUI, 2))
    second = Link(meter=machine(METER_EUI, 1), hub=machine(HUB_EUI, 2))
    keys = [once(first), once(first), once(second)]
    assert keys[0] == keys[2] != keys[1]


def failed_both(link: Link, status: TerminateStatus, *, found_by: int) -> None:
    for who in (METER, HUB):
        event = link.outcome(who)
        assert isinstance(event, KeyEstablishmentFailed)
        assert (event.status, event.by_peer) == (status, who != found_by)
        assert link.machines[who].next_timer_us() is None


SPOILED = [
    ("initiate_key_establishment_request", "identity", lambda v: v[:-1], TerminateStatus.BAD_MESSAGE, HUB),
    ("initiate_key_establishment_request", "identity", lambda v: v[:30] + bytes(8) + v[38:], TerminateStatus.UNKNOWN_ISSUER, HUB),
    ("initiate_key_establishment_request", "identity", lambda v: v[:22] + bytes(8) + v[30:], TerminateStatus.BAD_MESSAGE, HUB),
    ("initiate_key_establishment_response", "identity", lambda v: v[:30] + bytes(8) + v[38:], TerminateStatus.UNKNOWN_ISSUER, METER),
    ("initiate_key_establishment_response", "suite", lambda v: 2, TerminateStatus.UNSUPPORTED_SUITE, METER),
    ("ephemeral_data_request", "ephemeral_data", lambda v: v[:-1], TerminateStatus.BAD_MESSAGE, HUB),
    ("ephemeral_data_request", "ephemeral_data", lambda v: bytes(22), TerminateStatus.BAD_MESSAGE, HUB),
    ("ephemeral_data_response", "ephemeral_data", lambda v: bytes(22), TerminateStatus.BAD_MESSAGE, METER),
    ("confirm_key_data_request", "mac", lambda v: bytes(16), TerminateStatus.BAD_KEY_CONFIRM, HUB),
]  # fmt: skip


@pytest.mark.parametrize(("command", "name", "change", "status", "found_by"), SPOILED)
def test_spoiled_messages(
    command: str, name: str, change: Any, status: TerminateStatus, found_by: int
) -> None:
    link = Link(meter=machine(METER_EUI, 1), hub=machine(HUB_EUI, 2))

    def spoil(message: KeyMessage) -> KeyMessage:
        if message.command != command:
            return message
        return replace(message, values={**message.values, name: change(message.values[name])})

    link.spoil = spoil  # type: ignore[method-assign,assignment]
    link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)
    link.run()
    if command == "initiate_key_establishment_request":
        assert link.outcome(METER).status == status
        assert link.outcome(HUB).status == status
    else:
        failed_both(link, status, found_by=found_by)


def test_bad_confirm_of_the_responder() -> None:
    """The responder has its key by then; the initiator's Terminate comes after."""
    link = Link(meter=machine(METER_EUI, 1), hub=machine(HUB_EUI, 2))
    link.spoil = lambda m: (
        replace(m, values={"mac": bytes(16)}) if m.command == "confirm_key_data_response" else m
    )  # type: ignore[method-assign,assignment]
    link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)
    link.run()
    assert link.outcome(METER).status == TerminateStatus.BAD_KEY_CONFIRM
    assert isinstance(link.outcome(HUB), KeyEstablished)


def test_a_certificate_without_the_private_key_does_not_pass() -> None:
    thief = machine(METER_EUI, 1)
    stolen = CAS[CbkeSuite.SUITE_1].issue(METER_EUI, rng=random.Random("victim")).certificate
    mine = thief._identities[CbkeSuite.SUITE_1]
    thief._identities[CbkeSuite.SUITE_1] = replace(mine, certificate=stolen)
    link = Link(meter=thief, hub=machine(HUB_EUI, 2))
    link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)
    link.run()
    failed_both(link, TerminateStatus.BAD_KEY_CONFIRM, found_by=HUB)


def test_key_usage_of_suite_2() -> None:
    meter = machine(METER_EUI, 1, (CbkeSuite.SUITE_2,))
    own = meter._identities[CbkeSuite.SUITE_2]
    assert isinstance(own.certificate, Suite2Certificate)
    meter._identities[CbkeSuite.SUITE_2] = replace(own, certificate=replace(own.certificate, key_usage=0x80))
    link = Link(meter=meter, hub=machine(HUB_EUI, 2, (CbkeSuite.SUITE_2,)))
    link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_2, now_us=0)
    link.run()
    assert link.outcome(METER).status == TerminateStatus.INVALID_KEY_USAGE


def test_unsupported_suite() -> None:
    link = Link(meter=machine(METER_EUI, 1, (CbkeSuite.SUITE_2,)), hub=machine(HUB_EUI, 2))
    link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_2, now_us=0)
    link.run()
    assert link.outcome(METER).status == TerminateStatus.UNSUPPORTED_SUITE
    assert link.machines[HUB].take_events() == []
    with pytest.raises(MisuseError):
        link.machines[METER].start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)


def initiate(engine: KeyEstablishment, peer: int) -> list[KeyMessage]:
    other = machine(METER_EUI, 5)
    other.start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)
    values = dict(other.take_messages()[0].values)
    engine.receive(peer, Side.CLIENT, "initiate_key_establishment_request", values, now_us=0)
    return engine.take_messages()


def test_one_at_a_time() -> None:
    hub = machine(HUB_EUI, 2)
    assert initiate(hub, METER)[0].command == "initiate_key_establishment_response"
    refusal = initiate(hub, DISPLAY)[0]
    assert (refusal.command, refusal.values["status"], refusal.peer) == (
        "terminate_key_establishment",
        TerminateStatus.NO_RESOURCES,
        DISPLAY,
    )
    assert refusal.values["wait_time"] == 60
    assert initiate(hub, METER)[0].command == "initiate_key_establishment_response"  # it began again
    hub.forget(METER)
    assert initiate(hub, DISPLAY)[0].command == "initiate_key_establishment_response"
    two = machine(HUB_EUI, 2, session_limit=2)
    assert [initiate(two, peer)[0].command for peer in (METER, DISPLAY)] == [
        "initiate_key_establishment_response"
    ] * 2


def test_timeouts_follow_what_the_peer_said() -> None:
    link = Link(meter=machine(METER_EUI, 1), hub=machine(HUB_EUI, 2))
    link.spoil = lambda m: (
        None
        if m.command == "ephemeral_data_response"
        # type: ignore[method-assign,assignment]
        else (
            replace(m, values={**m.values, "ephemeral_data_generate_time": 20})
            if "response" in m.command and "suite" in m.values
            else m
        )
    )
    meter = link.machines[METER]
    meter.start(HUB, suite=CbkeSuite.SUITE_1, now_us=0)
    assert meter.next_timer_us() == 13_000_000
    link.run()
    assert meter.next_timer_us() == 30_000_000
    meter.on_timer(now_us=29_999_999)
    assert meter.take_events() == []
    meter.on_timer(now_us=30_000_000)
    event = link.outcome(METER)
    assert (event.status, event.by_peer) == (None, False)
    link.machines[HUB].on_timer(now_us=13_000_000)
    assert link.outcome(HUB).status is None


def test_out_of_order_and_out_of_nothing() -> None:
    hub = machine(HUB_EUI, 2)
    hub.receive(METER, Side.CLIENT, "confirm_key_data_request", {"mac": bytes(16)}, now_us=0)
    assert [m.values["status"] for m in hub.take_messages()] == [TerminateStatus.BAD_MESSAGE]
    hub.receive(METER, Side.SERVER, "confirm_key_data_response", {"mac": bytes(16)}, now_us=0)
    hub.receive(
        METER, Side.CLIENT, "terminate_key_establishment", {"status": 9, "wait_time": 1, "suite": 1}, now_us=0
    )
    assert hub.take_messages() == []
    assert hub.take_events() == []
    initiate(hub, METER)
    hub.receive(METER, Side.CLIENT, "confirm_key_data_request", {"mac": bytes(16)}, now_us=0)
    assert [m.values["status"] for m in hub.take_messages()] == [TerminateStatus.BAD_MESSAGE]


def test_random_messages_leave_no_key_and_raise_nothing() -> None:
    rng, hub = random.Random(3), machine(HUB_EUI, 2)
    for _ in range(3000):
        command = rng.choice(KEY_ESTABLISHMENT.commands)
        size = rng.choice([48, 22, 16, rng.randrange(80)])
        octets = rng.choice([b"\x01\x00", b"\x02\x00", b"\x03\x03"]) + rng.randbytes(2 + size)
        try:
            values = command.payload.decode(octets)
        except Exception:
            continue
        hub.receive(rng.choice([METER, DISPLAY]), command.sender, command.name, values, now_us=0)
        hub.take_messages()
    assert not [event for event in hub.take_events() if isinstance(event, KeyEstablished)]


class _Port:
    def __init__(self, loop: EmulatorLoop, short_address: int) -> None:
        self.loop, self.short_address, self.apps = loop, short_address, {}  # type: ignore[var-annotated]
        self.is_cut = False

    def post(self, message: ApsMessage) -> None:
        assert not message.is_secured
        if self.is_cut:
            return
        indication = ApsIndication(
            source=self.short_address, source_eui64=None, source_endpoint=message.source_endpoint,
            destination_endpoint=message.destination_endpoint, cluster_id=message.cluster_id,
            profile_id=message.profile_id, payload=message.payload, security=ApsSecurity.NETWORK_KEY,
            is_broadcast=False, lqi=255,
        )  # fmt: skip
        self.loop.call_at_us(self.loop.now_us() + 1000, self.apps[message.destination].on_message, indication)

    async def send(self, message: ApsMessage) -> None:
        self.post(message)


def test_service_over_two_applications() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        ports = {short: _Port(loop, short) for short in (HUB, METER)}
        apps = {
            short: ZclApplication(han=port, post=port.post, scheduler=loop) for short, port in ports.items()
        }
        for port in ports.values():
            port.apps = apps
        heard: list[Any] = []
        hub_engine = machine(HUB_EUI, 2)
        hub = KeyEstablishmentService(apps[HUB], hub_engine, loop, find_eui64=BOTH.get, on_event=heard.append)
        meter = KeyEstablishmentService(apps[METER], machine(METER_EUI, 1), loop, find_eui64=BOTH.get)
        found = await apps[METER].read(HUB, 1, "key_establishment", ["key_establishment_suite"])
        assert found == {"key_establishment_suite": 1}
        established = await meter.establish(HUB, 1, peer_eui64=HUB_EUI)
        assert established.key == heard[0].key
        assert established.peer_eui64 == HUB_EUI
        initiate(hub_engine, DISPLAY)
        with pytest.raises(RefusedError) as caught:
            await meter.establish(HUB, 1)
        assert caught.value.status == TerminateStatus.NO_RESOURCES
        hub_engine.forget(DISPLAY)
        ports[HUB].is_cut = True
        with pytest.raises(NoAnswerError):
            await meter.establish(HUB, 1)
        hub.close()
        meter.close()

    run(main(), speed=MAX_SPEED)
