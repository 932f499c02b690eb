"""Who holds what among several head-end workers: locks that last as long as a session with PostgreSQL.

A lock is an advisory lock of the session in which a worker reads and writes the store. So there is no clock
to agree on and no way to write without holding: kill -9 of a worker, a broken connection or a dead server
ends the session, its open transaction and its locks together. A worker that hangs is cut off by the
server after `IDLE_S` without a statement, since a living one looks every moment.

Source: PostgreSQL 15, 9.27.10 (advisory locks), 20.11.1 (idle_session_timeout).
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from smets1.headend.store import Store

__all__ = ["IDLE_S", "Leases"]

IDLE_S: Final = 10

_ALIVE, _SHARE = 0x534D4531, 0x534D4532  # two kinds of lock of ours, out of the way of other programs
_TRY: Final = sa.text("SELECT pg_try_advisory_lock(:kind, :number)")
_GIVE: Final = sa.text("SELECT pg_advisory_unlock(:kind, :number)")
_LOOK: Final = sa.text(
    "SELECT classid::bigint, objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND objsubid = 2 AND classid IN (:alive, :share)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_LIMIT: Final = sa.text(
    "SELECT set_config('idle_session_timeout', :limit, false),"
    " set_config('idle_in_transaction_session_timeout', :limit, false)"
)


class Leases:
    """One worker's. Raises LostError once its session has ended, InputError without PostgreSQL."""

    def __init__(self, store: Store, *, idle_s: int = IDLE_S) -> None:
        self._store = store
        self._idle_s = idle_s

    def announce(self, worker: int) -> bool:
        """This process is that worker. False while another one is, or its session is not over yet."""
        self._store.in_session(_LIMIT, limit=f"{self._idle_s}s")
        return self._try(_ALIVE, worker)

    def take(self, share: int) -> bool:
        return self._try(_SHARE, share)

    def give(self, share: int) -> None:
        self._store.in_session(_GIVE, kind=_SHARE, number=share)

    def look(self) -> tuple[set[int], set[int]]:
        """Workers that live, and shares that somebody holds."""
        rows = self._store.in_session(_LOOK, alive=_ALIVE, share=_SHARE)
        return {n for kind, n in rows if kind == _ALIVE}, {n for kind, n in rows if kind == _SHARE}

    def _try(self, kind: int, number: int) -> bool:
        return bool(self._store.in_session(_TRY, kind=kind, number=number)[0][0])
