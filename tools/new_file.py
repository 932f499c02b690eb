"""Files and folders that a command writes: files take their place only when the run has begun.

A run that cannot start leaves nothing half written, and an older file of that name is still whole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from smets1.errors import InputError

__all__ = ["NewFile", "is_same_file", "make_folder", "require_writable"]


class NewFile:
    """`path` is where to write meanwhile, beside the final place; then `keep` or `drop`. Raises InputError.

    A pipe or a device is written to as it is.
    """

    def __init__(self, final: Path, what: str) -> None:
        require_writable(final, what)
        self._final = final
        self.path = final if _is_special(final) else final.with_name(final.name + ".part")

    def keep(self) -> None:
        """Put it in its place; whoever has it open goes on writing."""
        if self.path != self._final:
            self.path.replace(self._final)

    def drop(self) -> None:
        if self.path != self._final:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """A pipe or a device."""
    return path.exists() and not path.is_file()


def is_same_file(one: Path, other: Path) -> bool:
    """Whether what is written to both would be lost; a pipe or a device takes more than one."""
    return one.resolve() == other.resolve() and not _is_special(one)


def require_writable(path: Path, what: str) -> None:
    """Raises InputError, one line, where no file can be written there; touches nothing."""
    if path.is_dir():
        reason = "is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "cannot be written: no permission"
    else:
        return
    raise InputError(f"{what} {path}: {reason}")


def make_folder(folder: Path, what: str, *, mode: int = 0o777) -> None:
    """Make it, and those above it, where it is not there. Raises InputError, one line."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{what} {folder}: is a file: give a folder") from None
    except OSError as error:
        raise InputError(f"{what} {folder}: cannot be made: {error.strerror}") from None
