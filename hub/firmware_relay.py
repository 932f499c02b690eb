"""How firmware comes into a home: the head end hands a file to the hub in pieces, and says whom it is for.

A piece is durable before it is answered, and one that comes again changes nothing, so a head end that was
killed just begins again. A file that is whole and intact goes to the OTA server for the devices of the HAN,
and into the hub's own image slots where the hub itself is among those it is for. What a device then says of
its download is told to the head end as the alert of that device: 0x8F72 verified, 0x8F1C not.

In: commands `store_image` and `offer_image` of the hub control cluster. Out: offers, slots.
Source: ZCL 07-5123 rev 7, chapter 11; the two commands are our own design.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.images import LARGEST_OCTETS, ImageInfo, ImageSlots
from smets1.firmware.nvm import Nvm
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.ota.server import OtaServer
from smets1.firmware.zcl.status import Status

__all__ = ["FirmwareRelay"]

_PIECES: Final = "relay/"
_DIGEST_OCTETS: Final = 32


class FirmwareRelay:
    """Files on their way from the head end. The caller commits before it answers."""

    def __init__(self, nvm: Nvm, server: OtaServer, own: ImageSlots, *, hub: Eui64, image_type: int) -> None:
        self._nvm = nvm
        self._server = server
        self._own = own
        self._hub = hub
        self._image_type = image_type

    def store(self, digest: bytes, offset: int, data: bytes) -> tuple[Status, int]:
        """A piece of the file with that SHA-256; how many octets of it are here then."""
        if len(digest) != _DIGEST_OCTETS or not data or offset + len(data) > LARGEST_OCTETS:
            return Status.INVALID_FIELD, 0
        held = self._held_octets(digest)
        if offset == 0 and held == 0:
            self._drop_others(digest)
        if offset == held:
            self._nvm.put(f"{_prefix(digest)}{offset:08d}", data)
            held += len(data)
        return (Status.SUCCESS if offset + len(data) <= held else Status.NOT_FOUND), held

    def offer(self, digest: bytes, targets: Iterable[Eui64]) -> tuple[Status, OtaHeader | None]:
        """To those devices from now on. A header: it is offered to devices of the HAN."""
        octets = self._octets(digest)
        if not hmac.compare_digest(hashlib.sha256(octets).digest(), digest):
            return Status.NOT_FOUND, None
        wanted = tuple(targets)
        status, header = Status.SUCCESS, None
        try:
            file = OtaFile.decode(octets)
        except DecodeError:
            return Status.INVALID_IMAGE, None
        if not file.is_intact or (self._hub in wanted and file.header.image_type != self._image_type):
            return Status.INVALID_IMAGE, None
        if self._hub in wanted:
            status = self._take_own(file.header, octets)
        others = [eui64 for eui64 in wanted if eui64 != self._hub]
        if others:
            header = self._server.add(octets, targets={*others, *self._offered_to(file.header, octets)})
        self._drop(digest)
        return status, header

    def _take_own(self, header: OtaHeader, octets: bytes) -> Status:
        if self._own.staged_version == header.file_version:
            return Status.SUCCESS
        info = ImageInfo(
            manufacturer_code=header.manufacturer_code,
            image_type=header.image_type,
            file_version=header.file_version,
            size_octets=len(octets),
        )
        if not self._own.begin(info):
            return Status.INSUFFICIENT_SPACE
        self._own.write(self._own.offset, octets[self._own.offset :])
        return Status.SUCCESS if self._own.stage() else Status.INVALID_IMAGE

    def _offered_to(self, header: OtaHeader, octets: bytes) -> tuple[Eui64, ...]:
        """Who has the same file offered already."""
        return next(
            (
                image.targets
                for image in self._server.images
                if image.header == header and image.octets == octets
            ),
            (),
        )

    # --- NVM ----------------------------------------------------------------------------------------------

    def _held_octets(self, digest: bytes) -> int:
        return len(self._octets(digest))

    def _octets(self, digest: bytes) -> bytes:
        return b"".join(self._nvm.get(key) or b"" for key in self._nvm.keys(_prefix(digest)))

    def _drop(self, digest: bytes) -> None:
        for key in self._nvm.keys(_prefix(digest)):
            self._nvm.delete(key)

    def _drop_others(self, digest: bytes) -> None:
        """One file at a time: what was begun before and never offered makes room."""
        for key in self._nvm.keys(_PIECES):
            if not key.startswith(_prefix(digest)):
                self._nvm.delete(key)


def _prefix(digest: bytes) -> str:
    return f"{_PIECES}{digest.hex()}/"
