"""An `Nvm` in an SQL database: for a party whose keys several head-end workers must reach, such as the DCO.

Nothing is kept in memory, since another worker may have changed it: each `get` reads. What is put is
written at `commit`, in one transaction, and only where every record that was read before it was put is
still as it was read: two workers that would give out the same counter cannot both commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from smets1.errors import InputError, LostError
from smets1.headend.engine import create_tables, one_line, open_engine, without_password

__all__ = ["SqlNvm"]

_METADATA: Final = sa.MetaData()
_RECORDS: Final = sa.Table(
    "nvm",
    _METADATA,
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(96), primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)


class SqlNvm:
    """The records of one owner. Every method raises LostError where the database fails."""

    def __init__(self, engine: sa.Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._read: dict[str, bytes | None] = {}  # since the last commit
        self._put: dict[str, bytes | None] = {}
        try:
            create_tables(engine, _METADATA)
            self._connection = engine.connect()
        except SQLAlchemyError as error:
            raise LostError(f"key store: {one_line(error)}") from None

    @classmethod
    def open(cls, where: str | Path, owner: str) -> Self:
        """As `Store.open`. Raises InputError."""
        try:
            return cls(open_engine(where), owner)
        except LostError as error:
            raise InputError(f"{without_password(where)} cannot be opened: {error}") from None

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def get(self, key: str) -> bytes | None:
        if key in self._put:
            return self._put[key]
        with self._transaction():
            found = self._connection.execute(sa.select(_RECORDS.c.value).where(*self._is(key))).scalar()
        value = None if found is None else bytes(found)
        self._read[key] = value
        return value

    def put(self, key: str, value: bytes) -> None:
        self._put[key] = bytes(value)

    def delete(self, key: str) -> None:
        self._put[key] = None

    def keys(self, prefix: str = "") -> list[str]:
        query = sa.select(_RECORDS.c.key).where(
            _RECORDS.c.owner == self._owner, _RECORDS.c.key.startswith(prefix, autoescape=True)
        )
        with self._transaction():
            found = set(self._connection.execute(query).scalars())
        for key, value in self._put.items():
            if key.startswith(prefix):
                found = found - {key} if value is None else found | {key}
        return sorted(found)

    def commit(self) -> None:
        put, self._put = self._put, {}
        read, self._read = self._read, {}
        if not put:
            return
        with self._transaction():
            for key in sorted(put):
                self._write(key, put[key], read)

    def _write(self, key: str, value: bytes | None, read: dict[str, bytes | None]) -> None:
        where = list(self._is(key))
        before = read.get(key)
        if before is not None:
            where.append(_RECORDS.c.value == before)
        elif value is not None:
            if key not in read:  # put unread: whatever it was
                self._connection.execute(_RECORDS.delete().where(*where))
            row = {"owner": self._owner, "key": key, "value": value}
            self._connection.execute(_RECORDS.insert(), row)
            return
        statement = _RECORDS.delete() if value is None else _RECORDS.update().values(value=value)
        if self._connection.execute(statement.where(*where)).rowcount != 1 and before is not None:
            raise LostError(f"key store: {key} was changed by another worker")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            yield
            self._connection.commit()
        except (SQLAlchemyError, LostError) as error:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.rollback()
            raise LostError(one_line(error)) from None

    def _is(self, key: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
        return _RECORDS.c.owner == self._owner, _RECORDS.c.key == key
