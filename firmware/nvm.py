"""Non-volatile memory: what a device still knows after its power was cut.

A store is one SQLite file a process, with one table (device, key, value). `put` changes memory only;
`commit` returns when everything put so far, by *all* devices of the store, is on the disk (group commit):
change, commit, then acknowledge. Records that belong together are put without an `await` between them,
since another device's commit would otherwise write half of them.

Reading costs a dict lookup: a device's records are loaded when it is first asked for and kept in memory.

SQLite runs in WAL mode with synchronous=FULL. NORMAL survives kill -9 but not a power cut. The file is locked
for one process as long as it is open, as a chip is soldered to one board. Its mode is 0600: it holds keys.

`MemoryNvm` is the twin for tests: it keeps what was committed, and can cut the power at a chosen commit.
Left out: wear, and the size of a real chip.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, Self

import cbor2

from smets1.errors import ClosedError, DecodeError, InputError, LostError
from smets1.firmware.cbor import load_strict

__all__ = ["DeviceNvm", "MemoryNvm", "NoNvm", "Nvm", "NvmStore", "NvmView", "PowerCutError"]

SCHEMA_VERSION: Final = 1
_IN_MEMORY: Final = ":memory:"
_EXPORT_MAGIC: Final = b"smets1 device 1\n"
_APPLICATION_ID: Final = 0x534D4531  # "SME1"; tells our file from any other SQLite file


class Nvm(Protocol):
    """What a device sees of its memory. Keys are text, compared by code point; values are octets."""

    def get(self, key: str) -> bytes | None:
        """The present value, with own uncommitted changes; None: no such record."""

    def put(self, key: str, value: bytes) -> None: ...
    def delete(self, key: str) -> None:
        """Forget a record; one that is not there is no error."""

    def keys(self, prefix: str = "") -> list[str]:
        """Sorted."""

    def commit(self) -> None:
        """Returns when all that was put is durable. Raises LostError where the storage has failed."""


class NvmView:
    """Part of a device's memory: its records under a prefix. Commits with the whole."""

    __slots__ = ("_nvm", "_prefix")

    def __init__(self, nvm: Nvm, prefix: str) -> None:
        self._nvm = nvm
        self._prefix = prefix

    def get(self, key: str) -> bytes | None:
        return self._nvm.get(self._prefix + key)

    def put(self, key: str, value: bytes) -> None:
        self._nvm.put(self._prefix + key, value)

    def delete(self, key: str) -> None:
        self._nvm.delete(self._prefix + key)

    def keys(self, prefix: str = "") -> list[str]:
        skip = len(self._prefix)
        return [key[skip:] for key in self._nvm.keys(self._prefix + prefix)]

    def commit(self) -> None:
        self._nvm.commit()


class NoNvm:
    """An Nvm that keeps nothing, for a part whose owner can give it everything again."""

    __slots__ = ()

    def get(self, key: str) -> bytes | None:
        return None

    def put(self, key: str, value: bytes) -> None:
        pass

    def delete(self, key: str) -> None:
        pass

    def keys(self, prefix: str = "") -> list[str]:
        return []

    def commit(self) -> None:
        pass


class DeviceNvm:
    """One device's records in a store; made by `NvmStore.device`."""

    __slots__ = ("_name", "_records", "_store")

    def __init__(self, store: NvmStore, name: str, records: dict[str, bytes]) -> None:
        self._store = store
        self._name = name
        self._records = records

    @property
    def name(self) -> str:
        return self._name

    def get(self, key: str) -> bytes | None:
        return self._records.get(key)

    def put(self, key: str, value: bytes) -> None:
        value = bytes(value)  # a bytearray could change after the fact
        if self._records.get(key) != value:
            self._store.note(self._name, key, value)
            self._records[key] = value

    def delete(self, key: str) -> None:
        if key in self._records:
            self._store.note(self._name, key, None)
            del self._records[key]

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._records if key.startswith(prefix))

    def commit(self) -> None:
        self._store.commit()

    def replace_all(self, records: dict[str, bytes]) -> None:
        """Make these the device's only records (uncommitted, as `put`)."""
        for key in self.keys():
            if key not in records:
                self.delete(key)
        for key in sorted(records):
            self.put(key, records[key])


class NvmStore:
    """The NVM of all devices of one process: `open` it; then `close`, or use it in `with`."""

    def __init__(self, database: sqlite3.Connection, label: str) -> None:
        self._database: sqlite3.Connection | None = database
        self._label = label
        self._devices: dict[str, DeviceNvm] = {}
        self._pending: dict[tuple[str, str], bytes | None] = {}
        self.commit_count = 0

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open or create the file; ":memory:" keeps nothing.

        Raises InputError, one line: in use by another process, damaged, not ours, or from a newer version.
        """
        label = str(path)
        if label != _IN_MEMORY:
            _create_private(Path(label))
        database = None
        try:
            database = sqlite3.connect(label, isolation_level=None, timeout=0)
            _prepare(database, label)
        except sqlite3.Error as error:
            if database is not None:
                database.close()
            raise InputError(_explain(error, label)) from None
        except InputError:
            assert database is not None
            database.close()
            raise
        return cls(database, label)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def device(self, name: str) -> DeviceNvm:
        """The records of one device, the same object every time. Raises LostError on a read error."""
        device = self._devices.get(name)
        if device is None:
            rows = self._query("SELECT key, value FROM record WHERE device = ?", (name,))
            device = self._devices[name] = DeviceNvm(self, name, {str(k): bytes(v) for k, v in rows})  # type: ignore[call-overload]
        return device

    def device_names(self) -> list[str]:
        """Devices with at least one committed or pending record, sorted."""
        names = {str(row[0]) for row in self._query("SELECT DISTINCT device FROM record")}
        names = {name for name in names if name not in self._devices}
        names.update(name for name, device in self._devices.items() if device.keys())
        return sorted(names)

    def note(self, device: str, key: str, value: bytes | None) -> None:
        """A change to write at the next commit; None deletes. For `DeviceNvm` only."""
        self._open_database()
        self._pending[device, key] = value

    def commit(self) -> None:
        """Write what is pending, in one transaction; nothing pending costs nothing.

        Raises LostError where the disk is full or broken; the changes then stay pending.
        """
        database = self._open_database()
        if not self._pending:
            return
        if self._label != _IN_MEMORY:  # else nobody ever reads it: devices have their records themselves
            self._write(database)
        self._pending.clear()
        self.commit_count += 1

    def _write(self, database: sqlite3.Connection) -> None:
        puts = [(d, k, v) for (d, k), v in self._pending.items() if v is not None]
        deletes = [at for at, value in self._pending.items() if value is None]
        try:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", puts)
            database.executemany("DELETE FROM record WHERE device = ? AND key = ?", deletes)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
            raise LostError(_explain(error, self._label)) from None

    def export_device(self, name: str, path: str | Path) -> None:
        """Write one device's records, uncommitted ones too, to a file of mode 0600 (it holds keys).

        The file is written beside its place and moved there whole. Raises InputError.
        """
        device = self.device(name)
        records = {key: device.get(key) for key in device.keys()}  # noqa: SIM118 - not a dict
        if not records:
            raise InputError(f"NVM {self._label} has no device {name!r}")
        content = cbor2.dumps({"device": name, "records": records, "schema": SCHEMA_VERSION})
        _write_whole(Path(path), _EXPORT_MAGIC + hashlib.sha256(content).digest() + content)

    def import_device(self, path: str | Path, *, name: str | None = None, replace: bool = False) -> str:
        """Read a file of `export_device` and commit it; answers the device's name. Raises InputError.

        `name` gives it another name. A device that has records already is kept unless `replace`.
        """
        stored_name, records = _read_export(Path(path))
        device = self.device(name or stored_name)
        if device.keys() and not replace:
            raise InputError(f"NVM {self._label} already has a device {device.name!r}: ask to replace it")
        device.replace_all(records)
        self.commit()
        return device.name

    def close(self) -> None:
        """Uncommitted changes are lost, as at a power cut. Closing twice is allowed."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open_database(self) -> sqlite3.Connection:
        if self._database is None:
            raise ClosedError(f"NVM {self._label} was used after closing")
        return self._database

    def _query(self, sql: str, values: Iterable[str] = ()) -> list[tuple[object, ...]]:
        try:
            return self._open_database().execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise LostError(_explain(error, self._label)) from None


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def _read_export(path: Path) -> tuple[str, dict[str, bytes]]:
    """A file of a person -> device name and records. Raises InputError."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    head = len(_EXPORT_MAGIC) + 32
    if not octets.startswith(_EXPORT_MAGIC):
        raise InputError(f"{path} is not an exported device")
    if hashlib.sha256(octets[head:]).digest() != octets[len(_EXPORT_MAGIC) : head]:
        raise InputError(f"{path} is damaged: its checksum does not fit")
    try:
        fields = load_strict(octets[head:])
    except DecodeError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA_VERSION:
        raise InputError(f"{path} was written by another version of smets1")
    name, records = fields.get("device"), fields.get("records")
    if not isinstance(name, str) or not isinstance(records, dict):
        raise InputError(f"{path} is damaged: device or records are missing")
    if not all(isinstance(value, bytes) for value in records.values()):
        raise InputError(f"{path} is damaged: a record is not octets")
    return name, records


def _create_private(path: Path) -> None:
    """Make the file, and its folder, before SQLite does, so that only its owner may ever read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise InputError(f"NVM {path} cannot be opened: {error.strerror}") from None


def _prepare(database: sqlite3.Connection, label: str) -> None:
    # EXCLUSIVE before the first read: the lock then lives as long as the process, and dies with it.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    application_id = _pragma(database, "application_id")
    version = _pragma(database, "user_version")
    is_empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    if not is_empty and application_id != _APPLICATION_ID:
        raise InputError(f"NVM {label} is a database of another program: give another path")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"NVM {label} was written by a newer version of smets1: upgrade, or give another path"
        )
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN EXCLUSIVE")
    if is_empty:
        database.execute(
            "CREATE TABLE record (device TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
            " PRIMARY KEY (device, key)) WITHOUT ROWID"
        )
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("COMMIT")
    if (fault := database.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
        raise sqlite3.DatabaseError(f"malformed: {fault}")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _explain(error: sqlite3.Error, label: str) -> str:
    """One line: what is wrong and what to do. SQLite's own words say neither."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"NVM {label} is in use by another running process: stop that one, or give another path"
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "malformed" in str(error):
        return f"NVM {label} is damaged: restore a copy, or delete it to start with new devices"
    if primary == sqlite3.SQLITE_FULL:
        return f"NVM {label} cannot be written: the disk is full"
    return f"NVM {label} has failed: {error}"


class PowerCutError(LostError):
    """The power is off: raised by everything that uses a `MemoryNvm` from the cut on."""


class MemoryNvm:
    """An Nvm in memory that tells committed from uncommitted. `cut_at_commit` counts from 1; None: never.

    The commit that is cut writes nothing, unless `is_written`: then all of it is durable but the caller
    never learns. After a cut, or at any moment, `after_power_cut` is what the device finds later.
    """

    def __init__(
        self,
        records: dict[str, bytes] | None = None,
        *,
        cut_at_commit: int | None = None,
        is_written: bool = False,
    ) -> None:
        self._durable = dict(records or {})
        self._records = dict(self._durable)
        self._cut_at_commit = cut_at_commit
        self._is_written = is_written
        self._is_cut = False
        self.commit_count = 0

    def get(self, key: str) -> bytes | None:
        self._require_power()
        return self._records.get(key)

    def put(self, key: str, value: bytes) -> None:
        self._require_power()
        self._records[key] = bytes(value)

    def delete(self, key: str) -> None:
        self._require_power()
        self._records.pop(key, None)

    def keys(self, prefix: str = "") -> list[str]:
        self._require_power()
        return sorted(key for key in self._records if key.startswith(prefix))

    def commit(self) -> None:
        self._require_power()
        self.commit_count += 1
        self._is_cut = self.commit_count == self._cut_at_commit
        if not self._is_cut or self._is_written:
            self._durable = dict(self._records)
        self._require_power()

    def cut_power(self) -> None:
        """Now, between two commits."""
        self._is_cut = True

    def after_power_cut(self, *, cut_at_commit: int | None = None, is_written: bool = False) -> MemoryNvm:
        """A new memory with only what was committed; it may be set to be cut again."""
        return MemoryNvm(self._durable, cut_at_commit=cut_at_commit, is_written=is_written)

    def _require_power(self) -> None:
        if self._is_cut:
            raise PowerCutError("the power was cut")
