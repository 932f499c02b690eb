"""pcapng files: written so that any capture opens in Wireshark, read back for tests and replay.

One section, one interface, one block a frame, microseconds; nothing about the host or the program,
so that equal traffic gives equal octets.

Left out on reading: name resolution, statistics and other blocks are skipped; simple packet
blocks carry no time and are skipped as well.

Source: draft-ietf-opsawg-pcapng, 4.1 (section header), 4.2 (interface), 4.3 (enhanced packet).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, unique
from struct import Struct
from struct import error as struct_error
from typing import BinaryIO, Final

from smets1.errors import ClosedError, DecodeError

__all__ = ["LINKTYPE_IEEE802_15_4_WITHFCS", "CapturedFrame", "Direction", "PcapngWriter", "read_pcapng"]

LINKTYPE_IEEE802_15_4_WITHFCS: Final = 195

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 0x00000001
_ENHANCED_PACKET: Final = 0x00000006
_BYTE_ORDER: Final = 0x1A2B3C4D
_OPTION_END: Final = 0
_OPTION_FLAGS: Final = 2
_OPTION_TIME_RESOLUTION: Final = 9
_MICROSECONDS: Final = 6  # 10^-6
_UNKNOWN_LENGTH: Final = 0xFFFFFFFFFFFFFFFF

_SECTION = Struct("<IIIHHQI")
_INTERFACE_BLOCK = Struct("<IIHHIHHB3xHHI")
_PACKET_HEAD = Struct("<IIIIIII")
_PACKET_FLAGS = Struct("<HHIHH")
_LENGTH = Struct("<I")


@unique
class Direction(IntEnum):
    """Bits 0 and 1 of epb_flags: how the capturing end saw the frame."""

    UNKNOWN = 0b00
    INBOUND = 0b01
    OUTBOUND = 0b10


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedFrame:
    """One packet of a capture file."""

    time_us: int  # since 1970 UTC, or since whatever the writer's epoch was
    link_type: int
    octets: bytes  # as in the file; link type 195: with FCS
    direction: Direction = Direction.UNKNOWN


class PcapngWriter:
    """Append frames to a binary file. Blocks reach the file whole; `close` also closes the file."""

    def __init__(
        self, file: BinaryIO, *, epoch_utc_us: int = 0, link_type: int = LINKTYPE_IEEE802_15_4_WITHFCS
    ) -> None:
        """`epoch_utc_us` is added to each time given; microseconds since 1970 make dates come out right."""
        self._file = file
        self._epoch_utc_us = epoch_utc_us
        self._is_closed = False
        size = _SECTION.size
        file.write(_SECTION.pack(_SECTION_HEADER, size, _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH, size))
        size = _INTERFACE_BLOCK.size
        resolution = (_OPTION_TIME_RESOLUTION, 1, _MICROSECONDS, _OPTION_END, 0)
        file.write(_INTERFACE_BLOCK.pack(_INTERFACE, size, link_type, 0, 0, *resolution, size))

    def write(self, time_us: int, octets: bytes, direction: Direction = Direction.UNKNOWN) -> None:
        """Append one frame (link type 195: with FCS)."""
        if self._is_closed:
            raise ClosedError("the capture is closed")
        count = len(octets)
        padding = -count % 4
        options = b""
        if direction:
            options = _PACKET_FLAGS.pack(_OPTION_FLAGS, 4, direction, _OPTION_END, 0)
        size = _PACKET_HEAD.size + count + padding + len(options) + 4
        stamp = time_us + self._epoch_utc_us
        high, low = stamp >> 32 & 0xFFFFFFFF, stamp & 0xFFFFFFFF
        head = _PACKET_HEAD.pack(_ENHANCED_PACKET, size, 0, high, low, count, count)
        self._file.write(b"".join((head, octets, bytes(padding), options, _LENGTH.pack(size))))

    def flush(self) -> None:
        if not self._is_closed:
            self._file.flush()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._file.close()


def read_pcapng(octets: bytes) -> Iterator[CapturedFrame]:
    """The packets of a pcapng file (its whole contents), in file order; either byte order.

    Raises DecodeError where the file is damaged or cut short.
    """
    offset = 0
    order = ""
    interfaces: list[tuple[int, int]] = []  # link type, time units a second
    while offset < len(octets):
        try:
            if octets[offset : offset + 4] == b"\x0a\x0d\x0d\x0a":
                order, interfaces = _byte_order(octets, offset), []
            if not order:
                raise DecodeError("pcapng", offset, "no section header")
            block_type, body, size = _split_block(octets, offset, order)
            if block_type == _INTERFACE:
                interfaces.append(_read_interface(body, order))
            elif block_type == _ENHANCED_PACKET:
                yield _read_packet(body, order, interfaces, offset)
        except (struct_error, IndexError) as error:
            raise DecodeError("pcapng", offset, "block is cut short") from error
        offset += size


def _byte_order(octets: bytes, offset: int) -> str:
    for order in "<>":
        if Struct(f"{order}I").unpack_from(octets, offset + 8)[0] == _BYTE_ORDER:
            return order
    raise DecodeError("pcapng", offset + 8, "no byte-order magic")


def _split_block(octets: bytes, offset: int, order: str) -> tuple[int, bytes, int]:
    block_type, size = Struct(f"{order}II").unpack_from(octets, offset)
    if size < 12 or size % 4 or offset + size > len(octets):
        raise DecodeError("pcapng", offset + 4, f"block length {size}")
    if Struct(f"{order}I").unpack_from(octets, offset + size - 4)[0] != size:
        raise DecodeError("pcapng", offset + size - 4, "block lengths differ")
    return block_type, octets[offset + 8 : offset + size - 4], size


def _read_interface(body: bytes, order: str) -> tuple[int, int]:
    link_type = Struct(f"{order}H").unpack_from(body, 0)[0]
    resolution = _options(body[8:], order).get(_OPTION_TIME_RESOLUTION, bytes((_MICROSECONDS,)))[0]
    return link_type, 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution


def _read_packet(body: bytes, order: str, interfaces: list[tuple[int, int]], offset: int) -> CapturedFrame:
    index, high, low, count, _ = Struct(f"{order}IIIII").unpack_from(body, 0)
    if index >= len(interfaces) or 20 + count > len(body):
        raise DecodeError("pcapng", offset, "packet names no interface, or is longer than its block")
    link_type, units_per_s = interfaces[index]
    flags = _options(body[20 + count + -count % 4 :], order).get(_OPTION_FLAGS, bytes(4))
    value = Struct(f"{order}I").unpack_from(flags, 0)[0] & 0b11
    return CapturedFrame(
        time_us=(high << 32 | low) * 1_000_000 // units_per_s,
        link_type=link_type,
        octets=body[20 : 20 + count],
        direction=Direction(value) if value < 3 else Direction.UNKNOWN,
    )


def _options(octets: bytes, order: str) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    head = Struct(f"{order}HH")
    offset = 0
    while offset + 4 <= len(octets):
        code, size = head.unpack_from(octets, offset)
        if code == _OPTION_END:
            break
        options[code] = octets[offset + 4 : offset + 4 + size]
        offset += 4 + size + -size % 4
    return options
