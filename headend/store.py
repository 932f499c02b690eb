"""What the head end must still know after kill -9: requests, their steps, responses, the inventory.

A request is accepted once its row is committed, and finished by one transaction that writes its
response and marks it done; the response's key is unique, so there is exactly one. SQLAlchemy Core over
SQLite (WAL, synchronous=FULL) or PostgreSQL. One connection, used synchronously from the event
loop: virtual time allows no threads.

A commit waits for the disk, so the two that every request needs are shared: `add_request` and
`add_answer` write into an open transaction, and `await committed()` waits for its end, which comes when the
event loop has run everything that is ready. Many requests at once cost one commit. Any other write
commits at once, and what is open with it.

The DCO's keys are not here: it is another party and keeps its own store (`dco`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64
from smets1.headend.engine import create_tables, one_line, open_engine, without_password

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
_SCHEDULES: Final = sa.Table(
    "schedule",
    _METADATA,
    sa.Column("schedule_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(16), nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
)
_TRANSFORMED: Final = sa.Table(
    "transformed",
    _METADATA,
    sa.Column("key", sa.String(96), primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)
# What a part of the head end keeps under names of its own: certificates, firmware images.
_RECORDS: Final = sa.Table(
    "record",
    _METADATA,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(96), primary_key=True),
    sa.Column("octets", sa.LargeBinary, nullable=False),
)
_COUNTERS: Final = sa.Table(
    "counter",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

_BOOKS: Final = "books"  # the counter that other workers look at


# Statements made once: to build one anew costs more than to execute it.
_FINISH: Final = (
    _REQUESTS.update()
    .where(_REQUESTS.c.key == sa.bindparam("of_key"), _REQUESTS.c.is_done.is_(False))
    .values(is_done=True)
)
_INSERT_RESPONSE: Final = _RESPONSES.insert().returning(_RESPONSES.c.number)
_IS_KNOWN: Final = sa.select(_REQUESTS.c.sequence).where(_REQUESTS.c.key == sa.bindparam("of_key"))
_MARK_DELIVERED: Final = (
    _RESPONSES.update().where(_RESPONSES.c.number == sa.bindparam("of_number")).values(is_delivered=True)
)
_FIND_STEPS: Final = _STEPS.select().where(_STEPS.c.key == sa.bindparam("of_key"))
_ANSWER_STEP: Final = (
    _STEPS.update()
    .where(_STEPS.c.key == sa.bindparam("of_key"), _STEPS.c.position == sa.bindparam("at"))
    .values(answer=sa.bindparam("octets"))
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
        self._waiters: list[asyncio.Future[None]] = []  # for the end of the open transaction
        self._delivered: list[int] = []  # response numbers to be marked with the next write
        self._depth = 0  # inside so many `together`
        self._is_pinned = False  # to its session with the server: it is not to connect again by itself
        self._is_cut_off = False
        # A doubled key must not break the open transaction, so it is no error: the row is left out.
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._insert_request = (
            dialect.insert(_REQUESTS).on_conflict_do_nothing().returning(_REQUESTS.c.sequence)
        )
        self._insert_event = dialect.insert(_EVENTS).on_conflict_do_nothing().returning(_EVENTS.c.event_id)
        self._insert_or = dialect.insert
        self._puts: dict[str, sa.Executable] = {}  # by table
        count = dialect.insert(_COUNTERS)
        self._count_up = count.on_conflict_do_update(
            index_elements=[_COUNTERS.c.name], set_={"value": _COUNTERS.c.value + 1}
        ).returning(_COUNTERS.c.value)
        with self._translated():
            create_tables(engine, _METADATA)
            self._connection = engine.connect()

    @classmethod
    def open(cls, where: str | Path = ":memory:") -> Store:
        """`:memory:`, a file path, or an SQLAlchemy URL. Raises InputError, one line."""
        try:
            return cls(open_engine(where))
        except LostError as error:
            raise InputError(f"head-end store {without_password(where)} cannot be opened: {error}") from None

    def close(self) -> None:
        with contextlib.suppress(LostError):
            self._flush()
        self._connection.close()
        self._engine.dispose()

    def in_session(self, statement: sa.Executable, **values: object) -> list[Any]:
        """The rows of a statement about this session with a PostgreSQL server; see `leases`.

        From the first on this store lives and dies with the session: once that is broken every call raises
        LostError, since a new session would not hold what the old one held. Raises InputError where the
        store is another database.
        """
        if self._engine.dialect.name != "postgresql":
            raise InputError("several head-end workers need a PostgreSQL store: give a postgresql:// URL")
        self._is_pinned = True
        with self._reading() as connection:
            return [tuple(row) for row in connection.execute(statement, values)]

    # --- the shared commit ---

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside becomes durable as a whole or not at all, with the next `committed()`."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    async def committed(self) -> None:
        """Returns when everything written so far is durable. Raises LostError."""
        if not self._connection.in_transaction():
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        if len(self._waiters) == 1:
            loop.call_soon(self._commit_for_waiters)
        await waiter

    def flush(self) -> None:
        """Commit now what is open. Raises LostError."""
        self._flush()

    def _commit_for_waiters(self) -> None:
        with contextlib.suppress(LostError):  # the waiters hear of it
            self._flush()

    def _flush(self) -> None:
        """Commit what is open and wake those who wait for it. Raises LostError, they too."""
        if self._depth:
            return
        waiters, self._waiters = self._waiters, []
        lost: LostError | None = None
        try:
            with self._translated():
                self._write_delivered()
                self._connection.commit()
        except LostError as error:
            lost = error
            with contextlib.suppress(SQLAlchemyError):
                self._connection.rollback()
        for waiter in waiters:
            if waiter.done():
                continue
            if lost is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(LostError(str(lost)))
        if lost is not None:
            raise lost

    def _write_delivered(self) -> None:
        if self._delivered:
            marked, self._delivered = self._delivered, []
            self._connection.execute(_MARK_DELIVERED, [{"of_number": number} for number in marked])

    # --- requests ---

    def accept(self, request: StoredRequest) -> bool:
        """Commit a request as accepted; False where its key was used before, and nothing changes."""
        is_new = self.add_request(request)
        self._flush()
        return is_new

    def add_request(self, request: StoredRequest) -> bool:
        """As `accept`, but durable only after `committed()`."""
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
        with self._writing() as connection:
            return connection.execute(self._insert_request, row).first() is not None

    def unfinished(self) -> list[StoredRequest]:
        """Accepted and not answered, in the order of acceptance."""
        query = _REQUESTS.select().where(_REQUESTS.c.is_done.is_(False)).order_by(_REQUESTS.c.sequence)
        with self._reading() as connection:
            return [_request(row) for row in connection.execute(query).mappings()]

    def unfinished_after(self, number: int) -> list[tuple[int, str, Eui64]]:
        """As `unfinished`, of the rows after that number: each row's own, key and target."""
        columns = (_REQUESTS.c.sequence, _REQUESTS.c.key, _REQUESTS.c.target)
        query = sa.select(*columns).where(_REQUESTS.c.is_done.is_(False), _REQUESTS.c.sequence > number)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(_REQUESTS.c.sequence)).all()
        return [(int(sequence), str(key), int(target, 16)) for sequence, key, target in rows]

    def is_known(self, key: str) -> bool:
        with self._reading() as connection:
            return connection.execute(_IS_KNOWN, {"of_key": key}).first() is not None

    def count_requests(self, *, originator: Eui64, srv: str, since_utc_us: int) -> int:
        """Accepted after that time."""
        query = sa.select(sa.func.count()).where(
            _REQUESTS.c.originator == _hex(originator),
            _REQUESTS.c.srv == srv,
            _REQUESTS.c.accepted_utc_us > since_utc_us,
        )
        with self._reading() as connection:
            return int(connection.execute(query.select_from(_REQUESTS)).scalar_one())

    def find_request(self, key: str) -> StoredRequest | None:
        with self._reading() as connection:
            row = connection.execute(_REQUESTS.select().where(_REQUESTS.c.key == key)).mappings().first()
        return None if row is None else _request(row)

    def is_done(self, key: str) -> bool:
        """Whether it was accepted and has its response."""
        with self._reading() as connection:
            query = sa.select(_REQUESTS.c.is_done).where(_REQUESTS.c.key == key)
            return bool(connection.execute(query).scalar())

    def finish(self, key: str, *, user: Eui64, xml: bytes | None, now_utc_us: int) -> int | None:
        """Write the one response of a request and mark it done; the response's number.

        None, and nothing written, where it has its response already. An internal operation has no
        response (`xml` None).
        """
        number = self.add_answer(key, user=user, xml=xml, now_utc_us=now_utc_us)
        self._flush()
        return number

    def add_answer(self, key: str, *, user: Eui64, xml: bytes | None, now_utc_us: int) -> int | None:
        """As `finish`, but durable only after `committed()`."""
        with self._writing() as connection:
            if connection.execute(_FINISH, {"of_key": key}).rowcount != 1 or xml is None:
                return None
            return self._insert(connection, key, user, xml, now_utc_us)

    # --- steps ---

    def steps(self, key: str) -> dict[int, StoredStep]:
        with self._reading() as connection:
            rows = connection.execute(_FIND_STEPS, {"of_key": key}).mappings().all()
        return {
            row["position"]: StoredStep(
                position=row["position"], request=bytes(row["request"]), answer=row["answer"]
            )
            for row in rows
        }

    def put_step(self, key: str, position: int, request: bytes) -> None:
        """Before it is sent. A step that is sent anew (another counter) replaces its former self."""
        self.add_step(key, position, request)
        self._flush()

    def add_step(self, key: str, position: int, request: bytes) -> None:
        """As `put_step`, but durable only after `committed()`."""
        with self._writing() as connection:
            row = {"key": key, "position": position, "request": request, "answer": None}
            self._put(connection, _STEPS, row)

    def put_answer(self, key: str, position: int, answer: bytes) -> None:
        with self._writing() as connection:
            connection.execute(_ANSWER_STEP, {"of_key": key, "at": position, "octets": answer})
        self._flush()

    # --- responses ---

    def add_alert(self, *, user: Eui64, xml: bytes, now_utc_us: int) -> int:
        """An alert that no request asked for; its number."""
        with self._transaction() as connection:
            return self._insert(connection, None, user, xml, now_utc_us)

    def responses(
        self, *, user: Eui64 | None = None, after: int = 0, limit: int = 100
    ) -> list[StoredResponse]:
        """With numbers above `after`, oldest first."""
        query = _RESPONSES.select().where(_RESPONSES.c.number > after)
        if user is not None:
            query = query.where(_RESPONSES.c.user == _hex(user))
        query = query.order_by(_RESPONSES.c.number).limit(limit)
        with self._reading() as connection:
            return [_response(row) for row in connection.execute(query).mappings()]

    def undelivered(self, *, user: Eui64, limit: int = 100) -> list[StoredResponse]:
        query = _RESPONSES.select().where(_RESPONSES.c.is_delivered.is_(False))
        query = query.where(_RESPONSES.c.user == _hex(user))
        query = query.order_by(_RESPONSES.c.number).limit(limit)
        with self._reading() as connection:
            return [_response(row) for row in connection.execute(query).mappings()]

    def response_to(self, key: str) -> StoredResponse | None:
        query = _RESPONSES.select().where(_RESPONSES.c.key == key)
        with self._reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _response(row)

    def mark_delivered(self, number: int) -> None:
        """Written with the next commit: where that never comes, the user hears it twice, not never."""
        self._delivered.append(number)

    # --- devices, events, counters ---

    def book_count(self) -> int:
        """How often devices or schedules were changed: where it stands still, nobody has changed them."""
        with self._reading() as connection:
            query = sa.select(_COUNTERS.c.value).where(_COUNTERS.c.name == _BOOKS)
            return int(connection.execute(query).scalar() or 0)

    def put_device(self, eui64: Eui64, record: dict[str, object]) -> None:
        with self._changing_books() as connection:
            self._put(connection, _DEVICES, {"eui64": _hex(eui64), "record": record})

    def delete_device(self, eui64: Eui64) -> None:
        with self._changing_books() as connection:
            connection.execute(_DEVICES.delete().where(_DEVICES.c.eui64 == _hex(eui64)))

    def devices(self) -> dict[Eui64, dict[str, object]]:
        with self._reading() as connection:
            rows = connection.execute(_DEVICES.select().order_by(_DEVICES.c.eui64)).mappings().all()
        return {int(row["eui64"], 16): dict(row["record"]) for row in rows}

    def note_event(self, event_id: str) -> bool:
        """True the first time an event id is seen."""
        with self._transaction() as connection:
            return connection.execute(self._insert_event, {"event_id": event_id}).first() is not None

    # --- what was transformed ---

    def add_transformed(self, key: str, digest: bytes) -> None:
        """The Pre-Command that was given out for a RequestID; durable only after `committed()`."""
        with self._writing() as connection:
            self._put(connection, _TRANSFORMED, {"key": key, "digest": digest})

    def transformed(self, key: str) -> bytes | None:
        with self._reading() as connection:
            digest = connection.execute(
                sa.select(_TRANSFORMED.c.digest).where(_TRANSFORMED.c.key == key)
            ).scalar()
        return None if digest is None else bytes(digest)

    # --- records of other parts ---

    def put_record(self, kind: str, name: str, octets: bytes) -> None:
        """Add or replace; durable only after `committed()`. `kind` 16, `name` 96 characters at most."""
        with self._writing() as connection:
            self._put(connection, _RECORDS, {"kind": kind, "name": name, "octets": octets})

    def delete_record(self, kind: str, name: str) -> None:
        """Durable only after `committed()`."""
        with self._writing() as connection:
            connection.execute(_RECORDS.delete().where(*_is_record(kind, name)))

    def record(self, kind: str, name: str) -> bytes | None:
        with self._reading() as connection:
            query = sa.select(_RECORDS.c.octets).where(*_is_record(kind, name))
            octets = connection.execute(query).scalar()
        return None if octets is None else bytes(octets)

    def records(self, kind: str) -> dict[str, bytes]:
        """By name, in the order of the names."""
        query = _RECORDS.select().where(_RECORDS.c.kind == kind).order_by(_RECORDS.c.name)
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["name"]: bytes(row["octets"]) for row in rows}

    # --- DSP schedules ---

    def put_schedule(self, schedule_id: int, owner: Eui64, record: dict[str, object]) -> None:
        """Add or replace."""
        with self._changing_books() as connection:
            row = {"schedule_id": schedule_id, "owner": _hex(owner), "record": record}
            self._put(connection, _SCHEDULES, row)

    def delete_schedule(self, schedule_id: int) -> None:
        with self._changing_books() as connection:
            connection.execute(_SCHEDULES.delete().where(_SCHEDULES.c.schedule_id == schedule_id))

    def schedules(self) -> dict[int, tuple[Eui64, dict[str, object]]]:
        """Owner and record by schedule id."""
        query = _SCHEDULES.select().order_by(_SCHEDULES.c.schedule_id)
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["schedule_id"]: (int(row["owner"], 16), dict(row["record"])) for row in rows}

    def next_count(self, name: str) -> int:
        """1, 2, 3 ... per name; committed before it is given out."""
        with self._transaction() as connection:
            return int(connection.execute(self._count_up, {"name": name, "value": 1}).scalar_one())

    def _put(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
        """Add, or replace what has the same primary key, also where another worker adds it just now."""
        statement = self._puts.get(table.name)
        if statement is None:
            insert = self._insert_or(table)
            key = [column.name for column in table.primary_key]
            rest = {name: insert.excluded[name] for name in row if name not in key}
            statement = insert.on_conflict_do_update(index_elements=key, set_=rest)
            self._puts[table.name] = statement
        connection.execute(statement, row)

    @staticmethod
    def _insert(connection: sa.Connection, key: str | None, user: Eui64, xml: bytes, now_utc_us: int) -> int:
        row = {
            "key": key,
            "user": _hex(user),
            "xml": xml,
            "created_utc_us": now_utc_us,
            "is_delivered": False,
        }
        return int(connection.execute(_INSERT_RESPONSE, row).scalar_one())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Inside the open transaction, which SQLAlchemy begins by itself. A failure ends all of it."""
        try:
            with self._translated():
                yield self._connection
        except LostError:
            self._fail()
            raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Sees what is written and not yet committed; leaves no transaction open that was not."""
        was_open = self._connection.in_transaction()
        with self._translated():
            self._write_delivered()
            yield self._connection
            if not was_open:
                self._connection.commit()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._writing() as connection:
            yield connection
        self._flush()

    @contextlib.contextmanager
    def _changing_books(self) -> Iterator[sa.Connection]:
        with self._transaction() as connection:
            yield connection
            connection.execute(self._count_up, {"name": _BOOKS, "value": 1})

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Any database error means that the storage is gone: what may be refused is asked for as such."""
        if self._is_cut_off:
            raise LostError("head-end store: its session has ended, and with it what this worker held")
        try:
            yield
        except (DBAPIError, SQLAlchemyError) as error:
            self._is_cut_off = self._is_pinned and getattr(error, "connection_invalidated", False)
            raise LostError(f"head-end store: {one_line(error)}") from None

    def _fail(self) -> None:
        """What was open is lost: those who wait for it must hear so."""
        with contextlib.suppress(SQLAlchemyError):
            self._connection.rollback()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(LostError("head-end store: the transaction failed"))


def _is_record(kind: str, name: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _RECORDS.c.kind == kind, _RECORDS.c.name == name


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
