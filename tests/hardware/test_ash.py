"""ASH: the reference's octets, every cut, a line that loses and garbles, and bellows' reading of the same."""

from __future__ import annotations

import random

import pytest

from smets1.errors import DecodeError, MisuseError
from smets1.hardware.ezsp import AshData, AshDown, AshLink, AshReset, AshRole, AshUp
from smets1.hardware.ezsp.ash import AshDecoder, AshFrame, AshType, ResetCode

RST = bytes.fromhex("C038BC7E")
RSTACK = bytes.fromhex("C1020B0A527E")


def test_frames_of_the_reference() -> None:
    """Source: UG101, 2.4 and 4.3."""
    assert AshFrame(kind=AshType.RST).encode() == RST
    assert AshFrame(kind=AshType.RSTACK, data=bytes((2, ResetCode.SOFTWARE))).encode() == RSTACK
    assert AshFrame(kind=AshType.ACK, ack_number=1).encode() == bytes.fromhex("8160597E")
    assert AshFrame(kind=AshType.NAK, ack_number=6).encode() == bytes.fromhex("A634DC7E")
    data = AshFrame(kind=AshType.DATA, frame_number=2, ack_number=5, data=bytes.fromhex("00000002")).encode()
    assert data == bytes.fromhex("25" + "4221A856" + "A609" + "7E")


def test_round_trip_and_every_cut() -> None:
    rng = random.Random(1)
    for length in range(1, 130):
        frame = AshFrame(
            kind=AshType.DATA,
            frame_number=length % 8,
            ack_number=length % 7,
            is_repeat=length % 2 == 0,
            data=rng.randbytes(length),
        )
        octets = frame.encode()
        assert AshDecoder().feed(octets) == [frame]
        assert not set(octets[:-1]) & {0x7E, 0x11, 0x13, 0x18, 0x1A}
        decoder = AshDecoder()
        heard = [frame for at in range(len(octets)) for frame in decoder.feed(octets[at : at + 1])]
        assert heard == [frame]
        for cut in range(1, len(octets) - 1, 7):
            (told,) = AshDecoder().feed(octets[:cut] + b"\x7e")
            assert told is None
    with pytest.raises(DecodeError):
        AshFrame.decode(b"\x00")


def test_bellows_reads_our_frames_and_we_read_theirs() -> None:
    ash = pytest.importorskip("bellows.ash", reason="bellows is not installed (it is in the extra [radio])")
    rng = random.Random(2)
    for number in range(200):
        data = rng.randbytes(rng.randrange(1, 128))
        theirs = ash.DataFrame(
            frm_num=number % 8, re_tx=bool(number & 1), ack_num=number % 5, ezsp_frame=data
        )
        ours = AshFrame(
            kind=AshType.DATA,
            frame_number=number % 8,
            is_repeat=bool(number & 1),
            ack_number=number % 5,
            data=data,
        )
        octets = bytes(ash.AshProtocol._stuff_bytes(theirs.to_bytes())) + b"\x7e"
        assert octets == ours.encode()
        assert ash.parse_frame(ash.AshProtocol._unstuff_bytes(ours.encode()[:-1])) == theirs


class Line:
    """Two ends, and what is done to the octets between them."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.host, self.stick = AshLink(AshRole.HOST), AshLink(AshRole.STICK)
        self.heard: dict[AshRole, list[object]] = {AshRole.HOST: [], AshRole.STICK: []}
        self.now_us = 0
        self.loss = 0.0
        self.stick.restart(ResetCode.POWER_ON)

    def garble(self, octets: bytes) -> bytes:
        kept = bytearray()
        for octet in octets:
            chance = self.rng.random()
            if chance < self.loss / 3:
                continue
            kept.append(octet if chance > self.loss else self.rng.randrange(256))
        return bytes(kept)

    def pass_on(self) -> None:
        for end, other in ((self.host, self.stick), (self.stick, self.host)):
            octets = self.garble(end.take_octets())
            if octets:
                other.receive(octets, now_us=self.now_us)
        for end in (self.host, self.stick):
            for event in end.take_events():
                self.heard[end.role].append(event)
                if isinstance(event, AshReset):
                    end.restart(ResetCode.SOFTWARE)

    def run(self, seconds: float) -> None:
        until_us = self.now_us + int(seconds * 1e6)
        while self.now_us < until_us:
            self.pass_on()
            self.now_us += 10_000
            for end in (self.host, self.stick):
                due_us = end.next_timer_us()
                if due_us is not None and due_us <= self.now_us:
                    end.on_timer(now_us=self.now_us)

    def connect(self) -> None:
        self.host.reset(now_us=self.now_us)
        self.run(0.1)
        assert any(isinstance(event, AshUp) for event in self.heard[AshRole.HOST])
        self.heard = {AshRole.HOST: [], AshRole.STICK: []}

    def data(self, role: AshRole) -> list[bytes]:
        return [event.frame for event in self.heard[role] if isinstance(event, AshData)]


def test_both_ways_in_order() -> None:
    line = Line()
    line.connect()
    frames = [bytes((number,)) * (1 + number % 60) for number in range(100)]
    for frame in frames:
        line.host.submit(frame, now_us=line.now_us)
        line.stick.submit(frame + b"\x7e", now_us=line.now_us)
    line.run(2)
    assert line.data(AshRole.STICK) == frames
    assert line.data(AshRole.HOST) == [frame + b"\x7e" for frame in frames]
    assert line.host.is_idle
    assert line.stick.is_idle
    assert line.host.repeat_count == line.stick.repeat_count == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_line_that_garbles_one_octet_in_three_hundred(seed: int) -> None:
    line = Line(seed)
    line.connect()
    line.loss = 1 / 300
    frames = [bytes((number,)) * 20 for number in range(60)]
    for frame in frames:
        line.host.submit(frame, now_us=line.now_us)
        line.stick.submit(frame, now_us=line.now_us)
    line.run(60)
    assert line.data(AshRole.STICK) == frames
    assert line.data(AshRole.HOST) == frames
    assert line.host.repeat_count + line.stick.repeat_count > 0


def test_nobody_acknowledges() -> None:
    line = Line()
    line.connect()
    line.stick.submit(b"hello", now_us=line.now_us)
    line.stick.take_octets()
    while not line.heard[AshRole.STICK] and line.now_us < 60_000_000:
        line.now_us += 100_000
        line.stick.on_timer(now_us=line.now_us)
        line.heard[AshRole.STICK] += line.stick.take_events()
    (event,) = line.heard[AshRole.STICK]
    assert isinstance(event, AshDown)
    assert AshFrame(kind=AshType.ERROR, data=bytes((2, ResetCode.ACK_TIMEOUTS))).encode() in (
        line.stick.take_octets()
    )
    line.connect()  # a reset makes it well again
    line.stick.submit(b"again", now_us=line.now_us)
    line.run(1)
    assert line.data(AshRole.HOST) == [b"again"]


def test_a_stick_that_does_not_answer_a_reset() -> None:
    host = AshLink(AshRole.HOST)
    host.reset(now_us=0)
    due_us = host.next_timer_us()
    assert due_us is not None
    host.on_timer(now_us=due_us)
    (event,) = host.take_events()
    assert isinstance(event, AshDown)
    with pytest.raises(MisuseError):
        host.submit(b"", now_us=0)


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow, id="million")])
@pytest.mark.parametrize("role", list(AshRole))
def test_garbage_does_no_harm(role: AshRole, count: int) -> None:
    """Octets of any kind into either end, connected: no error, and a reset finds it well."""
    rng = random.Random(count)
    line = Line()
    line.connect()
    end = line.host if role is AshRole.HOST else line.stick
    for _ in range(count // 1000):
        octets = rng.randbytes(1000)
        if rng.random() < 0.5:  # nearly frames
            frame = AshFrame(
                kind=AshType.DATA, frame_number=rng.randrange(8), data=rng.randbytes(20)
            ).encode()
            octets = b"".join(bytes((octet,)) if rng.random() < 0.97 else b"\x7e" for octet in frame * 40)
        end.receive(octets[:1000], now_us=line.now_us)
        end.take_octets()
        for event in end.take_events():
            if isinstance(event, AshReset):
                end.restart(ResetCode.SOFTWARE)
    assert end.bad_count > count // 1000
    end.receive(b"\x7e", now_us=line.now_us)
    line.connect()
    line.host.submit(b"there", now_us=line.now_us)
    line.stick.submit(b"and back", now_us=line.now_us)
    line.run(1)
    assert (line.data(AshRole.STICK), line.data(AshRole.HOST)) == ([b"there"], [b"and back"])
