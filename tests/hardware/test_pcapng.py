"""pcapng: what is written is read back; damaged files give DecodeError and nothing else."""

import io
import random
from pathlib import Path
from struct import pack

import pytest

from smets1.errors import ClosedError, DecodeError
from smets1.hardware.pcapng import CapturedFrame, Direction, PcapngWriter, read_pcapng


class KeptFile(io.BytesIO):
    """Its contents outlive close."""

    kept = b""

    def close(self) -> None:
        if not self.closed:
            self.kept = self.getvalue()
        super().close()


def written(frames: list[tuple[int, bytes, Direction]], epoch_utc_us: int = 0) -> bytes:
    file = KeptFile()
    writer = PcapngWriter(file, epoch_utc_us=epoch_utc_us)
    for time_us, octets, direction in frames:
        writer.write(time_us, octets, direction)
    writer.close()
    writer.close()
    return file.kept


SAMPLE = [
    (1, b"\x02\x00\x6a\xe4\x79", Direction.UNKNOWN),
    (2**33, bytes(127), Direction.INBOUND),
    (2**33 + 1, b"", Direction.OUTBOUND),
]


def test_frames_come_back_with_their_times() -> None:
    epoch_us = 1_700_000_000_000_000
    frames = list(read_pcapng(written(SAMPLE, epoch_us)))
    assert [(f.time_us - epoch_us, f.octets, f.direction) for f in frames] == SAMPLE
    assert {frame.link_type for frame in frames} == {195}


def test_the_header_octets_are_those_of_the_draft() -> None:
    assert written([]).hex() == (
        "0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000"  # section header
        "0100000020000000c3000000000000000900010006000000000000002000000 0".replace(" ", "")
    )


def test_a_big_endian_file_in_nanoseconds_with_foreign_blocks_is_read() -> None:
    section = pack(">IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    statistics = pack(">IIII", 5, 16, 0, 16)
    interface = pack(">IIHHIHHB3xHHI", 1, 32, 195, 0, 0, 9, 1, 9, 0, 0, 32)
    packet = pack(">IIIIIII4sI", 6, 36, 0, 0, 5_000, 3, 3, b"abc", 36)
    assert list(read_pcapng(section + statistics + interface + packet)) == [
        CapturedFrame(time_us=5, link_type=195, octets=b"abc")
    ]


def test_writing_after_close_is_refused(tmp_path: Path) -> None:
    writer = PcapngWriter((tmp_path / "a.pcapng").open("wb"))
    writer.close()
    writer.flush()
    with pytest.raises(ClosedError):
        writer.write(0, b"abc")


def test_truncated_files_give_decode_error_or_fewer_frames() -> None:
    whole = written(SAMPLE)
    for size in range(len(whole)):
        try:
            assert len(list(read_pcapng(whole[:size]))) < len(SAMPLE)
        except DecodeError:
            pass


def test_damaged_files_give_decode_error_only() -> None:
    rng = random.Random(5)
    whole = written(SAMPLE)
    for _ in range(3_000):
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            list(read_pcapng(bytes(broken)))
        except DecodeError:
            pass
    with pytest.raises(DecodeError):
        list(read_pcapng(b"no capture at all"))
