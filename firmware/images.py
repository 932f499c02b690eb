"""The image slots of a device: what it runs, what it is receiving, what it falls back to.

Two slots. The running image is in one; a download goes to the other, in chunks that are durable as
they fill, so that it goes on after a power cut. A complete and checked image is *staged*; `activate`
makes it the running one *on trial*, beside its predecessor. `confirm` ends the trial. An image that is
started `TRIAL_BOOTS` times without a `confirm`, or is given up by `roll_back`, makes way for its predecessor.

Everything is put to NVM at once and durable on return, since each step is told to somebody.

Source: SMETS1 Uplift 1.2 (DA: dual image, activation apart from download); the rest is our design.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import cbor2

from smets1.errors import DecodeError, MisuseError
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm
from smets1.firmware.ota.image_file import OtaFile

__all__ = ["CHUNK_OCTETS", "TRIAL_BOOTS", "ImageCheck", "ImageInfo", "ImageSlots"]

CHUNK_OCTETS: Final = 1024
TRIAL_BOOTS: Final = 3
LARGEST_OCTETS: Final = 1 << 20
_STATE: Final = "image/state"
_DOWNLOAD: Final = "image/download"

ImageCheck: TypeAlias = Callable[[OtaFile], bool]
"""Whether a complete file may be run: its code, its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """Which file, and how long it is."""

    manufacturer_code: int
    image_type: int
    file_version: int
    size_octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    slot: int  # 0 or 1: which one runs
    version: int
    previous: int | None = None  # version in the other slot while on trial
    boots: int = 0  # during the trial
    staged: int | None = None  # version in the other slot, complete and checked
    due_utc_us: int | None = None  # when to start the staged one; None: when told


def is_intact(file: OtaFile) -> bool:
    """The check where no other is given."""
    return file.is_intact


class ImageSlots:
    """One device's images. `factory_version`: what it runs where NVM knows nothing else."""

    def __init__(self, nvm: Nvm, factory_version: int, *, check: ImageCheck = is_intact) -> None:
        self._nvm = nvm
        self._check = check
        self._state = _State(slot=0, version=factory_version)
        self._info: ImageInfo | None = None
        self._chunk = bytearray()  # not yet durable
        self._stored_octets = 0
        self._load()

    # --- what there is ------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        return self._state.version

    @property
    def is_on_trial(self) -> bool:
        return self._state.previous is not None

    @property
    def staged_version(self) -> int | None:
        return self._state.staged

    @property
    def due_utc_us(self) -> int | None:
        """When the staged image is to start; None: when told, or nothing is staged."""
        return self._state.due_utc_us

    @property
    def download(self) -> ImageInfo | None:
        """What is being received."""
        return self._info

    @property
    def offset(self) -> int:
        """How many octets of the download are here."""
        return self._stored_octets + len(self._chunk)

    # --- receiving ----------------------------------------------------------------------------------

    def begin(self, info: ImageInfo) -> bool:
        """Receive this file; one that was begun before goes on. False where it cannot be held."""
        if info == self._info:
            return True
        if self.is_on_trial or not 0 < info.size_octets <= LARGEST_OCTETS:
            return False  # the other slot holds what we would fall back to
        self.discard()
        self._info = info
        row = [info.manufacturer_code, info.image_type, info.file_version, info.size_octets]
        self._nvm.put(_DOWNLOAD, cbor2.dumps(row))
        self._nvm.commit()
        return True

    def write(self, offset: int, data: bytes) -> bool:
        """The next octets. False where they are not the next, or more than announced."""
        if self._info is None or offset != self.offset or offset + len(data) > self._info.size_octets:
            return False
        self._chunk += data
        while len(self._chunk) >= CHUNK_OCTETS or (self._chunk and self.is_complete):
            self._put_chunk()
        return True

    @property
    def is_complete(self) -> bool:
        return self._info is not None and self.offset == self._info.size_octets

    def _put_chunk(self) -> None:
        octets = bytes(self._chunk[:CHUNK_OCTETS])
        self._nvm.put(self._chunk_name(self._stored_octets // CHUNK_OCTETS), octets)
        self._nvm.commit()
        self._stored_octets += len(octets)
        del self._chunk[:CHUNK_OCTETS]

    def _chunk_name(self, number: int) -> str:
        return f"image/{1 - self._state.slot}/{number:05d}"

    def discard(self) -> None:
        """Give up what is being received, and what is staged."""
        for name in self._nvm.keys(f"image/{1 - self._state.slot}/"):
            self._nvm.delete(name)
        self._nvm.delete(_DOWNLOAD)
        self._info, self._stored_octets = None, 0
        self._chunk.clear()
        if self._state.staged is not None:
            self._put(_State(slot=self._state.slot, version=self._state.version))
        self._nvm.commit()

    def octets(self) -> bytes:
        """What was received so far and is durable."""
        names = self._nvm.keys(f"image/{1 - self._state.slot}/")
        return b"".join(self._nvm.get(name) or b"" for name in names)

    # --- starting -----------------------------------------------------------------------------------

    def stage(self) -> bool:
        """Check the complete download. False, and it is thrown away, where it is not fit to run."""
        info = self._info
        if info is None or not self.is_complete:
            raise MisuseError("the image is not complete")
        try:
            file = OtaFile.decode(self.octets())
            is_fit = self._is_announced(file, info) and self._check(file)
        except DecodeError:
            is_fit = False
        if not is_fit:
            self.discard()
            return False
        self._info, self._stored_octets = None, 0
        self._nvm.delete(_DOWNLOAD)
        self._put(_State(slot=self._state.slot, version=self._state.version, staged=info.file_version))
        self._nvm.commit()
        return True

    def _is_announced(self, file: OtaFile, info: ImageInfo) -> bool:
        header = file.header
        named = (header.manufacturer_code, header.image_type, header.file_version)
        return named == (info.manufacturer_code, info.image_type, info.file_version)

    def schedule(self, due_utc_us: int | None) -> None:
        """When the staged image is to start. Raises MisuseError where none is staged."""
        state = self._state
        if state.staged is None:
            raise MisuseError("no image is staged")
        self._put(_State(slot=state.slot, version=state.version, staged=state.staged, due_utc_us=due_utc_us))
        self._nvm.commit()

    def obey(self, version: int, due_utc_us: int | None) -> bool:
        """The word to start that image then; None: whatever is staged waits for the word again.

        False where it is to start and is not staged.
        """
        if due_utc_us is not None and self.staged_version != version:
            return False
        if self.staged_version is not None:
            self.schedule(due_utc_us)
        return True

    def activate(self) -> int:
        """Start the staged image, on trial; its version. Raises MisuseError where none is staged."""
        state = self._state
        if state.staged is None:
            raise MisuseError("no image is staged")
        self._put(_State(slot=1 - state.slot, version=state.staged, previous=state.version, boots=1))
        self._nvm.commit()
        return state.staged

    def on_boot(self) -> None:
        """Power has come back: an image on trial has used up one more of its starts."""
        state = self._state
        if state.previous is None:
            return
        if state.boots >= TRIAL_BOOTS:
            self.roll_back()
            return
        self._put(
            _State(slot=state.slot, version=state.version, previous=state.previous, boots=state.boots + 1)
        )
        self._nvm.commit()

    def confirm(self) -> None:
        """The running image works: its predecessor is not needed any more."""
        if self.is_on_trial:
            self._put(_State(slot=self._state.slot, version=self._state.version))
            self.discard()

    def roll_back(self) -> bool:
        """Back to the predecessor. False where there is none."""
        state = self._state
        if state.previous is None:
            return False
        self._put(_State(slot=1 - state.slot, version=state.previous))
        self.discard()
        return True

    # --- NVM ----------------------------------------------------------------------------------------

    def _put(self, state: _State) -> None:
        self._state = state
        row = [state.slot, state.version, state.previous, state.boots, state.staged, state.due_utc_us]
        self._nvm.put(_STATE, cbor2.dumps(row))

    def _load(self) -> None:
        stored = self._nvm.get(_STATE)
        if stored is not None:
            match load_strict(stored):
                case [0 | 1 as slot, int(version), int() | None as previous, int(boots),
                      int() | None as staged, int() | None as due_utc_us]:  # fmt: skip
                    self._state = _State(
                        slot=slot,
                        version=version,
                        previous=previous,
                        boots=boots,
                        staged=staged,
                        due_utc_us=due_utc_us,
                    )
                case _:
                    raise DecodeError("NVM", 0, f"record {_STATE}")
        stored = self._nvm.get(_DOWNLOAD)
        if stored is None:
            return
        match load_strict(stored):
            case [int(maker), int(image_type), int(version), int(size)]:
                self._info = ImageInfo(
                    manufacturer_code=maker, image_type=image_type, file_version=version, size_octets=size
                )
                self._stored_octets = len(self.octets())
            case _:
                raise DecodeError("NVM", 0, f"record {_DOWNLOAD}")
