"""Key files for tshark."""

from __future__ import annotations

from pathlib import Path

import pytest

from smets1.errors import InputError
from smets1.tools.keys_file import KeyRing

KEY, OTHER = bytes(range(16)), bytes(16)


def test_lines_as_tshark_reads_them(tmp_path: Path) -> None:
    ring = KeyRing()
    ring.add(KEY, "NETWORK x")
    path = tmp_path / "keys"
    ring.write_to(path)
    ring.add(OTHER, "ESTABLISHED y")
    ring.add(KEY, "again")
    assert (
        path.read_text() == f'"{KEY.hex()}","Normal","NETWORK x"\n"{OTHER.hex()}","Normal","ESTABLISHED y"\n'
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY.hex() not in repr(ring)


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    path.chmod(0o644)
    KeyRing().write_to(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        KeyRing().write_to(tmp_path / "no" / "such" / "folder")
