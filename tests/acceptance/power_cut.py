"""One life of a home whose power is cut at an exact commit; run as a program by test_power_cut.py.

    python power_cut.py NVM_DIR LIFE [COMMIT]

LIFE is `install` (join everything), `wan` (a DUIS top-up) or `keypad` (the same token at the PPMID), with
the cut right before the COMMIT-th commit from there, or when the answer is there; or `afterwards`: what the
next life finds and finishes.
Prints one JSON line: what it found and did, or only {"cut_utc_us": ...}. Virtual time; the cut is SIGKILL,
so nothing of ours runs after it.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from lives import addresses_and_keys, count_associations

from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.catalogue import CATALOGUE
from smets1.tools.commands.srv import ready_request
from smets1.tools.duis_ask import answers
from smets1.tools.home import Home, open_home

# A house that uses nothing and pays nothing for it: what the balance shows are top-ups.
TOML = """
start = 2023-01-16T00:00:00Z
[[load]]
fuel = "electricity"
kind = "constant"
watts = 0
[[load]]
fuel = "gas"
kind = "constant"
watts = 0
[tariff.electricity]
standing_charge_pence = 0
unit_rate_pence = 30
[tariff.gas]
standing_charge_pence = 0
unit_rate_pence = 10
[prepayment]
balance_pounds = 5
"""
TOKEN = "73946144332040217315"  # DCC's reference token for this ESME: 10 pounds
REQUEST = ready_request(CATALOGUE["2.2"], token=TOKEN).encode()


class Cutter:
    """Counts the commits of every SQLite file in the process, once armed, and cuts the power before one."""

    def __init__(self, commit: int | None) -> None:
        self.count = 0
        self._commit = commit
        self._home: Home | None = None
        connect = sqlite3.connect

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_trace_callback(self._on_statement)
            return connection

        sqlite3.connect = sqlite3.dbapi2.connect = watched  # type: ignore[attr-defined, assignment]

    def arm(self, home: Home) -> None:
        self._home = home

    def disarm(self) -> None:
        """The last moment for a cut that was asked for."""
        if self._commit is not None:
            self._cut()
        self._home = None

    def _on_statement(self, sql: str) -> None:
        """Called before SQLite begins with it."""
        if self._home is not None and sql.startswith("COMMIT"):
            self.count += 1
            if self.count == self._commit:
                self._cut()

    def _cut(self) -> None:
        assert self._home is not None
        print(json.dumps({"cut_utc_us": self._home.clock.utc_us, "commits": self.count}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


async def life(folder: Path, name: str, cutter: Cutter) -> dict[str, object]:
    home = await open_home(seed=7, toml=TOML, nvm_dir=folder, waits=name == "install")
    association_requests = count_associations(home)
    try:
        await home.joined(600)
        if name == "install":
            await home.clock.advance(minutes=5)  # displays meet the meter
        found = {"utc_us": home.clock.utc_us} | addresses_and_keys(home)
        if name in ("wan", "keypad"):
            cutter.arm(home)
            found["answer"] = await (_by_wan(home) if name == "wan" else _by_keypad(home))
            cutter.disarm()
        elif name == "afterwards":
            await home.clock.advance(minutes=30)  # whatever was accepted is finished by itself
        found |= {
            "balance_mp": home.esme.account.balance_mp,
            "unfinished": len(home.headend.store.unfinished()),
            "responses": [response.xml.decode() for response in answers(home)],
            "associations": association_requests(),
        }
        if name == "afterwards":  # whoever got no answer asks again, by either way
            found["typed_again"] = await _by_keypad(home)
            found["balance_at_last_mp"] = home.esme.account.balance_mp
        return found | {"commits": cutter.count}
    finally:
        await home.close()


async def _by_wan(home: Home) -> str:
    return (await home.headend.submit(REQUEST, "serviceS", wait_s=600)).decode()


async def _by_keypad(home: Home) -> str:
    return (await home.ppmid.enter_utrn(TOKEN)).result.name


if __name__ == "__main__":
    _, folder, name, *cut = sys.argv
    cutter = Cutter(int(cut[0]) if cut else None)
    print(json.dumps(run(life(Path(folder), name, cutter), speed=MAX_SPEED)))
