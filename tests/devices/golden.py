"""Golden texts of what faces show: tests/vectors/faces, a file a face; `make golden` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

GOLDEN: Final = Path(__file__).parents[1] / "vectors" / "faces"
WRITE: Final = "SMETS1_WRITE_GOLDEN"


def page(heading: str, lines: Iterable[str], width: int) -> str:
    """What stands on a glass, framed, so that blanks at the ends of lines can be seen."""
    shown = list(lines)
    assert all(len(line) <= width for line in shown)
    rows = "".join(f"  | {line.ljust(width)} |\n" for line in shown)
    return f"{heading}\n{rows}\n"


def compare(told: Mapping[str, str]) -> None:
    """Texts by the name of their file."""
    if os.environ.get(WRITE):
        GOLDEN.mkdir(exist_ok=True)
        for name, text in told.items():
            (GOLDEN / f"{name}.txt").write_text(text, encoding="utf-8")
    for name, text in told.items():
        assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8"), "make golden writes it anew"
