"""The OTA image file: a header, then elements, each a tag with its octets.

Source: ZCL 07-5123 rev 7, 11.4 (file format; table 11-2 header, 11-3 field control, 11-4 tags).
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Self

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.crypto.mmo import mmo_hash

__all__ = ["MAGIC", "ElementTag", "OtaElement", "OtaFile", "OtaHeader"]

MAGIC: Final = 0x0BEEF11E
_VERSION: Final = 0x0100
_FIXED: Final = struct.Struct("<IHHHHHIH32sI")
_ELEMENT: Final = struct.Struct("<HI")
_HAS_CREDENTIAL: Final = 0x01
_HAS_DESTINATION: Final = 0x02
_HAS_HARDWARE: Final = 0x04
_LAYER: Final = "OTA file"


@unique
class ElementTag(IntEnum):
    """What an element is; 0xF000 and above are a manufacturer's own."""

    UPGRADE_IMAGE = 0x0000
    ECDSA_SIGNATURE = 0x0001
    ECDSA_SIGNING_CERTIFICATE = 0x0002
    IMAGE_INTEGRITY_CODE = 0x0003


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaHeader:
    """56 octets, more with optional fields. `text` is printable ASCII, 32 octets at most."""

    manufacturer_code: int  # 16 bits
    image_type: int  # 16 bits
    file_version: int  # 32 bits
    stack_version: int = 0x0002  # ZigBee Pro
    text: str = ""
    credential_version: int | None = None
    destination: Eui64 | None = None  # None: for any device of the kind
    hardware: tuple[int, int] | None = None  # lowest and highest version it runs on

    def encode(self, total_octets: int) -> bytes:
        control, optional = 0, b""
        if self.credential_version is not None:
            control |= _HAS_CREDENTIAL
            optional += bytes((self.credential_version,))
        if self.destination is not None:
            control |= _HAS_DESTINATION
            optional += self.destination.to_bytes(8, "little")
        if self.hardware is not None:
            control |= _HAS_HARDWARE
            optional += struct.pack("<HH", *self.hardware)
        fixed = _FIXED.pack(
            MAGIC,
            _VERSION,
            _FIXED.size + len(optional),
            control,
            self.manufacturer_code,
            self.image_type,
            self.file_version,
            self.stack_version,
            self.text.encode("ascii").ljust(32, b"\0"),
            total_octets,
        )
        return fixed + optional

    @classmethod
    def decode(cls, octets: bytes) -> tuple[Self, int, int]:
        """From the start of a file: the header, its length, and how long the whole file is to be.

        Raises DecodeError.
        """
        if len(octets) < _FIXED.size:
            raise DecodeError(_LAYER, len(octets), "ends in the header")
        magic, version, length, control, maker, image_type, file_version, stack, text, total = (
            _FIXED.unpack_from(octets)
        )
        if magic != MAGIC:
            raise DecodeError(_LAYER, 0, f"magic 0x{magic:08X}")
        if version != _VERSION:
            raise DecodeError(_LAYER, 4, f"header version 0x{version:04X}")
        if control & ~(_HAS_CREDENTIAL | _HAS_DESTINATION | _HAS_HARDWARE):
            raise DecodeError(_LAYER, 8, "field control has unknown bits")
        sizes = (bool(control & _HAS_CREDENTIAL), 8 * bool(control & _HAS_DESTINATION))
        expected = _FIXED.size + sum(sizes) + 4 * bool(control & _HAS_HARDWARE)
        if length != expected or total < length:
            raise DecodeError(_LAYER, 6, f"header length {length}, file length {total}")
        if len(octets) < length:
            raise DecodeError(_LAYER, len(octets), "ends in the header")
        text = text.rstrip(b"\0")
        if not all(0x20 <= octet < 0x7F for octet in text):
            raise DecodeError(_LAYER, 20, "header text is not printable")
        offset = _FIXED.size
        credential = octets[offset] if sizes[0] else None
        offset += sizes[0]
        destination = int.from_bytes(octets[offset : offset + 8], "little") if sizes[1] else None
        offset += sizes[1]
        hardware: tuple[int, int] | None = None
        if control & _HAS_HARDWARE:
            low, high = struct.unpack_from("<HH", octets, offset)
            hardware = (low, high)
            if low > high:
                raise DecodeError(_LAYER, offset, "lowest hardware version above the highest")
        header = cls(
            manufacturer_code=maker,
            image_type=image_type,
            file_version=file_version,
            stack_version=stack,
            text=text.decode("ascii"),
            credential_version=credential,
            destination=destination,
            hardware=hardware,
        )
        return header, length, total


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaElement:
    tag: int  # 0..0xFFFF; an ElementTag where it is one
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaFile:
    """A whole file. `make` adds the integrity code; `is_intact` checks it."""

    header: OtaHeader
    elements: tuple[OtaElement, ...]

    @classmethod
    def make(cls, header: OtaHeader, image: bytes, *more: OtaElement) -> Self:
        """The image, whatever elements there are beside it, and the hash of all that as the last."""
        elements = (OtaElement(tag=ElementTag.UPGRADE_IMAGE, data=image), *more)
        code = _integrity_code(header, elements)
        return cls(
            header=header,
            elements=(*elements, OtaElement(tag=ElementTag.IMAGE_INTEGRITY_CODE, data=code)),
        )

    @property
    def image(self) -> bytes:
        """Octets of the upgrade image; empty where the file has none."""
        return next((e.data for e in self.elements if e.tag == ElementTag.UPGRADE_IMAGE), b"")

    @property
    def is_intact(self) -> bool:
        """Whether the last element is the AES-MMO hash of everything before it."""
        last = self.elements[-1] if self.elements else None
        if last is None or last.tag != ElementTag.IMAGE_INTEGRITY_CODE:
            return False
        return hmac.compare_digest(last.data, _integrity_code(self.header, self.elements[:-1]))

    def encode(self) -> bytes:
        body = b"".join(_ELEMENT.pack(e.tag, len(e.data)) + e.data for e in self.elements)
        total = len(self.header.encode(0)) + len(body)
        return self.header.encode(total) + body

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Exactly one file. Raises DecodeError for any octets it cannot accept."""
        header, offset, total = OtaHeader.decode(octets)
        if total != len(octets):
            raise DecodeError(_LAYER, len(octets), f"{total} octets were announced")
        elements: list[OtaElement] = []
        while offset < total:
            if total - offset < _ELEMENT.size:
                raise DecodeError(_LAYER, offset, "ends in an element's header")
            tag, length = _ELEMENT.unpack_from(octets, offset)
            offset += _ELEMENT.size
            if length > total - offset:
                raise DecodeError(_LAYER, offset, "an element is longer than the file")
            elements.append(OtaElement(tag=tag, data=octets[offset : offset + length]))
            offset += length
        return cls(header=header, elements=tuple(elements))


def _integrity_code(header: OtaHeader, elements: tuple[OtaElement, ...]) -> bytes:
    """16 octets over header and elements; the announced length includes the code's own element."""
    body = b"".join(_ELEMENT.pack(e.tag, len(e.data)) + e.data for e in elements)
    total = len(header.encode(0)) + len(body) + _ELEMENT.size + 16
    return mmo_hash(header.encode(total) + body)
