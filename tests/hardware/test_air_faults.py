"""Each fault does what it says, in one direction, live, and can be undone."""

import json
from collections.abc import Callable

import pytest

from smets1.errors import InputError
from smets1.hardware.air import STRANGER, Fate, Faults, LinkFault
from smets1.hardware.radio import TransmitOutcome

ACKED, NO_ACK = TransmitOutcome.ACKED, TransmitOutcome.NO_ACK
A, B, C = 0x1001, 0x1002, 0x1003
END_US = 320 + 704  # of frame(2, 1) given at 0 without back-off


def send_many(bench, host, psdu_of: Callable[[int], bytes], count: int, retries: int = 0) -> None:
    for index in range(count):
        host.radio.transmit(psdu_of(index), retries=retries)
        bench.run()
        bench.scheduler.run_until(bench.scheduler.now_us() + 50_000)


def test_loss_is_as_often_as_said_and_one_way(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_link(A, B, LinkFault(loss=0.3))
    send_many(bench, a, lambda i: frame(2, 1, ack=False), 1_000)
    send_many(bench, b, lambda i: frame(1, 2, ack=False), 100)
    assert 640 < len(b.frames) < 760
    assert len(a.frames) == 100
    assert bench.fates.count(Fate.LOST) == 1_000 - len(b.frames)


def test_lost_acknowledgements_make_repeats_that_the_receiver_hears_again(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_link(B, A, LinkFault(loss=1))
    a.radio.transmit(frame(2, 1), retries=3)
    bench.run()
    assert a.results == [NO_ACK]
    assert len(b.frames) == 4
    assert bench.fates == [Fate.RECEIVED, Fate.LOST] * 4
    for before, after in zip(bench.told[::2], bench.told[2::2], strict=False):
        assert (after[0] - before[0] - 704 - 864 - 320) % 320 == 0


def test_corruption_fails_the_fcs(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_node(B, LinkFault(corrupt=1))
    a.radio.transmit(frame(2, 1), retries=0)
    bench.run()
    assert (a.results, b.frames, bench.fates) == ([NO_ACK], [], [Fate.CORRUPTED])
    assert bench.told[0][1] == frame(2, 1)  # told as it was sent


def test_undetected_corruption_reaches_the_host_when_the_filter_still_passes(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_link(A, B, LinkFault(undetected=1))
    psdu = frame(2, 1, bytes(60), ack=False)
    send_many(bench, a, lambda i: psdu, 200)
    assert 100 < len(b.frames) < 200  # in the others the header was hit
    for garbled in b.psdus:
        assert len(garbled) == len(psdu)
        assert 1 <= sum((x ^ y).bit_count() for x, y in zip(psdu, garbled, strict=True)) <= 3
    sent = {told[3] for told in bench.told if len(told[1]) > 3}  # a flipped bit may ask for an answer
    assert sent == {Fate.RECEIVED, Fate.CORRUPTED}


def test_undetected_corruption_of_acknowledgements_ends_in_one_outcome_each(bench, frame) -> None:
    a, _ = bench.host(1), bench.host(2)
    bench.air.faults.set_link(B, A, LinkFault(undetected=1))
    send_many(bench, a, lambda i: frame(2, 1, sequence=i), 100)
    assert len(a.results) == 100
    assert NO_ACK in a.results


def test_duplicate_reaches_the_host_twice_and_is_acknowledged_once(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_link(A, B, LinkFault(duplicate=1))
    a.radio.transmit(frame(2, 1))
    bench.run()
    assert [time_us for time_us, _ in b.frames] == [END_US, END_US + 2_000]
    assert len(bench.told) == 2


def test_delay_and_jitter_come_after_the_acknowledgement(bench, frame) -> None:
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_link(A, B, LinkFault(delay_us=100_000))
    a.radio.transmit(frame(2, 1))
    bench.run()
    assert a.outcomes == [(END_US + 544, ACKED)]
    assert b.frames[0][0] == END_US + 100_000
    bench.air.faults.set_link(A, B, LinkFault(jitter_us=10))
    late = []
    for _ in range(200):
        bench.scheduler.run_until(bench.scheduler.now_us() + 10_000)
        begin_us = bench.scheduler.now_us()
        a.radio.transmit(frame(2, 1, ack=False))
        bench.run()
        late.append(b.frames[-1][0] - begin_us - END_US)
    assert set(late) == set(range(11))


def test_reordered_frames_are_overtaken(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    left = list(range(1, 60))
    bench.air.faults.set_link(A, B, LinkFault(reorder=0.2))
    a.on_done = lambda outcome: left and a.radio.transmit(frame(2, 1, sequence=left.pop(0)))
    a.radio.transmit(frame(2, 1, sequence=0))
    bench.run()
    order = [psdu[2] for psdu in b.psdus]
    assert sorted(order) == list(range(60))
    assert order != sorted(order)


def test_a_delayed_frame_does_not_reach_a_host_that_has_gone(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.set_default(LinkFault(delay_us=10_000, duplicate=1))
    a.radio.transmit(frame(2, 1))
    bench.scheduler.run_until(5_000)
    b.radio.close()
    bench.run()
    assert b.frames == []


def test_cut_is_one_way_and_can_be_mended(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.cut(A, B)
    send_many(bench, a, lambda i: frame(2, 1), 1)
    send_many(bench, b, lambda i: frame(1, 2), 1)  # a hears it; b does not hear the acknowledgement
    assert (len(a.frames), len(b.frames)) == (1, 0)
    assert a.results == b.results == [NO_ACK]
    bench.air.faults.mend(A, B)
    send_many(bench, a, lambda i: frame(2, 1), 1)
    assert a.results[-1] is ACKED
    assert bench.air.faults.is_clear


def test_partitions_do_not_even_disturb_each_other(bench, frame) -> None:
    bench.no_backoff()
    hosts = [bench.host(i) for i in range(6)]
    bench.air.faults.partition([0x1000, 0x1001], [0x1002, 0x1003])
    for sender in (0, 2, 4):
        hosts[sender].radio.transmit(frame(sender + 1, sender), retries=0)
    bench.run()
    assert [len(host.frames) for host in hosts] == [0, 1, 0, 1, 0, 1]
    for sender in (0, 2, 4):
        hosts[sender].radio.transmit(frame((sender + 2) % 6, sender), retries=0)
    bench.run()
    assert [hosts[i].results for i in (0, 2, 4)] == [[ACKED, NO_ACK]] * 3
    bench.air.inject(11, frame(0xFFFF, 9, ack=False))
    bench.run()
    assert all(host.frames for host in hosts)  # a stranger is near all of them
    bench.air.faults.partition()
    assert bench.air.faults.is_clear


def test_out_of_range_and_back(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    bench.air.faults.move_away(B)
    send_many(bench, a, lambda i: frame(2, 1), 1)
    send_many(bench, b, lambda i: frame(1, 2), 1)
    assert a.results == b.results == [NO_ACK]
    bench.air.faults.bring_back(B)
    send_many(bench, a, lambda i: frame(2, 1), 1)
    assert a.results[-1] is ACKED


def test_noise_destroys_frames_and_holds_senders_back(bench, frame) -> None:
    bench.no_backoff()
    a, b, c = bench.host(1), bench.host(2), bench.host(3)
    a.radio.transmit(frame(2, 1), retries=0)
    bench.scheduler.run_until(500)
    bench.air.interfere(100, channels=[11])
    bench.run()
    assert bench.fates == [Fate.COLLIDED]
    bench.scheduler.run_until(10_000)
    bench.air.interfere(100_000, channels=[11], heard_by=[B])
    a.radio.transmit(frame(3, 1))  # neither end hears the noise
    bench.run()
    b.radio.transmit(frame(3, 2))
    bench.run()
    assert a.results == [NO_ACK, ACKED]
    assert b.results == [TransmitOutcome.CHANNEL_BUSY]
    assert len(c.frames) == 1
    bench.scheduler.run_until(200_000)
    b.radio.transmit(frame(3, 2))
    bench.run()
    assert b.results[-1] is ACKED


def test_injection_with_a_bad_fcs_or_a_limited_reach(bench, frame) -> None:
    b, c = bench.host(2), bench.host(3)
    for options in ({"has_good_fcs": False}, {"heard_by": [C]}, {"heard_by": [B], "rssi_dbm": -80}):
        bench.air.inject(11, frame(2, 1, ack=False), sender=A, **options)
        bench.run()
    assert bench.fates == [Fate.BAD_FCS, Fate.UNHEARD, Fate.RECEIVED]
    assert b.signals == [(92, -80)]
    assert c.frames == []


def test_distance_gives_strength_then_loss_then_silence(bench, frame) -> None:
    a, b = bench.host(1), bench.host(2)
    faults = bench.air.faults
    faults.place(A, (0.0, 0.0))
    faults.place(B, (10.0, 0.0))
    send_many(bench, a, lambda i: frame(2, 1), 1)
    assert b.signals == [(139, -70)]
    assert a.results == [ACKED]
    strengths, losses = [], []
    for metres in range(1, 200):
        faults.place(B, (float(metres), 0.0))
        link = faults.link(A, B)
        if link:
            strengths.append(link.rssi_dbm)
            losses.append(link.loss)
    assert strengths == sorted(strengths, reverse=True)
    assert losses == sorted(losses)
    assert losses[0] == 0
    assert 0.8 < losses[-1] < 1
    assert faults.link(A, B) is None
    faults.place(B, None)
    assert faults.link(A, B).rssi_dbm == -45
    faults.set_link(A, B, LinkFault(attenuation_db=60))
    assert faults.link(A, B) is None


def test_the_more_specific_fault_wins_field_by_field() -> None:
    faults = Faults()
    faults.set_default(LinkFault(loss=0.1, delay_us=1, duplicate=0.5))
    faults.set_node(B, LinkFault(loss=0.2))
    faults.set_link(A, B, LinkFault(delay_us=3, loss=0))
    to_b, other, from_b = faults.link(A, B), faults.link(C, A), faults.link(B, C)
    assert (to_b.loss, to_b.delay_us, to_b.duplicate) == (0, 3, 0.5)
    assert (other.loss, from_b.loss) == pytest.approx((0.1, 0.2))
    faults.set_link(A, B, None)
    faults.set_node(B, None)
    assert faults.link(A, B) == other
    faults.clear()
    assert faults.is_clear
    assert not faults.link(A, B).is_faulty


@pytest.mark.parametrize(
    "fields", [{"loss": 1.1}, {"loss": -0.1}, {"delay_us": -1}, {"jitter_us": 0.5}, {"corrupt": float("nan")}]
)
def test_bad_values_are_refused_in_one_line(fields) -> None:
    with pytest.raises(InputError) as refusal:
        LinkFault(**fields)
    assert next(iter(fields)) in str(refusal.value)


def test_snapshot_is_json_with_readable_names() -> None:
    faults = Faults()
    faults.set_default(LinkFault(loss=0.2))
    faults.set_link(A, B, LinkFault(delay_us=5))
    faults.cut(B, A)
    faults.move_away(C)
    faults.partition([A])
    faults.place(A, (1.0, 2.0))
    faults.raise_wall([C, B])
    assert json.loads(json.dumps(faults.snapshot())) == {
        "default": {"loss": 0.2},
        "nodes": {},
        "links": [{"from": "00-00-00-00-00-00-10-01", "to": "00-00-00-00-00-00-10-02", "delay_us": 5}],
        "cuts": [{"from": "00-00-00-00-00-00-10-02", "to": "00-00-00-00-00-00-10-01"}],
        "away": ["00-00-00-00-00-00-10-03"],
        "groups": {"00-00-00-00-00-00-10-01": 1},
        "walls": [["00-00-00-00-00-00-10-02", "00-00-00-00-00-00-10-03"]],
        "positions_m": {"00-00-00-00-00-00-10-01": [1.0, 2.0]},
    }


def test_setting_and_clearing_faults_does_not_move_later_backoffs(make_bench, frame) -> None:
    """Back-offs and faults are drawn from two streams."""
    starts = []
    for loss in (None, LinkFault(loss=0.5)):
        bench = make_bench(7)
        a = bench.host(1)
        bench.air.faults.set_node(STRANGER, loss)
        bench.air.inject(11, frame(1, 9, ack=False))
        bench.run()
        a.radio.transmit(frame(0xFFFF, 1, ack=False))
        bench.run()
        starts.append(bench.told[-1][0])
    assert starts[0] == starts[1]
