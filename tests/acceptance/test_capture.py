"""`smets1 run --speed max --capture --keys`: the same octets twice, and tshark reads all of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from home_process import smets1
from tshark import abandoned, read_capture

KEY_ESTABLISHMENT = "0x0800"  # before there is a link key, so it cannot be under one
Decode = Callable[..., list[str]]


def day(folder: Path, duration: str, name: str, hash_seed: int) -> tuple[Path, list[str]]:
    """A run's capture and key lines; the hash seed is what must not matter."""
    capture, keys = folder / f"{name}.pcapng", folder / f"{name}.txt"
    done = smets1(
        "run", "--speed", "max", "--for", duration, "--seed", "7", "--capture", capture, "--keys", keys,
        PYTHONHASHSEED=str(hash_seed),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "seed 7" in done.stdout
    return capture, keys.read_text(encoding="ascii").splitlines()


def judge_same_twice(folder: Path, duration: str) -> tuple[Path, list[str]]:
    capture, keys = day(folder, duration, "one", 1)
    again, keys_again = day(folder, duration, "two", 2)
    assert capture.read_bytes() == again.read_bytes()
    assert keys == keys_again
    return capture, keys


def decoder(tshark: str, capture: Path) -> Decode:
    """`decode(keys, *options)` -> tshark's output lines."""

    def decode(keys: list[str], *options: str) -> list[str]:
        command = [tshark, "-r", str(capture)]
        for line in keys:
            command += ["-o", f"uat:zigbee_pc_keys:{line}"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=300)
        return done.stdout.splitlines()

    return decode


def fields(decode: Decode, keys: list[str], select: str, *names: str) -> list[list[str]]:
    """A row for each frame selected; a field with several values (reassembled from frames) has a comma."""
    wanted = [word for name in names for word in ("-e", name)]
    return [line.split("\t") for line in decode(keys, "-Y", select, "-T", "fields", *wanted)]


def judge_readable(tshark: str, capture: Path, keys: list[str]) -> int:
    """Everything is read with the keys, and nothing of Smart Energy without the established ones.

    The number of frames with a readable ZCL payload.
    """
    decode = decoder(tshark, capture)
    bad = "_ws.malformed || wpan.fcs_ok == 0 || _ws.expert.severity == error || zbee_sec.encrypted_payload"
    assert decode(keys, "-Y", bad) == []
    assert decode(keys, "-Y", "data && !(zbee_aps.fragmentation != 0)") == []
    assert abandoned(capture, keys, read_capture(capture, keys)) == []
    payloads = decode(keys, "-Y", "zbee_zcl")

    few = [line for line in keys if "ESTABLISHED" not in line and "PARTNER" not in line]
    assert 0 < len(few) < len(keys)
    readable = fields(decode, few, "zbee_zcl", "zbee_aps.cluster")
    assert {cluster for (cluster,) in readable} == {KEY_ESTABLISHMENT}
    sealed = fields(decode, few, "zbee_sec.encrypted_payload && zbee_aps.type == 0", "frame.number")
    assert len(sealed) >= len(payloads) - len(readable) > 100
    return len(payloads)


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    return judge_same_twice(tmp_path_factory.mktemp("two-hours"), "2h")


def test_two_runs_give_the_same_octets(two_hours: tuple[Path, list[str]]) -> None:
    capture, keys = two_hours
    assert capture.stat().st_size > 100_000
    labels = [line.split(",")[2].strip('"').split()[0] for line in keys]
    assert [labels.count(label) for label in ("IC", "NETWORK", "ESTABLISHED", "PARTNER")] == [5, 1, 4, 2]


def test_another_seed_gives_others(two_hours: tuple[Path, list[str]], tmp_path: Path) -> None:
    capture = tmp_path / "other.pcapng"
    assert smets1("run", "--speed", "max", "--for", "5m", "--seed", "8", "--capture", capture).returncode == 0
    assert not two_hours[0].read_bytes().startswith(capture.read_bytes()[:2000])


@pytest.mark.outsider
def test_tshark_reads_two_hours(two_hours: tuple[Path, list[str]], program: Callable[[str], str]) -> None:
    assert judge_readable(program("tshark"), *two_hours) > 1000


@pytest.mark.outsider
def test_tshark_would_tell(two_hours: tuple[Path, list[str]], program: Callable[[str], str]) -> None:
    """Our judge can say no: with one established key taken out it finds what is sealed."""
    capture, keys = two_hours
    established = next(line for line in keys if "ESTABLISHED" in line)
    with pytest.raises(AssertionError):
        judge_readable(program("tshark"), capture, [line for line in keys if line != established])


@pytest.mark.outsider
@pytest.mark.slow
def test_tshark_reads_a_day(tmp_path: Path, program: Callable[[str], str]) -> None:
    capture, keys = judge_same_twice(tmp_path, "24h")
    assert judge_readable(program("tshark"), capture, keys) > 10_000
