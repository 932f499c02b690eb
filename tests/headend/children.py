"""What a process that a test starts needs to import the package and the tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Ours, and the repository on the path: pytest's own command, unlike `python -m pytest`, does not put it there."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(_ROOT)])}
