"""That a seed means the same in a test by itself and in the whole suite."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def _drawn() -> list[int]:
    drawn: list[int] = []

    @settings(max_examples=300)
    @given(st.integers())
    def draw(number: int) -> None:
        drawn.append(number)

    draw()
    return drawn


def test_hypothesis_draws_the_same_whatever_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _drawn()
    (tmp_path / "full_of_numbers.py").write_text(f"NUMBERS = {list(range(77_000_001, 77_900_001, 1000))}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("full_of_numbers")
    try:
        assert _drawn() == before
    finally:
        del sys.modules["full_of_numbers"]
