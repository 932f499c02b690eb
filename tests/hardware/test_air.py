"""The transceiver and the medium: times to the microsecond, filter, acknowledgement, collisions."""

import random

import pytest

from smets1.errors import ClosedError, MisuseError
from smets1.hardware.air import Air, Fate
from smets1.hardware.clock import HeapScheduler
from smets1.hardware.ieee802154 import FramePeek, FrameType, airtime_us
from smets1.hardware.radio import TransmitOutcome

PAN = 0x1A62
ACKED, NO_ACK, SENT = TransmitOutcome.ACKED, TransmitOutcome.NO_ACK, TransmitOutcome.SENT


# --- times ---


@pytest.mark.parametrize("units", [0, 1, 7])
def test_a_lone_exchange_takes_exactly_its_time(bench, frame, units) -> None:
    bench.air.draw_bits = lambda bits: units
    a, b = bench.host(1), bench.host(2)
    psdu = frame(2, 1)  # 14 octets
    bench.scheduler.run_until(1_000)
    a.radio.transmit(psdu)
    start_us = 1_000 + 320 * units + 128 + 192
    end_us = start_us + (6 + 14 + 2) * 32
    bench.run()
    assert b.frames == [(end_us, psdu)]
    assert a.outcomes == [(end_us + 192 + 352, ACKED)]
    assert bench.told == [
        (start_us, psdu, 0x1001, Fate.RECEIVED),
        (end_us + 192, b"\x02\x00\x01", 0x1002, Fate.RECEIVED),
    ]


def test_without_ack_request_it_ends_with_the_frame(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    a.radio.transmit(frame(2, 1, ack=False))
    bench.run()
    assert a.outcomes == [(320 + 704, SENT)]
    assert len(b.frames) == 1


def test_unanswered_frames_are_repeated_and_given_up(bench, frame) -> None:
    bench.no_backoff()
    a = bench.host(1)
    a.radio.transmit(frame(2, 1), retries=3)
    bench.run()
    attempt_us = 320 + 704 + 864
    assert [told[0] for told in bench.told] == [320 + attempt_us * i for i in range(4)]
    assert a.outcomes == [(4 * attempt_us, NO_ACK)]
    assert set(bench.fates) == {Fate.UNHEARD}


@pytest.mark.parametrize("retries", [0, 1, 7])
def test_the_caller_says_how_often_it_is_repeated(bench, frame, retries) -> None:
    a = bench.host(1)
    a.radio.transmit(frame(2, 1), retries=retries)
    bench.run()
    assert len(bench.told) == retries + 1


@pytest.mark.parametrize(("payload", "spacing_us"), [(b"hello", 320), (bytes(20), 640)])
def test_frames_of_one_radio_keep_their_spacing(bench, frame, payload, spacing_us) -> None:
    """SIFS (192) is shorter than assessment and turnaround; LIFS (640) is not."""
    bench.no_backoff()
    a = bench.host(1)
    a.on_done = lambda outcome: len(bench.told) < 2 and a.radio.transmit(frame(2, 1, payload, ack=False))
    a.radio.transmit(frame(2, 1, payload, ack=False))
    bench.run()
    first, second = bench.told
    assert second[0] - (first[0] + airtime_us(len(first[1]))) == spacing_us


def test_backoff_grows_on_a_busy_channel_and_gives_up_after_five_assessments(bench, frame) -> None:
    drawn: list[int] = []

    def draw(bits: int) -> int:
        drawn.append(bits)
        return 1

    bench.air.draw_bits = draw
    bench.air.interfere(1_000_000)
    a = bench.host(1)
    a.radio.transmit(frame(2, 1))
    bench.run()
    assert drawn == [3, 4, 5, 5, 5]
    assert a.outcomes == [(5 * (320 + 128), TransmitOutcome.CHANNEL_BUSY)]
    assert bench.told == []


def test_a_second_sender_waits_for_the_first(bench, frame) -> None:
    a, b, c = bench.host(1), bench.host(2), bench.host(3)
    units = {0: 0, 1: 2, 2: 20}
    draws = iter(range(3))
    bench.air.draw_bits = lambda bits: units[next(draws)]
    a.radio.transmit(frame(3, 1, bytes(60)))
    b.radio.transmit(frame(3, 2, bytes(60)))  # assesses at 768, in the middle of the first
    bench.run()
    assert [(told[0], told[2]) for told in bench.told if len(told[1]) > 3] == [
        (320, 0x1001),
        (768 + 20 * 320 + 320, 0x1002),
    ]
    assert a.results == b.results == [ACKED]
    assert len(c.frames) == 2


def test_backoffs_are_spread_over_the_whole_window(bench, frame) -> None:
    a = bench.host(1)
    starts = []
    bench.air.tap(lambda time_us, *_: starts.append(time_us))
    for _ in range(300):
        begin_us = bench.scheduler.now_us() + 10_000
        bench.scheduler.run_until(begin_us)
        a.radio.transmit(frame(0xFFFF, 1, ack=False))
        bench.run()
        starts[-1] -= begin_us + 320
    assert set(starts) == {320 * units for units in range(8)}


# --- acknowledgement ---


def test_the_pending_bit_answers_data_requests_of_sources_in_the_table(bench, frame, poll) -> None:
    parent, child = bench.host(0, coordinator=True), bench.host(9)
    child.radio.set_receiver(False)
    parent.radio.set_pending([9], [])
    for psdu in (poll(0, 9), frame(0, 9)):
        child.radio.transmit(psdu)
        bench.run()
    parent.radio.set_pending([], [0x1009])
    child.radio.transmit(poll(0, 9))  # a short source; only the long one is in the table
    bench.run()
    child.radio.transmit(b"\x63\xc8\x01\x62\x1a\x00\x00\x09\x10" + bytes(6) + b"\x04")
    bench.run()
    pending = TransmitOutcome.ACKED_PENDING
    assert child.results == [pending, ACKED, ACKED, pending]
    assert [told[1][0] for told in bench.told if len(told[1]) == 3] == [0x12, 0x02, 0x02, 0x12]


def test_a_sleeping_receiver_is_deaf_but_hears_its_acknowledgement(bench, frame) -> None:
    parent, child = bench.host(0), bench.host(9)
    child.radio.set_receiver(False)
    parent.radio.transmit(frame(9, 0), retries=0)
    bench.run()
    assert parent.results == [NO_ACK]
    child.radio.transmit(frame(0, 9))
    bench.run()
    assert child.results == [ACKED]
    assert child.frames == []
    child.radio.set_receiver(True)
    parent.radio.transmit(frame(9, 0))
    bench.run()
    assert parent.results[-1] is ACKED


def test_a_receiver_turned_on_in_the_middle_of_a_frame_does_not_get_it(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    b.radio.set_receiver(False)
    a.radio.transmit(frame(2, 1), retries=1)
    bench.scheduler.run_until(400)
    b.radio.set_receiver(True)
    bench.run()
    assert len(b.frames) == 1  # the repeat
    assert bench.fates[0] is Fate.UNHEARD


def test_broadcasts_are_never_acknowledged(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    a.radio.transmit(frame(0xFFFF, 1, ack=True), retries=0)
    bench.run()
    assert a.results == [NO_ACK]
    assert len(b.frames) == 1
    assert len(bench.told) == 1


def test_a_reply_waits_until_the_own_acknowledgement_has_gone(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    b.on_heard = lambda psdu: b.radio.transmit(frame(1, 2, b"yes", sequence=9))
    a.radio.transmit(frame(2, 1))
    bench.run()
    end_us = 320 + 704
    assert [told[0] for told in bench.told[:3]] == [320, end_us + 192, end_us + 192 + 352 + 320]
    assert a.results == b.results == [ACKED]


def test_a_frame_that_arrives_during_the_own_backoff_is_acknowledged_first(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    draws = iter([0, 4, 0])
    bench.air.draw_bits = lambda bits: next(draws)
    a.radio.transmit(frame(2, 1))  # 320..1024, acknowledgement 1216..1568
    bench.scheduler.run_until(1)
    b.radio.transmit(frame(1, 2))  # would assess at 1281..1409
    bench.run()
    assert [told[0] for told in bench.told] == [320, 1216, 1568 + 320, 1568 + 320 + 704 + 192]
    assert set(bench.fates) == {Fate.RECEIVED}


def test_an_acknowledgement_from_a_stranger_is_believed(bench, frame) -> None:
    """Nothing protects acknowledgements in 802.15.4: an attacker may forge them."""
    bench.no_backoff()
    a = bench.host(1)
    a.radio.transmit(frame(2, 1, sequence=0x6A))
    bench.scheduler.run_until(1_024)
    bench.air.inject(11, b"\x02\x00\x6b")  # another number
    bench.run()
    assert a.results == [NO_ACK]
    begin_us = bench.scheduler.now_us()
    a.radio.transmit(frame(2, 1, sequence=0x6A))
    bench.scheduler.run_until(begin_us + 1_024)
    bench.air.inject(11, b"\x02\x00\x6a")
    bench.run()
    assert a.results == [NO_ACK, ACKED]


# --- filter ---


def passes(radio, head: FramePeek) -> bool:
    """IEEE 802.15.4-2006, 7.5.6.2, word by word, for one radio: the oracle of the look-up."""
    if head.frame_type == FrameType.ACKNOWLEDGMENT:
        return False
    has_destination = head.destination_short is not None or head.destination_eui64 is not None
    if has_destination:
        if head.destination_pan not in (radio.pan_id, 0xFFFF):
            return False
        if head.destination_short is not None:
            own = {radio.short_address} - {0xFFFE}
            return head.destination_short in own | {0xFFFF}
        return head.destination_eui64 == radio.eui64
    if head.frame_type == FrameType.BEACON:
        return radio.pan_id == 0xFFFF or head.source_pan == radio.pan_id
    return head.source_pan is not None and head.source_pan == radio.pan_id and radio.is_coordinator


def test_the_lookup_agrees_with_the_rule_for_any_header(bench) -> None:
    rng = random.Random(6)
    pans, shorts = [1, 2, 0xFFFF], [0, 1, 2, 0xFFFE, 0xFFFF]
    radios = [bench.air.radio(0x1000 + i) for i in range(30)]
    for _ in range(2_000):
        radio = rng.choice(radios)
        radio.set_pan(rng.choice(pans), rng.choice(shorts), coordinator=rng.random() < 0.5)
        pick = rng.randrange(3)
        target = {
            "destination_pan": rng.choice(pans) if pick else None,
            "destination_short": rng.choice(shorts) if pick == 1 else None,
            "destination_eui64": rng.choice(radios).eui64 if pick == 2 else None,
        }
        pan = rng.choice([*pans, None])
        blank = FramePeek(rng.randrange(4), False, False, 0, *[None] * 7)
        head = blank._replace(source_pan=pan, **target)
        found = list(bench.air.channel(11).find(head))
        expected = [radio for radio in radios if passes(radio, head)]
        assert sorted(r.index for r in found) == [r.index for r in expected]


def test_beacon_request_reaches_all_and_the_beacon_those_who_search(bench, frame) -> None:
    hub, other, joiner = bench.host(0), bench.host(0x20, pan=0x2222), bench.host(0xFFFF, pan=0xFFFF)
    joiner.radio.transmit(bytes.fromhex("030801ffffffff07"))
    bench.run()
    assert len(hub.frames) == len(other.frames) == 1
    beacon = bytes.fromhex("00805a621a0000ff4f0000")
    hub.radio.transmit(beacon)
    bench.run()
    assert joiner.psdus == [beacon]
    assert len(other.frames) == 1


def test_other_channels_and_pans_and_addresses_hear_nothing(bench, frame) -> None:
    a = bench.host(1)
    others = [bench.host(2, channel=12), bench.host(2 + 0x100, pan=0x2222), bench.host(3)]
    a.radio.transmit(frame(2, 1), retries=0)
    bench.run()
    assert all(other.frames == [] for other in others)


def test_two_with_one_short_address_both_answer_and_destroy_it(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    clone = bench.host(3)
    clone.radio.set_pan(0x1A62, 2, coordinator=False)
    a.radio.transmit(frame(2, 1), retries=0)
    bench.run()
    assert len(b.frames) == len(clone.frames) == 1
    assert a.results == [NO_ACK]
    assert bench.fates == [Fate.RECEIVED, Fate.COLLIDED, Fate.COLLIDED]


def test_promiscuous_hears_everything_once(bench, frame) -> None:
    a, _, sniffer = bench.host(1), bench.host(2), bench.host(3)
    sniffer.radio.set_promiscuous(True)
    a.radio.transmit(frame(2, 1))
    bench.run()
    bench.air.inject(11, b"\xff\xff junk")
    bench.run()
    a.radio.transmit(frame(3, 1))
    bench.run()
    assert sniffer.psdus == [frame(2, 1), b"\x02\x00\x01", b"\xff\xff junk", frame(3, 1)]
    assert a.results == [ACKED, ACKED]
    sniffer.radio.set_promiscuous(False)
    a.radio.transmit(frame(2, 1))
    bench.run()
    assert len(sniffer.frames) == 4


# --- collisions ---


def test_two_frames_at_once_destroy_each_other(bench, frame) -> None:
    bench.no_backoff()
    a, b, c = bench.host(1), bench.host(2), bench.host(3)
    a.radio.transmit(frame(3, 1), retries=0)
    b.radio.transmit(frame(3, 2), retries=0)
    bench.run()
    assert c.frames == []
    assert a.results == b.results == [NO_ACK]
    assert bench.fates == [Fate.COLLIDED] * 2


def test_hidden_terminals_collide_only_where_both_are_heard(bench, frame) -> None:
    """1 and 3 do not hear each other; 2 hears both, 4 hears only 3."""
    bench.no_backoff()
    h1, h2, h3, h4 = (bench.host(i) for i in (1, 2, 3, 4))
    for one, other in ((1, 3), (3, 1), (1, 4)):
        bench.air.faults.cut(0x1000 + one, 0x1000 + other)
    h1.radio.transmit(frame(2, 1, bytes(60)), retries=0)
    bench.scheduler.run_until(1_000)
    h3.radio.transmit(frame(4, 3), retries=0)  # in the middle of the other's frame
    bench.run()
    assert h2.frames == []
    assert h1.results == [NO_ACK]
    assert len(h4.frames) == 1
    assert h3.results == [ACKED]


def test_whoever_sends_does_not_hear(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    a.radio.transmit(frame(2, 1), retries=0)
    b.radio.transmit(frame(1, 2), retries=0)
    bench.run()
    assert a.frames == b.frames == []


def test_an_acknowledgement_can_collide_and_the_frame_is_repeated(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    a.radio.transmit(frame(2, 1))
    bench.scheduler.run_until(1_030)
    bench.air.inject(11, bytes(10))  # 1222.., into the acknowledgement
    bench.run()
    assert bench.fates[:3] == [Fate.RECEIVED, Fate.COLLIDED, Fate.UNHEARD]
    assert len(b.frames) == 2
    assert a.outcomes == [(1_024 + 864 + 1_024 + 544, ACKED)]


def test_contention_breaks_no_rule_of_the_channel(bench, frame) -> None:
    """Ten senders at once: all frames are accounted for, acknowledgements come exactly in time."""
    hosts = [bench.host(i) for i in range(10)]
    for host in hosts:
        left = [30]

        def again(outcome, host=host, left=left) -> None:
            left[0] -= 1
            if left[0]:
                host.radio.transmit(frame((host.radio.short_address + 1) % 10, host.radio.short_address))

        host.on_done = again
        again(None)
    bench.run()
    assert [told[0] for told in bench.told] == sorted(told[0] for told in bench.told)
    ends = {told[0] + airtime_us(len(told[1])) for told in bench.told if len(told[1]) > 3}
    assert all(told[0] - 192 in ends for told in bench.told if len(told[1]) == 3)
    for before, after in zip(bench.told, bench.told[1:], strict=False):
        overlaps = after[0] < before[0] + airtime_us(len(before[1]))
        assert not overlaps or (before[3] is not Fate.RECEIVED and after[3] is not Fate.RECEIVED)
    acked = sum(outcome is ACKED for host in hosts for outcome in host.results)
    assert acked == sum(told[3] is Fate.RECEIVED for told in bench.told if len(told[1]) == 3)
    assert all(len(host.results) == 29 for host in hosts)
    assert Fate.COLLIDED in bench.fates


# --- energy ---


def test_energy_scan_sees_frames_and_noise_of_its_time(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    b.radio.scan_energy(15, 10_000)
    bench.run()
    assert b.energies == [(10_000, 15, -100)]
    b.radio.scan_energy(11, 10_000)
    a.radio.transmit(frame(0xFFFF, 1, ack=False))
    bench.run()
    assert b.energies[-1] == (20_000, 11, -45)
    assert b.frames == []  # deaf meanwhile
    bench.air.interfere(5_000, channels=[20], rssi_dbm=-60)
    b.radio.scan_energy(20, 10_000)
    b.radio.transmit(frame(0xFFFF, 2, ack=False))  # waits for the end of the scan
    bench.run()
    assert b.energies[-1] == (30_000, 20, -60)
    assert bench.told[-1][0] >= 30_000 + 320


# --- misuse, life and death ---


def test_misuse_is_refused(bench, frame) -> None:
    a = bench.host(1)
    a.radio.transmit(frame(2, 1))
    with pytest.raises(MisuseError):
        a.radio.transmit(frame(2, 1))
    b = bench.host(2)
    for size in (0, 126):
        with pytest.raises(MisuseError):
            b.radio.transmit(bytes(size))
    for channel in (10, 27):
        with pytest.raises(MisuseError):
            b.radio.set_channel(channel)
        with pytest.raises(MisuseError):
            b.radio.scan_energy(channel, 1)
    with pytest.raises(MisuseError):
        bench.air.inject(11, bytes(126))
    with pytest.raises(MisuseError):
        bench.air.radio(0x1001)
    assert bench.air.radio(0x1001, is_clone=True).eui64 == 0x1001


@pytest.mark.parametrize("when_us", [0, 200, 400, 1_100, 1_300, 1_500])
def test_power_off_at_any_time_is_silent(bench, frame, when_us) -> None:
    bench.no_backoff()
    for victim in (0, 1):
        begin_us = bench.scheduler.now_us()
        pair = [bench.host(1 + 10 * victim), bench.host(2 + 10 * victim)]
        pair[0].radio.transmit(frame(2 + 10 * victim, 1 + 10 * victim))
        bench.scheduler.run_until(begin_us + when_us)
        heard = len(pair[victim].frames), len(pair[victim].outcomes)
        pair[victim].radio.close()
        pair[victim].radio.close()
        bench.run()
        assert (len(pair[victim].frames), len(pair[victim].outcomes)) == heard
    with pytest.raises(ClosedError):
        pair[1].radio.transmit(b"abc")
    assert None not in bench.fates
    again = bench.host(12)
    bench.host(13).radio.transmit(frame(12, 13))
    bench.run()
    assert len(again.frames) == 1


def test_a_receiver_on_in_time_hears_also_where_the_loop_runs_late(frame) -> None:
    """At a finite speed `now` may be far ahead of the events still to be run."""

    class LateScheduler(HeapScheduler):
        late_us = 0

        def now_us(self) -> int:
            return super().now_us() + self.late_us

    scheduler = LateScheduler()
    air = Air(scheduler, random.Random(1))
    heard: list[bytes] = []

    class Child:
        def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
            heard.append(psdu)

        def on_transmitted(self, outcome: TransmitOutcome) -> None: ...
        def on_energy(self, channel: int, rssi_dbm: int) -> None: ...

    child = air.radio(2)
    child.attach(Child())
    child.set_pan(PAN, 2, coordinator=False)
    child.set_receiver(False)
    scheduler.late_us = 1_000_000
    child.set_receiver(True)
    scheduler.late_us = 0
    air.inject(11, frame(2, 1))
    while scheduler.step():
        pass
    assert heard == [frame(2, 1)]


@pytest.mark.parametrize("channel", [11, 20])
def test_during_an_energy_scan_the_radio_is_deaf_however_it_is_switched(bench, frame, channel) -> None:
    a, b = bench.host(1), bench.host(2)
    b.radio.scan_energy(channel, 20_000)
    b.radio.set_receiver(False)
    b.radio.set_receiver(True)
    b.radio.set_channel(12)
    b.radio.set_channel(11)
    a.radio.transmit(frame(2, 1), retries=0)
    bench.run()
    assert b.frames == []
    a.radio.transmit(frame(2, 1), retries=0)
    bench.run()
    assert a.results == [NO_ACK, ACKED]


@pytest.mark.parametrize("when_us", range(0, 2_000, 100))
def test_retuning_in_the_middle_still_ends_in_one_outcome(bench, frame, when_us) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    a.radio.transmit(frame(2, 1), retries=1)
    bench.scheduler.run_until(when_us)
    a.radio.set_channel(20)
    a.radio.set_pan(0x3333, 5, coordinator=False)
    bench.run()
    assert len(a.results) == 1
    assert b.radio.channel.waiting == a.radio.channel.waiting == {}


def test_readdressing_while_waiting_keeps_the_wait(bench, frame) -> None:
    bench.no_backoff()
    a = bench.host(1)
    bench.host(2)
    a.radio.transmit(frame(2, 1))
    bench.scheduler.run_until(1_100)
    a.radio.set_pan(0x1A62, 7, coordinator=False)
    bench.run()
    assert a.results == [ACKED]


def test_any_octets_from_a_stranger_harm_nobody(bench, frame) -> None:
    rng = random.Random(8)
    hosts = [bench.host(i) for i in range(3)]
    valid = frame(1, 0, bytes(20))
    for _ in range(3_000):
        if rng.random() < 0.5:
            psdu = rng.randbytes(rng.randrange(126))
        else:
            psdu = bytearray(valid)
            psdu[rng.randrange(len(psdu))] = rng.randrange(256)
        bench.scheduler.run_until(bench.air.inject(11, bytes(psdu)) + rng.randrange(2_000))
    bench.run()
    hosts[0].radio.transmit(frame(1, 0))
    bench.run()
    assert hosts[0].results == [ACKED]
    assert len(hosts[1].frames) > 500


def test_memory_does_not_grow_with_traffic(bench, frame) -> None:
    a, _ = bench.host(1), bench.host(2)
    for _ in range(200):  # with no gap, and nobody who assesses the channel
        bench.scheduler.run_until(bench.air.inject(11, frame(2, 1, ack=False)))
    assert len(bench.air.channel(11).emissions) < 10
    for _ in range(200):
        bench.scheduler.run_until(bench.air.inject(11, frame(2, 1, ack=False)))
        a.radio.transmit(frame(2, 1))
        bench.run()
    assert len(bench.air.channel(11).emissions) < 10
    assert bench.air.channel(11).waiting == {}
