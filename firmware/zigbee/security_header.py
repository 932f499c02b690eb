"""Auxiliary security header and CCM* frame protection, shared by NWK and APS.

On the air the three level bits of the control octet are zero; in the nonce and in the authenticated
octets they hold the real level, 5 (ENC-MIC-32). Source: Zigbee 05-3474-21, 4.5.1, 4.3.1.1, 4.4.1.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Self

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.crypto.ccm import FrameCipher
from smets1.light_init import light_init

__all__ = [
    "MIC_OCTETS",
    "NETWORK_AUX_OCTETS",
    "AuxiliaryHeader",
    "KeyIdentifier",
    "nonce",
    "open_link",
    "open_network",
    "seal_link",
    "seal_network",
]

MIC_OCTETS: Final = 4
NETWORK_AUX_OCTETS: Final = 14

_LEVEL: Final = 5
_EXTENDED_NONCE: Final = 0x20
_NONCE: Final = struct.Struct("<QIB")
_LINK_AUX: Final = struct.Struct("<BIQ")
_NETWORK_AUX: Final = struct.Struct("<BIQB")
_COUNTER: Final = struct.Struct("<I")
_SOURCE: Final = struct.Struct("<Q")


@unique
class KeyIdentifier(IntEnum):
    """Which key protects a frame. Source: Zigbee 05-3474-21, Table 4.31."""

    DATA = 0x00
    NETWORK = 0x01
    KEY_TRANSPORT = 0x02
    KEY_LOAD = 0x03


_KEY_IDENTIFIERS: Final = tuple(KeyIdentifier)


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class AuxiliaryHeader:
    """5 to 14 octets: control, frame counter (4), [source (8)], [key sequence (1)]. Source: 4.5.1."""

    key_id: KeyIdentifier
    frame_counter: int  # 0..0xFFFFFFFF
    source: Eui64 | None  # the sealing device; None: no extended nonce, look the sender up
    key_sequence: int | None  # with a network key only

    @classmethod
    def decode(cls, octets: bytes, offset: int = 0) -> tuple[Self, int]:
        """Octets off the air from `offset` -> header and the offset after it. Raises DecodeError."""
        size = len(octets)
        if size < offset + 5:
            raise DecodeError("auxiliary header", size, "ends too early")
        control = octets[offset]
        if control & 0xC0:
            raise DecodeError("auxiliary header", offset, "reserved control bits are set")
        key_id = _KEY_IDENTIFIERS[(control >> 3) & 3]
        (counter,) = _COUNTER.unpack_from(octets, offset + 1)
        end = offset + 5
        source = sequence = None
        if control & _EXTENDED_NONCE:
            if size < end + 8:
                raise DecodeError("auxiliary header", size, "ends inside the source address")
            (source,) = _SOURCE.unpack_from(octets, end)
            end += 8
        if key_id is KeyIdentifier.NETWORK:
            if size <= end:
                raise DecodeError("auxiliary header", size, "ends before the key sequence number")
            sequence = octets[end]
            end += 1
        return cls(key_id=key_id, frame_counter=counter, source=source, key_sequence=sequence), end

    def encode(self) -> bytes:
        control = self.key_id << 3 | (0 if self.source is None else _EXTENDED_NONCE)
        parts = [bytes((control,)), _COUNTER.pack(self.frame_counter)]
        if self.source is not None:
            parts.append(_SOURCE.pack(self.source))
        if self.key_sequence is not None:
            parts.append(bytes((self.key_sequence,)))
        return b"".join(parts)


def nonce(source: Eui64, frame_counter: int, control: int) -> bytes:
    """13 octets; `control` as on the air (level bits zero). Source: 4.5.2.2."""
    return _NONCE.pack(source, frame_counter, control | _LEVEL)


_NETWORK_CONTROL: Final = _EXTENDED_NONCE | KeyIdentifier.NETWORK << 3
_NETWORK_CONTROL_OCTET: Final = bytes((_NETWORK_CONTROL,))
_NETWORK_CONTROL_5: Final = _NETWORK_CONTROL | _LEVEL
_NETWORK_CONTROL_5_OCTET: Final = bytes((_NETWORK_CONTROL_5,))


def seal_network(
    cipher: FrameCipher, header: bytes, payload: bytes, source: Eui64, counter: int, sequence: int
) -> bytes:
    """NWK header and plain payload -> the whole protected NWK frame."""
    aux = _NETWORK_AUX.pack(_NETWORK_CONTROL_5, counter, source, sequence)
    sealed = cipher.seal(_NONCE.pack(source, counter, _NETWORK_CONTROL_5), header + aux, payload)
    return b"".join((header, _NETWORK_CONTROL_OCTET, aux[1:], sealed))


def open_network(cipher: FrameCipher, frame: bytes, header_octets: int, source: Eui64, counter: int) -> bytes:
    """A protected NWK frame off the air, auxiliary header already read -> payload. Raises SecurityError."""
    body = header_octets + NETWORK_AUX_OCTETS
    aad = b"".join((frame[:header_octets], _NETWORK_CONTROL_5_OCTET, frame[header_octets + 1 : body]))
    return cipher.open(_NONCE.pack(source, counter, _NETWORK_CONTROL_5), aad, frame[body:])


def seal_link(
    cipher: FrameCipher, key_id: int, header: bytes, payload: bytes, source: Eui64, counter: int
) -> bytes:
    """APS header and plain payload -> the whole protected APS frame, with extended nonce."""
    control = _EXTENDED_NONCE | key_id << 3
    aux = _LINK_AUX.pack(control | _LEVEL, counter, source)
    sealed = cipher.seal(_NONCE.pack(source, counter, control | _LEVEL), header + aux, payload)
    return b"".join((header, bytes((control,)), aux[1:], sealed))


def open_link(
    cipher: FrameCipher, frame: bytes, header_octets: int, body_offset: int, source: Eui64, counter: int
) -> bytes:
    """A protected APS frame off the air, auxiliary header already read -> payload. Raises SecurityError."""
    control = frame[header_octets] | _LEVEL
    aad = b"".join((frame[:header_octets], bytes((control,)), frame[header_octets + 1 : body_offset]))
    return cipher.open(_NONCE.pack(source, counter, control), aad, frame[body_offset:])
