"""IEEE 802.15.4 as a 2.4 GHz transceiver chip knows it: times, and what it reads of a MAC header.

A chip reads the header only to filter by address and to acknowledge; the full MAC frame codec is
in `firmware`. Frame versions 0 (2003) and 1 (2006), which ZigBee PRO uses, are understood; a
version 2 (2015) or reserved frame is not, as on the chips of the time, and passes no filter.

Source: IEEE 802.15.4-2006, 6.5 (O-QPSK PHY), 7.2 (MAC frame formats), 7.4.2 and 7.5.1 (times).
"""

from __future__ import annotations

from enum import IntEnum, unique
from struct import Struct
from typing import Final, NamedTuple

__all__ = [
    "ACK_FRAME_OCTETS",
    "ACK_WAIT_US",
    "BACKOFF_UNIT_US",
    "BROADCAST_PAN",
    "BROADCAST_SHORT",
    "CCA_US",
    "COMMAND_DATA_REQUEST",
    "FCS_OCTETS",
    "LONG_SPACING_US",
    "MAX_BACKOFFS",
    "MAX_EXPONENT",
    "MAX_FRAME_OCTETS",
    "MAX_SHORT_SPACING_OCTETS",
    "MIN_EXPONENT",
    "NO_SHORT",
    "OCTET_US",
    "PHY_OVERHEAD_OCTETS",
    "SHORT_SPACING_US",
    "TURNAROUND_US",
    "FramePeek",
    "FrameType",
    "airtime_us",
    "peek",
]

OCTET_US: Final = 32  # 2 symbols of 16 us: 250 kbit/s
PHY_OVERHEAD_OCTETS: Final = 6  # preamble 4, SFD 1, PHR 1
FCS_OCTETS: Final = 2
MAX_FRAME_OCTETS: Final = 125  # aMaxPHYPacketSize (127) without the FCS
ACK_FRAME_OCTETS: Final = 3

TURNAROUND_US: Final = 192  # aTurnaroundTime, 12 symbols
CCA_US: Final = 128  # 8 symbols
BACKOFF_UNIT_US: Final = 320  # aUnitBackoffPeriod, 20 symbols
ACK_WAIT_US: Final = 864  # macAckWaitDuration, 54 symbols, from the end of the frame
SHORT_SPACING_US: Final = 192  # macMinSIFSPeriod, 12 symbols
LONG_SPACING_US: Final = 640  # macMinLIFSPeriod, 40 symbols
MAX_SHORT_SPACING_OCTETS: Final = 18  # aMaxSIFSFrameSize, FCS included
MIN_EXPONENT: Final = 3  # macMinBE
MAX_EXPONENT: Final = 5  # macMaxBE
MAX_BACKOFFS: Final = 4  # macMaxCSMABackoffs: failed assessments that are followed by another

BROADCAST_PAN: Final = 0xFFFF
BROADCAST_SHORT: Final = 0xFFFF
NO_SHORT: Final = 0xFFFE  # associated, but reachable by EUI-64 only

COMMAND_DATA_REQUEST: Final = 0x04


@unique
class FrameType(IntEnum):
    """Three-bit frame type. Source: IEEE 802.15.4-2006, table 79."""

    BEACON = 0b000
    DATA = 0b001
    ACKNOWLEDGMENT = 0b010
    MAC_COMMAND = 0b011


class FramePeek(NamedTuple):
    """What a transceiver reads of a MAC header. None: that field is not in the frame.

    A plain int stands for `frame_type` since this is built once for every frame on the air.
    """

    frame_type: int
    is_ack_requested: bool
    is_frame_pending: bool
    sequence: int
    destination_pan: int | None
    destination_short: int | None
    destination_eui64: int | None
    source_pan: int | None
    source_short: int | None
    source_eui64: int | None
    command_id: int | None  # of an unsecured MAC command


class _Layout(NamedTuple):
    """Where a combination of frame type and addressing modes keeps its fields.

    The numbers index what `fields` unpacks with one None behind it, so that -1 stands for absent.
    """

    fields: Struct
    destination_pan: int
    destination_short: int
    destination_eui64: int
    source_pan: int
    source_short: int
    source_eui64: int


_NO_ADDRESS, _SHORT_ADDRESS, _EXTENDED_ADDRESS = 0b00, 0b10, 0b11
_MODES = (_NO_ADDRESS, _SHORT_ADDRESS, _EXTENDED_ADDRESS)
_SECURED, _PENDING, _ACK_REQUEST = 0x08, 0x10, 0x20
_LAYOUT_BITS = 0xFC47  # frame type, PAN id compression, addressing modes, frame version


def _layout(destination_mode: int, source_mode: int, is_compressed: bool) -> _Layout:
    code = "<B"
    count = 1
    at: dict[str, int] = {}
    for side, mode in (("destination", destination_mode), ("source", source_mode)):
        if mode == _NO_ADDRESS:
            continue
        if side == "source" and is_compressed:
            at["source_pan"] = at["destination_pan"]
        else:
            at[f"{side}_pan"] = count
            code += "H"
            count += 1
        at[f"{side}_short" if mode == _SHORT_ADDRESS else f"{side}_eui64"] = count
        code += "H" if mode == _SHORT_ADDRESS else "Q"
        count += 1
    return _Layout(Struct(code), *(at.get(name, -1) for name in _Layout._fields[1:]))


def _all_layouts() -> dict[int, _Layout]:
    layouts: dict[int, _Layout] = {}
    for destination_mode in _MODES:
        for source_mode in _MODES:
            for is_compressed in (False, True):
                if is_compressed and _NO_ADDRESS in (destination_mode, source_mode):
                    continue  # nothing to compress: reserved in versions 0 and 1
                layout = _layout(destination_mode, source_mode, is_compressed)
                for frame_type in FrameType:
                    for version in (0, 1):
                        key = frame_type | is_compressed << 6 | destination_mode << 10
                        layouts[key | version << 12 | source_mode << 14] = layout
    return layouts


_LAYOUTS: Final = _all_layouts()
_DATA_HEADER: Final = Struct("<BxBHHH")
_new_tuple: Final = tuple.__new__  # what a NamedTuple calls in the end; once for every frame on the air


def peek(psdu: bytes) -> FramePeek | None:
    """Read the header of a frame off the air (any octets; MAC header and payload, no FCS).

    None for octets that are no frame of versions 0 or 1, or end inside the addresses.
    """
    if len(psdu) < 3:
        return None
    low = psdu[0]
    if low & 0x4F == 0x41 and psdu[1] & 0xFC == 0x88 and len(psdu) >= _DATA_HEADER.size:
        return _peek_data(psdu)
    layout = _LAYOUTS.get((low | psdu[1] << 8) & _LAYOUT_BITS)
    if layout is None:
        return None
    fields = layout.fields
    end = 2 + fields.size
    if len(psdu) < end:
        return None
    values: tuple[int | None, ...] = (*fields.unpack_from(psdu, 2), None)
    is_command = low & 0x0F == FrameType.MAC_COMMAND  # and not secured
    return _new_tuple(
        FramePeek,
        (
            low & 0x07,
            low & _ACK_REQUEST != 0,
            low & _PENDING != 0,
            psdu[2],
            values[layout.destination_pan],
            values[layout.destination_short],
            values[layout.destination_eui64],
            values[layout.source_pan],
            values[layout.source_short],
            values[layout.source_eui64],
            psdu[end] if is_command and len(psdu) > end else None,
        ),
    )


def _peek_data(psdu: bytes) -> FramePeek:
    """The one frame that matters for speed: data, short to short inside a PAN."""
    low, sequence, pan, destination, source = _DATA_HEADER.unpack_from(psdu)
    return _new_tuple(
        FramePeek,
        (
            low & 0x07,
            low & _ACK_REQUEST != 0,
            low & _PENDING != 0,
            sequence,
            pan,
            destination,
            None,
            pan,
            source,
            None,
            None,
        ),
    )


def airtime_us(frame_octets: int) -> int:
    """How long a frame of so many octets (without FCS) occupies the channel, preamble included."""
    return (PHY_OVERHEAD_OCTETS + frame_octets + FCS_OCTETS) * OCTET_US
