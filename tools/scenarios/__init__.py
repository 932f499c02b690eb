"""Named scenarios of a migration: each plays on real emulated homes, judges itself, and tells its story.

`CATALOGUE` has them by name. A scenario is a coroutine that is given a `Set` (homes, parties, faults) and
says with `expect` what must be so; the first thing that is not ends it. The source of each is the clause
it names. Try it: `smets1 scenario --list`, `smets1 scenario row-1-both-rotated`.
"""

from __future__ import annotations

from smets1.tools.scenarios import checks, dco, files, homes, rows, utrn
from smets1.tools.scenarios.base import CATALOGUE, Scenario, Verdict, play

__all__ = ["CATALOGUE", "Scenario", "Verdict", "play"]

_MODULES = (rows, checks, homes, files, dco, utrn)  # each enters its own into the catalogue
