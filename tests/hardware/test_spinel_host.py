"""The host's side of Spinel, message by message, against answers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from smets1.hardware.clock import HeapScheduler
from smets1.hardware.radio import TransmitOutcome
from smets1.hardware.rcp.hdlc import HdlcDecoder, hdlc_frame
from smets1.hardware.rcp.host import (
    ANSWER_WAIT_US,
    RESET_WAIT_US,
    TRANSMIT_WAIT_US,
    TRIES,
    Energy,
    Heard,
    RcpHost,
    Refused,
    StickLost,
    StickUp,
    Transmitted,
)
from smets1.hardware.rcp.pipe import MemoryCable
from smets1.hardware.rcp.spinel import (
    Command,
    Property,
    RawReceived,
    RawTransmit,
    SpinelFrame,
    Status,
    encode_value,
)

FRAME = bytes.fromhex("618801621A00000500") + b"hello"  # asks for an acknowledgement
FACTS: dict[Property, Any] = {
    Property.PROTOCOL_VERSION: (4, 3),
    Property.NCP_VERSION: "OPENTHREAD/x",
    Property.CAPS: (34, 513),
    Property.HWADDR: 0x00DB000000000001,
}


class Desk:
    """A host, and the person at the other end of its line."""

    def __init__(self) -> None:
        self.host = RcpHost()
        self.decoder = HdlcDecoder()
        self.now_us = 0

    def asked(self) -> list[SpinelFrame]:
        return [SpinelFrame.decode(frame) for frame in self.decoder.feed(self.host.take_octets())]

    def ask(self) -> SpinelFrame:
        (frame,) = self.asked()
        return frame

    def say(self, prop: Property, payload: bytes, transaction: int = 0) -> None:
        frame = SpinelFrame(
            transaction=transaction, command=Command.PROP_VALUE_IS, prop=prop, payload=payload
        )
        self.host.receive(hdlc_frame(frame.encode()), now_us=self.now_us)

    def status(self, status: Status, transaction: int = 0, *more: int) -> None:
        self.say(Property.LAST_STATUS, encode_value(Property.LAST_STATUS, status) + bytes(more), transaction)

    def wait(self, wait_us: int) -> None:
        until_us = self.now_us + wait_us
        while (next_us := self.host.next_timer_us()) is not None and next_us <= until_us:
            self.now_us = max(self.now_us, next_us)
            self.host.on_timer(now_us=self.now_us)
        self.now_us = until_us

    def answer_probes(self) -> None:
        while not self.host.is_up:
            asked = self.ask()
            assert asked.command == Command.PROP_VALUE_GET
            prop = Property(asked.prop or 0)
            if prop in FACTS:
                self.say(prop, encode_value(prop, FACTS[prop]), asked.transaction)
            else:
                self.status(Status.PROP_NOT_FOUND, asked.transaction)

    def answer_sets(self) -> list[Property]:
        """Everything that is set, confirmed; what was set, in order."""
        props = []
        while frames := self.asked():
            for asked in frames:
                assert asked.command == Command.PROP_VALUE_SET
                prop = Property(asked.prop or 0)
                props.append(prop)
                if prop is not Property.STREAM_RAW:
                    self.say(prop, asked.payload, asked.transaction)
        return props

    def bring_up(self) -> None:
        self.host.on_open(now_us=self.now_us)
        assert self.ask().encode() == bytes.fromhex("8001")  # the draft's reset command
        self.status(Status.RESET_SOFTWARE)
        self.answer_probes()
        self.answer_sets()
        assert isinstance(self.host.take_events()[0], StickUp)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_it_asks_who_the_stick_is_and_then_sets_what_is_wanted(desk: Desk) -> None:
    desk.host.want(Property.MAC_RAW_STREAM_ENABLED, True, now_us=0)
    desk.host.want(Property.PHY_CHAN, 15, now_us=0)
    desk.host.on_open(now_us=0)
    desk.ask()
    desk.status(Status.RESET_POWER_ON)
    desk.answer_probes()
    (up,) = desk.host.take_events()
    assert isinstance(up, StickUp)
    assert (up.info.version, up.info.api_version) == ("OPENTHREAD/x", None)
    assert desk.answer_sets() == [
        Property.PHY_ENABLED,
        Property.PHY_CHAN,
        Property.MAC_SRC_MATCH_ENABLED,
        Property.MAC_RAW_STREAM_ENABLED,
    ]


def test_one_property_at_a_time_and_only_what_changes(desk: Desk) -> None:
    desk.bring_up()
    desk.host.want(Property.PHY_CHAN, 20, now_us=0)
    desk.host.want(Property.PHY_CHAN, 20, now_us=0)
    desk.host.want(Property.MAC_15_4_PANID, 7, now_us=0)
    first = desk.ask()
    assert (first.prop, first.payload) == (Property.PHY_CHAN, b"\x14")
    desk.say(Property.PHY_CHAN, b"\x14", first.transaction)
    assert desk.ask().prop == Property.MAC_15_4_PANID


def test_an_answer_that_is_lost_is_asked_for_again(desk: Desk) -> None:
    desk.bring_up()
    desk.host.want(Property.PHY_CHAN, 20, now_us=0)
    for _ in range(TRIES):
        assert desk.ask().prop == Property.PHY_CHAN
        desk.wait(ANSWER_WAIT_US)
    assert desk.ask().command == Command.RESET
    desk.status(Status.RESET_SOFTWARE)
    desk.answer_probes()
    assert Property.PHY_CHAN in desk.answer_sets()


def test_a_second_answer_is_enough(desk: Desk) -> None:
    desk.bring_up()
    desk.host.want(Property.PHY_CHAN, 20, now_us=0)
    desk.ask()
    desk.wait(ANSWER_WAIT_US)
    again = desk.ask()
    desk.say(Property.PHY_CHAN, b"\x14", again.transaction)
    desk.wait(10 * ANSWER_WAIT_US)
    assert desk.asked() == []
    assert desk.host.is_up


def test_a_stick_that_never_resets_is_lost(desk: Desk) -> None:
    desk.host.on_open(now_us=0)
    desk.host.transmit(FRAME, retries=3, now_us=0)
    desk.wait(TRIES * RESET_WAIT_US)
    assert [frame.command for frame in desk.asked()] == [Command.RESET] * TRIES
    transmitted, lost = desk.host.take_events()
    assert transmitted == Transmitted(TransmitOutcome.NO_ACK)
    assert isinstance(lost, StickLost)
    assert desk.host.next_timer_us() is None


def send(desk: Desk) -> SpinelFrame:
    desk.host.transmit(FRAME, retries=2, now_us=desk.now_us)
    asked = desk.ask()
    assert asked.prop == Property.STREAM_RAW
    raw = RawTransmit.decode(asked.payload)
    assert (raw.psdu, raw.retries) == (FRAME, 2)
    return asked


@pytest.mark.parametrize(
    ("status", "pending", "outcome"),
    [
        (Status.OK, 0, TransmitOutcome.ACKED),
        (Status.OK, 1, TransmitOutcome.ACKED_PENDING),
        (Status.NO_ACK, 0, TransmitOutcome.NO_ACK),
        (15_374, 0, TransmitOutcome.NO_ACK),  # OpenThread's own number for the same
        (Status.CCA_FAILURE, 0, TransmitOutcome.CHANNEL_BUSY),
        (Status.INVALID_STATE, 0, TransmitOutcome.CHANNEL_BUSY),
    ],
)
def test_how_a_transmission_ends(desk: Desk, status: Status, pending: int, outcome: TransmitOutcome) -> None:
    desk.bring_up()
    asked = send(desk)
    desk.status(status, asked.transaction, pending, 0)
    assert desk.host.take_events() == [Transmitted(outcome)]


def test_a_transmission_that_nobody_answers_ends(desk: Desk) -> None:
    desk.bring_up()
    asked = send(desk)
    desk.wait(TRANSMIT_WAIT_US)
    assert desk.host.take_events() == [Transmitted(TransmitOutcome.NO_ACK)]
    desk.status(Status.OK, asked.transaction, 0, 0)  # too late
    assert desk.host.take_events() == []


def test_a_reset_ends_the_transmission_at_once_and_once(desk: Desk) -> None:
    desk.bring_up()
    send(desk)
    desk.status(Status.RESET_WATCHDOG)
    assert desk.host.take_events() == [Transmitted(TransmitOutcome.NO_ACK)]
    desk.answer_probes()
    assert Property.STREAM_RAW not in desk.answer_sets()
    desk.wait(10 * TRANSMIT_WAIT_US)
    assert [type(event) for event in desk.host.take_events()] == [StickUp]


def test_a_transaction_under_way_is_not_given_to_another(desk: Desk) -> None:
    desk.bring_up()
    sending = send(desk).transaction
    for number in range(40):
        desk.host.want(Property.MAC_15_4_SADDR, number, now_us=0)
        asked = desk.ask()
        assert asked.transaction not in (0, sending)
        desk.say(Property.MAC_15_4_SADDR, asked.payload, asked.transaction)
    assert desk.host.take_events() == []
    desk.status(Status.OK, sending, 0, 0)
    assert desk.host.take_events() == [Transmitted(TransmitOutcome.ACKED)]


def test_what_is_heard_is_passed_on(desk: Desk) -> None:
    received = RawReceived(psdu=FRAME, rssi_dbm=-70, channel=11, lqi=99)
    desk.say(Property.STREAM_RAW, received.encode())
    assert desk.host.take_events() == []  # a stick that is not up yet has nothing to say
    desk.bring_up()
    desk.say(Property.STREAM_RAW, received.encode())
    assert desk.host.take_events() == [Heard(FRAME, 99, -70)]


def test_an_energy_scan(desk: Desk) -> None:
    desk.bring_up()
    desk.host.scan_energy(20, 140_000, now_us=0)
    assert desk.answer_sets() == [
        Property.MAC_SCAN_MASK,
        Property.MAC_SCAN_PERIOD,
        Property.MAC_SCAN_STATE,
    ]
    desk.say(Property.MAC_ENERGY_SCAN_RESULT, b"\x0b\xb0")  # another channel
    desk.say(Property.MAC_ENERGY_SCAN_RESULT, b"\x14")  # no value
    assert desk.host.take_events() == []
    assert desk.host.bad_count == 1
    desk.say(Property.MAC_ENERGY_SCAN_RESULT, b"\x14\xb0")
    assert desk.host.take_events() == [Energy(20, -80)]


@pytest.mark.parametrize("channel", [0, 11, 255])
def test_an_energy_that_nobody_asked_for_is_nothing(desk: Desk, channel: int) -> None:
    desk.bring_up()
    desk.say(Property.MAC_ENERGY_SCAN_RESULT, bytes((channel, 0xB0)))
    assert desk.host.take_events() == []


@pytest.mark.parametrize("is_refused", [True, False])
def test_an_energy_scan_that_fails_ends_all_the_same(desk: Desk, is_refused: bool) -> None:
    desk.bring_up()
    desk.host.scan_energy(20, 140_000, now_us=0)
    for _ in range(3):
        asked = desk.ask()
        if is_refused:
            desk.status(Status.INVALID_STATE, asked.transaction)
        else:
            desk.say(Property(asked.prop or 0), asked.payload, asked.transaction)
    if not is_refused:
        desk.wait(140_000 + TRANSMIT_WAIT_US)
    events = [event for event in desk.host.take_events() if not isinstance(event, Refused)]
    assert events == [Energy(20, 0)]
    desk.wait(10 * TRANSMIT_WAIT_US)
    assert desk.host.take_events() == []


def test_the_line_closing_ends_everything(desk: Desk) -> None:
    desk.bring_up()
    send(desk)
    desk.host.scan_energy(20, 140_000, now_us=0)
    desk.host.on_closed()
    assert desk.host.take_events() == [Transmitted(TransmitOutcome.NO_ACK), Energy(20, 0)]
    assert desk.host.take_octets() == b""
    assert desk.host.next_timer_us() is None


# --- the cable ----------------------------------------------------------------------------------------------


class Heap:
    """A PipeListener that remembers."""

    def __init__(self) -> None:
        self.octets = b""
        self.reasons: list[str] = []

    def on_octets(self, octets: bytes) -> None:
        self.octets += octets

    def on_lost(self, reason: str) -> None:
        self.reasons.append(reason)


async def test_octets_of_before_a_cable_was_pulled_do_not_arrive_after() -> None:
    scheduler = HeapScheduler()
    cable = MemoryCable(scheduler, latency_us=1_000)
    one, other = Heap(), Heap()
    await cable.host.open(one)
    await cable.stick.open(other)
    cable.host.write(b"old")
    cable.unplug()
    assert one.reasons == other.reasons == ["unplugged"]
    cable.plug()
    await cable.host.open(one)
    await cable.stick.open(other)
    cable.host.write(b"new")
    scheduler.run_until(10_000)
    assert other.octets == b"new"


# --- what a stick refuses -----------------------------------------------------------------------------------


def test_a_refusal_is_told(desk: Desk) -> None:
    desk.bring_up()
    desk.host.want(Property.PHY_CHAN, 20, now_us=0)
    desk.status(Status.INVALID_ARGUMENT, desk.ask().transaction)
    assert desk.host.take_events() == [Refused(Property.PHY_CHAN, Status.INVALID_ARGUMENT)]


def test_a_table_that_is_too_long_for_the_stick_is_done_without() -> None:
    """Then every child that polls is told that there may be something, as on chips without a table."""
    desk = Desk()
    desk.bring_up()
    tables = (Property.MAC_SRC_MATCH_SHORT_ADDRESSES, Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES)
    desk.host.want(tables[0], tuple(range(1, 12)), now_us=0)
    desk.status(Status.NOMEM, desk.ask().transaction)
    off = desk.ask()
    assert (off.prop, off.payload) == (Property.MAC_SRC_MATCH_ENABLED, b"\0")
    desk.say(Property.MAC_SRC_MATCH_ENABLED, b"\0", off.transaction)
    desk.host.want(tables[1], (1,), now_us=0)
    asked = desk.ask()
    desk.say(tables[1], asked.payload, asked.transaction)
    assert desk.asked() == []  # the other table still does not fit
    desk.host.want(tables[0], (1,), now_us=0)
    asked = desk.ask()
    desk.say(tables[0], asked.payload, asked.transaction)
    on = desk.ask()
    assert (on.prop, on.payload) == (Property.MAC_SRC_MATCH_ENABLED, b"\1")
