"""A population of light homes through one Migration Week: time, memory, and whether everything adds up.

    python tests/benchmarks/bench_migration.py [HOMES]          10 000 by default

What is light about the homes: `smets1.tools.migration.light`. Every party keeps its records on disk; here that
is a folder in memory (/dev/shm) where there is one, so that the figure is not that of one disk's fsync.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from smets1.tools.migration.population import run_population

SHARED_MEMORY = Path("/dev/shm")


def memory_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    began_s = time.monotonic()

    def tell(done: int) -> None:
        print(f"{done:6} homes  {time.monotonic() - began_s:7.1f} s  {memory_mb()} MB", flush=True)

    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        tally = run_population(count, nvm_dir=Path(folder), on_batch=tell)
    took_s = time.monotonic() - began_s
    result = {
        "homes": tally.homes,
        "ends": dict(tally.ends),
        "files": {str(kind): number for kind, number in tally.files.items()},
        "homes_in_scfs": tally.in_scf,
        "homes_in_cofs": tally.in_cof,
        "homes_in_reports": tally.in_reports,
        "took_s": round(took_s, 1),
        "processor_s": round(time.process_time(), 1),
        "peak_mb": memory_mb(),
        "does_not_add_up": tally.faults[:20],
    }
    print(json.dumps(result, indent=2))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
