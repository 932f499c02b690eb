"""Databases of the head end's parties: SQLite in a file of its owner's, or PostgreSQL by URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from smets1.errors import InputError

__all__ = ["create_tables", "one_line", "open_engine", "without_password"]

_MAKING_TABLES: Final = 0x534D4530  # an advisory lock of our own


def open_engine(where: str | Path) -> sa.Engine:
    """`:memory:`, a file path, or an SQLAlchemy URL; connects later. Raises InputError, one line."""
    text, shown = str(where), without_password(where)
    is_url = "://" in text
    if text.startswith(("postgresql://", "postgres://")):  # SQLAlchemy would take an older driver
        text = "postgresql+psycopg://" + text.partition("://")[2]
    url = text if is_url else "sqlite://" if text == ":memory:" else f"sqlite:///{text}"
    if is_url and not text.startswith(("sqlite:", "postgresql:", "postgresql+", "postgres:")):
        raise InputError(f"head-end store {shown}: write sqlite:///FILE or postgresql://HOST/NAME")
    try:
        if not is_url and text != ":memory:":
            _create_private(Path(text))
        engine = sa.create_engine(url, poolclass=StaticPool if url == "sqlite://" else NullPool)
    except ImportError as error:
        raise InputError(
            f"head-end store {shown} needs {error.name}: pip install 'smets1[postgresql]'"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise InputError(f"head-end store {shown} cannot be opened: {one_line(error)}") from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def create_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Those that are not there yet; several processes may begin at once. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING_TABLES})
        metadata.create_all(connection)


def without_password(where: str | Path) -> str:
    """The place as a message may say it."""
    return re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", str(where))


def one_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:160]


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, so that only its owner may ever read it: requests hold UTRNs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
