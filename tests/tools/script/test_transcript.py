"""Our reading of a capture beside tshark's, with all keys and with too few."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable

import pytest

from smets1.errors import DecodeError, InputError
from smets1.tools.script.player import World, play_script, read_script
from smets1.tools.script.transcript import read_transcript

SCRIPT = 'seed = 7\n[[step]]\ndo = "join"\n[[step]]\ndo = "wait"\nuntil_minutes = 2\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("transcript")
    (folder / "x.toml").write_text(SCRIPT)
    return play_script(read_script(folder / "x.toml"), "air:", folder / "x.pcapng", say=lambda line: None)


@pytest.mark.outsider
def test_tshark_finds_the_same_messages(world: World, program: Callable[[str], str]) -> None:
    """How many of each cluster and command; blocks of long messages apart, which tshark does not all join."""
    fields = ("zbee_nwk.src", "zbee_nwk.dst", "zbee_aps.counter", "zbee_aps.cluster")
    words = [program("tshark"), "-r", str(world.capture), "-Y", "zbee_zcl && !zbee_aps.fragments"]
    words += ["-T", "fields", "-E", "separator=|"]
    for key in world.keys:
        words += ["-o", f"uat:zigbee_pc_keys:{key}"]
    for field in fields:
        words += ["-e", field]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    theirs = Counter(int(line.rsplit("|", 1)[1], 0) for line in set(done.stdout.split()))
    commands = read_transcript(world.capture.read_bytes(), world.keys, world.names)
    ours = Counter(each.name.split(" ")[0] for each in commands if each.layer == "ZCL")
    assert ours["metering"] >= theirs[0x0702] > 15
    assert ours["key_establishment"] == theirs[0x0800] == 24
    assert sum(ours.values()) >= sum(theirs.values())
    assert sum(ours.values()) - sum(theirs.values()) < 0.2 * sum(ours.values())


def test_without_a_key_it_is_said_and_not_left_out(world: World) -> None:
    octets = world.capture.read_bytes()
    whole = read_transcript(octets, world.keys, world.names)
    no_links = [line for line in world.keys if '"NETWORK' in line or '"IC ' in line]
    assert len(no_links) < len(world.keys)
    found = read_transcript(octets, no_links, world.names)
    sealed = [each for each in found if each.name == "no link key fits"]
    assert len(sealed) > len(whole) / 2
    no_network = [line for line in world.keys if '"NETWORK' not in line]
    found = read_transcript(octets, no_network, world.names)
    assert [each for each in found if each.name == "no network key fits"]
    assert not [each for each in found if each.layer == "ZCL"]


def test_names_are_addresses_where_nobody_gave_one(world: World) -> None:
    found = read_transcript(world.capture.read_bytes(), world.keys, {})
    assert "00-DB-12-34-56-78-90-A0" in {each.sender for each in found}


def test_hostile_input(world: World) -> None:
    octets = world.capture.read_bytes()
    with pytest.raises(DecodeError):
        read_transcript(octets[:1001], world.keys, {})
    with pytest.raises(InputError) as error:
        read_transcript(octets, ['"12345","Normal","x"'], {})
    assert "12345" not in str(error.value)
