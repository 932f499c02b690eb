"""What head end and hub say to each other: CBOR maps with text keys, carried as MQTT payloads.

Each message is a map with `version` (1) and `kind`, then the fields of its class under their own names.
Decoding is strict: wrong types, missing fields, duplicate keys, tags, indefinite lengths, trailing octets
and a version we do not know raise DecodeError; unknown keys are ignored, so that fields can be added. An
absent optional field is null or left out. 64 KiB at most. EUI-64s are 8 octets, in printed order.

Source: our own protocol (no WAN of a SMETS1 hub is published); docs/wan.md describes it for other programs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Self

import cbor2

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict

__all__ = [
    "MAX_IDS",
    "MAX_MESSAGE_OCTETS",
    "MESSAGE_VERSION",
    "HubStatus",
    "WanEvent",
    "WanReceipt",
    "WanRequest",
    "WanResponse",
    "WanStatus",
    "WanTopic",
    "request_id_of",
    "topic",
    "topic_filter",
    "topic_parts",
]

MESSAGE_VERSION: Final = 1
MAX_MESSAGE_OCTETS: Final = 64 * 1024
MAX_IDS: Final = 500
"""Identifiers in one receipt; keeps the longest receipt under the message limit."""


@unique
class WanStatus(IntEnum):
    """How a request ended. Source: docs/wan.md."""

    DONE = 0  # the device answered; `frame` is its ZCL answer, which may itself carry a ZCL error status
    REFUSED = 1  # the device or the hub refuses to handle it; `frame` may say why
    UNREACHABLE = 2  # the hub got no answer from the device
    EXPIRED = 3  # `expires_utc_us` had passed before the hub began; not executed
    UNKNOWN_TARGET = 4  # no such device on this hub
    MALFORMED = 5  # the hub could not read the request
    FAILED = 6  # the hub broke down over it; whether the device executed it is not known


@unique
class WanTopic(IntEnum):
    """The last level of a topic; the text on the wire is the lower-case name."""

    REQUEST = 0  # head end -> hub
    RESPONSE = 1  # hub -> head end
    EVENT = 2  # hub -> head end
    RECEIPT = 3  # head end -> hub
    STATUS = 4  # hub -> head end, retained; also the hub's will


_TOPICS: Final = {member.name.lower(): member for member in WanTopic}
_TOPIC_FORM: Final = re.compile(r"hub/([0-9a-f]{16})/([a-z]+)")
_ID_FORM: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def topic(hub: Eui64, kind: WanTopic) -> str:
    """`topic(0x00DB1234567890A3, WanTopic.REQUEST) == "hub/00db1234567890a3/request"`."""
    return f"hub/{hub:016x}/{kind.name.lower()}"


def topic_filter(kind: WanTopic) -> str:
    """The filter that takes one kind of message of every hub."""
    return f"hub/+/{kind.name.lower()}"


def topic_parts(text: str) -> tuple[Eui64, WanTopic]:
    """Split a topic off the wire. Raises DecodeError."""
    match = _TOPIC_FORM.fullmatch(text)
    if match is None or match[2] not in _TOPICS:
        raise DecodeError("WAN topic", 0, f"not one of ours: {text[:80]!r}")
    return int(match[1], 16), _TOPICS[match[2]]


# --- CBOR ------------------------------------------------------------------------------------------


def _load(octets: bytes, kind: str) -> dict[str, object]:
    """Octets of a peer -> map with text keys, of this kind and version. Raises DecodeError only."""
    if len(octets) > MAX_MESSAGE_OCTETS:
        raise DecodeError("WAN", MAX_MESSAGE_OCTETS, f"longer than {MAX_MESSAGE_OCTETS} octets")
    fields = _load_map(octets)
    if (version := _uint(fields, "version", 16)) != MESSAGE_VERSION:
        raise DecodeError("WAN", 0, f"unknown version {version}")
    if fields.get("kind") != kind:
        raise DecodeError("WAN", 0, f"kind is not {kind}")
    return fields


def _load_map(octets: bytes) -> dict[str, object]:
    value = load_strict(octets)
    if not isinstance(value, dict):
        raise DecodeError("WAN", 0, "not a map")
    return value


def _dump(kind: str, fields: dict[str, object]) -> bytes:
    return cbor2.dumps({"version": MESSAGE_VERSION, "kind": kind, **fields})


def _uint(fields: dict[str, object], name: str, bits: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise DecodeError("WAN", 0, f"{name} is not an unsigned integer of {bits} bits")
    return value


def _bool(fields: dict[str, object], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise DecodeError("WAN", 0, f"{name} is not true or false")
    return value


def _octets(fields: dict[str, object], name: str) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes):
        raise DecodeError("WAN", 0, f"{name} is not a byte string")
    return value


def _eui64(fields: dict[str, object], name: str) -> Eui64:
    value = _octets(fields, name)
    if len(value) != 8:
        raise DecodeError("WAN", 0, f"{name} is not 8 octets")
    return int.from_bytes(value, "big")


def _id(value: object, name: str) -> str:
    if not isinstance(value, str) or not _ID_FORM.fullmatch(value):
        raise DecodeError("WAN", 0, f"{name} is not 1..64 of A-Z a-z 0-9 . _ : -")
    return value


def _optional(
    fields: dict[str, object], name: str, read: Callable[[dict[str, object], str], int]
) -> int | None:
    return None if fields.get(name) is None else read(fields, name)


def _uint64(fields: dict[str, object], name: str) -> int:
    return _uint(fields, name, 64)


def request_id_of(octets: bytes) -> str | None:
    """The request id of a message that does not decode, to answer it with MALFORMED; None: not to be had."""
    try:
        if len(octets) > MAX_MESSAGE_OCTETS:
            return None
        return _id(_load_map(octets).get("request_id"), "request_id")
    except DecodeError:
        return None


# --- the five messages -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WanRequest:
    """One instruction for one device of a hub. `frame` is the ZCL frame that the device is to execute."""

    request_id: str  # 1..64 of A-Z a-z 0-9 . _ : - ; never used again for another request
    expires_utc_us: int  # microseconds since 1970; not begun after this
    target: Eui64
    endpoint: int
    cluster_id: int
    frame: bytes

    def encode(self) -> bytes:
        return _dump(
            "request",
            {
                "request_id": self.request_id,
                "expires_utc_us": self.expires_utc_us,
                "target": self.target.to_bytes(8, "big"),
                "endpoint": self.endpoint,
                "cluster_id": self.cluster_id,
                "frame": self.frame,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Octets of a peer. Raises DecodeError and nothing else."""
        fields = _load(octets, "request")
        return cls(
            request_id=_id(fields.get("request_id"), "request_id"),
            expires_utc_us=_uint(fields, "expires_utc_us", 63),
            target=_eui64(fields, "target"),
            endpoint=_uint(fields, "endpoint", 8),
            cluster_id=_uint(fields, "cluster_id", 16),
            frame=_octets(fields, "frame"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WanResponse:
    """The one answer to a request; asked again, the hub sends the same octets again."""

    request_id: str
    status: WanStatus
    frame: bytes = b""  # the ZCL answer; empty where there is none
    device_utc_us: int | None = None  # the device's own time of the answer, where it gave one
    from_gsme: bool = False  # the gas meter itself answered, not its mirror in the hub

    def encode(self) -> bytes:
        return _dump(
            "response",
            {
                "request_id": self.request_id,
                "status": int(self.status),
                "frame": self.frame,
                "device_utc_us": self.device_utc_us,
                "from_gsme": self.from_gsme,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Octets of a peer. Raises DecodeError and nothing else; a new status needs a new version."""
        fields = _load(octets, "response")
        status = _uint(fields, "status", 8)
        if status not in WanStatus.__members__.values():
            raise DecodeError("WAN", 0, f"unknown status {status}")
        return cls(
            request_id=_id(fields.get("request_id"), "request_id"),
            status=WanStatus(status),
            frame=_octets(fields, "frame"),
            device_utc_us=_optional(fields, "device_utc_us", _uint64),
            from_gsme=_bool(fields, "from_gsme"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WanEvent:
    """Something a device says unasked: an alert, a status push. `frame` is its ZCL frame."""

    event_id: str  # 1..64 characters, as request_id; the same when sent again
    source: Eui64
    endpoint: int
    cluster_id: int
    frame: bytes
    utc_us: int  # when the hub had it

    def encode(self) -> bytes:
        return _dump(
            "event",
            {
                "event_id": self.event_id,
                "source": self.source.to_bytes(8, "big"),
                "endpoint": self.endpoint,
                "cluster_id": self.cluster_id,
                "frame": self.frame,
                "utc_us": self.utc_us,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Octets of a peer. Raises DecodeError and nothing else."""
        fields = _load(octets, "event")
        return cls(
            event_id=_id(fields.get("event_id"), "event_id"),
            source=_eui64(fields, "source"),
            endpoint=_uint(fields, "endpoint", 8),
            cluster_id=_uint(fields, "cluster_id", 16),
            frame=_octets(fields, "frame"),
            utc_us=_uint(fields, "utc_us", 63),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WanReceipt:
    """The head end has stored these responses and events: the hub's outbox may forget them."""

    ids: tuple[str, ...]  # request and event ids; 1..MAX_IDS

    def encode(self) -> bytes:
        return _dump("receipt", {"ids": list(self.ids)})

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Octets of a peer. Raises DecodeError and nothing else."""
        ids = _load(octets, "receipt").get("ids")
        if not isinstance(ids, list) or not 0 < len(ids) <= MAX_IDS:
            raise DecodeError("WAN", 0, f"ids is not an array of 1..{MAX_IDS}")
        return cls(ids=tuple(_id(item, "ids") for item in ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatus:
    """Retained, so that a head end that comes later knows too. Offline is the hub's will, or its good-bye."""

    online: bool
    boot_count: int  # starts of the hub since it was made; 0..2^32-1
    utc_us: int  # when this was written; for a will, when the connection was made

    def encode(self) -> bytes:
        return _dump("status", {"online": self.online, "boot_count": self.boot_count, "utc_us": self.utc_us})

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Octets of a peer. Raises DecodeError and nothing else."""
        fields = _load(octets, "status")
        return cls(
            online=_bool(fields, "online"),
            boot_count=_uint(fields, "boot_count", 32),
            utc_us=_uint(fields, "utc_us", 63),
        )
