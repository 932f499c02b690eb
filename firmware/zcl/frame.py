"""The ZCL frame: a header of three octets, or five with a manufacturer code, and a payload.

Source: ZCL 07-5123 rev 7, 2.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self

from smets1.firmware.zcl.declare import Cluster
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.general import GENERAL, GeneralMessage
from smets1.firmware.zcl.status import FrameType, Side, Status, malformed
from smets1.light_init import light_init

__all__ = ["ZclFrame", "ZclHeader", "command_frame", "general_frame", "read_command"]

_HAS_MANUFACTURER: Final = 0x04
_FROM_SERVER: Final = 0x08
_NO_DEFAULT_RESPONSE: Final = 0x10


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class ZclHeader:
    """ZCL header. Reserved bits of the frame control are ignored when received, zero when sent."""

    frame_type: FrameType
    sender: Side = Side.CLIENT  # the direction bit: which side of the cluster speaks
    disable_default_response: bool = False
    manufacturer_code: int | None = None  # 0..65535; None means absent on the air, which differs from 0
    sequence: int  # 0..255; picked by the asker, echoed in the answer
    command_id: int  # 0..255; meaning depends on frame_type

    @classmethod
    def decode(cls, octets: bytes) -> tuple[Self, bytes]:
        """Split a whole ZCL frame off the air into header and payload.

        Raises DecodeError for any octets it cannot accept, and no other exception.
        """
        size = len(octets)
        if size < 3:
            raise malformed(size, "shorter than a header")
        control = octets[0]
        if control & 0b11 > FrameType.CLUSTER:
            raise malformed(0, f"frame type {control & 0b11}")
        manufacturer_code = None
        offset = 1
        if control & _HAS_MANUFACTURER:
            if size < 5:
                raise malformed(size, "shorter than a manufacturer-specific header")
            manufacturer_code = octets[1] | octets[2] << 8
            offset = 3
        header = cls(
            frame_type=_FRAME_TYPES[control & 0b11],
            sender=_BY_DIRECTION[control >> 3 & 1],
            disable_default_response=bool(control & _NO_DEFAULT_RESPONSE),
            manufacturer_code=manufacturer_code,
            sequence=octets[offset],
            command_id=octets[offset + 1],
        )
        return header, octets[offset + 2 :]

    def encode(self) -> bytes:
        control = (
            self.frame_type
            | (_FROM_SERVER if self.sender is Side.SERVER else 0)
            | (_NO_DEFAULT_RESPONSE if self.disable_default_response else 0)
        )
        if self.manufacturer_code is None:
            return bytes((control, self.sequence, self.command_id))
        low, high = self.manufacturer_code & 0xFF, self.manufacturer_code >> 8
        return bytes((control | _HAS_MANUFACTURER, low, high, self.sequence, self.command_id))

    def answer(self, frame_type: FrameType, command_id: int) -> ZclHeader:
        """The header of the direct answer: other direction, no default response. Source: 2.4.1.1.4."""
        return ZclHeader(
            frame_type=frame_type,
            sender=_OTHER[self.sender],
            disable_default_response=True,
            manufacturer_code=self.manufacturer_code,
            sequence=self.sequence,
            command_id=command_id,
        )


_FRAME_TYPES: Final = (FrameType.GLOBAL, FrameType.CLUSTER)
_BY_DIRECTION: Final = (Side.CLIENT, Side.SERVER)  # direction bit 0: client to server
_OTHER: Final = (Side.CLIENT, Side.SERVER)  # indexed by a Side: the one opposite


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class ZclFrame:
    """Header and undecoded payload."""

    header: ZclHeader
    payload: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """A whole ZCL frame off the air. Raises DecodeError, and no other exception."""
        header, payload = ZclHeader.decode(octets)
        return cls(header=header, payload=payload)

    def encode(self) -> bytes:
        return self.header.encode() + self.payload

    def general(self) -> GeneralMessage:
        """Payload of a general command. Raises DecodeError."""
        message = GENERAL.get(self.header.command_id)
        if message is None or self.header.frame_type is not FrameType.GLOBAL:
            raise malformed(2, f"no general command 0x{self.header.command_id:02X}", _UNSUP)
        return message.decode(self.payload)

    def command(self, cluster: Cluster) -> tuple[str, Values]:
        """(name, values) of a cluster command. Raises DecodeError; of a general one too."""
        header = self.header
        command = cluster.commands_by_id.get((header.sender, header.command_id))
        if command is None or header.frame_type is not FrameType.CLUSTER:
            raise malformed(2, f"{cluster.name} has no command 0x{header.command_id:02X}", _UNSUP)
        return command.name, command.payload.decode(self.payload)


_UNSUP: Final = Status.UNSUP_CLUSTER_COMMAND


def command_frame(
    cluster: Cluster,
    name: str,
    values: Values | None = None,
    *,
    sender: Side = Side.CLIENT,
    sequence: int = 0,
    disable_default_response: bool = False,
) -> bytes:
    """A whole frame with a cluster command, by name; with the cluster's manufacturer code where it has one.

    Raises MisuseError for an unknown name, or fields that do not fit.
    """
    command = cluster.command(name, sender)
    header = ZclHeader(
        frame_type=FrameType.CLUSTER,
        sender=sender,
        disable_default_response=disable_default_response,
        manufacturer_code=cluster.manufacturer_code,
        sequence=sequence,
        command_id=command.command_id,
    )
    return header.encode() + command.payload.encode(values or {})


def general_frame(
    message: GeneralMessage,
    *,
    sender: Side = Side.CLIENT,
    sequence: int = 0,
    manufacturer_code: int | None = None,
    disable_default_response: bool = True,
) -> bytes:
    """A whole frame with a general command (`general.ReadAttributes(...)` and so on)."""
    header = ZclHeader(
        frame_type=FrameType.GLOBAL,
        sender=sender,
        disable_default_response=disable_default_response,
        manufacturer_code=manufacturer_code,
        sequence=sequence,
        command_id=message.COMMAND_ID,
    )
    return header.encode() + message.encode()


def read_command(cluster: Cluster, octets: bytes) -> tuple[str, dict[str, Any]]:
    """(command name, values) of a whole frame off the air, general ones by their class name.

    For those who look at frames from outside (head end, tests). Raises DecodeError, and no other exception.
    """
    frame = ZclFrame.decode(octets)
    if frame.header.frame_type is FrameType.CLUSTER:
        return frame.command(cluster)
    message: Any = frame.general()
    return type(message).__name__, {field.name: getattr(message, field.name) for field in fields(message)}
