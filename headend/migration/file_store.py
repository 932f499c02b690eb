"""The files of the sets that a party has in hand: kept as they came, found again after a restart.

A file is committed before its sender is told that it was taken. What is kept was verified when it came;
the store is the party's own. In memory: parsed, so that a home is looked up and not parsed again.
"""

from __future__ import annotations

from typing import Final, TypeVar

from smets1.errors import DecodeError, LostError
from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.headend.migration.envelope import read_kept
from smets1.headend.migration.files import (
    EncryptedInstallation,
    FileKind,
    Installation,
    MigrationCommonFile,
    MigrationFile,
    MigrationGroupEncryptedFile,
    ValidatedInstallation,
)

__all__ = ["FileStore"]

_T = TypeVar("_T")
_PREFIX: Final = "file/"


class FileStore:
    """By file set and kind. Raises LostError where what was kept cannot be read."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self._files: dict[int, dict[FileKind, MigrationFile]] = {}
        self._homes: dict[tuple[int, FileKind], dict[Eui64, object]] = {}
        for key in nvm.keys(_PREFIX):
            _, file_set, kind = key.split("/")
            octets = nvm.get(key)
            assert octets is not None, "listed"
            try:
                self._remember(int(file_set), FileKind(kind), read_kept(octets, FileKind(kind)))
            except DecodeError as error:
                raise LostError(f"a kept migration file is damaged: {error}") from None

    def put(self, file_set: int, kind: FileKind, content: MigrationFile, octets: bytes) -> None:
        """`content` is what `octets` hold. Committed."""
        self._nvm.put(f"{_PREFIX}{file_set}/{kind}", octets)
        self._nvm.commit()
        self._remember(file_set, kind, content)

    def _remember(self, file_set: int, kind: FileKind, content: MigrationFile) -> None:
        self._files.setdefault(file_set, {})[kind] = content
        listed = getattr(content, "installations", ())
        self._homes[file_set, kind] = {home.hub: home for home in listed}

    def drop(self, file_set: int, *kinds: FileKind) -> None:
        """Some files of a set; none named: all. Committed."""
        held = self._files.get(file_set, {})
        for kind in kinds or tuple(held):
            held.pop(kind, None)
            self._homes.pop((file_set, kind), None)
            self._nvm.delete(f"{_PREFIX}{file_set}/{kind}")
        if not held:
            self._files.pop(file_set, None)
        self._nvm.commit()

    def file_sets(self) -> list[int]:
        return sorted(self._files)

    def common(self, file_set: int) -> MigrationCommonFile | None:
        found = self._files.get(file_set, {}).get(FileKind.MCF)
        return found if isinstance(found, MigrationCommonFile) else None

    def encrypted(self, file_set: int) -> MigrationGroupEncryptedFile | None:
        found = self._files.get(file_set, {}).get(FileKind.MEF)
        return found if isinstance(found, MigrationGroupEncryptedFile) else None

    def home(self, file_set: int, hub: Eui64) -> Installation | None:
        return self._find(file_set, FileKind.MCF, hub, Installation)

    def validated(self, file_set: int, hub: Eui64) -> ValidatedInstallation | None:
        return self._find(file_set, FileKind.MVF, hub, ValidatedInstallation)

    def keys(self, file_set: int, hub: Eui64) -> EncryptedInstallation | None:
        return self._find(file_set, FileKind.MEF, hub, EncryptedInstallation)

    def _find(self, file_set: int, kind: FileKind, hub: Eui64, of: type[_T]) -> _T | None:
        found = self._homes.get((file_set, kind), {}).get(hub)
        return found if isinstance(found, of) else None
