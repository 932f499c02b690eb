"""Captures: the same octets from the same seed, in order, and Wireshark has nothing to complain of."""

import io
import random
import subprocess
from pathlib import Path

import pytest

from smets1.errors import InputError, LostError
from smets1.hardware.air import Capture, LinkFault
from smets1.hardware.fcs import has_good_fcs
from smets1.hardware.pcapng import read_pcapng

VECTOR = Path(__file__).parent.parent / "vectors" / "air_capture.pcapng"
"""Written by `chatter` itself with seed 1 and read over in Wireshark; a change here is a change of
what users' captures look like, or of the order in which randomness is drawn. To renew it, copy the
file that the failing test names, and say why in the change notes."""

EPOCH_US = 1_600_000_000_000_000


def chatter(bench, frame, poll, file, *, rounds: int) -> Capture:
    """A hub, a sleeper, three talkers and a stranger on a lossy channel, for a while."""
    rng = random.Random(11)
    capture = Capture(bench.air, file, epoch_utc_us=EPOCH_US)
    bench.air.faults.set_default(LinkFault(loss=0.1, corrupt=0.05, duplicate=0.1))
    hub, sleeper, *talkers = [bench.host(i, coordinator=i == 0) for i in range(5)]
    sleeper.radio.set_receiver(False)
    hub.radio.set_pending([1], [])
    for number in range(rounds):
        sequence = number & 0xFF
        sleeper.radio.transmit(poll(0, 1, sequence=sequence))
        hub.radio.transmit(bytes((3, 8, sequence)) + b"\xff\xff\xff\xff\x07")
        for talker in talkers:
            short = talker.radio.short_address
            talker.radio.transmit(frame(rng.choice([0, 2, 3]), short, rng.randbytes(20), sequence=sequence))
        if number % 5 == 4:
            bench.air.inject(11, bytes((2, 0, sequence)))
        bench.run()
        bench.scheduler.run_until(bench.scheduler.now_us() + rng.randrange(100_000))
    capture.flush()
    return capture


def captured(make_bench, frame, poll, seed: int, rounds: int = 20) -> bytes:
    file = io.BytesIO()
    chatter(make_bench(seed), frame, poll, file, rounds=rounds)
    return file.getvalue()


def test_the_same_seed_gives_the_same_octets_and_another_does_not(make_bench, frame, poll) -> None:
    one, two, other = (captured(make_bench, frame, poll, seed) for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_the_capture_is_the_one_on_file(make_bench, frame, poll, tmp_path) -> None:
    now = tmp_path / "now.pcapng"
    now.write_bytes(captured(make_bench, frame, poll, 1, rounds=4))
    assert now.read_bytes() == VECTOR.read_bytes(), f"compare {VECTOR} and {now}"


def test_the_capture_holds_what_the_taps_were_told(make_bench, frame, poll, tmp_path) -> None:
    bench = make_bench(3)
    path = tmp_path / "day.pcapng"
    capture = chatter(bench, frame, poll, path, rounds=30)
    capture.close()
    capture.close()
    frames = list(read_pcapng(path.read_bytes()))
    assert [(f.time_us - EPOCH_US, f.octets[:-2]) for f in frames] == [told[:2] for told in bench.told]
    assert all(has_good_fcs(frame.octets) for frame in frames)
    assert [f.time_us for f in frames] == sorted(f.time_us for f in frames)
    assert capture.frame_count == len(frames) > 150
    bench.air.inject(11, b"after the end")
    bench.run()


def test_frames_are_told_by_start_even_where_the_later_one_ends_first(bench, frame) -> None:
    end_us = bench.air.inject(11, bytes(125))
    bench.scheduler.run_until(500)
    bench.air.inject(11, bytes(3))
    bench.scheduler.run_until(end_us - 1)
    assert bench.told == []
    bench.run()
    assert [len(told[1]) for told in bench.told] == [125, 3]


def test_an_injected_bad_fcs_is_bad_in_the_capture(bench) -> None:
    file = io.BytesIO()
    Capture(bench.air, file)
    bench.air.inject(11, b"abc", has_good_fcs=False)
    bench.air.inject(12, b"abc")
    bench.run()
    assert [has_good_fcs(frame.octets) for frame in read_pcapng(file.getvalue())] == [False, True]


def test_an_impossible_file_is_one_clear_line(bench, tmp_path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Capture(bench.air, tmp_path / "nowhere" / "x.pcapng")


def test_a_capture_can_be_replayed(make_bench, frame, poll) -> None:
    frames = list(read_pcapng(captured(make_bench, frame, poll, 1)))
    bench = make_bench(9)
    for captured_frame in frames:
        bench.scheduler.run_until(captured_frame.time_us - EPOCH_US - 192)
        bench.air.inject(11, captured_frame.octets[:-2])
    bench.run()
    assert [told[:2] for told in bench.told] == [(f.time_us - EPOCH_US, f.octets[:-2]) for f in frames]


@pytest.mark.outsider
def test_tshark_finds_no_fault_with_a_capture(make_bench, frame, poll, program, tmp_path) -> None:
    path = tmp_path / "day.pcapng"
    bench = make_bench(4)
    chatter(bench, frame, poll, path, rounds=200).close()
    fields = ["frame.time_epoch", "frame.len", "wpan.fcs_ok", "wpan.frame_type", "_ws.malformed"]
    command = [program("tshark"), "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    for guess in ("zbee_nwk", "zbee_nwk_gp", "6lowpan"):  # payloads are random octets here: judge the MAC
        command += ["--disable-protocol", guess]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("|") for line in result.stdout.splitlines()]
    assert len(rows) == len(bench.told) > 1_000
    for (time_us, psdu, _, _), (epoch, size, fcs_ok, frame_type, malformed) in zip(
        bench.told, rows, strict=True
    ):
        seconds, fraction = epoch.split(".")
        assert int(seconds) * 1_000_000 + int(fraction[:6]) == EPOCH_US + time_us
        assert int(size) == len(psdu) + 2
        assert fcs_ok in ("1", "True")
        assert int(frame_type, 16) == psdu[0] & 7
        assert malformed == ""


def test_a_full_disk_ends_the_capture_and_nothing_else(bench, caplog) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    sender, hearer = bench.host(0, coordinator=True), bench.host(1)
    capture = Capture(bench.air, Path("/dev/full"))
    for number in range(400):  # more than a file buffers
        sender.radio.transmit(bytes((3, 8, number & 0xFF)) + b"\xff\xff\xff\xff" + bytes(100))
        bench.run()
    assert len(hearer.psdus) == 400
    assert [record.getMessage() for record in caplog.records] == [
        "capture /dev/full: No space left on device: what follows is not in it"
    ]
    with pytest.raises(LostError, match=r"^capture /dev/full: No space left on device: "):
        capture.close()
    capture.close()
