"""The hub's side of upgrades: which device gets which image, block by block. A value machine.

Images are kept in NVM, since a sleepy meter takes hours to fetch one. Each may be meant for some
devices only, and has an hour of its own to start, or is to wait for the word (SRV 11.3).

Source: ZCL 07-5123 rev 7, 11.10, 11.13.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from smets1.errors import DecodeError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import zigbee_s
from smets1.firmware.nvm import Nvm
from smets1.firmware.ota.client import ASK_AGAIN
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Status

__all__ = ["OfferedImage", "OtaProgress", "OtaServer"]

_IMAGES: Final = "ota/image/"
_DONE: Final = "ota/done"
_LARGEST_PAGE: Final = 4096
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedImage:
    """`start_utc_us`: when to start it, 0 at once; None: wait to be told. No `targets`: any of the kind."""

    header: OtaHeader
    octets: bytes
    start_utc_us: int | None = None
    targets: tuple[Eui64, ...] = ()

    def is_for(self, eui64: Eui64) -> bool:
        if self.header.destination not in (None, eui64):
            return False
        return not self.targets or eui64 in self.targets

    def runs_on(self, hardware_version: int | None) -> bool:
        limits = self.header.hardware
        if limits is None or hardware_version is None:
            return True
        return limits[0] <= hardware_version <= limits[1]


@dataclass(slots=True)
class OtaProgress:
    """How far one device has come, as seen from here."""

    version: int
    offset: int = 0
    status: int | None = None  # of its upgrade end request; None: still fetching


class OtaServer:
    """All images that a hub offers. The caller commits before it answers."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self._images: dict[tuple[int, int, int], OfferedImage] = {}
        self.progress: dict[Eui64, OtaProgress] = {}
        self._done: dict[Eui64, int] = {}  # version that each device has had completely
        self._load()

    @property
    def images(self) -> list[OfferedImage]:
        return [self._images[key] for key in sorted(self._images)]

    def add(
        self, octets: bytes, *, start_utc_us: int | None = None, targets: Iterable[Eui64] = ()
    ) -> OtaHeader:
        """Offer a file from now on; another one of the same kind and version is replaced.

        Raises DecodeError for a file that is malformed, or whose integrity code is wrong.
        """
        file = OtaFile.decode(octets)
        if not file.is_intact:
            raise DecodeError("OTA file", len(octets), "the integrity code is wrong or missing")
        image = OfferedImage(
            header=file.header, octets=octets, start_utc_us=start_utc_us, targets=tuple(sorted(targets))
        )
        self._images[_key(file.header)] = image
        self._nvm.put(_name(file.header), cbor2.dumps([octets, start_utc_us, list(image.targets)]))
        for eui64 in [known for known, version in self._done.items() if version == file.header.file_version]:
            if image.is_for(eui64):
                del self._done[eui64]  # offered anew
        self._put_done()
        return file.header

    def remove(self, header: OtaHeader) -> bool:
        """Offer it no longer; a device that is fetching it is told to stop. False: was not there."""
        self._nvm.delete(_name(header))
        return self._images.pop(_key(header), None) is not None

    def has_news(self, eui64: Eui64, image_type: int) -> bool:
        """Whether a device of that kind has yet to fetch something: a flag for one that sleeps."""
        return any(
            image.header.image_type == image_type
            and image.is_for(eui64)
            and self._done.get(eui64) != image.header.file_version
            for image in self._images.values()
        )

    # --- commands -----------------------------------------------------------------------------------

    def query(self, values: Values, eui64: Eui64) -> dict[str, Any]:
        """Fields of the Query Next Image Response: the highest version for it, if it does not run that.

        A version below its own is offered too where it is the only one: the way back from a bad one.
        """
        hardware = values.get("hardware_version")
        current = values["current_file_version"]
        fits = [
            image
            for image in self.images
            if image.header.manufacturer_code == values["manufacturer_code"]
            and image.header.image_type == values["image_type"]
            and image.is_for(eui64)
            and image.runs_on(hardware)
        ]
        if any(image.header.file_version == current for image in fits):
            self._note_done(eui64, int(current))
        image = max(fits, key=lambda item: item.header.file_version, default=None)
        if image is None or image.header.file_version == current:
            return {"status": Status.NO_IMAGE_AVAILABLE}
        self.progress[eui64] = OtaProgress(version=image.header.file_version)
        return {"status": Status.SUCCESS, **_named(image.header), "image_size": len(image.octets)}

    def block(self, values: Values, eui64: Eui64) -> dict[str, Any]:
        """Fields of the Image Block Response. Raises RefusedError for what cannot be asked for."""
        image = self._image(values, eui64)
        if image is None:
            return {"status": Status.ABORT}
        offset, size = int(values["file_offset"]), int(values["maximum_data_size"])
        if offset >= len(image.octets) or size == 0:
            raise RefusedError(Status.MALFORMED_COMMAND, "no octets there")
        data = image.octets[offset : offset + size]
        progress = self.progress.setdefault(eui64, OtaProgress(version=image.header.file_version))
        progress.offset = max(progress.offset, offset + len(data))
        return {
            "status": Status.SUCCESS,
            **_named(image.header),
            "file_offset": offset,
            "image_data": data,
        }

    def page(self, values: Values, eui64: Eui64) -> list[tuple[int, dict[str, Any]]]:
        """(microseconds from now, fields of an Image Block Response) for each block of the page."""
        size = int(values["maximum_data_size"])
        page = min(int(values["page_size"]), _LARGEST_PAGE)
        first = int(values["file_offset"])
        image = self._image(values, eui64)
        if image is None:
            return [(0, {"status": Status.ABORT})]
        if first >= len(image.octets) or size == 0 or page == 0:
            raise RefusedError(Status.MALFORMED_COMMAND, "no octets there")
        end = min(first + page, len(image.octets))
        spacing_us = int(values["response_spacing"]) * 1000
        asked = dict(values)
        blocks = []
        for number, offset in enumerate(range(first, end, size)):
            asked |= {"file_offset": offset, "maximum_data_size": min(size, end - offset)}
            blocks.append((number * spacing_us, self.block(asked, eui64)))
        return blocks

    def end(self, values: Values, eui64: Eui64, *, utc_us: int) -> dict[str, Any] | None:
        """Fields of the Upgrade End Response; None where the device says that it has failed."""
        version = int(values["file_version"])
        status = int(values["status"])
        self.progress[eui64] = progress = self.progress.get(eui64) or OtaProgress(version=version)
        progress.version, progress.status = version, status
        if status != Status.SUCCESS:
            return None
        self._note_done(eui64, version)
        image = self._image(values, eui64)
        now_s = zigbee_s(utc_us)
        start_s = ASK_AGAIN
        if image is not None and image.start_utc_us is not None:
            start_s = max(now_s, zigbee_s(image.start_utc_us))
        named = {name: values[name] for name in ("manufacturer_code", "image_type", "file_version")}
        return {**named, "current_time": now_s, "upgrade_time": start_s}

    def _image(self, values: Values, eui64: Eui64) -> OfferedImage | None:
        key = (int(values["manufacturer_code"]), int(values["image_type"]), int(values["file_version"]))
        image = self._images.get(key)
        return image if image is not None and image.is_for(eui64) else None

    # --- NVM ----------------------------------------------------------------------------------------

    def _note_done(self, eui64: Eui64, version: int) -> None:
        if self._done.get(eui64) != version:
            self._done[eui64] = version
            self._put_done()

    def _put_done(self) -> None:
        self._nvm.put(_DONE, cbor2.dumps([[eui64, self._done[eui64]] for eui64 in sorted(self._done)]))

    def _load(self) -> None:
        for name in self._nvm.keys(_IMAGES):
            match load_strict(self._nvm.get(name) or b""):
                case [bytes(octets), int() | None as start_utc_us, list(targets)]:
                    header, _, _ = OtaHeader.decode(octets)
                    self._images[_key(header)] = OfferedImage(
                        header=header, octets=octets, start_utc_us=start_utc_us, targets=tuple(targets)
                    )
                case _:
                    raise DecodeError("NVM", 0, f"record {name}")
        stored = self._nvm.get(_DONE)
        rows = load_strict(stored) if stored else []
        if not isinstance(rows, list):
            raise DecodeError("NVM", 0, f"record {_DONE}")
        for row in rows:
            match row:
                case [int(eui64), int(version)]:
                    self._done[eui64] = version
                case _:
                    raise DecodeError("NVM", 0, f"record {_DONE}")


def _key(header: OtaHeader) -> tuple[int, int, int]:
    return header.manufacturer_code, header.image_type, header.file_version


def _name(header: OtaHeader) -> str:
    return f"{_IMAGES}{header.manufacturer_code:04x}/{header.image_type:04x}/{header.file_version:08x}"


def _named(header: OtaHeader) -> dict[str, Any]:
    return {
        "manufacturer_code": header.manufacturer_code,
        "image_type": header.image_type,
        "file_version": header.file_version,
    }
