"""What the head end must still know after kill -9: requests, their steps, responses, the inventory.

A request is accepted once its row is committed, and finished by one transaction that writes its
response and marks it done; the response's key is unique, so there is exactly one. SQLAlchemy Core over
SQLite (WAL, synchronous=FULL) or PostgreSQL. One connection, used synchronously from the event
loop: virtual time allows no threads, and a commit takes a fraction of a millisecond.

The DCO's keys are not here: it is another party and keeps its own store (`dco`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64

__all__ = ["Store", "StoredRequest", "StoredResponse", "StoredStep"]

_METADATA: Final = sa.MetaData()

# EUI-64s and counters do not fit a signed 64-bit column: they are text.
_REQUESTS: Final = sa.Table(
    "request",
    _METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(96), nullable=False, unique=True),
    sa.Column("originator", sa.String(16), nullable=False),
    sa.Column("target", sa.String(16), nullable=False),
    sa.Column("srv", sa.String(8), nullable=False),
    sa.Column("xml", sa.LargeBinary, nullable=False),
    sa.Column("accepted_utc_us", sa.BigInteger, nullable=False),
    sa.Column("not_before_utc_us", sa.BigInteger, nullable=False),
    sa.Column("expires_utc_us", sa.BigInteger, nullable=False),
    sa.Column("is_done", sa.Boolean, nullable=False, index=True),
)
_STEPS: Final = sa.Table(
    "step",
    _METADATA,
    sa.Column("key", sa.String(96), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary),
)
_RESPONSES: Final = sa.Table(
    "response",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(96), unique=True),
    sa.Column("user", sa.String(16), nullable=False, index=True),
    sa.Column("xml", sa.LargeBinary, nullable=False),
    sa.Column("created_utc_us", sa.BigInteger, nullable=False),
    sa.Column("is_delivered", sa.Boolean, nullable=False, index=True),
)
_EVENTS: Final = sa.Table("event", _METADATA, sa.Column("event_id", sa.String(64), primary_key=True))
_DEVICES: Final = sa.Table(
    "device",
    _METADATA,
    sa.Column("eui64", sa.String(16), primary_key=True),
    sa.Column("record", sa.JSON, nullable=False),
)
_COUNTERS: Final = sa.Table(
    "counter",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """An accepted request. Times are microseconds since 1970 UTC."""

    key: str  # unique; the RequestID, or that with a suffix, or the name of an internal operation
    originator: Eui64
    target: Eui64
    srv: str
    xml: bytes = field(repr=False)
    accepted_utc_us: int
    not_before_utc_us: int
    expires_utc_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """One WAN request of an accepted request, as it was sent, and its answer once there is one."""

    position: int
    request: bytes = field(repr=False)  # WanRequest.encode()
    answer: bytes | None = field(repr=False)  # WanResponse.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """A response or an alert for a user; `key` is None for what nobody asked for."""

    number: int
    key: str | None
    user: Eui64
    xml: bytes = field(repr=False)
    created_utc_us: int
    is_delivered: bool


class Store:
    """Open with `Store.open`; `close` when done. Every method raises LostError where the database fails."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        with _translated():
            _METADATA.create_all(engine)
            self._connection = engine.connect()

    @classmethod
    def open(cls, where: str | Path = ":memory:") -> Store:
        """`:memory:`, a file path, or an SQLAlchemy URL. Raises InputError, one line."""
        text = str(where)
        is_url = "://" in text
        url = text if is_url else "sqlite://" if text == ":memory:" else f"sqlite:///{text}"
        try:
            if not is_url and text != ":memory:":
                _create_private(Path(text))
            is_memory = url == "sqlite://"
            engine = sa.create_engine(url, poolclass=StaticPool if is_memory else NullPool)
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", _prepare_sqlite)
            return cls(engine)
        except (SQLAlchemyError, LostError, OSError, ImportError) as error:
            raise InputError(f"head-end store {text} cannot be opened: {_one_line(error)}") from None

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    # --- requests ---

    def accept(self, request: StoredRequest) -> bool:
        """Commit a request as accepted; False where its key was used before, and nothing changes."""
        row = {
            "key": request.key,
            "originator": _hex(request.originator),
            "target": _hex(request.target),
            "srv": request.srv,
            "xml": request.xml,
            "accepted_utc_us": request.accepted_utc_us,
            "not_before_utc_us": request.not_before_utc_us,
            "expires_utc_us": request.expires_utc_us,
            "is_done": False,
        }
        try:
            with self._transaction() as connection:
                connection.execute(_REQUESTS.insert().values(row))
        except IntegrityError:
            return False
        return True

    def unfinished(self) -> list[StoredRequest]:
        """Accepted and not answered, in the order of acceptance."""
        query = _REQUESTS.select().where(_REQUESTS.c.is_done.is_(False)).order_by(_REQUESTS.c.sequence)
        with self._transaction() as connection:
            return [_request(row) for row in connection.execute(query).mappings()]

    def is_known(self, key: str) -> bool:
        with self._transaction() as connection:
            query = sa.select(_REQUESTS.c.sequence).where(_REQUESTS.c.key == key)
            return connection.execute(query).first() is not None

    def finish(self, key: str, *, user: Eui64, xml: bytes | None, now_utc_us: int) -> int | None:
        """Write the one response of a request and mark it done; the response's number.

        None, and nothing written, where it has its response already. An internal operation has no
        response (`xml` None).
        """
        with self._transaction() as connection:
            done = connection.execute(
                _REQUESTS.update()
                .where(_REQUESTS.c.key == key, _REQUESTS.c.is_done.is_(False))
                .values(is_done=True)
            )
            if done.rowcount != 1 or xml is None:
                return None
            return self._insert_response(connection, key, user, xml, now_utc_us)

    # --- steps ---

    def steps(self, key: str) -> dict[int, StoredStep]:
        query = _STEPS.select().where(_STEPS.c.key == key)
        with self._transaction() as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["position"]: StoredStep(
                position=row["position"], request=bytes(row["request"]), answer=row["answer"]
            )
            for row in rows
        }

    def put_step(self, key: str, position: int, request: bytes) -> None:
        """Before it is sent. A step that is sent anew (another counter) replaces its former self."""
        with self._transaction() as connection:
            connection.execute(_STEPS.delete().where(_STEPS.c.key == key, _STEPS.c.position == position))
            connection.execute(_STEPS.insert().values(key=key, position=position, request=request))

    def put_answer(self, key: str, position: int, answer: bytes) -> None:
        with self._transaction() as connection:
            where = (_STEPS.c.key == key, _STEPS.c.position == position)
            connection.execute(_STEPS.update().where(*where).values(answer=answer))

    # --- responses ---

    def add_alert(self, *, user: Eui64, xml: bytes, now_utc_us: int) -> int:
        """An alert that no request asked for; its number."""
        with self._transaction() as connection:
            return self._insert_response(connection, None, user, xml, now_utc_us)

    def responses(
        self, *, user: Eui64 | None = None, after: int = 0, limit: int = 100
    ) -> list[StoredResponse]:
        """With numbers above `after`, oldest first."""
        query = _RESPONSES.select().where(_RESPONSES.c.number > after)
        if user is not None:
            query = query.where(_RESPONSES.c.user == _hex(user))
        query = query.order_by(_RESPONSES.c.number).limit(limit)
        with self._transaction() as connection:
            return [_response(row) for row in connection.execute(query).mappings()]

    def undelivered(self, *, user: Eui64, limit: int = 100) -> list[StoredResponse]:
        query = _RESPONSES.select().where(_RESPONSES.c.is_delivered.is_(False))
        query = query.where(_RESPONSES.c.user == _hex(user))
        query = query.order_by(_RESPONSES.c.number).limit(limit)
        with self._transaction() as connection:
            return [_response(row) for row in connection.execute(query).mappings()]

    def response_to(self, key: str) -> StoredResponse | None:
        query = _RESPONSES.select().where(_RESPONSES.c.key == key)
        with self._transaction() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _response(row)

    def mark_delivered(self, number: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                _RESPONSES.update().where(_RESPONSES.c.number == number).values(is_delivered=True)
            )

    # --- devices, events, counters ---

    def put_device(self, eui64: Eui64, record: dict[str, object]) -> None:
        with self._transaction() as connection:
            connection.execute(_DEVICES.delete().where(_DEVICES.c.eui64 == _hex(eui64)))
            connection.execute(_DEVICES.insert().values(eui64=_hex(eui64), record=record))

    def devices(self) -> dict[Eui64, dict[str, object]]:
        with self._transaction() as connection:
            rows = connection.execute(_DEVICES.select().order_by(_DEVICES.c.eui64)).mappings().all()
        return {int(row["eui64"], 16): dict(row["record"]) for row in rows}

    def note_event(self, event_id: str) -> bool:
        """True the first time an event id is seen."""
        try:
            with self._transaction() as connection:
                connection.execute(_EVENTS.insert().values(event_id=event_id))
        except IntegrityError:
            return False
        return True

    def next_count(self, name: str) -> int:
        """1, 2, 3 ... per name; committed before it is given out."""
        with self._transaction() as connection:
            where = _COUNTERS.c.name == name
            if connection.execute(
                _COUNTERS.update().where(where).values(value=_COUNTERS.c.value + 1)
            ).rowcount:
                return int(connection.execute(sa.select(_COUNTERS.c.value).where(where)).scalar_one())
            connection.execute(_COUNTERS.insert().values(name=name, value=1))
            return 1

    def _insert_response(
        self, connection: sa.Connection, key: str | None, user: Eui64, xml: bytes, now_utc_us: int
    ) -> int:
        row = {
            "key": key,
            "user": _hex(user),
            "xml": xml,
            "created_utc_us": now_utc_us,
            "is_delivered": False,
        }
        inserted = connection.execute(_RESPONSES.insert().values(row)).inserted_primary_key
        assert inserted is not None, "an insert of one row gives its key"
        return int(inserted[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with _translated(), self._connection.begin():
            yield self._connection


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """A doubled key is an answer to the caller; any other database error means the storage is gone."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, SQLAlchemyError) as error:
        raise LostError(f"head-end store: {_one_line(error)}") from None


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, so that only its owner may ever read it: requests hold UTRNs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _one_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:160]


def _hex(eui64: Eui64) -> str:
    return f"{eui64:016x}"


def _request(row: Any) -> StoredRequest:
    return StoredRequest(
        key=row["key"],
        originator=int(row["originator"], 16),
        target=int(row["target"], 16),
        srv=row["srv"],
        xml=bytes(row["xml"]),
        accepted_utc_us=row["accepted_utc_us"],
        not_before_utc_us=row["not_before_utc_us"],
        expires_utc_us=row["expires_utc_us"],
    )


def _response(row: Any) -> StoredResponse:
    return StoredResponse(
        number=row["number"],
        key=row["key"],
        user=int(row["user"], 16),
        xml=bytes(row["xml"]),
        created_utc_us=row["created_utc_us"],
        is_delivered=row["is_delivered"],
    )
