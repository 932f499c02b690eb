"""The simulated stick as a value machine: what OpenThread's RCP firmware answers, property by property."""

from __future__ import annotations

import asyncio
import random

import pytest
from bench_rcp import HUB, STICK, Bench, RadioEar

from smets1.hardware.clock import MAX_SPEED, run
from smets1.hardware.radio import TransmitOutcome
from smets1.hardware.rcp import MemoryCable
from smets1.hardware.rcp.hdlc import HdlcDecoder, hdlc_frame
from smets1.hardware.rcp.spinel import (
    Command,
    Property,
    RawReceived,
    RawTransmit,
    ScanState,
    SpinelFrame,
    Status,
    TransmitDone,
    decode_value,
    encode_value,
)
from smets1.tools.dongle import Dongle
from smets1.tools.dongle.rcp_stick import Configure, PowerCycle, RcpStick, ScanEnergy, Transmit

BEACON_REQUEST = bytes.fromhex("0308A9FFFFFFFF07")
SHORTS, EUI64S = Property.MAC_SRC_MATCH_SHORT_ADDRESSES, Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES


class Line:
    """A host that asks one thing at a time."""

    def __init__(self) -> None:
        self.stick = RcpStick(STICK)
        self.decoder = HdlcDecoder()
        self.stick.take_orders()
        self.power_on = self.told()

    def told(self) -> list[SpinelFrame]:
        return [SpinelFrame.decode(frame) for frame in self.decoder.feed(self.stick.take_octets())]

    def say(self, command: int, prop: int | None = None, payload: bytes = b"", transaction: int = 1) -> None:
        frame = SpinelFrame(transaction=transaction, command=command, prop=prop, payload=payload)
        self.stick.receive(hdlc_frame(frame.encode()))

    def ask(self, command: int, prop: int | None = None, payload: bytes = b"") -> SpinelFrame:
        self.say(command, prop, payload)
        (answer,) = self.told()
        assert answer.transaction == 1
        return answer

    def get(self, prop: Property) -> object:
        answer = self.ask(Command.PROP_VALUE_GET, prop)
        assert (answer.command, answer.prop) == (Command.PROP_VALUE_IS, prop)
        return decode_value(prop, answer.payload)

    def set(self, prop: Property, value: object) -> None:
        answer = self.ask(Command.PROP_VALUE_SET, prop, encode_value(prop, value))
        assert (answer.command, answer.prop) == (Command.PROP_VALUE_IS, prop)
        assert decode_value(prop, answer.payload) == value

    def status(self, command: int, prop: int | None = None, payload: bytes = b"") -> int:
        answer = self.ask(command, prop, payload)
        assert answer.prop == Property.LAST_STATUS
        return TransmitDone.decode(answer.payload).status

    def configured(self) -> Configure:
        last = self.stick.take_orders()[-1]
        assert isinstance(last, Configure)
        return last


@pytest.fixture
def line() -> Line:
    return Line()


def test_it_says_that_it_has_power(line: Line) -> None:
    (told,) = line.power_on
    assert told.encode() == bytes.fromhex("80060070")


def test_a_reset_forgets_everything(line: Line) -> None:
    line.set(Property.PHY_ENABLED, True)
    line.set(Property.MAC_15_4_PANID, 0x1A62)
    line.stick.take_orders()
    line.say(Command.RESET, transaction=0)
    (told,) = line.told()
    assert told.encode() == bytes.fromhex("80060072")  # the draft's reset notification
    assert isinstance(line.stick.take_orders()[0], PowerCycle)
    assert line.get(Property.MAC_15_4_PANID) == 0xFFFF
    assert line.get(Property.PHY_ENABLED) is False


def test_what_a_host_asks_first(line: Line) -> None:
    assert line.get(Property.PROTOCOL_VERSION) == (4, 3)
    assert line.get(Property.INTERFACE_TYPE) == 3
    assert line.get(Property.HWADDR) == STICK
    assert line.get(Property.RCP_API_VERSION) == 11
    assert set(line.get(Property.CAPS)) >= {34, 513}  # type: ignore[call-overload]
    assert line.get(Property.PHY_CHAN_SUPPORTED) == tuple(range(11, 27))
    line.set(Property.PHY_CHAN, 15)
    assert line.get(Property.PHY_FREQ) == 2_425_000


def test_every_property_is_answered(line: Line) -> None:
    for prop in Property:
        answer = line.ask(Command.PROP_VALUE_GET, prop)
        if prop in (Property.STREAM_RAW, Property.MAC_ENERGY_SCAN_RESULT):
            assert answer.prop == Property.LAST_STATUS
        else:
            assert answer.prop == prop
            decode_value(prop, answer.payload)


@pytest.mark.parametrize(
    ("command", "prop", "payload", "status"),
    [
        (Command.NOOP, None, "", Status.OK),
        (22, None, "", Status.INVALID_COMMAND),
        (Command.PROP_VALUE_GET, 9999, "", Status.PROP_NOT_FOUND),
        (Command.PROP_VALUE_SET, 9999, "00", Status.PROP_NOT_FOUND),
        (Command.PROP_VALUE_SET, Property.HWADDR, "0000000000000000", Status.INVALID_COMMAND_FOR_PROP),
        (Command.PROP_VALUE_SET, Property.PHY_CHAN, "0A", Status.INVALID_ARGUMENT),
        (Command.PROP_VALUE_SET, Property.PHY_CHAN, "", Status.PARSE_ERROR),
        (Command.PROP_VALUE_SET, Property.PHY_ENABLED, "02", Status.PARSE_ERROR),
        (Command.PROP_VALUE_SET, Property.MAC_PROMISCUOUS_MODE, "03", Status.INVALID_ARGUMENT),
        (Command.PROP_VALUE_SET, Property.MAC_SCAN_STATE, "01", Status.INVALID_ARGUMENT),
        (Command.PROP_VALUE_SET, Property.MAC_SCAN_STATE, "02", Status.INVALID_STATE),  # PHY is off
        (Command.PROP_VALUE_SET, Property.STREAM_RAW, "0500020069", Status.PARSE_ERROR),
        (Command.PROP_VALUE_SET, Property.STREAM_RAW, "0500 02006A 0000 0F", Status.INVALID_STATE),
        (Command.PROP_VALUE_INSERT, Property.PHY_CHAN, "0B", Status.INVALID_COMMAND_FOR_PROP),
        (Command.PROP_VALUE_INSERT, SHORTS, "01", Status.PARSE_ERROR),
        (Command.PROP_VALUE_REMOVE, SHORTS, "0100", Status.ITEM_NOT_FOUND),
    ],
)
def test_refusals(line: Line, command: int, prop: int | None, payload: str, status: Status) -> None:
    assert line.status(command, prop, bytes.fromhex(payload)) == status
    assert line.get(Property.LAST_STATUS) == status


def test_another_interface_is_refused(line: Line) -> None:
    frame = SpinelFrame(transaction=1, command=Command.NOOP, interface=1)
    line.stick.receive(hdlc_frame(frame.encode()))
    (told,) = line.told()
    assert told.payload == bytes((Status.INVALID_INTERFACE,))


def test_it_hears_when_all_three_switches_are_on(line: Line) -> None:
    switches = (Property.PHY_ENABLED, Property.MAC_RAW_STREAM_ENABLED, Property.MAC_RX_ON_WHEN_IDLE_MODE)
    line.set(switches[0], True)
    line.set(switches[1], True)
    assert line.configured().is_receiving
    for switch in switches:
        line.set(switch, False)
        assert not line.configured().is_receiving
        line.stick.on_frame(BEACON_REQUEST, 255, -40, now_us=5)
        assert line.told() == []
        line.set(switch, True)
    line.stick.on_frame(BEACON_REQUEST, 200, -60, now_us=5)
    (told,) = line.told()
    assert (told.transaction, told.prop) == (0, Property.STREAM_RAW)
    heard = RawReceived.decode(told.payload)
    assert heard == RawReceived(psdu=BEACON_REQUEST, rssi_dbm=-60, channel=11, lqi=200, timestamp_us=5)


def test_source_matching(line: Line) -> None:
    assert line.get(Property.MAC_SRC_MATCH_ENABLED) is False
    line.set(Property.MAC_SRC_MATCH_ENABLED, False)
    assert line.configured().pends_always  # off: every data request is told that there is something
    line.set(Property.MAC_SRC_MATCH_ENABLED, True)
    line.set(SHORTS, (0x0001, 0x0002))
    assert line.ask(Command.PROP_VALUE_INSERT, SHORTS, b"\x03\x00").command == Command.PROP_VALUE_INSERTED
    assert line.ask(Command.PROP_VALUE_INSERT, SHORTS, b"\x03\x00").command == Command.PROP_VALUE_INSERTED
    assert line.ask(Command.PROP_VALUE_REMOVE, SHORTS, b"\x01\x00").command == Command.PROP_VALUE_REMOVED
    line.set(EUI64S, (STICK,))
    configured = line.configured()
    assert not configured.pends_always
    assert configured.pending_shorts == (0x0002, 0x0003)
    assert configured.pending_eui64s == (STICK,)
    full = encode_value(SHORTS, range(65))
    assert line.status(Command.PROP_VALUE_SET, SHORTS, full) == Status.NOMEM


def transmit(line: Line, **options: int) -> None:
    raw = RawTransmit(psdu=BEACON_REQUEST, **{"channel": 11, **options})
    line.say(Command.PROP_VALUE_SET, Property.STREAM_RAW, raw.encode(), transaction=5)


@pytest.mark.parametrize(
    ("outcome", "status", "is_pending"),
    [
        (TransmitOutcome.SENT, Status.OK, False),
        (TransmitOutcome.ACKED, Status.OK, False),
        (TransmitOutcome.ACKED_PENDING, Status.OK, True),
        (TransmitOutcome.NO_ACK, Status.NO_ACK, False),
        (TransmitOutcome.CHANNEL_BUSY, Status.CCA_FAILURE, False),
    ],
)
def test_a_transmission_is_answered_when_it_is_over(
    line: Line, outcome: TransmitOutcome, status: Status, is_pending: bool
) -> None:
    line.set(Property.PHY_ENABLED, True)
    transmit(line, retries=1)
    assert line.told() == []
    assert line.stick.take_orders()[-1] == Transmit(BEACON_REQUEST, 1)
    line.set(Property.MAC_15_4_PANID, 5)  # meanwhile other things are answered
    line.stick.on_transmitted(outcome)
    (told,) = line.told()
    assert (told.transaction, told.prop) == (5, Property.LAST_STATUS)
    assert TransmitDone.decode(told.payload) == TransmitDone(status=status, is_pending=is_pending)


def test_one_transmission_at_a_time(line: Line) -> None:
    line.set(Property.PHY_ENABLED, True)
    transmit(line)
    transmit(line)
    (told,) = line.told()
    assert told.payload == bytes((Status.INVALID_STATE,))
    address = encode_value(Property.MAC_15_4_LADDR, 1)
    assert line.status(Command.PROP_VALUE_SET, Property.MAC_15_4_LADDR, address) == Status.INVALID_STATE


def test_a_transmission_of_before_a_reset_is_not_answered(line: Line) -> None:
    line.set(Property.PHY_ENABLED, True)
    transmit(line)
    line.say(Command.RESET)
    line.told()
    line.stick.on_transmitted(TransmitOutcome.ACKED)
    assert line.told() == []


def test_a_transmission_may_be_on_another_channel(line: Line) -> None:
    line.set(Property.PHY_ENABLED, True)
    line.stick.take_orders()
    transmit(line, channel=20, after_channel=11)
    configure, order = line.stick.take_orders()
    assert isinstance(configure, Configure)
    assert configure.channel == 20
    assert isinstance(order, Transmit)
    line.stick.on_transmitted(TransmitOutcome.SENT)
    assert line.configured().channel == 11
    line.told()
    assert line.get(Property.PHY_CHAN) == 11


def test_an_energy_scan(line: Line) -> None:
    line.set(Property.PHY_ENABLED, True)
    assert line.status(Command.PROP_VALUE_SET, Property.MAC_SCAN_STATE, b"\x02") == Status.INVALID_ARGUMENT
    line.set(Property.MAC_SCAN_MASK, (20,))
    line.set(Property.MAC_SCAN_PERIOD, 140)
    line.set(Property.MAC_SCAN_STATE, ScanState.ENERGY)
    assert line.stick.take_orders()[-2] == ScanEnergy(20, 140_000)
    assert line.status(Command.PROP_VALUE_SET, Property.MAC_SCAN_STATE, b"\x02") == Status.INVALID_STATE
    line.stick.on_energy(20, -71)
    result, idle = line.told()
    assert (result.prop, result.payload) == (Property.MAC_ENERGY_SCAN_RESULT, bytes((20, 256 - 71)))
    assert (idle.prop, idle.payload) == (Property.MAC_SCAN_STATE, b"\0")
    assert line.get(Property.MAC_SCAN_STATE) == ScanState.IDLE


@pytest.mark.parametrize(
    "octet_count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow, id="million")]
)
def test_garbled_octets_do_it_no_harm(line: Line, octet_count: int) -> None:
    """Random octets, whole frames of random octets, and real commands with wrong bits."""
    rng = random.Random(7)
    real = SpinelFrame(
        transaction=2, command=Command.PROP_VALUE_SET, prop=SHORTS, payload=b"\x01\x00\x02\x00"
    ).encode()
    fed = 0
    while fed < octet_count:
        kind = rng.random()
        if kind < 0.3:
            octets = rng.randbytes(rng.randrange(1, 80))
        elif kind < 0.7:
            octets = hdlc_frame(bytes((0x80 | rng.randrange(64),)) + rng.randbytes(rng.randrange(0, 40)))
        else:
            wrong = bytearray(real)
            wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
            octets = hdlc_frame(bytes(wrong))
        line.stick.receive(octets)
        fed += len(octets)
        line.stick.take_octets()
        line.stick.take_orders()
    line.decoder = HdlcDecoder()
    line.stick.receive(b"\x7e")
    line.stick.take_octets()
    line.say(Command.RESET)
    (told,) = line.told()
    assert told.payload == bytes((Status.RESET_SOFTWARE,))
    assert line.get(Property.HWADDR) == STICK


def test_a_channel_for_afterwards_that_is_none_is_refused(line: Line) -> None:
    line.set(Property.PHY_ENABLED, True)
    transmit(line, after_channel=0)
    (told,) = line.told()
    assert told.payload == bytes((Status.INVALID_ARGUMENT,))


def test_whatever_a_host_says_the_antenna_can_do() -> None:
    """Commands with plausible and implausible values, on a stick with a real antenna; nothing is raised."""

    async def main() -> None:
        bench = Bench()
        cable = MemoryCable(bench.loop)
        dongle = Dongle(bench.air, cable.stick, STICK)
        await dongle.start()
        other = bench.air.radio(HUB)
        other.attach(RadioEar())
        rng = random.Random(7)
        for _ in range(4_000):
            prop = rng.choice((*Property, *[Property.STREAM_RAW] * 20, *[Property.PHY_ENABLED] * 5))
            payload = rng.randbytes(rng.choice((0, 1, 1, 2, 8, 20)))
            if payload and rng.random() < 0.7:
                payload = bytes((rng.choice((0, 1, 1, 1, 2, 11, 26)),)) + payload[1:]
            if prop is Property.STREAM_RAW:
                psdu = rng.randbytes(rng.randrange(1, 126))
                payload = (len(psdu) + 2).to_bytes(2, "little") + psdu + b"\0\0"
                payload += bytes((rng.choice((0, 11, 11, 12)), 4, rng.randrange(4), 1, 0, 0, 0)) + bytes(8)
                payload += bytes((rng.choice((0, 11, 12)),))
            command = rng.choice((3, 3, 3, 3, 4, 5, 2, 1 if rng.random() < 0.02 else 3))
            frame = SpinelFrame(transaction=rng.randrange(16), command=command, prop=prop, payload=payload)
            dongle.on_octets(hdlc_frame(frame.encode()))
            await asyncio.sleep(rng.choice((0, 0.001, 0.01)))
        await asyncio.sleep(300)
        frame = SpinelFrame(transaction=1, command=Command.RESET)
        dongle.on_octets(hdlc_frame(frame.encode()))
        assert not dongle.stick.is_receiving
        assert bench.air.emission_count > 10
        await dongle.close()

    run(main(), speed=MAX_SPEED)
