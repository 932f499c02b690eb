"""The seed tree: fixed for ever (recorded runs depend on it), and streams do not touch each other."""

from __future__ import annotations

from smets1.firmware.seed import SeedTree


def test_streams_are_fixed() -> None:
    # Recorded once; a change here changes every recorded run.
    assert SeedTree(7).octets(8, "device", "mac").hex() == "bfbbcd83c8fbd5f3"
    assert SeedTree(7).random("device", "mac").getrandbits(64) == 7577064562600277559
    assert SeedTree(7).child("device").octets(4, "mac").hex() == "6720b14b"


def test_same_path_same_numbers() -> None:
    first, second = SeedTree(1).random("a", "b"), SeedTree(1).random("a", "b")
    assert [first.random() for _ in range(5)] == [second.random() for _ in range(5)]


def test_paths_differ() -> None:
    tree = SeedTree(1)
    streams = {
        tree.octets(16),
        tree.octets(16, ""),
        tree.octets(16, "ab", "c"),
        tree.octets(16, "a", "bc"),
        tree.octets(16, "abc"),
        SeedTree(2).octets(16, "abc"),
        SeedTree(-1).octets(16, "abc"),
        tree.child("abc").octets(16),
        tree.child().octets(16, "abc"),
    }
    assert len(streams) == 9


def test_octets_of_any_length() -> None:
    tree = SeedTree(1)
    assert tree.octets(0, "x") == b""
    long = tree.octets(1000, "x")
    assert len(long) == 1000
    assert tree.octets(33, "x") == long[:33]
